//! The root file system, as a file that is mapped.

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::Range,
    path::Path,
};

use anyhow::Context;
use memmap2::Mmap;

use crate::{
    cli::{at, rootfs::Advance},
    erofs,
    image::LoadedImage,
    lift::names,
    pack::{output::directory, plan},
    progress::Stages,
};

/// The root file system image.
pub(super) struct Root {
    pub(super) file: File,
    pub(super) map: Mmap,
    /// Paths of its files, and where they are in it.
    pub(super) files: Vec<(String, Range<u64>)>,
}

/// Writes the root file system image to an unlinked file beside the output, and maps it.
pub(super) fn root_image(
    loaded: &LoadedImage,
    ram: u64,
    output: &Path,
    stages: &mut Stages,
) -> anyhow::Result<Root> {
    let fs = erofs::Plan::new(&loaded.tree, &erofs::Options { seed: loaded.digest.clone() })?;
    plan::check_sum(ram, fs.size(), 0, plan::MEMORY_LIMIT)?;
    stages.begin("building the root file system", Some(fs.size()));
    let dir = directory(output);
    let file = tempfile::tempfile_in(dir).map_err(at(dir))?;
    let mut out = BufWriter::with_capacity(256 << 10, &file);
    fs.write_to(&mut out, &mut Advance(stages))
        .with_context(|| format!("temporary file in {}", dir.display()))?;
    out.flush().map_err(at(dir))?;
    drop(out);
    // SAFETY: an unlinked file of our own.
    let map = unsafe { Mmap::map(&file) }.map_err(at(dir))?;
    let files = names::files(&loaded.tree, &fs);
    stages.end();
    Ok(Root { file, map, files })
}
