//! The arguments of `forelift convert`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum, ValueHint};

use crate::{
    lift::{Budget, train},
    platform::Platform,
    units::parse_size,
    web::FETCH,
};

const MORE: &str = "\
Examples:
  forelift convert docker://debian:trixie-slim debian.wasm
  forelift convert --platform linux/amd64 --memory 1G oci:layout:latest app.wasm
  forelift convert --train 'python3 -m app --version' docker-archive:app.tar
  forelift convert --lift max --symbol-map app.map dir:/srv/root app.wasm
  forelift convert --web public docker://debian:trixie-slim

Files:
The emulator, the kernel and the init of an image are looked for in the directory FORELIFT_ASSETS if it is \
set, else in ../share/forelift seen from the directory of this program: see `forelift --help`.";

/// What the module starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Snapshot {
    /// A running kernel that waits for its command
    Ready,
    /// Nothing: it boots at every start
    None,
}

/// Convert a container image into a .wasm
///
/// IMAGE is oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:DIR or tar:FILE (a plain root file
/// system), docker://REF; an existing path is recognised by what it holds, anything else is taken for a
/// registry reference.
#[derive(Debug, Parser)]
#[command(after_long_help = MORE)]
pub(in crate::cli) struct Args {
    /// The image
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(super) image: String,
    /// The file to write [default: made from the image's name, in the current directory]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(super) output: Option<PathBuf>,
    /// Platform to choose: linux/riscv64, linux/amd64, linux/386 or linux/arm64 [default: what the image is
    /// for; of several, the first in this order]
    #[arg(long, alias = "arch")]
    pub(super) platform: Option<Platform>,
    /// Guest RAM, for example 512M or 1G
    #[arg(long, default_value = "256M", value_parser = parse_size, value_name = "SIZE")]
    pub(super) memory: u64,
    /// Write a component (WASI 0.2), which has a network of its own wherever the runtime lets it: `wasmtime
    /// run -S inherit-network -S allow-ip-name-lookup OUT.wasm --net CMD`
    #[arg(long)]
    pub(super) component: bool,
    /// Write a directory for any static web server instead of a file, with a page that runs the container:
    /// `python3 -m http.server -d DIR`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["output", "component"])]
    pub(super) web: Option<PathBuf>,
    /// Title of the page [default: the image's name]
    #[arg(long, value_name = "TEXT", requires = "web")]
    pub(super) web_title: Option<String>,
    /// Arguments for the image in the page, split as a shell would: options, then a command in place of the
    /// image's own
    #[arg(long, value_name = "ARGS", requires = "web", allow_hyphen_values = true, value_parser = parse_words)]
    pub(super) web_args: Option<Words>,
    /// Network of the container in the page: `fetch`, which is what pages may fetch by HTTP and HTTPS, or the
    /// address of a relay, `ws://HOST:PORT/PATH`, as `forelift net-relay` says it
    #[arg(long, value_name = "fetch|URL", requires = "web", value_parser = parse_net)]
    pub(super) web_net: Option<String>,
    /// Ports of the container's that the page shows, at `port/N/`; separated by commas, or repeated. They
    /// cannot be had with a relay
    #[arg(long, value_name = "PORT", requires = "web", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) web_ports: Vec<u16>,
    /// Do not let the page's address choose command, environment and network (`?cmd=...&env=...&net=...`)
    #[arg(long, requires = "web")]
    pub(super) web_fixed: bool,
    /// Use this kernel (an uncompressed riscv64 `Image`, an x86_64 `vmlinux`) instead of the built-in one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) kernel: Option<PathBuf>,
    /// Append this to the kernel's command line
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub(super) append: Option<String>,
    /// What the image starts from
    #[arg(long, value_enum, default_value_t = Snapshot::Ready)]
    pub(super) snapshot: Snapshot,
    /// Train on this command, split as a shell would; can be repeated [default: the image's own command]
    #[arg(long, value_name = "CMD")]
    pub(super) train: Vec<String>,
    /// Instructions that each training run may take
    #[arg(long, value_name = "N", default_value_t = train::DEFAULT_LIMIT)]
    pub(super) train_limit: u64,
    /// How much code to translate ahead of time: none, max, or a size of WebAssembly such as 4M
    #[arg(long, value_name = "SIZE", default_value = "3M", value_parser = parse_budget)]
    pub(super) lift: Budget,
    /// Learn and translate everything anew, and do not cache it
    #[arg(long)]
    pub(super) no_cache: bool,
    /// Write a table of the lifted functions: function index, name, guest file, offset, size, entry points
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) symbol_map: Option<PathBuf>,
    /// Keep the emulator's function names, for profilers; those of lifted functions are always there
    #[arg(long)]
    pub(super) keep_names: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// Words of a command line.
#[derive(Clone, Debug)]
pub(super) struct Words(pub(super) Vec<String>);

fn parse_words(text: &str) -> Result<Words, String> {
    shlex::split(text).map(Words).ok_or_else(|| "a quote is not closed".into())
}

fn parse_net(text: &str) -> Result<String, String> {
    match text == FETCH || ["ws://", "wss://"].iter().any(|scheme| text.starts_with(scheme)) {
        true => Ok(text.into()),
        false => Err("write fetch, or the address of a relay, which begins with ws:// or wss://".into()),
    }
}

fn parse_budget(text: &str) -> Result<Budget, String> {
    match text {
        "none" => Ok(Budget::None),
        "max" => Ok(Budget::Max),
        size => parse_size(size).map(Budget::Bytes).map_err(|e| format!("{e}, or none or max")),
    }
}

/// A file name for the image.
pub(super) fn default_output(reference: &str) -> PathBuf {
    PathBuf::from(format!("{}.wasm", default_name(reference)))
}

/// A short name for the image: the last part of its name, with unusual characters replaced.
pub(super) fn default_name(reference: &str) -> String {
    let (transport, rest) = match reference.split_once(':') {
        Some((t @ ("oci" | "oci-archive" | "docker-archive" | "dir" | "tar" | "docker"), rest)) => (t, rest),
        _ => ("", reference),
    };
    let rest = rest.trim_start_matches("//").trim_end_matches('/');
    let last = rest.rsplit('/').next().unwrap_or(rest);
    let mut name = last.split('@').next().unwrap_or(last).to_string();
    if !matches!(transport, "oci" | "docker") {
        for suffix in [".zst", ".gz", ".xz", ".tgz", ".tar"] {
            if let Some(stem) = name.strip_suffix(suffix).filter(|s| !s.is_empty()) {
                name = stem.to_string();
            }
        }
    }
    let clean = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(clean).collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "image" } else { name }.to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_of_outputs() {
        for (image, file) in [
            ("docker://docker.io/library/debian:trixie", "debian-trixie.wasm"),
            ("busybox", "busybox.wasm"),
            ("ghcr.io/a/b@sha256:0123", "b.wasm"),
            ("oci:/x/layout.d:v1", "layout.d-v1.wasm"),
            ("tar:/tmp/root.tar.gz", "root.wasm"),
            ("dir:/srv/root/", "root.wasm"),
            ("./x/app.tar", "app.wasm"),
            ("dir:/", "image.wasm"),
            ("dir:..", "image.wasm"),
        ] {
            assert_eq!(default_output(image), Path::new(file), "{image}");
        }
    }
}
