//! When instructions may not be executed, what is remembered of them, and what a fault leaves.

use super::new_machine;
use crate::cpu::x86::family::testing::direct::{CODE, DATA, Machine};
use crate::cpu::x86::fault::{Fault, MF, NM};
use crate::cpu::x86::state::{CR0_EM, CR0_MP, CR0_NE, CR0_TS, CR4_OSFXSR};

/// `fld1`, `fldz`, `fdivp`: divides by zero, which is unmasked before.
fn pending() -> Machine {
    let mut machine = new_machine();
    machine.vcpu().fpu.control &= !4;
    for code in ["d9 e8", "d9 ee", "de f9"] {
        machine.run(code).unwrap();
    }
    machine
}

#[test]
fn a_disabled_unit_is_not_available() {
    let nm = Err(Fault::plain(NM));
    // fadd, fld, fnstsw ax, fninit, fxsave.
    let codes = ["d8 c1", "d9 03", "df e0", "db e3", "0f ae 03"];
    for cr0 in [CR0_EM, CR0_TS] {
        for code in codes {
            let mut machine = new_machine();
            machine.vcpu().cr0 |= cr0;
            let before = machine.vcpu().fpu;
            assert_eq!(machine.run(code), nm, "{code}");
            assert_eq!(machine.vcpu().fpu, before);
        }
    }
    // wait heeds TS with MP only, and EM never.
    for (cr0, faults) in [(CR0_EM | CR0_MP, false), (CR0_TS, false), (CR0_TS | CR0_MP, true)] {
        let mut machine = new_machine();
        let others = machine.vcpu().cr0 & !CR0_MP;
        machine.vcpu().cr0 = others | cr0;
        assert_eq!(machine.run("9b").err(), faults.then_some(Fault::plain(NM)));
    }
}

#[test]
fn an_exception_comes_with_the_next_instruction_that_waits() {
    let mut machine = pending();
    // It did not divide: both operands are there.
    assert_eq!(machine.vcpu().fpu.top, 6);
    for code in ["9b", "d9 e8", "d9 2b", "dd 23"] {
        assert_eq!(machine.run(code), Err(Fault::plain(MF)), "{code}");
    }
    // fnstsw ax, fnstcw, fnstenv, which masks all.
    for code in ["df e0", "d9 3b", "d9 33", "9b"] {
        assert!(machine.run(code).is_ok(), "{code}");
    }
    assert_eq!(machine.vcpu().r[0] & 0xffff, 0x8000 | 6 << 11 | 0x84);
    let mut machine = pending();
    machine.run("db e2").unwrap(); // fnclex
    machine.run("9b").unwrap();
    // Without NE it is nobody's business.
    let mut machine = pending();
    machine.vcpu().cr0 &= !CR0_NE;
    machine.run("9b").unwrap();
}

#[test]
fn the_last_instruction_is_remembered() {
    let mut machine = pending();
    let fpu = machine.vcpu().fpu;
    assert_eq!((fpu.instruction, fpu.opcode), (CODE, 0x6f9));
    let mut machine = new_machine();
    machine.run("dd 43 08").unwrap();
    let fpu = machine.vcpu().fpu;
    assert_eq!((fpu.data, fpu.opcode), (DATA + 8, 0));
    // Control instructions are not.
    machine.run("d9 3b").unwrap();
    assert_eq!(machine.vcpu().fpu.data, DATA + 8);
    machine.run("db e3").unwrap();
    assert_eq!((machine.vcpu().fpu.data, machine.vcpu().fpu.instruction), (0, 0));
}

#[test]
fn a_store_that_faults_changes_nothing() {
    let mut machine = new_machine();
    machine.run("d9 eb").unwrap(); // fldpi
    // No address at all: fstp, fistp, fbstp, fnstenv, fnsave, fxsave.
    machine.vcpu().r[3] = 1 << 60;
    for code in ["d9 1b", "dd 1b", "db 3b", "df 3b", "df 33", "d9 33", "dd 33", "0f ae 03"] {
        let before = machine.vcpu().fpu;
        assert_eq!(machine.run(code), Err(Fault::gp()), "{code}");
        assert_eq!(machine.vcpu().fpu, before, "{code}");
    }
}

#[test]
fn the_area_of_fxsave_is_aligned_and_checked() {
    let mut machine = new_machine();
    machine.vcpu().cr4 |= CR4_OSFXSR;
    machine.vcpu().r[3] = DATA + 8;
    assert_eq!(machine.run("0f ae 03"), Err(Fault::gp()));
    assert_eq!(machine.run("0f ae 0b"), Err(Fault::gp()));
    machine.vcpu().r[3] = DATA;
    machine.vcpu().xmm[15] = [1, 2];
    machine.vcpu().mxcsr = 0x1fa1;
    machine.run("48 0f ae 03").unwrap();
    machine.vcpu().xmm[15] = [3, 4];
    machine.vcpu().mxcsr = 0x1f80;
    machine.run("48 0f ae 0b").unwrap();
    assert_eq!((machine.vcpu().xmm[15], machine.vcpu().mxcsr), ([1, 2], 0x1fa1));
    // A bit of MXCSR that does not exist.
    assert!(machine.mem.write(DATA + 24, &[0, 0, 1, 0]));
    assert_eq!(machine.run("48 0f ae 0b"), Err(Fault::gp()));
    assert_eq!(machine.vcpu().mxcsr, 0x1fa1);
}
