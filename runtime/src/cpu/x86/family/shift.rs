//! Shifts and rotations.
//!
//! Flags that the manual leaves undefined for counts above 1 are computed as for a count of 1.

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::flags::{CF, OF, sign_extend};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::operand::mask;
use iced_x86::{Instruction, Mnemonic};

/// The function for a shift or rotation.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => |cx, i| shift(cx, i, shl),
        Mnemonic::Shr => |cx, i| shift(cx, i, shr),
        Mnemonic::Sar => |cx, i| shift(cx, i, sar),
        Mnemonic::Rol => |cx, i| rotate(cx, i, rol),
        Mnemonic::Ror => |cx, i| rotate(cx, i, ror),
        Mnemonic::Rcl => |cx, i| rotate(cx, i, rcl),
        Mnemonic::Rcr => |cx, i| rotate(cx, i, rcr),
        Mnemonic::Shld => |cx, i| double(cx, i, true),
        Mnemonic::Shrd => |cx, i| double(cx, i, false),
        Mnemonic::Shlx => |cx, i| without_flags(cx, i, |a, count, bits| shl(a, count, bits).result),
        Mnemonic::Shrx => |cx, i| without_flags(cx, i, |a, count, bits| shr(a, count, bits).result),
        Mnemonic::Sarx => |cx, i| without_flags(cx, i, |a, count, bits| sar(a, count, bits).result),
        Mnemonic::Rorx => |cx, i| without_flags(cx, i, |a, count, bits| ror(a, count, bits, 0).result),
        _ => return None,
    })
}

/// What a shift gives: bits above the operand's size may be anything.
struct Outcome {
    result: u64,
    carry: bool,
    overflow: bool,
}

fn bit(value: u64, n: u32) -> bool {
    value >> n & 1 != 0
}

fn shl(a: u64, count: u32, bits: u32) -> Outcome {
    let wide = u128::from(a) << count;
    let (result, carry) = (wide as u64, wide >> bits & 1 != 0);
    Outcome { result, carry, overflow: carry != bit(result, bits - 1) }
}

fn shr(a: u64, count: u32, bits: u32) -> Outcome {
    let wide = u128::from(a) << 1 >> count;
    let result = (wide >> 1) as u64;
    Outcome { result, carry: wide & 1 != 0, overflow: bit(result ^ result << 1, bits - 1) }
}

fn sar(a: u64, count: u32, bits: u32) -> Outcome {
    let wide = i128::from(sign_extend(a, bits.trailing_zeros() - 3) as i64) << 1 >> count;
    Outcome { result: (wide >> 1) as u64, carry: wide & 1 != 0, overflow: false }
}

fn rol(a: u64, count: u32, bits: u32, _: u64) -> Outcome {
    let count = count % bits;
    let wide = u128::from(a) << count;
    let result = (wide | wide >> bits) as u64;
    Outcome { result, carry: bit(result, 0), overflow: bit(result, 0) != bit(result, bits - 1) }
}

fn ror(a: u64, count: u32, bits: u32, _: u64) -> Outcome {
    let result = rol(a, bits - count % bits, bits, 0).result;
    Outcome { result, carry: bit(result, bits - 1), overflow: bit(result ^ result << 1, bits - 1) }
}

/// The operand and the carry above it as one number of `bits + 1` bits.
fn with_carry(a: u64, left: u32, bits: u32, carry: u64) -> (u64, bool) {
    let number = u128::from(a) | u128::from(carry) << bits;
    let rotated = number << left | number >> (bits + 1 - left);
    (rotated as u64, rotated >> bits & 1 != 0)
}

fn rcl(a: u64, count: u32, bits: u32, carry: u64) -> Outcome {
    let (result, carry) = with_carry(a, count % (bits + 1), bits, carry);
    Outcome { result, carry, overflow: carry != bit(result, bits - 1) }
}

fn rcr(a: u64, count: u32, bits: u32, carry: u64) -> Outcome {
    let (result, carry) = with_carry(a, bits + 1 - count % (bits + 1), bits, carry);
    Outcome { result, carry, overflow: bit(result ^ result << 1, bits - 1) }
}

/// Size in bits, and the count: operand `n`, masked to 5 bits, or to 6 for 64-bit operands.
fn count(cx: &mut Context<'_>, i: &Instruction, n: u32) -> Res<(u32, u32)> {
    let bits = 8 * Context::operand_size(i, 0) as u32;
    let count = cx.read(i, n)? as u32 & if bits == 64 { 63 } else { 31 };
    Ok((bits, count))
}

fn flags(outcome: &Outcome) -> u64 {
    if outcome.overflow { OF | u64::from(outcome.carry) } else { outcome.carry.into() }
}

fn shift(cx: &mut Context<'_>, i: &Instruction, operation: fn(u64, u32, u32) -> Outcome) -> Res<Flow> {
    let (bits, count) = count(cx, i, 1)?;
    let a = cx.read_for_write(i, 0)?;
    let outcome = operation(a, count, bits);
    // A count of 0 writes too: 32 bits clear the upper half.
    cx.write(i, 0, outcome.result)?;
    if count != 0 {
        let result = sign_extend(outcome.result, bits.trailing_zeros() - 3);
        cx.vcpu.flags.set_result(result, flags(&outcome));
    }
    Ok(Flow::Next)
}

fn rotate(cx: &mut Context<'_>, i: &Instruction, operation: fn(u64, u32, u32, u64) -> Outcome) -> Res<Flow> {
    let (bits, count) = count(cx, i, 1)?;
    let a = cx.read_for_write(i, 0)?;
    let outcome = operation(a, count, bits, cx.vcpu.flags.carry());
    cx.write(i, 0, outcome.result)?;
    if count != 0 {
        cx.vcpu.flags.change(CF | OF, flags(&outcome));
    }
    Ok(Flow::Next)
}

/// `shld` and `shrd`. With 16 bits, counts above 16 (undefined) bring the first operand in again after the
/// second, as on Intel's processors.
fn double(cx: &mut Context<'_>, i: &Instruction, left: bool) -> Res<Flow> {
    let (bits, count) = count(cx, i, 2)?;
    let a = cx.read_for_write(i, 0)?;
    let b = cx.read(i, 1)?;
    let (result, carry) = if bits == 16 {
        let wide = a << 32 | b << 16 | a;
        match left {
            true => (wide << count >> 32, wide >> (48 - count) & 1),
            false => (wide >> count, wide << 1 >> count & 1),
        }
    } else {
        match left {
            true => {
                let wide = u128::from(a) << bits | u128::from(b);
                ((wide << count >> bits) as u64, a.checked_shr(bits - count).unwrap_or(0) & 1)
            }
            false => {
                let wide = u128::from(b) << bits | u128::from(a);
                ((wide >> count) as u64, (wide << 1 >> count) as u64 & 1)
            }
        }
    };
    cx.write(i, 0, result)?;
    if count != 0 {
        let overflow = if bit(a ^ result, bits - 1) { OF } else { 0 };
        cx.vcpu.flags.set_result(sign_extend(result, bits.trailing_zeros() - 3), carry | overflow);
    }
    Ok(Flow::Next)
}

fn without_flags(cx: &mut Context<'_>, i: &Instruction, operation: fn(u64, u32, u32) -> u64) -> Res<Flow> {
    let (bits, count) = count(cx, i, 2)?;
    let a = cx.read(i, 1)?;
    cx.write(i, 0, operation(a, count, bits) & mask(bits as usize / 8))?;
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Machine;
    use crate::cpu::x86::flags::{ARITHMETIC, CF, OF, PF, SF, ZF};

    #[test]
    fn counts_of_0_and_beyond() {
        let mut m = Machine::with_registers(&[(0, !0), (1, 32)]);
        m.set_flags(ARITHMETIC);
        m.run("d3 e0"); // shl eax, cl
        assert_eq!((m.r(0), m.arithmetic()), (0xffff_ffff, ARITHMETIC));
        m.run("48 d3 e0"); // shl rax, cl
        assert_eq!((m.r(0), m.arithmetic() & CF), (0xffff_ffff_0000_0000, 0));
        m.set_r(0, 0x181);
        m.run("c0 e0 08"); // shl al, 8: the last bit out is bit 0
        assert_eq!((m.r(0), m.arithmetic() & CF), (0x100, CF));
        m.set_r(0, 0x80);
        m.run("c0 f8 1f"); // sar al, 31
        assert_eq!((m.r(0), m.arithmetic()), (0xff, CF | SF | PF));
        m.run("c0 e8 09"); // shr al, 9
        assert_eq!((m.r(0), m.arithmetic() & (CF | ZF)), (0, ZF));
    }

    #[test]
    fn overflow_of_one_bit() {
        for (code, before, after, overflow) in [
            ("d0 e0", 0x40, 0x80, OF),
            ("d0 e0", 0xc0, 0x80, 0),
            ("d0 e8", 0x80, 0x40, OF),
            ("d0 f8", 0x80, 0xc0, 0),
            ("d0 c0", 0x80, 0x01, OF),
            ("d0 c8", 0x01, 0x80, OF),
            ("d0 d0", 0x40, 0x81, OF),
            ("d0 d8", 0x80, 0xc0, 0),
        ] {
            let mut m = Machine::with_registers(&[(0, before)]);
            m.set_flags(CF);
            m.run(code);
            assert_eq!((m.r(0), m.arithmetic() & OF), (after, overflow), "{code} {before:x}");
        }
    }

    #[test]
    fn rotations_through_carry_have_one_bit_more() {
        let mut m = Machine::with_registers(&[(0, 0x5a)]);
        m.set_flags(CF | ZF);
        m.run("c0 d0 09"); // rcl al, 9
        assert_eq!((m.r(0), m.arithmetic() & (CF | ZF)), (0x5a, CF | ZF));
        m.run("c0 d0 04"); // rcl al, 4
        assert_eq!((m.r(0), m.arithmetic() & CF), (0xaa, CF));
        m.run("c0 d8 04"); // rcr al, 4
        assert_eq!((m.r(0), m.arithmetic() & (CF | ZF)), (0x5a, CF | ZF));
        m.set_r(0, 1);
        m.run("48 c1 d8 3f"); // rcr rax, 63
        assert_eq!((m.r(0), m.arithmetic() & CF), (6, 0));
        m.set_r(0, 0x81);
        m.run("c0 c0 10"); // rol al, 16
        assert_eq!((m.r(0), m.arithmetic() & CF), (0x81, CF));
    }

    #[test]
    fn two_operands() {
        let mut m = Machine::with_registers(&[(0, 0x8765_4321_0fed_cba9), (3, 0x1122_3344_5566_7788)]);
        m.run("48 0f a4 d8 08"); // shld rax, rbx, 8
        assert_eq!((m.r(0), m.arithmetic() & CF), (0x6543_210f_edcb_a911, CF));
        m.run("48 0f ac d8 3f"); // shrd rax, rbx, 63
        assert_eq!((m.r(0), m.arithmetic() & CF), (0x2244_6688_aacc_ef10, CF));
        m.set_r(0, 0x1234);
        m.run("66 0f a4 d8 04"); // shld ax, bx, 4
        assert_eq!((m.r(0), m.arithmetic() & CF), (0x2347, CF));
        m.set_r(1, 0x41);
        m.set_flags(CF);
        m.run("c4 e2 f2 f7 c3"); // sarx rax, rbx, rcx
        assert_eq!((m.r(0), m.arithmetic()), (0x0891_19a2_2ab3_3bc4, CF));
        m.run("c4 e3 7b f0 c3 04"); // rorx eax, ebx, 4
        assert_eq!((m.r(0), m.arithmetic()), (0x8556_6778, CF));
    }
}
