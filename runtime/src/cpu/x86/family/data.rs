//! Moves, extensions, conditional moves, exchanges, and what does nothing.

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::flags::{AF, CF, PF, SF, ZF, sign_extend};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::operand::condition;
use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, Register};

/// The function for a data transfer.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Mov if !moves_system_register(i) => mov,
        Mnemonic::Movzx => mov,
        Mnemonic::Movsx | Mnemonic::Movsxd => movsx,
        Mnemonic::Lea => lea,
        Mnemonic::Xchg => xchg,
        Mnemonic::Bswap => bswap,
        Mnemonic::Movbe => movbe,
        Mnemonic::Cbw | Mnemonic::Cwde | Mnemonic::Cdqe => widen,
        Mnemonic::Cwd | Mnemonic::Cdq | Mnemonic::Cqo => spread_sign,
        Mnemonic::Xlatb => xlat,
        Mnemonic::Lahf => lahf,
        Mnemonic::Sahf => sahf,
        // Hints: their operands are not accessed, and nothing is reordered that fences could order.
        Mnemonic::Nop
        | Mnemonic::Reservednop
        | Mnemonic::Endbr32
        | Mnemonic::Endbr64
        | Mnemonic::Pause
        | Mnemonic::Prefetch
        | Mnemonic::Prefetchw
        | Mnemonic::Prefetchwt1
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Prefetchit0
        | Mnemonic::Prefetchit1
        | Mnemonic::Cldemote
        | Mnemonic::Rdsspd
        | Mnemonic::Rdsspq
        | Mnemonic::Lfence
        | Mnemonic::Mfence
        | Mnemonic::Sfence => |_, _| Ok(Flow::Next),
        _ if i.condition_code() == ConditionCode::None => return None,
        _ if i.is_jcc_short_or_near() || i.is_loop() || i.is_loopcc() => return None,
        // `loop` and its like aside, `setcc` has one operand, `cmovcc` two. fcmovcc is x87's.
        _ if i.op_kind(0) == OpKind::Register && !i.op0_register().is_gpr() => return None,
        _ if i.op_count() == 1 => setcc,
        _ if i.op_count() == 2 => cmov,
        _ => return None,
    })
}

fn moves_system_register(i: &Instruction) -> bool {
    (0..2).any(|n| i.op_kind(n) == OpKind::Register && !i.op_register(n).is_gpr())
}

fn mov(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let value = cx.read(i, 1)?;
    cx.write(i, 0, value)?;
    Ok(Flow::Next)
}

fn movsx(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let value = cx.read_signed(i, 1)?;
    cx.write(i, 0, value)?;
    Ok(Flow::Next)
}

fn lea(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let address = cx.effective_address(i);
    cx.vcpu.set_gpr(i.op0_register(), address);
    Ok(Flow::Next)
}

fn xchg(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let memory = u32::from(i.op_kind(1) == OpKind::Memory);
    let first = cx.read_for_write(i, memory)?;
    let second = cx.read(i, 1 - memory)?;
    cx.write(i, memory, second)?;
    cx.write(i, 1 - memory, first)?;
    Ok(Flow::Next)
}

fn bswap(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let register = i.op0_register();
    let value = cx.vcpu.gpr(register);
    let swapped = match register.size() {
        8 => value.swap_bytes(),
        4 => (value as u32).swap_bytes().into(),
        // Undefined; processors give 0.
        _ => 0,
    };
    cx.vcpu.set_gpr(register, swapped);
    Ok(Flow::Next)
}

fn movbe(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = Context::operand_size(i, 0);
    let value = cx.read(i, 1)?;
    cx.write(i, 0, value.swap_bytes() >> (64 - 8 * size))?;
    Ok(Flow::Next)
}

fn cmov(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    // The source is read in any case, and 32 bits clear the upper half in any case.
    let new = cx.read(i, 1)?;
    let old = cx.vcpu.gpr(i.op0_register());
    let value = if cx.vcpu.flags.condition(condition(i)) { new } else { old };
    cx.vcpu.set_gpr(i.op0_register(), value);
    Ok(Flow::Next)
}

fn setcc(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let holds = cx.vcpu.flags.condition(condition(i));
    cx.write(i, 0, holds.into())?;
    Ok(Flow::Next)
}

/// `cbw`, `cwde`, `cdqe`: the accumulator's lower half, sign-extended.
fn widen(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (log2, to) = match i.mnemonic() {
        Mnemonic::Cbw => (0, Register::AX),
        Mnemonic::Cwde => (1, Register::EAX),
        _ => (2, Register::RAX),
    };
    let value = sign_extend(cx.vcpu.r[0], log2);
    cx.vcpu.set_gpr(to, value);
    Ok(Flow::Next)
}

/// `cwd`, `cdq`, `cqo`: the accumulator's sign into all of the data register.
fn spread_sign(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (log2, to) = match i.mnemonic() {
        Mnemonic::Cwd => (1, Register::DX),
        Mnemonic::Cdq => (2, Register::EDX),
        _ => (3, Register::RDX),
    };
    let sign = (sign_extend(cx.vcpu.r[0], log2) as i64) >> 63;
    cx.vcpu.set_gpr(to, sign as u64);
    Ok(Flow::Next)
}

fn xlat(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let address = cx.linear_address(i)?;
    let value = cx.load(address, 1)?;
    cx.vcpu.set_gpr(Register::AL, value);
    Ok(Flow::Next)
}

fn lahf(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    let flags = cx.vcpu.all_flags();
    cx.vcpu.set_gpr(Register::AH, flags);
    Ok(Flow::Next)
}

fn sahf(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    let flags = cx.vcpu.gpr(Register::AH);
    cx.vcpu.flags.change(CF | PF | AF | ZF | SF, flags);
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{DATA, Machine};
    use crate::cpu::x86::fault::{Fault, GP, SS};
    use crate::cpu::x86::flags::{CF, OF, ZF};

    #[test]
    fn widths_of_registers() {
        let mut m = Machine::with_registers(&[(0, !0), (3, 0x1122_3344_5566_7788)]);
        m.run("66 89 d8"); // mov ax, bx
        assert_eq!(m.r(0), 0xffff_ffff_ffff_7788);
        m.run("88 dc"); // mov ah, bl
        assert_eq!(m.r(0), 0xffff_ffff_ffff_8888);
        m.run("89 d8"); // mov eax, ebx
        assert_eq!(m.r(0), 0x5566_7788);
        m.run("48 c7 c0 80 ff ff ff"); // mov rax, -128
        assert_eq!(m.r(0), -128i64 as u64);
        m.run("66 0f be c0"); // movsx ax, al
        assert_eq!(m.r(0), -128i64 as u64);
        m.run("0f b7 c0"); // movzx eax, ax
        assert_eq!(m.r(0), 0xff80);
        m.run("40 b4 12"); // mov spl, 0x12: with REX no AH
        assert_eq!((m.r(4) & 0xff, m.r(0)), (0x12, 0xff80));
    }

    #[test]
    fn a_conditional_move_reads_and_clears_without_its_condition() {
        let mut m = Machine::with_registers(&[(0, !0), (3, DATA)]);
        m.set_flags(0);
        m.run("0f 44 c3"); // cmove eax, ebx
        assert_eq!(m.r(0), 0xffff_ffff);
        m.set_r(3, 1 << 63);
        assert_eq!(m.fault("48 0f 44 03"), Fault::gp()); // cmove rax, [rbx]
        m.set_flags(ZF);
        m.run("0f 94 c0"); // sete al
        assert_eq!(m.r(0), 0xffff_ff01);
    }

    #[test]
    fn addresses() {
        let mut m = Machine::with_registers(&[(3, !0), (1, 0x10), (5, 1 << 63)]);
        m.run("67 8d 44 4b 02"); // lea eax, [ebx + 2 * ecx + 2]
        assert_eq!(m.r(0), 0x21);
        m.run("67 48 8d 03"); // lea rax, [ebx]
        assert_eq!(m.r(0), 0xffff_ffff);
        assert_eq!(m.fault("8b 45 00"), Fault::with_code(SS, 0)); // mov eax, [rbp]
        m.set_r(0, 1 << 47);
        assert_eq!(m.fault("8b 00"), Fault::with_code(GP, 0));
        assert_eq!(m.r(0), 1 << 47);
    }

    #[test]
    fn exchanges_and_extensions() {
        let mut m = Machine::with_registers(&[(0, DATA), (3, 0x8000)]);
        m.store(DATA, 0x0102_0304);
        m.run("48 87 00"); // xchg [rax], rax
        assert_eq!((m.r(0), m.load(DATA)), (0x0102_0304, DATA));
        m.run("0f c8"); // bswap eax
        assert_eq!(m.r(0), 0x0403_0201);
        m.set_r(0, 0xffff_0000_8000_8080);
        m.set_r(2, 0);
        m.run("66 98"); // cbw
        assert_eq!(m.r(0), 0xffff_0000_8000_ff80);
        m.run("99"); // cdq
        assert_eq!(m.r(2), 0xffff_ffff);
        m.run("48 98"); // cdqe
        assert_eq!(m.r(0), 0xffff_ffff_8000_ff80);
        m.run("66 99"); // cwd
        assert_eq!(m.r(2), 0xffff_ffff);
        m.set_r(3, DATA);
        m.run("66 0f 38 f1 03"); // movbe [rbx], ax
        assert_eq!(m.load(DATA) & 0xffff, 0x80ff);
        m.set_r(0, 1);
        m.store(DATA, 0xab00);
        m.run("d7"); // xlatb
        assert_eq!(m.r(0), 0xab);
    }

    #[test]
    fn flags_through_ah() {
        let mut m = Machine::with_registers(&[(0, 0xff00)]);
        m.set_flags(OF);
        m.run("9e"); // sahf
        assert_eq!(m.flags(), 0x8d5 | 2);
        m.set_flags(CF);
        m.run("9f"); // lahf
        assert_eq!(m.r(0), 0x300);
    }
}
