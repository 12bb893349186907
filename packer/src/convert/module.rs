//! The module: emulator, configuration, machine state, memory and root file system in one file.

use std::{io::Write, path::Path};

use forelift_abi::header;
use sha2::{Digest, Sha256};

use super::{ConvertError, guest::Guest, installed::Installed, lifting::LiftedRuntime};
use crate::{
    boot::Snapshot,
    pack::{self, Manifest, Parts, Summary, manifest, output::Output, writer},
};

/// What a module is made of.
#[derive(Clone, Copy)]
pub struct Contents<'a> {
    /// Container image, emulator, kernel, init, configuration.
    pub guest: &'a Guest,
    /// The root file system.
    pub root: &'a [u8],
    /// The machine to resume; `None`: the module boots.
    pub snapshot: Option<&'a Snapshot>,
    /// The emulator with lifted code, if there is any.
    pub lifted: Option<&'a LiftedRuntime>,
    /// Whether the emulator's functions keep their names.
    pub keep_names: bool,
}

impl<'a> Contents<'a> {
    /// The emulator, with lifted code if there is any.
    pub(super) fn runtime(&self) -> &'a [u8] {
        self.lifted.map_or(&self.guest.installed.runtime, |lifted| &lifted.module)
    }
}

/// Writes the module of `contents` to `output`, the unfinished file of `path`.
///
/// # Errors
/// When the parts do not fit a module, or it cannot be written.
pub fn write(contents: &Contents<'_>, path: &Path, output: &mut Output) -> Result<Summary, ConvertError> {
    // With lifted code, the names that are there are to stay.
    let options = writer::Options {
        keep_names: contents.keep_names || contents.lifted.is_some(),
        shell: contents.guest.installed.shell.as_ref(),
    };
    let mut out = output.writer();
    pack::pack(contents.runtime(), &parts(contents), manifest(contents), options, &mut out, |_, _| {})
        .and_then(|summary| Ok(out.flush().map(|()| summary)?))
        .map_err(|source| ConvertError::WriteModule { path: path.into(), source })
}

/// The parts of an image.
pub(super) fn parts<'a>(contents: &Contents<'a>) -> Parts<'a> {
    let Guest { installed, encoded, .. } = contents.guest;
    let mut parts =
        Parts { config: encoded, ram_len: installed.ram_len, root: contents.root, ..Parts::default() };
    match contents.snapshot {
        Some(snapshot) => {
            parts.state = &snapshot.state;
            parts.ram = snapshot.ram.ram();
        }
        None => {
            parts.kernel = &installed.kernel.bytes;
            parts.initrd = &installed.initrd;
        }
    }
    if let Some(lifted) = contents.lifted {
        parts.lifted = &lifted.index;
    }
    parts
}

/// What the module says of itself.
pub(super) fn manifest(contents: &Contents<'_>) -> Manifest {
    let Guest { loaded, installed: Installed { kernel, interpreter, .. }, config, .. } = contents.guest;
    let binary = |origin: &str, source: &str, bytes: &[u8]| manifest::Binary {
        origin: origin.into(),
        source: source.into(),
        bytes: bytes.len() as u64,
        sha256: format!("{:x}", Sha256::digest(bytes)),
    };
    Manifest {
        forelift: env!("CARGO_PKG_VERSION").into(),
        header_version: header::VERSION,
        name: config.name.clone(),
        digest: loaded.digest.clone(),
        arch: config.arch.oci_name().into(),
        kernel: binary(&kernel.origin, &kernel.source, &kernel.bytes),
        interpreter: interpreter.as_ref().map(|i| binary("qemu-aarch64", &i.source, &i.bytes)),
        lifted: contents.lifted.map(|lifted| lifted.report.clone()),
        ..Manifest::default()
    }
}
