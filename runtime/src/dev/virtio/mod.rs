//! Virtio devices (virtio 1.2) with the memory-mapped transport.
//!
//! | file | what it holds | section |
//! |---|---|---|
//! | [`device`] | [`VirtioDevice`], the trait of all devices, with its lifecycle | 2.1 |
//! | [`mmio`] | the transport: registers, feature negotiation, status, interrupts | 4.2 |
//! | [`queue`] | split virtqueues, with every check that a hostile driver makes necessary | 2.7 |
//! | [`console`] | console with ports: the control protocol and the standard streams | 5.3 |
//! | [`blk`] | block device: the root file system | 5.2 |
//! | [`rng`] | entropy | 5.4 |
//! | [`net`] | network interface | 5.1 |
//! | [`fs`] | file system: a host directory, served by [`crate::dev::fuse`] | 5.11 |
//!
//! A device never sees a register: it gets its queues, the guest's memory and a call when something happened.
//! It never raises an interrupt: it completes chains, and the transport asks the queues afterwards whether
//! the driver wants one.
//!
//! # How to add a device
//!
//! 1. *The device* is a type that implements [`VirtioDevice`], in a file here, or a directory with its tests
//!    when it is large. [`rng`] is the shortest example. What can be done at once is done in `notify`, inside
//!    of the guest's store instruction. What needs the host sets a mark that `wants_service` tells, and is
//!    done in `service`. A device gives up only by a [`QueueError`], which breaks it until the driver resets
//!    it; a request that makes no sense gets the answer that the standard has for it.
//! 2. *Its slot* is a constant in [`crate::dev`], a field of [`Devices`](crate::dev::Devices), and an arm in
//!    its `slot` and `slot_mut`. Address and interrupt follow from the slot's number; the device tree and the
//!    kernel's command line name all slots that hold a device. The table in [`crate::dev`] gets a line.
//! 3. *The snapshot* has the transport and the queues of each slot already. State beyond them is saved by
//!    name in [`DevicesState`](crate::dev::DevicesState), and checked when it is restored: a snapshot is
//!    untrusted. A snapshot cannot gain devices: what is there only at a start (a directory, a network) needs
//!    a device without it in the slot from boot on, which [`Mmio::replace`](mmio::Mmio::replace) exchanges
//!    for the real one, as [`fs::share::Detached`] is, or [`net::Net`] that leads nowhere.
//! 4. *Tests* drive it as a guest would, through registers and rings: `dev/testing.rs` is the driver,
//!    `dev/tests.rs` has a test for each device. The fuzz target `virtqueues` reaches every slot.
//! 5. *The guest* needs a driver: `kernel-config/common.config`.

pub mod blk;
pub mod console;
pub mod device;
mod features;
pub mod fs;
pub mod mmio;
pub mod net;
pub mod queue;
pub mod rng;

pub use device::{Context, VirtioDevice, read_config_bytes};
pub use features::{F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1};
pub use queue::{Chain, Queue, QueueError, Span};
