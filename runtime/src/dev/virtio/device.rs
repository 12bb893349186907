//! The interface between a virtio device and its transport: [`VirtioDevice`], which devices implement, and
//! [`Context`], what they may touch while they work.

use super::queue::{Chain, Queue, QueueError};
use crate::host::Host;
use crate::memory::GuestMemory;

/// What a device may touch while it works.
pub struct Context<'a> {
    /// The device's virtqueues; a queue that the driver has not set up is empty.
    pub queues: &'a mut [Queue],
    /// The guest's physical memory.
    pub mem: &'a mut GuestMemory,
    /// Set by the device when its configuration space changed: the transport counts the generation and
    /// interrupts.
    pub config_changed: bool,
}

impl Context<'_> {
    /// Takes the next chain of a queue; `None` when there is none (or no such queue).
    ///
    /// # Errors
    /// When the driver broke the queue's rules.
    pub fn pop(&mut self, queue: usize) -> Result<Option<Chain>, QueueError> {
        match self.queues.get_mut(queue) {
            Some(q) => q.pop(self.mem),
            None => Ok(None),
        }
    }

    /// Gives a chain back to the driver; `written` bytes of its writable part were filled, from its start.
    ///
    /// # Errors
    /// When the used ring is no longer writable memory.
    pub fn complete(&mut self, queue: usize, chain: Chain, written: u32) -> Result<(), QueueError> {
        match self.queues.get_mut(queue) {
            Some(q) => q.complete(self.mem, chain, written),
            None => Ok(()),
        }
    }
}

/// A virtio device, without its transport.
///
/// Lifecycle, driven by the transport ([`Mmio`](super::mmio::Mmio)):
///
/// ```text
///               new / restore
///                     |
///                     v          config_read, config_write: at any time
///   +----------->  INACTIVE  <-------------------------------+
///   |                 |                                      |
///   |  reset()        | driver writes DRIVER_OK:             |
///   |                 | activate(features)                   | reset()
///   |                 v                                      |
///   +------------- ACTIVE ---- a call gave QueueError ----> BROKEN (DEVICE_NEEDS_RESET)
///                   |  ^
///                   |  +-- notify(queue, cx)   the driver made buffers available: act at once
///                   +----- service(cx, host)   from the machine's loop, never inside a guest instruction
/// ```
///
/// `notify` runs inside the guest's store instruction: it must end soon, must not block, and may leave chains
/// in the queue for a later `notify` or `service`. The device is told nothing while inactive or broken. A
/// device whose state at a snapshot is more than its queues is saved by name in [`crate::dev::Devices`]; the
/// queues are the transport's.
pub trait VirtioDevice: Send {
    /// Device type (virtio 1.2, section 5).
    fn device_id(&self) -> u32;

    /// Feature bits of this device type (0-23, 50-127 as far as a u64 goes); the transport adds its own.
    fn features(&self) -> u64 {
        0
    }

    /// Largest size of each virtqueue (powers of two); the length is the number of queues.
    fn queue_sizes(&self) -> &[u16];

    /// Fills `out` from the configuration space at `offset`; what lies beyond its end reads as zero.
    fn config_read(&self, offset: usize, out: &mut [u8]);

    /// Writes to the configuration space; most devices have nothing writable there.
    fn config_write(&mut self, _offset: usize, _data: &[u8]) {}

    /// The driver is ready; `features` is what was negotiated. Also called when a device is put into a slot
    /// whose driver is active already (after a snapshot was restored); every queue is notified afterwards.
    fn activate(&mut self, _features: u64) {}

    /// Back to the state after construction; the queues are reset by the transport.
    fn reset(&mut self) {}

    /// Buffers were made available in `queue` (always less than the number of queues).
    ///
    /// # Errors
    /// An error of the queue, passed on: the device stops until the driver resets it.
    fn notify(&mut self, queue: usize, cx: &mut Context<'_>) -> Result<(), QueueError>;

    /// Whether [`service`](Self::service) has something to do that cannot wait for the next round by the
    /// clock.
    fn wants_service(&self) -> bool {
        false
    }

    /// Work that needs the outside world; called often while the device is active.
    ///
    /// # Errors
    /// As [`notify`](Self::notify).
    fn service(&mut self, _cx: &mut Context<'_>, _host: &mut dyn Host) -> Result<(), QueueError> {
        Ok(())
    }
}

/// `config_read` for a device whose configuration space is `space`.
pub fn read_config_bytes(space: &[u8], offset: usize, out: &mut [u8]) {
    out.fill(0);
    let tail = space.get(offset..).unwrap_or_default();
    let n = tail.len().min(out.len());
    out[..n].copy_from_slice(&tail[..n]);
}

impl VirtioDevice for Box<dyn VirtioDevice> {
    fn device_id(&self) -> u32 {
        (**self).device_id()
    }
    fn features(&self) -> u64 {
        (**self).features()
    }
    fn queue_sizes(&self) -> &[u16] {
        (**self).queue_sizes()
    }
    fn config_read(&self, offset: usize, out: &mut [u8]) {
        (**self).config_read(offset, out)
    }
    fn config_write(&mut self, offset: usize, data: &[u8]) {
        (**self).config_write(offset, data)
    }
    fn activate(&mut self, features: u64) {
        (**self).activate(features)
    }
    fn reset(&mut self) {
        (**self).reset()
    }
    fn notify(&mut self, queue: usize, cx: &mut Context<'_>) -> Result<(), QueueError> {
        (**self).notify(queue, cx)
    }
    fn wants_service(&self) -> bool {
        (**self).wants_service()
    }
    fn service(&mut self, cx: &mut Context<'_>, host: &mut dyn Host) -> Result<(), QueueError> {
        (**self).service(cx, host)
    }
}
