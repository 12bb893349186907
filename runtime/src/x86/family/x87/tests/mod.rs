//! Every encoding against the host's own, stack and tags included; and what the host cannot tell: faults.

mod faults;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod host;

use crate::memory::GuestMemory;
use crate::x86::family::Flow;
use crate::x86::fault::Res;
use crate::x86::state::{CR0_NE, HartCell};
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

/// A processor without paging, as a system sets its FPU up.
struct Machine {
    cpu: Cpu,
    mem: GuestMemory,
}

impl Machine {
    fn new() -> Self {
        let mem = GuestMemory::new(1 << 20, None).unwrap();
        let mut machine = Machine { cpu: Cpu::new(&mem), mem };
        machine.hart().cr0 |= CR0_NE;
        machine.hart().r[3] = DATA;
        machine.execute(&[0xdb, 0xe3]).unwrap();
        machine
    }

    fn hart(&mut self) -> &mut HartCell {
        &mut self.cpu.hart
    }

    /// Executes an instruction by its family's function, where it lies in memory as it would.
    fn execute(&mut self, code: &[u8]) -> Res<Flow> {
        let i = decode(code);
        let handler = super::handler(&i).unwrap_or_else(|| panic!("{:?} is missing", i.code()));
        self.cpu.hart.rip = RAM_BASE + 0x1000;
        assert!(self.mem.write(self.cpu.hart.rip, code));
        let mut bus = NoDevices;
        let mut cx = self.cpu.context(&mut self.mem, &mut bus);
        handler(&mut cx, &i)
    }

    fn run(&mut self, hex: &str) -> Res<Flow> {
        self.execute(&parse(hex))
    }
}

fn decode(code: &[u8]) -> Instruction {
    Decoder::with_ip(64, code, 0, DecoderOptions::NONE).decode()
}

fn parse(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}
