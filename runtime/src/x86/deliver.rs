//! Exceptions and interrupts, and the return from them (SDM vol. 3 chapter 6, in long mode: 6.14).

use super::fault::Fault;
use super::{Context, Exit};

impl Context<'_> {
    /// Delivers a pending interrupt, if interrupts are enabled.
    pub(crate) fn take_interrupt(&mut self) -> Option<Exit> {
        None
    }

    /// Delivers an exception of the instruction at `hart.rip`.
    pub(crate) fn raise(&mut self, fault: Fault) -> Option<Exit> {
        Some(Exit::Trap(fault))
    }
}
