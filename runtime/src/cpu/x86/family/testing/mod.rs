//! A processor without paging for the families' tests: each instruction goes the whole way, from its bytes
//! on.

pub(super) mod direct;

use crate::cpu::x86::fault::Fault;
use crate::cpu::x86::flags::ARITHMETIC;
use crate::cpu::x86::state::{CS, SS, Segment, VcpuCell};
use crate::cpu::x86::{Bus, Cpu, Exit};
use crate::memory::GuestMemory;
use forelift_abi::layout::RAM_BASE;

/// Where code is placed.
pub(super) const CODE: u64 = RAM_BASE + 0x1000;
/// Memory for operands.
pub(super) const DATA: u64 = RAM_BASE + 0x8000;
/// A stack's top.
pub(super) const STACK: u64 = RAM_BASE + 0x7000;

/// Ports: what was written, and what is read.
#[derive(Default)]
pub(super) struct Ports {
    pub(super) written: Vec<(u16, u8, u32)>,
    pub(super) input: u32,
}

impl Bus for Ports {
    fn port_in(&mut self, _: u16, _: u8) -> u32 {
        self.input += 1;
        self.input
    }
    fn port_out(&mut self, port: u16, size: u8, value: u32) -> Option<Exit> {
        self.written.push((port, size, value));
        None
    }
}

pub(super) struct Machine {
    cpu: Cpu,
    mem: GuestMemory,
    pub(super) ports: Ports,
}

impl Machine {
    /// With these registers, and RSP at [`STACK`] if it is not among them.
    pub(super) fn with_registers(registers: &[(usize, u64)]) -> Self {
        let mem = GuestMemory::new(1 << 20, None).unwrap();
        let mut cpu = Cpu::new(&mem);
        cpu.vcpu.user_only = true;
        cpu.vcpu.r[4] = STACK;
        for &(number, value) in registers {
            cpu.vcpu.r[number] = value;
        }
        Machine { cpu, mem, ports: Ports::default() }
    }

    /// Switches to compatibility mode: flat 32-bit segments.
    pub(super) fn compatibility(mut self) -> Self {
        let flat = Segment { selector: 8, attributes: 0xc093, limit: u32::MAX, base: 0 };
        self.cpu.vcpu.segments[SS] = flat;
        self.cpu.vcpu.segments[CS] = Segment { attributes: 0xc09b, ..flat };
        self.cpu.vcpu.update_mode();
        self
    }

    pub(super) fn vcpu(&mut self) -> &mut VcpuCell {
        &mut self.cpu.vcpu
    }

    pub(super) fn r(&self, number: usize) -> u64 {
        self.cpu.vcpu.r[number]
    }

    pub(super) fn set_r(&mut self, number: usize, value: u64) {
        self.cpu.vcpu.r[number] = value;
    }

    pub(super) fn flags(&self) -> u64 {
        self.cpu.vcpu.all_flags()
    }

    pub(super) fn set_flags(&mut self, flags: u64) {
        self.cpu.vcpu.set_all_flags(flags);
    }

    pub(super) fn arithmetic(&self) -> u64 {
        self.flags() & ARITHMETIC
    }

    pub(super) fn rip(&self) -> u64 {
        self.cpu.vcpu.rip
    }

    pub(super) fn load(&self, at: u64) -> u64 {
        self.mem.read_array(at).map_or(0, u64::from_le_bytes)
    }

    pub(super) fn store(&mut self, at: u64, value: u64) {
        self.store_bytes(at, &value.to_le_bytes());
    }

    pub(super) fn store_bytes(&mut self, at: u64, bytes: &[u8]) {
        assert!(self.mem.write(at, bytes));
    }

    pub(super) fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        self.mem.slice(at, len).unwrap().to_vec()
    }

    /// Places code (hexadecimal) at [`CODE`], and `rip` there; gives its length.
    pub(super) fn place(&mut self, code: &str) -> u64 {
        let bytes: Vec<u8> = code.split_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
        self.store_bytes(CODE, &bytes);
        self.cpu.vcpu.rip = CODE;
        bytes.len() as u64
    }

    /// Executes the instruction at `rip`, or a part of a repeated one.
    pub(super) fn step(&mut self) -> Option<Exit> {
        self.cpu.step(&mut self.mem, &mut self.ports)
    }

    /// Runs blocks from `rip` on.
    pub(super) fn run_blocks(&mut self, budget: u64) -> Exit {
        self.cpu.run(&mut self.mem, &mut self.ports, budget)
    }

    /// Executes an instruction, to its end.
    #[track_caller]
    pub(super) fn go(&mut self, code: &str) {
        let length = self.place(code);
        assert_eq!(self.step(), None, "{code}");
        while self.rip() == CODE && length > 0 && self.cpu.vcpu.instret == 0 {
            assert_eq!(self.step(), None, "{code}");
        }
        self.cpu.vcpu.instret = 0;
    }

    /// Executes an instruction that goes on with the next one.
    #[track_caller]
    pub(super) fn run(&mut self, code: &str) {
        let length = self.place(code);
        self.go(code);
        assert_eq!(self.rip(), CODE + length, "{code}");
    }

    /// Executes an instruction that faults; `rip` stays.
    #[track_caller]
    pub(super) fn fault(&mut self, code: &str) -> Fault {
        self.place(code);
        match self.step() {
            Some(Exit::Trap(fault)) => {
                assert_eq!(self.rip(), CODE, "{code}");
                fault
            }
            other => panic!("{code}: {other:?}"),
        }
    }
}
