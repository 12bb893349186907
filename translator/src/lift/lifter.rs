//! One function on its way to CLIF: its head and its blocks.

use super::frame::Frame;
use super::signature::Options;
use super::target::{Lowering, Target};
use crate::isa::{Flow, Insn};
use crate::program::{CodeAddr, Program};
use crate::region::Function;
use cranelift_codegen::entity::packed_option::ReservedValue;
use cranelift_codegen::ir::{self, InstBuilder, types};
use cranelift_frontend::FunctionBuilder;
use forelift_abi::lift::FUNCTION_BITS;

pub(super) struct Lifter<'a> {
    pub(super) f: Frame<'a>,
    pub(super) lowering: Box<dyn Lowering>,
    /// Parameter `value`.
    pub(super) value: ir::Value,
    /// From an address and a value of the index to the entry point.
    pub(super) head: ir::Block,
    pub(super) callees: Vec<CodeAddr>,
    pub(super) callee_refs: Vec<ir::FuncRef>,
}

impl<'a> Lifter<'a> {
    pub(super) fn new(
        target: &dyn Target,
        program: &'a Program,
        function: &'a Function,
        options: &Options,
        b: FunctionBuilder<'a>,
    ) -> Self {
        Lifter {
            f: Frame::new(program, function, options, target.registers(&options.layout), b),
            lowering: target.lowering(&options.layout),
            value: ir::Value::reserved_value(),
            head: ir::Block::reserved_value(),
            callees: Vec::new(),
            callee_refs: Vec::new(),
        }
    }

    pub(super) fn run(&mut self) {
        self.enter();
        for (&address, block) in &self.f.function.blocks {
            self.f.begin_block(address);
            self.lowering.begin_block();
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
                        self.f.planned = self.f.plan.get(address, n);
                        self.insn(*at, insn);
                        self.f.planned = None;
                    }
                }
            }
            self.end(block);
        }
        self.f.define_exit();
    }

    /// The first block: from the number of the entry point to its block, with what is live there.
    fn enter(&mut self) {
        let f = &mut self.f;
        let first = f.b.create_block();
        f.b.append_block_params_for_function_params(first);
        f.b.switch_to_block(first);
        let params = f.b.block_params(first).to_vec();
        (self.value, f.depth) = (params[1], Some(params[2]));
        f.load_left();
        f.load_tlb();
        self.head = f.b.create_block();
        let va = f.b.append_block_param(self.head, types::I64);
        let value = f.b.append_block_param(self.head, types::I32);
        f.b.ins().jump(self.head, &[params[0].into(), params[1].into()]);
        f.b.switch_to_block(self.head);
        let entry = f.b.ins().ushr_imm_u(value, i64::from(FUNCTION_BITS));
        let stubs: Vec<ir::Block> = f.function.entries.iter().map(|_| f.b.create_block()).collect();
        match stubs[..] {
            [] => {}
            [only] => {
                f.b.ins().jump(only, &[]);
            }
            [head, other] => {
                f.b.ins().brif(entry, other, &[], head, &[]);
            }
            [head, ..] => {
                let pool = &mut f.b.func.dfg.value_lists;
                let calls: Vec<ir::BlockCall> =
                    stubs.iter().map(|&s| ir::BlockCall::new(s, [], pool)).collect();
                let default = ir::BlockCall::new(head, [], pool);
                let table = f.b.create_jump_table(ir::JumpTableData::new(default, &calls));
                f.b.ins().br_table(entry, table);
            }
        }
        for (stub, &address) in stubs.iter().zip(&f.function.entries) {
            f.b.switch_to_block(*stub);
            let base = f.b.ins().iadd_imm_s(va, -i64::from(address));
            f.b.def_var(f.base, base);
            f.load_registers(f.live.get(&address).copied().unwrap_or(0));
            let target = f.blocks[&address];
            f.b.ins().jump(target, &[]);
        }
    }

    /// One instruction other than a control transfer, which [`control`](super::control) does.
    pub(super) fn insn(&mut self, at: i32, insn: &Insn) {
        if insn.flow == Flow::Next {
            self.lowering.insn(&mut self.f, at, insn);
            self.f.done += 1;
        }
    }
}
