//! Tests of the hart that need its inside. Those that do not are in the workspace's `tests` crate (`isa_*`,
//! `lockstep`).

mod profile;
mod root;
mod saved;

use super::{Bus, Cpu, Exit, state::Privilege};
use crate::memory::GuestMemory;
use forelift_isa::rv64::{Fields, Op, encode};

/// No devices at all.
struct NoBus;

impl Bus for NoBus {
    fn read(&mut self, _: &mut GuestMemory, _: u64, _: u8) -> Option<u64> {
        None
    }
    fn write(&mut self, _: &mut GuestMemory, _: u64, _: u8, _: u64) -> Option<()> {
        None
    }
    fn external_interrupt(&mut self) -> bool {
        false
    }
    fn time(&mut self, instret: u64) -> u64 {
        instret
    }
    fn debug_byte(&mut self, _: u8) {}
}

/// A hart in S mode whose exceptions come to the test.
fn hart(mem: &GuestMemory) -> Cpu {
    let mut cpu = Cpu::new(mem);
    cpu.hart.user_only = true;
    cpu.hart.privilege = Privilege::Supervisor;
    cpu.hart.fs = 1;
    cpu
}

/// Machine code.
fn code(instructions: &[(Op, Fields)]) -> Vec<u8> {
    instructions.iter().flat_map(|(op, fields)| encode(*op, fields).to_le_bytes()).collect()
}

/// Runs from `pc` to an exception.
fn run(cpu: &mut Cpu, mem: &mut GuestMemory, pc: u64) -> (u64, u64) {
    cpu.hart.pc = pc;
    match cpu.run(mem, &mut NoBus, 100_000) {
        Exit::Trap { cause, value } => (cause, value),
        other => panic!("{other:?} at {:#x}", cpu.hart.pc),
    }
}
