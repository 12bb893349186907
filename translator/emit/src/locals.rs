//! Locals: which virtual locals share a WebAssembly local.
//!
//! Liveness is the usual backward data flow analysis over bit sets (of those virtual locals which are live at
//! the start of some block). Then the blocks are visited in reverse postorder, in which a definition comes
//! before its uses, and every virtual local takes a free local at its definition: this colours the
//! interference graph of SSA form, which is chordal, with the least number of colours per type (Hack, Grund
//! and Goos, "Register Allocation for Programs in SSA-Form", CC 2006), but for the preferences: a block
//! parameter and the values passed to it ask for the same local, so that most edges need no copies.
//!
//! What is live at a dispatch node (see `flow`) is not in SSA form any more and gets a local of its own.
//!
//! Cost: bits × edges × (loop depth + 2) for liveness, otherwise linear but for the number of preferences,
//! which is limited per virtual local.

use crate::body::EmitError;
use crate::code::{BlockCode, Code, Edge, Node, Op, Term, VReg};
use crate::flow::Flow;
use cranelift_codegen::ir::Function;
use std::collections::HashMap;
use wasm_encoder::ValType;

const NONE: u32 = u32::MAX;

/// The most locals that engines accept in a function.
const LIMIT: usize = 50_000;

/// The most locals whose index takes one byte.
const SHORT: usize = 128;

/// How many preferences of a virtual local are considered.
const PREFERENCES: usize = 48;

/// The assignment of locals.
#[derive(Debug)]
pub(crate) struct Locals {
    /// By virtual local.
    index: Vec<u32>,
    /// The declarations: number and type.
    pub(crate) groups: Vec<(u32, ValType)>,
    live: Liveness,
}

impl Locals {
    /// The local of a virtual local.
    pub(crate) fn of(&self, vreg: VReg) -> u32 {
        self.index[vreg.0 as usize]
    }

    /// Whether an assignment needs no code.
    pub(crate) fn is_copy(&self, ops: &[Op], dst: VReg) -> bool {
        matches!(ops, [Op::Get(src)] if self.of(*src) == self.of(dst))
    }

    /// Whether the assignments of `edge` may be made even if `other` is taken.
    pub(crate) fn is_harmless(&self, edge: &Edge, other: &Edge) -> bool {
        let mut written = Vec::new();
        for m in edge.moves.iter().filter(|m| !self.is_copy(&m.ops, m.dst)) {
            if m.ops.iter().any(|op| matches!(op, Op::Set(_) | Op::Tee(_))) {
                return false;
            }
            written.push(self.of(m.dst));
        }
        let mut harmless = true;
        self.live.for_each_on_edge(other, |v| harmless &= !written.contains(&self.of(v)));
        harmless
    }
}

/// Assigns a local to every virtual local.
pub(crate) fn assign(func: &Function, flow: &Flow, code: &Code) -> Result<Locals, EmitError> {
    let live = Liveness::new(code);
    let mut colours = Colouring::new(func, code)?;
    for (node, block) in flow.blocks.iter().enumerate() {
        if block.is_none() {
            live.for_each(node as Node, |v| colours.pin(code, v));
        }
    }
    for node in 0..code.blocks.len() {
        colours.block(flow, code, &live, node as Node);
    }
    colours.finish(code, live)
}

/// Which virtual locals are live at the start of each block.
#[derive(Debug)]
struct Liveness {
    /// The virtual locals that are live at the start of some block.
    members: Vec<VReg>,
    /// The reverse.
    number: Vec<u32>,
    /// By node, bits of `members`.
    sets: Vec<Vec<u64>>,
}

impl Liveness {
    fn new(code: &Code) -> Self {
        let mut live = Self { members: Vec::new(), number: vec![NONE; code.types.len()], sets: Vec::new() };
        let mut defined = vec![NONE; code.types.len()];
        let mut exposed = Vec::with_capacity(code.blocks.len());
        for (node, block) in code.blocks.iter().enumerate() {
            let mut list = Vec::new();
            for_each_op(block, |op| match op {
                Op::Get(v) if defined[v.0 as usize] != node as u32 => list.push(*v),
                Op::Set(v) | Op::Tee(v) => defined[v.0 as usize] = node as u32,
                _ => {}
            });
            for &v in &list {
                if live.number[v.0 as usize] == NONE {
                    live.number[v.0 as usize] = live.members.len() as u32;
                    live.members.push(v);
                }
            }
            exposed.push(list);
        }
        live.solve(code, &exposed);
        live
    }

    fn solve(&mut self, code: &Code, exposed: &[Vec<VReg>]) {
        let words = self.members.len().div_ceil(64);
        self.sets = vec![vec![0; words]; code.blocks.len()];
        let mut killed: Vec<Vec<u32>> = Vec::with_capacity(code.blocks.len());
        for (set, list) in self.sets.iter_mut().zip(exposed) {
            for v in list {
                let n = self.number[v.0 as usize];
                set[n as usize / 64] |= 1 << (n % 64);
            }
        }
        for block in &code.blocks {
            let mut list = Vec::new();
            for_each_op(block, |op| {
                if let Op::Set(v) | Op::Tee(v) = op
                    && self.number[v.0 as usize] != NONE
                {
                    list.push(self.number[v.0 as usize]);
                }
            });
            killed.push(list);
        }
        let mut out = vec![0u64; words];
        let mut changed = true;
        while changed {
            changed = false;
            for node in (0..code.blocks.len()).rev() {
                out.fill(0);
                code.blocks[node].term.for_each_edge(|edge| self.add_edge(edge, &mut out));
                for &n in &killed[node] {
                    out[n as usize / 64] &= !(1 << (n % 64));
                }
                for (word, new) in self.sets[node].iter_mut().zip(&out) {
                    changed |= *new & !*word != 0;
                    *word |= new;
                }
            }
        }
    }

    /// Adds what is live at the target of an edge and not assigned on the edge.
    fn add_edge(&self, edge: &Edge, out: &mut [u64]) {
        let mut assigned: Vec<(usize, u64)> = Vec::new();
        for m in &edge.moves {
            let n = self.number[m.dst.0 as usize];
            if n != NONE && self.sets[edge.to as usize][n as usize / 64] >> (n % 64) & 1 != 0 {
                // Keep what another edge has set.
                let (word, bit) = (n as usize / 64, 1 << (n % 64));
                if out[word] & bit == 0 {
                    assigned.push((word, bit));
                }
            }
        }
        for (word, new) in out.iter_mut().zip(&self.sets[edge.to as usize]) {
            *word |= new;
        }
        for (word, bit) in assigned {
            out[word] &= !bit;
        }
    }

    /// What is live at the start of a block.
    fn for_each(&self, node: Node, mut f: impl FnMut(VReg)) {
        for (i, &word) in self.sets[node as usize].iter().enumerate() {
            let mut word = word;
            while word != 0 {
                f(self.members[i * 64 + word.trailing_zeros() as usize]);
                word &= word - 1;
            }
        }
    }

    /// What is live on an edge before its assignments.
    fn for_each_on_edge(&self, edge: &Edge, mut f: impl FnMut(VReg)) {
        self.for_each(edge.to, |v| {
            if edge.moves.iter().all(|m| m.dst != v) {
                f(v);
            }
        });
        for op in edge.moves.iter().flat_map(|m| &m.ops) {
            if let Op::Get(v) = op {
                f(*v);
            }
        }
    }

    fn contains(&self, node: Node, v: VReg) -> bool {
        let n = self.number[v.0 as usize];
        n != NONE && self.sets[node as usize][n as usize / 64] >> (n % 64) & 1 != 0
    }
}

/// Calls `f` with every instruction of a block, those of the edges last.
fn for_each_op<'a>(block: &'a BlockCode, mut f: impl FnMut(&'a Op)) {
    block.ops.iter().for_each(&mut f);
    block.term.ops().iter().for_each(&mut f);
    block.term.for_each_edge(|edge| edge.moves.iter().flat_map(|m| &m.ops).for_each(&mut f));
}

/// The state of the colouring. A colour is a local before the final numbering.
struct Colouring {
    /// By virtual local.
    colour: Vec<u32>,
    /// By colour.
    types: Vec<ValType>,
    pinned: Vec<bool>,
    busy: Vec<bool>,
    /// Colours by type, and for each type the first that may be free.
    by_type: [Vec<u32>; 4],
    cursor: [usize; 4],
    /// The parameters which a virtual local is passed to, and the reverse.
    passed_to: HashMap<VReg, Vec<VReg>>,
    passed: HashMap<VReg, Vec<VReg>>,
    /// Colours that a parameter should not have, so that it can be assigned before a conditional branch.
    avoid: HashMap<VReg, Vec<u32>>,
    /// Uses of virtual locals left in the current block.
    left: Vec<u32>,
    arguments: usize,
}

impl Colouring {
    fn new(func: &Function, code: &Code) -> Result<Self, EmitError> {
        let mut this = Self {
            colour: vec![NONE; code.types.len()],
            types: Vec::new(),
            pinned: Vec::new(),
            busy: Vec::new(),
            by_type: Default::default(),
            cursor: [0; 4],
            passed_to: HashMap::new(),
            passed: HashMap::new(),
            avoid: HashMap::new(),
            left: vec![0; code.types.len()],
            arguments: code.arguments.len(),
        };
        for (param, vreg) in func.signature.params.iter().zip(&code.arguments) {
            let colour = this.new_colour(crate::code::val_type(param.value_type)?);
            if let Some(vreg) = vreg {
                this.colour[vreg.0 as usize] = colour;
            }
        }
        for block in &code.blocks {
            block.term.for_each_edge(|edge| {
                for m in &edge.moves {
                    if let [Op::Get(v)] = m.ops.as_slice() {
                        this.passed_to.entry(*v).or_default().push(m.dst);
                        this.passed.entry(m.dst).or_default().push(*v);
                    }
                }
            });
        }
        Ok(this)
    }

    fn new_colour(&mut self, ty: ValType) -> u32 {
        let colour = self.types.len() as u32;
        self.types.push(ty);
        self.pinned.push(false);
        self.busy.push(false);
        self.by_type[class(ty)].push(colour);
        colour
    }

    /// Gives a virtual local a colour that no other one will have.
    fn pin(&mut self, code: &Code, v: VReg) {
        let i = v.0 as usize;
        if self.colour[i] == NONE {
            self.colour[i] = self.new_colour(code.types[i]);
        }
        self.pinned[self.colour[i] as usize] = true;
        self.busy[self.colour[i] as usize] = true;
    }

    fn block(&mut self, flow: &Flow, code: &Code, live: &Liveness, node: Node) {
        let block = &code.blocks[node as usize];
        self.busy.copy_from_slice(&self.pinned);
        self.cursor = [0; 4];
        let mut unknown = Vec::new();
        live.for_each(node, |v| match self.colour[v.0 as usize] {
            NONE => unknown.push(v),
            colour => self.busy[colour as usize] = true,
        });
        // All are parameters in SSA form.
        for v in unknown.into_iter().filter(|v| !block.params.contains(v)) {
            self.pin(code, v);
        }
        self.parameters(code, live, node);
        let mut live_out = std::collections::HashSet::new();
        block.term.for_each_edge(|edge| {
            live.for_each(edge.to, |v| {
                if edge.moves.iter().all(|m| m.dst != v) {
                    live_out.insert(v);
                }
            });
        });
        for_each_op(block, |op| {
            if let Op::Get(v) = op {
                self.left[v.0 as usize] += 1;
            }
        });
        for op in block.ops.iter().chain(block.term.ops()) {
            match op {
                Op::Get(v) => {
                    self.left[v.0 as usize] -= 1;
                    self.release(*v, &live_out);
                }
                Op::Set(v) | Op::Tee(v) => {
                    self.define(code, *v);
                    self.release(*v, &live_out);
                }
                _ => {}
            }
        }
        block.term.for_each_edge(|edge| self.edge(code, edge, &live_out));
        if let Term::Branch { then, other, .. } = &block.term {
            self.keep_apart(flow, live, then, other);
            self.keep_apart(flow, live, other, then);
        }
    }

    fn parameters(&mut self, code: &Code, live: &Liveness, node: Node) {
        let params = &code.blocks[node as usize].params;
        for &v in params {
            if self.colour[v.0 as usize] == NONE {
                self.define(code, v);
            }
        }
        for &v in params.iter().filter(|&&v| !live.contains(node, v)) {
            self.free(v);
        }
    }

    /// The code of an edge: what it assigns to besides the parameters is not used after it, unless it is
    /// live.
    fn edge(&mut self, code: &Code, edge: &Edge, live_out: &std::collections::HashSet<VReg>) {
        let mut temporary = Vec::new();
        for op in edge.moves.iter().flat_map(|m| &m.ops) {
            match op {
                Op::Get(v) => self.left[v.0 as usize] -= 1,
                Op::Set(v) | Op::Tee(v) => {
                    self.define(code, *v);
                    temporary.push(*v);
                }
                _ => {}
            }
        }
        for v in temporary.into_iter().filter(|v| !live_out.contains(v)) {
            self.free(v);
        }
    }

    /// Makes parameters that `edge` assigns avoid the locals which are live on `other`.
    fn keep_apart(&mut self, flow: &Flow, live: &Liveness, edge: &Edge, other: &Edge) {
        let to = edge.to as usize;
        if flow.forward_preds[to] < 2 && !flow.is_loop[to] {
            return;
        }
        for m in &edge.moves {
            let is_copy = matches!(m.ops.as_slice(), [Op::Get(_)]);
            if is_copy || self.colour[m.dst.0 as usize] != NONE {
                continue;
            }
            let mut list = self.avoid.remove(&m.dst).unwrap_or_default();
            live.for_each_on_edge(other, |v| list.push(self.colour[v.0 as usize]));
            list.sort_unstable();
            list.dedup();
            self.avoid.insert(m.dst, list);
        }
    }

    fn define(&mut self, code: &Code, v: VReg) {
        let i = v.0 as usize;
        if self.colour[i] == NONE {
            let ty = code.types[i];
            let avoid = self.avoid.remove(&v).unwrap_or_default();
            self.colour[i] = match self.preferred(v, &avoid) {
                Some(colour) => colour,
                None => self.first_free(ty, &avoid),
            };
        }
        self.busy[self.colour[i] as usize] = true;
    }

    /// The free colour that most of the related virtual locals have.
    fn preferred(&self, v: VReg, avoid: &[u32]) -> Option<u32> {
        let related = |list: Option<&Vec<VReg>>, votes: &mut Vec<u32>| {
            for &r in list.into_iter().flatten().take(PREFERENCES) {
                let colour = self.colour[r.0 as usize];
                if colour != NONE && !self.busy[colour as usize] && avoid.binary_search(&colour).is_err() {
                    votes.push(colour);
                }
            }
        };
        let mut votes = Vec::new();
        related(self.passed_to.get(&v), &mut votes);
        related(self.passed.get(&v), &mut votes);
        if votes.is_empty() {
            for p in self.passed_to.get(&v).into_iter().flatten().take(4) {
                related(self.passed.get(p), &mut votes);
            }
        }
        let first = *votes.first()?;
        let count = |colour: u32| votes.iter().filter(|&&c| c == colour).count();
        // The first among those with most votes.
        let mut best = (count(first), first);
        for &colour in &votes {
            if count(colour) > best.0 {
                best = (count(colour), colour);
            }
        }
        Some(best.1)
    }

    fn first_free(&mut self, ty: ValType, avoid: &[u32]) -> u32 {
        let class = class(ty);
        while let Some(&colour) = self.by_type[class].get(self.cursor[class]) {
            if !self.busy[colour as usize] {
                break;
            }
            self.cursor[class] += 1;
        }
        let mut candidates = self.by_type[class][self.cursor[class]..].iter().copied();
        match candidates.find(|&c| !self.busy[c as usize] && avoid.binary_search(&c).is_err()) {
            Some(colour) => colour,
            None => self.new_colour(ty),
        }
    }

    fn release(&mut self, v: VReg, live_out: &std::collections::HashSet<VReg>) {
        if self.left[v.0 as usize] == 0 && !live_out.contains(&v) {
            self.free(v);
        }
    }

    fn free(&mut self, v: VReg) {
        let colour = self.colour[v.0 as usize];
        if colour == NONE || self.pinned[colour as usize] {
            return;
        }
        self.busy[colour as usize] = false;
        let class = class(self.types[colour as usize]);
        let at = self.by_type[class].binary_search(&colour).unwrap_or(0);
        self.cursor[class] = self.cursor[class].min(at);
    }

    /// Numbers the locals: parameters first, then by type, the most used ones with short indices.
    fn finish(self, code: &Code, live: Liveness) -> Result<Locals, EmitError> {
        if self.types.len() > LIMIT {
            return Err(EmitError::TooManyLocals(self.types.len()));
        }
        let mut uses = vec![0u64; self.types.len()];
        let mut count = |v: VReg| {
            if let Some(n) = uses.get_mut(self.colour[v.0 as usize] as usize) {
                *n += 1;
            }
        };
        for block in &code.blocks {
            for_each_op(block, |op| {
                if let Op::Get(v) | Op::Set(v) | Op::Tee(v) = op {
                    count(*v);
                }
            });
            block.term.for_each_edge(|edge| edge.moves.iter().for_each(|m| count(m.dst)));
        }
        let mut order: Vec<usize> = (self.arguments..self.types.len()).filter(|&c| uses[c] > 0).collect();
        order.sort_by_key(|&c| std::cmp::Reverse(uses[c]));
        let hot = SHORT.saturating_sub(self.arguments).min(order.len());
        let (hot, cold) = order.split_at_mut(hot);
        hot.sort_by_key(|&c| class(self.types[c]));
        cold.sort_by_key(|&c| class(self.types[c]));
        let mut number: Vec<u32> = (0..self.types.len() as u32).collect();
        let mut groups: Vec<(u32, ValType)> = Vec::new();
        for (i, &c) in order.iter().enumerate() {
            number[c] = (self.arguments + i) as u32;
            match groups.last_mut() {
                Some((n, ty)) if *ty == self.types[c] => *n += 1,
                _ => groups.push((1, self.types[c])),
            }
        }
        let index = self.colour.iter().map(|&c| number.get(c as usize).copied().unwrap_or(0)).collect();
        Ok(Locals { index, groups, live })
    }
}

fn class(ty: ValType) -> usize {
    match ty {
        ValType::I32 => 0,
        ValType::I64 => 1,
        ValType::F32 => 2,
        _ => 3,
    }
}
