//! Measurements.
//!
//! * `benches/compare` is the one that figures are quoted from: whole programs in the guest, against QEMU, and starts.
//! * `cargo bench -p forelift-benches` measures parts of Forelift natively, with criterion, to see what a change did:
//!   `decode`, `interpreter`, `snapshot`, `rootfs`. Without `--features packer` (`--no-default-features`) it builds quickly.
//!
//! [`kernels`] has the guest code of the benchmark `interpreter`.

pub mod kernels;
