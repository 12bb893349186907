//! The run loop around the interpreter's switch: instruction budget, interrupts, single steps, and the calls
//! of lifted code.

use super::cache::NO_PAGE;
use super::entry::MAX_BLOCK;
use super::exception::Exception;
use super::predecode::Block;
use super::state::ITLB_ENTRIES;
use super::switch::interpret;
use super::{Context, Exit};

/// Runs until `budget` instructions have retired or the machine has to act.
pub(crate) fn run(cx: &mut Context<'_>, budget: u64) -> Exit {
    let mut left = budget.min(i64::MAX as u64) as i64;
    // Instructions retired are `end - left`.
    let mut end = cx.hart.instret.wrapping_add(left as u64);
    loop {
        let before = left;
        let exit = if left <= 0 { Some(Exit::Budget) } else { step::<true>(cx, end, &mut left) };
        if left == before {
            // An exception retires nothing but costs budget: a handler that itself faults would never come
            // back here.
            left -= 1;
            end = end.wrapping_sub(1);
        }
        cx.hart.instret = end.wrapping_sub(left as u64);
        if let Some(exit) = exit {
            return exit;
        }
    }
}

/// Exceptions in a row, none of them an instruction that retires, that make a hang.
const HANG: u32 = 10_000;

/// [`Cpu::run_retiring`](super::Cpu::run_retiring).
pub(crate) fn run_retiring(cx: &mut Context<'_>, budget: u64) -> Exit {
    retire::<true>(cx, budget)
}

/// [`Cpu::interpret_to`](super::Cpu::interpret_to).
pub(crate) fn interpret_to(cx: &mut Context<'_>, instret: u64) -> Exit {
    // A block is left at its end: the last instructions are executed one by one.
    let most = instret.wrapping_sub(cx.hart.instret);
    if most > i64::MAX as u64 {
        return Exit::Budget;
    }
    let exit = retire::<false>(cx, most.saturating_sub(2 * MAX_BLOCK as u64));
    if exit != Exit::Budget {
        return exit;
    }
    let mut hang = 0;
    while cx.hart.instret != instret && hang < HANG {
        let before = cx.hart.instret;
        let exit = single_step(cx);
        hang = if cx.hart.instret == before { hang + 1 } else { 0 };
        if let Some(exit) = exit {
            return exit;
        }
    }
    Exit::Budget
}

fn retire<const LIFTED: bool>(cx: &mut Context<'_>, budget: u64) -> Exit {
    let mut left = budget.min(i64::MAX as u64) as i64;
    let end = cx.hart.instret.wrapping_add(left as u64);
    cx.hart.unretired = false;
    let mut hang = 0;
    loop {
        let before = left;
        // After something that does not retire there would be two states with the same count.
        let stops = left <= 0 && !cx.hart.unretired;
        let exit = if stops { Some(Exit::Budget) } else { step::<LIFTED>(cx, end, &mut left) };
        hang = if left == before { hang + 1 } else { 0 };
        cx.hart.instret = end.wrapping_sub(left as u64);
        match exit {
            Some(exit) => return exit,
            None if hang == HANG => return Exit::Budget,
            None => {}
        }
    }
}

/// Takes a pending interrupt and executes one instruction, or its exception.
fn single_step(cx: &mut Context<'_>) -> Option<Exit> {
    cx.take_interrupt();
    let entries = match cx.single(cx.hart.pc) {
        Ok(entries) => entries,
        Err(e) => return cx.raise(e),
    };
    let (mut left, end) = (1, cx.hart.instret.wrapping_add(1));
    // SAFETY: the entries outlive the call; with this budget it ends after the first of them.
    let exit = unsafe { interpret::<false>(cx, entries.as_ptr(), NO_PAGE, end, &mut left) };
    cx.hart.instret = end.wrapping_sub(left as u64);
    exit
}

/// Takes a pending interrupt, finds the code at `pc` and runs it; `LIFTED`: also lifted code.
fn step<const LIFTED: bool>(cx: &mut Context<'_>, end: u64, left: &mut i64) -> Option<Exit> {
    cx.take_interrupt();
    (cx.hart.unretired, cx.hart.attend) = (false, false);
    let pc = cx.hart.pc;
    let page = match cx.find_page(pc) {
        Ok(page) => page,
        Err(e) => return cx.raise(e),
    };
    if !LIFTED {
        return interpret_at::<LIFTED>(cx, page, end, left);
    }
    let known = &cx.hart.itlb[cx.hart.privilege as usize][(pc >> 12) as usize % ITLB_ENTRIES];
    let at = (pc >> 1) as usize & 0x7ff;
    // SAFETY: find_page made this the entry for `pc`, and its tables of 2048 words live as long as the entry.
    let (lifted, block) = unsafe { (*known.lifted.add(at), *known.blocks.add(at)) };
    if lifted == 0 {
        return interpret_at::<LIFTED>(cx, page, end, left);
    }
    if block == 0 {
        // The mark, so that the interpreter comes from here on without the dispatcher.
        let mut emptied = false;
        cx.block(page, (pc & 0xfff) as u16, &mut emptied);
        if emptied {
            return None;
        }
    }
    let went_on = cx.run_lifted(lifted, end, *left);
    *left = cx.hart.left;
    if went_on || *left <= 0 {
        return None;
    }
    // What refused may be elsewhere.
    match cx.find_page(cx.hart.pc) {
        Ok(page) => interpret_at::<LIFTED>(cx, page, end, left),
        Err(e) => cx.raise(e),
    }
}

/// Interprets from `pc`, which is in page `page` of the cache, at least one instruction, or takes its
/// exception.
fn interpret_at<const LIFTED: bool>(
    cx: &mut Context<'_>,
    page: u32,
    end: u64,
    left: &mut i64,
) -> Option<Exit> {
    let mut emptied = false;
    let pc = cx.hart.pc;
    cx.hart.interpreted_stretches += 1;
    let straddling;
    let (entry, page) = match cx.block_past_mark(page, (pc & 0xfff) as u16, &mut emptied) {
        // SAFETY: an index inside the arena. After emptying, the one page there has index 0.
        Block::At(index) => unsafe { (cx.cache.arena().add(index as usize), if emptied { 0 } else { page }) },
        Block::Straddles => {
            straddling = match cx.single(pc) {
                Ok(entries) => entries,
                Err(e) => return cx.raise(e),
            };
            (straddling.as_ptr(), NO_PAGE)
        }
    };
    cx.hart.calls_lifted = LIFTED;
    // SAFETY: `entry` points into the arena or to `straddling`; both outlive the call.
    unsafe {
        if PROFILES && cx.profile.is_some() {
            interpret::<true>(cx, entry, page, end, left)
        } else {
            interpret::<false>(cx, entry, page, end, left)
        }
    }
}

/// Whether this build can count what it executes.
const PROFILES: bool = cfg!(not(target_family = "wasm"));

impl Context<'_> {
    #[inline]
    fn find_page(&mut self, pc: u64) -> Result<u32, Exception> {
        let known = &self.hart.itlb[self.hart.privilege as usize][(pc >> 12) as usize % ITLB_ENTRIES];
        if known.tag == pc & !0xfff { Ok(known.page) } else { self.code_page(pc) }
    }
}
