//! Debug registers: breakpoints on instructions, data and ports, and single steps (SDM vol. 3 17.2, 17.3).
//!
//! They cost nothing where they are not in use. A page with watched data is in no data TLB, so that every
//! access to it takes the slow path, which compares addresses. A page with an instruction breakpoint is in no
//! instruction TLB, so that control comes to it through the run loop, which executes its code one
//! instruction at a time.

use super::fault::{DB, Fault};
use super::state::{CR4_DE, DR6_BREAKPOINTS, PENDING, Vcpu};
use super::{Context, Exit};
use crate::cpu::tlb::{self, LargePages};
use forelift_abi::layout::PAGE_SIZE;

/// Index of DR6 in [`Vcpu::dr`].
pub(crate) const DR6: usize = 4;
/// Index of DR7.
pub(crate) const DR7: usize = 5;
/// DR6: an access to a debug register met DR7.GD.
pub(crate) const DR6_BD: u64 = 1 << 13;
/// DR7: general detect.
pub(crate) const DR7_GD: u64 = 1 << 13;

/// [`Vcpu::debug`]: an instruction breakpoint is enabled.
const CODE: u32 = 1 << 16;
/// [`Vcpu::debug`]: a breakpoint on data is enabled.
const DATA: u32 = 1 << 17;
/// [`Vcpu::debug`]: a breakpoint on ports is enabled.
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

impl Vcpu {
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

    /// The instruction breakpoints at `rip`, as in DR6.
    pub(super) fn code_breakpoints(&self, rip: u64) -> u32 {
        let here = self.breakpoints().filter(|b| b.kind == CODE && b.start == rip);
        here.fold(0, |bits, b| bits | b.bit)
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
            // The interpreter goes back to the dispatcher after the instruction.
            self.code_dropped = true;
        }
    }

    /// Whether a trap is due after the instruction.
    pub(crate) fn has_debug_trap(&self) -> bool {
        self.debug & PENDING != 0
    }

    /// Sets DR6 for an exception that `causes` bring about. The bits of breakpoints are those of this one,
    /// the others stay.
    pub(super) fn tell_causes(&mut self, causes: u32) {
        self.dr[DR6] = self.dr[DR6] & !DR6_BREAKPOINTS | u64::from(causes);
    }
}

impl Context<'_> {
    /// Raises the trap that is due after the last instruction.
    pub(super) fn debug_trap(&mut self) -> Option<Exit> {
        self.vcpu.tell_causes(self.vcpu.debug & PENDING);
        self.raise(Fault::plain(DB))
    }
}
