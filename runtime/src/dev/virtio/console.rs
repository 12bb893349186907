//! Console device with several ports (virtio 1.2, section 5.3).
//!
//! Port 0 is the kernel's console: its output goes into a bounded log at once, because the kernel spins with
//! interrupts off until a console write is consumed. The other ports carry the control protocol and the
//! container's streams ([`forelift_abi::control`]). Their data stays in the virtqueues until the host side
//! takes or gives it: a full host pipe leaves the guest's buffers in the queue, and the writer in the guest
//! blocks. Nothing is copied on the way: the sink of [`Console::take_output`] sees guest memory.
//!
//! Offered: `VIRTIO_CONSOLE_F_MULTIPORT`. Not offered: a size (`F_SIZE`; the container's terminal is a
//! pseudo-terminal of the guest, which hears of sizes by the control protocol) and emergency write.

use std::collections::VecDeque;

use forelift_abi::control::{PORT_CONTROL, PORT_STDERR, PORT_STDIN, PORT_STDOUT};
use serde::{Deserialize, Serialize};

use super::device::{Context, VirtioDevice, read_config_bytes};
use super::queue::{QueueError, parts};

/// `VIRTIO_CONSOLE_F_MULTIPORT`.
pub const F_MULTIPORT: u64 = 1 << 1;

const CONTROL_RX: usize = 2;
const CONTROL_TX: usize = 3;
const QUEUES: usize = 2 * (Port::ALL.len() + 1);
const SIZE: u16 = 128;

/// Most control messages that wait for the driver; while there are as many, its own messages wait too.
const MOST_PENDING: usize = 64;
/// Most bytes kept of the kernel's console between two calls of [`Console::take_log`]; older ones are
/// dropped.
pub const LOG_LIMIT: usize = 256 << 10;

/// Control events (section 5.3.6.2).
mod event {
    pub(super) const DEVICE_READY: u16 = 0;
    pub(super) const DEVICE_ADD: u16 = 1;
    pub(super) const PORT_READY: u16 = 3;
    pub(super) const CONSOLE_PORT: u16 = 4;
    pub(super) const PORT_OPEN: u16 = 6;
    pub(super) const PORT_NAME: u16 = 7;
}

/// The ports, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The kernel's console.
    Kernel = 0,
    /// Messages of [`forelift_abi::control`].
    Control = 1,
    /// Standard input.
    Stdin = 2,
    /// Standard output.
    Stdout = 3,
    /// Standard error.
    Stderr = 4,
}

impl Port {
    /// All ports in order of their numbers.
    pub const ALL: [Port; 5] = [Port::Kernel, Port::Control, Port::Stdin, Port::Stdout, Port::Stderr];

    /// The name that the guest finds in sysfs; the kernel's console has none.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Port::Kernel => None,
            Port::Control => Some(PORT_CONTROL),
            Port::Stdin => Some(PORT_STDIN),
            Port::Stdout => Some(PORT_STDOUT),
            Port::Stderr => Some(PORT_STDERR),
        }
    }

    /// Virtqueue that carries bytes to the guest (section 5.3.2).
    pub fn receive_queue(self) -> usize {
        match self {
            Port::Kernel => 0,
            port => 2 * port as usize + 2,
        }
    }

    /// Virtqueue that carries bytes from the guest.
    pub fn transmit_queue(self) -> usize {
        self.receive_queue() + 1
    }
}

/// State of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortState {
    /// A process of the guest has the port open.
    pub open: bool,
    /// Bytes already taken of the first chain in the transmit queue.
    pub taken: u32,
}

/// The device's state in a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleState {
    /// The ports in order.
    pub ports: Vec<PortState>,
    /// Control messages that wait for buffers of the driver.
    pub pending: Vec<Vec<u8>>,
}

/// The device. See the module's documentation.
#[derive(Default)]
pub struct Console {
    ports: [PortState; Port::ALL.len()],
    pending: VecDeque<Vec<u8>>,
    log: VecDeque<u8>,
    log_dropped: u64,
}

impl Console {
    /// Device type.
    pub const ID: u32 = 3;

    /// A console whose driver has yet to come.
    pub fn new() -> Self {
        Self::default()
    }

    /// State for a snapshot; the log is not part of it.
    pub fn save(&self) -> ConsoleState {
        ConsoleState { ports: self.ports.to_vec(), pending: self.pending.iter().cloned().collect() }
    }

    /// Puts saved state back.
    ///
    /// # Errors
    /// What does not fit.
    pub fn restore(&mut self, state: ConsoleState) -> Result<(), &'static str> {
        self.ports = state.ports.try_into().map_err(|_| "another number of console ports")?;
        if state.pending.len() > 2 * MOST_PENDING || state.pending.iter().any(|m| m.len() > 64) {
            return Err("too many console control messages");
        }
        self.pending = state.pending.into();
        Ok(())
    }

    /// What the kernel has printed since the last call.
    pub fn take_log(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.log_dropped > 0 {
            out.extend_from_slice(format!("[{} bytes dropped]\n", self.log_dropped).as_bytes());
            self.log_dropped = 0;
        }
        out.extend(self.log.drain(..));
        out
    }

    /// Whether a process of the guest has the port open. Bytes sent to a closed port are lost.
    pub fn is_open(&self, port: Port) -> bool {
        self.ports[port as usize].open
    }

    /// Offers what the guest has written to `port` to `sink`, which returns how much it takes; taking less
    /// than all ends the call, and the rest stays in the guest's buffers. Returns the number of bytes taken.
    ///
    /// # Errors
    /// An error of the queue.
    pub fn take_output(
        &mut self,
        cx: &mut Context<'_>,
        port: Port,
        sink: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<usize, QueueError> {
        let queue = port.transmit_queue();
        let mut total = 0;
        while let Some(chain) = cx.pop(queue)? {
            let mut at = self.ports[port as usize].taken;
            let mut blocked = false;
            for (addr, len) in parts(chain.readable(), at) {
                let Some(bytes) = cx.mem.slice(addr, len) else { break };
                let n = sink(bytes).min(len);
                total += n;
                at += n as u32;
                if n < len {
                    blocked = true;
                    break;
                }
            }
            if blocked {
                self.ports[port as usize].taken = at;
                cx.queues[queue].undo_pop(chain);
                break;
            }
            self.ports[port as usize].taken = 0;
            cx.complete(queue, chain, 0)?;
        }
        Ok(total)
    }

    /// Bytes that the guest has room for on `port`: what [`push_input`](Self::push_input) would take, as far
    /// as the first 16 buffers go. None while the port is closed.
    ///
    /// # Errors
    /// An error of the queue.
    pub fn input_room(&mut self, cx: &mut Context<'_>, port: Port) -> Result<usize, QueueError> {
        if !self.is_open(port) {
            return Ok(0);
        }
        cx.queues[port.receive_queue()].room(cx.mem, 16)
    }

    /// Gives `data` to the guest on `port`, as far as it has buffers; returns how many bytes it took.
    ///
    /// # Errors
    /// An error of the queue.
    pub fn push_input(&mut self, cx: &mut Context<'_>, port: Port, data: &[u8]) -> Result<usize, QueueError> {
        if !self.is_open(port) {
            return Ok(0);
        }
        let mut done = 0;
        while done < data.len() {
            let n = match give(cx, port.receive_queue(), &data[done..])? {
                Some(n) => n,
                None => break,
            };
            done += n;
        }
        Ok(done)
    }

    fn print(&mut self, bytes: &[u8]) {
        let bytes = match bytes.len().checked_sub(LOG_LIMIT) {
            Some(cut) => {
                self.log_dropped += cut as u64;
                &bytes[cut..]
            }
            None => bytes,
        };
        let excess = (self.log.len() + bytes.len()).saturating_sub(LOG_LIMIT);
        self.log.drain(..excess);
        self.log_dropped += excess as u64;
        self.log.extend(bytes);
    }

    fn send(&mut self, port: u32, event: u16, value: u16, tail: &[u8]) {
        let mut message = Vec::with_capacity(8 + tail.len());
        message.extend_from_slice(&port.to_le_bytes());
        message.extend_from_slice(&event.to_le_bytes());
        message.extend_from_slice(&value.to_le_bytes());
        message.extend_from_slice(tail);
        self.pending.push_back(message);
    }

    /// The handshake of section 5.3.6.2: every port that the driver knows gets its kind or name, and is open
    /// on our side.
    fn control(&mut self, port: u32, event: u16, value: u16) {
        if event == event::DEVICE_READY && value == 1 {
            for port in Port::ALL {
                self.send(port as u32, event::DEVICE_ADD, 0, &[]);
            }
            return;
        }
        let Some(&port) = Port::ALL.get(port as usize) else { return };
        match event {
            event::PORT_READY if value == 1 => {
                match port.name() {
                    None => self.send(port as u32, event::CONSOLE_PORT, 1, &[]),
                    Some(name) => self.send(port as u32, event::PORT_NAME, 1, name.as_bytes()),
                }
                self.send(port as u32, event::PORT_OPEN, 1, &[]);
            }
            event::PORT_OPEN => self.ports[port as usize].open = value != 0,
            _ => {}
        }
    }

    fn work_on_control(&mut self, cx: &mut Context<'_>) -> Result<(), QueueError> {
        loop {
            while let Some(message) = self.pending.front() {
                if give(cx, CONTROL_RX, message)?.is_none() {
                    break;
                }
                self.pending.pop_front();
            }
            // A driver that talks and never listens waits for itself.
            if self.pending.len() >= MOST_PENDING {
                return Ok(());
            }
            let Some(chain) = cx.pop(CONTROL_TX)? else { return Ok(()) };
            let mut m = [0u8; 8];
            let whole = chain.read_at(cx.mem, 0, &mut m) == m.len();
            cx.complete(CONTROL_TX, chain, 0)?;
            if whole {
                let port = u32::from_le_bytes([m[0], m[1], m[2], m[3]]);
                self.control(port, u16::from_le_bytes([m[4], m[5]]), u16::from_le_bytes([m[6], m[7]]));
            }
        }
    }
}

/// Puts the beginning of `data` into the next buffer of `queue`, if there is one.
fn give(cx: &mut Context<'_>, queue: usize, data: &[u8]) -> Result<Option<usize>, QueueError> {
    let Some(chain) = cx.pop(queue)? else { return Ok(None) };
    let n = chain.write_at(cx.mem, 0, data);
    cx.complete(queue, chain, n as u32)?;
    Ok(Some(n))
}

impl VirtioDevice for Console {
    fn device_id(&self) -> u32 {
        Self::ID
    }

    fn features(&self) -> u64 {
        F_MULTIPORT
    }

    fn queue_sizes(&self) -> &[u16] {
        &[SIZE; QUEUES]
    }

    fn config_read(&self, offset: usize, out: &mut [u8]) {
        // cols, rows: not offered; max_nr_ports; emerg_wr: not offered.
        let mut space = [0u8; 12];
        space[4..8].copy_from_slice(&(Port::ALL.len() as u32).to_le_bytes());
        read_config_bytes(&space, offset, out);
    }

    fn reset(&mut self) {
        self.ports = Default::default();
        self.pending.clear();
    }

    fn notify(&mut self, queue: usize, cx: &mut Context<'_>) -> Result<(), QueueError> {
        if queue == Port::Kernel.transmit_queue() {
            return self.take_kernel_output(cx);
        }
        if queue == CONTROL_RX || queue == CONTROL_TX {
            return self.work_on_control(cx);
        }
        Ok(())
    }
}

impl Console {
    fn take_kernel_output(&mut self, cx: &mut Context<'_>) -> Result<(), QueueError> {
        let queue = Port::Kernel.transmit_queue();
        while let Some(chain) = cx.pop(queue)? {
            // A chain may name 4 GiB of one page over and over: the log keeps the end of it only, the walk is
            // bounded.
            let skip = chain.readable_len().saturating_sub(LOG_LIMIT as u32);
            for (addr, len) in parts(chain.readable(), skip) {
                if let Some(bytes) = cx.mem.slice(addr, len) {
                    self.print(bytes);
                }
            }
            self.log_dropped += u64::from(skip);
            cx.complete(queue, chain, 0)?;
        }
        Ok(())
    }
}
