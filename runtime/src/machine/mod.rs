//! The machine: processor, memory, devices and clock, and the loop that drives them.
//!
//! ```text
//! Machine::boot ─boot_to_ready─▶ ready to exec ─save─▶ snapshot ─restore─▶ begin ─turn─▶ Outcome
//! ```
//!
//! Each [`Machine::turn`] moves data between the host and the guest's ports, and runs a slice of
//! instructions. It never waits: when the guest has nothing to do it says until when, and the caller sleeps.

use crate::clock::{Clock, Idle, TICK_NS};
use crate::cpu::{Cpu, Exit};
use crate::dev::virtio::fs::{Fs, share};
use crate::dev::{Devices, fuse};
use crate::host::{Host, Interest};
use crate::memory::GuestMemory;
use crate::platform::boot::BootError;
pub use crate::platform::boot::BootSource;
use crate::platform::{load::load, ram_base};
use crate::session::{ConsoleLog, Outcome, Session, State};
use crate::snapshot::{MachineState, SnapshotError};
use bus::MachineBus;
use forelift_abi::control::Start;
use forelift_abi::lift::Index;
use forelift_abi::profile::Page;
use thiserror::Error;

mod bus;
pub mod lockstep;

/// Instructions between two looks at the host: about 0.2 ms.
const SLICE: u64 = 100_000;
/// A guest that has not become ready after this many instructions never will: a boot takes about 40 million.
const BOOT_LIMIT: u64 = 1_000_000_000;
/// Nor will one that retires nothing in this many slices: it faults in its own fault handler, for ever.
const STUCK_SLICES: u32 = 20;
/// Why a machine could not be booted or restored.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The kernel could not be put into memory.
    #[error(transparent)]
    Load(#[from] BootError),
    /// This build has no such machine.
    #[error(transparent)]
    Devices(#[from] crate::dev::RestoreError),
    /// The machine's code cannot be lifted.
    #[error("code of {0} guests cannot be lifted yet: only the interpreter runs it")]
    NoLifter(&'static str),
    /// The snapshot was refused.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The guest stopped before it was ready.
    #[error("the guest stopped before it was ready: {why}\n{log}")]
    Boot {
        /// What happened.
        why: String,
        /// The kernel's last messages.
        log: String,
    },
}

/// What compiles hot code while the machine runs. It lives as long as the machine, whose CPU runs its code.
pub trait Tier: Send {
    /// Called between two slices, when no lifted code runs.
    fn between(&mut self, cpu: &mut Cpu, mem: &mut GuestMemory);
    /// Figures of the run, by name.
    fn statistics(&self) -> Vec<(&'static str, u64)>;
}

/// What a host does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Call [`Machine::turn`] again.
    Again,
    /// The same, after a [wait](Host::wait).
    Sleep {
        /// Nanoseconds at most; `None` for ever.
        timeout_ns: Option<u64>,
        /// What ends it before.
        interest: Interest,
    },
    /// The run is over.
    Ended(Outcome),
}

/// Takes turns until the run has ended, and waits between them.
pub fn to_the_end(host: &mut dyn Host, mut turn: impl FnMut(&mut dyn Host) -> Turn) -> Outcome {
    loop {
        match turn(host) {
            Turn::Again => {}
            Turn::Sleep { timeout_ns, interest } => host.wait(timeout_ns, interest),
            Turn::Ended(outcome) => return outcome,
        }
    }
}

/// The machine. See the module's documentation.
pub struct Machine {
    cpu: Cpu,
    mem: GuestMemory,
    devices: Devices,
    clock: Clock,
    session: Session,
    /// End of what the kernel wrote to the SBI's debug console.
    debug: Vec<u8>,
    /// Why the last turn's slice ended.
    exit: Exit,
    tier: Option<Box<dyn Tier>>,
}

impl Machine {
    /// A machine that is about to boot `source`, on virtual time.
    ///
    /// # Errors
    /// [`MachineError::Load`], [`MachineError::Devices`].
    pub fn boot(mut mem: GuestMemory, source: BootSource<'_>, log: ConsoleLog) -> Result<Self, MachineError> {
        let devices = Devices::new(source.arch, mem.disk_len())?;
        let cpu = load(&mut mem, &devices.slots(), &source)?;
        Ok(Machine {
            cpu,
            mem,
            devices,
            clock: Clock::new_virtual(),
            session: Session::boot(log),
            debug: Vec::new(),
            exit: Exit::Budget,
            tier: None,
        })
    }

    /// A machine as a snapshot left it; `mem` holds the RAM that was saved with it.
    ///
    /// # Errors
    /// [`MachineError::Snapshot`].
    pub fn restore(
        mut mem: GuestMemory,
        state: &[u8],
        host: &mut dyn Host,
        log: ConsoleLog,
    ) -> Result<Self, MachineError> {
        let state = MachineState::decode(state)?;
        for (what, expected, found) in [
            ("RAM", state.ram_len, mem.ram_len() as u64),
            ("root file system", state.root_len, mem.disk_len()),
        ] {
            if expected != found {
                return Err(SnapshotError::Memory { what, expected, found }.into());
            }
        }
        mem.set_ram_base(ram_base(state.hart.arch()));
        let devices = Devices::restore(state.devices, &mem).map_err(SnapshotError::Devices)?;
        if devices.arch() != state.hart.arch() {
            return Err(SnapshotError::Mixed.into());
        }
        let cpu = Cpu::restore(&state.hart, &mut mem);
        let clock = Clock::from_host(host, state.ticks);
        let session = Session::resume(log);
        Ok(Machine { cpu, mem, devices, clock, session, debug: Vec::new(), exit: Exit::Budget, tier: None })
    }

    /// The machine's state; RAM is [`Machine::memory`]'s.
    pub fn save(&self, host: &mut dyn Host) -> Vec<u8> {
        MachineState {
            hart: self.cpu.save(),
            devices: self.devices.save(),
            ticks: self.clock.ticks_ahead(host, self.cpu.instret()),
            ram_len: self.mem.ram_len() as u64,
            root_len: self.mem.disk_len(),
        }
        .encode()
    }

    /// Guest physical memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.mem
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> GuestMemory {
        self.mem
    }

    /// The devices, to attach directories to.
    pub fn devices_mut(&mut self) -> (&mut Devices, &mut GuestMemory) {
        (&mut self.devices, &mut self.mem)
    }

    /// Instructions retired since power-on.
    pub fn instructions(&self) -> u64 {
        self.cpu.instret()
    }

    /// The end of what the kernel and init have said so far.
    pub fn log(&self) -> String {
        let mut log = String::from_utf8_lossy(&self.debug).into_owned();
        log.push_str(&String::from_utf8_lossy(self.session.log()));
        log
    }

    /// Boots until init is ready to exec, the guest is idle, and has been left alone for `settle`
    /// nanoseconds, in which it does what it has put off: where a snapshot belongs. `progress` gets the
    /// number of instructions retired, now and then.
    ///
    /// # Errors
    /// [`MachineError::Boot`] when the guest switches itself off, reports an error or makes no progress.
    pub fn boot_to_ready(
        &mut self,
        host: &mut dyn Host,
        settle: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), MachineError> {
        let mut stuck_slices = 0;
        let mut settled = None;
        loop {
            let before = self.cpu.instret();
            progress(before);
            let exit = self.slice(host);
            stuck_slices =
                if exit == Exit::Budget && self.cpu.instret() == before { stuck_slices + 1 } else { 0 };
            let moved = self.session.pump(&mut self.devices, &mut self.mem, host).moved;
            let idle = exit == Exit::Idle && !moved;
            let stuck = idle && self.is_stuck(host);
            let why = match self.session.state() {
                State::Ended(outcome) => {
                    outcome.message.clone().unwrap_or_else(|| format!("exit code {}", outcome.code))
                }
                _ if matches!(exit, Exit::Shutdown { .. }) => "it switched itself off".into(),
                _ if self.cpu.instret() > BOOT_LIMIT => {
                    format!("not ready after {BOOT_LIMIT} instructions")
                }
                _ if stuck_slices > STUCK_SLICES => "it faults for ever in its fault handler".into(),
                State::Ready if idle => {
                    let now = self.clock.ticks(host, before);
                    let settled = *settled.get_or_insert(now + settle / TICK_NS);
                    if stuck || self.cpu.next_timer(&mut self.devices) > settled {
                        return Ok(());
                    }
                    self.idle(host);
                    continue;
                }
                _ if stuck => "it waits for something that never comes".into(),
                _ => {
                    if idle {
                        self.idle(host);
                    }
                    continue;
                }
            };
            return Err(MachineError::Boot { why, log: self.log() });
        }
    }

    /// Has `tier` compile hot code from now on.
    ///
    /// # Errors
    /// [`MachineError::NoLifter`].
    pub fn set_tier(&mut self, mut tier: Box<dyn Tier>) -> Result<(), MachineError> {
        let arch = self.devices.arch();
        let lifting = self.cpu.lifting().ok_or(MachineError::NoLifter(arch.oci_name()))?;
        lifting.start_profile(&mut self.mem);
        tier.between(&mut self.cpu, &mut self.mem);
        self.tier = Some(tier);
        Ok(())
    }

    /// Takes into use what the module's table holds; false when the index is inconsistent or the machine
    /// takes none.
    pub(crate) fn install_lifted(&mut self, index: Index) -> bool {
        let Some(lifting) = self.cpu.lifting() else { return false };
        // SAFETY: only images have an index, and their packer put the functions into the table. (A wrong
        // number is caught by the engine, which checks the signature; natively there are no functions, so no
        // index is taken.)
        unsafe { lifting.install(index, Vec::new(), &mut self.mem) }
    }

    /// Figures of the run, as JSON.
    pub fn statistics(&self) -> String {
        let mut figures = self.cpu.statistics();
        figures.extend(self.tier.as_ref().map(|tier| tier.statistics()).unwrap_or_default());
        let fields: Vec<String> = figures.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// Runs the container's command, or without orders the init's exercise, with a host directory that lives
    /// in memory and the network that the host has, for at most `limit` instructions on virtual time,
    /// counting what is executed. `go_on` is asked now and then, with the number of instructions, whether to
    /// continue. A machine whose code cannot be lifted learns nothing.
    pub fn train(
        &mut self,
        start: Option<Start>,
        host: &mut dyn Host,
        limit: u64,
        go_on: &mut dyn FnMut(&Self, u64) -> bool,
    ) -> Vec<Page> {
        match self.cpu.lifting() {
            Some(lifting) => lifting.start_profile(&mut self.mem),
            None => return Vec::new(),
        }
        self.rehearse(start, host, limit, go_on);
        self.profile()
    }

    /// What [`train`](Self::train) runs, without counting.
    pub fn rehearse(
        &mut self,
        start: Option<Start>,
        host: &mut dyn Host,
        limit: u64,
        go_on: &mut dyn FnMut(&Self, u64) -> bool,
    ) {
        let ticks = self.clock.ticks(host, self.cpu.instret());
        self.clock = Clock::virtual_from(ticks, self.cpu.instret());
        match start {
            Some(start) => self.session.start(start),
            None => {
                // The slot is free: nothing is attached to a machine that trains.
                let directory = Box::new(Fs::new(0, fuse::in_memory()));
                if self.devices.attach_share(0, directory, &mut self.mem).is_ok() {
                    self.session.exercise(share::tag(0));
                }
                self.connect_network(host);
            }
        }
        let begin = self.cpu.instret();
        let mut exit = Exit::Budget;
        let mut stuck = 0;
        loop {
            let moved = self.session.pump(&mut self.devices, &mut self.mem, host).moved;
            let ended =
                matches!(self.session.state(), State::Ended(_)) || matches!(exit, Exit::Shutdown { .. });
            let done = self.cpu.instret().wrapping_sub(begin);
            if ended || done >= limit || stuck > STUCK_SLICES || !go_on(self, done) {
                return;
            }
            if exit == Exit::Idle && !moved {
                if self.is_stuck(host) {
                    return;
                }
                self.idle(host);
            }
            let before = self.cpu.instret();
            exit = self.slice(host);
            stuck = if exit == Exit::Budget && self.cpu.instret() == before { stuck + 1 } else { 0 };
        }
    }

    /// What was executed since training began.
    pub fn profile(&self) -> Vec<Page> {
        self.cpu.lifting_ref().map_or_else(Vec::new, |lifting| lifting.profile(&self.mem))
    }

    /// Places in the code that control came to at least `times` times since training began: cheap, to tell
    /// whether anything new is.
    pub fn hot(&self, times: u32) -> usize {
        self.cpu.lifting_ref().map_or(0, |lifting| lifting.hot(times))
    }

    /// Switches from virtual to the host's time: what boots an image without a snapshot.
    pub fn use_host_clock(&mut self, host: &mut dyn Host) {
        let ticks = self.clock.ticks(host, self.cpu.instret());
        self.clock = Clock::from_host(host, ticks);
    }

    /// Gives the guest, which is ready to exec, its orders: [`turn`](Self::turn) by turn it carries them out.
    pub fn begin(&mut self, start: Start, host: &mut dyn Host) {
        self.connect_network(host);
        self.session.start(start);
    }

    /// Moves data between the host and the guest's ports, and runs a slice of instructions, unless there is
    /// nothing to do. Never waits.
    pub fn turn(&mut self, host: &mut dyn Host) -> Turn {
        let is_off = matches!(self.exit, Exit::Shutdown { .. });
        let moved = self.session.pump(&mut self.devices, &mut self.mem, host).moved;
        if let State::Ended(outcome) = self.session.state() {
            return Turn::Ended(outcome.clone());
        }
        if is_off {
            self.session.guest_is_off("the guest switched itself off");
            let interest = Interest { stdin: false, ..self.session.interest() };
            let blocked = !moved && interest != Interest::default();
            return if blocked { Turn::Sleep { timeout_ns: None, interest } } else { Turn::Again };
        }
        if self.exit == Exit::Idle && !moved {
            // The next turn runs, whatever ends the sleep.
            self.exit = Exit::Budget;
            if let Some((timeout_ns, interest)) = self.sleep(host) {
                return Turn::Sleep { timeout_ns, interest };
            }
        }
        self.exit = self.slice(host);
        Turn::Again
    }

    /// Connects the network, if the host has one.
    fn connect_network(&mut self, host: &mut dyn Host) {
        if host.network().is_some() {
            self.devices.connect_network(&mut self.mem);
        }
    }

    /// Whether nothing will ever wake the processor: no interrupt pending, no timer set.
    fn is_stuck(&mut self, host: &mut dyn Host) -> bool {
        self.update_interrupts(host);
        !self.cpu.wakes(&self.devices) && self.cpu.next_timer(&mut self.devices) == u64::MAX
    }

    /// Runs one slice; interrupts are up to date before and after.
    fn slice(&mut self, host: &mut dyn Host) -> Exit {
        self.update_interrupts(host);
        let Machine { cpu, mem, devices, clock, debug, .. } = self;
        let exit = MachineBus::new(devices, clock, host, debug, cpu.instret()).run(cpu, mem, SLICE);
        if self.debug.len() > 1 << 16 {
            self.debug.drain(..1 << 15);
        }
        if let Some(tier) = &mut self.tier {
            tier.between(&mut self.cpu, &mut self.mem);
        }
        exit
    }

    fn update_interrupts(&mut self, host: &mut dyn Host) {
        self.cpu.update_interrupts(&mut self.devices, &self.clock, host);
    }

    /// Sleeps until the timer, input or an event, unless an interrupt is there already.
    fn idle(&mut self, host: &mut dyn Host) {
        if let Some((timeout_ns, interest)) = self.sleep(host) {
            host.wait(timeout_ns, interest);
        }
    }

    /// What an idle machine waits for: until when, and for what else. `None` when an interrupt is there
    /// already, or virtual time has jumped to the next.
    fn sleep(&mut self, host: &mut dyn Host) -> Option<(Option<u64>, Interest)> {
        self.update_interrupts(host);
        if self.cpu.wakes(&self.devices) {
            return None;
        }
        let now = self.clock.ticks(host, self.cpu.instret());
        let Interest { packets, packet_room, root, .. } = self.devices.interest();
        let interest = Interest { packets, packet_room, root, ..self.session.interest() };
        let until = self.cpu.next_timer(&mut self.devices);
        match self.clock.idle(now, until) {
            Idle::Over => None,
            Idle::Wait(timeout_ns) => Some((timeout_ns, interest)),
        }
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests;
