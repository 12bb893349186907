//! `in` and `out`.

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::{Fault, Res};
use crate::cpu::x86::handler::Flow;
use crate::cpu::x86::operand::number;
use iced_x86::{Instruction, OpKind, Register};

impl Context<'_> {
    /// #GP unless ports from `port` to `port + size - 1` may be used: by I/O privilege level, or by the
    /// task's bitmap (SDM vol. 1 19.5).
    pub(crate) fn io_permitted(&mut self, port: u16, size: u8) -> Res<()> {
        if self.vcpu.has_io_privilege() {
            return Ok(());
        }
        let (base, limit) = (self.vcpu.tr.base, u64::from(self.vcpu.tr.limit));
        if limit < 0x67 {
            return Err(Fault::gp());
        }
        let at = self.as_system(|cx| cx.load(base.wrapping_add(0x66), 2))? + u64::from(port / 8);
        if at + 1 > limit {
            return Err(Fault::gp());
        }
        let map = self.as_system(|cx| cx.load(base.wrapping_add(at), 2))?;
        let wanted = ((1u64 << size) - 1) << (port & 7);
        if map & wanted == 0 { Ok(()) } else { Err(Fault::gp()) }
    }
}

/// Port number: an immediate or DX.
fn port(cx: &Context<'_>, i: &Instruction, n: u32) -> u16 {
    if i.op_kind(n) == OpKind::Register {
        cx.vcpu.r[number(Register::DX)] as u16
    } else {
        i.immediate8().into()
    }
}

pub(super) fn port_in(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (port, to) = (port(cx, i, 1), i.op0_register());
    cx.io_permitted(port, to.size() as u8)?;
    cx.bus.advance(cx.vcpu.instret);
    let value = cx.bus.port_in(port, to.size() as u8);
    cx.vcpu.note_port(port, to.size());
    cx.vcpu.set_gpr(to, value.into());
    Ok(Flow::Next)
}

pub(super) fn port_out(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (port, from) = (port(cx, i, 0), i.op1_register());
    cx.io_permitted(port, from.size() as u8)?;
    let value = cx.vcpu.gpr(from) as u32;
    cx.bus.advance(cx.vcpu.instret);
    let exit = cx.bus.port_out(port, from.size() as u8, value);
    cx.vcpu.note_port(port, from.size());
    cx.drop_dirty_code();
    match exit {
        Some(exit) => {
            cx.vcpu.rip = cx.next_rip(i);
            Ok(Flow::Exit(exit))
        }
        None => Ok(Flow::Next),
    }
}
