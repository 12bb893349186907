//! What every board offers: the interface between the devices, which are the same for all guests, and the
//! interrupt controllers and timers around one guest's processor.

/// A board: the interrupt controllers and timers of one guest architecture, and where it has its virtio
/// devices.
pub trait Board: Sized {
    /// Its state in a snapshot.
    type State;

    /// Guest physical address of the first virtio slot; the others follow.
    const VIRTIO_BASE: u64;
    /// Interrupt of the first virtio slot, as [`Board::set_level`] takes it; the others follow.
    const VIRTIO_IRQ: u32;

    /// A board after reset; `None` when this build has none.
    fn power_on() -> Option<Self>;

    /// Sets the level of an interrupt line; numbers without a line are ignored.
    fn set_level(&mut self, irq: u32, high: bool);

    /// Whether the interrupt controllers ask the processor for an interrupt.
    fn interrupts(&self) -> bool;

    /// State for a snapshot.
    fn save(&self) -> Self::State;

    /// Checked state of a snapshot.
    ///
    /// # Errors
    /// What is out of range.
    fn restore(state: Self::State) -> Result<Self, &'static str>;
}

/// A virtio device as the guest's kernel has to be told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Guest physical address of its registers.
    pub base: u64,
    /// Its interrupt, by the board's numbers.
    pub irq: u32,
}

/// The offset of `pa` in the window of `size` bytes at `base`; `None` outside of it.
#[inline]
pub(crate) fn within(pa: u64, base: u64, size: u64) -> Option<u64> {
    pa.checked_sub(base).filter(|&offset| offset < size)
}
