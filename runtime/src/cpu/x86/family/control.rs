//! Transfers of control within a segment, and interrupts by instruction.

use super::undefined;
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::{BP, BR, Fault, OF, Res};
use crate::cpu::x86::flags::{self, sign_extend};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::mmu::is_canonical;
use crate::cpu::x86::operand::condition;
use crate::cpu::x86::operand::mask;
use iced_x86::{Code, Instruction, Mnemonic, OpKind};

/// The function for a transfer of control. Far ones are the system family's.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Jmp if is_near(i) => jmp,
        Mnemonic::Call if is_near(i) => call,
        Mnemonic::Ret => ret,
        Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne => count_down,
        Mnemonic::Jcxz | Mnemonic::Jecxz | Mnemonic::Jrcxz => jump_if_no_count,
        Mnemonic::Int1 => |cx, i| cx.debug_interrupt(cx.next_rip(i)),
        Mnemonic::Int3 => |cx, i| cx.software_interrupt(BP, cx.next_rip(i)),
        Mnemonic::Int => |cx, i| cx.software_interrupt(i.immediate8(), cx.next_rip(i)),
        Mnemonic::Into => into,
        Mnemonic::Bound => bound,
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => undefined,
        _ if i.is_jcc_short_or_near() => jcc,
        _ => return None,
    })
}

fn is_near(i: &Instruction) -> bool {
    i.is_jmp_short_or_near() || i.is_jmp_near_indirect() || i.is_call_near() || i.is_call_near_indirect()
}

impl Context<'_> {
    /// Whether control may go to `target`: #GP for an address that is not canonical.
    fn check_near(&self, target: u64) -> Res<()> {
        if !self.vcpu.long || is_canonical(target) { Ok(()) } else { Err(Fault::gp()) }
    }

    /// The target of a direct or indirect near branch, which may go there.
    fn target(&mut self, i: &Instruction) -> Res<u64> {
        let target = match i.op_kind(0) {
            OpKind::NearBranch16 => self.code_address(u64::from(i.near_branch16())) & 0xffff,
            OpKind::NearBranch32 => self.code_address(u64::from(i.near_branch32())),
            OpKind::NearBranch64 => self.code_address(i.near_branch64()),
            _ => self.read(i, 0)?,
        };
        self.check_near(target)?;
        Ok(target)
    }
}

fn jmp(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    cx.vcpu.rip = cx.target(i)?;
    Ok(Flow::Goto)
}

fn jcc(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    if cx.vcpu.flags.condition(condition(i)) { jmp(cx, i) } else { Ok(Flow::Next) }
}

/// Size of the return address.
fn word(i: &Instruction) -> usize {
    match i.code() {
        Code::Call_rel16 | Code::Call_rm16 | Code::Retnw | Code::Retnw_imm16 => 2,
        Code::Call_rel32_32 | Code::Call_rm32 | Code::Retnd | Code::Retnd_imm16 => 4,
        _ => 8,
    }
}

fn call(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let target = cx.target(i)?;
    let next = cx.next_rip(i);
    cx.push_word(word(i), next)?;
    cx.vcpu.rip = target;
    Ok(Flow::Goto)
}

fn ret(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = word(i);
    let target = cx.peek(0, size)?;
    cx.check_near(target)?;
    let released = if i.op_count() > 0 { u64::from(i.immediate16()) } else { 0 };
    cx.set_stack_pointer(cx.vcpu.r[4].wrapping_add(size as u64 + released));
    cx.vcpu.rip = target;
    Ok(Flow::Goto)
}

/// Size of the count register, which is the address size.
fn count_size(i: &Instruction) -> usize {
    match i.code() {
        Code::Loopne_rel8_16_CX | Code::Loope_rel8_16_CX | Code::Loop_rel8_16_CX | Code::Jcxz_rel8_16 => 2,
        Code::Loopne_rel8_32_CX | Code::Loope_rel8_32_CX | Code::Loop_rel8_32_CX | Code::Jcxz_rel8_32 => 2,
        Code::Loopne_rel8_16_RCX | Code::Loope_rel8_16_RCX | Code::Loop_rel8_16_RCX => 8,
        Code::Loopne_rel8_64_RCX | Code::Loope_rel8_64_RCX | Code::Loop_rel8_64_RCX => 8,
        Code::Jrcxz_rel8_16 | Code::Jrcxz_rel8_64 => 8,
        _ => 4,
    }
}

/// `loop`, `loope`, `loopne`: no flags change.
fn count_down(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    const ZF: u8 = 4;
    let size = count_size(i);
    let rcx = cx.vcpu.r[1];
    let count = rcx.wrapping_sub(1) & mask(size);
    let goes_on = match i.mnemonic() {
        Mnemonic::Loope => cx.vcpu.flags.condition(ZF),
        Mnemonic::Loopne => !cx.vcpu.flags.condition(ZF),
        _ => true,
    };
    let flow = if count != 0 && goes_on { jmp(cx, i)? } else { Flow::Next };
    cx.vcpu.r[1] = if size == 2 { rcx & !0xffff | count } else { count };
    Ok(flow)
}

fn jump_if_no_count(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    if cx.vcpu.r[1] & mask(count_size(i)) == 0 { jmp(cx, i) } else { Ok(Flow::Next) }
}

/// Goes on with the instruction after one that ends its block.
fn go_on(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    cx.vcpu.rip = cx.next_rip(i);
    Ok(Flow::Goto)
}

fn into(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    if cx.vcpu.flags.arithmetic() & flags::OF != 0 {
        return cx.software_interrupt(OF, cx.next_rip(i));
    }
    go_on(cx, i)
}

fn bound(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = i.op0_register().size();
    let signed = |value| sign_extend(value, size.trailing_zeros()) as i64;
    let at = cx.linear_address(i)?;
    let low = signed(cx.load(at, size)?);
    let high = signed(cx.load(at.wrapping_add(size as u64) & 0xffff_ffff, size)?);
    let index = signed(cx.vcpu.gpr(i.op0_register()));
    if (low..=high).contains(&index) { go_on(cx, i) } else { Err(Fault::plain(BR)) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CODE, DATA, Machine, STACK};
    use crate::cpu::x86::Exit;
    use crate::cpu::x86::fault::{BP, BR, Fault, OF as OVERFLOW};
    use crate::cpu::x86::flags::{OF, ZF};

    #[test]
    fn jumps() {
        let mut m = Machine::with_registers(&[(0, DATA), (3, 1 << 47)]);
        m.go("eb fe"); // jmp to itself
        assert_eq!(m.rip(), CODE);
        m.go("66 e9 00 f0 ff ff"); // the prefix does not matter
        assert_eq!(m.rip(), CODE + 6 - 0x1000);
        m.go("ff e0"); // jmp rax
        assert_eq!(m.rip(), DATA);
        assert_eq!(m.fault("ff e3"), Fault::gp()); // jmp rbx
        m.set_flags(ZF);
        m.run("75 10"); // jne
        m.go("74 10"); // je
        assert_eq!(m.rip(), CODE + 0x12);
        m.go("0f 84 00 01 00 00");
        assert_eq!(m.rip(), CODE + 0x106);
    }

    #[test]
    fn calls_and_returns() {
        let mut m = Machine::with_registers(&[(4, STACK)]);
        m.go("e8 10 00 00 00");
        assert_eq!((m.rip(), m.r(4), m.load(STACK - 8)), (CODE + 0x15, STACK - 8, CODE + 5));
        m.go("c2 10 00"); // ret 16
        assert_eq!((m.rip(), m.r(4)), (CODE + 5, STACK + 16));
        m.set_r(4, STACK);
        m.store(STACK, DATA);
        m.go("ff 14 24"); // call [rsp]: the address is taken before the push
        assert_eq!((m.rip(), m.load(STACK - 8)), (DATA, CODE + 3));
        m.store(STACK - 8, 1 << 63);
        assert_eq!((m.fault("c3"), m.r(4)), (Fault::gp(), STACK - 8));
        let mut m = Machine::with_registers(&[(0, 0x8_1234_5678)]).compatibility();
        m.go("ff d0"); // call eax
        assert_eq!((m.rip(), m.r(4), m.load(STACK - 4) as u32), (0x1234_5678, STACK - 4, CODE as u32 + 2));
        m.go("66 eb 10"); // 16-bit operand size: IP only
        assert_eq!(m.rip(), (CODE + 0x13) & 0xffff);
    }

    #[test]
    fn counts() {
        let mut m = Machine::with_registers(&[(1, 0x2_0000_0000)]);
        m.run("67 e3 00"); // jecxz: to the next instruction
        m.go("67 e3 10");
        assert_eq!(m.rip(), CODE + 0x13);
        m.run("e3 10"); // jrcxz
        m.go("67 e2 10"); // loop with ECX
        assert_eq!((m.rip(), m.r(1)), (CODE + 0x13, 0xffff_ffff));
        m.set_flags(ZF);
        m.run("e0 10"); // loopne
        assert_eq!(m.r(1), 0xffff_fffe);
        m.set_r(1, 1);
        m.run("e1 10"); // loope
        assert_eq!(m.r(1), 0);
    }

    #[test]
    fn interrupts_by_instruction_come_after_it() {
        let mut m = Machine::with_registers(&[(3, DATA), (0, 5)]).compatibility();
        for (code, vector) in [("cc", BP), ("cd 03", BP), ("cd 80", 0x80), ("ce", OVERFLOW)] {
            m.set_flags(OF);
            let length = m.place(code);
            assert_eq!((m.step(), m.rip()), (Some(Exit::Trap(Fault::plain(vector))), CODE + length));
        }
        m.set_flags(0);
        m.run("ce"); // into
        m.store(DATA, 5 << 32 | 0xffff_fffe);
        m.run("62 03"); // bound eax, [ebx]
        m.set_r(0, 6);
        assert_eq!(m.fault("62 03"), Fault::plain(BR));
        assert_eq!(m.fault("0f 0b"), Fault::ud());
    }

    #[test]
    fn what_ends_a_block_says_where_it_goes_on() {
        let mut m = Machine::with_registers(&[(4, STACK), (5, STACK)]).compatibility();
        // cli; mov eax, cr0; sti; pushfd; popfd; into; bound eax, [ebp]; jnz +0; inc ecx; jmp to itself
        m.store(STACK, 0x7fff_ffff << 32 | 0x8000_0000);
        let length = m.place("fa 0f 20 c0 fb 9c 9d ce 62 45 00 75 00 41 eb fe");
        assert_eq!(m.run_blocks(100), Exit::Budget);
        assert_eq!((m.rip(), m.r(4), m.r(1)), (CODE + length - 2, STACK, 1));
    }
}
