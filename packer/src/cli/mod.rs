//! The command `forelift`.
//!
//! Results go to stdout, everything else to stderr. Errors are one line, `forelift: ...`; the exit status is
//! then 125 for `run` (as docker's), wrong usage included; otherwise 2 for wrong usage and 1 for the rest.

mod compile;
mod completions;
mod convert;
mod errors;
mod inspect;
mod lockstep;
mod man;
mod net_relay;
mod network;
mod print;
mod rootfs;
mod run;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use forelift_abi::exit;

use crate::pack::output;

const MORE: &str = "\
Examples:
  forelift convert docker://debian:trixie-slim debian.wasm
  forelift run debian.wasm uname -a
  forelift run -it debian.wasm bash

Environment:
  FORELIFT_ASSETS  where the files are that images are made of: see below
  FORELIFT_CACHE   where native code, and what conversions learned, is kept
                   [default: $XDG_CACHE_HOME/forelift, else ~/.cache/forelift]
  DOCKER_CONFIG    where config.json is, with the registries' credentials
                   [default: ~/.docker]

Files:
For each guest architecture, images are made of an emulator, a kernel and an init that come with this \
program. They are looked for in the directory FORELIFT_ASSETS if it is set, else in ../share/forelift \
seen from the directory of the program (of the file itself, when it is called by a symbolic link), and \
nowhere else: so an installation can be moved as a whole. Running an image needs none of them.";

/// Converts a Linux container image into one WebAssembly file, and runs it.
#[derive(Debug, Parser)]
#[command(name = "forelift", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_long_help = MORE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Convert(convert::Args),
    Run(Box<run::Args>),
    Compile(compile::Args),
    Inspect(inspect::Args),
    Rootfs(rootfs::Args),
    Lockstep(lockstep::Args),
    NetRelay(net_relay::Args),
    Completions(completions::Args),
    // For packagers: not in the list of commands.
    #[command(hide = true)]
    Man(man::Args),
}

/// The whole command line, for generated files.
fn command() -> clap::Command {
    Cli::command()
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
        Command::NetRelay(args) => net_relay::run(&args).map(|()| 0),
        Command::Lockstep(args) => lockstep::run(&args),
        Command::Completions(args) => completions::run(&args, &mut command()).map(|()| 0),
        Command::Man(args) => man::run(&args, command()).map(|()| 0),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "forelift: {}", errors::line(&e));
            ExitCode::from(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows the options in a command's long help, before it is wrapped.
    fn more(command: &clap::Command) -> String {
        command.get_after_long_help().map(ToString::to_string).unwrap_or_default()
    }

    /// The lines that begin with the program's name, as a shell splits them, without where input comes from
    /// and output goes.
    fn examples(text: &str) -> Vec<Vec<String>> {
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with("forelift "));
        lines
            .map(|line| {
                let words = shlex::split(line).unwrap_or_else(|| panic!("no shell splits this: {line}"));
                words.into_iter().take_while(|word| !word.starts_with(['<', '>', '|'])).collect()
            })
            .collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn examples_in_the_help_are_right() {
        let mut root = command();
        root.build();
        let of_root = examples(&more(&root));
        assert!(of_root.len() >= 3, "{of_root:?}");
        let mut all = of_root;
        for sub in root.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let name = sub.get_name().to_string();
            let of_this = examples(&more(sub));
            assert!(of_this.iter().any(|words| words[1] == name), "{name} has no example");
            all.extend(of_this);
        }
        for words in &all {
            if let Err(e) = Cli::try_parse_from(words) {
                panic!("{words:?}: {e}");
            }
        }
    }

    #[test]
    fn help_fits_a_terminal() {
        let mut root = command().term_width(80);
        root.build();
        let help = |command: &mut clap::Command| command.render_long_help().to_string();
        let texts: Vec<String> =
            [help(&mut root)].into_iter().chain(root.get_subcommands_mut().map(help)).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        let long: Vec<&str> = lines.filter(|line| line.chars().count() > 80).collect();
        assert!(texts.len() > 8 && long.is_empty(), "{long:#?}");
        // Indented lines are not wrapped: they must be short enough.
        for command in [&root].into_iter().chain(root.get_subcommands()) {
            for line in more(command).lines().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
