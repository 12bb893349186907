//! The interpreter's one switch over predecoded entries.
//!
//! The arms are the bodies in the [table](super::table); here are the operations that they are made of. As in
//! the RISC-V interpreter, only taken branches and the ends of blocks touch the instruction budget, and an
//! interrupt is taken at one of these. Exceptions are precise at any entry, since an entry knows its offset
//! in the page and its position in the block.

use super::cache::Front;
use super::entry::Entry;
use super::family::sse::moves::sign_bits;
use super::family::sse::packed_int;
use super::flags::{ADD, CF, Int, LOGIC, OF, RAW, RESULT, SUB, of_add, of_sub};
use super::kind::Kind;
use super::mmu::{Access, is_canonical};
use super::slow::{Missed, SlowResult, link, slow};
use super::state::{ITLB_ENTRIES, ItlbEntry, PAGE, Vcpu, vcpu_ptr};
use super::table::fast_path;
use super::{Context, Exit};

/// # Safety
/// `p` points to a decoded block of `page` that `vcpu.rip` maps to, or to a straddling one (then `page` is
/// [`NO_PAGE`]).
#[allow(clippy::too_many_lines, reason = "the one giant match over the opcode space")]
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one contract for all of them: see # Safety and `Entry`"
)]
pub(super) unsafe fn interpret(
    cx: &mut Context<'_>,
    mut p: *const Entry,
    page: u32,
    end: u64,
    left_out: &mut i64,
) -> Option<Exit> {
    let h: *mut Vcpu = vcpu_ptr(cx.vcpu);
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
                (*h).flags.form = $cc;
                (*h).flags.a = $a;
                (*h).flags.b = $b;
            }};
        }
        macro_rules! logic {
            ($result:expr) => {{
                (*h).flags.form = LOGIC;
                (*h).flags.a = $result;
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
                    SlowResult::Again => {}
                    SlowResult::Next => next!(),
                    SlowResult::Redispatch => {
                        left -= before + 1;
                        leave!(None);
                    }
                    SlowResult::Unfinished => {
                        left -= before;
                        leave!(None);
                    }
                    SlowResult::Fault => {
                        left -= before;
                        leave!((*cx).fault_at($e));
                    }
                    SlowResult::Exit(exit) => {
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
        // Writes a register that the instruction does not name.
        macro_rules! put {
            ($number:expr, $value:expr) => {{
                (*h).r[$number] = $value;
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
                let ($a, $b) = ((*h).flags.a, (*h).flags.b);
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
        // Finds the target of the branch that led to an entry which is not one.
        macro_rules! link {
            () => {{
                // Branches out of the page come here each time: look in the TLB first.
                if (*from).imm as u32 >= 0x1000 {
                    go!((*cx).code_address(i64::from((*from).imm) as u64));
                    continue;
                }
                p = link(cx, from);
                if p.is_null() {
                    leave!(None);
                }
            }};
        }
        // Goes to an address that may not be canonical, after `$action`.
        macro_rules! jump {
            ($e:ident, $rip:expr $(, $action:expr)?) => {{
                let rip: u64 = $rip;
                if !is_canonical(rip) {
                    slow!($e);
                }
                $($action;)?
                charge!($e);
                go!(rip);
            }};
        }
        // Pushes a word, then does `$action`. `$size` as in `memory!`.
        macro_rules! push {
            ($e:ident, $value:expr, $action:expr) => {
                push!($e, $value, $action, 8)
            };
            ($e:ident, $value:expr, $action:expr, $size:expr) => {{
                let value: u64 = $value;
                let rsp = (*h).r[4].wrapping_sub(8);
                memory!($e, Store, rsp, u64, $size).write_unaligned(value);
                (*h).r[4] = rsp;
                $action;
            }};
        }
        // Address of the next instruction, for calls.
        macro_rules! after {
            ($e:ident) => {
                (*h).r[PAGE] + u64::from($e.offset) + u64::from($e.length)
            };
        }
        macro_rules! call {
            ($e:ident, $rip:expr) => {
                call!($e, $rip, 8)
            };
            ($e:ident, $rip:expr, $size:expr) => {
                jump!($e, $rip, push!($e, after!($e), (), $size))
            };
        }
        macro_rules! carry_op {
            ($e:ident, $t:tt, $of:ident, $op:ident, $b:expr) => {{
                let b: $t = $b;
                let (a, carry) = (rd!($t, $e.d), (*h).flags.carry());
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
                let others = (*h).flags.carry()
                    | u64::from(r == $overflows) << 11
                    | u64::from(r as u8 & 15 == $nibble) << 4;
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
        macro_rules! neg {
            ($e:ident, $t:tt) => {{
                let a = rd!($t, $e.d);
                flags!(SUB + <$t>::LOG2, 0, a.sx());
                set!($e, $t, a.wrapping_neg())
            }};
        }
        macro_rules! cmov {
            ($e:ident, $t:tt, $source:expr) => {{
                let value: $t = $source;
                let value = if (*h).flags.condition($e.imm as u8) { value } else { rd!($t, $e.d) };
                set!($e, $t, value)
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
                (*h).flags.set_carry_overflow(CF | OF, cf | of << 11);
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
                (*h).flags.set_carry_overflow(CF, bit);
                next!();
            }};
        }
        // Does an SSE instruction, if these may be executed.
        macro_rules! sse {
            ($e:ident, $action:expr) => {{
                if !(*h).sse_enabled {
                    slow!($e);
                }
                $action
            }};
        }
        // The family raises the fault of an operand that is not aligned to 16 bytes.
        macro_rules! aligned {
            ($e:ident, $action:expr) => {{
                if !(*h).sse_enabled || address!($e) & 15 != 0 {
                    slow!($e);
                }
                $action
            }};
        }
        macro_rules! set_xmm {
            ($e:ident, $value:expr) => {{
                xmm!($e.d) = $value;
                next!();
            }};
        }
        macro_rules! pairwise {
            ($e:ident, |$a:ident, $b:ident| $r:expr) => {{
                let ($a, $b) = (xmm!($e.d), xmm!($e.s));
                xmm!($e.d) = $r;
                next!();
            }};
        }
        macro_rules! signs {
            ($e:ident) => {
                sign_bits::<u8, 16>(xmm!($e.s, [u8; 16]))
            };
        }
        macro_rules! bytewise {
            ($e:ident, $b:expr, $f:ident) => {{
                let b: [u8; 16] = $b;
                xmm!($e.d, [u8; 16]) = packed_int::$f(xmm!($e.d, [u8; 16]), b);
                next!();
            }};
        }

        // The arms: the table's bodies.
        macro_rules! arms {
            ($e:ident $h:ident;
                internal { $(
                    $(#[$internal_doc:meta])* $internal:ident: $internal_then:ident => $internal_body:expr;
                )* }
                selected { $(
                    reads $reads:ident, writes $writes:ident, leaves $leaves:ident, then $then:ident,
                    faults $faults:ident { $(
                        $(#[$doc:meta])*
                        $name:ident: $($mnemonic:ident)|+, $($form:tt)|+ $(where $($code:ident)|+)? => $body:expr;
                    )* }
                )* }
                jumps { $(after $known:ident { $($jump:ident: $($jump_cc:ident)|+ => $jump_body:expr;)* })* }
                fused { $($first:ident { $($fused:ident: $($fused_cc:ident)|+ => $fused_body:expr;)* })* }
                quiet { $($quiet:ident: $loud:ident => $quiet_body:expr;)* }
            ) => {{
                let $h = h;
                loop {
                    let $e = &*p;
                    match $e.op {
                        $(Kind::$internal => $internal_body,)*
                        $($(Kind::$name => $body,)*)*
                        $($(Kind::$jump => $jump_body,)*)*
                        $($(Kind::$fused => $fused_body,)*)*
                        $(Kind::$quiet => $quiet_body,)*
                    }
                }
            }};
        }
        fast_path!(arms)
    }
}
