//! Control flow: reverse postorder, dominator tree, loop headers, dispatch nodes.
//!
//! Dominators by the iterative method of Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"
//! (2001): in the worst case quadratic in the number of blocks, in practice linear.
//!
//! WebAssembly has no loops with several entries. Such a loop (a strongly connected component with more than
//! one entry) gets a *dispatch* node: all edges to an entry lead to the dispatch node instead and carry the
//! entry's number, the dispatch node branches on the number. It is then the only entry of the loop. The
//! search for strongly connected components is Tarjan's; it is repeated within each component without its
//! header, which costs O(edges × nesting depth), and only functions which do have such a loop pay for it.

use crate::body::EmitError;
use crate::code::Node;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{Block, Function};

const NONE: u32 = u32::MAX;

/// The control flow graph of the reachable blocks. Nodes are numbered in reverse postorder.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The CLIF block of a node; none for a dispatch node.
    pub(crate) blocks: Vec<Option<Block>>,
    /// Edges to this node go to the dispatch node instead, with this number.
    pub(crate) via: Vec<Option<(Node, u32)>>,
    /// The distinct successors.
    pub(crate) succs: Vec<Vec<Node>>,
    /// The nodes which a node dominates directly, ascending.
    pub(crate) children: Vec<Vec<Node>>,
    /// Number of distinct nodes with a forward edge to the node.
    pub(crate) forward_preds: Vec<u32>,
    /// Whether a backward edge leads to the node.
    pub(crate) is_loop: Vec<bool>,
    /// Number of nodes in the dominator subtree.
    pub(crate) weight: Vec<u32>,
    node_of: SecondaryMap<Block, u32>,
}

/// The graph before it has been numbered.
struct Graph {
    succs: Vec<Vec<u32>>,
    preds: Vec<Vec<u32>>,
    via: Vec<Option<(u32, u32)>>,
}

impl Flow {
    pub(crate) fn new(func: &Function) -> Result<Self, EmitError> {
        let (blocks, mut graph) = Graph::new(func)?;
        let mut order = graph.postorder();
        if !graph.is_reducible(&order) {
            graph.make_reducible();
            order = graph.postorder();
        }
        Ok(Self::number(blocks, graph, order))
    }

    /// The node of a block, none if it is unreachable.
    pub(crate) fn node(&self, block: Block) -> Option<Node> {
        let node = self.node_of[block];
        (node != 0).then(|| node - 1)
    }

    /// Number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    fn number(raw_blocks: Vec<Block>, graph: Graph, postorder: Vec<u32>) -> Self {
        let mut node = vec![NONE; graph.succs.len()];
        let n = postorder.len();
        for (i, &raw) in postorder.iter().enumerate() {
            node[raw as usize] = (n - 1 - i) as u32;
        }
        let rpo = || postorder.iter().rev().map(|&raw| raw as usize);
        let blocks: Vec<_> = rpo().map(|raw| raw_blocks.get(raw).copied()).collect();
        let mut node_of = SecondaryMap::new();
        for (i, block) in blocks.iter().enumerate() {
            if let Some(block) = *block {
                node_of[block] = i as u32 + 1;
            }
        }
        let number = |list: &Vec<u32>| -> Vec<u32> {
            list.iter().map(|&raw| node[raw as usize]).filter(|&x| x != NONE).collect()
        };
        let succs: Vec<_> = rpo().map(|raw| number(&graph.succs[raw])).collect();
        let preds: Vec<_> = rpo().map(|raw| number(&graph.preds[raw])).collect();
        let via = rpo().map(|raw| graph.via[raw].map(|(d, k)| (node[d as usize], k))).collect();
        let idom = dominators(&preds);
        let mut children = vec![Vec::new(); n];
        let mut weight = vec![1u32; n];
        for x in (1..n).rev() {
            weight[idom[x] as usize] += weight[x];
        }
        for x in 1..n {
            children[idom[x] as usize].push(x as u32);
        }
        let forward = |x: usize| preds[x].iter().filter(|&&p| (p as usize) < x).count() as u32;
        let forward_preds: Vec<_> = (0..n).map(forward).collect();
        let is_loop = (0..n).map(|x| forward_preds[x] as usize != preds[x].len()).collect();
        Self { blocks, via, succs, children, forward_preds, is_loop, weight, node_of }
    }
}

/// Immediate dominators of nodes in reverse postorder.
fn dominators(preds: &[Vec<u32>]) -> Vec<u32> {
    let mut idom = vec![NONE; preds.len()];
    idom[0] = 0;
    let mut changed = true;
    while changed {
        changed = false;
        for x in 1..preds.len() {
            let mut new = NONE;
            for &p in preds[x].iter().filter(|&&p| idom[p as usize] != NONE) {
                new = if new == NONE { p } else { intersect(&idom, new, p) };
            }
            if idom[x] != new {
                idom[x] = new;
                changed = true;
            }
        }
    }
    idom
}

fn intersect(idom: &[u32], mut a: u32, mut b: u32) -> u32 {
    while a != b {
        if a > b {
            a = idom[a as usize];
        } else {
            b = idom[b as usize];
        }
    }
    a
}

impl Graph {
    /// The graph of all blocks in the layout. Node 0 is the entry.
    fn new(func: &Function) -> Result<(Vec<Block>, Self), EmitError> {
        let malformed = |text: &str| EmitError::Malformed(text.to_owned());
        let blocks: Vec<Block> = func.layout.blocks().collect();
        if blocks.is_empty() {
            return Err(malformed("no blocks"));
        }
        let mut raw: SecondaryMap<Block, u32> = SecondaryMap::with_default(NONE);
        for (i, &block) in blocks.iter().enumerate() {
            raw[block] = i as u32;
        }
        let mut graph = Self {
            succs: vec![Vec::new(); blocks.len()],
            preds: vec![Vec::new(); blocks.len()],
            via: vec![None; blocks.len()],
        };
        for (i, &block) in blocks.iter().enumerate() {
            let last = func.layout.last_inst(block).ok_or_else(|| malformed("empty block"))?;
            let data = &func.dfg.insts[last];
            if !data.opcode().is_terminator() {
                return Err(malformed("block without a terminator"));
            }
            let mut succs = Vec::new();
            for call in data.branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables) {
                let to = raw[call.block(&func.dfg.value_lists)];
                if to == NONE || to == 0 {
                    return Err(malformed("branch to the entry block or to no block"));
                }
                succs.push(to);
            }
            let mut seen = std::collections::HashSet::new();
            succs.retain(|&s| seen.insert(s));
            for &to in &succs {
                graph.preds[to as usize].push(i as u32);
            }
            graph.succs[i] = succs;
        }
        Ok((blocks, graph))
    }

    /// Postorder of the reachable nodes.
    fn postorder(&self) -> Vec<u32> {
        let mut order = Vec::new();
        let mut seen = vec![false; self.succs.len()];
        let mut stack = vec![(0u32, 0usize)];
        seen[0] = true;
        while let Some((x, next)) = stack.last_mut() {
            match self.succs[*x as usize].get(*next) {
                Some(&s) => {
                    *next += 1;
                    if !std::mem::replace(&mut seen[s as usize], true) {
                        stack.push((s, 0));
                    }
                }
                None => {
                    order.push(*x);
                    stack.pop();
                }
            }
        }
        order
    }

    /// Whether the target of every backward edge dominates its source.
    fn is_reducible(&self, postorder: &[u32]) -> bool {
        let n = postorder.len();
        let mut number = vec![NONE; self.succs.len()];
        for (i, &x) in postorder.iter().enumerate() {
            number[x as usize] = (n - 1 - i) as u32;
        }
        let renumber = |list: &Vec<u32>| -> Vec<u32> {
            list.iter().map(|&x| number[x as usize]).filter(|&x| x != NONE).collect()
        };
        let preds: Vec<_> = postorder.iter().rev().map(|&x| renumber(&self.preds[x as usize])).collect();
        let idom = dominators(&preds);
        let (enter, leave) = intervals(&idom);
        preds.iter().enumerate().all(|(x, preds)| {
            let dominates = |p: usize| enter[x] <= enter[p] && leave[p] <= leave[x];
            preds.iter().all(|&p| (p as usize) < x || dominates(p as usize))
        })
    }

    /// Adds dispatch nodes until every loop has one entry.
    fn make_reducible(&mut self) {
        let mut regions = vec![self.postorder()];
        while let Some(region) = regions.pop() {
            for component in self.components(&region) {
                let mut inside = vec![false; self.succs.len()];
                component.iter().for_each(|&x| inside[x as usize] = true);
                let is_entry = |&x: &u32| self.preds[x as usize].iter().any(|&p| !inside[p as usize]);
                let mut entries: Vec<u32> = component.iter().copied().filter(is_entry).collect();
                entries.sort_unstable();
                if entries.len() > 1 {
                    self.dispatch(&entries);
                    regions.push(component);
                } else {
                    let body: Vec<u32> = component.into_iter().filter(|x| !entries.contains(x)).collect();
                    regions.push(body);
                }
            }
        }
    }

    /// Puts a dispatch node before `entries`.
    fn dispatch(&mut self, entries: &[u32]) {
        let node = self.succs.len() as u32;
        let mut preds = Vec::new();
        for (k, &entry) in entries.iter().enumerate() {
            self.via[entry as usize] = Some((node, k as u32));
            for p in std::mem::replace(&mut self.preds[entry as usize], vec![node]) {
                let succs = &mut self.succs[p as usize];
                succs.retain(|&s| s != entry);
                if !succs.contains(&node) {
                    succs.push(node);
                    preds.push(p);
                }
            }
        }
        self.succs.push(entries.to_vec());
        self.preds.push(preds);
        self.via.push(None);
    }

    /// The strongly connected components of a part of the graph that contain a cycle.
    fn components(&self, region: &[u32]) -> Vec<Vec<u32>> {
        let n = self.succs.len();
        let mut state = Tarjan { index: vec![NONE; n], low: vec![0; n], open: Vec::new(), next: 0 };
        let mut inside = vec![false; n];
        region.iter().for_each(|&x| inside[x as usize] = true);
        let mut out = Vec::new();
        for &root in region {
            if state.index[root as usize] == NONE {
                state.search(self, root, &mut inside, &mut out);
            }
        }
        out.retain(|c| c.len() > 1 || self.succs[c[0] as usize].contains(&c[0]));
        out
    }
}

struct Tarjan {
    index: Vec<u32>,
    low: Vec<u32>,
    open: Vec<u32>,
    next: u32,
}

impl Tarjan {
    fn enter(&mut self, x: u32) {
        self.index[x as usize] = self.next;
        self.low[x as usize] = self.next;
        self.next += 1;
        self.open.push(x);
    }

    /// `inside` loses the nodes whose component is complete.
    fn search(&mut self, graph: &Graph, root: u32, inside: &mut [bool], out: &mut Vec<Vec<u32>>) {
        let mut stack = vec![(root, 0usize)];
        self.enter(root);
        while let Some((x, next)) = stack.last_mut() {
            let x = *x;
            if let Some(&s) = graph.succs[x as usize].get(*next) {
                *next += 1;
                if !inside[s as usize] {
                    continue;
                }
                if self.index[s as usize] == NONE {
                    self.enter(s);
                    stack.push((s, 0));
                } else {
                    self.low[x as usize] = self.low[x as usize].min(self.index[s as usize]);
                }
                continue;
            }
            stack.pop();
            if let Some(&(parent, _)) = stack.last() {
                self.low[parent as usize] = self.low[parent as usize].min(self.low[x as usize]);
            }
            if self.low[x as usize] == self.index[x as usize] {
                let at = self.open.iter().rposition(|&y| y == x).unwrap_or(0);
                let component = self.open.split_off(at);
                component.iter().for_each(|&y| inside[y as usize] = false);
                out.push(component);
            }
        }
    }
}

/// Preorder numbers of a tree given by parents (a parent's number is smaller): first and last in the subtree.
fn intervals(parent: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let n = parent.len();
    let mut size = vec![1u32; n];
    for x in (1..n).rev() {
        size[parent[x] as usize] += size[x];
    }
    let mut enter = vec![0u32; n];
    let mut next: Vec<u32> = vec![1; n];
    for x in 1..n {
        let p = parent[x] as usize;
        enter[x] = next[p];
        next[p] += size[x];
        next[x] = enter[x] + 1;
    }
    let leave = (0..n).map(|x| enter[x] + size[x] - 1).collect();
    (enter, leave)
}
