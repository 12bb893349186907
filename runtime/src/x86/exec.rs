//! The interpreter: one switch over predecoded entries.
//!
//! As the RISC-V hart's: only taken branches and block ends touch the budget, so an interrupt is taken at one of those; exceptions
//! are precise at any entry, since an entry knows its offset and its count. What is rare is called and never inlined.

use super::entry::{Entry, Kind};
use super::family::Flow;
use super::fault::{DB, Fault};
use super::flags::TF;
use super::predecode::Block;
use super::state::{Hart, ITLB_ENTRIES, PAGE, hart_ptr};
use super::{Context, Exit};

/// Stands for the page index of code that is not in the cache.
const NO_PAGE: u32 = u32::MAX;

/// Runs until `budget` instructions have retired or the machine has to act.
pub(crate) fn run(cx: &mut Context<'_>, budget: u64) -> Exit {
    let mut left = budget.min(i64::MAX as u64) as i64;
    // Instructions retired are `end - left`.
    let mut end = cx.hart.instret.wrapping_add(left as u64);
    loop {
        let before = left;
        let exit = if left <= 0 { Some(Exit::Budget) } else { step(cx, end, &mut left) };
        if left == before {
            // An exception retires nothing but costs budget: a handler that itself faults would never come back here.
            left -= 1;
            end = end.wrapping_sub(1);
        }
        cx.hart.instret = end.wrapping_sub(left as u64);
        if let Some(exit) = exit {
            return exit;
        }
    }
}

/// Executes one instruction, or delivers its exception.
pub(crate) fn single_step(cx: &mut Context<'_>) -> Option<Exit> {
    cx.hart.inhibit = false;
    let rip = cx.hart.rip;
    let entries = match cx.single(rip) {
        Ok(entries) => entries,
        Err(fault) => return cx.raise(fault),
    };
    let (mut left, end) = (1, cx.hart.instret.wrapping_add(1));
    // SAFETY: the entries outlive the call; with this budget it ends behind the first of them.
    let exit = unsafe { interpret(cx, entries.as_ptr(), NO_PAGE, end, &mut left) };
    cx.hart.instret = end.wrapping_sub(left as u64);
    exit
}

/// Takes a pending interrupt, finds the code at `rip` and runs it.
fn step(cx: &mut Context<'_>, end: u64, left: &mut i64) -> Option<Exit> {
    if cx.hart.inhibit {
        cx.hart.inhibit = false;
    } else if let Some(exit) = cx.take_interrupt() {
        return Some(exit);
    }
    if cx.hart.rflags & TF != 0 {
        let exit = single_step(cx);
        *left = end.wrapping_sub(cx.hart.instret) as i64;
        // A handler that was entered has cleared the flag: the trap is behind the instruction (SDM vol. 3 17.3.1.4).
        if exit.is_none() && cx.hart.rflags & TF != 0 {
            cx.hart.dr[4] |= 1 << 14;
            return cx.raise(Fault::plain(DB));
        }
        return exit;
    }
    let rip = cx.hart.rip;
    let known = &cx.hart.itlb[cx.hart.tlb_index()][(rip >> 12) as usize % ITLB_ENTRIES];
    let page = if known.tag == rip & !0xfff {
        known.page
    } else {
        match cx.code_page(rip) {
            Ok(page) => page,
            Err(fault) => return cx.raise(fault),
        }
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

/// What a called slow path asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Go on with the next entry.
    Next,
    /// Start over at `hart.rip`; the instruction retired.
    Redispatch,
    /// The same; it did not retire.
    Again,
    /// `hart.slow_fault` is to be raised.
    Fault,
    /// Leave.
    Exit(Exit),
}

#[inline(never)]
unsafe fn family(cx: *mut Context<'_>, e: &Entry) -> Then {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    cx.hart.rip = cx.code_address(e.offset.into());
    let (handler, instruction) = *cx.cache.instruction(e.imm);
    match handler(cx, &instruction) {
        Ok(Flow::Next) if cx.hart.code_dropped => {
            cx.hart.rip = cx.next_rip(&instruction);
            Then::Redispatch
        }
        Ok(Flow::Next) => Then::Next,
        Ok(Flow::Goto) => Then::Redispatch,
        Ok(Flow::Again) => Then::Again,
        Ok(Flow::Exit(exit)) => Then::Exit(exit),
        Err(fault) => {
            cx.hart.slow_fault = fault;
            Then::Fault
        }
    }
}

/// Finds the target of the branch `from` and links the two if both are in one page.
/// Null, with `hart.rip` set, when the dispatcher has to find it.
#[cold]
#[inline(never)]
unsafe fn link(cx: *mut Context<'_>, from: *const Entry) -> *const Entry {
    // SAFETY: the interpreter's own context; `from` is the entry it has just left.
    let (cx, offset) = unsafe { (&mut *cx, (*from).imm) };
    cx.hart.rip = cx.code_address(offset as i64 as u64);
    let page = cx.hart.page;
    if !(0..0x1000).contains(&offset) || page == NO_PAGE {
        return core::ptr::null();
    }
    let mut emptied = false;
    let Block::At(index) = cx.block(page, offset as u16, &mut emptied) else {
        return core::ptr::null();
    };
    if emptied {
        cx.hart.page = 0;
    } else {
        // SAFETY: code in the cache lies in the arena (only straddling code does not, and its page is NO_PAGE).
        let branch = unsafe { from.offset_from_unsigned(cx.cache.arena()) };
        cx.cache.link(branch as u32, index);
    }
    // SAFETY: `block` gives an index inside the arena.
    unsafe { cx.cache.arena().add(index as usize) }
}

/// # Safety
/// `p` points to a decoded block of `page` that `hart.rip` maps to, or to a straddling one (then `page` is [`NO_PAGE`]).
#[allow(clippy::too_many_lines, reason = "the one giant match over the opcode space")]
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one contract for all of them: see # Safety and `Entry`"
)]
unsafe fn interpret(
    cx: &mut Context<'_>,
    mut p: *const Entry,
    page: u32,
    end: u64,
    left_out: &mut i64,
) -> Option<Exit> {
    let h: *mut Hart = hart_ptr(cx.hart);
    let arena = cx.cache.arena();
    let cx: *mut Context<'_> = cx;
    let mut from = p;
    let mut left = *left_out;
    unsafe {
        (*h).page = page;
        (*h).r[PAGE] = (*h).rip & !0xfff;
        (*h).code_dropped = false;

        macro_rules! leave {
            ($exit:expr) => {{
                *left_out = left;
                return $exit;
            }};
        }
        // Instructions retired before the entry.
        macro_rules! charge {
            ($e:expr) => {
                left -= i64::from($e.count)
            };
        }
        macro_rules! take {
            ($e:ident) => {{
                charge!($e);
                if left <= 0 {
                    (*h).rip = (*cx).code_address(i64::from($e.imm) as u64);
                    leave!(None);
                }
                from = p;
                p = arena.add($e.target as usize);
            }};
        }
        loop {
            let e = &*p;
            match e.op {
                Kind::Unlinked => {
                    p = link(cx, from);
                    if p.is_null() {
                        leave!(None);
                    }
                }
                Kind::Next => take!(e),
                Kind::Family => {
                    // Instructions see how many retired before them (time-stamp counter).
                    (*h).instret = end.wrapping_sub((left - i64::from(e.count)) as u64);
                    match family(cx, e) {
                        Then::Next => p = p.add(1),
                        Then::Redispatch => {
                            charge!(e);
                            left -= 1;
                            leave!(None);
                        }
                        Then::Again => {
                            charge!(e);
                            leave!(None);
                        }
                        Then::Fault => {
                            charge!(e);
                            let fault = (*h).slow_fault;
                            let length = if fault.is_trap() { e.length } else { 0 };
                            (*h).rip = (*cx).code_address(u64::from(e.offset) + u64::from(length));
                            leave!((*cx).raise(fault));
                        }
                        Then::Exit(exit) => {
                            charge!(e);
                            left -= 1;
                            leave!(Some(exit));
                        }
                    }
                }
            }
        }
    }
}
