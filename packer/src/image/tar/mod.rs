//! A streaming reader of tar archives: ustar, GNU and PAX (POSIX.1-2008 *pax*, GNU tar manual appendix D).
//!
//! Headers are read one block at a time; extension headers (GNU `L` and `K`, PAX `x`) are collected and
//! applied to the header that follows. Nothing is trusted: every number is range-checked, extension headers
//! are limited to 1 MiB, sparse maps to a million runs, and the reader's memory does not depend on the
//! archive. Multi-volume archives and GNU incremental dumps are not supported.
//!
//! (The `tar` crate is not used because it supports neither the PAX forms of sparse files nor errors with an
//! offset.)

mod entry;
mod fault;
mod header;
mod pax;
mod reader;
mod sparse;

pub(crate) use entry::{Entry, EntryKind};
pub(crate) use fault::Fault;
pub(crate) use reader::Archive;
