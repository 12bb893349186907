//! A hostile driver: bytes become register accesses, writes to rings and descriptors, and the host's side of
//! the console.
//!
//! The input is a row of steps of 8 bytes. A fuzzer that starts from nothing would rarely bring a device up,
//! so one kind of step does that (features, queues at usual places, DRIVER_OK), and the rings are then within
//! reach of the others.

use forelift_abi::config::Arch;
use forelift_abi::layout::{RAM_BASE, VIRTIO_BASE, VIRTIO_SLOTS, VIRTIO_STRIDE};
use forelift_abi::net::put_packet;
use forelift_runtime::{
    dev::{
        Devices,
        virtio::{
            console::Port,
            mmio::{reg, status},
        },
    },
    host::{Host, HostEvent, Interest, Read, Stream, Terminal, Written},
    memory::GuestMemory,
};

const RAM: usize = 1 << 20;
const QUEUE: u64 = 16;
/// Bytes of RAM for the rings of one queue.
const RINGS: u64 = 0x1000;

/// A host without surprises.
struct Quiet(u64);

impl Host for Quiet {
    fn monotonic_ns(&mut self) -> u64 {
        self.0 += 1000;
        self.0
    }

    fn realtime_ns(&mut self) -> u64 {
        0
    }

    fn random(&mut self, buf: &mut [u8]) {
        buf.fill(7);
    }

    fn read_stdin(&mut self, _: &mut [u8]) -> Read {
        Read::Eof
    }

    fn write(&mut self, _: Stream, buf: &[u8]) -> Written {
        Written::Bytes(buf.len())
    }

    fn event(&mut self) -> Option<HostEvent> {
        None
    }

    fn terminal(&mut self) -> Terminal {
        Terminal::default()
    }

    fn receive_packets(&mut self, buffer: &mut [u8]) -> usize {
        // A packet now and then, of different lengths.
        self.0 += 1;
        let len = 12 + self.0 as usize % 3000;
        if !self.0.is_multiple_of(3) {
            return 0;
        }
        put_packet(buffer, 0, &vec![0; len]).unwrap_or(0)
    }

    fn wait(&mut self, _: Option<u64>, _: Interest) {}
}

struct Driver {
    devices: Devices,
    mem: GuestMemory,
}

/// Where the rings of a queue lie: descriptors, available, used.
fn rings(slot: u64, queue: u64) -> [u64; 3] {
    let base = RAM_BASE + ((slot * 10 + queue % 10) % 128) * RINGS;
    [base, base + 0x400, base + 0x800]
}

impl Driver {
    fn set(&mut self, slot: u64, register: u64, value: u64) {
        let address = VIRTIO_BASE + slot * VIRTIO_STRIDE + register;
        let _ = self.devices.write(&mut self.mem, address, 4, value);
    }

    /// Initialises a device as a well-behaved driver does (virtio 1.2, section 3.1.1).
    fn bring_up(&mut self, slot: u64, features: u64) {
        self.set(slot, reg::STATUS, 0);
        for word in [0, 1] {
            self.set(slot, reg::DRIVER_FEATURES_SEL, word);
            let wanted = features | 1 << 32;
            self.set(slot, reg::DRIVER_FEATURES, wanted >> (32 * word) & 0xffff_ffff);
        }
        let ready = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.set(slot, reg::STATUS, ready.into());
        for queue in 0..10 {
            let [desc, avail, used] = rings(slot, queue);
            self.set(slot, reg::QUEUE_SEL, queue);
            self.set(slot, reg::QUEUE_NUM, QUEUE);
            for (register, address) in
                [(reg::QUEUE_DESC_LOW, desc), (reg::QUEUE_DRIVER_LOW, avail), (reg::QUEUE_DEVICE_LOW, used)]
            {
                self.set(slot, register, address & 0xffff_ffff);
                self.set(slot, register + 4, address >> 32);
            }
            self.set(slot, reg::QUEUE_READY, 1);
        }
        self.set(slot, reg::STATUS, (ready | status::DRIVER_OK).into());
    }

    /// A descriptor of a queue: somewhere in RAM or nearly so, of any length and with any flags.
    fn describe(&mut self, slot: u64, index: u64, [flags, at, len, next]: [u8; 4]) {
        let [desc, ..] = rings(slot, index / QUEUE);
        let address = match at {
            0..=250 => RAM_BASE + u64::from(at) * 0x1000,
            251 => RAM_BASE + RAM as u64 - 8,
            252 => 0,
            253 => u64::MAX - 4,
            _ => desc,
        };
        let len: u32 = match len {
            255 => u32::MAX,
            254 => 0,
            n => u32::from(n) * 16,
        };
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&address.to_le_bytes());
        raw[8..12].copy_from_slice(&len.to_le_bytes());
        raw[12..14].copy_from_slice(&u16::from(flags).to_le_bytes());
        raw[14..].copy_from_slice(&u16::from(next).to_le_bytes());
        self.mem.write(desc + index % QUEUE * 16, &raw);
    }

    /// Makes a chain available, by a step in the index that may be wrong, and notifies.
    fn offer(&mut self, slot: u64, queue: u64, head: u8, step: u8) {
        let [_, avail, _] = rings(slot, queue);
        let index = self.mem.read_array::<2>(avail + 2).map_or(0, u16::from_le_bytes);
        self.mem.write(avail + 4 + u64::from(index) % QUEUE * 2, &u16::from(head).to_le_bytes());
        self.mem.write(avail + 2, &index.wrapping_add(step.into()).to_le_bytes());
        self.set(slot, reg::QUEUE_NOTIFY, queue);
    }

    fn host_side(&mut self, what: u8, amount: u8) {
        let port = [Port::Control, Port::Stdin, Port::Stdout, Port::Stderr][usize::from(what % 4)];
        match what / 4 % 4 {
            0 => {
                let mut left = usize::from(amount);
                let taken = self.devices.take_output(&mut self.mem, port, &mut |bytes| {
                    let n = bytes.len().min(left);
                    left -= n;
                    n
                });
                assert!(taken <= amount.into(), "took more than was wanted");
            }
            1 => {
                let given = self.devices.push_input(&mut self.mem, port, &vec![b'i'; usize::from(amount)]);
                assert!(given <= amount.into(), "the guest took more than was given");
            }
            2 => {
                let room = self.devices.input_room(&mut self.mem, port);
                assert!(room <= usize::from(u16::MAX) * u32::MAX as usize);
            }
            _ => self.devices.service(&mut self.mem, &mut Quiet(0)),
        }
    }

    fn step(&mut self, [kind, slot, a, b, c, d, e, f]: [u8; 8]) {
        let slot = u64::from(slot) % VIRTIO_SLOTS as u64;
        match kind % 8 {
            0 => self.bring_up(slot, u64::from(a) | u64::from(b) << 24),
            1 | 2 => self.describe(slot, a.into(), [b, c, d, e]),
            3 | 4 => self.offer(slot, u64::from(a) % 10, b, c),
            5 => self.host_side(a, b),
            6 => self.set(slot, u64::from(a) * 4, u32::from_le_bytes([b, c, d, e]).into()),
            _ => {
                let pa = VIRTIO_BASE + slot * VIRTIO_STRIDE + u64::from(u16::from_le_bytes([a, b]));
                let size = 1 << (c % 4);
                let value = u64::from(u32::from_le_bytes([c, d, e, f]));
                let _ = self.devices.read(&mut self.mem, pa, size);
                let _ = self.devices.write(&mut self.mem, pa, size, value);
            }
        }
    }
}

/// Runs one input. Afterwards the devices can still be saved and restored, if the driver left them in a sane
/// state.
pub fn run(data: &[u8]) {
    let Ok(mem) = GuestMemory::new(RAM, None) else { return };
    let Ok(devices) = Devices::new(Arch::Riscv64, 0) else { return };
    let mut driver = Driver { devices, mem };
    driver.devices.connect_network(&mut driver.mem);
    for step in data.chunks(8).take(2000) {
        let mut padded = [0; 8];
        padded[..step.len()].copy_from_slice(step);
        driver.step(padded);
    }
    let saved = driver.devices.save();
    if let Ok(again) = Devices::restore(saved.clone(), &driver.mem) {
        assert_eq!(again.save(), saved, "save, restore, save differ");
    }
}
