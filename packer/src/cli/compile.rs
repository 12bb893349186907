//! `forelift compile`.

use std::path::PathBuf;

use clap::{Parser, ValueHint};

use super::print::print;
use crate::{compile, progress::Stages, units::format_size};

const EXAMPLES: &str = "\
Examples:
  forelift compile debian.wasm
  forelift compile debian.wasm /srv/images/debian.cwasm
  forelift run debian.cwasm echo hello";

/// Compile an image for this host, so that it starts at once
///
/// The result holds native code, which `run` executes as it is: treat such a file as a program, and run only
/// those that you or somebody you trust made.
#[derive(Debug, Parser)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The image: what `convert` made; or what `compile` made elsewhere, to make it again for this host
    #[arg(value_hint = ValueHint::FilePath)]
    image: PathBuf,
    /// The file to write [default: the image's name with .cwasm]
    #[arg(value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut stages = Stages::new(args.quiet);
    let path = args.output.clone().unwrap_or_else(|| args.image.with_extension("cwasm"));
    let bytes = compile::compile(&args.image, &path, &mut stages)?;
    if !args.quiet {
        print(&format!("{}: {} of native code", path.display(), format_size(bytes)))?;
    }
    Ok(())
}
