//! Loads and stores, through the data TLB (`runtime/src/cpu/tlb.rs` says why one comparison is enough).

use super::coalesce::{Planned, Window};
use super::frame::{Frame, Place};
use super::opened::{Opened, TwoPages};
use crate::program::PAGE;
use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC, types};

impl Frame<'_> {
    /// The offset in RAM of an aligned access of `bytes` at `va`; leaves for `at` when the TLB does not tell.
    pub fn translate(&mut self, va: Value, bytes: u8, write: bool, at: i32) -> Value {
        let entry = self.tlb_entry(va, write);
        let place = self.b.ins().iadd(va, entry);
        let found = self.is_in_ram(place, bytes, 0);
        self.leave_unless(found, at);
        place
    }

    /// The entry of the data TLB for `va`: to be added to it.
    fn tlb_entry(&mut self, va: Value, write: bool) -> Value {
        let layout = self.layout;
        let table = if write { layout.dtlb_entries * 8 } else { 0 };
        let index = self.b.ins().ushr_imm_u(va, 9);
        let index = self.b.ins().band_imm_u(index, ((layout.dtlb_entries - 1) * 8) as i64);
        let Place { base, offset } = if !self.function.mode.is_kernel() {
            self.indexed(layout.dtlb_user + table, index)
        } else {
            let tlb = self.b.use_var(self.tlb);
            Place { base: self.b.ins().iadd(tlb, index), offset: table as i32 }
        };
        self.b.ins().load(types::I64, self.flags.tlb, base, offset)
    }

    /// Whether `place` is aligned to `bytes` and an offset in RAM, at least `rest` bytes before its end.
    fn is_in_ram(&mut self, place: Value, bytes: u8, rest: u64) -> Value {
        let shift = bytes.trailing_zeros();
        let rotated = if shift == 0 { place } else { self.b.ins().rotr_imm_u(place, i64::from(shift)) };
        let limit = (self.layout.ram_len - rest) >> shift;
        self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, rotated, limit as i64)
    }

    /// Where an access of `bytes` by the instruction at `at` is in the host's memory; leaves when the TLB
    /// does not tell. `address` computes its virtual address, if that is needed.
    pub fn locate(
        &mut self,
        at: i32,
        bytes: u8,
        write: bool,
        address: &mut dyn FnMut(&mut Self) -> Value,
    ) -> Place {
        let Some(planned) = self.planned else {
            let va = address(self);
            let offset = self.translate(va, bytes, write, at);
            return self.ram(offset);
        };
        let window = self.plan.windows[planned.window];
        if planned.opens {
            let va = address(self);
            self.open(at, va, planned, window);
        }
        // Opened on every path to here.
        let opened = self.opened(planned.window, window);
        let distance = planned.offset - window.low;
        let mut low = self.b.use_var(opened.low);
        if let Some(two) = opened.two
            && distance >= i32::from(window.granule)
        {
            let other = self.b.use_var(two.low);
            low = if planned.offset >= window.high {
                other
            } else {
                let split = self.b.use_var(two.split);
                let is_first = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, split, i64::from(distance));
                self.b.ins().select(is_first, low, other)
            };
        }
        let Place { base, offset } = self.ram(low);
        match offset.checked_add(distance) {
            Some(offset) => Place { base, offset },
            None => Place { base: self.b.ins().iadd_imm_s(base, i64::from(distance)), offset },
        }
    }

    /// Looks up the window's first and last granule; leaves for `at` when the TLB does not know both.
    fn open(&mut self, at: i32, va: Value, planned: Planned, window: Window) {
        let opened = self.opened(planned.window, window);
        let va = self.b.ins().iadd_imm_s(va, i64::from(window.low - planned.offset));
        let span = window.high - window.low;
        if span == 0 {
            let low = self.translate(va, window.granule, window.write, at);
            self.b.def_var(opened.low, low);
            return;
        }
        let first = self.tlb_entry(va, window.write);
        let low = self.b.ins().iadd(va, first);
        let end = self.b.ins().iadd_imm_s(va, i64::from(span));
        let last = self.tlb_entry(end, window.write);
        // Where the window would begin before its last page. If that is before RAM, it is not opened either.
        let other = self.b.ins().iadd(va, last);
        let last_found = self.is_in_ram(other, window.granule, span as u64);
        // Equal entries are as good as each other.
        let first_found = match opened.two {
            Some(_) => self.is_in_ram(low, window.granule, 0),
            None => self.b.ins().icmp(IntCC::Equal, first, last),
        };
        let both = self.b.ins().band(first_found, last_found);
        self.leave_unless(both, at);
        self.b.def_var(opened.low, low);
        if let Some(two) = opened.two {
            let page = self.b.ins().band_imm_s(end, -i64::from(PAGE));
            let split = self.b.ins().isub(page, va);
            self.b.def_var(two.low, other);
            self.b.def_var(two.split, split);
        }
    }

    /// The variables of a window.
    fn opened(&mut self, number: usize, window: Window) -> Opened {
        if let Some(&opened) = self.windows.get(&number) {
            return opened;
        }
        let low = self.b.declare_var(types::I64);
        let has_two = window.low != window.high && !self.function.mode.is_kernel();
        let two = has_two
            .then(|| TwoPages { low: self.b.declare_var(types::I64), split: self.b.declare_var(types::I64) });
        let opened = Opened { low, two };
        self.windows.insert(number, opened);
        opened
    }

    /// The host's address of an offset in RAM.
    pub fn ram(&mut self, offset: Value) -> Place {
        self.indexed(self.layout.ram, offset)
    }

    /// Loads from the host's memory, extended to 64 bits.
    pub fn load_at(&mut self, Place { base, offset }: Place, bytes: u8, signed: bool) -> Value {
        let flags = self.flags.ram;
        let ins = self.b.ins();
        match (bytes, signed) {
            (1, true) => ins.sload8(types::I64, flags, base, offset),
            (1, false) => ins.uload8(types::I64, flags, base, offset),
            (2, true) => ins.sload16(types::I64, flags, base, offset),
            (2, false) => ins.uload16(types::I64, flags, base, offset),
            (4, true) => ins.sload32(flags, base, offset),
            (4, false) => ins.uload32(flags, base, offset),
            _ => ins.load(types::I64, flags, base, offset),
        }
    }

    /// Loads a binary64 number from the host's memory.
    pub fn load_number_at(&mut self, Place { base, offset }: Place) -> Value {
        self.b.ins().load(types::F64, self.flags.ram, base, offset)
    }

    /// Stores the low bytes of a value to the host's memory.
    pub fn store_at(&mut self, Place { base, offset }: Place, bytes: u8, value: Value) {
        let flags = self.flags.ram;
        let ins = self.b.ins();
        match bytes {
            1 => ins.istore8(flags, value, base, offset),
            2 => ins.istore16(flags, value, base, offset),
            4 => ins.istore32(flags, value, base, offset),
            _ => ins.store(flags, value, base, offset),
        };
    }
}
