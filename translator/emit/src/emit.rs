//! Choice of instructions: the table of all opcodes. The families are in `int`, `float`, `memory` and `cond`.
//!
//! Every instruction pushes each of its operands (see `demand::operands`) once; it may inspect the tree of
//! an operand with `peek` and emit the operand's operands itself after `take`.

use crate::body::RelocKind;
use crate::code::Op;
use crate::demand::{Half, half};
use crate::tree::{Builder, Result};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    ArgumentExtension, ExternalName, FuncRef, Inst, InstructionData, Opcode, SigRef, Value, types,
};
use wasm_encoder::{BlockType, Instruction as I};

impl Builder<'_> {
    /// Emits an instruction with one result, which is left on the stack.
    pub(crate) fn inst(&mut self, inst: Inst) -> Result {
        let opcode = self.func.dfg.insts[inst].opcode();
        match opcode {
            Opcode::Load | Opcode::Uload8 | Opcode::Uload16 | Opcode::Uload32 => self.load(inst, false, None),
            Opcode::Sload8 | Opcode::Sload16 | Opcode::Sload32 => self.load(inst, true, None),
            Opcode::Icmp => self.icmp(inst),
            Opcode::Fcmp => self.fcmp(inst),
            Opcode::Select | Opcode::SelectSpectreGuard => self.select(inst),
            Opcode::Bitcast => self.bitcast(inst),
            _ => {
                if self.int(inst, opcode)? || self.float(inst, opcode)? {
                    return Ok(());
                }
                Err(self.unsupported(inst))
            }
        }
    }

    /// Emits an instruction that may not be moved; its results are left on the stack.
    pub(crate) fn effect(&mut self, inst: Inst) -> Result {
        match self.func.dfg.insts[inst] {
            InstructionData::Store { .. } => self.store(inst),
            InstructionData::Call { opcode: Opcode::Call, func_ref, .. } => self.call(inst, func_ref),
            InstructionData::CallIndirect { opcode: Opcode::CallIndirect, sig_ref, .. } => {
                self.call_indirect(inst, sig_ref)
            }
            InstructionData::CondTrap { opcode, arg, .. } => {
                let arg = self.func.dfg.resolve_aliases(arg);
                let before = std::mem::take(&mut self.ops);
                self.truthy(arg)?;
                let cond = std::mem::replace(&mut self.ops, before);
                match opcode {
                    Opcode::Trapnz => self.ops.extend(cond),
                    Opcode::Trapz => self.ops.extend(crate::cond::inverted(cond)),
                    _ => return Err(self.unsupported(inst)),
                }
                self.trap_if();
                Ok(())
            }
            _ => Err(self.unsupported(inst)),
        }
    }

    /// Traps if the top of the stack is not 0.
    pub(crate) fn trap_if(&mut self) {
        for op in [I::If(BlockType::Empty), I::Unreachable, I::End] {
            self.plain(op);
        }
    }

    fn call(&mut self, inst: Inst, callee: FuncRef) -> Result {
        let ext = &self.func.dfg.ext_funcs[callee];
        let ExternalName::User(name) = ext.name else {
            return Err(self.unsupported(inst));
        };
        let Some(name) = self.func.params.user_named_funcs().get(name) else {
            return Err(self.unsupported(inst));
        };
        let kind = RelocKind::Function { namespace: name.namespace, index: name.index };
        self.arguments(inst, ext.signature, 0)?;
        self.ops.push(Op::Call(kind));
        Ok(())
    }

    /// The callee is an index into table 0, given as a pointer.
    fn call_indirect(&mut self, inst: Inst, sig: SigRef) -> Result {
        let Some(&callee) = self.func.dfg.inst_args(inst).first() else {
            return Err(self.unsupported(inst));
        };
        let callee = self.func.dfg.resolve_aliases(callee);
        self.arguments(inst, sig, 1)?;
        self.low32(callee)?;
        self.ops.push(Op::CallIndirect(RelocKind::Type { signature: sig.as_u32() }));
        Ok(())
    }

    fn arguments(&mut self, inst: Inst, sig: SigRef, skip: usize) -> Result {
        let params = &self.func.dfg.signatures[sig].params;
        for (&value, param) in self.func.dfg.inst_args(inst)[skip..].iter().zip(params) {
            self.extended(self.func.dfg.resolve_aliases(value), param.extension)?;
        }
        Ok(())
    }

    /// Pushes a value as an argument or result of a function.
    pub(crate) fn extended(&mut self, value: Value, extension: ArgumentExtension) -> Result {
        match extension {
            ArgumentExtension::None => self.value(value),
            ArgumentExtension::Uext => self.zero_extended(value),
            ArgumentExtension::Sext => self.sign_extended(value),
        }
    }

    fn icmp(&mut self, inst: Inst) -> Result {
        let [a, b] = self.args(inst)?;
        let Some(cc) = self.func.dfg.insts[inst].cond_code() else {
            return Err(self.unsupported(inst));
        };
        if self.ty(a) == types::I128 {
            return self.icmp128(inst, cc, a, b);
        }
        self.compare(cc, a, b)
    }

    /// Compares the high halves, and the low halves if those are equal.
    fn icmp128(&mut self, inst: Inst, cc: IntCC, a: Value, b: Value) -> Result {
        let halves = [a, b].map(|v| [half(self.func, v, false), half(self.func, v, true)]);
        let [[a_low, a_high], [b_low, b_high]] = halves;
        let a_high = self.half_twice(inst, a_high)?;
        let b_high = self.half_twice(inst, b_high)?;
        let equality = matches!(cc, IntCC::Equal | IntCC::NotEqual);
        let high = if equality { cc } else { cc.without_equal() };
        self.plain(crate::cond::int_compare(high, true));
        if !equality {
            self.ops.extend([a_high, b_high]);
            self.plain(I::I64Eq);
        }
        self.half(inst, a_low)?;
        self.half(inst, b_low)?;
        self.plain(crate::cond::int_compare(if equality { cc } else { cc.unsigned() }, true));
        match cc {
            IntCC::Equal => self.plain(I::I32And),
            IntCC::NotEqual => self.plain(I::I32Or),
            _ => {
                self.plain(I::I32And);
                self.plain(I::I32Or);
            }
        }
        Ok(())
    }

    fn half(&mut self, inst: Inst, half: Half) -> Result {
        match half {
            Half::Value(v) => self.value(v),
            Half::Sign(v) => {
                self.value(v)?;
                self.plain(I::I64Const(63));
                self.plain(I::I64ShrS);
                Ok(())
            }
            Half::Zero => {
                self.plain(I::I64Const(0));
                Ok(())
            }
            Half::Unknown => Err(self.unsupported(inst)),
        }
    }

    fn half_twice(&mut self, inst: Inst, half: Half) -> Result<Op> {
        match half {
            Half::Value(v) => self.value_twice(v),
            Half::Zero => {
                self.half(inst, half)?;
                Ok(Op::Plain(I::I64Const(0)))
            }
            _ => {
                self.half(inst, half)?;
                Ok(self.keep(wasm_encoder::ValType::I64))
            }
        }
    }
}
