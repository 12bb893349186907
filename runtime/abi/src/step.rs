//! Running a module in steps: for a host that must not be kept waiting, as a browser's event loop must not.
//!
//! Instead of `_start`, such a host calls the export [`STEP`] again and again: `(func (param i64) (result
//! i64))`. The argument is the time that the step may take, in nanoseconds of the host's monotonic clock; a
//! step of 0 is as short as the machine can make it. The result is a [`Step`] as a word. The first call reads
//! arguments and environment and restores the machine. A step never waits, and never calls `poll_oneoff` on a
//! host that has the [control descriptor](crate::embed::CONTROL_FD), which such a host should have. After
//! [`Step::Ended`] every call gives the same again.

/// The export's name.
pub const STEP: &str = "forelift_step";

/// Bits of the value below the kind.
const BITS: u32 = 56;
/// No end of the wait: a value that no clock reaches.
const FOR_EVER: u64 = (1 << BITS) - 1;
const AGAIN: u64 = 0;
const IDLE: u64 = 1;
const ENDED: u64 = 2;

/// What a host does after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It calls for the next, as soon as it likes.
    Again,
    /// It calls for the next after so many nanoseconds (`None`: for ever), or at once when something has
    /// come: input, a packet, a record of the control descriptor, room in a stream that had none.
    Idle(Option<u64>),
    /// Nothing: the container has ended with this exit status.
    Ended(u8),
}

impl Step {
    /// The kind in the highest byte (0 again, 1 idle, 2 ended), nanoseconds or status below it; all ones for
    /// an idle machine that waits for ever.
    pub fn to_word(self) -> u64 {
        match self {
            Step::Again => AGAIN << BITS,
            Step::Idle(ns) => IDLE << BITS | ns.unwrap_or(FOR_EVER).min(FOR_EVER),
            Step::Ended(code) => ENDED << BITS | u64::from(code),
        }
    }

    /// The inverse of [`to_word`](Self::to_word); `None` for a word that is none of its.
    pub fn from_word(word: u64) -> Option<Self> {
        let value = word & FOR_EVER;
        match word >> BITS {
            AGAIN if value == 0 => Some(Step::Again),
            IDLE => Some(Step::Idle((value != FOR_EVER).then_some(value))),
            ENDED => u8::try_from(value).ok().map(Step::Ended),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_back() {
        for step in [
            Step::Again,
            Step::Idle(None),
            Step::Idle(Some(0)),
            Step::Idle(Some(8_000_000)),
            Step::Ended(0),
            Step::Ended(255),
        ] {
            assert_eq!(Step::from_word(step.to_word()), Some(step));
        }
        assert_eq!(Step::Idle(Some(u64::MAX)).to_word(), Step::Idle(None).to_word());
        for word in [1, 2 << 56 | 256, 3 << 56, u64::MAX] {
            assert_eq!(Step::from_word(word), None);
        }
    }
}
