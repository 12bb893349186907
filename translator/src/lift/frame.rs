//! The frame of a function that is being lifted: registers as variables, the CPU's memory, leaving.

use super::coalesce::{self, Planned};
use super::liveness;
use super::opened::Opened;
use super::register::Register;
use super::signature::{HELPERS, Options, helper_signature};
use crate::isa::{Registers, bits};
use crate::program::Program;
use crate::region::Function;
use cranelift_codegen::ir::{
    self, AliasRegion, AliasRegionData, BlockArg, InstBuilder, MemFlagsData, Type, UserExternalName, Value,
    types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, Variable};
use forelift_abi::lift::{Layout, Tag};
use std::collections::BTreeMap;

/// What an instruction set's lowering works with. Its registers are variables of cranelift-frontend.
pub struct Frame<'a> {
    /// The function in CLIF.
    pub b: FunctionBuilder<'a>,
    /// Where the runtime keeps what.
    pub layout: Layout,
    /// The region's function.
    pub function: &'a Function,
    pub(super) program: &'a Program,
    pub(super) call_conv: CallConv,
    pub(super) tag: Tag,
    pub(super) flags: Flags,
    registers: Vec<(Variable, Register)>,
    /// Budget.
    pub(super) left: Variable,
    /// Virtual address of the region's page number 0.
    pub(super) base: Variable,
    /// In the kernel: address of the data TLB in force.
    pub(super) tlb: Variable,
    pub(super) depth: Option<Value>,
    pub(super) blocks: BTreeMap<i32, ir::Block>,
    pub(super) live: BTreeMap<i32, Registers>,
    /// Pages that are known to be mapped where a block begins.
    pub(super) checked: BTreeMap<i32, u64>,
    exit: ir::Block,
    helpers: BTreeMap<u32, ir::FuncRef>,
    /// Registers written and not yet stored.
    pub(super) dirty: Registers,
    /// Instructions of the block before the current one.
    pub(super) done: i64,
    /// Accesses whose TLB probes are coalesced.
    pub(super) plan: coalesce::Plan,
    /// What is planned for the current instruction.
    pub(super) planned: Option<Planned>,
    /// Variables of the windows, by number.
    pub(super) windows: BTreeMap<usize, Opened>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(
        program: &'a Program,
        function: &'a Function,
        options: &Options,
        registers: Vec<Register>,
        mut b: FunctionBuilder<'a>,
    ) -> Self {
        let flags = Flags::new(b.func);
        let registers =
            registers.into_iter().map(|register| (b.declare_var(register.ty), register)).collect();
        let [left, base, tlb] = [types::I64; 3].map(|ty| b.declare_var(ty));
        let blocks = function.blocks.keys().map(|&address| (address, b.create_block())).collect();
        let exit = b.create_block();
        Frame {
            program,
            function,
            layout: options.layout,
            call_conv: options.call_conv,
            tag: program.isa.guest().tag,
            flags,
            registers,
            left,
            base,
            tlb,
            depth: None,
            blocks,
            live: liveness::live_in(function),
            checked: liveness::checked_pages(function),
            exit,
            helpers: BTreeMap::new(),
            dirty: 0,
            done: 0,
            plan: coalesce::plan(function),
            planned: None,
            windows: BTreeMap::new(),
            b,
        }
    }
}

/// Flags of accesses to what never overlaps.
#[derive(Clone, Copy)]
pub(super) struct Flags {
    pub(super) cpu: MemFlagsData,
    pub(super) tlb: MemFlagsData,
    pub(super) ram: MemFlagsData,
}

impl Flags {
    fn new(func: &mut ir::Function) -> Self {
        let mut flags = |user_id, description: &str| {
            let region: AliasRegion = func
                .dfg
                .alias_regions
                .insert(AliasRegionData { user_id, description: description.to_string().into() });
            MemFlagsData::trusted().with_alias_region(Some(region))
        };
        Flags { cpu: flags(1, "hart"), tlb: flags(2, "tlb"), ram: flags(3, "ram") }
    }
}

/// A constant address and an offset to be added to it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The constant address.
    pub base: Value,
    /// The offset.
    pub offset: i32,
}

impl Frame<'_> {
    /// A 64-bit constant.
    pub fn iconst(&mut self, value: i64) -> Value {
        self.b.ins().iconst(types::I64, value)
    }

    /// `index` bytes past the constant address `address`.
    pub fn indexed(&mut self, address: u64, index: Value) -> Place {
        match i32::try_from(address) {
            Ok(offset) => Place { base: index, offset },
            Err(_) => {
                let start = self.iconst(address as i64);
                Place { base: self.b.ins().iadd(start, index), offset: 0 }
            }
        }
    }

    fn cpu_place(&mut self, address: u64) -> Place {
        let offset = address.wrapping_sub(self.layout.cpu) as i32;
        Place { base: self.iconst(self.layout.cpu as i64), offset }
    }

    /// Loads from the CPU, at an absolute address.
    pub fn load_cpu(&mut self, ty: Type, address: u64) -> Value {
        let Place { base, offset } = self.cpu_place(address);
        self.b.ins().load(ty, self.flags.cpu, base, offset)
    }

    /// Stores to the CPU, at an absolute address.
    pub fn store_cpu(&mut self, address: u64, value: Value) {
        let Place { base, offset } = self.cpu_place(address);
        self.b.ins().store(self.flags.cpu, value, base, offset);
    }

    /// Value of a register.
    pub fn get(&mut self, register: u32) -> Value {
        self.b.use_var(self.registers[register as usize].0)
    }

    /// Writes a register.
    pub fn set(&mut self, register: u32, value: Value) {
        self.b.def_var(self.registers[register as usize].0, value);
        self.dirty |= 1 << register;
    }

    /// Takes registers over from memory.
    pub fn load_registers(&mut self, set: Registers) {
        for bit in bits(set) {
            let (variable, Register { ty, address }) = self.registers[bit as usize];
            let value = self.load_cpu(ty, address);
            self.b.def_var(variable, value);
        }
    }

    /// Stores the registers that were written.
    pub fn flush(&mut self) {
        for bit in bits(self.dirty) {
            let (variable, Register { address, .. }) = self.registers[bit as usize];
            let value = self.b.use_var(variable);
            self.store_cpu(address, value);
        }
        self.dirty = 0;
    }

    /// Takes the address of the data TLB in force over from memory.
    pub fn load_tlb(&mut self) {
        if self.function.mode.is_kernel() {
            let tlb = self.load_cpu(types::I64, self.layout.dtlb_kernel);
            self.b.def_var(self.tlb, tlb);
        }
    }

    pub(super) fn begin_block(&mut self, address: i32) {
        let block = self.blocks[&address];
        self.b.switch_to_block(block);
        (self.dirty, self.done) = (0, 0);
    }

    /// Counts one more instruction as retired, at the end of a block.
    pub fn retire(&mut self) {
        self.done += 1;
    }

    /// Takes the budget over from memory.
    pub(super) fn load_left(&mut self) {
        let left = self.load_cpu(types::I64, self.layout.left);
        self.b.def_var(self.left, left);
    }

    /// The virtual address of `address`.
    pub fn pc(&mut self, address: i32) -> Value {
        let base = self.b.use_var(self.base);
        self.b.ins().iadd_imm_s(base, i64::from(address))
    }

    /// The budget before the current instruction.
    pub fn left_now(&mut self) -> Value {
        let left = self.b.use_var(self.left);
        self.b.ins().iadd_imm_s(left, -self.done)
    }

    /// Counts the instructions up to here, the current one included if it is the block's end.
    pub fn count_down(&mut self) {
        let left = self.left_now();
        self.b.def_var(self.left, left);
        self.done = 0;
    }

    /// Makes the budget known to the runtime.
    pub fn store_left(&mut self) {
        let left = self.b.use_var(self.left);
        self.store_cpu(self.layout.left, left);
    }

    /// Arguments for the exit block: to go on at `address`. Everything must have been flushed.
    fn exit_arguments(&mut self, address: i32) -> [BlockArg; 2] {
        let packed = self.done << 32 | i64::from(address as u32);
        let packed = self.iconst(packed);
        let left = self.b.use_var(self.left);
        [left.into(), packed.into()]
    }

    /// Leaves for `address` unless `condition` holds.
    pub fn leave_unless(&mut self, condition: Value, address: i32) {
        self.flush();
        let arguments = self.exit_arguments(address);
        let on = self.b.create_block();
        self.b.ins().brif(condition, on, &[], self.exit, &arguments);
        self.b.switch_to_block(on);
    }

    /// Leaves for `address`.
    pub fn leave(&mut self, address: i32) {
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
        self.store_cpu(self.layout.left, left);
        let low = self.b.ins().ireduce(types::I32, packed);
        let address = self.b.ins().sextend(types::I64, low);
        let base = self.b.use_var(self.base);
        let pc = self.b.ins().iadd(base, address);
        let next = self.tagged(pc);
        self.b.ins().return_(&[next]);
    }

    /// `pc` as what a function returns to have everybody return to the dispatcher.
    pub fn tagged(&mut self, pc: Value) -> Value {
        match self.tag {
            Tag::LowBit => self.b.ins().bor_imm_u(pc, 1),
            Tag::NonCanonical => {
                let bit = self.iconst(Tag::NonCanonical.set(0) as i64);
                self.b.ins().bxor(pc, bit)
            }
        }
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

    /// Calls the helper of this number; gives its result.
    pub fn call_helper(&mut self, helper: u32, arguments: &[Value]) -> Value {
        let pass_cpu = self.layout.pass_cpu != 0;
        let function = match self.helpers.get(&helper) {
            Some(&function) => function,
            None => {
                let spec = &self.program.isa.guest().helpers[helper as usize];
                let signature = self.b.import_signature(helper_signature(spec, self.call_conv, pass_cpu));
                let function = self.import(HELPERS, helper, signature);
                self.helpers.insert(helper, function);
                function
            }
        };
        let mut all = Vec::with_capacity(arguments.len() + 1);
        if pass_cpu {
            all.push(self.iconst(self.layout.cpu as i64));
        }
        all.extend_from_slice(arguments);
        let call = self.b.ins().call(function, &all);
        self.b.inst_results(call)[0]
    }
}
