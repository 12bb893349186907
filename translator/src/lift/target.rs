//! The meaning of an instruction set's code in CLIF.

use super::frame::Frame;
use super::register::Register;
use crate::isa::{Insn, Isa};
use crate::region::Block;
use cranelift_codegen::ir::Value;
use forelift_abi::lift::{Layout, State};

/// An instruction set whose code can be lifted.
pub trait Target: Isa {
    /// The registers, by their bits in [`Registers`](crate::isa::Registers).
    fn registers(&self, layout: &Layout) -> Vec<Register>;

    /// A layout of its state for a CPU at `cpu`, of no runtime in particular.
    fn example_state(&self, cpu: u64) -> State;

    /// The meaning of its instructions, for one function.
    fn lowering(&self, layout: &Layout) -> Box<dyn Lowering>;
}

/// The meaning of instructions, for one function. `at` is an instruction's address in its region.
pub trait Lowering {
    /// A block begins: control may have come from anywhere.
    fn begin_block(&mut self) {}

    /// What `insn` does, but for its control transfer.
    fn insn(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn);

    /// Whether a branch is taken.
    fn condition(&mut self, f: &mut Frame<'_>, insn: &Insn) -> Value;

    /// Where a return, or a jump or call to a computed address, goes.
    fn target(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn) -> Value;

    /// Keeps the address `back` that a call or a jump can be returned from to, if the instruction keeps one.
    /// Comes after [`Lowering::target`].
    fn link(&mut self, f: &mut Frame<'_>, at: i32, insn: &Insn, back: i32);

    /// The end of `block` by a trap, or by the return from one, at `at`.
    fn trap(&mut self, f: &mut Frame<'_>, block: &Block, at: i32);
}
