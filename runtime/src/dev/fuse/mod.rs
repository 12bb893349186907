//! Host directories for the guest: a FUSE server, whose transport is [`crate::dev::virtio::fs`].
//!
//! * [`Server`]: dispatch, safety; its operations by family in `names`, `files`, `dirs`, `attr`;
//! * `wire`: messages to and from bytes; [`errno`]: Linux's error numbers;
//! * `nodes`: the files that the client knows; `handles`: those that it has open; `perms`: modes and owners
//!   of a session;
//! * [`fs`]: what the server needs of a file system; [`HostFs`] is the host's, chosen once, here: `fs_native`
//!   on Unix, `fs_wasi` in the image; `remote`: where `forelift run` serves a directory for the image;
//! * [`in_memory`]: a directory in memory (`fs_mem`); [`fuzz`]: arbitrary bytes through a server on one.
//!
//! Nothing of it is saved in a snapshot: the guest mounts after the restore.

mod attr;
mod dirs;
pub mod errno;
mod files;
pub mod fs;
mod fs_mem;
pub mod fuzz;
mod handles;
mod names;
mod nodes;
mod perms;
mod server;
mod wire;

#[cfg(not(target_os = "wasi"))]
mod fs_native;
#[cfg(not(target_os = "wasi"))]
pub use fs_native::NativeFs as HostFs;

#[cfg(target_os = "wasi")]
mod fs_wasi;
#[cfg(target_os = "wasi")]
pub use fs_wasi::{Preopen, WasiFs as HostFs, preopens};
#[cfg(target_os = "wasi")]
mod remote;
#[cfg(target_os = "wasi")]
pub use remote::{Remote, remotes};

pub use server::{MAX_MESSAGE, OWNER_XATTR, Server, Service};

/// A directory in memory, which no host has: what training attaches.
pub fn in_memory() -> impl Service {
    Server::new(fs_mem::MemFs::new(), false)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
