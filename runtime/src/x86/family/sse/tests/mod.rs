//! Each instruction against the host's own, on registers and on memory; and what the host cannot tell: faults.

mod faults;
mod host;
mod integer;

use crate::memory::GuestMemory;
use crate::x86::family::Flow;
use crate::x86::fault::Res;
use crate::x86::state::HartCell;
use crate::x86::{Bus, Cpu, Exit};
use forelift_abi::layout::RAM_BASE;
use iced_x86::{Decoder, DecoderOptions, Instruction};

/// Address of the memory operand: RBX.
const DATA: u64 = RAM_BASE + 0x3000;

struct NoDevices;

impl Bus for NoDevices {
    fn read(&mut self, _: &mut GuestMemory, _: u64, _: u8) -> u64 {
        u64::MAX
    }
    fn write(&mut self, _: &mut GuestMemory, _: u64, _: u8, _: u64) {}
    fn port_in(&mut self, _: u16, _: u8) -> u32 {
        u32::MAX
    }
    fn port_out(&mut self, _: u16, _: u8, _: u32) -> Option<Exit> {
        None
    }
    fn interrupt(&mut self) -> bool {
        false
    }
    fn acknowledge(&mut self) -> Option<u8> {
        None
    }
    fn tsc(&mut self, instret: u64) -> u64 {
        instret
    }
    fn msr_read(&mut self, _: u32) -> Option<u64> {
        None
    }
    fn msr_write(&mut self, _: u32, _: u64) -> bool {
        false
    }
    fn task_priority(&mut self) -> u8 {
        0
    }
    fn set_task_priority(&mut self, _: u8) {}
}

/// A processor without paging.
struct Machine {
    cpu: Cpu,
    mem: GuestMemory,
}

impl Machine {
    fn new() -> Self {
        let mem = GuestMemory::new(1 << 20, None).unwrap();
        Machine { cpu: Cpu::new(&mem), mem }
    }

    fn hart(&mut self) -> &mut HartCell {
        &mut self.cpu.hart
    }

    /// Executes an instruction by its family's function.
    fn execute(&mut self, code: &[u8]) -> Res<Flow> {
        let i = decode(code);
        let handler = super::handler(&i).unwrap_or_else(|| panic!("{:?} is missing", i.code()));
        let mut bus = NoDevices;
        let mut cx = self.cpu.context(&mut self.mem, &mut bus);
        handler(&mut cx, &i)
    }
}

fn decode(code: &[u8]) -> Instruction {
    let i = Decoder::with_ip(64, code, 0, DecoderOptions::NONE).decode();
    assert!(!i.is_invalid() && i.len() == code.len(), "{code:02x?} is no instruction: {i:?}");
    i
}

fn parse(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// Marsaglia's xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A vector: random bytes, bytes at the ends of their ranges, few different ones, or a small number.
    fn vector(&mut self) -> u128 {
        let any = u128::from(self.next()) | u128::from(self.next()) << 64;
        let mut bytes = any.to_le_bytes();
        match self.below(5) {
            0 => return any & u128::from(u64::MAX >> self.below(64)),
            1 => bytes.fill_with(|| self.choose(&[0, 1, 0x7f, 0x80, 0x81, 0xff])),
            2 => bytes.fill_with(|| self.choose(&[0x61, 0x62, 0x63, 0xe1, 0])),
            3 => bytes.fill_with(|| self.below(20) as u8),
            _ => {}
        }
        u128::from_le_bytes(bytes)
    }
}
