//! The cases of RV64GC.

use crate::isa::Isa;
use forelift_abi::lift::Mode;
use forelift_isa::rv64::{Flow, Op};
use forelift_translator::isa::rv64::Rv64;

/// RV64GC.
pub(crate) const ISA: Isa =
    Isa { target: &Rv64, modes: &[("user", Mode::User), ("supervisor", Mode::Kernel)], lifted };

fn lifted() -> Vec<&'static str> {
    let lifted: Vec<_> =
        Op::ALL.iter().filter(|op| op.flow() != Flow::System).map(|op| op.mnemonic()).collect();
    assert!(lifted.len() >= 150, "{}", lifted.len());
    lifted
}
