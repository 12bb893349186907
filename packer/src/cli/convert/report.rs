//! What is printed about the module that was made.

use std::path::Path;

use serde_json::{Value, json};

use super::args::Args;
use crate::{cli::print::print, convert::Converted, progress::Stages, units::format_size};

/// How a component is run.
const COMPONENT: &str = "wasmtime run -S inherit-network -S allow-ip-name-lookup";

/// Prints a summary: in JSON, in words or not at all.
pub(super) fn report(args: &Args, path: &Path, converted: &Converted, stages: &Stages) -> anyhow::Result<()> {
    if args.json {
        return print(&serde_json::to_string_pretty(&to_json(args, path, converted, stages))?);
    }
    if args.quiet {
        return Ok(());
    }
    let summary = &converted.summary;
    if let Some(web) = &converted.web {
        return print(&format!(
            "{}: {} in {} files, of which {} are fetched to open it; serve it with `python3 -m http.server -d {}`",
            path.display(),
            format_size(web.total),
            web.files,
            format_size(web.to_open),
            path.display()
        ));
    }
    print(&format!(
        "{}: {} ({} root file system, {} guest memory, {} emulator and kernel); run it with `{} {}`",
        path.display(),
        format_size(summary.size),
        format_size(summary.stored.root),
        format_size(summary.stored.ram),
        format_size(summary.size - summary.stored.root - summary.stored.ram),
        if args.component { COMPONENT } else { "forelift run" },
        path.display()
    ))
}

fn to_json(args: &Args, path: &Path, converted: &Converted, stages: &Stages) -> Value {
    let Converted { image, digest, arch, summary, lifted, web } = converted;
    let has_snapshot = summary.header.state.len > 0;
    json!({
        "out": path.display().to_string(),
        "size": summary.size,
        "memory": summary.memory,
        "segments": summary.segments,
        "component": args.component,
        "arch": arch.oci_name(),
        "image": image,
        "digest": digest,
        "snapshot": has_snapshot,
        "snapshot_pages": if has_snapshot { summary.ram_pages } else { 0 },
        "stored": summary.stored,
        "lifted": lifted.as_ref().map(|(report, _)| report),
        "effort": lifted.as_ref().map(|(_, effort)| effort),
        "web": web,
        "stages": stages.times(),
    })
}
