//! The host's sockets, edge-triggered by mio.

use crate::sockets::{Sockets, Token, unspecified};
use mio::{
    Interest, Registry,
    net::{TcpListener, TcpStream, UdpSocket},
    unix::SourceFd,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr},
    os::fd::AsRawFd,
    time::Duration,
};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// Types of ICMP and ICMPv6.
const REPLY_V4: u8 = 0;
const REPLY_V6: u8 = 129;

/// The host's sockets.
pub struct Native {
    registry: Registry,
    /// A descriptor to give up when there are no more: a client can then be told so.
    spare: Option<File>,
}

/// A socket for datagrams.
pub enum Datagram {
    /// UDP.
    Udp(UdpSocket),
    /// ICMP.
    Echo(Echo),
}

/// A socket for echo requests.
pub struct Echo {
    socket: Socket,
    /// It gets all of ICMP from its peer, and over IPv4 the IP header before it.
    raw: bool,
    v6: bool,
    ident: [u8; 2],
}

impl Native {
    pub(crate) fn new(registry: Registry) -> Self {
        Native { registry, spare: File::open("/dev/null").ok() }
    }

    fn watch(&self, source: &mut impl mio::event::Source, token: Token) -> io::Result<()> {
        self.registry.register(source, mio::Token(token.0), BOTH)
    }
}

impl Sockets for Native {
    type Stream = TcpStream;
    type Datagram = Datagram;
    type Listener = TcpListener;
    type Port = UdpSocket;

    fn connect(&mut self, to: SocketAddr, token: Token) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(to)?;
        self.watch(&mut stream, token)?;
        Ok(stream)
    }

    fn connected(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            // The guest decides what is sent together.
            Ok(_) => stream.set_nodelay(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Err(ErrorKind::WouldBlock.into()),
            Err(error) => Err(error),
        }
    }

    fn accept(&mut self, listener: &mut TcpListener, token: Token) -> io::Result<(TcpStream, SocketAddr)> {
        let (mut stream, from) = match listener.accept() {
            Err(error) if is_short(&error) => {
                // The client would wait, and the edge that told of it is gone.
                self.spare = None;
                let refused = listener.accept();
                if let Ok((stream, _)) = refused {
                    self.close(stream, true);
                }
                self.spare = File::open("/dev/null").ok();
                return Err(ErrorKind::ConnectionAborted.into());
            }
            other => other?,
        };
        stream.set_nodelay(true)?;
        self.watch(&mut stream, token)?;
        Ok((stream, from))
    }

    fn read(&mut self, stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        stream.read(into)
    }

    fn write(&mut self, stream: &mut TcpStream, from: &[u8]) -> io::Result<usize> {
        stream.write(from)
    }

    fn finish(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        stream.shutdown(Shutdown::Write)
    }

    fn close(&mut self, stream: TcpStream, reset: bool) {
        if reset {
            // Without it the peer hears an end instead.
            drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
        }
    }

    fn datagram(&mut self, to: SocketAddr, token: Token) -> io::Result<Datagram> {
        let mut socket = UdpSocket::bind(unspecified(to.ip()))?;
        socket.connect(to)?;
        self.registry.register(&mut socket, mio::Token(token.0), Interest::READABLE)?;
        Ok(Datagram::Udp(socket))
    }

    fn echo(&mut self, to: IpAddr, token: Token) -> io::Result<Datagram> {
        let (domain, protocol) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        // Linux lets groups in net.ipv4.ping_group_range have the first, and root the second.
        let (socket, raw) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
            Ok(socket) => (socket, false),
            Err(_) => (Socket::new(domain, Type::RAW, Some(protocol))?, true),
        };
        socket.set_nonblocking(true)?;
        socket.connect(&SocketAddr::new(to, 0).into())?;
        let mut source = SourceFd(&socket.as_raw_fd());
        self.registry.register(&mut source, mio::Token(token.0), Interest::READABLE)?;
        Ok(Datagram::Echo(Echo { socket, raw, v6: to.is_ipv6(), ident: [0; 2] }))
    }

    fn send(&mut self, socket: &mut Datagram, data: &[u8]) -> io::Result<()> {
        match socket {
            Datagram::Udp(socket) => socket.send(data).map(drop),
            Datagram::Echo(echo) => {
                echo.ident = data.get(4..6).map_or([0; 2], |ident| [ident[0], ident[1]]);
                echo.socket.send(data).map(drop)
            }
        }
    }

    fn receive(&mut self, socket: &mut Datagram, into: &mut [u8]) -> io::Result<usize> {
        match socket {
            Datagram::Udp(socket) => socket.recv(into),
            Datagram::Echo(echo) => loop {
                let length = (&echo.socket).read(into)?;
                if let Some(length) = echo.reply(into, length) {
                    return Ok(length);
                }
            },
        }
    }

    fn send_to(&mut self, port: &mut UdpSocket, data: &[u8], to: SocketAddr) -> io::Result<()> {
        port.send_to(data, to).map(drop)
    }

    fn receive_from(&mut self, port: &mut UdpSocket, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        port.recv_from(into)
    }
}

impl Echo {
    /// Brings a reply to the buffer's start; none if something else was received.
    fn reply(&self, buffer: &mut [u8], length: usize) -> Option<usize> {
        let bytes = buffer.get_mut(..length)?;
        let header = match bytes.first() {
            Some(first) if self.raw && !self.v6 => usize::from(first & 15) * 4,
            _ => 0,
        };
        let message = bytes.get(header..)?;
        let kind = if self.v6 { REPLY_V6 } else { REPLY_V4 };
        let own = !self.raw || message.get(4..6)? == self.ident;
        if *message.first()? != kind || !own {
            return None;
        }
        bytes.copy_within(header.., 0);
        Some(length - header)
    }
}

/// The process or the host has no more descriptors.
fn is_short(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(rustix::io::Errno::MFILE.raw_os_error())
        || code == Some(rustix::io::Errno::NFILE.raw_os_error())
}
