//! Architectural state of the hart and its TLBs, as plain data.
//!
//! In WebAssembly the one [`Hart`] of a module lives in a static, so that the compiler folds its address into
//! every access (a pointer argument would cost an addition each time, 15-20 % of the interpreter); natively
//! it is boxed, so that tests and the converter can have several.

use crate::cpu::tlb::{self, CodeTranslation, DataTlb, LargePages};
use forelift_abi::lift::Mode;
use serde::{Deserialize, Serialize};

/// Number of entries of each instruction TLB.
pub const ITLB_ENTRIES: usize = 1024;
/// A tag that no address matches: lookups clear the low bits.
pub const NO_TAG: u64 = u64::MAX;

/// Privilege levels this machine has. M mode is the runtime itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Privilege {
    /// U mode.
    User = 0,
    /// S mode.
    Supervisor = 1,
}

impl Privilege {
    /// As the contract with the translator names it.
    pub const fn mode(self) -> Mode {
        match self {
            Privilege::User => Mode::User,
            Privilege::Supervisor => Mode::Kernel,
        }
    }
}

/// Translation of one code page.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct ItlbEntry {
    /// Page's virtual address.
    pub tag: u64,
    /// Index of the page in the block cache.
    pub page: u32,
    /// Number of the page's contents when they are lifted, else 0.
    pub(crate) content: u32,
    /// Its table of blocks.
    pub(crate) blocks: *const u32,
    /// Its table of lifted code.
    pub(crate) lifted: *const u32,
}

// SAFETY: the tables are only followed by the owner of the block cache, which moves together with the hart.
unsafe impl Send for ItlbEntry {}

impl CodeTranslation for ItlbEntry {
    const EMPTY: Self = EMPTY_I;

    fn tag(&self) -> u64 {
        self.tag
    }

    fn page(&self) -> u32 {
        self.page
    }
}

pub(crate) const EMPTY_I: ItlbEntry = ItlbEntry {
    tag: NO_TAG,
    page: u32::MAX,
    content: 0,
    blocks: core::ptr::null(),
    lifted: core::ptr::null(),
};

/// Index of the data TLB for U mode.
pub const TLB_USER: usize = 0;
/// Index of the data TLB for S mode with `sstatus.SUM` clear.
pub const TLB_KERNEL: usize = 1;
/// Index of the data TLB for S mode with `sstatus.SUM` set.
pub const TLB_KERNEL_SUM: usize = 2;

/// Architectural state. Field names are the manual's.
#[repr(C, align(64))]
pub struct Hart {
    /// Integer registers; `x[0]` stays 0.
    pub x: [u64; 32],
    /// Floating-point registers; single precision is NaN-boxed.
    pub f: [u64; 32],
    /// Address of the next instruction.
    pub pc: u64,
    /// Instructions retired.
    pub instret: u64,
    /// Accrued exception flags (`fcsr[4:0]`).
    pub fflags: u8,
    /// Dynamic rounding mode (`fcsr[7:5]`), as written: 5-7 make instructions that use it illegal.
    pub frm: u8,
    /// `sstatus.FS`: 0 off, 1 initial, 2 clean, 3 dirty.
    pub fs: u8,
    /// Current privilege.
    pub privilege: Privilege,
    /// `sstatus.SIE`.
    pub sie_enabled: bool,
    /// `sstatus.SPIE`.
    pub spie: bool,
    /// `sstatus.SPP` as a level.
    pub spp: Privilege,
    /// `sstatus.SUM`.
    pub sum: bool,
    /// `sstatus.MXR`.
    pub mxr: bool,
    /// Hand every exception to the caller of `run` (user-mode tests).
    pub user_only: bool,
    /// Largest address-translation mode accepted in `satp`: 8 Sv39, 9 Sv48.
    pub max_satp_mode: u8,
    /// `sie`.
    pub sie: u64,
    /// Software part of `sip` (SSIP).
    pub sip: u64,
    /// `stvec`.
    pub stvec: u64,
    /// `sscratch`.
    pub sscratch: u64,
    /// `sepc`.
    pub sepc: u64,
    /// `scause`.
    pub scause: u64,
    /// `stval`.
    pub stval: u64,
    /// `satp`.
    pub satp: u64,
    /// `scounteren`.
    pub scounteren: u64,
    /// `senvcfg`.
    pub senvcfg: u64,
    /// `stimecmp` (Sstc).
    pub stimecmp: u64,
    /// Physical address reserved by `lr`, or `u64::MAX`.
    pub reservation: u64,
    /// Timer has passed `stimecmp`: kept by the machine, see [`Hart::update_timer`].
    pub timer_pending: bool,
    /// Level of the external interrupt: kept by the machine.
    pub external_pending: bool,
    /// The last step of the dispatcher ended with something that does not retire: an exception, or a call of
    /// the SBI.
    pub(crate) unretired: bool,
    /// An interrupt may be due, or the next instruction has to be found anew: the dispatcher has to look.
    pub(crate) attend: bool,
    /// Whether the interpreter calls lifted code that it comes to.
    pub(crate) calls_lifted: bool,
    /// The kernel's instruction TLB holds a translation that is not global.
    pub(crate) kernel_itlb_local: bool,
    /// Sizes of the pages that the TLBs hold parts of.
    pub(crate) large_pages: LargePages,
    /// Result of the last slow load.
    pub(crate) slow_value: u64,
    /// Code and value of the exception that the last slow path met.
    pub(crate) slow_exception: (u64, u64),
    /// Virtual address of the page that the interpreter runs in.
    pub(crate) page_va: u64,
    /// Its index in the block cache.
    pub(crate) page: u32,
    /// Budget of the slice while lifted code runs.
    pub(crate) left: i64,
    /// `instret + left`: instructions retired at the end of the slice.
    pub(crate) end: u64,
    /// Instructions that had retired when the state was restored.
    pub restored_at: u64,
    /// Instructions that lifted code retired.
    pub lifted_retired: u64,
    /// How often the dispatcher called lifted code.
    pub lifted_calls: u64,
    /// How often it came back by a return instruction.
    pub lifted_returns: u64,
    /// How often it could not even do its first instruction.
    pub lifted_refusals: u64,
    /// How often the interpreter was entered.
    pub interpreted_stretches: u64,
    /// What helpers of lifted code work on, while it runs.
    pub(crate) context: *mut core::ffi::c_void,
    /// Lifted functions by number, natively.
    pub(crate) functions: *const usize,
    pub(crate) dtlb: DataTlb,
    pub(crate) itlb: [[ItlbEntry; ITLB_ENTRIES]; 2],
}

/// The part of [`Hart`] that a snapshot keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HartState {
    x: [u64; 32],
    f: [u64; 32],
    pc: u64,
    instret: u64,
    fflags: u8,
    frm: u8,
    fs: u8,
    privilege: Privilege,
    sie_enabled: bool,
    spie: bool,
    spp: Privilege,
    sum: bool,
    mxr: bool,
    max_satp_mode: u8,
    sie: u64,
    sip: u64,
    stvec: u64,
    sscratch: u64,
    sepc: u64,
    scause: u64,
    stval: u64,
    satp: u64,
    scounteren: u64,
    senvcfg: u64,
    stimecmp: u64,
    reservation: u64,
}

impl HartState {
    /// Instructions retired.
    pub fn instret(&self) -> u64 {
        self.instret
    }

    /// Address of the next instruction.
    pub fn pc(&self) -> u64 {
        self.pc
    }

    /// Current privilege.
    pub fn privilege(&self) -> Privilege {
        self.privilege
    }

    /// The mode in force.
    pub fn mode(&self) -> Mode {
        self.privilege.mode()
    }

    /// All registers by name.
    pub fn registers(&self) -> Vec<(String, u64)> {
        let x = self.x.iter().enumerate().map(|(n, &value)| (format!("x{n}"), value));
        let f = self.f.iter().enumerate().map(|(n, &value)| (format!("f{n}"), value));
        let others = [
            ("pc", self.pc),
            ("instret", self.instret),
            ("fflags", self.fflags.into()),
            ("frm", self.frm.into()),
            ("sstatus.FS", self.fs.into()),
            ("privilege", self.privilege as u64),
            ("sstatus.SIE", self.sie_enabled.into()),
            ("sstatus.SPIE", self.spie.into()),
            ("sstatus.SPP", self.spp as u64),
            ("sstatus.SUM", self.sum.into()),
            ("sstatus.MXR", self.mxr.into()),
            ("sie", self.sie),
            ("sip", self.sip),
            ("stvec", self.stvec),
            ("sscratch", self.sscratch),
            ("sepc", self.sepc),
            ("scause", self.scause),
            ("stval", self.stval),
            ("satp", self.satp),
            ("scounteren", self.scounteren),
            ("senvcfg", self.senvcfg),
            ("stimecmp", self.stimecmp),
            ("reservation", self.reservation),
        ];
        x.chain(f).chain(others.map(|(name, value)| (name.into(), value))).collect()
    }
}

impl Hart {
    const RESET: Hart = Hart {
        x: [0; 32],
        f: [0; 32],
        pc: 0,
        instret: 0,
        fflags: 0,
        frm: 0,
        fs: 0,
        privilege: Privilege::Supervisor,
        sie_enabled: false,
        spie: false,
        spp: Privilege::User,
        sum: false,
        mxr: false,
        user_only: false,
        max_satp_mode: 9,
        sie: 0,
        sip: 0,
        stvec: 0,
        sscratch: 0,
        sepc: 0,
        scause: 0,
        stval: 0,
        satp: 0,
        // As firmware leaves it: the kernel counts on user mode being able to read `time`.
        scounteren: 7,
        senvcfg: 0,
        stimecmp: u64::MAX,
        reservation: u64::MAX,
        timer_pending: false,
        external_pending: false,
        unretired: false,
        attend: false,
        calls_lifted: false,
        kernel_itlb_local: false,
        large_pages: LargePages::NONE,
        slow_value: 0,
        slow_exception: (0, 0),
        page_va: 0,
        page: 0,
        left: 0,
        end: 0,
        restored_at: 0,
        lifted_retired: 0,
        lifted_calls: 0,
        lifted_returns: 0,
        lifted_refusals: 0,
        interpreted_stretches: 0,
        context: core::ptr::null_mut(),
        functions: core::ptr::null(),
        dtlb: DataTlb::NONE,
        itlb: [[EMPTY_I; ITLB_ENTRIES]; 2],
    };

    /// Index of the data TLB in force.
    #[inline]
    pub(crate) fn tlb_index(&self) -> usize {
        match (self.privilege, self.sum) {
            (Privilege::User, _) => TLB_USER,
            (Privilege::Supervisor, false) => TLB_KERNEL,
            (Privilege::Supervisor, true) => TLB_KERNEL_SUM,
        }
    }

    /// Writes `sstatus.SUM`.
    pub(crate) fn set_sum(&mut self, sum: bool) {
        self.sum = sum;
        self.dtlb.select_supervisor(if sum { TLB_KERNEL_SUM } else { TLB_KERNEL });
    }

    /// Forgets every translation.
    pub fn flush_tlb(&mut self) {
        for set in [TLB_USER, TLB_KERNEL, TLB_KERNEL_SUM] {
            self.dtlb.flush(set);
        }
        self.itlb = [[EMPTY_I; ITLB_ENTRIES]; 2];
        self.kernel_itlb_local = false;
        self.large_pages = LargePages::NONE;
    }

    /// Forgets the translations that are not global: another address space comes into force.
    pub(crate) fn flush_tlb_local(&mut self) {
        if self.kernel_itlb_local {
            self.flush_tlb();
            return;
        }
        self.dtlb.flush_local();
        self.itlb[Privilege::User as usize] = [EMPTY_I; ITLB_ENTRIES];
    }

    /// Forgets the translations of the page of `va`, of any size: a large page is cached in parts of 4 KiB,
    /// and the fence for one address concerns the leaf entry, hence all of them (Privileged 4.2.1).
    pub(crate) fn flush_tlb_page(&mut self, va: u64) {
        tlb::flush_page(&mut self.dtlb, &mut self.itlb, self.large_pages, va);
    }

    /// Forgets the right to write to the page of RAM at `offset` without further ado: it holds decoded code
    /// from now on.
    pub(crate) fn protect_ram_page(&mut self, offset: u64) {
        self.dtlb.protect(offset);
    }

    /// Forgets the code translations that lead to page `page` of the block cache.
    pub(crate) fn flush_itlb_of(&mut self, page: u32) {
        tlb::flush_code_page(&mut self.itlb, page);
    }

    /// Forgets all code translations: the block cache was emptied.
    pub(crate) fn flush_itlb(&mut self) {
        self.itlb = [[EMPTY_I; ITLB_ENTRIES]; 2];
    }

    /// Brings the timer interrupt up to date with the `time` CSR's value.
    #[inline]
    pub fn update_timer(&mut self, time: u64) {
        self.timer_pending = time >= self.stimecmp;
    }

    /// State for a snapshot.
    pub fn save(&self) -> HartState {
        HartState {
            x: self.x,
            f: self.f,
            pc: self.pc,
            instret: self.instret,
            fflags: self.fflags,
            frm: self.frm,
            fs: self.fs,
            privilege: self.privilege,
            sie_enabled: self.sie_enabled,
            spie: self.spie,
            spp: self.spp,
            sum: self.sum,
            mxr: self.mxr,
            max_satp_mode: self.max_satp_mode,
            sie: self.sie,
            sip: self.sip,
            stvec: self.stvec,
            sscratch: self.sscratch,
            sepc: self.sepc,
            scause: self.scause,
            stval: self.stval,
            satp: self.satp,
            scounteren: self.scounteren,
            senvcfg: self.senvcfg,
            stimecmp: self.stimecmp,
            reservation: self.reservation,
        }
    }

    /// Takes a snapshot's state over. Every value is brought into the range that the CSR's own write would
    /// leave.
    pub fn restore(&mut self, state: &HartState) {
        self.x = state.x;
        self.x[0] = 0;
        self.f = state.f;
        self.pc = state.pc & !1;
        self.instret = state.instret;
        self.restored_at = state.instret;
        self.fflags = state.fflags & 0x1f;
        self.frm = state.frm & 7;
        self.fs = state.fs & 3;
        self.privilege = state.privilege;
        self.sie_enabled = state.sie_enabled;
        self.spie = state.spie;
        self.spp = state.spp;
        self.set_sum(state.sum);
        self.mxr = state.mxr;
        self.user_only = false;
        self.max_satp_mode = if state.max_satp_mode == 8 { 8 } else { 9 };
        self.sie = state.sie & super::fields::INTERRUPTS;
        self.sip = state.sip & super::fields::SSIP;
        self.stvec = super::fields::legal_stvec(state.stvec);
        self.sscratch = state.sscratch;
        self.sepc = state.sepc & !1;
        self.scause = state.scause;
        self.stval = state.stval;
        self.satp = if matches!(state.satp >> 60, 0 | 8 | 9) { state.satp } else { 0 };
        self.scounteren = state.scounteren & super::fields::COUNTERS;
        self.senvcfg = state.senvcfg & super::fields::FIOM;
        self.stimecmp = state.stimecmp;
        self.reservation = state.reservation;
        self.timer_pending = false;
        self.external_pending = false;
        self.flush_tlb();
    }
}

/// A 32-bit result in a 64-bit register.
#[inline(always)]
pub(crate) fn sext(value: u32) -> u64 {
    value as i32 as i64 as u64
}

crate::cpu::cell::cpu_cell!(Hart, HartCell, hart_ptr);

/// The module's one hart.
#[cfg(target_family = "wasm")]
pub(crate) fn static_hart() -> *mut Hart {
    &raw mut cell::CPU
}

/// Its address as a constant.
#[cfg(target_family = "wasm")]
pub(crate) const STATIC_HART: *const Hart = &raw const cell::CPU;
