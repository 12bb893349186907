//! A link that ends in a stream of [`frames`], whose other end is another program.

use super::{
    ends::{Listener, Socket, advice},
    handle::{Handle, Shared},
};
use crate::{
    frames::{self, Frames, StreamEnd},
    gateway::FOREIGN,
    pcapng::Capture,
};
use forelift_abi::net;
use mio::{Events, Poll, Registry, Waker};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

/// The token of the peer, and of the listener.
const PEER: mio::Token = mio::Token(0);

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
    #[error("--net-stream {text}: cannot listen there: {source}; {}", advice(source))]
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
    /// Connects to `unix:PATH` or `tcp:HOST:PORT`. `gone` hears why the other end is gone, when it is.
    pub fn connect(
        text: &str,
        capture: Option<Box<dyn Write + Send>>,
        gone: impl FnOnce(&StreamEnd) + Send + 'static,
    ) -> Result<Handle, StreamError> {
        let fail = |source| StreamError::Connect { text: text.to_owned(), source };
        let socket = match Address::parse(text)? {
            Address::Unix(path) => UnixStream::connect(path).and_then(Socket::unix),
            Address::Tcp(address) => TcpStream::connect(address).and_then(Socket::tcp),
        };
        start(Ok(socket.map_err(fail)?), capture, gone)
    }

    /// Listens on `unix:PATH` or `tcp:HOST:PORT`, and has the first that connects as the link's other end.
    /// `gone` hears why that is gone, when it is.
    pub fn listen(
        text: &str,
        capture: Option<Box<dyn Write + Send>>,
        gone: impl FnOnce(&StreamEnd) + Send + 'static,
    ) -> Result<Handle, StreamError> {
        let fail = |source| StreamError::Listen { text: text.to_owned(), source };
        let listener = match Address::parse(text)? {
            Address::Unix(path) => Listener::unix(path),
            Address::Tcp(address) => Listener::tcp(address),
        };
        start(Err(listener.map_err(fail)?), capture, gone)
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

fn start(
    end: Result<Socket, Listener>,
    capture: Option<Box<dyn Write + Send>>,
    gone: impl FnOnce(&StreamEnd) + Send + 'static,
) -> Result<Handle, StreamError> {
    let poll = Poll::new()?;
    let shared = Arc::new(Shared::new(Waker::new(poll.registry(), mio::Token(FOREIGN.0))?)?);
    match &end {
        Ok(socket) => socket.watch(poll.registry(), PEER)?,
        Err(listener) => listener.watch(poll.registry(), PEER)?,
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
            run(Link { peer, listener, end: None, capture, start: Instant::now() }, poll, &shared, gone);
        }
    })?;
    Ok(Handle::new(shared, thread, Vec::new()))
}

struct Link {
    /// None before somebody connects, and when the other end is gone: the cable is out.
    peer: Option<Peer>,
    listener: Option<Listener>,
    /// Why the other end is gone, until that is told.
    end: Option<StreamEnd>,
    capture: Option<Capture>,
    start: Instant,
}

/// The other end.
struct Peer {
    socket: Socket,
    readable: bool,
    writable: bool,
    frames: Frames,
}

impl Peer {
    fn new(socket: Socket) -> Self {
        Peer { socket, readable: true, writable: true, frames: Frames::default() }
    }

    /// Writes what the socket takes.
    fn write(&mut self) -> Result<(), StreamEnd> {
        if self.writable {
            self.writable = self.frames.flush(&mut self.socket)?;
        }
        Ok(())
    }
}

fn run(mut link: Link, mut poll: Poll, shared: &Shared, gone: impl FnOnce(&StreamEnd)) {
    let mut gone = Some(gone);
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
        if let Some(end) = link.end.take() {
            gone.take().into_iter().for_each(|tell| tell(&end));
            shared.end();
        }
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
        } else if let Some(listener) = &self.listener
            && let Ok((socket, _)) = listener.accept()
            && socket.watch(registry, PEER).is_ok()
        {
            self.peer = Some(Peer::new(socket));
            self.listener = None;
        }
    }

    /// The other end is gone.
    fn end(&mut self, end: StreamEnd) {
        (self.peer, self.end) = (None, Some(end));
    }

    /// Packets of the guest's become frames for the peer. Without a peer they are lost.
    fn feed_peer(&mut self, packets: &mut VecDeque<Vec<u8>>) {
        let now = self.start.elapsed();
        while let Some(packet) = packets.front() {
            if self.peer.as_ref().is_some_and(|peer| peer.frames.is_full()) {
                break;
            }
            if let (Some(capture), Some(frame)) = (&mut self.capture, packet.get(net::HEADER..)) {
                capture.packet(frame, now, false);
            }
            if let Some(peer) = &mut self.peer {
                peer.frames.put(packet);
                if peer.frames.is_full()
                    && let Err(end) = peer.write()
                {
                    self.end(end);
                }
            }
            packets.pop_front();
        }
        if let Some(peer) = &mut self.peer
            && let Err(end) = peer.write()
        {
            self.end(end);
        }
    }

    /// Frames of the peer's become packets for the guest, of about `room` bytes. Whether there may be more.
    fn feed_guest(&mut self, packets: &mut VecDeque<Vec<u8>>, mut room: usize) -> bool {
        let now = self.start.elapsed();
        let Some(peer) = &mut self.peer else { return false };
        let end = loop {
            match peer.frames.first() {
                Ok(Some(_)) if room == 0 => return true,
                Ok(Some(frame)) => {
                    if let Some(capture) = &mut self.capture {
                        capture.packet(frame, now, true);
                    }
                    let packet = frames::packet(frame);
                    room = room.saturating_sub(packet.len());
                    packets.push_back(packet);
                    peer.frames.drop_first();
                }
                Ok(None) if !peer.readable => return false,
                Ok(None) if room == 0 => return true,
                Ok(None) => match peer.frames.fill(&mut peer.socket) {
                    Ok(more) => peer.readable = more,
                    Err(end) => break end,
                },
                Err(end) => break end,
            }
        };
        self.end(end);
        false
    }
}
