//! The hart's state: registers as variables, memory behind them, leaving.

use super::{HELPERS, Lifter, Set, helper_signature};
use cranelift_codegen::ir::{
    self, AliasRegion, AliasRegionData, BlockArg, InstBuilder, MemFlagsData, Type, UserExternalName, Value,
    types,
};
use forelift_abi::lift::Helper;

/// Flags of accesses to what never overlaps.
#[derive(Clone, Copy)]
pub(super) struct Flags {
    pub(super) hart: MemFlagsData,
    pub(super) tlb: MemFlagsData,
    pub(super) ram: MemFlagsData,
}

impl Flags {
    pub(super) fn new(func: &mut ir::Function) -> Self {
        let mut flags = |user_id, description: &str| {
            let region: AliasRegion = func
                .dfg
                .alias_regions
                .insert(AliasRegionData { user_id, description: description.to_string().into() });
            MemFlagsData::trusted().with_alias_region(Some(region))
        };
        Flags { hart: flags(1, "hart"), tlb: flags(2, "tlb"), ram: flags(3, "ram") }
    }
}

/// A constant address and an offset to be added to it.
pub(super) struct Place {
    pub(super) base: Value,
    pub(super) offset: i32,
}

impl Lifter<'_> {
    pub(super) fn iconst(&mut self, value: i64) -> Value {
        self.b.ins().iconst(types::I64, value)
    }

    /// `index` bytes behind the constant address `address`.
    pub(super) fn indexed(&mut self, address: u64, index: Value) -> Place {
        match i32::try_from(address) {
            Ok(offset) => Place { base: index, offset },
            Err(_) => {
                let start = self.iconst(address as i64);
                Place { base: self.b.ins().iadd(start, index), offset: 0 }
            }
        }
    }

    fn hart_place(&mut self, address: u64) -> Place {
        let offset = address.wrapping_sub(self.layout.hart) as i32;
        Place { base: self.iconst(self.layout.hart as i64), offset }
    }

    pub(super) fn load_hart(&mut self, ty: Type, address: u64) -> Value {
        let Place { base, offset } = self.hart_place(address);
        self.b.ins().load(ty, self.flags.hart, base, offset)
    }

    pub(super) fn store_hart(&mut self, address: u64, value: Value) {
        let Place { base, offset } = self.hart_place(address);
        self.b.ins().store(self.flags.hart, value, base, offset);
    }

    /// Value of an integer register.
    pub(super) fn get_x(&mut self, n: u8) -> Value {
        if n == 0 { self.iconst(0) } else { self.b.use_var(self.x[usize::from(n)]) }
    }

    pub(super) fn set_x(&mut self, n: u8, value: Value) {
        if n != 0 {
            self.b.def_var(self.x[usize::from(n)], value);
            self.dirty |= super::x_bit(n);
        }
    }

    /// A floating-point register as a number.
    pub(super) fn get_number(&mut self, n: u8) -> Value {
        self.b.use_var(self.f[usize::from(n)])
    }

    /// Bits of a floating-point register.
    pub(super) fn get_f(&mut self, n: u8) -> Value {
        let number = self.get_number(n);
        self.b.ins().bitcast(types::I64, MemFlagsData::new(), number)
    }

    pub(super) fn set_f(&mut self, n: u8, bits: Value) {
        let number = self.b.ins().bitcast(types::F64, MemFlagsData::new(), bits);
        self.set_number(n, number);
    }

    pub(super) fn set_number(&mut self, n: u8, value: Value) {
        self.b.def_var(self.f[usize::from(n)], value);
        self.dirty |= super::f_bit(n);
    }

    /// Its variable, type and address.
    fn register(&self, bit: u32) -> (cranelift_frontend::Variable, Type, u64) {
        let n = bit as usize % 32;
        if bit < 32 {
            (self.x[n], types::I64, self.layout.x + 8 * n as u64)
        } else {
            (self.f[n], types::F64, self.layout.f + 8 * n as u64)
        }
    }

    /// Takes registers over from memory.
    pub(super) fn load_registers(&mut self, set: Set) {
        for bit in bits(set) {
            let (variable, ty, address) = self.register(bit);
            let value = self.load_hart(ty, address);
            self.b.def_var(variable, value);
        }
    }

    /// Stores the registers that were written.
    pub(super) fn flush(&mut self) {
        for bit in bits(self.dirty) {
            let (variable, _, address) = self.register(bit);
            let value = self.b.use_var(variable);
            self.store_hart(address, value);
        }
        self.dirty = 0;
    }

    pub(super) fn load_tlb(&mut self) {
        if self.function.privilege != 0 {
            let tlb = self.load_hart(types::I64, self.layout.dtlb_supervisor);
            self.b.def_var(self.tlb, tlb);
        }
    }

    /// The virtual address of `address`.
    pub(super) fn pc(&mut self, address: i32) -> Value {
        let base = self.b.use_var(self.base);
        self.b.ins().iadd_imm_s(base, i64::from(address))
    }

    /// The budget before the current instruction.
    pub(super) fn left_now(&mut self) -> Value {
        let left = self.b.use_var(self.left);
        self.b.ins().iadd_imm_s(left, -self.done)
    }

    /// Counts the instructions up to here, the current one included if it is the block's end.
    pub(super) fn count_down(&mut self) {
        let left = self.left_now();
        self.b.def_var(self.left, left);
        self.done = 0;
    }

    /// Makes the budget known to the runtime.
    pub(super) fn store_left(&mut self) {
        let left = self.b.use_var(self.left);
        self.store_hart(self.layout.left, left);
    }

    /// Arguments for the exit block: to go on at `address`. Everything must have been flushed.
    fn exit_arguments(&mut self, address: i32) -> [BlockArg; 2] {
        let packed = self.done << 32 | i64::from(address as u32);
        let packed = self.iconst(packed);
        let left = self.b.use_var(self.left);
        [left.into(), packed.into()]
    }

    /// Leaves for `address` unless `condition` holds.
    pub(super) fn leave_unless(&mut self, condition: Value, address: i32) {
        self.flush();
        let arguments = self.exit_arguments(address);
        let on = self.b.create_block();
        self.b.ins().brif(condition, on, &[], self.exit, &arguments);
        self.b.switch_to_block(on);
    }

    /// Leaves for `address`.
    pub(super) fn leave(&mut self, address: i32) {
        self.flush();
        let arguments = self.exit_arguments(address);
        self.b.ins().jump(self.exit, &arguments);
    }

    pub(super) fn define_exit(&mut self) {
        let left = self.b.append_block_param(self.exit, types::I64);
        let packed = self.b.append_block_param(self.exit, types::I64);
        self.b.set_cold_block(self.exit);
        self.b.switch_to_block(self.exit);
        let count = self.b.ins().ushr_imm_u(packed, 32);
        let left = self.b.ins().isub(left, count);
        self.store_hart(self.layout.left, left);
        let low = self.b.ins().ireduce(types::I32, packed);
        let address = self.b.ins().sextend(types::I64, low);
        let base = self.b.use_var(self.base);
        let pc = self.b.ins().iadd(base, address);
        let pc = self.b.ins().bor_imm_u(pc, 1);
        self.b.ins().return_(&[pc]);
    }

    /// A function outside, by its name.
    pub(super) fn import(&mut self, namespace: u32, index: u32, signature: ir::SigRef) -> ir::FuncRef {
        let name = self.b.func.declare_imported_user_function(UserExternalName { namespace, index });
        self.b.import_function(ir::ExtFuncData {
            name: ir::ExternalName::user(name),
            signature,
            colocated: false,
            patchable: false,
        })
    }

    /// Calls a helper; gives its result.
    pub(super) fn call_helper(&mut self, helper: Helper, arguments: &[Value]) -> Value {
        let pass_hart = self.layout.pass_hart != 0;
        let function = match self.helpers.get(&helper) {
            Some(&function) => function,
            None => {
                let signature = self.b.import_signature(helper_signature(helper, self.call_conv, pass_hart));
                let function = self.import(HELPERS, helper as u32, signature);
                self.helpers.insert(helper, function);
                function
            }
        };
        let mut all = Vec::with_capacity(arguments.len() + 1);
        if pass_hart {
            all.push(self.iconst(self.layout.hart as i64));
        }
        all.extend_from_slice(arguments);
        let call = self.b.ins().call(function, &all);
        self.b.inst_results(call)[0]
    }
}

/// The numbers of the bits of a set.
pub(super) fn bits(set: Set) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| set >> bit & 1 != 0)
}
