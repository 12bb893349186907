//! The ends of a stream of frames: connected and listening sockets, of two families. None of them blocks.

use mio::{Interest, Registry, Token, unix::SourceFd};
use socket2::{SockRef, TcpKeepalive};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
        unix::net::{UnixListener, UnixStream},
    },
    time::Duration,
};

/// After how long a peer that is silent is asked whether it is there, and how often then. Nine questions
/// without an answer are an end (tcp(7), `tcp_keepalive_probes`).
const SILENT: Duration = Duration::from_secs(60);
const ASK: Duration = Duration::from_secs(10);

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    pub(crate) fn unix(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Socket::Unix(stream))
    }

    pub(crate) fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(SILENT).with_interval(ASK);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Socket::Tcp(stream))
    }

    pub(crate) fn watch(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&self.raw()), token, both)
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Socket::Unix(socket) => Socket::Unix(socket.try_clone()?),
            Socket::Tcp(socket) => Socket::Tcp(socket.try_clone()?),
        })
    }

    /// The descriptor, for `poll`.
    pub(crate) fn raw(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }

    /// Ends both ways, for all that hold the socket.
    pub(crate) fn shut_down(&self) {
        // It may have ended already.
        let _ = match self {
            Socket::Unix(socket) => socket.shutdown(Shutdown::Both),
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Unix(socket) => socket.as_fd(),
            Socket::Tcp(socket) => socket.as_fd(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.read(into),
            Socket::Tcp(socket) => socket.read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Unix(socket) => socket.write(from),
            Socket::Tcp(socket) => socket.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The way out, when an address cannot be listened on.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "choose another address, or end what uses it (of a Unix socket, a file is left)"
        }
        ErrorKind::AddrNotAvailable => "choose an address of this host",
        ErrorKind::PermissionDenied => "choose an address that this user may listen on",
        ErrorKind::NotFound => "the socket's directory has to be there",
        _ => "choose another address",
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    pub(crate) fn unix(path: &str) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Listener::Unix(listener))
    }

    pub(crate) fn tcp(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Listener::Tcp(listener))
    }

    pub(crate) fn watch(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let fd = match self {
            Listener::Unix(listener) => listener.as_raw_fd(),
            Listener::Tcp(listener) => listener.as_raw_fd(),
        };
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
    }

    /// Where it listens, for TCP.
    pub(crate) fn address(&self) -> io::Result<Option<String>> {
        match self {
            Listener::Unix(_) => Ok(None),
            Listener::Tcp(listener) => listener.local_addr().map(|address| Some(address.to_string())),
        }
    }

    /// The next client, and what it may be called.
    pub(crate) fn accept(&self) -> io::Result<(Socket, String)> {
        match self {
            Listener::Unix(listener) => Ok((Socket::unix(listener.accept()?.0)?, "a Unix socket".to_owned())),
            Listener::Tcp(listener) => {
                let (stream, from) = listener.accept()?;
                Ok((Socket::tcp(stream)?, from.to_string()))
            }
        }
    }
}
