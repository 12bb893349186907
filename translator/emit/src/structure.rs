//! Structured control flow from the dominator tree.
//!
//! After Ramsey, "Beyond Relooper: Recursive Translation of Unstructured Control Flow to Structured Control
//! Flow" (ICFP 2022): the code of a node is followed by the code of the nodes it dominates. A node with
//! several forward edges to it comes right after the end of a `block` that holds all sources of the edges, a
//! loop header starts a `loop`, and every other node is put where the one edge to it leaves. The recursion is
//! an explicit stack.
//!
//! A branch to what comes next anyway is left out. Assignments of a conditional edge are made before the
//! branch if they do no harm on the other path: `cond; const; local.set; br_if` is shorter than an `if`.
//!
//! Linear, but for the search whether an arm of an `if` falls through, which is made in the smaller arm only.

use crate::code::{BlockCode, Code, Edge, Node, Op, Term};
use crate::cond::inverted;
use crate::flow::Flow;
use crate::locals::Locals;

/// Nesting at which two arms are no longer put into `if` and `else`.
const MAX_NESTING: usize = 100;

/// The target of a branch.
pub(crate) type Label = u32;

/// A piece of structured code.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    Ops(&'a [Op]),
    Owned(Vec<Op>),
    /// `local.set` of a final local.
    Set(u32),
    Block(Label),
    Loop(Label),
    If,
    Else,
    End,
    Br(Label),
    BrIf(Label),
    /// The last label is the default.
    BrTable(Vec<Label>),
    /// Whether only ends of blocks follow.
    Return {
        at_end: bool,
    },
    Unreachable,
}

/// What is executed after the end of the code in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    Node(Node),
    /// The end of the function.
    End,
    /// Unknown: control must not get to the end.
    Nothing,
}

enum Work<'a> {
    Tree(Node, Follow),
    Node(Node, Follow),
    /// The assignments of an edge and the way to its target.
    Edge(Node, &'a Edge, Follow),
    Piece(Piece<'a>),
}

struct Structure<'a> {
    flow: &'a Flow,
    code: &'a Code,
    locals: &'a Locals,
    /// Number of forward edges to a node; those of a table count twice, as they need a label.
    edges_in: Vec<u32>,
    work: Vec<Work<'a>>,
    out: Vec<Piece<'a>>,
    nesting: usize,
    next_label: Label,
}

/// Arranges the code of all nodes.
pub(crate) fn build<'a>(flow: &'a Flow, code: &'a Code, locals: &'a Locals) -> Vec<Piece<'a>> {
    let mut edges_in = vec![0; flow.len()];
    for (node, block) in code.blocks.iter().enumerate() {
        let count = if matches!(block.term, Term::Table { .. }) { 2 } else { 1 };
        block.term.for_each_edge(|edge| {
            if edge.to as usize > node {
                edges_in[edge.to as usize] += count;
            }
        });
    }
    let next_label = 2 * flow.len() as Label;
    let (work, out) = (vec![Work::Tree(0, Follow::End)], Vec::new());
    let mut this = Structure { flow, code, locals, edges_in, work, out, nesting: 0, next_label };
    while let Some(work) = this.work.pop() {
        match work {
            Work::Tree(node, follow) => this.tree(node, follow),
            Work::Node(node, follow) => this.node(node, follow),
            Work::Edge(from, edge, follow) => {
                this.moves(edge);
                this.go(from, edge.to, follow);
            }
            Work::Piece(piece) => this.piece(piece),
        }
    }
    this.out
}

impl<'a> Structure<'a> {
    fn piece(&mut self, piece: Piece<'a>) {
        match piece {
            Piece::Block(_) | Piece::Loop(_) | Piece::If => self.nesting += 1,
            Piece::End => self.nesting -= 1,
            _ => {}
        }
        self.out.push(piece);
    }

    /// To be done after what is being done, in this order.
    fn then(&mut self, list: impl IntoIterator<Item = Work<'a>>) {
        let at = self.work.len();
        self.work.extend(list);
        self.work[at..].reverse();
    }

    fn is_labelled(&self, node: Node) -> bool {
        self.edges_in[node as usize] > 1
    }

    /// Whether the code of `to` stands where the edge from `from` leaves.
    fn is_inline(&self, from: Node, to: Node) -> bool {
        to > from && !self.is_labelled(to)
    }

    fn label(&self, from: Node, to: Node) -> Label {
        2 * to + Label::from(to <= from)
    }

    fn tree(&mut self, node: Node, follow: Follow) {
        let children = &self.flow.children[node as usize];
        let merges: Vec<Node> = children.iter().copied().filter(|&m| self.is_labelled(m)).collect();
        let is_loop = self.flow.is_loop[node as usize];
        if is_loop {
            self.piece(Piece::Loop(2 * node + 1));
        }
        for &m in merges.iter().rev() {
            self.piece(Piece::Block(2 * m));
        }
        let after = |i: usize| merges.get(i).map_or(follow, |&m| Follow::Node(m));
        let mut work = vec![Work::Node(node, after(0))];
        for (i, &m) in merges.iter().enumerate() {
            work.push(Work::Piece(Piece::End));
            work.push(Work::Tree(m, after(i + 1)));
        }
        if is_loop {
            work.push(Work::Piece(Piece::End));
        }
        self.then(work);
    }

    fn node(&mut self, node: Node, follow: Follow) {
        let code = self.code;
        let BlockCode { ops, term, .. } = &code.blocks[node as usize];
        if let Term::Table { index, edges, slots } = term {
            return self.table(node, ops, index, edges, slots, follow);
        }
        self.piece(Piece::Ops(ops));
        match term {
            Term::Jump(edge) => {
                self.moves(edge);
                self.go(node, edge.to, follow);
            }
            Term::Return(ops) => {
                self.piece(Piece::Ops(ops));
                self.piece(Piece::Return { at_end: follow == Follow::End });
            }
            Term::Trap => self.piece(Piece::Unreachable),
            Term::Branch { cond, then, other } => self.branch(node, cond, [then, other], follow),
            Term::Table { .. } => {}
        }
    }

    /// The parallel assignment of an edge.
    fn moves(&mut self, edge: &'a Edge) {
        let locals = self.locals;
        let moves = || edge.moves.iter().filter(|m| !locals.is_copy(&m.ops, m.dst));
        for m in moves() {
            self.piece(Piece::Ops(&m.ops));
        }
        for m in moves().rev() {
            self.piece(Piece::Set(locals.of(m.dst)));
        }
    }

    fn has_moves(&self, edge: &Edge) -> bool {
        edge.moves.iter().any(|m| !self.locals.is_copy(&m.ops, m.dst))
    }

    /// Continues at a node.
    fn go(&mut self, from: Node, to: Node, follow: Follow) {
        if self.is_inline(from, to) {
            self.work.push(Work::Tree(to, follow));
        } else if to <= from || follow != Follow::Node(to) {
            self.piece(Piece::Br(self.label(from, to)));
        }
    }

    /// `polarity` is true if the condition must hold.
    fn condition(&mut self, cond: &'a [Op], polarity: bool) {
        if polarity {
            self.piece(Piece::Ops(cond));
        } else {
            self.piece(Piece::Owned(inverted(cond.to_vec())));
        }
    }

    /// `edges` are for a condition that holds and for one that does not.
    fn branch(&mut self, node: Node, cond: &'a [Op], edges: [&'a Edge; 2], follow: Follow) {
        match edges.map(|edge| self.is_inline(node, edge.to)) {
            [true, true] => self.two_arms(node, cond, edges, follow),
            [true, false] => self.one_arm(node, cond, edges[1], edges[0], false, follow),
            [false, true] => self.one_arm(node, cond, edges[0], edges[1], true, follow),
            [false, false] => self.two_jumps(node, cond, edges, follow),
        }
    }

    /// Both targets stand here: the smaller one in an `if`, the other one after it if possible.
    fn two_arms(&mut self, node: Node, cond: &'a [Op], edges: [&'a Edge; 2], follow: Follow) {
        let weight = |edge: &Edge| self.flow.weight[edge.to as usize];
        let polarity = weight(edges[0]) <= weight(edges[1]);
        let [small, large] = if polarity { edges } else { [edges[1], edges[0]] };
        self.condition(cond, polarity);
        self.piece(Piece::If);
        if self.nesting < MAX_NESTING && self.falls_through(small.to, follow) {
            self.then([
                Work::Edge(node, small, follow),
                Work::Piece(Piece::Else),
                Work::Edge(node, large, follow),
                Work::Piece(Piece::End),
            ]);
        } else {
            self.then([
                Work::Edge(node, small, Follow::Nothing),
                Work::Piece(Piece::End),
                Work::Edge(node, large, follow),
            ]);
        }
    }

    /// `jump` leads to a label, if the condition is `polarity`; the target of `arm` stands here.
    fn one_arm(
        &mut self,
        node: Node,
        cond: &'a [Op],
        jump: &'a Edge,
        arm: &'a Edge,
        polarity: bool,
        follow: Follow,
    ) {
        let skips = jump.to > node && follow == Follow::Node(jump.to);
        if !self.has_moves(jump) || self.locals.is_harmless(jump, arm) {
            // With no further branch to the label, its block is dropped.
            let as_if = skips && self.edges_in[jump.to as usize] == 2 && self.falls_through(arm.to, follow);
            self.condition(cond, polarity != as_if);
            self.moves(jump);
            if as_if {
                self.piece(Piece::If);
                self.then([Work::Edge(node, arm, follow), Work::Piece(Piece::End)]);
            } else {
                self.piece(Piece::BrIf(self.label(node, jump.to)));
                self.then([Work::Edge(node, arm, follow)]);
            }
            return;
        }
        self.condition(cond, polarity);
        self.piece(Piece::If);
        self.moves(jump);
        if skips && self.nesting < MAX_NESTING {
            self.piece(Piece::Else);
            self.then([Work::Edge(node, arm, follow), Work::Piece(Piece::End)]);
        } else {
            self.piece(Piece::Br(self.label(node, jump.to)));
            self.piece(Piece::End);
            self.then([Work::Edge(node, arm, follow)]);
        }
    }

    /// Both edges lead to labels.
    fn two_jumps(&mut self, node: Node, cond: &'a [Op], edges: [&'a Edge; 2], follow: Follow) {
        let is_next = |edge: &Edge| edge.to > node && follow == Follow::Node(edge.to);
        // The cost of a conditional branch to `first`, then of an unconditional one.
        let cost = |first: &Edge, second: &Edge| {
            let moves = self.has_moves(first);
            if moves && !self.locals.is_harmless(first, second) {
                return u32::MAX;
            }
            u32::from(moves) + if is_next(second) { 0 } else { 2 }
        };
        let costs = [cost(edges[0], edges[1]), cost(edges[1], edges[0])];
        if costs != [u32::MAX; 2] {
            let polarity = costs[0] <= costs[1];
            let [first, second] = if polarity { edges } else { [edges[1], edges[0]] };
            self.condition(cond, polarity);
            self.moves(first);
            self.piece(Piece::BrIf(self.label(node, first.to)));
            self.moves(second);
            return self.go(node, second.to, follow);
        }
        let polarity = !is_next(edges[0]) || is_next(edges[1]);
        let [first, second] = if polarity { edges } else { [edges[1], edges[0]] };
        self.condition(cond, polarity);
        self.piece(Piece::If);
        self.moves(first);
        if is_next(first) {
            self.piece(Piece::Else);
            self.moves(second);
            self.go(node, second.to, follow);
            self.piece(Piece::End);
        } else {
            self.go(node, first.to, Follow::Nothing);
            self.piece(Piece::End);
            self.moves(second);
            self.go(node, second.to, follow);
        }
    }

    /// Edges with assignments lead to a place after the table.
    fn table(
        &mut self,
        node: Node,
        ops: &'a [Op],
        index: &'a [Op],
        edges: &'a [Edge],
        slots: &'a [u32],
        follow: Follow,
    ) {
        let mut labels = Vec::with_capacity(edges.len());
        let mut stops = Vec::new();
        for edge in edges {
            if self.has_moves(edge) {
                labels.push(self.next_label);
                stops.push((self.next_label, edge));
                self.next_label += 1;
            } else {
                labels.push(self.label(node, edge.to));
            }
        }
        for &(label, _) in stops.iter().rev() {
            self.piece(Piece::Block(label));
        }
        self.piece(Piece::Ops(ops));
        self.piece(Piece::Ops(index));
        self.piece(Piece::BrTable(slots.iter().map(|&slot| labels[slot as usize]).collect()));
        let last = stops.len().saturating_sub(1);
        for (i, (_, edge)) in stops.into_iter().enumerate() {
            self.piece(Piece::End);
            self.moves(edge);
            self.go(node, edge.to, if i == last { follow } else { Follow::Nothing });
        }
    }

    /// Whether the code of a node and what it dominates is likely to end with a jump to `follow`.
    fn falls_through(&self, mut node: Node, follow: Follow) -> bool {
        loop {
            let children = &self.flow.children[node as usize];
            if let Some(&last) = children.iter().rev().find(|&&m| self.is_labelled(m)) {
                node = last;
                continue;
            }
            let is_next = |edge: &Edge| edge.to > node && follow == Follow::Node(edge.to);
            match &self.code.blocks[node as usize].term {
                Term::Jump(edge) if self.is_inline(node, edge.to) => node = edge.to,
                Term::Jump(edge) => return is_next(edge),
                Term::Branch { then, other, .. } => {
                    if is_next(then) || is_next(other) {
                        return true;
                    }
                    let inline = [then, other].into_iter().filter(|e| self.is_inline(node, e.to));
                    match inline.max_by_key(|e| self.flow.weight[e.to as usize]) {
                        Some(edge) => node = edge.to,
                        None => return false,
                    }
                }
                _ => return false,
            }
        }
    }
}
