//! Why a processor stops, whatever the guest.

/// Why a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The budget is used up.
    Budget,
    /// The processor waits for an interrupt.
    Idle,
    /// The guest asked to be switched off (false) or reset (true).
    Shutdown {
        /// Reset instead of power off.
        reset: bool,
        /// The guest gave a failure as its reason, or failed.
        failed: bool,
    },
    /// An exception that nobody in the guest takes: user-mode tests.
    Trap,
}
