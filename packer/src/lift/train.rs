//! The training run: the image's command, on a copy of the snapshot, on virtual time and without an outside world, to learn what is hot.

use forelift_abi::{
    config::{ContainerConfig, ImageConfig},
    layout::{PAGE_SIZE, RAM_BASE},
    profile::Page,
};
use forelift_runtime::{
    args::{self, Request},
    host::NoHost,
    machine::Machine,
    memory::GuestMemory,
    session::ConsoleLog,
};
use forelift_translator::guest::Program;
use memmap2::Mmap;
use thiserror::Error;

use crate::{boot::Snapshot, progress::Stages};

/// Instructions that a training run may take, by default.
pub const DEFAULT_LIMIT: u64 = 1_500_000_000;
/// How often is looked whether anything new got hot, in instructions.
const INTERVAL: u64 = 50_000_000;
/// An interval brings nothing new when less than this part of the hot places is new.
const NEWS: usize = 300;
/// A run ends after so many intervals without anything new.
const PATIENCE: u32 = 4;
/// Arrivals that make a place hot, for that question.
const HOT: u32 = 24;
/// The outside world: nothing to read, nobody who listens, and the same plausible date for all, 2025-01-01. Equal inputs give equal
/// training.
const OUTSIDE: NoHost = NoHost { realtime_ns: 1_735_689_600_000_000_000, stdin_ended: true };

/// Why there was no training run.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The command is no command.
    #[error("--train {command}: {why}")]
    Command {
        /// The command.
        command: String,
        /// What is wrong.
        why: String,
    },
    /// The host lacks memory.
    #[error("no memory of {mib} MiB for the training run: {source}")]
    Memory {
        /// Guest RAM.
        mib: usize,
        /// Why.
        source: std::io::Error,
    },
    /// The snapshot does not come back to life.
    #[error(transparent)]
    Machine(#[from] forelift_runtime::machine::MachineError),
}

/// Runs `commands` (words as a shell splits them; none: the image's own), each from a copy of `snapshot`, for at most `limit`
/// instructions each. Gives the program as it was executed, and the number of instructions.
///
/// # Errors
/// See [`TrainError`].
pub fn train(
    snapshot: &Snapshot,
    root: &dyn Fn() -> std::io::Result<Mmap>,
    config: &ImageConfig,
    commands: &[String],
    limit: u64,
    stages: &mut Stages,
) -> Result<(Program, u64), TrainError> {
    let own = [String::new()];
    let commands = if commands.is_empty() { &own } else { commands };
    let mut pages = Vec::new();
    let mut total = 0;
    for command in commands {
        let start = match request(command, config)? {
            Some(start) => start,
            None => continue,
        };
        let ram_len = snapshot.ram.ram_len();
        let memory = |source| TrainError::Memory { mib: ram_len >> 20, source };
        let mut mem = GuestMemory::new(ram_len, Some(root().map_err(memory)?)).map_err(memory)?;
        for (n, page) in snapshot.ram.ram().chunks(PAGE_SIZE as usize).enumerate() {
            if page.iter().any(|&b| b != 0) {
                mem.write(RAM_BASE + n as u64 * PAGE_SIZE, page);
            }
        }
        let mut host = OUTSIDE;
        let mut machine = Machine::restore(mem, &snapshot.state, &mut host, ConsoleLog::Keep)?;
        let mut news = News::default();
        let profile = machine.train(start, &mut host, limit, &mut |machine, done| {
            stages.instructions(total + done);
            news.go_on(machine, done)
        });
        total += news.done;
        append(&mut pages, profile);
    }
    Ok((Program::new(pages), total))
}

use crate::boot::BootProgress;

/// Whether a run still shows something new.
#[derive(Default)]
struct News {
    done: u64,
    next: u64,
    hot: usize,
    /// Intervals without anything new.
    quiet: u32,
}

impl News {
    fn go_on(&mut self, machine: &Machine, done: u64) -> bool {
        self.done = done;
        if done < self.next {
            return true;
        }
        self.next = done + INTERVAL;
        if done == 0 {
            return true;
        }
        let hot = machine.hot(HOT);
        let new = hot - self.hot.min(hot);
        self.hot = hot;
        self.quiet = if new * NEWS > hot { 0 } else { self.quiet + 1 };
        self.quiet < PATIENCE
    }
}

/// The orders for `command`; `None` when the image has none of its own.
fn request(command: &str, config: &ImageConfig) -> Result<Option<forelift_abi::control::Start>, TrainError> {
    let fail = |why: &str| TrainError::Command { command: command.into(), why: why.into() };
    let words = shlex::split(command).ok_or_else(|| fail("a quote is not closed"))?;
    let ContainerConfig { entrypoint, cmd, .. } = &config.container;
    if words.is_empty() && entrypoint.is_empty() && cmd.is_empty() {
        return Ok(None);
    }
    let words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
    match args::parse(&words, &[], config, Vec::new()) {
        Ok(Request::Run(start)) => Ok(Some(*start)),
        Ok(_) => Err(fail("it is no command")),
        Err(e) => Err(fail(&e.to_string())),
    }
}

/// Adds the pages of another run.
fn append(pages: &mut Vec<Page>, more: Vec<Page>) {
    let before = pages.len();
    pages.extend(more.into_iter().map(|page| Page { next: page.next.map(|next| next + before), ..page }));
}
