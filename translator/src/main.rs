//! `forelift-translator`: each stage of the translator as a command.

mod commands;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use commands::{Emit, Stage, Staged};

#[derive(Debug, Parser)]
#[command(name = "forelift-translator", version, about = "Runs single stages of Forelift's translator")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a function or a range of an ELF file as instructions and basic blocks
    Decode {
        /// ELF file of a guest
        file: PathBuf,
        /// Function symbol
        #[arg(long, visible_alias = "function", conflicts_with = "range", required_unless_present = "range")]
        symbol: Option<String>,
        /// Addresses START..END, in hexadecimal
        #[arg(long)]
        range: Option<String>,
    },
    /// Print code as CLIF, as the lifter makes it
    ///
    /// Everything that is chosen counts as hot: a function, a range, what an address leads to, or the whole
    /// file. The addresses of the runtime in the code are none in particular.
    Lift(Staged),
    /// Print code as CLIF after the mid-end
    Opt(Staged),
    /// Print code as a WebAssembly module, or write it
    Emit(Emit),
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forelift-translator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Decode { file, symbol, range } => {
            commands::decode::run(file, symbol.as_deref(), range.as_deref())
        }
        Command::Lift(args) => commands::clif(args, Stage::Lift),
        Command::Opt(args) => commands::clif(args, Stage::Opt),
        Command::Emit(args) => commands::emit(args),
    }
}
