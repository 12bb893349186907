//! The atomic instructions: LR, SC and AMO.

use super::Context;
use super::entry::{Entry, Kind};
use super::exception::Exception;
use super::mmu::Access;
use super::state::sext;

impl Context<'_> {
    /// LR, SC and AMO (unprivileged manual, chapter "A").
    pub(super) fn atomic(&mut self, e: &Entry) -> Result<(), Exception> {
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
