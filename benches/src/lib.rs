//! Measurements.
//!
//! * `benches/compare` is the one that figures are quoted from: whole programs in the guest, against QEMU and
//!   others, and starts.
//! * `cargo bench -p forelift-benches` measures parts of Forelift natively, with criterion, to see what a
//!   change did: `decode`, `interpreter`, `lifted`, `translator`, `snapshot`, `rootfs`. Without `--features
//!   packer` (`--no-default-features`) it builds quickly. `cargo bench -p forelift-benches -- --test` runs
//!   each once.
//!
//! [`kernels`] has the guest code of the benchmarks `interpreter` and `lifted`, which [`lifted`] lifts;
//! [`program`] that of `translator`.

pub mod kernels;
pub mod lifted;
pub mod program;
