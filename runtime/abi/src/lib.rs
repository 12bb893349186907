//! The leaf that every other part of Forelift agrees on and that imports none of them.
//!
//! * [`header`]: the table of contents that the packer writes into the runtime's memory;
//! * [`config`]: what the image's author asked for (entry point, environment, user, ...);
//! * [`control`]: the messages between the runtime and the guest's init;
//! * [`embed`]: what `forelift run` offers beyond WASI;
//! * [`exit`]: the exit codes Forelift itself uses;
//! * [`layout`]: where things are in the guest's physical address space;
//! * [`lift`]: what lifted code and the runtime know of each other;
//! * [`net`]: the container's network interface, and the packets that go through it;
//! * [`profile`]: what a training run tells the translator.
#![forbid(unsafe_code)]

pub mod config;
pub mod control;
pub mod embed;
pub mod exit;
pub mod header;
pub mod layout;
pub mod lift;
pub mod net;
pub mod profile;
pub mod step;
