//! The command `forelift`.
//!
//! Results go to stdout, everything else to stderr. Errors are one line, `forelift: ...`; the exit status is then 125 for
//! `run` (as docker's), wrong usage included; otherwise 2 for wrong usage and 1 for the rest.

mod compile;
mod convert;
mod errors;
mod inspect;
mod lockstep;
mod rootfs;
mod run;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use forelift_abi::exit;

use crate::pack::output;

/// Converts a Linux container image into one WebAssembly file, and runs it.
#[derive(Debug, Parser)]
#[command(name = "forelift", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Convert(convert::Args),
    Run(run::Args),
    Compile(compile::Args),
    Inspect(inspect::Args),
    Rootfs(rootfs::Args),
    Lockstep(lockstep::Args),
}

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // clap prints help and version to stdout with status 0, mistakes to stderr with status 2.
            let _ = e.print();
            let is_run = std::env::args_os().nth(1).is_some_and(|word| word == "run");
            return match e.exit_code() {
                0 => ExitCode::SUCCESS,
                _ if is_run => ExitCode::from(exit::FAILURE),
                code => ExitCode::from(code as u8),
            };
        }
    };
    let failure = if matches!(cli.command, Command::Run(_)) { exit::FAILURE } else { 1 };
    if !matches!(cli.command, Command::Run(_)) {
        output::clean_up_on_signals();
    }
    let result = match cli.command {
        Command::Convert(args) => convert::run(&args).map(|()| 0),
        Command::Run(args) => run::run(&args),
        Command::Compile(args) => compile::run(&args).map(|()| 0),
        Command::Inspect(args) => inspect::run(&args).map(|()| 0),
        Command::Rootfs(args) => rootfs::run(&args).map(|()| 0),
        Command::Lockstep(args) => lockstep::run(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "forelift: {}", errors::line(&e));
            ExitCode::from(failure)
        }
    }
}

/// Prints a result; a closed stdout is an error like any other, not a panic.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|e| anyhow::anyhow!("stdout: {e}"))
}

/// An output file's error, with its name.
fn at(path: &std::path::Path) -> impl Fn(std::io::Error) -> anyhow::Error {
    let path: PathBuf = path.into();
    move |e| anyhow::anyhow!("{}: {e}", path.display())
}
