//! Floating point: arithmetic, comparisons, conversions.

use super::host::{ALL, MEMORY, REGISTER, State, emulate, opcodes_with};
use super::new_machine;
use crate::cpu::x86::family::testing::direct::{DATA, Random, parse};
use crate::cpu::x86::fault::{Fault, XM};
use crate::cpu::x86::state::CR4_OSXMMEXCPT;
use iced_x86::Register;

fn opcodes(prefixes: &[&str], list: &[&str], immediates: &[u8]) {
    let mut random = Random(list.len() as u64);
    opcodes_with(prefixes, list, &[REGISTER, MEMORY], immediates, || State::numbers(&mut random));
    // Some states have unmasked exceptions.
    let faults =
        opcodes_with(prefixes, list, &[REGISTER, MEMORY], immediates, || State::unmasked(&mut random));
    assert!(faults > 100 * list.len(), "{faults}");
}

#[test]
fn arithmetic_agrees_with_the_host() {
    let list = ["0f 51", "0f 58", "0f 59", "0f 5c", "0f 5d", "0f 5e", "0f 5f"];
    opcodes(&["", "66", "f2", "f3"], &list, &[]);
    // addsub, hadd, hsub.
    opcodes(&["66", "f2"], &["0f d0", "0f 7c", "0f 7d"], &[]);
}

#[test]
fn rounding_agrees_with_the_host() {
    opcodes(&["66"], &["0f 3a 08", "0f 3a 09", "0f 3a 0a", "0f 3a 0b"], &ALL[..16]);
}

#[test]
fn dot_products_agree_with_the_host() {
    opcodes(&["66"], &["0f 3a 40", "0f 3a 41"], &ALL);
}

#[test]
fn comparisons_agree_with_the_host() {
    opcodes(&["", "66", "f2", "f3"], &["0f c2"], &ALL[..8]);
    opcodes(&["", "66"], &["0f 2e", "0f 2f"], &[]);
}

#[test]
fn conversions_agree_with_the_host() {
    // cvtps2pd, cvtpd2ps, cvtsd2ss, cvtss2sd; cvtdq2ps, cvtps2dq, cvttps2dq; cvtpd2dq and its like.
    opcodes(&["", "66", "f2", "f3"], &["0f 5a"], &[]);
    opcodes(&["", "66", "f3"], &["0f 5b"], &[]);
    opcodes(&["66", "f2", "f3"], &["0f e6"], &[]);
    // With general-purpose registers of both sizes, and with MMX registers.
    opcodes(&["f2", "f3", "f2 48", "f3 48", "", "66"], &["0f 2a", "0f 2c", "0f 2d"], &[]);
}

/// The approximations are within 1.5 * 2^-12, and special values as on the host.
#[test]
fn approximations_are_near_enough() {
    let mut machine = new_machine();
    let mut random = Random(3);
    for (prefix, opcode, exact) in [
        ("", "0f 53 ca", (|x| 1.0 / x) as fn(f64) -> f64),
        ("", "0f 52 ca", |x| 1.0 / x.sqrt()),
        ("f3", "0f 53 ca", |x| 1.0 / x),
        ("f3", "0f 52 ca", |x| 1.0 / x.sqrt()),
    ] {
        let code = [parse(prefix), parse(opcode)].concat();
        for _ in 0..20000 {
            let mut state = State::numbers(&mut random);
            state.xmm[2] = (0..4).fold(0, |all, n| all | u128::from(random.float32()) << (32 * n));
            let (found, fault) = emulate(&mut machine, &code, &state);
            assert_eq!(fault, None);
            assert_eq!(found.mxcsr, state.mxcsr);
            for n in 0..4 {
                let lane = |xmm: u128| (xmm >> (32 * n)) as u32;
                let (source, result) = (lane(state.xmm[2]), lane(found.xmm[1]));
                if n > 0 && !prefix.is_empty() {
                    assert_eq!(result, lane(state.xmm[1]));
                    continue;
                }
                let x = f32::from_bits(source);
                let flushed = if x.is_subnormal() { 0f32.copysign(x) } else { x };
                let expected = exact(flushed.into());
                let result = f32::from_bits(result);
                if x.is_nan() {
                    assert_eq!(result.to_bits(), source | 1 << 22);
                } else if expected.is_nan() {
                    assert_eq!(result.to_bits(), 0xffc0_0000);
                } else if expected.is_infinite() || expected.abs() < f32::MIN_POSITIVE.into() {
                    let limit = (expected as f32).is_infinite();
                    assert_eq!(result, if limit { expected as f32 } else { 0.0 }, "{x}");
                    assert_eq!(result.is_sign_negative(), expected.is_sign_negative());
                } else {
                    let error = (f64::from(result) - expected).abs() / expected.abs();
                    assert!(error <= 1.5 / 4096.0, "{x}: {result}");
                }
            }
        }
    }
}

/// (1, 0, 0, 0) / (0, 0, 0, 0): division by zero and, in the other elements, invalid.
fn divide(mxcsr: u32, cr4: u64) -> (Option<Fault>, u128, u32) {
    let mut machine = new_machine();
    let one = u128::from(1f32.to_bits());
    machine.vcpu().set_xmm(Register::XMM1, one);
    machine.vcpu().mxcsr = mxcsr;
    machine.vcpu().cr4 &= !cr4;
    let fault = machine.execute(&parse("0f 5e ca")).err();
    (fault, machine.vcpu().xmm(Register::XMM1), machine.vcpu().mxcsr)
}

#[test]
fn unmasked_exceptions_leave_the_destination() {
    let one = u128::from(1f32.to_bits());
    let (fault, _, mxcsr) = divide(0x1f80, 0);
    assert_eq!((fault, mxcsr), (None, 0x1f85));
    // Division by zero is unmasked; then the kernel does not know of #XM.
    assert_eq!(divide(0x1d80, 0), (Some(Fault::plain(XM)), one, 0x1d85));
    assert_eq!(divide(0x1d80, CR4_OSXMMEXCPT), (Some(Fault::ud()), one, 0x1d85));
    // Flags that are set already do not count.
    let (fault, result, _) = divide(0x1fa0, 0);
    assert!(fault.is_none() && result != one);
}

/// A comparison and a conversion that fault leave flags and general-purpose registers.
#[test]
fn faults_leave_other_destinations() {
    let mut machine = new_machine();
    let nan = u128::from(0x7f80_0001u32);
    for code in ["0f 2f ca", "f3 0f 2d ca", "f3 48 0f 2c ca", "0f 2d ca"] {
        machine.vcpu().set_xmm(Register::XMM2, nan);
        machine.vcpu().set_mm(Register::MM1, 7);
        machine.vcpu().mxcsr = 0x1f00;
        machine.vcpu().r[1] = 0x1234_5678_9abc_def0;
        machine.vcpu().set_all_flags(0);
        assert_eq!(machine.execute(&parse(code)), Err(Fault::plain(XM)), "{code}");
        let vcpu = machine.vcpu();
        assert_eq!((vcpu.r[1], vcpu.flags.arithmetic(), vcpu.mxcsr), (0x1234_5678_9abc_def0, 0, 0x1f01));
        assert_eq!(vcpu.mm(Register::MM1), 7);
    }
}

/// A product that overflows, unmasked, keeps the sums from being done: infinity minus infinity is not found
/// invalid.
#[test]
fn a_dot_product_stops_at_the_first_step_that_faults() {
    let mut machine = new_machine();
    let big = f32::MAX.to_bits();
    let a = u128::from(big) | u128::from(big | 1 << 31) << 32;
    machine.vcpu().set_xmm(Register::XMM1, a);
    machine.vcpu().set_xmm(Register::XMM2, u128::from(big) | u128::from(big) << 32);
    machine.vcpu().mxcsr = 0x1f80;
    machine.execute(&parse("66 0f 3a 40 ca 31")).unwrap();
    assert_eq!((machine.vcpu().xmm(Register::XMM1), machine.vcpu().mxcsr), (0xffc0_0000, 0x1fa9));
    machine.vcpu().set_xmm(Register::XMM1, a);
    machine.vcpu().mxcsr = 0x1b80;
    assert_eq!(machine.execute(&parse("66 0f 3a 40 ca 31")), Err(Fault::plain(XM)));
    assert_eq!((machine.vcpu().xmm(Register::XMM1), machine.vcpu().mxcsr), (a, 0x1ba8));
}

#[test]
fn conversions_from_memory_are_not_mmx() {
    let mut machine = new_machine();
    for (code, transition) in
        [("66 0f 2a 0b", false), ("66 0f 2a ca", true), ("0f 2a 0b", true), ("0f 2d 0b", true)]
    {
        machine.vcpu().r[3] = DATA;
        machine.vcpu().fpu.top = 3;
        machine.execute(&parse(code)).unwrap();
        assert_eq!(machine.vcpu().fpu.top == 0, transition, "{code}");
    }
}
