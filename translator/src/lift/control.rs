//! Ends of blocks: branches, calls, returns, going on in another page.

use super::liveness::{calls, needed, page_bit, page_of, writes};
use super::{Lifter, alu};
use crate::program::{At, PAGE};
use crate::region::{Block, End};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Value, condcodes::IntCC, types};
use forelift_abi::lift::{FUNCTION_BITS, Helper, UNTOLD};
use forelift_isa::rv64::{Insn, Op};

/// Address of a block's last instruction.
fn last(block: &Block) -> i32 {
    block.insns.last().map_or(block.start, |(at, _)| *at)
}

/// What a call leads to.
enum Callee {
    /// The beginning of a lifted function: address, place.
    Function(i32, At),
    /// A stub that jumps to where a pointer says: address, place.
    Stub(i32, At),
    /// That is for the runtime to find out.
    Unknown,
}

impl Lifter<'_> {
    /// The end of `block`, whose instructions are lifted but for its control transfer.
    pub(super) fn end(&mut self, block: &Block) {
        let Some(&(at, insn)) = block.insns.last() else {
            self.leave(block.start);
            return;
        };
        match block.end {
            End::Next => {
                self.flush();
                self.count_down();
                self.go(block, block.end_address);
            }
            End::Leave => self.leave(block.end_address),
            End::Jump(delta) => {
                self.done += 1;
                self.flush();
                self.count_down();
                self.go(block, at + delta);
            }
            End::Branch(delta) => {
                self.done += 1;
                let condition = self.condition(&insn);
                self.flush();
                self.count_down();
                let (taken, not_taken) = (self.edge(block, at + delta), self.edge(block, block.end_address));
                self.b.ins().brif(condition, taken.0, &[], not_taken.0, &[]);
                self.define_edge(block, taken);
                self.define_edge(block, not_taken);
            }
            End::Call(delta) => {
                let target = self.pc(at + delta);
                let place = self.function.place(at).and_then(|here| self.program.jump(here, delta));
                let callee = match place {
                    Some(place) if self.stub(place).is_some() => Callee::Stub(at + delta, place),
                    Some(place) if self.function.calls.contains(&(at + delta)) => {
                        Callee::Function(at + delta, place)
                    }
                    _ => Callee::Unknown,
                };
                self.call(block, insn.rd, target, callee);
            }
            End::CallRegister => {
                let target = self.register_target(insn.rs1, insn.imm);
                self.call(block, insn.rd, target, Callee::Unknown);
            }
            End::Ecall => self.ecall(block, at),
            End::Sret => {
                self.done += 1;
                self.flush();
                self.count_down();
                self.store_left();
                let next = self.call_helper(Helper::Sret, &[]);
                self.b.ins().return_(&[next]);
            }
            End::Return => {
                self.done += 1;
                let target = self.register_target(insn.rs1, insn.imm);
                self.flush();
                self.count_down();
                self.store_left();
                self.b.ins().return_(&[target]);
            }
            End::JumpRegister => {
                self.done += 1;
                let target = self.register_target(insn.rs1, insn.imm);
                if insn.rd != 0 {
                    let behind = self.pc(block.end_address);
                    self.set_x(insn.rd, behind);
                }
                self.flush();
                self.count_down();
                self.jump_register(target);
            }
        }
    }

    /// A jump to a register's value: within this function, if that leads to one of its entry points, else
    /// through the runtime.
    fn jump_register(&mut self, target: Value) {
        if !self.function.jumps_inside() {
            self.dispatch_and_return(target);
            return;
        }
        let layout = self.layout;
        let (mapped, inside, outside) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let page = self.b.ins().band_imm_s(target, -i64::from(PAGE));
        let (entry, offset) = self.itlb_entry(page);
        let tag = self.load_itlb(types::I64, entry, offset + layout.itlb_tag);
        let here = self.b.ins().icmp(IntCC::Equal, tag, page);
        self.b.ins().brif(here, mapped, &[], outside, &[]);

        self.b.switch_to_block(mapped);
        let table = if layout.pointer == 4 {
            let table = self.load_itlb(types::I32, entry, offset + layout.itlb_lifted);
            self.b.ins().uextend(types::I64, table)
        } else {
            self.load_itlb(types::I64, entry, offset + layout.itlb_lifted)
        };
        let index = self.b.ins().band_imm_u(target, 0xffe);
        let index = self.b.ins().ishl_imm_u(index, 1);
        let place = self.b.ins().iadd(table, index);
        let value = self.b.ins().load(types::I32, MemFlagsData::trusted(), place, 0);
        let differs = self.b.ins().bxor(value, self.value);
        let differs = self.b.ins().band_imm_u(differs, (1 << FUNCTION_BITS) - 1);
        let same = self.b.ins().icmp_imm_s(IntCC::Equal, differs, 0);
        let left = self.b.use_var(self.left);
        let goes_on = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
        let stays = self.b.ins().band(same, goes_on);
        self.b.ins().brif(stays, inside, &[], outside, &[]);

        self.b.switch_to_block(inside);
        self.b.ins().jump(self.head, &[target.into(), value.into()]);
        self.b.switch_to_block(outside);
        self.dispatch_and_return(target);
    }

    /// The entry of the instruction TLB for the page at `va`: an address to be added to, and what to add.
    fn itlb_entry(&mut self, va: Value) -> (Value, u64) {
        let layout = self.layout;
        let itlb = if self.function.privilege == 0 { layout.itlb_user } else { layout.itlb_supervisor };
        let shift = 12 - layout.itlb_entry_size.trailing_zeros();
        let index = self.b.ins().ushr_imm_u(va, i64::from(shift));
        let mask = (layout.itlb_entries - 1) * layout.itlb_entry_size;
        (self.b.ins().band_imm_u(index, mask as i64), itlb)
    }

    fn load_itlb(&mut self, ty: ir::Type, entry: Value, address: u64) -> Value {
        let place = self.indexed(address, entry);
        self.b.ins().load(ty, self.flags.hart, place.base, place.offset)
    }

    /// A branch that skips `skipped`: their results are selected.
    pub(super) fn skip(&mut self, branch: &Insn, skipped: &[(i32, Insn)]) {
        let taken = self.condition(branch);
        self.done += 1;
        let written = skipped.iter().fold(0, |set, (_, insn)| set | writes(insn) as u32);
        let registers: Vec<u8> = (1..32).filter(|n| written >> n & 1 != 0).collect();
        let before: Vec<Value> = registers.iter().map(|&n| self.get_x(n)).collect();
        for (at, insn) in skipped {
            self.insn(*at, insn);
        }
        for (&n, before) in registers.iter().zip(before) {
            let computed = self.get_x(n);
            let value = self.b.ins().select(taken, before, computed);
            self.set_x(n, value);
        }
        // They are counted at the end of the block: those that were skipped are given back.
        let (count, none) = (self.iconst(skipped.len() as i64), self.iconst(0));
        let back = self.b.ins().select(taken, count, none);
        let left = self.b.use_var(self.left);
        let left = self.b.ins().iadd(left, back);
        self.b.def_var(self.left, left);
    }

    fn condition(&mut self, insn: &Insn) -> Value {
        let (a, b) = (self.get_x(insn.rs1), self.get_x(insn.rs2));
        self.b.ins().icmp(alu::condition(insn.op), a, b)
    }

    fn register_target(&mut self, register: u8, imm: i32) -> Value {
        let value = self.get_x(register);
        let sum = self.b.ins().iadd_imm_s(value, i64::from(imm));
        self.b.ins().band_imm_s(sum, -2)
    }

    /// The block that an edge to `address` leads to, and whether it has to be defined.
    fn edge(&mut self, from: &Block, address: i32) -> (ir::Block, i32, bool) {
        if self.is_plain(from, address) {
            (self.blocks[&address], address, false)
        } else {
            let block = self.b.create_block();
            (block, address, true)
        }
    }

    fn define_edge(&mut self, from: &Block, (block, address, define): (ir::Block, i32, bool)) {
        if define {
            self.b.switch_to_block(block);
            self.go(from, address);
        }
    }

    /// Whether nothing is to be done on the way to `address`.
    fn is_plain(&self, from: &Block, address: i32) -> bool {
        self.function
            .blocks
            .get(&address)
            .filter(|_| self.function.stays(from, address))
            .is_some_and(|to| address > last(from) && self.missing(from, to) == 0)
    }

    /// Pages that `to` needs and that are not known to be mapped at the end of `from`.
    fn missing(&self, from: &Block, to: &Block) -> u64 {
        needed(to) & !(self.checked[&from.start] | needed(from))
    }

    /// Goes on at `address`; everything is flushed and counted.
    fn go(&mut self, from: &Block, address: i32) {
        let inside = self.function.blocks.get(&address);
        let Some(to) = inside.filter(|_| self.function.stays(from, address)) else {
            // Beyond the pages that are known, other lifted code may well be.
            let unknown = !self.function.pages.contains_key(&page_of(address));
            if unknown || self.function.elsewhere.contains(&address) {
                let target = self.pc(address);
                self.dispatch_and_return(target);
            } else {
                self.leave(address);
            }
            return;
        };
        for page in [page_of(address), page_of(address) + 1] {
            if self.missing(from, to) & page_bit(page) != 0 {
                self.check_page(page, address);
            }
        }
        if address <= last(from) {
            let left = self.b.use_var(self.left);
            let goes_on = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
            self.leave_unless(goes_on, address);
        }
        let target = self.blocks[&address];
        self.b.ins().jump(target, &[]);
    }

    /// Leaves for `address` unless the region's page number `page` is mapped where it belongs, with the
    /// contents that were translated.
    fn check_page(&mut self, page: i32, address: i32) {
        let Some(&number) = self.function.pages.get(&page) else {
            let never = self.b.ins().iconst(types::I8, 0);
            self.leave_unless(never, address);
            return;
        };
        self.check_content(page, self.program.content(number), address);
    }

    fn check_content(&mut self, page: i32, content: u32, address: i32) {
        let layout = self.layout;
        let va = self.pc(page * PAGE);
        let (entry, offset) = self.itlb_entry(va);
        let tag = self.load_itlb(types::I64, entry, offset + layout.itlb_tag);
        let found = self.load_itlb(types::I32, entry, offset + layout.itlb_content);
        let here = self.b.ins().icmp(IntCC::Equal, tag, va);
        self.leave_unless(here, address);
        let expected = self.b.ins().iconst(types::I32, i64::from(content));
        let same = self.b.ins().icmp(IntCC::Equal, found, expected);
        self.leave_unless(same, address);
    }

    /// Goes to `target` by way of the runtime, as the last thing.
    fn dispatch_and_return(&mut self, target: Value) {
        self.store_left();
        let depth = self.depth();
        let next = self.call_helper(Helper::Dispatch, &[target, depth]);
        self.b.ins().return_(&[next]);
    }

    /// Calls the lifted function at `at`. What the dispatcher would look at is known but for the mapping of
    /// another page, the budget and the depth.
    fn call_direct(&mut self, from: &Block, address: i32, at: At, target: Value, depth: Value) -> Value {
        self.check_target(from, address, at);
        self.store_left();
        let left = self.b.use_var(self.left);
        let in_time = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
        let nests = self.b.ins().icmp_imm_s(IntCC::NotEqual, depth, 0);
        let calls = self.b.ins().band(in_time, nests);
        self.leave_unless(calls, address);
        let callee = self.callee(at);
        let value = self.b.ins().iconst(types::I32, i64::from(UNTOLD));
        let depth = self.b.ins().iadd_imm_s(depth, -1);
        let call = self.b.ins().call(callee, &[target, value, depth]);
        self.b.inst_results(call)[0]
    }

    /// Leaves for `address` unless it is known to be the code at `at`.
    fn check_target(&mut self, from: &Block, address: i32, at: At) {
        let page = page_of(address);
        let known = self.checked[&from.start] | needed(from);
        let is_known = self.function.pages.get(&page) == Some(&at.page) && known & page_bit(page) != 0;
        if !is_known {
            self.check_content(page, self.program.content(at.page), address);
        }
    }

    /// The instructions of a stub at `at` that jumps to where a pointer says, as a procedure linkage table
    /// has them (psABI, "Program Linkage Table"): `auipc`, `ld`, `jalr`.
    fn stub(&self, at: At) -> Option<[Insn; 3]> {
        let insn = |n: i32| self.program.insn(self.program.step(at, 4 * n)?)?.ok();
        let [auipc, ld, jalr] = [insn(0)?, insn(1)?, insn(2)?];
        let chained = auipc.rd == ld.rs1 && ld.rd == jalr.rs1 && auipc.rd != 0 && ld.rd != 0;
        let stub = auipc.op == Op::Auipc && ld.op == Op::Ld && jalr.op == Op::Jalr && chained;
        // Within a page, wide, and without a link that somebody returns to.
        let whole = at.offset <= (PAGE - 12) as u16 && [auipc, ld, jalr].iter().all(|insn| insn.len == 4);
        (stub && whole && !matches!(jalr.rd, 1 | 5)).then_some([auipc, ld, jalr])
    }

    /// Executes the stub at `at`; gives where it jumps to.
    fn inline_stub(&mut self, from: &Block, address: i32, at: At) -> Value {
        let Some([auipc, ld, jalr]) = self.stub(at) else { return self.pc(address) };
        self.check_target(from, address, at);
        self.insn(address, &auipc);
        self.insn(address + 4, &ld);
        self.done += 1;
        let target = self.register_target(jalr.rs1, jalr.imm);
        if jalr.rd != 0 {
            let behind = self.pc(address + 12);
            self.set_x(jalr.rd, behind);
        }
        self.flush();
        self.count_down();
        target
    }

    /// The function that begins at `at`, as an import.
    fn callee(&mut self, at: At) -> ir::FuncRef {
        if let Some(number) = self.callees.iter().position(|known| *known == at) {
            return self.callee_refs[number];
        }
        let signature = match self.callee_refs.first() {
            Some(&known) => self.b.func.dfg.ext_funcs[known].signature,
            None => self.b.import_signature(super::signature(self.call_conv)),
        };
        let function = self.import(super::CALLEES, self.callees.len() as u32, signature);
        self.callees.push(at);
        self.callee_refs.push(function);
        function
    }

    fn depth(&mut self) -> Value {
        match self.depth {
            Some(depth) => depth,
            None => self.b.ins().iconst(types::I32, 0),
        }
    }

    /// A call with the link in `link`.
    fn call(&mut self, block: &Block, link: u8, target: Value, callee: Callee) {
        debug_assert!(calls(block));
        self.done += 1;
        let back = self.pc(block.end_address);
        self.set_x(link, back);
        self.flush();
        self.count_down();
        let depth = self.depth();
        let next = match callee {
            Callee::Function(address, at) => self.call_direct(block, address, at, target, depth),
            Callee::Stub(address, at) => {
                let target = self.inline_stub(block, address, at);
                self.store_left();
                self.call_helper(Helper::Dispatch, &[target, depth])
            }
            Callee::Unknown => {
                self.store_left();
                self.call_helper(Helper::Dispatch, &[target, depth])
            }
        };
        let address = block.end_address;
        if !self.function.blocks.contains_key(&address) {
            self.b.ins().return_(&[next]);
            return;
        }
        let back = self.pc(address);
        let is_back = self.b.ins().icmp(IntCC::Equal, next, back);
        let (on, gone) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(is_back, on, &[], gone, &[]);
        self.b.switch_to_block(gone);
        self.b.ins().return_(&[next]);
        self.b.switch_to_block(on);
        self.take_over(address);
        self.go(block, address);
    }

    /// Takes the state at `address` over from memory.
    fn take_over(&mut self, address: i32) {
        let left = self.load_hart(types::I64, self.layout.left);
        self.b.def_var(self.left, left);
        self.load_tlb();
        self.load_registers(self.live.get(&address).copied().unwrap_or(0));
    }

    /// The system call at `at`: a call of its handler. Whatever changes a translation meanwhile leaves all
    /// frames, as in any call.
    fn ecall(&mut self, block: &Block, at: i32) {
        debug_assert!(calls(block));
        self.flush();
        self.count_down();
        self.store_left();
        let (pc, depth) = (self.pc(at), self.depth());
        let next = self.call_helper(Helper::Ecall, &[pc, depth]);
        let (on, gone) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(next, gone, &[], on, &[]);
        self.b.switch_to_block(gone);
        self.b.ins().return_(&[next]);
        self.b.switch_to_block(on);
        let address = block.end_address;
        self.take_over(address);
        self.go(block, address);
    }
}
