//! Architectural state of the processor and its TLBs, as plain data.
//!
//! In WebAssembly the one [`Vcpu`] of a module lives in a static, so that the compiler folds its address into
//! every access; natively it is boxed, so that tests and the converter can have several.

use super::flags::{self, LazyFlags};
use crate::cpu::tlb::{self, CodeTranslation, DataTlb, LargePages};
use serde::{Deserialize, Serialize};

/// Number of entries of each instruction TLB.
pub const ITLB_ENTRIES: usize = 1024;
/// A tag that no address matches: lookups clear the low bits.
pub const NO_TAG: u64 = u64::MAX;

/// Slot of [`Vcpu::r`] that is always 0: no base, no index.
pub const ZERO: usize = 16;
/// Slot that holds the virtual address of the page that the interpreter runs in: the base of `rip`-relative
/// addresses.
pub const PAGE: usize = 17;
/// Slot that holds the base of FS.
pub const FS_BASE: usize = 18;
/// Slot that holds the base of GS.
pub const GS_BASE: usize = 19;
/// Slots of [`Vcpu::r`].
pub const SLOTS: usize = 20;

/// Index of a segment register: ES, CS, SS, DS, FS, GS as instructions encode them.
pub const ES: usize = 0;
/// Code segment.
pub const CS: usize = 1;
/// Stack segment.
pub const SS: usize = 2;
/// Data segment.
pub const DS: usize = 3;
/// FS; its base is in [`Vcpu::r`].
pub const FS: usize = 4;
/// GS; its base is in [`Vcpu::r`].
pub const GS: usize = 5;

/// Index of the data TLB and of the instruction TLB for privilege level 3.
pub const TLB_USER: usize = 0;
/// The same for levels 0 to 2.
pub const TLB_KERNEL: usize = 1;
/// Number of sets of the data TLB in use.
pub(crate) const TLB_SETS: usize = 2;

/// DR6: breakpoint `n` is bit `n`.
pub(crate) const DR6_BREAKPOINTS: u64 = 0xf;
/// [`Vcpu::debug`]: what the trap after the instruction will report, as in DR6.
pub(crate) const PENDING: u32 = DR6_BREAKPOINTS as u32 | STEP;
/// [`Vcpu::debug`]: single step, DR6.BS.
pub(crate) const STEP: u32 = 1 << 14;

/// A segment register with its descriptor's hidden part. `base` of FS and GS is in [`Vcpu::r`] instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Bits 8-15 and 20-23 of the descriptor's high word at bits 0-7 and 12-15 (SDM vol. 3 figure 3-8).
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Linear base.
    pub base: u64,
}

impl Segment {
    /// `L`: 64-bit code.
    pub const LONG: u16 = 1 << 13;
    /// `D`/`B`: 32-bit default size.
    pub const BIG: u16 = 1 << 14;
    /// `P`: present.
    pub const PRESENT: u16 = 1 << 7;

    /// Descriptor privilege level.
    pub const fn dpl(&self) -> u8 {
        (self.attributes >> 5 & 3) as u8
    }
}

/// A descriptor table register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub struct Table {
    /// Linear base.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u16,
}

/// An x87 register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub struct Extended {
    /// Significand, with its integer bit; an MMX register.
    pub mantissa: u64,
    /// Sign (bit 15) and biased exponent.
    pub sign_exponent: u16,
}

/// The x87 FPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub struct Fpu {
    /// Physical registers R0-R7; ST(i) is `registers[(top + i) & 7]`, MMi is `registers[i]`.
    pub registers: [Extended; 8],
    /// Control word.
    pub control: u16,
    /// Status word without TOP, which is in `top`.
    pub status: u16,
    /// TOP of stack, 0-7.
    pub top: u8,
    /// Physical registers that are not empty, as bits.
    pub valid: u8,
    /// Opcode of the last instruction that was not a control instruction (11 bits).
    pub opcode: u16,
    /// Its address.
    pub instruction: u64,
    /// Address of its operand in memory.
    pub data: u64,
}

impl Fpu {
    /// State after `fninit`.
    pub const INITIAL: Fpu = Fpu {
        registers: [Extended { mantissa: 0, sign_exponent: 0 }; 8],
        control: 0x37f,
        status: 0,
        top: 0,
        valid: 0,
        opcode: 0,
        instruction: 0,
        data: 0,
    };
}

/// Translation of one code page.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ItlbEntry {
    /// Page's virtual address.
    pub tag: u64,
    /// Index of the page in the block cache.
    pub page: u32,
    /// What the keys of its blocks have in common, for the mode (64-bit or not) that its privilege is in.
    pub key: u32,
}

impl CodeTranslation for ItlbEntry {
    const EMPTY: Self = EMPTY_I;

    fn tag(&self) -> u64 {
        self.tag
    }

    fn page(&self) -> u32 {
        self.page
    }
}

pub(crate) const EMPTY_I: ItlbEntry = ItlbEntry { tag: NO_TAG, page: u32::MAX, key: 0 };

/// The part of the state that a snapshot keeps. Field names are the manual's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuState {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8-R15, and the bases of FS and GS.
    pub r: [u64; 18],
    /// Address of the next instruction.
    pub rip: u64,
    /// All flags.
    pub rflags: u64,
    /// Instructions retired.
    pub instret: u64,
    /// XMM0-XMM15, low half first.
    pub xmm: [[u64; 2]; 16],
    /// SSE control and status.
    pub mxcsr: u32,
    /// x87.
    pub fpu: Fpu,
    /// Segment registers.
    pub segments: [Segment; 6],
    /// Local descriptor table.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table.
    pub gdtr: Table,
    /// Interrupt descriptor table.
    pub idtr: Table,
    /// Current privilege level.
    pub cpl: u8,
    /// Control registers 0, 2, 3, 4.
    pub cr: [u64; 4],
    /// DR0-DR3, DR6, DR7.
    pub dr: [u64; 6],
    /// Model-specific registers.
    pub msr: Msr,
    /// Interrupts wait for one instruction (after `sti` and loads of SS).
    pub inhibit: bool,
    /// So do debug traps (after loads of SS).
    pub shadow: bool,
    /// What they will report, as in DR6.
    pub debug_pending: u32,
}

/// Model-specific registers that the processor itself keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)]
pub struct Msr {
    /// IA32_EFER.
    pub efer: u64,
    /// IA32_STAR.
    pub star: u64,
    /// IA32_LSTAR.
    pub lstar: u64,
    /// IA32_CSTAR.
    pub cstar: u64,
    /// IA32_FMASK.
    pub fmask: u64,
    /// IA32_KERNEL_GS_BASE.
    pub kernel_gs_base: u64,
    /// IA32_SYSENTER_CS.
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_TSC_AUX.
    pub tsc_aux: u64,
    /// What `wrmsr` of IA32_TIME_STAMP_COUNTER has added to the machine's counter.
    pub tsc_offset: u64,
    /// IA32_MISC_ENABLE.
    pub misc_enable: u64,
}

/// Architectural state, and what is derived from it.
#[repr(C, align(64))]
pub struct Vcpu {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8-R15, then [`ZERO`], [`PAGE`], [`FS_BASE`], [`GS_BASE`].
    pub r: [u64; SLOTS],
    /// Address of the next instruction; while an instruction is executed by its family, its own.
    pub rip: u64,
    /// Arithmetic flags.
    pub flags: LazyFlags,
    /// The other flags; the arithmetic ones are 0 here.
    pub rflags: u64,
    /// Instructions retired.
    pub instret: u64,
    /// Those that had retired when the state was restored.
    pub restored_at: u64,
    /// XMM0-XMM15, low half first.
    pub xmm: [[u64; 2]; 16],
    /// SSE control and status.
    pub mxcsr: u32,
    /// Breakpoints that are enabled, and a trap that is due (see [`super::debug`]); 0 lets the dispatcher run
    /// blocks.
    pub(crate) debug: u32,
    /// Misaligned accesses raise #AC.
    pub(crate) checks_alignment: bool,
    /// Current privilege level.
    pub cpl: u8,
    /// 64-bit code runs (`cs.L`), not compatibility mode.
    pub long: bool,
    /// Interrupts wait for one instruction (after `sti` and loads of SS).
    pub inhibit: bool,
    /// So do debug traps (after loads of SS).
    pub(crate) shadow: bool,
    /// The instruction has cleared the trap flag, under which it began: the trap after it is still due.
    pub(crate) trap_due: bool,
    /// Hand every exception to the caller of `run` (user-mode tests).
    pub user_only: bool,
    /// SSE instructions run: CR0.EM and CR0.TS are clear, CR4.OSFXSR is set.
    pub(crate) sse_enabled: bool,
    /// Decoded code was dropped: the interpreter must not go on in it.
    pub(crate) code_dropped: bool,
    /// The user part of the instruction TLB was filled in 64-bit mode.
    pub(crate) itlb_long: bool,
    /// The kernel's instruction TLB holds a translation that is not global.
    pub(crate) kernel_itlb_local: bool,
    /// x87.
    pub fpu: Fpu,
    /// Segment registers.
    pub segments: [Segment; 6],
    /// Local descriptor table.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table.
    pub gdtr: Table,
    /// Interrupt descriptor table.
    pub idtr: Table,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// DR0-DR3, DR6, DR7.
    pub dr: [u64; 6],
    /// Model-specific registers.
    pub msr: Msr,
    /// What the last slow path met.
    pub(crate) slow_fault: super::fault::Fault,
    /// Index in the block cache of the page that the interpreter runs in.
    pub(crate) page: u32,
    /// Sizes of the pages that the TLBs hold parts of.
    pub(crate) large_pages: LargePages,
    pub(crate) dtlb: DataTlb,
    pub(crate) itlb: [[ItlbEntry; ITLB_ENTRIES]; 2],
}

/// CR0: protected mode.
pub const CR0_PE: u64 = 1;
/// CR0: `wait` raises #NM with TS.
pub const CR0_MP: u64 = 1 << 1;
/// CR0: no FPU.
pub const CR0_EM: u64 = 1 << 2;
/// CR0: task switched: FPU instructions raise #NM.
pub const CR0_TS: u64 = 1 << 3;
/// CR0: extension type, always 1.
pub const CR0_ET: u64 = 1 << 4;
/// CR0: FPU errors raise #MF.
pub const CR0_NE: u64 = 1 << 5;
/// CR0: the kernel respects read-only pages.
pub const CR0_WP: u64 = 1 << 16;
/// CR0: alignment checks for user code.
pub const CR0_AM: u64 = 1 << 18;
/// CR0: paging.
pub const CR0_PG: u64 = 1 << 31;
/// CR4: only the kernel may read the time-stamp counter.
pub const CR4_TSD: u64 = 1 << 2;
/// CR4: debugging extensions: breakpoints on ports, no DR4 and DR5.
pub const CR4_DE: u64 = 1 << 3;
/// CR4: physical-address extension.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4: global pages.
pub const CR4_PGE: u64 = 1 << 7;
/// CR4: the system saves SSE state.
pub const CR4_OSFXSR: u64 = 1 << 9;
/// CR4: the system handles #XM.
pub const CR4_OSXMMEXCPT: u64 = 1 << 10;
/// EFER: `syscall` works.
pub const EFER_SCE: u64 = 1;
/// EFER: long mode is enabled.
pub const EFER_LME: u64 = 1 << 8;
/// EFER: long mode is active.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER: no-execute pages.
pub const EFER_NXE: u64 = 1 << 11;

const NO_SEGMENT: Segment = Segment { selector: 0, attributes: 0, limit: 0, base: 0 };
/// A flat segment of privilege level 0: present, read and write, accessed.
const FLAT: Segment = Segment { selector: 0, attributes: 0xc093, limit: u32::MAX, base: 0 };

impl Vcpu {
    const RESET: Vcpu = Vcpu {
        r: [0; SLOTS],
        rip: 0,
        flags: LazyFlags::CLEAR,
        rflags: 0,
        instret: 0,
        restored_at: 0,
        xmm: [[0; 2]; 16],
        mxcsr: 0x1f80,
        debug: 0,
        checks_alignment: false,
        cpl: 0,
        long: true,
        inhibit: false,
        shadow: false,
        trap_due: false,
        user_only: false,
        sse_enabled: true,
        code_dropped: false,
        itlb_long: true,
        kernel_itlb_local: false,
        fpu: Fpu::INITIAL,
        segments: [FLAT, Segment { attributes: 0xa09b, ..FLAT }, FLAT, FLAT, FLAT, FLAT],
        ldtr: NO_SEGMENT,
        tr: NO_SEGMENT,
        gdtr: Table { base: 0, limit: 0 },
        idtr: Table { base: 0, limit: 0 },
        cr0: CR0_PE | CR0_ET | CR0_NE | CR0_MP | CR0_WP,
        cr2: 0,
        cr3: 0,
        cr4: CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT,
        dr: [0, 0, 0, 0, 0xffff_0ff0, 0x400],
        msr: Msr {
            efer: EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE,
            star: 0,
            lstar: 0,
            cstar: 0,
            fmask: 0,
            kernel_gs_base: 0,
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            // Power-on value, SDM vol. 3 table 13-12.
            pat: 0x0007_0406_0007_0406,
            tsc_aux: 0,
            tsc_offset: 0,
            misc_enable: 1,
        },
        slow_fault: super::fault::Fault::plain(0),
        page: 0,
        large_pages: LargePages::NONE,
        dtlb: DataTlb::NONE,
        itlb: [[EMPTY_I; ITLB_ENTRIES]; 2],
    };

    /// Index of the TLBs in force.
    #[inline]
    pub(crate) fn tlb_index(&self) -> usize {
        if self.cpl == 3 { TLB_USER } else { TLB_KERNEL }
    }

    /// Whether the I/O privilege level lets the program use ports and change the interrupt flag (SDM vol. 1
    /// 19.5.1).
    pub(crate) fn has_io_privilege(&self) -> bool {
        u64::from(self.cpl) <= (self.rflags & flags::IOPL) >> 12
    }

    /// Linear base of a segment for addresses: 0 in 64-bit mode but for FS and GS (SDM vol. 3 3.2.4).
    #[inline]
    pub fn segment_base(&self, segment: usize) -> u64 {
        match segment {
            FS => self.r[FS_BASE],
            GS => self.r[GS_BASE],
            _ if self.long => 0,
            _ => self.segments[segment].base,
        }
    }

    /// Follows a change of CS: privilege level and mode of execution.
    pub(crate) fn update_mode(&mut self) {
        self.long = self.segments[CS].attributes & Segment::LONG != 0 && self.msr.efer & EFER_LMA != 0;
        if self.cpl == 3 && self.itlb_long != self.long {
            self.itlb_long = self.long;
            self.itlb[TLB_USER] = [EMPTY_I; ITLB_ENTRIES];
        }
        self.update_alignment();
    }

    /// Follows a change of CR0 or CR4.
    pub(crate) fn update_controls(&mut self) {
        self.update_alignment();
        self.sse_enabled = self.cr0 & (CR0_EM | CR0_TS) == 0 && self.cr4 & CR4_OSFXSR != 0;
    }

    /// Forgets every translation.
    pub fn flush_tlb(&mut self) {
        for set in [TLB_USER, TLB_KERNEL] {
            self.dtlb.flush(set);
        }
        self.itlb = [[EMPTY_I; ITLB_ENTRIES]; 2];
        self.kernel_itlb_local = false;
        self.large_pages = LargePages::NONE;
    }

    /// Forgets the translations that are not global: CR3 was written.
    pub(crate) fn flush_tlb_local(&mut self) {
        if self.kernel_itlb_local || self.cr4 & CR4_PGE == 0 {
            self.flush_tlb();
            return;
        }
        self.dtlb.flush_local();
        self.itlb[TLB_USER] = [EMPTY_I; ITLB_ENTRIES];
    }

    /// Forgets the translations of the page of `va`, of any size: a large page is cached in parts of 4 KiB
    /// (SDM vol. 3 4.10.4.1).
    pub(crate) fn flush_tlb_page(&mut self, va: u64) {
        tlb::flush_page(&mut self.dtlb, &mut self.itlb, self.large_pages, va);
    }

    /// Forgets the code translations that lead to page `page` of the block cache.
    pub(crate) fn flush_itlb_of(&mut self, page: u32) {
        tlb::flush_code_page(&mut self.itlb, page);
    }

    /// Forgets all code translations: the block cache was emptied.
    pub(crate) fn flush_itlb(&mut self) {
        self.itlb = [[EMPTY_I; ITLB_ENTRIES]; 2];
    }

    /// State for a snapshot.
    pub fn save(&self) -> VcpuState {
        let mut r = [0; 18];
        r[..16].copy_from_slice(&self.r[..16]);
        r[16] = self.r[FS_BASE];
        r[17] = self.r[GS_BASE];
        VcpuState {
            r,
            rip: self.rip,
            rflags: self.all_flags(),
            instret: self.instret,
            xmm: self.xmm,
            mxcsr: self.mxcsr,
            fpu: self.fpu,
            segments: self.segments,
            ldtr: self.ldtr,
            tr: self.tr,
            gdtr: self.gdtr,
            idtr: self.idtr,
            cpl: self.cpl,
            cr: [self.cr0, self.cr2, self.cr3, self.cr4],
            dr: self.dr,
            msr: self.msr,
            inhibit: self.inhibit,
            shadow: self.shadow,
            debug_pending: self.debug & PENDING,
        }
    }

    /// Takes a snapshot's state over. Values that the registers cannot have are brought into their range.
    pub fn restore(&mut self, state: &VcpuState) {
        self.r[..16].copy_from_slice(&state.r[..16]);
        self.r[FS_BASE] = state.r[16];
        self.r[GS_BASE] = state.r[17];
        self.rip = state.rip;
        self.set_all_flags(state.rflags);
        self.instret = state.instret;
        self.restored_at = state.instret;
        self.xmm = state.xmm;
        self.mxcsr = state.mxcsr & 0xffff;
        self.fpu = state.fpu;
        self.fpu.top &= 7;
        self.segments = state.segments;
        self.ldtr = state.ldtr;
        self.tr = state.tr;
        self.gdtr = state.gdtr;
        self.idtr = state.idtr;
        self.cpl = state.cpl & 3;
        [self.cr0, self.cr2, self.cr3, self.cr4] = state.cr;
        self.dr = state.dr;
        self.msr = state.msr;
        self.inhibit = state.inhibit;
        self.shadow = state.shadow;
        self.debug = state.debug_pending & PENDING;
        self.user_only = false;
        self.update_mode();
        self.update_controls();
        self.flush_tlb();
        self.update_breakpoints();
    }

    /// All of `rflags`.
    pub fn all_flags(&self) -> u64 {
        self.rflags & !flags::ARITHMETIC | flags::ALWAYS | self.flags.arithmetic()
    }

    /// Writes all flags.
    pub fn set_all_flags(&mut self, all: u64) {
        const KNOWN: u64 =
            flags::TF | flags::IF | flags::DF | flags::IOPL | flags::NT | flags::RF | flags::AC | flags::ID;
        self.rflags = all & KNOWN;
        self.flags.set(all);
        self.update_alignment();
    }

    /// Follows a change of RFLAGS.AC, CR0.AM or the privilege level: while alignment is checked (SDM vol. 3
    /// 2.5, AM), no page is in the data TLB of level 3, so that every access is looked at.
    pub(crate) fn update_alignment(&mut self) {
        let checks = self.cpl == 3 && self.rflags & flags::AC != 0 && self.cr0 & CR0_AM != 0;
        if checks && !self.checks_alignment {
            self.dtlb.flush(TLB_USER);
        }
        self.checks_alignment = checks;
    }
}

crate::cpu::cell::cpu_cell!(Vcpu, VcpuCell, vcpu_ptr);
