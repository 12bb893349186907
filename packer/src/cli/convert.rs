//! `forelift convert`.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use forelift_abi::{
    config::{ARM64_INTERPRETER, Arch, ImageConfig},
    header,
    layout::{REGION_ALIGN, pc},
};
use forelift_translator::guest::Program;
use memmap2::Mmap;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    at, print,
    rootfs::{Advance, load},
};
use crate::{
    assets::{self, Interpreter, Kernel},
    boot,
    cache::{self, Directory, Store},
    erofs,
    image::{LoadOptions, LoadedImage},
    lift::{
        self, Budget,
        names::{self, GuestFile, KernelSymbols, Names},
        train,
    },
    pack::{
        self, Manifest, PackError, Parts, Summary, extend, initrd, manifest,
        module::Module,
        output::{Output, directory},
        plan,
        writer::{self, V8_LIMIT},
    },
    platform::Platform,
    progress::Stages,
    units::{format_size, parse_size},
};

/// What the image starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Snapshot {
    /// A running kernel that waits for its command
    Ready,
    /// Nothing: it boots at every start
    None,
}

/// Convert a container image into a .wasm
///
/// IMAGE is oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:DIR or tar:FILE (a plain root file system),
/// docker://REF; an existing path is recognised by what it holds, anything else is taken for a registry reference.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// The image
    image: String,
    /// The file to write [default: made from the image's name, in the current directory]
    output: Option<PathBuf>,
    /// Platform to choose: linux/riscv64, linux/amd64, linux/386 or linux/arm64 [default: what the image is for; of several, the
    /// first in this order]
    #[arg(long, alias = "arch")]
    platform: Option<Platform>,
    /// Guest RAM, for example 512M or 1G
    #[arg(long, default_value = "256M", value_parser = parse_size, value_name = "SIZE")]
    memory: u64,
    /// Use this kernel (an uncompressed riscv64 `Image`, an x86_64 `vmlinux`) instead of the built-in one
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Append this to the kernel's command line
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    append: Option<String>,
    /// What the image starts from
    #[arg(long, value_enum, default_value_t = Snapshot::Ready)]
    snapshot: Snapshot,
    /// Train on this command, split as a shell would; can be repeated [default: the image's own command]
    #[arg(long, value_name = "CMD")]
    train: Vec<String>,
    /// Instructions that each training run may take
    #[arg(long, value_name = "N", default_value_t = train::DEFAULT_LIMIT)]
    train_limit: u64,
    /// How much code to translate ahead of time: none, max, or a size of WebAssembly such as 4M
    #[arg(long, value_name = "SIZE", default_value = "3M", value_parser = parse_budget)]
    lift: Budget,
    /// Learn and translate everything anew, and do not cache it
    #[arg(long)]
    no_cache: bool,
    /// Write a table of the lifted functions: function index, name, guest file, offset, size, entry points
    #[arg(long, value_name = "FILE")]
    symbol_map: Option<PathBuf>,
    /// Keep the emulator's function names, for profilers; those of lifted functions are always there
    #[arg(long)]
    keep_names: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

fn parse_budget(text: &str) -> Result<Budget, String> {
    match text {
        "none" => Ok(Budget::None),
        "max" => Ok(Budget::Max),
        size => parse_size(size).map(Budget::Bytes).map_err(|e| format!("{e}, or none or max")),
    }
}

/// A file name for the image: the last part of its name, without what a file system may dislike.
fn default_output(reference: &str) -> PathBuf {
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
    PathBuf::from(format!("{}.wasm", if name.is_empty() { "image" } else { name }))
}

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

/// What an image of one platform is made of besides its files.
struct Installed {
    arch: Arch,
    runtime: Vec<u8>,
    kernel: Kernel,
    init: Vec<u8>,
    interpreter: Option<Interpreter>,
    /// Guest RAM in bytes.
    ram: u64,
}

impl Installed {
    fn find(args: &Args, platform: Platform) -> anyhow::Result<Self> {
        let arch = platform.machine();
        let runtime = assets::runtime(arch)?;
        let kernel = assets::kernel(arch, args.kernel.as_deref())?;
        let init = assets::init(arch)?;
        let interpreter = platform.is_foreign().then(assets::arm64_interpreter).transpose()?;
        let ram = ram_len(args, arch, &kernel, &initrd::build(&init))?;
        Ok(Installed { arch, runtime, kernel, init, interpreter, ram })
    }
}

/// Guest RAM in bytes: what was asked for, in whole units of the kernel's memory map.
fn ram_len(args: &Args, arch: Arch, kernel: &Kernel, initrd: &[u8]) -> anyhow::Result<u64> {
    let least = assets::least_ram(kernel.memory, initrd.len() as u64);
    if args.memory < least {
        bail!(
            "--memory {}: too little, this kernel needs at least {}M",
            format_size(args.memory),
            least >> 20
        );
    }
    if args.memory >= 4 << 30 {
        bail!("--memory {}: a WebAssembly memory holds 4 GiB in all", format_size(args.memory));
    }
    if arch == Arch::X86_64 && args.memory > pc::RAM_END {
        bail!(
            "--memory {}: the x86_64 machine has room for {}",
            format_size(args.memory),
            format_size(pc::RAM_END)
        );
    }
    Ok(args.memory.next_multiple_of(REGION_ALIGN))
}

/// The root file system image.
struct Root {
    file: File,
    map: Mmap,
    /// Paths of its files, and where they are in it.
    files: Vec<(String, Range<u64>)>,
}

/// Writes the root file system image to an unlinked file beside the output, and maps it.
fn root_image(loaded: &LoadedImage, ram: u64, output: &Path, stages: &mut Stages) -> anyhow::Result<Root> {
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

struct Booted {
    snapshot: Option<boot::Snapshot>,
    initrd: Vec<u8>,
}

fn boot_guest(
    args: &Args,
    kernel: &Kernel,
    initrd: Vec<u8>,
    config: &ImageConfig,
    ram: u64,
    root: &File,
    stages: &mut Stages,
) -> anyhow::Result<Booted> {
    if args.snapshot == Snapshot::None {
        return Ok(Booted { snapshot: None, initrd });
    }
    stages.begin("booting the guest", None);
    // SAFETY: an unlinked file of our own; this second mapping goes to the machine.
    let root = unsafe { Mmap::map(root) }.context("mapping the root file system")?;
    let snapshot = boot::boot_to_ready(config, &kernel.bytes, &initrd, ram as usize, Some(root), stages)?;
    stages.end();
    Ok(Booted { snapshot: Some(snapshot), initrd })
}

fn manifest(config: &ImageConfig, loaded: &LoadedImage, installed: &Installed) -> Manifest {
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

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut stages = Stages::new(args.quiet);
    let path = args.output.clone().unwrap_or_else(|| default_output(&args.image));
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
    let Installed { arch, runtime, kernel, init, ram, .. } = &installed;
    let (arch, ram) = (*arch, *ram);
    let initrd = initrd::build(init);
    let mut cmdline = boot::default_cmdline(arch).to_string();
    if let Some(more) = &args.append {
        cmdline = format!("{cmdline} {more}").trim().to_string();
    }
    let config = ImageConfig {
        arch,
        name: args.image.clone(),
        container: loaded.config.clone(),
        hostname: hostname(&loaded.digest),
        cmdline,
    };
    // What the root file system is made of.
    let content = match &installed.interpreter {
        Some(interpreter) => format!("{} {:x}", loaded.digest, Sha256::digest(&interpreter.bytes)),
        None => loaded.digest.clone(),
    };
    let root = root_image(&loaded, ram, &path, &mut stages)?;
    let booted = boot_guest(args, kernel, initrd, &config, ram, &root.file, &mut stages)?;

    let encoded = postcard::to_allocvec(&config).context("encoding the image's configuration")?;
    let hot = match &booted.snapshot {
        Some(snapshot) => {
            let inputs = train::Inputs {
                kernel: &kernel.bytes,
                initrd: &booted.initrd,
                root: &content,
                config: &config,
                ram_len: ram,
                commands: &args.train,
                limit: args.train_limit,
            };
            lift_hot(args, &installed, snapshot, (&inputs, &encoded), &root, &mut stages)?
        }
        None => None,
    };
    if let Some(path) = &args.symbol_map {
        let map = hot.as_ref().and_then(|hot| hot.map.as_deref());
        fs::write(path, map.unwrap_or(names::MAP_HEAD)).map_err(at(path))?;
    }
    let runtime = hot.as_ref().map_or(runtime, |hot| &hot.runtime);
    let mut parts = Parts { config: &encoded, ram_len: ram, root: &root.map, ..Parts::default() };
    match &booted.snapshot {
        Some(snapshot) => {
            parts.state = &snapshot.state;
            parts.ram = snapshot.ram.ram();
        }
        None => {
            parts.kernel = &kernel.bytes;
            parts.initrd = &booted.initrd;
        }
    }
    let mut manifest = manifest(&config, &loaded, &installed);
    if let Some(hot) = &hot {
        parts.lifted = &hot.index;
        manifest.lifted = Some(hot.report.clone());
    }
    // With lifted code, the names are those that shall stay.
    let pack_options = writer::Options { keep_names: args.keep_names || hot.is_some() };
    stages.begin("writing the module", None);
    let summary = {
        let mut out = output.writer();
        pack::pack(runtime, &parts, manifest, pack_options, &mut out, |_, _| {})
            .and_then(|summary| Ok(out.flush().map(|()| summary)?))
            .with_context(|| path.display().to_string())?
    };
    output.finish().map_err(at(&path))?;
    stages.end();
    if summary.size > V8_LIMIT {
        stages.warn(&format!(
            "{}: {} exceed the 1 GiB that browsers and Node accept; wasmtime runs it",
            path.display(),
            format_size(summary.size)
        ));
    }
    report(args, &path, &loaded, &config, &summary, hot.as_ref(), &stages)
}

/// The runtime with lifted code.
struct Hot {
    runtime: Vec<u8>,
    index: Vec<u8>,
    report: lift::Report,
    effort: lift::Effort,
    /// The table of the functions, if it was asked for.
    map: Option<String>,
}

/// Trains, lifts, and puts the result into the runtime; `None` when nothing is to be lifted.
fn lift_hot(
    args: &Args,
    installed: &Installed,
    snapshot: &boot::Snapshot,
    (inputs, encoded): (&train::Inputs<'_>, &[u8]),
    root: &Root,
    stages: &mut Stages,
) -> anyhow::Result<Option<Hot>> {
    let Installed { arch, runtime, kernel, init, .. } = installed;
    // Only riscv64 code is translated.
    if args.lift == Budget::None || *arch != Arch::Riscv64 {
        return Ok(None);
    }
    let template = Module::parse(runtime).map_err(PackError::Runtime)?;
    let Some(layout) = plan::layout(&template, runtime, encoded, snapshot.ram.ram_len() as u64)? else {
        bail!("the emulator is of another version than this program: build both with scripts/build");
    };
    let cache = cache::default_dir()
        .filter(|_| !args.no_cache)
        .map(|dir| Directory::new(dir.join(lift::SUBDIR), cache::DEFAULT_LIMIT));
    let store = cache.as_ref().map(|cache| cache as &dyn Store);
    let (training, training_cached) = trained(inputs, snapshot, &root.file, store, stages)?;
    let program = Program::new(training.pages);
    stages.begin("finding names", None);
    let symbols = KernelSymbols::parse(&assets::kernel_symbols(*arch, args.kernel.as_deref()));
    let names = Names::find(&program, guest_files(root, kernel, init), symbols);
    for (path, count) in names.damaged() {
        stages.warn(&format!("{path}: {count} entries of its symbol tables make no sense and were left out"));
    }
    stages.begin_share("translating hot code");
    let mut lifted =
        lift::lift(program, training.instructions, layout, args.lift, store, &|share| stages.set(share))?;
    let effort = lift::Effort { training_cached, ..lifted.effort.clone() };
    stages.note(format!("{} functions, {} from the cache", effort.lifted + effort.cached, effort.cached));
    if let Some(problem) = cache.as_ref().and_then(Directory::problem).filter(|_| !args.quiet) {
        stages.warn(problem);
    }
    lifted.name(&names);
    if lifted.bodies.is_empty() {
        stages.end();
        return Ok(None);
    }
    let extended = extend::extend(runtime, &lifted, args.keep_names).map_err(PackError::Runtime)?;
    let index = postcard::to_allocvec(&lifted.index(extended.first)).context("encoding the index")?;
    stages.end();
    let map = args.symbol_map.is_some().then(|| lifted.symbol_map(&names, extended.function));
    Ok(Some(Hot { runtime: extended.bytes, index, report: lifted.report, effort, map }))
}

/// What training learns, and whether the cache had it.
fn trained(
    inputs: &train::Inputs<'_>,
    snapshot: &boot::Snapshot,
    root: &File,
    store: Option<&dyn Store>,
    stages: &mut Stages,
) -> anyhow::Result<(train::Training, bool)> {
    stages.begin("training", None);
    let Some(store) = store else { return Ok((train_now(inputs, snapshot, root, stages)?, false)) };
    let key = inputs.key();
    if let Some(training) = store.get(&key).and_then(|bytes| train::Training::decode(&bytes)) {
        stages.note("from the cache".into());
        return Ok((training, true));
    }
    let training = train_now(inputs, snapshot, root, stages)?;
    if let Some(bytes) = training.encode() {
        store.put(&key, &bytes);
    }
    Ok((training, false))
}

fn train_now(
    inputs: &train::Inputs<'_>,
    snapshot: &boot::Snapshot,
    root: &File,
    stages: &mut Stages,
) -> Result<train::Training, train::TrainError> {
    // SAFETY: an unlinked file of our own.
    let map = || unsafe { Mmap::map(root) };
    train::train(snapshot, &map, inputs.config, inputs.commands, inputs.limit, stages)
}

/// The files that guest code comes from.
fn guest_files<'a>(root: &'a Root, kernel: &'a Kernel, init: &'a [u8]) -> Vec<GuestFile<'a>> {
    let part = |range: &Range<u64>| root.map.get(range.start as usize..range.end as usize);
    let files = root.files.iter();
    let mut out: Vec<GuestFile<'a>> = files
        .filter_map(|(path, range)| Some(GuestFile { path: path.clone(), bytes: part(range)? }))
        .filter(|file| file.bytes.starts_with(b"\x7fELF"))
        .collect();
    out.push(GuestFile { path: "init".into(), bytes: init });
    out.extend(names::vdso(&kernel.bytes));
    out
}

fn report(
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

#[cfg(test)]
mod tests {
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

    #[test]
    fn host_names() {
        assert_eq!(hostname("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(hostname(""), "forelift");
    }
}
