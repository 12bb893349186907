//! The guests there are.

use super::{Guest, rv64, x86};
use crate::config::Arch;

impl Guest {
    /// The guest of an architecture.
    pub const fn of(arch: Arch) -> &'static Guest {
        match arch {
            Arch::Riscv64 => &rv64::GUEST,
            Arch::X86_64 => &x86::GUEST,
        }
    }
}
