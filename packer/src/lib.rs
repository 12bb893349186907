//! Converts a Linux container image into one WebAssembly file, and runs it.
//!
//! * [`cli`] is the command `forelift`: it parses arguments and prints results;
//! * [`convert`](mod@convert) is the conversion, a pipeline of steps; [`compile`](mod@compile),
//!   [`inspect`](mod@inspect) and [`run`](mod@run) are the other commands' work;
//! * [`image`] reads container images, [`erofs`] makes the root file system image of one;
//! * [`platform`] says which machine runs an image, [`assets`] finds emulator, kernel and init;
//! * [`boot`] runs the machine up to the snapshot;
//! * [`lift`](mod@lift) finds out what is hot and translates it;
//! * [`pack`] writes the module, and reads it back;
//! * [`cache`] keeps profiles and code between runs;
//! * [`embed`] runs a module on wasmtime, [`native`] without WebAssembly;
//! * [`web`] writes the directory of a web page;
//! * [`lockstep`] compares engines.

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
pub mod web;
