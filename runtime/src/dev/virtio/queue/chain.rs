//! A descriptor chain as a device sees it: checked pieces of guest memory, first to read, then to write.

use super::error::QueueError;
use crate::memory::GuestMemory;

/// A descriptor (section 2.7.5).
pub(super) struct Desc {
    pub(super) addr: u64,
    pub(super) len: u32,
    pub(super) flags: u16,
    pub(super) next: u16,
}

impl Desc {
    pub(super) fn has_next(&self) -> bool {
        self.flags & 1 != 0
    }

    fn writes(&self) -> bool {
        self.flags & 2 != 0
    }

    pub(super) fn is_indirect(&self) -> bool {
        self.flags & 4 != 0
    }
}

/// A piece of guest memory, known to be there when the chain was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Guest physical address.
    pub addr: u64,
    /// Length in bytes, at least one.
    pub len: u32,
}

/// A descriptor chain that the driver made available: first what the device reads, then what it writes.
///
/// All spans are checked: readable ones lie in RAM or the root file system window, writable ones in RAM. Give
/// it back with [`complete`](super::Queue::complete) or [`undo_pop`](super::Queue::undo_pop); dropping it
/// leaks the driver's buffer.
#[derive(Debug, Default)]
#[must_use]
pub struct Chain {
    head: u16,
    spans: Vec<Span>,
    /// Number of readable spans.
    readable: usize,
    readable_len: u32,
    writable_len: u32,
}

impl Chain {
    /// What the device reads, in order.
    pub fn readable(&self) -> &[Span] {
        &self.spans[..self.readable]
    }

    /// What the device writes, in order.
    pub fn writable(&self) -> &[Span] {
        &self.spans[self.readable..]
    }

    /// Bytes in the readable part.
    pub fn readable_len(&self) -> u32 {
        self.readable_len
    }

    /// Bytes in the writable part.
    pub fn writable_len(&self) -> u32 {
        self.writable_len
    }

    /// Copies from the readable part, starting at its byte `offset`; returns how many bytes there were.
    pub fn read_at(&self, mem: &GuestMemory, offset: u32, out: &mut [u8]) -> usize {
        let mut done = 0;
        for (addr, len) in parts(self.readable(), offset) {
            if done == out.len() {
                break;
            }
            let n = len.min(out.len() - done);
            let Some(from) = mem.slice(addr, n) else { break };
            out[done..done + n].copy_from_slice(from);
            done += n;
        }
        done
    }

    /// All of the readable part, but no more than `limit` bytes.
    pub fn read_all(&self, mem: &GuestMemory, limit: usize) -> Vec<u8> {
        let mut out = vec![0; (self.readable_len as usize).min(limit)];
        let n = self.read_at(mem, 0, &mut out);
        out.truncate(n);
        out
    }

    /// Copies into the writable part, starting at its byte `offset`; returns how many bytes had room.
    pub fn write_at(&self, mem: &mut GuestMemory, offset: u32, data: &[u8]) -> usize {
        let mut done = 0;
        for (addr, len) in parts(self.writable(), offset) {
            if done == data.len() {
                break;
            }
            let n = len.min(data.len() - done);
            let Some(to) = mem.slice_mut(addr, n) else { break };
            to.copy_from_slice(&data[done..done + n]);
            done += n;
        }
        done
    }

    /// An empty chain in memory that was used before.
    pub(super) fn begin(head: u16, mut spans: Vec<Span>) -> Self {
        spans.clear();
        Chain { head, spans, ..Chain::default() }
    }

    /// First descriptor, as the driver knows the chain.
    pub(super) fn head(&self) -> u16 {
        self.head
    }

    /// The memory, for another chain.
    pub(super) fn into_spans(self) -> Vec<Span> {
        self.spans
    }

    /// Appends a descriptor's buffer, checked.
    pub(super) fn add(&mut self, mem: &GuestMemory, desc: &Desc) -> Result<(), QueueError> {
        let head = self.head;
        let len = desc.len as usize;
        let write = desc.writes();
        let found = match write {
            true => mem.write_ptr(desc.addr, len).is_some(),
            false => mem.read_ptr(desc.addr, len).is_some(),
        };
        if !write && self.spans.len() > self.readable {
            return Err(QueueError::Order { head });
        }
        // An empty buffer is pointless and allowed; its address says nothing.
        if len == 0 {
            return Ok(());
        }
        if !found {
            return Err(QueueError::Address { what: "buffer", addr: desc.addr });
        }
        let total = if write { &mut self.writable_len } else { &mut self.readable_len };
        *total = total.checked_add(desc.len).ok_or(QueueError::TooLong { head })?;
        if self.readable_len.checked_add(self.writable_len).is_none() {
            return Err(QueueError::TooLong { head });
        }
        self.spans.push(Span { addr: desc.addr, len: desc.len });
        self.readable += usize::from(!write);
        Ok(())
    }
}

/// The spans from byte `offset` on, as (address, length).
pub fn parts(spans: &[Span], offset: u32) -> impl Iterator<Item = (u64, usize)> + '_ {
    let mut skip = offset;
    spans.iter().filter_map(move |s| {
        let cut = skip.min(s.len);
        skip -= cut;
        (cut < s.len).then(|| (s.addr + u64::from(cut), (s.len - cut) as usize))
    })
}
