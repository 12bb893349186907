//! What the end-to-end tests share: where things are ([`workspace`]), the images they run ([`images`]), the
//! hosts that run them ([`hosts`]), one run of a container ([`run`]) or of any program ([`process`],
//! [`done`]), terminals ([`pty`]), and the table of cases ([`table`]). And what the instruction tests share:
//! [`hart`].
//!
//! Nothing is ever skipped: a program that is missing is a failure that names `scripts/setup test`.

pub mod done;
#[cfg(feature = "fuzz-regression")]
pub mod fuzz;
pub mod hart;
pub mod hosts;
pub mod images;
pub mod native;
pub mod network;
pub mod process;
pub mod pty;
pub mod random;
pub mod registry;
pub mod relay;
pub mod run;
pub mod site;
mod stream;
pub mod table;
pub mod workspace;
