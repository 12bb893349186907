//! The machine: hart, memory, devices and clock, and the loop that drives them.
//!
//! ```text
//! Machine::boot ──boot_to_ready──▶ ready to exec ──save──▶ snapshot ──Machine::restore──▶ start ──run──▶ Outcome
//! ```
//!
//! [`Machine::run`] alternates between slices of instructions, moving data between the host and the guest's ports, and
//! sleeping when the guest has nothing to do.

use crate::clock::Clock;
use crate::dev::Devices;
use crate::fdt;
use crate::host::Host;
use crate::memory::GuestMemory;
use crate::rv64::{Bus, Cpu, Exit};
use crate::session::{ConsoleLog, Outcome, Session, State};
use crate::snapshot::{MachineState, SnapshotError};
use forelift_abi::control::Start;
use forelift_abi::layout::{KERNEL_OFFSET, PAGE_SIZE, RAM_BASE};
use forelift_abi::lift::Index;
use forelift_abi::profile::Page;
use thiserror::Error;

#[path = "lockstep.rs"]
pub mod lockstep;

/// Instructions between two looks at the host: about 0.2 ms.
const SLICE: u64 = 100_000;
/// A guest that has not become ready after this many instructions never will (a boot takes about 40 million).
const BOOT_LIMIT: u64 = 4_000_000_000;
/// Nor will one that retires nothing in this many slices: it faults in its own fault handler, for ever.
const STUCK_SLICES: u32 = 20;
/// Least RAM in bytes that a kernel of the usual size boots in.
pub const MIN_RAM: u64 = 32 << 20;

/// What the kernel is started with.
#[derive(Clone, Copy, Debug)]
pub struct BootSource<'a> {
    /// Kernel `Image`.
    pub kernel: &'a [u8],
    /// Initial RAM file system: cpio, uncompressed.
    pub initrd: &'a [u8],
    /// Kernel command line.
    pub cmdline: &'a str,
    /// What the kernel's random number generator starts from. Fixed for a snapshot, which has to be reproducible: init credits
    /// fresh entropy before any program of the container runs.
    pub rng_seed: &'a [u8],
}

/// Why a machine could not be booted or restored.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The kernel is no riscv64 `Image`.
    #[error("kernel: not a riscv64 kernel Image ({0}): give an uncompressed `arch/riscv/boot/Image`")]
    Kernel(&'static str),
    /// RAM is too small.
    #[error(
        "memory: {ram} bytes of RAM are too little for the kernel ({kernel}) and its initial file system ({initrd}): \
         give more with --memory"
    )]
    Ram {
        /// Size of RAM.
        ram: u64,
        /// Size of the kernel with its bss.
        kernel: u64,
        /// Size of the initial file system.
        initrd: u64,
    },
    /// The device tree could not be built.
    #[error("device tree: {0}")]
    Fdt(String),
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

/// The machine. See the module's documentation.
pub struct Machine {
    cpu: Cpu,
    mem: GuestMemory,
    devices: Devices,
    clock: Clock,
    session: Session,
    /// End of what the kernel wrote to the SBI's debug console.
    debug: Vec<u8>,
    tier: Option<Box<dyn Tier>>,
}

/// The CPU's view of the rest.
struct MachineBus<'a> {
    devices: &'a mut Devices,
    clock: &'a Clock,
    host: &'a mut dyn Host,
    debug: &'a mut Vec<u8>,
}

impl Bus for MachineBus<'_> {
    fn read(&mut self, mem: &mut GuestMemory, pa: u64, size: u8) -> Option<u64> {
        self.devices.read(mem, pa, size)
    }

    fn write(&mut self, mem: &mut GuestMemory, pa: u64, size: u8, value: u64) -> Option<()> {
        self.devices.write(mem, pa, size, value)
    }

    fn external_interrupt(&mut self) -> bool {
        self.devices.external_interrupt()
    }

    fn time(&mut self, instret: u64) -> u64 {
        self.clock.ticks(self.host, instret)
    }

    fn debug_byte(&mut self, byte: u8) {
        self.debug.push(byte);
    }
}

/// Checks the header of a riscv64 `Image` (*Documentation/arch/riscv/boot-image-header.rst*) and gives the size in bytes that the
/// kernel takes in RAM, bss included.
///
/// # Errors
/// [`MachineError::Kernel`].
pub fn kernel_size(kernel: &[u8]) -> Result<u64, MachineError> {
    let header = kernel.first_chunk::<64>().ok_or(MachineError::Kernel("shorter than its header"))?;
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&header[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    if header[0x38..0x3c] != *b"RSC\x05" {
        return Err(MachineError::Kernel("bad magic"));
    }
    let (offset, size) = (word(8), word(16));
    if offset != KERNEL_OFFSET {
        return Err(MachineError::Kernel("load offset is not 2 MiB"));
    }
    if size < kernel.len() as u64 || size > 1 << 30 {
        return Err(MachineError::Kernel("size field is implausible: the file is truncated or damaged"));
    }
    Ok(size)
}

impl Machine {
    /// A machine that is about to boot `source`, on virtual time.
    ///
    /// # Errors
    /// [`MachineError::Kernel`], [`MachineError::Ram`], [`MachineError::Fdt`].
    pub fn boot(mut mem: GuestMemory, source: BootSource<'_>, log: ConsoleLog) -> Result<Self, MachineError> {
        let kernel_len = kernel_size(source.kernel)?;
        let ram = mem.ram_len() as u64;
        let initrd_len = source.initrd.len() as u64;
        let too_small = MachineError::Ram { ram, kernel: kernel_len, initrd: initrd_len };
        let kernel_at = RAM_BASE + KERNEL_OFFSET;
        let initrd_at = (kernel_at + kernel_len).next_multiple_of(PAGE_SIZE);
        let devices = Devices::new(mem.root_len() as u64);
        let config = fdt::Config {
            ram_len: ram,
            bootargs: source.cmdline,
            initrd: (initrd_len > 0).then_some((initrd_at, initrd_at + initrd_len)),
            rng_seed: source.rng_seed,
            mmu: fdt::MmuType::Sv39,
        };
        let tree = fdt::build(&config, &devices).map_err(|e| MachineError::Fdt(e.to_string()))?;
        let tree_at = (initrd_at + initrd_len).next_multiple_of(PAGE_SIZE);
        let placed = ram >= MIN_RAM
            && mem.write(kernel_at, source.kernel)
            && mem.write(initrd_at, source.initrd)
            && mem.write(tree_at, &tree);
        if !placed {
            return Err(too_small);
        }
        let mut cpu = Cpu::new(&mem);
        // The kernel takes the widest mode it is given; a walk of three levels is enough for such a machine, and cheaper.
        cpu.hart.max_satp_mode = 8;
        cpu.hart.pc = kernel_at;
        cpu.hart.x[10] = 0;
        cpu.hart.x[11] = tree_at;
        Ok(Machine {
            cpu,
            mem,
            devices,
            clock: Clock::new_virtual(),
            session: Session::boot(log),
            debug: Vec::new(),
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
        for (what, expected, found) in
            [("RAM", state.ram_len, mem.ram_len()), ("root file system", state.root_len, mem.root_len())]
        {
            if expected != found as u64 {
                let found = found as u64;
                return Err(SnapshotError::Memory { what, expected, found }.into());
            }
        }
        let devices = Devices::restore(state.devices, &mem).map_err(SnapshotError::Devices)?;
        let mut cpu = Cpu::new(&mem);
        cpu.hart.restore(&state.hart);
        cpu.flush(&mut mem);
        let clock = Clock::from_host(host, state.ticks);
        let session = Session::resume(log);
        Ok(Machine { cpu, mem, devices, clock, session, debug: Vec::new(), tier: None })
    }

    /// The machine's state; RAM is [`Machine::memory`]'s.
    pub fn save(&self, host: &mut dyn Host) -> Vec<u8> {
        MachineState {
            hart: self.cpu.hart.save(),
            devices: self.devices.save(),
            ticks: self.clock.ticks(host, self.cpu.hart.instret),
            ram_len: self.mem.ram_len() as u64,
            root_len: self.mem.root_len() as u64,
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
        self.cpu.hart.instret
    }

    /// What the kernel and init said so far, as far as it is kept.
    pub fn log(&self) -> String {
        let mut log = String::from_utf8_lossy(&self.debug).into_owned();
        log.push_str(&String::from_utf8_lossy(self.session.log()));
        log
    }

    /// Boots until init is ready to exec and the guest is idle: where a snapshot belongs. `progress` gets the number of
    /// instructions retired, now and then.
    ///
    /// # Errors
    /// [`MachineError::Boot`] when the guest switches itself off, reports an error or makes no progress.
    pub fn boot_to_ready(
        &mut self,
        host: &mut dyn Host,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), MachineError> {
        let mut stuck_slices = 0;
        loop {
            let before = self.cpu.hart.instret;
            progress(before);
            let exit = self.slice(host);
            stuck_slices =
                if exit == Exit::Budget && self.cpu.hart.instret == before { stuck_slices + 1 } else { 0 };
            let moved = self.session.pump(&mut self.devices, &mut self.mem, host).moved;
            let idle = exit == Exit::Wfi && !moved;
            let stuck = idle && self.is_stuck(host);
            let why = match self.session.state() {
                State::Ended(outcome) => {
                    outcome.message.clone().unwrap_or_else(|| format!("exit code {}", outcome.code))
                }
                _ if matches!(exit, Exit::Shutdown { .. }) => "it switched itself off".into(),
                _ if self.cpu.hart.instret > BOOT_LIMIT => {
                    format!("not ready after {BOOT_LIMIT} instructions")
                }
                _ if stuck_slices > STUCK_SLICES => "it faults for ever in its fault handler".into(),
                State::Ready if idle => return Ok(()),
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
    pub fn set_tier(&mut self, mut tier: Box<dyn Tier>) {
        self.cpu.start_profile(&mut self.mem);
        tier.between(&mut self.cpu, &mut self.mem);
        self.tier = Some(tier);
    }

    /// Takes into use what the module's table holds; false when the index is inconsistent.
    pub(crate) fn install_lifted(&mut self, index: Index) -> bool {
        // SAFETY: only images have an index, and their packer put the functions into the table. (A wrong number is caught by the engine,
        // which checks the signature; natively there are no functions, so no index is taken.)
        unsafe { self.cpu.install(index, Vec::new(), &mut self.mem) }
    }

    /// Figures of the run, as JSON.
    pub fn statistics(&self) -> String {
        let hart = &self.cpu.hart;
        let figures = [
            ("instructions", hart.instret),
            ("lifted_instructions", hart.lifted_retired),
            ("lifted_calls", hart.lifted_calls),
            ("lifted_returns", hart.lifted_returns),
            ("lifted_refusals", hart.lifted_refusals),
            ("interpreted_stretches", hart.interpreted_stretches),
        ];
        let more = self.tier.as_ref().map(|tier| tier.statistics()).unwrap_or_default();
        let figures = figures.iter().chain(&more);
        let fields: Vec<String> = figures.map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// Runs the container's command, or without orders the init's exercise, for at most `limit` instructions on virtual time, counting what is executed. `go_on` is asked
    /// now and then, with the number of instructions, whether to continue.
    pub fn train(
        &mut self,
        start: Option<Start>,
        host: &mut dyn Host,
        limit: u64,
        go_on: &mut dyn FnMut(&Self, u64) -> bool,
    ) -> Vec<Page> {
        let ticks = self.clock.ticks(host, self.cpu.hart.instret);
        self.clock = Clock::virtual_from(ticks, self.cpu.hart.instret);
        self.cpu.start_profile(&mut self.mem);
        match start {
            Some(start) => self.session.start(start),
            None => self.session.exercise(),
        }
        let begin = self.cpu.hart.instret;
        let mut exit = Exit::Budget;
        let mut stuck = 0;
        loop {
            let moved = self.session.pump(&mut self.devices, &mut self.mem, host).moved;
            let ended =
                matches!(self.session.state(), State::Ended(_)) || matches!(exit, Exit::Shutdown { .. });
            let done = self.cpu.hart.instret.wrapping_sub(begin);
            if ended || done >= limit || stuck > STUCK_SLICES || !go_on(self, done) {
                return self.profile();
            }
            if exit == Exit::Wfi && !moved {
                if self.is_stuck(host) {
                    return self.profile();
                }
                self.idle(host);
            }
            let before = self.cpu.hart.instret;
            exit = self.slice(host);
            stuck = if exit == Exit::Budget && self.cpu.hart.instret == before { stuck + 1 } else { 0 };
        }
    }

    /// What was executed since training began.
    pub fn profile(&self) -> Vec<Page> {
        self.cpu.profile(&self.mem)
    }

    /// Places in the code that control came to at least `times` times since training began: cheap, to tell whether anything new is.
    pub fn hot(&self, times: u32) -> usize {
        self.cpu.hot(times)
    }

    /// Switches from virtual to the host's time: what boots an image without a snapshot.
    pub fn use_host_clock(&mut self, host: &mut dyn Host) {
        let ticks = self.clock.ticks(host, self.cpu.hart.instret);
        self.clock = Clock::from_host(host, ticks);
    }

    /// Runs the container's command to its end.
    pub fn run(&mut self, start: Start, host: &mut dyn Host) -> Outcome {
        self.session.start(start);
        let mut exit = Exit::Budget;
        loop {
            let moved = self.session.pump(&mut self.devices, &mut self.mem, host).moved;
            if let State::Ended(outcome) = self.session.state() {
                return outcome.clone();
            }
            if matches!(exit, Exit::Shutdown { .. }) {
                return self.session.finish(
                    &mut self.devices,
                    &mut self.mem,
                    host,
                    "the guest switched itself off",
                );
            }
            if exit == Exit::Wfi && !moved {
                self.idle(host);
            }
            exit = self.slice(host);
        }
    }

    /// Whether nothing will ever wake the hart: no interrupt pending, no timer set.
    fn is_stuck(&mut self, host: &mut dyn Host) -> bool {
        self.update_interrupts(host);
        !self.cpu.hart.wakes() && self.next_timer() == u64::MAX
    }

    /// When the timer will wake the hart, in ticks.
    fn next_timer(&self) -> u64 {
        if self.cpu.hart.sie & crate::rv64::csr::STIP != 0 { self.cpu.hart.stimecmp } else { u64::MAX }
    }

    /// Runs one slice; interrupts are up to date before and after.
    fn slice(&mut self, host: &mut dyn Host) -> Exit {
        self.update_interrupts(host);
        let mut bus =
            MachineBus { devices: &mut self.devices, clock: &self.clock, host, debug: &mut self.debug };
        let exit = self.cpu.run(&mut self.mem, &mut bus, SLICE);
        if self.debug.len() > 1 << 16 {
            self.debug.drain(..1 << 15);
        }
        if let Some(tier) = &mut self.tier {
            tier.between(&mut self.cpu, &mut self.mem);
        }
        exit
    }

    fn update_interrupts(&mut self, host: &mut dyn Host) {
        let now = self.clock.ticks(host, self.cpu.hart.instret);
        self.cpu.hart.update_timer(now);
        self.cpu.hart.external_pending = self.devices.external_interrupt();
    }

    /// Sleeps until the timer, input or an event, unless an interrupt is there already.
    fn idle(&mut self, host: &mut dyn Host) {
        self.update_interrupts(host);
        if self.cpu.hart.wakes() {
            return;
        }
        let now = self.clock.ticks(host, self.cpu.hart.instret);
        let (interest, until) = (self.session.interest(), self.next_timer());
        self.clock.idle(now, until, |timeout| host.wait(timeout, interest));
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
#[path = "machine_tests.rs"]
mod tests;
