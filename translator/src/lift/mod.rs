//! Guest code to CLIF.
//!
//! # Shape
//! A [`Function`](crate::region::Function) becomes one CLIF function of the signature that
//! [`forelift_abi::lift`] sets out. Its head dispatches on the number of the entry point; each entry point
//! loads the registers that are live there. Inside, guest registers are variables of cranelift-frontend. A
//! jump to a register's value that leads to an entry point of the same function goes back to the head: so an
//! interpreter in the guest stays in one frame.
//!
//! # Calls
//! A direct call of what begins a lifted function is a direct call; every other goes through the runtime.
//!
//! # Precise state
//! Where the guest can leave (a memory access, a call, an exit, the end of a block) every register that was
//! written since is stored first, so that *leaving is nothing but a jump*: to one block per function that
//! takes the budget and a constant which packs the address and the number of instructions to take off. A
//! register that is written again before such a place is not stored. Whatever lifted code cannot do (TLB
//! miss, misaligned access, device, fault, FPU off) leaves in this way; the interpreter executes the
//! instruction, and goes on until the next entry point.
//!
//! # Budget
//! `left` is a variable in the function and in memory outside of it. It is counted down at the ends of blocks
//! and tested where control goes backwards; calls test it in the runtime.
//!
//! # Memory
//! An access goes through the data TLB, on its own or together with others ([`coalesce`]).
//!
//! # Pages
//! Going on to another page of the region is checked against the instruction TLB, once on each path: whatever
//! could change a translation leaves all lifted frames.

mod alu;
mod atomic;
mod coalesce;
mod control;
mod csr;
mod float;
mod frame;
mod liveness;
mod memory;

use crate::program::{At, Program};
use crate::region::Function;
use cranelift_codegen::entity::packed_option::ReservedValue;
use cranelift_codegen::ir::{self, AbiParam, InstBuilder, Signature, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use forelift_abi::lift::{FUNCTION_BITS, Helper, Layout};
use forelift_isa::rv64::{Flow, Insn, Op};
use std::collections::BTreeMap;

/// Namespace of the helpers among the names of external functions.
pub const HELPERS: u32 = 0;
/// Namespace of the lifted functions that are called directly: an index into what [`lift`] gives.
pub const CALLEES: u32 = 1;

/// What the lifted functions of one image have in common.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where the runtime keeps what.
    pub layout: Layout,
    /// How functions are called.
    pub call_conv: CallConv,
}

/// The signature of a lifted function.
pub fn signature(call_conv: CallConv) -> Signature {
    let mut signature = Signature::new(call_conv);
    signature.params = [types::I64, types::I32, types::I32].map(AbiParam::new).to_vec();
    signature.returns = vec![AbiParam::new(types::I64)];
    signature
}

/// The signature of a helper; `pass_hart` as in [`Layout`].
pub fn helper_signature(helper: Helper, call_conv: CallConv, pass_hart: bool) -> Signature {
    let (params, result): (&[ir::Type], _) = match helper {
        Helper::Dispatch => (&[types::I64, types::I32], types::I64),
        Helper::Csr => (&[types::I64, types::I32, types::I64], types::I32),
        Helper::Float => (&[types::I32, types::I64, types::I64, types::I64], types::I64),
        Helper::Fma => (&[types::F64, types::F64, types::F64], types::F64),
        Helper::Ecall => (&[types::I64, types::I32], types::I64),
        Helper::Sret => (&[], types::I64),
        Helper::Status => (&[types::I64], types::I64),
    };
    let mut signature = Signature::new(call_conv);
    if pass_hart {
        signature.params.push(AbiParam::new(types::I64));
    }
    signature.params.extend(params.iter().map(|&ty| AbiParam::new(ty)));
    signature.returns = vec![AbiParam::new(result)];
    signature
}

/// Registers as bits: x1 to x31, then f0 to f31.
type Set = u64;

fn x_bit(n: u8) -> Set {
    if n == 0 { 0 } else { 1 << n }
}

fn f_bit(n: u8) -> Set {
    1 << (32 + n)
}

/// Lifts `function`, whose pages are `program`'s, into `out`. Gives the places of the functions that it calls
/// directly.
pub fn lift(program: &Program, function: &Function, options: &Options, out: &mut ir::Function) -> Vec<At> {
    out.clear();
    out.signature = signature(options.call_conv);
    let mut context = FunctionBuilderContext::new();
    let mut lifter = Lifter::new(program, function, options, FunctionBuilder::new(out, &mut context));
    lifter.run();
    let Lifter { b, callees, .. } = lifter;
    finish(b, options);
    callees
}

/// What stands for a function that is called directly and is not there: it calls the dispatcher.
pub fn absent(options: &Options, out: &mut ir::Function) {
    out.clear();
    out.signature = signature(options.call_conv);
    let mut context = FunctionBuilderContext::new();
    let function = Function { privilege: 0, ..Function::default() };
    let program = Program::default();
    let mut lifter = Lifter::new(&program, &function, options, FunctionBuilder::new(out, &mut context));
    let block = lifter.b.create_block();
    lifter.b.append_block_params_for_function_params(block);
    lifter.b.switch_to_block(block);
    let params = lifter.b.block_params(block).to_vec();
    let next = lifter.call_helper(Helper::Dispatch, &[params[0], params[2]]);
    lifter.b.ins().return_(&[next]);
    finish(lifter.b, options);
}

fn finish(mut b: FunctionBuilder<'_>, options: &Options) {
    b.seal_all_blocks();
    b.finalize(cranelift_codegen::isa::TargetFrontendConfig {
        default_call_conv: options.call_conv,
        pointer_width: target_lexicon::PointerWidth::U64,
        page_size_align_log2: 12,
    });
}

struct Lifter<'a> {
    program: &'a Program,
    function: &'a Function,
    layout: Layout,
    call_conv: CallConv,
    b: FunctionBuilder<'a>,
    flags: frame::Flags,
    x: Vec<Variable>,
    /// As binary64 numbers: what holds a NaN-boxed single is a NaN.
    f: Vec<Variable>,
    /// Budget.
    left: Variable,
    /// Virtual address of the region's page number 0.
    base: Variable,
    /// S mode: address of the data TLB in force.
    tlb: Variable,
    depth: Option<ir::Value>,
    /// Parameter `value`.
    value: ir::Value,
    /// From an address and a value of the index to the entry point.
    head: ir::Block,
    callees: Vec<At>,
    callee_refs: Vec<ir::FuncRef>,
    blocks: BTreeMap<i32, ir::Block>,
    live: BTreeMap<i32, Set>,
    /// Pages that are known to be mapped where a block begins.
    checked: BTreeMap<i32, u64>,
    exit: ir::Block,
    helpers: BTreeMap<Helper, ir::FuncRef>,
    /// Registers written and not yet stored.
    dirty: Set,
    /// Instructions of the block before the current one.
    done: i64,
    /// Whether the FPU is known to be on and dirty.
    fpu_on: bool,
    /// Address of the block that is being lifted.
    block: i32,
    /// Accesses that share a look into the TLB.
    plan: coalesce::Plan,
    /// What is planned for the current instruction.
    planned: Option<coalesce::Planned>,
    /// Variables of the windows, by number.
    windows: BTreeMap<usize, memory::Opened>,
}

impl<'a> Lifter<'a> {
    fn new(
        program: &'a Program,
        function: &'a Function,
        options: &Options,
        mut b: FunctionBuilder<'a>,
    ) -> Self {
        let flags = frame::Flags::new(b.func);
        let mut variable = |ty| b.declare_var(ty);
        let x = (0..32).map(|_| variable(types::I64)).collect();
        let f = (0..32).map(|_| variable(types::F64)).collect();
        let [left, base, tlb] = [types::I64; 3].map(variable);
        let blocks = function.blocks.keys().map(|&address| (address, b.create_block())).collect();
        let exit = b.create_block();
        Lifter {
            program,
            function,
            layout: options.layout,
            call_conv: options.call_conv,
            flags,
            x,
            f,
            left,
            base,
            tlb,
            depth: None,
            value: ir::Value::reserved_value(),
            head: ir::Block::reserved_value(),
            callees: Vec::new(),
            callee_refs: Vec::new(),
            blocks,
            live: liveness::live_in(function),
            checked: liveness::checked_pages(function),
            exit,
            helpers: BTreeMap::new(),
            dirty: 0,
            done: 0,
            fpu_on: false,
            block: 0,
            plan: coalesce::plan(function),
            planned: None,
            windows: BTreeMap::new(),
            b,
        }
    }

    fn run(&mut self) {
        self.enter();
        for (&address, block) in &self.function.blocks {
            let target = self.blocks[&address];
            self.b.switch_to_block(target);
            (self.dirty, self.done, self.fpu_on, self.block) = (0, 0, false, address);
            let mut insns = block.insns.iter().enumerate();
            let mut skips = block.skips.iter().peekable();
            while let Some((n, (at, insn))) = insns.next() {
                match skips.next_if(|(branch, _)| *branch == n) {
                    Some(&(_, count)) => {
                        let skipped: Vec<(i32, Insn)> =
                            insns.by_ref().take(count).map(|(_, insn)| *insn).collect();
                        self.skip(insn, &skipped);
                    }
                    None => {
                        self.planned = self.plan.get(address, n);
                        self.insn(*at, insn);
                        self.planned = None;
                    }
                }
            }
            self.end(block);
        }
        self.define_exit();
    }

    /// The first block: from the number of the entry point to its block, with what is live there.
    fn enter(&mut self) {
        let first = self.b.create_block();
        self.b.append_block_params_for_function_params(first);
        self.b.switch_to_block(first);
        let params = self.b.block_params(first).to_vec();
        (self.value, self.depth) = (params[1], Some(params[2]));
        let left = self.load_hart(types::I64, self.layout.left);
        self.b.def_var(self.left, left);
        self.load_tlb();
        self.head = self.b.create_block();
        let va = self.b.append_block_param(self.head, types::I64);
        let value = self.b.append_block_param(self.head, types::I32);
        self.b.ins().jump(self.head, &[params[0].into(), params[1].into()]);
        self.b.switch_to_block(self.head);
        let entry = self.b.ins().ushr_imm_u(value, i64::from(FUNCTION_BITS));
        let stubs: Vec<ir::Block> = self.function.entries.iter().map(|_| self.b.create_block()).collect();
        match stubs[..] {
            [] => {}
            [only] => {
                self.b.ins().jump(only, &[]);
            }
            [head, other] => {
                self.b.ins().brif(entry, other, &[], head, &[]);
            }
            [head, ..] => {
                let pool = &mut self.b.func.dfg.value_lists;
                let calls: Vec<ir::BlockCall> =
                    stubs.iter().map(|&s| ir::BlockCall::new(s, [], pool)).collect();
                let default = ir::BlockCall::new(head, [], pool);
                let table = self.b.create_jump_table(ir::JumpTableData::new(default, &calls));
                self.b.ins().br_table(entry, table);
            }
        }
        for (stub, &address) in stubs.iter().zip(&self.function.entries) {
            self.b.switch_to_block(*stub);
            let base = self.b.ins().iadd_imm_s(va, -i64::from(address));
            self.b.def_var(self.base, base);
            self.load_registers(self.live.get(&address).copied().unwrap_or(0));
            let target = self.blocks[&address];
            self.b.ins().jump(target, &[]);
        }
    }

    /// One instruction other than a control transfer, which [`control`] does.
    fn insn(&mut self, at: i32, insn: &Insn) {
        match insn.flow() {
            Flow::Csr => self.csr(at, insn),
            Flow::Branch | Flow::Jump | Flow::System => return,
            Flow::Next if insn.op.needs_fp() => self.float(at, insn),
            Flow::Next if insn.access().must_align() => self.atomic(at, insn),
            Flow::Next if insn.access().reads() => self.load(at, insn),
            Flow::Next if insn.access().writes() => self.store(at, insn),
            Flow::Next if insn.op == Op::Fence => {}
            Flow::Next => self.alu(at, insn),
        }
        self.done += 1;
    }
}
