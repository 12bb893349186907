//! Test tools: a driver that speaks to the devices through registers and rings as a guest would, and a
//! scripted host.

use std::collections::VecDeque;

use forelift_abi::config::Arch;
use forelift_abi::layout::{RAM_BASE, VIRTIO_BASE, VIRTIO_STRIDE};
use forelift_abi::net::{LENGTH, first_packet, put_packet};

use super::Devices;
use super::virtio::console::Port;
use super::virtio::mmio::{reg, status};
use super::virtio::{F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1};
use crate::dev::SLOT_CONSOLE;
use crate::host::{Host, HostEvent, Interest, Read, RootRead, Stream, Terminal, Written};
use crate::memory::GuestMemory;
use crate::platform::riscv64::plic::Plic;

pub(crate) const ROOT: usize = 0x20_0000;
pub(crate) const ALL: u64 = F_VERSION_1 | F_INDIRECT_DESC | F_EVENT_IDX;

pub(crate) fn memory() -> GuestMemory {
    let mut root = memmap2::MmapMut::map_anon(ROOT).unwrap();
    for (n, byte) in root.iter_mut().enumerate() {
        *byte = (n / 512 * 31 + n * 7 + 1) as u8;
    }
    let root = root.make_read_only().unwrap();
    GuestMemory::new(4 << 20, Some(root)).unwrap()
}

/// The driver's side of a virtqueue.
#[derive(Clone, Debug)]
pub(crate) struct Vq {
    pub(crate) slot: usize,
    pub(crate) index: usize,
    pub(crate) size: u16,
    pub(crate) desc: u64,
    pub(crate) avail: u64,
    pub(crate) used: u64,
    next_desc: u16,
    avail_idx: u16,
    seen: u16,
}

pub(crate) struct Guest {
    pub(crate) devices: Devices,
    pub(crate) mem: GuestMemory,
    free: u64,
}

/// Descriptor flags.
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

impl Guest {
    pub(crate) fn new() -> Self {
        Guest {
            devices: Devices::new(Arch::Riscv64, ROOT as u64).unwrap(),
            mem: memory(),
            free: RAM_BASE + 0x1000,
        }
    }

    pub(crate) fn alloc(&mut self, len: u64) -> u64 {
        let at = self.free;
        self.free += (len + 15) & !15;
        assert!(self.free < RAM_BASE + (4 << 20));
        at
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> u64 {
        let at = self.alloc(bytes.len() as u64);
        assert!(self.mem.write(at, bytes));
        at
    }

    pub(crate) fn get(&self, at: u64, len: usize) -> Vec<u8> {
        self.mem.slice(at, len).unwrap().to_vec()
    }

    pub(crate) fn half(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.mem.read_array(at).unwrap())
    }

    pub(crate) fn put_half(&mut self, at: u64, value: u16) {
        assert!(self.mem.write(at, &value.to_le_bytes()));
    }

    pub(crate) fn read(&mut self, slot: usize, offset: u64) -> u32 {
        let pa = VIRTIO_BASE + slot as u64 * VIRTIO_STRIDE + offset;
        self.devices.read(&mut self.mem, pa, 4).unwrap() as u32
    }

    pub(crate) fn write(&mut self, slot: usize, offset: u64, value: u32) {
        let pa = VIRTIO_BASE + slot as u64 * VIRTIO_STRIDE + offset;
        self.devices.write(&mut self.mem, pa, 4, value.into()).unwrap();
    }

    /// Steps 1 to 6 of section 3.1.1; true when the device accepts the features.
    pub(crate) fn negotiate(&mut self, slot: usize, features: u64) -> bool {
        self.write(slot, reg::STATUS, 0);
        self.write(slot, reg::STATUS, status::ACKNOWLEDGE | status::DRIVER);
        for half in 0..2 {
            self.write(slot, reg::DRIVER_FEATURES_SEL, half);
            self.write(slot, reg::DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
        self.write(slot, reg::STATUS, 11);
        self.read(slot, reg::STATUS) & status::FEATURES_OK != 0
    }

    pub(crate) fn setup_queue(&mut self, slot: usize, index: usize, size: u16) -> Vq {
        let n = u64::from(size);
        let (desc, avail, used) = (self.alloc(16 * n), self.alloc(6 + 2 * n), self.alloc(6 + 8 * n));
        self.write(slot, reg::QUEUE_SEL, index as u32);
        self.write(slot, reg::QUEUE_NUM, size.into());
        for (at, value) in
            [(reg::QUEUE_DESC_LOW, desc), (reg::QUEUE_DRIVER_LOW, avail), (reg::QUEUE_DEVICE_LOW, used)]
        {
            self.write(slot, at, value as u32);
            self.write(slot, at + 4, (value >> 32) as u32);
        }
        self.write(slot, reg::QUEUE_READY, 1);
        Vq { slot, index, size, desc, avail, used, next_desc: 0, avail_idx: 0, seen: 0 }
    }

    /// A driver that is ready, with all queues of `size`.
    pub(crate) fn probe(&mut self, slot: usize, features: u64, queues: usize, size: u16) -> Vec<Vq> {
        assert!(self.negotiate(slot, features));
        let queues = (0..queues).map(|q| self.setup_queue(slot, q, size)).collect();
        self.write(slot, reg::STATUS, 15);
        assert_eq!(self.read(slot, reg::STATUS), 15);
        queues
    }

    pub(crate) fn set_desc(&mut self, table: u64, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        let mut raw = addr.to_le_bytes().to_vec();
        raw.extend_from_slice(&len.to_le_bytes());
        raw.extend_from_slice(&flags.to_le_bytes());
        raw.extend_from_slice(&next.to_le_bytes());
        assert!(self.mem.write(table + 16 * u64::from(index), &raw));
    }

    /// Makes descriptor `head` available without a notification.
    pub(crate) fn make_available(&mut self, q: &mut Vq, head: u16) {
        self.put_half(q.avail + 4 + 2 * u64::from(q.avail_idx % q.size), head);
        q.avail_idx = q.avail_idx.wrapping_add(1);
        self.put_half(q.avail + 2, q.avail_idx);
    }

    /// Makes a chain of (address, length, device writes) available; gives its head.
    pub(crate) fn add(&mut self, q: &mut Vq, buffers: &[(u64, u32, bool)]) -> u16 {
        let head = q.next_desc;
        for (i, &(addr, len, write)) in buffers.iter().enumerate() {
            let index = q.next_desc;
            q.next_desc = (q.next_desc + 1) % q.size;
            let next = if i + 1 < buffers.len() { NEXT } else { 0 };
            self.set_desc(q.desc, index, addr, len, next | if write { WRITE } else { 0 }, q.next_desc);
        }
        self.make_available(q, head);
        head
    }

    pub(crate) fn kick(&mut self, q: &Vq) {
        self.write(q.slot, reg::QUEUE_NOTIFY, q.index as u32);
    }

    /// New entries of the used ring: head and length.
    pub(crate) fn used(&mut self, q: &mut Vq) -> Vec<(u32, u32)> {
        let mut out = Vec::new();
        while q.seen != self.half(q.used + 2) {
            let at = q.used + 4 + 8 * u64::from(q.seen % q.size);
            let raw = u64::from_le_bytes(self.mem.read_array(at).unwrap());
            out.push((raw as u32, (raw >> 32) as u32));
            q.seen = q.seen.wrapping_add(1);
        }
        out
    }

    fn plic(&mut self) -> &mut Plic {
        self.devices.platform_mut().plic().unwrap()
    }

    /// Enables all interrupt sources.
    pub(crate) fn enable_interrupts(&mut self) {
        for source in 1..=16 {
            self.plic().write(4 * source, 4, 1).unwrap();
        }
        self.plic().write(0x2000, 4, u32::MAX.into()).unwrap();
    }

    pub(crate) fn claim(&mut self) -> u64 {
        self.plic().read(0x20_0004, 4).unwrap()
    }

    pub(crate) fn complete(&mut self, source: u64) {
        self.plic().write(0x20_0004, 4, source).unwrap();
    }
}

/// A guest with a console driver that has finished the handshake and opened every port.
pub(crate) struct ConsoleGuest {
    pub(crate) guest: Guest,
    pub(crate) queues: Vec<Vq>,
    /// Receive buffers by queue: address of each descriptor's buffer.
    buffers: Vec<Vec<u64>>,
}

pub(crate) const RX_SIZE: u32 = 256;
pub(crate) const RING: u16 = 8;

impl ConsoleGuest {
    pub(crate) fn new() -> Self {
        Self::with(Guest::new(), ALL | 2)
    }

    pub(crate) fn with(mut guest: Guest, features: u64) -> Self {
        let queues = guest.probe(SLOT_CONSOLE, features, 12, RING);
        let mut this = ConsoleGuest { guest, queues, buffers: vec![Vec::new(); 12] };
        for queue in (0..12).step_by(2) {
            for _ in 0..RING {
                let at = this.guest.alloc(RX_SIZE.into());
                this.buffers[queue].push(at);
                this.guest.add(&mut this.queues[queue], &[(at, RX_SIZE, true)]);
            }
            this.guest.kick(&this.queues[queue]);
        }
        this
    }

    /// A control message of the driver.
    pub(crate) fn control(&mut self, port: u32, event: u16, value: u16) {
        let mut m = port.to_le_bytes().to_vec();
        m.extend_from_slice(&event.to_le_bytes());
        m.extend_from_slice(&value.to_le_bytes());
        self.send(3, &m);
    }

    /// Sends bytes on a transmit queue, whatever becomes of them.
    pub(crate) fn send(&mut self, queue: usize, bytes: &[u8]) {
        let at = self.guest.put(bytes);
        self.guest.add(&mut self.queues[queue], &[(at, bytes.len() as u32, false)]);
        self.guest.kick(&self.queues[queue]);
    }

    /// Reads what came on a receive queue, message by message, and gives the buffers back.
    pub(crate) fn receive(&mut self, queue: usize) -> Vec<Vec<u8>> {
        let used = self.guest.used(&mut self.queues[queue]);
        let mut out = Vec::new();
        for (head, len) in used {
            out.push(self.guest.get(self.buffers[queue][head as usize], len as usize));
            self.guest.make_available(&mut self.queues[queue], head as u16);
        }
        if !out.is_empty() {
            self.guest.kick(&self.queues[queue]);
        }
        out
    }

    /// The whole handshake; every port is open then.
    pub(crate) fn handshake(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        self.control(0xffff_ffff, 0, 1);
        for port in 0..5 {
            self.control(port, 3, 1);
            all.extend(self.receive(2));
        }
        for port in 0..5 {
            self.control(port, 6, 1);
        }
        all.extend(self.receive(2));
        all
    }

    /// A control-protocol message from the guest's init.
    pub(crate) fn tell<T: serde::Serialize>(&mut self, message: &T) {
        let bytes = forelift_abi::control::encode(message);
        self.send(Port::Control.transmit_queue(), &bytes);
    }

    /// Bytes on a port.
    pub(crate) fn read_port(&mut self, port: Port) -> Vec<u8> {
        self.receive(port.receive_queue()).concat()
    }

    pub(crate) fn write_port(&mut self, port: Port, bytes: &[u8]) {
        self.send(port.transmit_queue(), bytes);
    }
}

/// A host whose streams do what the test says.
#[derive(Default)]
pub(crate) struct FakeHost {
    pub(crate) input: VecDeque<u8>,
    pub(crate) eof: bool,
    /// Bytes written to standard output and error.
    pub(crate) output: [Vec<u8>; 2],
    /// Room in each; `None` when nobody reads it.
    pub(crate) room: [Option<usize>; 2],
    pub(crate) writes: usize,
    pub(crate) events: VecDeque<HostEvent>,
    pub(crate) terminal: Terminal,
    pub(crate) seed: u8,
    pub(crate) randoms: usize,
    /// Packets of the guest, as they came, and how many more bytes of them fit.
    pub(crate) packets: Vec<u8>,
    pub(crate) packet_room: usize,
    /// Packets for the guest, and how often it asked for some.
    pub(crate) incoming: VecDeque<Vec<u8>>,
    pub(crate) asked: usize,
    /// There will be no packets beyond those.
    pub(crate) unplugged: bool,
    /// The root file system as far as it has come, and whether no more of it will.
    pub(crate) root: Vec<u8>,
    pub(crate) root_failed: bool,
}

impl FakeHost {
    pub(crate) fn new() -> Self {
        FakeHost { room: [Some(usize::MAX); 2], packet_room: usize::MAX, ..FakeHost::default() }
    }
}

impl Host for FakeHost {
    fn monotonic_ns(&mut self) -> u64 {
        0
    }
    fn realtime_ns(&mut self) -> u64 {
        1_234_567
    }
    fn random(&mut self, buf: &mut [u8]) {
        self.randoms += 1;
        for b in buf {
            self.seed = self.seed.wrapping_mul(5).wrapping_add(3);
            *b = self.seed;
        }
    }
    fn read_stdin(&mut self, buf: &mut [u8]) -> Read {
        let n = buf.len().min(self.input.len());
        if n == 0 {
            return if self.eof { Read::Eof } else { Read::WouldBlock };
        }
        for (to, from) in buf.iter_mut().zip(self.input.drain(..n)) {
            *to = from;
        }
        Read::Data(n)
    }
    fn write(&mut self, stream: Stream, buf: &[u8]) -> Written {
        assert!(!buf.is_empty());
        self.writes += 1;
        let i = usize::from(stream == Stream::Stderr);
        match &mut self.room[i] {
            None => Written::Closed,
            Some(0) => Written::WouldBlock,
            Some(room) => {
                let n = buf.len().min(*room);
                *room -= n;
                self.output[i].extend_from_slice(&buf[..n]);
                Written::Bytes(n)
            }
        }
    }
    fn event(&mut self) -> Option<HostEvent> {
        self.events.pop_front()
    }
    fn terminal(&mut self) -> Terminal {
        self.terminal
    }
    fn send_packets(&mut self, pieces: &[&[u8]]) -> usize {
        let all = pieces.concat();
        let mut taken = 0;
        while let Some((packet, _)) = first_packet(&all[taken..]) {
            let whole = LENGTH + packet.len();
            if whole > self.packet_room {
                break;
            }
            self.packet_room -= whole;
            taken += whole;
        }
        self.packets.extend_from_slice(&all[..taken]);
        taken
    }
    fn link_is_up(&mut self) -> bool {
        !self.unplugged
    }
    fn receive_packets(&mut self, buffer: &mut [u8]) -> usize {
        self.asked += 1;
        let mut n = 0;
        while let Some(packet) = self.incoming.front()
            && let Some(end) = put_packet(buffer, n, packet)
        {
            n = end;
            self.incoming.pop_front();
        }
        n
    }
    fn read_root(&mut self, offset: u64, buffer: &mut [u8]) -> RootRead {
        match self.root.get(offset as usize..offset as usize + buffer.len()) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                RootRead::Done
            }
            None if self.root_failed => RootRead::Failed,
            None => RootRead::WouldBlock,
        }
    }
    fn wait(&mut self, timeout_ns: Option<u64>, _interest: Interest) {
        assert!(timeout_ns.is_some(), "waits for ever");
    }
}
