//! Control and status registers of S and U mode (Privileged 2, 4.1; Sstc; Zicntr; F).

use super::Context;
use super::entry::Entry;
use super::exception::Exception;
use super::fields::{COUNTERS, FIOM, INTERRUPTS, SEIP, SSIP, STIP, legal_stvec};
use super::state::{Hart, Privilege};

const SIE: u64 = 1 << 1;
const SPIE: u64 = 1 << 5;
const SPP: u64 = 1 << 8;
const FS_SHIFT: u32 = 13;
const SUM: u64 = 1 << 18;
const MXR: u64 = 1 << 19;
/// `sstatus.UXL` = 2: U mode is 64 bits wide, always.
const UXL: u64 = 2 << 32;
const SD: u64 = 1 << 63;

impl Hart {
    /// `sip`.
    pub(crate) fn pending(&self) -> u64 {
        self.sip | if self.timer_pending { STIP } else { 0 } | if self.external_pending { SEIP } else { 0 }
    }

    pub(crate) fn sstatus(&self) -> u64 {
        UXL | if self.sie_enabled { SIE } else { 0 }
            | if self.spie { SPIE } else { 0 }
            | if self.spp == Privilege::Supervisor { SPP } else { 0 }
            | u64::from(self.fs) << FS_SHIFT
            | if self.sum { SUM } else { 0 }
            | if self.mxr { MXR } else { 0 }
            | if self.fs == 3 { SD } else { 0 }
    }

    /// Writes `sstatus`; tells whether cached translations may be wrong now.
    pub(crate) fn set_sstatus(&mut self, value: u64) {
        self.sie_enabled = value & SIE != 0;
        self.spie = value & SPIE != 0;
        self.spp = if value & SPP != 0 { Privilege::Supervisor } else { Privilege::User };
        self.fs = (value >> FS_SHIFT & 3) as u8;
        self.set_sum(value & SUM != 0);
        let mxr = value & MXR != 0;
        if mxr != self.mxr {
            // Read permissions are folded into the TLB's tags.
            self.mxr = mxr;
            self.flush_tlb();
        }
    }

    /// Writes `satp`. An unknown mode leaves it unchanged (Privileged 4.1.11).
    fn set_satp(&mut self, value: u64) {
        let mode = value >> 60;
        if mode != 0 && !(8..=u64::from(self.max_satp_mode)).contains(&mode) {
            return;
        }
        let value = if mode == 0 { 0 } else { value };
        if value == self.satp {
            return;
        }
        let switches_mode = value >> 60 != self.satp >> 60;
        self.satp = value;
        if switches_mode { self.flush_tlb() } else { self.flush_tlb_local() }
    }
}

impl Context<'_> {
    fn time(&mut self) -> u64 {
        self.bus.time(self.hart.instret)
    }

    /// Value of a CSR, or `None` when there is none at the privilege in force.
    fn read_csr(&mut self, number: u32) -> Option<u64> {
        let user = self.hart.privilege == Privilege::User;
        if user && number >> 8 & 3 != 0 {
            return None;
        }
        if matches!(number, 0xc00..=0xc02) && user && self.hart.scounteren >> (number & 31) & 1 == 0 {
            return None;
        }
        if matches!(number, 1..=3) && self.hart.fs == 0 {
            return None;
        }
        Some(match number {
            0x001 => u64::from(self.hart.fflags),
            0x002 => u64::from(self.hart.frm),
            0x003 => u64::from(self.hart.frm) << 5 | u64::from(self.hart.fflags),
            0xc00 | 0xc02 => self.hart.instret,
            0xc01 => self.time(),
            0x100 => self.hart.sstatus(),
            0x104 => self.hart.sie,
            0x105 => self.hart.stvec,
            0x106 => self.hart.scounteren,
            0x10a => self.hart.senvcfg,
            0x140 => self.hart.sscratch,
            0x141 => self.hart.sepc,
            0x142 => self.hart.scause,
            0x143 => self.hart.stval,
            0x144 => {
                let now = self.time();
                self.hart.update_timer(now);
                self.hart.external_pending = self.bus.external_interrupt();
                self.hart.pending()
            }
            0x14d => self.hart.stimecmp,
            0x180 => self.hart.satp,
            _ => return None,
        })
    }

    /// Writes a CSR that `read_csr` knows. True when the next instruction has to be found anew.
    fn write_csr(&mut self, number: u32, value: u64) -> bool {
        let hart = &mut *self.hart;
        match number {
            0x001..=0x003 => {
                match number {
                    0x001 => hart.fflags = (value & 0x1f) as u8,
                    0x002 => hart.frm = (value & 7) as u8,
                    _ => {
                        hart.fflags = (value & 0x1f) as u8;
                        hart.frm = (value >> 5 & 7) as u8;
                    }
                }
                hart.fs = 3;
                false
            }
            0x100 => {
                hart.set_sstatus(value);
                hart.interrupt().is_some()
            }
            0x104 => {
                hart.sie = value & INTERRUPTS;
                hart.sie_enabled
            }
            0x105 => {
                hart.stvec = legal_stvec(value);
                false
            }
            0x106 => {
                hart.scounteren = value & COUNTERS;
                false
            }
            0x10a => {
                hart.senvcfg = value & FIOM;
                false
            }
            0x140 => {
                hart.sscratch = value;
                false
            }
            0x141 => {
                hart.sepc = value & !1;
                false
            }
            0x142 => {
                hart.scause = value;
                false
            }
            0x143 => {
                hart.stval = value;
                false
            }
            0x144 => {
                hart.sip = value & SSIP;
                hart.sie_enabled
            }
            0x14d => {
                hart.stimecmp = value;
                let now = self.time();
                self.hart.update_timer(now);
                self.hart.sie_enabled && self.hart.timer_pending
            }
            0x180 => {
                hart.set_satp(value);
                true
            }
            _ => false,
        }
    }

    /// Executes a Zicsr instruction; true when the next one has to be found anew.
    pub(crate) fn csr(&mut self, e: &Entry) -> Result<bool, Exception> {
        let number = e.imm as u32 & 0xfff;
        let (funct3, source_number, rd) = (e.target, e.rs1, usize::from(e.rd / 8));
        let source = match funct3 {
            1..=3 => self.hart.x[usize::from(source_number / 8)],
            _ => u64::from(source_number),
        };
        let set_or_clear = funct3 & 2 != 0;
        let writes = !set_or_clear || source_number != 0;
        let read_only = number >> 10 == 3;
        let old = match self.read_csr(number) {
            Some(old) if !(writes && read_only) => old,
            _ => return Err(self.illegal_csr(e)),
        };
        let mut again = false;
        if writes {
            let old_for_write = if number == 0x144 { self.hart.sip } else { old };
            let value = match funct3 & 3 {
                1 => source,
                2 => old_for_write | source,
                _ => old_for_write & !source,
            };
            again = self.write_csr(number, value);
        }
        if rd != 0 {
            self.hart.x[rd] = old;
        }
        Ok(again)
    }

    fn illegal_csr(&self, e: &Entry) -> Exception {
        let rs1 = if e.target >= 5 { e.rs1 } else { e.rs1 / 8 };
        let bits = (e.imm as u32 & 0xfff) << 20
            | u32::from(rs1) << 15
            | e.target << 12
            | u32::from(e.rd / 8) << 7
            | 0x73;
        Exception { cause: 2, value: u64::from(bits) }
    }
}
