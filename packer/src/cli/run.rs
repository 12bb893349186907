//! `forelift run`.

use std::{
    io::{IsTerminal, stdin},
    path::{Path, PathBuf},
};

use anyhow::bail;
use clap::{Parser, ValueHint};

use super::network::NetworkArgs;
use crate::{
    cache,
    embed::{Profile, RunOptions},
    run::{self, Engine, environment::environment, mounts::mounts, network::network},
};

const EXAMPLES: &str = "\
Examples:
  forelift run debian.wasm uname -a
  forelift run -it debian.wasm bash
  forelift run --net debian.wasm curl -sI https://www.debian.org
  forelift run -p 8080:80 nginx.wasm
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
    #[command(flatten)]
    network: NetworkArgs,
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
    let engine = match (args.native, args.engine.as_str()) {
        (true, _) => Engine::NativeInterp,
        (_, "native") => Engine::Native,
        (_, "interp") => Engine::Interp,
        _ => Engine::Aot,
    };
    Ok(run::run(Path::new(path), options(args, path, rest)?, engine)?)
}

fn options(args: &Args, path: &str, rest: &[String]) -> anyhow::Result<RunOptions> {
    let terminal = stdin().is_terminal();
    if args.tty && args.interactive && !terminal {
        bail!("the input device is not a TTY");
    }
    Ok(RunOptions {
        args: image_args(args, path, rest),
        env: environment(&args.env_file, &args.env)?,
        shares: mounts(&args.dirs, &args.volumes)?,
        network: network(&args.network.options(), args.network.capture.as_deref())?,
        stdin: args.interactive || !terminal,
        tty: args.tty,
        cache: if args.no_cache { None } else { cache::default_dir() },
        profile: args.profile.as_ref().map(|_| Profile::PerfMap),
    })
}

/// The arguments that the module parses: its name, options, then what follows it on the command line.
fn image_args(args: &Args, path: &str, rest: &[String]) -> Vec<String> {
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
    words
}
