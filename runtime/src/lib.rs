//! The machine: one RISC-V hart, its MMU, its devices, its snapshot. One crate, built natively and for wasm32-wasip1.

pub mod host;
pub mod memory;
