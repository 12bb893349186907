//! Addition, subtraction, logic, comparison, exchange with comparison, decimal adjustment.
//!
//! A `lock` prefix is nothing special: there is one processor.

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::{DE, Fault, Res};
use crate::cpu::x86::flags::{self, AF, CF, LazyFlags, ZF, sign_extend};
use crate::cpu::x86::handler::{Flow, Handler};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// The function for an arithmetic or logical instruction.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Add => |cx, i| binary(cx, i, |cx, a, b, log2| cx.add_flags(a, b, 0, log2)),
        Mnemonic::Adc => {
            |cx, i| binary(cx, i, |cx, a, b, log2| cx.add_flags(a, b, cx.vcpu.flags.carry(), log2))
        }
        Mnemonic::Sub => |cx, i| binary(cx, i, |cx, a, b, log2| cx.sub_flags(a, b, 0, log2)),
        Mnemonic::Sbb => {
            |cx, i| binary(cx, i, |cx, a, b, log2| cx.sub_flags(a, b, cx.vcpu.flags.carry(), log2))
        }
        Mnemonic::And => |cx, i| binary(cx, i, |cx, a, b, _| cx.logic_flags(a & b)),
        Mnemonic::Or => |cx, i| binary(cx, i, |cx, a, b, _| cx.logic_flags(a | b)),
        Mnemonic::Xor => |cx, i| binary(cx, i, |cx, a, b, _| cx.logic_flags(a ^ b)),
        Mnemonic::Inc => |cx, i| unary(cx, i, inc),
        Mnemonic::Dec => |cx, i| unary(cx, i, dec),
        Mnemonic::Neg => |cx, i| unary(cx, i, |cx, a, log2| cx.sub_flags(0, a, 0, log2)),
        Mnemonic::Not => |cx, i| unary(cx, i, |cx, a, _| (!a, cx.vcpu.flags)),
        Mnemonic::Cmp => |cx, i| compare(cx, i, |cx, a, b, log2| cx.sub_flags(a, b, 0, log2)),
        Mnemonic::Test => |cx, i| compare(cx, i, |cx, a, b, _| cx.logic_flags(a & b)),
        Mnemonic::Xadd => xadd,
        Mnemonic::Cmpxchg => cmpxchg,
        Mnemonic::Cmpxchg8b => cmpxchg8b,
        Mnemonic::Cmpxchg16b => cmpxchg16b,
        Mnemonic::Daa => daa,
        Mnemonic::Das => das,
        Mnemonic::Aaa => aaa,
        Mnemonic::Aas => aas,
        Mnemonic::Aam => aam,
        Mnemonic::Aad => aad,
        _ => return None,
    })
}

/// A result and its flags.
type Outcome = (u64, LazyFlags);

impl Context<'_> {
    fn add_flags(&self, a: u64, b: u64, carry: u64, log2: u32) -> Outcome {
        let lazy = match carry {
            0 => LazyFlags::new(flags::ADD + log2, a, b),
            _ => LazyFlags::new(flags::RAW, flags::of_add(a, b, carry, log2), 0),
        };
        (a.wrapping_add(b).wrapping_add(carry), lazy)
    }

    fn sub_flags(&self, a: u64, b: u64, borrow: u64, log2: u32) -> Outcome {
        let lazy = match borrow {
            0 => LazyFlags::new(flags::SUB + log2, a, b),
            _ => LazyFlags::new(flags::RAW, flags::of_sub(a, b, borrow, log2), 0),
        };
        (a.wrapping_sub(b).wrapping_sub(borrow), lazy)
    }

    fn logic_flags(&self, result: u64) -> Outcome {
        (result, LazyFlags::new(flags::LOGIC, result, 0))
    }

    /// `inc` and `dec`: these flags, but for CF.
    fn keep_carry(&self, flags: u64) -> LazyFlags {
        LazyFlags::new(flags::RAW, flags & !CF | self.vcpu.flags.carry(), 0)
    }
}

fn inc(cx: &Context<'_>, a: u64, log2: u32) -> Outcome {
    (a.wrapping_add(1), cx.keep_carry(flags::of_add(a, 1, 0, log2)))
}

fn dec(cx: &Context<'_>, a: u64, log2: u32) -> Outcome {
    (a.wrapping_sub(1), cx.keep_carry(flags::of_sub(a, 1, 0, log2)))
}

/// Log2 of the first operand's size in bytes.
fn log2(i: &Instruction) -> u32 {
    Context::operand_size(i, 0).trailing_zeros()
}

/// Two operands, the result to the first. Operands are sign-extended.
fn binary(
    cx: &mut Context<'_>,
    i: &Instruction,
    operation: impl Fn(&Context<'_>, u64, u64, u32) -> Outcome,
) -> Res<Flow> {
    let log2 = log2(i);
    let a = sign_extend(cx.read_for_write(i, 0)?, log2);
    let b = cx.read_signed(i, 1)?;
    let (result, lazy) = operation(cx, a, b, log2);
    cx.write(i, 0, result)?;
    cx.vcpu.flags = lazy;
    Ok(Flow::Next)
}

fn unary(
    cx: &mut Context<'_>,
    i: &Instruction,
    operation: impl Fn(&Context<'_>, u64, u32) -> Outcome,
) -> Res<Flow> {
    let log2 = log2(i);
    let a = sign_extend(cx.read_for_write(i, 0)?, log2);
    let (result, lazy) = operation(cx, a, log2);
    cx.write(i, 0, result)?;
    cx.vcpu.flags = lazy;
    Ok(Flow::Next)
}

/// Two operands, only flags as result.
fn compare(
    cx: &mut Context<'_>,
    i: &Instruction,
    operation: impl Fn(&Context<'_>, u64, u64, u32) -> Outcome,
) -> Res<Flow> {
    let a = cx.read_signed(i, 0)?;
    let b = cx.read_signed(i, 1)?;
    let (_, lazy) = operation(cx, a, b, log2(i));
    cx.vcpu.flags = lazy;
    Ok(Flow::Next)
}

fn xadd(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let log2 = log2(i);
    let a = sign_extend(cx.read_for_write(i, 0)?, log2);
    let b = cx.read_signed(i, 1)?;
    let (sum, lazy) = cx.add_flags(a, b, 0, log2);
    if i.op_kind(0) == OpKind::Memory {
        cx.write(i, 0, sum)?;
        cx.write(i, 1, a)?;
    } else {
        // The sum wins where both are the same register.
        cx.write(i, 1, a)?;
        cx.write(i, 0, sum)?;
    }
    cx.vcpu.flags = lazy;
    Ok(Flow::Next)
}

fn cmpxchg(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let log2 = log2(i);
    let accumulator = [Register::AL, Register::AX, Register::EAX, Register::RAX][log2 as usize & 3];
    let old = sign_extend(cx.read_for_write(i, 0)?, log2);
    let expected = sign_extend(cx.vcpu.gpr(accumulator), log2);
    let new = cx.read(i, 1)?;
    let equal = old == expected;
    // Memory is written in any case; a register, as the accumulator, only when it gets something new: of 32
    // bits the upper half stays.
    if equal {
        cx.write(i, 0, new)?;
    } else {
        if i.op_kind(0) == OpKind::Memory {
            cx.write(i, 0, old)?;
        }
        cx.vcpu.set_gpr(accumulator, old);
    }
    let (_, lazy) = cx.sub_flags(expected, old, 0, log2);
    cx.vcpu.flags = lazy;
    Ok(Flow::Next)
}

fn cmpxchg8b(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let pair = |high: u64, low: u64| high << 32 | low & 0xffff_ffff;
    let address = cx.linear_address(i)?;
    let old = cx.load_for_store(address, 8)?;
    let equal = old == pair(cx.vcpu.r[2], cx.vcpu.r[0]);
    let new = if equal { pair(cx.vcpu.r[1], cx.vcpu.r[3]) } else { old };
    cx.store(address, 8, new)?;
    if !equal {
        cx.vcpu.r[0] = old & 0xffff_ffff;
        cx.vcpu.r[2] = old >> 32;
    }
    cx.vcpu.flags.change(ZF, if equal { ZF } else { 0 });
    Ok(Flow::Next)
}

fn cmpxchg16b(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let pair = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
    let address = cx.linear_address(i)?;
    if address % 16 != 0 {
        return Err(Fault::gp());
    }
    let low = cx.load_for_store(address, 8)?;
    let old = pair(cx.load(address + 8, 8)?, low);
    let equal = old == pair(cx.vcpu.r[2], cx.vcpu.r[0]);
    let new = if equal { pair(cx.vcpu.r[1], cx.vcpu.r[3]) } else { old };
    cx.store128(address, new)?;
    if !equal {
        cx.vcpu.r[0] = old as u64;
        cx.vcpu.r[2] = (old >> 64) as u64;
    }
    cx.vcpu.flags.change(ZF, if equal { ZF } else { 0 });
    Ok(Flow::Next)
}

/// `daa` and `das` (SDM vol. 2): `adjust` adds or subtracts, and tells whether that carried.
fn decimal(cx: &mut Context<'_>, adjust: fn(u8, u8) -> (u8, bool)) -> Res<Flow> {
    let old = cx.vcpu.r[0] as u8;
    let flags = cx.vcpu.flags.arithmetic();
    let (mut al, mut new) = (old, 0);
    if old & 15 > 9 || flags & AF != 0 {
        let (adjusted, carry) = adjust(al, 6);
        al = adjusted;
        new |= AF | flags & CF | u64::from(carry);
    }
    if old > 0x99 || flags & CF != 0 {
        al = adjust(al, 0x60).0;
        new |= CF;
    }
    cx.vcpu.set_gpr(Register::AL, al.into());
    cx.vcpu.flags.set_result(sign_extend(al.into(), 0), new);
    Ok(Flow::Next)
}

fn daa(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    decimal(cx, u8::overflowing_add)
}

fn das(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    decimal(cx, u8::overflowing_sub)
}

/// `aaa` and `aas`: what is added to AX when the digit needs it.
fn ascii(cx: &mut Context<'_>, adjustment: u16) -> Res<Flow> {
    let ax = cx.vcpu.r[0] as u16;
    let needed = ax & 15 > 9 || cx.vcpu.flags.arithmetic() & AF != 0;
    let adjusted = if needed { ax.wrapping_add(adjustment) } else { ax } & 0xff0f;
    cx.vcpu.set_gpr(Register::AX, adjusted.into());
    cx.vcpu.flags.set_result(sign_extend(u64::from(adjusted), 0), if needed { AF | CF } else { 0 });
    Ok(Flow::Next)
}

fn aaa(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    ascii(cx, 0x106)
}

fn aas(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    ascii(cx, 0x106u16.wrapping_neg())
}

fn aam(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (al, base) = (cx.vcpu.r[0] as u8, i.immediate8());
    if base == 0 {
        return Err(Fault::plain(DE));
    }
    cx.vcpu.set_gpr(Register::AX, u64::from(al / base) << 8 | u64::from(al % base));
    cx.vcpu.flags.set_logic(sign_extend((al % base).into(), 0));
    Ok(Flow::Next)
}

fn aad(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let [al, ah] = (cx.vcpu.r[0] as u16).to_le_bytes();
    let al = al.wrapping_add(ah.wrapping_mul(i.immediate8()));
    cx.vcpu.set_gpr(Register::AX, al.into());
    cx.vcpu.flags.set_logic(sign_extend(al.into(), 0));
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{DATA, Machine};
    use crate::cpu::x86::fault::{DE, Fault};
    use crate::cpu::x86::flags::{AF, CF, OF, PF, SF, ZF};

    #[test]
    fn carries_go_through_long_additions() {
        let mut m = Machine::with_registers(&[(0, !0), (3, 0), (1, 1)]);
        m.set_flags(0);
        m.run("48 01 c8"); // add rax, rcx
        assert_eq!((m.r(0), m.arithmetic()), (0, CF | PF | AF | ZF));
        m.set_r(3, 0x7fff_ffff);
        m.run("83 d3 00"); // adc ebx, 0
        assert_eq!((m.r(3), m.arithmetic()), (0x8000_0000, OF | SF | PF | AF));
        m.set_flags(CF);
        m.run("83 db ff"); // sbb ebx, -1: the operand and the borrow make 2^32
        assert_eq!((m.r(3), m.arithmetic()), (0x8000_0000, CF | SF | PF | AF));
    }

    #[test]
    fn inc_and_dec_keep_the_carry() {
        let mut m = Machine::with_registers(&[(0, 0x7f)]);
        m.set_flags(CF);
        m.run("fe c0"); // inc al
        assert_eq!((m.r(0), m.arithmetic()), (0x80, CF | OF | SF | AF));
        m.set_flags(0);
        m.run("fe c8"); // dec al
        assert_eq!((m.r(0), m.arithmetic()), (0x7f, OF | AF));
        m.run("f6 d8"); // neg al
        assert_eq!((m.r(0), m.arithmetic()), (0x81, CF | SF | AF | PF));
        m.run("f6 d0"); // not al
        assert_eq!((m.r(0), m.arithmetic()), (0x7e, CF | SF | AF | PF));
    }

    #[test]
    fn comparisons_write_only_flags() {
        let mut m = Machine::with_registers(&[(0, 5), (3, DATA)]);
        m.store(DATA, 6);
        m.run("48 3b 03"); // cmp rax, [rbx]
        assert_eq!((m.r(0), m.load(DATA), m.arithmetic()), (5, 6, CF | SF | AF | PF));
        m.run("48 85 03"); // test [rbx], rax
        assert_eq!((m.r(0), m.load(DATA), m.arithmetic()), (5, 6, 0));
    }

    #[test]
    fn exchange_with_comparison() {
        let mut m = Machine::with_registers(&[(0, !0 - 1), (3, DATA), (1, 9)]);
        m.store(DATA, 0x7);
        m.run("f0 0f b1 0b"); // lock cmpxchg [rbx], ecx
        assert_eq!((m.r(0), m.load(DATA), m.arithmetic() & ZF), (7, 7, 0));
        m.run("f0 0f b1 0b");
        assert_eq!((m.r(0), m.load(DATA), m.arithmetic()), (7, 9, ZF | PF));
        m.set_r(2, !0);
        m.run("0f b1 ca"); // cmpxchg edx, ecx
        assert_eq!((m.r(0), m.r(2)), (0xffff_ffff, !0));
        m.run("0f c1 c0"); // xadd eax, eax
        assert_eq!(m.r(0), 0xffff_fffe);
    }

    #[test]
    fn exchange_of_pairs() {
        let mut m = Machine::with_registers(&[(0, !0), (2, !0), (6, DATA), (3, 1), (1, 2)]);
        m.store(DATA, 0x5_0000_0004);
        m.set_flags(CF);
        m.run("0f c7 0e"); // cmpxchg8b [rsi]
        assert_eq!((m.r(0), m.r(2), m.arithmetic()), (4, 5, CF));
        m.run("0f c7 0e");
        assert_eq!((m.load(DATA), m.arithmetic()), (0x2_0000_0001, CF | ZF));
        m.store(DATA + 8, 7);
        m.run("48 0f c7 0e"); // cmpxchg16b [rsi]
        assert_eq!((m.r(0), m.r(2), m.arithmetic()), (0x2_0000_0001, 7, CF));
        m.run("48 0f c7 0e");
        assert_eq!((m.load(DATA), m.load(DATA + 8), m.arithmetic()), (1, 2, CF | ZF));
        m.set_r(6, DATA + 8);
        assert_eq!(m.fault("48 0f c7 0e"), Fault::gp());
    }

    #[test]
    fn decimal_digits() {
        let mut m = Machine::with_registers(&[(0, 0x79), (3, 0x35)]).compatibility();
        m.run("00 d8"); // add al, bl
        m.run("27"); // daa: 79 + 35 = 114
        assert_eq!((m.r(0), m.arithmetic() & (CF | AF)), (0x14, CF | AF));
        m.set_r(0, 0x35);
        m.set_r(3, 0x47);
        m.run("28 d8"); // sub al, bl
        m.run("2f"); // das: 35 - 47 = -12
        assert_eq!((m.r(0), m.arithmetic() & (CF | AF)), (0x88, CF | AF));
        m.set_r(0, 0x20a);
        m.set_flags(0);
        m.run("37"); // aaa
        assert_eq!((m.r(0), m.arithmetic() & (CF | AF)), (0x300, CF | AF));
        m.set_flags(AF);
        m.run("3f"); // aas
        assert_eq!((m.r(0), m.arithmetic() & (CF | AF)), (0x10a, CF | AF));
        m.set_r(0, 0x63);
        m.run("d4 0a"); // aam
        assert_eq!(m.r(0), 0x909);
        m.run("d5 0a"); // aad
        assert_eq!(m.r(0), 0x63);
        assert_eq!(m.fault("d4 00"), Fault::plain(DE));
    }
}
