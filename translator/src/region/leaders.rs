//! Leaders: the first instructions of basic blocks.

use super::limits::Limits;
use crate::isa::{Flow, Insn};
use crate::program::{CodeAddr, PAGE, Program};
use std::collections::{BTreeMap, BTreeSet};

/// Where blocks begin, and why.
pub(super) struct Leaders<'a> {
    pub(super) program: &'a Program,
    pub(super) limits: Limits,
    pub(super) set: BTreeSet<CodeAddr>,
    pub(super) called: BTreeSet<CodeAddr>,
    pub(super) returns: BTreeSet<CodeAddr>,
    pub(super) resumes: BTreeSet<CodeAddr>,
    /// Chain and position of where functions begin, as far as calls tell.
    pub(super) begins: BTreeSet<(usize, i32)>,
    /// The same of what jumps to a register's value came to.
    pub(super) jumped_to: BTreeMap<(usize, i32), CodeAddr>,
}

impl<'a> Leaders<'a> {
    pub(super) fn find(program: &'a Program, limits: Limits) -> Self {
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
            for offset in 0..PAGE as u16 {
                let at = CodeAddr { page, offset };
                if leaders.is_hot(at) {
                    leaders.note(at);
                }
            }
        }
        leaders.begins = leaders.called.iter().map(|&at| program.position(at)).collect();
        let is_target = |at: &CodeAddr| {
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
    pub(super) fn jump_targets(&self, at: CodeAddr) -> Vec<(CodeAddr, i32)> {
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

    /// The instruction after the one at `at`, with its place, and where control goes after it, if the two
    /// together tell.
    fn pair(&self, at: CodeAddr, insn: &Insn) -> Option<(CodeAddr, Insn, Flow)> {
        if !insn.pairs {
            return None;
        }
        let next = self.program.step(at, i32::from(insn.len))?;
        let second = self.program.insn(next)?;
        let flow = self.program.isa.pair(insn, &second)?;
        Some((next, second, flow))
    }

    pub(super) fn is_hot(&self, at: CodeAddr) -> bool {
        self.program.count(at) >= self.limits.threshold
    }

    fn note(&mut self, at: CodeAddr) {
        let program = self.program;
        if program.indirect(at) > 0 || at.offset == 0 {
            self.set.insert(at);
        }
        let Some(insn) = program.insn(at) else { return };
        let len = i32::from(insn.len);
        let next = program.step(at, len);
        // An instruction across pages is a block, and what follows it begins one of the second page.
        let straddles = i32::from(at.offset) + len > PAGE;
        if straddles {
            self.set.insert(at);
        }
        match self.pair(at, &insn) {
            Some((from, _, Flow::Jump(delta))) => self.set.extend(program.jump(from, delta)),
            Some((from, second, Flow::Call(delta))) => {
                let target = program.jump(from, delta);
                self.set.extend(target);
                self.called.extend(target.filter(|_| second.links));
            }
            _ => {}
        }
        match insn.flow {
            Flow::Next => self.set.extend(next.filter(|_| straddles)),
            Flow::Branch(delta) => {
                self.set.extend(next);
                self.set.extend(program.step(at, delta));
            }
            Flow::Jump(delta) => self.set.extend(program.jump(at, delta)),
            Flow::Call(delta) => {
                let target = program.jump(at, delta);
                self.set.extend(target);
                if insn.links {
                    self.called.extend(target);
                    self.set.extend(next);
                    self.returns.extend(next);
                }
            }
            Flow::CallRegister => {
                self.set.extend(next);
                self.returns.extend(next);
            }
            Flow::Return | Flow::JumpRegister => {}
            Flow::Trap | Flow::TrapReturn | Flow::Unlifted(_) => {
                self.set.extend(next);
                self.resumes.extend(next);
            }
        }
    }
}
