//! The type of the functions that execute decoded instructions.

use super::fault::Res;
use super::{Context, Exit};
use iced_x86::Instruction;

/// Executes an instruction.
pub(crate) type Handler = fn(&mut Context<'_>, &Instruction) -> Res<Flow>;

/// How to go on after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next instruction.
    Next,
    /// It has set `vcpu.rip`, or changed what the following instructions mean.
    Goto,
    /// It is not finished and has to be executed again, from where its registers say (a repeated string
    /// instruction that lets interrupts in): it does not count as retired.
    Again,
    /// The machine has to act; `vcpu.rip` is set.
    Exit(Exit),
}
