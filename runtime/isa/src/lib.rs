//! Guest instruction sets as data.
//!
//! One table per guest ISA feeds everything that has to know its instructions: decoder, disassembler,
//! encoder, interpreter, lifter and the random program generator of the tests. An instruction is written down
//! once.
//!
//! - [`rv64`]: RV64GC (IMAFDC, Zicsr, Zifencei) with the supervisor instructions.
//!
//! The crate needs `alloc` only for the generators; it uses no `std` and no other crate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod rv64;
