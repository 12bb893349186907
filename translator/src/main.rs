//! `forelift-translator`: each stage of the translator as a command.

use std::{fs, io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use forelift_translator::decode;

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
        /// ELF file for riscv64
        file: PathBuf,
        /// Function symbol
        #[arg(long, conflicts_with = "range", required_unless_present = "range")]
        symbol: Option<String>,
        /// Addresses START..END, in hexadecimal
        #[arg(long)]
        range: Option<String>,
    },
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
    let Command::Decode { file, symbol, range } = &args.command;
    let name = file.display().to_string();
    let bytes = fs::read(file).with_context(|| name.clone())?;
    let elf = decode::parse(&bytes).with_context(|| name.clone())?;
    let range = match (symbol, range) {
        (Some(symbol), _) => decode::symbol(&elf, symbol).with_context(|| name.clone())?,
        (None, Some(text)) => parse_range(text)?,
        (None, None) => bail!("give --symbol or --range"),
    };
    let lines = decode::decode(&bytes, &elf, range).with_context(|| name.clone())?;
    let mut out = std::io::stdout().lock();
    for line in lines {
        if line.leader {
            writeln!(out, "block {:#x}:", line.address)?;
        }
        let width = usize::from(line.len) * 2;
        let (address, bits) = (line.address, line.bits);
        match line.insn {
            Some(insn) => writeln!(out, "  {address:8x}: {bits:0width$x}\t{}", insn.disassemble(address))?,
            None => writeln!(out, "  {address:8x}: {bits:0width$x}\t(no instruction)")?,
        }
    }
    Ok(())
}

fn parse_range(text: &str) -> anyhow::Result<std::ops::Range<u64>> {
    let number = |s: &str| u64::from_str_radix(s.trim_start_matches("0x"), 16);
    let what = || format!("--range {text}: expected START..END in hexadecimal");
    let (start, end) = text.split_once("..").with_context(what)?;
    Ok(number(start).with_context(what)?..number(end).with_context(what)?)
}
