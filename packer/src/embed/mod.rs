//! Runs an image on wasmtime.
//!
//! * [`engine`]: wasmtime's settings;
//! * [`code`]: native code of a module without its data, and its cache;
//! * [`wasi`]: the imports: wasmtime's WASI preview 1, with replacements in [`stdio`] and [`poll`] for what
//!   it cannot do;
//! * [`shares`]: host directories;
//! * [`net`]: the network;
//! * [`control`]: signals and the terminal, as events for the runtime ([`forelift_abi::embed`]);
//! * [`terminal`]: the host's terminal.
//!
//! The module is compiled without its data and with an empty memory. Memory is then grown to its size, and
//! the data is mapped from the image's file ([`crate::pack::mapping`]). So the compiled code is the same for
//! every image that one build of Forelift makes without lifted code, and the cache holds it once; and the
//! time of a start does not depend on the image's size. The module cannot see the difference: it has no start
//! function (checked when it is opened).

pub mod code;
pub mod control;
pub mod engine;
mod error;
pub mod net;
mod options;
pub mod poll;
pub mod shares;
pub mod stdio;
pub mod terminal;
pub mod wasi;

pub use error::RunError;
pub use options::{Link, Network, Profile, RunOptions, Share};

use wasmtime::{Instance, Linker, Memory, Module, Store};

use crate::pack::{PackedImage, mapping, module::WASM_PAGE};
use control::Control;
pub(crate) use error::one_line;
use wasi::{Host, ProcExit};

/// Runs `image` to its end and gives its exit status.
///
/// # Errors
/// See [`RunError`]. The terminal is as it was before in any case.
pub fn run(image: &PackedImage, options: &RunOptions) -> Result<u8, RunError> {
    let (mut store, instance, _) = open(image, options)?;
    let start = instance
        .get_typed_func::<(), ()>(&mut store, "_start")
        .map_err(|e| RunError::Instantiate { path: image.path().into(), message: one_line(&e) })?;

    let host = |what| move |source| RunError::Host { what, source };
    let raw = if options.tty && options.stdin {
        terminal::RawMode::enter().map_err(host("setting the terminal to raw mode"))?
    } else {
        None
    };
    let control = Control::new(options.tty, raw.is_some()).map_err(host("catching signals"))?;
    store.data_mut().control = Some(control);
    let result = start.call(&mut store, ());
    // The signals' default actions are restored before the terminal's mode.
    store.data_mut().control = None;
    drop(raw);
    status(result)
}

/// An instance of `image` that has not begun to run.
pub(crate) fn open(
    image: &PackedImage,
    options: &RunOptions,
) -> Result<(Store<Host>, Instance, Memory), RunError> {
    let engine = engine::new(options.profile)?;
    let names = options.profile.is_some();
    let module = code::load(&engine, image, options.cache.as_deref(), names)?;
    let linker = wasi::linker(&engine)?;
    let mut store = Store::new(&engine, Host::new(options)?);
    let (instance, memory) = instantiate(image, &module, &linker, &mut store)?;
    fill(image, memory, &mut store)?;
    store.data_mut().memory = Some(memory);
    Ok((store, instance, memory))
}

fn instantiate(
    image: &PackedImage,
    module: &Module,
    linker: &Linker<Host>,
    store: &mut Store<Host>,
) -> Result<(Instance, Memory), RunError> {
    let refuse = |message| RunError::Instantiate { path: image.path().into(), message };
    let instance = linker.instantiate(&mut *store, module).map_err(|e| refuse(one_line(&e)))?;
    let memory = instance
        .get_memory(&mut *store, "memory")
        .ok_or_else(|| refuse("it does not export its memory".into()))?;
    let missing = image.module.min_pages.saturating_sub(memory.size(&*store));
    memory.grow(&mut *store, missing).map_err(|e| {
        refuse(format!("no memory of {} MiB: {}", image.module.memory_size() >> 20, one_line(&e)))
    })?;
    debug_assert!(memory.size(&*store) * WASM_PAGE >= image.module.memory_size());
    Ok((instance, memory))
}

fn fill(image: &PackedImage, memory: Memory, store: &mut Store<Host>) -> Result<(), RunError> {
    let base = memory.data_ptr(&*store);
    let len = memory.data_size(&*store);
    // SAFETY: linear memory is private to the store, which is not running; wasmtime allocated it as a mapping
    // of its own (no pooling, no image: the module has no data) and unmaps the whole range at the end.
    unsafe { mapping::populate(base, len, image.source(), &image.module.segments) }
        .map_err(|source| RunError::Host { what: "mapping the image", source })
}

fn status(result: wasmtime::Result<()>) -> Result<u8, RunError> {
    match result {
        Ok(()) => Ok(0),
        Err(e) => match e.downcast_ref::<ProcExit>() {
            Some(&ProcExit(code)) => Ok(code as u8),
            None => Err(RunError::Trap(one_line(&e))),
        },
    }
}
