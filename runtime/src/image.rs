//! Runs a whole image, from its command line to the exit code: [`Image`] is what the packer put into a
//! module.
//!
//! The module's `main` and the native runs of tests and comparisons both come through [`run`].

use crate::args::{self, Request};
use crate::dev::fuse::Service;
use crate::dev::virtio::fs::{Fs, share};
use crate::host::Host;
use crate::machine::{BootSource, Machine, Tier, Turn, to_the_end};
use crate::memory::GuestMemory;
use crate::session::{ConsoleLog, Outcome};
use forelift_abi::config::ImageConfig;
use forelift_abi::control::{Mount, Start};
use forelift_abi::exit::FAILURE;
use forelift_abi::lift::{FUNCTION_BITS, Index};

/// Name of the environment variable that shows the guest kernel's console on standard error (any value but
/// `0`). It is not passed on to the container.
pub const CONSOLE_VARIABLE: &[u8] = b"FORELIFT_CONSOLE";

/// Name of the environment variable that chooses the engine: `interp` interprets throughout. It is not passed
/// on to the container.
pub const ENGINE_VARIABLE: &[u8] = b"FORELIFT_ENGINE";
/// Name of the environment variable that has figures of the run written to standard error at its end, as JSON
/// (any value but `0`). It is not passed on to the container.
pub const STATISTICS_VARIABLE: &[u8] = b"FORELIFT_STATISTICS";

/// Name of the environment variable that leaves only some of the lifted functions in use: their numbers in
/// the image, from 0 on, and ranges of them (`0-99,120`). It is not passed on to the container.
pub const FUNCTIONS_VARIABLE: &str = "FORELIFT_FUNCTIONS";

/// Leaves only the functions in use that `list` names (see [`FUNCTIONS_VARIABLE`]).
///
/// # Errors
/// When `list` is no list of numbers.
pub fn filter(index: &mut Index, list: &[u8]) -> Result<(), String> {
    let fail = || {
        format!(
            "{FUNCTIONS_VARIABLE}={}: expected numbers and ranges: 0-99,120",
            String::from_utf8_lossy(list)
        )
    };
    let text = core::str::from_utf8(list).map_err(|_| fail())?;
    let number = |text: &str| text.parse::<u32>().map_err(|_| fail());
    let mut ranges = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        ranges.push(match part.split_once('-') {
            Some((from, to)) => number(from)?..=number(to)?,
            None => number(part)?..=number(part)?,
        });
    }
    let first = index.functions.0;
    for page in &mut index.pages {
        page.entries.retain(|&(_, value)| {
            let number = (value & ((1 << FUNCTION_BITS) - 1)).wrapping_sub(first);
            ranges.iter().any(|range| range.contains(&number))
        });
    }
    Ok(())
}

/// How the guest gets to *ready to exec*.
pub enum Origin<'a> {
    /// It is there: encoded [`MachineState`](crate::snapshot::MachineState) that belongs to the memory.
    Snapshot(&'a [u8]),
    /// It boots first.
    Boot {
        /// Kernel, as [`BootSource`] takes it.
        kernel: &'a [u8],
        /// Initial RAM file system.
        initrd: &'a [u8],
    },
}

/// The parts of an image.
pub struct Image<'a> {
    /// RAM and root file system.
    pub memory: GuestMemory,
    /// What the converter decided.
    pub config: ImageConfig,
    /// Where the guest starts from.
    pub origin: Origin<'a>,
    /// Lifted code, which the module's table holds.
    pub lifted: Option<Index>,
    /// What compiles hot code at run time: the engine `native`.
    pub tier: Option<Box<dyn Tier>>,
}

/// A host directory for the container.
pub struct Share {
    /// Guest path.
    pub path: String,
    /// What serves the directory.
    pub server: Box<dyn Service>,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

fn failure(message: String) -> Outcome {
    Outcome { code: FAILURE, message: Some(message) }
}

fn printed(print: impl FnOnce(&str), text: &str) -> Outcome {
    print(text);
    Outcome { code: 0, message: None }
}

/// Where a host directory is mounted whose guest path is the root or a relative `.`, which cannot be mounted
/// over.
pub const DEFAULT_SHARE: &str = "/mnt";

/// Absolute guest path for the path that the host names a directory by (`wasmtime --dir .` names it `.`).
pub fn guest_path(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.is_empty() { DEFAULT_SHARE.to_owned() } else { format!("/{}", parts.join("/")) }
}

/// What is to be run.
pub struct Asked<'a> {
    /// The image.
    pub image: Image<'a>,
    /// Its own arguments, without the program's name.
    pub args: Vec<Vec<u8>>,
    /// `NAME=value` each.
    pub env: Vec<Vec<u8>>,
    /// The host directories.
    pub shares: Vec<Share>,
}

/// Runs an image. Help and version are printed by the caller's `print`. The outcome's message, if there is
/// one, is for standard error.
pub fn run(asked: Asked<'_>, host: &mut dyn Host, print: impl FnOnce(&str)) -> Outcome {
    match Run::begin(asked, host, print) {
        Ok(mut run) => to_the_end(host, |host| run.turn(host)),
        Err(outcome) => outcome,
    }
}

/// A run of an image.
pub struct Run {
    machine: Machine,
    statistics: bool,
}

impl Run {
    /// Begins what [`run`] is, for a host that takes it turn by turn. An error is a run that has ended.
    pub fn begin(asked: Asked<'_>, host: &mut dyn Host, print: impl FnOnce(&str)) -> Result<Self, Outcome> {
        let (machine, start, statistics) = prepare(asked, host, print)?;
        let mut run = Run { machine, statistics };
        run.machine.begin(start, host);
        Ok(run)
    }

    /// [`Machine::turn`].
    pub fn turn(&mut self, host: &mut dyn Host) -> Turn {
        let turn = self.machine.turn(host);
        if let Turn::Ended(_) = turn
            && core::mem::take(&mut self.statistics)
        {
            eprintln!("{}", self.machine.statistics());
        }
        turn
    }
}

/// The machine with its orders, and whether figures are asked for.
fn prepare(
    asked: Asked<'_>,
    host: &mut dyn Host,
    print: impl FnOnce(&str),
) -> Result<(Machine, Start, bool), Outcome> {
    let Asked { mut image, args, env, shares } = asked;
    let value = |name| env.iter().rev().find_map(|e| e.strip_prefix(name)?.strip_prefix(b"="));
    let is_set = |name| value(name).is_some_and(|v| v != b"0");
    let log = if is_set(CONSOLE_VARIABLE) { ConsoleLog::Stream } else { ConsoleLog::Keep };
    let statistics = is_set(STATISTICS_VARIABLE);
    let interpret = match value(ENGINE_VARIABLE) {
        None | Some(b"aot" | b"") => false,
        Some(b"native") if image.tier.is_some() => false,
        Some(b"interp") => true,
        Some(other) => {
            let name = String::from_utf8_lossy(other);
            return Err(failure(format!(
                "FORELIFT_ENGINE={name}: no such engine here: choose interp or aot"
            )));
        }
    };
    let functions = value(FUNCTIONS_VARIABLE.as_bytes()).map(<[u8]>::to_vec);
    let ours = [CONSOLE_VARIABLE, ENGINE_VARIABLE, STATISTICS_VARIABLE, FUNCTIONS_VARIABLE.as_bytes()];
    let is_ours =
        |e: &[u8]| ours.iter().any(|name| e.strip_prefix(*name).is_some_and(|rest| rest.starts_with(b"=")));
    let env: Vec<Vec<u8>> = env.iter().filter(|e| !is_ours(e)).cloned().collect();
    let mounts = shares.iter().enumerate().map(|(n, share)| Mount {
        tag: share::tag(n),
        path: share.path.clone(),
        read_only: share.read_only,
    });
    let start = match args::parse(&args, &env, &image.config, mounts.collect()) {
        Ok(Request::Run(start, network)) => {
            if let Some(Err(message)) = network.map(|network| host.connect(*network)) {
                return Err(failure(message));
            }
            *start
        }
        Ok(Request::Help) => return Err(printed(print, &args::help(&image.config))),
        Ok(Request::Version) => return Err(printed(print, &args::version())),
        Err(error) => return Err(failure(error.to_string())),
    };
    let mut lifted = image.lifted.take().filter(|_| !interpret);
    if let (Some(index), Some(list)) = (&mut lifted, &functions)
        && let Err(message) = filter(index, list)
    {
        return Err(failure(message));
    }
    let tier = image.tier.take().filter(|_| !interpret);
    let mut machine = ready(image, host, log).map_err(|error| failure(error.to_string()))?;
    if let Some(index) = lifted
        && !machine.install_lifted(index)
    {
        return Err(failure("image: its index of lifted code is inconsistent: convert it again".into()));
    }
    if let Some(tier) = tier
        && let Err(error) = machine.set_tier(tier)
    {
        return Err(failure(error.to_string()));
    }
    let (devices, mem) = machine.devices_mut();
    for (n, share) in shares.into_iter().enumerate() {
        let device = Box::new(Fs::new(n, share.server));
        if let Err(error) = devices.attach_share(n, device, mem) {
            return Err(failure(format!("directory for {}: {error}", share.path)));
        }
    }
    Ok((machine, start, statistics))
}

/// The machine at *ready to exec*.
fn ready(
    image: Image<'_>,
    host: &mut dyn Host,
    log: ConsoleLog,
) -> Result<Machine, crate::machine::MachineError> {
    match image.origin {
        Origin::Snapshot(state) => Machine::restore(image.memory, state, host, log),
        Origin::Boot { kernel, initrd } => {
            let mut rng_seed = [0; 64];
            host.random(&mut rng_seed);
            let cmdline = &image.config.cmdline;
            let source = BootSource { arch: image.config.arch, kernel, initrd, cmdline, rng_seed: &rng_seed };
            let mut machine = Machine::boot(image.memory, source, log)?;
            machine.boot_to_ready(host, 0, &mut |_| {})?;
            machine.use_host_clock(host);
            Ok(machine)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forelift_abi::lift::{Mode, Page, VERSION, rv64};

    #[test]
    fn functions_are_chosen_by_number() {
        let entries = (0..10).map(|n| (n as u16 * 2, 5 + n)).collect();
        let page = Page { hash: 1, mode: Mode::User, content: 1, entries };
        let index = Index { version: VERSION, pages: vec![page], functions: (5, 10) };
        let left = |list: &[u8]| {
            let mut index = index.clone();
            filter(&mut index, list)?;
            assert!(index.is_valid(&rv64::GUEST));
            Ok::<_, String>(index.pages[0].entries.iter().map(|&(_, value)| value - 5).collect::<Vec<_>>())
        };
        assert_eq!(left(b"").unwrap(), []);
        assert_eq!(left(b"0-2,7").unwrap(), [0, 1, 2, 7]);
        assert_eq!(left(b"9-99").unwrap(), [9]);
        for wrong in [&b"x"[..], b"1-", b"-3", b"\xff"] {
            assert!(left(wrong).unwrap_err().contains("FORELIFT_FUNCTIONS"));
        }
    }
}
