//! A machine that runs beside another one: on virtual time, with an empty outside world, and stopping where
//! it is told.
//!
//! Two machines that are told the same go the same way, whatever engines they have: data moves and interrupts
//! change only in [`Stepper::turn`], at the same number of retired instructions in both. An engine stops
//! where it can ([`Stepper::run`]); the one that is behind then interprets up to the other's count
//! ([`Stepper::run_to`]).

use super::{Machine, MachineBus, MachineError, SLICE, State};
use crate::clock::Clock;
use crate::cpu::{Bus, CpuState, Exit, Lifting};
use crate::host::NoHost;
use crate::memory::GuestMemory;
use forelift_abi::control::Start;
use forelift_abi::profile::Page;

/// Where a run stands, between two slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    GoesOn,
    /// The command ended with this exit code.
    Ended(u8),
    /// The guest switched itself off, or waits for what never comes.
    Stopped,
}

impl Turn {
    /// As a number, for the interface of a module.
    pub fn to_word(self) -> u64 {
        match self {
            Turn::GoesOn => 0,
            Turn::Ended(code) => 1 | u64::from(code) << 8,
            Turn::Stopped => 2,
        }
    }

    /// From [`Turn::to_word`].
    pub fn from_word(word: u64) -> Option<Self> {
        match word & 0xff {
            0 => Some(Turn::GoesOn),
            1 => Some(Turn::Ended((word >> 8) as u8)),
            2 => Some(Turn::Stopped),
            _ => None,
        }
    }
}

/// Name of the function that a runtime in WebAssembly exports for this: `(command: i32, argument: i64) ->
/// i64`.
pub const EXPORT: &str = "forelift_lockstep";

/// Commands of [`EXPORT`]'s function. Bytes are given as address and length: `address << 32 | length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// Restores the image's machine and gives it the orders of the image's arguments; bytes: an error
    /// message, empty when all is well.
    Begin = 0,
    /// [`Stepper::turn`], as [`Turn::to_word`].
    Turn = 1,
    /// [`Stepper::run`].
    Run = 2,
    /// [`Stepper::run_to`].
    RunTo = 3,
    /// [`Stepper::state`]; bytes: postcard.
    State = 4,
    /// [`Stepper::track_writes`].
    TrackWrites = 5,
    /// [`GuestMemory::written`](crate::memory::GuestMemory::written); bytes: words, little-endian.
    Written = 6,
    /// [`Stepper::lifted`].
    Lifted = 7,
}

impl Command {
    /// All.
    pub const ALL: [Command; 8] = [
        Command::Begin,
        Command::Turn,
        Command::Run,
        Command::RunTo,
        Command::State,
        Command::TrackWrites,
        Command::Written,
        Command::Lifted,
    ];
}

/// See the module's documentation.
pub struct Stepper {
    machine: Machine,
    exit: Exit,
}

impl Stepper {
    /// `machine`, which is ready to exec, with its orders.
    ///
    /// # Errors
    /// [`MachineError::NoLifter`]: there is nothing to compare the interpreter with.
    pub fn new(mut machine: Machine, start: Start) -> Result<Self, MachineError> {
        if machine.cpu.lifting().is_none() {
            return Err(MachineError::NoLifter(machine.devices.arch().oci_name()));
        }
        let instret = machine.cpu.instret();
        let ticks = machine.clock.ticks(&mut NoHost::sealed(), instret);
        machine.clock = Clock::virtual_from(ticks, instret);
        machine.session.start(start);
        Ok(Stepper { machine, exit: Exit::Budget })
    }

    /// Restores a machine from a snapshot, for [`Stepper::new`].
    ///
    /// # Errors
    /// As [`Machine::restore`].
    pub fn restore(mem: GuestMemory, state: &[u8]) -> Result<Machine, MachineError> {
        Machine::restore(mem, state, &mut NoHost::sealed(), crate::session::ConsoleLog::Keep)
    }

    /// Runs `machine` for at most `limit` instructions from its orders on, to learn what is executed.
    pub fn train(machine: &mut Machine, start: Start, limit: u64) -> Vec<Page> {
        machine.train(Some(start), &mut NoHost::sealed(), limit, &mut |_, _| true)
    }

    /// Instructions to run between two turns.
    pub const SLICE: u64 = SLICE;

    /// Moves data between guest and outside world, skips an idle wait, brings interrupts up to date.
    pub fn turn(&mut self) -> Turn {
        let m = &mut self.machine;
        let moved = m.session.pump(&mut m.devices, &mut m.mem, &mut NoHost::sealed()).moved;
        if let State::Ended(outcome) = m.session.state() {
            return Turn::Ended(outcome.code);
        }
        if matches!(self.exit, Exit::Shutdown { .. } | Exit::Trap) {
            return Turn::Stopped;
        }
        if self.exit == Exit::Idle && !moved {
            if m.is_stuck(&mut NoHost::sealed()) {
                return Turn::Stopped;
            }
            m.idle(&mut NoHost::sealed());
        }
        m.update_interrupts(&mut NoHost::sealed());
        Turn::GoesOn
    }

    /// Runs until the engine can stop behind `budget` instructions or more, or the machine has to act; gives
    /// the number of instructions retired in all.
    pub fn run(&mut self, budget: u64) -> u64 {
        self.advance(|cpu, mem, bus| cpu.run_retiring(mem, bus, budget))
    }

    /// Interprets until exactly `instret` instructions have retired, or the machine has to act; gives their
    /// number.
    pub fn run_to(&mut self, instret: u64) -> u64 {
        self.advance(|cpu, mem, bus| cpu.interpret_to(mem, bus, instret))
    }

    /// Lets the CPU run in one way or another; gives the number of instructions retired in all.
    fn advance(&mut self, run: impl FnOnce(&mut dyn Lifting, &mut GuestMemory, &mut dyn Bus) -> Exit) -> u64 {
        let Machine { cpu, mem, devices, clock, debug, .. } = &mut self.machine;
        let mut host = NoHost::sealed();
        let mut bus = MachineBus::new(devices, clock, &mut host, debug, cpu.instret());
        // Stepper::new takes no other machine.
        if let Some(lifting) = cpu.lifting() {
            self.exit = run(lifting, mem, &mut bus);
        }
        debug.clear();
        cpu.instret()
    }

    /// The processor's state.
    pub fn state(&self) -> CpuState {
        self.machine.cpu.save()
    }

    /// Instructions that lifted code retired.
    pub fn lifted(&self) -> u64 {
        self.machine.cpu.lifting_ref().map_or(0, Lifting::lifted_retired)
    }

    /// Notes from now on which pages of RAM may be written.
    pub fn track_writes(&mut self) {
        let Machine { cpu, mem, .. } = &mut self.machine;
        if let Some(lifting) = cpu.lifting() {
            lifting.track_writes(mem);
        }
    }

    /// Guest memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.machine.mem
    }

    /// The contents of the page of code at `pc`, as it is mapped now.
    pub fn code_at(&mut self, pc: u64) -> Option<&[u8]> {
        let Machine { cpu, mem, devices, clock, debug, .. } = &mut self.machine;
        let mut host = NoHost::sealed();
        let mut bus = MachineBus::new(devices, clock, &mut host, debug, cpu.instret());
        cpu.lifting()?.code_at(mem, &mut bus, pc)
    }

    /// The CPU, for lifted code, and its memory.
    pub fn lifting(&mut self) -> Option<(&mut dyn Lifting, &mut GuestMemory)> {
        Some((self.machine.cpu.lifting()?, &mut self.machine.mem))
    }
}
