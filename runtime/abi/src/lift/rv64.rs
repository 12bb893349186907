//! riscv64's part of the contract.

use super::guest::helpers;
use super::layout::state;
use super::{Guest, Mode, Tag};

/// The guest.
pub static GUEST: Guest = Guest {
    // EM_RISCV
    machine: 243,
    tag: Tag::LowBit,
    code_align: 2,
    modes: &[Mode::User, Mode::Kernel],
    helpers: Helper::SPECS,
};

state! {
    /// Integer registers, 8 bytes each.
    x,
    /// Floating-point registers, 8 bytes each.
    f,
    /// Accrued exception flags, one byte; the rounding mode is the next byte.
    fflags,
    /// `sstatus.FS`, one byte.
    fs,
    /// Reservation of `lr`: a physical address.
    reservation,
    /// `sscratch`, `sepc`, `scause` and `stval`, 8 bytes each.
    sscratch,
    /// See [`State::sscratch`].
    sepc,
    /// See [`State::sscratch`].
    scause,
    /// See [`State::sscratch`].
    stval,
    /// `sstatus.SIE`, one byte.
    sie_enabled,
}

helpers! {
    /// See [`DISPATCH`](super::DISPATCH).
    Dispatch = "forelift_dispatch"(I64, I32) -> I64;
    /// `(pc: i64, insn: i32, left: i64) -> i32`: executes a Zicsr instruction. `left` is the budget before
    /// it. Not 0: leave; `pc` and `left` are set.
    Csr = "forelift_csr"(I64, I32, I64) -> I32;
    /// `(op: i32, a: i64, b: i64, c: i64) -> i64`: a floating-point operation on register values; `op` is the
    /// position of the operation in the table, and 256 times the rounding mode, which must be valid (7: the
    /// dynamic one).
    Float = "forelift_float"(I32, I64, I64, I64) -> I64;
    /// `(a: f64, b: f64, c: f64) -> f64`: `a * b + c`, rounded once, by the dynamic rounding mode, which must
    /// be valid.
    Fma = "forelift_fma"(F64, F64, F64) -> F64;
    /// `(pc: i64, depth: i32) -> i64`: executes `ecall` of U mode, and the lifted code of its handler. 0: the
    /// guest is past the instruction, in U mode; else what the function returns. The budget is the hart's
    /// `left`.
    Ecall = "forelift_ecall"(I64, I32) -> I64;
    /// `() -> i64`: executes `sret` in S mode; what the function returns. It has been counted.
    Sret = "forelift_sret"() -> I64;
    /// `(clear: i64) -> i64`: reads `sstatus` in S mode and clears these bits of it.
    Status = "forelift_status"(I64) -> I64;
}
