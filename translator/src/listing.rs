//! First stage: the code of an ELF file as instructions, cut into basic blocks.
//!
//! Decoding is linear within a range (a symbol or an executable section). A block begins at the range's
//! start, at a direct target inside the range, and after an instruction that ends one. Targets of indirect
//! jumps are not known here.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::guests;
use crate::isa::{Decoded, Flow, Insn, Isa};
use crate::lift::Target;
use forelift_abi::lift::Mode;
use goblin::elf::{Elf, program_header::PF_X, program_header::PT_LOAD};
use thiserror::Error;

/// Why a file cannot be decoded.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Not an ELF file, or a damaged one.
    #[error("not a usable ELF file: {0}")]
    Elf(#[from] goblin::error::Error),
    /// Another machine's code.
    #[error("ELF machine {0} is not supported: {known} is", known = guests::names())]
    Machine(u16),
    /// The range is not code of the file.
    #[error("{0:#x}..{1:#x} does not lie in an executable segment of the file")]
    Range(u64, u64),
    /// No such symbol.
    #[error("no function symbol `{0}` with a size: the file may be stripped, give a range instead")]
    Symbol(String),
}

/// One decoded piece: an instruction, or bytes that are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Address of the first byte.
    pub address: u64,
    /// The instruction; `None` for bytes that are none.
    pub insn: Option<Insn>,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether a basic block begins here.
    pub leader: bool,
}

/// The executable bytes of `file` at `range`.
fn code<'a>(file: &'a [u8], elf: &Elf<'_>, range: &Range<u64>) -> Result<&'a [u8], DecodeError> {
    let outside = || DecodeError::Range(range.start, range.end);
    let segment = elf
        .program_headers
        .iter()
        .filter(|h| h.p_type == PT_LOAD && h.p_flags & PF_X != 0)
        .find(|h| {
            range.start >= h.p_vaddr && h.p_vaddr.checked_add(h.p_filesz).is_some_and(|end| range.end <= end)
        })
        .ok_or_else(outside)?;
    let start = segment.p_offset.checked_add(range.start - segment.p_vaddr).ok_or_else(outside)?;
    let len = range.end.checked_sub(range.start).ok_or_else(outside)?;
    let end = start.checked_add(len).ok_or_else(outside)?;
    file.get(start as usize..end as usize).ok_or_else(outside)
}

/// Address range of the function symbol `name`.
///
/// # Errors
/// [`DecodeError::Symbol`].
pub fn symbol(elf: &Elf<'_>, name: &str) -> Result<Range<u64>, DecodeError> {
    let find = |symbols: &goblin::elf::Symtab<'_>, names: &goblin::strtab::Strtab<'_>| {
        symbols
            .iter()
            .find(|s| s.is_function() && s.st_size > 0 && names.get_at(s.st_name) == Some(name))
            .map(|s| s.st_value..s.st_value.saturating_add(s.st_size))
    };
    find(&elf.syms, &elf.strtab)
        .or_else(|| find(&elf.dynsyms, &elf.dynstrtab))
        .ok_or_else(|| DecodeError::Symbol(name.to_owned()))
}

/// Parses `file` as an ELF file of a guest, whose code can be lifted.
///
/// # Errors
/// [`DecodeError::Elf`], [`DecodeError::Machine`].
pub fn parse(file: &[u8]) -> Result<(Elf<'_>, &'static dyn Target), DecodeError> {
    let elf = Elf::parse(file)?;
    let target = guests::of_machine(elf.header.e_machine).filter(|_| elf.is_64);
    let target = target.ok_or(DecodeError::Machine(elf.header.e_machine))?;
    Ok((elf, target))
}

/// Decodes `range` of `file`.
///
/// # Errors
/// [`DecodeError::Range`].
pub fn decode(
    file: &[u8],
    elf: &Elf<'_>,
    isa: &dyn Isa,
    range: Range<u64>,
) -> Result<Vec<Line>, DecodeError> {
    let bytes = code(file, elf, &range)?;
    Ok(lines(isa, bytes, range.start))
}

/// Decodes `bytes` that lie at `base`. Half an instruction at the end is left out.
pub fn lines(isa: &dyn Isa, bytes: &[u8], base: u64) -> Vec<Line> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..) {
        let (insn, len) = match isa.decode(rest, Mode::User) {
            Decoded::Insn(insn) => (Some(insn), usize::from(insn.len)),
            Decoded::Illegal(len) => (None, usize::from(len.max(1))),
            Decoded::Truncated => break,
        };
        let address = base.wrapping_add(at as u64);
        let bytes = rest[..len.min(rest.len())].to_vec();
        out.push(Line { address, insn, bytes, leader: false });
        at += len;
    }
    mark_leaders(&mut out);
    out
}

/// Where an instruction leads directly besides the next one.
fn target(line: &Line) -> Option<u64> {
    match line.insn?.flow {
        Flow::Branch(delta) | Flow::Jump(delta) | Flow::Call(delta) => {
            Some(line.address.wrapping_add_signed(i64::from(delta)))
        }
        _ => None,
    }
}

fn mark_leaders(lines: &mut [Line]) {
    let targets: BTreeSet<u64> = lines.iter().filter_map(target).collect();
    let mut after_end = true;
    for line in lines {
        line.leader = after_end || targets.contains(&line.address);
        after_end = line.insn.is_none_or(|insn| insn.flow != Flow::Next || insn.remaps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::rv64::Rv64;

    /// loop: addi a0,a0,-1; bnez a0,loop; c.jr ra; an all-zero halfword; c.nop; half an instruction.
    const CODE: [u8; 18] = [
        0x13, 0x05, 0xf5, 0xff, 0xe3, 0x1e, 0x05, 0xfe, 0x82, 0x80, 0x00, 0x00, 0x01, 0x00, 0x13, 0x05, 0xf5,
        0xff,
    ];

    #[test]
    fn blocks_begin_where_control_can_come_in() {
        let lines = lines(&Rv64, &CODE, 0x1000);
        let seen: Vec<_> =
            lines.iter().map(|l| (l.address, l.bytes.len(), l.leader, l.insn.is_some())).collect();
        assert_eq!(
            seen,
            [
                (0x1000, 4, true, true),
                (0x1004, 4, false, true),
                (0x1008, 2, true, true),
                (0x100a, 2, true, false),
                (0x100c, 2, true, true),
                (0x100e, 4, false, true),
            ]
        );
        assert_eq!(target(&lines[1]), Some(0x1000));
    }

    #[test]
    fn pieces_at_the_end_are_left_out() {
        for cut in 0..CODE.len() {
            let total: usize = lines(&Rv64, &CODE[..cut], 0).iter().map(|l| l.bytes.len()).sum();
            assert!(total <= cut && cut - total < 4, "{cut}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(parse(b"no ELF file at all"), Err(DecodeError::Elf(_))));
        let mut header = vec![0u8; 64];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        header[16] = 2;
        header[18] = 62;
        header[20] = 1;
        header[52] = 64;
        assert!(matches!(parse(&header), Err(DecodeError::Machine(62))));
    }
}
