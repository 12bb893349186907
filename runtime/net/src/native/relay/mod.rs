//! A relay: gateways for guests that are other processes' and speak QEMU's stream framing
//! ([`frames`](crate::frames)) over TCP, Unix sockets or WebSockets. Each connection is a guest, with a
//! gateway and a thread of its own.
//!
//! # Bounds
//!
//! At most [`RelayOptions::max_guests`] at a time. Besides its gateway, a guest holds 1 MiB of frames each
//! way and as much of a WebSocket's message. One that sends what is no frame, or takes nothing for
//! [`PATIENCE`], is given up; the others go on.

mod address;
mod guest;
mod origin;
#[cfg(test)]
mod tests;
mod web;

use super::{
    Error, Gateway,
    ends::{Listener, Socket, advice},
};
use crate::{config::Config, publish::Publish};
use guest::End;
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use origin::Origins;
use std::{
    fs,
    io::{self, ErrorKind},
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use web::Web;

pub use address::{Listen, ListenError};
pub use origin::{Origin, OriginError};

/// How long a guest may leave frames that wait for it untaken.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client may take to ask for a WebSocket.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause before clients are taken again, when the host has no more descriptors.
const PAUSE: Duration = Duration::from_millis(100);
const STOP: Token = Token(usize::MAX);

/// What a relay is told.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// Of each guest's gateway. The guests' Ethernet addresses are learned, and their frames are complete.
    pub config: Config,
    /// Most guests at a time; one, when ports are published.
    pub max_guests: usize,
    /// Origins of web pages that are let in, besides those of the loopback.
    pub allow_origins: Vec<Origin>,
}

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The address is taken, or not the host's.
    #[error("--listen {text}: cannot listen there: {source}; {}", advice(source))]
    Listen {
        /// The option.
        text: String,
        /// The host's reason.
        source: io::Error,
    },
    /// A published port, or the host's limits.
    #[error(transparent)]
    Gateway(#[from] Error),
    /// The host gives no descriptors.
    #[error("the relay cannot go on: {0}; raise the limits of the process (ulimit -n, ulimit -u)")]
    Host(#[from] io::Error),
}

/// Gets each line that a relay has to say.
pub type Note = Arc<dyn Fn(&str) + Send + Sync>;

/// A relay that listens.
pub struct Relay {
    ports: Vec<Port>,
    poll: Poll,
    published: Vec<Publish>,
    common: Arc<Common>,
}

/// What all guests have in common.
struct Common {
    config: Config,
    origins: Origins,
    max_guests: usize,
    guests: AtomicUsize,
    stop: AtomicBool,
    patience: Duration,
    handshake: Duration,
}

/// One address. Its Unix socket goes with it.
struct Port {
    listener: Listener,
    address: Listen,
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Listen::Unix(path) = &self.address {
            // Somebody may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

/// A connection's place among [`Common::guests`]; the connection ends with it.
struct Place {
    common: Arc<Common>,
    socket: Arc<Socket>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.socket.shut_down();
        self.common.guests.fetch_sub(1, SeqCst);
    }
}

/// A guest's thread, and its socket as long as that serves.
struct Guest {
    socket: Weak<Socket>,
    thread: JoinHandle<()>,
}

impl Relay {
    /// Listens, and finds out whether the published ports are free.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn new(options: RelayOptions) -> Result<Self, RelayError> {
        let mut config = Config { learn_mac: true, guest_csum: false, guest_tso: false, ..options.config };
        if !config.published.is_empty() {
            // Each guest gets the same ports, also those that the host chooses.
            let published = Gateway::start(config.clone(), None)?.bound().to_vec();
            config.published = published;
        }
        let poll = Poll::new()?;
        let mut ports = Vec::new();
        for (nth, listen) in options.listen.iter().enumerate() {
            let fail = |source| RelayError::Listen { text: listen.to_string(), source };
            let (listener, address) = listen.bind().map_err(fail)?;
            let port = Port { listener, address };
            port.listener.watch(poll.registry(), Token(nth))?;
            ports.push(port);
        }
        let published = config.published.clone();
        let max_guests = if published.is_empty() { options.max_guests } else { options.max_guests.min(1) };
        let common = Common {
            config,
            origins: Origins(options.allow_origins),
            max_guests,
            guests: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            patience: PATIENCE,
            handshake: HANDSHAKE,
        };
        Ok(Relay { ports, poll, published, common: Arc::new(common) })
    }

    /// Where it listens, with the ports that the host chose.
    pub fn addresses(&self) -> impl Iterator<Item = &Listen> {
        self.ports.iter().map(|port| &port.address)
    }

    /// The published ports, with those that the host chose.
    pub fn published(&self) -> &[Publish] {
        &self.published
    }

    /// Serves guests until `stop` is readable; then all of them are gone.
    ///
    /// # Errors
    /// When the host gives no descriptors.
    pub fn serve(mut self, stop: BorrowedFd<'_>, note: &Note) -> Result<(), RelayError> {
        self.poll.registry().register(&mut SourceFd(&stop.as_raw_fd()), STOP, Interest::READABLE)?;
        let mut events = Events::with_capacity(16);
        let mut guests: Vec<Guest> = Vec::new();
        let (mut numbers, mut short) = (1.., false);
        let result = loop {
            match self.poll.poll(&mut events, short.then_some(PAUSE)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => break Err(error.into()),
                _ => {}
            }
            if events.iter().any(|event| event.token() == STOP) {
                break Ok(());
            }
            guests.retain(|guest| !guest.thread.is_finished());
            let was_short = std::mem::take(&mut short);
            for port in &self.ports {
                loop {
                    match port.listener.accept() {
                        Ok((socket, from)) => {
                            guests.extend(self.guest(socket, from, port, &mut numbers, note));
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        // The client has gone again.
                        Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                        Err(error) => {
                            if !was_short {
                                note(&format!("{}: no client can be taken: {error}", port.address));
                            }
                            short = true;
                            break;
                        }
                    }
                }
            }
        };
        self.common.stop.store(true, SeqCst);
        for socket in guests.iter().filter_map(|guest| guest.socket.upgrade()) {
            socket.shut_down();
        }
        for guest in guests {
            // A panic of the thread's was reported by itself.
            let _ = guest.thread.join();
        }
        result
    }

    /// Starts a guest's thread, if there is a place for it.
    fn guest(
        &self,
        stream: Socket,
        from: String,
        port: &Port,
        numbers: &mut impl Iterator<Item = u64>,
        note: &Note,
    ) -> Option<Guest> {
        let most = self.common.max_guests;
        if self.common.guests.load(SeqCst) >= most {
            note(&match self.published.first() {
                Some(_) => {
                    format!("{from} is refused: published ports (-p) belong to one guest, which is there")
                }
                None => format!("{from} is refused: there are {most} guests: --max-guests N allows more"),
            });
            return None;
        }
        let number = numbers.next().unwrap_or_default();
        let path = match &port.address {
            Listen::Web { path, .. } => Some(path.clone()),
            _ => None,
        };
        let name = format!("guest {number} ({from})");
        let start = || {
            let other = Arc::new(stream.try_clone()?);
            let socket = Arc::downgrade(&other);
            self.common.guests.fetch_add(1, SeqCst);
            let place = Place { common: self.common.clone(), socket: other };
            let (name, note) = (name.clone(), note.clone());
            let work = move || run(stream, path, place, &name, &note);
            let thread = thread::Builder::new().name(format!("guest {number}")).spawn(work)?;
            Ok::<_, io::Error>(Guest { socket, thread })
        };
        start().map_err(|error| note(&format!("{name} is refused: {error}"))).ok()
    }
}

/// A guest's thread. `path` is there for a WebSocket: the one that it has to ask for, if there is any.
fn run(socket: Socket, path: Option<Option<String>>, place: Place, name: &str, note: &Note) {
    let (common, fd) = (&place.common, socket.raw());
    let result = match path {
        None => attend(socket, fd, common, name, note),
        Some(path) => Web::accept(socket, path.as_deref(), &common.origins, common.handshake)
            .map_err(|error| error.to_string())
            .and_then(|web| attend(web, fd, common, name, note)),
    };
    // Whoever hears of it finds the place free.
    drop(place);
    note(&match result {
        Ok(end) => format!("{name} has gone: {end}"),
        Err(reason) => format!("{name} is refused: {reason}"),
    });
}

/// Serves a guest to its end. An error is why it did not come about.
fn attend(
    mut stream: impl io::Read + io::Write,
    fd: RawFd,
    common: &Common,
    name: &str,
    note: &Note,
) -> Result<End, String> {
    let gateway = Gateway::start(common.config.clone(), None).map_err(|error| error.to_string())?;
    note(&format!("{name} has come"));
    Ok(guest::serve(&mut stream, fd, &gateway, common.patience, &common.stop))
}
