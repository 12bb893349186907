//! x86_64's part of the contract. No runtime exports a layout for it yet: its code is interpreted.

use super::guest::helpers;
use super::layout::state;
use super::{Guest, Mode, Tag};

/// The guest.
pub static GUEST: Guest = Guest {
    // EM_X86_64
    machine: 62,
    tag: Tag::NonCanonical,
    code_align: 1,
    modes: &[Mode::User, Mode::Kernel, Mode::Compat],
    helpers: Helper::SPECS,
};

state! {
    /// General registers in the order of their encoding, 8 bytes each; then a register that is 0, the address
    /// of the page of code, and the bases of FS and GS.
    r,
    /// Kind of the instruction that the arithmetic flags come from, 4 bytes.
    cc,
    /// Its first operand, 8 bytes.
    cc_a,
    /// Its second operand or its result, 8 bytes.
    cc_b,
    /// The other flags, 8 bytes.
    rflags,
    /// XMM registers, 16 bytes each.
    xmm,
    /// `mxcsr`, 4 bytes.
    mxcsr,
}

helpers! {
    /// See [`DISPATCH`](super::DISPATCH).
    Dispatch = "forelift_dispatch"(I64, I32) -> I64;
}
