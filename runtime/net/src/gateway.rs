//! The gateway itself: each packet of the guest's finds its way here. It is a machine without a clock and
//! without an operating system: times are given, and sockets are a [`Sockets`].

use crate::{
    around::Around,
    config::Config,
    dns,
    flows::{Flows, Key, Kind},
    fragments::Fragments,
    icmp,
    link::{FRONT, Link},
    neighbor,
    pcapng::Capture,
    policy::Policy,
    publish::Protocol,
    published::{Bound, BoundSocket, Published},
    sockets::{Readiness, Sockets, Token},
    tcp::{Segment, Tcp},
    wire::{self, ICMP, ICMPV6, Ip, TCP, TYPE_ARP, TYPE_IPV4, TYPE_IPV6, UDP, Udp},
};
use forelift_abi::net;
use std::{
    io::{ErrorKind, Write},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// What a token stands for, in its lowest bits.
const KINDS: usize = 4;
const CONNECTION: usize = 0;
const FLOW: usize = 1;
const PUBLISHED: usize = 2;
/// The token of what is not the gateway's: for its back end.
pub const FOREIGN: Token = Token(3);
/// How long a gateway stays, when its guest is gone, until hosts have taken what the guest had sent.
#[cfg(any(unix, all(target_os = "wasi", feature = "wasi")))]
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// Clients that are taken from one published port before others have their turn.
const BATCH: usize = 64;

fn token(kind: usize, nth: usize) -> Token {
    Token(nth * KINDS + kind)
}

/// The token of the nth published port.
pub fn published_token(nth: usize) -> Token {
    token(PUBLISHED, nth)
}

/// How much is going on, for tests and for notes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// TCP connections.
    pub connections: usize,
    /// Flows of datagrams.
    pub flows: usize,
    /// Packets for the guest that found no room.
    pub dropped: u64,
}

/// A gateway.
pub struct Gateway<S: Sockets> {
    config: Config,
    sockets: S,
    link: Link,
    policy: Policy,
    fragments: Fragments,
    tcp: Tcp<S>,
    flows: Flows<S>,
    published: Published<S>,
    gateways: Vec<IpAddr>,
    dns: Vec<IpAddr>,
    /// All addresses of the gateway's.
    own: Vec<IpAddr>,
    /// Ports with clients that had to wait.
    crowded: Vec<usize>,
}

impl<S: Sockets> Gateway<S> {
    /// A gateway with these published ports, which are bound. `capture` gets all frames, and the time of day
    /// at the gateway's time 0, from 1970 on.
    pub fn new(
        config: Config,
        sockets: S,
        published: Vec<Bound<S>>,
        capture: Option<(Box<dyn Write + Send>, Duration)>,
    ) -> Self {
        let capture = capture.map(|(to, epoch)| Capture::new(to, epoch));
        let mut link = Link::new(&config, capture);
        let (gateways, dns): (Vec<_>, Vec<_>) = (config.gateways().collect(), config.dns().collect());
        Gateway {
            tcp: Tcp::new(&mut link, config.seed),
            policy: Policy::new(&config),
            fragments: Fragments::default(),
            flows: Flows::new(config.resolvers.clone(), |nth| token(FLOW, nth)),
            published: Published::new(published),
            own: gateways.iter().chain(&dns).copied().collect(),
            gateways,
            dns,
            crowded: Vec::new(),
            config,
            sockets,
            link,
        }
    }

    /// The system's sockets.
    pub fn sockets(&mut self) -> &mut S {
        &mut self.sockets
    }

    /// Says how many bytes of packets the back end can take now.
    pub fn set_room(&mut self, bytes: usize) {
        self.link.set_room(bytes);
    }

    /// The next packet for the guest.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        self.link.pop()
    }

    /// When [`Gateway::run`] wants to be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Duration> {
        [self.tcp.deadline(), self.flows.deadline()].into_iter().flatten().min()
    }

    /// Whether there is something left to do that needs no event, if only there is room on the link.
    pub fn unfinished(&self) -> bool {
        self.link.has_room()
            && (self.tcp.unfinished()
                || self.flows.unfinished()
                || self.published.unfinished()
                || !self.crowded.is_empty())
    }

    /// Whether the guest has sent what a host has not taken yet.
    pub fn owes_host(&mut self) -> bool {
        self.tcp.owes_host()
    }

    /// How much is going on.
    pub fn counts(&self) -> Counts {
        Counts { connections: self.tcp.len(), flows: self.flows.len(), dropped: self.link.dropped }
    }

    /// Takes a packet of the guest's: header and frame. [`Gateway::run`] has to be called after one or more.
    pub fn packet(&mut self, packet: &[u8], now: Duration) {
        self.link.seen(packet, now);
        let Some(kind) = packet.get(FRONT - 2..FRONT).and_then(|bytes| wire::word(bytes, 0)) else { return };
        let (destination, payload) = (&packet[net::HEADER..net::HEADER + 6], &packet[FRONT..]);
        // Groups have the lowest bit of the first byte.
        if destination[0] & 1 == 0 && destination != self.config.gateway_mac {
            return;
        }
        match kind {
            TYPE_ARP => neighbor::arp(&mut self.link, self.config.gateway_mac, &self.own, payload, now),
            TYPE_IPV4 if self.config.ipv4.is_some() => self.ip(payload, now),
            TYPE_IPV6 if self.config.ipv6.is_some() => self.ip(payload, now),
            _ => {}
        }
    }

    fn ip(&mut self, bytes: &[u8], now: Duration) {
        let Some(ip) = Ip::parse(bytes) else { return };
        if let Some(place) = ip.fragment {
            if let Some(whole) = self.fragments.add(&ip, place, now)
                && let Some(ip) = Ip::parse(&whole)
            {
                self.whole(ip, now);
            }
            return;
        }
        self.whole(ip, now);
    }

    /// A packet that is no fragment.
    fn whole(&mut self, ip: Ip<'_>, now: Duration) {
        if ip.protocol == ICMPV6
            && neighbor::ndp(&mut self.link, self.config.gateway_mac, &self.own, &ip, now)
        {
            return;
        }
        let nobody = |ip: IpAddr| ip.is_unspecified() || ip.is_multicast() || ip.is_loopback();
        if nobody(ip.source) || self.own.contains(&ip.source) || ip.destination.is_multicast() {
            return;
        }
        if ip.ttl <= 1 && !self.own.contains(&ip.destination) {
            self.error(&ip, icmp::Error::TimeExceeded, now);
            return;
        }
        match ip.protocol {
            TCP => self.segment(ip, now),
            UDP => self.datagram(ip, now),
            ICMP | ICMPV6 => self.echo(ip, now),
            _ => {}
        }
    }

    /// Tells the guest about a packet of its by ICMP.
    fn error(&mut self, about: &Ip<'_>, error: icmp::Error, now: Duration) {
        let own = self.own.contains(&about.destination);
        let gateway = self.gateways.iter().find(|ip| ip.is_ipv4() == about.source.is_ipv4());
        let source = if own { Some(&about.destination) } else { gateway };
        if let Some(source) = source {
            icmp::error(&mut self.link, *source, about.bytes, error, now);
        }
    }

    fn segment(&mut self, ip: Ip<'_>, now: Duration) {
        let Some(segment) = Segment::parse(ip) else { return };
        let resolver = self.dns.contains(&ip.destination) && segment.remote.port() == dns::PORT;
        let target = if !segment.opens() {
            None
        } else if resolver {
            self.flows.resolvers().first().copied().filter(|_| self.policy.outbound())
        } else {
            let (ip, port) = (segment.remote.ip(), segment.remote.port());
            self.policy.target(ip, Some(port), now).map(|ip| SocketAddr::new(ip, port))
        };
        self.with(now, |tcp, _, around| {
            if tcp.segment(&segment, around) {
                return;
            }
            match target {
                Some(target) => tcp.open(&segment, target, resolver, |nth| token(CONNECTION, nth), around),
                None => segment.refuse(around.link, around.now),
            }
        });
    }

    fn datagram(&mut self, ip: Ip<'_>, now: Duration) {
        let Some(udp) = Udp::parse(ip.payload()) else { return };
        if udp.source == 0 || udp.destination == 0 {
            return;
        }
        if self.gateways.contains(&ip.destination)
            && self.published.answer(udp.source, udp.destination, udp.data, &mut self.sockets, now)
        {
            return;
        }
        let (guest, remote) =
            (SocketAddr::new(ip.source, udp.source), SocketAddr::new(ip.destination, udp.destination));
        if self.dns.contains(&ip.destination) {
            if udp.destination == dns::PORT {
                self.question(guest, remote, udp.data, now);
            } else {
                self.error(&ip, icmp::Error::PortUnreachable, now);
            }
            return;
        }
        let Some(target) = self.policy.target(ip.destination, Some(udp.destination), now) else {
            let port = self.gateways.contains(&ip.destination) && self.policy.outbound();
            let error = if port { icmp::Error::PortUnreachable } else { icmp::Error::Prohibited };
            self.error(&ip, error, now);
            return;
        };
        let key = Key { kind: Kind::Udp, guest, remote };
        let target = SocketAddr::new(target, udp.destination);
        self.with(now, |_, flows, around| flows.send(key, target, udp.data, around));
    }

    /// Does something with connections, flows and what is around them.
    fn with(&mut self, now: Duration, work: impl FnOnce(&mut Tcp<S>, &mut Flows<S>, &mut Around<'_, S>)) {
        let policy = &mut self.policy;
        let mut around = Around {
            sockets: &mut self.sockets,
            link: &mut self.link,
            now,
            gateways: &self.gateways,
            seen: &mut |message| learn(policy, message, now),
        };
        work(&mut self.tcp, &mut self.flows, &mut around);
    }

    /// A question to the resolver.
    fn question(&mut self, guest: SocketAddr, remote: SocketAddr, query: &[u8], now: Duration) {
        let Some(question) = dns::Question::of_query(query) else { return };
        let own = if !self.policy.outbound() {
            Some(dns::failure(query, &question, dns::REFUSED))
        } else if let Some(addresses) = self.config.local_name(&question.name) {
            let told: Vec<_> = addresses.iter().map(|ip| (*ip, Duration::ZERO)).collect();
            self.policy.learn(&question.name, &told, now);
            Some(dns::answer(query, &question, &addresses))
        } else {
            None
        };
        if let Some(own) = own {
            self.link.send_udp(remote, guest, &own, now);
            return;
        }
        let key = Key { kind: Kind::Question(question.id), guest, remote };
        self.with(now, |_, flows, around| flows.ask(key, query, &question, around));
    }

    fn echo(&mut self, ip: Ip<'_>, now: Duration) {
        if ip.source.is_ipv4() != (ip.protocol == ICMP) {
            return;
        }
        let Some(echo) = icmp::Echo::parse(&ip) else { return };
        if self.own.contains(&ip.destination) {
            icmp::reply(&mut self.link, ip.destination, ip.source, echo.ident, echo.message, now);
            return;
        }
        let Some(target) = self.policy.target(ip.destination, None, now) else {
            self.error(&ip, icmp::Error::Prohibited, now);
            return;
        };
        let end = |ip, port| SocketAddr::new(ip, port);
        let key = Key { kind: Kind::Echo, guest: end(ip.source, echo.ident), remote: end(ip.destination, 0) };
        // The guest may have left the checksum out.
        let mut message = echo.message.to_vec();
        message[2..4].fill(0);
        let sum = wire::finish(wire::sum(&message));
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.with(now, |_, flows, around| flows.send(key, end(target, 0), &message, around));
    }

    /// A socket of the host's is ready. [`Gateway::run`] has to be called after one or more.
    pub fn ready(&mut self, Token(name): Token, readiness: Readiness, now: Duration) {
        let (kind, nth) = (name % KINDS, name / KINDS);
        match kind {
            CONNECTION => {
                self.with(now, |tcp, _, around| tcp.ready(nth, readiness, around));
            }
            FLOW if readiness.readable => self.with(now, |_, flows, around| flows.ready(nth, around)),
            PUBLISHED => match self.published.all.get(nth).map(|bound| bound.publish.protocol) {
                Some(Protocol::Tcp) => self.accept(nth, now),
                Some(Protocol::Udp) => {
                    if let Some(ends) = self.inner_ends() {
                        self.published.ready(nth, ends, &mut self.sockets, &mut self.link, now);
                    }
                }
                None => {}
            },
            _ => {}
        }
    }

    /// The gateway and the guest, as the clients of published ports have them.
    fn inner_ends(&self) -> Option<(IpAddr, IpAddr)> {
        let v4 = self.config.ipv4.map(|link| (link.gateway.into(), link.guest.into()));
        v4.or(self.config.ipv6.map(|link| (link.gateway.into(), link.guest.into())))
    }

    /// Takes clients from a published TCP port.
    fn accept(&mut self, nth: usize, now: Duration) {
        let Some((gateway, guest)) = self.inner_ends() else { return };
        for _ in 0..BATCH {
            let Some(Bound { publish, socket: BoundSocket::Listener(listener) }) =
                self.published.all.get_mut(nth)
            else {
                return;
            };
            let (next, to) = (self.tcp.next(), SocketAddr::new(guest, publish.guest));
            match self.sockets.accept(listener, token(CONNECTION, next)) {
                Ok((stream, _)) => {
                    self.with(now, |tcp, _, around| tcp.dial(next, stream, gateway, to, around));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The client is gone already, or descriptors are short: those that follow may fare better.
                Err(_) => {}
            }
        }
        self.crowded.push(nth);
    }

    /// Connects to a port of the guest's for somebody of the back end's, whose stream `open` makes.
    pub fn dial(&mut self, port: u16, open: impl FnOnce(&mut S, Token) -> S::Stream, now: Duration) {
        let next = self.tcp.next();
        let stream = open(&mut self.sockets, token(CONNECTION, next));
        match self.inner_ends() {
            Some((gateway, guest)) => {
                let to = SocketAddr::new(guest, port);
                self.with(now, |tcp, _, around| tcp.dial(next, stream, gateway, to, around));
            }
            None => self.sockets.close(stream, true),
        }
    }

    /// Does what there is to do: moves bytes, and ends what is over.
    pub fn run(&mut self, now: Duration) {
        for nth in std::mem::take(&mut self.crowded) {
            self.accept(nth, now);
        }
        self.with(now, |_, flows, around| flows.run(around));
        if let Some(ends) = self.inner_ends() {
            self.published.run(ends, &mut self.sockets, &mut self.link, now);
        }
        self.with(now, |tcp, _, around| tcp.run(around));
    }
}

/// Takes note of what a resolver says.
fn learn(policy: &mut Policy, message: &[u8], now: Duration) {
    if let Some((name, addresses)) = dns::addresses(message) {
        policy.learn(&name, &addresses, now);
    }
}
