//! The emulated machine: one processor, its MMU, its devices, its snapshot. Natively the crate is built for
//! both guest architectures; for wasm32-wasip1, for one of them, which the features `riscv64` and `x86_64`
//! choose.
//!
//! | module | what it is |
//! |---|---|
//! | [`cpu`] | the processors, their TLB, and calling lifted code |
//! | [`platform`] | the board around each processor: interrupt controllers, timers, start of a kernel |
//! | [`dev`] | virtio devices, and the file server for host directories |
//! | [`memory`], [`clock`] | guest physical memory; time |
//! | [`machine`] | all of these together, and the loop that drives them |
//! | [`snapshot`] | the machine's state as bytes |
//! | [`session`] | one run: the control protocol and the standard streams |
//! | [`args`], [`image`] | the image's command line; an image from there to its exit code |
//! | [`host`], [`sys`] | what the machine needs from outside, and the operating environments that give it |

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
