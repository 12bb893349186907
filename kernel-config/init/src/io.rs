//! The pump: bytes between the ports and the command, orders from the host, and the command's end.
//!
//! One thread in one poll(2). A flow has one buffer; its source is polled only while the buffer is empty and
//! its sink only while it is not, so a slow reader holds the writer up all the way through, as a full pipe
//! does. A virtio port takes at most 32 KiB at a time and keeps it in its queue: a write that has returned
//! will reach the host.

use crate::{failure::*, ioctl, log, port, signals, sys, sys::Ended, tty::Pty};
use forelift_abi::control::{Start, ToGuest};
use libc::{POLLERR, POLLHUP, POLLIN, POLLOUT, pollfd};
use port::Control;
use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    thread::sleep,
};

const BUFFER: usize = 64 << 10;

/// What reading a source gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    /// Bytes, or nothing for now.
    Some,
    /// The end: of a pipe or a terminal. A port says so while its host side is away.
    End,
}

/// One direction of one stream.
struct Flow {
    source: Option<File>,
    sink: Option<File>,
    buffer: Vec<u8>,
    /// What of `buffer` is still to be written.
    pending: std::ops::Range<usize>,
    /// Bytes read from the source so far.
    total: u64,
    /// Last byte read.
    last: u8,
}

impl Flow {
    fn new(source: Option<File>, sink: Option<File>) -> Result<Self, Failure> {
        for file in source.iter().chain(&sink) {
            sys::set_nonblocking(file).context("cannot switch a stream to non-blocking")?;
        }
        Ok(Flow { source, sink, buffer: Vec::new(), pending: 0..0, total: 0, last: b'\n' })
    }

    /// Reads what is there, at most `limit` bytes, and passes it on; only called with nothing pending.
    fn fill(&mut self, limit: u64) -> Got {
        let Some(source) = &mut self.source else { return Got::End };
        self.buffer.resize(BUFFER, 0);
        let room = self.buffer.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        match source.read(&mut self.buffer[..room]) {
            Ok(0) => return Got::End,
            Ok(n) => {
                self.total += n as u64;
                self.last = self.buffer[n - 1];
                self.pending = 0..n;
                self.drain();
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // EIO: a terminal whose other side is closed.
            Err(_) => return Got::End,
        }
        Got::Some
    }

    /// Writes as much as the sink takes now. Without a sink everything is thrown away; one that fails is
    /// closed.
    fn drain(&mut self) {
        while !self.pending.is_empty() {
            let Some(sink) = &mut self.sink else { return self.close_sink() };
            match sink.write(&self.buffer[self.pending.clone()]) {
                Ok(n) => self.pending.start += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.close_sink(),
            }
        }
    }

    fn close_sink(&mut self) {
        self.sink = None;
        self.pending = 0..0;
    }

    /// The source's entry for poll(2).
    fn poll_source(&self, wanted: bool) -> pollfd {
        entry(self.source.as_ref().filter(|_| wanted && self.pending.is_empty()), POLLIN)
    }

    /// The sink's entry for poll(2).
    fn poll_sink(&self) -> pollfd {
        entry(self.sink.as_ref().filter(|_| !self.pending.is_empty()), POLLOUT)
    }

    /// The same for a pipe, which with nothing pending still tells that its reader is gone.
    fn poll_sink_and_reader(&self) -> pollfd {
        entry(self.sink.as_ref(), if self.pending.is_empty() { 0 } else { POLLOUT })
    }
}

fn entry(file: Option<&File>, events: i16) -> pollfd {
    pollfd { fd: file.map_or(-1, File::as_raw_fd), events, revents: 0 }
}

/// Everything that moves while the command runs.
pub(crate) struct Pump {
    pid: i32,
    ended: Option<OwnedFd>,
    stdin: Flow,
    /// Standard output (or the terminal) and standard error.
    outputs: [Flow; 2],
    pty: Option<Pty>,
    stdin_end: Option<u64>,
    stop_signal: u8,
}

/// The supervisor's ends of the command's pipes.
pub(crate) struct Streams {
    /// Write end of standard input.
    pub(crate) stdin: File,
    /// Read end of standard output.
    pub(crate) stdout: File,
    /// Read end of standard error.
    pub(crate) stderr: File,
}

/// The data ports.
pub(crate) struct Ports {
    /// Standard input.
    pub(crate) stdin: File,
    /// Standard output.
    pub(crate) stdout: File,
    /// Standard error.
    pub(crate) stderr: File,
}

impl Pump {
    /// Connects ports and streams for `pid`, the command. `pty` is given when it has a terminal.
    pub(crate) fn new(
        start: &Start,
        pid: i32,
        ports: Ports,
        streams: Streams,
        pty: Option<Pty>,
    ) -> Result<Self, Failure> {
        let clone = |file: &File| file.try_clone().context("cannot duplicate the terminal");
        let (stdin, outputs) = match &pty {
            Some(pty) => (
                Flow::new(start.stdin.then_some(ports.stdin), Some(clone(&pty.master)?))?,
                [Flow::new(Some(clone(&pty.master)?), Some(ports.stdout))?, Flow::new(None, None)?],
            ),
            None => (
                Flow::new(start.stdin.then_some(ports.stdin), start.stdin.then_some(streams.stdin))?,
                [
                    Flow::new(Some(streams.stdout), Some(ports.stdout))?,
                    Flow::new(Some(streams.stderr), Some(ports.stderr))?,
                ],
            ),
        };
        let stop_signal = signals::parse(&start.stop_signal).unwrap_or_else(|| {
            log::warn(&format!("unknown stop signal `{}`: SIGTERM it is", start.stop_signal));
            signals::SIGTERM
        });
        let ended = Some(sys::pidfd(pid).context("cannot watch the command")?);
        Ok(Pump { pid, ended, stdin, outputs, pty, stdin_end: None, stop_signal })
    }

    /// Pumps until the command has ended and all its output has been accepted by the ports; gives how it
    /// ended.
    pub(crate) fn run(mut self, control: &mut Control) -> Result<Ended, Failure> {
        let mut result = None;
        control.set_nonblocking()?;
        // What came with or right after the start.
        self.orders(control)?;
        loop {
            if let Some(ended) = result
                && self.outputs.iter().all(|o| o.source.is_none() && o.pending.is_empty())
            {
                return Ok(ended);
            }
            if self.turn(control)? {
                result = Some(sys::reap(self.pid).context("cannot wait for the command")?);
                self.command_ended();
            }
        }
    }

    /// One poll(2) and what follows from it; true when the command has ended.
    fn turn(&mut self, control: &mut Control) -> Result<bool, Failure> {
        let [out, err] = &self.outputs;
        let mut fds = [
            pollfd { fd: control.fd(), events: POLLIN, revents: 0 },
            pollfd { fd: self.ended.as_ref().map_or(-1, AsRawFd::as_raw_fd), events: POLLIN, revents: 0 },
            self.stdin.poll_source(self.stdin_allowance() > 0),
            if self.pty.is_some() { self.stdin.poll_sink() } else { self.stdin.poll_sink_and_reader() },
            out.poll_source(true),
            out.poll_sink(),
            err.poll_source(true),
            err.poll_sink(),
        ];
        sys::poll(&mut fds, -1).context("cannot poll")?;
        let came = fds.map(|f| f.revents);
        let mut away = came[0] & (POLLIN | POLLHUP) == POLLHUP;
        if came[0] & POLLIN != 0 {
            self.orders(control)?;
        }
        away |= self.pump_stdin(came[2], came[3]);
        for (flow, came) in self.outputs.iter_mut().zip([&came[4..6], &came[6..8]]) {
            away |= pump_output(flow, came[0], came[1]);
        }
        if away {
            // A port without a host is always "ready": do not spin.
            sleep(port::DISCONNECTED_PAUSE);
        }
        Ok(came[1] != 0)
    }

    /// How many bytes of standard input may still be read.
    fn stdin_allowance(&self) -> u64 {
        self.stdin_end.map_or(u64::MAX, |end| end.saturating_sub(self.stdin.total))
    }

    /// True when the port's host side is away.
    fn pump_stdin(&mut self, source: i16, sink: i16) -> bool {
        let mut away = source & (POLLIN | POLLHUP) == POLLHUP;
        if sink & POLLOUT != 0 {
            self.stdin.drain();
        } else if sink & (POLLERR | POLLHUP) != 0 {
            self.stdin.close_sink();
        }
        if source & POLLIN != 0 && self.stdin.pending.is_empty() {
            away |= self.stdin.fill(self.stdin_allowance()) == Got::End;
        }
        if self.stdin.sink.is_none() {
            // The command closed its standard input. What the host still sends stays in the port, as in a
            // pipe.
            self.stdin.source = None;
        }
        self.end_stdin();
        away
    }

    /// Closes standard input when its last byte has been delivered.
    fn end_stdin(&mut self) {
        if self.stdin.sink.is_none() || self.stdin_allowance() > 0 || !self.stdin.pending.is_empty() {
            return;
        }
        if let Some(pty) = &self.pty {
            // A terminal has no end; its reader sees one when the line discipline gets the end-of-file
            // character: at the start of a line one, elsewhere a first to hand the line over and a second.
            let mark = ioctl::eof_character(&pty.slave).ok().flatten();
            let marks =
                vec![mark.unwrap_or(4); if self.stdin.last == b'\n' || mark.is_none() { 1 } else { 2 }];
            if let Some(sink) = &mut self.stdin.sink {
                // A terminal too full to take it has a reader that is not waiting for an end.
                let _ = sink.write(&marks);
            }
        }
        self.stdin.source = None;
        self.stdin.close_sink();
    }

    fn orders(&mut self, control: &mut Control) -> Result<(), Failure> {
        while let Some(order) = control.receive()? {
            match order {
                ToGuest::Start(_) | ToGuest::Exercise { .. } => log::warn("a second start was ignored"),
                ToGuest::Signal(signal) => self.signal(signal),
                ToGuest::Stop => self.signal(self.stop_signal),
                ToGuest::WindowSize(size) => {
                    if let Some(pty) = &self.pty {
                        let _ = ioctl::set_window_size(&pty.master, size.rows, size.cols);
                    }
                }
                ToGuest::StdinEof { bytes } => {
                    self.stdin_end = Some(bytes);
                    self.end_stdin();
                }
                ToGuest::OutputClosed(number) => {
                    let flow = match number {
                        1 => Some(&mut self.outputs[0]),
                        2 => Some(&mut self.outputs[1]),
                        _ => None,
                    };
                    if let Some(flow) = flow {
                        flow.close_sink();
                        if self.pty.is_none() {
                            // With it goes the pipe's last reader: the command gets SIGPIPE.
                            flow.source = None;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn signal(&self, signal: u8) {
        // Once reaped, the number may be another's.
        if self.ended.is_some()
            && let Err(e) = sys::kill(self.pid, signal)
        {
            log::warn(&format!("cannot send signal {signal}: {}", sys::describe(&e)));
        }
    }

    /// With its first process the whole container has ended: nothing more is read, nothing more written.
    fn command_ended(&mut self) {
        self.ended = None;
        self.stdin.source = None;
        self.stdin.close_sink();
        // The master then reads what is left, and EIO.
        self.pty = None;
    }
}

/// True when the port's host side is away.
fn pump_output(flow: &mut Flow, source: i16, sink: i16) -> bool {
    if sink & POLLOUT != 0 {
        flow.drain();
    }
    if source != 0 && flow.pending.is_empty() && flow.fill(u64::MAX) == Got::End {
        flow.source = None;
    }
    sink & (POLLHUP | POLLOUT) == POLLHUP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> (File, Flow, File) {
        let (source, feed) = sys::pipe().unwrap();
        let (out, sink) = sys::pipe().unwrap();
        (feed, Flow::new(Some(source), Some(sink)).unwrap(), out)
    }

    #[test]
    fn a_full_sink_holds_the_source_and_loses_nothing() {
        let (mut feed, mut flow, mut out) = flow();
        sys::set_nonblocking(&feed).unwrap();
        let (mut sent, mut got, mut next) = (Vec::new(), Vec::new(), 0u8);
        // Far more than two pipes and a buffer hold, read in small bites.
        for _ in 0..2000 {
            let block: Vec<u8> = (0..1000)
                .map(|_| {
                    next = next.wrapping_mul(5).wrapping_add(17);
                    next
                })
                .collect();
            if let Ok(n) = feed.write(&block) {
                sent.extend_from_slice(&block[..n]);
                next = sent.last().copied().unwrap_or(0);
            }
            if flow.pending.is_empty() {
                flow.fill(u64::MAX);
            } else {
                flow.drain();
            }
            let mut bite = [0; 700];
            if sys::wait_for(out.as_raw_fd(), POLLIN, 0).unwrap() & POLLIN != 0 {
                let n = out.read(&mut bite).unwrap();
                got.extend_from_slice(&bite[..n]);
            }
        }
        drop(feed);
        let reader = std::thread::spawn(move || {
            out.read_to_end(&mut got).unwrap();
            got
        });
        loop {
            if !flow.pending.is_empty() {
                sys::wait_for(flow.sink.as_ref().unwrap().as_raw_fd(), POLLOUT, -1).unwrap();
                flow.drain();
            } else if flow.fill(u64::MAX) == Got::End {
                break;
            }
        }
        flow.close_sink();
        assert!(sent.len() > 1_000_000);
        assert!(reader.join().unwrap() == sent);
    }

    #[test]
    fn a_lost_reader_closes_the_sink() {
        let (mut feed, mut flow, out) = flow();
        drop(out);
        feed.write_all(b"x").unwrap();
        assert_eq!(flow.fill(u64::MAX), Got::Some);
        assert!(flow.sink.is_none() && flow.pending.is_empty());
        // From then on all is thrown away.
        feed.write_all(b"y").unwrap();
        assert_eq!(flow.fill(u64::MAX), Got::Some);
        assert!(flow.pending.is_empty());
    }

    #[test]
    fn a_limit_leaves_the_rest_in_the_source() {
        let (mut feed, mut flow, _out) = flow();
        feed.write_all(b"abcdef").unwrap();
        flow.fill(4);
        assert_eq!((flow.total, flow.last), (4, b'd'));
    }
}
