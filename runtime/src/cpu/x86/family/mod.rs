//! All instructions, by family: functions that execute an instruction as iced-x86 decoded it.
//!
//! This is the reference implementation: complete and plain. An instruction gets its function when it is
//! decoded (`handler`); frequent ones have a kind of entry in the interpreter besides. A function finds
//! `vcpu.rip` at its own instruction and leaves registers untouched when it returns a fault.

mod alu;
mod bits;
mod control;
mod data;
mod flag_ops;
mod muldiv;
mod shift;
pub(crate) mod sse;
mod stack;
mod string;
mod system;
#[cfg(test)]
mod testing;
mod x87;

use super::Context;
use super::fault::{Fault, Res};
use super::handler::{Flow, Handler};
use iced_x86::Instruction;

/// Length of the longest instruction in bytes. The decoder stops there; what goes on is none, and raises #GP
/// (SDM vol. 3 6.15, #GP).
pub(super) const LONGEST: usize = 15;

/// Who may know an instruction, in the order in which they are asked: the forms of `mov`, `push` and the like
/// that concern system registers are the first family's.
const FAMILIES: &[fn(&Instruction) -> Option<Handler>] = &[
    system::handler,
    data::handler,
    alu::handler,
    control::handler,
    stack::handler,
    shift::handler,
    muldiv::handler,
    bits::handler,
    flag_ops::handler,
    string::handler,
    sse::handler,
    x87::handler,
];

/// The function for an instruction.
pub(crate) fn handler(i: &Instruction) -> Handler {
    if i.is_invalid() && i.len() == LONGEST {
        return |_, _| Err(Fault::gp());
    }
    FAMILIES.iter().find_map(|family| family(i)).unwrap_or(undefined)
}

/// What is no instruction, or none of this processor.
pub(crate) fn undefined(_: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    Err(Fault::ud())
}
