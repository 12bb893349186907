//! What a command works on: code of an ELF file, or instructions as they are.

use std::{collections::BTreeSet, fs, ops::Range, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use forelift_abi::lift::Mode;
use forelift_translator::{
    fixed::{self, Piece},
    guests,
    lift::Target,
    listing,
    program::Program,
};
use goblin::elf::{Elf, program_header::PF_X, program_header::PT_LOAD};

/// Where instructions without an address are put.
const BASE: u64 = 0x1_0000;

/// See the module's documentation.
#[derive(Debug, Args)]
pub(crate) struct Input {
    /// ELF file of a guest, or with --raw instructions as bytes
    #[arg(required_unless_present = "hex")]
    file: Option<PathBuf>,
    /// A function of the file by its symbol
    #[arg(long, visible_alias = "symbol", value_name = "NAME", conflicts_with_all = ["range", "address", "raw", "hex"])]
    function: Option<String>,
    /// A range of the file: addresses START..END, in hexadecimal
    #[arg(long, conflicts_with_all = ["address", "raw", "hex"])]
    range: Option<String>,
    /// What control reaches from this address on, in hexadecimal
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// The file holds nothing but instructions
    #[arg(long)]
    raw: bool,
    /// Instructions as numbers of 4 or 8 hexadecimal digits, instead of a file: '00150513 8082'
    #[arg(long, value_name = "INSTRUCTIONS", conflicts_with_all = ["file", "raw"])]
    hex: Option<String>,
    /// The code runs in the kernel's mode
    #[arg(long)]
    supervisor: bool,
    /// Instruction set of code without an ELF header
    #[arg(long, value_name = "NAME", default_value = guests::ALL[0].name())]
    isa: String,
}

/// A number in hexadecimal.
fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

/// `START..END`.
pub(super) fn range(text: &str) -> anyhow::Result<Range<u64>> {
    let parsed = text.split_once("..").and_then(|(start, end)| Some(number(start)?..number(end)?));
    parsed.with_context(|| format!("--range {text}: expected START..END in hexadecimal"))
}

/// Instructions as numbers.
fn bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        let value = u32::from_str_radix(word, 16).ok();
        match (word.len(), value) {
            (4, Some(value)) => out.extend((value as u16).to_le_bytes()),
            (8, Some(value)) => out.extend(value.to_le_bytes()),
            _ => bail!("--hex: `{word}` is no instruction of 4 or 8 hexadecimal digits"),
        }
    }
    if out.is_empty() {
        bail!("--hex: no instruction");
    }
    Ok(out)
}

impl Input {
    /// What to call it in a message.
    pub(crate) fn name(&self) -> String {
        self.file.as_ref().map_or_else(|| "--hex".into(), |file| file.display().to_string())
    }

    /// The code as a program, and whose it is.
    pub(crate) fn program(&self) -> anyhow::Result<(&'static dyn Target, Program)> {
        let file = match (&self.file, &self.hex) {
            (Some(path), _) => fs::read(path).with_context(|| self.name())?,
            (None, Some(text)) => bytes(text)?,
            (None, None) => bail!("no file is given"),
        };
        if self.raw || self.hex.is_some() {
            let target = guests::of_name(&self.isa)
                .with_context(|| format!("--isa {}: only {} is known", self.isa, guests::names()))?;
            return self.select(target, &[Piece { address: BASE, bytes: &file }], None);
        }
        self.elf(&file).with_context(|| self.name())
    }

    fn elf(&self, file: &[u8]) -> anyhow::Result<(&'static dyn Target, Program)> {
        let (elf, target) = listing::parse(file)?;
        let mut pieces = Vec::new();
        for header in elf.program_headers.iter().filter(|h| h.p_type == PT_LOAD && h.p_flags & PF_X != 0) {
            let end = header.p_offset.checked_add(header.p_filesz);
            let bytes = end.and_then(|end| file.get(header.p_offset as usize..end as usize));
            let bytes = bytes.context("an executable segment lies outside of the file")?;
            pieces.push(Piece { address: header.p_vaddr, bytes });
        }
        if pieces.is_empty() {
            bail!("it has no executable segment");
        }
        let ranges = match (&self.function, &self.range) {
            (Some(name), _) => Some(vec![listing::symbol(&elf, name)?]),
            (None, Some(text)) => Some(vec![range(text)?]),
            (None, None) => functions(&elf),
        };
        self.select(target, &pieces, ranges)
    }

    /// The program where `ranges` are hot (`None`: everything), or what `--address` reaches.
    fn select(
        &self,
        target: &'static dyn Target,
        pieces: &[Piece<'_>],
        ranges: Option<Vec<Range<u64>>>,
    ) -> anyhow::Result<(&'static dyn Target, Program)> {
        let mode = if self.supervisor { Mode::Kernel } else { Mode::User };
        let align = u64::from(target.guest().code_align);
        let (hot, entries) = match (&self.address, ranges) {
            (Some(text), _) => {
                let address = number(text)
                    .filter(|address| address % align == 0)
                    .with_context(|| format!("--address {text}: expected an even number in hexadecimal"))?;
                let hot = fixed::reachable(target, pieces, mode, address);
                if hot.is_empty() {
                    bail!("--address {text}: no executable memory is there");
                }
                (hot, BTreeSet::from([address]))
            }
            (None, None) => {
                (fixed::all(target, pieces, mode), pieces.iter().map(|piece| piece.address).collect())
            }
            (None, Some(ranges)) => {
                let mut hot = BTreeSet::new();
                for range in &ranges {
                    let cut = pieces.iter().find_map(|piece| {
                        let start = usize::try_from(range.start.checked_sub(piece.address)?).ok()?;
                        let len = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
                        let bytes = piece.bytes.get(start..start.checked_add(len)?)?;
                        Some(Piece { address: range.start, bytes })
                    });
                    let cut = cut.ok_or(listing::DecodeError::Range(range.start, range.end))?;
                    hot.extend(fixed::all(target, &[cut], mode));
                }
                (hot, ranges.iter().map(|range| range.start).collect())
            }
        };
        Ok((target, fixed::program(target, pieces, &hot, &entries, mode)))
    }
}

/// The functions that the file names; `None` when it names none.
fn functions(elf: &Elf<'_>) -> Option<Vec<Range<u64>>> {
    let executable = |start: u64| {
        let inside = |h: &&goblin::elf::ProgramHeader| start >= h.p_vaddr && start - h.p_vaddr < h.p_filesz;
        elf.program_headers
            .iter()
            .filter(|h| h.p_type == PT_LOAD && h.p_flags & PF_X != 0)
            .any(|h| inside(&h))
    };
    let symbols = elf.syms.iter().chain(elf.dynsyms.iter());
    let ranges: BTreeSet<(u64, u64)> = symbols
        .filter(|s| s.is_function() && s.st_size > 0 && executable(s.st_value))
        .filter_map(|s| Some((s.st_value, s.st_value.checked_add(s.st_size)?)))
        .collect();
    (!ranges.is_empty()).then(|| ranges.into_iter().map(|(start, end)| start..end).collect())
}
