//! Cranelift IR to WebAssembly functions.
#![forbid(unsafe_code)]
