//! The operating environment: one implementation of [`Host`](crate::host::Host) natively, one for WASI
//! preview 1, one for a component's WASI 0.2, chosen here and nowhere else.
//!
//! A browser is no third one: its host serves WASI preview 1 to the module, as Node and wasmtime do. What
//! WASI cannot say goes through the descriptors of [`forelift_abi::embed`], which any embedding may offer.

#[cfg(not(target_os = "wasi"))]
mod native;
#[cfg(not(target_os = "wasi"))]
pub use native::{EventSender, NativeHost, NativeHost as SystemHost};

#[cfg(target_os = "wasi")]
mod poll;
#[cfg(any(target_os = "wasi", test))]
mod stream;
#[cfg(target_os = "wasi")]
mod wasi;
#[cfg(target_os = "wasi")]
pub use wasi::WasiHost;
#[cfg(all(target_os = "wasi", not(feature = "component")))]
pub use wasi::WasiHost as SystemHost;

#[cfg(all(target_os = "wasi", feature = "component"))]
mod component;
#[cfg(all(target_os = "wasi", feature = "component"))]
pub use component::{ComponentHost, ComponentHost as SystemHost};

/// Bytes that a pipe reported writable takes without blocking (POSIX `PIPE_BUF`, as Linux has it).
const PIPE_BUF: usize = 4096;
