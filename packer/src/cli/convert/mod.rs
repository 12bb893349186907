//! `forelift convert`.
//!
//! * [`args`]: its options;
//! * [`installed`]: the files that an image is made of besides the container's;
//! * [`root`]: the root file system;
//! * [`lifting`]: training and lifting;
//! * [`report`]: what is told of the result.

mod args;
mod installed;
mod lifting;
mod report;
mod root;

use std::{fs, fs::File, io::Write, path::Path};

use anyhow::{Context, bail};
use forelift_abi::config::{ARM64_INTERPRETER, ImageConfig};
use memmap2::Mmap;
use sha2::{Digest, Sha256};

use super::{at, rootfs::load};
use crate::{
    boot,
    image::{LoadOptions, LoadedImage},
    lift::{names, train},
    pack::{
        self, Parts, Summary, initrd,
        output::{Output, directory},
        writer::{self, V8_LIMIT},
    },
    platform::Platform,
    progress::Stages,
    units::format_size,
};
pub(super) use args::Args;
use args::Snapshot;
use installed::Installed;
use lifting::{Hot, lift_hot};
use report::{manifest, report};
use root::{Root, root_image};

/// A host name from the image's digest, as short as docker's.
fn hostname(digest: &str) -> String {
    let hex: String = digest.rsplit(':').next().unwrap_or("").chars().take(12).collect();
    if hex.is_empty() { "forelift".into() } else { hex }
}

/// The platform of what was loaded. A root file system without programs is as good for one as for another.
fn platform(args: &Args, loaded: &LoadedImage) -> anyhow::Result<Platform> {
    let Some(arch) = &loaded.arch else { return Ok(args.platform.unwrap_or(Platform::ALL[0])) };
    match (Platform::of(arch), args.platform) {
        (Some(found), asked) if asked.is_none_or(|asked| asked == found) => Ok(found),
        (_, Some(asked)) => {
            bail!("{}: the image is for {arch}, not for {asked}: choose another image", loaded.source)
        }
        (_, None) => {
            let list: Vec<&str> = Platform::ALL.map(Platform::oci_arch).into();
            bail!(
                "{}: the image is for {arch}, which cannot be run: choose an image for {}",
                loaded.source,
                list.join(", ")
            )
        }
    }
}

/// What decides about an image.
struct Subject<'a> {
    args: &'a Args,
    loaded: &'a LoadedImage,
    installed: &'a Installed,
    config: ImageConfig,
    /// The configuration as the image has it.
    encoded: Vec<u8>,
}

impl<'a> Subject<'a> {
    fn new(args: &'a Args, loaded: &'a LoadedImage, installed: &'a Installed) -> anyhow::Result<Self> {
        let mut cmdline = boot::default_cmdline(installed.arch).to_string();
        if let Some(more) = &args.append {
            cmdline = format!("{cmdline} {more}").trim().to_string();
        }
        let config = ImageConfig {
            arch: installed.arch,
            name: args.image.clone(),
            container: loaded.config.clone(),
            hostname: hostname(&loaded.digest),
            cmdline,
        };
        let encoded = postcard::to_allocvec(&config).context("encoding the image's configuration")?;
        Ok(Subject { args, loaded, installed, config, encoded })
    }

    /// A digest of what the root file system is made of.
    fn content(&self) -> String {
        match &self.installed.interpreter {
            Some(interpreter) => format!("{} {:x}", self.loaded.digest, Sha256::digest(&interpreter.bytes)),
            None => self.loaded.digest.clone(),
        }
    }
}

/// What the image starts from.
struct Booted {
    snapshot: Option<boot::Snapshot>,
    initrd: Vec<u8>,
}

fn boot_guest(subject: &Subject<'_>, root: &File, stages: &mut Stages) -> anyhow::Result<Booted> {
    let Installed { kernel, init, ram, .. } = subject.installed;
    let initrd = initrd::build(init);
    if subject.args.snapshot == Snapshot::None {
        return Ok(Booted { snapshot: None, initrd });
    }
    stages.begin("booting the guest", None);
    // SAFETY: an unlinked file of our own; this second mapping goes to the machine.
    let root = unsafe { Mmap::map(root) }.context("mapping the root file system")?;
    let snapshot =
        boot::boot_to_ready(&subject.config, &kernel.bytes, &initrd, *ram as usize, Some(root), stages)?;
    stages.end();
    Ok(Booted { snapshot: Some(snapshot), initrd })
}

/// Lifts what is hot; `None` when there is no snapshot to train from, or nothing to lift.
fn lifted(
    subject: &Subject<'_>,
    booted: &Booted,
    root: &Root,
    stages: &mut Stages,
) -> anyhow::Result<Option<Hot>> {
    let Subject { args, installed, config, encoded, .. } = subject;
    let Some(snapshot) = &booted.snapshot else { return Ok(None) };
    let inputs = train::Inputs {
        kernel: &installed.kernel.bytes,
        initrd: &booted.initrd,
        root: &subject.content(),
        config,
        ram_len: installed.ram,
        commands: &args.train,
        limit: args.train_limit,
    };
    lift_hot(args, installed, snapshot, (&inputs, encoded), root, stages)
}

fn write_module(
    subject: &Subject<'_>,
    booted: &Booted,
    hot: Option<&Hot>,
    root: &Root,
    path: &Path,
    output: &mut Output,
) -> anyhow::Result<Summary> {
    let Subject { args, loaded, installed, config, encoded } = subject;
    let runtime = hot.map_or(&installed.runtime, |hot| &hot.runtime);
    let mut parts = Parts { config: encoded, ram_len: installed.ram, root: &root.map, ..Parts::default() };
    match &booted.snapshot {
        Some(snapshot) => {
            parts.state = &snapshot.state;
            parts.ram = snapshot.ram.ram();
        }
        None => {
            parts.kernel = &installed.kernel.bytes;
            parts.initrd = &booted.initrd;
        }
    }
    let mut manifest = manifest(config, loaded, installed);
    if let Some(hot) = hot {
        parts.lifted = &hot.index;
        manifest.lifted = Some(hot.report.clone());
    }
    // With lifted code, the names are those that shall stay.
    let options = writer::Options { keep_names: args.keep_names || hot.is_some() };
    let mut out = output.writer();
    pack::pack(runtime, &parts, manifest, options, &mut out, |_, _| {})
        .and_then(|summary| Ok(out.flush().map(|()| summary)?))
        .with_context(|| path.display().to_string())
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut stages = Stages::new(args.quiet);
    let path = args.output.clone().unwrap_or_else(|| args::default_output(&args.image));
    // What can fail at once shall fail before the long work.
    let early = args.platform.map(|platform| Installed::find(args, platform)).transpose()?;
    let mut output = Output::create(&path).map_err(at(&path))?;

    let options = LoadOptions {
        arch: args.platform.map(|platform| platform.oci_arch().into()),
        spool_dir: Some(directory(&path).to_path_buf()),
        ..LoadOptions::default()
    };
    let mut loaded = load(&args.image, &options, &mut stages)?;
    let platform = platform(args, &loaded)?;
    let installed = match early {
        Some(installed) => installed,
        None => Installed::find(args, platform)?,
    };
    if let Some(interpreter) = &installed.interpreter {
        loaded.tree.add_program(ARM64_INTERPRETER, &interpreter.bytes)?;
        stages.warn("programs of linux/arm64 are run by qemu-aarch64 inside of an amd64 guest: this is slow");
    }
    let subject = Subject::new(args, &loaded, &installed)?;
    let root = root_image(&loaded, installed.ram, &path, &mut stages)?;
    let booted = boot_guest(&subject, &root.file, &mut stages)?;
    let hot = lifted(&subject, &booted, &root, &mut stages)?;
    if let Some(path) = &args.symbol_map {
        let map = hot.as_ref().and_then(|hot| hot.map.as_deref());
        fs::write(path, map.unwrap_or(names::MAP_HEAD)).map_err(at(path))?;
    }
    stages.begin("writing the module", None);
    let summary = write_module(&subject, &booted, hot.as_ref(), &root, &path, &mut output)?;
    output.finish().map_err(at(&path))?;
    stages.end();
    if summary.size > V8_LIMIT {
        stages.warn(&format!(
            "{}: {} exceed the 1 GiB that browsers and Node accept; wasmtime runs it",
            path.display(),
            format_size(summary.size)
        ));
    }
    report(args, &path, &loaded, &subject.config, &summary, hot.as_ref(), &stages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        assert_eq!(hostname("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(hostname(""), "forelift");
    }
}
