//! Code that nobody has run, as a program: what is named counts as hot. For looking at the translator's work.

use crate::program::{PAGE, Program};
use forelift_abi::layout::RAM_BASE;
use forelift_abi::lift::{Layout, VERSION, dtlb_entries};
use forelift_abi::profile::Page;
use forelift_isa::rv64::{self, Flow, Op};
use std::collections::{BTreeMap, BTreeSet};

/// Executable bytes at an address.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Where they are in memory.
    pub address: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl Piece<'_> {
    /// The bits of the instruction at `address`, and its length.
    pub fn insn(&self, address: u64) -> Option<(u32, u64)> {
        let at = usize::try_from(address.checked_sub(self.address)?).ok()?;
        let low = self.bytes.get(at..at + 2)?;
        let low = u16::from_le_bytes([low[0], low[1]]);
        if rv64::length(low) != 4 {
            return Some((u32::from(low), 2));
        }
        let high = self.bytes.get(at + 2..at + 4)?;
        Some((u32::from(low) | u32::from(u16::from_le_bytes([high[0], high[1]])) << 16, 4))
    }
}

/// Executions that a hot instruction is given.
const HOT: u32 = 1 << 10;

/// A program of `pieces`, where the instructions at `hot` are executed and control comes to `entries` from
/// elsewhere. `privilege`: 0 for U mode, 1 for S mode.
pub fn program(pieces: &[Piece<'_>], hot: &BTreeSet<u64>, entries: &BTreeSet<u64>, privilege: u8) -> Program {
    let size = PAGE as u64;
    let mut pages: BTreeMap<u64, Page> = BTreeMap::new();
    for piece in pieces {
        let mut address = piece.address;
        let mut rest = piece.bytes;
        while !rest.is_empty() {
            let offset = (address % size) as usize;
            let (now, later) = rest.split_at(rest.len().min(PAGE as usize - offset));
            let page = pages.entry(address - offset as u64).or_insert_with_key(|&va| Page {
                bytes: vec![0; PAGE as usize],
                privilege,
                va,
                next: None,
                counts: vec![0; PAGE as usize / 2],
                indirect: vec![0; PAGE as usize / 2],
                links: Vec::new(),
            });
            page.bytes[offset..offset + now.len()].copy_from_slice(now);
            address = address.wrapping_add(now.len() as u64);
            rest = later;
        }
    }
    let mut count = |addresses: &BTreeSet<u64>, of: fn(&mut Page) -> &mut Vec<u32>| {
        for address in addresses {
            if let Some(page) = pages.get_mut(&(address - address % size)) {
                of(page)[(address % size / 2) as usize] = HOT;
            }
        }
    };
    count(hot, |page| &mut page.counts);
    count(entries, |page| &mut page.indirect);
    let place: BTreeMap<u64, usize> = pages.keys().enumerate().map(|(n, &va)| (va, n)).collect();
    for page in pages.values_mut() {
        page.next = page.va.checked_add(size).and_then(|next| place.get(&next).copied());
    }
    Program::new(pages.into_values().collect())
}

/// Addresses of the instructions that control can reach from `from` on without knowing the value of a
/// register: branches, jumps and what follows a call, but not the called function.
pub fn reachable(pieces: &[Piece<'_>], from: u64) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![from];
    while let Some(address) = todo.pop() {
        let Some((bits, len)) = pieces.iter().find_map(|piece| piece.insn(address)) else { continue };
        if !seen.insert(address) {
            continue;
        }
        let Some(insn) = rv64::decode(bits) else { continue };
        let next = address.wrapping_add(len);
        match insn.flow() {
            Flow::Next | Flow::Csr => todo.push(next),
            Flow::Branch => todo.extend([Some(next), insn.target(address)].into_iter().flatten()),
            Flow::Jump if insn.rd != 0 => todo.push(next),
            Flow::Jump if insn.op == Op::Jal => todo.extend(insn.target(address)),
            Flow::Jump => {}
            // A system call comes back, mostly.
            Flow::System if insn.op == Op::Ecall => todo.push(next),
            Flow::System => {}
        }
    }
    seen
}

/// Addresses of the instructions of `pieces`, as they lie there.
pub fn all(pieces: &[Piece<'_>]) -> BTreeSet<u64> {
    let mut out = BTreeSet::new();
    for piece in pieces {
        let mut address = piece.address;
        while let Some((_, len)) = piece.insn(address) {
            out.insert(address);
            address += len;
        }
    }
    out
}

/// A layout as a runtime in WebAssembly has it, with addresses of no runtime in particular and 256 MiB of
/// RAM.
pub fn layout() -> Layout {
    let hart = 0x1_0000;
    let ram_len = 256 << 20;
    let itlb = hart + 0x400;
    Layout {
        version: u64::from(VERSION),
        x: hart,
        f: hart + 0x100,
        pc: hart + 0x200,
        left: hart + 0x208,
        fflags: hart + 0x210,
        fs: hart + 0x212,
        privilege: hart + 0x213,
        reservation: hart + 0x218,
        dtlb_supervisor: hart + 0x220,
        sscratch: hart + 0x228,
        sepc: hart + 0x230,
        scause: hart + 0x238,
        stval: hart + 0x240,
        sie_enabled: hart + 0x214,
        functions: 0,
        itlb_user: itlb,
        itlb_supervisor: itlb + 0x8000,
        itlb_entries: 1024,
        itlb_entry_size: 32,
        itlb_tag: 0,
        itlb_content: 12,
        itlb_lifted: 20,
        dtlb_user: 0x2_0000,
        dtlb_entries: dtlb_entries(ram_len),
        ram: 0x100_0000,
        ram_len,
        ram_base: RAM_BASE,
        hart,
        pass_hart: 0,
        pointer: 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0: bnez a0, 8; 4: c.jr ra; 6: (no instruction); 8: jal ra, 100; c: c.j 4.
    const CODE: [u8; 14] =
        [0x63, 0x14, 0x05, 0x00, 0x82, 0x80, 0x00, 0x00, 0xef, 0x00, 0x40, 0x06, 0xe5, 0xbf];

    #[test]
    fn control_is_followed() {
        let pieces = [Piece { address: 0x1000, bytes: &CODE }];
        let seen: Vec<u64> = reachable(&pieces, 0x1000).into_iter().collect();
        assert_eq!(seen, [0x1000, 0x1004, 0x1008, 0x100c]);
        assert_eq!(all(&pieces).into_iter().collect::<Vec<_>>(), [0x1000, 0x1004, 0x1006, 0x1008, 0x100c]);
    }

    #[test]
    fn pages_are_cut_and_chained() {
        let pieces = [Piece { address: 0x1ffa, bytes: &CODE }];
        let hot = reachable(&pieces, 0x1ffa);
        let program = program(&pieces, &hot, &BTreeSet::from([0x1ffa]), 1);
        let pages: Vec<_> = program.pages.iter().map(|p| (p.va, p.next, p.privilege)).collect();
        assert_eq!(pages, [(0x1000, Some(1), 1), (0x2000, None, 1)]);
        let total: u32 = program.pages.iter().flat_map(|p| &p.counts).map(|&c| u32::from(c > 0)).sum();
        assert_eq!((total, program.pages[0].indirect[0xffa / 2]), (4, HOT));
    }
}
