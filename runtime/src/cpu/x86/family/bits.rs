//! Single bits, bit fields, counting.

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::flags::{CF, ZF, sign_extend};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::operand::mask;
use iced_x86::{Instruction, Mnemonic, OpKind};

/// The function for an instruction on bits.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Bt => |cx, i| bit_test(cx, i, |_, _| None),
        Mnemonic::Bts => |cx, i| bit_test(cx, i, |value, bit| Some(value | bit)),
        Mnemonic::Btr => |cx, i| bit_test(cx, i, |value, bit| Some(value & !bit)),
        Mnemonic::Btc => |cx, i| bit_test(cx, i, |value, bit| Some(value ^ bit)),
        Mnemonic::Bsf => |cx, i| scan(cx, i, u64::trailing_zeros),
        Mnemonic::Bsr => |cx, i| scan(cx, i, |value| 63 - value.leading_zeros()),
        Mnemonic::Tzcnt => |cx, i| count_zeros(cx, i, |value, bits| value.trailing_zeros().min(bits)),
        Mnemonic::Lzcnt => |cx, i| count_zeros(cx, i, |value, bits| value.leading_zeros() - (64 - bits)),
        Mnemonic::Popcnt => popcnt,
        Mnemonic::Andn => andn,
        Mnemonic::Bextr => bextr,
        Mnemonic::Blsi => |cx, i| lowest_bit(cx, i, |value| (value & value.wrapping_neg(), value != 0)),
        Mnemonic::Blsr => |cx, i| lowest_bit(cx, i, |value| (value & value.wrapping_sub(1), value == 0)),
        Mnemonic::Blsmsk => |cx, i| lowest_bit(cx, i, |value| (value ^ value.wrapping_sub(1), value == 0)),
        Mnemonic::Bzhi => bzhi,
        Mnemonic::Pdep => |cx, i| by_mask(cx, i, deposit),
        Mnemonic::Pext => |cx, i| by_mask(cx, i, extract),
        _ => return None,
    })
}

/// Log2 of the first operand's size in bytes.
fn log2(i: &Instruction) -> u32 {
    Context::operand_size(i, 0).trailing_zeros()
}

/// `bt` and its like: only CF changes. `change` gives what is written back.
fn bit_test(cx: &mut Context<'_>, i: &Instruction, change: fn(u64, u64) -> Option<u64>) -> Res<Flow> {
    let size = Context::operand_size(i, 0);
    let bits = 8 * size as u64;
    let writes = change(0, 0).is_some();
    let number = cx.read_signed(i, 1)?;
    let bit = 1 << (number & (bits - 1));
    let value = if i.op_kind(0) == OpKind::Memory {
        // A register reaches bits before and past the operand (SDM vol. 2 3.1.1.9).
        let reach = match i.op_kind(1) {
            OpKind::Register => ((number as i64) >> bits.trailing_zeros()).wrapping_mul(size as i64),
            _ => 0,
        };
        let offset = cx.effective_address(i).wrapping_add(reach as u64) & mask(cx.address_size(i));
        let address = cx.linear(cx.memory_segment(i), offset, size)?;
        let value = if writes { cx.load_for_store(address, size)? } else { cx.load(address, size)? };
        if let Some(new) = change(value, bit) {
            cx.store(address, size, new)?;
        }
        value
    } else {
        let value = cx.read(i, 0)?;
        if let Some(new) = change(value, bit) {
            cx.vcpu.set_gpr(i.op0_register(), new);
        }
        value
    };
    cx.vcpu.flags.change(CF, u64::from(value & bit != 0));
    Ok(Flow::Next)
}

/// `bsf` and `bsr`: a source of 0 leaves the destination. Only ZF is defined.
fn scan(cx: &mut Context<'_>, i: &Instruction, find: fn(u64) -> u32) -> Res<Flow> {
    let value = cx.read(i, 1)?;
    if value != 0 {
        cx.vcpu.set_gpr(i.op0_register(), find(value).into());
    }
    cx.vcpu.flags.change(ZF, if value == 0 { ZF } else { 0 });
    Ok(Flow::Next)
}

/// `tzcnt` and `lzcnt`: CF for a source of 0, ZF for a result of 0.
fn count_zeros(cx: &mut Context<'_>, i: &Instruction, count: fn(u64, u32) -> u32) -> Res<Flow> {
    let bits = 8 << log2(i);
    let value = cx.read(i, 1)?;
    let result = u64::from(count(value, bits));
    cx.vcpu.set_gpr(i.op0_register(), result);
    let zero = if result == 0 { ZF } else { 0 };
    cx.vcpu.flags.change(CF | ZF, zero | u64::from(value == 0));
    Ok(Flow::Next)
}

fn popcnt(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let value = cx.read(i, 1)?;
    cx.vcpu.set_gpr(i.op0_register(), value.count_ones().into());
    cx.vcpu.flags.set(if value == 0 { ZF } else { 0 });
    Ok(Flow::Next)
}

/// Writes a result of the BMI instructions with its flags: OF and AF are 0.
fn give(cx: &mut Context<'_>, i: &Instruction, result: u64, carry: bool) -> Flow {
    cx.vcpu.set_gpr(i.op0_register(), result);
    cx.vcpu.flags.set_result(sign_extend(result, log2(i)), carry.into());
    Flow::Next
}

fn andn(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let result = !cx.read(i, 1)? & cx.read(i, 2)?;
    Ok(give(cx, i, result, false))
}

fn bextr(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let value = cx.read(i, 1)?;
    let [start, length, ..] = cx.read(i, 2)?.to_le_bytes();
    let field = value.checked_shr(start.into()).unwrap_or(0);
    Ok(give(cx, i, low_bits(field, length.into()), false))
}

/// The low `n` bits of `value`; all of them when `n` is 64 or more.
fn low_bits(value: u64, n: u32) -> u64 {
    value & !u64::MAX.checked_shl(n).unwrap_or(0)
}

/// `blsi`, `blsr`, `blsmsk`: `operation` gives the result and CF.
fn lowest_bit(cx: &mut Context<'_>, i: &Instruction, operation: fn(u64) -> (u64, bool)) -> Res<Flow> {
    let value = cx.read(i, 1)?;
    let (result, carry) = operation(value);
    Ok(give(cx, i, result, carry))
}

fn bzhi(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let value = cx.read(i, 1)?;
    let from = cx.read(i, 2)? as u8;
    Ok(give(cx, i, low_bits(value, from.into()), u32::from(from) >= 8 << log2(i)))
}

fn by_mask(cx: &mut Context<'_>, i: &Instruction, operation: fn(u64, u64) -> u64) -> Res<Flow> {
    let value = cx.read(i, 1)?;
    let mask = cx.read(i, 2)?;
    cx.vcpu.set_gpr(i.op0_register(), operation(value, mask));
    Ok(Flow::Next)
}

/// `pdep`: the low bits of `value` to the places of the bits of `mask`.
fn deposit(value: u64, mask: u64) -> u64 {
    let (mut result, mut rest, mut n) = (0, mask, 0);
    while rest != 0 {
        let place = rest & rest.wrapping_neg();
        if value >> n & 1 != 0 {
            result |= place;
        }
        rest ^= place;
        n += 1;
    }
    result
}

/// `pext`: the bits of `value` at the places of the bits of `mask`, gathered.
fn extract(value: u64, mask: u64) -> u64 {
    let (mut result, mut rest, mut n) = (0, mask, 0);
    while rest != 0 {
        let place = rest & rest.wrapping_neg();
        result |= u64::from(value & place != 0) << n;
        rest ^= place;
        n += 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::super::testing::{DATA, Machine};
    use crate::cpu::x86::flags::{ARITHMETIC, CF, PF, SF, ZF};

    #[test]
    fn bit_numbers_reach_over_memory() {
        let mut m = Machine::with_registers(&[(3, DATA), (0, -1i64 as u64), (1, 1 << 38)]);
        m.set_flags(ZF);
        m.run("48 0f ab 03"); // bts [rbx], rax
        assert_eq!((m.load(DATA - 8), m.load(DATA), m.arithmetic()), (1 << 63, 0, ZF));
        m.run("0f bb 03"); // btc [rbx], eax
        assert_eq!((m.load(DATA - 8), m.arithmetic()), (0, ZF | CF));
        m.set_r(0, 70);
        m.run("66 0f ab 03"); // bts [rbx], ax
        assert_eq!((m.load(DATA + 8), m.arithmetic()), (1 << 6, ZF));
        m.run("0f ba 63 08 46"); // bt dword [rbx + 8], 70: modulo 32
        assert_eq!(m.arithmetic(), ZF | CF);
        m.run("48 0f b3 c1"); // btr rcx, rax
        assert_eq!((m.r(1), m.arithmetic()), (1 << 38, ZF));
        m.run("48 0f ba f1 26"); // btr rcx, 38
        assert_eq!((m.r(1), m.arithmetic()), (0, ZF | CF));
    }

    #[test]
    fn scans_and_counts() {
        let mut m = Machine::with_registers(&[(0, !0), (3, 0)]);
        m.run("0f bc c3"); // bsf eax, ebx
        assert_eq!((m.r(0), m.arithmetic() & ZF), (!0, ZF));
        m.run("66 f3 0f bd c3"); // lzcnt ax, bx
        assert_eq!((m.r(0) & 0xffff, m.arithmetic() & (CF | ZF)), (16, CF));
        m.run("f3 0f bc c3"); // tzcnt eax, ebx
        assert_eq!((m.r(0), m.arithmetic() & (CF | ZF)), (32, CF));
        m.set_r(3, 0x8000_0010);
        m.run("0f bd c3"); // bsr eax, ebx
        assert_eq!((m.r(0), m.arithmetic() & ZF), (31, 0));
        m.run("f3 0f bd c3"); // lzcnt eax, ebx
        assert_eq!((m.r(0), m.arithmetic() & (CF | ZF)), (0, ZF));
        m.set_flags(ARITHMETIC);
        m.run("f3 0f b8 c3"); // popcnt eax, ebx
        assert_eq!((m.r(0), m.arithmetic()), (2, 0));
    }

    #[test]
    fn fields() {
        let mut m = Machine::with_registers(&[(3, 0x8765_4321), (1, 0x0c08)]);
        m.run("c4 e2 70 f7 c3"); // bextr eax, ebx, ecx
        assert_eq!((m.r(0), m.arithmetic() & (CF | ZF)), (0x543, 0));
        m.set_r(1, 0xff20);
        m.run("c4 e2 70 f7 c3"); // begins past the operand
        assert_eq!((m.r(0), m.arithmetic() & (CF | ZF)), (0, ZF));
        m.run("c4 e2 70 f5 c3"); // bzhi eax, ebx, ecx
        assert_eq!((m.r(0), m.arithmetic() & (CF | SF)), (0x8765_4321, CF | SF));
        m.set_r(1, 0x10);
        m.run("c4 e2 70 f5 c3");
        assert_eq!((m.r(0), m.arithmetic() & (CF | SF)), (0x4321, 0));
        m.set_r(1, 0xff0f_0000);
        m.run("c4 e2 63 f5 c1"); // pdep eax, ebx, ecx
        assert_eq!(m.r(0), 0x3201_0000);
        m.run("c4 e2 62 f5 c1"); // pext eax, ebx, ecx
        assert_eq!(m.r(0), 0x875);
        m.set_r(3, 0);
        m.run("c4 e2 78 f3 db"); // blsi eax, ebx
        assert_eq!((m.r(0), m.arithmetic()), (0, ZF | PF));
        m.run("c4 e2 78 f3 d3"); // blsmsk eax, ebx
        assert_eq!((m.r(0), m.arithmetic() & (CF | ZF | SF)), (0xffff_ffff, CF | SF));
        m.set_r(3, 0x28);
        m.run("c4 e2 78 f3 cb"); // blsr eax, ebx
        assert_eq!((m.r(0), m.arithmetic() & (CF | ZF)), (0x20, 0));
        m.run("c4 e2 78 f2 c3"); // andn eax, eax, ebx
        assert_eq!((m.r(0), m.arithmetic() & (CF | ZF)), (8, 0));
    }
}
