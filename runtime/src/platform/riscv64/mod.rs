//! The riscv64 machine: a PLIC, a device tree, and the start of an `Image`.

pub(super) mod boot;
pub mod fdt;
pub mod plic;
