//! A hart with a trap handler in its memory: traps go to guest code, not to the test.

use super::Machine;
use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{Fields, Op, encode};

/// Where the hart starts.
pub const CODE: u64 = RAM_BASE;
/// Where its handler is.
pub const HANDLER: u64 = RAM_BASE + 0x1_0000;

/// A machine whose handler stops it by `wfi`, in `vectored` mode at a place of its own for each cause.
pub fn machine(vectored: bool) -> Machine {
    let mut m = Machine::new(1 << 20);
    for n in 0..64 {
        m.put(HANDLER + 4 * n, &encode(Op::Wfi, &Fields::default()).to_le_bytes());
    }
    m.cpu.hart.stvec = HANDLER | u64::from(vectored);
    m.cpu.hart.pc = CODE;
    m
}
