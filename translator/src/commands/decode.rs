//! `decode`: instructions and basic blocks.

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context, bail};
use forelift_translator::listing;

use super::input::range;

pub(crate) fn run(file: &PathBuf, symbol: Option<&str>, text: Option<&str>) -> anyhow::Result<()> {
    let name = file.display().to_string();
    let bytes = fs::read(file).with_context(|| name.clone())?;
    let elf = listing::parse(&bytes).with_context(|| name.clone())?;
    let range = match (symbol, text) {
        (Some(symbol), _) => listing::symbol(&elf, symbol).with_context(|| name.clone())?,
        (None, Some(text)) => range(text)?,
        (None, None) => bail!("give --symbol or --range"),
    };
    let lines = listing::decode(&bytes, &elf, range).with_context(|| name.clone())?;
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
