//! Ends of blocks: branches, calls, returns.

use super::lifter::Lifter;
use super::signature::{CALLEES, signature};
use crate::isa::{Flow, Insn, bits};
use crate::program::{CodeAddr, PAGE};
use crate::region::Block;
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Value, condcodes::IntCC, types};
use forelift_abi::lift::{DISPATCH, FUNCTION_BITS, UNTOLD};

/// What a call leads to.
enum Callee {
    /// The beginning of a lifted function: address, place.
    Function(i32, CodeAddr),
    /// A stub that jumps to where a pointer says: address, place, instructions with the jump last.
    Stub(i32, CodeAddr, Vec<Insn>),
    /// That is for the runtime to find out.
    Unknown,
}

impl Lifter<'_> {
    /// The end of `block`, whose instructions are lifted but for its control transfer.
    pub(super) fn end(&mut self, block: &Block) {
        let Some(&(at, insn)) = block.insns.last() else {
            self.f.leave(block.start);
            return;
        };
        match block.terminator {
            Flow::Next => {
                self.f.flush();
                self.f.count_down();
                self.f.go(block, block.end_address);
            }
            Flow::Unlifted(_) => self.f.leave(block.end_address),
            Flow::Jump(delta) => {
                self.f.done += 1;
                self.f.flush();
                self.f.count_down();
                self.f.go(block, at + delta);
            }
            Flow::Branch(delta) => {
                let condition = self.lowering.condition(&mut self.f, &insn);
                self.f.done += 1;
                self.f.flush();
                self.f.count_down();
                let (taken, not_taken) =
                    (self.f.edge(block, at + delta), self.f.edge(block, block.end_address));
                self.f.b.ins().brif(condition, taken.0, &[], not_taken.0, &[]);
                self.f.define_edge(block, taken);
                self.f.define_edge(block, not_taken);
            }
            Flow::Call(delta) => {
                let target = self.f.pc(at + delta);
                let place = self.f.function.place(at).and_then(|here| self.f.program.jump(here, delta));
                let stub = place.and_then(|place| self.stub(place));
                let callee = match (place, stub) {
                    (Some(place), Some(stub)) => Callee::Stub(at + delta, place, stub),
                    (Some(place), None) if self.f.function.calls.contains(&(at + delta)) => {
                        Callee::Function(at + delta, place)
                    }
                    _ => Callee::Unknown,
                };
                self.call(block, target, callee);
            }
            Flow::CallRegister => {
                let target = self.lowering.target(&mut self.f, at, &insn);
                self.call(block, target, Callee::Unknown);
            }
            Flow::Trap | Flow::TrapReturn => self.lowering.trap(&mut self.f, block, at),
            Flow::Return => {
                let target = self.lowering.target(&mut self.f, at, &insn);
                self.f.done += 1;
                self.f.flush();
                self.f.count_down();
                self.f.store_left();
                self.f.b.ins().return_(&[target]);
            }
            Flow::JumpRegister => {
                let target = self.lowering.target(&mut self.f, at, &insn);
                self.lowering.link(&mut self.f, at, &insn, block.end_address);
                self.f.done += 1;
                self.f.flush();
                self.f.count_down();
                self.jump_register(target);
            }
        }
    }

    /// A jump to a register's value: within this function, if that leads to one of its entry points, else
    /// through the runtime.
    fn jump_register(&mut self, target: Value) {
        if !self.f.function.jumps_inside() {
            self.f.dispatch_and_return(target);
            return;
        }
        let layout = self.f.layout;
        let [mapped, inside, outside] = [(); 3].map(|()| self.f.b.create_block());
        let page = self.f.b.ins().band_imm_s(target, -i64::from(PAGE));
        let (entry, offset) = self.f.itlb_entry(page);
        let tag = self.f.load_itlb(types::I64, entry, offset + layout.itlb_tag);
        let here = self.f.b.ins().icmp(IntCC::Equal, tag, page);
        self.f.b.ins().brif(here, mapped, &[], outside, &[]);

        self.f.b.switch_to_block(mapped);
        let table = if layout.pointer == 4 {
            let table = self.f.load_itlb(types::I32, entry, offset + layout.itlb_lifted);
            self.f.b.ins().uextend(types::I64, table)
        } else {
            self.f.load_itlb(types::I64, entry, offset + layout.itlb_lifted)
        };
        // Entries of 4 bytes, one for each place where an instruction can begin.
        let align = self.f.program.isa.guest().code_align;
        let index = self.f.b.ins().band_imm_u(target, i64::from(PAGE) - i64::from(align));
        let index = self.f.b.ins().ishl_imm_u(index, i64::from((4 / align).ilog2()));
        let place = self.f.b.ins().iadd(table, index);
        let value = self.f.b.ins().load(types::I32, MemFlagsData::trusted(), place, 0);
        let differs = self.f.b.ins().bxor(value, self.value);
        let differs = self.f.b.ins().band_imm_u(differs, (1 << FUNCTION_BITS) - 1);
        let same = self.f.b.ins().icmp_imm_s(IntCC::Equal, differs, 0);
        let left = self.f.b.use_var(self.f.left);
        let goes_on = self.f.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
        let stays = self.f.b.ins().band(same, goes_on);
        self.f.b.ins().brif(stays, inside, &[], outside, &[]);

        self.f.b.switch_to_block(inside);
        self.f.b.ins().jump(self.head, &[target.into(), value.into()]);
        self.f.b.switch_to_block(outside);
        self.f.dispatch_and_return(target);
    }

    /// A branch that skips `skipped`: their results are selected.
    pub(super) fn skip(&mut self, branch: &Insn, skipped: &[(i32, Insn)]) {
        let taken = self.lowering.condition(&mut self.f, branch);
        self.f.done += 1;
        let written = skipped.iter().fold(0, |set, (_, insn)| set | insn.writes);
        let before: Vec<(u32, Value)> = bits(written).map(|n| (n, self.f.get(n))).collect();
        for (at, insn) in skipped {
            self.insn(*at, insn);
        }
        for (n, before) in before {
            let computed = self.f.get(n);
            let value = self.f.b.ins().select(taken, before, computed);
            self.f.set(n, value);
        }
        // They are counted at the end of the block: those that were skipped are given back.
        let (count, none) = (self.f.iconst(skipped.len() as i64), self.f.iconst(0));
        let back = self.f.b.ins().select(taken, count, none);
        let left = self.f.b.use_var(self.f.left);
        let left = self.f.b.ins().iadd(left, back);
        self.f.b.def_var(self.f.left, left);
    }

    /// Calls the lifted function at `at`. What the dispatcher would look at is known but for the mapping of
    /// another page, the budget and the depth.
    fn call_direct(
        &mut self,
        from: &Block,
        address: i32,
        at: CodeAddr,
        target: Value,
        depth: Value,
    ) -> Value {
        self.f.check_target(from, address, at);
        self.f.store_left();
        let left = self.f.b.use_var(self.f.left);
        let in_time = self.f.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
        let nests = self.f.b.ins().icmp_imm_s(IntCC::NotEqual, depth, 0);
        let calls = self.f.b.ins().band(in_time, nests);
        self.f.leave_unless(calls, address);
        let callee = self.callee(at);
        let value = self.f.b.ins().iconst(types::I32, i64::from(UNTOLD));
        let depth = self.f.b.ins().iadd_imm_s(depth, -1);
        let call = self.f.b.ins().call(callee, &[target, value, depth]);
        self.f.b.inst_results(call)[0]
    }

    /// The instructions of a stub at `at`, the jump last.
    fn stub(&self, at: CodeAddr) -> Option<Vec<Insn>> {
        let (code, mode) = self.f.program.code(at)?;
        self.f.program.isa.stub(code, mode)
    }

    /// Executes the stub at `at`; gives where it jumps to.
    fn inline_stub(&mut self, from: &Block, address: i32, at: CodeAddr, stub: &[Insn]) -> Value {
        let Some((jump, before)) = stub.split_last() else { return self.f.pc(address) };
        self.f.check_target(from, address, at);
        let mut here = address;
        for insn in before {
            self.insn(here, insn);
            here += i32::from(insn.len);
        }
        let target = self.lowering.target(&mut self.f, here, jump);
        self.lowering.link(&mut self.f, here, jump, here + i32::from(jump.len));
        self.f.done += 1;
        self.f.flush();
        self.f.count_down();
        target
    }

    /// The function that begins at `at`, as an import.
    fn callee(&mut self, at: CodeAddr) -> ir::FuncRef {
        if let Some(number) = self.callees.iter().position(|known| *known == at) {
            return self.callee_refs[number];
        }
        let signature = match self.callee_refs.first() {
            Some(&known) => self.f.b.func.dfg.ext_funcs[known].signature,
            None => self.f.b.import_signature(signature(self.f.call_conv)),
        };
        let function = self.f.import(CALLEES, self.callees.len() as u32, signature);
        self.callees.push(at);
        self.callee_refs.push(function);
        function
    }

    /// The call at the end of `block`.
    fn call(&mut self, block: &Block, target: Value, callee: Callee) {
        debug_assert!(block.calls());
        if let Some((at, insn)) = block.insns.last() {
            self.lowering.link(&mut self.f, *at, insn, block.end_address);
        }
        self.f.done += 1;
        self.f.flush();
        self.f.count_down();
        let depth = self.f.depth();
        let next = match callee {
            Callee::Function(address, at) => self.call_direct(block, address, at, target, depth),
            Callee::Stub(address, at, stub) => {
                let target = self.inline_stub(block, address, at, &stub);
                self.f.store_left();
                self.f.call_helper(DISPATCH, &[target, depth])
            }
            Callee::Unknown => {
                self.f.store_left();
                self.f.call_helper(DISPATCH, &[target, depth])
            }
        };
        let address = block.end_address;
        if !self.f.function.blocks.contains_key(&address) {
            self.f.b.ins().return_(&[next]);
            return;
        }
        let back = self.f.pc(address);
        let is_back = self.f.b.ins().icmp(IntCC::Equal, next, back);
        let (on, gone) = (self.f.b.create_block(), self.f.b.create_block());
        self.f.b.ins().brif(is_back, on, &[], gone, &[]);
        self.f.b.switch_to_block(gone);
        self.f.b.ins().return_(&[next]);
        self.f.b.switch_to_block(on);
        self.f.take_over(address);
        self.f.go(block, address);
    }
}
