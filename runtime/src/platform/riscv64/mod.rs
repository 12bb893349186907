//! The riscv64 board: a PLIC and virtio devices, which a device tree describes, as QEMU's *virt* machine.
//!
//! | file | what it holds |
//! |---|---|
//! | [`plic`] | interrupt controller |
//! | [`fdt`] | device tree |
//! | `boot` | start of an `Image` |

pub(super) mod boot;
pub mod fdt;
pub mod plic;
