//! Exceptions, interrupts and the return from them (Privileged 4.1, 4.2). Everything is taken in S mode.

use super::csr::{SEIP, SSIP, STIP};
use super::entry::Entry;
use super::mmu::Exception;
use super::state::{Hart, Privilege};
use super::{Context, Exit, sbi};

impl Hart {
    /// Enters the trap handler.
    fn trap(&mut self, cause: u64, value: u64) {
        self.unretired = true;
        self.sepc = self.pc;
        self.scause = cause;
        self.stval = value;
        self.spp = self.privilege;
        self.privilege = Privilege::Supervisor;
        self.spie = self.sie_enabled;
        self.sie_enabled = false;
        let base = self.stvec & !3;
        let vectored = self.stvec & 1 != 0 && cause >> 63 != 0;
        self.pc = if vectored { base.wrapping_add(4 * (cause & 0x3f)) } else { base };
    }

    /// Whether `wfi` ends: an interrupt is pending and enabled in `sie`, whatever `sstatus.SIE` says.
    pub fn wakes(&self) -> bool {
        self.pending() & self.sie != 0
    }
}

impl Context<'_> {
    /// Takes the most important pending interrupt, if interrupts are enabled.
    pub(crate) fn take_interrupt(&mut self) {
        let hart = &mut *self.hart;
        let enabled = hart.privilege == Privilege::User || hart.sie_enabled;
        let pending = hart.pending() & hart.sie;
        if !enabled || pending == 0 || hart.user_only {
            return;
        }
        // Privileged 4.1.3: external, software, timer.
        let code = match pending {
            p if p & SEIP != 0 => 9,
            p if p & SSIP != 0 => 1,
            p if p & STIP != 0 => 5,
            _ => return,
        };
        hart.trap(1 << 63 | code, 0);
    }

    /// Takes an exception at `hart.pc`.
    pub(crate) fn raise(&mut self, e: Exception) -> Option<Exit> {
        if self.hart.user_only {
            return Some(Exit::Trap { cause: e.cause, value: e.value });
        }
        self.hart.trap(e.cause, e.value);
        None
    }

    /// `ecall`: an exception from U mode, a call of the SBI from S mode.
    pub(crate) fn ecall(&mut self) -> Option<Exit> {
        if self.hart.privilege == Privilege::User || self.hart.user_only {
            return self.raise(Exception { cause: 8, value: 0 });
        }
        self.hart.pc += 4;
        self.hart.unretired = true;
        sbi::call(self)
    }

    /// `sret`.
    pub(crate) fn sret(&mut self) {
        let hart = &mut *self.hart;
        hart.sie_enabled = hart.spie;
        hart.spie = true;
        hart.privilege = hart.spp;
        hart.spp = Privilege::User;
        hart.pc = hart.sepc;
    }

    /// `sfence.vma rs1, rs2`: by page or everything. An address-space number is not used to keep anything.
    pub(crate) fn sfence_vma(&mut self, e: &Entry) {
        if e.rs1 == 0 {
            self.hart.flush_tlb();
        } else {
            let va = self.hart.x[usize::from(e.rs1 / 8)];
            self.hart.flush_tlb_page(va);
        }
    }
}
