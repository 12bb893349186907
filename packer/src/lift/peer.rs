//! The world of the kernel's exercise: nothing but a network with one peer, in memory
//! ([`forelift_abi::net::EXERCISE_PEERS`]), so that the guest's network stack and driver are as hot as in a
//! run that has a network.
//!
//! The gateway is the one of a run, on sockets that answer at once. Its clock follows the machine: each look
//! for packets is a tick.

use forelift_abi::net::{CHARGEN, DISCARD, ECHO, Network, first_packet, put_packet};
use forelift_net::{Config, Gateway, Readiness, Sockets, Token};
use forelift_runtime::host::{Host, HostEvent, Interest, NoHost, Read, Stream, Terminal, Written};
use std::{
    collections::VecDeque,
    convert::Infallible,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// How far the gateway's clock goes between two looks for packets: about what a slice of the machine takes.
const TICK: Duration = Duration::from_micros(200);
/// Bytes that the echo service holds for a connection.
const MOST: usize = 1 << 20;
/// Room for packets to the guest in bytes.
const ROOM: usize = 1 << 20;

/// No outside world but the peer.
pub(super) struct Peer {
    base: NoHost,
    gateway: Gateway<Services>,
    interface: Network,
    now: Duration,
    /// A packet that found no room in the guest's buffer.
    next: Option<Vec<u8>>,
}

impl Peer {
    pub(super) fn new() -> Self {
        let config = Config { seed: Some(1), ..Config::default() };
        let interface = config.network();
        let gateway = Gateway::new(config, Services::default(), Vec::new(), None);
        Peer { base: NoHost::sealed(), gateway, interface, now: Duration::ZERO, next: None }
    }

    /// Lets the gateway and its services work until both have nothing to do.
    fn work(&mut self) {
        self.gateway.set_room(ROOM);
        // Each round moves something; a bound keeps a mistake from being endless.
        for _ in 0..64 {
            self.gateway.run(self.now);
            let ready = core::mem::take(&mut self.gateway.sockets().ready);
            if ready.is_empty() && !self.gateway.unfinished() {
                return;
            }
            for (token, readiness) in ready {
                self.gateway.ready(token, readiness, self.now);
            }
        }
    }
}

impl Host for Peer {
    fn monotonic_ns(&mut self) -> u64 {
        self.base.monotonic_ns()
    }

    fn realtime_ns(&mut self) -> u64 {
        self.base.realtime_ns()
    }

    fn random(&mut self, buf: &mut [u8]) {
        self.base.random(buf);
    }

    fn read_stdin(&mut self, buf: &mut [u8]) -> Read {
        self.base.read_stdin(buf)
    }

    fn write(&mut self, stream: Stream, buf: &[u8]) -> Written {
        self.base.write(stream, buf)
    }

    fn event(&mut self) -> Option<HostEvent> {
        self.base.event()
    }

    fn terminal(&mut self) -> Terminal {
        self.base.terminal()
    }

    fn network(&mut self) -> Option<Network> {
        Some(self.interface.clone())
    }

    fn send_packets(&mut self, pieces: &[&[u8]]) -> usize {
        let all = pieces.concat();
        let mut rest = &all[..];
        while let Some((packet, more)) = first_packet(rest) {
            self.gateway.packet(packet, self.now);
            rest = more;
        }
        self.work();
        all.len()
    }

    fn receive_packets(&mut self, buffer: &mut [u8]) -> usize {
        self.now += TICK;
        self.work();
        let mut done = 0;
        while let Some(packet) = self.next.take().or_else(|| self.gateway.pop()) {
            let Some(end) = put_packet(buffer, done, &packet) else {
                self.next = Some(packet);
                break;
            };
            done = end;
        }
        done
    }

    fn wait(&mut self, timeout_ns: Option<u64>, interest: Interest) {
        self.base.wait(timeout_ns, interest);
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Echo,
    Discard,
    Chargen,
}

/// A connection to a service, or a datagram socket of the echo service's.
struct Connection {
    token: Token,
    service: Service,
    held: VecDeque<u8>,
    ended: bool,
}

/// Sockets behind which the services are.
#[derive(Default)]
struct Services {
    ready: Vec<(Token, Readiness)>,
}

impl Services {
    fn open(&mut self, to: SocketAddr, token: Token) -> io::Result<Connection> {
        let service = match to.port() {
            ECHO => Service::Echo,
            DISCARD => Service::Discard,
            CHARGEN => Service::Chargen,
            _ => return Err(ErrorKind::ConnectionRefused.into()),
        };
        let readable = service == Service::Chargen;
        self.ready.push((token, Readiness { readable, writable: true }));
        Ok(Connection { token, service, held: VecDeque::new(), ended: false })
    }

    fn readable(&mut self, token: Token) {
        self.ready.push((token, Readiness { readable: true, writable: false }));
    }
}

impl Sockets for Services {
    type Stream = Connection;
    type Datagram = (Token, VecDeque<Vec<u8>>);
    type Listener = Infallible;
    type Port = Infallible;

    fn connect(&mut self, to: SocketAddr, token: Token) -> io::Result<Connection> {
        self.open(to, token)
    }

    fn connected(&mut self, _stream: &mut Connection) -> io::Result<()> {
        Ok(())
    }

    fn accept(&mut self, listener: &mut Infallible, _token: Token) -> io::Result<(Connection, SocketAddr)> {
        match *listener {}
    }

    fn read(&mut self, stream: &mut Connection, into: &mut [u8]) -> io::Result<usize> {
        if stream.service == Service::Chargen {
            into.fill(b'c');
            return Ok(into.len());
        }
        if stream.held.is_empty() {
            return if stream.ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        if stream.held.len() >= MOST {
            self.ready.push((stream.token, Readiness { readable: false, writable: true }));
        }
        io::Read::read(&mut stream.held, into)
    }

    fn write(&mut self, stream: &mut Connection, from: &[u8]) -> io::Result<usize> {
        if stream.service != Service::Echo {
            return Ok(from.len());
        }
        if stream.held.len() >= MOST {
            return Err(ErrorKind::WouldBlock.into());
        }
        stream.held.extend(from);
        self.readable(stream.token);
        Ok(from.len())
    }

    fn finish(&mut self, stream: &mut Connection) -> io::Result<()> {
        stream.ended = true;
        self.readable(stream.token);
        Ok(())
    }

    fn close(&mut self, _stream: Connection, _reset: bool) {}

    fn datagram(&mut self, to: SocketAddr, token: Token) -> io::Result<Self::Datagram> {
        if to.port() != ECHO {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        Ok((token, VecDeque::new()))
    }

    fn echo(&mut self, _to: IpAddr, _token: Token) -> io::Result<Self::Datagram> {
        Err(ErrorKind::Unsupported.into())
    }

    fn send(&mut self, socket: &mut Self::Datagram, data: &[u8]) -> io::Result<()> {
        socket.1.push_back(data.to_vec());
        self.readable(socket.0);
        Ok(())
    }

    fn receive(&mut self, socket: &mut Self::Datagram, into: &mut [u8]) -> io::Result<usize> {
        let data = socket.1.pop_front().ok_or(ErrorKind::WouldBlock)?;
        let n = data.len().min(into.len());
        into[..n].copy_from_slice(&data[..n]);
        Ok(n)
    }

    fn send_to(&mut self, port: &mut Infallible, _data: &[u8], _to: SocketAddr) -> io::Result<()> {
        match *port {}
    }

    fn receive_from(&mut self, port: &mut Infallible, _into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match *port {}
    }
}
