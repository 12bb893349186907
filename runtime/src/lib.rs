//! The machine: one RISC-V hart, its MMU, its devices, its snapshot. One crate, built natively and for wasm32-wasip1.

pub mod args;
pub mod clock;
pub mod dev;
pub mod fdt;
pub mod host;
pub mod image;
pub mod machine;
pub mod memory;
pub mod rv64;
pub mod session;
pub mod snapshot;
pub mod sys;
pub mod tlb;
pub mod x86;
