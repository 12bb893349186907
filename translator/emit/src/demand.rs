//! Demand: which values are needed, how often and where.
//!
//! Instructions with an effect and terminators are needed; what they use is needed, and so on. A block
//! parameter that only feeds itself is not. This is the mark phase of the usual dead code elimination (Cytron
//! et al., "Efficiently Computing Static Single Assignment Form and the Control Dependence Graph", 1991,
//! section 7.1, without its treatment of branches). Linear in the size of the function.

use crate::body::EmitError;
use crate::flow::Flow;
use cranelift_codegen::entity::{EntitySet, SecondaryMap};
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, Function, Inst, InstructionData, Opcode, Value, ValueDef, types,
};

/// How an instruction may be moved within its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Anywhere, and left out if its result is not needed on a path.
    Pure,
    /// Not across a [`Effect::Barrier`]: it reads memory or may trap.
    Read,
    /// Not at all.
    Barrier,
}

/// The result of the analysis.
#[derive(Debug)]
pub(crate) struct Demand {
    live: EntitySet<Inst>,
    needed: EntitySet<Value>,
    uses: SecondaryMap<Value, u32>,
    user: SecondaryMap<Value, Option<Inst>>,
    escapes: EntitySet<Value>,
}

impl Demand {
    pub(crate) fn new(func: &Function, flow: &Flow) -> Result<Self, EmitError> {
        let mut demand = Self {
            live: EntitySet::new(),
            needed: EntitySet::new(),
            uses: SecondaryMap::new(),
            user: SecondaryMap::new(),
            escapes: EntitySet::new(),
        };
        demand.mark(func, flow)?;
        demand.count(func, flow);
        Ok(demand)
    }

    /// Whether the instruction has to be executed, at its place or at its use.
    pub(crate) fn is_live(&self, inst: Inst) -> bool {
        self.live.contains(inst)
    }

    /// Whether a block parameter is used.
    pub(crate) fn is_needed(&self, value: Value) -> bool {
        self.needed.contains(value)
    }

    /// The number of places which use a value.
    pub(crate) fn uses(&self, value: Value) -> u32 {
        self.uses[value]
    }

    /// The user of a value with one use.
    pub(crate) fn user(&self, value: Value) -> Option<Inst> {
        if self.uses[value] == 1 { self.user[value] } else { None }
    }

    /// Whether a value is used in another block than the one that defines it.
    pub(crate) fn escapes(&self, value: Value) -> bool {
        self.escapes.contains(value)
    }

    fn mark(&mut self, func: &Function, flow: &Flow) -> Result<(), EmitError> {
        let mut incoming: SecondaryMap<Block, Vec<BlockCall>> = SecondaryMap::new();
        let mut work = Vec::new();
        for block in flow.blocks.iter().flatten() {
            for inst in func.layout.block_insts(*block) {
                if is_root(func, inst) {
                    self.live.insert(inst);
                    operands(func, inst, &mut work);
                }
            }
            for call in branches(func, *block) {
                incoming[call.block(&func.dfg.value_lists)].push(*call);
            }
        }
        while let Some(value) = work.pop() {
            if !self.needed.insert(value) {
                continue;
            }
            match func.dfg.value_def(value) {
                ValueDef::Result(inst, _) => {
                    if self.live.insert(inst) {
                        operands(func, inst, &mut work);
                    }
                }
                ValueDef::Param(block, i) => {
                    for call in &incoming[block] {
                        work.push(argument(func, call, i)?);
                    }
                }
                ValueDef::Union(..) => return Err(EmitError::Malformed(format!("{value} is a union"))),
            }
        }
        Ok(())
    }

    fn count(&mut self, func: &Function, flow: &Flow) {
        let mut list = Vec::new();
        for &block in flow.blocks.iter().flatten() {
            for inst in func.layout.block_insts(block).filter(|&inst| self.live.contains(inst)) {
                operands(func, inst, &mut list);
                let mut used = std::mem::take(&mut list);
                if func.dfg.insts[inst].opcode().is_branch() {
                    self.needed_arguments(func, block, &mut used);
                }
                for value in used.drain(..) {
                    self.uses[value] += 1;
                    self.user[value] = Some(inst);
                    if def_block(func, value) != Some(block) {
                        self.escapes.insert(value);
                    }
                }
                list = used;
            }
        }
    }

    /// The arguments of the branches at the end of a block whose parameters are needed.
    fn needed_arguments(&self, func: &Function, block: Block, out: &mut Vec<Value>) {
        for call in branches(func, block) {
            let params = func.dfg.block_params(call.block(&func.dfg.value_lists));
            for (i, &param) in params.iter().enumerate() {
                if self.needed.contains(param)
                    && let Ok(arg) = argument(func, call, i)
                {
                    out.push(arg);
                }
            }
        }
    }
}

/// The branches at the end of a block.
pub(crate) fn branches(func: &Function, block: Block) -> &[BlockCall] {
    match func.layout.last_inst(block) {
        Some(last) => {
            func.dfg.insts[last].branch_destination(&func.dfg.jump_tables, &func.dfg.exception_tables)
        }
        None => &[],
    }
}

/// The `i`th argument of a branch.
pub(crate) fn argument(func: &Function, call: &BlockCall, i: usize) -> Result<Value, EmitError> {
    match call.args(&func.dfg.value_lists).nth(i) {
        Some(BlockArg::Value(value)) => Ok(func.dfg.resolve_aliases(value)),
        Some(_) => Err(EmitError::Unsupported("try_call".to_owned())),
        None => Err(EmitError::Malformed("branch with too few arguments".to_owned())),
    }
}

/// The block that defines a value.
fn def_block(func: &Function, value: Value) -> Option<Block> {
    match func.dfg.value_def(value) {
        ValueDef::Result(inst, _) => func.layout.inst_block(inst),
        ValueDef::Param(block, _) => Some(block),
        ValueDef::Union(..) => None,
    }
}

/// The instruction that defines a value, if it is one.
pub(crate) fn def(func: &Function, value: Value) -> Option<Inst> {
    match func.dfg.value_def(value) {
        ValueDef::Result(inst, _) => Some(inst),
        _ => None,
    }
}

/// The opcode and the resolved first arguments of the instruction that defines a value.
pub(crate) fn def_op(func: &Function, value: Value) -> Option<(Opcode, &[Value])> {
    def(func, value).map(|inst| (func.dfg.insts[inst].opcode(), func.dfg.inst_args(inst)))
}

/// The bits of an integer constant, sign-extended from its type.
pub(crate) fn int_const(func: &Function, value: Value) -> Option<i64> {
    match func.dfg.insts[def(func, value)?] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
            let ty = func.dfg.value_type(value);
            let unused = 64u32.checked_sub(ty.bits())?;
            Some(imm.bits() << unused >> unused)
        }
        _ => None,
    }
}

/// The values which the code of an instruction uses, without those of branch arguments.
///
/// Some instructions look through the definition of an argument whatever its other uses are: see [`address`]
/// and [`half`].
pub(crate) fn operands(func: &Function, inst: Inst, out: &mut Vec<Value>) {
    let data = &func.dfg.insts[inst];
    let args = func.dfg.inst_args(inst);
    let opcode = data.opcode();
    let pointer = match opcode {
        _ if !(opcode.can_load() || opcode.can_store()) || opcode.is_call() => None,
        Opcode::Store | Opcode::Istore8 | Opcode::Istore16 | Opcode::Istore32 => Some(1),
        _ => Some(0),
    };
    if let (Opcode::Icmp, &[a, b]) = (opcode, args)
        && func.dfg.value_type(a) == types::I128
    {
        for value in [a, b] {
            for high in [false, true] {
                match half(func, func.dfg.resolve_aliases(value), high) {
                    Half::Value(value) | Half::Sign(value) => out.push(value),
                    Half::Zero | Half::Unknown => {}
                }
            }
        }
        return;
    }
    for (i, &arg) in args.iter().enumerate() {
        let arg = func.dfg.resolve_aliases(arg);
        out.push(if pointer == Some(i) { address(func, arg) } else { arg });
    }
}

/// What the address of a load or store is computed from: the operand of an extension from 32 bits, as the
/// upper half of a pointer is of no importance.
pub(crate) fn address(func: &Function, value: Value) -> Value {
    if let Some((Opcode::Uextend | Opcode::Sextend, &[x])) = def_op(func, value) {
        let x = func.dfg.resolve_aliases(x);
        if func.dfg.value_type(x) == types::I32 && func.dfg.value_type(value) == types::I64 {
            return x;
        }
    }
    value
}

/// One half of a 128-bit value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Half {
    /// A 64-bit value.
    Value(Value),
    /// The sign of a 64-bit value in all bits.
    Sign(Value),
    Zero,
    /// No translation.
    Unknown,
}

/// The low or high half of a 128-bit value. The mid-end makes 128-bit comparisons out of 64-bit ones.
pub(crate) fn half(func: &Function, value: Value, high: bool) -> Half {
    let resolve = |v: Value| func.dfg.resolve_aliases(v);
    let is_64 = |v: Value| func.dfg.value_type(v) == types::I64;
    match def_op(func, value) {
        Some((Opcode::Iconcat, &[low, high_part])) if is_64(low) => {
            Half::Value(resolve(if high { high_part } else { low }))
        }
        Some((Opcode::Uextend, &[x])) if is_64(x) => {
            if high {
                Half::Zero
            } else {
                Half::Value(resolve(x))
            }
        }
        Some((Opcode::Sextend, &[x])) if is_64(x) => {
            if high {
                Half::Sign(resolve(x))
            } else {
                Half::Value(resolve(x))
            }
        }
        _ => Half::Unknown,
    }
}

/// Whether an instruction is needed even without uses of its results.
fn is_root(func: &Function, inst: Inst) -> bool {
    let data = &func.dfg.insts[inst];
    match effect(func, inst) {
        Effect::Pure => false,
        Effect::Barrier => data.opcode() != Opcode::Nop,
        Effect::Read => data.memflags_data(&func.dfg).is_none_or(|flags| !flags.notrap()),
    }
}

/// How an instruction may be moved.
pub(crate) fn effect(func: &Function, inst: Inst) -> Effect {
    let data = &func.dfg.insts[inst];
    let opcode = data.opcode();
    if opcode.is_call() || opcode.is_branch() || opcode.is_terminator() || opcode.can_store() {
        return Effect::Barrier;
    }
    match opcode {
        Opcode::Udiv | Opcode::Urem | Opcode::Sdiv | Opcode::Srem => {
            let divisor = int_const(func, func.dfg.resolve_aliases(func.dfg.inst_args(inst)[1]));
            match divisor {
                Some(d) if d != 0 && (d != -1 || opcode != Opcode::Sdiv) => Effect::Pure,
                _ => Effect::Read,
            }
        }
        Opcode::FcvtToSint | Opcode::FcvtToUint => Effect::Read,
        _ if opcode.can_load() => {
            let constant = data.memflags_data(&func.dfg).is_some_and(|f| f.readonly() && f.notrap());
            if constant { Effect::Pure } else { Effect::Read }
        }
        _ if opcode.can_trap() || opcode.other_side_effects() => Effect::Barrier,
        Opcode::Nop => Effect::Barrier,
        _ => Effect::Pure,
    }
}
