//! The stack: `push`, `pop`, flags, frames.

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::flags::{AC, ARITHMETIC, DF, ID, IF, IOPL, NT, RF, TF};
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::operand::mask;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// The function for an instruction on the stack. Segment registers are the system family's.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    let segment = i.op_kind(0) == OpKind::Register && i.op0_register().is_segment_register();
    Some(match i.mnemonic() {
        Mnemonic::Push if !segment => push,
        Mnemonic::Pop if !segment => pop,
        Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq => push_flags,
        Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => pop_flags,
        Mnemonic::Pusha | Mnemonic::Pushad => push_all,
        Mnemonic::Popa | Mnemonic::Popad => pop_all,
        Mnemonic::Enter => enter,
        Mnemonic::Leave => leave,
        _ => return None,
    })
}

const RSP: usize = 4;

/// Size of the word that the instruction moves.
pub(super) fn word(i: &Instruction) -> usize {
    (i.stack_pointer_increment().unsigned_abs() as usize).clamp(2, 8)
}

impl Context<'_> {
    /// Pushes a word of `size` bytes.
    pub(super) fn push_word(&mut self, size: usize, value: u64) -> Res<()> {
        let rsp = self.vcpu.r[RSP].wrapping_sub(size as u64);
        let at = self.stack_address(rsp, size)?;
        self.store(at, size, value)?;
        self.set_stack_pointer(rsp);
        Ok(())
    }

    /// Writes a register of `size` bytes of the first eight.
    fn set_word(&mut self, number: usize, size: usize, value: u64) {
        let slot = &mut self.vcpu.r[number];
        *slot = if size == 2 { *slot & !0xffff | value & 0xffff } else { value & mask(size) };
    }
}

fn push(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let value = cx.read(i, 0)?;
    cx.push_word(word(i), value)?;
    Ok(Flow::Next)
}

/// The address of an operand in memory is computed, and RSP as an operand is written, after the increment.
fn pop(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = word(i);
    let rsp = cx.vcpu.r[RSP];
    let value = cx.peek(0, size)?;
    cx.set_stack_pointer(rsp.wrapping_add(size as u64));
    if let Err(fault) = cx.write(i, 0, value) {
        cx.vcpu.r[RSP] = rsp;
        return Err(fault);
    }
    Ok(Flow::Next)
}

fn push_flags(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let flags = cx.vcpu.all_flags() & !RF;
    cx.push_word(word(i), flags)?;
    Ok(Flow::Next)
}

/// Which flags change depends on the privilege level (SDM vol. 2, POPF).
fn pop_flags(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = word(i);
    let new = cx.peek(0, size)?;
    let old = cx.vcpu.all_flags();
    let mut changes = ARITHMETIC | TF | DF | NT | AC | ID;
    if cx.vcpu.cpl == 0 {
        changes |= IOPL;
    }
    if cx.vcpu.has_io_privilege() {
        changes |= IF;
    }
    if size == 2 {
        changes &= 0xffff;
    } else {
        // It is cleared, whatever was popped.
        changes |= RF;
    }
    cx.vcpu.set_all_flags(old & !changes | new & changes & !RF);
    cx.set_stack_pointer(cx.vcpu.r[RSP].wrapping_add(size as u64));
    cx.vcpu.trap_due = old & !new & TF != 0;
    // TF or IF may be new: the next instruction sees them.
    cx.vcpu.rip = cx.next_rip(i);
    Ok(Flow::Goto)
}

fn push_all(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = if i.mnemonic() == Mnemonic::Pusha { 2 } else { 4 };
    let old = cx.vcpu.r[RSP];
    for number in 0..8 {
        let value = if number == RSP { old } else { cx.vcpu.r[number] };
        if let Err(fault) = cx.push_word(size, value) {
            cx.vcpu.r[RSP] = old;
            return Err(fault);
        }
    }
    Ok(Flow::Next)
}

fn pop_all(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = if i.mnemonic() == Mnemonic::Popa { 2 } else { 4 };
    let mut words = [0; 8];
    for (n, word) in words.iter_mut().enumerate() {
        *word = cx.peek(n as u64, size)?;
    }
    for (n, word) in words.into_iter().enumerate().filter(|&(n, _)| 7 - n != RSP) {
        cx.set_word(7 - n, size, word);
    }
    cx.set_stack_pointer(cx.vcpu.r[RSP].wrapping_add(8 * size as u64));
    Ok(Flow::Next)
}

/// Size of the words of `enter` and `leave`.
fn frame_word(cx: &Context<'_>, i: &Instruction) -> usize {
    match (i.code(), cx.vcpu.long) {
        (iced_x86::Code::Enterw_imm16_imm8 | iced_x86::Code::Leavew, _) => 2,
        (_, true) => 8,
        (_, false) => 4,
    }
}

fn enter(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (allocated, level) = (i.immediate16(), u64::from(i.immediate8_2nd() % 32));
    let size = frame_word(cx, i);
    let (old_rsp, old_rbp) = (cx.vcpu.r[RSP], cx.vcpu.gpr(Register::RBP));
    let frame = old_rsp.wrapping_sub(size as u64);
    let result = (|| {
        cx.push_word(size, old_rbp)?;
        for n in 1..level {
            let at = cx.stack_address(old_rbp.wrapping_sub(n * size as u64), size)?;
            let pointer = cx.load(at, size)?;
            cx.push_word(size, pointer)?;
        }
        if level > 0 {
            cx.push_word(size, frame)?;
        }
        let rsp = cx.vcpu.r[RSP].wrapping_sub(allocated.into());
        // Faults as a push there would.
        let at = cx.stack_address(rsp, size)?;
        cx.load_for_store(at, size)?;
        cx.set_stack_pointer(rsp);
        Ok(Flow::Next)
    })();
    match result {
        Ok(_) => cx.set_word(5, size, frame),
        Err(_) => cx.vcpu.r[RSP] = old_rsp,
    }
    result
}

fn leave(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let size = frame_word(cx, i);
    let rbp = cx.vcpu.r[5];
    let at = cx.stack_address(rbp, size)?;
    let value = cx.load(at, size)?;
    cx.set_stack_pointer((rbp & cx.stack_mask()).wrapping_add(size as u64));
    cx.set_word(5, size, value);
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CODE, DATA, Machine, STACK};
    use crate::cpu::x86::fault::{Fault, SS};
    use crate::cpu::x86::flags::{CF, DF, IF, IOPL, TF};

    #[test]
    fn the_stack_pointer_as_operand() {
        let mut m = Machine::with_registers(&[]);
        m.run("54"); // push rsp
        assert_eq!((m.r(4), m.load(STACK - 8)), (STACK - 8, STACK));
        m.run("5c"); // pop rsp
        assert_eq!(m.r(4), STACK);
        m.set_r(4, STACK - 8);
        m.run("8f 44 24 08"); // pop [rsp + 8]
        assert_eq!((m.r(4), m.load(STACK + 8)), (STACK, STACK));
        m.run("66 6a ff"); // push word -1
        assert_eq!((m.r(4), m.load(STACK - 2) & 0xffff_ffff), (STACK - 2, 0xffff));
        m.set_r(4, 1 << 47);
        assert_eq!(m.fault("58"), Fault::with_code(SS, 0));
        m.set_r(4, STACK);
        m.set_r(0, 1 << 63);
        assert_eq!(m.fault("8f 00"), Fault::gp()); // pop [rax]
        assert_eq!(m.r(4), STACK);
    }

    #[test]
    fn user_code_changes_neither_if_nor_iopl() {
        let mut m = Machine::with_registers(&[]);
        m.vcpu().cpl = 3;
        m.set_flags(IF | CF);
        m.set_r(4, STACK - 8);
        m.store(STACK - 8, IOPL | DF);
        m.run("9d");
        assert_eq!((m.r(4), m.flags()), (STACK, IF | DF | 2));
        m.vcpu().cpl = 0;
        m.set_r(4, STACK - 8);
        m.run("9d");
        assert_eq!(m.flags(), IOPL | DF | 2);
        m.run("9c");
        assert_eq!((m.r(4), m.load(STACK - 8)), (STACK - 8, IOPL | DF | 2));
        m.store(STACK - 8, TF | IF);
        m.vcpu().cpl = 3;
        m.run("9d");
        assert_eq!(m.flags(), TF | IF | IOPL | 2);
    }

    #[test]
    fn frames() {
        let mut m = Machine::with_registers(&[(5, DATA)]);
        m.store(DATA - 8, 0x1111);
        m.run("c8 20 00 02"); // enter 32, 2
        assert_eq!((m.r(5), m.r(4)), (STACK - 8, STACK - 24 - 32));
        assert_eq!([8, 16, 24].map(|n| m.load(STACK - n)), [DATA, 0x1111, STACK - 8]);
        m.run("c9"); // leave
        assert_eq!((m.r(5), m.r(4)), (DATA, STACK));
    }

    #[test]
    fn all_registers_of_compatibility_mode() {
        let mut m = Machine::with_registers(&[(0, 1), (1, 2), (2, 3), (3, 4), (5, 6), (6, 7), (7, 8)])
            .compatibility();
        m.run("60"); // pushad
        assert_eq!(m.r(4), STACK - 32);
        assert_eq!(m.load(STACK - 32), 0x7_0000_0008);
        assert_eq!(m.load(STACK - 24), STACK << 32 | 6);
        for n in [0, 1, 2, 3, 5, 6, 7] {
            m.set_r(n, 0xdead);
        }
        m.run("61"); // popad
        assert_eq!([0, 1, 2, 3, 5, 6, 7].map(|n| m.r(n)), [1, 2, 3, 4, 6, 7, 8]);
        assert_eq!(m.r(4), STACK);
        m.go("50");
        assert_eq!((m.rip(), m.r(4), m.load(STACK - 4) as u32), (CODE + 1, STACK - 4, 1));
    }
}
