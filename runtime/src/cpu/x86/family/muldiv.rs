//! Multiplication and division.

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::{DE, Fault, Res};
use crate::cpu::x86::flags::{CF, OF, sign_extend};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::operand::mask;
use iced_x86::{Instruction, Mnemonic, Register};

/// The function for a multiplication or division.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Mul => mul,
        Mnemonic::Imul if i.op_count() == 1 => imul_wide,
        Mnemonic::Imul => imul,
        Mnemonic::Mulx => mulx,
        Mnemonic::Div => div,
        Mnemonic::Idiv => idiv,
        _ => return None,
    })
}

/// Registers that hold the low and the high half of a double-width number.
const HALVES: [(Register, Register); 4] = [
    (Register::AL, Register::AH),
    (Register::AX, Register::DX),
    (Register::EAX, Register::EDX),
    (Register::RAX, Register::RDX),
];

/// Log2 of the size of operand `n` in bytes.
fn log2(i: &Instruction, n: u32) -> u32 {
    Context::operand_size(i, n).trailing_zeros() & 3
}

/// Writes a product to the accumulator's double width. SF, ZF, PF and AF are undefined: those of the low
/// half.
fn give_product(cx: &mut Context<'_>, product: u128, log2: u32, overflow: bool) -> Flow {
    let (low, high) = HALVES[log2 as usize];
    cx.vcpu.set_gpr(low, product as u64);
    cx.vcpu.set_gpr(high, (product >> (8 << log2)) as u64);
    let result = sign_extend(product as u64, log2);
    cx.vcpu.flags.set_result(result, if overflow { CF | OF } else { 0 });
    Flow::Next
}

fn mul(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let log2 = log2(i, 0);
    let b = cx.read(i, 0)?;
    let product = u128::from(cx.vcpu.gpr(HALVES[log2 as usize].0)) * u128::from(b);
    Ok(give_product(cx, product, log2, product >> (8 << log2) != 0))
}

/// Product of sign-extended factors, and whether it does not fit the size.
fn signed_product(a: u64, b: u64, log2: u32) -> (i128, bool) {
    let product = i128::from(a as i64) * i128::from(b as i64);
    (product, product != i128::from(sign_extend(product as u64, log2) as i64))
}

fn imul_wide(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let log2 = log2(i, 0);
    let b = cx.read_signed(i, 0)?;
    let a = sign_extend(cx.vcpu.gpr(HALVES[log2 as usize].0), log2);
    let (product, overflow) = signed_product(a, b, log2);
    Ok(give_product(cx, product as u128, log2, overflow))
}

/// `imul` with two or three operands.
fn imul(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let log2 = log2(i, 0);
    let last = i.op_count() - 1;
    let a = cx.read_signed(i, last - 1)?;
    let b = cx.read_signed(i, last)?;
    let (product, overflow) = signed_product(a, b, log2);
    cx.vcpu.set_gpr(i.op0_register(), product as u64);
    cx.vcpu.flags.set_result(sign_extend(product as u64, log2), if overflow { CF | OF } else { 0 });
    Ok(Flow::Next)
}

fn mulx(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = Context::operand_size(i, 0);
    let b = cx.read(i, 2)?;
    let product = u128::from(cx.vcpu.r[2] & mask(size)) * u128::from(b);
    // The high half wins where both are the same register.
    cx.vcpu.set_gpr(i.op1_register(), product as u64);
    cx.vcpu.set_gpr(i.op0_register(), (product >> (8 * size)) as u64);
    Ok(Flow::Next)
}

/// The accumulator's double width.
fn dividend(cx: &Context<'_>, log2: u32) -> u128 {
    let (low, high) = HALVES[log2 as usize];
    u128::from(cx.vcpu.gpr(high)) << (8 << log2) | u128::from(cx.vcpu.gpr(low))
}

/// Leaves quotient and remainder; the flags are undefined and stay.
fn give_quotient(cx: &mut Context<'_>, quotient: u64, remainder: u64, log2: u32) -> Flow {
    let (low, high) = HALVES[log2 as usize];
    cx.vcpu.set_gpr(low, quotient);
    cx.vcpu.set_gpr(high, remainder);
    Flow::Next
}

fn div(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let log2 = log2(i, 0);
    let divisor = u128::from(cx.read(i, 0)?);
    let dividend = dividend(cx, log2);
    match dividend.checked_div(divisor) {
        Some(quotient) if quotient >> (8 << log2) == 0 => {
            Ok(give_quotient(cx, quotient as u64, (dividend % divisor) as u64, log2))
        }
        _ => Err(Fault::plain(DE)),
    }
}

fn idiv(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let log2 = log2(i, 0);
    let divisor = i128::from(cx.read_signed(i, 0)? as i64);
    let unused = 128 - (16 << log2);
    let dividend = (dividend(cx, log2) << unused) as i128 >> unused;
    match (dividend.checked_div(divisor), dividend.checked_rem(divisor)) {
        (Some(quotient), Some(remainder))
            if quotient == i128::from(sign_extend(quotient as u64, log2) as i64) =>
        {
            Ok(give_quotient(cx, quotient as u64, remainder as u64, log2))
        }
        _ => Err(Fault::plain(DE)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Machine;
    use crate::cpu::x86::fault::{DE, Fault};
    use crate::cpu::x86::flags::{CF, OF};

    #[test]
    fn products() {
        let mut m = Machine::with_registers(&[(0, !0), (3, !0), (2, 0)]);
        m.run("48 f7 e3"); // mul rbx
        assert_eq!((m.r(2), m.r(0), m.arithmetic() & (CF | OF)), (!1, 1, CF | OF));
        m.set_r(0, 2);
        m.run("48 f7 eb"); // imul rbx
        assert_eq!((m.r(2), m.r(0), m.arithmetic() & (CF | OF)), (!0, !1, 0));
        m.set_r(0, 0x1180);
        m.run("f6 e0"); // mul al
        assert_eq!((m.r(0), m.arithmetic() & (CF | OF)), (0x4000, CF | OF));
        m.run("6b c0 04"); // imul eax, eax, 4
        assert_eq!((m.r(0), m.arithmetic() & (CF | OF)), (0x1_0000, 0));
        m.run("0f af c0"); // imul eax, eax
        assert_eq!((m.r(0), m.arithmetic() & (CF | OF)), (0, CF | OF));
        m.set_r(2, !0);
        m.set_flags(CF);
        m.run("c4 e2 fb f6 c3"); // mulx rax, rax, rbx
        assert_eq!((m.r(0), m.r(2), m.arithmetic()), (!1, !0, CF));
    }

    #[test]
    fn quotients() {
        let mut m = Machine::with_registers(&[(2, 5), (0, 3), (3, 6)]);
        m.run("48 f7 f3"); // div rbx
        assert_eq!((m.r(0), m.r(2)), (0xd555_5555_5555_5555, 5));
    }

    #[test]
    fn what_cannot_be_divided() {
        let mut m = Machine::with_registers(&[(2, 6), (0, 3), (3, 6)]);
        assert_eq!(m.fault("48 f7 f3"), Fault::plain(DE)); // div rbx: the quotient is 2^64 and more
        m.set_r(3, 0);
        assert_eq!(m.fault("f7 fb"), Fault::plain(DE));
        for (high, low, divisor, code) in [(1u64 << 63, 0, !0u64, "48 f7 fb"), (!0, 1 << 63, !0, "48 f7 fb")]
        {
            m.set_r(2, high);
            m.set_r(0, low);
            m.set_r(3, divisor);
            assert_eq!(m.fault(code), Fault::plain(DE)); // idiv rbx
        }
        m.set_r(0, 0xff80);
        m.set_r(3, 0xff);
        assert_eq!(m.fault("f6 fb"), Fault::plain(DE)); // idiv bl: -128 / -1
        assert_eq!(m.r(0), 0xff80);
    }

    #[test]
    fn remainders_have_the_sign_of_the_dividend() {
        let mut m = Machine::with_registers(&[(2, !0), (0, -7i64 as u64), (3, 2)]);
        m.run("48 f7 fb"); // idiv rbx
        assert_eq!((m.r(0), m.r(2)), (-3i64 as u64, !0));
        m.set_r(0, 7);
        m.set_r(3, 0xfe);
        m.run("f6 fb"); // idiv bl: 7 / -2
        assert_eq!(m.r(0), 0x1fd);
    }
}
