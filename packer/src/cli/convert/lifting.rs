//! Training and lifting, and what both keep for the next conversion.

use std::{fs::File, ops::Range};

use anyhow::{Context, bail};
use forelift_abi::config::Arch;
use forelift_translator::program::Program;
use memmap2::Mmap;

use super::{args::Args, installed::Installed, root::Root};
use crate::{
    assets::{self, Kernel},
    boot,
    cache::{self, Directory, Store},
    lift::{
        self, Budget,
        names::{self, GuestFile, KernelSymbols, Names},
        train,
    },
    pack::{PackError, extend, module::Module, plan},
    progress::Stages,
};

/// The runtime with lifted code.
pub(super) struct Hot {
    pub(super) runtime: Vec<u8>,
    pub(super) index: Vec<u8>,
    pub(super) report: lift::Report,
    pub(super) effort: lift::Effort,
    /// The table of the functions, if it was asked for.
    pub(super) map: Option<String>,
}

/// Trains, lifts, and puts the result into the runtime; `None` when nothing is to be lifted.
pub(super) fn lift_hot(
    args: &Args,
    installed: &Installed,
    snapshot: &boot::Snapshot,
    (inputs, encoded): (&train::Inputs<'_>, &[u8]),
    root: &Root,
    stages: &mut Stages,
) -> anyhow::Result<Option<Hot>> {
    let Installed { arch, runtime, kernel, init, .. } = installed;
    // Only riscv64 code is translated.
    if args.lift == Budget::None || *arch != Arch::Riscv64 {
        return Ok(None);
    }
    let template = Module::parse(runtime).map_err(PackError::Runtime)?;
    let Some(layout) = plan::layout(&template, runtime, encoded, snapshot.ram.ram_len() as u64)? else {
        bail!("the emulator is of another version than this program: build both with scripts/build");
    };
    let cache = cache::default_dir()
        .filter(|_| !args.no_cache)
        .map(|dir| Directory::new(dir.join(lift::SUBDIR), cache::DEFAULT_LIMIT));
    let store = cache.as_ref().map(|cache| cache as &dyn Store);
    let (training, training_cached) = trained(inputs, snapshot, &root.file, store, stages)?;
    let program = Program::new(training.pages);
    stages.begin("finding names", None);
    let symbols = KernelSymbols::parse(&assets::kernel_symbols(*arch, args.kernel.as_deref()));
    let names = Names::find(&program, guest_files(root, kernel, init), symbols);
    for (path, count) in names.damaged() {
        stages.warn(&format!("{path}: {count} entries of its symbol tables make no sense and were left out"));
    }
    stages.begin_share("translating hot code");
    let mut lifted =
        lift::lift(program, training.instructions, layout, args.lift, store, &|share| stages.set(share))?;
    let effort = lift::Effort { training_cached, ..lifted.effort.clone() };
    stages.note(format!("{} functions, {} from the cache", effort.lifted + effort.cached, effort.cached));
    if let Some(problem) = cache.as_ref().and_then(Directory::problem).filter(|_| !args.quiet) {
        stages.warn(problem);
    }
    lifted.name(&names);
    if lifted.bodies.is_empty() {
        stages.end();
        return Ok(None);
    }
    let extended = extend::extend(runtime, &lifted, args.keep_names).map_err(PackError::Runtime)?;
    let index = postcard::to_allocvec(&lifted.index(extended.first)).context("encoding the index")?;
    stages.end();
    let map = args.symbol_map.is_some().then(|| lifted.symbol_map(&names, extended.function));
    Ok(Some(Hot { runtime: extended.bytes, index, report: lifted.report, effort, map }))
}

/// What training learns, and whether the cache had it.
fn trained(
    inputs: &train::Inputs<'_>,
    snapshot: &boot::Snapshot,
    root: &File,
    store: Option<&dyn Store>,
    stages: &mut Stages,
) -> anyhow::Result<(train::Training, bool)> {
    stages.begin("training", None);
    let Some(store) = store else { return Ok((train_now(inputs, snapshot, root, stages)?, false)) };
    let key = inputs.key();
    if let Some(training) = store.get(&key).and_then(|bytes| train::Training::decode(&bytes)) {
        stages.note("from the cache".into());
        return Ok((training, true));
    }
    let training = train_now(inputs, snapshot, root, stages)?;
    if let Some(bytes) = training.encode() {
        store.put(&key, &bytes);
    }
    Ok((training, false))
}

fn train_now(
    inputs: &train::Inputs<'_>,
    snapshot: &boot::Snapshot,
    root: &File,
    stages: &mut Stages,
) -> Result<train::Training, train::TrainError> {
    // SAFETY: an unlinked file of our own.
    let map = || unsafe { Mmap::map(root) };
    train::train(snapshot, &map, inputs.config, inputs.commands, inputs.limit, stages)
}

/// The files that guest code comes from.
fn guest_files<'a>(root: &'a Root, kernel: &'a Kernel, init: &'a [u8]) -> Vec<GuestFile<'a>> {
    let part = |range: &Range<u64>| root.map.get(range.start as usize..range.end as usize);
    let files = root.files.iter();
    let mut out: Vec<GuestFile<'a>> = files
        .filter_map(|(path, range)| Some(GuestFile { path: path.clone(), bytes: part(range)? }))
        .filter(|file| file.bytes.starts_with(b"\x7fELF"))
        .collect();
    out.push(GuestFile { path: "init".into(), bytes: init });
    out.extend(names::vdso(&kernel.bytes));
    out
}
