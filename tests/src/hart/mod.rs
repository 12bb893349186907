//! A hart with memory and next to no devices, for the instruction tests.
//!
//! | file | what it holds |
//! |---|---|
//! | [`asm`] | short pieces of code, written in Rust |
//! | [`elf`] | programs from files |
//! | [`lifted`] | lifted code on the hart, compiled for this host |
//! | [`paged`] | a hart under address translation |
//! | [`pages`] | page tables |
//! | [`programs`] | random programs on the hart, in several ways, and on QEMU |
//! | [`trapping`] | a hart with a trap handler in its memory |
//! | [`walk`] | address translation, step by step as in the manual |

pub mod asm;
pub mod elf;
pub mod lifted;
pub mod paged;
pub mod pages;
pub mod programs;
pub mod trapping;
pub mod walk;

use forelift_runtime::cpu::rv64::{Bus, Cpu, Exit, state::Privilege};
use forelift_runtime::memory::GuestMemory;

/// Physical address of the one device register: reads give [`TestBus::register`], writes are logged.
pub const DEVICE: u64 = 0x1000_0000;
/// Size of the device's registers in bytes.
pub const DEVICE_SIZE: u64 = 0x1000;

/// What the tests need of a machine around the hart.
#[derive(Debug, Default)]
pub struct TestBus {
    /// What a read of the device gives.
    pub register: u64,
    /// Accesses to the device: address, size, value written or `None` for a read.
    pub log: Vec<(u64, u8, Option<u64>)>,
    /// Bytes that a write to the device copies into memory, as a device does that reads a disk.
    pub dma: Option<(u64, Vec<u8>)>,
    /// Level of the external interrupt.
    pub external: bool,
    /// Whether a read of the device claims the external interrupt, as an interrupt controller's register
    /// does.
    pub claims: bool,
    /// `time` when nothing has retired; one tick more for each [`TICK`] instructions.
    pub time: u64,
    /// What the guest wrote to the debug console.
    pub console: Vec<u8>,
}

/// Instructions in a tick of [`TestBus`].
pub const TICK: u64 = 10;

impl Bus for TestBus {
    fn read(&mut self, _: &mut GuestMemory, pa: u64, size: u8) -> Option<u64> {
        (DEVICE..DEVICE + DEVICE_SIZE).contains(&pa).then(|| {
            self.log.push((pa, size, None));
            self.external &= !self.claims;
            self.register & u64::MAX >> (64 - 8 * u32::from(size))
        })
    }

    fn write(&mut self, mem: &mut GuestMemory, pa: u64, size: u8, value: u64) -> Option<()> {
        (DEVICE..DEVICE + DEVICE_SIZE).contains(&pa).then(|| {
            self.log.push((pa, size, Some(value)));
            if let Some((to, bytes)) = &self.dma {
                assert!(mem.write(*to, bytes), "no memory at {to:#x}");
            }
        })
    }

    fn external_interrupt(&mut self) -> bool {
        self.external
    }

    fn time(&mut self, instret: u64) -> u64 {
        self.time.wrapping_add(instret / TICK)
    }

    fn debug_byte(&mut self, byte: u8) {
        self.console.push(byte);
    }
}

/// The hart, its memory and its bus.
pub struct Machine {
    /// The hart.
    pub cpu: Cpu,
    /// RAM from [`RAM_BASE`](forelift_abi::layout::RAM_BASE).
    pub mem: GuestMemory,
    /// The rest.
    pub bus: TestBus,
}

impl Machine {
    /// A machine with `ram` bytes of zeros, its hart in S mode.
    ///
    /// # Panics
    /// When the host has not that much memory.
    pub fn new(ram: usize) -> Self {
        let mem = GuestMemory::new(ram, None).unwrap_or_else(|e| panic!("{ram} bytes of guest memory: {e}"));
        Machine { cpu: Cpu::new(&mem), mem, bus: TestBus::default() }
    }

    /// Runs for about `budget` instructions.
    pub fn run(&mut self, budget: u64) -> Exit {
        self.cpu.run(&mut self.mem, &mut self.bus, budget)
    }

    /// Hands every exception to the test from now on, in this privilege.
    pub fn catch_exceptions(&mut self, privilege: Privilege) {
        self.cpu.hart.user_only = true;
        self.cpu.hart.privilege = privilege;
    }

    /// Copies bytes into memory, as a device would.
    ///
    /// # Panics
    /// When there is no memory.
    pub fn put(&mut self, pa: u64, bytes: &[u8]) {
        assert!(self.mem.write(pa, bytes), "no memory at {pa:#x}");
    }

    /// The doubleword at a physical address.
    ///
    /// # Panics
    /// When there is no memory.
    pub fn word(&self, pa: u64) -> u64 {
        self.mem.read_array(pa).map(u64::from_le_bytes).unwrap_or_else(|| panic!("no memory at {pa:#x}"))
    }
}
