//! What the machine needs from the world outside: clocks, entropy, the three standard streams, a network,
//! sleep.
//!
//! One implementation per operating environment lives in [`crate::sys`]; tests bring their own.

use crate::args;
use forelift_abi::control::WindowSize;
use forelift_abi::net::Network;

/// An output stream of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// What a read of standard input gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// This many bytes, at least one.
    Data(usize),
    /// Nothing yet.
    WouldBlock,
    /// The end; every later read gives this again.
    Eof,
}

/// What a write to an output stream did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Took this many bytes, at least one.
    Bytes(usize),
    /// The stream is full: try again after [`Host::wait`] with interest in it.
    WouldBlock,
    /// Nobody reads the stream any more.
    Closed,
}

/// Something that happened to the emulator's process and that concerns the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// A signal (Linux number) for the container's command.
    Signal(u8),
    /// The host asks the container to stop in its own way (its stop signal).
    Stop,
    /// The terminal changed its size.
    WindowSize(WindowSize),
}

/// What a read of a root file system outside of the machine's memory did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootRead {
    /// Filled the buffer.
    Done,
    /// The host has begun to fetch it: try again after [`Host::wait`] with interest in it.
    WouldBlock,
    /// It cannot be had.
    Failed,
}

/// What makes [`Host::wait`] return early. Events always end a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Standard input has data or is at its end.
    pub stdin: bool,
    /// Standard output can take data.
    pub stdout: bool,
    /// Standard error can take data.
    pub stderr: bool,
    /// The network has packets for the guest.
    pub packets: bool,
    /// The network can take packets of the guest.
    pub packet_room: bool,
    /// Something of the root file system has come.
    pub root: bool,
}

/// How the standard streams are connected on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Standard input and output are a terminal: give the container a pseudo-terminal.
    pub is_tty: bool,
    /// Its size, when the host can tell.
    pub size: Option<WindowSize>,
    /// The host's terminal is raw: the guest's has to echo.
    pub raw: bool,
}

/// Why the image's own arguments cannot give it a network under `forelift run`.
pub const NO_CONNECTION: &str = "behind the image's name, options of the network are for other runtimes: write \
                                 `forelift run --net IMAGE`, or `forelift run --net-stream unix:PATH IMAGE`";

/// The outside world. No method but [`Host::wait`] may block, unless the environment has no other way.
pub trait Host {
    /// Nanoseconds of a clock that never goes back.
    fn monotonic_ns(&mut self) -> u64;
    /// Nanoseconds since 1970-01-01T00:00Z.
    fn realtime_ns(&mut self) -> u64;
    /// Fills `buf` with entropy.
    fn random(&mut self, buf: &mut [u8]);
    /// Reads standard input.
    fn read_stdin(&mut self, buf: &mut [u8]) -> Read;
    /// Writes to an output stream; `buf` is not empty.
    fn write(&mut self, stream: Stream, buf: &[u8]) -> Written;
    /// The next event, if there is one.
    fn event(&mut self) -> Option<HostEvent>;
    /// How the standard streams are connected.
    fn terminal(&mut self) -> Terminal;
    /// Gives the container the network that the image's own arguments ask for, before anything else is done.
    ///
    /// # Errors
    /// When this environment has no such network, in one line.
    fn connect(&mut self, _network: args::Network) -> Result<(), String> {
        Err(NO_CONNECTION.to_owned())
    }
    /// The container's network interface, when there is a network.
    fn network(&mut self) -> Option<Network> {
        None
    }
    /// Sends packets ([`forelift_abi::net`]), each behind its length: `pieces`, one after the other, are a
    /// number of whole ones. Gives the number of bytes that were taken, whole packets again; fewer than all
    /// when there is no room: try again after [`Host::wait`] with interest in it.
    fn send_packets(&mut self, pieces: &[&[u8]]) -> usize {
        pieces.iter().map(|piece| piece.len()).sum()
    }
    /// Fills the beginning of `buffer` with packets in the same form, as many as there are and fit; gives the
    /// number of bytes. `buffer` has room for the largest.
    fn receive_packets(&mut self, _buffer: &mut [u8]) -> usize {
        0
    }
    /// Whether more packets may ever come. The device asks when none are there, and no more once it is false.
    fn link_is_up(&mut self) -> bool {
        true
    }
    /// Reads the root file system at `offset`, where it is not in the machine's memory.
    fn read_root(&mut self, _offset: u64, _buffer: &mut [u8]) -> RootRead {
        RootRead::Failed
    }
    /// Sleeps until `timeout_ns` from now have passed (`None`: for ever), or until something of `interest` or
    /// an event is there. May return early for no reason.
    fn wait(&mut self, timeout_ns: Option<u64>, interest: Interest);
}

/// No outside world: the clocks stand still, nothing comes in, what goes out is dropped, and the entropy is a
/// constant. What a boot for a snapshot and a training run run in, which must depend on their inputs alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost {
    /// What [`Host::realtime_ns`] gives.
    pub realtime_ns: u64,
    /// Standard input is at its end, instead of having nothing yet.
    pub stdin_ended: bool,
}

impl NoHost {
    /// Nothing to read, nobody who listens, and a plausible date, 2025-01-01: for a command that shall run
    /// the same way each time.
    pub const fn sealed() -> Self {
        NoHost { realtime_ns: 1_735_689_600_000_000_000, stdin_ended: true }
    }
}

impl Host for NoHost {
    fn monotonic_ns(&mut self) -> u64 {
        0
    }

    fn realtime_ns(&mut self) -> u64 {
        self.realtime_ns
    }

    fn random(&mut self, buf: &mut [u8]) {
        buf.fill(0x5a);
    }

    fn read_stdin(&mut self, _buf: &mut [u8]) -> Read {
        if self.stdin_ended { Read::Eof } else { Read::WouldBlock }
    }

    fn write(&mut self, _stream: Stream, buf: &[u8]) -> Written {
        Written::Bytes(buf.len())
    }

    fn event(&mut self) -> Option<HostEvent> {
        None
    }

    fn terminal(&mut self) -> Terminal {
        Terminal::default()
    }

    fn wait(&mut self, _timeout_ns: Option<u64>, _interest: Interest) {}
}
