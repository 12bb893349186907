//! Packets between the guest's thread and the gateway's: a queue each way, bounded in bytes.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most bytes in a queue. One more packet is taken as long as there are fewer.
pub(crate) const MOST: usize = 4 << 20;

#[derive(Default)]
struct Packets {
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The sender found the queue full, and wants to hear of room.
    wanted: bool,
}

/// A queue.
#[derive(Default)]
pub(crate) struct Queue(Mutex<Packets>);

impl Queue {
    /// A thread that panicked has left packets, which are whole.
    fn lock(&self) -> MutexGuard<'_, Packets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a packet in, if there is room; whether it was the only one.
    pub(crate) fn push(&self, packet: impl FnOnce() -> Vec<u8>) -> Option<bool> {
        let mut queue = self.lock();
        if queue.bytes >= MOST {
            queue.wanted = true;
            return None;
        }
        let packet = packet();
        queue.bytes += packet.len();
        queue.packets.push_back(packet);
        Some(queue.packets.len() == 1)
    }

    /// Puts packets in; whether there were none before.
    pub(crate) fn append(&self, packets: &mut VecDeque<Vec<u8>>) -> bool {
        let mut queue = self.lock();
        let was_empty = queue.packets.is_empty();
        queue.bytes += packets.iter().map(Vec::len).sum::<usize>();
        queue.packets.append(packets);
        was_empty
    }

    /// Takes all packets; whether the sender waits for room.
    pub(crate) fn take(&self, to: &mut VecDeque<Vec<u8>>) -> bool {
        let mut queue = self.lock();
        std::mem::swap(&mut queue.packets, to);
        queue.bytes = 0;
        std::mem::take(&mut queue.wanted)
    }

    /// Takes one packet.
    pub(crate) fn pop(&self) -> Option<Vec<u8>> {
        let mut queue = self.lock();
        let packet = queue.packets.pop_front()?;
        queue.bytes -= packet.len();
        Some(packet)
    }

    /// Puts a packet back that was not wanted.
    pub(crate) fn push_back(&self, packet: Vec<u8>) {
        let mut queue = self.lock();
        queue.bytes += packet.len();
        queue.packets.push_front(packet);
    }

    /// The sender waits for room that there is now.
    pub(crate) fn wanted(&self) -> bool {
        let mut queue = self.lock();
        let told = queue.wanted && queue.bytes < MOST / 2;
        queue.wanted &= !told;
        told
    }

    /// Bytes that find room. The sender hears of more when there was none.
    pub(crate) fn room(&self) -> usize {
        let mut queue = self.lock();
        let room = MOST.saturating_sub(queue.bytes);
        queue.wanted |= room == 0;
        room
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().packets.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        let mut queue = self.lock();
        let full = queue.bytes >= MOST;
        queue.wanted |= full;
        full
    }
}
