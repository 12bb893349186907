//! `forelift rootfs`.

use std::path::PathBuf;

use clap::{Parser, ValueHint};

use crate::{convert::root::write_root, platform::Platform, progress::Stages};

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

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut stages = Stages::new(args.quiet);
    Ok(write_root(&args.image, args.platform, &args.output, &mut stages)?)
}
