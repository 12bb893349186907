//! The difference between two outcomes of one instruction.

use crate::case::{Case, Outcome, State, Stop, flag, vector};
use crate::generate::Single;
use crate::layout::{DATA, DATA_SIZE, MEMORY_SIZE, STACK};
use crate::maker::Maker;
use crate::undefined::{Approximate, C0, C1, C2, C3, Undefined, offset, undefined, unspecified_bytes};
use iced_x86::Instruction;
use iced_x86::Mnemonic::{Fldenv, Fnsave, Fnstenv, Frstor, Fxrstor, Fxrstor64, Fxsave, Fxsave64};
use std::fmt::Write;

/// First address that is the kernel's: Linux hides what is there, and says that it is protected.
const KERNEL: u64 = 0x7fff_ffff_f000;

/// Flags that are not compared: processors differ in RF at faults, and TF is set by single steps.
const NOT_COMPARED: u64 = flag::RF | flag::TF;

fn stops_agree(a: Stop, b: Stop) -> bool {
    match (a, b) {
        (Stop::Trap { vector: v, code: c, address: x }, Stop::Trap { vector: w, code: d, address: y })
            if v == w =>
        {
            match v {
                vector::PF if x >= KERNEL => x == y && c & !1 == d & !1,
                vector::PF => x == y && c == d,
                _ => c == d,
            }
        }
        _ => a == b,
    }
}

/// Whether an instruction converts from or to MMX registers: AMD's processors begin MMX's use of them before
/// it faults.
fn converts_mmx(i: &Instruction) -> bool {
    use iced_x86::Mnemonic::*;
    matches!(i.mnemonic(), Cvtpi2ps | Cvtpi2pd | Cvtps2pi | Cvttps2pi | Cvtpd2pi | Cvttpd2pi)
}

/// Whether an operand is both misaligned and not canonical: which of #GP and #SS comes first, is said
/// nowhere.
fn misaligned_anyway(single: &Single, a: Stop, b: Stop) -> bool {
    let is = |s: Stop| matches!(s, Stop::Trap { vector: vector::GP | vector::SS, code: 0, .. });
    let address = crate::generate::location(&single.case, &single.instruction);
    is(a) && is(b) && single.instruction.memory_size().size() >= 16 && address.is_some_and(|a| a % 16 != 0)
}

/// Whether this is a SHA instruction with a misaligned operand: AMD's processors take it, Intel's, which the
/// guest has, do not (SDM vol. 2 2.4, type 4).
fn refuses_misaligned(single: &Single) -> bool {
    use iced_x86::Mnemonic::*;
    let sha = matches!(
        single.instruction.mnemonic(),
        Sha1msg1 | Sha1msg2 | Sha1nexte | Sha1rnds4 | Sha256msg1 | Sha256msg2 | Sha256rnds2
    );
    sha && crate::generate::location(&single.case, &single.instruction).is_some_and(|a| a % 16 != 0)
}

fn approximately(a: u128, b: u128, how: Approximate) -> bool {
    match how {
        Approximate::Exact => a == b,
        Approximate::Reciprocal => (0..4).all(|i| {
            let (x, y) = ((a >> (32 * i)) as u32, (b >> (32 * i)) as u32);
            let (f, g) = (f64::from(f32::from_bits(x)), f64::from(f32::from_bits(y)));
            // Both are within 1.5 * 2^-12 of the true value.
            // Results that are tiny are flushed, and what is near that, may be.
            let tiny = |x: u32| x & 0x7fff_ffff <= 0x0080_0000;
            x == y || x >> 31 == y >> 31 && tiny(x) && tiny(y) || ((f - g) / g).abs() <= 3.0 / 4096.0
        }),
        Approximate::UnitInLastPlace => {
            // As one number, sign apart: neighbours differ by one, across exponents as well.
            let line = |v: u128| {
                let exponent = (v >> 64) as i128 & 0x7fff;
                (exponent << 63) + ((v as u64) & !(1 << 63)) as i128
            };
            a == b || a >> 79 == b >> 79 && (line(a) - line(b)).abs() <= 1
        }
    }
}

/// Whether two vectors differ in which NaNs they hold at most, of either size.
fn same_but_for_nans(a: u128, b: u128) -> bool {
    let singles = |v: u128| (0..4).map(move |i| f64::from(f32::from_bits((v >> (32 * i)) as u32)));
    let doubles = |v: u128| (0..2).map(move |i| f64::from_bits((v >> (64 * i)) as u64));
    let same = |(x, y): (f64, f64)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
    singles(a).zip(singles(b)).all(same) || doubles(a).zip(doubles(b)).all(same)
}

/// The differences between registers, but for what is undefined.
fn registers(expected: &State, got: &State, skip: &Undefined, faulted: bool) -> String {
    let mut e = expected.clone();
    let mut g = got.clone();
    let ignored = NOT_COMPARED | if faulted { 0 } else { skip.flags };
    (e.flags, g.flags) = (e.flags & !ignored, g.flags & !ignored);
    (e.fx.sw, g.fx.sw) = (e.fx.sw & !skip.fsw, g.fx.sw & !skip.fsw);
    // Which instruction was the last is not kept as on this host: see `unspecified_bytes`.
    (g.fx.op, g.fx.ip, g.fx.dp) = (e.fx.op, e.fx.ip, e.fx.dp);
    g.fx.mxcsr_mask = e.fx.mxcsr_mask;
    // A return to user code, which the host's kernel has made since, clears null selectors with a privilege
    // level.
    for segments in [&mut e.segments, &mut g.segments] {
        segments.iter_mut().filter(|s| **s < 4).for_each(|s| *s = 0);
    }
    for n in 0..16 {
        if skip.registers >> n & 1 == 1 {
            g.r[n] = e.r[n];
        }
        if skip.upper_halves >> n & 1 == 1 {
            g.r[n] = g.r[n] & u64::from(u32::MAX) | e.r[n] >> 32 << 32;
        }
        if approximately(e.fx.xmm[n], g.fx.xmm[n], skip.approximate)
            || skip.nans && same_but_for_nans(e.fx.xmm[n], g.fx.xmm[n])
        {
            g.fx.xmm[n] = e.fx.xmm[n];
        }
    }
    if skip.x87 {
        (g.fx.sw, g.fx.tag, g.fx.st) = (e.fx.sw, e.fx.tag, e.fx.st);
    }
    let mut text = String::new();
    let st = |x: u128| x & ((1 << 80) - 1);
    for n in 0..8 {
        e.fx.st[n] = st(e.fx.st[n]);
        g.fx.st[n] = st(g.fx.st[n]);
        if approximately(e.fx.st[n], g.fx.st[n], skip.approximate) {
            g.fx.st[n] = e.fx.st[n];
        }
    }
    if e != g {
        for ((name, a), (_, b)) in e.named().iter().zip(g.named()) {
            if *a != b {
                let _ = writeln!(text, "  {name}: host {a}, here {b}");
            }
        }
    }
    text
}

/// The differences between memories, but for those in `skip`.
fn memory(expected: &[u8], got: &[u8], skip: &[std::ops::Range<usize>]) -> String {
    if expected == got {
        return String::new();
    }
    let differing: Vec<usize> = (0..expected.len())
        .filter(|&i| expected[i] != got[i] && !skip.iter().any(|s| s.contains(&i)))
        .collect();
    let Some(&first) = differing.first() else { return String::new() };
    let end = (first + 16).min(expected.len());
    let address = if first < DATA_SIZE { DATA + first as u64 } else { STACK + (first - DATA_SIZE) as u64 };
    format!(
        "  memory: {} bytes from {address:#x}: host {:02x?}, here {:02x?}\n",
        differing.len(),
        &expected[first..end],
        &got[first..end]
    )
}

/// Ranges of memory that are not compared.
fn skipped_memory(single: &Single, skip: &Undefined) -> Vec<std::ops::Range<usize>> {
    let (i, case) = (&single.instruction, &single.case);
    let ranges = unspecified_bytes(i, case.mode);
    let all = (0, i.memory_size().size());
    let mut out = skip.bytes.clone();
    if ranges.is_empty() && !skip.memory {
        return out;
    }
    let Some(address) = crate::generate::location(case, i) else { return out };
    let ranges = if skip.memory { std::slice::from_ref(&all) } else { ranges };
    // Byte by byte: an operand may lie across the end of what is mapped.
    let bytes = ranges.iter().flat_map(|r| r.0..r.1).filter_map(|n| offset(address + n as u64));
    out.extend(bytes.map(|n| n..n + 1));
    out
}

/// What differs between the outcome on a host of `maker` and the one here, as text; `None` when nothing does,
/// or when the host has nothing to say.
pub fn difference(maker: Maker, single: &Single, host: &Outcome, here: &Outcome) -> Option<String> {
    if matches!(host.stop, Stop::Endless | Stop::Lost) {
        return None;
    }
    if refuses_misaligned(single) && matches!(here.stop, Stop::Trap { vector: vector::GP, code: 0, .. }) {
        return None;
    }
    if maker.stops_elsewhere(&single.instruction, &single.case, host.stop, here.stop) {
        return None;
    }
    let mut skip = undefined(&single.instruction, &single.case);
    maker.leave(&single.instruction, &single.case, host, &mut skip);
    // A fault elsewhere belongs to what follows.
    let faulted = host.state.rip == single.case.state.rip
        && !matches!(host.stop, Stop::Trap { vector: vector::BP | vector::DB | vector::OF, .. });
    // A fault in a repeated comparison leaves flags of the last comparison or those from before (SDM vol. 2
    // REP).
    let repeated = single.instruction.has_rep_prefix() || single.instruction.has_repne_prefix();
    let skip = if faulted && repeated && single.instruction.is_string_instruction() {
        Undefined { flags: flag::ARITHMETIC, ..skip }
    } else {
        skip
    };
    let skip = Undefined { x87: skip.x87 || faulted && converts_mmx(&single.instruction), ..skip };
    // Environments and whole states are many accesses in an order of the maker's: any of their bytes may
    // fault first.
    let (mut stop, mut skipped) = (host.stop, skipped_memory(single, &skip));
    let many = matches!(
        single.instruction.mnemonic(),
        Fldenv | Fnstenv | Frstor | Fnsave | Fxsave | Fxsave64 | Fxrstor | Fxrstor64
    );
    let size = single.instruction.memory_size().size() as u64;
    if let (true, true, Stop::Trap { vector: vector::PF, address: a, .. }, Stop::Trap { address: b, .. }) =
        (many, faulted, host.stop, here.stop)
        && a.abs_diff(b) < size
    {
        if let Stop::Trap { address, .. } = &mut stop {
            *address = b;
        }
        skipped.push(0..MEMORY_SIZE);
    }
    let mut text = String::new();
    if !stops_agree(stop, here.stop) && !misaligned_anyway(single, host.stop, here.stop) {
        let _ = writeln!(text, "  host {:x?}, here {:x?}", host.stop, here.stop);
    }
    text += &registers(&host.state, &here.state, &skip, faulted && !repeated);
    text += &memory(&host.memory[..], &here.memory[..], &skipped);
    (!text.is_empty()).then_some(text)
}

/// What differs between two outcomes of the same program, but for bits of RFLAGS, and x87 condition codes.
pub fn program_difference(host: &Outcome, here: &Outcome, flags: u64) -> Option<String> {
    let skip = Undefined { flags, fsw: C0 | C1 | C2 | C3, ..Undefined::default() };
    let mut text = String::new();
    if !stops_agree(host.stop, here.stop) {
        let _ = writeln!(text, "  host {:x?}, here {:x?}", host.stop, here.stop);
    }
    text += &registers(&host.state, &here.state, &skip, false);
    text += &memory(&host.memory[..], &here.memory[..], &[]);
    (!text.is_empty()).then_some(text)
}

/// A case as text.
pub fn describe(case: &Case) -> String {
    let mut text = String::new();
    let mut decoder = iced_x86::Decoder::with_ip(case.mode.bits(), &case.code, case.state.rip, 0);
    let mut formatter = iced_x86::IntelFormatter::new();
    while decoder.can_decode() {
        let i = decoder.decode();
        let mut line = String::new();
        iced_x86::Formatter::format(&mut formatter, &i, &mut line);
        let start = (i.ip() - case.state.rip) as usize;
        let _ = writeln!(text, "  {:#x}: {line}  {:02x?}", i.ip(), &case.code[start..start + i.len()]);
    }
    let _ = writeln!(text, "  from {:?}", case.state);
    text
}
