//! What a 9p slot looks like to the guest (virtio 1.2, section 5.17 reserves the type; the layout is that of Linux's
//! *include/uapi/linux/virtio_9p.h*), and the device that stands in it until a directory is attached.

use super::virtio::queue::QueueError;
use super::virtio::{Context, VirtioDevice, read_config_bytes};

/// Device type.
pub const ID: u32 = 9;
/// `VIRTIO_9P_MOUNT_TAG`: the configuration space holds the mount tag.
pub const F_MOUNT_TAG: u64 = 1;
/// Sizes of the virtqueues: one for requests, as long as Linux's driver makes its lists.
pub const QUEUE_SIZES: &[u16] = &[128];

/// Mount tag of 9p slot `index`.
pub fn tag(index: usize) -> String {
    format!("forelift{index}")
}

/// Configuration space of 9p slot `index`: the tag's length as a little-endian u16, and the tag.
pub fn config(index: usize) -> Vec<u8> {
    let tag = tag(index);
    let mut space = (tag.len() as u16).to_le_bytes().to_vec();
    space.extend_from_slice(tag.as_bytes());
    space
}

/// A 9p device without a directory: requests wait in the queue until one is attached.
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

    fn features(&self) -> u64 {
        F_MOUNT_TAG
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
