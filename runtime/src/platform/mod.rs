//! The board around the processor and the virtio devices, by guest architecture: interrupt controllers and
//! timers, and how a kernel is put into memory and told of the machine.
//!
//! | file | what it holds |
//! |---|---|
//! | here | [`Platform`]: the board of the machine, whichever it is |
//! | [`board`] | what a board has to offer |
//! | [`riscv64`] | PLIC; device tree; start of an `Image` |
//! | [`x86_64`] | APICs, timers and ports of a PC; MP table; start of a `vmlinux` |
//! | `absent` | stands for the board of a guest that this build leaves out |
//! | [`boot`], [`load`] | what a kernel is started with; puts it into memory |
//!
//! This directory, [`crate::cpu`] and the processor's bus (`machine/bus`) are where guests differ: everything
//! else in the machine is the same for all. Another guest architecture gets a directory here with its board
//! and its `boot.rs`, a variant of [`Platform`], and an arm in [`load`].

#[cfg(not(all(feature = "riscv64", feature = "x86_64")))]
mod absent;
pub mod board;
pub mod boot;
pub mod load;
#[cfg(feature = "riscv64")]
pub mod riscv64;
#[cfg(feature = "x86_64")]
pub mod x86_64;

use board::{Board, Slot};
use forelift_abi::config::Arch;
use forelift_abi::layout::{self, VIRTIO_STRIDE};
use serde::{Deserialize, Serialize};

#[cfg(not(feature = "riscv64"))]
use absent::{Absent as Plic, Absent as PlicState};
#[cfg(not(feature = "x86_64"))]
use absent::{Absent as Pc, Absent as PcState};
#[cfg(feature = "riscv64")]
use riscv64::plic::{Plic, PlicState};
#[cfg(feature = "x86_64")]
use x86_64::{Pc, PcState};

/// The board of the machine. In a build for one guest architecture there is one variant that has values, and
/// nothing to match.
pub enum Platform {
    /// riscv64.
    Plic(Plic),
    /// x86_64.
    Pc(Box<Pc>),
}

/// Its state in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlatformState {
    /// riscv64.
    Plic(PlicState),
    /// x86_64.
    Pc(Box<PcState>),
}

/// Where a machine's RAM starts.
pub fn ram_base(arch: Arch) -> u64 {
    match arch {
        Arch::Riscv64 => layout::RAM_BASE,
        Arch::X86_64 => layout::pc::RAM_BASE,
    }
}

impl Platform {
    /// A board after reset; `None` when this build has none for the architecture.
    pub fn power_on(arch: Arch) -> Option<Self> {
        match arch {
            Arch::Riscv64 => Plic::power_on().map(Platform::Plic),
            Arch::X86_64 => Pc::power_on().map(|pc| Platform::Pc(Box::new(pc))),
        }
    }

    /// The guest architecture.
    pub fn arch(&self) -> Arch {
        match self {
            Platform::Plic(_) => Arch::Riscv64,
            Platform::Pc(_) => Arch::X86_64,
        }
    }

    /// The PLIC, when it is riscv64's board.
    #[cfg(feature = "riscv64")]
    #[inline]
    pub(crate) fn plic(&mut self) -> Option<&mut Plic> {
        match self {
            Platform::Plic(plic) => Some(plic),
            Platform::Pc(_) => None,
        }
    }

    /// The PC, when it is x86_64's board.
    #[cfg(feature = "x86_64")]
    #[inline]
    pub(crate) fn pc(&mut self) -> Option<&mut Pc> {
        match self {
            Platform::Pc(pc) => Some(pc),
            Platform::Plic(_) => None,
        }
    }

    /// Guest physical address of the first virtio slot.
    #[inline]
    pub fn virtio_base(&self) -> u64 {
        match self {
            Platform::Plic(_) => Plic::VIRTIO_BASE,
            Platform::Pc(_) => Pc::VIRTIO_BASE,
        }
    }

    #[inline]
    fn irq(&self, slot: usize) -> u32 {
        slot as u32
            + match self {
                Platform::Plic(_) => Plic::VIRTIO_IRQ,
                Platform::Pc(_) => Pc::VIRTIO_IRQ,
            }
    }

    /// Where virtio slot `slot` is.
    pub fn slot(&self, slot: usize) -> Slot {
        Slot { base: self.virtio_base() + slot as u64 * VIRTIO_STRIDE, irq: self.irq(slot) }
    }

    /// Sets the level of a virtio slot's interrupt line.
    pub fn set_level(&mut self, slot: usize, high: bool) {
        let irq = self.irq(slot);
        match self {
            Platform::Plic(plic) => plic.set_level(irq, high),
            Platform::Pc(pc) => pc.set_level(irq, high),
        }
    }

    /// Whether the interrupt controllers ask for an interrupt: on riscv64 the hart's supervisor external
    /// interrupt.
    #[inline]
    pub fn interrupts(&self) -> bool {
        match self {
            Platform::Plic(plic) => plic.interrupts(),
            Platform::Pc(pc) => pc.interrupts(),
        }
    }

    /// State for a snapshot.
    #[allow(unreachable_code, reason = "a board that this build leaves out is never saved")]
    pub fn save(&self) -> PlatformState {
        match self {
            Platform::Plic(plic) => PlatformState::Plic(plic.save()),
            Platform::Pc(pc) => PlatformState::Pc(Box::new(pc.save())),
        }
    }

    /// Checked state of a snapshot.
    ///
    /// # Errors
    /// What is out of range.
    pub fn restore(state: PlatformState) -> Result<Self, &'static str> {
        match state {
            PlatformState::Plic(state) => Plic::restore(state).map(Platform::Plic),
            PlatformState::Pc(state) => Pc::restore(*state).map(|pc| Platform::Pc(Box::new(pc))),
        }
    }
}
