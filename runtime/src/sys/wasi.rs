//! The host as a WASI preview 1 runtime.
//!
//! Under `forelift run` ([`forelift_abi::embed`]) the streams never block and events come over a descriptor
//! of their own. Elsewhere each stream is asked with `poll_oneoff` before it is used, where that can matter:
//!
//! * a regular file and `/dev/null` never block; a terminal is written without asking;
//! * of anything else (a pipe, or what the runtime will not name) a write takes at most `PIPE_BUF` bytes;
//! * a runtime that cannot poll standard input (wasmer, WasmEdge) gets a blocking read, and only when the
//!   guest has nothing else to do: it has been idle for [`IDLE_BEFORE_BLOCKING`], or has no timer within that
//!   time. **A guest that then waits for a timer, too, is held up until input comes**: there is no better way
//!   without poll;
//! * outputs that cannot be polled are just written;
//! * Node reports no descriptor in a poll whose timeout is 0: there a poll lasts [`SHORT`], and standard
//!   input is looked at less often while the guest is busy. Which kind of runtime this is turns out at the
//!   first stream that is ready.
//!
//! The network elsewhere is a descriptor that the image's own `--net-stream fd:N` names: a stream socket that
//! does not block, with frames for packets (`stream.rs`).
//!
//! There are no signals and no window size elsewhere, and a terminal is in the mode the runtime left it in:
//! it echoes itself. A character device counts as a terminal when it cannot seek, as in wasi-libc's `isatty`.

use std::collections::VecDeque;
use std::io;

use forelift_abi::control::WindowSize;
use forelift_abi::embed::{CONTROL_FD, NET_FD, RECORD_SIZE, ROOT_FD, Record};
use forelift_abi::net::Network;

use super::PIPE_BUF;
use super::poll::{clock_subscription, fd_subscription, poll, poll_one};
use super::stream::PacketStream;
use crate::args;
use crate::host::{self, Host, HostEvent, Interest, Read, RootRead, Stream, Terminal, Written};

/// Idle time in ns after which a read that may block is risked, when input cannot be polled.
const IDLE_BEFORE_BLOCKING: u64 = 1_000_000_000;
/// After a poll that found nothing, standard input and events are not asked again for this many ns (a wait
/// always asks).
const ASK_AGAIN: u64 = 2_000_000;
/// The same where a poll takes [`SHORT`].
const ASK_AGAIN_SLOW: u64 = 50_000_000;
/// Shortest timeout in ns that every runtime heeds.
const SHORT: u64 = 1_000_000;
/// Longest write to a stream that does not need polling.
const MOST: usize = 1 << 20;
/// Bytes of an interface's description: mostly, and at most.
const NETWORK: [usize; 2] = [4096, 1 << 20];
/// Pause in ns before a stream that is full and cannot be polled is tried again.
const RETRY: u64 = 5_000_000;

/// Why a module cannot open connections by itself.
const NO_SOCKETS: &str = "--net, -p and -P are for components: convert the image with --component, connect this module \
                          by --net-stream fd:N, or use `forelift run --net`";

/// What a standard stream is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A regular file, or a device that seeks: never blocks.
    File,
    /// A terminal.
    Terminal,
    /// A pipe, a socket, or unknown.
    Other,
}

/// Standard stream.
#[derive(Clone, Copy, Debug)]
struct Fd {
    number: u32,
    kind: Kind,
    /// `poll_oneoff` works on it, as far as we know.
    polls: bool,
}

/// A WASI preview 1 runtime. See the module's documentation.
#[derive(Debug)]
pub struct WasiHost {
    /// Whether [`CONTROL_FD`] is there.
    embedded: bool,
    terminal: Terminal,
    events: VecDeque<HostEvent>,
    fds: [Fd; 3],
    /// Streams that the last wait found ready.
    ready: [bool; 3],
    /// A poll with timeout 0 reports descriptors; unknown at first.
    polls_at_once: Option<bool>,
    /// The next read of standard input may block.
    may_block: bool,
    input_asked: u64,
    events_asked: u64,
    idle_ns: u64,
    eof: bool,
    /// The interface behind [`NET_FD`] or `stream`.
    network: Option<Network>,
    /// No packets will come from [`NET_FD`] any more.
    unplugged: bool,
    /// Where packets go instead of [`NET_FD`].
    stream: Option<PacketStream<Socket>>,
    /// The descriptor of `stream`, for [`poll`].
    socket: Option<Fd>,
}

impl WasiHost {
    /// A host on the module's standard streams.
    pub fn new() -> Self {
        let fds = [0, 1, 2].map(|number| Fd { number, kind: kind(number), polls: true });
        let mut host = WasiHost {
            embedded: true,
            terminal: Terminal::default(),
            events: VecDeque::new(),
            fds,
            ready: [false; 3],
            polls_at_once: None,
            may_block: false,
            input_asked: 0,
            events_asked: 0,
            idle_ns: 0,
            eof: false,
            network: None,
            unplugged: false,
            stream: None,
            socket: None,
        };
        host.take_records();
        host.network = host.embedded.then(network).flatten();
        if !host.embedded {
            host.terminal.is_tty = fds[..2].iter().all(|f| f.kind == Kind::Terminal);
        }
        host
    }

    /// Whether there is a root file system outside of the module.
    pub fn has_root() -> bool {
        // SAFETY: a plain call; the binding owns the result's memory.
        unsafe { wasip1::fd_fdstat_get(ROOT_FD) }.is_ok()
    }

    /// Whether a wait for `interest` would end at once.
    pub fn is_at_once(&self, interest: Interest) -> bool {
        !self.events.is_empty()
            || interest.stdin && (self.eof || !self.embedded && self.fds[0].kind == Kind::File)
    }

    /// Notes that standard stream `index` is ready.
    #[cfg(feature = "component")]
    pub(super) fn set_ready(&mut self, index: usize) {
        self.ready[index] = true;
    }

    /// Reads what the embedding has to say.
    fn take_records(&mut self) {
        let mut records = [0u8; 16 * RECORD_SIZE];
        while self.embedded {
            match read(CONTROL_FD, &mut records) {
                Ok(0) | Err(wasip1::ERRNO_AGAIN) => return,
                Ok(n) => {
                    let (whole, _) = records[..n.min(16 * RECORD_SIZE)].as_chunks::<RECORD_SIZE>();
                    whole.iter().filter_map(Record::decode).for_each(|r| self.record(r));
                }
                Err(_) => self.embedded = false,
            }
        }
    }

    fn record(&mut self, record: Record) {
        let event = match record {
            Record::Signal(number) => HostEvent::Signal(number),
            Record::Stop => HostEvent::Stop,
            Record::WindowSize { rows, cols } => {
                let size = WindowSize { rows, cols };
                self.terminal.size = Some(size);
                HostEvent::WindowSize(size)
            }
            Record::Terminal { is_tty, raw, rows, cols } => {
                let size = (rows > 0 && cols > 0).then_some(WindowSize { rows, cols });
                self.terminal = Terminal { is_tty, size, raw };
                return;
            }
        };
        self.events.push_back(event);
    }

    /// Whether standard input may be read now.
    fn input_allowed(&mut self) -> bool {
        let fd = self.fds[0];
        let waited = core::mem::take(&mut self.ready[0]);
        if self.embedded || fd.kind == Kind::File || waited {
            return true;
        }
        if !fd.polls {
            return core::mem::take(&mut self.may_block);
        }
        let now = self.monotonic_ns();
        let pause = if self.polls_at_once == Some(true) { ASK_AGAIN } else { ASK_AGAIN_SLOW };
        if now.wrapping_sub(self.input_asked) < pause {
            return false;
        }
        self.input_asked = now;
        self.is_ready(0) == Some(true)
    }

    /// Whether standard stream `index` is ready; `None` when the runtime cannot tell, now and later.
    fn is_ready(&mut self, index: usize) -> Option<bool> {
        let fd = self.fds[index];
        if !fd.polls {
            return None;
        }
        let kind = if index == 0 { wasip1::EVENTTYPE_FD_READ } else { wasip1::EVENTTYPE_FD_WRITE };
        let mut answer = Ok(false);
        if self.polls_at_once != Some(false) {
            answer = poll_one(kind, fd.number, 0);
            if answer == Ok(true) {
                self.polls_at_once = Some(true);
            }
        }
        if answer == Ok(false) && self.polls_at_once != Some(true) {
            answer = poll_one(kind, fd.number, SHORT);
            if answer == Ok(true) {
                self.polls_at_once = Some(false);
            }
        }
        self.fds[index].polls = answer.is_ok();
        answer.ok()
    }
}

impl Default for WasiHost {
    fn default() -> Self {
        Self::new()
    }
}

/// The interface that the embedding has for the container.
fn network() -> Option<Network> {
    for room in NETWORK {
        // Each start pays for the room.
        let mut bytes = vec![0; room];
        match read(NET_FD, &mut bytes) {
            Ok(n) => return postcard::from_bytes(bytes.get(..n)?).ok(),
            Err(wasip1::ERRNO_INVAL) => {}
            Err(_) => return None,
        }
    }
    None
}

/// What `fd` is connected to, by the rule of wasi-libc's `isatty`, and a second look for runtimes that grant
/// every right.
fn kind(fd: u32) -> Kind {
    const SEEKS: wasip1::Rights = wasip1::RIGHTS_FD_SEEK | wasip1::RIGHTS_FD_TELL;
    // SAFETY: a plain call; the binding owns the result's memory.
    let Ok(stat) = (unsafe { wasip1::fd_fdstat_get(fd) }) else { return Kind::Other };
    // SAFETY: as above.
    let seeks = || stat.fs_rights_base & SEEKS != 0 && unsafe { wasip1::fd_tell(fd) }.is_ok();
    match stat.fs_filetype {
        wasip1::FILETYPE_REGULAR_FILE => Kind::File,
        wasip1::FILETYPE_CHARACTER_DEVICE if seeks() => Kind::File,
        wasip1::FILETYPE_CHARACTER_DEVICE => Kind::Terminal,
        _ => Kind::Other,
    }
}

fn read(fd: u32, buf: &mut [u8]) -> Result<usize, wasip1::Errno> {
    let vector = [wasip1::Iovec { buf: buf.as_mut_ptr(), buf_len: buf.len() }];
    // SAFETY: the vector names a buffer that is ours for the whole call.
    unsafe { wasip1::fd_read(fd, &vector) }
}

fn write(fd: u32, buf: &[u8]) -> Result<usize, wasip1::Errno> {
    let vector = [wasip1::Ciovec { buf: buf.as_ptr(), buf_len: buf.len() }];
    // SAFETY: the vector names a buffer that is readable for the whole call.
    unsafe { wasip1::fd_write(fd, &vector) }
}

/// A descriptor that is a connected stream socket and does not block.
#[derive(Debug)]
struct Socket(u32);

impl Socket {
    /// Makes sure of that.
    fn new(fd: u32) -> Result<Self, String> {
        let fail = |why| Err(format!("--net-stream fd:{fd}: {why}"));
        // SAFETY: a plain call; the binding owns the result's memory.
        let Ok(stat) = (unsafe { wasip1::fd_fdstat_get(fd) }) else {
            return fail(
                "the runtime has opened no such descriptor: give it a connected stream socket as that",
            );
        };
        if ![wasip1::FILETYPE_SOCKET_STREAM, wasip1::FILETYPE_UNKNOWN].contains(&stat.fs_filetype) {
            return fail(
                "that descriptor is no stream socket: connect one to a relay (`forelift net-relay`)",
            );
        }
        let flags = stat.fs_flags | wasip1::FDFLAGS_NONBLOCK;
        // SAFETY: a plain call.
        if stat.fs_flags != flags && unsafe { wasip1::fd_fdstat_set_flags(fd, flags) }.is_err() {
            return fail("that socket blocks, and the runtime does not change it: open it with O_NONBLOCK");
        }
        Ok(Socket(fd))
    }
}

impl io::Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read(self.0, into).map_err(|errno| io::Error::from_raw_os_error(errno.raw().into()))
    }
}

impl io::Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        write(self.0, from).map_err(|errno| io::Error::from_raw_os_error(errno.raw().into()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn clock(id: wasip1::Clockid) -> u64 {
    // SAFETY: a plain call. Both clocks exist in every runtime; without one, time stands still.
    unsafe { wasip1::clock_time_get(id, 1) }.unwrap_or(0)
}

impl Host for WasiHost {
    fn monotonic_ns(&mut self) -> u64 {
        clock(wasip1::CLOCKID_MONOTONIC)
    }

    fn realtime_ns(&mut self) -> u64 {
        clock(wasip1::CLOCKID_REALTIME)
    }

    fn random(&mut self, buf: &mut [u8]) {
        // Some runtimes limit the length of one call (65536 with crypto.getRandomValues).
        for piece in buf.chunks_mut(4096) {
            // SAFETY: the piece is writable for the whole call. A guest without entropy would be unsafe:
            // better end.
            unsafe { wasip1::random_get(piece.as_mut_ptr(), piece.len()) }.expect("the host has no entropy");
        }
    }

    fn read_stdin(&mut self, buf: &mut [u8]) -> Read {
        if self.eof {
            return Read::Eof;
        }
        if buf.is_empty() || !self.input_allowed() {
            return Read::WouldBlock;
        }
        match read(0, buf) {
            Ok(n @ 1..) => {
                self.idle_ns = 0;
                // Where one read gave something, there may be more.
                self.input_asked = self.input_asked.wrapping_sub(ASK_AGAIN_SLOW);
                Read::Data(n)
            }
            Err(wasip1::ERRNO_AGAIN | wasip1::ERRNO_INTR) => Read::WouldBlock,
            // What cannot be read is at its end: wasmtime reports a closed stream as an error.
            Ok(_) | Err(_) => {
                self.eof = true;
                Read::Eof
            }
        }
    }

    fn write(&mut self, stream: Stream, buf: &[u8]) -> Written {
        let index = 1 + usize::from(stream == Stream::Stderr);
        let fd = self.fds[index];
        let mut most = MOST;
        if !self.embedded && fd.kind == Kind::Other {
            most = PIPE_BUF;
            if !core::mem::take(&mut self.ready[index]) && self.is_ready(index) == Some(false) {
                return Written::WouldBlock;
            }
        }
        self.idle_ns = 0;
        match write(fd.number, &buf[..buf.len().min(most)]) {
            Ok(n @ 1..) => Written::Bytes(n),
            Ok(_) | Err(wasip1::ERRNO_AGAIN | wasip1::ERRNO_INTR) => Written::WouldBlock,
            // EPIPE, or what a runtime makes of it.
            Err(_) => Written::Closed,
        }
    }

    fn event(&mut self) -> Option<HostEvent> {
        if self.events.is_empty() && self.embedded {
            let now = self.monotonic_ns();
            if now.wrapping_sub(self.events_asked) >= ASK_AGAIN {
                self.events_asked = now;
                self.take_records();
            }
        }
        self.events.pop_front()
    }

    fn terminal(&mut self) -> Terminal {
        self.terminal
    }

    fn connect(&mut self, network: args::Network) -> Result<(), String> {
        let args::Link::Stream(number) = network.link else {
            let why = if self.embedded { host::NO_CONNECTION } else { NO_SOCKETS };
            return Err(why.to_owned());
        };
        // `forelift run` opens no such descriptor; other hosts with a control descriptor may.
        let no = |why| if self.embedded { host::NO_CONNECTION.to_owned() } else { why };
        self.stream = Some(PacketStream::new(Socket::new(number).map_err(no)?));
        self.socket = Some(Fd { number, kind: Kind::Other, polls: true });
        self.network = Some(network.plan.interface);
        Ok(())
    }

    fn network(&mut self) -> Option<Network> {
        self.network.clone()
    }

    fn send_packets(&mut self, pieces: &[&[u8]]) -> usize {
        if let Some(stream) = &mut self.stream {
            return stream.send(pieces);
        }
        let vector: Vec<wasip1::Ciovec> =
            pieces.iter().map(|piece| wasip1::Ciovec { buf: piece.as_ptr(), buf_len: piece.len() }).collect();
        // SAFETY: the vector names buffers that are readable for the whole call.
        unsafe { wasip1::fd_write(NET_FD, &vector) }.unwrap_or(0)
    }

    fn receive_packets(&mut self, buffer: &mut [u8]) -> usize {
        match &mut self.stream {
            Some(stream) => stream.receive(buffer),
            None => read(NET_FD, buffer).unwrap_or_else(|error| {
                self.unplugged |= error == wasip1::ERRNO_PIPE;
                0
            }),
        }
    }

    fn link_is_up(&mut self) -> bool {
        match self.stream.as_ref().and_then(PacketStream::end) {
            Some(why) => {
                eprintln!("forelift: {}", why.line());
                false
            }
            None => !self.unplugged,
        }
    }

    fn read_root(&mut self, offset: u64, buffer: &mut [u8]) -> RootRead {
        let vector = [wasip1::Iovec { buf: buffer.as_mut_ptr(), buf_len: buffer.len() }];
        // SAFETY: the vector names a buffer that is ours for the whole call.
        match unsafe { wasip1::fd_pread(ROOT_FD, &vector, offset) } {
            Ok(n) if n == buffer.len() => RootRead::Done,
            Err(wasip1::ERRNO_AGAIN) => RootRead::WouldBlock,
            _ => RootRead::Failed,
        }
    }

    fn wait(&mut self, timeout_ns: Option<u64>, interest: Interest) {
        let [input, out, err] = self.fds;
        if self.is_at_once(interest) {
            return;
        }
        let mut timeout = timeout_ns;
        if interest.stdin && !input.polls {
            self.idle_ns = self.idle_ns.saturating_add(timeout.unwrap_or(u64::MAX));
            if self.idle_ns >= IDLE_BEFORE_BLOCKING {
                self.may_block = true;
                return;
            }
        }
        let mut subscriptions = Vec::with_capacity(8);
        if interest.stdin && input.polls {
            subscriptions.push(fd_subscription(wasip1::EVENTTYPE_FD_READ, input.number));
        }
        for (wanted, fd) in [(interest.stdout, out), (interest.stderr, err)] {
            if wanted && fd.polls {
                subscriptions.push(fd_subscription(wasip1::EVENTTYPE_FD_WRITE, fd.number));
            } else if wanted {
                timeout = Some(timeout.unwrap_or(RETRY).min(RETRY));
            }
        }
        if self.embedded {
            subscriptions.push(fd_subscription(wasip1::EVENTTYPE_FD_READ, CONTROL_FD));
        }
        if interest.root {
            subscriptions.push(fd_subscription(wasip1::EVENTTYPE_FD_READ, ROOT_FD));
        }
        let (packets, mut room, mut net) = (interest.packets, interest.packet_room, Some(NET_FD));
        if let (Some(stream), Some(socket)) = (&mut self.stream, self.socket) {
            stream.flush();
            if packets && (stream.has_packet() || !stream.is_open()) || room && stream.has_room() {
                return;
            }
            room = stream.has_pending();
            net = socket.polls.then_some(socket.number);
            if net.is_none() && (packets || room) {
                timeout = Some(timeout.unwrap_or(RETRY).min(RETRY));
            }
        }
        for (wanted, kind) in [(packets, wasip1::EVENTTYPE_FD_READ), (room, wasip1::EVENTTYPE_FD_WRITE)] {
            subscriptions.extend(net.filter(|_| wanted).map(|fd| fd_subscription(kind, fd)));
        }
        // Without anything else to wait for, "for ever" needs an end that the runtime can compute.
        if timeout.is_some() || subscriptions.is_empty() {
            subscriptions.push(clock_subscription(timeout.unwrap_or(3_600_000_000_000)));
        }
        self.wait_for(&subscriptions);
        if let Some(stream) = &mut self.stream {
            stream.flush();
        }
    }
}

impl WasiHost {
    fn wait_for(&mut self, subscriptions: &[wasip1::Subscription]) {
        let mut broken = [false; 3];
        let mut ready = [false; 3];
        let mut control = false;
        let socket = self.socket.map(|socket| u64::from(socket.number));
        let mut dumb = false;
        let result = poll(subscriptions, |event| match event.userdata {
            fd @ 0..3 if event.error != wasip1::ERRNO_SUCCESS && event.error != wasip1::ERRNO_PIPE => {
                broken[fd as usize] = true;
            }
            fd @ 0..3 => ready[fd as usize] = true,
            CONTROL => control = true,
            fd if Some(fd) == socket => dumb |= event.error != wasip1::ERRNO_SUCCESS,
            _ => {}
        });
        if result.is_err() {
            // The whole call failed: find out which descriptor the runtime cannot poll, and do without it.
            for (fd, broken) in self.fds.iter().zip(&mut broken) {
                let kind =
                    if fd.number == 0 { wasip1::EVENTTYPE_FD_READ } else { wasip1::EVENTTYPE_FD_WRITE };
                let asked = |s: &wasip1::Subscription| s.userdata == u64::from(fd.number);
                *broken = subscriptions.iter().any(asked) && poll_one(kind, fd.number, 0).is_err();
            }
            if let Some(fd) = socket {
                dumb = subscriptions.iter().any(|s| s.userdata == fd)
                    && poll_one(wasip1::EVENTTYPE_FD_READ, fd as u32, 0).is_err();
            }
            if !dumb && !broken.contains(&true) {
                // No way to wait: do not burn the host's processor for nothing.
                let _ = poll(&[clock_subscription(RETRY)], |_| {});
            }
        }
        for (fd, broken) in self.fds.iter_mut().zip(broken) {
            fd.polls &= !broken;
        }
        if let Some(socket) = &mut self.socket {
            socket.polls &= !dumb;
        }
        self.ready = ready;
        if control {
            self.take_records();
        }
    }
}

const CONTROL: u64 = CONTROL_FD as u64;
