//! The conversion of a container image into a module: a pipeline of steps.
//!
//! In their order:
//! * [`load`]: the container image, as a tree of files;
//! * [`installed`]: what the installation adds: emulator, kernel, init;
//! * [`guest`]: both, with the configuration that the module carries;
//! * [`root`]: the container's files, as an EROFS image;
//! * [`snapshot`]: the machine, booted until the guest is ready to exec;
//! * [`training`] and [`lifting`]: what is hot, and the emulator with that code translated;
//! * [`module`]: all of it in one file; or a directory for the web ([`crate::web`]).
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
    lift::{Effort, Report, names, train},
    pack::{
        Summary,
        output::{Output, beside},
        writer::V8_LIMIT,
    },
    progress::Stages,
    units::format_size,
    web,
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
    /// The directory, if one was written instead of a module.
    pub web: Option<web::Summary>,
}

/// Where the result goes.
enum Target<'a> {
    Module(Output),
    Web(&'a web::Options, web::Files),
}

impl<'a> Target<'a> {
    /// What can fail at once.
    fn find(options: &'a Options) -> Result<Self, ConvertError> {
        let path = &options.output;
        Ok(match &options.web {
            Some(web) => Target::Web(web, web::Files::find(path)?),
            None => Target::Module(Output::create(path).map_err(ConvertError::at(path))?),
        })
    }
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
    let target = Target::find(options)?;

    let guest = Guest::gather(options, installed, stages)?;
    if let Some(web) = &options.web {
        // What is wrong with a command is told before the long work.
        for (option, command) in web.commands(&options.train) {
            train::request(option, &command, &guest.config)?;
        }
    }
    let inside = options.web.is_none().then_some(guest.installed.ram_len);
    let root = root::build(&guest.loaded, inside, beside(path), stages)?;
    let snapshot = options.snapshot.then(|| snapshot::boot(&guest, &root, stages)).transpose()?;
    let lifted = match &snapshot {
        Some(snapshot) => lifting::lift(options, &guest, snapshot, &root, stages)?,
        None => None,
    };
    if let Some(path) = &options.symbol_map {
        write_symbol_map(path, lifted.as_ref())?;
    }
    let contents = module::Contents {
        guest: &guest,
        root: &root.map,
        snapshot: snapshot.as_ref(),
        lifted: lifted.as_ref(),
        keep_names: options.keep_names,
    };
    let (summary, web) = match target {
        Target::Module(mut output) => {
            stages.begin("writing the module", None);
            let summary = module::write(&contents, path, &mut output)?;
            output.finish().map_err(ConvertError::at(path))?;
            stages.end();
            warn_of_size(path, summary.size, stages);
            (summary, None)
        }
        Target::Web(web, files) => {
            let first = match &snapshot {
                Some(snapshot) => {
                    let commands = web.commands(&options.train);
                    web::first::reads(snapshot, &|| root.map_again(), &guest.config, &commands, stages)?
                }
                None => Vec::new(),
            };
            let image = module::manifest(&contents);
            let contents = web::Contents {
                runtime: contents.runtime(),
                keep_names: options.keep_names,
                parts: module::parts(&contents),
                first: &first,
            };
            let (summary, web) = web::write(&contents, image, web, files, stages)?;
            (summary, Some(web))
        }
    };
    Ok(Converted {
        image: guest.loaded.source,
        digest: guest.loaded.digest,
        arch: guest.config.arch,
        summary,
        lifted: lifted.map(|lifted| (lifted.report, lifted.effort)),
        web,
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
