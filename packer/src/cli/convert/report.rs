//! What is told of an image that was made: in the image, and to whoever made it.

use std::path::Path;

use forelift_abi::{config::ImageConfig, header};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{args::Args, installed::Installed, lifting::Hot};
use crate::{
    cli::print,
    image::LoadedImage,
    pack::{Manifest, Summary, manifest},
    progress::Stages,
    units::format_size,
};

/// What the image says of itself.
pub(super) fn manifest(config: &ImageConfig, loaded: &LoadedImage, installed: &Installed) -> Manifest {
    let binary = |origin: &str, source: &str, bytes: &[u8]| manifest::Binary {
        origin: origin.into(),
        source: source.into(),
        bytes: bytes.len() as u64,
        sha256: format!("{:x}", Sha256::digest(bytes)),
    };
    let Installed { kernel, interpreter, .. } = installed;
    Manifest {
        forelift: env!("CARGO_PKG_VERSION").into(),
        header_version: header::VERSION,
        name: config.name.clone(),
        digest: loaded.digest.clone(),
        arch: config.arch.oci_name().into(),
        kernel: binary(&kernel.origin, &kernel.source, &kernel.bytes),
        interpreter: interpreter.as_ref().map(|i| binary("qemu-aarch64", &i.source, &i.bytes)),
        ..Manifest::default()
    }
}

/// Prints what was made, as the options ask for it.
pub(super) fn report(
    args: &Args,
    path: &Path,
    loaded: &LoadedImage,
    config: &ImageConfig,
    summary: &Summary,
    hot: Option<&Hot>,
    stages: &Stages,
) -> anyhow::Result<()> {
    if args.json {
        return print(&serde_json::to_string_pretty(&json!({
            "out": path.display().to_string(),
            "size": summary.size,
            "memory": summary.memory,
            "segments": summary.segments,
            "arch": config.arch.oci_name(),
            "image": loaded.source,
            "digest": loaded.digest,
            "snapshot": summary.header.state.len > 0,
            "snapshot_pages": if summary.header.state.len > 0 { summary.ram_pages } else { 0 },
            "stored": summary.stored,
            "lifted": hot.map(|hot| &hot.report),
            "effort": hot.map(|hot| &hot.effort),
            "stages": stages.times(),
        }))?);
    }
    if args.quiet {
        return Ok(());
    }
    print(&format!(
        "{}: {} ({} root file system, {} guest memory, {} emulator and kernel); run it with `forelift run {}`",
        path.display(),
        format_size(summary.size),
        format_size(summary.stored.root),
        format_size(summary.stored.ram),
        format_size(summary.size - summary.stored.root - summary.stored.ram),
        path.display()
    ))
}
