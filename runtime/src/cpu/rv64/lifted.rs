//! Lifted code of riscv64: where it finds the hart, and the helpers that it calls. [`crate::cpu::lifted`]
//! calls it.
//!
//! The contract is [`forelift_abi::lift`]'s. Lifted code is only ever an accelerator: whatever it does not do
//! itself (a TLB miss, a fault, an instruction that was not lifted, an interrupt that is due) it leaves to
//! the interpreter, by returning the address of the instruction where the guest goes on, with all state in
//! place.
//!
//! # Why no stale code is run
//! A function is entered only through the instruction TLB, which says which page of memory an address leads
//! to; the page's table of entry points was made from a hash of its contents, and the page is marked as code
//! from then on, so that a store to it takes the slow path, which forgets the table. Inside of lifted code,
//! going on to another page is checked against the instruction TLB in the same way (the number of the
//! contents must be the one that was translated). Whatever changes translations or makes stores visible to
//! instruction fetch (`sfence.vma`, `satp`, `fence.i`) is not lifted or leaves all lifted frames; what a trap
//! in lifted code calls runs in the other privilege, whose addresses it never takes for its caller's. Until
//! `fence.i` a hart may execute what it fetched before (unprivileged manual, "Zifencei").

use super::state::{Hart, ITLB_ENTRIES, ItlbEntry, Privilege};
use super::{Context, predecode};
use crate::cpu::lifted::{self, Lifted, LiftedCpu};
use core::mem::offset_of;
use forelift_abi::layout::{PAGE_SIZE, RAM_BASE};
use forelift_abi::lift::rv64::{GUEST, State};
use forelift_abi::lift::{Guest, Index, Layout, VERSION, page_hash};
use forelift_isa::rv64::{Op, csr};
use forelift_softfloat::Round;

impl super::Cpu {
    /// Notes the lifted code; false when the index is inconsistent. Everything decoded has to be dropped
    /// then.
    pub(super) fn set_lifted(&mut self, index: Index, functions: Vec<usize>) -> bool {
        let lifted = Lifted::new(&GUEST, index, functions);
        let valid = lifted.is_some();
        self.lifted = lifted.unwrap_or_default();
        valid
    }

    /// Where the hart's state is, for lifted code.
    pub(super) fn lift_layout(&mut self) -> Layout {
        let hart: *mut Hart = &raw mut *self.hart;
        let mut layout = layout_at(hart as usize as u64);
        layout.dtlb_user = self.hart.dtlb.read_table(super::state::TLB_USER) as usize as u64;
        layout.dtlb_entries = self.hart.dtlb.mask + 1;
        layout.ram = self.hart.dtlb.ram as usize as u64;
        layout.ram_len = self.hart.dtlb.ram_len;
        layout
    }
}

/// The layout of a hart at `hart`, without what depends on its memory.
pub const fn layout_at(hart: u64) -> Layout {
    const fn at(hart: u64, offset: usize) -> u64 {
        hart + offset as u64
    }
    Layout {
        version: VERSION as u64,
        machine: GUEST.machine as u64,
        cpu: hart,
        pc: at(hart, offset_of!(Hart, pc)),
        left: at(hart, offset_of!(Hart, left)),
        itlb: at(hart, offset_of!(Hart, itlb)),
        itlb_entries: ITLB_ENTRIES as u64,
        itlb_entry_size: size_of::<ItlbEntry>() as u64,
        itlb_tag: offset_of!(ItlbEntry, tag) as u64,
        itlb_content: offset_of!(ItlbEntry, content) as u64,
        itlb_lifted: offset_of!(ItlbEntry, lifted) as u64,
        dtlb_user: 0,
        dtlb_kernel: at(hart, offset_of!(Hart, dtlb))
            + offset_of!(crate::cpu::tlb::DataTlb, supervisor) as u64,
        dtlb_entries: 0,
        ram: 0,
        ram_len: 0,
        ram_base: RAM_BASE,
        pass_cpu: if cfg!(target_family = "wasm") { 0 } else { 1 },
        pointer: size_of::<usize>() as u64,
        state: State {
            x: at(hart, offset_of!(Hart, x)),
            f: at(hart, offset_of!(Hart, f)),
            fflags: at(hart, offset_of!(Hart, fflags)),
            fs: at(hart, offset_of!(Hart, fs)),
            reservation: at(hart, offset_of!(Hart, reservation)),
            sscratch: at(hart, offset_of!(Hart, sscratch)),
            sepc: at(hart, offset_of!(Hart, sepc)),
            scause: at(hart, offset_of!(Hart, scause)),
            stval: at(hart, offset_of!(Hart, stval)),
            sie_enabled: at(hart, offset_of!(Hart, sie_enabled)),
        }
        .to_words(),
    }
}

// fflags and frm are read together.
const _: () = assert!(offset_of!(Hart, frm) == offset_of!(Hart, fflags) + 1);

impl Context<'_> {
    /// Looks up the contents of page `page` of the block cache among the lifted ones, once until they change.
    pub(crate) fn bind_lifted(&mut self, page: u32, privilege: Privilege) {
        if !self.lifted.is_active() || self.cache.set_looked_up(page, privilege) {
            return;
        }
        let pa = self.cache.page(page).pa;
        let Some(bytes) = self.mem.slice(pa, PAGE_SIZE as usize) else { return };
        let Some(found) = self.lifted.index.find(page_hash(bytes), privilege.mode()) else { return };
        self.cache.set_lifted(page, privilege, found.content, &found.entries);
        self.protect_code(pa);
    }

    /// Marks the page at `pa` as one that holds code in use, so that no store to it goes unnoticed.
    pub(crate) fn protect_code(&mut self, pa: u64) {
        if let Some(offset) = self.mem.ram_offset(pa)
            && !self.mem.is_code(pa)
        {
            self.mem.mark_code(pa);
            self.hart.protect_ram_page(offset);
        }
    }

    /// Runs the lifted function whose value is `value` at `hart.pc`, and what it leads to, as far as that is
    /// lifted. Sets `hart.pc` and `hart.left`; the budget is `left`. False: at `hart.pc` is lifted code that
    /// could not do its first instruction (a TLB miss, a fault, or the FPU is off), which has to be
    /// interpreted.
    pub(crate) fn run_lifted(&mut self, value: u32, end: u64, left: i64) -> bool {
        self.hart.left = left;
        self.hart.end = end;
        self.hart.functions = self.lifted.functions();
        let context: *mut Self = self;
        // SAFETY: helpers use the pointer while the function runs, during which nobody else uses `self`.
        unsafe {
            let hart = super::state::hart_ptr((*context).hart);
            (*hart).context = context.cast();
            let went_on = lifted::run(hart, value);
            (*hart).context = core::ptr::null_mut();
            let retired = left.wrapping_sub((*hart).left) as u64;
            (*hart).lifted_retired = (*hart).lifted_retired.wrapping_add(retired);
            went_on
        }
    }
}

// SAFETY: table pointers in the TLB are valid as long as their entry is, and were made from the index that is
// in force; `functions` is set from the same before lifted code is called.
unsafe impl LiftedCpu for Hart {
    const GUEST: &'static Guest = &GUEST;

    #[inline(always)]
    fn entry_value(&self, va: u64) -> u32 {
        let entry = &self.itlb[self.privilege as usize][(va >> 12) as usize % ITLB_ENTRIES];
        if entry.tag != va & !(PAGE_SIZE - 1) {
            return 0;
        }
        // SAFETY: as above; a table has an entry for each halfword of a page.
        unsafe { *entry.lifted.add((va >> 1) as usize & 0x7ff) }
    }

    #[inline(always)]
    fn mode(&self) -> u8 {
        self.privilege as u8
    }

    #[cfg(not(target_family = "wasm"))]
    #[inline(always)]
    fn functions(&self) -> *const usize {
        self.functions
    }

    #[inline(always)]
    fn pc(&mut self) -> &mut u64 {
        &mut self.pc
    }

    #[inline(always)]
    fn left(&mut self) -> &mut i64 {
        &mut self.left
    }

    #[inline(always)]
    fn attends(&self) -> bool {
        self.attend
    }

    #[inline(always)]
    fn count(&mut self, returned: bool) {
        self.lifted_calls = self.lifted_calls.wrapping_add(1);
        self.lifted_returns += u64::from(returned);
    }

    #[inline(always)]
    fn count_refusal(&mut self) {
        self.lifted_refusals += 1;
    }
}

/// [`Helper::Ecall`](forelift_abi::lift::rv64::Helper::Ecall).
///
/// The handler runs as a call, so that a system call from a loop costs two calls. Its own frames return odd,
/// so that none of them takes an address of U mode for its own; only here is looked whether the guest is
/// back.
///
/// # Safety
/// Called by lifted code only.
unsafe fn ecall(hart: *mut Hart, pc: u64, depth: u32) -> u64 {
    let back = pc.wrapping_add(4);
    // SAFETY: the hart that the code was made for.
    unsafe {
        if (*hart).user_only {
            return GUEST.tag.set(pc);
        }
        (*hart).pc = pc;
        (*hart).trap(8, 0);
        let next = GUEST.tag.set(lifted::dispatch(hart, (*hart).pc, depth));
        if next == GUEST.tag.set(back) && (*hart).privilege == Privilege::User && !(*hart).attend {
            0
        } else {
            next
        }
    }
}

/// [`Helper::Sret`](forelift_abi::lift::rv64::Helper::Sret).
///
/// # Safety
/// Called by lifted code only.
unsafe fn sret(hart: *mut Hart) -> u64 {
    // SAFETY: the hart that the code was made for.
    let hart = unsafe { &mut *hart };
    hart.sret();
    hart.attend |= hart.interrupt().is_some();
    GUEST.tag.set(hart.pc)
}

/// [`Helper::Status`](forelift_abi::lift::rv64::Helper::Status).
///
/// # Safety
/// Called by lifted code only.
unsafe fn status(hart: *mut Hart, clear: u64) -> u64 {
    // SAFETY: the hart that the code was made for.
    let hart = unsafe { &mut *hart };
    let old = hart.sstatus();
    if clear != 0 {
        hart.set_sstatus(old & !clear);
    }
    old
}

/// [`Helper::Csr`](forelift_abi::lift::rv64::Helper::Csr).
///
/// # Safety
/// Called by lifted code only.
unsafe fn csr(hart: *mut Hart, pc: u64, bits: u32, left: i64) -> u32 {
    if bits >> 20 == u32::from(csr::SSTATUS) {
        // SAFETY: the hart that the code was made for.
        let hart = unsafe { &mut *hart };
        if hart.privilege == Privilege::Supervisor {
            return write_status(hart, pc, bits, left);
        }
    }
    // SAFETY: set by run_lifted, whose borrow is not used while lifted code runs.
    let cx = unsafe { &mut *(*hart).context.cast::<Context<'_>>() };
    cx.hart.pc = pc;
    cx.hart.left = left;
    cx.hart.instret = cx.hart.end.wrapping_sub(left as u64);
    match cx.csr(&predecode::csr_entry(bits)) {
        Ok(false) => 0,
        Ok(true) => {
            cx.hart.pc = pc.wrapping_add(4);
            cx.hart.left = left - 1;
            cx.hart.attend = true;
            1
        }
        // Nothing has happened: the interpreter raises it.
        Err(_) => 1,
    }
}

/// The usual one among the CSRs, in short.
fn write_status(hart: &mut Hart, pc: u64, bits: u32, left: i64) -> u32 {
    let field = |shift: u32| (bits >> shift & 31) as usize;
    let (rd, rs1, funct3) = (field(7), field(15), bits >> 12 & 7);
    let source = if funct3 & 4 != 0 { rs1 as u64 } else { hart.x[rs1] };
    let old = hart.sstatus();
    match funct3 & 3 {
        1 => hart.set_sstatus(source),
        _ if rs1 == 0 => {}
        2 => hart.set_sstatus(old | source),
        _ => hart.set_sstatus(old & !source),
    }
    if rd != 0 {
        hart.x[rd] = old;
    }
    if hart.interrupt().is_none() {
        return 0;
    }
    (hart.pc, hart.left, hart.attend) = (pc.wrapping_add(4), left - 1, true);
    1
}

/// [`Helper::Float`](forelift_abi::lift::rv64::Helper::Float).
///
/// # Safety
/// Called by lifted code only.
unsafe fn float(hart: *mut Hart, op: u32, a: u64, b: u64, c: u64) -> u64 {
    // SAFETY: the hart that the code was made for.
    let hart = unsafe { &mut *hart };
    let rm = match (op >> 8) as u8 {
        7 => hart.frm,
        rm => rm,
    };
    let Some(op) = Op::ALL.get((op & 0xff) as usize) else { return 0 };
    let mut flags = hart.fflags;
    let value = super::float::compute(*op, a, b, c, Round::from_rm(rm).unwrap_or(Round::Rne), &mut flags);
    hart.fflags = flags;
    value.map_or(0, super::float::Value::bits)
}

/// [`Helper::Fma`](forelift_abi::lift::rv64::Helper::Fma).
///
/// # Safety
/// Called by lifted code only.
#[inline(always)]
unsafe fn fma(hart: *mut Hart, a: f64, b: f64, c: f64) -> f64 {
    // SAFETY: the hart that the code was made for.
    let hart = unsafe { &mut *hart };
    let rm = Round::from_rm(hart.frm).unwrap_or(Round::Rne);
    f64::from_bits(forelift_softfloat::f64_fma(a.to_bits(), b.to_bits(), c.to_bits(), rm, &mut hart.fflags))
}

#[cfg(target_family = "wasm")]
mod exports {
    use super::super::state::Hart;
    use forelift_abi::lift::{Exported, Layout};

    /// What the packer reads: the layout relative to the hart, and the hart's address.
    #[repr(transparent)]
    struct Table(Exported<*const Hart>);

    // SAFETY: a constant; the address is not followed.
    unsafe impl Sync for Table {}

    #[unsafe(no_mangle)]
    #[used]
    static forelift_layout: Table = Table(Exported {
        words: Layout::to_words(super::layout_at(0)),
        cpu: super::super::state::STATIC_HART,
    });

    fn hart() -> *mut Hart {
        super::super::state::static_hart()
    }

    #[unsafe(no_mangle)]
    extern "C" fn forelift_dispatch(va: u64, depth: u32) -> u64 {
        // SAFETY: only lifted code calls it.
        unsafe { crate::cpu::lifted::dispatch(hart(), va, depth) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn forelift_csr(pc: u64, bits: u32, left: i64) -> u32 {
        // SAFETY: only lifted code calls it.
        unsafe { super::csr(hart(), pc, bits, left) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn forelift_float(op: u32, a: u64, b: u64, c: u64) -> u64 {
        // SAFETY: only lifted code calls it.
        unsafe { super::float(hart(), op, a, b, c) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn forelift_fma(a: f64, b: f64, c: f64) -> f64 {
        // SAFETY: only lifted code calls it.
        unsafe { super::fma(hart(), a, b, c) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn forelift_ecall(pc: u64, depth: u32) -> u64 {
        // SAFETY: only lifted code calls it.
        unsafe { super::ecall(hart(), pc, depth) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn forelift_sret() -> u64 {
        // SAFETY: only lifted code calls it.
        unsafe { super::sret(hart()) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn forelift_status(clear: u64) -> u64 {
        // SAFETY: only lifted code calls it.
        unsafe { super::status(hart(), clear) }
    }
}

#[cfg(not(target_family = "wasm"))]
mod exports {
    use super::super::state::Hart;
    use forelift_abi::lift::rv64::Helper;

    unsafe extern "C" fn dispatch(hart: *mut Hart, va: u64, depth: u32) -> u64 {
        // SAFETY: only lifted code calls it, with its hart.
        unsafe { crate::cpu::lifted::dispatch(hart, va, depth) }
    }

    unsafe extern "C" fn csr(hart: *mut Hart, pc: u64, bits: u32, left: i64) -> u32 {
        // SAFETY: only lifted code calls it, with its hart.
        unsafe { super::csr(hart, pc, bits, left) }
    }

    unsafe extern "C" fn float(hart: *mut Hart, op: u32, a: u64, b: u64, c: u64) -> u64 {
        // SAFETY: only lifted code calls it, with its hart.
        unsafe { super::float(hart, op, a, b, c) }
    }

    unsafe extern "C" fn fma(hart: *mut Hart, a: f64, b: f64, c: f64) -> f64 {
        // SAFETY: only lifted code calls it, with its hart.
        unsafe { super::fma(hart, a, b, c) }
    }

    unsafe extern "C" fn ecall(hart: *mut Hart, pc: u64, depth: u32) -> u64 {
        // SAFETY: only lifted code calls it, with its hart.
        unsafe { super::ecall(hart, pc, depth) }
    }

    unsafe extern "C" fn sret(hart: *mut Hart) -> u64 {
        // SAFETY: only lifted code calls it, with its hart.
        unsafe { super::sret(hart) }
    }

    unsafe extern "C" fn status(hart: *mut Hart, clear: u64) -> u64 {
        // SAFETY: only lifted code calls it, with its hart.
        unsafe { super::status(hart, clear) }
    }

    fn address(helper: Helper) -> usize {
        match helper {
            Helper::Dispatch => dispatch as *const () as usize,
            Helper::Csr => csr as *const () as usize,
            Helper::Float => float as *const () as usize,
            Helper::Fma => fma as *const () as usize,
            Helper::Ecall => ecall as *const () as usize,
            Helper::Sret => sret as *const () as usize,
            Helper::Status => status as *const () as usize,
        }
    }

    /// Addresses of the helpers by number, for code that is made for this process.
    pub fn helper_addresses() -> Vec<usize> {
        Helper::ALL.iter().map(|&helper| address(helper)).collect()
    }
}

#[cfg(not(target_family = "wasm"))]
pub use exports::helper_addresses;
