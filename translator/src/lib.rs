//! Guest machine code to CLIF to WebAssembly, ahead of time.
//!
//! The stages, in order, each with a command of its own in the program `forelift-translator`:
//!
//! * [`decode`]: executable bytes of an ELF file to instructions and basic blocks.
//!
//! Lifting, optimisation and emission follow it. The translator never imports the runtime.
#![forbid(unsafe_code)]

pub mod decode;
