//! The host as a Unix process: poll(2) on descriptors that stay in the mode they came in.
//!
//! The descriptors are shared with other processes, so they are not switched to non-blocking: a read or write
//! follows a poll that allowed it, and a write is at most `PIPE_BUF` bytes then, which a pipe takes without
//! blocking. Signals are not handled here: whoever does pushes events with an [`EventSender`].

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use forelift_abi::control::WindowSize;

use super::PIPE_BUF;
use crate::host::{Host, HostEvent, Interest, Read, Stream, Terminal, Written};

type Events = Arc<Mutex<VecDeque<HostEvent>>>;

/// Gives events to a [`NativeHost`] from any thread, and wakes it.
#[derive(Clone, Debug)]
pub struct EventSender {
    events: Events,
    wake: Arc<UnixStream>,
}

impl EventSender {
    /// Queues an event.
    pub fn push_event(&self, event: HostEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        // When the socket is full the host is about to wake anyway.
        let _ = (&*self.wake).write(&[0]);
    }
}

/// A process of the host system. See the module's documentation.
#[derive(Debug)]
pub struct NativeHost {
    fds: [RawFd; 3],
    regular: [bool; 3],
    origin: Instant,
    events: Events,
    woken: UnixStream,
    sender: EventSender,
    raw: bool,
    network: Option<RawFd>,
}

impl NativeHost {
    /// A host on the process's own standard streams.
    ///
    /// # Errors
    /// When no socket pair can be made.
    pub fn new() -> std::io::Result<Self> {
        Self::on([0, 1, 2])
    }

    /// A host on other descriptors for input, output and error output, which stay the caller's.
    ///
    /// # Errors
    /// When no socket pair can be made.
    pub fn on(fds: [RawFd; 3]) -> std::io::Result<Self> {
        let (woken, wake) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let events = Events::default();
        let sender = EventSender { events: events.clone(), wake: Arc::new(wake) };
        Ok(NativeHost {
            fds,
            regular: fds.map(is_regular),
            origin: Instant::now(),
            events,
            woken,
            sender,
            raw: false,
            network: None,
        })
    }

    /// A handle for events.
    pub fn events(&self) -> EventSender {
        self.sender.clone()
    }

    /// Says whether the terminal was switched to raw mode.
    pub fn set_raw(&mut self, raw: bool) {
        self.raw = raw;
    }

    /// Names a descriptor that becomes readable when the network has packets or room. It stays the caller's,
    /// whose [`Host`] around this one moves the packets.
    pub fn wake_for_network(&mut self, fd: RawFd) {
        self.network = Some(fd);
    }

    fn ready(fd: RawFd, events: i16) -> bool {
        let mut poll = [libc::pollfd { fd, events, revents: 0 }];
        wait_for(&mut poll, Some(0));
        poll[0].revents != 0
    }
}

fn is_regular(fd: RawFd) -> bool {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat fills the structure when it returns 0, and it is read only then.
    unsafe {
        libc::fstat(fd, stat.as_mut_ptr()) == 0 && stat.assume_init().st_mode & libc::S_IFMT == libc::S_IFREG
    }
}

/// ppoll(2); an interrupted wait is an early end.
fn wait_for(fds: &mut [libc::pollfd], timeout_ns: Option<u64>) {
    let timeout = timeout_ns.map(|ns| libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as _,
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the slice and the timeout live through the call; their lengths are right.
    let n = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout, std::ptr::null()) };
    if n < 0 {
        fds.iter_mut().for_each(|f| f.revents = 0);
    }
}

fn would_block() -> bool {
    let kind = std::io::Error::last_os_error().kind();
    matches!(kind, std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted)
}

impl Host for NativeHost {
    fn monotonic_ns(&mut self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    fn realtime_ns(&mut self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
    }

    fn random(&mut self, buf: &mut [u8]) {
        // The system's generator does not fail on a system that works; a guest without entropy would be
        // unsafe.
        getrandom::fill(buf).expect("the operating system has no entropy");
    }

    fn read_stdin(&mut self, buf: &mut [u8]) -> Read {
        let fd = self.fds[0];
        if buf.is_empty() || !self.regular[0] && !Self::ready(fd, libc::POLLIN) {
            return Read::WouldBlock;
        }
        // SAFETY: the buffer is ours for the whole call, with its true length.
        match unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) } {
            0 => Read::Eof,
            n if n > 0 => Read::Data(n as usize),
            _ if would_block() => Read::WouldBlock,
            _ => Read::Eof,
        }
    }

    fn write(&mut self, stream: Stream, buf: &[u8]) -> Written {
        let index = 1 + usize::from(stream == Stream::Stderr);
        let fd = self.fds[index];
        let mut n = buf.len();
        if !self.regular[index] {
            if !Self::ready(fd, libc::POLLOUT) {
                return Written::WouldBlock;
            }
            n = n.min(PIPE_BUF);
        }
        // SAFETY: the first n bytes of the buffer are readable for the whole call.
        match unsafe { libc::write(fd, buf.as_ptr().cast(), n) } {
            n if n > 0 => Written::Bytes(n as usize),
            0 => Written::WouldBlock,
            _ if would_block() => Written::WouldBlock,
            _ => Written::Closed,
        }
    }

    fn event(&mut self) -> Option<HostEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn terminal(&mut self) -> Terminal {
        // SAFETY: isatty only looks at a descriptor's number.
        let is_tty = self.fds[..2].iter().all(|&fd| unsafe { libc::isatty(fd) } == 1);
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCGWINSZ fills the structure that the pointer leads to, which is of the right type.
        let told = unsafe { libc::ioctl(self.fds[1], libc::TIOCGWINSZ, &raw mut size) } == 0;
        let size = (told && size.ws_row > 0 && size.ws_col > 0)
            .then_some(WindowSize { rows: size.ws_row, cols: size.ws_col });
        Terminal { is_tty, size, raw: self.raw }
    }

    fn wait(&mut self, timeout_ns: Option<u64>, interest: Interest) {
        let pollfd =
            |wanted: bool, fd, events| libc::pollfd { fd: if wanted { fd } else { -1 }, events, revents: 0 };
        let mut fds = [
            pollfd(true, self.woken.as_raw_fd(), libc::POLLIN),
            pollfd(interest.stdin, self.fds[0], libc::POLLIN),
            pollfd(interest.stdout, self.fds[1], libc::POLLOUT),
            pollfd(interest.stderr, self.fds[2], libc::POLLOUT),
            pollfd(interest.packets || interest.packet_room, self.network.unwrap_or(-1), libc::POLLIN),
        ];
        wait_for(&mut fds, timeout_ns);
        if fds[0].revents != 0 {
            let mut sink = [0; 64];
            while matches!(self.woken.read(&mut sink), Ok(n) if n == sink.len()) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::pipe;
    use std::time::Duration;

    #[test]
    fn a_full_pipe_blocks_nothing_and_a_closed_one_says_so() {
        let (input, mut feed) = pipe().unwrap();
        let (mut out, sink) = pipe().unwrap();
        let (gone, closed) = pipe().unwrap();
        drop(gone);
        let fds = [input.as_raw_fd(), sink.as_raw_fd(), closed.as_raw_fd()];
        let mut host = NativeHost::on(fds).unwrap();
        assert_eq!(host.write(Stream::Stderr, b"x"), Written::Closed);
        let mut buf = [0; 16];
        assert_eq!(host.read_stdin(&mut buf), Read::WouldBlock);
        feed.write_all(b"abc").unwrap();
        assert_eq!(host.read_stdin(&mut buf), Read::Data(3));
        drop(feed);
        assert_eq!(host.read_stdin(&mut buf), Read::Eof);
        assert_eq!(host.read_stdin(&mut buf), Read::Eof);

        let big = [7u8; 10_000];
        let mut sent = 0;
        while let Written::Bytes(n) = host.write(Stream::Stdout, &big) {
            assert!(n <= PIPE_BUF);
            sent += n;
        }
        assert!(sent >= PIPE_BUF);
        assert_eq!(host.write(Stream::Stdout, &big), Written::WouldBlock);
        let mut got = vec![0; sent];
        out.read_exact(&mut got).unwrap();
        assert!(got.iter().all(|&b| b == 7));
        assert!(matches!(host.write(Stream::Stdout, &big), Written::Bytes(_)));
    }

    #[test]
    fn a_wait_ends_early_for_input_and_events_only() {
        let (input, mut feed) = pipe().unwrap();
        let (_out, sink) = pipe().unwrap();
        let fds = [input.as_raw_fd(), sink.as_raw_fd(), sink.as_raw_fd()];
        let mut host = NativeHost::on(fds).unwrap();
        let stdin = Interest { stdin: true, ..Interest::default() };
        let timed = |host: &mut NativeHost, ms: u64, interest| {
            let before = Instant::now();
            host.wait(Some(ms * 1_000_000), interest);
            before.elapsed()
        };
        assert!(timed(&mut host, 30, stdin) >= Duration::from_millis(30));
        feed.write_all(b"x").unwrap();
        assert!(timed(&mut host, 30, Interest::default()) >= Duration::from_millis(30));
        assert!(timed(&mut host, 20_000, stdin) < Duration::from_secs(10));
        let sender = host.events();
        std::thread::spawn(move || sender.push_event(HostEvent::Signal(2))).join().unwrap();
        assert!(timed(&mut host, 20_000, Interest::default()) < Duration::from_secs(10));
        assert_eq!(host.event(), Some(HostEvent::Signal(2)));
        assert_eq!(host.event(), None);
        assert!(timed(&mut host, 30, Interest::default()) >= Duration::from_millis(30));
    }

    #[test]
    fn clocks_and_entropy_move() {
        let mut host = NativeHost::new().unwrap();
        let before = host.monotonic_ns();
        host.wait(Some(2_000_000), Interest::default());
        assert!(host.monotonic_ns() - before >= 2_000_000);
        assert!(host.realtime_ns() > 1_700_000_000_000_000_000);
        let (mut a, mut b) = ([0; 32], [0; 32]);
        host.random(&mut a);
        host.random(&mut b);
        assert_ne!(a, b);
    }
}
