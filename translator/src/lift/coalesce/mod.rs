//! Coalescing TLB probes: which accesses share one.
//!
//! # Windows
//! A *window* is a stretch of memory, shorter than a page, at a fixed distance from one value of a register.
//! One access opens it by probing the data TLB for its first and last page, mostly the same one; those that
//! follow and lie inside need no probe. An open window stays valid until the function calls something or
//! executes what may remap memory: whatever changes a translation leaves all lifted frames, and no page
//! becomes one with code meanwhile.
//!
//! A window covers only what its block accesses anyway, so it asks for nothing that the guest would not do.
//! When it cannot be opened, the interpreter executes these accesses one by one, after which the TLB knows
//! their pages.
//!
//! # Two pages
//! In the kernel nearly all memory is mapped in one piece (kernel stacks and all objects of the allocators
//! lie in the direct map), so a window leaves when its two pages are not neighbours in RAM, too. In programs
//! they rarely are, and a stack's frame may lie across them for a whole run: both translations are kept, and
//! each access selects.
//!
//! # Method
//! Values of registers are numbered in the whole function: sums of a root and a constant, so that `mv` and
//! `addi` lead back to the register that a program computed them from. Windows are proposed for each block by
//! itself; then those are dropped whose accesses all lie in windows that are open on every path to them.

use crate::isa::{self, ADDRESS_REGISTERS, Access, Insn, bits};
use crate::region::{Block, Function};
use std::collections::BTreeMap;

/// Distance between the first and the last granule of a window at most: less than a page, so that it has two
/// pages at most.
const REACH: i32 = 2048;
/// Accesses that make a window over more than one granule worth its second probe, in programs and in the
/// kernel.
const WORTH: [usize; 2] = [3, 2];
/// Rounds of dropping windows at most.
const ROUNDS: usize = 8;

/// A stretch of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// First granule, relative to the root value.
    pub(super) low: i32,
    /// Last granule, at or after `low`.
    pub(super) high: i32,
    /// Size of the largest access, to which the window is aligned.
    pub(super) granule: u8,
    /// Whether it can be written. Then it can be read, too (privileged manual, table "Encoding of PTE R/W/X
    /// fields").
    pub(super) write: bool,
    root: u32,
}

impl Window {
    fn covers(&self, root: u32, reference: &Reference) -> bool {
        let (offset, bytes) = (reference.offset, i32::from(reference.bytes));
        self.root == root
            && (self.write || !reference.write)
            && reference.bytes <= self.granule
            && self.low <= offset
            && offset + bytes <= self.high + i32::from(self.granule)
            && (offset - self.low) % bytes == 0
    }
}

/// What to do for one access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// Number of its window.
    pub(super) window: usize,
    /// Where it is, relative to the window's root.
    pub(super) offset: i32,
    /// Whether it opens the window.
    pub(super) opens: bool,
}

/// The windows of a function, and the accesses that use them by their blocks and positions.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) windows: Vec<Window>,
    accesses: BTreeMap<(i32, usize), Planned>,
}

impl Plan {
    pub(super) fn get(&self, block: i32, position: usize) -> Option<Planned> {
        self.accesses.get(&(block, position)).copied()
    }
}

/// A register's value: what was defined at `root`, plus `delta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    root: u32,
    delta: i32,
}

type Values = [Sum; ADDRESS_REGISTERS];

/// A load or a store.
#[derive(Clone, Copy, Debug)]
struct Reference {
    position: usize,
    offset: i32,
    bytes: u8,
    write: bool,
}

/// What happens in a block, as far as windows are concerned.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// An access relative to a root.
    Refers(u32, Reference),
    /// Probes from before hold no more.
    Forgets,
}

/// A proposed window and its accesses.
struct Group {
    window: Window,
    block: usize,
    members: Vec<Reference>,
    open: bool,
    /// Nothing covers it.
    stays: bool,
}

struct Planner<'a> {
    function: &'a Function,
    blocks: Vec<&'a Block>,
    /// Numbers of the blocks that each block goes on to.
    next: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
    /// Number of each block's first instruction, after those of the values that blocks begin with.
    first: Vec<u32>,
    events: Vec<Vec<Event>>,
    groups: Vec<Group>,
    /// The group that each access would open, by block and position.
    openers: BTreeMap<(usize, usize), usize>,
}

/// Plans the windows of `function`.
pub(super) fn plan(function: &Function) -> Plan {
    let numbers: BTreeMap<i32, usize> = function.blocks.keys().enumerate().map(|(n, &a)| (a, n)).collect();
    let blocks: Vec<&Block> = function.blocks.values().collect();
    let next: Vec<Vec<usize>> = blocks
        .iter()
        .map(|b| b.successors().filter(|&to| function.stays(b, to)).map(|to| numbers[&to]).collect())
        .collect();
    let mut before = vec![Vec::new(); blocks.len()];
    for (from, to) in next.iter().enumerate().flat_map(|(from, all)| all.iter().map(move |&to| (from, to))) {
        before[to].push(from);
    }
    let mut number = 32 * blocks.len() as u32;
    let mut first = Vec::with_capacity(blocks.len());
    for block in &blocks {
        first.push(number);
        number += block.insns.len() as u32;
    }
    let mut planner = Planner {
        function,
        blocks,
        next,
        before,
        first,
        events: Vec::new(),
        groups: Vec::new(),
        openers: BTreeMap::new(),
    };
    planner.events = planner
        .number()
        .into_iter()
        .enumerate()
        .map(|(n, at)| at.map(|at| planner.walk(n, at).1).unwrap_or_default())
        .collect();
    for block in 0..planner.blocks.len() {
        planner.propose(block);
    }
    planner.drop_covered();
    planner.finish()
}

impl Planner<'_> {
    /// The values at the beginning of each block that can be reached.
    ///
    /// A value is known where all ways there agree, so its definition is on each of them. None is known at
    /// its own definition (on the first way there it was not defined yet), so no value changes under a
    /// register that has it, nor under a window that is open.
    fn number(&self) -> Vec<Option<Values>> {
        let fresh = |block: usize| -> Values {
            std::array::from_fn(|r| Sum { root: (32 * block + r) as u32, delta: 0 })
        };
        let mut ends: Vec<Option<Values>> = vec![None; self.blocks.len()];
        let mut begins = ends.clone();
        loop {
            let mut changed = false;
            for block in 0..self.blocks.len() {
                let own = fresh(block);
                // Registers are loaded anew there: no value is known to be one from before, so no window goes
                // on after a call.
                let entered = self.function.entries.contains(&self.blocks[block].start);
                let called = self.before[block].iter().any(|&from| self.blocks[from].calls());
                let mut all = self.before[block].iter().filter_map(|&from| ends[from]);
                let begin = if entered || called {
                    Some(own)
                } else {
                    all.next().map(|first| {
                        let differs = all.fold(0u32, |set, other| {
                            (0..32).fold(set, |set, r| set | u32::from(other[r] != first[r]) << r)
                        });
                        // What differed once stays a value of the block's own, so that this ends.
                        let was = begins[block].unwrap_or(first);
                        std::array::from_fn(|r| {
                            if differs >> r & 1 != 0 || was[r] == own[r] { own[r] } else { first[r] }
                        })
                    })
                };
                let Some(begin) = begin else { continue };
                if begins[block] != Some(begin) {
                    begins[block] = Some(begin);
                    ends[block] = Some(self.walk(block, begin).0);
                    changed = true;
                }
            }
            if !changed {
                return begins;
            }
        }
    }

    /// The values at the end of a block, and what happens in it.
    fn walk(&self, number: usize, mut values: Values) -> (Values, Vec<Event>) {
        let block = self.blocks[number];
        let mut events = Vec::new();
        let mut skips = block.skips.iter().peekable();
        let mut skipped = 0;
        for (position, (_, insn)) in block.insns.iter().enumerate() {
            if let Some((_, count)) = skips.next_if(|(branch, _)| *branch == position) {
                skipped = position + 1 + count;
            }
            if let Some((base, reference)) = reference(position, insn, &values) {
                events.push(Event::Refers(base, reference));
            }
            if insn.remaps {
                events.push(Event::Forgets);
            }
            let written = insn.writes as u32;
            let sum = sum(insn, &values).filter(|_| position >= skipped);
            for r in (0..ADDRESS_REGISTERS).filter(|r| written >> r & 1 != 0) {
                let root = self.first[number] + position as u32;
                values[r] = sum.unwrap_or(Sum { root, delta: 0 });
            }
        }
        (values, events)
    }

    /// Proposes windows for the accesses of a block.
    fn propose(&mut self, block: usize) {
        let mut pending: BTreeMap<u32, Vec<Reference>> = BTreeMap::new();
        let mut complete: Vec<(u32, Vec<Reference>)> = Vec::new();
        for event in &self.events[block] {
            match *event {
                Event::Refers(root, reference) => pending.entry(root).or_default().push(reference),
                Event::Forgets => complete.extend(std::mem::take(&mut pending)),
            }
        }
        complete.extend(pending);
        let worth = WORTH[usize::from(self.function.mode.is_kernel())];
        for (root, references) in complete {
            let mut clusters: Vec<Vec<Reference>> = Vec::new();
            for reference in references {
                match clusters.iter_mut().find(|c| window(root, c, Some(reference)).is_some()) {
                    Some(cluster) => cluster.push(reference),
                    None => clusters.push(vec![reference]),
                }
            }
            for cluster in clusters {
                let Some(whole) = window(root, &cluster, None) else { continue };
                if whole.low == whole.high || cluster.len() >= worth {
                    self.add(block, whole, cluster);
                    continue;
                }
                for reference in cluster {
                    if let Some(single) = window(root, &[reference], None) {
                        self.add(block, single, vec![reference]);
                    }
                }
            }
        }
    }

    fn add(&mut self, block: usize, window: Window, members: Vec<Reference>) {
        self.openers.insert((block, members[0].position), self.groups.len());
        self.groups.push(Group { window, block, members, open: true, stays: false });
    }

    /// Drops the windows whose accesses lie in others that are open whenever they are reached.
    fn drop_covered(&mut self) {
        for round in 0.. {
            let open = self.open_at_begin();
            let mut changed = false;
            for number in 0..self.groups.len() {
                let group = &self.groups[number];
                let covered = self.is_covered(number, &open[group.block]);
                let group = &mut self.groups[number];
                if group.open && covered && !group.stays && round < ROUNDS {
                    group.open = false;
                    changed = true;
                } else if !group.open && !covered {
                    // It was dropped for one that was dropped, too.
                    (group.open, group.stays) = (true, true);
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// The groups by block whose windows are open at its beginning, as bits.
    fn open_at_begin(&self) -> Vec<Vec<u64>> {
        let words = self.groups.len().div_ceil(64);
        let mut begins = vec![vec![u64::MAX; words]; self.blocks.len()];
        for (block, begin) in begins.iter_mut().enumerate() {
            if self.before[block].is_empty() || self.function.entries.contains(&self.blocks[block].start) {
                begin.fill(0);
            }
        }
        let mut todo: Vec<usize> = (0..self.blocks.len()).rev().collect();
        while let Some(block) = todo.pop() {
            let mut open = begins[block].clone();
            self.pass(block, &mut open, |_, _, _| {});
            for &to in &self.next[block] {
                let mut changed = false;
                for (known, new) in begins[to].iter_mut().zip(&open) {
                    changed |= *known & !new != 0;
                    *known &= new;
                }
                if changed {
                    todo.push(to);
                }
            }
        }
        begins
    }

    /// The open group that an access opens.
    fn opener(&self, block: usize, reference: &Reference) -> Option<usize> {
        self.openers.get(&(block, reference.position)).copied().filter(|&group| self.groups[group].open)
    }

    /// Goes through a block with the set of windows that are open; `seen` gets each access with its root and
    /// the windows before it.
    fn pass(&self, block: usize, open: &mut [u64], mut seen: impl FnMut(u32, &Reference, &[u64])) {
        for event in &self.events[block] {
            match event {
                Event::Refers(root, reference) => {
                    seen(*root, reference, open);
                    if let Some(group) = self.opener(block, reference) {
                        open[group / 64] |= 1 << (group % 64);
                    }
                }
                Event::Forgets => open.fill(0),
            }
        }
    }

    /// Whether all accesses of a group lie in windows that are open at the beginning of its block, or opened
    /// by other groups of the block.
    fn is_covered(&self, number: usize, begin: &[u64]) -> bool {
        let group = &self.groups[number];
        let mut open = begin.to_vec();
        let mut covered = 0;
        self.pass(group.block, &mut open, |root, reference, open| {
            let is_member = group.members.iter().any(|member| member.position == reference.position);
            covered += usize::from(is_member && self.covering(root, reference, open, number).is_some());
        });
        covered == group.members.len()
    }

    /// An open window other than that of the group `but` in which an access lies.
    fn covering(&self, root: u32, reference: &Reference, open: &[u64], but: usize) -> Option<usize> {
        numbers(open).find(|&n| {
            n != but && self.groups.get(n).is_some_and(|g| g.open && g.window.covers(root, reference))
        })
    }

    /// What becomes of each access. A window that nothing uses but the access that opens it is dropped.
    fn finish(self) -> Plan {
        let begins = self.open_at_begin();
        let mut accesses = BTreeMap::new();
        let mut uses = vec![0; self.groups.len()];
        for (block, begin) in begins.into_iter().enumerate() {
            let mut open = begin;
            let start = self.blocks[block].start;
            self.pass(block, &mut open, |root, reference, open| {
                let inside = self.covering(root, reference, open, usize::MAX);
                let opens = self.opener(block, reference);
                let Some(window) = opens.or(inside) else { return };
                uses[window] += 1;
                let planned = Planned { window, offset: reference.offset, opens: opens.is_some() };
                accesses.insert((start, reference.position), planned);
            });
        }
        accesses.retain(|_, planned| uses[planned.window] > 1);
        Plan { windows: self.groups.into_iter().map(|group| group.window).collect(), accesses }
    }
}

/// The numbers of the bits of a set of any size.
fn numbers(set: &[u64]) -> impl Iterator<Item = usize> {
    set.iter().enumerate().flat_map(|(n, &word)| bits(word).map(move |bit| 64 * n + bit as usize))
}

/// The load or store that an instruction is, and the root of its address.
fn reference(position: usize, insn: &Insn, values: &Values) -> Option<(u32, Reference)> {
    let Access { base, offset, bytes, write } = insn.access?;
    let Sum { root, delta } = values[usize::from(base)];
    Some((root, Reference { position, offset: delta + offset, bytes, write }))
}

/// What an instruction writes, if that is a sum of what a register held and a constant.
fn sum(insn: &Insn, values: &Values) -> Option<Sum> {
    let isa::Sum { register, constant } = insn.sum?;
    let Sum { root, delta } = values[usize::from(register)];
    let delta = delta + constant;
    // Far from it, no window would have two.
    (delta.abs() < 1 << 20).then_some(Sum { root, delta })
}

/// The window over these accesses, if they go together.
fn window(root: u32, members: &[Reference], more: Option<Reference>) -> Option<Window> {
    let all = || members.iter().chain(&more);
    let granule = all().map(|r| r.bytes).max()?;
    let anchor = all().find(|r| r.bytes == granule)?.offset;
    if all().any(|r| (r.offset - anchor) % i32::from(r.bytes) != 0) {
        return None;
    }
    let down = |offset: i32| anchor + (offset - anchor).div_euclid(i32::from(granule)) * i32::from(granule);
    let (low, high) = (down(all().map(|r| r.offset).min()?), down(all().map(|r| r.offset).max()?));
    let write = all().any(|r| r.write);
    (high - low <= REACH).then_some(Window { low, high, granule, write, root })
}

#[cfg(test)]
mod tests;
