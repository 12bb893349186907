//! What the runner asks of a guest ISA.

use forelift_abi::lift::Layout;
use forelift_translator::program::Program;

/// Address of a case's code.
pub(crate) const BASE: u64 = 0x1_0000;

/// A guest ISA.
pub(crate) struct Isa {
    /// The directory of its cases.
    pub(crate) name: &'static str,
    /// The words for its modes, with what the translator calls them.
    pub(crate) modes: &'static [(&'static str, u8)],
    /// Where the state of its processor lies.
    pub(crate) layout: fn() -> Layout,
    /// The text of the one instruction that is `bytes` at an address; `None` when it is not one.
    pub(crate) disassemble: fn(&[u8], u64) -> Option<String>,
    /// Code at [`BASE`], all of it hot, as a program.
    pub(crate) program: fn(&[u8], u8) -> Program,
    /// The mnemonics of all instructions that are lifted: each has a case that begins with it.
    pub(crate) lifted: fn() -> Vec<&'static str>,
}
