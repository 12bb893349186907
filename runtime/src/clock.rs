//! The guest's clock, in ticks of 100 ns: riscv64's `time` CSR counts them, x86_64's time-stamp counter
//! counts nanoseconds.
//!
//! During conversion time is virtual: it follows the instructions retired and jumps over idle waits, so that
//! the same input gives the same snapshot, bit for bit. From the start of a run it follows the host's
//! monotonic clock, beginning where the snapshot stopped: the guest sees neither a gap nor a jump.

use crate::host::Host;
use forelift_abi::layout::TIMEBASE_HZ;

/// Nanoseconds in a tick.
pub const TICK_NS: u64 = 1_000_000_000 / TIMEBASE_HZ;
/// Virtual time: instructions per tick. 20 make a machine of 200 MIPS, whatever the host.
const INSTRUCTIONS_PER_TICK: u64 = 20;

/// What a guest that has nothing to do makes of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It is over.
    Over,
    /// Nanoseconds to wait; `None` for ever.
    Wait(Option<u64>),
}

/// Source of the `time` CSR.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// Ticks are instructions retired, plus what idle waits skipped.
    Virtual {
        /// Ticks skipped.
        skipped: u64,
    },
    /// Ticks are the host's.
    Host {
        /// Monotonic time in ns at which the clock showed `ticks`.
        since_ns: u64,
        /// Ticks then.
        ticks: u64,
    },
}

impl Clock {
    /// Virtual time from 0.
    pub fn new_virtual() -> Self {
        Clock::Virtual { skipped: 0 }
    }

    /// Virtual time that shows `ticks` when `instret` instructions have retired.
    pub fn virtual_from(ticks: u64, instret: u64) -> Self {
        Clock::Virtual { skipped: ticks.wrapping_sub(instret / INSTRUCTIONS_PER_TICK) }
    }

    /// The host's time, showing `ticks` now.
    pub fn from_host(host: &mut dyn Host, ticks: u64) -> Self {
        Clock::Host { since_ns: host.monotonic_ns(), ticks }
    }

    /// Ticks now.
    pub fn ticks(&self, host: &mut dyn Host, instret: u64) -> u64 {
        match *self {
            Clock::Virtual { skipped } => skipped.wrapping_add(instret / INSTRUCTIONS_PER_TICK),
            Clock::Host { since_ns, ticks } => {
                ticks.wrapping_add(host.monotonic_ns().saturating_sub(since_ns) / TICK_NS)
            }
        }
    }

    /// Nanoseconds now: what [`Clock::ticks`] counts, but finer.
    pub fn ns(&self, host: &mut dyn Host, instret: u64) -> u64 {
        match *self {
            Clock::Virtual { skipped } => skipped
                .wrapping_mul(TICK_NS)
                .wrapping_add(instret.wrapping_mul(TICK_NS / INSTRUCTIONS_PER_TICK)),
            Clock::Host { since_ns, ticks } => {
                ticks.wrapping_mul(TICK_NS).wrapping_add(host.monotonic_ns().saturating_sub(since_ns))
            }
        }
    }

    /// Ticks now, rounded up: a machine that goes on from them sees no moment twice.
    pub fn ticks_ahead(&self, host: &mut dyn Host, instret: u64) -> u64 {
        match *self {
            Clock::Virtual { skipped } => skipped.wrapping_add(instret.div_ceil(INSTRUCTIONS_PER_TICK)),
            Clock::Host { since_ns, ticks } => {
                ticks.wrapping_add(host.monotonic_ns().saturating_sub(since_ns).div_ceil(TICK_NS))
            }
        }
    }

    /// How long to wait until the clock shows `until`, unless something happens before. Virtual time just
    /// jumps there.
    pub fn idle(&mut self, now: u64, until: u64) -> Idle {
        match self {
            Clock::Virtual { skipped } if until != u64::MAX => {
                *skipped = skipped.wrapping_add(until.saturating_sub(now));
                Idle::Over
            }
            Clock::Virtual { .. } => Idle::Wait(Some(0)),
            Clock::Host { .. } => {
                Idle::Wait((until != u64::MAX).then(|| until.saturating_sub(now).saturating_mul(TICK_NS)))
            }
        }
    }
}
