//! `forelift inspect`.

use std::{fmt::Write, path::PathBuf};

use clap::{Parser, ValueHint};
use forelift_abi::config::ImageConfig;
use serde_json::{Value, json};

use super::print;
use crate::{
    lift::Report,
    pack::{
        PackedImage,
        plan::PAGE,
        reader::{self},
    },
    units::format_size,
};

/// Lines of each table of functions; the JSON has all that the image has.
const LINES: usize = 20;

const EXAMPLES: &str = "\
Examples:
  forelift inspect debian.wasm
  forelift inspect --json debian.wasm | jq .manifest.lifted.hottest";

/// Show what is inside an image
#[derive(Debug, Parser)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The image: what `convert` or `compile` made
    #[arg(value_hint = ValueHint::FilePath)]
    image: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A part's name, its size in memory and what the file stores of it.
fn parts(image: &PackedImage) -> Vec<(&'static str, u64, u64)> {
    let h = &image.header;
    let parts = [
        ("state", h.state),
        ("config", h.config),
        ("kernel", h.kernel),
        ("initrd", h.initrd),
        ("ram", h.ram),
        ("root", h.root),
        ("tlb", h.tlb),
        ("lifted", h.lifted),
    ];
    let mut out: Vec<_> = parts.iter().map(|(name, span)| (*name, span.len, image.stored(*span))).collect();
    let stored: u64 = out.iter().map(|p| p.2).sum();
    let runtime = (image.wasm().len() as u64).saturating_sub(stored);
    out.insert(0, ("runtime", runtime, runtime));
    out
}

fn to_json(image: &PackedImage) -> anyhow::Result<Value> {
    let native = image.code()?.map(<[u8]>::len);
    let parts: Value = parts(image)
        .into_iter()
        .map(|(name, size, stored)| (name.to_string(), json!({ "size": size, "stored": stored })))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let c = &image.config;
    Ok(json!({
        "file": image.path().display().to_string(),
        "size": image.file_len(),
        "native_code": native,
        "name": c.name,
        "arch": c.arch.oci_name(),
        "hostname": c.hostname,
        "cmdline": c.cmdline,
        "config": c.container,
        "memory": image.module.memory_size(),
        "ram": image.header.ram.len,
        "root": image.header.root.len,
        "snapshot": image.header.state.len > 0,
        "snapshot_pages": if image.header.state.len > 0 { image.ram_pages() } else { 0 },
        "segments": image.module.segments.len(),
        "parts": parts,
        "manifest": image.manifest,
    }))
}

fn words(words: &[String]) -> String {
    if words.is_empty() { "-".into() } else { format!("{words:?}") }
}

fn text(image: &PackedImage) -> anyhow::Result<String> {
    let mut out = String::new();
    let ImageConfig { arch, name, container: c, hostname, cmdline } = &image.config;
    let or_dash = |s: &str| if s.is_empty() { "-".to_string() } else { s.to_string() };
    let mut line = |label: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label:<14} {value}");
    };
    line("image", or_dash(name));
    if let Some(m) = &image.manifest {
        line("digest", or_dash(&m.digest));
        line("made by", format!("forelift {}", m.forelift));
        line(
            "kernel",
            format!("{} ({}, sha256 {})", m.kernel.origin, format_size(m.kernel.bytes), m.kernel.sha256),
        );
        line("kernel source", or_dash(&m.kernel.source));
        if let Some(i) = &m.interpreter {
            line("interpreter", format!("{} ({}, sha256 {})", i.origin, format_size(i.bytes), i.sha256));
            line("its source", or_dash(&i.source));
        }
    }
    line("architecture", arch.oci_name().into());
    line("command line", or_dash(cmdline));
    line("guest RAM", format_size(image.header.ram.len));
    line("root", format_size(image.header.root.len));
    line(
        "snapshot",
        match image.header.state.len {
            0 => "none: it boots at every start".into(),
            _ => format!("{} pages of {PAGE} bytes", image.ram_pages()),
        },
    );
    line("entrypoint", words(&c.entrypoint));
    line("cmd", words(&c.cmd));
    line("env", words(&c.env));
    line("workdir", or_dash(&c.working_dir));
    line("user", or_dash(&c.user));
    line("stop signal", or_dash(&c.stop_signal));
    line("volumes", words(&c.volumes));
    line("ports", words(&c.exposed_ports));
    line("hostname", or_dash(hostname));
    if let Some(report) = image.manifest.as_ref().and_then(|m| m.lifted.as_ref()) {
        for (label, value) in lifted(report) {
            line(label, value);
        }
    } else {
        line("lifted", "nothing: all guest code is interpreted".into());
    }
    if let Some(report) = image.manifest.as_ref().and_then(|m| m.lifted.as_ref()) {
        out.push_str(&places(report));
    }
    let mut line = |label: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label:<14} {value}");
    };
    line("file", format!("{} bytes, {} data segments", image.file_len(), image.module.segments.len()));
    if let Some(code) = image.code()? {
        line("native code", format_size(code.len() as u64));
    }
    for (name, size, stored) in parts(image).into_iter().filter(|p| p.1 > 0) {
        line(&format!("  {name}"), format!("{} stored of {}", format_size(stored), format_size(size)));
    }
    Ok(out.trim_end().to_string())
}

/// What was lifted, in lines.
fn lifted(report: &Report) -> Vec<(&'static str, String)> {
    let share = |part: u64, whole: u64| part as f64 * 100.0 / whole.max(1) as f64;
    let list = |map: &std::collections::BTreeMap<String, u64>| {
        let items: Vec<String> = map.iter().map(|(why, count)| format!("{why} ({count})")).collect();
        if items.is_empty() { "-".to_string() } else { items.join(", ") }
    };
    vec![
        (
            "lifted",
            format!(
                "{} functions ({} of them to resume in) of {} regions, {} entry points in {} pages",
                report.functions, report.resumes, report.regions, report.entries, report.pages
            ),
        ),
        (
            "  code",
            format!(
                "{} for {} guest instructions: {:.1} bytes each",
                format_size(report.bytes),
                report.instructions,
                report.bytes as f64 / report.instructions.max(1) as f64
            ),
        ),
        (
            "  coverage",
            format!(
                "{:.1} % of the {} million instructions of the training run",
                share(report.covered, report.executed).min(100.0),
                report.trained / 1_000_000
            ),
        ),
        ("  left to the", format!("interpreter: {}", list(&report.not_lifted))),
        ("  refused", list(&report.refused)),
    ]
}

/// The hottest functions, and where most is left to the interpreter, as tables.
fn places(report: &Report) -> String {
    let mut out = String::new();
    let share = |executed: u64| executed as f64 * 100.0 / report.executed.max(1) as f64;
    // Writing to a String cannot fail.
    if !report.hottest.is_empty() {
        let _ = writeln!(out, "  hottest      share  guest instructions");
    }
    for hot in report.hottest.iter().take(LINES) {
        let _ = writeln!(out, "{:>17.2} % {:>7}  {}", share(hot.executed), hot.instructions, hot.name);
    }
    if !report.left.is_empty() {
        let _ = writeln!(out, "  interpreted  share  why");
    }
    for left in report.left.iter().take(LINES) {
        let _ = writeln!(out, "{:>17.2} % {:>7}  {}", share(left.executed), left.why, left.place);
    }
    out
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let image = reader::open(&args.image)?;
    if args.json { print(&serde_json::to_string_pretty(&to_json(&image)?)?) } else { print(&text(&image)?) }
}
