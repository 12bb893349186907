//! Virtio 1.2 devices behind the memory-mapped transport.
//!
//! * [`mmio`]: the transport: registers, feature negotiation, status, interrupts (virtio 1.2, section 4.2);
//! * [`queue`]: split virtqueues with every check a hostile driver makes necessary (section 2.7);
//! * [`console`], [`blk`], [`rng`], [`fs`]: the devices (sections 5.3, 5.2, 5.4, 5.11).
//!
//! A device never sees a register: it gets its queues, the guest's memory and a call when something happened.
//! It never raises an interrupt: it completes chains, and the transport asks the queues afterwards whether
//! the driver wants one.

pub mod blk;
pub mod console;
pub mod device;
mod features;
pub mod fs;
pub mod mmio;
pub mod queue;
pub mod rng;

pub use device::{Context, VirtioDevice, read_config_bytes};
pub use features::{F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1};
pub use queue::{Chain, Queue, QueueError, Span};
