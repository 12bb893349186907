//! Instructions on single flags, and the two that nothing else is like: `salc` (undocumented) and `arpl`,
//! both of compatibility mode.

use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::flags::{CF, DF, ZF};
use crate::cpu::x86::handler::{Flow, Handler};
use iced_x86::{Instruction, Mnemonic, Register};

/// The function for an instruction on a flag.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Clc => |cx, _| {
            cx.vcpu.flags.change(CF, 0);
            Ok(Flow::Next)
        },
        Mnemonic::Stc => |cx, _| {
            cx.vcpu.flags.change(CF, CF);
            Ok(Flow::Next)
        },
        Mnemonic::Cmc => |cx, _| {
            let carry = cx.vcpu.flags.carry();
            cx.vcpu.flags.change(CF, carry ^ CF);
            Ok(Flow::Next)
        },
        Mnemonic::Cld => |cx, _| {
            cx.vcpu.rflags &= !DF;
            Ok(Flow::Next)
        },
        Mnemonic::Std => |cx, _| {
            cx.vcpu.rflags |= DF;
            Ok(Flow::Next)
        },
        Mnemonic::Salc => |cx, _| {
            let all = cx.vcpu.flags.carry().wrapping_neg();
            cx.vcpu.set_gpr(Register::AL, all);
            Ok(Flow::Next)
        },
        Mnemonic::Arpl => arpl,
        _ => return None,
    })
}

/// Raises the requested privilege level of a selector to that of another one.
fn arpl(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    let (to, from) = (cx.read(i, 0)?, cx.read(i, 1)?);
    let raised = to & 3 < from & 3;
    if raised {
        cx.write(i, 0, to & !3 | from & 3)?;
    }
    cx.vcpu.flags.change(ZF, if raised { ZF } else { 0 });
    Ok(Flow::Next)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Machine;
    use crate::cpu::x86::flags::{CF, DF, OF, ZF};

    #[test]
    fn one_flag_changes() {
        let mut m = Machine::with_registers(&[]);
        for (code, before, after) in [
            ("f8", CF | OF, OF),
            ("f9", ZF, ZF | CF),
            ("f5", ZF, ZF | CF),
            ("f5", CF | OF, OF),
            ("fd", CF, CF | DF),
            ("fc", CF | DF, CF),
        ] {
            m.set_flags(before);
            m.run(code);
            assert_eq!(m.flags(), after | 2, "{code}");
        }
    }
}
