//! RV64GC: facts from the table of `forelift-isa`, and the lowering to CLIF.
//!
//! | file | what it holds |
//! |---|---|
//! | `facts` | control flow, accesses, sums; stubs of procedure linkage tables |
//! | `alu`, `atomic`, `csr`, `float`, `memory` | instructions of I and M, A, Zicsr, F and D; loads and stores
//! |
//! | `trap` | system calls and returns from traps |
//!
//! Bits of [`Registers`]: x0 to x31, of which x0 is never set, then f0 to f31.

mod alu;
mod atomic;
mod csr;
mod facts;
mod float;
mod memory;
mod trap;

use crate::isa::{Decoded, Flow, Insn, Isa, Plt, Registers};
use crate::lift::{Frame, Lowering, Register, Target};
use crate::region::Block;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use forelift_abi::lift::rv64::{GUEST, State};
use forelift_abi::lift::{self, Guest, Layout, Mode};
use forelift_isa::rv64::{self, Op};

/// The instruction set.
pub struct Rv64;

impl Isa for Rv64 {
    fn name(&self) -> &'static str {
        "rv64"
    }

    fn guest(&self) -> &'static Guest {
        &GUEST
    }

    fn decode(&self, code: &[u8], mode: Mode) -> Decoded {
        facts::decode(code, mode)
    }

    fn pair(&self, first: &Insn, second: &Insn) -> Option<Flow> {
        facts::pair(first, second)
    }

    fn stub(&self, code: &[u8], mode: Mode) -> Option<Vec<Insn>> {
        facts::stub(code, mode)
    }

    fn plt(&self) -> Option<Plt> {
        Some(facts::PLT)
    }

    fn plt_pointer(&self, code: &[u8], address: u64) -> Option<u64> {
        facts::plt_pointer(code, address)
    }

    fn disassemble(&self, code: &[u8], address: u64) -> Option<String> {
        Some(rv64::decode(facts::word(code)?)?.disassemble(address).to_string())
    }

    fn spoil(&self, insn: &Insn) -> Option<Insn> {
        facts::spoil(insn)
    }
}

impl Target for Rv64 {
    fn registers(&self, layout: &Layout) -> Vec<Register> {
        let state = State::from_words(layout.state);
        let file = |ty, first: u64| (0..32).map(move |n| Register { ty, address: first + 8 * n });
        file(types::I64, state.x).chain(file(types::F64, state.f)).collect()
    }

    fn example_state(&self, cpu: u64) -> lift::State {
        State {
            x: cpu,
            f: cpu + 0x100,
            fflags: cpu + 0x210,
            fs: cpu + 0x212,
            reservation: cpu + 0x218,
            sscratch: cpu + 0x228,
            sepc: cpu + 0x230,
            scause: cpu + 0x238,
            stval: cpu + 0x240,
            sie_enabled: cpu + 0x214,
        }
        .to_words()
    }

    fn lowering(&self, layout: &Layout) -> Box<dyn Lowering> {
        Box::new(Lowerer { state: State::from_words(layout.state), fpu_on: false })
    }
}

fn x_bit(n: u8) -> Registers {
    if n == 0 { 0 } else { 1 << n }
}

/// The instruction that facts were made of.
fn whole(insn: &Insn) -> Option<rv64::Insn> {
    rv64::decode(facts::word(insn.bytes())?)
}

/// The meaning of instructions.
struct Lowerer {
    state: State,
    /// Whether the FPU is known to be on and dirty, in a block.
    fpu_on: bool,
}

impl Lowering for Lowerer {
    fn begin_block(&mut self) {
        self.fpu_on = false;
    }

    fn insn(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) {
        let Some(insn) = whole(insn) else { return };
        match insn.flow() {
            rv64::Flow::Csr => self.csr(f, at, &insn),
            _ if insn.op.needs_fp() => self.float(f, at, &insn),
            _ if insn.access().must_align() => self.atomic(f, at, &insn),
            _ if insn.access().reads() => self.load(f, at, &insn),
            _ if insn.access().writes() => self.store(f, at, &insn),
            _ if insn.op == Op::Fence => {}
            _ => self.alu(f, at, &insn),
        }
    }

    fn condition(&mut self, f: &mut Frame<'_>, insn: &Insn) -> Value {
        let Some(insn) = whole(insn) else { return f.iconst(0) };
        let (a, b) = (self.get_x(f, insn.rs1), self.get_x(f, insn.rs2));
        f.b.ins().icmp(alu::condition(insn.op), a, b)
    }

    fn target(&mut self, f: &mut Frame<'_>, _: i32, insn: &Insn) -> Value {
        let Some(insn) = whole(insn) else { return f.iconst(0) };
        let value = self.get_x(f, insn.rs1);
        let sum = f.b.ins().iadd_imm_s(value, i64::from(insn.imm));
        f.b.ins().band_imm_s(sum, -2)
    }

    fn link(&mut self, f: &mut Frame<'_>, _: i32, insn: &Insn, back: i32) {
        if let Some(insn) = whole(insn)
            && insn.rd != 0
        {
            let back = f.pc(back);
            self.set_x(f, insn.rd, back);
        }
    }

    fn trap(&mut self, f: &mut Frame<'_>, block: &Block, at: i32) {
        match block.terminator {
            Flow::Trap => trap::ecall(f, block, at),
            _ => trap::sret(f),
        }
    }
}

impl Lowerer {
    /// Value of an integer register.
    fn get_x(&mut self, f: &mut Frame<'_>, n: u8) -> Value {
        if n == 0 { f.iconst(0) } else { f.get(n.into()) }
    }

    fn set_x(&mut self, f: &mut Frame<'_>, n: u8, value: Value) {
        if n != 0 {
            f.set(n.into(), value);
        }
    }

    /// A floating-point register as a binary64 number; what holds a NaN-boxed single is a NaN.
    fn get_number(&mut self, f: &mut Frame<'_>, n: u8) -> Value {
        f.get(32 + u32::from(n))
    }

    fn set_number(&mut self, f: &mut Frame<'_>, n: u8, value: Value) {
        f.set(32 + u32::from(n), value);
    }

    /// Bits of a floating-point register.
    fn get_f(&mut self, f: &mut Frame<'_>, n: u8) -> Value {
        let number = self.get_number(f, n);
        f.b.ins().bitcast(types::I64, MemFlagsData::new(), number)
    }

    fn set_f(&mut self, f: &mut Frame<'_>, n: u8, bits: Value) {
        let number = f.b.ins().bitcast(types::F64, MemFlagsData::new(), bits);
        self.set_number(f, n, number);
    }
}
