//! `forelift rootfs`.

use std::{io::Write, path::PathBuf};

use clap::{Parser, ValueHint};

use super::at;
use crate::{
    erofs,
    image::{self, LoadOptions, LoadedImage},
    pack::output::{Output, directory},
    platform::Platform,
    progress::Stages,
};

const EXAMPLES: &str = "\
Examples:
  forelift rootfs docker://alpine alpine.erofs
  forelift rootfs --platform linux/amd64 oci:layout:latest root.erofs";

/// Write only the root file system of an image, as an EROFS file
#[derive(Debug, Parser)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The image, named as for `convert`
    #[arg(value_hint = ValueHint::AnyPath)]
    image: String,
    /// The file to write
    #[arg(value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// Platform to choose, such as linux/amd64
    #[arg(long, alias = "arch")]
    platform: Option<Platform>,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

/// Loads an image and prints its warnings.
pub(super) fn load(name: &str, options: &LoadOptions, stages: &mut Stages) -> anyhow::Result<LoadedImage> {
    let loaded = image::load(name, options, stages)?;
    stages.end();
    for warning in &loaded.warnings {
        stages.warn(warning);
    }
    Ok(loaded)
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut stages = Stages::new(args.quiet);
    let mut output = Output::create(&args.output).map_err(at(&args.output))?;
    let options = LoadOptions {
        arch: args.platform.map(|platform| platform.oci_arch().into()),
        spool_dir: Some(directory(&args.output).to_path_buf()),
        ..LoadOptions::default()
    };
    let loaded = load(&args.image, &options, &mut stages)?;
    let plan = erofs::Plan::new(&loaded.tree, &erofs::Options { seed: loaded.digest.clone() })?;
    stages.begin("writing the root file system", Some(plan.size()));
    {
        let mut out = output.writer();
        plan.write_to(&mut out, &mut Advance(&stages))
            .map_err(|e| anyhow::anyhow!("{}: {e}", args.output.display()))?;
        out.flush().map_err(at(&args.output))?;
    }
    output.finish().map_err(at(&args.output))?;
    stages.end();
    Ok(())
}

/// Reports bytes without opening further stages.
pub(super) struct Advance<'a>(pub(super) &'a Stages);

impl image::Progress for Advance<'_> {
    fn stage(&mut self, _: &str, _: Option<u64>) {}

    fn advance(&mut self, bytes: u64) {
        self.0.add(bytes);
    }
}
