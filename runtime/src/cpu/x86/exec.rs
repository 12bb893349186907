//! The interpreter: one switch over predecoded entries.
//!
//! As the RISC-V hart's: only taken branches and block ends touch the budget, so an interrupt is taken at one
//! of those; exceptions are precise at any entry, since an entry knows its offset and its count. What is rare
//! is called and never inlined.

use super::cache::Front;
use super::entry::{Entry, Kind};
use super::family::Flow;
use super::family::sse::moves::sign_bits;
use super::family::sse::packed_int;
use super::flags::{ADD, CF, Int, LOGIC, OF, RAW, RESULT, RF, SUB, TF, of_add, of_sub};
use super::mmu::{Access, is_canonical};
use super::predecode::Block;
use super::state::{Hart, ITLB_ENTRIES, ItlbEntry, PAGE, hart_ptr};
use super::{Context, Exit};
use core::ops::ControlFlow;

/// Stands for the page index of code that is not in the cache.
pub(super) const NO_PAGE: u32 = u32::MAX;

/// Runs until `budget` instructions have retired or the machine has to act.
pub(crate) fn run(cx: &mut Context<'_>, budget: u64) -> Exit {
    let mut left = budget.min(i64::MAX as u64) as i64;
    // Instructions retired are `end - left`.
    let mut end = cx.hart.instret.wrapping_add(left as u64);
    loop {
        let before = left;
        let exit = if left <= 0 { Some(Exit::Budget) } else { step(cx, end, &mut left) };
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

/// Executes one instruction, or delivers its exception.
pub(crate) fn single_step(cx: &mut Context<'_>) -> Option<Exit> {
    (cx.hart.inhibit, cx.hart.shadow) = (false, false);
    cx.hart.rflags &= !RF;
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
    if cx.hart.inhibit || cx.hart.rflags & (TF | RF) != 0 || cx.hart.debug != 0 {
        if let ControlFlow::Break(exit) = cx.careful_step() {
            *left = end.wrapping_sub(cx.hart.instret) as i64;
            return exit;
        }
    } else if let Some(exit) = cx.take_interrupt() {
        return Some(exit);
    }
    let rip = cx.hart.rip;
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

/// What a called slow path asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Execute the same entry again.
    Again,
    /// Go on with the next entry.
    Next,
    /// Start over at `hart.rip`; the instruction retired.
    Redispatch,
    /// The same; it did not retire.
    Unfinished,
    /// `hart.slow_fault` is to be raised.
    Fault,
    /// Leave.
    Exit(Exit),
}

/// What an entry could not do by itself.
struct Missed {
    /// An access to `size` bytes that the data TLB does not answer; none if `size` is 0.
    va: u64,
    size: usize,
    access: Access,
}

/// Does what an entry could not: enters the page that it accesses into the data TLB, or executes it as its
/// family does.
#[inline(never)]
unsafe fn slow(cx: *mut Context<'_>, e: &Entry, missed: Missed) -> Then {
    // SAFETY: the interpreter's own context.
    let cx = unsafe { &mut *cx };
    if missed.size != 0 && cx.enter(missed.va, missed.size, missed.access) {
        return Then::Again;
    }
    cx.hart.rip = cx.code_address(e.offset.into());
    let (handler, instruction) = if e.op == Kind::Family {
        *cx.cache.instruction(e.imm)
    } else {
        match cx.decode_again(e) {
            Ok(decoded) => decoded,
            Err(fault) => {
                cx.hart.slow_fault = fault;
                return Then::Fault;
            }
        }
    };
    match handler(cx, &instruction) {
        Ok(Flow::Next) if cx.hart.code_dropped => {
            cx.hart.rip = cx.next_rip(&instruction);
            Then::Redispatch
        }
        Ok(Flow::Next) => Then::Next,
        Ok(Flow::Goto) => Then::Redispatch,
        Ok(Flow::Again) => Then::Unfinished,
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
        // SAFETY: code in the cache lies in the arena (only straddling code does not, and its page is
        // NO_PAGE).
        let branch = unsafe { from.offset_from_unsigned(cx.cache.arena()) };
        cx.cache.link(branch as u32, index);
    }
    // SAFETY: `block` gives an index inside the arena.
    unsafe { cx.cache.arena().add(index as usize) }
}

/// # Safety
/// `p` points to a decoded block of `page` that `hart.rip` maps to, or to a straddling one (then `page` is
/// [`NO_PAGE`]).
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
    let front = cx.cache.front();
    let cx: *mut Context<'_> = cx;
    let mut from = p;
    let mut left = *left_out;
    unsafe {
        (*h).page = page;
        (*h).r[PAGE] = (*h).rip & !0xfff;
        (*h).code_dropped = false;

        let set = (*h).tlb_index();
        let itlb: *const ItlbEntry = (&raw const (*h).itlb[set]).cast();
        let slots = (*h).dtlb.mask;
        let reads: *const u64 = (*h).dtlb.read_table(set);
        let writes = reads.add(slots as usize + 1);

        macro_rules! leave {
            ($exit:expr) => {{
                *left_out = left;
                return $exit;
            }};
        }
        macro_rules! next {
            () => {
                p = p.add(1)
            };
        }
        // Charges the instructions before the entry; with a branch, up to and with it.
        macro_rules! charge {
            ($e:expr) => {
                left -= i64::from($e.count)
            };
        }
        macro_rules! imm {
            ($e:ident) => {
                i64::from($e.imm) as u64
            };
        }
        // A register by byte offset.
        macro_rules! rd {
            ($t:ty, $at:expr) => {
                *(&raw const (*h).r).cast::<u8>().add($at as usize).cast::<$t>()
            };
        }
        macro_rules! wr {
            (u32, $at:expr, $value:expr) => {
                *(&raw mut (*h).r).cast::<u8>().add($at as usize).cast::<u64>() = u64::from($value)
            };
            ($t:ty, $at:expr, $value:expr) => {
                *(&raw mut (*h).r).cast::<u8>().add($at as usize).cast::<$t>() = $value
            };
        }
        macro_rules! xmm {
            ($at:expr) => {
                xmm!($at, [u64; 2])
            };
            ($at:expr, $t:ty) => {
                *(&raw mut (*h).xmm).cast::<u8>().add($at as usize).cast::<$t>()
            };
        }
        macro_rules! flags {
            ($cc:expr, $a:expr, $b:expr) => {{
                (*h).cc = $cc;
                (*h).cc_a = $a;
                (*h).cc_b = $b;
            }};
        }
        macro_rules! logic {
            ($result:expr) => {{
                (*h).cc = LOGIC;
                (*h).cc_a = $result;
            }};
        }
        // Does what the entry cannot do by itself. (At each place for itself: led to one place, all entries
        // were a third slower.)
        macro_rules! missed {
            ($e:ident, $va:expr, $size:expr, $access:expr) => {{
                // Instructions see how many retired before them (time-stamp counter).
                let before = i64::from($e.count) - i64::from($e.op.is_branch());
                (*h).instret = end.wrapping_sub((left - before) as u64);
                match slow(cx, $e, Missed { va: $va, size: $size, access: $access }) {
                    Then::Again => {}
                    Then::Next => next!(),
                    Then::Redispatch => {
                        left -= before + 1;
                        leave!(None);
                    }
                    Then::Unfinished => {
                        left -= before;
                        leave!(None);
                    }
                    Then::Fault => {
                        left -= before;
                        leave!((*cx).fault_at($e));
                    }
                    Then::Exit(exit) => {
                        left -= before + 1;
                        leave!(Some(exit));
                    }
                }
                continue;
            }};
        }
        // Leaves the entry to its family: what is rare.
        macro_rules! slow {
            ($e:ident) => {
                missed!($e, 0, 0, Access::Fetch)
            };
        }
        macro_rules! address {
            ($e:ident) => {
                rd!(u64, $e.base)
                    .wrapping_add(rd!(u64, $e.index) << $e.scale)
                    .wrapping_add(i64::from($e.disp) as u64)
            };
        }
        // Pointer to memory that the table of loads or of stores answers for. If it does not, the entry is
        // executed again, or by its family: nothing of the instruction may have been done before.
        macro_rules! memory {
            ($e:ident, $access:ident, $va:expr, $t:ty) => {
                memory!($e, $access, $va, $t, size_of::<$t>())
            };
            // `size` 0: the family does it at once.
            ($e:ident, $access:ident, $va:expr, $t:ty, $size:expr) => {{
                let va: u64 = $va;
                let table = table!($access);
                let a = va.wrapping_add(*table.add((va >> 12 & slots) as usize));
                const SIZE: usize = size_of::<$t>();
                if a >= (*h).dtlb.ram_len || (va & 0xfff) + SIZE as u64 > 0x1000 {
                    missed!($e, va, $size, Access::$access);
                }
                (*h).dtlb.ram.add(a as usize).cast::<$t>()
            }};
        }
        macro_rules! table {
            (Load) => {
                reads
            };
            (Store) => {
                writes
            };
        }
        macro_rules! load {
            ($e:ident, $t:ty) => {
                memory!($e, Load, address!($e), $t).read_unaligned()
            };
        }
        macro_rules! store {
            ($e:ident, $t:ty, $value:expr) => {{
                let value: $t = $value;
                memory!($e, Store, address!($e), $t).write_unaligned(value);
                next!();
            }};
        }
        macro_rules! set {
            ($e:ident, $t:tt, $value:expr) => {{
                let value: $t = $value;
                wr!($t, $e.d, value);
                next!();
            }};
        }
        // Operations: leave flags, and give the result to whoever wants it.
        macro_rules! add {
            ($a:ident, $b:ident, $t:ty) => {{
                flags!(ADD + <$t>::LOG2, $a.sx(), $b.sx());
                $a.wrapping_add($b)
            }};
        }
        macro_rules! sub {
            ($a:ident, $b:ident, $t:ty) => {{
                flags!(SUB + <$t>::LOG2, $a.sx(), $b.sx());
                $a.wrapping_sub($b)
            }};
        }
        macro_rules! cmp {
            ($a:ident, $b:ident, $t:ty) => {{
                flags!(SUB + <$t>::LOG2, $a.sx(), $b.sx());
                $a
            }};
        }
        macro_rules! and {
            ($a:ident, $b:ident, $t:ty) => {{
                let r: $t = $a & $b;
                logic!(r.sx());
                r
            }};
        }
        macro_rules! test {
            ($a:ident, $b:ident, $t:ty) => {{
                logic!(($a & $b).sx());
                $a
            }};
        }
        macro_rules! or {
            ($a:ident, $b:ident, $t:ty) => {{
                let r: $t = $a | $b;
                logic!(r.sx());
                r
            }};
        }
        macro_rules! xor {
            ($a:ident, $b:ident, $t:ty) => {{
                let r: $t = $a ^ $b;
                logic!(r.sx());
                r
            }};
        }
        // Forms. `cmp` and `test` give their first operand back: writing it changes nothing but the upper
        // half of a 32-bit register, so they have none of the writing forms.
        macro_rules! rr {
            ($e:ident, $t:tt, cmp) => {
                rr!($e, $t, cmp, _)
            };
            ($e:ident, $t:tt, test) => {
                rr!($e, $t, test, _)
            };
            ($e:ident, $t:tt, $op:ident, _) => {{
                let (a, b) = (rd!($t, $e.d), rd!($t, $e.s));
                let _ = $op!(a, b, $t);
                next!();
            }};
            ($e:ident, $t:tt, $op:ident) => {{
                let (a, b) = (rd!($t, $e.d), rd!($t, $e.s));
                let r = $op!(a, b, $t);
                wr!($t, $e.d, r);
                next!();
            }};
        }
        macro_rules! ri {
            ($e:ident, $t:tt, cmp) => {
                ri!($e, $t, cmp, _)
            };
            ($e:ident, $t:tt, test) => {
                ri!($e, $t, test, _)
            };
            ($e:ident, $t:tt, $op:ident, _) => {{
                let (a, b) = (rd!($t, $e.d), imm!($e) as $t);
                let _ = $op!(a, b, $t);
                next!();
            }};
            ($e:ident, $t:tt, $op:ident) => {{
                let (a, b) = (rd!($t, $e.d), imm!($e) as $t);
                let r = $op!(a, b, $t);
                wr!($t, $e.d, r);
                next!();
            }};
        }
        macro_rules! rm {
            ($e:ident, $t:tt, cmp) => {{
                let b = load!($e, $t);
                let a = rd!($t, $e.d);
                let _ = cmp!(a, b, $t);
                next!();
            }};
            ($e:ident, $t:tt, $op:ident) => {{
                let b = load!($e, $t);
                let a = rd!($t, $e.d);
                let r = $op!(a, b, $t);
                wr!($t, $e.d, r);
                next!();
            }};
        }
        macro_rules! mr {
            ($e:ident, $t:tt, $op:ident) => {{
                let at = memory!($e, Store, address!($e), $t);
                let (a, b) = (at.read_unaligned(), rd!($t, $e.s));
                let r = $op!(a, b, $t);
                at.write_unaligned(r);
                next!();
            }};
        }
        macro_rules! mi {
            ($e:ident, $t:tt, $op:ident) => {{
                let at = memory!($e, Store, address!($e), $t);
                let (a, b) = (at.read_unaligned(), imm!($e) as $t);
                let r = $op!(a, b, $t);
                at.write_unaligned(r);
                next!();
            }};
        }
        macro_rules! m_r {
            ($e:ident, $t:tt, $op:ident) => {{
                let a = load!($e, $t);
                let b = rd!($t, $e.s);
                let _ = $op!(a, b, $t);
                next!();
            }};
        }
        macro_rules! m_i {
            ($e:ident, $t:tt, $op:ident) => {{
                let a = load!($e, $t);
                let b = imm!($e) as $t;
                let _ = $op!(a, b, $t);
                next!();
            }};
        }
        // Goes to a branch's target. `from` lets an unlinked target be found.
        macro_rules! take {
            ($e:ident) => {{
                charge!($e);
                if left <= 0 {
                    (*h).rip = (*cx).code_address(imm!($e));
                    leave!(None);
                }
                from = p;
                p = arena.add($e.target as usize);
            }};
        }
        macro_rules! branch {
            ($e:ident, $condition:expr) => {
                if $condition { take!($e) } else { next!() }
            };
        }
        macro_rules! branch_flags {
            ($e:ident, |$a:ident, $b:ident| $condition:expr) => {{
                let ($a, $b) = ((*h).cc_a, (*h).cc_b);
                branch!($e, $condition)
            }};
        }
        macro_rules! cmp_rr {
            ($e:ident, $t:tt, |$a:ident, $b:ident| $condition:expr) => {{
                let ($a, $b) = (rd!($t, $e.d).sx(), rd!($t, $e.s).sx());
                flags!(SUB + <$t>::LOG2, $a, $b);
                branch!($e, $condition)
            }};
        }
        macro_rules! cmp_ri {
            ($e:ident, $t:tt, |$a:ident, $b:ident| $condition:expr) => {{
                let ($a, $b) = (rd!($t, $e.d).sx(), i64::from($e.disp) as u64);
                flags!(SUB + <$t>::LOG2, $a, $b);
                branch!($e, $condition)
            }};
        }
        macro_rules! test_rr {
            ($e:ident, $t:tt, |$a:ident| $condition:expr) => {{
                let $a = (rd!($t, $e.d) & rd!($t, $e.s)).sx();
                logic!($a);
                branch!($e, $condition)
            }};
        }
        macro_rules! test_ri {
            ($e:ident, $t:tt, |$a:ident| $condition:expr) => {{
                let $a = (rd!($t, $e.d) & $e.disp as $t).sx();
                logic!($a);
                branch!($e, $condition)
            }};
        }
        // Goes to an address; the instruction was charged.
        macro_rules! go {
            ($rip:expr) => {{
                let rip: u64 = $rip;
                let t = &*itlb.add((rip >> 12) as usize % ITLB_ENTRIES);
                let key = t.key | (rip & 0xfff) as u32;
                let block = &*front.add(Front::slot(key));
                if left <= 0 || t.tag != rip & !0xfff || block.key != key {
                    (*h).rip = rip;
                    leave!(None);
                }
                (*h).page = t.page;
                (*h).r[PAGE] = t.tag;
                p = arena.add(block.block as usize);
            }};
        }
        // Pushes a word.
        macro_rules! push {
            ($e:ident, $value:expr) => {
                push!($e, $value, 8)
            };
            ($e:ident, $value:expr, $size:expr) => {{
                let value: u64 = $value;
                let rsp = (*h).r[4].wrapping_sub(8);
                memory!($e, Store, rsp, u64, $size).write_unaligned(value);
                (*h).r[4] = rsp;
            }};
        }
        macro_rules! carry_op {
            ($e:ident, $t:tt, $of:ident, $op:ident, $b:expr) => {{
                let b: $t = $b;
                let (a, carry) = (rd!($t, $e.d), (*h).carry());
                let f = $of(a.sx(), b.sx(), carry, <$t>::LOG2);
                flags!(RAW, f, 0);
                wr!($t, $e.d, a.$op(b).$op(carry as $t));
                next!();
            }};
        }
        // Increment and decrement leave CF.
        macro_rules! step_op {
            ($t:tt, $a:ident, $op:ident, $overflows:expr, $nibble:expr) => {{
                let r: $t = $a.$op(1);
                let others =
                    (*h).carry() | u64::from(r == $overflows) << 11 | u64::from(r as u8 & 15 == $nibble) << 4;
                flags!(RESULT, r.sx(), others);
                r
            }};
        }
        macro_rules! step_r {
            ($e:ident, $t:tt, $op:ident, $overflows:expr, $nibble:expr) => {{
                let a = rd!($t, $e.d);
                let r = step_op!($t, a, $op, $overflows, $nibble);
                wr!($t, $e.d, r);
                next!();
            }};
        }
        macro_rules! step_m {
            ($e:ident, $t:tt, $op:ident, $overflows:expr, $nibble:expr) => {{
                let at = memory!($e, Store, address!($e), $t);
                let a = at.read_unaligned();
                let r = step_op!($t, a, $op, $overflows, $nibble);
                at.write_unaligned(r);
                next!();
            }};
        }
        macro_rules! shift {
            // CF is the last bit out; OF (defined for a count of 1): the top bits of operand and result
            // differ.
            ($e:ident, $t:tt, $count:expr, |$a:ident, $n:ident| $r:expr, $out:expr) => {{
                let ($a, $n) = (rd!($t, $e.d), $count);
                let r: $t = $r;
                let of = u64::from(($a ^ r) >> (<$t>::BITS - 1)) << 11;
                flags!(RESULT, r.sx(), u64::from($out & 1) | of);
                wr!($t, $e.d, r);
                next!();
            }};
        }
        macro_rules! shl {
            ($e:ident, $t:tt, $count:expr) => {
                shift!($e, $t, $count, |a, n| a << n, a >> (<$t>::BITS - n))
            };
        }
        macro_rules! shr {
            ($e:ident, $t:tt, $count:expr) => {
                shift!($e, $t, $count, |a, n| a >> n, a >> (n - 1))
            };
        }
        macro_rules! sar {
            ($e:ident, $t:tt, $signed:ty, $count:expr) => {
                shift!($e, $t, $count, |a, n| (a as $signed >> n) as $t, (a as $signed >> (n - 1)) as $t)
            };
        }
        // By CL: a count of 0 leaves the flags; a 32-bit register is zero-extended all the same.
        macro_rules! by_cl {
            ($e:ident, $t:tt, $shift:ident $(, $signed:ty)?) => {{
                let n = (*h).r[1] as u32 & (<$t>::BITS - 1);
                if n == 0 {
                    let a = rd!($t, $e.d);
                    set!($e, $t, a)
                } else {
                    $shift!($e, $t $(, $signed)?, n)
                }
            }};
        }
        macro_rules! rotate {
            ($e:ident, $t:tt, $op:ident) => {
                set!($e, $t, rd!($t, $e.d).$op($e.imm as u32))
            };
            ($e:ident, $t:tt, $op:ident, |$r:ident| $carry:expr, $overflow:expr) => {{
                let $r: $t = rd!($t, $e.d).$op($e.imm as u32);
                let (cf, of) = (u64::from($carry & 1), u64::from($overflow & 1));
                (*h).set_carry_overflow(CF | OF, cf | of << 11);
                wr!($t, $e.d, $r);
                next!();
            }};
        }
        macro_rules! imul {
            ($e:ident, $t:tt, $signed:ty, $wide:ty, $a:expr, $b:expr) => {{
                let (a, b): ($t, $t) = ($a, $b);
                let wide = a as $signed as $wide * b as $signed as $wide;
                let r = wide as $t;
                let lost = u64::from(r as $signed as $wide != wide);
                flags!(RESULT, r.sx(), lost | lost << 11);
                wr!($t, $e.d, r);
                next!();
            }};
        }
        macro_rules! bit {
            ($e:ident, $t:tt, $number:expr) => {{
                let bit = u64::from(rd!($t, $e.d) >> ($number & (<$t>::BITS - 1)) & 1);
                (*h).set_carry_overflow(CF, bit);
                next!();
            }};
        }
        macro_rules! sse {
            ($e:ident) => {
                if !(*h).sse_enabled {
                    slow!($e);
                }
            };
        }
        // The family raises the fault of an operand that is not aligned to 16 bytes.
        macro_rules! sse_aligned {
            ($e:ident) => {
                if !(*h).sse_enabled || address!($e) & 15 != 0 {
                    slow!($e);
                }
            };
        }
        macro_rules! pairwise {
            ($e:ident, |$a:ident, $b:ident| $r:expr) => {{
                sse!($e);
                let ($a, $b) = (xmm!($e.d), xmm!($e.s));
                xmm!($e.d) = $r;
                next!();
            }};
        }
        macro_rules! bytewise {
            ($e:ident, $b:expr, $f:ident) => {{
                let b: [u8; 16] = $b;
                xmm!($e.d, [u8; 16]) = packed_int::$f(xmm!($e.d, [u8; 16]), b);
                next!();
            }};
        }

        loop {
            let e = &*p;
            match e.op {
                Kind::Unlinked => {
                    // Branches out of the page come here each time: look in the TLB first.
                    if (*from).imm as u32 >= 0x1000 {
                        go!((*cx).code_address(i64::from((*from).imm) as u64));
                        continue;
                    }
                    p = link(cx, from);
                    if p.is_null() {
                        leave!(None);
                    }
                }
                Kind::Next => take!(e),
                Kind::Family => slow!(e),
                Kind::MovRr8 => set!(e, u8, rd!(u8, e.s)),
                Kind::MovRr16 => set!(e, u16, rd!(u16, e.s)),
                Kind::MovRr32 => set!(e, u32, rd!(u32, e.s)),
                Kind::MovRr64 => set!(e, u64, rd!(u64, e.s)),
                Kind::MovRi8 => set!(e, u8, e.imm as u8),
                Kind::MovRi16 => set!(e, u16, e.imm as u16),
                Kind::MovRi32 => set!(e, u32, e.imm as u32),
                Kind::MovRi64 => set!(e, u64, imm!(e)),
                Kind::MovRi64Wide => set!(e, u64, u64::from(e.imm as u32) | (e.disp as u64) << 32),
                Kind::MovRm8 => set!(e, u8, load!(e, u8)),
                Kind::MovRm16 => set!(e, u16, load!(e, u16)),
                Kind::MovRm32 => set!(e, u32, load!(e, u32)),
                Kind::MovRm64 => set!(e, u64, load!(e, u64)),
                Kind::MovMr8 => store!(e, u8, rd!(u8, e.s)),
                Kind::MovMr16 => store!(e, u16, rd!(u16, e.s)),
                Kind::MovMr32 => store!(e, u32, rd!(u32, e.s)),
                Kind::MovMr64 => store!(e, u64, rd!(u64, e.s)),
                Kind::MovMi8 => store!(e, u8, e.imm as u8),
                Kind::MovMi16 => store!(e, u16, e.imm as u16),
                Kind::MovMi32 => store!(e, u32, e.imm as u32),
                Kind::MovMi64 => store!(e, u64, imm!(e)),
                Kind::Zx8R => set!(e, u32, rd!(u8, e.s).into()),
                Kind::Zx16R => set!(e, u32, rd!(u16, e.s).into()),
                Kind::Zx8M => set!(e, u32, load!(e, u8).into()),
                Kind::Zx16M => set!(e, u32, load!(e, u16).into()),
                Kind::Sx8R32 => set!(e, u32, rd!(u8, e.s).sx() as u32),
                Kind::Sx8R64 => set!(e, u64, rd!(u8, e.s).sx()),
                Kind::Sx16R32 => set!(e, u32, rd!(u16, e.s).sx() as u32),
                Kind::Sx16R64 => set!(e, u64, rd!(u16, e.s).sx()),
                Kind::Sx32R64 => set!(e, u64, rd!(u32, e.s).sx()),
                Kind::Sx8M32 => set!(e, u32, load!(e, u8).sx() as u32),
                Kind::Sx8M64 => set!(e, u64, load!(e, u8).sx()),
                Kind::Sx16M32 => set!(e, u32, load!(e, u16).sx() as u32),
                Kind::Sx16M64 => set!(e, u64, load!(e, u16).sx()),
                Kind::Sx32M64 => set!(e, u64, load!(e, u32).sx()),
                Kind::Lea32 => set!(e, u32, address!(e) as u32),
                Kind::Lea64 => set!(e, u64, address!(e)),
                Kind::Nop => next!(),
                Kind::Cdqe => {
                    (*h).r[0] = ((*h).r[0] as u32).sx();
                    next!();
                }
                Kind::Cdq => {
                    (*h).r[2] = u64::from(((*h).r[0] as i32 >> 31) as u32);
                    next!();
                }
                Kind::Cqo => {
                    (*h).r[2] = ((*h).r[0] as i64 >> 63) as u64;
                    next!();
                }
                Kind::Bswap32 => set!(e, u32, rd!(u32, e.d).swap_bytes()),
                Kind::Bswap64 => set!(e, u64, rd!(u64, e.d).swap_bytes()),
                Kind::XchgRr64 => {
                    let (a, b) = (rd!(u64, e.d), rd!(u64, e.s));
                    wr!(u64, e.d, b);
                    wr!(u64, e.s, a);
                    next!();
                }
                Kind::Inc32 => step_r!(e, u32, wrapping_add, 1 << 31, 0),
                Kind::Inc64 => step_r!(e, u64, wrapping_add, 1 << 63, 0),
                Kind::Dec32 => step_r!(e, u32, wrapping_sub, u32::MAX >> 1, 15),
                Kind::Dec64 => step_r!(e, u64, wrapping_sub, u64::MAX >> 1, 15),
                Kind::IncM32 => step_m!(e, u32, wrapping_add, 1 << 31, 0),
                Kind::IncM64 => step_m!(e, u64, wrapping_add, 1 << 63, 0),
                Kind::DecM32 => step_m!(e, u32, wrapping_sub, u32::MAX >> 1, 15),
                Kind::DecM64 => step_m!(e, u64, wrapping_sub, u64::MAX >> 1, 15),
                Kind::Neg32 => {
                    let a = rd!(u32, e.d);
                    flags!(SUB + 2, 0, a.sx());
                    set!(e, u32, a.wrapping_neg())
                }
                Kind::Neg64 => {
                    let a = rd!(u64, e.d);
                    flags!(SUB + 3, 0, a);
                    set!(e, u64, a.wrapping_neg())
                }
                Kind::Not32 => set!(e, u32, !rd!(u32, e.d)),
                Kind::Not64 => set!(e, u64, !rd!(u64, e.d)),
                Kind::AdcRr32 => carry_op!(e, u32, of_add, wrapping_add, rd!(u32, e.s)),
                Kind::AdcRr64 => carry_op!(e, u64, of_add, wrapping_add, rd!(u64, e.s)),
                Kind::AdcRi32 => carry_op!(e, u32, of_add, wrapping_add, e.imm as u32),
                Kind::AdcRi64 => carry_op!(e, u64, of_add, wrapping_add, imm!(e)),
                Kind::AdcRm64 => carry_op!(e, u64, of_add, wrapping_add, load!(e, u64)),
                Kind::SbbRr32 => carry_op!(e, u32, of_sub, wrapping_sub, rd!(u32, e.s)),
                Kind::SbbRr64 => carry_op!(e, u64, of_sub, wrapping_sub, rd!(u64, e.s)),
                Kind::SbbRi32 => carry_op!(e, u32, of_sub, wrapping_sub, e.imm as u32),
                Kind::SbbRi64 => carry_op!(e, u64, of_sub, wrapping_sub, imm!(e)),
                Kind::SbbRm64 => carry_op!(e, u64, of_sub, wrapping_sub, load!(e, u64)),
                Kind::ShlRi16 => shl!(e, u16, e.imm as u32),
                Kind::ShlRi32 => shl!(e, u32, e.imm as u32),
                Kind::ShlRi64 => shl!(e, u64, e.imm as u32),
                Kind::ShrRi16 => shr!(e, u16, e.imm as u32),
                Kind::ShrRi32 => shr!(e, u32, e.imm as u32),
                Kind::ShrRi64 => shr!(e, u64, e.imm as u32),
                Kind::SarRi16 => sar!(e, u16, i16, e.imm as u32),
                Kind::SarRi32 => sar!(e, u32, i32, e.imm as u32),
                Kind::SarRi64 => sar!(e, u64, i64, e.imm as u32),
                Kind::ShlCl32 => by_cl!(e, u32, shl),
                Kind::ShlCl64 => by_cl!(e, u64, shl),
                Kind::ShrCl32 => by_cl!(e, u32, shr),
                Kind::ShrCl64 => by_cl!(e, u64, shr),
                Kind::SarCl32 => by_cl!(e, u32, sar, i32),
                Kind::SarCl64 => by_cl!(e, u64, sar, i64),
                Kind::RolRi32Quiet => rotate!(e, u32, rotate_left),
                Kind::RolRi64Quiet => rotate!(e, u64, rotate_left),
                Kind::RorRi32Quiet => rotate!(e, u32, rotate_right),
                Kind::RorRi64Quiet => rotate!(e, u64, rotate_right),
                Kind::RolRi32 => rotate!(e, u32, rotate_left, |r| r, r ^ r >> 31),
                Kind::RolRi64 => rotate!(e, u64, rotate_left, |r| r, r ^ r >> 63),
                Kind::RorRi32 => rotate!(e, u32, rotate_right, |r| r >> 31, r >> 31 ^ r >> 30),
                Kind::RorRi64 => rotate!(e, u64, rotate_right, |r| r >> 63, r >> 63 ^ r >> 62),
                Kind::ImulRr32 => imul!(e, u32, i32, i64, rd!(u32, e.d), rd!(u32, e.s)),
                Kind::ImulRr64 => imul!(e, u64, i64, i128, rd!(u64, e.d), rd!(u64, e.s)),
                Kind::ImulRm32 => imul!(e, u32, i32, i64, load!(e, u32), rd!(u32, e.d)),
                Kind::ImulRm64 => imul!(e, u64, i64, i128, load!(e, u64), rd!(u64, e.d)),
                Kind::ImulRri32 => imul!(e, u32, i32, i64, rd!(u32, e.s), e.imm as u32),
                Kind::ImulRri64 => imul!(e, u64, i64, i128, rd!(u64, e.s), imm!(e)),
                Kind::Mul32 => {
                    let wide = ((*h).r[0] & 0xffff_ffff) * u64::from(rd!(u32, e.s));
                    ((*h).r[0], (*h).r[2]) = (wide & 0xffff_ffff, wide >> 32);
                    let lost = u64::from(wide >> 32 != 0);
                    flags!(RESULT, (wide as u32).sx(), lost | lost << 11);
                    next!();
                }
                Kind::Mul64 => {
                    let wide = u128::from((*h).r[0]) * u128::from(rd!(u64, e.s));
                    ((*h).r[0], (*h).r[2]) = (wide as u64, (wide >> 64) as u64);
                    let lost = u64::from(wide >> 64 != 0);
                    flags!(RESULT, wide as u64, lost | lost << 11);
                    next!();
                }
                Kind::BtRi32 => bit!(e, u32, e.imm as u32),
                Kind::BtRi64 => bit!(e, u64, e.imm as u32),
                Kind::BtRr32 => bit!(e, u32, rd!(u32, e.s)),
                Kind::BtRr64 => bit!(e, u64, rd!(u32, e.s)),
                Kind::Jmp => take!(e),
                Kind::JmpR => {
                    let rip = rd!(u64, e.s);
                    if !is_canonical(rip) {
                        slow!(e);
                    }
                    charge!(e);
                    go!(rip);
                }
                Kind::JmpM => {
                    let rip = load!(e, u64);
                    if !is_canonical(rip) {
                        slow!(e);
                    }
                    charge!(e);
                    go!(rip);
                }
                Kind::Jcc => branch!(e, (*h).condition(e.s)),
                Kind::Setcc => set!(e, u8, u8::from((*h).condition(e.s))),
                Kind::Cmov32 => {
                    let value = if (*h).condition(e.imm as u8) { rd!(u32, e.s) } else { rd!(u32, e.d) };
                    set!(e, u32, value)
                }
                Kind::Cmov64 => {
                    let value = if (*h).condition(e.imm as u8) { rd!(u64, e.s) } else { rd!(u64, e.d) };
                    set!(e, u64, value)
                }
                Kind::CmovM32 => {
                    let value = load!(e, u32);
                    let value = if (*h).condition(e.imm as u8) { value } else { rd!(u32, e.d) };
                    set!(e, u32, value)
                }
                Kind::CmovM64 => {
                    let value = load!(e, u64);
                    let value = if (*h).condition(e.imm as u8) { value } else { rd!(u64, e.d) };
                    set!(e, u64, value)
                }
                Kind::Call => {
                    push!(e, (*h).r[PAGE] + u64::from(e.offset) + u64::from(e.length));
                    take!(e);
                }
                Kind::CallR => {
                    let rip = rd!(u64, e.s);
                    if !is_canonical(rip) {
                        slow!(e);
                    }
                    push!(e, (*h).r[PAGE] + u64::from(e.offset) + u64::from(e.length));
                    charge!(e);
                    go!(rip);
                }
                Kind::CallM => {
                    let rip = load!(e, u64);
                    if !is_canonical(rip) {
                        slow!(e);
                    }
                    // The two pages may share a slot of the TLB: then entering one after the other would
                    // never end.
                    push!(e, (*h).r[PAGE] + u64::from(e.offset) + u64::from(e.length), 0);
                    charge!(e);
                    go!(rip);
                }
                Kind::Ret => {
                    let rip = memory!(e, Load, (*h).r[4], u64).read_unaligned();
                    if !is_canonical(rip) {
                        slow!(e);
                    }
                    (*h).r[4] = (*h).r[4].wrapping_add(8).wrapping_add(imm!(e));
                    charge!(e);
                    go!(rip);
                }
                Kind::PushR => {
                    push!(e, rd!(u64, e.s));
                    next!();
                }
                Kind::PushI => {
                    push!(e, imm!(e));
                    next!();
                }
                Kind::PopR => {
                    let value = memory!(e, Load, (*h).r[4], u64).read_unaligned();
                    (*h).r[4] = (*h).r[4].wrapping_add(8);
                    set!(e, u64, value)
                }
                Kind::Leave => {
                    let frame = (*h).r[5];
                    let value = memory!(e, Load, frame, u64).read_unaligned();
                    (*h).r[4] = frame.wrapping_add(8);
                    (*h).r[5] = value;
                    next!();
                }
                Kind::MovX => pairwise!(e, |_a, b| b),
                Kind::MovXm => {
                    sse!(e);
                    xmm!(e.d) = load!(e, [u64; 2]);
                    next!();
                }
                Kind::MovMx => {
                    sse!(e);
                    store!(e, [u64; 2], xmm!(e.s))
                }
                Kind::MovXmAligned => {
                    sse_aligned!(e);
                    xmm!(e.d) = load!(e, [u64; 2]);
                    next!();
                }
                Kind::MovMxAligned => {
                    sse_aligned!(e);
                    store!(e, [u64; 2], xmm!(e.s))
                }
                Kind::MovqXm => {
                    sse!(e);
                    xmm!(e.d) = [load!(e, u64), 0];
                    next!();
                }
                Kind::MovqMx => {
                    sse!(e);
                    store!(e, u64, xmm!(e.s)[0])
                }
                Kind::MovqXx => pairwise!(e, |_a, b| [b[0], 0]),
                Kind::MovsdXx => pairwise!(e, |a, b| [b[0], a[1]]),
                Kind::MovqXr => {
                    sse!(e);
                    xmm!(e.d) = [rd!(u64, e.s), 0];
                    next!();
                }
                Kind::MovqRx => {
                    sse!(e);
                    set!(e, u64, xmm!(e.s)[0])
                }
                Kind::MovdXm => {
                    sse!(e);
                    xmm!(e.d) = [load!(e, u32).into(), 0];
                    next!();
                }
                Kind::MovdMx => {
                    sse!(e);
                    store!(e, u32, xmm!(e.s)[0] as u32)
                }
                Kind::MovdXr => {
                    sse!(e);
                    xmm!(e.d) = [rd!(u32, e.s).into(), 0];
                    next!();
                }
                Kind::MovdRx => {
                    sse!(e);
                    set!(e, u32, xmm!(e.s)[0] as u32)
                }
                Kind::Pxor => pairwise!(e, |a, b| [a[0] ^ b[0], a[1] ^ b[1]]),
                Kind::Por => pairwise!(e, |a, b| [a[0] | b[0], a[1] | b[1]]),
                Kind::Pand => pairwise!(e, |a, b| [a[0] & b[0], a[1] & b[1]]),
                Kind::PcmpeqbXx => {
                    sse!(e);
                    bytewise!(e, xmm!(e.s, [u8; 16]), pcmpeqb)
                }
                Kind::PcmpeqbXm => {
                    sse_aligned!(e);
                    bytewise!(e, load!(e, [u8; 16]), pcmpeqb)
                }
                Kind::PminubXx => {
                    sse!(e);
                    bytewise!(e, xmm!(e.s, [u8; 16]), pminub)
                }
                Kind::PmovmskbRx => {
                    sse!(e);
                    set!(e, u32, sign_bits::<u8, 16>(xmm!(e.s, [u8; 16])))
                }
                Kind::AddRr8 => rr!(e, u8, add),
                Kind::AddRi8 => ri!(e, u8, add),
                Kind::AddRm8 => rm!(e, u8, add),
                Kind::AddMr8 => mr!(e, u8, add),
                Kind::AddMi8 => mi!(e, u8, add),
                Kind::AddRr16 => rr!(e, u16, add),
                Kind::AddRi16 => ri!(e, u16, add),
                Kind::AddRm16 => rm!(e, u16, add),
                Kind::AddMr16 => mr!(e, u16, add),
                Kind::AddMi16 => mi!(e, u16, add),
                Kind::AddRr32 => rr!(e, u32, add),
                Kind::AddRi32 => ri!(e, u32, add),
                Kind::AddRm32 => rm!(e, u32, add),
                Kind::AddMr32 => mr!(e, u32, add),
                Kind::AddMi32 => mi!(e, u32, add),
                Kind::AddRr64 => rr!(e, u64, add),
                Kind::AddRi64 => ri!(e, u64, add),
                Kind::AddRm64 => rm!(e, u64, add),
                Kind::AddMr64 => mr!(e, u64, add),
                Kind::AddMi64 => mi!(e, u64, add),
                Kind::OrRr8 => rr!(e, u8, or),
                Kind::OrRi8 => ri!(e, u8, or),
                Kind::OrRm8 => rm!(e, u8, or),
                Kind::OrMr8 => mr!(e, u8, or),
                Kind::OrMi8 => mi!(e, u8, or),
                Kind::OrRr16 => rr!(e, u16, or),
                Kind::OrRi16 => ri!(e, u16, or),
                Kind::OrRm16 => rm!(e, u16, or),
                Kind::OrMr16 => mr!(e, u16, or),
                Kind::OrMi16 => mi!(e, u16, or),
                Kind::OrRr32 => rr!(e, u32, or),
                Kind::OrRi32 => ri!(e, u32, or),
                Kind::OrRm32 => rm!(e, u32, or),
                Kind::OrMr32 => mr!(e, u32, or),
                Kind::OrMi32 => mi!(e, u32, or),
                Kind::OrRr64 => rr!(e, u64, or),
                Kind::OrRi64 => ri!(e, u64, or),
                Kind::OrRm64 => rm!(e, u64, or),
                Kind::OrMr64 => mr!(e, u64, or),
                Kind::OrMi64 => mi!(e, u64, or),
                Kind::AndRr8 => rr!(e, u8, and),
                Kind::AndRi8 => ri!(e, u8, and),
                Kind::AndRm8 => rm!(e, u8, and),
                Kind::AndMr8 => mr!(e, u8, and),
                Kind::AndMi8 => mi!(e, u8, and),
                Kind::AndRr16 => rr!(e, u16, and),
                Kind::AndRi16 => ri!(e, u16, and),
                Kind::AndRm16 => rm!(e, u16, and),
                Kind::AndMr16 => mr!(e, u16, and),
                Kind::AndMi16 => mi!(e, u16, and),
                Kind::AndRr32 => rr!(e, u32, and),
                Kind::AndRi32 => ri!(e, u32, and),
                Kind::AndRm32 => rm!(e, u32, and),
                Kind::AndMr32 => mr!(e, u32, and),
                Kind::AndMi32 => mi!(e, u32, and),
                Kind::AndRr64 => rr!(e, u64, and),
                Kind::AndRi64 => ri!(e, u64, and),
                Kind::AndRm64 => rm!(e, u64, and),
                Kind::AndMr64 => mr!(e, u64, and),
                Kind::AndMi64 => mi!(e, u64, and),
                Kind::SubRr8 => rr!(e, u8, sub),
                Kind::SubRi8 => ri!(e, u8, sub),
                Kind::SubRm8 => rm!(e, u8, sub),
                Kind::SubMr8 => mr!(e, u8, sub),
                Kind::SubMi8 => mi!(e, u8, sub),
                Kind::SubRr16 => rr!(e, u16, sub),
                Kind::SubRi16 => ri!(e, u16, sub),
                Kind::SubRm16 => rm!(e, u16, sub),
                Kind::SubMr16 => mr!(e, u16, sub),
                Kind::SubMi16 => mi!(e, u16, sub),
                Kind::SubRr32 => rr!(e, u32, sub),
                Kind::SubRi32 => ri!(e, u32, sub),
                Kind::SubRm32 => rm!(e, u32, sub),
                Kind::SubMr32 => mr!(e, u32, sub),
                Kind::SubMi32 => mi!(e, u32, sub),
                Kind::SubRr64 => rr!(e, u64, sub),
                Kind::SubRi64 => ri!(e, u64, sub),
                Kind::SubRm64 => rm!(e, u64, sub),
                Kind::SubMr64 => mr!(e, u64, sub),
                Kind::SubMi64 => mi!(e, u64, sub),
                Kind::XorRr8 => rr!(e, u8, xor),
                Kind::XorRi8 => ri!(e, u8, xor),
                Kind::XorRm8 => rm!(e, u8, xor),
                Kind::XorMr8 => mr!(e, u8, xor),
                Kind::XorMi8 => mi!(e, u8, xor),
                Kind::XorRr16 => rr!(e, u16, xor),
                Kind::XorRi16 => ri!(e, u16, xor),
                Kind::XorRm16 => rm!(e, u16, xor),
                Kind::XorMr16 => mr!(e, u16, xor),
                Kind::XorMi16 => mi!(e, u16, xor),
                Kind::XorRr32 => rr!(e, u32, xor),
                Kind::XorRi32 => ri!(e, u32, xor),
                Kind::XorRm32 => rm!(e, u32, xor),
                Kind::XorMr32 => mr!(e, u32, xor),
                Kind::XorMi32 => mi!(e, u32, xor),
                Kind::XorRr64 => rr!(e, u64, xor),
                Kind::XorRi64 => ri!(e, u64, xor),
                Kind::XorRm64 => rm!(e, u64, xor),
                Kind::XorMr64 => mr!(e, u64, xor),
                Kind::XorMi64 => mi!(e, u64, xor),
                Kind::CmpRr8 => rr!(e, u8, cmp),
                Kind::CmpRi8 => ri!(e, u8, cmp),
                Kind::CmpRm8 => rm!(e, u8, cmp),
                Kind::CmpMr8 => m_r!(e, u8, cmp),
                Kind::CmpMi8 => m_i!(e, u8, cmp),
                Kind::CmpRr16 => rr!(e, u16, cmp),
                Kind::CmpRi16 => ri!(e, u16, cmp),
                Kind::CmpRm16 => rm!(e, u16, cmp),
                Kind::CmpMr16 => m_r!(e, u16, cmp),
                Kind::CmpMi16 => m_i!(e, u16, cmp),
                Kind::CmpRr32 => rr!(e, u32, cmp),
                Kind::CmpRi32 => ri!(e, u32, cmp),
                Kind::CmpRm32 => rm!(e, u32, cmp),
                Kind::CmpMr32 => m_r!(e, u32, cmp),
                Kind::CmpMi32 => m_i!(e, u32, cmp),
                Kind::CmpRr64 => rr!(e, u64, cmp),
                Kind::CmpRi64 => ri!(e, u64, cmp),
                Kind::CmpRm64 => rm!(e, u64, cmp),
                Kind::CmpMr64 => m_r!(e, u64, cmp),
                Kind::CmpMi64 => m_i!(e, u64, cmp),
                Kind::TestRr8 => rr!(e, u8, test),
                Kind::TestRi8 => ri!(e, u8, test),
                Kind::TestMr8 => m_r!(e, u8, test),
                Kind::TestMi8 => m_i!(e, u8, test),
                Kind::TestRr16 => rr!(e, u16, test),
                Kind::TestRi16 => ri!(e, u16, test),
                Kind::TestMr16 => m_r!(e, u16, test),
                Kind::TestMi16 => m_i!(e, u16, test),
                Kind::TestRr32 => rr!(e, u32, test),
                Kind::TestRi32 => ri!(e, u32, test),
                Kind::TestMr32 => m_r!(e, u32, test),
                Kind::TestMi32 => m_i!(e, u32, test),
                Kind::TestRr64 => rr!(e, u64, test),
                Kind::TestRi64 => ri!(e, u64, test),
                Kind::TestMr64 => m_r!(e, u64, test),
                Kind::TestMi64 => m_i!(e, u64, test),
                Kind::SubB => branch_flags!(e, |a, b| a < b),
                Kind::SubAe => branch_flags!(e, |a, b| a >= b),
                Kind::SubE => branch_flags!(e, |a, b| a == b),
                Kind::SubNe => branch_flags!(e, |a, b| a != b),
                Kind::SubBe => branch_flags!(e, |a, b| a <= b),
                Kind::SubA => branch_flags!(e, |a, b| a > b),
                Kind::SubL => branch_flags!(e, |a, b| (a as i64) < b as i64),
                Kind::SubGe => branch_flags!(e, |a, b| a as i64 >= b as i64),
                Kind::SubLe => branch_flags!(e, |a, b| a as i64 <= b as i64),
                Kind::SubG => branch_flags!(e, |a, b| a as i64 > b as i64),
                Kind::LogicE => branch_flags!(e, |a, _b| a == 0),
                Kind::LogicNe => branch_flags!(e, |a, _b| a != 0),
                Kind::LogicS => branch_flags!(e, |a, _b| (a as i64) < 0),
                Kind::LogicNs => branch_flags!(e, |a, _b| a as i64 >= 0),
                Kind::LogicLe => branch_flags!(e, |a, _b| a as i64 <= 0),
                Kind::LogicG => branch_flags!(e, |a, _b| a as i64 > 0),
                Kind::CmpRr8B => cmp_rr!(e, u8, |a, b| a < b),
                Kind::CmpRr8Ae => cmp_rr!(e, u8, |a, b| a >= b),
                Kind::CmpRr8E => cmp_rr!(e, u8, |a, b| a == b),
                Kind::CmpRr8Ne => cmp_rr!(e, u8, |a, b| a != b),
                Kind::CmpRr8Be => cmp_rr!(e, u8, |a, b| a <= b),
                Kind::CmpRr8A => cmp_rr!(e, u8, |a, b| a > b),
                Kind::CmpRr8L => cmp_rr!(e, u8, |a, b| (a as i64) < b as i64),
                Kind::CmpRr8Ge => cmp_rr!(e, u8, |a, b| a as i64 >= b as i64),
                Kind::CmpRr8Le => cmp_rr!(e, u8, |a, b| a as i64 <= b as i64),
                Kind::CmpRr8G => cmp_rr!(e, u8, |a, b| a as i64 > b as i64),
                Kind::CmpRi8B => cmp_ri!(e, u8, |a, b| a < b),
                Kind::CmpRi8Ae => cmp_ri!(e, u8, |a, b| a >= b),
                Kind::CmpRi8E => cmp_ri!(e, u8, |a, b| a == b),
                Kind::CmpRi8Ne => cmp_ri!(e, u8, |a, b| a != b),
                Kind::CmpRi8Be => cmp_ri!(e, u8, |a, b| a <= b),
                Kind::CmpRi8A => cmp_ri!(e, u8, |a, b| a > b),
                Kind::CmpRi8L => cmp_ri!(e, u8, |a, b| (a as i64) < b as i64),
                Kind::CmpRi8Ge => cmp_ri!(e, u8, |a, b| a as i64 >= b as i64),
                Kind::CmpRi8Le => cmp_ri!(e, u8, |a, b| a as i64 <= b as i64),
                Kind::CmpRi8G => cmp_ri!(e, u8, |a, b| a as i64 > b as i64),
                Kind::TestRr8E => test_rr!(e, u8, |a| a == 0),
                Kind::TestRr8Ne => test_rr!(e, u8, |a| a != 0),
                Kind::TestRr8S => test_rr!(e, u8, |a| (a as i64) < 0),
                Kind::TestRr8Ns => test_rr!(e, u8, |a| a as i64 >= 0),
                Kind::TestRr8Le => test_rr!(e, u8, |a| a as i64 <= 0),
                Kind::TestRr8G => test_rr!(e, u8, |a| a as i64 > 0),
                Kind::CmpRr32B => cmp_rr!(e, u32, |a, b| a < b),
                Kind::CmpRr32Ae => cmp_rr!(e, u32, |a, b| a >= b),
                Kind::CmpRr32E => cmp_rr!(e, u32, |a, b| a == b),
                Kind::CmpRr32Ne => cmp_rr!(e, u32, |a, b| a != b),
                Kind::CmpRr32Be => cmp_rr!(e, u32, |a, b| a <= b),
                Kind::CmpRr32A => cmp_rr!(e, u32, |a, b| a > b),
                Kind::CmpRr32L => cmp_rr!(e, u32, |a, b| (a as i64) < b as i64),
                Kind::CmpRr32Ge => cmp_rr!(e, u32, |a, b| a as i64 >= b as i64),
                Kind::CmpRr32Le => cmp_rr!(e, u32, |a, b| a as i64 <= b as i64),
                Kind::CmpRr32G => cmp_rr!(e, u32, |a, b| a as i64 > b as i64),
                Kind::CmpRi32B => cmp_ri!(e, u32, |a, b| a < b),
                Kind::CmpRi32Ae => cmp_ri!(e, u32, |a, b| a >= b),
                Kind::CmpRi32E => cmp_ri!(e, u32, |a, b| a == b),
                Kind::CmpRi32Ne => cmp_ri!(e, u32, |a, b| a != b),
                Kind::CmpRi32Be => cmp_ri!(e, u32, |a, b| a <= b),
                Kind::CmpRi32A => cmp_ri!(e, u32, |a, b| a > b),
                Kind::CmpRi32L => cmp_ri!(e, u32, |a, b| (a as i64) < b as i64),
                Kind::CmpRi32Ge => cmp_ri!(e, u32, |a, b| a as i64 >= b as i64),
                Kind::CmpRi32Le => cmp_ri!(e, u32, |a, b| a as i64 <= b as i64),
                Kind::CmpRi32G => cmp_ri!(e, u32, |a, b| a as i64 > b as i64),
                Kind::TestRr32E => test_rr!(e, u32, |a| a == 0),
                Kind::TestRr32Ne => test_rr!(e, u32, |a| a != 0),
                Kind::TestRr32S => test_rr!(e, u32, |a| (a as i64) < 0),
                Kind::TestRr32Ns => test_rr!(e, u32, |a| a as i64 >= 0),
                Kind::TestRr32Le => test_rr!(e, u32, |a| a as i64 <= 0),
                Kind::TestRr32G => test_rr!(e, u32, |a| a as i64 > 0),
                Kind::CmpRr64B => cmp_rr!(e, u64, |a, b| a < b),
                Kind::CmpRr64Ae => cmp_rr!(e, u64, |a, b| a >= b),
                Kind::CmpRr64E => cmp_rr!(e, u64, |a, b| a == b),
                Kind::CmpRr64Ne => cmp_rr!(e, u64, |a, b| a != b),
                Kind::CmpRr64Be => cmp_rr!(e, u64, |a, b| a <= b),
                Kind::CmpRr64A => cmp_rr!(e, u64, |a, b| a > b),
                Kind::CmpRr64L => cmp_rr!(e, u64, |a, b| (a as i64) < b as i64),
                Kind::CmpRr64Ge => cmp_rr!(e, u64, |a, b| a as i64 >= b as i64),
                Kind::CmpRr64Le => cmp_rr!(e, u64, |a, b| a as i64 <= b as i64),
                Kind::CmpRr64G => cmp_rr!(e, u64, |a, b| a as i64 > b as i64),
                Kind::CmpRi64B => cmp_ri!(e, u64, |a, b| a < b),
                Kind::CmpRi64Ae => cmp_ri!(e, u64, |a, b| a >= b),
                Kind::CmpRi64E => cmp_ri!(e, u64, |a, b| a == b),
                Kind::CmpRi64Ne => cmp_ri!(e, u64, |a, b| a != b),
                Kind::CmpRi64Be => cmp_ri!(e, u64, |a, b| a <= b),
                Kind::CmpRi64A => cmp_ri!(e, u64, |a, b| a > b),
                Kind::CmpRi64L => cmp_ri!(e, u64, |a, b| (a as i64) < b as i64),
                Kind::CmpRi64Ge => cmp_ri!(e, u64, |a, b| a as i64 >= b as i64),
                Kind::CmpRi64Le => cmp_ri!(e, u64, |a, b| a as i64 <= b as i64),
                Kind::CmpRi64G => cmp_ri!(e, u64, |a, b| a as i64 > b as i64),
                Kind::TestRr64E => test_rr!(e, u64, |a| a == 0),
                Kind::TestRr64Ne => test_rr!(e, u64, |a| a != 0),
                Kind::TestRr64S => test_rr!(e, u64, |a| (a as i64) < 0),
                Kind::TestRr64Ns => test_rr!(e, u64, |a| a as i64 >= 0),
                Kind::TestRr64Le => test_rr!(e, u64, |a| a as i64 <= 0),
                Kind::TestRr64G => test_rr!(e, u64, |a| a as i64 > 0),
                Kind::TestRi8E => test_ri!(e, u8, |a| a == 0),
                Kind::TestRi32E => test_ri!(e, u32, |a| a == 0),
                Kind::TestRi8Ne => test_ri!(e, u8, |a| a != 0),
                Kind::TestRi32Ne => test_ri!(e, u32, |a| a != 0),
            }
        }
    }
}

impl Context<'_> {
    /// Raises the exception that the instruction of `e` met.
    #[cold]
    fn fault_at(&mut self, e: &Entry) -> Option<Exit> {
        let fault = self.hart.slow_fault;
        let length = if fault.is_trap() { e.length } else { 0 };
        self.hart.rip = self.code_address(u64::from(e.offset) + u64::from(length));
        self.raise(fault)
    }
}
