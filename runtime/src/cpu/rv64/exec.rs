//! The interpreter: one switch over predecoded entries.
//!
//! The loop keeps four things in locals: the entry, the branch that led to it (for linking), the virtual
//! address of the page it runs in, and the budget. Everything else is in [`Hart`]. Only taken branches and
//! block ends touch the budget, so an interrupt is taken at one of those; exceptions are precise at any
//! entry, since an entry knows its offset and its count.
//!
//! What is rare (TLB misses, CSRs, system instructions) is called and never inlined: the switch is one huge
//! function, and every inlined slow path would cost the hot ones registers.

use super::entry::{Entry, Kind, MAX_BLOCK};
use super::exception::Exception;
use super::mmu::Access;
use super::predecode::Block;
use super::state::{Hart, ITLB_ENTRIES, ItlbEntry, Privilege, hart_ptr};
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
        // Behind something that does not retire there would be two states with the same count.
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
    // SAFETY: the entries outlive the call; with this budget it ends behind the first of them.
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
    let (entry, page) = match cx.block_behind_mark(page, (pc & 0xfff) as u16, &mut emptied) {
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

/// Stands for the page index of code that is not in the cache.
const NO_PAGE: u32 = u32::MAX;

impl Context<'_> {
    /// Whether a slow path succeeded; leaves its exception for the interpreter.
    fn done(&mut self, result: Result<(), Exception>) -> bool {
        if let Err(e) = result {
            self.hart.slow_exception = (e.cause, e.value);
        }
        result.is_ok()
    }

    #[inline]
    fn find_page(&mut self, pc: u64) -> Result<u32, Exception> {
        let known = &self.hart.itlb[self.hart.privilege as usize][(pc >> 12) as usize % ITLB_ENTRIES];
        if known.tag == pc & !0xfff { Ok(known.page) } else { self.code_page(pc) }
    }
}

/// What a called slow path asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Go on with the next entry.
    Next,
    /// Start over at `hart.pc`.
    Redispatch,
    /// The same behind an exception: the instruction did not retire.
    Trapped,
    /// Leave with `hart.exit`.
    Exit(Exit),
}

#[cold]
#[inline(never)]
unsafe fn slow_load(cx: *mut Context<'_>, va: u64, size: usize) -> bool {
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
unsafe fn slow_store(cx: *mut Context<'_>, va: u64, size: usize, value: u64) -> bool {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    let done = cx.store(va, size, value);
    cx.done(done)
}

/// The value of the lifted code at `va`, which is in the page that the interpreter runs in; 0 when there is
/// none.
#[inline(never)]
unsafe fn lifted_value(itlb: *const ItlbEntry, va: u64) -> u32 {
    // SAFETY: the instruction TLB of the privilege in force; its tables are valid as long as their entry is.
    unsafe {
        let known = &*itlb.add((va >> 12) as usize % ITLB_ENTRIES);
        if known.tag == va & !0xfff { *known.lifted.add((va >> 1) as usize & 0x7ff) } else { 0 }
    }
}

/// Tells the profile that control goes from one page of the cache to another.
#[inline(never)]
unsafe fn note_link(cx: *mut Context<'_>, from: u32, to: u32, distance: u64) {
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
unsafe fn link(cx: *mut Context<'_>, from: *const Entry) -> *const Entry {
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
unsafe fn system(cx: *mut Context<'_>, e: &Entry, pc: u64) -> Then {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    cx.hart.pc = pc;
    let trapped = |exit: Option<Exit>| exit.map_or(Then::Trapped, Then::Exit);
    match e.op {
        Kind::Csr => match cx.csr(e) {
            Ok(false) => return Then::Next,
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
                return Then::Exit(Exit::Wfi);
            }
        }
        Kind::SfenceVma => {
            cx.sfence_vma(e);
            cx.hart.pc = pc + 4;
        }
        _ => return trapped(cx.raise(Exception { cause: 2, value: u64::from(e.target) })),
    }
    Then::Redispatch
}

#[inline(never)]
unsafe fn atomic(cx: *mut Context<'_>, e: &Entry) -> bool {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    let done = cx.atomic(e);
    cx.done(done)
}

#[inline(never)]
unsafe fn float(cx: *mut Context<'_>, e: &Entry) -> bool {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    let done = cx.float(e);
    cx.done(done)
}

/// Whether floating-point instructions run; makes the state dirty.
#[cold]
#[inline(never)]
unsafe fn float_enable(cx: *mut Context<'_>, e: &Entry) -> bool {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    if cx.hart.fs == 0 {
        cx.hart.slow_exception = (2, u64::from(e.target));
        return false;
    }
    cx.hart.fs = 3;
    true
}

/// # Safety
/// `p` points to a decoded block of `page` that `hart.pc` maps to, or to a straddling one (then `page` is
/// [`NO_PAGE`]).
#[allow(clippy::too_many_lines, reason = "the one giant match over the opcode space")]
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one contract for all of them: see # Safety and `Entry`"
)]
unsafe fn interpret<const PROFILE: bool>(
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
        (*h).page_va = (*h).pc & !0xfff;
        let mut itlb: *const ItlbEntry = (&raw const (*h).itlb[(*h).privilege as usize]).cast();
        // The budget at the last trap that was followed here.
        let mut last_trap = i64::MAX;
        let mut reads: *const u64 = (*h).dtlb.read_table((*h).tlb_index());
        let slots = (*h).dtlb.mask;

        // Counters of the training run.
        let counters: [*mut u32; 3] = match &mut (*cx).profile {
            Some(p) if PROFILE => [p.arrivals.as_mut_ptr(), p.taken.as_mut_ptr(), p.indirect.as_mut_ptr()],
            _ => [core::ptr::null_mut(); 3],
        };
        macro_rules! count {
            ($counter:literal, $entry:expr) => {
                if PROFILE && (*h).page != NO_PAGE {
                    let counter = counters[$counter].add($entry.offset_from_unsigned(arena));
                    *counter = (*counter).saturating_add(1);
                }
            };
        }
        count!(0, p);
        // A trap comes from anywhere, and where lifted code leaves is a place to come in at.
        if PROFILE && ((*h).pc == (*h).stvec & !3 || (*cx).lifted.is_active()) {
            count!(2, p);
        }

        macro_rules! rx {
            ($at:expr) => {
                *(&raw const (*h).x).cast::<u8>().add($at as usize).cast::<u64>()
            };
        }
        macro_rules! wx {
            ($at:expr, $value:expr) => {
                *(&raw mut (*h).x).cast::<u8>().add($at as usize).cast::<u64>() = $value
            };
        }
        macro_rules! rf {
            ($at:expr) => {
                *(&raw const (*h).f).cast::<u8>().add($at as usize).cast::<u64>()
            };
        }
        macro_rules! wf {
            ($at:expr, $value:expr) => {
                *(&raw mut (*h).f).cast::<u8>().add($at as usize).cast::<u64>() = $value
            };
        }
        // Leaves for the dispatcher; hart.pc is set.
        macro_rules! leave {
            ($exit:expr) => {{
                *left_out = left;
                return $exit;
            }};
        }
        // The slow path left an exception behind.
        macro_rules! fault {
            ($e:expr) => {{
                left -= i64::from($e.count);
                (*h).pc = (*h).page_va + u64::from($e.offset);
                let (cause, value) = (*h).slow_exception;
                if let Some(exit) = (*cx).raise(Exception { cause, value }) {
                    leave!(Some(exit));
                }
                follow!();
            }};
        }
        // Goes on at hart.pc, in whatever privilege, with what is decoded there; else the dispatcher does.
        macro_rules! arrive {
            ($behind_mark:expr) => {{
                let pc = (*h).pc;
                itlb = (&raw const (*h).itlb[(*h).privilege as usize]).cast();
                reads = (*h).dtlb.read_table((*h).tlb_index());
                let t = &*itlb.add((pc >> 12) as usize % ITLB_ENTRIES);
                let mut index =
                    if t.tag == pc & !0xfff { *t.blocks.add((pc >> 1) as usize & 0x7ff) } else { 0 };
                if $behind_mark && index != 0 && (*arena.add(index as usize)).op == Kind::Lifted {
                    index = (*arena.add(index as usize)).target;
                }
                if index == 0 {
                    leave!(None);
                }
                (*h).page = t.page;
                (*h).page_va = t.tag;
                (*h).unretired = false;
                p = arena.add(index as usize);
                count!(0, p);
                if PROFILE && (pc == (*h).stvec & !3 || (*cx).lifted.is_active()) {
                    count!(2, p);
                }
            }};
        }
        // The same behind a trap or the return from one. A handler that traps itself before anything retired
        // is the dispatcher's, which counts that; so is what is executed alone.
        macro_rules! follow {
            () => {{
                if left <= 0 || left == last_trap || (*h).page == NO_PAGE || (*h).interrupt().is_some() {
                    leave!(None);
                }
                last_trap = left;
                arrive!(false);
                continue;
            }};
        }
        macro_rules! next {
            () => {
                p = p.add(1)
            };
        }
        macro_rules! alu {
            ($e:ident, $value:expr) => {{
                let value: u64 = $value;
                wx!($e.rd, value);
                next!();
            }};
        }
        macro_rules! imm {
            ($e:ident) => {
                i64::from($e.imm) as u64
            };
        }
        macro_rules! rs2 {
            ($e:ident) => {
                rx!($e.imm as u8)
            };
        }
        // Goes to a branch's target. `from` lets an unlinked target be found.
        macro_rules! take {
            ($e:ident) => {{
                left -= i64::from($e.count);
                if left <= 0 {
                    (*h).pc = (*h).page_va.wrapping_add(imm!($e));
                    leave!(None);
                }
                from = p;
                count!(1, from);
                p = arena.add($e.target as usize);
                if $e.target != 0 {
                    count!(0, p);
                }
            }};
        }
        macro_rules! branch {
            ($e:ident, $condition:expr) => {
                if $condition { take!($e) } else { next!() }
            };
        }
        macro_rules! go {
            ($pc:expr) => {{
                let pc: u64 = $pc;
                if left <= 0 {
                    (*h).pc = pc;
                    leave!(None);
                }
                let t = &*itlb.add((pc >> 12) as usize % ITLB_ENTRIES);
                let index = if t.tag == pc & !0xfff { *t.blocks.add((pc >> 1) as usize & 0x7ff) } else { 0 };
                if index == 0 {
                    (*h).pc = pc;
                    leave!(None);
                }
                if PROFILE && (*h).page != t.page && (*h).page != NO_PAGE {
                    note_link(cx, (*h).page, t.page, t.tag.wrapping_sub((*h).page_va));
                }
                (*h).page = t.page;
                (*h).page_va = t.tag;
                p = arena.add(index as usize);
                count!(0, p);
                count!(2, p);
            }};
        }
        // Offset in RAM, or something beyond it when the table does not answer.
        macro_rules! lookup {
            ($table:expr, $va:expr, $type:ty) => {{
                let a = $va.wrapping_add(*$table.add(($va >> 12 & slots) as usize));
                const SHIFT: u32 = size_of::<$type>().trailing_zeros();
                (a, a.rotate_right(SHIFT) < (*h).dtlb.ram_len >> SHIFT)
            }};
        }
        macro_rules! load {
            ($e:ident, $type:ty, |$value:ident| $result:expr) => {{
                let va = rx!($e.rs1).wrapping_add(imm!($e));
                let (at, found) = lookup!(reads, va, $type);
                let $value = if found {
                    *(*h).dtlb.ram.add(at as usize).cast::<$type>()
                } else if slow_load(cx, va, size_of::<$type>()) {
                    (*h).slow_value as $type
                } else {
                    fault!($e)
                };
                $result;
                next!();
            }};
        }
        macro_rules! store {
            ($e:ident, $type:ty, $value:expr) => {{
                let va = rx!($e.rs1).wrapping_add(imm!($e));
                let (at, found) = lookup!(reads.add(slots as usize + 1), va, $type);
                let value: u64 = $value;
                if found {
                    *(*h).dtlb.ram.add(at as usize).cast::<$type>() = value as $type;
                } else if !slow_store(cx, va, size_of::<$type>(), value) {
                    fault!($e)
                }
                next!();
            }};
        }
        macro_rules! with_float {
            ($e:ident) => {
                if (*h).fs != 3 && !float_enable(cx, $e) {
                    fault!($e)
                }
            };
        }
        macro_rules! call_float {
            ($e:ident) => {{
                if !float(cx, $e) {
                    fault!($e)
                }
                next!();
            }};
        }

        loop {
            let e = &*p;
            match e.op {
                Kind::Unlinked => {
                    // Branches out of the page come here each time: look in the cache first.
                    if (*from).imm as u32 >= 0x1000 {
                        go!((*h).page_va.wrapping_add(i64::from((*from).imm) as u64));
                        continue;
                    }
                    p = link(cx, from);
                    if p.is_null() {
                        leave!(None);
                    }
                    count!(0, p);
                }
                Kind::Lifted => {
                    (*h).pc = (*h).page_va + u64::from(e.offset);
                    // The mark is there for any privilege.
                    let value = if (*h).calls_lifted && left > 0 { lifted_value(itlb, (*h).pc) } else { 0 };
                    if value == 0 {
                        if left <= 0 || e.target == 0 {
                            leave!(None);
                        }
                        p = arena.add(e.target as usize);
                        count!(0, p);
                        continue;
                    }
                    let went_on = (*cx).run_lifted(value, end, left);
                    left = (*h).left;
                    if left <= 0 || (*h).attend {
                        leave!(None);
                    }
                    (*h).interpreted_stretches += 1;
                    arrive!(!went_on);
                }
                Kind::Next => take!(e),
                Kind::Nop => next!(),
                Kind::Li => alu!(e, imm!(e)),
                Kind::Mv => alu!(e, rx!(e.rs1)),
                Kind::Auipc => alu!(e, (*h).page_va.wrapping_add(imm!(e))),
                Kind::Addi => alu!(e, rx!(e.rs1).wrapping_add(imm!(e))),
                Kind::Slti => alu!(e, u64::from((rx!(e.rs1) as i64) < imm!(e) as i64)),
                Kind::Sltiu => alu!(e, u64::from(rx!(e.rs1) < imm!(e))),
                Kind::Xori => alu!(e, rx!(e.rs1) ^ imm!(e)),
                Kind::Ori => alu!(e, rx!(e.rs1) | imm!(e)),
                Kind::Andi => alu!(e, rx!(e.rs1) & imm!(e)),
                Kind::Slli => alu!(e, rx!(e.rs1) << (e.imm & 63)),
                Kind::Srli => alu!(e, rx!(e.rs1) >> (e.imm & 63)),
                Kind::Srai => alu!(e, (rx!(e.rs1) as i64 >> (e.imm & 63)) as u64),
                Kind::Addiw => alu!(e, sext((rx!(e.rs1) as u32).wrapping_add(e.imm as u32))),
                Kind::Slliw => alu!(e, sext((rx!(e.rs1) as u32) << (e.imm & 31))),
                Kind::Srliw => alu!(e, sext(rx!(e.rs1) as u32 >> (e.imm & 31))),
                Kind::Sraiw => alu!(e, sext((rx!(e.rs1) as i32 >> (e.imm & 31)) as u32)),
                Kind::Add => alu!(e, rx!(e.rs1).wrapping_add(rs2!(e))),
                Kind::Sub => alu!(e, rx!(e.rs1).wrapping_sub(rs2!(e))),
                Kind::Sll => alu!(e, rx!(e.rs1) << (rs2!(e) & 63)),
                Kind::Slt => alu!(e, u64::from((rx!(e.rs1) as i64) < rs2!(e) as i64)),
                Kind::Sltu => alu!(e, u64::from(rx!(e.rs1) < rs2!(e))),
                Kind::Xor => alu!(e, rx!(e.rs1) ^ rs2!(e)),
                Kind::Srl => alu!(e, rx!(e.rs1) >> (rs2!(e) & 63)),
                Kind::Sra => alu!(e, (rx!(e.rs1) as i64 >> (rs2!(e) & 63)) as u64),
                Kind::Or => alu!(e, rx!(e.rs1) | rs2!(e)),
                Kind::And => alu!(e, rx!(e.rs1) & rs2!(e)),
                Kind::Addw => alu!(e, sext((rx!(e.rs1) as u32).wrapping_add(rs2!(e) as u32))),
                Kind::Subw => alu!(e, sext((rx!(e.rs1) as u32).wrapping_sub(rs2!(e) as u32))),
                Kind::Sllw => alu!(e, sext((rx!(e.rs1) as u32) << (rs2!(e) & 31))),
                Kind::Srlw => alu!(e, sext(rx!(e.rs1) as u32 >> (rs2!(e) & 31))),
                Kind::Sraw => alu!(e, sext((rx!(e.rs1) as i32 >> (rs2!(e) & 31)) as u32)),
                Kind::Mul => alu!(e, rx!(e.rs1).wrapping_mul(rs2!(e))),
                Kind::Mulh => {
                    alu!(e, ((i128::from(rx!(e.rs1) as i64) * i128::from(rs2!(e) as i64)) >> 64) as u64)
                }
                Kind::Mulhsu => alu!(e, ((i128::from(rx!(e.rs1) as i64) * i128::from(rs2!(e))) >> 64) as u64),
                Kind::Mulhu => alu!(e, ((u128::from(rx!(e.rs1)) * u128::from(rs2!(e))) >> 64) as u64),
                Kind::Div => alu!(e, div(rx!(e.rs1) as i64, rs2!(e) as i64) as u64),
                Kind::Divu => alu!(e, rx!(e.rs1).checked_div(rs2!(e)).unwrap_or(u64::MAX)),
                Kind::Rem => alu!(e, rem(rx!(e.rs1) as i64, rs2!(e) as i64) as u64),
                Kind::Remu => alu!(e, rx!(e.rs1).checked_rem(rs2!(e)).unwrap_or(rx!(e.rs1))),
                Kind::Mulw => alu!(e, sext((rx!(e.rs1) as u32).wrapping_mul(rs2!(e) as u32))),
                Kind::Divw => {
                    alu!(e, div(rx!(e.rs1) as i32 as i64, rs2!(e) as i32 as i64) as i32 as i64 as u64)
                }
                Kind::Divuw => {
                    alu!(e, sext((rx!(e.rs1) as u32).checked_div(rs2!(e) as u32).unwrap_or(u32::MAX)))
                }
                Kind::Remw => {
                    alu!(e, rem(rx!(e.rs1) as i32 as i64, rs2!(e) as i32 as i64) as i32 as i64 as u64)
                }
                Kind::Remuw => alu!(
                    e,
                    sext((rx!(e.rs1) as u32).checked_rem(rs2!(e) as u32).unwrap_or(rx!(e.rs1) as u32))
                ),
                Kind::Lb => load!(e, u8, |v| wx!(e.rd, v as i8 as i64 as u64)),
                Kind::Lh => load!(e, u16, |v| wx!(e.rd, v as i16 as i64 as u64)),
                Kind::Lw => load!(e, u32, |v| wx!(e.rd, sext(v))),
                Kind::Ld => load!(e, u64, |v| wx!(e.rd, v)),
                Kind::Lbu => load!(e, u8, |v| wx!(e.rd, u64::from(v))),
                Kind::Lhu => load!(e, u16, |v| wx!(e.rd, u64::from(v))),
                Kind::Lwu => load!(e, u32, |v| wx!(e.rd, u64::from(v))),
                Kind::LoadDiscard => {
                    if !slow_load(cx, rx!(e.rs1).wrapping_add(imm!(e)), e.target as usize) {
                        fault!(e)
                    }
                    next!();
                }
                Kind::Sb => store!(e, u8, rx!(e.rd)),
                Kind::Sh => store!(e, u16, rx!(e.rd)),
                Kind::Sw => store!(e, u32, rx!(e.rd)),
                Kind::Sd => store!(e, u64, rx!(e.rd)),
                Kind::Beq => branch!(e, rx!(e.rs1) == rx!(e.rd)),
                Kind::Bne => branch!(e, rx!(e.rs1) != rx!(e.rd)),
                Kind::Blt => branch!(e, (rx!(e.rs1) as i64) < rx!(e.rd) as i64),
                Kind::Bge => branch!(e, rx!(e.rs1) as i64 >= rx!(e.rd) as i64),
                Kind::Bltu => branch!(e, rx!(e.rs1) < rx!(e.rd)),
                Kind::Bgeu => branch!(e, rx!(e.rs1) >= rx!(e.rd)),
                Kind::Beqz => branch!(e, rx!(e.rs1) == 0),
                Kind::Bnez => branch!(e, rx!(e.rs1) != 0),
                Kind::Blez => branch!(e, rx!(e.rs1) as i64 <= 0),
                Kind::Bgez => branch!(e, rx!(e.rs1) as i64 >= 0),
                Kind::Bltz => branch!(e, (rx!(e.rs1) as i64) < 0),
                Kind::Bgtz => branch!(e, rx!(e.rs1) as i64 > 0),
                Kind::J => take!(e),
                Kind::Jal => {
                    wx!(e.rd, (*h).page_va + u64::from(e.offset) + u64::from(e.rs1));
                    take!(e);
                }
                Kind::Jr => {
                    left -= i64::from(e.count);
                    go!(rx!(e.rs1).wrapping_add(imm!(e)) & !1);
                }
                Kind::Jalr => {
                    left -= i64::from(e.count);
                    let pc = rx!(e.rs1).wrapping_add(imm!(e)) & !1;
                    wx!(e.rd, (*h).page_va + u64::from(e.offset) + u64::from(e.target));
                    go!(pc);
                }
                Kind::Lr | Kind::Sc | Kind::AmoW | Kind::AmoD => {
                    if !atomic(cx, e) {
                        fault!(e)
                    }
                    next!();
                }
                Kind::Flw => {
                    with_float!(e);
                    load!(e, u32, |v| wf!(e.rd, u64::from(v) | BOX));
                }
                Kind::Fld => {
                    with_float!(e);
                    load!(e, u64, |v| wf!(e.rd, v));
                }
                Kind::Fsw => {
                    with_float!(e);
                    store!(e, u32, rf!(e.rd));
                }
                Kind::Fsd => {
                    with_float!(e);
                    store!(e, u64, rf!(e.rd));
                }
                Kind::FmvXD => {
                    with_float!(e);
                    alu!(e, rf!(e.rs1));
                }
                Kind::FmvDX => {
                    with_float!(e);
                    wf!(e.rd, rx!(e.rs1));
                    next!();
                }
                Kind::FsgnjD => {
                    with_float!(e);
                    wf!(e.rd, rf!(e.rs1) & !SIGN | rf!(e.imm as u8) & SIGN);
                    next!();
                }
                Kind::FaddD | Kind::FsubD | Kind::FmulD | Kind::FdivD | Kind::FmaddD | Kind::Float => {
                    with_float!(e);
                    call_float!(e);
                }
                Kind::Csr => {
                    // Exact at this instruction: it may read instret or time.
                    (*h).instret = end.wrapping_sub((left - i64::from(e.count)) as u64);
                    match system(cx, e, (*h).page_va + u64::from(e.offset)) {
                        Then::Next => {
                            reads = (*h).dtlb.read_table((*h).tlb_index());
                            next!();
                        }
                        Then::Redispatch => {
                            left -= i64::from(e.count) + 1;
                            leave!(None);
                        }
                        Then::Trapped => {
                            left -= i64::from(e.count);
                            follow!();
                        }
                        Then::Exit(exit) => {
                            left -= i64::from(e.count);
                            leave!(Some(exit));
                        }
                    }
                }
                Kind::FenceI
                | Kind::Ecall
                | Kind::Ebreak
                | Kind::Sret
                | Kind::Wfi
                | Kind::SfenceVma
                | Kind::Illegal => {
                    (*h).instret = end.wrapping_sub((left - i64::from(e.count)) as u64);
                    let then = system(cx, e, (*h).page_va + u64::from(e.offset));
                    // An exception does not retire.
                    let retires = matches!(then, Then::Redispatch | Then::Exit(Exit::Wfi));
                    left -= i64::from(e.count) + i64::from(retires);
                    match then {
                        Then::Exit(exit) => leave!(Some(exit)),
                        _ => follow!(),
                    }
                }
            }
        }
    }
}

const SIGN: u64 = 1 << 63;
/// Upper half of a NaN-boxed single.
pub(crate) const BOX: u64 = 0xffff_ffff_0000_0000;

/// A 32-bit result in a 64-bit register.
#[inline(always)]
pub(crate) fn sext(value: u32) -> u64 {
    value as i32 as i64 as u64
}

#[inline(always)]
fn div(a: i64, b: i64) -> i64 {
    if b == 0 { -1 } else { a.wrapping_div(b) }
}

#[inline(always)]
fn rem(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { a.wrapping_rem(b) }
}

impl Context<'_> {
    /// LR, SC and AMO (unprivileged manual, chapter "A").
    fn atomic(&mut self, e: &Entry) -> Result<(), Exception> {
        let x = |at: u8| usize::from(at / 8);
        let va = self.hart.x[x(e.rs1)];
        let source = self.hart.x[x(e.imm as u8)];
        let size = match e.op {
            Kind::AmoW => 4,
            Kind::AmoD => 8,
            _ => e.target as usize,
        };
        let access = if e.op == Kind::Lr { Access::Load } else { Access::Store };
        let pa = self.atomic_address(va, size, access)?;
        let old = match self.mem.slice(pa, size) {
            Some(&[a, b, c, d]) => sext(u32::from_le_bytes([a, b, c, d])),
            Some(&[a, b, c, d, e, f, g, h]) => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => return Err(Exception { cause: 7, value: va }),
        };
        let rd = x(e.rd);
        if e.op == Kind::Lr {
            self.hart.reservation = pa;
            if rd != 0 {
                self.hart.x[rd] = old;
            }
            return Ok(());
        }
        let (result, value) = match e.op {
            Kind::Sc => {
                let held = self.hart.reservation == pa;
                self.hart.reservation = u64::MAX;
                (u64::from(!held), held.then_some(source))
            }
            Kind::AmoW => (old, Some(u64::from(amo_word(e.target, old as u32, source as u32)))),
            _ => (old, Some(amo_double(e.target, old, source))),
        };
        if let Some(value) = value {
            self.mem.write(pa, &value.to_le_bytes()[..size]);
            self.drop_dirty_code();
        }
        if rd != 0 {
            self.hart.x[rd] = result;
        }
        Ok(())
    }
}

/// AMO functions by funct5.
fn amo_double(funct5: u32, old: u64, source: u64) -> u64 {
    match funct5 {
        0x01 => source,
        0x00 => old.wrapping_add(source),
        0x04 => old ^ source,
        0x0c => old & source,
        0x08 => old | source,
        0x10 => (old as i64).min(source as i64) as u64,
        0x14 => (old as i64).max(source as i64) as u64,
        0x18 => old.min(source),
        _ => old.max(source),
    }
}

fn amo_word(funct5: u32, old: u32, source: u32) -> u32 {
    match funct5 {
        0x18 => old.min(source),
        0x1c => old.max(source),
        // The others commute with sign extension.
        _ => amo_double(funct5, sext(old), sext(source)) as u32,
    }
}
