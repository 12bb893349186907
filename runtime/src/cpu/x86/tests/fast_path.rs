//! The table of the fast path against iced-x86's knowledge of the instructions, and its fused and quiet kinds
//! against the instructions one by one.

use super::super::Exit;
use super::super::cache::Cache;
use super::super::entry::Entry;
use super::super::fault::{BP, Fault};
use super::super::flags::{AF, ARITHMETIC, CF, LOGIC, OF, PF, RAW, SF, SUB, ZF};
use super::super::kind::{Kind, Leaves, Operand, Then};
use super::super::predecode::decode;
use super::super::select::select;
use super::super::table::fast_path;
use super::{CODE, DATA, Machine, STACK, machine};
use crate::memory::GuestMemory;
use iced_x86::{
    Code, ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
};
use iced_x86::{Mnemonic, OpAccess, OpKind, Register, RflagsBits};
use std::collections::{HashMap, HashSet};

/// What a row says of its instructions.
struct Row {
    kind: Kind,
    mnemonics: &'static [Mnemonic],
    /// Lists of operands, each with its alternatives; `None` for any.
    forms: &'static [Option<&'static [&'static [Operand]]>],
    /// Encodings; none for any.
    codes: &'static [Code],
}

macro_rules! form {
    (any) => {
        None
    };
    ([$($($operand:ident)|+),*]) => {
        Some(&[$(&[$(Operand::$operand),+] as &[Operand]),*] as &[&[Operand]])
    };
}

macro_rules! rows {
    ($e:ident $h:ident;
        internal $_internal:tt
        selected { $(
            reads $reads:ident, writes $writes:ident, leaves $leaves:ident, then $then:ident,
            faults $faults:ident { $(
                $(#[$doc:meta])*
                $name:ident: $($mnemonic:ident)|+, $($form:tt)|+ $(where $($code:ident)|+)? => $_body:expr;
            )* }
        )* }
        jumps $_jumps:tt
        fused $_fused:tt
        quiet $_quiet:tt
    ) => {
        const ROWS: &[Row] = &[$($(Row {
            kind: Kind::$name,
            mnemonics: &[$(Mnemonic::$mnemonic),+],
            forms: &[$(form!($form)),+],
            codes: &[$($(Code::$code),+)?],
        },)*)*];
    };
}
fast_path!(rows);

/// All opcodes of one and two bytes with the prefixes that matter, registers and `[rbx]` as operands.
fn encodings(mut each: impl FnMut(&[u8], &Instruction)) {
    const PREFIXES: [&[u8]; 6] = [&[], &[0x66], &[0xf2], &[0xf3], &[0x48], &[0x66, 0x48]];
    const IMMEDIATES: [[u8; 8]; 3] =
        [[0; 8], [1, 0, 0, 0, 0, 0, 0, 0], [0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78]];
    for prefix in PREFIXES {
        for escape in [&[][..], &[0x0f]] {
            for opcode in 0..=255u8 {
                for modrm in (0..8).flat_map(|reg| [reg << 3 | 3, 0xc0 | reg << 3 | 1]) {
                    for immediate in IMMEDIATES {
                        let code = [prefix, escape, &[opcode, modrm], &immediate].concat();
                        let i = Decoder::with_ip(64, &code, 0, DecoderOptions::NONE).decode();
                        if !i.is_invalid() {
                            each(&code[..i.len()], &i);
                        }
                    }
                }
            }
        }
    }
}

/// An instruction for each kind that is selected. (Where the opcode is a prefix, what follows may be an
/// instruction with any operand in memory: not these.)
fn samples() -> HashMap<Kind, Vec<u8>> {
    let mut samples = HashMap::new();
    encodings(|code, i| {
        let known_address = matches!(i.memory_base(), Register::RBX | Register::None);
        if let Some(entry) = select(i, true).filter(|_| known_address) {
            samples.entry(entry.op).or_insert_with(|| code.to_vec());
        }
    });
    samples
}

/// `jcc` two bytes on.
fn jump(condition: u8) -> [u8; 2] {
    [0x70 | condition, 2]
}

#[test]
fn every_kind_is_reached() {
    let mem = GuestMemory::new(1 << 20, None).unwrap();
    let mut cache = Cache::new(&mem);
    let mut reached = HashSet::new();
    let mut block = |code: &[&[u8]]| {
        let mut entries: Vec<Entry> = Vec::new();
        decode(&mut cache, true, &code.concat(), 0, &mut entries);
        reached.extend(entries.iter().map(|entry| entry.op));
    };
    for code in samples().values() {
        block(&[code]);
        for condition in 0..16 {
            block(&[code, &jump(condition)]);
        }
        // xor eax,eax
        block(&[code, &[0x31, 0xc0]]);
    }
    // cpuid
    block(&[&[0x0f, 0xa2]]);
    for kind in Kind::ALL {
        assert!(reached.contains(kind) || *kind == Kind::Unlinked, "no instruction becomes {kind:?}");
    }
}

#[test]
fn no_instruction_belongs_to_two_rows() {
    let mut claims = HashSet::new();
    let mut any = HashSet::new();
    for row in ROWS {
        for &mnemonic in row.mnemonics {
            for form in row.forms {
                let Some(form) = form else {
                    assert!(any.insert(mnemonic), "{:?}: {mnemonic:?}", row.kind);
                    continue;
                };
                // All choices of one class for each operand.
                let mut lists = vec![Vec::new()];
                for classes in *form {
                    lists = lists
                        .iter()
                        .flat_map(|list| classes.iter().map(move |class| [&list[..], &[*class]].concat()))
                        .collect();
                }
                for list in lists {
                    assert!(
                        !row.codes.is_empty() || claims.insert((mnemonic, list.clone(), None)),
                        "{:?}",
                        row.kind
                    );
                    for code in row.codes {
                        assert!(!claims.contains(&(mnemonic, list.clone(), None)), "{:?}", row.kind);
                        assert!(claims.insert((mnemonic, list.clone(), Some(*code))), "{:?}", row.kind);
                    }
                }
            }
        }
    }
    for (mnemonic, ..) in &claims {
        assert!(!any.contains(mnemonic), "{mnemonic:?}");
    }
}

/// iced-x86's flags as `rflags` has them.
fn flags_of(bits: u32) -> u64 {
    let pairs = [
        (RflagsBits::CF, CF),
        (RflagsBits::PF, PF),
        (RflagsBits::AF, AF),
        (RflagsBits::ZF, ZF),
        (RflagsBits::SF, SF),
        (RflagsBits::OF, OF),
    ];
    pairs.iter().filter(|(theirs, _)| bits & theirs != 0).map(|(_, ours)| ours).sum()
}

#[test]
fn facts_are_those_of_the_instructions() {
    let mut factory = InstructionInfoFactory::new();
    encodings(|code, i| {
        let Some(entry) = select(i, true) else { return };
        let (kind, facts) = (entry.op, entry.op.facts());
        let what = format!("{kind:?} {:?} {code:02x?}", i.code());

        // A count in CL may be 0, which keeps the flags; conditions may be any.
        let by_cl = i.op_count() == 2 && i.op_kind(1) == OpKind::Register && i.op1_register() == Register::CL;
        let keeps = by_cl && i.rflags_modified() != 0 && i.op0_register().size() > 1;
        if keeps || i.condition_code() != ConditionCode::None {
            assert_eq!(facts.reads, ARITHMETIC, "{what}");
        } else {
            assert_eq!(facts.reads, flags_of(i.rflags_read()), "{what}");
        }
        let written = flags_of(i.rflags_written() | i.rflags_cleared() | i.rflags_set());
        assert_eq!(facts.writes & written, written, "{what}");
        assert_eq!(facts.writes & !flags_of(i.rflags_modified()), 0, "{what}");
        assert_eq!(facts.writes == 0, facts.leaves == Leaves::Kept, "{what}");

        let then = match i.flow_control() {
            FlowControl::Next => Then::Next,
            FlowControl::ConditionalBranch => Then::Branch,
            _ => Then::End,
        };
        assert_eq!(facts.then, then, "{what}");

        let info = factory.info(i);
        let accesses = info.used_memory().iter().any(|memory| memory.access() != OpAccess::NoMemAccess);
        let sse = info.used_registers().iter().any(|register| register.register().is_xmm());
        let indirect = matches!(i.flow_control(), FlowControl::IndirectBranch | FlowControl::IndirectCall);
        assert_eq!(facts.faults, accesses || sse || indirect, "{what}");
    });
}

/// Where program `n` of a machine begins.
fn program(n: usize) -> u64 {
    CODE + 64 * n as u64
}

/// A machine with programs, and traps wherever else control may go.
fn with_programs(programs: &[Vec<u8>]) -> Machine {
    let mut m = machine(&vec![0xcc; 64 * (programs.len() + 1)]);
    for (n, code) in programs.iter().enumerate() {
        assert!(m.mem.write(program(n), code));
    }
    m
}

/// Makes a machine begin at program `n`. All registers lead to memory but RCX and RAX, which hold `a` and
/// `b`; the memory holds `a`.
fn begin(m: &mut Machine, n: usize, (a, b): (u64, u64), flags: u64) {
    m.cpu.vcpu.r[..8].copy_from_slice(&[b, a, DATA, DATA, STACK, DATA, DATA, DATA]);
    m.cpu.vcpu.rip = program(n);
    m.cpu.vcpu.set_all_flags(flags);
    assert!(m.mem.write(DATA, &a.to_le_bytes()));
}

const VALUES: [u64; 7] = [0, 1, 0x7f, 0x80, 0x8000_0000, 1 << 63, !0];

#[test]
fn flags_are_left_as_the_table_says() {
    for (kind, code) in samples() {
        let facts = kind.facts();
        if facts.then != Then::Next {
            continue;
        }
        let mut m = with_programs(&[code]);
        for flags in [0, ARITHMETIC] {
            for a in VALUES {
                begin(&mut m, 0, (a, a ^ 3), flags);
                assert_eq!(m.cpu.step(&mut m.mem, &mut m.bus), None, "{kind:?}");
                let changed = m.cpu.vcpu.flags.arithmetic() ^ flags;
                assert_eq!(changed & !facts.writes, 0, "{kind:?} {a:x}");
                let form = m.cpu.vcpu.flags.form;
                let as_said = match facts.leaves {
                    Leaves::Kept => form == RAW,
                    Leaves::Sub => form >= SUB,
                    Leaves::Logic => form == LOGIC,
                    Leaves::Other => true,
                };
                assert!(as_said, "{kind:?} leaves form {form}");
            }
        }
    }
}

#[test]
fn a_block_does_what_its_instructions_do_one_by_one() {
    // `xor eax,eax` lets quiet kinds replace others.
    let followers = (0..16).map(|n| jump(n).to_vec()).chain([vec![0x31, 0xc0]]);
    let followers: Vec<Vec<u8>> = followers.collect();
    for (kind, code) in samples() {
        if kind.facts().then != Then::Next || kind.facts().faults {
            continue;
        }
        let programs: Vec<Vec<u8>> = followers.iter().map(|f| [&code[..], f].concat()).collect();
        let (mut block, mut steps) = (with_programs(&programs), with_programs(&programs));
        for n in 0..programs.len() {
            for operands in VALUES.iter().flat_map(|&a| VALUES.map(|b| (a, b))) {
                begin(&mut block, n, operands, 0);
                assert_eq!(block.run(), Exit::Trap(Fault::plain(BP)), "{kind:?}");
                begin(&mut steps, n, operands, 0);
                let exit = (0..3).find_map(|_| steps.cpu.step(&mut steps.mem, &mut steps.bus));
                assert_eq!(exit, Some(Exit::Trap(Fault::plain(BP))), "{kind:?}");
                assert_eq!(block.cpu.vcpu.save(), steps.cpu.vcpu.save(), "{kind:?} {n} {operands:x?}");
            }
        }
    }
}
