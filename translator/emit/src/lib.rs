//! Cranelift IR to WebAssembly functions.
//!
//! [`emit`] takes one function as `cranelift_codegen::Context::optimize` leaves it and gives the body of a
//! WebAssembly function. Calls name their targets by relocations, so that bodies can be made on several
//! threads and be put into one module afterwards.
//!
//! # Method
//!
//! 1. `flow`: control flow graph, dominator tree, loop headers. A loop with several entries gets a dispatch
//!    node, which makes every graph reducible.
//! 2. `demand`: which values are used at all, how often, and where.
//! 3. `tree`: for every block, stack code over *virtual* locals. A value with one use is computed at its use.
//!    The instructions themselves are chosen in `emit`, `int`, `float`, `memory` and `cond`.
//! 4. `locals`: liveness and colouring, which maps the virtual locals to few WebAssembly locals.
//! 5. `structure`: blocks, loops and branches from the dominator tree.
//! 6. `encode`: bytes and relocations.
//!
//! # Representation of values
//!
//! | CLIF | WebAssembly |
//! |---|---|
//! | `i8`, `i16` | `i32`, the bits above the type are undefined |
//! | `i32`, `i64`, `f32`, `f64` | the type of the same name |
//!
//! An instruction that observes the undefined bits (comparison, right shift, division, extension, branch
//! condition ...) first masks or sign-extends its operand, unless the operand is known to be zero-extended.
//! This includes parameters and results of functions: a result of type `i8` has undefined upper bits unless
//! its `AbiParam` asks for an extension.
//!
//! # Memory
//!
//! A pointer is an `i64` in CLIF. Its low 32 bits are the address in memory 0. A non-negative offset of a
//! load or store becomes the offset of the WebAssembly instruction: the sum of address and offset does not
//! wrap around at 2³² but traps. A negative offset is added with wrap-around.
#![forbid(unsafe_code)]

mod body;
mod code;
mod cond;
mod demand;
mod emit;
mod encode;
mod float;
mod flow;
mod int;
mod locals;
mod memory;
mod structure;
mod tree;

pub use body::{Body, EmitError, Reloc, RelocKind};
use cranelift_codegen::ir;
use wasm_encoder::ValType;

/// Translates a function.
///
/// # Errors
///
/// [`EmitError::Unsupported`] if the function has an instruction or a type without a translation;
/// [`EmitError::TooManyLocals`] if it is too large.
pub fn emit(func: &ir::Function) -> Result<Body, EmitError> {
    let flow = flow::Flow::new(func)?;
    let demand = demand::Demand::new(func, &flow)?;
    let mut code = tree::build(func, &flow, &demand)?;
    code::peephole(&mut code);
    let locals = locals::assign(func, &flow, &code)?;
    let stream = structure::build(&flow, &code, &locals);
    encode::encode(func, &stream, &locals)
}

/// The WebAssembly types of the parameters and results of a signature.
///
/// # Errors
///
/// [`EmitError::Unsupported`] if a type has no counterpart.
pub fn signature(sig: &ir::Signature) -> Result<(Vec<ValType>, Vec<ValType>), EmitError> {
    let types = |list: &[ir::AbiParam]| -> Result<Vec<ValType>, EmitError> {
        list.iter().map(|p| code::val_type(p.value_type)).collect()
    };
    Ok((types(&sig.params)?, types(&sig.returns)?))
}
