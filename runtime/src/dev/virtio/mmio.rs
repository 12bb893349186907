//! The memory-mapped transport (virtio 1.2, section 4.2), modern interface (version 2) only.
//!
//! Wide and misaligned accesses to the registers below 0x100 are access faults, as on hardware; the
//! configuration space after them takes any naturally aligned size. What a driver does out of order is
//! ignored where the standard leaves it open, and breaks the device (`DEVICE_NEEDS_RESET`) where it forbids
//! it. Queue reset (`QueueReset`) and shared memory regions are not offered.

use serde::{Deserialize, Serialize};

use super::device::{Context, VirtioDevice};
use super::features::{F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1};
use super::queue::{Queue, QueueError, QueueState};
use crate::host::Host;
use crate::memory::GuestMemory;

/// "virt", little-endian.
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// "FLFT": section 4.2.2 leaves the vendor to the implementation.
const VENDOR: u32 = 0x5446_4c46;
const TRANSPORT_FEATURES: u64 = F_VERSION_1 | F_INDIRECT_DESC | F_EVENT_IDX;
const CONFIG: u64 = 0x100;

/// Device status bits (section 2.1).
pub mod status {
    /// The guest has found the device.
    pub const ACKNOWLEDGE: u32 = 1;
    /// The guest has a driver for it.
    pub const DRIVER: u32 = 2;
    /// The driver works.
    pub const DRIVER_OK: u32 = 4;
    /// Features are agreed on.
    pub const FEATURES_OK: u32 = 8;
    /// The device has given up.
    pub const NEEDS_RESET: u32 = 64;
    /// The driver has given up.
    pub const FAILED: u32 = 128;
}

/// Register offsets (section 4.2.2).
pub mod reg {
    #![allow(missing_docs, reason = "the names are the standard's")]
    pub const MAGIC_VALUE: u64 = 0x00;
    pub const VERSION: u64 = 0x04;
    pub const DEVICE_ID: u64 = 0x08;
    pub const VENDOR_ID: u64 = 0x0c;
    pub const DEVICE_FEATURES: u64 = 0x10;
    pub const DEVICE_FEATURES_SEL: u64 = 0x14;
    pub const DRIVER_FEATURES: u64 = 0x20;
    pub const DRIVER_FEATURES_SEL: u64 = 0x24;
    pub const QUEUE_SEL: u64 = 0x30;
    pub const QUEUE_NUM_MAX: u64 = 0x34;
    pub const QUEUE_NUM: u64 = 0x38;
    pub const QUEUE_READY: u64 = 0x44;
    pub const QUEUE_NOTIFY: u64 = 0x50;
    pub const INTERRUPT_STATUS: u64 = 0x60;
    pub const INTERRUPT_ACK: u64 = 0x64;
    pub const STATUS: u64 = 0x70;
    pub const QUEUE_DESC_LOW: u64 = 0x80;
    pub const QUEUE_DESC_HIGH: u64 = 0x84;
    pub const QUEUE_DRIVER_LOW: u64 = 0x90;
    pub const QUEUE_DRIVER_HIGH: u64 = 0x94;
    pub const QUEUE_DEVICE_LOW: u64 = 0xa0;
    pub const QUEUE_DEVICE_HIGH: u64 = 0xa4;
    pub const SHM_LEN_LOW: u64 = 0xb0;
    pub const SHM_BASE_HIGH: u64 = 0xbc;
    pub const CONFIG_GENERATION: u64 = 0xfc;
}

const INTERRUPT_USED: u32 = 1;
const INTERRUPT_CONFIG: u32 = 2;

/// A transport's state in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MmioState {
    /// Device type, to check that the same device comes back.
    pub device_id: u32,
    /// Word of the device's features that the driver looks at.
    pub device_features_sel: u32,
    /// Word of the driver's features that the driver writes.
    pub driver_features_sel: u32,
    /// Features that the driver accepts.
    pub driver_features: u64,
    /// Queue that the queue registers mean.
    pub queue_sel: u32,
    /// Device status.
    pub status: u32,
    /// Interrupt status.
    pub interrupt: u32,
    /// Generation of the configuration space.
    pub generation: u32,
    /// The virtqueues.
    pub queues: Vec<QueueState>,
}

/// A device with its transport.
pub struct Mmio<D: ?Sized> {
    regs: MmioState,
    queues: Vec<Queue>,
    failure: Option<QueueError>,
    device: D,
}

impl<D: VirtioDevice> Mmio<D> {
    /// A device nobody has looked at.
    pub fn new(device: D) -> Self {
        let queues = device.queue_sizes().iter().map(|&n| Queue::new(n)).collect();
        let regs = MmioState {
            device_id: device.device_id(),
            device_features_sel: 0,
            driver_features_sel: 0,
            driver_features: 0,
            queue_sel: 0,
            status: 0,
            interrupt: 0,
            generation: 0,
            queues: Vec::new(),
        };
        Mmio { regs, queues, failure: None, device }
    }

    /// Puts another device of the same shape in this one's place; the driver does not notice. Gives the new
    /// device back when it is of another shape (type, features, queues).
    ///
    /// # Errors
    /// The refused device.
    pub fn replace(&mut self, device: D, mem: &mut GuestMemory) -> Result<(), D> {
        let same = device.device_id() == self.device.device_id()
            && device.features() == self.device.features()
            && device.queue_sizes() == self.device.queue_sizes();
        if !same {
            return Err(device);
        }
        self.device = device;
        if self.is_active() {
            self.device.activate(self.regs.driver_features);
            self.notify_all(mem);
        }
        Ok(())
    }
}

impl<D: VirtioDevice + ?Sized> Mmio<D> {
    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device, for what is not the driver's business.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Whether the driver is ready and the device works.
    pub fn is_active(&self) -> bool {
        self.regs.status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK
    }

    /// Why the device waits for a reset, if it does.
    pub fn failure(&self) -> Option<QueueError> {
        self.failure
    }

    /// The interrupt line.
    pub fn interrupt_level(&self) -> bool {
        self.regs.interrupt != 0
    }

    /// Number of chains that wait in `queue`.
    pub fn available(&self, queue: usize, mem: &GuestMemory) -> u16 {
        let Some(q) = self.queues.get(queue) else { return 0 };
        if self.is_active() { q.available(mem).unwrap_or(0) } else { 0 }
    }

    fn offered(&self) -> u64 {
        self.device.features() | TRANSPORT_FEATURES
    }

    fn features_ok(&self) -> bool {
        self.regs.status & status::FEATURES_OK != 0
    }

    fn selected(&self) -> Option<&Queue> {
        self.queues.get(self.regs.queue_sel as usize)
    }

    /// A load of `size` bytes at `offset` of the device's window; `None` is an access fault.
    pub fn read(&self, offset: u64, size: u8) -> Option<u64> {
        if offset >= CONFIG {
            let mut word = [0u8; 8];
            let out = word.get_mut(..usize::from(size))?;
            self.device.config_read((offset - CONFIG) as usize, out);
            return Some(u64::from_le_bytes(word));
        }
        if size != 4 || !offset.is_multiple_of(4) {
            return None;
        }
        let word = |value: u64, select: u32| match select {
            0 => value as u32,
            1 => (value >> 32) as u32,
            _ => 0,
        };
        let value = match offset {
            reg::MAGIC_VALUE => MAGIC,
            reg::VERSION => VERSION,
            reg::DEVICE_ID => self.device.device_id(),
            reg::VENDOR_ID => VENDOR,
            reg::DEVICE_FEATURES => word(self.offered(), self.regs.device_features_sel),
            reg::QUEUE_NUM_MAX => self.selected().map_or(0, |q| u32::from(q.max_size())),
            reg::QUEUE_READY => self.selected().is_some_and(Queue::is_ready).into(),
            reg::INTERRUPT_STATUS => self.regs.interrupt,
            reg::STATUS => self.regs.status,
            // Section 4.2.2: the length of a shared memory region that does not exist reads as -1.
            reg::SHM_LEN_LOW..=reg::SHM_BASE_HIGH => u32::MAX,
            reg::CONFIG_GENERATION => self.regs.generation,
            _ => 0,
        };
        Some(value.into())
    }

    /// A store of `size` bytes at `offset` of the device's window; `None` is an access fault.
    pub fn write(&mut self, mem: &mut GuestMemory, offset: u64, size: u8, value: u64) -> Option<()> {
        if offset >= CONFIG {
            let bytes = value.to_le_bytes();
            self.device.config_write((offset - CONFIG) as usize, bytes.get(..usize::from(size))?);
            return Some(());
        }
        if size != 4 || !offset.is_multiple_of(4) {
            return None;
        }
        let value = value as u32;
        match offset {
            reg::DEVICE_FEATURES_SEL => self.regs.device_features_sel = value,
            reg::DRIVER_FEATURES_SEL => self.regs.driver_features_sel = value,
            reg::DRIVER_FEATURES => self.write_driver_features(value),
            reg::QUEUE_SEL => self.regs.queue_sel = value,
            reg::QUEUE_READY => self.write_queue_ready(mem, value),
            reg::QUEUE_NOTIFY => self.notify(value as usize, mem),
            reg::INTERRUPT_ACK => self.regs.interrupt &= !value,
            reg::STATUS => self.write_status(mem, value),
            _ => self.write_queue_setup(offset, value),
        }
        Some(())
    }

    fn write_driver_features(&mut self, value: u32) {
        // Section 2.2.1: the driver's choice is final once FEATURES_OK is set.
        if self.features_ok() {
            return;
        }
        let shift = match self.regs.driver_features_sel {
            0 => 0,
            1 => 32,
            _ => return,
        };
        let keep = self.regs.driver_features & !(u64::from(u32::MAX) << shift);
        self.regs.driver_features = keep | u64::from(value) << shift;
    }

    fn write_queue_setup(&mut self, offset: u64, value: u32) {
        let Some(q) = self.queues.get_mut(self.regs.queue_sel as usize).and_then(Queue::setup) else {
            return;
        };
        let low = |old: u64| old >> 32 << 32 | u64::from(value);
        let high = |old: u64| old & u64::from(u32::MAX) | u64::from(value) << 32;
        match offset {
            reg::QUEUE_NUM => q.size = u16::try_from(value).unwrap_or(0),
            reg::QUEUE_DESC_LOW => q.desc = low(q.desc),
            reg::QUEUE_DESC_HIGH => q.desc = high(q.desc),
            reg::QUEUE_DRIVER_LOW => q.avail = low(q.avail),
            reg::QUEUE_DRIVER_HIGH => q.avail = high(q.avail),
            reg::QUEUE_DEVICE_LOW => q.used = low(q.used),
            reg::QUEUE_DEVICE_HIGH => q.used = high(q.used),
            _ => {}
        }
    }

    fn write_queue_ready(&mut self, mem: &mut GuestMemory, value: u32) {
        let Some(q) = self.queues.get_mut(self.regs.queue_sel as usize) else { return };
        match value {
            0 => q.disable(),
            1 if !q.is_ready() => {
                if let Err(why) = q.enable(mem) {
                    self.fail(why);
                }
            }
            _ => {}
        }
    }

    fn write_status(&mut self, mem: &mut GuestMemory, value: u32) {
        if value == 0 {
            return self.reset();
        }
        // The driver may only add bits (section 2.1.1); NEEDS_RESET is the device's own.
        let mut new = self.regs.status | value & 0xff & !status::NEEDS_RESET;
        let acceptable =
            self.regs.driver_features & !self.offered() == 0 && self.regs.driver_features & F_VERSION_1 != 0;
        if new & status::FEATURES_OK != 0 && !self.features_ok() && !acceptable {
            // The driver reads the bit back and gives up (section 3.1.1, step 6).
            new &= !status::FEATURES_OK;
        }
        if new & status::FEATURES_OK == 0 {
            new &= !status::DRIVER_OK;
        }
        let starts = new & !self.regs.status & status::DRIVER_OK != 0;
        self.regs.status = new;
        if starts && self.is_active() {
            let features = self.regs.driver_features;
            self.queues.iter_mut().for_each(|q| q.set_features(features));
            self.device.activate(features);
            self.notify_all(mem);
        }
    }

    fn reset(&mut self) {
        self.regs.driver_features = 0;
        self.regs.device_features_sel = 0;
        self.regs.driver_features_sel = 0;
        self.regs.queue_sel = 0;
        self.regs.status = 0;
        self.regs.interrupt = 0;
        self.failure = None;
        self.queues.iter_mut().for_each(Queue::reset);
        self.device.reset();
    }

    fn fail(&mut self, why: QueueError) {
        self.failure = Some(why);
        let told = self.regs.status & status::DRIVER_OK != 0;
        self.regs.status |= status::NEEDS_RESET;
        // Section 2.1.2: a running driver is told by a configuration change.
        if told {
            self.regs.interrupt |= INTERRUPT_CONFIG;
        }
    }

    /// Lets the device work on its queues, and then raises what interrupts are due. `None` when it is not
    /// active, or when the work ended in an error and it is broken now.
    pub fn with<R>(
        &mut self,
        mem: &mut GuestMemory,
        work: impl FnOnce(&mut D, &mut Context<'_>) -> Result<R, QueueError>,
    ) -> Option<R> {
        if !self.is_active() {
            return None;
        }
        let mut cx = Context { queues: &mut self.queues, mem, config_changed: false };
        let result = work(&mut self.device, &mut cx);
        if cx.config_changed {
            self.regs.generation = self.regs.generation.wrapping_add(1);
            self.regs.interrupt |= INTERRUPT_CONFIG;
        }
        // Every queue's mark is to be taken: no short circuit.
        if self.queues.iter_mut().fold(false, |any, q| q.take_signal() | any) {
            self.regs.interrupt |= INTERRUPT_USED;
        }
        result.map_err(|why| self.fail(why)).ok()
    }

    fn notify(&mut self, queue: usize, mem: &mut GuestMemory) {
        if self.queues.get(queue).is_some_and(Queue::is_ready) {
            self.with(mem, |device, cx| device.notify(queue, cx));
        }
    }

    fn notify_all(&mut self, mem: &mut GuestMemory) {
        for queue in 0..self.queues.len() {
            self.notify(queue, mem);
        }
    }

    /// Lets the device do what needs the outside world.
    pub fn service(&mut self, mem: &mut GuestMemory, host: &mut dyn Host) {
        self.with(mem, |device, cx| device.service(cx, host));
    }

    /// State for a snapshot.
    pub fn save(&self) -> MmioState {
        MmioState { queues: self.queues.iter().map(|q| *q.state()).collect(), ..self.regs.clone() }
    }

    /// Puts saved state back, checked: nothing in it may surprise the device later. The device itself is not
    /// activated: its own state comes back by other means.
    ///
    /// # Errors
    /// What does not fit.
    pub fn restore(&mut self, state: MmioState, mem: &GuestMemory) -> Result<(), &'static str> {
        if state.device_id != self.device.device_id() {
            return Err("another device type");
        }
        if state.queues.len() != self.queues.len() {
            return Err("another number of virtqueues");
        }
        if state.driver_features & !self.offered() != 0 && state.status & status::FEATURES_OK != 0 {
            return Err("features that the device does not have");
        }
        if state.status > 0xff || state.status & status::NEEDS_RESET != 0 {
            return Err("a broken device");
        }
        if state.status & status::DRIVER_OK != 0 && state.status & status::FEATURES_OK == 0 {
            return Err("a running driver without agreed features");
        }
        for (queue, saved) in self.queues.iter_mut().zip(&state.queues) {
            queue
                .restore(*saved, state.driver_features, mem)
                .map_err(|_| "a virtqueue outside of guest memory")?;
        }
        self.failure = None;
        self.regs = MmioState { queues: Vec::new(), ..state };
        Ok(())
    }
}
