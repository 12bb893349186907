//! The interpreter's one switch over predecoded entries.
//!
//! The loop keeps four things in locals: the entry, the branch that led to it (for linking), the virtual
//! address of the page it runs in, and the budget. Everything else is in [`Hart`]. Only taken branches and
//! block ends touch the budget, so an interrupt is taken at one of those; exceptions are precise at any
//! entry, since an entry knows its offset and its count.
//!
//! What is rare (TLB misses, CSRs, system instructions) is called and never inlined: the switch is one huge
//! function, and every inlined slow path would cost the hot ones registers.

use super::cache::NO_PAGE;
use super::entry::{Entry, Kind};
use super::exception::Exception;
use super::slow::{
    SlowResult, atomic, float, float_enable, lifted_value, link, note_link, slow_load, slow_store, system,
};
use super::state::{Hart, ITLB_ENTRIES, ItlbEntry, hart_ptr, sext};
use super::{Context, Exit};

/// # Safety
/// `p` points to a decoded block of `page` that `hart.pc` maps to, or to a straddling one (then `page` is
/// [`NO_PAGE`]).
#[allow(clippy::too_many_lines, reason = "the one giant match over the opcode space")]
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one contract for all of them: see # Safety and `Entry`"
)]
pub(super) unsafe fn interpret<const PROFILE: bool>(
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
        // The slow path left an exception in `slow_exception`.
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
            ($past_mark:expr) => {{
                let pc = (*h).pc;
                itlb = (&raw const (*h).itlb[(*h).privilege as usize]).cast();
                reads = (*h).dtlb.read_table((*h).tlb_index());
                let t = &*itlb.add((pc >> 12) as usize % ITLB_ENTRIES);
                let mut index =
                    if t.tag == pc & !0xfff { *t.blocks.add((pc >> 1) as usize & 0x7ff) } else { 0 };
                if $past_mark && index != 0 && (*arena.add(index as usize)).op == Kind::Lifted {
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
        // The same after a trap or the return from one. A handler that traps itself before anything retired
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
                        SlowResult::Next => {
                            reads = (*h).dtlb.read_table((*h).tlb_index());
                            next!();
                        }
                        SlowResult::Redispatch => {
                            left -= i64::from(e.count) + 1;
                            leave!(None);
                        }
                        SlowResult::Trapped => {
                            left -= i64::from(e.count);
                            follow!();
                        }
                        SlowResult::Exit(exit) => {
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
                    let result = system(cx, e, (*h).page_va + u64::from(e.offset));
                    // An exception does not retire.
                    let retires = matches!(result, SlowResult::Redispatch | SlowResult::Exit(Exit::Wfi));
                    left -= i64::from(e.count) + i64::from(retires);
                    match result {
                        SlowResult::Exit(exit) => leave!(Some(exit)),
                        _ => follow!(),
                    }
                }
            }
        }
    }
}

const SIGN: u64 = 1 << 63;
/// Upper half of a NaN-boxed single.
const BOX: u64 = 0xffff_ffff_0000_0000;

#[inline(always)]
fn div(a: i64, b: i64) -> i64 {
    if b == 0 { -1 } else { a.wrapping_div(b) }
}

#[inline(always)]
fn rem(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { a.wrapping_rem(b) }
}
