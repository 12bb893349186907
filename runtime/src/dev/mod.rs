//! The devices of the machine: virtio devices in numbered slots, and the board that connects them to the
//! processor.
//!
//! | slot | device |
//! |---|---|
//! | 0 | console with ports ([`virtio::console`]) |
//! | 1 | block device, the root file system; empty when there is none ([`virtio::blk`]) |
//! | 2 | entropy ([`virtio::rng`]) |
//! | 3 | network, which leads nowhere until a run has one ([`virtio::net`]) |
//! | 4-11 | host directories, tags `forelift0` to `forelift7` ([`virtio::fs::share`]) |
//! | 12-15 | empty |
//!
//! The devices are the same for all guests. Where the slots are in the physical address space and what
//! interrupt each has is the board's ([`crate::platform`]): slot `n` is interrupt source 1 + `n` of riscv64's
//! PLIC, and pin 16 + `n` of x86_64's I/O APIC.
//!
//! A snapshot cannot gain devices: the slots for directories exist from boot and get their directories after
//! a restore, with [`Devices::attach_share`], and the network with [`Devices::connect_network`].
//! How to add a device is written in [`virtio`].

pub mod fuse;
pub mod virtio;

use crate::host::{Host, Interest};
use crate::memory::GuestMemory;
use crate::platform::board::{Slot, within};
use crate::platform::{Platform, PlatformState};
use forelift_abi::config::Arch;
use forelift_abi::layout::{VIRTIO_SLOTS, VIRTIO_STRIDE};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use virtio::blk::Blk;
use virtio::console::{Console, ConsoleState, Port};
use virtio::fs::share::{self, Detached};
use virtio::mmio::{Mmio, MmioState};
use virtio::net::Net;
use virtio::rng::Rng;
use virtio::{Context, QueueError, VirtioDevice};

/// Slot of the console.
pub const SLOT_CONSOLE: usize = 0;
/// Slot of the root file system.
pub const SLOT_ROOT: usize = 1;
/// Slot of the entropy device.
pub const SLOT_RNG: usize = 2;
/// Slot of the network device.
pub const SLOT_NET: usize = 3;
/// Slot of the first host directory.
pub const SLOT_SHARE: usize = 4;
/// Number of host directories.
pub const COUNT_SHARES: usize = 8;
const _: () = assert!(SLOT_SHARE + COUNT_SHARES <= VIRTIO_SLOTS);

/// All devices. See the module's documentation.
pub struct Devices {
    platform: Platform,
    console: Mmio<Console>,
    root: Option<Mmio<Blk>>,
    rng: Mmio<Rng>,
    net: Mmio<Net>,
    shares: Vec<Mmio<Box<dyn VirtioDevice>>>,
    attention: bool,
}

/// The devices' state in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicesState {
    /// Interrupt controllers and timers.
    pub platform: PlatformState,
    /// Transports by slot; `None` where there is no device.
    pub slots: Vec<Option<MmioState>>,
    /// The console.
    pub console: ConsoleState,
}

/// Why devices could not be restored.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RestoreError {
    /// This build has no such machine.
    #[error("this build of the machine runs no {0} guests")]
    Arch(&'static str),
    /// The state of an interrupt controller or timer is impossible.
    #[error("snapshot: interrupt controller: {0}: convert the image again")]
    Controller(&'static str),
    /// Not this machine's number of slots.
    #[error("snapshot: {0} device slots, {VIRTIO_SLOTS} expected: convert the image again")]
    Slots(usize),
    /// A device's state is impossible.
    #[error("snapshot: virtio slot {slot}: {why}: convert the image again")]
    Slot {
        /// Number of the slot.
        slot: usize,
        /// What does not fit.
        why: &'static str,
    },
}

/// A device that was refused by [`Devices::attach_share`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AttachError {
    /// All slots are in use.
    #[error("directory slot {0} does not exist: at most {COUNT_SHARES} directories can be mounted")]
    NoSlot(usize),
    /// Type, features or queues differ from what the guest's driver has found.
    #[error("directory slot {0}: the device does not look like the one the guest knows")]
    Shape(usize),
}

impl Devices {
    /// Devices after reset; `root_len` is the size of the root file system in bytes, 0 for none.
    ///
    /// # Errors
    /// [`RestoreError::Arch`].
    pub fn new(arch: Arch, root_len: u64) -> Result<Self, RestoreError> {
        let platform = Platform::power_on(arch).ok_or(RestoreError::Arch(arch.oci_name()))?;
        Ok(Self::around(platform, root_len))
    }

    fn around(platform: Platform, root_len: u64) -> Self {
        let shares = (0..COUNT_SHARES).map(|n| {
            let device: Box<dyn VirtioDevice> = Box::new(Detached::new(n));
            Mmio::new(device)
        });
        Devices {
            platform,
            console: Mmio::new(Console::new()),
            root: (root_len > 0).then(|| Mmio::new(Blk::new(root_len))),
            rng: Mmio::new(Rng::new()),
            net: Mmio::new(Net::new()),
            shares: shares.collect(),
            attention: false,
        }
    }

    /// The guest architecture of the machine.
    pub fn arch(&self) -> Arch {
        self.platform.arch()
    }

    /// The board.
    #[inline]
    pub(crate) fn platform_mut(&mut self) -> &mut Platform {
        &mut self.platform
    }

    /// Where the slots are that hold devices: what the kernel is told of.
    pub fn slots(&self) -> Vec<Slot> {
        let present = (0..VIRTIO_SLOTS).filter(|&n| self.slot(n).is_some());
        present.map(|n| self.platform.slot(n)).collect()
    }

    fn slot(&self, slot: usize) -> Option<&Mmio<dyn VirtioDevice>> {
        match slot {
            SLOT_CONSOLE => Some(&self.console),
            SLOT_ROOT => self.root.as_ref().map(|p| p as _),
            SLOT_RNG => Some(&self.rng),
            SLOT_NET => Some(&self.net),
            _ => self.shares.get(slot.checked_sub(SLOT_SHARE)?).map(|p| p as _),
        }
    }

    fn slot_mut(&mut self, slot: usize) -> Option<&mut Mmio<dyn VirtioDevice>> {
        match slot {
            SLOT_CONSOLE => Some(&mut self.console),
            SLOT_ROOT => self.root.as_mut().map(|p| p as _),
            SLOT_RNG => Some(&mut self.rng),
            SLOT_NET => Some(&mut self.net),
            _ => self.shares.get_mut(slot.checked_sub(SLOT_SHARE)?).map(|p| p as _),
        }
    }

    /// The interrupt line of `slot` follows its transport.
    fn update_level(&mut self, slot: usize) {
        let level = self.slot(slot).is_some_and(|s| s.interrupt_level());
        self.platform.set_level(slot, level);
    }

    /// A load of `size` bytes (1, 2, 4, 8) at physical address `pa`; `None` is an access fault. These are the
    /// virtio devices: the board's own windows are looked at first, by the processor's bus.
    pub fn read(&mut self, _mem: &mut GuestMemory, pa: u64, size: u8) -> Option<u64> {
        let offset = within(pa, self.platform.virtio_base(), VIRTIO_SLOTS as u64 * VIRTIO_STRIDE)?;
        let slot = (offset / VIRTIO_STRIDE) as usize;
        self.slot(slot)?.read(offset % VIRTIO_STRIDE, size)
    }

    /// A store of `size` bytes (1, 2, 4, 8) at physical address `pa`; `None` is an access fault.
    pub fn write(&mut self, mem: &mut GuestMemory, pa: u64, size: u8, value: u64) -> Option<()> {
        let offset = within(pa, self.platform.virtio_base(), VIRTIO_SLOTS as u64 * VIRTIO_STRIDE)?;
        let slot = (offset / VIRTIO_STRIDE) as usize;
        self.slot_mut(slot)?.write(mem, offset % VIRTIO_STRIDE, size, value)?;
        self.attention |= slot == SLOT_CONSOLE || self.slot(slot)?.device().wants_service();
        self.update_level(slot);
        Some(())
    }

    /// Whether the interrupt controllers ask for an interrupt: on riscv64 the hart's supervisor external
    /// interrupt.
    #[inline]
    pub fn external_interrupt(&self) -> bool {
        self.platform.interrupts()
    }

    /// Whether the driver has given work that waits for [`service`](Self::service) or for the session; the
    /// mark is taken.
    #[inline]
    pub fn take_attention(&mut self) -> bool {
        core::mem::take(&mut self.attention)
    }

    /// Lets devices do what needs the outside world. Cheap when there is nothing to do.
    pub fn service(&mut self, mem: &mut GuestMemory, host: &mut dyn Host) {
        for slot in 0..VIRTIO_SLOTS {
            if let Some(s) = self.slot_mut(slot)
                && s.device().wants_service()
            {
                s.service(mem, host);
                self.update_level(slot);
            }
        }
    }

    /// Puts a directory's device into slot `index` (0-7), whose mount tag is [`share::tag`]`(index)`.
    ///
    /// # Errors
    /// When there is no such slot, or the device differs from what the guest's driver has found in it.
    pub fn attach_share(
        &mut self,
        index: usize,
        device: Box<dyn VirtioDevice>,
        mem: &mut GuestMemory,
    ) -> Result<(), AttachError> {
        let slot = self.shares.get_mut(index).ok_or(AttachError::NoSlot(index))?;
        let mut theirs = vec![0; share::config(index).len()];
        device.config_read(0, &mut theirs);
        if theirs != share::config(index) {
            return Err(AttachError::Shape(index));
        }
        slot.replace(device, mem).map_err(|_| AttachError::Shape(index))?;
        self.update_level(SLOT_SHARE + index);
        Ok(())
    }

    /// Connects the network interface; the guest's driver does not notice.
    pub fn connect_network(&mut self, mem: &mut GuestMemory) {
        // The same shape as the one that is there.
        let _ = self.net.replace(Net::connected(), mem);
        self.update_level(SLOT_NET);
    }

    /// What a sleeping machine should be woken for by network and disk.
    pub fn interest(&self) -> Interest {
        let net = if self.net.is_active() { self.net.device().interest() } else { Interest::default() };
        Interest { root: self.root.as_ref().is_some_and(|root| root.device().is_waiting()), ..net }
    }

    /// Notes from now on which blocks of the root file system the guest reads.
    pub fn note_root_reads(&mut self) {
        if let Some(root) = &mut self.root {
            root.device_mut().note_reads();
        }
    }

    /// The blocks of 4096 bytes that it has read since then, as bits.
    pub fn root_reads(&self) -> &[u64] {
        self.root.as_ref().map_or(&[], |root| root.device().reads())
    }

    /// Why the guest's driver of some device was stopped, if one was: the slot and the reason.
    pub fn failure(&self) -> Option<(usize, QueueError)> {
        (0..VIRTIO_SLOTS).find_map(|n| Some((n, self.slot(n)?.failure()?)))
    }

    fn with_console<R>(
        &mut self,
        mem: &mut GuestMemory,
        work: impl FnOnce(&mut Console, &mut Context<'_>) -> Result<R, QueueError>,
    ) -> Option<R> {
        let result = self.console.with(mem, work);
        self.update_level(SLOT_CONSOLE);
        result
    }

    /// Offers what the guest wrote to a console port to `sink`; see [`Console::take_output`].
    pub fn take_output(
        &mut self,
        mem: &mut GuestMemory,
        port: Port,
        sink: &mut dyn FnMut(&[u8]) -> usize,
    ) -> usize {
        self.with_console(mem, |c, cx| c.take_output(cx, port, sink)).unwrap_or(0)
    }

    /// Whether the guest wrote to a console port what nobody has taken.
    #[inline]
    pub fn has_output(&self, mem: &GuestMemory, port: Port) -> bool {
        self.console.available(port.transmit_queue(), mem) > 0
    }

    /// Room for input on a console port in bytes; see [`Console::input_room`].
    pub fn input_room(&mut self, mem: &mut GuestMemory, port: Port) -> usize {
        if self.console.available(port.receive_queue(), mem) == 0 {
            return 0;
        }
        self.with_console(mem, |c, cx| c.input_room(cx, port)).unwrap_or(0)
    }

    /// Gives input to the guest on a console port; returns how many bytes it took.
    pub fn push_input(&mut self, mem: &mut GuestMemory, port: Port, data: &[u8]) -> usize {
        self.with_console(mem, |c, cx| c.push_input(cx, port, data)).unwrap_or(0)
    }

    /// Whether a process of the guest has a console port open.
    pub fn is_open(&self, port: Port) -> bool {
        self.console.device().is_open(port)
    }

    /// What the kernel has printed since the last call.
    pub fn take_kernel_log(&mut self) -> Vec<u8> {
        self.console.device_mut().take_log()
    }

    /// State for a snapshot.
    pub fn save(&self) -> DevicesState {
        DevicesState {
            platform: self.platform.save(),
            slots: (0..VIRTIO_SLOTS).map(|n| Some(self.slot(n)?.save())).collect(),
            console: self.console.device().save(),
        }
    }

    /// Devices with saved state, checked as untrusted input. The slots of host directories come back without
    /// directories.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn restore(state: DevicesState, mem: &GuestMemory) -> Result<Self, RestoreError> {
        let platform = Platform::restore(state.platform).map_err(RestoreError::Controller)?;
        let mut devices = Devices::around(platform, mem.disk_len());
        if state.slots.len() != VIRTIO_SLOTS {
            return Err(RestoreError::Slots(state.slots.len()));
        }
        for (slot, saved) in state.slots.into_iter().enumerate() {
            let error = |why| RestoreError::Slot { slot, why };
            match (devices.slot_mut(slot), saved) {
                (Some(s), Some(saved)) => s.restore(saved, mem).map_err(error)?,
                (None, None) => {}
                (Some(_), None) => return Err(error("the device is missing")),
                (None, Some(_)) => return Err(error("a device where this machine has none")),
            }
        }
        let slot = SLOT_CONSOLE;
        let console = devices.console.device_mut();
        console.restore(state.console).map_err(|why| RestoreError::Slot { slot, why })?;
        // A request for entropy may have waited when the snapshot was taken.
        devices.rng.device_mut().resume();
        (0..VIRTIO_SLOTS).for_each(|n| devices.update_level(n));
        devices.attention = true;
        Ok(devices)
    }
}

// Guest memory of the tests is a native mapping.
#[cfg(all(test, not(target_family = "wasm")))]
pub(crate) mod testing;
#[cfg(all(test, not(target_family = "wasm")))]
mod tests;
