//! What is around the processor and the virtio devices of each guest architecture: interrupt controllers and
//! timers, and how a kernel is put into memory and told of the machine.

pub mod boot;
#[cfg(feature = "riscv64")]
pub mod riscv64;
#[cfg(feature = "x86_64")]
pub mod x86_64;
