//! What the interpreter's entries cannot do by themselves: misses of the data TLB, faults, devices, and
//! branches whose target is not known yet. All of it is called from the switch and never inlined.

use super::cache::NO_PAGE;
use super::entry::Entry;
use super::handler::Flow;
use super::kind::Kind;
use super::mmu::Access;
use super::predecode::Block;
use super::{Context, Exit};

/// How the interpreter goes on after the slow path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SlowResult {
    /// Execute the same entry again.
    Again,
    /// Go on with the next entry.
    Next,
    /// Start over at `vcpu.rip`; the instruction retired.
    Redispatch,
    /// The same; it did not retire.
    Unfinished,
    /// `vcpu.slow_fault` is to be raised.
    Fault,
    /// Leave.
    Exit(Exit),
}

/// What an entry could not do by itself.
pub(super) struct Missed {
    /// An access to `size` bytes that the data TLB does not answer; none if `size` is 0.
    pub(super) va: u64,
    pub(super) size: usize,
    pub(super) access: Access,
}

/// Does what an entry could not: enters the page that it accesses into the data TLB, or executes it as its
/// family does.
#[inline(never)]
pub(super) unsafe fn slow(cx: *mut Context<'_>, e: &Entry, missed: Missed) -> SlowResult {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    if missed.size != 0 && cx.enter(missed.va, missed.size, missed.access) {
        return SlowResult::Again;
    }
    cx.vcpu.rip = cx.code_address(e.offset.into());
    let (handler, instruction) = if e.op == Kind::Family {
        *cx.cache.instruction(e.imm)
    } else {
        match cx.decode_again(e) {
            Ok(decoded) => decoded,
            Err(fault) => {
                cx.vcpu.slow_fault = fault;
                return SlowResult::Fault;
            }
        }
    };
    match handler(cx, &instruction) {
        Ok(Flow::Next) if cx.vcpu.code_dropped => {
            cx.vcpu.rip = cx.next_rip(&instruction);
            SlowResult::Redispatch
        }
        Ok(Flow::Next) => SlowResult::Next,
        Ok(Flow::Goto) => SlowResult::Redispatch,
        Ok(Flow::Again) => SlowResult::Unfinished,
        Ok(Flow::Exit(exit)) => SlowResult::Exit(exit),
        Err(fault) => {
            cx.vcpu.slow_fault = fault;
            SlowResult::Fault
        }
    }
}

/// Finds the target of the branch `from` and links the two if both are in one page.
/// Null, with `vcpu.rip` set, when the dispatcher has to find it.
#[cold]
#[inline(never)]
pub(super) unsafe fn link(cx: *mut Context<'_>, from: *const Entry) -> *const Entry {
    // SAFETY: the interpreter's own context; `from` is the entry it has just left.
    let (cx, offset) = unsafe { (&mut *cx, (*from).imm) };
    cx.vcpu.rip = cx.code_address(offset as i64 as u64);
    let page = cx.vcpu.page;
    if !(0..0x1000).contains(&offset) || page == NO_PAGE {
        return core::ptr::null();
    }
    let mut emptied = false;
    let Block::At(index) = cx.block(page, offset as u16, &mut emptied) else {
        return core::ptr::null();
    };
    if emptied {
        cx.vcpu.page = 0;
    } else {
        // SAFETY: code in the cache lies in the arena (only straddling code does not, and its page is
        // NO_PAGE).
        let branch = unsafe { from.offset_from_unsigned(cx.cache.arena()) };
        cx.cache.link(branch as u32, index);
    }
    // SAFETY: `block` gives an index inside the arena.
    unsafe { cx.cache.arena().add(index as usize) }
}

impl Context<'_> {
    /// Raises the exception that the instruction of `e` met.
    #[cold]
    pub(super) fn fault_at(&mut self, e: &Entry) -> Option<Exit> {
        let fault = self.vcpu.slow_fault;
        let length = if fault.is_trap() { e.length } else { 0 };
        self.vcpu.rip = self.code_address(u64::from(e.offset) + u64::from(length));
        self.raise(fault)
    }
}
