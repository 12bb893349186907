//! The machine's processor, of one guest architecture or the other. Everything here is called once per slice
//! of instructions or less, so that a match costs nothing; in a build for one architecture there is nothing
//! to match.

pub(crate) mod cell;
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
use forelift_abi::profile::Page;
use serde::{Deserialize, Serialize};

/// State of what this build may not have: then a type without values, so that snapshots keep their form.
pub mod parts {
    #[cfg(not(all(feature = "riscv64", feature = "x86_64")))]
    use serde::{Deserialize, Serialize};

    /// State of the other architecture.
    #[cfg(not(all(feature = "riscv64", feature = "x86_64")))]
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Never {}

    #[cfg(feature = "riscv64")]
    pub use crate::cpu::rv64::state::HartState as Riscv64State;
    #[cfg(feature = "x86_64")]
    pub use crate::cpu::x86::state::VcpuState as X86State;
    #[cfg(feature = "riscv64")]
    pub use crate::platform::riscv64::plic::PlicState;
    #[cfg(feature = "x86_64")]
    pub use crate::platform::x86_64::PcState;
    #[cfg(not(feature = "riscv64"))]
    pub use {Never as PlicState, Never as Riscv64State};
    #[cfg(not(feature = "x86_64"))]
    pub use {Never as PcState, Never as X86State};
}

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
pub enum HartState {
    /// An RV64GC hart.
    Riscv64(Box<parts::Riscv64State>),
    /// An x86-64 processor.
    X86_64(Box<parts::X86State>),
}

/// Why a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The budget is used up.
    Budget,
    /// The processor waits for an interrupt.
    Idle,
    /// The guest asked to be switched off (false) or reset (true).
    Shutdown {
        /// Reset instead of power off.
        reset: bool,
        /// The guest gave a failure as its reason, or failed.
        failed: bool,
    },
    /// An exception that nobody in the guest takes: user-mode tests.
    Trap,
}

#[cfg(feature = "riscv64")]
impl From<rv64::Exit> for Exit {
    fn from(exit: rv64::Exit) -> Self {
        match exit {
            rv64::Exit::Budget => Exit::Budget,
            rv64::Exit::Wfi => Exit::Idle,
            rv64::Exit::Shutdown { reset, failed } => Exit::Shutdown { reset, failed },
            rv64::Exit::Trap { .. } => Exit::Trap,
        }
    }
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

impl HartState {
    /// Whose state it is.
    pub fn arch(&self) -> Arch {
        match self {
            HartState::Riscv64(_) => Arch::Riscv64,
            HartState::X86_64(_) => Arch::X86_64,
        }
    }
}

impl Cpu {
    /// A processor with saved state, for `mem`.
    pub fn restore(state: &HartState, mem: &mut GuestMemory) -> Self {
        match state {
            #[cfg(feature = "riscv64")]
            HartState::Riscv64(state) => {
                let mut cpu = rv64::Cpu::new(mem);
                cpu.hart.restore(state);
                cpu.flush(mem);
                Cpu::Riscv64(cpu)
            }
            #[cfg(not(feature = "riscv64"))]
            HartState::Riscv64(never) => match **never {},
            #[cfg(feature = "x86_64")]
            HartState::X86_64(state) => {
                let mut cpu = x86::Cpu::new(mem);
                cpu.hart.restore(state);
                cpu.flush(mem);
                Cpu::X86_64(cpu)
            }
            #[cfg(not(feature = "x86_64"))]
            HartState::X86_64(never) => match **never {},
        }
    }

    /// State for a snapshot.
    pub fn save(&self) -> HartState {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => HartState::Riscv64(Box::new(cpu.hart.save())),
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(cpu) => HartState::X86_64(Box::new(cpu.hart.save())),
        }
    }

    /// Instructions retired since power-on.
    #[inline]
    pub fn instret(&self) -> u64 {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => cpu.hart.instret,
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(cpu) => cpu.hart.instret,
        }
    }

    /// The RISC-V hart, whose code can be lifted.
    #[cfg(feature = "riscv64")]
    pub fn riscv64(&mut self) -> Option<&mut rv64::Cpu> {
        match self {
            Cpu::Riscv64(cpu) => Some(cpu),
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(_) => None,
        }
    }

    /// Counts what is executed from now on; false when this architecture's code cannot be lifted, so that
    /// nobody wants to know.
    pub(crate) fn start_profile(&mut self, mem: &mut GuestMemory) -> bool {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => {
                cpu.start_profile(mem);
                true
            }
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(_) => {
                let _ = mem;
                false
            }
        }
    }

    /// What was executed since [`Cpu::start_profile`].
    pub(crate) fn profile(&self, mem: &GuestMemory) -> Vec<Page> {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => cpu.profile(mem),
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(_) => {
                let _ = mem;
                Vec::new()
            }
        }
    }

    /// Places that control came to at least `times` times since [`Cpu::start_profile`].
    pub(crate) fn hot(&self, times: u32) -> usize {
        match self {
            #[cfg(feature = "riscv64")]
            Cpu::Riscv64(cpu) => cpu.hot(times),
            #[cfg(feature = "x86_64")]
            Cpu::X86_64(_) => {
                let _ = times;
                0
            }
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
                let now = clock.ns(host, cpu.hart.instret);
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
                if cpu.hart.sie & rv64::csr::STIP != 0 { cpu.hart.stimecmp } else { u64::MAX }
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
