//! Shuffles, packs, blends, and extensions of packed integers.

use super::{Lane, binary, binary_imm, both, run, xmm};
use crate::cpu::x86::handler::Handler;
use iced_x86::{Instruction, Mnemonic};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    Some(match i.mnemonic() {
        M::Punpcklbw => both!(i, punpcklbw),
        M::Punpcklwd => both!(i, punpcklwd),
        M::Punpckldq => both!(i, punpckldq),
        M::Punpcklqdq => xmm!(punpcklqdq),
        M::Punpckhbw => both!(i, punpckhbw),
        M::Punpckhwd => both!(i, punpckhwd),
        M::Punpckhdq => both!(i, punpckhdq),
        M::Punpckhqdq => xmm!(punpckhqdq),
        M::Unpcklps => xmm!(punpckldq),
        M::Unpckhps => xmm!(punpckhdq),
        M::Unpcklpd => xmm!(punpcklqdq),
        M::Unpckhpd => xmm!(punpckhqdq),
        M::Packsswb => both!(i, packsswb),
        M::Packssdw => both!(i, packssdw),
        M::Packuswb => both!(i, packuswb),
        M::Packusdw => xmm!(packusdw),
        M::Pshufb => both!(i, pshufb),
        M::Pshufw => run!(|cx, i| binary_imm::<8>(cx, i, |_, b, imm| pshufw(b, imm))),
        M::Pshufd => run!(|cx, i| binary_imm::<16>(cx, i, |_, b, imm| pshufd(b, imm))),
        M::Pshuflw => run!(|cx, i| binary_imm::<16>(cx, i, |_, b, imm| pshuflw(b, imm))),
        M::Pshufhw => run!(|cx, i| binary_imm::<16>(cx, i, |_, b, imm| pshufhw(b, imm))),
        M::Shufps => run!(|cx, i| binary_imm::<16>(cx, i, shufps)),
        M::Shufpd => run!(|cx, i| binary_imm::<16>(cx, i, shufpd)),
        M::Palignr if i.op0_register().is_mm() => run!(|cx, i| binary_imm::<8>(cx, i, palignr)),
        M::Palignr => run!(|cx, i| binary_imm::<16>(cx, i, palignr)),
        M::Pblendw => run!(|cx, i| binary_imm::<16>(cx, i, blend::<u16>)),
        M::Blendps => run!(|cx, i| binary_imm::<16>(cx, i, blend::<u32>)),
        M::Blendpd => run!(|cx, i| binary_imm::<16>(cx, i, blend::<u64>)),
        M::Pblendvb => run!(|cx, i| {
            let mask = cx.vcpu.xmm(iced_x86::Register::XMM0).to_le_bytes();
            binary::<16>(cx, i, |a, b| blend_by_sign::<i8>(a, b, mask))
        }),
        M::Blendvps => run!(|cx, i| {
            let mask = cx.vcpu.xmm(iced_x86::Register::XMM0).to_le_bytes();
            binary::<16>(cx, i, |a, b| blend_by_sign::<i32>(a, b, mask))
        }),
        M::Blendvpd => run!(|cx, i| {
            let mask = cx.vcpu.xmm(iced_x86::Register::XMM0).to_le_bytes();
            binary::<16>(cx, i, |a, b| blend_by_sign::<i64>(a, b, mask))
        }),
        M::Pmovsxbw => xmm!(|_, b| extend::<i8, i16>(b)),
        M::Pmovsxbd => xmm!(|_, b| extend::<i8, i32>(b)),
        M::Pmovsxbq => xmm!(|_, b| extend::<i8, i64>(b)),
        M::Pmovsxwd => xmm!(|_, b| extend::<i16, i32>(b)),
        M::Pmovsxwq => xmm!(|_, b| extend::<i16, i64>(b)),
        M::Pmovsxdq => xmm!(|_, b| extend::<i32, i64>(b)),
        M::Pmovzxbw => xmm!(|_, b| extend::<u8, u16>(b)),
        M::Pmovzxbd => xmm!(|_, b| extend::<u8, u32>(b)),
        M::Pmovzxbq => xmm!(|_, b| extend::<u8, u64>(b)),
        M::Pmovzxwd => xmm!(|_, b| extend::<u16, u32>(b)),
        M::Pmovzxwq => xmm!(|_, b| extend::<u16, u64>(b)),
        M::Pmovzxdq => xmm!(|_, b| extend::<u32, u64>(b)),
        M::Movddup => xmm!(|_, b| punpcklqdq(b, b)),
        M::Movsldup => xmm!(|_, b| pshufd(b, 0b10_10_00_00)),
        M::Movshdup => xmm!(|_, b| pshufd(b, 0b11_11_01_01)),
        _ => return None,
    })
}

/// The halves of `a` and `b` that begin at element `from`, element by element in turn.
#[inline(always)]
fn interleave<T: Lane, const N: usize>(a: [u8; N], b: [u8; N], high: bool) -> [u8; N] {
    let half = N / T::SIZE / 2;
    let from = if high { half } else { 0 };
    let mut result = [0; N];
    for n in 0..half {
        T::get(&a, from + n).put(&mut result, 2 * n);
        T::get(&b, from + n).put(&mut result, 2 * n + 1);
    }
    result
}

macro_rules! unpack {
    ($($name:ident $int:ident $high:literal;)+) => {
        $(#[inline]
        pub(crate) fn $name<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
            interleave::<$int, N>(a, b, $high)
        })+
    };
}

unpack! {
    punpcklbw u8 false;
    punpcklwd u16 false;
    punpckldq u32 false;
    punpcklqdq u64 false;
    punpckhbw u8 true;
    punpckhwd u16 true;
    punpckhdq u32 true;
    punpckhqdq u64 true;
}

/// The elements of `a`, then those of `b`, made half as wide by `f`.
#[inline(always)]
fn narrow<S: Lane, D: Lane, const N: usize>(a: [u8; N], b: [u8; N], f: impl Fn(S) -> D) -> [u8; N] {
    let count = N / S::SIZE;
    let mut result = [0; N];
    for n in 0..count {
        f(S::get(&a, n)).put(&mut result, n);
        f(S::get(&b, n)).put(&mut result, count + n);
    }
    result
}

macro_rules! pack {
    ($($name:ident $wide:ident $narrow:ident;)+) => {
        $(#[inline]
        pub(crate) fn $name<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
            narrow(a, b, |x: $wide| x.clamp($narrow::MIN.into(), $narrow::MAX.into()) as $narrow)
        })+
    };
}

pack! {
    packsswb i16 i8;
    packssdw i32 i16;
    packuswb i16 u8;
    packusdw i32 u16;
}

/// Bytes of `a` as the bytes of `b` tell; zero where they are negative.
#[inline]
pub(crate) fn pshufb<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
    b.map(|at| if at & 0x80 != 0 { 0 } else { a[usize::from(at) % N] })
}

/// The `n`th two-bit field of a shuffle's immediate.
#[inline(always)]
fn field(imm: u8, n: usize) -> usize {
    usize::from(imm >> (2 * n) & 3)
}

/// Four doublewords of `b`.
#[inline]
pub(crate) fn pshufd(b: [u8; 16], imm: u8) -> [u8; 16] {
    shufps(b, b, imm)
}

/// Two doublewords of `a`, then two of `b`.
#[inline]
pub(crate) fn shufps(a: [u8; 16], b: [u8; 16], imm: u8) -> [u8; 16] {
    let mut result = [0; 16];
    for n in 0..4 {
        let from = if n < 2 { &a } else { &b };
        u32::get(from, field(imm, n)).put(&mut result, n);
    }
    result
}

/// A quadword of `a`, then one of `b`.
#[inline]
pub(crate) fn shufpd(a: [u8; 16], b: [u8; 16], imm: u8) -> [u8; 16] {
    let mut result = [0; 16];
    u64::get(&a, usize::from(imm & 1)).put(&mut result, 0);
    u64::get(&b, usize::from(imm >> 1 & 1)).put(&mut result, 1);
    result
}

/// Four words of `b`.
#[inline]
pub(crate) fn pshufw(b: [u8; 8], imm: u8) -> [u8; 8] {
    let mut result = [0; 8];
    for n in 0..4 {
        u16::get(&b, field(imm, n)).put(&mut result, n);
    }
    result
}

/// [`pshufw`] of the low half.
#[inline]
pub(crate) fn pshuflw(b: [u8; 16], imm: u8) -> [u8; 16] {
    let mut result = b;
    for n in 0..4 {
        u16::get(&b, field(imm, n)).put(&mut result, n);
    }
    result
}

/// [`pshufw`] of the high half.
#[inline]
pub(crate) fn pshufhw(b: [u8; 16], imm: u8) -> [u8; 16] {
    let mut result = b;
    for n in 0..4 {
        u16::get(&b, 4 + field(imm, n)).put(&mut result, 4 + n);
    }
    result
}

/// `N` bytes of `b` then `a`, then zeros.
#[inline]
pub(crate) fn palignr<const N: usize>(a: [u8; N], b: [u8; N], imm: u8) -> [u8; N] {
    core::array::from_fn(|n| {
        let at = n + usize::from(imm);
        b.get(at).or_else(|| a.get(at - N)).copied().unwrap_or(0)
    })
}

/// Elements of `b` where the immediate has a one.
#[inline]
pub(crate) fn blend<T: Lane>(a: [u8; 16], b: [u8; 16], imm: u8) -> [u8; 16] {
    let mut result = a;
    for n in 0..16 / T::SIZE {
        if imm >> n & 1 != 0 {
            T::get(&b, n).put(&mut result, n);
        }
    }
    result
}

/// Elements of `b` where the mask's are negative.
#[inline]
pub(crate) fn blend_by_sign<T: Lane + Default + PartialOrd>(
    a: [u8; 16],
    b: [u8; 16],
    mask: [u8; 16],
) -> [u8; 16] {
    let mut result = a;
    for n in 0..16 / T::SIZE {
        if T::get(&mask, n) < T::default() {
            T::get(&b, n).put(&mut result, n);
        }
    }
    result
}

/// The low elements, wider.
#[inline]
pub(crate) fn extend<S: Lane, D: Lane + From<S>>(b: [u8; 16]) -> [u8; 16] {
    let mut result = [0; 16];
    for n in 0..16 / D::SIZE {
        D::from(S::get(&b, n)).put(&mut result, n);
    }
    result
}
