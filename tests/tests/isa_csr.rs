//! Which encodings are legal where: every CSR number at both privileges, what a write leaves of a value, the
//! SYSTEM opcode, and everything floating-point while `sstatus.FS` is off.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{CROWS, Fields, Op, decode, encode, random::Rng};
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::pages::{A, D, Mode, PageTables, R, V, W, X};
use forelift_tests::hart::{Machine, TICK};
use std::collections::BTreeSet;

const PRIVILEGES: [Privilege; 2] = [Privilege::User, Privilege::Supervisor];
const CSR_OPS: [Op; 6] = [Op::Csrrw, Op::Csrrs, Op::Csrrc, Op::Csrrwi, Op::Csrrsi, Op::Csrrci];

const FLOAT: [u16; 3] = [0x001, 0x002, 0x003];
const COUNTERS: [u16; 3] = [0xc00, 0xc01, 0xc02];
const SSTATUS: u16 = 0x100;
const SIE: u16 = 0x104;
const STVEC: u16 = 0x105;
const SCOUNTEREN: u16 = 0x106;
const SENVCFG: u16 = 0x10a;
const SSCRATCH: u16 = 0x140;
const SEPC: u16 = 0x141;
const SCAUSE: u16 = 0x142;
const STVAL: u16 = 0x143;
const SIP: u16 = 0x144;
const STIMECMP: u16 = 0x14d;
const SATP: u16 = 0x180;
const SUPERVISOR: [u16; 12] =
    [SSTATUS, SIE, STVEC, SCOUNTEREN, SENVCFG, SSCRATCH, SEPC, SCAUSE, STVAL, SIP, STIMECMP, SATP];

fn machine(privilege: Privilege) -> Machine {
    let mut m = Machine::new(1 << 20);
    m.catch_exceptions(privilege);
    m.cpu.hart.fs = 1;
    m
}

/// Runs code from the start of RAM to its `ebreak` or another exception.
fn run(m: &mut Machine, code: &Asm) -> Exit {
    m.put(RAM_BASE, &code.bytes);
    m.put(RAM_BASE + code.bytes.len() as u64, &encode(Op::Ebreak, &Fields::default()).to_le_bytes());
    m.cpu.hart.pc = RAM_BASE;
    m.run(1000)
}

/// Whether the instructions of `code` all ran.
fn ran(m: &Machine, code: &Asm, exit: Exit) -> bool {
    let end = RAM_BASE + code.bytes.len() as u64;
    exit == Exit::Trap { cause: 3, value: end } && m.cpu.hart.pc == end
}

/// Whether the manual lets this machine execute the instruction.
fn csr_is_legal(number: u16, writes: bool, privilege: Privilege, fs: u8, scounteren: u64) -> bool {
    let exists = if FLOAT.contains(&number) {
        fs != 0
    } else if COUNTERS.contains(&number) {
        privilege == Privilege::Supervisor || scounteren >> (number - COUNTERS[0]) & 1 != 0
    } else {
        SUPERVISOR.contains(&number) && privilege == Privilege::Supervisor
    };
    // Privileged 2.1: the two upper bits tell what cannot be written.
    exists && !(writes && number >> 10 == 3)
}

#[test]
fn every_csr_number_at_both_privileges() {
    let (mut cases, mut legal) = (0, 0);
    for privilege in PRIVILEGES {
        let mut m = machine(privilege);
        for number in 0..0x1000u16 {
            for op in CSR_OPS {
                for source in [ZERO, A1] {
                    for (fs, scounteren) in [(1, 7), (0, 5), (3, 2)] {
                        let writes = matches!(op, Op::Csrrw | Op::Csrrwi) || source != ZERO;
                        let h = &mut m.cpu.hart;
                        (h.fs, h.scounteren, h.satp, h.privilege) = (fs, scounteren, 0, privilege);
                        (h.x[usize::from(A0)], h.x[usize::from(A1)]) = (0x1234_5678, 0);
                        let mut code = Asm::new();
                        code.csr(op, A0, number, source);
                        let exit = run(&mut m, &code);
                        let what = format!(
                            "{op:?} {number:#x}, source {source}, {privilege:?}, FS {fs}, scounteren {scounteren}"
                        );
                        if csr_is_legal(number, writes, privilege, fs, scounteren) {
                            assert!(ran(&m, &code, exit), "{what} is legal: {exit:x?}");
                            legal += 1;
                        } else {
                            let value =
                                u64::from(u32::from_le_bytes(code.bytes[..4].try_into().expect("a word")));
                            assert_eq!(exit, Exit::Trap { cause: 2, value }, "{what}");
                            assert_eq!(
                                (m.cpu.hart.pc, m.cpu.hart.x[usize::from(A0)]),
                                (RAM_BASE, 0x1234_5678),
                                "{what}"
                            );
                            assert_eq!(m.cpu.hart.fs, fs, "{what}");
                        }
                        cases += 1;
                    }
                }
            }
        }
    }
    println!("{cases} accesses to 4096 CSR numbers, {legal} legal");
    assert!(cases == 2 * 4096 * 6 * 2 * 3 && legal > 500);
}

/// What a CSR holds after `value` was written; interrupt inputs are off.
fn kept(number: u16, value: u64) -> u64 {
    match number {
        0x001 => value & 0x1f,
        0x002 => value & 7,
        0x003 => value & 0xff,
        SSTATUS => {
            // SIE, SPIE, SPP, FS, SUM, MXR; UXL is 2; SD says that FS is 3.
            let kept = value & 0xc_6122;
            kept | 2 << 32 | u64::from(kept >> 13 & 3 == 3) << 63
        }
        SIE => value & 0x222,
        SIP => value & 0x002,
        STVEC => value & if value & 2 == 0 { !2 } else { !3 },
        SCOUNTEREN => value & 7,
        SENVCFG => value & 1,
        SEPC => value & !1,
        _ => value,
    }
}

/// Reads, sets, clears and swaps, with registers and immediates, against the values kept.
#[test]
fn writes_leave_what_the_register_holds() {
    let mut rng = Rng::new(21);
    let mut cases = 0;
    for number in FLOAT.into_iter().chain(SUPERVISOR).filter(|n| *n != SATP) {
        let mut m = machine(Privilege::Supervisor);
        for round in 0..400 {
            let random = rng.next_u64();
            let source =
                rng.pick(&[random, random & 0xfff, 0, u64::MAX, 1 << (round % 64), !(1 << (round % 64))]);
            let first = rng.next_u64();
            let op = CSR_OPS[round % 6];
            let immediate = matches!(op, Op::Csrrwi | Op::Csrrsi | Op::Csrrci);
            let uimm = rng.below(32) as u8;
            let h = &mut m.cpu.hart;
            (h.x[usize::from(A1)], h.x[usize::from(A2)]) = (source, first);
            let mut code = Asm::new();
            // Interrupts stay off in between, or they would be taken: user_only holds them back.
            code.csr(Op::Csrrw, ZERO, number, A2);
            code.csr(op, A0, number, if immediate { uimm } else { A1 });
            code.csr(Op::Csrrs, A3, number, ZERO);
            let exit = run(&mut m, &code);
            // A write of sstatus may have switched what follows; it cannot make it fail.
            assert!(ran(&m, &code, exit), "{number:#x}: {exit:x?}");
            let h = &m.cpu.hart;
            let mut old = kept(number, first);
            let operand = if immediate { u64::from(uimm) } else { source };
            let (mut got_old, mut got) = (h.x[usize::from(A0)], h.x[usize::from(A3)]);
            // Writing the floating-point CSRs is all that changes FS here.
            let new = match op {
                Op::Csrrw | Op::Csrrwi => operand,
                Op::Csrrs | Op::Csrrsi => old | operand,
                _ => old & !operand,
            };
            let mut new = kept(number, new);
            if number == SIP {
                // STIP follows stimecmp, which is never.
                (old, new, got_old, got) = (old & !0x20, new & !0x20, got_old & !0x20, got & !0x20);
            }
            assert_eq!((got_old, got), (old, new), "{op:?} on {number:#x}: {first:#x}, then {operand:#x}");
            if FLOAT.contains(&number) {
                assert_eq!(h.fs, 3);
            }
            m.cpu.hart.fs = 1;
            cases += 1;
        }
    }
    println!("{cases} writes to CSRs");
    assert!(cases >= 14 * 400);
}

#[test]
fn satp_takes_the_modes_there_are() {
    let mut rng = Rng::new(22);
    let (mut cases, mut taken) = (0, 0);
    let mut m = Machine::new(4 << 20);
    m.catch_exceptions(Privilege::Supervisor);
    // Code at the same address in bare mode, Sv39 and Sv48.
    let roots = [Mode::Sv39, Mode::Sv48].map(|mode| {
        let pool = RAM_BASE + if mode == Mode::Sv39 { 1 << 20 } else { 2 << 20 };
        let mut tables = PageTables::new(mode, pool);
        tables.map(&mut m.mem, RAM_BASE, RAM_BASE, V | R | W | X | A | D, 0);
        tables.satp(0)
    });
    for largest in [8, 9] {
        m.cpu.hart.max_satp_mode = largest;
        for mode in 0..16u64 {
            for before in [0, roots[0], roots[1]] {
                if before >> 60 > u64::from(largest) {
                    continue;
                }
                let asid = rng.below(1 << 16) as u64;
                let root = roots.iter().find(|r| *r >> 60 == mode).unwrap_or(&roots[0]) & ((1 << 44) - 1);
                let value = if mode == 0 { 0 } else { mode << 60 | asid << 44 | root };
                let h = &mut m.cpu.hart;
                h.satp = before;
                h.flush_tlb();
                h.x[usize::from(A1)] = value;
                let mut code = Asm::new();
                code.csr(Op::Csrrw, A0, SATP, A1).csr(Op::Csrrs, A2, SATP, ZERO);
                let exit = run(&mut m, &code);
                assert!(ran(&m, &code, exit), "satp {value:#x} after {before:#x}: {exit:x?}");
                let known = mode == 0 || (8..=u64::from(largest)).contains(&mode);
                let h = &m.cpu.hart;
                // Privileged 4.1.11: with an unsupported mode, no field is written.
                let wanted = if known { value } else { before };
                assert_eq!(
                    (h.x[usize::from(A0)], h.x[usize::from(A2)]),
                    (before, wanted),
                    "mode {mode}, at most {largest}"
                );
                cases += 1;
                taken += u64::from(known);
            }
        }
    }
    println!("{cases} writes to satp, {taken} taken");
    assert!(cases == 16 * 5 && taken == 2 * 2 + 3 * 3);
}

#[test]
fn counters_read_time_and_instructions() {
    let mut m = machine(Privilege::User);
    m.bus.time = 1_000_000;
    m.cpu.hart.instret = 500;
    let mut code = Asm::new();
    code.csr(Op::Csrrs, A0, 0xc02, ZERO).csr(Op::Csrrs, A1, 0xc00, ZERO);
    for _ in 0..3 * TICK {
        code.i(Op::Addi, ZERO, ZERO, 0);
    }
    code.csr(Op::Csrrs, A2, 0xc02, ZERO).csr(Op::Csrrs, A3, 0xc01, ZERO);
    let exit = run(&mut m, &code);
    assert!(ran(&m, &code, exit));
    let x = &m.cpu.hart.x;
    let at = 500 + 2 + 3 * TICK;
    assert_eq!([x[10], x[11], x[12], x[13]], [500, 501, at, 1_000_000 + (at + 1) / TICK]);
}

/// SYSTEM with funct3 0 and 4: all of funct12, with and without registers.
#[test]
fn every_system_encoding() {
    let (mut cases, mut legal) = (0, BTreeSet::new());
    for privilege in PRIVILEGES {
        let mut m = machine(privilege);
        for funct12 in 0..0x1000u32 {
            for (funct3, rs1, rd) in [(0, 0, 0), (0, 1, 0), (0, 0, 1), (4, 0, 0), (4, 1, 1)] {
                let word = funct12 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x73;
                let supervisor = privilege == Privilege::Supervisor;
                let sfence = funct12 >> 5 == 9 && funct3 == 0 && rd == 0;
                let bare = funct3 == 0 && rs1 == 0 && rd == 0;
                let mut code = Asm::new();
                code.word(word);
                m.cpu.hart.privilege = privilege;
                m.cpu.hart.sepc = RAM_BASE + 4;
                m.cpu.hart.spp = privilege;
                let exit = run(&mut m, &code);
                let wanted = match funct12 {
                    _ if sfence && supervisor => None,
                    0x000 if bare => Some((8, 0)),
                    0x001 if bare => Some((3, RAM_BASE)),
                    0x102 | 0x105 if bare && supervisor => None,
                    _ => Some((2, u64::from(word))),
                };
                match wanted {
                    None if funct12 == 0x105 => assert_eq!((exit, m.cpu.hart.pc), (Exit::Wfi, RAM_BASE + 4)),
                    None => assert!(ran(&m, &code, exit), "{word:#x} at {privilege:?}: {exit:x?}"),
                    Some((cause, value)) => {
                        assert_eq!(
                            (exit, m.cpu.hart.pc),
                            (Exit::Trap { cause, value }, RAM_BASE),
                            "{word:#x} at {privilege:?}"
                        );
                    }
                }
                if wanted.is_none_or(|w| w.0 != 2) {
                    legal.insert(word);
                }
                cases += 1;
            }
        }
    }
    println!("{cases} SYSTEM encodings, {} legal", legal.len());
    // ecall, ebreak, sret, wfi; sfence.vma with any rs2 and rs1 x0 or x1.
    assert!(cases == 2 * 4096 * 5 && legal.len() == 4 + 2 * 32);
}

#[test]
fn the_fpu_is_off_when_fs_is() {
    let mut rng = Rng::new(23);
    let (mut words, mut halves) = (Vec::new(), Vec::new());
    for op in Op::ALL.iter().copied().filter(|op| op.needs_fp()) {
        for rm in 0..5 {
            words
                .push((op, encode(op, &Fields { rd: 8, rs1: 9, rs2: 10, rs3: 11, rm, ..Fields::default() })));
        }
    }
    let float_rows = CROWS.iter().filter(|row| row.expands.is_some_and(|(op, _)| op.needs_fp()));
    halves.extend(float_rows.map(|row| (row.mnemonic, row.matches)));
    assert!(halves.len() == 4, "c.fld, c.fsd and their stack forms");
    let mut cases = 0;
    for privilege in PRIVILEGES {
        let mut m = machine(privilege);
        let codes = words.iter().map(|(op, word)| (op.mnemonic(), word.to_le_bytes().to_vec()));
        let short = halves.iter().map(|(name, half)| (*name, [half.to_le_bytes(), [1, 0]].concat()));
        for (name, bytes) in codes.chain(short.collect::<Vec<_>>()).collect::<Vec<_>>() {
            let raw = match bytes[0] & 3 {
                3 => u32::from_le_bytes(bytes[..4].try_into().expect("a word")),
                _ => u32::from(u16::from_le_bytes([bytes[0], bytes[1]])),
            };
            assert!(decode(raw).is_some_and(|insn| insn.op.needs_fp()), "{name}");
            for fs in 0..4 {
                let h = &mut m.cpu.hart;
                (h.fs, h.frm) = (fs, rng.below(5) as u8);
                // Addresses in RAM for the loads and stores.
                (h.x[2], h.x[8], h.x[9]) = (RAM_BASE + 0x1000, RAM_BASE + 0x1000, RAM_BASE + 0x1000);
                let f = h.f;
                let code = Asm { bytes: bytes.clone() };
                let exit = run(&mut m, &code);
                if fs == 0 {
                    let value = u64::from(raw);
                    assert_eq!(
                        (exit, m.cpu.hart.pc),
                        (Exit::Trap { cause: 2, value }, RAM_BASE),
                        "{name} at {privilege:?}"
                    );
                    assert_eq!((m.cpu.hart.fs, m.cpu.hart.f), (0, f), "{name}");
                } else {
                    assert!(ran(&m, &code, exit), "{name}: {exit:x?}");
                    assert!(
                        m.cpu.hart.fs == 3 || m.cpu.hart.f == f,
                        "{name} leaves FS {} behind",
                        m.cpu.hart.fs
                    );
                }
                cases += 1;
            }
        }
    }
    println!("{cases} floating-point instructions with FS off and on");
    assert!(cases > 2000);
}

/// Reserved rounding modes: in the instruction never an instruction, in `frm` illegal for what uses it.
#[test]
fn reserved_rounding_modes_are_illegal() {
    let mut cases = 0;
    let mut m = machine(Privilege::User);
    for op in Op::ALL.iter().copied().filter(|op| op.uses_rm()) {
        for frm in 0..8u8 {
            for rm in 0..8u8 {
                let word = encode(op, &Fields { rd: 8, rs1: 9, rs2: 10, rs3: 11, rm, ..Fields::default() });
                (m.cpu.hart.frm, m.cpu.hart.fs) = (frm, 1);
                let mut code = Asm::new();
                code.word(word);
                let exit = run(&mut m, &code);
                let mode = if rm == 7 { frm } else { rm };
                if mode < 5 {
                    assert!(ran(&m, &code, exit), "{op:?} rm {rm} frm {frm}: {exit:x?}");
                } else {
                    assert_eq!(
                        exit,
                        Exit::Trap { cause: 2, value: u64::from(word) },
                        "{op:?} rm {rm} frm {frm}"
                    );
                }
                cases += 1;
            }
        }
    }
    println!("{cases} rounding modes");
    assert!(cases > 2000);
}
