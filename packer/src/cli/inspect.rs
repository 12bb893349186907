//! `forelift inspect`.

use std::{
    fmt::{Display, Write},
    path::PathBuf,
};

use clap::{Parser, ValueHint};

use super::print::print;
use crate::{
    inspect::{self, Inspection, PartSize},
    lift::Report,
    pack::{Manifest, PackedImage, manifest::Binary, memory::PAGE, reader},
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

fn words(words: &[String]) -> String {
    if words.is_empty() { "-".into() } else { format!("{words:?}") }
}

/// Lines with a label and a value each.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, label: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{label:<14} {value}");
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn text(image: &PackedImage) -> anyhow::Result<String> {
    let found = inspect::inspect(image)?;
    let mut lines = Lines::default();
    lines.add("image", or_dash(found.name));
    if let Some(manifest) = found.manifest {
        origin(manifest, &mut lines);
    }
    container(&found, &mut lines);
    match found.manifest.and_then(|manifest| manifest.lifted.as_ref()) {
        Some(report) => {
            for (label, value) in lifted(report) {
                lines.add(label, value);
            }
            lines.0.push_str(&places(report));
        }
        None => lines.add("lifted", "nothing: all guest code is interpreted"),
    }
    let kind = if found.component { "component, " } else { "" };
    lines.add("file", format!("{kind}{} bytes, {} data segments", found.size, found.segments));
    if let Some(bytes) = found.native_code {
        lines.add("native code", format_size(bytes as u64));
    }
    for (name, PartSize { size, stored }) in inspect::parts(image).into_iter().filter(|p| p.1.size > 0) {
        let sizes = format!("{} stored of {}", format_size(stored), format_size(size));
        lines.add(&format!("  {name}"), sizes);
    }
    Ok(lines.0.trim_end().to_string())
}

/// Where image, kernel and interpreter come from.
fn origin(manifest: &Manifest, lines: &mut Lines) {
    let binary = |b: &Binary| format!("{} ({}, sha256 {})", b.origin, format_size(b.bytes), b.sha256);
    lines.add("digest", or_dash(&manifest.digest));
    lines.add("made by", format!("forelift {}", manifest.forelift));
    lines.add("kernel", binary(&manifest.kernel));
    lines.add("kernel source", or_dash(&manifest.kernel.source));
    if let Some(interpreter) = &manifest.interpreter {
        lines.add("interpreter", binary(interpreter));
        lines.add("its source", or_dash(&interpreter.source));
    }
}

/// The machine, and the container's defaults.
fn container(found: &Inspection<'_>, lines: &mut Lines) {
    lines.add("architecture", found.arch);
    lines.add("command line", or_dash(found.cmdline));
    lines.add("guest RAM", format_size(found.ram));
    lines.add("root", format_size(found.root));
    lines.add(
        "snapshot",
        match found.snapshot {
            false => "none: it boots at every start".into(),
            true => format!("{} pages of {PAGE} bytes", found.snapshot_pages),
        },
    );
    let config = found.config;
    lines.add("entrypoint", words(&config.entrypoint));
    lines.add("cmd", words(&config.cmd));
    lines.add("env", words(&config.env));
    lines.add("workdir", or_dash(&config.working_dir));
    lines.add("user", or_dash(&config.user));
    lines.add("stop signal", or_dash(&config.stop_signal));
    lines.add("volumes", words(&config.volumes));
    lines.add("ports", words(&config.exposed_ports));
    lines.add("hostname", or_dash(found.hostname));
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
    match args.json {
        // Through a value, which sorts the names.
        true => print(&serde_json::to_string_pretty(&serde_json::to_value(inspect::inspect(&image)?)?)?),
        false => print(&text(&image)?),
    }
}
