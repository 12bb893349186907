//! Loads and stores. The crate's documentation says how addresses are formed.

use crate::demand::{address, int_const};
use crate::tree::{Builder, Result};
use cranelift_codegen::ir::{Endianness, Inst, Opcode, Type, Value, types};
use wasm_encoder::{Instruction as I, MemArg};

impl Builder<'_> {
    /// Emits a load. `wide` extends the result further, to 64 bits or to 32 bits.
    pub(crate) fn load(&mut self, inst: Inst, signed: bool, wide: Option<bool>) -> Result {
        let [pointer] = self.args(inst)?;
        let result = self.func.dfg.inst_results(inst)[0];
        let ty = self.ty(result);
        let memory = access(self.func.dfg.insts[inst].opcode(), ty);
        let wide = wide.unwrap_or(ty == types::I64);
        self.check_flags(inst)?;
        let arg = self.address(inst, pointer)?;
        let op = match (memory, wide, signed) {
            (types::I8, false, false) => I::I32Load8U(arg),
            (types::I8, false, true) => I::I32Load8S(arg),
            (types::I8, true, false) => I::I64Load8U(arg),
            (types::I8, true, true) => I::I64Load8S(arg),
            (types::I16, false, false) => I::I32Load16U(arg),
            (types::I16, false, true) => I::I32Load16S(arg),
            (types::I16, true, false) => I::I64Load16U(arg),
            (types::I16, true, true) => I::I64Load16S(arg),
            (types::I32, true, false) => I::I64Load32U(arg),
            (types::I32, true, true) => I::I64Load32S(arg),
            (types::I32, false, _) => I::I32Load(arg),
            (types::I64, ..) => I::I64Load(arg),
            (types::F32, ..) => I::F32Load(arg),
            (types::F64, ..) => I::F64Load(arg),
            _ => return Err(self.unsupported(inst)),
        };
        self.plain(op);
        Ok(())
    }

    pub(crate) fn store(&mut self, inst: Inst) -> Result {
        let [value, pointer] = self.args(inst)?;
        let memory = access(self.func.dfg.insts[inst].opcode(), self.ty(value));
        self.check_flags(inst)?;
        let arg = self.address(inst, pointer)?;
        // The store drops the upper bits, whatever they are.
        let value = self.reduced(value).unwrap_or(value);
        self.value(value)?;
        let op = match (memory, self.ty(value) == types::I64) {
            (types::I8, false) => I::I32Store8(arg),
            (types::I8, true) => I::I64Store8(arg),
            (types::I16, false) => I::I32Store16(arg),
            (types::I16, true) => I::I64Store16(arg),
            (types::I32, false) => I::I32Store(arg),
            (types::I32, true) => I::I64Store32(arg),
            (types::I64, _) => I::I64Store(arg),
            (types::F32, _) => I::F32Store(arg),
            (types::F64, _) => I::F64Store(arg),
            _ => return Err(self.unsupported(inst)),
        };
        self.plain(op);
        Ok(())
    }

    fn check_flags(&self, inst: Inst) -> Result {
        match self.func.dfg.insts[inst].memflags_data(&self.func.dfg) {
            Some(flags) if flags.explicit_endianness() != Some(Endianness::Big) => Ok(()),
            _ => Err(self.unsupported(inst)),
        }
    }

    /// Pushes the address of a load or store and gives the immediate that goes with it.
    fn address(&mut self, inst: Inst, pointer: Value) -> Result<MemArg> {
        let offset = i64::from(self.func.dfg.insts[inst].load_store_offset().unwrap_or(0));
        let base = address(self.func, pointer);
        let memarg = |offset: i64| MemArg { offset: offset as u64, align: 0, ..memarg() };
        if let Some(bits) = int_const(self.func, base) {
            let bits = if base == pointer { bits & 0xffff_ffff } else { i64::from(bits as u32) };
            let sum = bits + offset;
            if (0..1 << 32).contains(&sum) {
                self.plain(I::I32Const(0));
                return Ok(memarg(sum));
            }
        }
        if self.ty(base) == types::I64 {
            self.low32(base)?;
        } else {
            self.value(base)?;
        }
        if offset >= 0 {
            return Ok(memarg(offset));
        }
        self.plain(I::I32Const(offset as i32));
        self.plain(I::I32Add);
        Ok(memarg(0))
    }
}

fn memarg() -> MemArg {
    MemArg { offset: 0, align: 0, target: wasm_encoder::MemArgTarget::Memory(0), ordering: None }
}

/// The type in memory.
fn access(opcode: Opcode, ty: Type) -> Type {
    match opcode {
        Opcode::Uload8 | Opcode::Sload8 | Opcode::Istore8 => types::I8,
        Opcode::Uload16 | Opcode::Sload16 | Opcode::Istore16 => types::I16,
        Opcode::Uload32 | Opcode::Sload32 | Opcode::Istore32 => types::I32,
        _ => ty,
    }
}
