//! The machine's processor, of one guest architecture or the other. Everything here is called once per slice
//! of instructions or less, so that a match costs nothing; in a build for one architecture there is nothing
//! to match.

#[cfg(not(all(feature = "riscv64", feature = "x86_64")))]
mod absent;
pub mod bus;
pub(crate) mod cell;
pub mod exit;
#[cfg(feature = "lifting")]
pub mod lifted;
pub mod lifting;
#[cfg(feature = "lifting")]
pub mod profile;
#[cfg(feature = "riscv64")]
pub mod rv64;
pub mod tlb;
#[cfg(feature = "x86_64")]
pub mod x86;

use crate::clock::Clock;
#[cfg(feature = "x86_64")]
use crate::clock::TICK_NS;
use crate::dev::Devices;
use crate::host::Host;
use crate::memory::GuestMemory;
use forelift_abi::config::Arch;
use forelift_abi::lift::Mode;
use serde::{Deserialize, Serialize};

pub use bus::Bus;
pub use exit::Exit;
pub use lifting::Lifting;

#[cfg(not(feature = "riscv64"))]
use absent::Absent as Riscv64State;
#[cfg(not(feature = "x86_64"))]
use absent::Absent as X86State;
#[cfg(feature = "riscv64")]
use rv64::state::HartState as Riscv64State;
#[cfg(feature = "x86_64")]
use x86::state::VcpuState as X86State;

/// The processor.
pub enum Cpu {
    /// An RV64GC hart.
    #[cfg(feature = "riscv64")]
    Riscv64(rv64::Cpu),
    /// An x86-64 processor.
    #[cfg(feature = "x86_64")]
    X86_64(x86::Cpu),
}

/// The processor's state in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CpuState {
    /// An RV64GC hart.
    Riscv64(Box<Riscv64State>),
    /// An x86-64 processor.
    X86_64(Box<X86State>),
}

#[cfg(feature = "x86_64")]
impl From<x86::Exit> for Exit {
    fn from(exit: x86::Exit) -> Self {
        match exit {
            x86::Exit::Budget => Exit::Budget,
            x86::Exit::Halt => Exit::Idle,
            x86::Exit::Shutdown { reset, failed } => Exit::Shutdown { reset, failed },
            x86::Exit::Trap(_) => Exit::Trap,
        }
    }
}

impl CpuState {
    /// Instructions retired.
    pub fn instret(&self) -> u64 {
        match self {
            CpuState::Riscv64(state) => state.instret(),
            CpuState::X86_64(state) => state.instret(),
        }
    }

    /// Address of the next instruction.
    pub fn pc(&self) -> u64 {
        match self {
            CpuState::Riscv64(state) => state.pc(),
            CpuState::X86_64(state) => state.pc(),
        }
    }

    /// The mode in force.
    pub fn mode(&self) -> Mode {
        match self {
            CpuState::Riscv64(state) => state.mode(),
            CpuState::X86_64(state) => state.mode(),
        }
    }

    /// The registers by name, for people.
    pub fn registers(&self) -> Vec<(String, u64)> {
        match self {
            CpuState::Riscv64(state) => state.registers(),
            CpuState::X86_64(state) => state.registers(),
        }
    }

    /// Whose state it is.
    pub fn arch(&self) -> Arch {
        match self {
            CpuState::Riscv64(_) => Arch::Riscv64,
            CpuState::X86_64(_) => Arch::X86_64,
        }
    }
}

impl Cpu {
    /// A processor with saved state, for `mem`.
    pub fn restore(state: &CpuState, mem: &mut GuestMemory) -> Self {
        match state {
            #[cfg(feature = "riscv64")]
            CpuState::Riscv64(state) => {
                let mut cpu = rv64::Cpu::new(mem);
                cpu.hart.restore(state);
                cpu.flush(mem);
                Cpu::Riscv64(cpu)
            }
            #[cfg(not(feature = "riscv64"))]
            CpuState::Riscv64(never) => match **never {},
            #[cfg(feature = "x86_64")]
            CpuState::X86_64(state) => {
                let mut cpu = x86::Cpu::new(mem);
                cpu.vcpu.restore(state);
                cpu.flush(mem);
                Cpu::X86_64(cpu)
            }
            #[cfg(not(feature = "x86_64"))]
            CpuState::X86_64(never) => match **never {},
        }
    }

    /// State for a snapshot.
    pub fn save(&self) -> CpuState {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => CpuState::Riscv64(Box::new(cpu.hart.save())),
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(cpu) => CpuState::X86_64(Box::new(cpu.vcpu.save())),
        }
    }

    /// Instructions retired since power-on.
    #[inline]
    pub fn instret(&self) -> u64 {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => cpu.hart.instret,
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(cpu) => cpu.vcpu.instret,
        }
    }

    /// The CPU as one whose code can be lifted, if it can.
    pub fn lifting(&mut self) -> Option<&mut dyn Lifting> {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => Some(cpu),
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(_) => None,
        }
    }

    /// As [`Cpu::lifting`], to look at.
    pub fn lifting_ref(&self) -> Option<&dyn Lifting> {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => Some(cpu),
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(_) => None,
        }
    }

    /// Figures of the run, by name.
    pub(crate) fn statistics(&self) -> Vec<(&'static str, u64)> {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => cpu.statistics(),
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(cpu) => cpu.statistics(),
        }
    }

    /// Brings timers and interrupts up to date.
    pub(crate) fn update_interrupts(&mut self, devices: &mut Devices, clock: &Clock, host: &mut dyn Host) {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => {
                let now = clock.ticks(host, cpu.hart.instret);
                cpu.hart.update_timer(now);
                cpu.hart.external_pending = devices.external_interrupt();
            }
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(cpu) => {
                let now = clock.ns(host, cpu.vcpu.instret);
                if let Some(pc) = devices.platform_mut().pc() {
                    pc.tick(now);
                }
            }
        }
    }

    /// Whether an interrupt is there that ends a wait.
    pub(crate) fn wakes(&self, devices: &Devices) -> bool {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => {
                let _ = devices;
                cpu.hart.wakes()
            }
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(cpu) => cpu.wakes(devices.external_interrupt()),
        }
    }

    /// When a timer will end a wait, in ticks of the clock; `u64::MAX` for never.
    pub(crate) fn next_timer(&self, devices: &mut Devices) -> u64 {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => {
                let _ = devices;
                if cpu.hart.sie & rv64::fields::STIP != 0 { cpu.hart.stimecmp } else { u64::MAX }
            }
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(cpu) => match devices.platform_mut().pc().map_or(u64::MAX, |pc| pc.next_event()) {
                u64::MAX => u64::MAX,
                ns if cpu.wakes(true) => ns.div_ceil(TICK_NS),
                _ => u64::MAX,
            },
        }
    }
}
