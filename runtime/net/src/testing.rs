//! For tests and fuzzing: sockets that exist in memory only, frames of a guest's, and a gateway that is given
//! whatever it may be given.

use crate::{
    config::Config,
    gateway::Gateway,
    link::FRONT,
    sockets::{Readiness, Sockets, Token},
    wire::{
        self, ACK, FIN, Fragment, Header, ICMP, ICMPV6, Ip, PSH, RST, SYN, TCP, TYPE_ARP, TYPE_IPV4,
        TYPE_IPV6,
    },
};
use forelift_abi::net;
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// A connection in memory.
#[derive(Debug)]
pub struct Stream {
    /// Where it leads.
    pub to: SocketAddr,
    /// The gateway's name for it.
    pub token: Token,
    /// How connecting went; none while nothing is known.
    pub connected: Option<Result<(), ErrorKind>>,
    /// What the gateway will read.
    pub input: VecDeque<u8>,
    /// After `input` comes an end.
    pub input_ends: bool,
    /// After `input` comes this.
    pub fails: Option<ErrorKind>,
    /// What the gateway has written.
    pub output: Vec<u8>,
    /// Bytes that can still be written.
    pub space: usize,
    /// The gateway will write nothing more.
    pub finished: bool,
}

/// A socket for datagrams in memory.
#[derive(Debug)]
pub struct Datagram {
    /// Its peer.
    pub to: SocketAddr,
    /// The gateway's name for it.
    pub token: Token,
    /// What the gateway has sent.
    pub sent: Vec<Vec<u8>>,
    /// What it will receive.
    pub incoming: VecDeque<Result<Vec<u8>, ErrorKind>>,
}

/// Sockets in memory. A socket is a number, in the order of their making.
#[derive(Debug, Default)]
pub struct Fake {
    /// Connections that are open.
    pub streams: BTreeMap<usize, Stream>,
    /// Sockets for datagrams; those that are closed stay.
    pub datagrams: BTreeMap<usize, Datagram>,
    /// How connections were closed: whether by a reset.
    pub closed: BTreeMap<usize, bool>,
    next: usize,
}

impl Fake {
    fn name(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }
}

fn gone() -> io::Error {
    ErrorKind::NotFound.into()
}

impl Sockets for Fake {
    type Stream = usize;
    type Datagram = usize;
    type Listener = ();
    type Port = ();

    fn connect(&mut self, to: SocketAddr, token: Token) -> io::Result<usize> {
        let name = self.name();
        let stream = Stream {
            to,
            token,
            connected: None,
            input: VecDeque::new(),
            input_ends: false,
            fails: None,
            output: Vec::new(),
            space: usize::MAX,
            finished: false,
        };
        self.streams.insert(name, stream);
        Ok(name)
    }

    fn connected(&mut self, stream: &mut usize) -> io::Result<()> {
        match self.streams.get(stream).ok_or_else(gone)?.connected {
            None => Err(ErrorKind::WouldBlock.into()),
            Some(result) => result.map_err(Into::into),
        }
    }

    fn accept(&mut self, (): &mut (), _: Token) -> io::Result<(usize, SocketAddr)> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn read(&mut self, stream: &mut usize, into: &mut [u8]) -> io::Result<usize> {
        let stream = self.streams.get_mut(stream).ok_or_else(gone)?;
        match (stream.input.is_empty(), stream.fails, stream.input_ends) {
            (false, ..) => io::Read::read(&mut stream.input, into),
            (true, Some(error), _) => Err(error.into()),
            (true, None, true) => Ok(0),
            (true, None, false) => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn write(&mut self, stream: &mut usize, from: &[u8]) -> io::Result<usize> {
        let stream = self.streams.get_mut(stream).ok_or_else(gone)?;
        let length = from.len().min(stream.space);
        if length == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        stream.space -= length;
        stream.output.extend_from_slice(&from[..length]);
        Ok(length)
    }

    fn finish(&mut self, stream: &mut usize) -> io::Result<()> {
        self.streams.get_mut(stream).ok_or_else(gone)?.finished = true;
        Ok(())
    }

    fn close(&mut self, stream: usize, reset: bool) {
        self.streams.remove(&stream);
        self.closed.insert(stream, reset);
    }

    fn datagram(&mut self, to: SocketAddr, token: Token) -> io::Result<usize> {
        let name = self.name();
        let socket = Datagram { to, token, sent: Vec::new(), incoming: VecDeque::new() };
        self.datagrams.insert(name, socket);
        Ok(name)
    }

    fn echo(&mut self, to: IpAddr, token: Token) -> io::Result<usize> {
        self.datagram(SocketAddr::new(to, 0), token)
    }

    fn send(&mut self, socket: &mut usize, data: &[u8]) -> io::Result<()> {
        self.datagrams.get_mut(socket).ok_or_else(gone)?.sent.push(data.to_vec());
        Ok(())
    }

    fn receive(&mut self, socket: &mut usize, into: &mut [u8]) -> io::Result<usize> {
        match self.datagrams.get_mut(socket).ok_or_else(gone)?.incoming.pop_front() {
            None => Err(ErrorKind::WouldBlock.into()),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(data)) => {
                let length = data.len().min(into.len());
                into[..length].copy_from_slice(&data[..length]);
                Ok(length)
            }
        }
    }

    fn send_to(&mut self, (): &mut (), _: &[u8], _: SocketAddr) -> io::Result<()> {
        Ok(())
    }

    fn receive_from(&mut self, (): &mut (), _: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        Err(ErrorKind::WouldBlock.into())
    }
}

/// A packet of the guest's with this Ethernet payload.
pub(crate) fn packet(config: &Config, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = net::Header::default().encode().to_vec();
    packet.extend(config.gateway_mac);
    packet.extend(config.mac);
    packet.extend(kind.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// A packet of the guest's with this IP payload.
pub(crate) fn ip_packet(
    config: &Config,
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    payload: &[u8],
    place: Option<Fragment>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { source, destination, protocol, ttl: 64 };
    if header.write(&mut bytes, payload.len(), place).is_some() {
        bytes.extend_from_slice(payload);
    }
    packet(config, if source.is_ipv4() { TYPE_IPV4 } else { TYPE_IPV6 }, &bytes)
}

/// A TCP segment of the guest's; `numbers` are its own and the acknowledged. A SYN offers segments of 1460
/// bytes and windows of 16 MiB. Checksums are left out, as a guest with offloads leaves them.
pub(crate) fn segment(
    config: &Config,
    (from, to): (SocketAddr, SocketAddr),
    flags: u8,
    numbers: (u32, u32),
    data: &[u8],
) -> Vec<u8> {
    let options: &[u8] = if flags & SYN != 0 { &[2, 4, 5, 0xb4, 1, 3, 3, 8] } else { &[] };
    let mut tcp = Vec::new();
    tcp.extend(from.port().to_be_bytes());
    tcp.extend(to.port().to_be_bytes());
    tcp.extend(numbers.0.to_be_bytes());
    tcp.extend(numbers.1.to_be_bytes());
    tcp.extend([(5 + options.len() as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend_from_slice(options);
    tcp.extend_from_slice(data);
    ip_packet(config, (from.ip(), to.ip()), TCP, &tcp, None)
}

/// Packets that a guest could send, to be mutated.
fn templates(config: &Config, ends: (SocketAddr, SocketAddr), numbers: (u32, u32)) -> Vec<Vec<u8>> {
    let (guest, remote) = (ends.0.ip(), ends.1.ip());
    let v4 = guest.is_ipv4();
    let udp = |to: (IpAddr, u16), data: &[u8]| {
        let datagram = wire::udp((guest, 4000).into(), to.into(), data).unwrap_or_default();
        ip_packet(config, (guest, to.0), wire::UDP, &datagram, None)
    };
    let dns = config.dns().find(|ip| ip.is_ipv4() == v4).unwrap_or(remote);
    let gateway = config.gateways().find(|ip| ip.is_ipv4() == v4).unwrap_or(remote);
    let question = b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
    let echo = [if v4 { 8 } else { 128 }, 0, 0, 0, 0, 1, 0, 1, 2, 3];
    let icmp = if v4 { ICMP } else { ICMPV6 };
    let arp = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0xf0, 0, 0, 0, 15, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2];
    let mut solicitation = vec![135, 0, 0, 0, 0, 0, 0, 0];
    if let IpAddr::V6(ip) = gateway {
        solicitation.extend(ip.octets());
    }
    let part = |offset, more| {
        let place = Some(Fragment { id: 1, offset, more });
        ip_packet(config, (guest, gateway), icmp, &[8; 1480], place)
    };
    let tcp = |flags, data: &[u8]| segment(config, ends, flags, numbers, data);
    vec![
        tcp(SYN, &[]),
        tcp(ACK, &[]),
        tcp(ACK | PSH, &[b'x'; 1460]),
        tcp(ACK | PSH, &[b'y'; 60_000]),
        tcp(ACK | FIN, &[]),
        tcp(RST | ACK, &[]),
        tcp(SYN | ACK, &[]),
        udp((remote, 9), b"data"),
        udp((dns, 53), question),
        udp((gateway, 7), &[0; 1472]),
        ip_packet(config, (guest, gateway), icmp, &echo, None),
        ip_packet(config, (guest, remote), icmp, &echo, None),
        packet(config, TYPE_ARP, &arp),
        ip_packet(config, (guest, gateway), ICMPV6, &solicitation, None),
        part(0, true),
        part(1480, false),
    ]
}

/// What [`fuzz`] takes its decisions from.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> Option<usize> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(usize::from(*first))
    }

    fn word(&mut self) -> Option<usize> {
        Some(self.byte()? << 8 | self.byte()?)
    }
}

/// Gives a gateway whatever `data` says: packets, right or mutated, events of its sockets, time, and a link
/// without room. Panics if a packet for the guest is not well formed, or if a bound is not kept.
pub fn fuzz(data: &[u8]) {
    let mut config = Config { host_loopback: true, ..Config::default() };
    config.resolvers = vec![SocketAddr::from(([127, 0, 0, 1], 53))];
    let mut choices = Choices(data);
    let offloads = choices.byte().unwrap_or_default();
    (config.guest_csum, config.guest_tso) = (offloads & 1 == 0, offloads & 2 == 0);
    let mut gateway = Gateway::new(config.clone(), Fake::default(), Vec::new(), None);
    let (mut now, mut numbers) = (Duration::ZERO, (1000, 0));
    gateway.set_room(1 << 20);
    while let Some(what) = choices.byte() {
        match what % 16 {
            0..=9 => {
                let Some(packet) = choose_packet(&mut choices, &config, numbers) else { break };
                gateway.packet(&packet, now);
            }
            10..=12 => {
                let Some(kind) = choices.byte() else { break };
                for (token, readiness) in disturb(gateway.sockets(), kind) {
                    gateway.ready(token, readiness, now);
                }
            }
            13 => now += Duration::from_millis(choices.word().unwrap_or_default() as u64),
            14 => gateway.set_room(choices.byte().unwrap_or_default() * 1000),
            _ => gateway.ready(Token(choices.word().unwrap_or_default()), BOTH, now),
        }
        if what & 16 == 0 {
            gateway.run(now);
        }
        while let Some(packet) = gateway.pop() {
            if let Some(next) = check(&packet) {
                numbers = next;
            }
        }
        assert!(gateway.counts().connections <= crate::tcp::MOST);
        assert!(gateway.counts().flows <= 1024);
    }
}

const BOTH: Readiness = Readiness { readable: true, writable: true };

fn choose_packet(choices: &mut Choices<'_>, config: &Config, numbers: (u32, u32)) -> Option<Vec<u8>> {
    let (which, ports) = (choices.byte()?, choices.byte()?);
    let v6 = which & 0x80 != 0;
    let text = if v6 { ("fd00:f0::15", "2001:db8::1") } else { ("10.0.2.15", "198.51.100.7") };
    let ip = |text: &str| text.parse::<IpAddr>().ok();
    let from = SocketAddr::new(ip(text.0)?, 5000 + (ports & 3) as u16);
    let to = SocketAddr::new(ip(text.1)?, 80);
    let mut all = templates(config, (from, to), numbers);
    let nth = (which & 0x7f) % all.len();
    let mut packet = all.swap_remove(nth);
    for _ in 0..ports >> 6 {
        let (at, value) = (choices.word()?, choices.byte()?);
        // The headers are where it matters.
        let length = packet.len().min(if at & 0x8000 == 0 { 90 } else { usize::MAX });
        packet[(at & 0x7fff) % length] = value as u8;
    }
    if ports & 0x20 != 0 {
        packet.truncate(choices.word()? % (packet.len() + 1));
    }
    Some(packet)
}

/// Has something happen to the sockets.
fn disturb(sockets: &mut Fake, kind: usize) -> Vec<(Token, Readiness)> {
    let mut told = Vec::new();
    for stream in sockets.streams.values_mut() {
        match kind % 8 {
            0 => stream.connected = Some(Err(ErrorKind::ConnectionRefused)),
            1 => stream.input_ends = true,
            2 => stream.fails = Some(ErrorKind::ConnectionReset),
            3 => stream.space = kind * 10,
            4 => stream.input.extend([b'z'; 70_000]),
            5 => stream.space = usize::MAX,
            _ => stream.connected = stream.connected.or(Some(Ok(()))),
        }
        told.push((stream.token, BOTH));
    }
    for socket in sockets.datagrams.values_mut().rev().take(4) {
        let sent = socket.sent.last().cloned().unwrap_or_default();
        socket.incoming.push_back(match kind % 3 {
            0 => Err(ErrorKind::ConnectionRefused),
            1 => Ok(sent),
            _ => Ok(sent.iter().map(|byte| byte ^ 0x80).chain([0; 3000]).collect()),
        });
        told.push((socket.token, BOTH));
    }
    told
}

/// Checks a packet for the guest; what a TCP segment has the guest say next.
fn check(packet: &[u8]) -> Option<(u32, u32)> {
    assert!(packet.len() <= net::MAX_PACKET && packet.len() >= FRONT);
    if wire::word(packet, FRONT - 2) == Some(TYPE_ARP) {
        return None;
    }
    let header = net::Header::decode(packet.first_chunk()?);
    assert!(header.gso_type != net::GSO_NONE || packet.len() <= FRONT + 1500, "a frame beyond the MTU");
    assert!(crate::offload::segment(packet, &mut |_| ()), "header and frame do not fit");
    let Some(ip) = Ip::parse(&packet[FRONT..]) else { panic!("no IP packet: {packet:x?}") };
    if ip.source.is_ipv4() {
        assert_eq!(wire::finish(wire::sum(&ip.bytes[..ip.header])), 0, "checksum of IP");
    }
    if ip.protocol != TCP || ip.fragment.is_some() {
        return None;
    }
    let tcp = ip.payload();
    let (sequence, acknowledged) = (wire::long(tcp, 4)?, wire::long(tcp, 8)?);
    let data = tcp.len() - usize::from(tcp[12] >> 4) * 4;
    let ends = u32::from(tcp[13] & (SYN | FIN) != 0);
    Some((acknowledged, sequence.wrapping_add(data as u32).wrapping_add(ends)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_guest_sends_is_survived() {
        let mut state = 0x1234_5678_9abc_def1_u64;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        for _ in 0..20 {
            let data: Vec<u8> = (0..1500).map(|_| byte()).collect();
            fuzz(&data);
        }
    }
}
