//! TCP: one socket of smoltcp's on the guest's side for each connection, one of the system's on the other.
//!
//! A connection of the guest's waits with its SYN until the host's side is connected, so that what the guest
//! sees is what the host saw: a refusal, silence, or a connection.

mod connection;
mod device;
mod guest;

use crate::{
    around::Around,
    dns, icmp,
    link::Link,
    ports::Ports,
    sockets::{Readiness, Sockets, Token},
    wire::{self, ACK, FIN, Header, Ip, RST, SYN, TCP},
};
use connection::{Common, Connection, Fate};
use device::Port;
use guest::{Pool, instant};
use slab::Slab;
use smoltcp::{
    iface::{self, Interface},
    wire::{HardwareAddress, IpEndpoint, IpListenEndpoint},
};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub(crate) use guest::MOST;

/// Soonest that a connection is looked after again without an event.
const TICK: Duration = Duration::from_millis(1);

/// A TCP segment of the guest's.
pub(crate) struct Segment<'a> {
    pub(crate) ip: Ip<'a>,
    pub(crate) guest_end: SocketAddr,
    pub(crate) remote: SocketAddr,
    flags: u8,
    sequence: u32,
    acknowledged: u32,
    /// Bytes of data.
    length: usize,
}

impl<'a> Segment<'a> {
    /// Takes a segment apart (RFC 9293, section 3.1).
    pub(crate) fn parse(ip: Ip<'a>) -> Option<Self> {
        let tcp = ip.payload();
        let (from, to) = (wire::word(tcp, 0)?, wire::word(tcp, 2)?);
        let header = usize::from(tcp.get(12)? >> 4) * 4;
        if header < 20 || tcp.len() < header || from == 0 || to == 0 {
            return None;
        }
        Some(Segment {
            ip,
            guest_end: SocketAddr::new(ip.source, from),
            remote: SocketAddr::new(ip.destination, to),
            flags: *tcp.get(13)?,
            sequence: wire::long(tcp, 4)?,
            acknowledged: wire::long(tcp, 8)?,
            length: tcp.len() - header,
        })
    }

    /// It asks for a connection.
    pub(crate) fn opens(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// Answers with a reset (RFC 9293, section 3.10.7.1).
    pub(crate) fn refuse(&self, link: &mut Link, now: Duration) {
        if self.flags & RST != 0 {
            return;
        }
        let ends = u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0);
        let (sequence, acknowledged, flags) = if self.flags & ACK != 0 {
            (self.acknowledged, 0, RST)
        } else {
            (0, self.sequence.wrapping_add(self.length as u32).wrapping_add(ends), RST | ACK)
        };
        let mut reply = Vec::with_capacity(20);
        reply.extend(self.remote.port().to_be_bytes());
        reply.extend(self.guest_end.port().to_be_bytes());
        reply.extend(sequence.to_be_bytes());
        reply.extend(acknowledged.to_be_bytes());
        reply.extend([5 << 4, flags, 0, 0, 0, 0, 0, 0]);
        let (source, destination) = (self.remote.ip(), self.guest_end.ip());
        let sum = wire::pseudo_sum(source, destination, TCP, reply.len()) + wire::sum(&reply);
        reply[16..18].copy_from_slice(&wire::finish(sum).to_be_bytes());
        link.send(Header { source, destination, protocol: TCP, ttl: 64 }, &reply, now);
    }
}

/// All connections.
pub(crate) struct Tcp<S: Sockets> {
    interface: Interface,
    pool: Pool,
    all: Slab<Connection<S>>,
    by_ends: HashMap<(SocketAddr, SocketAddr), usize>,
    /// Those to look after now.
    due: VecDeque<usize>,
    /// Those that wait for room on the link.
    stalled: Vec<usize>,
    timers: BTreeSet<(Duration, usize)>,
    ports: Ports,
}

impl<S: Sockets> Tcp<S> {
    pub(crate) fn new(link: &mut Link, seed: Option<u64>) -> Self {
        let mut config = iface::Config::new(HardwareAddress::Ip);
        config.random_seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let mut port =
            Port { link, received: None, segment: 0, urgent: false, sent: false, now: Duration::ZERO };
        let mut interface = Interface::new(config, &mut port, instant(Duration::ZERO));
        interface.set_any_ip(true);
        Tcp {
            interface,
            pool: Pool::default(),
            all: Slab::new(),
            by_ends: HashMap::new(),
            due: VecDeque::new(),
            stalled: Vec::new(),
            timers: BTreeSet::new(),
            ports: Ports::default(),
        }
    }

    /// Connections there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes a segment for a connection that exists. Whether it does.
    pub(crate) fn segment(&mut self, segment: &Segment<'_>, around: &mut Around<'_, S>) -> bool {
        let Some(&nth) = self.by_ends.get(&(segment.guest_end, segment.remote)) else { return false };
        let connection = &mut self.all[nth];
        if connection.guest.is_none() {
            // A repeated SYN waits as the first does.
            if segment.flags & RST != 0 {
                self.remove(nth, around, true);
            }
            return true;
        }
        if connection.is_beyond_first_window(segment.sequence, segment.length) {
            return true;
        }
        connection.reset |= segment.flags & RST != 0;
        let mut copy;
        let mut bytes = segment.ip.bytes;
        if segment.flags & SYN != 0 {
            copy = bytes.to_vec();
            let told = device::adopt_segment_size(&mut copy, segment.ip.header, around.link);
            // An answer to a connection of the gateway's; one that is repeated says the same.
            connection.segment = told;
            bytes = &copy;
        }
        let whole = segment.flags & (FIN | SYN) != 0 || segment.length >= usize::from(connection.segment);
        self.inject(nth, bytes, whole, around);
        true
    }

    fn inject(&mut self, nth: usize, packet: &[u8], whole: bool, around: &mut Around<'_, S>) {
        let connection = &mut self.all[nth];
        if let Some(guest) = &mut connection.guest {
            let (segment, now) = (connection.segment, around.now);
            let mut port =
                Port { link: around.link, received: Some(packet), segment, urgent: false, sent: false, now };
            guest.receive(&mut self.interface, &mut port, whole);
            connection.told |= port.sent;
        }
        self.list(nth);
    }

    fn list(&mut self, nth: usize) {
        if !std::mem::replace(&mut self.all[nth].listed, true) {
            self.due.push_back(nth);
        }
    }

    /// Begins a connection that the guest asks for, to `target`. `resolver`: its responses are looked at.
    pub(crate) fn open(
        &mut self,
        segment: &Segment<'_>,
        target: SocketAddr,
        resolver: bool,
        token: impl Fn(usize) -> Token,
        around: &mut Around<'_, S>,
    ) {
        if self.all.len() >= MOST {
            segment.refuse(around.link, around.now);
            return;
        }
        let entry = self.all.vacant_entry();
        let nth = entry.key();
        match around.sockets.connect(target, token(nth)) {
            Ok(host) => {
                let mut connection = Connection::new(segment.guest_end, segment.remote, host);
                connection.syn = segment.ip.bytes.to_vec();
                connection.first = segment.sequence;
                connection.responses = resolver.then(dns::Stream::default);
                entry.insert(connection);
                self.by_ends.insert((segment.guest_end, segment.remote), nth);
            }
            Err(error) => Self::failed(&error, segment.ip.bytes, around),
        }
    }

    /// Tells the guest that its connection has failed.
    fn failed(error: &io::Error, syn: &[u8], around: &mut Around<'_, S>) {
        match error.kind() {
            ErrorKind::TimedOut => {}
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
                around.error(syn, icmp::Error::HostUnreachable);
            }
            ErrorKind::PermissionDenied => around.error(syn, icmp::Error::Prohibited),
            _ => {
                if let Some(segment) = Ip::parse(syn).and_then(Segment::parse) {
                    segment.refuse(around.link, around.now);
                }
            }
        }
    }

    /// Connects to the guest for a client of a published port; `nth` is what [`Tcp::next`] said.
    pub(crate) fn dial(
        &mut self,
        nth: usize,
        host: S::Stream,
        gateway: IpAddr,
        to: SocketAddr,
        around: &mut Around<'_, S>,
    ) {
        let from = self.free_port(gateway, to);
        let guest = if self.all.len() < MOST { self.pool.take() } else { None };
        let (Some(from), Some(mut guest)) = (from, guest) else {
            around.sockets.close(host, true);
            return;
        };
        let (from_end, to_end) = (endpoint(from), endpoint(to));
        let local = IpListenEndpoint { addr: Some(from_end.addr), port: from_end.port };
        if guest.socket().connect(self.interface.context(), to_end, local).is_err() {
            self.pool.give(guest);
            around.sockets.close(host, true);
            return;
        }
        let mut connection = Connection::new(to, from, host);
        connection.guest = Some(guest);
        connection.told = true;
        connection.writable = true;
        connection.readable = true;
        let entry = self.all.vacant_entry();
        debug_assert_eq!(entry.key(), nth);
        entry.insert(connection);
        self.by_ends.insert((to, from), nth);
        self.list(nth);
    }

    /// The name of the next connection.
    pub(crate) fn next(&self) -> usize {
        self.all.vacant_key()
    }

    fn free_port(&mut self, gateway: IpAddr, to: SocketAddr) -> Option<SocketAddr> {
        for _ in 0..=MOST {
            let from = SocketAddr::new(gateway, self.ports.next());
            if !self.by_ends.contains_key(&(to, from)) {
                return Some(from);
            }
        }
        None
    }

    /// A socket of the host's is ready.
    pub(crate) fn ready(&mut self, nth: usize, readiness: Readiness, around: &mut Around<'_, S>) {
        let Some(connection) = self.all.get_mut(nth) else { return };
        connection.readable |= readiness.readable;
        connection.writable |= readiness.writable;
        if connection.guest.is_some() {
            self.list(nth);
            return;
        }
        match around.sockets.connected(&mut connection.host) {
            Ok(()) => self.connected(nth, around),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => {
                let syn = std::mem::take(&mut connection.syn);
                self.remove(nth, around, true);
                Self::failed(&error, &syn, around);
            }
        }
    }

    /// The host's side is connected: the guest's SYN goes on.
    fn connected(&mut self, nth: usize, around: &mut Around<'_, S>) {
        let connection = &mut self.all[nth];
        let mut syn = std::mem::take(&mut connection.syn);
        let remote = endpoint(connection.remote);
        let local = IpListenEndpoint { addr: Some(remote.addr), port: remote.port };
        let guest = self.pool.take();
        let guest = guest.and_then(|mut guest| guest.socket().listen(local).is_ok().then_some(guest));
        let Some(guest) = guest else {
            self.remove(nth, around, true);
            Self::failed(&ErrorKind::OutOfMemory.into(), &syn, around);
            return;
        };
        connection.guest = Some(guest);
        connection.writable = true;
        connection.readable = true;
        let header = Ip::parse(&syn).map_or(0, |ip| ip.header);
        connection.segment = device::adopt_segment_size(&mut syn, header, around.link);
        self.inject(nth, &syn, true, around);
    }

    /// Looks after the connections that have something to do.
    pub(crate) fn run(&mut self, around: &mut Around<'_, S>) {
        if around.link.has_room() {
            for nth in std::mem::take(&mut self.stalled) {
                if let Some(connection) = self.all.get_mut(nth) {
                    connection.stalled = false;
                    self.list(nth);
                }
            }
        }
        while let Some(&(at, nth)) = self.timers.first() {
            if at > around.now {
                break;
            }
            self.timers.pop_first();
            self.all[nth].timer = None;
            self.list(nth);
        }
        while let Some(nth) = self.due.pop_front() {
            let Some(connection) = self.all.get_mut(nth).filter(|connection| connection.listed) else {
                continue;
            };
            connection.listed = false;
            let mut common = Common {
                sockets: around.sockets,
                interface: &mut self.interface,
                link: around.link,
                now: around.now,
                seen: around.seen,
            };
            match connection.pump(&mut common) {
                Fate::Lives => self.rest(nth, around),
                Fate::Ended => self.remove(nth, around, false),
                Fate::Reset => self.remove(nth, around, true),
            }
        }
    }

    /// Notes what a connection waits for.
    fn rest(&mut self, nth: usize, around: &mut Around<'_, S>) {
        let connection = &mut self.all[nth];
        let Some(guest) = &mut connection.guest else { return };
        let wake = guest.wake_at(&mut self.interface, around.now);
        let (room, over) = (around.link.has_room(), connection.is_over());
        if !room && !std::mem::replace(&mut connection.stalled, true) {
            self.stalled.push(nth);
        }
        let wake = wake.filter(|_| room && !over).map(|at| at.max(around.now + TICK));
        if wake != connection.timer {
            if let Some(at) = connection.timer {
                self.timers.remove(&(at, nth));
            }
            connection.timer = wake;
            if let Some(at) = wake {
                self.timers.insert((at, nth));
            }
        }
    }

    fn remove(&mut self, nth: usize, around: &mut Around<'_, S>, reset: bool) {
        let Some(connection) = self.all.try_remove(nth) else { return };
        self.by_ends.remove(&(connection.guest_end, connection.remote));
        if let Some(at) = connection.timer {
            self.timers.remove(&(at, nth));
        }
        if let Some(guest) = connection.guest {
            self.pool.give(guest);
        }
        around.sockets.close(connection.host, reset);
    }

    /// Some host has yet to take what the guest has sent.
    pub(crate) fn owes_host(&mut self) -> bool {
        self.all.iter_mut().any(|(_, connection)| connection.owes_host())
    }

    /// Some connection waits for room on the link alone.
    pub(crate) fn unfinished(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// When a connection wants to be looked after.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }
}

fn endpoint(address: SocketAddr) -> IpEndpoint {
    IpEndpoint::new(address.ip().into(), address.port())
}
