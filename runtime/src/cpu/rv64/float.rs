//! Floating-point instructions (unprivileged manual, chapters "F" and "D"), on top of [`forelift_softfloat`].
//!
//! The interpreter has checked `sstatus.FS` before it calls. Rounding modes are resolved here: 7 means `frm`,
//! and a reserved value makes the instruction illegal.

use super::Context;
use super::entry::{Entry, Kind};
use super::exception::Exception;
use super::state::{Hart, sext};
use forelift_isa::rv64::{Op, Reg};
use forelift_softfloat as sf;
use forelift_softfloat::Round;

const SIGN64: u64 = 1 << 63;
const SIGN32: u32 = 1 << 31;

/// Operands of an entry that [`super::predecode`] packed.
struct Operands {
    rd: usize,
    rs1: usize,
    rs2: usize,
    rs3: usize,
}

impl Operands {
    fn of(e: &Entry) -> Self {
        Operands {
            rd: usize::from(e.rd / 8),
            rs1: usize::from(e.rs1 / 8),
            rs2: (e.imm as u32 as usize & 0xff) / 8,
            rs3: (e.imm as u32 as usize >> 8 & 0xff) / 8,
        }
    }
}

/// Rounding mode of an entry, or the illegal-instruction exception.
fn rounding(hart: &Hart, e: &Entry) -> Result<Round, Exception> {
    let field = (e.imm as u32 >> 16 & 7) as u8;
    let mode = if field == 7 { hart.frm } else { field };
    Round::from_rm(mode).ok_or(Exception { cause: 2, value: u64::from(e.target) })
}

impl Context<'_> {
    /// Executes a floating-point instruction that is no load or store.
    pub(crate) fn float(&mut self, e: &Entry) -> Result<(), Exception> {
        let o = Operands::of(e);
        let hart = &mut *self.hart;
        let mut flags = hart.fflags;
        // The common double-precision operations come first and without the detour over the operation table.
        let double = match e.op {
            Kind::FaddD => Some(sf::f64_add(hart.f[o.rs1], hart.f[o.rs2], rounding(hart, e)?, &mut flags)),
            Kind::FsubD => Some(sf::f64_sub(hart.f[o.rs1], hart.f[o.rs2], rounding(hart, e)?, &mut flags)),
            Kind::FmulD => Some(sf::f64_mul(hart.f[o.rs1], hart.f[o.rs2], rounding(hart, e)?, &mut flags)),
            Kind::FdivD => Some(sf::f64_div(hart.f[o.rs1], hart.f[o.rs2], rounding(hart, e)?, &mut flags)),
            Kind::FmaddD => {
                let (a, b, c) = (hart.f[o.rs1], hart.f[o.rs2], hart.f[o.rs3]);
                Some(sf::f64_fma(a, b, c, rounding(hart, e)?, &mut flags))
            }
            _ => None,
        };
        if let Some(value) = double {
            hart.f[o.rd] = value;
            hart.fflags = flags;
            return Ok(());
        }
        let op = Op::ALL[usize::from((e.imm as u32 >> 24) as u8)];
        let round = if op.uses_rm() { rounding(hart, e)? } else { Round::Rne };
        let rs1 = if reads_integer(op) { hart.x[o.rs1] } else { hart.f[o.rs1] };
        match compute(op, rs1, hart.f[o.rs2], hart.f[o.rs3], round, &mut flags) {
            Some(Value::X(value)) if o.rd != 0 => hart.x[o.rd] = value,
            Some(Value::X(_)) => {}
            Some(value) => hart.f[o.rd] = value.bits(),
            None => return Err(Exception { cause: 2, value: u64::from(e.target) }),
        }
        hart.fflags = flags;
        Ok(())
    }
}

/// A result and the register file it goes to.
pub(crate) enum Value {
    X(u64),
    S(u32),
    D(u64),
}

impl Value {
    /// What the register holds then.
    pub(crate) fn bits(self) -> u64 {
        match self {
            Value::X(bits) | Value::D(bits) => bits,
            Value::S(bits) => sf::f32_box(bits),
        }
    }
}

/// Whether the first operand is an integer register.
fn reads_integer(op: Op) -> bool {
    op.format().layout().rs1 == Reg::X
}

/// Computes `op` on the values of its registers; `None` when it is no floating-point operation.
pub(crate) fn compute(op: Op, a: u64, b: u64, c: u64, rm: Round, flags: &mut u8) -> Option<Value> {
    let x = a;
    let (sa, sb, sc) = (sf::f32_unbox(a), sf::f32_unbox(b), sf::f32_unbox(c));
    Some(match op {
        Op::FmaddS => Value::S(sf::f32_fma(sa, sb, sc, rm, flags)),
        Op::FmsubS => Value::S(sf::f32_fma(sa, sb, sc ^ SIGN32, rm, flags)),
        Op::FnmsubS => Value::S(sf::f32_fma(sa ^ SIGN32, sb, sc, rm, flags)),
        Op::FnmaddS => Value::S(sf::f32_fma(sa ^ SIGN32, sb, sc ^ SIGN32, rm, flags)),
        Op::FaddS => Value::S(sf::f32_add(sa, sb, rm, flags)),
        Op::FsubS => Value::S(sf::f32_sub(sa, sb, rm, flags)),
        Op::FmulS => Value::S(sf::f32_mul(sa, sb, rm, flags)),
        Op::FdivS => Value::S(sf::f32_div(sa, sb, rm, flags)),
        Op::FsqrtS => Value::S(sf::f32_sqrt(sa, rm, flags)),
        Op::FsgnjS => Value::S(sa & !SIGN32 | sb & SIGN32),
        Op::FsgnjnS => Value::S(sa & !SIGN32 | !sb & SIGN32),
        Op::FsgnjxS => Value::S(sa ^ sb & SIGN32),
        Op::FminS => Value::S(sf::f32_min(sa, sb, flags)),
        Op::FmaxS => Value::S(sf::f32_max(sa, sb, flags)),
        Op::FeqS => Value::X(u64::from(sf::f32_eq(sa, sb, flags))),
        Op::FltS => Value::X(u64::from(sf::f32_lt(sa, sb, flags))),
        Op::FleS => Value::X(u64::from(sf::f32_le(sa, sb, flags))),
        Op::FclassS => Value::X(u64::from(sf::f32_classify(sa))),
        Op::FcvtWS => Value::X(sext(sf::f32_to_i32(sa, rm, flags) as u32)),
        Op::FcvtWuS => Value::X(sext(sf::f32_to_u32(sa, rm, flags))),
        Op::FcvtLS => Value::X(sf::f32_to_i64(sa, rm, flags) as u64),
        Op::FcvtLuS => Value::X(sf::f32_to_u64(sa, rm, flags)),
        Op::FcvtSW => Value::S(sf::f32_from_i32(x as i32, rm, flags)),
        Op::FcvtSWu => Value::S(sf::f32_from_u32(x as u32, rm, flags)),
        Op::FcvtSL => Value::S(sf::f32_from_i64(x as i64, rm, flags)),
        Op::FcvtSLu => Value::S(sf::f32_from_u64(x, rm, flags)),
        Op::FmvXW => Value::X(sext(a as u32)),
        Op::FmvWX => Value::S(x as u32),
        Op::FaddD => Value::D(sf::f64_add(a, b, rm, flags)),
        Op::FsubD => Value::D(sf::f64_sub(a, b, rm, flags)),
        Op::FmulD => Value::D(sf::f64_mul(a, b, rm, flags)),
        Op::FdivD => Value::D(sf::f64_div(a, b, rm, flags)),
        Op::FmaddD => Value::D(sf::f64_fma(a, b, c, rm, flags)),
        Op::FsgnjD => Value::D(a & !SIGN64 | b & SIGN64),
        Op::FmvDX => Value::D(x),
        Op::FmsubD => Value::D(sf::f64_fma(a, b, c ^ SIGN64, rm, flags)),
        Op::FnmsubD => Value::D(sf::f64_fma(a ^ SIGN64, b, c, rm, flags)),
        Op::FnmaddD => Value::D(sf::f64_fma(a ^ SIGN64, b, c ^ SIGN64, rm, flags)),
        Op::FsqrtD => Value::D(sf::f64_sqrt(a, rm, flags)),
        Op::FsgnjnD => Value::D(a & !SIGN64 | !b & SIGN64),
        Op::FsgnjxD => Value::D(a ^ b & SIGN64),
        Op::FminD => Value::D(sf::f64_min(a, b, flags)),
        Op::FmaxD => Value::D(sf::f64_max(a, b, flags)),
        Op::FcvtSD => Value::S(sf::f64_to_f32(a, rm, flags)),
        Op::FcvtDS => Value::D(sf::f32_to_f64(sa, flags)),
        Op::FeqD => Value::X(u64::from(sf::f64_eq(a, b, flags))),
        Op::FltD => Value::X(u64::from(sf::f64_lt(a, b, flags))),
        Op::FleD => Value::X(u64::from(sf::f64_le(a, b, flags))),
        Op::FclassD => Value::X(u64::from(sf::f64_classify(a))),
        Op::FcvtWD => Value::X(sext(sf::f64_to_i32(a, rm, flags) as u32)),
        Op::FcvtWuD => Value::X(sext(sf::f64_to_u32(a, rm, flags))),
        Op::FcvtLD => Value::X(sf::f64_to_i64(a, rm, flags) as u64),
        Op::FcvtLuD => Value::X(sf::f64_to_u64(a, rm, flags)),
        Op::FcvtDW => Value::D(sf::f64_from_i32(x as i32)),
        Op::FcvtDWu => Value::D(sf::f64_from_u32(x as u32)),
        Op::FcvtDL => Value::D(sf::f64_from_i64(x as i64, rm, flags)),
        Op::FcvtDLu => Value::D(sf::f64_from_u64(x, rm, flags)),
        Op::FmvXD => Value::X(a),
        _ => return None,
    })
}
