//! Loads and stores in other formats.

use super::env::Env;
use super::value::{F80, Operand};
use crate::format::{Format, Unpacked};
use crate::soft::{Context, Limits, convert};
use crate::x86::{DE, OE, PE, UE};
use crate::{F32, F64, Round};

/// FLD of a binary32 or binary64. A denormal number is loaded even if DE is not masked (as the host CPU does
/// that the tests run on).
pub fn load(a: Operand, env: &mut Env) -> Option<F80> {
    let denormal = if a.0.subnormal { DE } else { 0 };
    let result = env.call([Operand(Unpacked { subnormal: false, ..a.0 })], 64, |[x], cx| {
        convert::convert::<F80, _>(x, cx)
    });
    env.raised |= denormal;
    result
}

/// FST to a binary32. Nothing is stored either if an unmasked exception says that it did not fit.
pub fn to_f32(a: F80, env: &mut Env) -> Option<u32> {
    to::<F32>(a, env)
}

/// FST to a binary64, as [`to_f32`].
pub fn to_f64(a: F80, env: &mut Env) -> Option<u64> {
    to::<F64>(a, env)
}

fn to<F: Format>(a: F80, env: &mut Env) -> Option<F::Bits> {
    let result = env.call([not_denormal(a)], 64, |[x], cx| convert::convert::<F, _>(x, cx))?;
    if env.unmasked() & (OE | UE) != 0 {
        env.raised &= !PE;
        env.up = false;
        return None;
    }
    Some(result)
}

/// The operand of a store, for which denormal operands are nothing special (SDM vol. 2, FST).
fn not_denormal(a: F80) -> Operand {
    Operand(Unpacked { subnormal: false, ..F80::unpack(a) })
}

fn to_int(a: F80, limits: Limits, rm: Round, env: &mut Env) -> Option<Option<(bool, u64)>> {
    env.call([not_denormal(a)], 64, |[x], cx| {
        cx.rounding = rm;
        let result = convert::to_int(x, limits, cx);
        if result.is_none() {
            cx.invalid::<F80>();
        }
        result
    })
}

macro_rules! to_integer {
    ($name:ident, $int:ident, $limits:ident) => {
        #[doc = concat!("FIST, and with [`Round::Rtz`] FISTTP, to `", stringify!($int), "`.")]
        pub fn $name(a: F80, rm: Round, env: &mut Env) -> Option<$int> {
            let value = to_int(a, Limits::$limits, rm, env)?;
            Some(value.map_or($int::MIN, |(sign, magnitude)| {
                (if sign { magnitude.wrapping_neg() } else { magnitude }) as $int
            }))
        }
    };
}

to_integer!(to_i16, i16, I16);
to_integer!(to_i32, i32, I32);
to_integer!(to_i64, i64, I64);

/// The packed BCD integer indefinite.
pub const BCD_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

/// FBSTP.
pub fn to_bcd(a: F80, env: &mut Env) -> Option<[u8; 10]> {
    let value = to_int(a, Limits::BCD, env.rounding(), env)?;
    Some(value.map_or(BCD_INDEFINITE, |(sign, mut magnitude)| {
        let mut bytes = [0; 10];
        for byte in &mut bytes[..9] {
            *byte = (magnitude / 10 % 10) as u8 * 16 + (magnitude % 10) as u8;
            magnitude /= 100;
        }
        bytes[9] = u8::from(sign) << 7;
        bytes
    }))
}

/// FBLD: exact, and raises nothing. Digits above 9 are undefined, and count as what they look like.
pub fn from_bcd(bytes: [u8; 10]) -> F80 {
    let magnitude = bytes[..9]
        .iter()
        .rev()
        .fold(0_i64, |sum, byte| sum * 100 + i64::from(byte >> 4) * 10 + i64::from(byte & 15));
    let mut x = F80::from_int(magnitude);
    x.sign_exp |= u16::from(bytes[9] & 0x80) << 8;
    x
}
