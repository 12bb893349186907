//! The run loop around the interpreter's switch: instruction budget, interrupts, debug traps, single steps.

use super::cache::NO_PAGE;
use super::fault::{DB, Fault};
use super::flags::{RF, TF};
use super::predecode::Block;
use super::state::STEP;
use super::switch::interpret;
use super::{Context, Exit};
use core::ops::ControlFlow;

/// Runs until `budget` instructions have retired or the machine has to act.
pub(crate) fn run(cx: &mut Context<'_>, budget: u64) -> Exit {
    let mut left = budget.min(i64::MAX as u64) as i64;
    // Instructions retired are `end - left`.
    let mut end = cx.vcpu.instret.wrapping_add(left as u64);
    loop {
        let before = left;
        let exit = if left <= 0 { Some(Exit::Budget) } else { step(cx, end, &mut left) };
        if left == before {
            // An exception retires nothing but costs budget: a handler that itself faults would never come
            // back here.
            left -= 1;
            end = end.wrapping_sub(1);
        }
        cx.vcpu.instret = end.wrapping_sub(left as u64);
        if let Some(exit) = exit {
            return exit;
        }
    }
}

/// Executes one instruction, or delivers its exception.
pub(crate) fn single_step(cx: &mut Context<'_>) -> Option<Exit> {
    (cx.vcpu.inhibit, cx.vcpu.shadow) = (false, false);
    cx.vcpu.rflags &= !RF;
    let rip = cx.vcpu.rip;
    let entries = match cx.single(rip) {
        Ok(entries) => entries,
        Err(fault) => return cx.raise(fault),
    };
    let (mut left, end) = (1, cx.vcpu.instret.wrapping_add(1));
    // SAFETY: the entries outlive the call; with this budget it ends after the first of them.
    let exit = unsafe { interpret(cx, entries.as_ptr(), NO_PAGE, end, &mut left) };
    cx.vcpu.instret = end.wrapping_sub(left as u64);
    exit
}

/// Takes a pending interrupt, finds the code at `rip` and runs it.
fn step(cx: &mut Context<'_>, end: u64, left: &mut i64) -> Option<Exit> {
    if cx.vcpu.inhibit || cx.vcpu.rflags & (TF | RF) != 0 || cx.vcpu.debug != 0 {
        if let ControlFlow::Break(exit) = cx.careful_step() {
            *left = end.wrapping_sub(cx.vcpu.instret) as i64;
            return exit;
        }
    } else if let Some(exit) = cx.take_interrupt() {
        return Some(exit);
    }
    let rip = cx.vcpu.rip;
    let page = match cx.find_page(rip) {
        Ok(page) => page,
        Err(fault) => return cx.raise(fault),
    };
    let mut emptied = false;
    let straddling;
    let (entry, page) = match cx.block(page, (rip & 0xfff) as u16, &mut emptied) {
        // SAFETY: an index inside the arena. After emptying, the one page there has index 0.
        Block::At(index) => unsafe { (cx.cache.arena().add(index as usize), if emptied { 0 } else { page }) },
        Block::Straddles => {
            straddling = match cx.single(rip) {
                Ok(entries) => entries,
                Err(fault) => return cx.raise(fault),
            };
            (straddling.as_ptr(), NO_PAGE)
        }
    };
    // SAFETY: `entry` points into the arena or to `straddling`; both outlive the call.
    unsafe { interpret(cx, entry, page, end, left) }
}

impl Context<'_> {
    /// What [`step`] does when it cannot just run a block: traps after the last instruction come
    /// first, then interrupts, then the breakpoint on the next instruction (SDM vol. 3 table 6-2); then that
    /// is executed alone if it has to be. `Continue`: it has not.
    #[cold]
    pub(crate) fn careful_step(&mut self) -> ControlFlow<Option<Exit>> {
        // After a load of SS the traps wait for one instruction (SDM vol. 3 6.8.3).
        if self.vcpu.has_debug_trap() && !self.vcpu.shadow {
            return ControlFlow::Break(self.debug_trap());
        }
        if !self.vcpu.inhibit
            && let Some(exit) = self.take_interrupt()
        {
            return ControlFlow::Break(Some(exit));
        }
        let rip = self.vcpu.rip;
        let in_page = self.vcpu.has_code_breakpoint(rip);
        if in_page && self.vcpu.rflags & RF == 0 {
            let causes = self.vcpu.code_breakpoints(rip);
            if causes != 0 {
                self.vcpu.tell_causes(causes);
                return ControlFlow::Break(self.raise(Fault::plain(DB)));
            }
        }
        let stepping = self.vcpu.rflags & TF != 0;
        if !stepping && !in_page && !self.vcpu.inhibit && !self.vcpu.has_debug_trap() {
            // It would be cleared after the instruction, which nothing but an instruction breakpoint can
            // tell.
            self.vcpu.rflags &= !RF;
            return ControlFlow::Continue(());
        }
        self.vcpu.trap_due = false;
        let exit = single_step(self);
        if exit.is_none() && !self.vcpu.shadow {
            // A handler that was entered has cleared the flag: the trap follows the instruction (SDM vol. 3
            // 17.3.1.4).
            if stepping && (self.vcpu.rflags & TF != 0 || self.vcpu.trap_due) {
                self.vcpu.debug |= STEP;
            }
            if self.vcpu.has_debug_trap() {
                return ControlFlow::Break(self.debug_trap());
            }
        }
        ControlFlow::Break(exit)
    }
}
