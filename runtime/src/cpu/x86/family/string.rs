//! String instructions, repeated or not.
//!
//! A repeated one goes on from its registers: a fault leaves them at the iteration that met it, and after
//! [`SLICE`] steps the instruction lets interrupts in. Whole pages that the TLB knows are done at once.

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::flags::{DF, LazyFlags, RF, SUB, TF, sign_extend};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::operand::mask;
use crate::cpu::x86::state::ES;
use forelift_abi::layout::PAGE_SIZE;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// The function for a string instruction. `movsd` and `cmpsd` are also names of SSE's.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    let is_string = i.op_count() == 2 && (0..2).any(|n| address_size(i.op_kind(n)).is_some());
    if !is_string {
        return None;
    }
    Some(match i.mnemonic() {
        Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => movs,
        Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => stos,
        Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => lods,
        Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq => cmps,
        Mnemonic::Scasb | Mnemonic::Scasw | Mnemonic::Scasd | Mnemonic::Scasq => scas,
        Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => ins,
        Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => outs,
        _ => return None,
    })
}

const RCX: usize = 1;
const RSI: usize = 6;
const RDI: usize = 7;
/// Steps (elements, or 16 bytes of a page done at once) after which interrupts are let in.
const SLICE: u64 = 4096;

/// Size of the address of a string operand.
fn address_size(kind: OpKind) -> Option<usize> {
    match kind {
        OpKind::MemorySegSI | OpKind::MemoryESDI => Some(2),
        OpKind::MemorySegESI | OpKind::MemoryESEDI => Some(4),
        OpKind::MemorySegRSI | OpKind::MemoryESRDI => Some(8),
        _ => None,
    }
}

/// What is the same for all elements.
struct Shape {
    /// Size of an element in bytes.
    size: usize,
    /// Mask of addresses and of the count.
    mask: u64,
    /// Segment of the source.
    source: usize,
    /// What an element adds to an address.
    step: u64,
}

/// How an element ended.
type Goes = Res<bool>;

impl Context<'_> {
    fn source(&self, s: &Shape) -> Res<u64> {
        self.linear(s.source, self.vcpu.r[RSI] & s.mask, s.size)
    }

    fn destination(&self, s: &Shape) -> Res<u64> {
        self.linear(ES, self.vcpu.r[RDI] & s.mask, s.size)
    }

    /// Writes an address or count register in the width of addresses.
    fn set_address(&mut self, s: &Shape, number: usize, value: u64) {
        let slot = &mut self.vcpu.r[number];
        *slot = if s.mask == 0xffff { *slot & !0xffff | value & 0xffff } else { value & s.mask };
    }

    fn advance(&mut self, s: &Shape, number: usize, elements: u64) {
        let value = self.vcpu.r[number].wrapping_add(s.step.wrapping_mul(elements));
        self.set_address(s, number, value);
    }

    /// Elements from address register `number` on, `count` at most, that lie in one page at `linear` and
    /// before the address wraps. Only for strings that go upwards.
    fn at_once(&self, s: &Shape, number: usize, linear: u64, count: u64) -> u64 {
        let page = PAGE_SIZE - (linear & (PAGE_SIZE - 1));
        let wrap = (s.mask - (self.vcpu.r[number] & s.mask)).saturating_add(1);
        (page.min(wrap) / s.size as u64).min(count)
    }

    /// Where `linear` is in RAM, if the TLB knows.
    fn in_ram(&self, linear: u64, write: bool) -> Option<u64> {
        self.vcpu.dtlb.lookup(self.vcpu.tlb_index(), write, linear)
    }

    /// An element in RAM.
    ///
    /// # Safety
    /// `offset` to `offset + size` is inside RAM, `size` 8 at most.
    unsafe fn element(&self, offset: u64, size: usize) -> u64 {
        let mut word = [0; 8];
        // SAFETY: as the caller promises.
        unsafe {
            core::ptr::copy_nonoverlapping(self.vcpu.dtlb.ram.add(offset as usize), word.as_mut_ptr(), size);
        }
        u64::from_le_bytes(word)
    }

    /// Leaves the flags of the comparison of two elements.
    fn compare_elements(&mut self, a: u64, b: u64, size: usize) {
        let log2 = size.trailing_zeros();
        let (a, b) = (sign_extend(a, log2), sign_extend(b, log2));
        self.vcpu.flags = LazyFlags::new(SUB + log2, a, b);
    }
}

/// Executes a string instruction: `one` does one element and tells whether a repetition goes on; `many` does
/// elements at once if it can, `count` at most, and tells how many and whether the repetition goes on.
fn repeat(
    cx: &mut Context<'_>,
    i: &Instruction,
    one: impl Fn(&mut Context<'_>, &Shape) -> Goes,
    many: impl Fn(&mut Context<'_>, &Shape, u64) -> Option<(u64, bool)>,
) -> Res<Flow> {
    let width = address_size(i.op0_kind()).or(address_size(i.op1_kind())).unwrap_or(8);
    let size = i.memory_size().size().clamp(1, 8);
    let backwards = cx.vcpu.rflags & DF != 0;
    let s = Shape {
        size,
        mask: mask(width),
        source: cx.memory_segment(i),
        step: if backwards { (size as u64).wrapping_neg() } else { size as u64 },
    };
    if !i.has_rep_prefix() && !i.has_repne_prefix() {
        return one(cx, &s).map(|_| Flow::Next);
    }
    // A trap follows each element.
    let mut left = if cx.vcpu.rflags & TF != 0 { 1 } else { SLICE };
    let flags = cx.vcpu.flags;
    loop {
        let count = cx.vcpu.r[RCX] & s.mask;
        if count == 0 {
            return Ok(Flow::Next);
        }
        if left == 0 {
            // Between elements the flag is set (SDM vol. 3 17.3.1.1): a breakpoint on the instruction was
            // reported before the first.
            cx.vcpu.rflags |= RF;
            return Ok(Flow::Again);
        }
        let result = if backwards || left == 1 { None } else { many(cx, &s, count) };
        let (done, goes_on) = match result {
            Some(result) => result,
            None => match one(cx, &s) {
                Ok(goes_on) => (1, goes_on),
                Err(fault) => {
                    // SDM vol. 2, REP: a fault shows the flags from before the instruction.
                    cx.vcpu.flags = flags;
                    return Err(fault);
                }
            },
        };
        cx.set_address(&s, RCX, count.wrapping_sub(done));
        if !goes_on {
            return Ok(Flow::Next);
        }
        left = left.saturating_sub((done * s.size as u64 / 16).max(1));
        if cx.vcpu.has_debug_trap() {
            left = 0;
        }
    }
}

fn movs(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let one = |cx: &mut Context<'_>, s: &Shape| {
        let (from, to) = (cx.source(s)?, cx.destination(s)?);
        let value = cx.load(from, s.size)?;
        cx.store(to, s.size, value)?;
        cx.advance(s, RSI, 1);
        cx.advance(s, RDI, 1);
        Ok(true)
    };
    repeat(cx, i, one, |cx, s, count| {
        let (from, to) = (cx.source(s).ok()?, cx.destination(s).ok()?);
        let (source, target) = (cx.in_ram(from, false)?, cx.in_ram(to, true)?);
        let mut elements = cx.at_once(s, RSI, from, cx.at_once(s, RDI, to, count));
        if target > source {
            // Elements that are written must not be read before: a copy onto itself repeats what lies
            // between.
            elements = elements.min((target - source) / s.size as u64);
        }
        if elements == 0 {
            return None;
        }
        let ram = cx.vcpu.dtlb.ram;
        // SAFETY: the TLB gives offsets of whole pages of RAM, and the elements lie in one page each.
        unsafe {
            let (source, target) = (ram.add(source as usize), ram.add(target as usize));
            core::ptr::copy(source, target, elements as usize * s.size);
        }
        cx.advance(s, RSI, elements);
        cx.advance(s, RDI, elements);
        Some((elements, true))
    })
}

/// The accumulator in an element's size.
fn accumulator(s: &Shape) -> Register {
    match s.size {
        1 => Register::AL,
        2 => Register::AX,
        4 => Register::EAX,
        _ => Register::RAX,
    }
}

fn stos(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let one = |cx: &mut Context<'_>, s: &Shape| {
        let to = cx.destination(s)?;
        cx.store(to, s.size, cx.vcpu.r[0])?;
        cx.advance(s, RDI, 1);
        Ok(true)
    };
    repeat(cx, i, one, |cx, s, count| {
        let to = cx.destination(s).ok()?;
        let target = cx.in_ram(to, true)?;
        let elements = cx.at_once(s, RDI, to, count);
        if elements == 0 {
            return None;
        }
        let pattern = cx.vcpu.r[0].to_le_bytes();
        let pattern = &pattern[..s.size];
        // SAFETY: the TLB gives offsets of whole pages of RAM, and the elements lie in one; nothing else
        // refers to RAM now.
        let bytes = unsafe {
            let start = cx.vcpu.dtlb.ram.add(target as usize);
            core::slice::from_raw_parts_mut(start, elements as usize * s.size)
        };
        if pattern.iter().all(|&byte| byte == pattern[0]) {
            bytes.fill(pattern[0]);
        } else {
            bytes.chunks_exact_mut(s.size).for_each(|element| element.copy_from_slice(pattern));
        }
        cx.advance(s, RDI, elements);
        Some((elements, true))
    })
}

fn lods(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let one = |cx: &mut Context<'_>, s: &Shape| {
        let from = cx.source(s)?;
        let value = cx.load(from, s.size)?;
        cx.vcpu.set_gpr(accumulator(s), value);
        cx.advance(s, RSI, 1);
        Ok(true)
    };
    repeat(cx, i, one, |_, _, _| None)
}

fn cmps(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let while_equal = !i.has_repne_prefix();
    let one = |cx: &mut Context<'_>, s: &Shape| {
        let (first, second) = (cx.source(s)?, cx.destination(s)?);
        let a = cx.load(first, s.size)?;
        let b = cx.load(second, s.size)?;
        cx.compare_elements(a, b, s.size);
        cx.advance(s, RSI, 1);
        cx.advance(s, RDI, 1);
        Ok((a == b) == while_equal)
    };
    repeat(cx, i, one, |cx, s, count| {
        let (first, second) = (cx.source(s).ok()?, cx.destination(s).ok()?);
        let (at_a, at_b) = (cx.in_ram(first, false)?, cx.in_ram(second, false)?);
        let elements = cx.at_once(s, RSI, first, cx.at_once(s, RDI, second, count));
        let (mut done, mut pair) = (0, (0, 0));
        let mut goes_on = true;
        while done < elements && goes_on {
            let at = done * s.size as u64;
            // SAFETY: the TLB gives offsets of whole pages of RAM, and the elements lie in one page each.
            pair = unsafe { (cx.element(at_a + at, s.size), cx.element(at_b + at, s.size)) };
            goes_on = (pair.0 == pair.1) == while_equal;
            done += 1;
        }
        if done == 0 {
            return None;
        }
        cx.compare_elements(pair.0, pair.1, s.size);
        cx.advance(s, RSI, done);
        cx.advance(s, RDI, done);
        Some((done, goes_on))
    })
}

fn scas(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let while_equal = !i.has_repne_prefix();
    let one = |cx: &mut Context<'_>, s: &Shape| {
        let at = cx.destination(s)?;
        let b = cx.load(at, s.size)?;
        let a = cx.vcpu.gpr(accumulator(s));
        cx.compare_elements(a, b, s.size);
        cx.advance(s, RDI, 1);
        Ok((a == b) == while_equal)
    };
    repeat(cx, i, one, |cx, s, count| {
        let linear = cx.destination(s).ok()?;
        let at = cx.in_ram(linear, false)?;
        let elements = cx.at_once(s, RDI, linear, count);
        let a = cx.vcpu.gpr(accumulator(s));
        let (mut done, mut b, mut goes_on) = (0, 0, true);
        while done < elements && goes_on {
            // SAFETY: the TLB gives offsets of whole pages of RAM, and the elements lie in one.
            b = unsafe { cx.element(at + done * s.size as u64, s.size) };
            goes_on = (a == b) == while_equal;
            done += 1;
        }
        if done == 0 {
            return None;
        }
        cx.compare_elements(a, b, s.size);
        cx.advance(s, RDI, done);
        Some((done, goes_on))
    })
}

fn ins(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    // Also without any element to do (SDM vol. 2 INS: the check stands before the transfer).
    cx.io_permitted(cx.vcpu.r[2] as u16, i.memory_size().size() as u8)?;
    let one = |cx: &mut Context<'_>, s: &Shape| {
        let port = cx.vcpu.r[2] as u16;
        let to = cx.destination(s)?;
        // The port is read only when its value can be stored.
        cx.load_for_store(to, s.size)?;
        let value = cx.bus.port_in(port, s.size as u8);
        cx.vcpu.note_port(port, s.size);
        cx.store(to, s.size, value.into())?;
        cx.advance(s, RDI, 1);
        Ok(true)
    };
    repeat(cx, i, one, |_, _, _| None)
}

/// When the machine has to act on what was written, that is left to the element's end: the registers are
/// those after it.
fn outs(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    cx.io_permitted(cx.vcpu.r[2] as u16, i.memory_size().size() as u8)?;
    let exit = core::cell::Cell::new(None);
    let one = |cx: &mut Context<'_>, s: &Shape| {
        let port = cx.vcpu.r[2] as u16;
        let from = cx.source(s)?;
        let value = cx.load(from, s.size)? as u32;
        exit.set(cx.bus.port_out(port, s.size as u8, value));
        cx.vcpu.note_port(port, s.size);
        cx.drop_dirty_code();
        cx.advance(s, RSI, 1);
        Ok(exit.get().is_none())
    };
    let flow = repeat(cx, i, one, |_, _, _| None)?;
    let Some(exit) = exit.get() else { return Ok(flow) };
    let repeated = i.has_rep_prefix() || i.has_repne_prefix();
    let count = cx.vcpu.r[RCX] & address_size(i.op1_kind()).map_or(u64::MAX, mask);
    if !repeated || count == 0 {
        cx.vcpu.rip = cx.next_rip(i);
    }
    Ok(Flow::Exit(exit))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CODE, DATA, Machine};
    use crate::cpu::x86::Exit;
    use crate::cpu::x86::fault::{Fault, PF};
    use crate::cpu::x86::flags::{ARITHMETIC, CF, DF, TF, ZF};
    use crate::cpu::x86::state::CR0_PG;
    use forelift_abi::layout::RAM_BASE;

    /// RSI, RDI and RCX.
    fn pointers(m: &Machine) -> (u64, u64, u64) {
        (m.r(6), m.r(7), m.r(1))
    }

    #[test]
    fn copies_go_element_by_element() {
        for (code, size) in [("f3 a4", 1), ("66 f3 a5", 2), ("f3 a5", 4), ("f3 48 a5", 8)] {
            for distance in [-9i64, -8, -3, 0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 300] {
                for backwards in [false, true] {
                    let bytes: Vec<u8> = (0..0x4000u32).map(|n| (n * 7 + n / 251) as u8).collect();
                    let elements = 0x1234 / size;
                    let (from, to) = (0x800usize, (0x800 + distance) as usize);
                    let order: Vec<usize> =
                        if backwards { (0..elements).rev().collect() } else { (0..elements).collect() };
                    let mut expected = bytes.clone();
                    for n in order {
                        expected.copy_within(from + n * size..from + (n + 1) * size, to + n * size);
                    }
                    let last = if backwards { (elements - 1) * size } else { 0 } as u64;
                    let base = DATA + 0x123;
                    let mut m = Machine::with_registers(&[
                        (6, base + from as u64 + last),
                        (7, base + to as u64 + last),
                        (1, elements as u64),
                    ]);
                    m.set_flags(if backwards { DF } else { 0 });
                    m.store_bytes(base, &bytes);
                    m.run(code);
                    assert!(m.bytes(base, bytes.len()) == expected, "{code} {distance} {backwards}");
                    let end = if backwards { (size as u64).wrapping_neg() } else { (elements * size) as u64 };
                    let ends = (from as u64).wrapping_add(end) + base;
                    assert_eq!(pointers(&m), (ends, ends.wrapping_add(distance as u64), 0));
                }
            }
        }
    }

    #[test]
    fn fills() {
        for (code, size) in [("f3 aa", 1), ("66 f3 ab", 2), ("f3 ab", 4), ("f3 48 ab", 8)] {
            let mut m = Machine::with_registers(&[(0, 0x8877_6655_4433_2211), (7, DATA + 5), (1, 3000)]);
            m.run(code);
            let pattern = 0x8877_6655_4433_2211u64.to_le_bytes();
            let expected: Vec<u8> = (0..3000 * size).map(|n| pattern[n % size]).collect();
            assert!(m.bytes(DATA + 5, expected.len()) == expected, "{code}");
            assert_eq!(m.load(DATA + 5 + expected.len() as u64), 0);
            assert_eq!((m.r(7), m.r(1)), (DATA + 5 + expected.len() as u64, 0));
        }
    }

    #[test]
    fn comparisons_stop_after_the_element() {
        let mut m = Machine::with_registers(&[(0, b'x'.into()), (7, DATA), (1, !0)]);
        m.store_bytes(DATA + 0x1803, b"x");
        m.run("f2 ae"); // repne scasb
        assert_eq!((m.r(7), m.r(1), m.arithmetic() & ZF), (DATA + 0x1804, !0x1804, ZF));
        m.set_r(6, DATA);
        m.set_r(7, DATA + 0x2000);
        m.set_r(1, 0x2000);
        m.run("f3 a6"); // repe cmpsb: 'x' is more than 0
        assert_eq!(pointers(&m), (DATA + 0x1804, DATA + 0x3804, 0x2000 - 0x1804));
        assert_eq!(m.arithmetic() & (ZF | CF), 0);
        m.set_r(1, 0);
        m.set_flags(ARITHMETIC);
        m.run("f3 a6"); // no element: no flags
        assert_eq!(m.arithmetic(), ARITHMETIC);
        m.set_r(6, DATA + 0x1802);
        m.run("66 ad"); // lodsw
        assert_eq!((m.r(0), m.r(6)), (u64::from(b'x') << 8, DATA + 0x1804));
    }

    #[test]
    fn a_long_repetition_lets_interrupts_in() {
        let mut m = Machine::with_registers(&[(6, DATA), (1, 1 << 20)]);
        m.place("f3 ac"); // rep lodsb
        assert_eq!((m.step(), m.rip()), (None, CODE));
        assert_eq!((m.r(6), m.r(1)), (DATA + 4096, (1 << 20) - 4096));
        assert_eq!(m.vcpu().instret, 0);
        m.set_flags(TF);
        assert_eq!((m.step(), m.rip(), m.r(1)), (None, CODE, (1 << 20) - 4097));
    }

    #[test]
    fn narrow_addresses_wrap() {
        let mut m = Machine::with_registers(&[(7, 0x5_8000_fff0), (0, 0x77), (1, 0x9_0000_0003)]);
        m.run("f3 67 aa"); // rep stosb with EDI and ECX
        assert_eq!((m.r(7), m.r(1)), (0x8000_fff3, 0));
        let mut m = Machine::with_registers(&[(7, 0x8001_ffff), (0, 0x77), (1, 0xabcd_0002)]).compatibility();
        // The base of ES: addresses of 16 bits from RAM_BASE + 0x10000 on.
        m.vcpu().segments[0].base = RAM_BASE + 0x1_0000;
        m.run("f3 67 aa"); // rep stosb with DI and CX
        assert_eq!((m.r(7), m.r(1)), (0x8001_0001, 0xabcd_0000));
        assert_eq!(
            (m.bytes(RAM_BASE + 0x1_ffff, 1), m.bytes(RAM_BASE + 0x1_0000, 2)),
            (vec![0x77], vec![0x77, 0])
        );
    }

    #[test]
    fn a_fault_leaves_the_registers_at_its_element() {
        let mut m = Machine::with_registers(&[(6, DATA + 0xff8), (7, DATA + 0x3000), (1, 5)]);
        // Three levels of tables, then pages of 4 KiB: all of the first 64 KiB of RAM but the page after
        // DATA's.
        let tables = [0x2_0000, 0x2_1000, 0x2_2000, 0x2_3000].map(|at| RAM_BASE + at);
        m.store(tables[0] + (RAM_BASE >> 39) * 8, tables[1] | 3);
        m.store(tables[1] + (RAM_BASE >> 30 & 511) * 8, tables[2] | 3);
        m.store(tables[2] + (RAM_BASE >> 21 & 511) * 8, tables[3] | 3);
        for page in (0..16).filter(|page| page * 0x1000 != DATA + 0x1000 - RAM_BASE) {
            m.store(tables[3] + page * 8, (RAM_BASE + page * 0x1000) | 3);
        }
        m.vcpu().cr3 = tables[0];
        m.vcpu().cr0 |= CR0_PG;
        m.vcpu().flush_tlb();
        m.store(DATA + 0xff8, 0x1122_3344_5566_7788);
        m.place("f3 a5"); // rep movsd
        assert_eq!(m.step(), Some(Exit::Trap(Fault::page(DATA + 0x1000, 0))));
        assert_eq!((pointers(&m), m.rip()), ((DATA + 0x1000, DATA + 0x3008, 3), CODE));
        assert_eq!(m.load(DATA + 0x3000), 0x1122_3344_5566_7788);
        // The flags are those from before.
        m.set_flags(CF);
        m.set_r(6, DATA + 0xffc);
        m.set_r(7, DATA + 0x3004);
        m.place("f3 a7"); // repe cmpsd
        assert_eq!(m.step(), Some(Exit::Trap(Fault::page(DATA + 0x1000, 0))));
        assert_eq!((pointers(&m), m.arithmetic()), ((DATA + 0x1000, DATA + 0x3008, 2), CF));
        // A store's fault, of a port that must not be read then.
        m.set_r(7, DATA + 0x1000);
        m.place("6c"); // insb
        let Some(Exit::Trap(fault)) = m.step() else { panic!("no fault") };
        assert_eq!((fault.vector, fault.code, m.ports.input), (PF, Some(2), 0));
    }

    #[test]
    fn ports() {
        let mut m = Machine::with_registers(&[(2, 0x3f8), (6, DATA), (7, DATA + 0x100), (1, 3)]);
        m.store_bytes(DATA, b"abc");
        m.run("f3 6e"); // rep outsb
        assert_eq!(m.ports.written, b"abc".map(|byte| (0x3f8, 1, u32::from(byte))));
        m.set_r(1, 2);
        m.run("66 f3 6d"); // rep insw
        assert_eq!((m.load(DATA + 0x100), m.r(7)), (0x2_0001, DATA + 0x104));
        m.vcpu().cpl = 3;
        assert_eq!(m.fault("6e"), Fault::gp());
    }
}
