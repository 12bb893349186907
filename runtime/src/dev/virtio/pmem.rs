//! Persistent memory device (virtio 1.2, section 5.19): the window that holds the root file system image.
//!
//! The guest maps the window itself; the only request is *flush*. The image is read-only, so there is never anything to
//! flush and the answer is always success. A guest that writes to the window gets an access fault from the memory map.

use super::queue::QueueError;
use super::{Context, VirtioDevice, read_config_bytes};

const REQUEST_FLUSH: u32 = 0;
const RESPONSE_OK: u32 = 0;
const RESPONSE_ERROR: u32 = 1;

/// The device. See the module's documentation.
pub struct Pmem {
    config: [u8; 16],
}

impl Pmem {
    /// Device type.
    pub const ID: u32 = 27;

    /// A window of `size` bytes at guest physical address `start`.
    pub fn new(start: u64, size: u64) -> Self {
        let mut config = [0; 16];
        config[..8].copy_from_slice(&start.to_le_bytes());
        config[8..].copy_from_slice(&size.to_le_bytes());
        Pmem { config }
    }
}

impl VirtioDevice for Pmem {
    fn device_id(&self) -> u32 {
        Self::ID
    }

    fn queue_sizes(&self) -> &[u16] {
        &[64]
    }

    fn config_read(&self, offset: usize, out: &mut [u8]) {
        read_config_bytes(&self.config, offset, out);
    }

    fn notify(&mut self, queue: usize, cx: &mut Context<'_>) -> Result<(), QueueError> {
        while let Some(chain) = cx.pop(queue)? {
            let mut request = [0u8; 4];
            let whole = chain.read_at(cx.mem, 0, &mut request) == request.len();
            let known = whole && u32::from_le_bytes(request) == REQUEST_FLUSH;
            let answer = if known { RESPONSE_OK } else { RESPONSE_ERROR };
            let written = chain.write_at(cx.mem, 0, &answer.to_le_bytes());
            cx.complete(queue, chain, written as u32)?;
        }
        Ok(())
    }
}
