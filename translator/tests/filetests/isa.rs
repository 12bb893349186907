//! What the runner asks of a guest ISA.

use forelift_abi::lift::Mode;
use forelift_translator::lift::Target;

/// Address of a case's code.
pub(crate) const BASE: u64 = 0x1_0000;

/// A guest ISA. Its cases are in the directory of its name.
pub(crate) struct Isa {
    /// The instruction set.
    pub(crate) target: &'static dyn Target,
    /// The words for its modes, with what the translator calls them.
    pub(crate) modes: &'static [(&'static str, Mode)],
    /// The mnemonics of all instructions that are lifted: each has a case that begins with it.
    pub(crate) lifted: fn() -> Vec<&'static str>,
}
