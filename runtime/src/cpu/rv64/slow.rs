//! What the interpreter's entries cannot do by themselves: misses of the data TLB, devices, CSRs, system
//! instructions, and branches whose target is not known yet. All of it is called from the switch and never
//! inlined.

use super::cache::NO_PAGE;
use super::entry::{Entry, Kind};
use super::exception::Exception;
use super::predecode::Block;
use super::state::{ITLB_ENTRIES, ItlbEntry, Privilege};
use super::{Context, Exit};

/// How the interpreter goes on after the slow path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SlowResult {
    /// Go on with the next entry.
    Next,
    /// Start over at `hart.pc`.
    Redispatch,
    /// The same after an exception: the instruction did not retire.
    Trapped,
    /// Leave with `hart.exit`.
    Exit(Exit),
}

impl Context<'_> {
    /// Whether a slow path succeeded; leaves its exception for the interpreter.
    fn done(&mut self, result: Result<(), Exception>) -> bool {
        if let Err(e) = result {
            self.hart.slow_exception = (e.cause, e.value);
        }
        result.is_ok()
    }
}

#[cold]
#[inline(never)]
pub(super) unsafe fn slow_load(cx: *mut Context<'_>, va: u64, size: usize) -> bool {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    match cx.load(va, size) {
        Ok(value) => {
            cx.hart.slow_value = value;
            true
        }
        Err(e) => {
            cx.hart.slow_exception = (e.cause, e.value);
            false
        }
    }
}

#[cold]
#[inline(never)]
pub(super) unsafe fn slow_store(cx: *mut Context<'_>, va: u64, size: usize, value: u64) -> bool {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    let done = cx.store(va, size, value);
    cx.done(done)
}

/// The value of the lifted code at `va`, which is in the page that the interpreter runs in; 0 when there is
/// none.
#[inline(never)]
pub(super) unsafe fn lifted_value(itlb: *const ItlbEntry, va: u64) -> u32 {
    // SAFETY: the instruction TLB of the privilege in force; its tables are valid as long as their entry is.
    unsafe {
        let known = &*itlb.add((va >> 12) as usize % ITLB_ENTRIES);
        if known.tag == va & !0xfff { *known.lifted.add((va >> 1) as usize & 0x7ff) } else { 0 }
    }
}

/// Tells the profile that control goes from one page of the cache to another.
#[inline(never)]
pub(super) unsafe fn note_link(cx: *mut Context<'_>, from: u32, to: u32, distance: u64) {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    let (from, to) = (cx.cache.page(from).pa, cx.cache.page(to).pa);
    if let Some(profile) = &mut cx.profile {
        profile.note_link(from, to, cx.hart.privilege.mode(), distance);
    }
}

/// Finds the target of the branch `from` and links the two if both are in one page.
/// Null, with `hart.pc` set, when the dispatcher has to find it.
#[cold]
#[inline(never)]
pub(super) unsafe fn link(cx: *mut Context<'_>, from: *const Entry) -> *const Entry {
    // SAFETY: the interpreter's own context; `from` is the entry it has just left.
    let (cx, offset) = unsafe { (&mut *cx, (*from).imm) };
    cx.hart.pc = cx.hart.page_va.wrapping_add(offset as i64 as u64);
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
        // SAFETY: code in the cache lies in the arena (only straddling code does not, and its page is
        // NO_PAGE).
        let branch = unsafe { from.offset_from_unsigned(cx.cache.arena()) };
        cx.cache.link(branch as u32, index);
    }
    // SAFETY: `block` gives an index inside the arena.
    unsafe { cx.cache.arena().add(index as usize) }
}

#[inline(never)]
pub(super) unsafe fn system(cx: *mut Context<'_>, e: &Entry, pc: u64) -> SlowResult {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    cx.hart.pc = pc;
    let trapped = |exit: Option<Exit>| exit.map_or(SlowResult::Trapped, SlowResult::Exit);
    match e.op {
        Kind::Csr => match cx.csr(e) {
            Ok(false) => return SlowResult::Next,
            Ok(true) => cx.hart.pc = pc + 4,
            Err(e) => return trapped(cx.raise(e)),
        },
        Kind::FenceI => cx.hart.pc = pc + u64::from(e.rd),
        Kind::Ecall => return trapped(cx.ecall()),
        Kind::Ebreak => return trapped(cx.raise(Exception { cause: 3, value: pc })),
        Kind::Sret | Kind::Wfi | Kind::SfenceVma if cx.hart.privilege == Privilege::User => {
            return trapped(cx.raise(Exception { cause: 2, value: u64::from(e.target) }));
        }
        Kind::Sret => cx.hart.sret(),
        Kind::Wfi => {
            cx.hart.pc = pc + 4;
            if !cx.hart.wakes() {
                return SlowResult::Exit(Exit::Wfi);
            }
        }
        Kind::SfenceVma => {
            cx.sfence_vma(e);
            cx.hart.pc = pc + 4;
        }
        _ => return trapped(cx.raise(Exception { cause: 2, value: u64::from(e.target) })),
    }
    SlowResult::Redispatch
}

#[inline(never)]
pub(super) unsafe fn atomic(cx: *mut Context<'_>, e: &Entry) -> bool {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    let done = cx.atomic(e);
    cx.done(done)
}

#[inline(never)]
pub(super) unsafe fn float(cx: *mut Context<'_>, e: &Entry) -> bool {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    let done = cx.float(e);
    cx.done(done)
}

/// Whether floating-point instructions run; makes the state dirty.
#[cold]
#[inline(never)]
pub(super) unsafe fn float_enable(cx: *mut Context<'_>, e: &Entry) -> bool {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    if cx.hart.fs == 0 {
        cx.hart.slow_exception = (2, u64::from(e.target));
        return false;
    }
    cx.hart.fs = 3;
    true
}
