//! The runtime's sockets. A socket's streams and pollables are its children, which have to go before it:
//! fields are dropped in their order.

use super::{
    LOOKUP,
    address::{family, from_wasi, io_error, to_wasi},
    lookup::Lookup,
    udp_socket,
    watch::{Side, Watch, Watches},
};
use crate::sockets::{Readiness, Sockets, Token, unspecified};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use wasip2::{
    io::{
        poll::Pollable,
        streams::{InputStream, OutputStream, StreamError},
    },
    sockets::{
        network::{ErrorCode, Network},
        tcp::{ShutdownType, TcpSocket},
        tcp_create_socket::create_tcp_socket,
        udp::{
            IncomingDatagram, IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket,
        },
    },
};

/// Datagrams that are received at once.
const BATCH: u64 = 32;
/// Most bytes that are written at once: each write is copied into the runtime's memory.
const CHUNK: usize = 128 << 10;

/// Most closed connections whose peers do not read. Beyond, there are no new ones.
const MOST_LINGERING: usize = 1024;

/// The runtime's sockets.
pub(super) struct Wasi {
    network: Network,
    watches: Watches,
    /// Connections that are closed as soon as what was written is on its way.
    lingering: Vec<Stream>,
}

/// The two directions of a connection.
struct Pipes {
    readable: Watch,
    writable: Watch,
    input: InputStream,
    output: OutputStream,
}

/// A TCP connection.
pub(super) struct Stream {
    token: Token,
    watches: Watches,
    /// Until it has come about or failed.
    connecting: Option<Watch>,
    pipes: Option<Pipes>,
    socket: TcpSocket,
}

/// A published TCP port.
pub(super) struct Listener {
    watch: Watch,
    socket: TcpSocket,
}

/// A UDP socket.
pub(super) struct Port {
    readable: Watch,
    received: VecDeque<IncomingDatagram>,
    input: IncomingDatagramStream,
    output: OutgoingDatagramStream,
    _socket: UdpSocket,
}

/// A socket for datagrams with one peer.
pub(super) enum Datagram {
    /// UDP.
    Udp(Box<Port>),
    /// The runtime's resolver.
    Lookup(Token, Box<Lookup>),
}

impl Wasi {
    pub(super) fn new(network: Network) -> Self {
        Wasi { network, watches: Watches::default(), lingering: Vec::new() }
    }

    pub(super) fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Some closed connection is still being written.
    pub(super) fn is_writing(&self) -> bool {
        !self.lingering.is_empty()
    }

    /// As [`Watches::wait`].
    pub(super) fn wait(
        &mut self,
        timeout: Option<Duration>,
        others: &[&Pollable],
    ) -> (Vec<(Token, Readiness)>, Vec<bool>) {
        self.lingering.retain(Stream::is_writing);
        self.watches.wait(timeout, others)
    }
}

impl Pipes {
    fn new(input: InputStream, output: OutputStream, token: Token, watches: &Watches) -> Self {
        let readable = watches.add(input.subscribe(), token, Side::Read);
        let writable = watches.add(output.subscribe(), token, Side::Write);
        readable.want();
        writable.want();
        Pipes { readable, writable, input, output }
    }
}

impl Stream {
    fn pipes(&self) -> io::Result<&Pipes> {
        self.pipes.as_ref().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// The runtime still has bytes that were written: it would forget them with the connection.
    fn is_writing(&self) -> bool {
        let Some(pipes) = &self.pipes else { return false };
        let writing = matches!(pipes.output.check_write(), Ok(0));
        if writing {
            pipes.writable.want();
        }
        writing
    }
}

impl Listener {
    pub(super) fn new(socket: TcpSocket, token: Token, watches: &Watches) -> Self {
        let watch = watches.add(socket.subscribe(), token, Side::Read);
        watch.want();
        Listener { watch, socket }
    }
}

impl Port {
    pub(super) fn new(
        socket: UdpSocket,
        peer: Option<SocketAddr>,
        token: Token,
        watches: &Watches,
    ) -> Result<Self, ErrorCode> {
        let (input, output) = socket.stream(peer.map(to_wasi))?;
        let readable = watches.add(input.subscribe(), token, Side::Read);
        readable.want();
        Ok(Port { readable, received: VecDeque::new(), input, output, _socket: socket })
    }

    fn receive(&mut self) -> io::Result<IncomingDatagram> {
        if self.received.is_empty() {
            match self.input.receive(BATCH) {
                Ok(datagrams) => self.received.extend(datagrams),
                Err(ErrorCode::WouldBlock) => {}
                Err(code) => return Err(io_error(code)),
            }
        }
        self.received.pop_front().ok_or_else(|| {
            self.readable.want();
            ErrorKind::WouldBlock.into()
        })
    }

    fn send(&mut self, data: &[u8], to: Option<SocketAddr>) -> io::Result<()> {
        if self.output.check_send().map_err(io_error)? == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let datagram = OutgoingDatagram { data: data.to_vec(), remote_address: to.map(to_wasi) };
        self.output.send(&[datagram]).map(drop).map_err(io_error)
    }
}

/// Copies what there is room for; how many bytes.
fn copy(from: &[u8], into: &mut [u8]) -> usize {
    let length = from.len().min(into.len());
    into[..length].copy_from_slice(&from[..length]);
    length
}

fn stream_error(error: StreamError) -> io::Error {
    match error {
        StreamError::Closed => ErrorKind::BrokenPipe.into(),
        // What it was is only for people.
        StreamError::LastOperationFailed(_) => ErrorKind::ConnectionReset.into(),
    }
}

impl Sockets for Wasi {
    type Stream = Stream;
    type Datagram = Datagram;
    type Listener = Listener;
    type Port = Port;

    fn connect(&mut self, to: SocketAddr, token: Token) -> io::Result<Stream> {
        // The runtime's resolver is asked by datagrams alone.
        if to == LOOKUP || self.lingering.len() >= MOST_LINGERING {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let socket = create_tcp_socket(family(to.ip())).map_err(io_error)?;
        socket.start_connect(&self.network, to_wasi(to)).map_err(io_error)?;
        let watch = self.watches.add(socket.subscribe(), token, Side::Write);
        watch.want();
        Ok(Stream { token, watches: self.watches.clone(), connecting: Some(watch), pipes: None, socket })
    }

    fn connected(&mut self, stream: &mut Stream) -> io::Result<()> {
        let Some(watch) = &stream.connecting else { return Ok(()) };
        match stream.socket.finish_connect() {
            Ok((input, output)) => {
                stream.pipes = Some(Pipes::new(input, output, stream.token, &stream.watches));
                stream.connecting = None;
                Ok(())
            }
            Err(code) => {
                if code == ErrorCode::WouldBlock {
                    watch.want();
                }
                Err(io_error(code))
            }
        }
    }

    fn accept(&mut self, listener: &mut Listener, token: Token) -> io::Result<(Stream, SocketAddr)> {
        let (socket, input, output) = listener.socket.accept().map_err(|code| {
            if code == ErrorCode::WouldBlock {
                listener.watch.want();
            }
            io_error(code)
        })?;
        let from = socket.remote_address().map(from_wasi).unwrap_or(LOOKUP);
        let pipes = Some(Pipes::new(input, output, token, &self.watches));
        Ok((Stream { token, watches: self.watches.clone(), connecting: None, pipes, socket }, from))
    }

    fn read(&mut self, stream: &mut Stream, into: &mut [u8]) -> io::Result<usize> {
        let pipes = stream.pipes()?;
        match pipes.input.read(into.len() as u64) {
            Ok(bytes) if bytes.is_empty() => {
                pipes.readable.want();
                Err(ErrorKind::WouldBlock.into())
            }
            Ok(bytes) => Ok(copy(&bytes, into)),
            Err(StreamError::Closed) => Ok(0),
            Err(error) => Err(stream_error(error)),
        }
    }

    fn write(&mut self, stream: &mut Stream, from: &[u8]) -> io::Result<usize> {
        let pipes = stream.pipes()?;
        let room = pipes.output.check_write().map_err(stream_error)?;
        let length = from.len().min(CHUNK).min(usize::try_from(room).unwrap_or(usize::MAX));
        if length == 0 {
            pipes.writable.want();
            return Err(ErrorKind::WouldBlock.into());
        }
        pipes.output.write(&from[..length]).map_err(stream_error)?;
        Ok(length)
    }

    fn finish(&mut self, stream: &mut Stream) -> io::Result<()> {
        stream.socket.shutdown(ShutdownType::Send).map_err(io_error)
    }

    fn close(&mut self, stream: Stream, _reset: bool) {
        // WASI has no way to reset a connection: its peer sees an end. To drop a stream that is being written
        // would wait until its peer reads: the machine would stand still.
        let _ = stream.socket.shutdown(ShutdownType::Both);
        if stream.is_writing() {
            self.lingering.push(stream);
        }
    }

    fn datagram(&mut self, to: SocketAddr, token: Token) -> io::Result<Datagram> {
        if to == LOOKUP {
            return Ok(Datagram::Lookup(token, Box::new(Lookup::new())));
        }
        let socket = udp_socket(&self.network, unspecified(to.ip()));
        let port = socket.and_then(|socket| Port::new(socket, Some(to), token, &self.watches));
        port.map(|port| Datagram::Udp(Box::new(port))).map_err(io_error)
    }

    fn echo(&mut self, _to: IpAddr, _token: Token) -> io::Result<Datagram> {
        Err(ErrorKind::Unsupported.into())
    }

    fn send(&mut self, socket: &mut Datagram, data: &[u8]) -> io::Result<()> {
        match socket {
            Datagram::Udp(port) => port.send(data, None),
            Datagram::Lookup(token, lookup) => lookup.ask(data, *token, &self.network, &self.watches),
        }
    }

    fn receive(&mut self, socket: &mut Datagram, into: &mut [u8]) -> io::Result<usize> {
        let data = match socket {
            Datagram::Udp(port) => port.receive()?.data,
            Datagram::Lookup(_, lookup) => lookup.answer()?,
        };
        Ok(copy(&data, into))
    }

    fn send_to(&mut self, port: &mut Port, data: &[u8], to: SocketAddr) -> io::Result<()> {
        port.send(data, Some(to))
    }

    fn receive_from(&mut self, port: &mut Port, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let datagram = port.receive()?;
        Ok((copy(&datagram.data, into), from_wasi(datagram.remote_address)))
    }
}
