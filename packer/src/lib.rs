//! Converts a Linux container image into one WebAssembly file, and runs it.
//!
//! * [`convert`](mod@convert) is the conversion, a pipeline of the following;
//! * [`image`] reads container images, [`erofs`] makes the root file system image of one;
//! * [`boot`] runs the machine up to the snapshot;
//! * [`lift`](mod@lift) finds out what is hot and translates it;
//! * [`platform`] says which machine runs an image;
//! * [`pack`] puts everything into one module, and reads it back;
//! * [`cache`] keeps what can be used again;
//! * [`lockstep`] compares engines;
//! * [`embed`] runs a module on wasmtime, [`native`] without WebAssembly;
//! * [`cli`] is the command `forelift`.

pub mod assets;
pub mod boot;
pub mod cache;
pub mod cli;
pub mod compile;
pub mod convert;
pub mod embed;
pub mod erofs;
pub mod fuzz;
pub mod image;
pub mod inspect;
pub mod lift;
pub mod lockstep;
pub mod native;
pub mod pack;
pub mod platform;
pub mod progress;
pub mod run;
pub mod units;
