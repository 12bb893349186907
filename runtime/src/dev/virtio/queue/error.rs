//! What a driver can do wrong with a virtqueue (virtio 1.2, section 2.7).

use thiserror::Error;

/// Most descriptors in one chain, direct or in an indirect table.
pub const MAX_CHAIN: usize = 1024;

/// How a driver broke a virtqueue.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum QueueError {
    /// A ring or table is not in memory.
    #[error("virtqueue: {what} at {addr:#x} is not in guest memory")]
    Address {
        /// Which part.
        what: &'static str,
        /// Guest physical address.
        addr: u64,
    },
    /// More buffers available than the queue holds.
    #[error("virtqueue: available index {index} is too far from {expected}")]
    AvailIndex {
        /// Index in the ring.
        index: u16,
        /// The device's own index.
        expected: u16,
    },
    /// A descriptor index outside of its table.
    #[error("virtqueue: descriptor {index} is outside of a table of {size}")]
    DescIndex {
        /// The index.
        index: u16,
        /// Entries in the table.
        size: u32,
    },
    /// A chain that does not end, or that is longer than its table.
    #[error("virtqueue: the chain at descriptor {head} has a loop or more than {MAX_CHAIN} parts")]
    Loop {
        /// First descriptor.
        head: u16,
    },
    /// Indirect descriptors used against the rules of section 2.7.5.3.
    #[error("virtqueue: bad indirect descriptor in the chain at {head}: {why}")]
    Indirect {
        /// First descriptor.
        head: u16,
        /// The rule.
        why: &'static str,
    },
    /// A device-readable buffer after a device-writable one.
    #[error("virtqueue: a readable buffer follows a writable one in the chain at {head}")]
    Order {
        /// First descriptor.
        head: u16,
    },
    /// A chain of 4 GiB or more.
    #[error("virtqueue: the chain at {head} is 4 GiB or longer")]
    TooLong {
        /// First descriptor.
        head: u16,
    },
    /// The driver set up the queue wrongly.
    #[error("virtqueue: {0}")]
    Setup(&'static str),
    /// The request inside a well-formed chain makes no sense and cannot be answered.
    #[error("virtqueue: request refused: {0}")]
    Request(&'static str),
}
