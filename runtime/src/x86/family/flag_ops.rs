//! Instructions on single flags.

use super::{Flow, Handler};
use crate::x86::flags::{CF, DF};
use iced_x86::{Instruction, Mnemonic};

/// The function for an instruction on a flag.
pub(crate) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Clc => |cx, _| {
            cx.hart.change_flags(CF, 0);
            Ok(Flow::Next)
        },
        Mnemonic::Stc => |cx, _| {
            cx.hart.change_flags(CF, CF);
            Ok(Flow::Next)
        },
        Mnemonic::Cmc => |cx, _| {
            let carry = cx.hart.carry();
            cx.hart.change_flags(CF, carry ^ CF);
            Ok(Flow::Next)
        },
        Mnemonic::Cld => |cx, _| {
            cx.hart.rflags &= !DF;
            Ok(Flow::Next)
        },
        Mnemonic::Std => |cx, _| {
            cx.hart.rflags |= DF;
            Ok(Flow::Next)
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Machine;
    use crate::x86::flags::{CF, DF, OF, ZF};

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
