//! The guest's side of a connection: a socket of smoltcp's in a set of its own, so that work on one
//! connection costs the same however many others there are.

use super::device::Port;
use smoltcp::{
    iface::{Interface, PollResult, SocketHandle, SocketSet},
    socket::tcp::{self, SocketBuffer},
    time::{Duration as Span, Instant},
};
use std::time::Duration;

/// Sizes of the buffers of a connection, one for each direction, and how many connections get them. Beyond
/// the last there are none: memory for buffers is at most 64 x 1 MiB + 448 x 256 KiB + 3584 x 64 KiB, which
/// is 400 MiB.
const CLASSES: [(usize, usize); 3] = [(512 << 10, 64), (128 << 10, 448), (32 << 10, 3584)];
/// Most connections at once.
pub(crate) const MOST: usize = 64 + 448 + 3584;
/// Sockets that are kept for the next connection, of the largest size.
const SPARE: usize = 16;
/// How long an acknowledgement waits for data that could carry it.
const ACK_DELAY: Span = Span::from_millis(2);

/// A socket of smoltcp's.
pub(crate) struct Guest {
    set: SocketSet<'static>,
    handle: SocketHandle,
    class: usize,
}

/// Where sockets come from and go to.
#[derive(Default)]
pub(crate) struct Pool {
    used: [usize; CLASSES.len()],
    spare: Vec<Guest>,
}

impl Pool {
    /// A closed socket; none if there are too many.
    pub(crate) fn take(&mut self) -> Option<Guest> {
        let class = (0..CLASSES.len()).find(|class| self.used[*class] < CLASSES[*class].1)?;
        self.used[class] += 1;
        if let Some(guest) = self.spare.pop_if(|_| class == 0) {
            return Some(guest);
        }
        let buffer = || SocketBuffer::new(vec![0; CLASSES[class].0]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        Some(Guest { set, handle, class })
    }

    /// Takes a socket back.
    pub(crate) fn give(&mut self, mut guest: Guest) {
        self.used[guest.class] -= 1;
        if guest.class == 0 && self.spare.len() < SPARE {
            guest.socket().abort();
            guest.socket().set_timeout(None);
            self.spare.push(guest);
        }
    }
}

impl Guest {
    pub(crate) fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.set.get_mut(self.handle)
    }

    /// Receives the packet that is in `port`. `whole`: it is one of many, or the last, and its sender waits.
    pub(crate) fn receive(&mut self, interface: &mut Interface, port: &mut Port<'_>, whole: bool) {
        self.socket().set_ack_delay((!whole).then_some(ACK_DELAY));
        interface.poll_ingress_single(instant(port.now), port, &mut self.set);
    }

    /// Sends what there is to send, as far as there is room.
    pub(crate) fn transmit(&mut self, interface: &mut Interface, port: &mut Port<'_>) {
        while interface.poll_egress(instant(port.now), port, &mut self.set) != PollResult::None {}
    }

    /// When there will be something to do without a packet: at once is [`Duration::ZERO`].
    pub(crate) fn wake_at(&mut self, interface: &mut Interface, now: Duration) -> Option<Duration> {
        let at = interface.poll_at(instant(now), &self.set)?;
        Some(Duration::from_micros(at.total_micros().max(0).unsigned_abs()))
    }
}

/// A time of smoltcp's.
pub(crate) fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}
