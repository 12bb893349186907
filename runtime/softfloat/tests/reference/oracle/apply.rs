//! Executes a record by this crate.

use super::guest::{Op, Record};
use forelift_softfloat::soft::{self, Limits};
use forelift_softfloat::*;

/// A 32-bit result as the instruction leaves it in a 64-bit integer register.
fn extend(x: u32) -> u64 {
    x as i32 as u64
}

/// By the exported functions.
pub(crate) fn exported(record: &Record, rm: Round, flags: &mut u8) -> u64 {
    let [a, b, c] = record.operands;
    if record.double {
        double(record.op, [a, b, c], rm, flags)
    } else {
        single(record.op, [a, b, c], rm, flags)
    }
}

fn single(op: Op, [x, y, z]: [u64; 3], rm: Round, flags: &mut u8) -> u64 {
    let (a, b, c) = (x as u32, y as u32, z as u32);
    match op {
        Op::Add => extend(f32_add(a, b, rm, flags)),
        Op::Sub => extend(f32_sub(a, b, rm, flags)),
        Op::Mul => extend(f32_mul(a, b, rm, flags)),
        Op::Div => extend(f32_div(a, b, rm, flags)),
        Op::Sqrt => extend(f32_sqrt(a, rm, flags)),
        Op::Fma => extend(f32_fma(a, b, c, rm, flags)),
        Op::Eq => u64::from(f32_eq(a, b, flags)),
        Op::Lt => u64::from(f32_lt(a, b, flags)),
        Op::Le => u64::from(f32_le(a, b, flags)),
        Op::Min => extend(f32_min(a, b, flags)),
        Op::Max => extend(f32_max(a, b, flags)),
        Op::Class => u64::from(f32_classify(a)),
        Op::ToI32 => f32_to_i32(a, rm, flags) as u64,
        Op::ToU32 => extend(f32_to_u32(a, rm, flags)),
        Op::ToI64 => f32_to_i64(a, rm, flags) as u64,
        Op::ToU64 => f32_to_u64(a, rm, flags),
        Op::FromI32 => extend(f32_from_i32(x as i32, rm, flags)),
        Op::FromU32 => extend(f32_from_u32(a, rm, flags)),
        Op::FromI64 => extend(f32_from_i64(x as i64, rm, flags)),
        Op::FromU64 => extend(f32_from_u64(x, rm, flags)),
        Op::Convert => f32_to_f64(a, flags),
    }
}

fn double(op: Op, [a, b, c]: [u64; 3], rm: Round, flags: &mut u8) -> u64 {
    match op {
        Op::Add => f64_add(a, b, rm, flags),
        Op::Sub => f64_sub(a, b, rm, flags),
        Op::Mul => f64_mul(a, b, rm, flags),
        Op::Div => f64_div(a, b, rm, flags),
        Op::Sqrt => f64_sqrt(a, rm, flags),
        Op::Fma => f64_fma(a, b, c, rm, flags),
        Op::Eq => u64::from(f64_eq(a, b, flags)),
        Op::Lt => u64::from(f64_lt(a, b, flags)),
        Op::Le => u64::from(f64_le(a, b, flags)),
        Op::Min => f64_min(a, b, flags),
        Op::Max => f64_max(a, b, flags),
        Op::Class => u64::from(f64_classify(a)),
        Op::ToI32 => f64_to_i32(a, rm, flags) as u64,
        Op::ToU32 => extend(f64_to_u32(a, rm, flags)),
        Op::ToI64 => f64_to_i64(a, rm, flags) as u64,
        Op::ToU64 => f64_to_u64(a, rm, flags),
        Op::FromI32 => f64_from_i32(a as i32),
        Op::FromU32 => f64_from_u32(a as u32),
        Op::FromI64 => f64_from_i64(a as i64, rm, flags),
        Op::FromU64 => f64_from_u64(a, rm, flags),
        Op::Convert => extend(f64_to_f32(a, rm, flags)),
    }
}

/// By the integer arithmetic alone; `None` for what has no such form.
pub(crate) fn soft(record: &Record, rm: Round, flags: &mut u8) -> Option<u64> {
    let [a, b, c] = record.operands;
    if let Op::Convert = record.op {
        return Some(if record.double {
            extend(soft::convert::<F64, F32>(a, rm, flags))
        } else {
            soft::convert::<F32, F64>(a as u32, rm, flags)
        });
    }
    if record.double {
        soft_of::<F64>(record.op, [a, b, c], [a, b, c], rm, flags, |x| x)
    } else {
        soft_of::<F32>(record.op, [a, b, c], [a as u32, b as u32, c as u32], rm, flags, extend)
    }
}

fn soft_of<F: Format>(
    op: Op,
    [integer, ..]: [u64; 3],
    [a, b, c]: [F::Bits; 3],
    rm: Round,
    flags: &mut u8,
    register: impl Fn(F::Bits) -> u64,
) -> Option<u64> {
    let from = |sign: bool, magnitude: u64, flags: &mut u8| {
        Some(register(soft::from_int::<F>(sign, magnitude, rm, flags)))
    };
    match op {
        Op::Add => Some(register(soft::add::<F>(a, b, rm, flags))),
        Op::Sub => Some(register(soft::sub::<F>(a, b, rm, flags))),
        Op::Mul => Some(register(soft::mul::<F>(a, b, rm, flags))),
        Op::Div => Some(register(soft::div::<F>(a, b, rm, flags))),
        Op::Sqrt => Some(register(soft::sqrt::<F>(a, rm, flags))),
        Op::Fma => Some(register(soft::fma::<F>(a, b, c, rm, flags))),
        Op::ToI32 => Some(soft::to_int::<F>(a, Limits::I32, rm, flags)),
        Op::ToU32 => Some(extend(soft::to_int::<F>(a, Limits::U32, rm, flags) as u32)),
        Op::ToI64 => Some(soft::to_int::<F>(a, Limits::I64, rm, flags)),
        Op::ToU64 => Some(soft::to_int::<F>(a, Limits::U64, rm, flags)),
        Op::FromI32 => from((integer as i32) < 0, u64::from((integer as i32).unsigned_abs()), flags),
        Op::FromU32 => from(false, u64::from(integer as u32), flags),
        Op::FromI64 => from((integer as i64) < 0, (integer as i64).unsigned_abs(), flags),
        Op::FromU64 => from(false, integer, flags),
        _ => None,
    }
}
