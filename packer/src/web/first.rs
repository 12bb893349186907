//! Which blocks of the root file system a container reads first: found out by running it.

use std::io;

use forelift_abi::config::ImageConfig;
use forelift_runtime::host::NoHost;
use memmap2::Mmap;

use crate::{
    boot::Snapshot,
    lift::train::{self, TrainError},
    progress::Stages,
};

/// Instructions that a command may take: about a second.
const LIMIT: u64 = 300_000_000;

/// Runs `commands` (each behind its option; words as a shell splits them), each from a copy of `snapshot`,
/// and gives the blocks of 4096 bytes that any of them has read, as bits.
///
/// # Errors
/// See [`TrainError`].
pub fn reads(
    snapshot: &Snapshot,
    root: &dyn Fn() -> io::Result<Mmap>,
    config: &ImageConfig,
    commands: &[(&'static str, String)],
    stages: &mut Stages,
) -> Result<Vec<u64>, TrainError> {
    stages.begin("finding what is read first", None);
    let mut all: Vec<u64> = Vec::new();
    for (option, command) in commands {
        let Some(start) = train::request(option, command, config)? else { continue };
        let mut host = NoHost::sealed();
        let mut machine = train::resume(snapshot, root, &mut host)?;
        machine.devices_mut().0.note_root_reads();
        machine.rehearse(Some(start), &mut host, LIMIT, &mut |_, _| true);
        let seen = machine.devices_mut().0.root_reads();
        all.resize(all.len().max(seen.len()), 0);
        all.iter_mut().zip(seen).for_each(|(all, seen)| *all |= seen);
    }
    stages.end();
    Ok(all)
}
