//! One connection, and how bytes get from one side of it to the other. Nothing is read from a side that the
//! other cannot take; an end is passed on as an end, and a reset as a reset.

use super::{device::Port, guest::Guest};
use crate::{dns, link::Link, sockets::Sockets};
use smoltcp::{
    iface::Interface,
    socket::tcp::{self, State},
    time::Duration as Span,
};
use std::{
    io::{Error, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

/// How long the last acknowledgements are waited for, and a guest that does not answer at all.
const LAST: Span = Span::from_secs(60);
const SILENCE: Span = Span::from_secs(180);
/// Where the first window ends, from the SYN's number on.
const FIRST_WINDOW: u32 = 1 + 0xffff;
/// How long smoltcp may be asked to send in TIME-WAIT, where it stays for 10 s.
const OVER: Duration = Duration::from_secs(5);

/// A connection.
pub(crate) struct Connection<S: Sockets> {
    pub(crate) guest_end: SocketAddr,
    /// As the guest sees it.
    pub(crate) remote: SocketAddr,
    pub(crate) host: S::Stream,
    /// None while the host's side is connecting.
    pub(crate) guest: Option<Guest>,
    /// The guest's SYN, which waits for the host's side.
    pub(crate) syn: Vec<u8>,
    /// The number of the guest's SYN.
    pub(crate) first: u32,
    /// The guest was told of a window besides that in the answer to its SYN.
    pub(crate) told: bool,
    /// Most bytes of data in a segment.
    pub(crate) segment: u16,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The host's side will send nothing more.
    host_ended: bool,
    /// The host's side was told that the guest will send nothing more.
    finished: bool,
    /// The guest has sent its end.
    guest_ended: bool,
    established: bool,
    /// A segment with RST came from the guest.
    pub(crate) reset: bool,
    /// It is in the list of those to look after.
    pub(crate) listed: bool,
    /// It is in the list of those that wait for room on the link.
    pub(crate) stalled: bool,
    /// Both ends were seen since then.
    over: Option<Duration>,
    /// Its place in the timers.
    pub(crate) timer: Option<Duration>,
    /// Responses of the resolver that pass.
    pub(crate) responses: Option<dns::Stream>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lives,
    /// Both sides have ended.
    Ended,
    /// The host's side has to be reset.
    Reset,
}

/// What connections share.
pub(crate) struct Common<'a, S: Sockets> {
    pub(crate) sockets: &'a mut S,
    pub(crate) interface: &'a mut Interface,
    pub(crate) link: &'a mut Link,
    pub(crate) now: Duration,
    /// Gets each response of a resolver's.
    pub(crate) seen: &'a mut dyn FnMut(&[u8]),
}

impl<S: Sockets> Connection<S> {
    pub(crate) fn new(guest_end: SocketAddr, remote: SocketAddr, host: S::Stream) -> Self {
        Connection {
            guest_end,
            remote,
            host,
            guest: None,
            syn: Vec::new(),
            first: 0,
            told: false,
            segment: 536,
            readable: false,
            writable: false,
            host_ended: false,
            finished: false,
            guest_ended: false,
            established: false,
            reset: false,
            listed: false,
            stalled: false,
            over: None,
            timer: None,
            responses: None,
        }
    }

    /// Whether a segment ends beyond the window in the answer to the guest's SYN, and no other was told.
    ///
    /// That window is not scaled (RFC 7323, section 2.2), but smoltcp 0.14 takes it to be, and then accepts
    /// more than its buffer holds: it would panic.
    pub(crate) fn is_beyond_first_window(&self, sequence: u32, length: usize) -> bool {
        let end = sequence.wrapping_sub(self.first).wrapping_add(length as u32);
        !self.told && end > FIRST_WINDOW && length != 0
    }

    /// The guest needs to hear nothing more: only the host's side has to take what is left.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Moves what can be moved.
    pub(crate) fn pump(&mut self, common: &mut Common<'_, S>) -> Fate {
        let Some(mut guest) = self.guest.take() else { return Fate::Lives };
        let fate = self.pump_with(&mut guest, common);
        self.guest = Some(guest);
        fate
    }

    fn pump_with(&mut self, guest: &mut Guest, common: &mut Common<'_, S>) -> Fate {
        let socket = guest.socket();
        self.look(socket);
        if self.reset && matches!(socket.state(), State::Closed | State::Listen) {
            return Fate::Reset;
        }
        let failed =
            self.feed_host(socket, common.sockets).is_err() || self.feed_guest(socket, common).is_err();
        if failed {
            socket.abort();
        }
        let closed = socket.state() == State::Closed;
        if self.guest_ended && self.host_ended {
            socket.set_timeout(Some(LAST));
        }
        // After TIME-WAIT smoltcp would forget what the host's side has not yet taken.
        let over = socket.state() == State::TimeWait;
        let since = if over { *self.over.get_or_insert(common.now) } else { common.now };
        if common.now - since < OVER {
            let (link, segment, now) = (&mut *common.link, self.segment, common.now);
            let mut port = Port { link, received: None, segment, urgent: closed, sent: false, now };
            guest.transmit(common.interface, &mut port);
            self.told |= port.sent;
        }
        let socket = guest.socket();
        match socket.state() {
            _ if failed => Fate::Reset,
            State::Closed if !self.guest_ended => Fate::Reset,
            State::Closed | State::TimeWait if self.finished => Fate::Ended,
            _ => Fate::Lives,
        }
    }

    /// The host has yet to take what the guest has sent.
    pub(crate) fn owes_host(&mut self) -> bool {
        let ended = self.guest_ended && !self.finished;
        self.guest.as_mut().is_some_and(|guest| ended || guest.socket().recv_queue() > 0)
    }

    /// Takes note of the guest's progress.
    fn look(&mut self, socket: &mut tcp::Socket<'static>) {
        match socket.state() {
            State::SynSent | State::SynReceived if !self.established => socket.set_timeout(Some(SILENCE)),
            State::Established if !self.established => {
                self.established = true;
                socket.set_timeout(None);
            }
            State::CloseWait | State::LastAck | State::Closing | State::TimeWait => self.guest_ended = true,
            _ => {}
        }
    }

    fn feed_host(&mut self, socket: &mut tcp::Socket<'static>, sockets: &mut S) -> Result<(), Error> {
        while self.writable && socket.can_recv() {
            let written = socket.recv(|data| match sockets.write(&mut self.host, data) {
                Ok(length) => (length.min(data.len()), Ok(length)),
                Err(error) => (0, Err(error)),
            });
            match written {
                Ok(Ok(length)) => self.writable = length != 0,
                Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        if self.guest_ended && !self.finished && socket.recv_queue() == 0 {
            self.finished = true;
            // A peer that is gone already needs to hear no end.
            drop(sockets.finish(&mut self.host));
        }
        Ok(())
    }

    fn feed_guest(
        &mut self,
        socket: &mut tcp::Socket<'static>,
        common: &mut Common<'_, S>,
    ) -> Result<(), Error> {
        while self.readable && !self.host_ended && socket.can_send() && common.link.has_room() {
            let (sockets, responses) = (&mut *common.sockets, &mut self.responses);
            let read = socket.send(|space| match sockets.read(&mut self.host, space) {
                Ok(length) => {
                    let length = length.min(space.len());
                    if let Some(responses) = responses {
                        responses.pass(&space[..length], common.seen);
                    }
                    (length, Ok(length))
                }
                Err(error) => (0, Err(error)),
            });
            match read {
                Ok(Ok(0)) => {
                    self.host_ended = true;
                    socket.close();
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Ok(())
    }
}
