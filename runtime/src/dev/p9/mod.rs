//! Host directories for the guest: a 9P2000.L server, without a transport (that is `crate::dev::virtio::p9`).
//!
//! * [`Server`]: dispatch, fids, safety; its operations by family in `names`, `files`, `attr`;
//! * [`wire`]: messages to and from bytes; `errno`: Linux's error numbers;
//! * `tree`: what fids stand for, and what renames do to it; `fid`: their table; `perms`: modes and owners of a session;
//! * [`fs`]: what the server needs of a file system; [`HostFs`] is the host's, chosen once, here: `fs_native` on Unix,
//!   `fs_wasi` in the image;
//! * [`fuzz`]: arbitrary bytes through a server on a file system in memory (`fs_mem`).
//!
//! Nothing of it is saved in a snapshot: the guest mounts after the restore.

mod attr;
pub mod errno;
mod fid;
mod files;
pub mod fs;
mod fs_mem;
pub mod fuzz;
mod names;
mod perms;
mod server;
mod tree;
mod wire;

#[cfg(not(target_os = "wasi"))]
mod fs_native;
#[cfg(not(target_os = "wasi"))]
pub use fs_native::NativeFs as HostFs;

#[cfg(target_os = "wasi")]
mod fs_wasi;
#[cfg(target_os = "wasi")]
pub use fs_wasi::{Preopen, WasiFs as HostFs, preopens};

pub use server::{MAX_MSIZE, Server};

#[cfg(all(test, not(target_family = "wasm")))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
