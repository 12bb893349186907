//! Ends of blocks: branches, calls, returns, going on in another page.

use super::liveness::{calls, needed, page_bit, page_of};
use super::{Lifter, alu};
use crate::region::{Block, End};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Value, condcodes::IntCC, types};
use forelift_abi::lift::Helper;

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
                self.call(block, insn.rd, target);
            }
            End::CallRegister => {
                let target = self.register_target(insn.rs1, insn.imm);
                self.call(block, insn.rd, target);
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
                self.flush();
                self.count_down();
                self.dispatch_and_return(target);
            }
        }
    }

    fn condition(&mut self, insn: &forelift_isa::rv64::Insn) -> Value {
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
            .is_some_and(|to| address > from.start && self.missing(from, to) == 0)
    }

    /// Pages that `to` needs and that are not known to be mapped at the end of `from`.
    fn missing(&self, from: &Block, to: &Block) -> u64 {
        needed(to) & !(self.checked[&from.start] | needed(from))
    }

    /// Goes on at `address`; everything is flushed and counted.
    fn go(&mut self, from: &Block, address: i32) {
        let Some(to) = self.function.blocks.get(&address) else {
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
        if address <= from.start {
            let left = self.b.use_var(self.left);
            let goes_on = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
            self.leave_unless(goes_on, address);
        }
        let target = self.blocks[&address];
        self.b.ins().jump(target, &[]);
    }

    /// Leaves for `address` unless the region's page number `page` is mapped where it belongs, with the contents that were translated.
    fn check_page(&mut self, page: i32, address: i32) {
        let Some(&number) = self.function.pages.get(&page) else {
            let never = self.b.ins().iconst(types::I8, 0);
            self.leave_unless(never, address);
            return;
        };
        let layout = self.layout;
        let itlb = if self.function.privilege == 0 { layout.itlb_user } else { layout.itlb_supervisor };
        let va = self.pc(page * crate::guest::PAGE);
        let shift = 12 - layout.itlb_entry_size.trailing_zeros();
        let index = self.b.ins().ushr_imm_u(va, i64::from(shift));
        let mask = (layout.itlb_entries - 1) * layout.itlb_entry_size;
        let index = self.b.ins().band_imm_u(index, mask as i64);
        let flags: MemFlagsData = self.flags.hart;
        let place = self.indexed(itlb + layout.itlb_tag, index);
        let tag = self.b.ins().load(types::I64, flags, place.base, place.offset);
        let place = self.indexed(itlb + layout.itlb_content, index);
        let content = self.b.ins().load(types::I32, flags, place.base, place.offset);
        let here = self.b.ins().icmp(IntCC::Equal, tag, va);
        self.leave_unless(here, address);
        let expected = self.b.ins().iconst(types::I32, i64::from(self.program.content(number)));
        let same = self.b.ins().icmp(IntCC::Equal, content, expected);
        self.leave_unless(same, address);
    }

    /// Goes to `target` by way of the runtime, as the last thing.
    fn dispatch_and_return(&mut self, target: Value) {
        self.store_left();
        let depth = self.depth();
        let next = self.call_helper(Helper::Dispatch, &[target, depth]);
        self.b.ins().return_(&[next]);
    }

    fn depth(&mut self) -> Value {
        match self.depth {
            Some(depth) => depth,
            None => self.b.ins().iconst(types::I32, 0),
        }
    }

    /// A call with the link in `link`.
    fn call(&mut self, block: &Block, link: u8, target: Value) {
        debug_assert!(calls(block));
        self.done += 1;
        let back = self.pc(block.end_address);
        self.set_x(link, back);
        self.flush();
        self.count_down();
        self.store_left();
        let depth = self.depth();
        let next = self.call_helper(Helper::Dispatch, &[target, depth]);
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
        let left = self.load_hart(types::I64, self.layout.left);
        self.b.def_var(self.left, left);
        self.load_tlb();
        self.load_registers(self.live.get(&address).copied().unwrap_or(0));
        self.go(block, address);
    }
}
