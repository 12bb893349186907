//! Hot guest code, lifted and added to the emulator.

use std::ops::Range;

use forelift_abi::lift::Layout;
use forelift_translator::{guests, program::Program};

use super::{ConvertError, Options, guest::Guest, installed::Installed, root::Root, training};
use crate::{
    assets::{self, Kernel},
    boot::Snapshot,
    cache::{self, Directory, Store},
    lift::{
        self, Budget, Effort, Report,
        names::{self, GuestFile, KernelSymbols, Names},
        train::Inputs,
    },
    pack::{PackError, extend, memory, module::Module},
    progress::Stages,
};

/// The emulator with lifted code.
pub struct LiftedRuntime {
    /// The module.
    pub module: Vec<u8>,
    /// The encoded index of the lifted code.
    pub index: Vec<u8>,
    /// What was lifted.
    pub report: Report,
    /// What it took.
    pub effort: Effort,
    /// The table of the functions, if it was asked for.
    pub symbol_map: Option<String>,
}

/// Trains, lifts what is hot, and adds it to the emulator; `None` when nothing is to be lifted.
///
/// # Errors
/// When a training command cannot run, the emulator is of another version, or this host is not supported.
pub fn lift(
    options: &Options,
    guest: &Guest,
    snapshot: &Snapshot,
    root: &Root,
    stages: &mut Stages,
) -> Result<Option<LiftedRuntime>, ConvertError> {
    let runtime = &guest.installed.runtime;
    let Some(target) = guests::of(guest.installed.arch).filter(|_| options.lift != Budget::None) else {
        return Ok(None);
    };
    let layout = runtime_layout(runtime, &guest.encoded, snapshot.ram.ram_len() as u64)?;
    let cache =
        options.cache.as_ref().map(|dir| Directory::new(dir.join(lift::SUBDIR), cache::DEFAULT_LIMIT));
    let store = cache.as_ref().map(|cache| cache as &dyn Store);
    let root_digest = guest.root_digest();
    let inputs = inputs(options, guest, &root_digest);
    let (training, training_cached) = training::train(&inputs, snapshot, root, store, stages)?;
    let program = Program::new(target, training.pages);
    let names = find_names(&program, options, &guest.installed, root, stages);
    stages.begin_share("translating hot code");
    let mut lifted =
        lift::lift(target, program, training.instructions, layout, options.lift, store, &|share| {
            stages.set(share);
        })?;
    let effort = Effort { training_cached, ..lifted.effort.clone() };
    stages.note(format!("{} functions, {} from the cache", effort.lifted + effort.cached, effort.cached));
    if let Some(problem) = cache.as_ref().and_then(Directory::problem) {
        stages.remark(problem);
    }
    lifted.name(&names);
    if lifted.bodies.is_empty() {
        stages.end();
        return Ok(None);
    }
    let extended = extend::extend(runtime, &lifted, options.keep_names).map_err(PackError::Runtime)?;
    let index = postcard::to_allocvec(&lifted.index(extended.first))
        .map_err(|source| ConvertError::Encode { what: "the index", source })?;
    stages.end();
    let symbol_map = options.symbol_map.is_some().then(|| lifted.symbol_map(&names, extended.function));
    Ok(Some(LiftedRuntime { module: extended.bytes, index, report: lifted.report, effort, symbol_map }))
}

/// All that training depends on.
fn inputs<'a>(options: &'a Options, guest: &'a Guest, root_digest: &'a str) -> Inputs<'a> {
    let Guest { installed, config, .. } = guest;
    Inputs {
        kernel: &installed.kernel.bytes,
        initrd: &installed.initrd,
        root: root_digest,
        config,
        ram_len: installed.ram_len,
        commands: &options.train,
        limit: options.train_limit,
    }
}

/// Where the emulator `runtime` has what lifted code accesses.
fn runtime_layout(runtime: &[u8], config: &[u8], ram_len: u64) -> Result<Layout, ConvertError> {
    let template = Module::parse(runtime).map_err(PackError::Runtime)?;
    memory::lift_layout(&template, runtime, config, ram_len)?.ok_or(ConvertError::EmulatorVersion)
}

/// The names of the guest code in `program`.
fn find_names<'a>(
    program: &Program,
    options: &Options,
    installed: &'a Installed,
    root: &'a Root,
    stages: &mut Stages,
) -> Names<'a> {
    stages.begin("finding names", None);
    let symbols = KernelSymbols::parse(&assets::kernel_symbols(installed.arch, options.kernel.as_deref()));
    let names = Names::find(program, guest_files(root, &installed.kernel, &installed.init), symbols);
    for (path, count) in names.damaged() {
        stages.warn(&format!("{path}: {count} entries of its symbol tables make no sense and were left out"));
    }
    names
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
