//! Exceptions and `sret` (Privileged 4.1, 4.2), with a trap handler in the guest.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{Fields, Op, encode};
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::trapping::{CODE, HANDLER, machine};
use forelift_tests::hart::{DEVICE, Machine};

const PRIVILEGES: [Privilege; 2] = [Privilege::User, Privilege::Supervisor];

/// Checks that the handler was entered, from `pc` in this state.
#[track_caller]
fn entered(m: &Machine, cause: u64, value: u64, pc: u64, from: Privilege, enabled: bool, what: &str) {
    let h = &m.cpu.hart;
    let vector = if h.stvec & 1 != 0 && cause >> 63 != 0 { 4 * (cause & 0xff) } else { 0 };
    let at = HANDLER + vector + 4;
    assert_eq!((h.scause, h.stval, h.sepc, h.pc), (cause, value, pc, at), "{what}");
    assert_eq!(
        (h.spp, h.spie, h.sie_enabled, h.privilege),
        (from, enabled, false, Privilege::Supervisor),
        "{what}"
    );
}

#[test]
fn exceptions_enter_the_handler() {
    let f = Fields::default();
    let nowhere = 0x7000_0008;
    // Instruction (a1 holds an address), cause, stval.
    let cases: &[(Op, Fields, u64, u64, u64)] = &[
        (Op::Jalr, Fields { rd: A0, rs1: A1, ..f }, nowhere, 1, nowhere),
        (Op::Csrrw, Fields { imm: 0xc00, ..f }, 0, 2, 0xc000_1073),
        (Op::Ebreak, f, 0, 3, CODE + 4),
        (Op::LrW, Fields { rs1: A1, ..f }, RAM_BASE + 2, 4, RAM_BASE + 2),
        (Op::LrD, Fields { rs1: A1, ..f }, RAM_BASE + 4, 4, RAM_BASE + 4),
        (Op::Ld, Fields { rd: A0, rs1: A1, ..f }, nowhere, 5, nowhere),
        (Op::Lb, Fields { rd: ZERO, rs1: A1, ..f }, nowhere, 5, nowhere),
        (Op::Fld, Fields { rd: A0, rs1: A1, ..f }, nowhere, 5, nowhere),
        (Op::LrW, Fields { rs1: A1, ..f }, DEVICE, 5, DEVICE),
        (Op::Ld, Fields { rd: A0, rs1: A1, ..f }, DEVICE + 4, 4, DEVICE + 4),
        (Op::AmoaddW, Fields { rs1: A1, ..f }, RAM_BASE + 1, 6, RAM_BASE + 1),
        (Op::AmoswapD, Fields { rs1: A1, ..f }, RAM_BASE + 4, 6, RAM_BASE + 4),
        (Op::ScW, Fields { rs1: A1, ..f }, RAM_BASE + 3, 6, RAM_BASE + 3),
        (Op::ScD, Fields { rs1: A1, ..f }, RAM_BASE + 4, 6, RAM_BASE + 4),
        (Op::Sw, Fields { rs1: A1, ..f }, DEVICE + 2, 6, DEVICE + 2),
        (Op::Sb, Fields { rs1: A1, ..f }, nowhere, 7, nowhere),
        (Op::Fsd, Fields { rs1: A1, ..f }, nowhere, 7, nowhere),
        (Op::AmoorD, Fields { rs1: A1, ..f }, DEVICE, 7, DEVICE),
        (Op::ScD, Fields { rs1: A1, ..f }, DEVICE, 7, DEVICE),
        (Op::Sd, Fields { rs1: A1, ..f }, 0, 7, 0),
        (Op::Sd, Fields { rs1: A1, ..f }, u64::MAX - 3, 7, u64::MAX - 3),
        (Op::Ld, Fields { rs1: A1, ..f }, u64::MAX - 3, 5, u64::MAX - 3),
    ];
    let mut ran = 0;
    for privilege in PRIVILEGES {
        for (vectored, enabled, stale) in (0..8).map(|n| (n & 1 != 0, n & 2 != 0, n & 4 != 0)) {
            for (op, fields, address, cause, value) in cases {
                let mut m = machine(vectored);
                let mut code = Asm::new();
                code.i(Op::Addi, A2, A2, 1).op(*op, *fields).i(Op::Addi, A2, A2, 1);
                m.put(CODE, &code.bytes);
                let h = &mut m.cpu.hart;
                h.fs = 3;
                h.privilege = privilege;
                (h.sie_enabled, h.spie) = (enabled, stale);
                h.spp = if stale { Privilege::Supervisor } else { Privilege::User };
                (h.x[usize::from(A0)], h.x[usize::from(A1)]) = (77, *address);
                let what = format!("{op:?} {address:#x} from {privilege:?}");
                assert_eq!(m.run(100), Exit::Wfi, "{what}");
                // The jump itself is done: the fetch at its target faults.
                let jumped = *op == Op::Jalr;
                entered(
                    &m,
                    *cause,
                    *value,
                    if jumped { *value } else { CODE + 4 },
                    privilege,
                    enabled,
                    &what,
                );
                let h = &m.cpu.hart;
                assert_eq!(
                    (h.x[usize::from(A0)], h.x[usize::from(A2)]),
                    (if jumped { CODE + 8 } else { 77 }, 1),
                    "{what}"
                );
                // The addition, the jump, and the handler's wfi.
                assert_eq!(h.instret, 2 + u64::from(jumped), "{what}");
                ran += 1;
            }
        }
        // ecall from U mode; from S mode it is a call of the SBI.
        let mut m = machine(false);
        m.put(CODE, &encode(Op::Ecall, &f).to_le_bytes());
        m.put(CODE + 4, &encode(Op::Ebreak, &f).to_le_bytes());
        m.cpu.hart.privilege = privilege;
        assert_eq!(m.run(100), Exit::Wfi);
        match privilege {
            Privilege::User => entered(&m, 8, 0, CODE, privilege, false, "ecall"),
            Privilege::Supervisor => entered(&m, 3, CODE + 4, CODE + 4, privilege, false, "ecall"),
        }
        ran += 1;
    }
    println!("{ran} exceptions taken");
    assert!(ran >= 350);
}

#[test]
fn sret_goes_back() {
    let mut cases = 0;
    for (spp, spie, sie) in (0..8).map(|n| (PRIVILEGES[n & 1], n & 2 != 0, n & 4 != 0)) {
        let mut m = machine(false);
        m.put(CODE, &encode(Op::Sret, &Fields::default()).to_le_bytes());
        // There it is seen whether U or S mode runs on.
        m.put(
            CODE + 0x100,
            &encode(Op::Csrrs, &Fields { rd: A0, imm: 0x100, ..Fields::default() }).to_le_bytes(),
        );
        m.put(CODE + 0x104, &encode(Op::Wfi, &Fields::default()).to_le_bytes());
        let h = &mut m.cpu.hart;
        (h.spp, h.spie, h.sie_enabled, h.sepc) = (spp, spie, sie, CODE + 0x100);
        assert_eq!(m.run(100), Exit::Wfi);
        let h = &m.cpu.hart;
        if spp == Privilege::User {
            entered(&m, 2, 0x1000_2573, CODE + 0x100, Privilege::User, spie, "in U mode");
        } else {
            assert_eq!((h.pc, h.privilege), (CODE + 0x108, Privilege::Supervisor));
            assert_eq!((h.sie_enabled, h.spie, h.spp), (spie, true, Privilege::User));
            let status = h.x[usize::from(A0)];
            assert_eq!(status & 0x122, u64::from(spie) << 1 | 1 << 5);
        }
        cases += 1;
    }
    assert_eq!(cases, 8);
}

/// A handler that faults itself retires nothing for ever; the machine must get its turn all the same.
#[test]
fn a_handler_that_faults_gives_the_machine_its_turn() {
    for handler in [HANDLER, 0, 0x7000_0000] {
        let mut m = machine(false);
        m.put(HANDLER, &encode(Op::Ebreak, &Fields::default()).to_le_bytes());
        m.cpu.hart.stvec = handler;
        m.cpu.hart.pc = handler;
        assert_eq!((m.run(1000), m.cpu.hart.instret), (Exit::Budget, 0));
    }
}

/// What is illegal in U mode does not retire there.
#[test]
fn illegal_instructions_do_not_retire() {
    let f = Fields::default();
    let words = [Op::Sret, Op::Wfi, Op::SfenceVma, Op::Ebreak, Op::Ecall].map(|op| encode(op, &f));
    let csr = encode(Op::Csrrs, &Fields { imm: 0x100, ..f });
    let mut cases = 0;
    for word in words.into_iter().chain([csr, 0, 0xffff_ffff]) {
        let mut m = machine(false);
        let mut code = Asm::new();
        code.i(Op::Addi, A0, A0, 1).i(Op::Addi, A0, A0, 1).word(word);
        m.put(CODE, &code.bytes);
        m.cpu.hart.privilege = Privilege::User;
        assert_eq!(m.run(100), Exit::Wfi);
        // Two additions and the handler's wfi.
        assert_eq!((m.cpu.hart.instret, m.cpu.hart.sepc), (3, CODE + 8), "{word:#x}");
        cases += 1;
    }
    assert_eq!(cases, 8);
}
