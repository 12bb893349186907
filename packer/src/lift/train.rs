//! The training run: the image's command, on a copy of the snapshot, on virtual time and without an outside world, to learn what is hot.

use forelift_abi::{
    config::{ContainerConfig, ImageConfig},
    layout::{PAGE_SIZE, RAM_BASE},
};
use forelift_runtime::{
    args::{self, Request},
    cpu::profile::PageProfile,
    host::{Host, HostEvent, Interest, NoHost, Read, Stream, Terminal, Written},
    machine::Machine,
    memory::GuestMemory,
    session::ConsoleLog,
};
use forelift_translator::guest::{Page, Program};
use memmap2::Mmap;
use thiserror::Error;

use crate::{boot::Snapshot, progress::Stages};

/// Instructions that a training run may take, by default.
pub const DEFAULT_LIMIT: u64 = 1_500_000_000;
/// How often is looked whether anything new got hot, in instructions.
const INTERVAL: u64 = 50_000_000;
/// An interval brings nothing new when less than this part of the hot instructions is new.
const NEWS: usize = 300;
/// A run ends after so many intervals without anything new.
const PATIENCE: u32 = 4;
/// Executions that make an instruction hot, for that question.
const HOT: u32 = 24;

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

/// An outside world with nothing to read and nobody who listens. Equal inputs give equal training.
struct Outside;

impl Host for Outside {
    fn monotonic_ns(&mut self) -> u64 {
        0
    }
    fn realtime_ns(&mut self) -> u64 {
        // A plausible date, the same for all: 2025-01-01.
        1_735_689_600_000_000_000
    }
    fn random(&mut self, buf: &mut [u8]) {
        NoHost.random(buf);
    }
    fn read_stdin(&mut self, _buf: &mut [u8]) -> Read {
        Read::Eof
    }
    fn write(&mut self, _stream: Stream, buf: &[u8]) -> Written {
        Written::Bytes(buf.len())
    }
    fn event(&mut self) -> Option<HostEvent> {
        None
    }
    fn terminal(&mut self) -> Terminal {
        Terminal::default()
    }
    fn wait(&mut self, _timeout_ns: Option<u64>, _interest: Interest) {}
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
        let mut machine = Machine::restore(mem, &snapshot.state, &mut Outside, ConsoleLog::Keep)?;
        let mut news = News::default();
        let profile = machine.train(start, &mut Outside, limit, &mut |machine, done| {
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
        let profile = machine.profile();
        let hot = profile.iter().flat_map(|page| &page.counts).filter(|&&count| count >= HOT).count();
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

fn append(pages: &mut Vec<Page>, profile: Vec<PageProfile>) {
    let before = pages.len();
    pages.extend(profile.into_iter().map(|p| Page {
        bytes: p.bytes,
        privilege: p.privilege,
        va: p.va,
        next: p.next.map(|next| next + before),
        counts: p.counts,
        indirect: p.indirect,
    }));
}
