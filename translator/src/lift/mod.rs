//! Guest code to CLIF.
//!
//! # Shape
//! A [`Function`] becomes one CLIF function of the signature that
//! [`forelift_abi::lift`] sets out. Its head dispatches on the number of the entry point; each entry point
//! loads the registers that are live there. Inside, guest registers are variables of cranelift-frontend. A
//! jump to a register's value that leads to an entry point of the same function goes back to the head: so an
//! interpreter in the guest stays in one frame.
//!
//! # Calls
//! A direct call of what begins a lifted function is a direct call; every other goes through the runtime.
//!
//! # Precise state
//! Where the guest can leave (a memory access, a call, an exit, the end of a block) every register that was
//! written since is stored first, so that *leaving is nothing but a jump*: to one block per function that
//! takes the budget and a constant which packs the address and the number of instructions to take off. A
//! register that is written again before such a place is not stored. Whatever lifted code cannot do (TLB
//! miss, misaligned access, device, fault, FPU off) leaves in this way; the interpreter executes the
//! instruction, and goes on until the next entry point.
//!
//! # Budget
//! `left` is a variable in the function and in memory outside of it. It is counted down at the ends of blocks
//! and tested where control goes backwards; calls test it in the runtime.
//!
//! # Memory
//! An access goes through the data TLB, on its own or together with others (module `coalesce`).
//!
//! # Pages
//! Going on to another page of the region is checked against the instruction TLB, once on each path: whatever
//! could change a translation leaves all lifted frames.

mod coalesce;
mod control;
mod frame;
mod lifter;
mod liveness;
mod memory;
mod opened;
mod pages;
mod register;
mod signature;
mod target;

pub use frame::{Frame, Place};
pub use register::Register;
pub use signature::{CALLEES, HELPERS, Options, helper_signature, signature};
pub use target::{Lowering, Target};

use crate::program::{CodeAddr, Program};
use crate::region::Function;
use cranelift_codegen::ir::{self, InstBuilder};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use forelift_abi::lift::{DISPATCH, Mode};
use lifter::Lifter;

/// Lifts `function`, whose pages are `program`'s, into `out`. Gives the places of the functions that it calls
/// directly.
pub fn lift(
    target: &dyn Target,
    program: &Program,
    function: &Function,
    options: &Options,
    out: &mut ir::Function,
) -> Vec<CodeAddr> {
    out.clear();
    out.signature = signature(options.call_conv);
    let mut context = FunctionBuilderContext::new();
    let mut lifter = Lifter::new(target, program, function, options, FunctionBuilder::new(out, &mut context));
    lifter.run();
    let Lifter { f, callees, .. } = lifter;
    finish(f.b, options);
    callees
}

/// What stands for a function that is called directly and is not there: it calls the dispatcher.
pub fn absent(target: &'static dyn Target, options: &Options, out: &mut ir::Function) {
    out.clear();
    out.signature = signature(options.call_conv);
    let mut context = FunctionBuilderContext::new();
    let function = Function::empty(Mode::User);
    let program = Program::new(target, Vec::new());
    let builder = FunctionBuilder::new(out, &mut context);
    let mut f = Frame::new(&program, &function, options, target.registers(&options.layout), builder);
    let block = f.b.create_block();
    f.b.append_block_params_for_function_params(block);
    f.b.switch_to_block(block);
    let params = f.b.block_params(block).to_vec();
    let next = f.call_helper(DISPATCH, &[params[0], params[2]]);
    f.b.ins().return_(&[next]);
    finish(f.b, options);
}

fn finish(mut b: FunctionBuilder<'_>, options: &Options) {
    b.seal_all_blocks();
    b.finalize(cranelift_codegen::isa::TargetFrontendConfig {
        default_call_conv: options.call_conv,
        pointer_width: target_lexicon::PointerWidth::U64,
        page_size_align_log2: 12,
    });
}
