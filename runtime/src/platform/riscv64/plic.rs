//! Platform-level interrupt controller (RISC-V PLIC specification 1.0) with one context, supervisor mode of
//! hart 0.
//!
//! All sources are level-triggered. A source's gateway passes a request on when its line is high and no
//! earlier request of it is in service; the request then stays pending until it is claimed, even when the
//! line falls (section 2 of the specification, *interrupt gateways*). Only naturally aligned 32-bit accesses
//! are served.

use crate::platform::board::Board;
use forelift_abi::layout::{VIRTIO_BASE, VIRTIO_IRQ_BASE, VIRTIO_SLOTS};
use serde::{Deserialize, Serialize};

/// Number of sources, counting source 0, which does not exist. They fit into one register of bits.
pub const SOURCES: usize = VIRTIO_IRQ_BASE as usize + VIRTIO_SLOTS;
const _: () = assert!(SOURCES <= 32);
/// Highest priority (three bits).
const MAX_PRIORITY: u32 = 7;
/// The bits of the sources that exist.
const IMPLEMENTED: u32 = ((1u64 << SOURCES) - 2) as u32;

const PRIORITY: u64 = 0;
const PENDING: u64 = 0x1000;
const ENABLE: u64 = 0x2000;
const THRESHOLD: u64 = 0x20_0000;
const CLAIM: u64 = 0x20_0004;

/// The controller's state in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlicState {
    /// Priority of each source.
    pub priority: [u8; SOURCES],
    /// Requests that wait.
    pub pending: u32,
    /// Requests that were claimed and not completed.
    pub claimed: u32,
    /// Lines that are high.
    pub level: u32,
    /// Sources that the context listens to.
    pub enable: u32,
    /// Priority that a request must exceed to interrupt.
    pub threshold: u8,
}

/// The controller.
#[derive(Clone, Debug, Default)]
pub struct Plic {
    s: PlicState,
    /// The context's interrupt line, kept up to date.
    line: bool,
}

impl Plic {
    /// A controller after reset.
    pub fn new() -> Self {
        Self::default()
    }

    fn update(&mut self) {
        self.s.pending |= self.s.level & !self.s.claimed & IMPLEMENTED;
        self.line = self.best(self.s.threshold).is_some();
    }

    /// The enabled pending source of the highest priority above `floor`, the lowest number first among
    /// equals.
    fn best(&self, floor: u8) -> Option<u32> {
        let mut best = None;
        let mut above = floor;
        let mut bits = self.s.pending & self.s.enable;
        while bits != 0 {
            let source = bits.trailing_zeros();
            bits &= bits - 1;
            let priority = self.s.priority[source as usize];
            if priority > above {
                above = priority;
                best = Some(source);
            }
        }
        best
    }

    fn claim(&mut self) -> u32 {
        // The threshold does not concern a claim; priority 0 means never.
        let Some(source) = self.best(0) else { return 0 };
        self.s.pending &= !(1 << source);
        self.s.claimed |= 1 << source;
        self.update();
        source
    }

    fn complete(&mut self, source: u32) {
        let bit = 1u32.checked_shl(source).unwrap_or(0);
        // A completion of a source that is not enabled is ignored.
        if bit & self.s.enable & self.s.claimed != 0 {
            self.s.claimed &= !bit;
            self.update();
        }
    }

    /// A load at `offset` of the window; `None` is an access fault.
    pub fn read(&mut self, offset: u64, size: u8) -> Option<u64> {
        if size != 4 || !offset.is_multiple_of(4) {
            return None;
        }
        let value = match offset {
            PRIORITY..PENDING => self.s.priority.get(offset as usize / 4).copied().unwrap_or(0).into(),
            PENDING => self.s.pending,
            ENABLE => self.s.enable,
            THRESHOLD => self.s.threshold.into(),
            CLAIM => self.claim(),
            _ => 0,
        };
        Some(value.into())
    }

    /// A store at `offset` of the window; `None` is an access fault.
    pub fn write(&mut self, offset: u64, size: u8, value: u64) -> Option<()> {
        if size != 4 || !offset.is_multiple_of(4) {
            return None;
        }
        let value = value as u32;
        match offset {
            PRIORITY..PENDING => {
                let source = offset as usize / 4;
                if source != 0
                    && let Some(p) = self.s.priority.get_mut(source)
                {
                    *p = (value & MAX_PRIORITY) as u8;
                }
            }
            ENABLE => self.s.enable = value & IMPLEMENTED,
            THRESHOLD => self.s.threshold = (value & MAX_PRIORITY) as u8,
            CLAIM => self.complete(value),
            _ => return Some(()),
        }
        self.update();
        Some(())
    }
}

impl Board for Plic {
    type State = PlicState;

    const VIRTIO_BASE: u64 = VIRTIO_BASE;
    const VIRTIO_IRQ: u32 = VIRTIO_IRQ_BASE;

    fn power_on() -> Option<Self> {
        Some(Self::new())
    }

    #[inline]
    fn interrupts(&self) -> bool {
        self.line
    }

    #[inline]
    fn set_level(&mut self, source: u32, high: bool) {
        let bit = 1u32.checked_shl(source).unwrap_or(0) & IMPLEMENTED;
        let level = if high { self.s.level | bit } else { self.s.level & !bit };
        if level != self.s.level {
            self.s.level = level;
            self.update();
        }
    }

    fn save(&self) -> PlicState {
        self.s
    }

    fn restore(state: PlicState) -> Result<Self, &'static str> {
        let beyond = (state.pending | state.claimed | state.level | state.enable) & !IMPLEMENTED;
        let high = state.priority.iter().any(|&p| u32::from(p) > MAX_PRIORITY);
        if beyond != 0 || high || u32::from(state.threshold) > MAX_PRIORITY {
            return Err("a source or priority that does not exist");
        }
        let mut plic = Plic { s: state, line: false };
        plic.update();
        Ok(plic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plic(sources: &[(u32, u32)]) -> Plic {
        let mut p = Plic::new();
        for &(source, priority) in sources {
            p.write(u64::from(source) * 4, 4, priority.into()).unwrap();
            p.write(ENABLE, 4, p.s.enable as u64 | 1 << source).unwrap();
        }
        p
    }

    fn claim(p: &mut Plic) -> u64 {
        p.read(CLAIM, 4).unwrap()
    }

    #[test]
    fn highest_priority_first_then_lowest_number() {
        let mut p = plic(&[(1, 1), (5, 3), (9, 3), (2, 0)]);
        for source in [2, 9, 1, 5] {
            p.set_level(source, true);
        }
        assert!(p.interrupts());
        assert_eq!([claim(&mut p), claim(&mut p), claim(&mut p), claim(&mut p)], [5, 9, 1, 0]);
        assert!(!p.interrupts());
    }

    #[test]
    fn level_comes_again_after_completion_only() {
        let mut p = plic(&[(3, 1)]);
        p.set_level(3, true);
        assert_eq!(claim(&mut p), 3);
        p.set_level(3, false);
        p.set_level(3, true);
        assert_eq!(claim(&mut p), 0, "in service");
        p.write(CLAIM, 4, 3).unwrap();
        assert!(p.interrupts());
        assert_eq!(claim(&mut p), 3);
        p.set_level(3, false);
        p.write(CLAIM, 4, 3).unwrap();
        assert!(!p.interrupts());
    }

    #[test]
    fn pending_outlives_the_line_and_disabled_completion_is_ignored() {
        let mut p = plic(&[(3, 1)]);
        p.set_level(3, true);
        p.set_level(3, false);
        assert_eq!(claim(&mut p), 3);
        p.write(ENABLE, 4, 0).unwrap();
        p.write(CLAIM, 4, 3).unwrap();
        p.write(ENABLE, 4, 8).unwrap();
        p.set_level(3, true);
        assert!(!p.interrupts(), "completion while disabled must not count");
        p.write(CLAIM, 4, 3).unwrap();
        assert!(p.interrupts());
    }

    #[test]
    fn threshold_masks_the_line_and_not_the_claim() {
        let mut p = plic(&[(4, 2)]);
        p.set_level(4, true);
        p.write(THRESHOLD, 4, 2).unwrap();
        assert!(!p.interrupts());
        p.write(THRESHOLD, 4, 1).unwrap();
        assert!(p.interrupts());
        p.write(THRESHOLD, 4, 7).unwrap();
        assert_eq!(claim(&mut p), 4);
    }

    #[test]
    fn odd_accesses_and_numbers() {
        let mut p = plic(&[]);
        assert_eq!(p.read(CLAIM, 8), None);
        assert_eq!(p.read(2, 4), None);
        assert_eq!(p.write(0, 1, 0), None);
        p.set_level(0, true);
        p.set_level(31, true);
        p.set_level(4000, true);
        p.write(0, 4, 7).unwrap();
        p.write(ENABLE, 4, u64::MAX).unwrap();
        p.write(CLAIM, 4, 0xffff_ffff).unwrap();
        assert_eq!(p.read(PENDING, 4), Some(0));
        assert_eq!(p.read(ENABLE, 4), Some(u64::from(IMPLEMENTED)));
        assert_eq!(p.read(0, 4), Some(0));
        for offset in (0..0x40_0000).step_by(0x7fc) {
            p.read(offset & !3, 4).unwrap();
        }
    }

    #[test]
    fn saved_state_is_checked() {
        let mut p = plic(&[(1, 1), (16, 7)]);
        p.set_level(16, true);
        let back = Plic::restore(p.save()).unwrap();
        assert_eq!(back.save(), p.save());
        assert!(back.interrupts());
        for bad in [
            PlicState { pending: 1, ..p.save() },
            PlicState { enable: 1 << 31, ..p.save() },
            PlicState { threshold: 8, ..p.save() },
            PlicState { priority: [9; SOURCES], ..p.save() },
        ] {
            assert!(Plic::restore(bad).is_err());
        }
    }
}
