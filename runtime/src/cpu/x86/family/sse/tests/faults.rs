//! When instructions may not be executed, and what they leave then.

use super::new_machine;
use crate::cpu::x86::family::testing::direct::{DATA, Machine, parse};
use crate::cpu::x86::fault::{Fault, MF, NM};
use crate::cpu::x86::state::{CR0_EM, CR0_TS, CR4_OSFXSR};
use iced_x86::Register;

fn fault(prepare: impl Fn(&mut Machine), code: &str) -> Option<Fault> {
    let mut machine = new_machine();
    machine.vcpu().r[3] = DATA;
    machine.vcpu().r[7] = DATA;
    prepare(&mut machine);
    machine.execute(&parse(code)).err()
}

#[test]
fn operands_of_16_bytes_are_aligned() {
    let odd = |machine: &mut Machine| machine.vcpu().r[3] = DATA + 8;
    // movaps, movaps to memory, movntdq, paddb, pshufd, unpcklps.
    for code in ["0f 28 0b", "0f 29 0b", "66 0f e7 0b", "66 0f fc 0b", "66 0f 70 0b 00", "0f 14 0b"] {
        assert_eq!(fault(odd, code), Some(Fault::gp()), "{code}");
        assert_eq!(fault(|_| (), code), None, "{code}");
    }
    // movups both ways, movdqu both ways, lddqu; movddup and pmovsxbw take 8 bytes.
    let unaligned = [
        "0f 10 0b",
        "0f 11 0b",
        "f3 0f 6f 0b",
        "f3 0f 7f 0b",
        "f2 0f f0 0b",
        "f2 0f 12 0b",
        "66 0f 38 20 0b",
    ];
    for code in unaligned {
        assert_eq!(fault(odd, code), None, "{code}");
    }
}

#[test]
fn unaligned_accesses_reach_over_pages() {
    let mut machine = new_machine();
    let value = 0x1032_5476_98ba_dcfe_efcd_ab89_6745_2301;
    for (at, code) in [(0xff1, "0f 11 0b"), (0xff8, "f3 0f 7f 0b"), (0xfff, "66 0f 11 0b")] {
        machine.vcpu().r[3] = DATA + at;
        machine.vcpu().set_xmm(Register::XMM1, value);
        machine.execute(&parse(code)).unwrap();
        assert_eq!(machine.mem.read_array(DATA + at), Some(value.to_le_bytes()));
        machine.vcpu().set_xmm(Register::XMM1, 0);
        machine.execute(&parse("0f 10 0b")).unwrap();
        assert_eq!(machine.vcpu().xmm(Register::XMM1), value);
    }
}

#[test]
fn a_disabled_unit_comes_before_operands() {
    let odd = DATA + 1;
    let with = |cr0: u64, cr4: u64| {
        move |machine: &mut Machine| {
            machine.vcpu().r[3] = odd;
            machine.vcpu().cr0 |= cr0;
            machine.vcpu().cr4 &= !cr4;
        }
    };
    let (nm, ud) = (Some(Fault::plain(NM)), Some(Fault::ud()));
    // movaps, paddb, ptest, ldmxcsr; movq2dq has registers of both kinds.
    for code in ["0f 28 0b", "66 0f fc 0b", "66 0f 38 17 0b", "0f ae 13", "f3 0f d6 ca"] {
        assert_eq!(fault(with(CR0_TS, 0), code), nm, "{code}");
        assert_eq!(fault(with(CR0_EM, 0), code), ud, "{code}");
        assert_eq!(fault(with(CR0_TS, CR4_OSFXSR), code), ud, "{code}");
    }
    // MMX does not ask for OSFXSR, movnti for nothing.
    for code in ["0f fc 0b", "0f 6f 0b", "0f 77", "0f d7 ca"] {
        assert_eq!(fault(with(CR0_TS, 0), code), nm, "{code}");
        assert_eq!(fault(with(CR0_EM, 0), code), ud, "{code}");
        assert_eq!(fault(with(0, CR4_OSFXSR), code), None, "{code}");
    }
    assert_eq!(fault(with(CR0_EM | CR0_TS, CR4_OSFXSR), "0f c3 0b"), None);
}

#[test]
fn a_pending_exception_of_the_fpu_comes_before_mmx() {
    // A stack fault is pending when it is unmasked.
    let pending = |machine: &mut Machine| machine.vcpu().fpu.status = 1;
    let unmasked = |machine: &mut Machine| {
        machine.vcpu().fpu.status = 1;
        machine.vcpu().fpu.control &= !1;
    };
    for code in ["0f fc ca", "0f 6f 0b", "0f 77", "f3 0f d6 ca", "0f c4 ca 00"] {
        assert_eq!(fault(pending, code), None, "{code}");
        assert_eq!(fault(unmasked, code), Some(Fault::plain(MF)), "{code}");
    }
    assert_eq!(fault(unmasked, "66 0f fc ca"), None);
}

#[test]
fn mmx_takes_the_registers_of_the_fpu() {
    let mut machine = new_machine();
    for code in ["0f fc ca", "0f 6f 0b", "0f 7f 0b", "0f d7 ca", "0f c5 ca 00", "f3 0f d6 ca", "f2 0f d6 ca"]
    {
        machine.vcpu().r[3] = DATA;
        machine.vcpu().fpu.top = 5;
        machine.vcpu().fpu.valid = 0x10;
        machine.vcpu().fpu.registers[1].sign_exponent = 7;
        machine.execute(&parse(code)).unwrap();
        let fpu = machine.vcpu().fpu;
        assert_eq!((fpu.top, fpu.valid), (0, 0xff), "{code}");
        let written = matches!(code, "0f fc ca" | "0f 6f 0b" | "f2 0f d6 ca");
        assert_eq!(fpu.registers[1].sign_exponent, if written { 0xffff } else { 7 }, "{code}");
    }
    machine.execute(&parse("0f 77")).unwrap();
    assert_eq!((machine.vcpu().fpu.top, machine.vcpu().fpu.valid), (0, 0));
}

#[test]
fn mxcsr_has_16_bits() {
    let reserved = |machine: &mut Machine| assert!(machine.mem.write(DATA, &0x1_1f80u32.to_le_bytes()));
    assert_eq!(fault(reserved, "0f ae 13"), Some(Fault::gp()));
}

/// The second page is beyond the canonical addresses: it matters only when a byte there is selected.
#[test]
fn masked_stores_are_all_or_nothing() {
    const END: u64 = 1 << 47;
    let masked = |mask: u128| {
        move |machine: &mut Machine| {
            machine.vcpu().r[7] = END - 8;
            machine.vcpu().set_xmm(Register::XMM2, mask);
        }
    };
    // maskmovdqu xmm1, xmm2
    assert_eq!(fault(masked(0x80 << 56), "66 0f f7 ca"), None);
    assert_eq!(fault(masked(0x80 << 64), "66 0f f7 ca"), Some(Fault::gp()));
    assert_eq!(fault(masked(0x7f7f << 56), "66 0f f7 ca"), None);
}
