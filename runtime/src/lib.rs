//! The machine: one processor, its MMU, its devices, its snapshot. One crate, built natively for both guest
//! architectures, and for wasm32-wasip1 for one of them, which the features `riscv64` and `x86_64` choose.

pub mod args;
pub mod clock;
pub mod cpu;
pub mod dev;
pub mod host;
pub mod image;
pub mod machine;
pub mod memory;
pub mod platform;
pub mod session;
pub mod snapshot;
pub mod sys;

#[cfg(not(any(feature = "riscv64", feature = "x86_64")))]
compile_error!("choose at least one of the features riscv64 and x86_64");
