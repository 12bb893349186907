//! Random functions, planned, and then executed by a walk that checks what the plan claims.

use super::{Plan, Planned, plan, reference};
use crate::isa::rv64::Rv64;
use crate::isa::{Decoded, Flow, Insn, Isa};
use crate::region::{Block, Function};
use forelift_abi::lift::Mode;
use forelift_isa::rv64::random::Rng;
use forelift_isa::rv64::{self, Fields, Op, csr, encode};
use std::collections::{BTreeMap, BTreeSet};

/// Registers in use: few, so that values meet again.
const REGISTERS: usize = 5;

fn register(rng: &mut Rng) -> u8 {
    10 + rng.below(REGISTERS) as u8
}

fn insn(op: Op, fields: &Fields, mode: Mode) -> Insn {
    match Rv64.decode(&encode(op, fields).to_le_bytes(), mode) {
        Decoded::Insn(insn) => insn,
        other => panic!("{op:?}: {other:?}"),
    }
}

/// What the facts were made of.
fn whole(insn: &Insn) -> rv64::Insn {
    let mut word = [0; 4];
    word[..insn.bytes().len()].copy_from_slice(insn.bytes());
    rv64::decode(u32::from_le_bytes(word)).expect("the encoder's own")
}

fn random_insn(mode: Mode, rng: &mut Rng) -> Insn {
    let (rd, rs1, rs2) = (register(rng), register(rng), register(rng));
    let fields = Fields { rd, rs1, rs2, ..Fields::default() };
    let near = (rng.below(24) as i32 - 12) * [1, 4, 8][rng.below(3)];
    let far = rng.below(4096) as i32 - 2048;
    let imm = if rng.below(8) == 0 { far } else { near };
    match rng.below(16) {
        0 => insn(Op::Addi, &Fields { imm: near, ..fields }, mode),
        1 => insn(Op::Add, &Fields { rs1: 0, ..fields }, mode),
        2 => insn(Op::Add, &fields, mode),
        3 if mode.is_kernel() => {
            insn(Op::Csrrc, &Fields { rd: 0, imm: i32::from(csr::SSTATUS), ..fields }, mode)
        }
        n => {
            let ops = [Op::Ld, Op::Lw, Op::Lbu, Op::Sd, Op::Sw, Op::Sb, Op::Ld, Op::Sd];
            insn(ops[n % ops.len()], &Fields { imm, ..fields }, mode)
        }
    }
}

/// Blocks of random instructions with random ends. Some of the arithmetic may be skipped.
fn random_function(rng: &mut Rng) -> Function {
    let mode = [Mode::User, Mode::Kernel][rng.below(2)];
    let count = 1 + rng.below(8) as i32;
    let mut blocks = BTreeMap::new();
    for n in 0..count {
        let start = n * 0x100;
        let mut insns: Vec<(i32, Insn)> =
            (0..1 + rng.below(10) as i32).map(|i| (start + 4 * i, random_insn(mode, rng))).collect();
        let mut skips = Vec::new();
        for branch in 0..insns.len().saturating_sub(1) {
            let is_arithmetic = |i: &Insn| matches!(whole(i).op, Op::Addi | Op::Add);
            if rng.below(2) == 0 && is_arithmetic(&insns[branch + 1].1) {
                let fields = Fields { rs1: register(rng), imm: 8, ..Fields::default() };
                insns[branch].1 = insn(Op::Beq, &fields, mode);
                skips.push((branch, 1));
                break;
            }
        }
        let last = start + 4 * insns.len() as i32;
        let target = rng.below(count as usize) as i32 * 0x100;
        let branch = Fields { rs1: register(rng), rs2: register(rng), imm: 8, ..Fields::default() };
        let terminator = match rng.below(8) {
            0 => Flow::Return,
            1 => Flow::Call(64),
            2 => Flow::Jump(target - last),
            3 => Flow::Next,
            _ => Flow::Branch(target - last),
        };
        match terminator {
            Flow::Branch(_) => insns.push((last, insn(Op::Bne, &branch, mode))),
            Flow::Next => {}
            _ => insns.push((last, insn(Op::Jal, &Fields { rd: 1, imm: 8, ..Fields::default() }, mode))),
        }
        let block = Block { start, end_address: start + 0x100, insns, skips, terminator, count: 1 };
        blocks.insert(start, block);
    }
    let mut entries = BTreeSet::from([0]);
    if rng.below(3) == 0 {
        entries.insert(rng.below(count as usize) as i32 * 0x100);
    }
    // An edge that is cut is left by.
    let cuts = BTreeSet::from([(0, rng.below(count as usize) as i32 * 0x100)]);
    let entries = entries.into_iter().collect();
    Function { blocks, entries, cuts, ..Function::empty(mode) }
}

/// Windows that are open, with the values of their roots.
type Open = BTreeMap<usize, u64>;

/// Walks through `function` on random ways; gives how many accesses used a window that another one had
/// opened.
fn walk(function: &Function, plan: &Plan, rng: &mut Rng) -> usize {
    let mut used = 0;
    let mut at = function.entries[rng.below(function.entries.len())];
    let mut open = Open::new();
    // Small values, so that sums meet by accident, too.
    let mut x: Vec<u64> = (0..32).map(|_| rng.next_u64() & 0xff8).collect();
    for _ in 0..60 {
        let Some(block) = function.blocks.get(&at) else { break };
        let mut skipped = 0..0;
        for (position, (_, insn)) in block.insns.iter().enumerate() {
            if let Some((_, count)) = block.skips.iter().find(|(branch, _)| *branch == position) {
                skipped = if rng.below(2) == 0 { position + 1..position + 1 + count } else { 0..0 };
            }
            if skipped.contains(&position) {
                continue;
            }
            if let Some(planned) = plan.get(at, position) {
                used += usize::from(access(plan, planned, &whole(insn), &x, &mut open));
            }
            let insn = whole(insn);
            if insn.flow() == rv64::Flow::Csr && function.mode.is_kernel() {
                open.clear();
            }
            x[0] = 0;
            match insn.op {
                Op::Addi => x[usize::from(insn.rd)] = x[usize::from(insn.rs1)].wrapping_add(insn.imm as u64),
                Op::Add => {
                    x[usize::from(insn.rd)] = x[usize::from(insn.rs1)].wrapping_add(x[usize::from(insn.rs2)]);
                }
                _ if insn.access().reads() => x[usize::from(insn.rd)] = rng.next_u64() & 0xff8,
                _ => {}
            }
        }
        let next: Vec<i32> = block.successors().collect();
        let Some(&to) = next.get(rng.below(next.len().max(1))) else { break };
        if function.cuts.contains(&(block.start, to)) {
            break;
        }
        if matches!(block.terminator, Flow::Call(_)) {
            open.clear();
            for value in x.iter_mut().skip(10).take(REGISTERS) {
                if rng.below(2) == 0 {
                    *value = rng.next_u64() & 0xff8;
                }
            }
        }
        at = to;
    }
    used
}

/// One planned access: whether its window was open before.
fn access(plan: &Plan, planned: Planned, insn: &rv64::Insn, x: &[u64], open: &mut Open) -> bool {
    let window = &plan.windows[planned.window];
    let va = x[usize::from(insn.rs1)].wrapping_add(insn.imm as u64);
    let root = va.wrapping_sub(planned.offset as u64);
    let bytes = insn.access().bytes() as i32;
    assert!(window.low <= planned.offset, "{window:?} {planned:?}");
    assert!(planned.offset + bytes <= window.high + i32::from(window.granule), "{window:?} {planned:?}");
    assert_eq!((planned.offset - window.low) % bytes, 0, "{window:?} {planned:?}");
    assert!(window.write || !insn.access().writes(), "{window:?} {insn:?}");
    assert!(bytes <= i32::from(window.granule) && window.high - window.low <= 4096 - 8);
    if planned.opens {
        open.insert(planned.window, root);
        return false;
    }
    assert_eq!(open.get(&planned.window), Some(&root), "{planned:?}, {window:?}: not open for this");
    true
}

#[test]
fn windows_are_open_where_they_are_used() {
    let mut used = 0;
    for seed in 0..6000 {
        let mut rng = Rng::new(seed);
        let function = random_function(&mut rng);
        let plan = plan(&function);
        for _ in 0..20 {
            used += walk(&function, &plan, &mut rng);
        }
    }
    assert!(used > 100_000, "{used}");
}

/// How many accesses open a window, and how many use one, those included.
fn opened_and_used(function: &Function) -> (usize, usize) {
    let plan = plan(function);
    let all: Vec<Planned> = function
        .blocks
        .values()
        .flat_map(|block| (0..block.insns.len()).filter_map(|n| plan.get(block.start, n)).collect::<Vec<_>>())
        .collect();
    (all.iter().filter(|p| p.opens).count(), all.len())
}

fn straight(insns: &[Insn], mode: Mode) -> Function {
    let insns: Vec<(i32, Insn)> = insns.iter().enumerate().map(|(n, i)| (4 * n as i32, *i)).collect();
    let end_address = 4 * insns.len() as i32;
    let block = Block {
        start: 0,
        end_address,
        insns,
        skips: Vec::new(),
        terminator: Flow::Unlifted("wfi"),
        count: 1,
    };
    Function { blocks: BTreeMap::from([(0, block)]), entries: vec![0], ..Function::empty(mode) }
}

fn loads(offsets: &[i32]) -> Vec<Insn> {
    let load = |&imm: &i32| insn(Op::Ld, &Fields { rd: 11, rs1: 10, imm, ..Fields::default() }, Mode::User);
    offsets.iter().map(load).collect()
}

#[test]
fn what_is_worth_a_window() {
    // Two looks for two accesses are no gain in U mode; in S mode they are one comparison.
    assert_eq!(opened_and_used(&straight(&loads(&[0, 8]), Mode::User)), (0, 0));
    assert_eq!(opened_and_used(&straight(&loads(&[0, 8]), Mode::Kernel)), (1, 2));
    assert_eq!(opened_and_used(&straight(&loads(&[0, 8, 16]), Mode::User)), (1, 3));
    // The same doubleword again costs one look.
    assert_eq!(opened_and_used(&straight(&loads(&[8, 8]), Mode::User)), (1, 2));
    // Too far from each other, and not aligned like each other.
    assert_eq!(opened_and_used(&straight(&loads(&[-2048, 2040]), Mode::Kernel)), (0, 0));
    assert_eq!(opened_and_used(&straight(&loads(&[0, 4]), Mode::Kernel)), (0, 0));
}

#[test]
fn accesses_are_told_from_what_is_none() {
    let values = std::array::from_fn(|r| super::Sum { root: r as u32, delta: 0 });
    let amo = insn(Op::AmoaddD, &Fields { rd: 11, rs1: 10, rs2: 12, ..Fields::default() }, Mode::User);
    assert!(reference(0, &amo, &values).is_none());
    assert!(reference(0, &loads(&[8])[0], &values).is_some_and(|(root, r)| root == 10 && r.offset == 8));
}
