//! The link as a stream of frames, each with its length before it as a big-endian word of 32 bits: what
//! QEMU's `-netdev stream`, passt and gvproxy speak. There are no virtio headers: checksums and segments are
//! made here.

use super::handle::{Handle, Shared};
use crate::{gateway::FOREIGN, offload, pcapng::Capture};
use forelift_abi::net;
use mio::{
    Events, Interest, Poll, Registry, Waker,
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

/// The token of the peer, and of the listener.
const PEER: mio::Token = mio::Token(0);
/// Bytes for the peer beyond which no more packets of the guest's are taken.
const MOST: usize = 1 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// Why a stream cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The address has another form.
    #[error("--net-stream {0}: write it as unix:PATH or tcp:HOST:PORT, for example unix:/tmp/passt_1.socket")]
    Address(String),
    /// Nobody listens there, or the address is taken.
    #[error("--net-stream {text}: {source}; the other end has to listen there before this one starts")]
    Connect {
        /// The option.
        text: String,
        /// The host's reason.
        source: io::Error,
    },
    /// The address is taken, or not the host's.
    #[error("--net-stream {text}: cannot listen there: {source}; remove the old socket or choose another")]
    Listen {
        /// The option.
        text: String,
        /// The host's reason.
        source: io::Error,
    },
    /// The host gives no thread, or no descriptors.
    #[error("the network's stream cannot start: {0}; raise the limits of the process (ulimit -n, ulimit -u)")]
    Host(#[from] io::Error),
}

/// Links that end in a stream.
pub struct Stream(());

impl Stream {
    /// Connects to `unix:PATH` or `tcp:HOST:PORT`.
    pub fn connect(text: &str, capture: Option<Box<dyn Write + Send>>) -> Result<Handle, StreamError> {
        let fail = |source| StreamError::Connect { text: text.to_owned(), source };
        let socket = match Address::parse(text)? {
            Address::Unix(path) => std::os::unix::net::UnixStream::connect(path).and_then(|stream| {
                stream.set_nonblocking(true)?;
                Ok(Socket::Unix(UnixStream::from_std(stream)))
            }),
            Address::Tcp(address) => std::net::TcpStream::connect(address).and_then(|stream| {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(TcpStream::from_std(stream)))
            }),
        };
        start(Ok(socket.map_err(fail)?), capture)
    }

    /// Listens on `unix:PATH` or `tcp:HOST:PORT`, and has the first that connects as the link's other end.
    pub fn listen(text: &str, capture: Option<Box<dyn Write + Send>>) -> Result<Handle, StreamError> {
        let fail = |source| StreamError::Listen { text: text.to_owned(), source };
        let listener = match Address::parse(text)? {
            Address::Unix(path) => UnixListener::bind(path).map(Listener::Unix),
            Address::Tcp(address) => std::net::TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(TcpListener::from_std(listener)))
            }),
        };
        start(Err(listener.map_err(fail)?), capture)
    }
}

enum Address<'a> {
    Unix(&'a str),
    Tcp(&'a str),
}

impl<'a> Address<'a> {
    fn parse(text: &'a str) -> Result<Self, StreamError> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Address::Unix(path)),
            Some(("tcp", address)) if address.contains(':') => Ok(Address::Tcp(address)),
            _ => Err(StreamError::Address(text.to_owned())),
        }
    }
}

enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Socket {
    fn watch(&mut self, registry: &Registry) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Socket::Unix(socket) => registry.register(socket, PEER, both),
            Socket::Tcp(socket) => registry.register(socket, PEER, both),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.read(into),
            Socket::Tcp(socket) => socket.read(into),
        }
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.write(from),
            Socket::Tcp(socket) => socket.write(from),
        }
    }
}

impl Listener {
    fn watch(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Listener::Unix(listener) => registry.register(listener, PEER, Interest::READABLE),
            Listener::Tcp(listener) => registry.register(listener, PEER, Interest::READABLE),
        }
    }

    fn accept(&mut self) -> io::Result<Socket> {
        match self {
            Listener::Unix(listener) => Ok(Socket::Unix(listener.accept()?.0)),
            Listener::Tcp(listener) => {
                let (socket, _) = listener.accept()?;
                socket.set_nodelay(true)?;
                Ok(Socket::Tcp(socket))
            }
        }
    }
}

fn start(
    mut end: Result<Socket, Listener>,
    capture: Option<Box<dyn Write + Send>>,
) -> Result<Handle, StreamError> {
    let poll = Poll::new()?;
    let shared = Arc::new(Shared::new(Waker::new(poll.registry(), mio::Token(FOREIGN.0))?)?);
    match &mut end {
        Ok(socket) => socket.watch(poll.registry())?,
        Err(listener) => listener.watch(poll.registry())?,
    }
    let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let capture = capture.map(|to| Capture::new(to, epoch));
    let thread = thread::Builder::new().name("network stream".into()).spawn({
        let shared = shared.clone();
        move || {
            let (peer, listener) = match end {
                Ok(socket) => (Some(Peer::new(socket)), None),
                Err(listener) => (None, Some(listener)),
            };
            run(Link { peer, listener, capture, start: Instant::now() }, poll, &shared);
        }
    })?;
    Ok(Handle::new(shared, thread, Vec::new()))
}

struct Link {
    /// None before somebody connects, and when the other end is gone: the cable is out.
    peer: Option<Peer>,
    listener: Option<Listener>,
    capture: Option<Capture>,
    start: Instant,
}

/// The other end.
struct Peer {
    socket: Socket,
    readable: bool,
    writable: bool,
    /// Bytes of frames for the peer, of which `written` are gone.
    output: Vec<u8>,
    written: usize,
    /// Bytes of the peer's that are no whole frame yet.
    input: Vec<u8>,
}

fn run(mut link: Link, mut poll: Poll, shared: &Shared) {
    let mut events = Events::with_capacity(8);
    let (mut from_guest, mut to_guest) = (VecDeque::new(), VecDeque::new());
    while !shared.closed() {
        for event in &events {
            if event.token() == PEER {
                link.event(event, poll.registry());
            }
        }
        if from_guest.is_empty() {
            shared.take(&mut from_guest);
        }
        link.feed_peer(&mut from_guest);
        let more = link.feed_guest(&mut to_guest, shared.room());
        shared.give(&mut to_guest);
        let blocked = !from_guest.is_empty();
        let busy = more && shared.room() > 0 || !blocked && !shared.may_sleep();
        if blocked {
            // The guest's packets wait for the peer; only room on the other way is news.
            shared.may_sleep();
        }
        events.clear();
        if let Err(error) = poll.poll(&mut events, busy.then_some(Duration::ZERO))
            && error.kind() != ErrorKind::Interrupted
        {
            return;
        }
        shared.awake();
    }
}

impl Link {
    fn event(&mut self, event: &mio::event::Event, registry: &Registry) {
        if let Some(peer) = &mut self.peer {
            let failed = event.is_error();
            peer.readable |= failed || event.is_readable() || event.is_read_closed();
            peer.writable |= failed || event.is_writable() || event.is_write_closed();
        } else if let Some(listener) = &mut self.listener
            && let Ok(mut socket) = listener.accept()
            && socket.watch(registry).is_ok()
        {
            self.peer = Some(Peer::new(socket));
            self.listener = None;
        }
    }

    /// Packets of the guest's become frames for the peer. Without a peer they are lost.
    fn feed_peer(&mut self, packets: &mut VecDeque<Vec<u8>>) {
        let now = self.start.elapsed();
        while let Some(packet) = packets.front() {
            if self.peer.as_ref().is_some_and(|peer| peer.output.len() >= MOST) {
                break;
            }
            if let (Some(capture), Some(frame)) = (&mut self.capture, packet.get(net::HEADER..)) {
                capture.packet(frame, now, false);
            }
            if let Some(peer) = &mut self.peer {
                // A packet whose header does not fit to it has no frames.
                offload::segment(packet, &mut |frame| {
                    peer.output.extend((frame.len() as u32).to_be_bytes());
                    peer.output.extend_from_slice(frame);
                });
                if peer.output.len() >= MOST && peer.write().is_err() {
                    self.peer = None;
                }
            }
            packets.pop_front();
        }
        if let Some(peer) = &mut self.peer
            && peer.write().is_err()
        {
            self.peer = None;
        }
    }

    /// Frames of the peer's become packets for the guest, of about `room` bytes. Whether there may be more.
    fn feed_guest(&mut self, packets: &mut VecDeque<Vec<u8>>, mut room: usize) -> bool {
        let now = self.start.elapsed();
        let Some(peer) = &mut self.peer else { return false };
        loop {
            let mut at = 0;
            while let Some(length) = peer.input.get(at..).and_then(|bytes| bytes.first_chunk::<4>()) {
                let length = u32::from_be_bytes(*length) as usize;
                if length > net::MAX_FRAME {
                    // The stream is no stream of frames, or has lost its way: nothing after it can be right.
                    self.peer = None;
                    return false;
                }
                let Some(frame) = peer.input.get(at + 4..at + 4 + length) else { break };
                if room == 0 {
                    peer.input.drain(..at);
                    return true;
                }
                if let Some(capture) = &mut self.capture {
                    capture.packet(frame, now, true);
                }
                let mut packet = Vec::with_capacity(net::HEADER + length);
                packet.extend(net::Header::default().encode());
                packet.extend_from_slice(frame);
                room = room.saturating_sub(packet.len());
                packets.push_back(packet);
                at += 4 + length;
            }
            peer.input.drain(..at);
            if !peer.readable {
                return false;
            }
            if room == 0 {
                return true;
            }
            match peer.read() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => peer.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.peer = None;
                    return false;
                }
            }
        }
    }
}

impl Peer {
    fn new(socket: Socket) -> Self {
        Peer { socket, readable: true, writable: true, output: Vec::new(), written: 0, input: Vec::new() }
    }

    fn read(&mut self) -> io::Result<()> {
        let held = self.input.len();
        self.input.resize(held + CHUNK, 0);
        let read = self.socket.read(&mut self.input[held..]);
        self.input.truncate(held + read.as_ref().map_or(0, |length| *length));
        match read? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Writes what the socket takes.
    fn write(&mut self) -> io::Result<()> {
        while self.writable && self.written < self.output.len() {
            match self.socket.write(&self.output[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.written == self.output.len() || self.written >= MOST / 2 {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}
