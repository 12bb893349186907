//! Split virtqueues, device side (virtio 1.2, section 2.7).
//!
//! Everything in guest memory is read once and checked before use: ring indices, descriptor indices, loops (a
//! chain longer than its table), indirect tables, lengths and addresses. A driver that breaks a rule gets a
//! [`QueueError`], which the transport turns into `DEVICE_NEEDS_RESET`; nothing a driver writes can panic or
//! hang the device: every call here does at most [`MAX_CHAIN`] steps.

mod chain;
mod error;

use serde::{Deserialize, Serialize};

use crate::memory::GuestMemory;
use chain::Desc;
pub use chain::{Chain, Span, parts};
pub use error::{MAX_CHAIN, QueueError};

/// Largest queue size that a transport may configure (section 2.7: at most 32768; ours are smaller).
pub const MAX_SIZE: u16 = 1024;

const AVAIL_F_NO_INTERRUPT: u16 = 1;

/// A queue's state in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Size in entries as set by the driver.
    pub size: u16,
    /// Whether the driver has enabled the queue.
    pub ready: bool,
    /// Address of the descriptor table.
    pub desc: u64,
    /// Address of the available ring.
    pub avail: u64,
    /// Address of the used ring.
    pub used: u64,
    /// Next available index to look at.
    pub next_avail: u16,
    /// Next used index to write.
    pub next_used: u16,
    /// Used index when the driver was last interrupted.
    pub signalled: u16,
}

/// One split virtqueue, device side.
#[derive(Debug)]
pub struct Queue {
    max: u16,
    state: QueueState,
    event_idx: bool,
    indirect: bool,
    signal: bool,
    spare: Vec<Span>,
}

impl Queue {
    /// A queue of at most `max` entries (a power of two up to [`MAX_SIZE`]), not set up.
    pub fn new(max: u16) -> Self {
        debug_assert!(max.is_power_of_two() && max <= MAX_SIZE);
        Queue {
            max,
            state: QueueState { size: max, ..QueueState::default() },
            event_idx: false,
            indirect: false,
            signal: false,
            spare: Vec::new(),
        }
    }

    /// Largest size in entries.
    pub fn max_size(&self) -> u16 {
        self.max
    }

    /// Whether the driver has enabled the queue.
    pub fn is_ready(&self) -> bool {
        self.state.ready
    }

    /// The state, as saved and as the transport's registers see it.
    pub fn state(&self) -> &QueueState {
        &self.state
    }

    /// For the transport's registers, while the queue is not ready.
    pub(crate) fn setup(&mut self) -> Option<&mut QueueState> {
        (!self.state.ready).then_some(&mut self.state)
    }

    /// Back to the state after construction.
    pub(crate) fn reset(&mut self) {
        *self = Queue::new(self.max);
    }

    /// What was negotiated, before the device is activated.
    pub(crate) fn set_features(&mut self, features: u64) {
        self.event_idx = features & crate::dev::virtio::features::F_EVENT_IDX != 0;
        self.indirect = features & crate::dev::virtio::features::F_INDIRECT_DESC != 0;
    }

    /// Enables the queue after a check of its place in memory.
    pub(crate) fn enable(&mut self, mem: &GuestMemory) -> Result<(), QueueError> {
        let s = &self.state;
        if !s.size.is_power_of_two() || s.size > self.max {
            return Err(QueueError::Setup("the size is no power of two or too large"));
        }
        if !s.desc.is_multiple_of(16) || !s.avail.is_multiple_of(2) || !s.used.is_multiple_of(4) {
            return Err(QueueError::Setup("a ring is misaligned"));
        }
        let n = usize::from(s.size);
        let missing = |what, addr| Err(QueueError::Address { what, addr });
        if mem.slice(s.desc, 16 * n).is_none() {
            return missing("descriptor table", s.desc);
        }
        if mem.slice(s.avail, 6 + 2 * n).is_none() {
            return missing("available ring", s.avail);
        }
        if mem.write_ptr(s.used, 6 + 8 * n).is_none() {
            return missing("used ring", s.used);
        }
        self.state.ready = true;
        Ok(())
    }

    /// Disables the queue (the driver wrote 0 to QueueReady).
    pub(crate) fn disable(&mut self) {
        self.state.ready = false;
    }

    /// Puts saved state back; `features` is what was negotiated.
    pub(crate) fn restore(
        &mut self,
        state: QueueState,
        features: u64,
        mem: &GuestMemory,
    ) -> Result<(), QueueError> {
        self.reset();
        self.set_features(features);
        self.state = QueueState { ready: false, ..state };
        if state.ready { self.enable(mem) } else { Ok(()) }
    }

    /// Whether completed chains call for an interrupt; the mark is taken.
    pub(crate) fn take_signal(&mut self) -> bool {
        core::mem::take(&mut self.signal)
    }

    fn half(mem: &GuestMemory, addr: u64, what: &'static str) -> Result<u16, QueueError> {
        mem.read_array(addr).map(u16::from_le_bytes).ok_or(QueueError::Address { what, addr })
    }

    /// Number of chains that the driver has made available and that were not popped.
    ///
    /// # Errors
    /// When the available index is not within the queue's size.
    pub fn available(&self, mem: &GuestMemory) -> Result<u16, QueueError> {
        let s = &self.state;
        if !s.ready {
            return Ok(0);
        }
        let index = Self::half(mem, s.avail.wrapping_add(2), "available ring")?;
        let n = index.wrapping_sub(s.next_avail);
        if n > s.size {
            return Err(QueueError::AvailIndex { index, expected: s.next_avail });
        }
        Ok(n)
    }

    /// Takes the next chain off the available ring; `None` when it is empty, and then the driver is asked to
    /// notify.
    ///
    /// # Errors
    /// See [`QueueError`]; the chain stays in the ring.
    pub fn pop(&mut self, mem: &mut GuestMemory) -> Result<Option<Chain>, QueueError> {
        if self.available(mem)? == 0 {
            self.ask_for_notification(mem)?;
            return Ok(None);
        }
        let chain = self.walk(mem, 0)?;
        self.state.next_avail = self.state.next_avail.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Bytes of writable buffers among the first `chains` available chains: the room for input.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    pub fn room(&mut self, mem: &GuestMemory, chains: u16) -> Result<usize, QueueError> {
        let mut sum = 0usize;
        for ahead in 0..self.available(mem)?.min(chains) {
            let chain = self.walk(mem, ahead)?;
            sum = sum.saturating_add(chain.writable_len() as usize);
            self.recycle(chain);
        }
        Ok(sum)
    }

    /// Puts the chain popped last back, to be popped again later.
    pub fn undo_pop(&mut self, chain: Chain) {
        self.state.next_avail = self.state.next_avail.wrapping_sub(1);
        self.recycle(chain);
    }

    /// Gives a chain back to the driver: `written` bytes of its writable part were filled.
    ///
    /// # Errors
    /// When the used ring is not in memory.
    pub fn complete(&mut self, mem: &mut GuestMemory, chain: Chain, written: u32) -> Result<(), QueueError> {
        let s = &mut self.state;
        let lost = QueueError::Address { what: "used ring", addr: s.used };
        let slot = u64::from(s.next_used % s.size.max(1));
        let mut entry = [0u8; 8];
        entry[..4].copy_from_slice(&u32::from(chain.head()).to_le_bytes());
        entry[4..].copy_from_slice(&written.min(chain.writable_len()).to_le_bytes());
        let index = s.next_used.wrapping_add(1);
        let ok = mem.write(s.used.wrapping_add(4 + 8 * slot), &entry)
            && mem.write(s.used.wrapping_add(2), &index.to_le_bytes());
        if !ok {
            return Err(lost);
        }
        s.next_used = index;
        self.recycle(chain);
        self.note_interrupt(mem)
    }

    /// Section 2.7.7: whether the driver wants to be interrupted for what was just used.
    fn note_interrupt(&mut self, mem: &GuestMemory) -> Result<(), QueueError> {
        let s = &mut self.state;
        if self.event_idx {
            let at = s.avail.wrapping_add(4 + 2 * u64::from(s.size));
            let event = Self::half(mem, at, "used_event")?;
            // The index that the driver waits for lies among those written since the last interrupt.
            let written = s.next_used.wrapping_sub(s.signalled);
            if s.next_used.wrapping_sub(event).wrapping_sub(1) < written {
                s.signalled = s.next_used;
                self.signal = true;
            }
        } else if Self::half(mem, s.avail, "available ring")? & AVAIL_F_NO_INTERRUPT == 0 {
            self.signal = true;
        }
        Ok(())
    }

    /// Section 2.7.10: with EVENT_IDX the driver notifies when it has passed this index; without, it always
    /// does.
    fn ask_for_notification(&mut self, mem: &mut GuestMemory) -> Result<(), QueueError> {
        let s = &self.state;
        if !self.event_idx || !s.ready {
            return Ok(());
        }
        let at = s.used.wrapping_add(4 + 8 * u64::from(s.size));
        let want = s.next_avail.to_le_bytes();
        // Writing what is there already would only cost.
        if mem.read_array(at) == Some(want) || mem.write(at, &want) {
            return Ok(());
        }
        Err(QueueError::Address { what: "avail_event", addr: at })
    }

    fn recycle(&mut self, chain: Chain) {
        self.spare = chain.into_spans();
    }

    /// Reads the chain `ahead` entries beyond the next one.
    fn walk(&mut self, mem: &GuestMemory, ahead: u16) -> Result<Chain, QueueError> {
        let s = self.state;
        let slot = u64::from(s.next_avail.wrapping_add(ahead) % s.size.max(1));
        let head = Self::half(mem, s.avail.wrapping_add(4 + 2 * slot), "available ring")?;
        let mut chain = Chain::begin(head, core::mem::take(&mut self.spare));
        let mut table = Table { addr: s.desc, size: u32::from(s.size), indirect: false };
        let mut index = head;
        let mut steps = 0u32;
        loop {
            if steps >= table.size.min(MAX_CHAIN as u32) {
                return Err(QueueError::Loop { head });
            }
            steps += 1;
            let desc = table.get(mem, index)?;
            if desc.is_indirect() {
                table = self.enter_indirect(&table, &desc, head)?;
                (index, steps) = (0, 0);
                continue;
            }
            chain.add(mem, &desc)?;
            if !desc.has_next() {
                return Ok(chain);
            }
            index = desc.next;
        }
    }

    /// Section 2.7.5.3: an indirect table replaces the rest of the chain.
    fn enter_indirect(&self, from: &Table, desc: &Desc, head: u16) -> Result<Table, QueueError> {
        let bad = |why| Err(QueueError::Indirect { head, why });
        if !self.indirect {
            return bad("the feature was not negotiated");
        }
        if from.indirect {
            return bad("a table inside a table");
        }
        if desc.has_next() {
            return bad("a table and a next descriptor");
        }
        if desc.len == 0 || !desc.len.is_multiple_of(16) || desc.len / 16 > MAX_CHAIN as u32 {
            return bad("the table's length");
        }
        Ok(Table { addr: desc.addr, size: desc.len / 16, indirect: true })
    }
}

struct Table {
    addr: u64,
    size: u32,
    indirect: bool,
}

impl Table {
    fn get(&self, mem: &GuestMemory, index: u16) -> Result<Desc, QueueError> {
        if u32::from(index) >= self.size {
            return Err(QueueError::DescIndex { index, size: self.size });
        }
        let addr = self.addr.wrapping_add(16 * u64::from(index));
        let raw: [u8; 16] =
            mem.read_array(addr).ok_or(QueueError::Address { what: "descriptor table", addr })?;
        let raw = u128::from_le_bytes(raw);
        Ok(Desc {
            addr: raw as u64,
            len: (raw >> 64) as u32,
            flags: (raw >> 96) as u16,
            next: (raw >> 112) as u16,
        })
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests;
