//! Random programs ([`forelift_isa::rv64::random`]) on the hart, in several ways, and on QEMU's user mode.

use super::pages::{A, D, Mode, PageTables, R, U, V, W, X};
use super::{Machine, lifted};
use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{
    decode, length,
    random::{Program, Rng},
};
use forelift_runtime::cpu::Lifting;
use forelift_runtime::cpu::rv64::{Cpu, Exit, state::Privilege};
use forelift_translator::region::Limits;
use std::{ffi::OsStr, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

/// The reference emulator.
pub const QEMU: &str = "qemu-riscv64-static";

const PAGE: u64 = 4096;
/// Guest memory: page tables first, then the program's pages.
const RAM: usize = 4 << 20;
const TABLES: u64 = RAM_BASE;
const POOL: u64 = RAM_BASE + (1 << 20);
/// A program that runs longer than this hangs.
const LIMIT: u64 = 100_000_000;

/// Where a run is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stops {
    /// Nowhere but at system calls.
    Never,
    /// After every few instructions.
    Often,
    /// Now and then, and each time the state moves to a new hart, with no TLB and no decoded code.
    Migrate,
}

/// How to run a program.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Address translation, to shuffled physical pages; `None` for none.
    pub paging: Option<Mode>,
    /// Privilege.
    pub privilege: Privilege,
    /// Interruptions.
    pub stops: Stops,
    /// Whether the program is run twice: interpreted and counted, and again with everything lifted that was
    /// executed.
    pub lifted: bool,
}

/// The run that the others are compared to.
pub const PLAIN: Variant =
    Variant { paging: None, privilege: Privilege::User, stops: Stops::Never, lifted: false };

/// What a run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the program wrote.
    pub output: Vec<u8>,
    /// Instructions retired.
    pub instret: u64,
}

/// A program in memory.
struct Loaded {
    machine: Machine,
    /// Physical page by page of the program.
    pages: Vec<u64>,
    base: u64,
}

impl Loaded {
    fn new(program: &Program, variant: &Variant, rng: &mut Rng) -> Self {
        let mut m = Machine::new(RAM);
        let count = program.size.div_ceil(PAGE);
        let mut pages: Vec<u64> = (0..count).map(|n| program.base + n * PAGE).collect();
        if let Some(mode) = variant.paging {
            let mut frames: Vec<u64> = (POOL..RAM_BASE + RAM as u64).step_by(PAGE as usize).collect();
            let mut tables = PageTables::new(mode, TABLES);
            for (n, page) in pages.iter_mut().enumerate() {
                *page = frames.swap_remove(rng.below(frames.len()));
                let user = if variant.privilege == Privilege::User { U } else { 0 };
                let used = rng.pick(&[0, A, A | D]);
                let va = program.base + n as u64 * PAGE;
                tables.map(&mut m.mem, va, *page, V | R | W | X | user | used, 0);
            }
            assert!(tables.end() <= POOL);
            m.cpu.hart.satp = tables.satp(0);
        }
        for (bytes, pa) in program.image.chunks(PAGE as usize).zip(&pages) {
            m.put(*pa, bytes);
        }
        m.catch_exceptions(variant.privilege);
        m.cpu.hart.fs = 3;
        m.cpu.hart.pc = program.entry;
        Loaded { machine: m, pages, base: program.base }
    }

    fn read(&self, va: u64, len: u64) -> Option<Vec<u8>> {
        let byte = |at: u64| {
            let page = self.pages.get((at.checked_sub(self.base)? / PAGE) as usize)?;
            Some(self.machine.mem.slice(page + at % PAGE, 1)?[0])
        };
        (va..va.checked_add(len)?).map(byte).collect()
    }

    /// Moves the state to a new hart, as a snapshot does.
    fn migrate(&mut self) {
        let state = self.machine.cpu.hart.save();
        let (user_only, mem) = (self.machine.cpu.hart.user_only, &mut self.machine.mem);
        self.machine.cpu = Cpu::new(mem);
        self.machine.cpu.hart.restore(&state);
        self.machine.cpu.flush(mem);
        self.machine.cpu.hart.user_only = user_only;
    }

    /// What `pc` and the registers are, and the instruction there.
    fn describe(&self) -> String {
        let hart = &self.machine.cpu.hart;
        let bytes = self.read(hart.pc, 4).unwrap_or_default();
        let code = match <[u8; 4]>::try_from(&bytes[..]).map(u32::from_le_bytes) {
            Ok(word) => match decode(word) {
                Some(insn) => insn.disassemble(hart.pc).to_string(),
                None => format!("illegal {:#x} ({} bytes)", word, length(word as u16)),
            },
            Err(_) => "no memory".into(),
        };
        format!("pc {:#x} ({code}), x {:x?}, f {:x?}", hart.pc, hart.x, hart.f)
    }
}

/// Runs `program` to its end.
///
/// # Errors
/// When it traps, hangs or fails: what happened and the state.
pub fn run(program: &Program, variant: &Variant, seed: u64) -> Result<Outcome, String> {
    let mut rng = Rng::new(seed ^ 0x0072_756e);
    let mut loaded = Loaded::new(program, variant, &mut rng);
    if !variant.lifted {
        return execute(&mut loaded, variant, &mut rng);
    }
    loaded.machine.cpu.start_profile(&mut loaded.machine.mem);
    let state = loaded.machine.cpu.hart.save();
    execute(&mut loaded, variant, &mut rng)?;
    let machine = &mut loaded.machine;
    let _installed = lifted::install(machine, Limits { threshold: 1, ..Limits::default() });
    for (bytes, pa) in program.image.chunks(PAGE as usize).zip(&loaded.pages) {
        machine.put(*pa, bytes);
    }
    let zeros = vec![0; program.size as usize - program.image.len()];
    for (n, bytes) in zeros.chunks(1).enumerate() {
        let at = (program.image.len() + n) as u64;
        machine.put(loaded.pages[(at / PAGE) as usize] + at % PAGE, bytes);
    }
    machine.cpu.hart.restore(&state);
    machine.cpu.hart.user_only = true;
    machine.cpu.hart.privilege = variant.privilege;
    execute(&mut loaded, variant, &mut rng)
}

fn execute(loaded: &mut Loaded, variant: &Variant, rng: &mut Rng) -> Result<Outcome, String> {
    let mut output = Vec::new();
    loop {
        let budget = match variant.stops {
            Stops::Never => LIMIT,
            Stops::Often => 1 + rng.below(17) as u64,
            Stops::Migrate => 1 + rng.below(20_000) as u64,
        };
        let exit = loaded.machine.run(budget);
        if loaded.machine.cpu.hart.instret > LIMIT {
            return Err(format!("no end after {LIMIT} instructions: {}", loaded.describe()));
        }
        match exit {
            Exit::Budget => {}
            Exit::Trap { cause: 8, .. } => {
                let x = loaded.machine.cpu.hart.x;
                match (x[17], x[10]) {
                    (64, 1) => {
                        let bytes = loaded.read(x[11], x[12]);
                        output.extend(
                            bytes
                                .ok_or_else(|| format!("write of unmapped memory: {}", loaded.describe()))?,
                        );
                        let hart = &mut loaded.machine.cpu.hart;
                        hart.x[10] = x[12];
                        hart.pc += 4;
                    }
                    (93, 0) => return Ok(Outcome { output, instret: loaded.machine.cpu.hart.instret }),
                    _ => return Err(format!("system call {}: {}", x[17], loaded.describe())),
                }
            }
            other => return Err(format!("{other:x?}: {}", loaded.describe())),
        }
        if variant.stops == Stops::Migrate {
            loaded.migrate();
        }
    }
}

/// Runs `program` on QEMU's user mode and gives what it wrote. `file` is made for it.
///
/// # Panics
/// When QEMU is not installed, or fails.
pub fn run_on_qemu(program: &Program, file: &Path) -> Vec<u8> {
    qemu(program, file, &[])
}

/// Instructions that QEMU's user mode executes for `program`, system calls included. `file` is made for it.
///
/// # Panics
/// When QEMU is not installed, or fails.
pub fn count_on_qemu(program: &Program, file: &Path) -> u64 {
    let log = file.with_extension("log");
    // One translation block per instruction, and a line for each that is entered.
    let options = ["-singlestep", "-d", "nochain,exec", "-D"].map(OsStr::new);
    qemu(program, file, &[&options[..], &[log.as_os_str()]].concat());
    let text = fs::read_to_string(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
    text.lines().filter(|line| line.starts_with("Trace ")).count() as u64
}

fn qemu(program: &Program, file: &Path, options: &[&OsStr]) -> Vec<u8> {
    let made = fs::write(file, program.elf())
        .and_then(|()| fs::set_permissions(file, fs::Permissions::from_mode(0o755)));
    made.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let output = Command::new(QEMU)
        .args(options)
        .arg(file)
        .output()
        .unwrap_or_else(|e| panic!("{QEMU}: {e}: run `scripts/setup images test`"));
    assert!(output.status.success(), "{QEMU} {}: {}", file.display(), output.status);
    output.stdout
}
