//! Datagrams of the guest's: UDP, echo requests and questions for names. Each pair of ends has a socket of
//! the host's of its own, which is closed when it has been idle.

use crate::{
    around::Around,
    dns, icmp,
    sockets::{Sockets, Token},
    wire::{self, Header},
};
use slab::Slab;
use std::{
    collections::{BTreeSet, HashMap},
    io::ErrorKind,
    net::SocketAddr,
    time::Duration,
};

/// Most flows at once. Beyond, the one that would end first has to go.
const MOST: usize = 1024;
/// How long an idle flow lives, and one that was answered more than once (RFC 4787, REQ-5, has two minutes as
/// the least; Linux's conntrack has these two).
const IDLE: Duration = Duration::from_secs(30);
const STREAM: Duration = Duration::from_secs(180);
/// Datagrams that are read from one socket before others have their turn.
const BATCH: usize = 64;
/// Most bytes of a datagram.
const LONGEST: usize = 65_535;

/// What a flow carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Udp,
    /// The guest's identifier is in place of its port.
    Echo,
    /// A question with this id.
    Question(u16),
}

/// What tells one flow from another: the guest's end, and the other as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) guest: SocketAddr,
    pub(crate) remote: SocketAddr,
}

struct Flow<S: Sockets> {
    key: Key,
    socket: S::Datagram,
    /// Its place among the ends.
    listed: Duration,
    /// When it really ends, if nothing happens.
    until: Duration,
    answers: u32,
    stalled: bool,
    /// The question, and which resolver it was put to.
    query: Vec<u8>,
    resolver: usize,
}

/// All flows.
pub(crate) struct Flows<S: Sockets> {
    all: Slab<Flow<S>>,
    by_key: HashMap<Key, usize>,
    ends: BTreeSet<(Duration, usize)>,
    stalled: Vec<usize>,
    buffer: Vec<u8>,
    resolvers: Vec<SocketAddr>,
    /// What the nth is called by.
    token: fn(usize) -> Token,
}

/// Tells the guest that a datagram from `key`'s ends met an error.
fn error<S: Sockets>(key: Key, error: icmp::Error, around: &mut Around<'_, S>) {
    let (source, destination) = (key.guest.ip(), key.remote.ip());
    let Some(gateway) = around.gateway(source.is_ipv4()) else { return };
    let from = if error == icmp::Error::PortUnreachable { destination } else { gateway };
    let mut about = Vec::new();
    let Some(datagram) = wire::udp(key.guest, key.remote, &[]) else { return };
    let header = Header { source, destination, protocol: wire::UDP, ttl: 64 };
    if key.kind != Kind::Echo && header.write(&mut about, datagram.len(), None).is_some() {
        about.extend(datagram);
        icmp::error(around.link, from, &about, error, around.now);
    }
}

impl<S: Sockets> Flows<S> {
    pub(crate) fn new(resolvers: Vec<SocketAddr>, token: fn(usize) -> Token) -> Self {
        Flows {
            all: Slab::new(),
            by_key: HashMap::new(),
            ends: BTreeSet::new(),
            stalled: Vec::new(),
            buffer: vec![0; LONGEST],
            resolvers,
            token,
        }
    }

    /// Where questions go.
    pub(crate) fn resolvers(&self) -> &[SocketAddr] {
        &self.resolvers
    }

    /// Sends a datagram to `target`, or an echo request from its type on.
    pub(crate) fn send(&mut self, key: Key, target: SocketAddr, data: &[u8], around: &mut Around<'_, S>) {
        let nth = match self.by_key.get(&key) {
            Some(nth) => *nth,
            None => match self.add(key, target, around) {
                Some(nth) => nth,
                None => return,
            },
        };
        self.transmit(nth, data, around);
    }

    /// Puts a question to a resolver: the next one if it is asked again.
    pub(crate) fn ask(
        &mut self,
        key: Key,
        query: &[u8],
        question: &dns::Question,
        around: &mut Around<'_, S>,
    ) {
        let resolver = match self.by_key.get(&key) {
            Some(&nth) => {
                let resolver = self.all[nth].resolver + 1;
                self.remove(nth);
                resolver % self.resolvers.len().max(1)
            }
            None => 0,
        };
        self.ask_from(resolver, key, query, question, around);
    }

    /// Puts a question to the first resolver from `first` on that can be sent to.
    fn ask_from(
        &mut self,
        first: usize,
        key: Key,
        query: &[u8],
        question: &dns::Question,
        around: &mut Around<'_, S>,
    ) {
        for resolver in first..self.resolvers.len() {
            let target = self.resolvers[resolver];
            let Some(nth) = self.add(key, target, around) else { continue };
            if around.sockets.send(&mut self.all[nth].socket, query).is_ok() {
                self.all[nth].query = query.to_vec();
                self.all[nth].resolver = resolver;
                return;
            }
            self.remove(nth);
        }
        let failure = dns::failure(query, question, dns::SERVER_FAILURE);
        around.link.send_udp(key.remote, key.guest, &failure, around.now);
    }

    /// A new flow.
    fn add(&mut self, key: Key, target: SocketAddr, around: &mut Around<'_, S>) -> Option<usize> {
        if self.all.len() >= MOST
            && let Some(&(_, first)) = self.ends.first()
        {
            self.remove(first);
        }
        let entry = self.all.vacant_entry();
        let (nth, token) = (entry.key(), (self.token)(entry.key()));
        let socket = match key.kind {
            Kind::Echo => around.sockets.echo(target.ip(), token),
            Kind::Udp | Kind::Question(_) => around.sockets.datagram(target, token),
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(failed) => {
                let told = match failed.kind() {
                    ErrorKind::PermissionDenied => icmp::Error::Prohibited,
                    _ => icmp::Error::HostUnreachable,
                };
                if key.kind == Kind::Udp {
                    error(key, told, around);
                }
                return None;
            }
        };
        let until = around.now + IDLE;
        let flow = Flow {
            key,
            socket,
            listed: until,
            until,
            answers: 0,
            stalled: false,
            query: Vec::new(),
            resolver: 0,
        };
        entry.insert(flow);
        self.by_key.insert(key, nth);
        self.ends.insert((until, nth));
        Some(nth)
    }

    fn transmit(&mut self, nth: usize, data: &[u8], around: &mut Around<'_, S>) {
        let flow = &mut self.all[nth];
        flow.extend(around.now);
        // The first attempt may only hear of an error that an earlier datagram has met.
        for _ in 0..2 {
            match around.sockets.send(&mut flow.socket, data) {
                Ok(()) => return,
                Err(failed) => match failed.kind() {
                    ErrorKind::ConnectionRefused => error(flow.key, icmp::Error::PortUnreachable, around),
                    ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                        error(flow.key, icmp::Error::HostUnreachable, around);
                        return;
                    }
                    ErrorKind::PermissionDenied => {
                        error(flow.key, icmp::Error::Prohibited, around);
                        return;
                    }
                    // Datagrams get lost.
                    _ => return,
                },
            }
        }
    }

    /// A socket of the host's is ready.
    pub(crate) fn ready(&mut self, nth: usize, around: &mut Around<'_, S>) {
        for _ in 0..BATCH {
            let Some(flow) = self.all.get_mut(nth) else { return };
            if !around.link.has_room() {
                break;
            }
            match around.sockets.receive(&mut flow.socket, &mut self.buffer) {
                Ok(length) => self.received(nth, length, around),
                Err(failed) => match failed.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::ConnectionRefused => match flow.key.kind {
                        Kind::Question(_) => self.next_resolver(nth, around),
                        _ => error(flow.key, icmp::Error::PortUnreachable, around),
                    },
                    ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => match flow.key.kind {
                        Kind::Question(_) => self.next_resolver(nth, around),
                        _ => error(flow.key, icmp::Error::HostUnreachable, around),
                    },
                    _ => {}
                },
            }
        }
        // There may be more: without an edge nobody will say so.
        if let Some(flow) = self.all.get_mut(nth)
            && !std::mem::replace(&mut flow.stalled, true)
        {
            self.stalled.push(nth);
        }
    }

    fn next_resolver(&mut self, nth: usize, around: &mut Around<'_, S>) {
        let Some(flow) = self.remove(nth) else { return };
        if let Some(question) = dns::Question::of_query(&flow.query) {
            self.ask_from(flow.resolver + 1, flow.key, &flow.query, &question, around);
        }
    }

    fn received(&mut self, nth: usize, length: usize, around: &mut Around<'_, S>) {
        let Some(flow) = self.all.get_mut(nth) else { return };
        let data = self.buffer.get(..length).unwrap_or_default();
        let (remote, guest) = (flow.key.remote, flow.key.guest);
        flow.answers = flow.answers.saturating_add(1);
        flow.extend(around.now);
        match flow.key.kind {
            Kind::Echo => {
                icmp::reply(around.link, remote.ip(), guest.ip(), guest.port(), data, around.now);
                return;
            }
            Kind::Question(_) if !dns::answers(data, &flow.query) => return,
            Kind::Question(_) => (around.seen)(data),
            Kind::Udp => {}
        }
        around.link.send_udp(remote, guest, data, around.now);
        if matches!(flow.key.kind, Kind::Question(_)) {
            self.remove(nth);
        }
    }

    /// Ends idle flows, and goes on with those that had to wait. Whether there are more of these.
    pub(crate) fn run(&mut self, around: &mut Around<'_, S>) {
        while let Some(&(at, nth)) = self.ends.first() {
            if at > around.now {
                break;
            }
            self.ends.pop_first();
            let until = self.all[nth].until;
            if until > around.now {
                self.all[nth].listed = until;
                self.ends.insert((until, nth));
            } else {
                self.remove(nth);
            }
        }
        if around.link.has_room() {
            for nth in std::mem::take(&mut self.stalled) {
                if let Some(flow) = self.all.get_mut(nth) {
                    flow.stalled = false;
                    self.ready(nth, around);
                }
            }
        }
    }

    /// Some flow was left with datagrams only because others had their turn.
    pub(crate) fn unfinished(&self) -> bool {
        !self.stalled.is_empty()
    }

    fn remove(&mut self, nth: usize) -> Option<Flow<S>> {
        let flow = self.all.try_remove(nth)?;
        self.by_key.remove(&flow.key);
        self.ends.remove(&(flow.listed, nth));
        Some(flow)
    }

    /// When a flow may end.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.ends.first().map(|(at, _)| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

impl<S: Sockets> Flow<S> {
    fn extend(&mut self, now: Duration) {
        self.until = now + if self.answers > 1 { STREAM } else { IDLE };
    }
}
