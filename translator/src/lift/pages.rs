//! Edges between blocks, within the region's pages and out of them.
//!
//! Going on to another page of the region is checked against the instruction TLB, once on each path: whatever
//! could change a translation leaves all lifted frames.

use super::frame::Frame;
use super::liveness::{needed, page_bit, page_of};
use crate::program::{CodeAddr, PAGE};
use crate::region::Block;
use cranelift_codegen::ir::{self, InstBuilder, Value, condcodes::IntCC, types};
use forelift_abi::lift::DISPATCH;

impl Frame<'_> {
    /// The entry of the instruction TLB for the page at `va`: an address to be added to, and what to add.
    pub(super) fn itlb_entry(&mut self, va: Value) -> (Value, u64) {
        let layout = self.layout;
        let size = layout.itlb_entries * layout.itlb_entry_size;
        let itlb = layout.itlb + size * u64::from(self.function.mode as u8);
        let shift = 12 - layout.itlb_entry_size.trailing_zeros();
        let index = self.b.ins().ushr_imm_u(va, i64::from(shift));
        let mask = (layout.itlb_entries - 1) * layout.itlb_entry_size;
        (self.b.ins().band_imm_u(index, mask as i64), itlb)
    }

    pub(super) fn load_itlb(&mut self, ty: ir::Type, entry: Value, address: u64) -> Value {
        let place = self.indexed(address, entry);
        self.b.ins().load(ty, self.flags.cpu, place.base, place.offset)
    }

    /// The block that an edge to `address` leads to, and whether it has to be defined.
    pub(super) fn edge(&mut self, from: &Block, address: i32) -> (ir::Block, i32, bool) {
        if self.is_plain(from, address) {
            (self.blocks[&address], address, false)
        } else {
            let block = self.b.create_block();
            (block, address, true)
        }
    }

    pub(super) fn define_edge(&mut self, from: &Block, (block, address, define): (ir::Block, i32, bool)) {
        if define {
            self.b.switch_to_block(block);
            self.go(from, address);
        }
    }

    /// Whether nothing is to be done on the way to `address`.
    pub(super) fn is_plain(&self, from: &Block, address: i32) -> bool {
        self.function
            .blocks
            .get(&address)
            .filter(|_| self.function.stays(from, address))
            .is_some_and(|to| address > from.last() && self.missing(from, to) == 0)
    }

    /// Pages that `to` needs and that are not known to be mapped at the end of `from`.
    pub(super) fn missing(&self, from: &Block, to: &Block) -> u64 {
        needed(to) & !(self.checked[&from.start] | needed(from))
    }

    /// Goes on at `address`; everything is flushed and counted.
    pub fn go(&mut self, from: &Block, address: i32) {
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
        if address <= from.last() {
            let left = self.b.use_var(self.left);
            let goes_on = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
            self.leave_unless(goes_on, address);
        }
        let target = self.blocks[&address];
        self.b.ins().jump(target, &[]);
    }

    /// Leaves for `address` unless the region's page number `page` is mapped where it belongs, with the
    /// contents that were translated.
    pub(super) fn check_page(&mut self, page: i32, address: i32) {
        let Some(&number) = self.function.pages.get(&page) else {
            let never = self.b.ins().iconst(types::I8, 0);
            self.leave_unless(never, address);
            return;
        };
        self.check_content(page, self.program.content(number), address);
    }

    pub(super) fn check_content(&mut self, page: i32, content: u32, address: i32) {
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
    pub(super) fn dispatch_and_return(&mut self, target: Value) {
        self.store_left();
        let depth = self.depth();
        let next = self.call_helper(DISPATCH, &[target, depth]);
        self.b.ins().return_(&[next]);
    }

    /// Leaves for `address` unless it is known to be the code at `at`.
    pub(super) fn check_target(&mut self, from: &Block, address: i32, at: CodeAddr) {
        let page = page_of(address);
        let known = self.checked[&from.start] | needed(from);
        let is_known = self.function.pages.get(&page) == Some(&at.page) && known & page_bit(page) != 0;
        if !is_known {
            self.check_content(page, self.program.content(at.page), address);
        }
    }

    /// How many more calls may nest.
    pub fn depth(&mut self) -> Value {
        match self.depth {
            Some(depth) => depth,
            None => self.b.ins().iconst(types::I32, 0),
        }
    }

    /// Takes the state at `address` over from memory.
    pub fn take_over(&mut self, address: i32) {
        self.load_left();
        self.load_tlb();
        self.load_registers(self.live.get(&address).copied().unwrap_or(0));
    }
}
