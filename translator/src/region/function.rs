//! What regions are made of: blocks, functions.

use crate::isa::{Flow, Insn};
use crate::program::{CodeAddr, PAGE};
use forelift_abi::lift::Mode;
use std::collections::{BTreeMap, BTreeSet};

/// Instructions of a block at most: a longer one is cut, so that it does not have to fit into a region as a
/// whole.
pub(crate) const MAX_BLOCK: usize = 200;

/// A basic block. Addresses are relative to the first byte of the region's page number 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Address.
    pub start: i32,
    /// Address past the last instruction.
    pub end_address: i32,
    /// Instructions with their addresses; the control transfer is among them.
    pub insns: Vec<(i32, Insn)>,
    /// Forward branches among its instructions: position, and how many instructions after it are skipped when
    /// it is taken. They are speculative.
    pub skips: Vec<(usize, usize)>,
    /// How it ends. [`Flow::Unlifted`]: the instruction that would follow is not lifted.
    pub terminator: Flow,
    /// Executions of its first instruction.
    pub count: u32,
}

impl Block {
    /// Whether its only instruction lies across a page's end.
    pub fn straddles(&self) -> bool {
        let len = self.insns.first().map_or(0, |(_, insn)| i32::from(insn.len));
        self.start.rem_euclid(PAGE) + len > PAGE
    }

    /// Address of its last instruction.
    pub fn last(&self) -> i32 {
        self.insns.last().map_or(self.start, |(at, _)| *at)
    }

    /// Where control goes directly, within a function.
    pub fn successors(&self) -> impl Iterator<Item = i32> {
        let last = self.last();
        let (a, b) = match self.terminator {
            Flow::Next | Flow::Call(_) | Flow::CallRegister | Flow::Trap => (Some(self.end_address), None),
            Flow::Branch(delta) => (Some(self.end_address), Some(last + delta)),
            Flow::Jump(delta) => (Some(last + delta), None),
            Flow::Return | Flow::JumpRegister | Flow::TrapReturn | Flow::Unlifted(_) => (None, None),
        };
        a.into_iter().chain(b)
    }

    /// Whether control comes to what follows it through the runtime, which has all registers in memory.
    pub fn calls(&self) -> bool {
        matches!(self.terminator, Flow::Call(_) | Flow::CallRegister | Flow::Trap)
    }
}

/// What becomes one lifted function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The mode that it runs in.
    pub mode: Mode,
    /// Number of the program's page by page number of the region.
    pub pages: BTreeMap<i32, usize>,
    /// Its blocks by address.
    pub blocks: BTreeMap<i32, Block>,
    /// Addresses of its entry points, by number; the first one is where the region begins, if it is among
    /// them.
    pub entries: Vec<i32>,
    /// Addresses outside of its blocks that are entry points of other functions.
    pub elsewhere: BTreeSet<i32>,
    /// Edges, from block to block, that leave the function although their target is in it: side entries of
    /// loops.
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
    /// A function without code.
    pub fn empty(mode: Mode) -> Self {
        Function {
            mode,
            pages: BTreeMap::new(),
            blocks: BTreeMap::new(),
            entries: Vec::new(),
            elsewhere: BTreeSet::new(),
            cuts: BTreeSet::new(),
            calls: BTreeSet::new(),
            is_jumped_to: false,
            weight: 0,
            resumes: false,
        }
    }

    /// Whether a jump to a register's value may lead back into it.
    pub fn jumps_inside(&self) -> bool {
        self.is_jumped_to && self.blocks.values().any(|block| block.terminator == Flow::JumpRegister)
    }

    /// Whether the edge from `block` to the address `next` stays in the function.
    pub fn stays(&self, block: &Block, next: i32) -> bool {
        self.blocks.contains_key(&next) && !self.cuts.contains(&(block.start, next))
    }

    /// Where an address in one of its pages is in the program.
    pub fn place(&self, address: i32) -> Option<CodeAddr> {
        let page = *self.pages.get(&address.div_euclid(PAGE))?;
        Some(CodeAddr { page, offset: address.rem_euclid(PAGE) as u16 })
    }

    /// Where its first entry point is.
    pub fn first(&self) -> Option<CodeAddr> {
        self.place(*self.entries.first()?)
    }

    /// Number of instructions.
    pub fn insns(&self) -> usize {
        self.blocks.values().map(|b| b.insns.len()).sum()
    }

    /// Why control leaves it for the interpreter where an instruction is not lifted, once a place.
    pub fn unlifted(&self) -> impl Iterator<Item = &'static str> {
        self.blocks.values().filter_map(|block| match block.terminator {
            Flow::Unlifted(why) => Some(why),
            _ => None,
        })
    }
}

/// Functions that go together: a region's own and its resume functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// The functions, the region's own first.
    pub functions: Vec<Function>,
}

impl Region {
    /// Number of instructions, copies included.
    pub fn insns(&self) -> usize {
        self.functions.iter().map(Function::insns).sum()
    }

    /// Executed instructions that it stands for, in training.
    pub fn weight(&self) -> u64 {
        self.functions.iter().map(|f| f.weight).sum()
    }
}
