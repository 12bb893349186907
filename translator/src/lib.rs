//! Guest machine code to CLIF to WebAssembly, ahead of time.
//!
//! The stages, in order, each with a command of its own in the program `forelift-translator`:
//!
//! * [`isa`]: what an instruction set tells of its code, as data; [`guests`]: those there are;
//! * [`listing`]: executable bytes of an ELF file to instructions and basic blocks;
//! * [`fixed`]: code that nobody has run, as a [`program`], for these commands;
//! * [`region`]: which hot code of a [`program`] becomes one function;
//! * [`lift`]: a function's guest code to CLIF;
//! * [`opt`]: the mid-end;
//! * [`index`]: how the runtime finds it;
//! * `forelift_emit`: CLIF to WebAssembly; [`standalone`]: that as a module to look at; [`jit`]: CLIF to this
//!   host's machine code.
//!
//! [`symbols`] reads names and bounds of functions from ELF files.
//!
//! The translator never imports the runtime.

pub mod fixed;
pub mod guests;
pub mod index;
pub mod isa;
pub mod jit;
pub mod lift;
pub mod listing;
pub mod opt;
pub mod program;
pub mod region;
pub mod standalone;
pub mod symbols;
