//! What the processor sees of the rest of the machine, and its slices. Each guest's own view is in a file of
//! its own, `riscv64` and `x86_64`.

#[cfg(feature = "riscv64")]
mod riscv64;
#[cfg(feature = "x86_64")]
mod x86_64;

use crate::clock::Clock;
use crate::cpu::{Cpu, Exit};
use crate::dev::Devices;
use crate::host::Host;
use crate::memory::GuestMemory;

/// The rest of the machine, while the processor runs.
pub(super) struct MachineBus<'a> {
    pub(super) devices: &'a mut Devices,
    pub(super) clock: &'a Clock,
    pub(super) host: &'a mut dyn Host,
    /// What the guest writes to its debug console.
    pub(super) debug: &'a mut Vec<u8>,
    /// Instructions that had retired when a device was last used.
    #[cfg(feature = "x86_64")]
    pub(super) instret: u64,
}

impl<'a> MachineBus<'a> {
    /// For a slice of a processor that has retired `instret` instructions.
    pub(super) fn new(
        devices: &'a mut Devices,
        clock: &'a Clock,
        host: &'a mut dyn Host,
        debug: &'a mut Vec<u8>,
        instret: u64,
    ) -> Self {
        let _ = instret;
        MachineBus {
            devices,
            clock,
            host,
            debug,
            #[cfg(feature = "x86_64")]
            instret,
        }
    }

    /// Runs the processor for at most `budget` instructions.
    pub(super) fn run(&mut self, cpu: &mut Cpu, mem: &mut GuestMemory, budget: u64) -> Exit {
        match cpu {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => cpu.run(mem, self, budget).into(),
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(cpu) => match cpu.run(mem, self, budget).into() {
                // Halted for ever: a kernel without ACPI has no other way to switch itself off.
                Exit::Idle if !cpu.wakes(true) => Exit::Shutdown { reset: false, failed: false },
                exit => exit,
            },
        }
    }
}
