//! The host processor as the reference for the x86-64 interpreter.
//!
//! A [`Case`](case::Case) is a piece of code with registers and memory. [`host::Host`] executes it on the
//! processor that the tests run on, in a process of its own that survives whatever the code does;
//! [`emulated::Emulated`] executes it on the interpreter; [`compare`] tells the two
//! [`Outcome`](case::Outcome)s apart, but for what the manual leaves undefined ([`undefined`]) and what is
//! the [`maker`]'s. Cases come from [`generate`], for each [`form`](forms) of each instruction that the
//! guest's processor has, and from [`program`], at random.
//!
//! Only Linux on x86-64 has such a reference: elsewhere the crate is empty.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

pub mod case;
pub mod compare;
pub mod emulated;
pub mod forms;
pub mod generate;
pub mod host;
pub mod layout;
pub mod maker;
pub mod program;
pub mod random;
pub mod suite;
pub mod undefined;
