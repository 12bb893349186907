//! The conversion of a container image into a module: a pipeline of steps.
//!
//! In their order:
//! * [`load`]: the container image, as a tree of files;
//! * [`installed`]: what the installation adds: emulator, kernel, init;
//! * [`guest`]: both, with the configuration that the module carries;
//! * [`root`]: the container's files, as an EROFS image;
//! * [`snapshot`]: the machine, booted until the guest is ready to exec;
//! * [`training`] and [`lifting`]: what is hot, and the emulator with that code translated;
//! * [`module`]: all of it in one file.
//!
//! Each step takes plain data and gives plain data or a [`ConvertError`]. [`convert`] runs them; the command
//! line ([`crate::cli`]) only parses arguments and prints results.

mod error;
pub mod guest;
pub mod installed;
pub mod lifting;
pub mod load;
pub mod module;
mod options;
pub mod root;
pub mod snapshot;
pub mod training;

use std::{fs, path::Path};

use forelift_abi::config::Arch;

pub use error::ConvertError;
pub use options::Options;

use crate::{
    lift::{Effort, Report, names},
    pack::{
        Summary,
        output::{Output, directory},
        writer::V8_LIMIT,
    },
    progress::Stages,
    units::format_size,
};
use guest::Guest;
use installed::Installed;
use lifting::LiftedRuntime;

/// What a conversion made.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The container image's name, with the transport that was recognised.
    pub image: String,
    /// Its digest.
    pub digest: String,
    /// The guest's architecture.
    pub arch: Arch,
    /// What was written.
    pub summary: Summary,
    /// What was lifted, and what that took; `None` without lifted code.
    pub lifted: Option<(Report, Effort)>,
}

/// Converts an image as `options` say, and tells `stages` how far it is.
///
/// # Errors
/// See [`ConvertError`]; nothing is left of the output then.
pub fn convert(options: &Options, stages: &mut Stages) -> Result<Converted, ConvertError> {
    let path = &options.output;
    // What can fail at once is to fail before the long work.
    let kernel = options.kernel.as_deref();
    let find = |platform| Installed::find(platform, kernel, options.memory, options.component);
    let installed = options.platform.map(find).transpose()?;
    let mut output = Output::create(path).map_err(ConvertError::at(path))?;

    let guest = Guest::gather(options, installed, stages)?;
    let root = root::build(&guest.loaded, guest.installed.ram_len, directory(path), stages)?;
    let snapshot = options.snapshot.then(|| snapshot::boot(&guest, &root.file, stages)).transpose()?;
    let lifted = match &snapshot {
        Some(snapshot) => lifting::lift(options, &guest, snapshot, &root, stages)?,
        None => None,
    };
    if let Some(path) = &options.symbol_map {
        write_symbol_map(path, lifted.as_ref())?;
    }
    stages.begin("writing the module", None);
    let contents = module::Contents {
        guest: &guest,
        root: &root.map,
        snapshot: snapshot.as_ref(),
        lifted: lifted.as_ref(),
        keep_names: options.keep_names,
    };
    let summary = module::write(&contents, path, &mut output)?;
    output.finish().map_err(ConvertError::at(path))?;
    stages.end();
    warn_of_size(path, summary.size, stages);
    Ok(Converted {
        image: guest.loaded.source,
        digest: guest.loaded.digest,
        arch: guest.config.arch,
        summary,
        lifted: lifted.map(|lifted| (lifted.report, lifted.effort)),
    })
}

fn write_symbol_map(path: &Path, lifted: Option<&LiftedRuntime>) -> Result<(), ConvertError> {
    let map = lifted.and_then(|lifted| lifted.symbol_map.as_deref());
    fs::write(path, map.unwrap_or(names::MAP_HEAD)).map_err(ConvertError::at(path))
}

fn warn_of_size(path: &Path, size: u64, stages: &Stages) {
    if size > V8_LIMIT {
        stages.warn(&format!(
            "{}: {} exceed the 1 GiB that browsers and Node accept; wasmtime runs it",
            path.display(),
            format_size(size)
        ));
    }
}
