//! The guest's side of a link: two queues, and a bell for each side.

use super::{bell::Bell, queue::Queue};
use crate::publish::Publish;
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// What the two sides share.
pub(crate) struct Shared {
    from_guest: Queue,
    to_guest: Queue,
    guests_bell: Bell,
    waker: mio::Waker,
    /// The back end's thread is, or will be, asleep.
    asleep: AtomicBool,
    closed: AtomicBool,
    /// The other end is gone for good: nothing comes any more, behind what is there.
    ended: AtomicBool,
}

impl Shared {
    pub(crate) fn new(waker: mio::Waker) -> io::Result<Self> {
        Ok(Shared {
            from_guest: Queue::default(),
            to_guest: Queue::default(),
            guests_bell: Bell::new()?,
            waker,
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// The back end takes all packets of the guest's.
    pub(crate) fn take(&self, to: &mut VecDeque<Vec<u8>>) {
        if self.from_guest.take(to) {
            self.guests_bell.ring();
        }
    }

    /// The back end has packets for the guest.
    pub(crate) fn give(&self, packets: &mut VecDeque<Vec<u8>>) {
        if !packets.is_empty() && self.to_guest.append(packets) {
            self.guests_bell.ring();
        }
    }

    /// Bytes of packets that the guest's queue takes now. If it is none, the back end is woken for more.
    pub(crate) fn room(&self) -> usize {
        self.to_guest.room()
    }

    /// The back end is about to sleep. Whether it may.
    pub(crate) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        self.from_guest.is_empty()
    }

    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// The back end has nothing for the guest any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.guests_bell.ring();
    }

    /// The guest has dropped its handle.
    pub(crate) fn closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It fails only if the thread is gone, or has so many wakeups before it that it comes anyway.
            drop(self.waker.wake());
        }
    }
}

/// The guest's side of a link. Its methods may be called from any thread, and none of them blocks. Dropping
/// it ends the back end's thread and closes all its sockets.
///
/// To sleep until there is something to do: [`clear`](Handle::clear), look once more at
/// [`has_packets`](Handle::has_packets) or [`has_room`](Handle::has_room), and poll the descriptor
/// ([`AsFd`]), which is readable once there are packets where there were none, or room where there was none.
/// As long as nobody clears it, it costs no system call.
pub struct Handle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    bound: Vec<Publish>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, thread: JoinHandle<()>, bound: Vec<Publish>) -> Self {
        Handle { shared, thread: Some(thread), bound }
    }

    /// Sends a packet (header and frame), whose bytes may lie in several places. Whether it was taken: the
    /// link is full otherwise.
    pub fn send(&self, parts: &[&[u8]]) -> bool {
        let taken = self.shared.from_guest.push(|| parts.concat());
        if taken.is_some() {
            self.shared.wake();
        }
        taken.is_some()
    }

    /// Gives packets for the guest to `take`, until there are no more or one is not taken, which stays.
    pub fn receive(&self, take: &mut dyn FnMut(&[u8]) -> bool) {
        while let Some(packet) = self.shared.to_guest.pop() {
            if !take(&packet) {
                self.shared.to_guest.push_back(packet);
                break;
            }
        }
        if self.shared.to_guest.wanted() {
            self.shared.wake();
        }
    }

    /// There are packets for the guest.
    pub fn has_packets(&self) -> bool {
        !self.shared.to_guest.is_empty()
    }

    /// There are packets for the guest, or the other end is gone: what the descriptor tells of.
    pub fn has_news(&self) -> bool {
        self.has_packets() || self.has_ended()
    }

    /// The other end is gone, and all its packets are taken.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::SeqCst) && self.shared.to_guest.is_empty()
    }

    /// A packet would be taken.
    pub fn has_room(&self) -> bool {
        !self.shared.from_guest.is_full()
    }

    /// Makes the descriptor silent until there is something new.
    pub fn clear(&self) {
        self.shared.guests_bell.clear();
    }

    /// The published ports, with those that the host chose.
    pub fn bound(&self) -> &[Publish] {
        &self.bound
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.guests_bell.as_fd()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        drop(self.shared.waker.wake());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread's was reported by itself.
            drop(thread.join());
        }
    }
}
