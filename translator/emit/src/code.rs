//! Stack code over virtual locals: what `tree` makes, `locals` colours and `structure` arranges.

use crate::body::{EmitError, RelocKind};
use cranelift_codegen::ir::{Type, types};
use wasm_encoder::{Instruction, ValType};

/// A virtual local. It has one type and any number of assignments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VReg(pub(crate) u32);

/// A node of the control flow graph, numbered in reverse postorder.
pub(crate) type Node = u32;

/// One instruction.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// `local.get`
    Get(VReg),
    /// `local.set`
    Set(VReg),
    /// `local.tee`
    Tee(VReg),
    /// An instruction without locals and labels of its own, or a balanced `if`/`end` within the code.
    Plain(Instruction<'static>),
    /// `call`
    Call(RelocKind),
    /// `call_indirect` through table 0
    CallIndirect(RelocKind),
}

/// One assignment of the parallel assignment that goes with an edge.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    /// Computes the value.
    pub(crate) ops: Vec<Op>,
    /// Receives it.
    pub(crate) dst: VReg,
}

/// An edge of the control flow graph.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) to: Node,
    /// All values are computed before the first assignment.
    pub(crate) moves: Vec<Move>,
}

/// How a block ends.
#[derive(Clone, Debug)]
pub(crate) enum Term {
    Jump(Edge),
    /// To `then` if `cond` leaves a number other than 0.
    Branch {
        cond: Vec<Op>,
        then: Edge,
        other: Edge,
    },
    /// `slots[index]` is an index into `edges`; the last one is for all larger indices.
    Table {
        index: Vec<Op>,
        edges: Vec<Edge>,
        slots: Vec<u32>,
    },
    Return(Vec<Op>),
    Trap,
}

impl Term {
    /// The edges out of the block.
    pub(crate) fn edges(&self) -> &[Edge] {
        match self {
            Term::Jump(edge) => std::slice::from_ref(edge),
            Term::Table { edges, .. } => edges,
            // Two fields are no slice: see `for_each_edge`.
            Term::Branch { .. } | Term::Return(_) | Term::Trap => &[],
        }
    }

    /// Calls `f` with every edge.
    pub(crate) fn for_each_edge<'a>(&'a self, mut f: impl FnMut(&'a Edge)) {
        if let Term::Branch { then, other, .. } = self {
            f(then);
            f(other);
        }
        self.edges().iter().for_each(f);
    }

    /// The code which is executed before any of the edges is taken.
    pub(crate) fn ops(&self) -> &[Op] {
        match self {
            Term::Branch { cond, .. } => cond,
            Term::Table { index, .. } => index,
            Term::Return(ops) => ops,
            Term::Jump(_) | Term::Trap => &[],
        }
    }
}

/// The code of one node.
#[derive(Clone, Debug)]
pub(crate) struct BlockCode {
    pub(crate) ops: Vec<Op>,
    pub(crate) term: Term,
    /// The block parameters that are in use.
    pub(crate) params: Vec<VReg>,
}

/// The code of a function.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    /// By node.
    pub(crate) blocks: Vec<BlockCode>,
    /// Types of the virtual locals.
    pub(crate) types: Vec<ValType>,
    /// The virtual local of each parameter of the function that is in use.
    pub(crate) arguments: Vec<Option<VReg>>,
}

/// The WebAssembly type that holds a CLIF type.
pub(crate) fn val_type(ty: Type) -> Result<ValType, EmitError> {
    Ok(match ty {
        types::I8 | types::I16 | types::I32 => ValType::I32,
        types::I64 => ValType::I64,
        types::F32 => ValType::F32,
        types::F64 => ValType::F64,
        _ => return Err(EmitError::Unsupported(format!("type {ty}"))),
    })
}

/// Calls `f` with every list of instructions of a block, in the order of execution.
fn for_each_list(block: &mut BlockCode, mut f: impl FnMut(&mut Vec<Op>)) {
    f(&mut block.ops);
    let mut edge = |e: &mut Edge| e.moves.iter_mut().for_each(|m| f(&mut m.ops));
    match &mut block.term {
        Term::Jump(e) => edge(e),
        Term::Branch { cond, then, other } => {
            f(cond);
            for e in [then, other] {
                e.moves.iter_mut().for_each(|m| f(&mut m.ops));
            }
        }
        Term::Table { index, edges, .. } => {
            f(index);
            for e in edges {
                e.moves.iter_mut().for_each(|m| f(&mut m.ops));
            }
        }
        Term::Return(ops) => f(ops),
        Term::Trap => {}
    }
}

/// Joins `local.set x; local.get x` into `local.tee x`, or into nothing if there is no other use of `x`.
pub(crate) fn peephole(code: &mut Code) {
    let mut gets = vec![0u32; code.types.len()];
    for block in &mut code.blocks {
        for_each_list(block, |ops| {
            for op in ops.iter() {
                if let Op::Get(v) = op {
                    gets[v.0 as usize] += 1;
                }
            }
        });
    }
    for block in &mut code.blocks {
        for_each_list(block, |ops| join(ops, &gets));
        let BlockCode { ops, term, .. } = block;
        // The first instruction of what is executed right after the block.
        let next = match term {
            Term::Branch { cond: next, .. } | Term::Table { index: next, .. } | Term::Return(next) => {
                Some(next)
            }
            Term::Jump(edge) => edge.moves.first_mut().map(|m| &mut m.ops),
            Term::Trap => None,
        };
        if let (Some(&Op::Set(x)), Some(next)) = (ops.last(), next)
            && matches!(next.first(), Some(Op::Get(y)) if *y == x)
        {
            ops.pop();
            if gets[x.0 as usize] == 1 {
                next.remove(0);
            } else {
                next[0] = Op::Tee(x);
            }
        }
    }
}

fn join(ops: &mut Vec<Op>, gets: &[u32]) {
    let mut out: Vec<Op> = Vec::with_capacity(ops.len());
    for op in ops.drain(..) {
        match (&op, out.last()) {
            (Op::Get(x), Some(Op::Set(y))) if x == y => {
                let x = *x;
                out.pop();
                if gets[x.0 as usize] > 1 {
                    out.push(Op::Tee(x));
                }
            }
            _ => out.push(op),
        }
    }
    *ops = out;
}
