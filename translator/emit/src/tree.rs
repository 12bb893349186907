//! Expression trees: from the instructions of a block to stack code.
//!
//! A value whose instruction has been passed is *pending*: nothing has been emitted for it yet. Its first use
//! emits the instruction in place; if there are further uses, `local.tee` keeps the value. So a value which
//! is used once, at its place or later in the block, needs no local. Before a store, a call or a conditional
//! trap, all pending loads and divisions which are not operands of it are computed into locals; at the end of
//! the block, all pending values that are used in other blocks, and those used more than once in the
//! arguments of a conditional branch. LLVM's `WebAssemblyRegStackify` has the same aim.
//!
//! A tree deeper than [`MAX_DEPTH`] is cut by a local, which bounds the recursion here and the operand stack
//! of the result. Constants are emitted at every use. Linear in the size of the function.

use crate::body::EmitError;
use crate::code::{BlockCode, Code, Edge, Move, Node, Op, Term, VReg, val_type};
use crate::demand::{self, Demand, Effect, def, effect, int_const, operands};
use crate::flow::Flow;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{
    Block, BlockCall, Function, Inst, InstructionData, JumpTable, Opcode, Type, Value, types,
};
use std::collections::HashMap;
use wasm_encoder::{Ieee32, Ieee64, Instruction, ValType};

/// The largest depth of an expression tree.
const MAX_DEPTH: u32 = 48;

pub(crate) type Result<T = ()> = std::result::Result<T, EmitError>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Not reached yet, or emitted at its only use.
    #[default]
    Absent,
    /// To be emitted at its first use.
    Pending,
    /// In a local.
    Local(VReg),
}

/// Makes the code of a function.
pub(crate) struct Builder<'a> {
    pub(crate) func: &'a Function,
    pub(crate) demand: &'a Demand,
    flow: &'a Flow,
    /// The code being made.
    pub(crate) ops: Vec<Op>,
    types: Vec<ValType>,
    state: SecondaryMap<Value, State>,
    depth: SecondaryMap<Value, u32>,
    /// Loads and divisions that may be pending, and values used in other blocks, in the order of definition.
    reads: Vec<Value>,
    escaping: Vec<Value>,
    /// Marks the pending values of the trees that are about to be emitted.
    stamp: SecondaryMap<Value, u32>,
    now: u32,
    /// The variable of a dispatch node.
    selector: Vec<Option<VReg>>,
}

/// Makes the code of all blocks.
pub(crate) fn build(func: &Function, flow: &Flow, demand: &Demand) -> Result<Code> {
    let mut builder = Builder {
        func,
        demand,
        flow,
        ops: Vec::new(),
        types: Vec::new(),
        state: SecondaryMap::new(),
        depth: SecondaryMap::new(),
        reads: Vec::new(),
        escaping: Vec::new(),
        stamp: SecondaryMap::new(),
        now: 0,
        selector: vec![None; flow.len()],
    };
    let params = builder.parameters()?;
    let entry = func.layout.entry_block().ok_or_else(|| EmitError::Malformed("no blocks".to_owned()))?;
    let arguments = func.dfg.block_params(entry);
    if arguments.len() != func.signature.params.len() {
        return Err(EmitError::Malformed("entry block does not match the signature".to_owned()));
    }
    let arguments = arguments.iter().map(|&v| builder.local(v)).collect();
    let mut blocks = Vec::with_capacity(flow.len());
    for (node, params) in params.into_iter().enumerate() {
        let term = match flow.blocks[node] {
            Some(block) => builder.block(block)?,
            None => builder.dispatch(node as Node),
        };
        blocks.push(BlockCode { ops: std::mem::take(&mut builder.ops), term, params });
    }
    Ok(Code { blocks, types: builder.types, arguments })
}

impl Builder<'_> {
    /// Gives every block parameter in use a virtual local.
    fn parameters(&mut self) -> Result<Vec<Vec<VReg>>> {
        let mut all = Vec::with_capacity(self.flow.len());
        for node in 0..self.flow.len() {
            let mut params = Vec::new();
            match self.flow.blocks[node] {
                Some(block) => {
                    for &param in self.func.dfg.block_params(block) {
                        if self.demand.is_needed(param) {
                            let vreg = self.vreg(val_type(self.ty(param))?);
                            self.state[param] = State::Local(vreg);
                            params.push(vreg);
                        }
                    }
                }
                None => {
                    let vreg = self.vreg(ValType::I32);
                    self.selector[node] = Some(vreg);
                    params.push(vreg);
                }
            }
            all.push(params);
        }
        Ok(all)
    }

    fn dispatch(&mut self, node: Node) -> Term {
        let targets = &self.flow.succs[node as usize];
        let mut edges: Vec<(u32, Edge)> = Vec::new();
        for &to in targets {
            let k = self.flow.via[to as usize].map_or(0, |(_, k)| k);
            edges.push((k, Edge { to, moves: Vec::new() }));
        }
        edges.sort_by_key(|&(k, _)| k);
        let slots = (0..edges.len() as u32).collect();
        let index = self.selector[node as usize].map(Op::Get).into_iter().collect();
        Term::Table { index, edges: edges.into_iter().map(|(_, e)| e).collect(), slots }
    }

    /// Emits the instructions of a block and gives its terminator.
    fn block(&mut self, block: Block) -> Result<Term> {
        self.reads.clear();
        self.escaping.clear();
        for inst in self.func.layout.block_insts(block) {
            if !self.demand.is_live(inst) {
                continue;
            }
            let opcode = self.func.dfg.insts[inst].opcode();
            if opcode.is_terminator() {
                return self.terminator(block, inst);
            }
            match effect(self.func, inst) {
                Effect::Barrier => self.barrier(inst)?,
                kind => self.defer(inst, kind)?,
            }
        }
        Err(EmitError::Malformed(format!("{block} has no terminator")))
    }

    /// Makes the result of an instruction pending.
    fn defer(&mut self, inst: Inst, kind: Effect) -> Result {
        let &[value] = self.func.dfg.inst_results(inst) else {
            return Err(self.unsupported(inst));
        };
        if is_const(self.func, inst) || matches!(self.func.dfg.insts[inst].opcode(), Opcode::Iconcat) {
            return Ok(());
        }
        if self.demand.uses(value) == 0 {
            if kind == Effect::Read {
                self.inst(inst)?;
                self.plain(Instruction::Drop);
            }
            return Ok(());
        }
        let mut list = Vec::new();
        operands(self.func, inst, &mut list);
        let pending = list.iter().filter(|&&v| self.state[v] == State::Pending);
        let depth = pending.map(|&v| self.depth[v] + 1).max().unwrap_or(1);
        self.state[value] = State::Pending;
        self.depth[value] = depth;
        if depth > MAX_DEPTH {
            return self.save(value);
        }
        if kind == Effect::Read {
            self.reads.push(value);
        }
        if self.demand.escapes(value) {
            self.escaping.push(value);
        }
        Ok(())
    }

    /// Emits an instruction that may not be moved.
    fn barrier(&mut self, inst: Inst) -> Result {
        let mut list = Vec::new();
        operands(self.func, inst, &mut list);
        self.mark(list);
        self.flush_reads()?;
        self.effect(inst)?;
        for &value in self.func.dfg.inst_results(inst).iter().rev() {
            if self.demand.uses(value) == 0 {
                self.plain(Instruction::Drop);
            } else {
                let vreg = self.vreg(val_type(self.ty(value))?);
                self.state[value] = State::Local(vreg);
                self.ops.push(Op::Set(vreg));
            }
        }
        Ok(())
    }

    /// Marks the pending values of some trees.
    fn mark(&mut self, mut work: Vec<Value>) {
        self.now += 1;
        while let Some(value) = work.pop() {
            if self.state[value] == State::Pending && self.stamp[value] != self.now {
                self.stamp[value] = self.now;
                if let Some(inst) = def(self.func, value) {
                    operands(self.func, inst, &mut work);
                }
            }
        }
    }

    fn is_unmarked(&self, value: Value) -> bool {
        self.state[value] == State::Pending && self.stamp[value] != self.now
    }

    /// Computes the pending loads and divisions that are not marked.
    fn flush_reads(&mut self) -> Result {
        for value in std::mem::take(&mut self.reads) {
            if self.is_unmarked(value) {
                let top = self.climb(value);
                self.save(top)?;
            }
        }
        Ok(())
    }

    /// The pending value at the top of the tree that has `value` as its only user.
    fn climb(&self, mut value: Value) -> Value {
        while let Some(user) = self.demand.user(value) {
            match self.func.dfg.inst_results(user) {
                &[result] if self.state[result] == State::Pending => value = result,
                _ => break,
            }
        }
        value
    }

    /// Computes all unmarked values that have to be there when the block ends.
    fn flush(&mut self) -> Result {
        self.flush_reads()?;
        for value in std::mem::take(&mut self.escaping) {
            if self.is_unmarked(value) {
                self.save(value)?;
            }
        }
        Ok(())
    }

    /// Computes a pending value into a local.
    fn save(&mut self, value: Value) -> Result {
        let vreg = self.emit_pending(value)?;
        let vreg = match vreg {
            Some(vreg) => vreg,
            None => self.vreg(val_type(self.ty(value))?),
        };
        self.state[value] = State::Local(vreg);
        self.ops.push(Op::Set(vreg));
        Ok(())
    }

    /// Emits the instruction of a pending value; gives a virtual local if there are more uses.
    fn emit_pending(&mut self, value: Value) -> Result<Option<VReg>> {
        let inst = def(self.func, value).ok_or_else(|| EmitError::Malformed(format!("{value}")))?;
        self.state[value] = State::Absent;
        self.inst(inst)?;
        if self.demand.uses(value) == 1 {
            return Ok(None);
        }
        let vreg = self.vreg(val_type(self.ty(value))?);
        self.state[value] = State::Local(vreg);
        Ok(Some(vreg))
    }

    /// Pushes a value.
    pub(crate) fn value(&mut self, value: Value) -> Result {
        match self.state[value] {
            State::Local(vreg) => self.ops.push(Op::Get(vreg)),
            State::Pending => {
                if let Some(vreg) = self.emit_pending(value)? {
                    self.ops.push(Op::Tee(vreg));
                }
            }
            State::Absent => {
                let constant = self.constant(value);
                let op = constant.ok_or_else(|| self.missing(value))?;
                self.ops.push(op);
            }
        }
        Ok(())
    }

    /// Pushes a value and gives an instruction that pushes it once more.
    pub(crate) fn value_twice(&mut self, value: Value) -> Result<Op> {
        self.value(value)?;
        Ok(match (self.state[value], self.constant(value)) {
            (State::Local(vreg), _) => Op::Get(vreg),
            (_, Some(op)) => op,
            _ => {
                let ty = val_type(self.ty(value))?;
                self.keep(ty)
            }
        })
    }

    /// Keeps the top of the stack in a new virtual local; gives an instruction that pushes it once more.
    pub(crate) fn keep(&mut self, ty: ValType) -> Op {
        let vreg = self.vreg(ty);
        self.ops.push(Op::Tee(vreg));
        Op::Get(vreg)
    }

    /// Takes over a pending value with one use: the caller emits the instruction in its own way.
    pub(crate) fn take(&mut self, value: Value, opcode: Opcode) -> Option<Inst> {
        let inst = self.peek(value, opcode)?;
        self.state[value] = State::Absent;
        Some(inst)
    }

    /// The instruction of a pending value with one use.
    pub(crate) fn peek(&self, value: Value, opcode: Opcode) -> Option<Inst> {
        let inst = self.peek_any(value)?;
        (self.func.dfg.insts[inst].opcode() == opcode).then_some(inst)
    }

    /// The instruction of a pending value with one use.
    pub(crate) fn peek_any(&self, value: Value) -> Option<Inst> {
        if self.state[value] != State::Pending || self.demand.uses(value) != 1 {
            return None;
        }
        def(self.func, value)
    }

    fn constant(&self, value: Value) -> Option<Op> {
        let inst = def(self.func, value)?;
        Some(Op::Plain(match self.func.dfg.insts[inst] {
            InstructionData::UnaryIeee32 { imm, .. } => Instruction::F32Const(Ieee32::new(imm.bits())),
            InstructionData::UnaryIeee64 { imm, .. } => Instruction::F64Const(Ieee64::new(imm.bits())),
            _ => {
                let bits = int_const(self.func, value)?;
                if self.ty(value) == types::I64 {
                    Instruction::I64Const(bits)
                } else {
                    Instruction::I32Const(bits as i32)
                }
            }
        }))
    }

    /// The resolved arguments of an instruction.
    pub(crate) fn args<const N: usize>(&self, inst: Inst) -> Result<[Value; N]> {
        let args = self.func.dfg.inst_args(inst);
        let args: [Value; N] = args.try_into().map_err(|_| self.unsupported(inst))?;
        Ok(args.map(|v| self.func.dfg.resolve_aliases(v)))
    }

    pub(crate) fn ty(&self, value: Value) -> Type {
        self.func.dfg.value_type(value)
    }

    pub(crate) fn vreg(&mut self, ty: ValType) -> VReg {
        self.types.push(ty);
        VReg(self.types.len() as u32 - 1)
    }

    pub(crate) fn plain(&mut self, instruction: Instruction<'static>) {
        self.ops.push(Op::Plain(instruction));
    }

    pub(crate) fn unsupported(&self, inst: Inst) -> EmitError {
        let data = &self.func.dfg.insts[inst];
        let ty = self.func.dfg.ctrl_typevar(inst);
        let ty = if ty == types::INVALID { String::new() } else { format!(".{ty}") };
        EmitError::Unsupported(format!("{}{ty}", data.opcode()))
    }

    fn missing(&self, value: Value) -> EmitError {
        match def(self.func, value) {
            Some(inst) => self.unsupported(inst),
            None => EmitError::Malformed(format!("{value} is used before its definition")),
        }
    }

    fn local(&self, value: Value) -> Option<VReg> {
        match self.state[value] {
            State::Local(vreg) => Some(vreg),
            _ => None,
        }
    }

    fn terminator(&mut self, block: Block, inst: Inst) -> Result<Term> {
        match self.func.dfg.insts[inst] {
            InstructionData::Jump { destination, .. } => {
                let mut list = Vec::new();
                self.edge_values(&destination, &mut list)?;
                self.mark(list);
                self.flush()?;
                Ok(Term::Jump(self.edge(&destination)?))
            }
            InstructionData::Brif { arg, blocks: [then, other], .. } => {
                let arg = self.func.dfg.resolve_aliases(arg);
                let cond = self.condition(block, arg, |b| b.truthy(arg))?;
                Ok(Term::Branch { cond, then: self.edge(&then)?, other: self.edge(&other)? })
            }
            InstructionData::BranchTable { arg, table, .. } => {
                let arg = self.func.dfg.resolve_aliases(arg);
                if self.ty(arg) != types::I32 {
                    return Err(self.unsupported(inst));
                }
                let index = self.condition(block, arg, |b| b.value(arg))?;
                self.table(index, table)
            }
            InstructionData::MultiAry { opcode: Opcode::Return, .. } => {
                let mut list = Vec::new();
                operands(self.func, inst, &mut list);
                self.mark(list.clone());
                self.flush()?;
                let before = std::mem::take(&mut self.ops);
                for (value, param) in list.iter().zip(&self.func.signature.returns) {
                    self.extended(*value, param.extension)?;
                }
                Ok(Term::Return(std::mem::replace(&mut self.ops, before)))
            }
            // What is still pending is not needed: if it trapped, this would be no different.
            InstructionData::Trap { opcode: Opcode::Trap, .. } => Ok(Term::Trap),
            _ => Err(self.unsupported(inst)),
        }
    }

    /// The code of a branch condition, after everything that the branches need has been computed.
    fn condition(&mut self, block: Block, arg: Value, f: impl Fn(&mut Self) -> Result) -> Result<Vec<Op>> {
        self.mark(vec![arg]);
        self.flush()?;
        let mut work = Vec::new();
        for call in demand::branches(self.func, block) {
            self.edge_values(call, &mut work)?;
        }
        // What several edges need is computed before the branch, unless the condition computes it anyway.
        let mut shared = Vec::new();
        while let Some(value) = work.pop() {
            if self.is_unmarked(value)
                && let Some(inst) = def(self.func, value)
            {
                self.stamp[value] = self.now;
                if self.demand.uses(value) > 1 {
                    shared.push(value);
                }
                operands(self.func, inst, &mut work);
            }
        }
        for value in shared.into_iter().rev() {
            if self.state[value] == State::Pending {
                self.save(value)?;
            }
        }
        let before = std::mem::take(&mut self.ops);
        f(self)?;
        Ok(std::mem::replace(&mut self.ops, before))
    }

    fn table(&mut self, index: Vec<Op>, table: JumpTable) -> Result<Term> {
        let table = &self.func.dfg.jump_tables[table];
        let (mut edges, mut slots, mut known) = (Vec::new(), Vec::new(), HashMap::new());
        for call in table.as_slice().iter().chain([&table.default_block()]) {
            let mut values = Vec::new();
            self.edge_values(call, &mut values)?;
            let key = (call.block(&self.func.dfg.value_lists), values);
            let slot = match known.get(&key) {
                Some(&slot) => slot,
                None => {
                    edges.push(self.edge(call)?);
                    known.insert(key, edges.len() as u32 - 1);
                    edges.len() as u32 - 1
                }
            };
            slots.push(slot);
        }
        Ok(Term::Table { index, edges, slots })
    }

    /// The needed arguments of an edge.
    fn edge_values(&self, call: &BlockCall, out: &mut Vec<Value>) -> Result {
        let params = self.func.dfg.block_params(call.block(&self.func.dfg.value_lists));
        for (i, &param) in params.iter().enumerate() {
            if self.demand.is_needed(param) {
                out.push(demand::argument(self.func, call, i)?);
            }
        }
        Ok(())
    }

    fn edge(&mut self, call: &BlockCall) -> Result<Edge> {
        let block = call.block(&self.func.dfg.value_lists);
        let to = self.flow.node(block).ok_or_else(|| EmitError::Malformed(format!("{block}")))?;
        let mut values = Vec::new();
        self.edge_values(call, &mut values)?;
        let params = self.func.dfg.block_params(block).iter().filter_map(|&p| self.local(p));
        let params: Vec<VReg> = params.collect();
        let before = std::mem::take(&mut self.ops);
        let mut moves = Vec::new();
        for (value, dst) in values.into_iter().zip(params) {
            self.value(value)?;
            moves.push(Move { ops: std::mem::take(&mut self.ops), dst });
        }
        self.ops = before;
        let Some((dispatch, k)) = self.flow.via[to as usize] else {
            return Ok(Edge { to, moves });
        };
        if let Some(dst) = self.selector[dispatch as usize] {
            moves.push(Move { ops: vec![Op::Plain(Instruction::I32Const(k as i32))], dst });
        }
        Ok(Edge { to: dispatch, moves })
    }
}

/// Whether an instruction is a constant.
fn is_const(func: &Function, inst: Inst) -> bool {
    use Opcode::{F32const, F64const, Iconst};
    matches!(func.dfg.insts[inst].opcode(), Iconst | F32const | F64const)
}
