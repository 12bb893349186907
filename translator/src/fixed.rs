//! Code that nobody has run, as a program: what is named counts as hot. For looking at the translator's work.

use crate::isa::{Decoded, Flow, Insn, Isa};
use crate::lift::Target;
use crate::program::{PAGE, Program};
use forelift_abi::layout::RAM_BASE;
use forelift_abi::lift::{Layout, Mode, VERSION, dtlb_entries};
use forelift_abi::profile::Page;
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
    /// What is at `address`, as code of `mode`; `None` past the end.
    fn decode(&self, isa: &dyn Isa, mode: Mode, address: u64) -> Option<Decoded> {
        let at = usize::try_from(address.checked_sub(self.address)?).ok()?;
        match isa.decode(self.bytes.get(at..)?, mode) {
            Decoded::Truncated => None,
            decoded => Some(decoded),
        }
    }
}

/// Executions that a hot instruction is given.
const HOT: u32 = 1 << 10;

/// A program of `pieces`, code of `mode`, where the instructions at `hot` are executed and control comes to
/// `entries` from elsewhere.
pub fn program(
    isa: &'static dyn Isa,
    pieces: &[Piece<'_>],
    hot: &BTreeSet<u64>,
    entries: &BTreeSet<u64>,
    mode: Mode,
) -> Program {
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
                mode,
                va,
                next: None,
                counts: vec![0; PAGE as usize],
                indirect: vec![0; PAGE as usize],
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
                of(page)[(address % size) as usize] = HOT;
            }
        }
    };
    count(hot, |page| &mut page.counts);
    count(entries, |page| &mut page.indirect);
    let place: BTreeMap<u64, usize> = pages.keys().enumerate().map(|(n, &va)| (va, n)).collect();
    for page in pages.values_mut() {
        page.next = page.va.checked_add(size).and_then(|next| place.get(&next).copied());
    }
    Program::new(isa, pages.into_values().collect())
}

/// Addresses of the instructions that control can reach from `from` on without knowing the value of a
/// register: branches, jumps and what follows a call, but not the called function.
pub fn reachable(isa: &dyn Isa, pieces: &[Piece<'_>], mode: Mode, from: u64) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![from];
    while let Some(address) = todo.pop() {
        let Some(decoded) = pieces.iter().find_map(|piece| piece.decode(isa, mode, address)) else {
            continue;
        };
        if !seen.insert(address) {
            continue;
        }
        let Decoded::Insn(Insn { flow, len, .. }) = decoded else { continue };
        let next = address.wrapping_add(u64::from(len));
        let far = |delta: i32| address.wrapping_add_signed(i64::from(delta));
        match flow {
            Flow::Next | Flow::Call(_) | Flow::CallRegister | Flow::Trap => todo.push(next),
            Flow::Branch(delta) => todo.extend([next, far(delta)]),
            Flow::Jump(delta) => todo.push(far(delta)),
            // It may well come back.
            Flow::Unlifted(_) => todo.push(next),
            Flow::Return | Flow::JumpRegister | Flow::TrapReturn => {}
        }
    }
    seen
}

/// Addresses of the instructions of `pieces`, as they lie there, code of `mode`.
pub fn all(isa: &dyn Isa, pieces: &[Piece<'_>], mode: Mode) -> BTreeSet<u64> {
    let mut out = BTreeSet::new();
    for piece in pieces {
        let mut address = piece.address;
        while let Some(decoded) = piece.decode(isa, mode, address) {
            out.insert(address);
            address += match decoded {
                Decoded::Insn(insn) => u64::from(insn.len),
                Decoded::Illegal(len) => u64::from(len.max(1)),
                Decoded::Truncated => break,
            };
        }
    }
    out
}

/// A layout as a runtime in WebAssembly has it, with addresses of no runtime in particular and 256 MiB of
/// RAM.
pub fn layout(target: &dyn Target) -> Layout {
    let cpu = 0x1_0000;
    let ram_len = 256 << 20;
    Layout {
        version: u64::from(VERSION),
        machine: target.guest().machine.into(),
        cpu,
        pc: cpu + 0x200,
        left: cpu + 0x208,
        itlb: cpu + 0x400,
        itlb_entries: 1024,
        itlb_entry_size: 32,
        itlb_tag: 0,
        itlb_content: 12,
        itlb_lifted: 20,
        dtlb_user: 0x2_0000,
        dtlb_kernel: cpu + 0x220,
        dtlb_entries: dtlb_entries(ram_len),
        ram: 0x100_0000,
        ram_len,
        ram_base: RAM_BASE,
        pass_cpu: 0,
        pointer: 4,
        state: target.example_state(cpu),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::rv64::Rv64;

    /// 0: bnez a0, 8; 4: c.jr ra; 6: (no instruction); 8: jal ra, 100; c: c.j 4.
    const CODE: [u8; 14] =
        [0x63, 0x14, 0x05, 0x00, 0x82, 0x80, 0x00, 0x00, 0xef, 0x00, 0x40, 0x06, 0xe5, 0xbf];

    #[test]
    fn control_is_followed() {
        let pieces = [Piece { address: 0x1000, bytes: &CODE }];
        let seen: Vec<u64> = reachable(&Rv64, &pieces, Mode::User, 0x1000).into_iter().collect();
        assert_eq!(seen, [0x1000, 0x1004, 0x1008, 0x100c]);
        assert_eq!(
            all(&Rv64, &pieces, Mode::User).into_iter().collect::<Vec<_>>(),
            [0x1000, 0x1004, 0x1006, 0x1008, 0x100c]
        );
    }

    #[test]
    fn pages_are_cut_and_chained() {
        let pieces = [Piece { address: 0x1ffa, bytes: &CODE }];
        let hot = reachable(&Rv64, &pieces, Mode::Kernel, 0x1ffa);
        let program = program(&Rv64, &pieces, &hot, &BTreeSet::from([0x1ffa]), Mode::Kernel);
        let pages: Vec<_> = program.pages.iter().map(|p| (p.va, p.next, p.mode)).collect();
        assert_eq!(pages, [(0x1000, Some(1), Mode::Kernel), (0x2000, None, Mode::Kernel)]);
        let total: u32 = program.pages.iter().flat_map(|p| &p.counts).map(|&c| u32::from(c > 0)).sum();
        assert_eq!((total, program.pages[0].indirect[0xffa]), (4, HOT));
    }
}
