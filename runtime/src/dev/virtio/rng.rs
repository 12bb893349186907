//! Entropy device (virtio 1.2, section 5.4).
//!
//! Entropy comes from [`Host::random`], which a guest store cannot reach: requests stay in the queue until
//! the machine's loop calls [`VirtioDevice::service`]. So a request that was outstanding at a snapshot is
//! answered with the entropy of the new run, never with bytes that every run would share.

use super::device::{Context, VirtioDevice};
use super::queue::QueueError;
use crate::host::Host;

/// Most bytes given to one request: a driver may ask for gigabytes, and takes less.
const MOST: usize = 4096;

/// The device. See the module's documentation.
#[derive(Default)]
pub struct Rng {
    pending: bool,
}

impl Rng {
    /// Device type.
    pub const ID: u32 = 4;

    /// An entropy device.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the queue at the next service, after a restore.
    pub(crate) fn resume(&mut self) {
        self.pending = true;
    }
}

impl VirtioDevice for Rng {
    fn device_id(&self) -> u32 {
        Self::ID
    }

    fn queue_sizes(&self) -> &[u16] {
        &[8]
    }

    fn config_read(&self, _offset: usize, out: &mut [u8]) {
        out.fill(0);
    }

    fn reset(&mut self) {
        self.pending = false;
    }

    fn notify(&mut self, _queue: usize, _cx: &mut Context<'_>) -> Result<(), QueueError> {
        self.pending = true;
        Ok(())
    }

    fn wants_service(&self) -> bool {
        self.pending
    }

    fn service(&mut self, cx: &mut Context<'_>, host: &mut dyn Host) -> Result<(), QueueError> {
        self.pending = false;
        let mut bytes = [0u8; MOST];
        while let Some(chain) = cx.pop(0)? {
            let n = MOST.min(chain.writable_len() as usize);
            host.random(&mut bytes[..n]);
            let written = chain.write_at(cx.mem, 0, &bytes[..n]);
            cx.complete(0, chain, written as u32)?;
        }
        Ok(())
    }
}
