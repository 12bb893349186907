//! What a slot for a host directory looks like to the guest: a virtio file system device (virtio 1.2, section
//! 5.11), and the device that stands in it until a directory is attached.

use crate::dev::virtio::device::{Context, VirtioDevice, read_config_bytes};
use crate::dev::virtio::queue::QueueError;

/// Device type.
pub const ID: u32 = 26;
/// Sizes of the virtqueues: one for what must not wait (Linux sends `FUSE_FORGET` there), one for requests.
/// Linux puts as many pages into a request as the queue is long, less four.
pub const QUEUE_SIZES: &[u16] = &[64, 256];
/// Length of the tag in the configuration space in bytes, NULs included.
const TAG_SIZE: usize = 36;

/// Mount tag of slot `index`.
pub fn tag(index: usize) -> String {
    format!("forelift{index}")
}

/// Configuration space of slot `index`: the tag, and the number of request queues.
pub fn config(index: usize) -> Vec<u8> {
    let mut space = tag(index).into_bytes();
    space.resize(TAG_SIZE, 0);
    space.extend_from_slice(&1u32.to_le_bytes());
    space
}

/// A device without a directory: requests wait in the queue until one is attached.
pub struct Detached {
    config: Vec<u8>,
}

impl Detached {
    /// The device of slot `index`.
    pub fn new(index: usize) -> Self {
        Detached { config: config(index) }
    }
}

impl VirtioDevice for Detached {
    fn device_id(&self) -> u32 {
        ID
    }

    fn queue_sizes(&self) -> &[u16] {
        QUEUE_SIZES
    }

    fn config_read(&self, offset: usize, out: &mut [u8]) {
        read_config_bytes(&self.config, offset, out);
    }

    fn notify(&mut self, _queue: usize, _cx: &mut Context<'_>) -> Result<(), QueueError> {
        Ok(())
    }
}
