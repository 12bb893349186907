//! The three streams of a run: what moves between a console port and the host, and what waits.

use forelift_abi::control::ToGuest;

use crate::dev::Devices;
use crate::dev::virtio::console::Port;
use crate::host::{Host, Read, Stream, Written};
use crate::memory::GuestMemory;

/// Size of the buffers in which small pieces are gathered and input is read.
pub(super) const BUFFER: usize = 64 << 10;
/// Pieces of output of at least this many bytes go to the host without a copy.
pub(super) const DIRECT: usize = 2048;
/// Bytes moved per stream in one call of [`Session::pump`].
pub(super) const BUDGET: usize = 1 << 20;

/// An output stream: port to host.
pub(super) struct Output {
    port: Port,
    stream: Stream,
    pub(super) gathered: Vec<u8>,
    pub(super) blocked: bool,
    pub(super) closed: bool,
}

impl Output {
    pub(super) fn new(port: Port, stream: Stream) -> Self {
        Output { port, stream, gathered: Vec::new(), blocked: false, closed: false }
    }

    /// Passes `bytes` on; how much was taken. All of it when nobody reads the stream.
    fn write(&mut self, host: &mut dyn Host, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() && !self.closed {
            match host.write(self.stream, &bytes[done..]) {
                Written::Bytes(n) => done += n.min(bytes.len() - done),
                Written::WouldBlock => {
                    self.blocked = true;
                    return done;
                }
                Written::Closed => self.closed = true,
            }
        }
        bytes.len()
    }

    /// Writes what was gathered; true when nothing of it is left.
    pub(super) fn flush(&mut self, host: &mut dyn Host) -> bool {
        if !self.gathered.is_empty() {
            let gathered = core::mem::take(&mut self.gathered);
            let n = self.write(host, &gathered);
            self.gathered = gathered;
            self.gathered.drain(..n);
        }
        self.gathered.is_empty()
    }

    /// One piece of the guest's output; how much of it was taken.
    fn piece(&mut self, host: &mut dyn Host, bytes: &[u8]) -> usize {
        if self.closed {
            return bytes.len();
        }
        if bytes.len() >= DIRECT || self.gathered.len() + bytes.len() > BUFFER {
            return if self.flush(host) { self.write(host, bytes) } else { 0 };
        }
        self.gathered.extend_from_slice(bytes);
        bytes.len()
    }

    /// Moves what the guest has written; true when anything moved.
    pub(super) fn pump(&mut self, devices: &mut Devices, mem: &mut GuestMemory, host: &mut dyn Host) -> bool {
        self.blocked = false;
        let before = self.gathered.len();
        if !self.flush(host) {
            return self.gathered.len() != before;
        }
        let mut budget = BUDGET;
        let taken = devices.take_output(mem, self.port, &mut |bytes| {
            let n = self.piece(host, &bytes[..bytes.len().min(budget)]);
            budget -= n;
            n
        });
        self.flush(host);
        before + taken > 0
    }

    pub(super) fn is_empty(&self, devices: &Devices, mem: &GuestMemory) -> bool {
        self.gathered.is_empty() && !devices.has_output(mem, self.port)
    }
}

/// Standard input: host to port.
#[derive(Default)]
pub(super) struct Input {
    buffer: Vec<u8>,
    pending: core::ops::Range<usize>,
    total: u64,
    eof: bool,
    /// The guest has room and the host has nothing.
    pub(super) waits: bool,
}

impl Input {
    /// Moves input; true when anything moved. At the end gives the message for it, once.
    pub(super) fn pump(
        &mut self,
        devices: &mut Devices,
        mem: &mut GuestMemory,
        host: &mut dyn Host,
    ) -> (bool, Option<ToGuest>) {
        self.waits = false;
        let mut moved = 0;
        while moved < BUDGET {
            if !self.pending.is_empty() {
                let n = devices.push_input(mem, Port::Stdin, &self.buffer[self.pending.clone()]);
                self.pending.start += n;
                self.total += n as u64;
                moved += n;
                if n == 0 {
                    break;
                }
                continue;
            }
            let room = if self.eof { 0 } else { devices.input_room(mem, Port::Stdin) };
            if room == 0 {
                break;
            }
            self.buffer.resize(BUFFER, 0);
            let room = room.min(BUFFER);
            match host.read_stdin(&mut self.buffer[..room]) {
                Read::Data(n) => self.pending = 0..n.min(room),
                Read::WouldBlock => {
                    self.waits = true;
                    break;
                }
                Read::Eof => {
                    self.eof = true;
                    return (true, Some(ToGuest::StdinEof { bytes: self.total }));
                }
            }
        }
        (moved > 0, None)
    }
}
