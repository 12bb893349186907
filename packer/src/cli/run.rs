//! `forelift run`.

use std::{
    env, fs,
    io::{IsTerminal, stdin},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Parser, ValueHint};
use forelift_runtime::{dev::COUNT_SHARES, image::FUNCTIONS_VARIABLE};

use crate::{
    cache,
    embed::{self, Profile, RunOptions, Share},
    native,
    pack::reader,
};

const EXAMPLES: &str = "\
Examples:
  forelift run debian.wasm uname -a
  forelift run -it debian.wasm bash
  forelift run --dir .::/work -w /work -e CI=1 debian.wasm make test
  forelift run --entrypoint sh debian.wasm -c 'echo $0 $#' a b
  forelift run -i --user 1000:1000 debian.cwasm sort <names.txt >sorted.txt";

/// Run an image
///
/// Standard input is connected when -i is given or when it is no terminal (a pipe, a file). The container
/// gets a terminal of its own with -t. An interactive shell wants both: `forelift run -it IMAGE sh`.
///
/// SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to the container's command.
///
/// The exit status is that of the command, 128+n when signal n ended it, 125 when Forelift failed, 126 when
/// the command cannot be executed, 127 when it is not found.
#[derive(Debug, Parser)]
#[command(args_override_self = false, after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Keep standard input connected, even if it is a terminal
    #[arg(short = 'i', long)]
    interactive: bool,
    /// Give the container a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// Mount a host directory, read and write; GUEST is an absolute path, by default that of HOST
    #[arg(long = "dir", value_name = "HOST[::GUEST]", value_hint = ValueHint::DirPath)]
    dirs: Vec<String>,
    /// The same as docker writes it; ro: nothing in it can be changed
    #[arg(short = 'v', long = "volume", value_name = "HOST:GUEST[:ro]", value_hint = ValueHint::DirPath)]
    volumes: Vec<String>,
    /// Set an environment variable, or pass on the one of that name
    #[arg(short = 'e', long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file, one NAME[=VALUE] a line, # for comments
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    env_file: Vec<PathBuf>,
    /// Use this instead of the image's entry point (empty: none)
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Run as this user: USER[:GROUP], names or numbers
    #[arg(short = 'u', long)]
    user: Option<String>,
    /// Start in this directory of the container
    #[arg(short = 'w', long)]
    workdir: Option<String>,
    /// Compile the image even if its code is cached, and do not cache it
    #[arg(long)]
    no_cache: bool,
    /// How guest code runs: aot, lifted code where there is any; interp, interpreted throughout; native,
    /// outside of WebAssembly, with hot code compiled for this host while it runs (the last two for tests and
    /// comparison)
    #[arg(long, value_name = "ENGINE", value_parser = ["aot", "interp", "native"], default_value = "aot")]
    engine: String,
    /// Tell a profiler the names of the functions: perfmap, in /tmp/perf-PID.map, for `perf record` and `perf
    /// report`
    #[arg(long, value_name = "WHAT", value_parser = ["perfmap"], conflicts_with = "native")]
    profile: Option<String>,
    /// Interpret outside of WebAssembly (for tests and comparison)
    #[arg(long, conflicts_with = "engine")]
    native: bool,
    /// The image (what `convert` or `compile` made), and behind it the image's own arguments, which are not
    /// read here: a command and its arguments, instead of the image's default
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "ARGS"], value_hint = ValueHint::FilePath)]
    words: Vec<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let [path, rest @ ..] = args.words.as_slice() else {
        bail!("no image is given: see `forelift run --help`")
    };
    let options = options(args, path, rest)?;
    let path = Path::new(path);
    let image = reader::open(path)?;
    if image.is_compiled() && path.extension().is_some_and(|e| e == "wasm") {
        bail!("{}: native code under the name of a .wasm: name it .cwasm if you trust it", path.display());
    }
    match (args.native, args.engine.as_str()) {
        (true, _) => Ok(native::run(&image, &options, native::Engine::Interp)?),
        (_, "native") => Ok(native::run(&image, &options, native::Engine::Native)?),
        _ => Ok(embed::run(&image, &options)?),
    }
}

fn options(args: &Args, path: &str, rest: &[String]) -> anyhow::Result<RunOptions> {
    let terminal = stdin().is_terminal();
    if args.tty && args.interactive && !terminal {
        bail!("the input device is not a TTY");
    }
    let mut words = vec![path.to_string()];
    for (option, value) in
        [("--entrypoint", &args.entrypoint), ("--user", &args.user), ("--workdir", &args.workdir)]
    {
        if let Some(value) = value {
            words.extend([option.to_string(), value.clone()]);
        }
    }
    // With an entry point of the user's, what follows the image is for it alone (docker run --entrypoint sh
    // IMAGE -c ...).
    if args.entrypoint.is_some() && rest.first().is_none_or(|word| word != "--") {
        words.push("--".to_string());
    }
    words.extend(rest.iter().cloned());
    let mut env = environment(&args.env_file, &args.env)?;
    if args.engine == "interp" {
        // The runtime's own variable: it does not reach the container.
        env.push(("FORELIFT_ENGINE".to_string(), args.engine.clone()));
    }
    if let Some(functions) =
        env::var(FUNCTIONS_VARIABLE).ok().filter(|_| env.iter().all(|(n, _)| n != FUNCTIONS_VARIABLE))
    {
        // Set by `forelift lockstep --bisect`.
        env.push((FUNCTIONS_VARIABLE.to_string(), functions));
    }
    Ok(RunOptions {
        args: words,
        env,
        shares: shares(args)?,
        stdin: args.interactive || !terminal,
        tty: args.tty,
        cache: if args.no_cache { None } else { cache::default_dir() },
        profile: args.profile.as_ref().map(|_| Profile::PerfMap),
    })
}

/// The variables of the files and of the command line; the last one of a name counts.
fn environment(files: &[PathBuf], words: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let mut out: Vec<(String, String)> = Vec::new();
    let mut add = |word: &str| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (word, env::var(word).ok()),
        };
        if name.is_empty() || word.contains('\0') {
            bail!("`{word}` is no environment variable: use NAME=VALUE");
        }
        // As docker: a name that is not set here is not passed on.
        if let Some(value) = value {
            out.retain(|(n, _)| n != name);
            out.push((name.to_string(), value));
        }
        Ok(())
    };
    for path in files {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for line in text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            add(line).with_context(|| path.display().to_string())?;
        }
    }
    for word in words {
        add(word)?;
    }
    Ok(out)
}

fn shares(args: &Args) -> anyhow::Result<Vec<Share>> {
    let dirs = args.dirs.iter().map(|text| dir(text).with_context(|| format!("--dir {text}")));
    let volumes = args.volumes.iter().map(|text| volume(text).with_context(|| format!("-v {text}")));
    let shares: Vec<Share> = dirs.chain(volumes).collect::<anyhow::Result<_>>()?;
    if shares.len() > COUNT_SHARES {
        bail!(
            "{} directories: at most {COUNT_SHARES} can be mounted; mount one that holds several",
            shares.len()
        );
    }
    Ok(shares)
}

/// HOST\[::GUEST\], as wasmtime has it.
fn dir(text: &str) -> anyhow::Result<Share> {
    match text.split_once("::") {
        Some((host, guest)) => share(host, Some(guest), false),
        None => share(text, None, false),
    }
}

/// HOST:GUEST\[:OPTIONS\], as docker has it.
fn volume(text: &str) -> anyhow::Result<Share> {
    let mut parts = text.split(':');
    let (Some(host), Some(guest), options, None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        bail!("there are no volumes but host directories: use HOST:GUEST or HOST:GUEST:ro")
    };
    // docker's rule for what is the name of a volume of its own.
    if !host.starts_with(['/', '.', '~']) {
        bail!("there are no named volumes: for the directory, write ./{host}");
    }
    let mut mode = None;
    for option in options.unwrap_or("rw").split(',') {
        match option {
            "ro" | "rw" if mode.is_none() => mode = Some(option),
            "ro" | "rw" => bail!("ro and rw: only one of them"),
            // For hosts with SELinux, and for docker's virtual machine on a Mac: nothing here.
            "z" | "Z" | "cached" | "consistent" | "delegated" => {}
            other => bail!("`{other}` is no option of a volume here: use ro or rw"),
        }
    }
    share(host, Some(guest), mode == Some("ro"))
}

fn share(host: &str, guest: Option<&str>, read_only: bool) -> anyhow::Result<Share> {
    let host = fs::canonicalize(host)?;
    if !host.is_dir() {
        bail!("it is not a directory");
    }
    let guest = guest.map_or_else(|| host.to_str().context("its name is not UTF-8"), Ok)?;
    if !Path::new(guest).is_absolute() {
        bail!("the container's path `{guest}` is not absolute");
    }
    let guest = guest.to_string();
    Ok(Share { host, guest, read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_directories() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("env");
        fs::write(&file, "# comment\nA=1\n\n  B=x y\nFORELIFT_TEST_UNSET\n").unwrap();
        let words = ["A=2".to_string(), "C=".to_string(), "D=a=b".to_string()];
        let pair = |n: &str, v: &str| (n.to_string(), v.to_string());
        assert_eq!(
            environment(&[file], &words).unwrap(),
            [pair("B", "x y"), pair("A", "2"), pair("C", ""), pair("D", "a=b")]
        );
        assert!(environment(&[], &["=x".into()]).is_err());
        assert!(environment(&["/no/such".into()], &[]).is_err());

        let name = place.path().to_str().unwrap();
        assert_eq!(dir(&format!("{name}::/mnt")).unwrap().guest, "/mnt");
        assert!(dir(name).unwrap().guest.starts_with('/'));
        assert!(dir(&format!("{name}::mnt")).is_err());
        assert!(dir("/no/such").is_err());
        assert!(dir("/etc/passwd").is_err());
        let read_only = |options: &str| volume(&format!("{name}:/mnt{options}")).map(|share| share.read_only);
        for (options, expected) in [("", false), (":ro", true), (":rw", false), (":z,ro", true)] {
            assert_eq!(read_only(options).unwrap(), expected, "{options}");
        }
        for options in [":", ":exec", ":ro:rw", ":ro,rw"] {
            assert!(read_only(options).is_err(), "{options}");
        }
        assert_eq!(volume(&format!("{name}:/mnt")).unwrap().guest, "/mnt");
        assert!(volume("data:/mnt").unwrap_err().to_string().contains("./data"));
        assert!(volume("/mnt").is_err());
    }
}
