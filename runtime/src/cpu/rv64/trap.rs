//! Exceptions, interrupts and the return from them (Privileged 4.1, 4.2). Everything is taken in S mode.

use super::entry::Entry;
use super::exception::Exception;
use super::fields::{SEIP, SSIP, STIP};
use super::state::{Hart, Privilege};
use super::{Context, Exit, sbi};

impl Hart {
    /// Enters the trap handler.
    pub(crate) fn trap(&mut self, cause: u64, value: u64) {
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

    /// `sret`.
    pub(crate) fn sret(&mut self) {
        self.sie_enabled = self.spie;
        self.spie = true;
        self.privilege = self.spp;
        self.spp = Privilege::User;
        self.pc = self.sepc;
    }

    /// The code of the interrupt that is due: the most important one that is pending and enabled.
    pub(crate) fn interrupt(&self) -> Option<u64> {
        let enabled = self.privilege == Privilege::User || self.sie_enabled;
        let pending = self.pending() & self.sie;
        if !enabled || pending == 0 || self.user_only {
            return None;
        }
        // Privileged 4.1.3: external, software, timer.
        let order = [(SEIP, 9), (SSIP, 1), (STIP, 5)];
        order.iter().find(|(bit, _)| pending & bit != 0).map(|&(_, code)| code)
    }

    /// Whether `wfi` ends: an interrupt is pending and enabled in `sie`, whatever `sstatus.SIE` says.
    pub fn wakes(&self) -> bool {
        self.pending() & self.sie != 0
    }
}

impl Context<'_> {
    /// Takes the most important pending interrupt, if interrupts are enabled.
    pub(crate) fn take_interrupt(&mut self) {
        if let Some(code) = self.hart.interrupt() {
            self.hart.trap(1 << 63 | code, 0);
        }
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

    /// `sfence.vma rs1, rs2`: one page, everything, or, with the number of an address space, all but global
    /// pages (Privileged 4.2.1). The number itself is not used to keep anything.
    pub(crate) fn sfence_vma(&mut self, e: &Entry) {
        let names_space = e.target >> 20 & 31 != 0;
        match e.rs1 {
            0 if names_space => self.hart.flush_tlb_local(),
            0 => self.hart.flush_tlb(),
            rs1 => {
                let va = self.hart.x[usize::from(rs1 / 8)];
                self.hart.flush_tlb_page(va);
            }
        }
    }
}
