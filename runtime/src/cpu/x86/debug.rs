//! Debug registers: breakpoints on instructions, data and ports, and single steps (SDM vol. 3 17.2, 17.3).
//!
//! They cost nothing where they are not in use. A page with watched data is in no data TLB, so that every
//! access to it takes the slow path, which compares addresses. A page with an instruction breakpoint is in no
//! instruction TLB, so that control comes to it through the dispatcher, which executes its code one
//! instruction at a time.

use super::exec::single_step;
use super::fault::{DB, Fault};
use super::flags::{RF, TF};
use super::state::{CR4_DE, Hart};
use super::{Context, Exit};
use crate::cpu::tlb::{self, LargePages};
use core::ops::ControlFlow;
use forelift_abi::layout::PAGE_SIZE;

/// Index of DR6 in [`Hart::dr`].
pub(crate) const DR6: usize = 4;
/// Index of DR7.
pub(crate) const DR7: usize = 5;
/// DR6: breakpoint `n` is bit `n`.
const DR6_BREAKPOINTS: u64 = 0xf;
/// DR6: an access to a debug register met DR7.GD.
pub(crate) const DR6_BD: u64 = 1 << 13;
/// DR7: general detect.
pub(crate) const DR7_GD: u64 = 1 << 13;

/// [`Hart::debug`]: what the trap behind the instruction will report, as in DR6.
pub(crate) const PENDING: u32 = DR6_BREAKPOINTS as u32 | STEP;
/// [`Hart::debug`]: single step, DR6.BS.
pub(crate) const STEP: u32 = 1 << 14;
/// [`Hart::debug`]: an instruction breakpoint is enabled.
const CODE: u32 = 1 << 16;
/// [`Hart::debug`]: a breakpoint on data is enabled.
const DATA: u32 = 1 << 17;
/// [`Hart::debug`]: a breakpoint on ports is enabled.
const PORTS: u32 = 1 << 18;

/// An enabled breakpoint.
#[derive(Clone, Copy)]
struct Breakpoint {
    /// Its bit in DR6.
    bit: u32,
    /// One of [`CODE`], [`DATA`] and [`PORTS`].
    kind: u32,
    /// Of data: only writes count.
    writes_only: bool,
    /// First address or port, aligned to `length`.
    start: u64,
    length: u64,
}

impl Breakpoint {
    fn overlaps(&self, start: u64, length: u64) -> bool {
        self.start.wrapping_sub(start) < length || start.wrapping_sub(self.start) < self.length
    }

    fn is_in_page_of(&self, va: u64) -> bool {
        (self.start ^ va) & !(PAGE_SIZE - 1) == 0
    }
}

impl Hart {
    /// The enabled breakpoints (SDM vol. 3 17.2.4).
    fn breakpoints(&self) -> impl Iterator<Item = Breakpoint> + use<> {
        let (dr, ports) = (self.dr, self.cr4 & CR4_DE != 0);
        (0..4).filter_map(move |n| {
            let control = dr[DR7];
            if control >> (2 * n) & 3 == 0 {
                return None;
            }
            let fields = control >> (16 + 4 * n);
            let kind = match fields & 3 {
                0 => CODE,
                2 if ports => PORTS,
                2 => return None,
                _ => DATA,
            };
            let length = match fields >> 2 & 3 {
                // An instruction is where its first byte is: other lengths are undefined.
                _ if kind == CODE => 1,
                0 => 1,
                1 => 2,
                2 => 8,
                _ => 4,
            };
            let start = dr[n] & !(length - 1);
            Some(Breakpoint { bit: 1 << n, kind, writes_only: fields & 3 == 1, start, length })
        })
    }

    /// Follows a change of the debug registers or of CR4.DE.
    pub(crate) fn update_breakpoints(&mut self) {
        self.debug &= PENDING;
        for breakpoint in self.breakpoints() {
            self.debug |= breakpoint.kind;
            if breakpoint.kind != PORTS {
                tlb::flush_page(&mut self.dtlb, &mut self.itlb, LargePages::NONE, breakpoint.start);
            }
        }
    }

    /// Whether the page of `va` must not be in the data TLB.
    pub(crate) fn has_watched_data(&self, va: u64) -> bool {
        self.debug & DATA != 0 && self.breakpoints().any(|b| b.kind == DATA && b.is_in_page_of(va))
    }

    /// Whether the page of `va` must not be in the instruction TLB.
    pub(crate) fn has_code_breakpoint(&self, va: u64) -> bool {
        self.debug & CODE != 0 && self.breakpoints().any(|b| b.kind == CODE && b.is_in_page_of(va))
    }

    /// Notes the data breakpoints that an access meets.
    #[inline]
    pub(crate) fn note_access(&mut self, va: u64, size: usize, write: bool) {
        if self.debug & DATA != 0 {
            let counts = |b: &Breakpoint| b.kind == DATA && (write || !b.writes_only);
            self.note(va, size as u64, counts);
        }
    }

    /// Notes the breakpoints on ports that `in` or `out` meets.
    #[inline]
    pub(crate) fn note_port(&mut self, port: u16, size: usize) {
        if self.debug & PORTS != 0 {
            self.note(port.into(), size as u64, |b| b.kind == PORTS);
        }
    }

    #[cold]
    fn note(&mut self, start: u64, length: u64, counts: impl Fn(&Breakpoint) -> bool) {
        let met = self.breakpoints().filter(|b| counts(b) && b.overlaps(start, length));
        let met = met.fold(0, |bits, b| bits | b.bit);
        if met != 0 {
            self.debug |= met;
            // The interpreter goes back to the dispatcher behind the instruction.
            self.code_dropped = true;
        }
    }

    /// Whether a trap is due behind the instruction.
    pub(crate) fn has_debug_trap(&self) -> bool {
        self.debug & PENDING != 0
    }

    /// Sets DR6 for an exception that `causes` bring about. The bits of breakpoints are those of this one,
    /// the others stay.
    fn tell_causes(&mut self, causes: u32) {
        self.dr[DR6] = self.dr[DR6] & !DR6_BREAKPOINTS | u64::from(causes);
    }
}

impl Context<'_> {
    /// What the dispatcher does when it cannot just run a block: traps behind the last instruction come
    /// first, then interrupts, then the breakpoint on the next instruction (SDM vol. 3 table 6-2); then that
    /// is executed alone if it has to be. `Continue`: it has not.
    #[cold]
    pub(crate) fn careful_step(&mut self) -> ControlFlow<Option<Exit>> {
        // Behind a load of SS the traps wait for one instruction (SDM vol. 3 6.8.3).
        if self.hart.has_debug_trap() && !self.hart.shadow {
            return ControlFlow::Break(self.debug_trap());
        }
        if !self.hart.inhibit
            && let Some(exit) = self.take_interrupt()
        {
            return ControlFlow::Break(Some(exit));
        }
        let rip = self.hart.rip;
        let in_page = self.hart.has_code_breakpoint(rip);
        if in_page && self.hart.rflags & RF == 0 {
            let here = self.hart.breakpoints().filter(|b| b.kind == CODE && b.start == rip);
            let causes = here.fold(0, |bits, b| bits | b.bit);
            if causes != 0 {
                self.hart.tell_causes(causes);
                return ControlFlow::Break(self.raise(Fault::plain(DB)));
            }
        }
        let stepping = self.hart.rflags & TF != 0;
        if !stepping && !in_page && !self.hart.inhibit && !self.hart.has_debug_trap() {
            // It would be cleared behind the instruction, which nothing but an instruction breakpoint can
            // tell.
            self.hart.rflags &= !RF;
            return ControlFlow::Continue(());
        }
        self.hart.trap_behind = false;
        let exit = single_step(self);
        if exit.is_none() && !self.hart.shadow {
            // A handler that was entered has cleared the flag: the trap is behind the instruction (SDM vol. 3
            // 17.3.1.4).
            if stepping && (self.hart.rflags & TF != 0 || self.hart.trap_behind) {
                self.hart.debug |= STEP;
            }
            if self.hart.has_debug_trap() {
                return ControlFlow::Break(self.debug_trap());
            }
        }
        ControlFlow::Break(exit)
    }

    /// Raises the trap that is due behind the last instruction.
    fn debug_trap(&mut self) -> Option<Exit> {
        self.hart.tell_causes(self.hart.debug & PENDING);
        self.raise(Fault::plain(DB))
    }
}
