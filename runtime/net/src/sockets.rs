//! What a gateway wants of the system below it. Nothing here blocks: an operation that cannot be done now
//! fails with [`io::ErrorKind::WouldBlock`], and the gateway is told later by
//! [`Gateway::ready`](crate::Gateway::ready).

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

/// The gateway's name for a socket. A socket that is ready is told of by its token. A token is used again
/// once its socket is closed, so that a late report may be about a socket that is gone: it does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub usize);

/// What a socket is ready for. It is an edge: the gateway tries until an operation would block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Something can be read: data, an end, a connection, an error.
    pub readable: bool,
    /// Something can be written, or a connection has come about or failed.
    pub writable: bool,
}

/// Any address of the family, and any port.
#[cfg(any(unix, all(target_os = "wasi", feature = "wasi")))]
pub(crate) fn unspecified(like: IpAddr) -> SocketAddr {
    let any = if like.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    (any, 0).into()
}

/// The system's sockets.
pub trait Sockets {
    /// A TCP connection.
    type Stream;
    /// A socket for datagrams with one peer.
    type Datagram;
    /// A published TCP port.
    type Listener;
    /// A published UDP port.
    type Port;

    /// Begins to connect. [`Readiness::writable`] tells that it may be over.
    fn connect(&mut self, to: SocketAddr, token: Token) -> io::Result<Self::Stream>;
    /// How connecting went: `WouldBlock` while nothing is known.
    fn connected(&mut self, stream: &mut Self::Stream) -> io::Result<()>;
    /// Takes a connection from a published port.
    fn accept(
        &mut self,
        listener: &mut Self::Listener,
        token: Token,
    ) -> io::Result<(Self::Stream, SocketAddr)>;
    /// Reads into `into`, 0 at the end.
    fn read(&mut self, stream: &mut Self::Stream, into: &mut [u8]) -> io::Result<usize>;
    /// Writes some of `from`.
    fn write(&mut self, stream: &mut Self::Stream, from: &[u8]) -> io::Result<usize>;
    /// Tells the peer that nothing more will come.
    fn finish(&mut self, stream: &mut Self::Stream) -> io::Result<()>;
    /// Closes a connection, by a reset if so wanted.
    fn close(&mut self, stream: Self::Stream, reset: bool);

    /// A UDP socket that speaks with `to` alone.
    fn datagram(&mut self, to: SocketAddr, token: Token) -> io::Result<Self::Datagram>;
    /// An ICMP or ICMPv6 socket that speaks with `to` alone. What is sent is an echo request from its type
    /// on with the checksum of ICMP right; what is received is an echo reply, whose identifier may be any.
    fn echo(&mut self, to: IpAddr, token: Token) -> io::Result<Self::Datagram>;
    /// Sends a datagram.
    fn send(&mut self, socket: &mut Self::Datagram, data: &[u8]) -> io::Result<()>;
    /// Receives a datagram; `ConnectionRefused` if the peer has no such port.
    fn receive(&mut self, socket: &mut Self::Datagram, into: &mut [u8]) -> io::Result<usize>;

    /// Sends a datagram from a published port.
    fn send_to(&mut self, port: &mut Self::Port, data: &[u8], to: SocketAddr) -> io::Result<()>;
    /// Receives a datagram on a published port.
    fn receive_from(&mut self, port: &mut Self::Port, into: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
}
