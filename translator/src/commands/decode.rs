//! `decode`: instructions and basic blocks.

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context, bail};
use forelift_translator::listing;

use super::input::range;

pub(crate) fn run(file: &PathBuf, symbol: Option<&str>, text: Option<&str>) -> anyhow::Result<()> {
    let name = file.display().to_string();
    let bytes = fs::read(file).with_context(|| name.clone())?;
    let (elf, target) = listing::parse(&bytes).with_context(|| name.clone())?;
    let range = match (symbol, text) {
        (Some(symbol), _) => listing::symbol(&elf, symbol).with_context(|| name.clone())?,
        (None, Some(text)) => range(text)?,
        (None, None) => bail!("give --symbol or --range"),
    };
    let lines = listing::decode(&bytes, &elf, target, range).with_context(|| name.clone())?;
    let mut out = std::io::stdout().lock();
    for line in lines {
        if line.leader {
            writeln!(out, "block {:#x}:", line.address)?;
        }
        let (address, width) = (line.address, line.bytes.len() * 2);
        let bits = line.bytes.iter().rev().fold(0u128, |bits, &byte| bits << 8 | u128::from(byte));
        let text = target.disassemble(&line.bytes, address).unwrap_or_else(|| "(no instruction)".into());
        writeln!(out, "  {address:8x}: {bits:0width$x}\t{text}")?;
    }
    Ok(())
}
