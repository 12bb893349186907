//! A streaming reader of tar archives: ustar, GNU and PAX (POSIX.1-2008 *pax*, GNU tar manual appendix D).
//!
//! Method: headers are read one block at a time; extension headers (GNU `L` and `K`, PAX `x`) are gathered
//! and laid over the header that follows. Nothing is trusted: every number is range-checked, extension
//! headers are limited to 1 MiB, sparse maps to a million runs, and the reader's memory does not depend on
//! the archive. Limits: no multi-volume archives, no GNU incremental dumps.
//!
//! (The `tar` crate is not used because it knows neither the PAX forms of sparse files nor the offset of a
//! fault.)

mod entry;
mod fault;
mod header;
mod pax;
mod reader;
mod sparse;

pub(crate) use entry::{Entry, EntryKind};
pub(crate) use fault::Fault;
pub(crate) use reader::Archive;
