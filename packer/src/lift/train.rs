//! The training run: the image's command, on a copy of the snapshot, on virtual time and without an outside
//! world, to learn what is hot. The kernel's exercise has a network with a peer in memory.

use forelift_abi::{
    config::{ContainerConfig, ImageConfig},
    control::Start,
    layout::{PAGE_SIZE, RAM_BASE},
    profile::Page,
};
use forelift_runtime::{
    args::{self, Request},
    host::{Host, NoHost},
    machine::Machine,
    memory::GuestMemory,
    session::ConsoleLog,
};
use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;
use thiserror::Error;

use super::peer::Peer;
use crate::{
    boot::{BootProgress, Snapshot},
    cache::Key,
    progress::Stages,
};

/// The option with the commands.
pub const OPTION: &str = "--train";
/// Instructions that a training run may take, by default.
pub const DEFAULT_LIMIT: u64 = 1_500_000_000;
/// How often is looked whether anything new got hot, in instructions.
const INTERVAL: u64 = 50_000_000;
/// An interval brings nothing new when less than this part of the hot places is new.
const NEWS: usize = 300;
/// A run ends after so many intervals without anything new, and not before half of it was like that.
const PATIENCE: u32 = 4;
/// Arrivals that make a place hot, for that question.
const HOT: u32 = 24;

/// Why there was no training run.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The command is no command.
    #[error("{option} {command}: {why}")]
    Command {
        /// The option that has it.
        option: &'static str,
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

/// What training runs learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Training {
    /// The code as it was executed.
    pub pages: Vec<Page>,
    /// Instructions that were executed.
    pub instructions: u64,
}

/// All that training depends on, besides the sources of the machine and of what boots it (`build.rs`).
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The kernel.
    pub kernel: &'a [u8],
    /// The initial RAM file system.
    pub initrd: &'a [u8],
    /// Digests of what the root file system was made from.
    pub root: &'a str,
    /// The image's configuration. (Its name counts for nothing.)
    pub config: &'a ImageConfig,
    /// Guest RAM in bytes.
    pub ram_len: u64,
    /// The commands.
    pub commands: &'a [String],
    /// Instructions that each may take.
    pub limit: u64,
}

impl Inputs<'_> {
    /// The key that [`Training`] of these inputs is cached by.
    pub fn key(&self) -> Key {
        self.key_of(env!("FORELIFT_TRAIN_SOURCES"))
    }

    fn key_of(&self, sources: &str) -> Key {
        let Inputs { kernel, initrd, root, config, ram_len, commands, limit } = self;
        let config = ImageConfig { name: String::new(), ..(*config).clone() };
        // Strings, lists and numbers: this cannot fail.
        let rest = postcard::to_allocvec(&(config, root, ram_len, commands, limit)).unwrap_or_default();
        let mut hash = Sha256::new();
        for field in [b"forelift training", sources.as_bytes(), kernel, initrd, &rest] {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        hash.finalize().into()
    }
}

/// Bytes of encoded training at most: what is claimed beyond is damage.
const MAX_ENCODED: u64 = 256 << 20;

/// A page, with the counters that are not 0.
#[derive(Serialize, Deserialize)]
struct Sparse {
    page: Page,
    counts: Vec<(u16, u32)>,
    indirect: Vec<(u16, u32)>,
}

impl Training {
    /// As bytes.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let sparse = |counters: &[u32]| -> Vec<(u16, u32)> {
            counters.iter().enumerate().filter(|(_, n)| **n != 0).map(|(at, &n)| (at as u16, n)).collect()
        };
        let pages: Vec<Sparse> = self
            .pages
            .iter()
            .map(|page| Sparse {
                page: Page { counts: Vec::new(), indirect: Vec::new(), ..page.clone() },
                counts: sparse(&page.counts),
                indirect: sparse(&page.indirect),
            })
            .collect();
        zstd::stream::encode_all(&postcard::to_allocvec(&(self.instructions, pages)).ok()?[..], 1).ok()
    }

    /// From bytes. `None`: they are not what [`Training::encode`] gave.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut plain = Vec::new();
        zstd::stream::Decoder::new(bytes).ok()?.take(MAX_ENCODED).read_to_end(&mut plain).ok()?;
        let ((instructions, pages), rest) = postcard::take_from_bytes::<(u64, Vec<Sparse>)>(&plain).ok()?;
        let dense = |sparse: Vec<(u16, u32)>| {
            let mut counters = vec![0; PAGE_SIZE as usize];
            for (at, n) in sparse {
                *counters.get_mut(usize::from(at))? = n;
            }
            Some(counters)
        };
        let page = |sparse: Sparse| {
            Some(Page { counts: dense(sparse.counts)?, indirect: dense(sparse.indirect)?, ..sparse.page })
        };
        let pages = pages.into_iter().map(page).collect::<Option<Vec<Page>>>()?;
        rest.is_empty().then_some(Training { pages, instructions })
    }
}

/// Runs the init's exercise of the kernel and `commands` (words as a shell splits them; none: the image's
/// own), each from a copy of `snapshot`, for at most `limit` instructions each.
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
) -> Result<Training, TrainError> {
    let own = [String::new()];
    let commands = if commands.is_empty() { &own } else { commands };
    let mut pages = Vec::new();
    let mut total = 0;
    // First the kernel by itself: what every program asks of it.
    let mut runs = vec![None];
    for command in commands {
        runs.extend(request(OPTION, command, config)?.map(Some));
    }
    for start in runs {
        let exercise = start.is_none();
        let mut host: Box<dyn Host> =
            if exercise { Box::new(Peer::new()) } else { Box::new(NoHost::sealed()) };
        let mut machine = resume(snapshot, root, &mut *host)?;
        let mut news = News::default();
        let mut profile = machine.train(start, &mut *host, limit, &mut |machine, done| {
            stages.instructions(total + done);
            news.go_on(machine, done)
        });
        total += news.done;
        if exercise {
            profile.iter_mut().flat_map(|page| &mut page.counts).for_each(weigh);
        }
        append(&mut pages, profile);
    }
    Ok(Training { pages, instructions: total })
}

/// A machine of its own that goes on from `snapshot`.
///
/// # Errors
/// See [`TrainError`].
pub fn resume(
    snapshot: &Snapshot,
    root: &dyn Fn() -> std::io::Result<Mmap>,
    host: &mut dyn Host,
) -> Result<Machine, TrainError> {
    let ram_len = snapshot.ram.ram_len();
    let memory = |source| TrainError::Memory { mib: ram_len >> 20, source };
    let mut mem = GuestMemory::new(ram_len, Some(root().map_err(memory)?)).map_err(memory)?;
    for (n, page) in snapshot.ram.ram().chunks(PAGE_SIZE as usize).enumerate() {
        if page.iter().any(|&b| b != 0) {
            mem.write(RAM_BASE + n as u64 * PAGE_SIZE, page);
        }
    }
    Ok(Machine::restore(mem, &snapshot.state, host, ConsoleLog::Keep)?)
}

/// Makes the exercise weigh less than a command, though what is hot in it stays hot: a budget goes to the
/// command first.
fn weigh(count: &mut u32) {
    *count = (*count / 8).max((*count).min(HOT));
}

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
        self.quiet < PATIENCE || u64::from(self.quiet) * INTERVAL * 2 < done
    }
}

/// The orders for the `command` of `option`; `None` when the image has none of its own.
///
/// # Errors
/// [`TrainError::Command`].
pub fn request(
    option: &'static str,
    command: &str,
    config: &ImageConfig,
) -> Result<Option<Start>, TrainError> {
    let fail = |why: &str| TrainError::Command { option, command: command.into(), why: why.into() };
    let words = shlex::split(command).ok_or_else(|| fail("a quote is not closed"))?;
    let ContainerConfig { entrypoint, cmd, .. } = &config.container;
    if words.is_empty() && entrypoint.is_empty() && cmd.is_empty() {
        return Ok(None);
    }
    let words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
    match args::parse(&words, &[], config, Vec::new()) {
        Ok(Request::Run(start, None)) => Ok(Some(*start)),
        Ok(_) => Err(fail("it is no command, or asks for a network")),
        Err(e) => Err(fail(&e.to_string())),
    }
}

/// Adds the pages of another run.
fn append(pages: &mut Vec<Page>, more: Vec<Page>) {
    let before = pages.len();
    pages.extend(more.into_iter().map(|page| Page {
        next: page.next.map(|next| next + before),
        links: page.links.into_iter().map(|(distance, to)| (distance, to + before)).collect(),
        ..page
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use forelift_abi::config::Arch;

    #[test]
    fn training_comes_back_from_bytes() {
        let mut pages = super::super::testing::pages(3, 1);
        pages[1].indirect[4095] = u32::MAX;
        let training = Training { pages, instructions: 1 << 40 };
        let bytes = training.encode().unwrap();
        assert!(bytes.len() < 3 * 4096 * 2, "{}", bytes.len());
        assert_eq!(Training::decode(&bytes).unwrap(), training);
        for len in 0..bytes.len() {
            assert_eq!(Training::decode(&bytes[..len]), None);
        }
        let plain = |value: &(u64, Vec<Sparse>)| {
            zstd::stream::encode_all(&postcard::to_allocvec(value).unwrap()[..], 1).unwrap()
        };
        let page = Page { counts: Vec::new(), indirect: Vec::new(), ..training.pages[0].clone() };
        let outside = Sparse { page, counts: vec![(4096, 1)], indirect: Vec::new() };
        assert_eq!(Training::decode(&plain(&(1, vec![outside]))), None);
        assert_eq!(
            Training::decode(&plain(&(1, Vec::new()))),
            Some(Training { pages: vec![], instructions: 1 })
        );
    }

    #[test]
    fn every_input_changes_the_key() {
        let config = |change: &dyn Fn(&mut ImageConfig)| {
            let mut config = ImageConfig {
                arch: Arch::Riscv64,
                name: "name".into(),
                container: ContainerConfig::default(),
                hostname: "host".into(),
                cmdline: "quiet".into(),
            };
            change(&mut config);
            config
        };
        let plain = config(&|_| {});
        let words = |words: &[&str]| -> Vec<String> { words.iter().map(|w| w.to_string()).collect() };
        let (one, two, joined) = (words(&["a b"]), words(&["a", "b"]), words(&["ab"]));
        let inputs = Inputs {
            kernel: b"kernel",
            initrd: b"initrd",
            root: "sha256:1",
            config: &plain,
            ram_len: 64,
            commands: &one,
            limit: 5,
        };
        assert_eq!(inputs.key(), Inputs { config: &config(&|c| c.name = "other".into()), ..inputs }.key());
        let keys = [
            inputs.key(),
            inputs.key_of("other"),
            Inputs { kernel: b"kernelinitrd", initrd: b"", ..inputs }.key(),
            Inputs { initrd: b"initre", ..inputs }.key(),
            Inputs { root: "sha256:2", ..inputs }.key(),
            Inputs { ram_len: 128, ..inputs }.key(),
            Inputs { commands: &two, ..inputs }.key(),
            Inputs { commands: &joined, ..inputs }.key(),
            Inputs { commands: &[], ..inputs }.key(),
            Inputs { limit: 6, ..inputs }.key(),
            Inputs { config: &config(&|c| c.arch = Arch::X86_64), ..inputs }.key(),
            Inputs { config: &config(&|c| c.hostname = "h0st".into()), ..inputs }.key(),
            Inputs { config: &config(&|c| c.cmdline = "debug".into()), ..inputs }.key(),
            Inputs { config: &config(&|c| c.container.cmd = vec!["sh".into()]), ..inputs }.key(),
            Inputs { config: &config(&|c| c.container.env = vec!["A=1".into()]), ..inputs }.key(),
        ];
        let different: std::collections::BTreeSet<Key> = keys.into_iter().collect();
        assert_eq!(different.len(), keys.len());
    }
}
