//! Regions: which hot code becomes one function.
//!
//! # Method
//! 1. *Leaders*: the first instructions of basic blocks are the targets of hot branches, jumps and calls,
//!    what follows them, and what indirect jumps came to.
//! 2. *Growth*: from each seed (called functions first, then other targets of indirect jumps, then what is
//!    left, hottest first), blocks are taken along direct edges, hottest first, to a limit. A block belongs
//!    to one region.
//! 3. *Entry points*: places where control can come in from elsewhere: the seed, loop heads (an interrupt or
//!    a TLB miss has to find back), return sites, targets of indirect jumps and of other regions.
//! 4. *Functions*: an entry point in the middle of a loop would make the loop irreducible. So the region's
//!    first function has the entry points that lie in no loop, and of each outermost loop its head. The
//!    others go to *resume functions*: copies of what is reachable from them, cut where an entry point that
//!    is there already is reached. Each of these rounds opens one level of loops. So hot loops pay nothing
//!    for being resumable.
//!
//! Linear in the code but for sorting; a resume function copies at most its region.

mod if_convert;

use crate::program::{At, PAGE, Program};
use forelift_isa::rv64::{Flow, Insn, Op};
use if_convert::Joining;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

/// What regions are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Executions from which on an instruction is hot.
    pub threshold: u32,
    /// Instructions of a region at most.
    pub insns: usize,
    /// Rounds of resume functions at most.
    pub rounds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { threshold: 16, insns: 4000, rounds: 4 }
    }
}

/// How a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It goes on behind the last instruction.
    Next,
    /// A conditional branch, the last instruction, to this place relative to it.
    Branch(i32),
    /// A direct jump without a link.
    Jump(i32),
    /// A direct call.
    Call(i32),
    /// A call of a register's value.
    CallRegister,
    /// A return: a jump to the value of `ra` or `t0`.
    Return,
    /// Another jump to a register's value.
    JumpRegister,
    /// A system call of U mode.
    Ecall,
    /// The return from a trap.
    Sret,
    /// Behind the last instruction is one that is not lifted.
    Leave,
}

/// Instructions of a block at most: a longer one is cut, so that it does not have to fit into a region as a
/// whole.
pub(crate) const MAX_BLOCK: usize = 200;

/// Page numbers that a region may have.
const REACH: std::ops::Range<i32> = -31..32;

/// A basic block. Addresses are relative to the first byte of the region's page number 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Address.
    pub start: i32,
    /// Address behind the last instruction.
    pub end_address: i32,
    /// Instructions with their addresses; the control transfer is among them.
    pub insns: Vec<(i32, Insn)>,
    /// Forward branches among its instructions: position, and how many instructions behind it are skipped
    /// when it is taken. They are arithmetic only.
    pub skips: Vec<(usize, usize)>,
    /// How it ends.
    pub end: End,
    /// Executions of its first instruction.
    pub count: u32,
}

impl Block {
    /// Whether its only instruction lies across a page's end.
    pub fn straddles(&self) -> bool {
        self.start.rem_euclid(PAGE) == PAGE - 2 && self.end_address - self.start == 4
    }

    /// Where control goes directly, within a function.
    pub fn successors(&self) -> impl Iterator<Item = i32> {
        let last = self.insns.last().map_or(self.start, |(at, _)| *at);
        let (a, b) = match self.end {
            End::Next => (Some(self.end_address), None),
            End::Branch(delta) => (Some(self.end_address), Some(last + delta)),
            End::Jump(delta) => (Some(last + delta), None),
            End::Call(_) | End::CallRegister | End::Ecall => (Some(self.end_address), None),
            End::Return | End::JumpRegister | End::Sret | End::Leave => (None, None),
        };
        a.into_iter().chain(b)
    }
}

/// What becomes one lifted function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// 0: U mode, 1: S mode.
    pub privilege: u8,
    /// Number of the program's page by page number of the region.
    pub pages: BTreeMap<i32, usize>,
    /// Its blocks by address.
    pub blocks: BTreeMap<i32, Block>,
    /// Addresses of its entry points, by number; the first one is where the region begins, if it is among
    /// them.
    pub entries: Vec<i32>,
    /// Addresses outside of its blocks that are entry points of other functions.
    pub elsewhere: BTreeSet<i32>,
    /// Edges, from block to block, that leave the function although their target is in it: they would go into
    /// a loop by a second way.
    pub cuts: BTreeSet<(i32, i32)>,
    /// Addresses that it calls and that are the first entry point of some function.
    pub calls: BTreeSet<i32>,
    /// Whether one of its entry points is reached by jumps to a register's value.
    pub is_jumped_to: bool,
    /// Executed instructions that it stands for, in training.
    pub weight: u64,
    /// Whether it is a resume function.
    pub resumes: bool,
}

impl Function {
    /// Whether a jump to a register's value may lead back into it.
    pub fn jumps_inside(&self) -> bool {
        self.is_jumped_to && self.blocks.values().any(|block| block.end == End::JumpRegister)
    }

    /// Whether the edge from `block` to the address `next` stays in the function.
    pub fn stays(&self, block: &Block, next: i32) -> bool {
        self.blocks.contains_key(&next) && !self.cuts.contains(&(block.start, next))
    }

    /// Where an address in one of its pages is in the program.
    pub fn place(&self, address: i32) -> Option<At> {
        let page = *self.pages.get(&address.div_euclid(PAGE))?;
        Some(At { page, offset: address.rem_euclid(PAGE) as u16 })
    }

    /// Where its first entry point is.
    pub fn first(&self) -> Option<At> {
        self.place(*self.entries.first()?)
    }

    /// Number of instructions.
    pub fn insns(&self) -> usize {
        self.blocks.values().map(|b| b.insns.len()).sum()
    }
}

/// Functions that go together: a region's own and its resume functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// The functions, the region's own first.
    pub functions: Vec<Function>,
}

/// Why an instruction is not lifted in code of this privilege (0: U mode), for the report.
pub fn not_lifted(insn: Result<Insn, u32>, privilege: u8) -> Option<&'static str> {
    match insn {
        Err(_) => Some("illegal"),
        Ok(insn) if insn.flow() == Flow::System && trap_end(&insn, privilege).is_none() => {
            Some(insn.op.mnemonic())
        }
        Ok(_) => None,
    }
}

/// How a block ends that a system instruction ends, if it is lifted: a call of the firmware, in S mode, is
/// not.
fn trap_end(insn: &Insn, privilege: u8) -> Option<End> {
    match insn.op {
        Op::Ecall if privilege == 0 => Some(End::Ecall),
        Op::Sret if privilege != 0 => Some(End::Sret),
        _ => None,
    }
}

struct Leaders<'a> {
    program: &'a Program,
    limits: Limits,
    set: BTreeSet<At>,
    called: BTreeSet<At>,
    returns: BTreeSet<At>,
    resumes: BTreeSet<At>,
    /// Chain and position of where functions begin, as far as calls tell.
    begins: BTreeSet<(usize, i32)>,
    /// The same of what jumps to a register's value came to.
    jumped_to: BTreeMap<(usize, i32), At>,
}

impl<'a> Leaders<'a> {
    fn find(program: &'a Program, limits: Limits) -> Self {
        let mut leaders = Leaders {
            program,
            limits,
            set: BTreeSet::new(),
            called: BTreeSet::new(),
            returns: BTreeSet::new(),
            resumes: BTreeSet::new(),
            begins: BTreeSet::new(),
            jumped_to: BTreeMap::new(),
        };
        for page in 0..program.pages.len() {
            for halfword in 0..2048u16 {
                let at = At { page, offset: halfword * 2 };
                if leaders.is_hot(at) {
                    leaders.note(at);
                }
            }
        }
        leaders.begins = leaders.called.iter().map(|&at| program.position(at)).collect();
        let is_target = |at: &At| {
            leaders.is_hot(*at)
                && program.indirect(*at) > 0
                && !leaders.returns.contains(at)
                && !leaders.called.contains(at)
        };
        leaders.jumped_to =
            leaders.set.iter().filter(|at| is_target(at)).map(|&at| (program.position(at), at)).collect();
        leaders
    }

    /// Where the jump to a register's value that ends the block at `at` may lead within its function, and how
    /// far that is. A function reaches from one called place to the next.
    fn jump_targets(&self, at: At) -> Vec<(At, i32)> {
        let (chain, here) = self.program.position(at);
        let from = self.begins.range(..=(chain, here)).next_back();
        let to = self.begins.range((chain, here + 1)..).next();
        let within = |place: Option<&(usize, i32)>| place.filter(|(c, _)| *c == chain).map(|(_, at)| *at);
        let (from, to) = (within(from).unwrap_or(i32::MIN), within(to).unwrap_or(i32::MAX));
        self.jumped_to
            .range((chain, from)..(chain, to))
            .map(|((_, position), at)| (*at, position - here))
            .collect()
    }

    /// The jump behind an `auipc`, when the two go to a place that is known: the jump, and how far that is
    /// from it.
    fn far(&self, at: At, auipc: &Insn) -> Option<(Insn, i32)> {
        if auipc.op != Op::Auipc {
            return None;
        }
        let next = self.program.step(at, 4)?;
        let jump = self.program.insn(next)?.ok()?;
        Some((jump, far(auipc, &jump)?))
    }

    fn is_hot(&self, at: At) -> bool {
        self.program.count(at) >= self.limits.threshold
    }

    fn note(&mut self, at: At) {
        let program = self.program;
        if program.indirect(at) > 0 || at.offset == 0 {
            self.set.insert(at);
        }
        let Some(insn) = program.insn(at) else { return };
        let Ok(decoded) = insn else { return };
        let len = i32::from(decoded.len);
        if at.offset == 4094 && len == 4 {
            self.set.insert(at);
        }
        let next = program.step(at, len);
        if let Some((jump, delta)) = self.far(at, &decoded) {
            let target = program.step(at, len).and_then(|at| program.jump(at, delta));
            self.set.extend(target);
            self.called.extend(target.filter(|_| is_link(jump.rd)));
        }
        let mut leader = |at: Option<At>| at.is_some_and(|at| self.set.insert(at));
        match decoded.flow() {
            Flow::Next | Flow::Csr => {
                // What follows an instruction across pages begins a block of the second page.
                if at.offset == 4094 && len == 4 {
                    leader(next);
                }
            }
            Flow::Branch => {
                leader(next);
                leader(program.step(at, decoded.imm));
            }
            Flow::Jump => {
                let target = (decoded.op == Op::Jal).then(|| program.jump(at, decoded.imm)).flatten();
                leader(target);
                if is_link(decoded.rd) {
                    leader(next);
                    self.returns.extend(next);
                    self.called.extend(target);
                }
            }
            Flow::System => {
                leader(next);
                self.resumes.extend(next);
            }
        }
    }
}

/// Whether a register holds return addresses by convention (unprivileged manual, table of return-address
/// prediction hints).
fn is_link(register: u8) -> bool {
    register == 1 || register == 5
}

/// Where a `jalr` goes, relative to it, when `before` is an `auipc` right in front of it that makes its
/// register.
fn far(before: &Insn, jump: &Insn) -> Option<i32> {
    let pair = before.op == Op::Auipc && jump.op == Op::Jalr && before.rd == jump.rs1 && jump.rs1 != 0;
    pair.then(|| before.imm.checked_add(jump.imm)?.checked_sub(4)).flatten().filter(|delta| delta % 2 == 0)
}

/// The block at `at`, whose address in its region is `start`.
fn block(program: &Program, leaders: &BTreeSet<At>, at: At, start: i32) -> Option<Block> {
    let mut insns = Vec::new();
    let mut here = at;
    let mut address = start;
    let privilege = program.pages[at.page].privilege;
    let end = loop {
        let insn = program.insn(here)?;
        if not_lifted(insn, privilege).is_some() {
            break End::Leave;
        }
        let Ok(insn) = insn else { break End::Leave };
        insns.push((address, insn));
        address += i32::from(insn.len);
        match insn.flow() {
            Flow::Branch => break End::Branch(insn.imm),
            Flow::Jump => {
                let before = insns.len().checked_sub(2).map(|n| &insns[n]);
                let near = before.filter(|(there, before)| there + i32::from(before.len) == address - 4);
                break jump(&insn, near.and_then(|(_, before)| far(before, &insn)));
            }
            Flow::System => break trap_end(&insn, privilege).unwrap_or(End::Leave),
            _ => {}
        }
        match program.step(here, i32::from(insn.len)) {
            Some(next) if !leaders.contains(&next) && next.page == at.page && insns.len() < MAX_BLOCK => {
                here = next
            }
            _ => break End::Next,
        }
    };
    Some(Block { start, end_address: address, insns, skips: Vec::new(), end, count: program.count(at) })
}

/// How a block ends that a jump ends; `far` is where a `jalr` is known to go.
fn jump(insn: &Insn, far: Option<i32>) -> End {
    let delta = if insn.op == Op::Jal { Some(insn.imm) } else { far };
    match (delta, insn.rd) {
        (Some(delta), 0) => End::Jump(delta),
        (Some(delta), _) => End::Call(delta),
        (None, 0) if is_link(insn.rs1) => End::Return,
        // Who links elsewhere, as stubs of the PLT do with t1, does not come back.
        (None, link) if !is_link(link) => End::JumpRegister,
        (None, _) => End::CallRegister,
    }
}

/// A region before its functions are made.
struct Grown {
    privilege: u8,
    seed: i32,
    pages: BTreeMap<i32, usize>,
    blocks: BTreeMap<i32, Block>,
}

/// Which regions have which blocks.
struct Claims {
    owner: BTreeMap<At, usize>,
}

/// The regions of a program, in a fixed order.
pub fn regions(program: &Program, limits: Limits) -> Vec<Region> {
    let leaders = Leaders::find(program, limits);
    let mut claims = Claims { owner: BTreeMap::new() };
    let mut grown: Vec<Grown> = Vec::new();
    let mut seeds: VecDeque<At> = seeds(&leaders).into();
    while let Some(seed) = seeds.pop_front() {
        if claims.owner.contains_key(&seed) {
            continue;
        }
        // What did not fit begins a region of its own.
        if let Some(region) = grow(&leaders, &mut claims, seed, grown.len(), &mut seeds) {
            grown.push(region);
        }
    }
    let wanted = wanted(&leaders, &claims, &grown);
    // Every wanted place of a region becomes an entry point, or is none: only then is known where jumps can
    // go.
    let mut made: Vec<Vec<Function>> =
        grown.iter().zip(&wanted).map(|(region, wanted)| functions(region, wanted, limits)).collect();
    let entries: BTreeSet<At> = grown
        .iter()
        .zip(&made)
        .flat_map(|(region, functions)| {
            functions.iter().flat_map(|f| f.entries.iter().map(|&e| place(region, e)))
        })
        .collect();
    let first: BTreeSet<At> = grown
        .iter()
        .zip(&made)
        .flat_map(|(region, functions)| {
            functions.iter().filter_map(|f| f.entries.first().map(|&e| place(region, e)))
        })
        .collect();
    for (region, functions) in grown.iter().zip(&mut made) {
        for function in functions.iter_mut() {
            function.elsewhere = elsewhere(program, region, function, &entries);
            function.calls = calls(program, region, function, &first);
            function.is_jumped_to = function.entries.iter().any(|&e| {
                let at = place(region, e);
                program.indirect(at) > 0 && !leaders.returns.contains(&at)
            });
        }
    }
    made.into_iter().map(|functions| Region { functions }).collect()
}

/// Where a region begins: in the order in which they are grown.
fn seeds(leaders: &Leaders<'_>) -> Vec<At> {
    let program = leaders.program;
    let class = |at: &At| {
        if leaders.called.contains(at) {
            0
        } else if program.indirect(*at) > 0 && !leaders.returns.contains(at) {
            1
        } else {
            2
        }
    };
    let mut seeds: Vec<At> = leaders.set.iter().copied().filter(|&at| leaders.is_hot(at)).collect();
    seeds.sort_by_key(|at| (class(at), std::cmp::Reverse(program.count(*at)), *at));
    seeds
}

/// Grows a region from `seed`. Blocks that it has no room for are appended to `rest`.
fn grow(
    leaders: &Leaders<'_>,
    claims: &mut Claims,
    seed: At,
    number: usize,
    rest: &mut VecDeque<At>,
) -> Option<Grown> {
    let program = leaders.program;
    let start = i32::from(seed.offset);
    let mut region = Grown {
        privilege: program.pages[seed.page].privilege,
        seed: start,
        pages: BTreeMap::from([(0, seed.page)]),
        blocks: BTreeMap::new(),
    };
    let mut insns = 0;
    // Hottest first, then by address.
    let mut heap = BinaryHeap::from([(program.count(seed), std::cmp::Reverse(start))]);
    while let Some((_, std::cmp::Reverse(address))) = heap.pop() {
        let Some(at) = program.step(seed, address - start) else { continue };
        if !REACH.contains(&address.div_euclid(PAGE)) {
            rest.push_back(at);
            continue;
        }
        if region.blocks.contains_key(&address) || claims.owner.contains_key(&at) || !leaders.is_hot(at) {
            continue;
        }
        let Some(block) = block(program, &leaders.set, at, address) else { continue };
        // An empty block is of no use: its only instruction is not lifted.
        if block.insns.is_empty() {
            continue;
        }
        if !region.blocks.is_empty() && insns + block.insns.len() > leaders.limits.insns {
            rest.push_back(at);
            continue;
        }
        insns += block.insns.len();
        region.pages.insert(address.div_euclid(PAGE), at.page);
        if block.straddles() {
            let behind = program.step(at, 2)?;
            region.pages.insert((address + 2).div_euclid(PAGE), behind.page);
        }
        for next in block.successors() {
            if let Some(place) = program.step(seed, next - start) {
                heap.push((program.count(place), std::cmp::Reverse(next)));
            }
        }
        if block.end == End::JumpRegister {
            for (place, delta) in leaders.jump_targets(at) {
                heap.push((program.count(place), std::cmp::Reverse(address + delta)));
            }
        }
        claims.owner.insert(at, number);
        region.blocks.insert(address, block);
    }
    region.blocks.contains_key(&start).then_some(region)
}

fn place(region: &Grown, address: i32) -> At {
    let page = region.pages.get(&address.div_euclid(PAGE)).copied().unwrap_or(usize::MAX);
    At { page, offset: address.rem_euclid(PAGE) as u16 }
}

/// The place of an address that may lie outside of the region's pages.
fn target(program: &Program, region: &Grown, address: i32) -> Option<At> {
    let seed = place(region, region.seed);
    program.step(seed, address - region.seed)
}

/// For each region the addresses that control comes in at from elsewhere.
fn wanted(leaders: &Leaders<'_>, claims: &Claims, grown: &[Grown]) -> Vec<BTreeSet<i32>> {
    let program = leaders.program;
    let mut wanted: Vec<BTreeSet<i32>> = grown.iter().map(|region| BTreeSet::from([region.seed])).collect();
    // Places that other regions go to.
    let mut from_elsewhere: BTreeSet<At> = leaders.called.clone();
    for (number, region) in grown.iter().enumerate() {
        for next in region.blocks.values().flat_map(Block::successors) {
            let inside = region.blocks.contains_key(&next);
            if let Some(at) = target(program, region, next)
                && !inside
                && claims.owner.get(&at).is_some_and(|&owner| owner != number)
            {
                from_elsewhere.insert(at);
            }
        }
    }
    for (region, wanted) in grown.iter().zip(&mut wanted) {
        for &address in region.blocks.keys() {
            let at = place(region, address);
            if program.indirect(at) > 0
                || leaders.returns.contains(&at)
                || leaders.resumes.contains(&at)
                || from_elsewhere.contains(&at)
            {
                wanted.insert(address);
            }
        }
        let heads = loop_heads(region, wanted);
        wanted.extend(heads);
    }
    wanted
}

/// Targets of back edges of a depth-first walk from the seed, then from the other places where control comes
/// in.
fn loop_heads(region: &Grown, wanted: &BTreeSet<i32>) -> BTreeSet<i32> {
    let mut heads = BTreeSet::new();
    let mut done = BTreeSet::new();
    let mut path: BTreeSet<i32> = BTreeSet::new();
    let mut stack: Vec<(i32, bool)> = wanted.iter().rev().map(|&address| (address, false)).collect();
    stack.push((region.seed, false));
    while let Some((address, leaving)) = stack.pop() {
        if leaving {
            path.remove(&address);
            done.insert(address);
            continue;
        }
        if path.contains(&address) || done.contains(&address) {
            continue;
        }
        path.insert(address);
        stack.push((address, true));
        for next in region.blocks[&address].successors().filter(|next| region.blocks.contains_key(next)) {
            if path.contains(&next) {
                heads.insert(next);
            } else if !done.contains(&next) {
                stack.push((next, false));
            }
        }
    }
    heads
}

/// The functions that provide the wanted entry points of a region.
fn functions(region: &Grown, wanted: &BTreeSet<i32>, limits: Limits) -> Vec<Function> {
    let mut provided: BTreeSet<i32> = BTreeSet::new();
    let mut remaining = wanted.clone();
    let mut out = Vec::new();
    for round in 0..=limits.rounds {
        if remaining.is_empty() {
            break;
        }
        let edges = |address: i32| -> Vec<i32> {
            region.blocks[&address]
                .successors()
                .filter(|next| region.blocks.contains_key(next) && !provided.contains(next))
                .collect()
        };
        let entries = roots(region, &remaining, &edges);
        let mut inside = BTreeSet::new();
        let mut stack = entries.clone();
        while let Some(address) = stack.pop() {
            if inside.insert(address) {
                stack.extend(edges(address));
            }
        }
        let mut blocks: BTreeMap<i32, Block> = region
            .blocks
            .iter()
            .filter(|(address, _)| inside.contains(address))
            .map(|(a, b)| (*a, b.clone()))
            .collect();
        let weight = match round {
            0 => blocks.values().map(|b| u64::from(b.count) * b.insns.len() as u64).sum(),
            _ => 0,
        };
        let cuts = second_ways(&inside, &entries, &edges);
        remaining.extend(cuts.iter().map(|(_, to)| *to).filter(|to| !provided.contains(to)));
        for entry in &entries {
            remaining.remove(entry);
        }
        Joining::new(&mut blocks, &entries, &cuts).run();
        let mut numbered = entries.clone();
        if let Some(seed) = numbered.iter().position(|&entry| entry == region.seed) {
            numbered[..=seed].rotate_right(1);
        }
        out.push(Function {
            privilege: region.privilege,
            pages: region.pages.clone(),
            blocks,
            entries: numbered,
            cuts,
            weight,
            resumes: round > 0,
            ..Function::default()
        });
        provided.extend(entries);
    }
    out
}

/// Which of the wanted addresses can be entry points at once without making a loop irreducible: those in no
/// loop, and one of each outermost loop (a strongly connected component): if possible the one where control
/// comes in from outside.
fn roots(region: &Grown, wanted: &BTreeSet<i32>, edges: &dyn Fn(i32) -> Vec<i32>) -> Vec<i32> {
    let component = components(wanted, edges);
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for number in component.values() {
        *sizes.entry(*number).or_default() += 1;
    }
    let mut comes_in = BTreeSet::new();
    let mut loops_to_itself = BTreeSet::new();
    for (&address, number) in &component {
        for next in edges(address) {
            if next == address {
                loops_to_itself.insert(address);
            } else if component.get(&next) != Some(number) {
                comes_in.insert(next);
            }
        }
    }
    let mut chosen: BTreeMap<usize, i32> = BTreeMap::new();
    let mut out = Vec::new();
    for &address in wanted {
        let number = component[&address];
        if sizes[&number] == 1 {
            out.push(address);
            continue;
        }
        let rank = |address: i32| {
            (comes_in.contains(&address) || address == region.seed, region.blocks[&address].count)
        };
        let best = chosen.entry(number).or_insert(address);
        if rank(address) > rank(*best) {
            *best = address;
        }
    }
    out.extend(chosen.into_values());
    out.sort_unstable();
    out
}

/// Edges without which every loop among the blocks `inside` has one entry: of the entries, that of the
/// function or else the one that most edges lead to stays.
fn second_ways(
    inside: &BTreeSet<i32>,
    entries: &[i32],
    edges: &dyn Fn(i32) -> Vec<i32>,
) -> BTreeSet<(i32, i32)> {
    let mut cuts = BTreeSet::new();
    let mut parts = vec![inside.clone()];
    while let Some(part) = parts.pop() {
        let within = |address: i32| -> Vec<i32> {
            edges(address).into_iter().filter(|next| part.contains(next)).collect()
        };
        let component = components(&part, &within);
        let mut members: BTreeMap<usize, BTreeSet<i32>> = BTreeMap::new();
        for (&address, &number) in &component {
            members.entry(number).or_default().insert(address);
        }
        for mut members in members.into_values().filter(|members| members.len() > 1) {
            let mut ways: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
            for &from in inside.difference(&members) {
                for to in edges(from).into_iter().filter(|to| members.contains(to)) {
                    if !cuts.contains(&(from, to)) {
                        ways.entry(to).or_default().push(from);
                    }
                }
            }
            let is_entry = |address: &i32| entries.contains(address);
            let entered = members.iter().copied().find(is_entry);
            let most = ways.iter().max_by_key(|(to, from)| (from.len(), std::cmp::Reverse(**to)));
            let Some(head) = entered.or(most.map(|(to, _)| *to)) else { continue };
            for (to, from) in ways {
                if to != head && !is_entry(&to) {
                    cuts.extend(from.into_iter().map(|from| (from, to)));
                }
            }
            members.remove(&head);
            parts.push(members);
        }
    }
    cuts
}

/// Number of the strongly connected component of each block reachable from `from` (Tarjan 1972, without
/// recursion).
fn components(from: &BTreeSet<i32>, edges: &dyn Fn(i32) -> Vec<i32>) -> BTreeMap<i32, usize> {
    struct Frame {
        address: i32,
        next: Vec<i32>,
    }
    let mut index: BTreeMap<i32, usize> = BTreeMap::new();
    let mut low: BTreeMap<i32, usize> = BTreeMap::new();
    let mut component: BTreeMap<i32, usize> = BTreeMap::new();
    let mut stack: Vec<i32> = Vec::new();
    let mut count = 0;
    for &root in from {
        if index.contains_key(&root) {
            continue;
        }
        let mut frames = vec![Frame { address: root, next: edges(root) }];
        index.insert(root, index.len());
        low.insert(root, index[&root]);
        stack.push(root);
        while let Some(frame) = frames.last_mut() {
            let address = frame.address;
            if let Some(next) = frame.next.pop() {
                if let Some(&seen) = index.get(&next) {
                    if !component.contains_key(&next) {
                        let least = low[&address].min(seen);
                        low.insert(address, least);
                    }
                } else {
                    index.insert(next, index.len());
                    low.insert(next, index[&next]);
                    stack.push(next);
                    frames.push(Frame { address: next, next: edges(next) });
                }
                continue;
            }
            frames.pop();
            if let Some(parent) = frames.last() {
                let least = low[&parent.address].min(low[&address]);
                low.insert(parent.address, least);
            }
            if low[&address] == index[&address] {
                while let Some(member) = stack.pop() {
                    component.insert(member, count);
                    if member == address {
                        break;
                    }
                }
                count += 1;
            }
        }
    }
    component
}

/// Addresses that a function calls and that are in `first`.
fn calls(program: &Program, region: &Grown, function: &Function, first: &BTreeSet<At>) -> BTreeSet<i32> {
    let call = |block: &Block| match (block.end, block.insns.last()) {
        (End::Call(delta), Some(&(at, _))) => Some((at, delta)),
        _ => None,
    };
    let is_first = |&(at, delta): &(i32, i32)| {
        program.jump(place(region, at), delta).is_some_and(|at| first.contains(&at))
    };
    let calls = function.blocks.values().filter_map(call).filter(is_first);
    calls.map(|(at, delta)| at + delta).collect()
}

/// Addresses that a function goes to, or calls, and that are entry points of other functions.
fn elsewhere(
    program: &Program,
    region: &Grown,
    function: &Function,
    entries: &BTreeSet<At>,
) -> BTreeSet<i32> {
    let mut out = BTreeSet::new();
    for block in function.blocks.values() {
        for next in block.successors().filter(|&next| !function.stays(block, next)) {
            if target(program, region, next).is_some_and(|at| entries.contains(&at)) {
                out.insert(next);
            }
        }
    }
    out
}
