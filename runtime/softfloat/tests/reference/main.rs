//! The arithmetic against what is right by definition: RISC-V's instructions as QEMU executes them, SSE's and
//! x87's on the processor that the test runs on. `values` has the operands where arithmetic goes wrong.

mod oracle;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod sse;
mod values;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x87;
