//! The guests whose code can be lifted.

use crate::isa::rv64::Rv64;
use crate::lift::Target;
use forelift_abi::{config::Arch, lift::Guest};

/// All of them.
pub static ALL: [&dyn Target; 1] = [&Rv64];

/// Their names, with their ELF machine numbers.
pub fn names() -> String {
    ALL.map(|target| format!("{} ({})", target.name(), target.guest().machine)).join(" or ")
}

/// The one of this name.
pub fn of_name(name: &str) -> Option<&'static dyn Target> {
    ALL.into_iter().find(|target| target.name() == name)
}

/// The one of an architecture, if its code can be lifted.
pub fn of(arch: Arch) -> Option<&'static dyn Target> {
    of_machine(Guest::of(arch).machine)
}

/// The one whose files have this ELF machine number.
pub fn of_machine(machine: u16) -> Option<&'static dyn Target> {
    ALL.into_iter().find(|target| target.guest().machine == machine)
}
