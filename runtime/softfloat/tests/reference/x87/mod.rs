//! x87's arithmetic against the host CPU: results, flags, C1 and conditions, in every rounding mode and
//! precision, with exceptions unmasked. `FORELIFT_SEED` gives another seed than the fixed one,
//! `FORELIFT_CASES` another number of random cases.

mod host;
mod transcendental;
mod values;

use forelift_softfloat::Round;
use forelift_softfloat::x87::{self, Class, Env, F80, Operand};
use host::Answer;
use std::cmp::Ordering;
use values::Random;

const RANDOM_CASES: u64 = 4_000_000;

/// What the operands in memory hold before.
const UNTOUCHED: [u8; 16] = [0xa5; 16];

/// Where the interesting operands of an operation are.
#[derive(Clone, Copy, PartialEq)]
enum Operands {
    Sum,
    Product,
    Quotient,
    Square,
    One,
    Integer,
    Scale,
    /// ST(0) and a binary32, binary64 or integer in memory.
    Single,
    Double,
    Int,
    Bcd,
}

/// What an instruction leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Outcome {
    st: [Option<F80>; 2],
    memory: Option<[u8; 16]>,
    flags: u8,
    /// C0-C3, those that are defined.
    conditions: [Option<bool>; 4],
}

/// An instruction, and what stands for it.
struct Op {
    name: &'static str,
    operands: Operands,
    host: fn(F80, F80, [u8; 16], u16) -> Answer,
    ours: fn(F80, F80, [u8; 16], &mut Env) -> Outcome,
}

/// ST(0), replaced if there is a result.
fn unary(st: F80, result: Option<F80>, env: &Env) -> Outcome {
    Outcome {
        st: [Some(result.unwrap_or(st)), None],
        flags: env.raised(),
        conditions: [None, Some(env.rounded_up()), None, None],
        ..Outcome::default()
    }
}

/// A load, which pushes its result.
fn pushed(st: F80, result: Option<F80>, env: &Env) -> Outcome {
    let mut outcome = unary(st, result, env);
    outcome.st[1] = result.map(|_| st);
    outcome
}

fn stored<const N: usize>(result: Option<[u8; N]>, env: &Env) -> Outcome {
    let mut memory = UNTOUCHED;
    if let Some(bytes) = result {
        memory[..N].copy_from_slice(&bytes);
    }
    Outcome {
        memory: Some(memory),
        flags: env.raised(),
        conditions: [None, Some(env.rounded_up()), None, None],
        ..Outcome::default()
    }
}

fn compared(order: Option<Ordering>, env: &Env) -> Outcome {
    let unordered = order.is_none();
    let c0 = unordered || order == Some(Ordering::Less);
    let c3 = unordered || order == Some(Ordering::Equal);
    let conditions = [c0, false, unordered, c3].map(Some);
    Outcome { flags: env.raised(), conditions, ..Outcome::default() }
}

fn reduced(st: F80, result: Option<x87::Remainder>, env: &Env) -> Outcome {
    let mut outcome = unary(st, result.map(|r| r.value), env);
    outcome.conditions = [None; 4];
    if let Some(result) = result
        && env.raised() & 1 == 0
    {
        outcome.conditions[2] = Some(result.quotient.is_none());
        if let Some(quotient) = result.quotient {
            outcome.conditions =
                [Some(quotient & 4 != 0), Some(quotient & 1 != 0), Some(false), Some(quotient & 2 != 0)];
        }
    }
    outcome
}

fn classified(st: F80) -> Outcome {
    let [c3, c2, c0] = match Class::of(st) {
        Class::Unsupported => [false, false, false],
        Class::Nan => [false, false, true],
        Class::Normal => [false, true, false],
        Class::Infinity => [false, true, true],
        Class::Zero => [true, false, false],
        Class::Denormal => [true, true, false],
    };
    Outcome { conditions: [c0, st.sign(), c2, c3].map(Some), ..Outcome::default() }
}

fn m32(m: [u8; 16]) -> Operand {
    Operand::from_f32(u32::from_le_bytes(m[..4].try_into().unwrap()))
}

fn m64(m: [u8; 16]) -> Operand {
    Operand::from_f64(u64::from_le_bytes(m[..8].try_into().unwrap()))
}

fn i16_of(m: [u8; 16]) -> i64 {
    i16::from_le_bytes(m[..2].try_into().unwrap()).into()
}

fn i32_of(m: [u8; 16]) -> i64 {
    i32::from_le_bytes(m[..4].try_into().unwrap()).into()
}

fn i64_of(m: [u8; 16]) -> i64 {
    i64::from_le_bytes(m[..8].try_into().unwrap())
}

macro_rules! ops {
    ($($name:ident, $operands:ident, |$a:ident, $b:ident, $m:ident, $env:ident| $ours:expr;)+) => {
        vec![$(Op {
            name: stringify!($name),
            operands: Operands::$operands,
            host: host::$name,
            ours: |$a, $b, $m, $env| $ours,
        }),+]
    };
}

#[allow(unused_variables, reason = "operations have different operands")]
fn ops() -> Vec<Op> {
    ops! {
        fadd, Sum, |a, b, m, e| unary(a, x87::add(a.into(), b.into(), e), e);
        fsub, Sum, |a, b, m, e| unary(a, x87::sub(a.into(), b.into(), e), e);
        fmul, Product, |a, b, m, e| unary(a, x87::mul(a.into(), b.into(), e), e);
        fdiv, Quotient, |a, b, m, e| unary(a, x87::div(a.into(), b.into(), e), e);
        fsqrt, Square, |a, b, m, e| unary(a, x87::sqrt(a, e), e);
        frndint, Integer, |a, b, m, e| unary(a, x87::round_to_integral(a, e), e);
        fscale, Scale, |a, b, m, e| unary(a, x87::scale(a, b, e), e);
        fxtract, One, |a, b, m, e| {
            let result = x87::extract(a, e);
            let mut outcome = unary(a, result.map(|r| r.1), e);
            outcome.st[1] = result.map(|r| r.0);
            outcome
        };
        fprem, Quotient, |a, b, m, e| reduced(a, x87::remainder(a, b, false, e), e);
        fprem1, Quotient, |a, b, m, e| reduced(a, x87::remainder(a, b, true, e), e);
        fcom, Sum, |a, b, m, e| compared(x87::compare(a.into(), b.into(), false, e), e);
        fucom, Sum, |a, b, m, e| compared(x87::compare(a.into(), b.into(), true, e), e);
        fxam, One, |a, b, m, e| classified(a);
        fadd_m32, Single, |a, b, m, e| unary(a, x87::add(a.into(), m32(m), e), e);
        fmul_m64, Double, |a, b, m, e| unary(a, x87::mul(a.into(), m64(m), e), e);
        fcom_m64, Double, |a, b, m, e| compared(x87::compare(a.into(), m64(m), false, e), e);
        fdivr_m32, Single, |a, b, m, e| unary(a, x87::div(m32(m), a.into(), e), e);
        fiadd_m16, Int, |a, b, m, e| unary(a, x87::add(a.into(), Operand::from_int(i16_of(m)), e), e);
        fidiv_m32, Int, |a, b, m, e| unary(a, x87::div(a.into(), Operand::from_int(i32_of(m)), e), e);
        fld_m32, Single, |a, b, m, e| pushed(a, x87::load(m32(m), e), e);
        fld_m64, Double, |a, b, m, e| pushed(a, x87::load(m64(m), e), e);
        fild_m16, Int, |a, b, m, e| pushed(a, Some(F80::from_int(i16_of(m))), e);
        fild_m32, Int, |a, b, m, e| pushed(a, Some(F80::from_int(i32_of(m))), e);
        fild_m64, Int, |a, b, m, e| pushed(a, Some(F80::from_int(i64_of(m))), e);
        fbld, Bcd, |a, b, m, e| pushed(a, Some(x87::from_bcd(m[..10].try_into().unwrap())), e);
        fst_m32, One, |a, b, m, e| stored(x87::to_f32(a, e).map(u32::to_le_bytes), e);
        fst_m64, One, |a, b, m, e| stored(x87::to_f64(a, e).map(u64::to_le_bytes), e);
        fist_m16, Integer, |a, b, m, e| stored(x87::to_i16(a, e.rounding(), e).map(i16::to_le_bytes), e);
        fist_m32, Integer, |a, b, m, e| stored(x87::to_i32(a, e.rounding(), e).map(i32::to_le_bytes), e);
        fistp_m64, Integer, |a, b, m, e| stored(x87::to_i64(a, e.rounding(), e).map(i64::to_le_bytes), e);
        fisttp_m16, Integer, |a, b, m, e| stored(x87::to_i16(a, Round::Rtz, e).map(i16::to_le_bytes), e);
        fisttp_m32, Integer, |a, b, m, e| stored(x87::to_i32(a, Round::Rtz, e).map(i32::to_le_bytes), e);
        fisttp_m64, Integer, |a, b, m, e| stored(x87::to_i64(a, Round::Rtz, e).map(i64::to_le_bytes), e);
        fbstp, Integer, |a, b, m, e| stored(x87::to_bcd(a, e), e);
    }
}

pub(crate) fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")),
        Err(_) => default,
    }
}

fn check(op: &Op, a: F80, b: F80, memory: [u8; 16], control: u16) -> Result<Answer, String> {
    let host = (op.host)(a, b, memory, control);
    let ours = (op.ours)(a, b, memory, &mut Env::new(control));
    // Only what is defined counts.
    let theirs = Outcome {
        st: [0, 1].map(|i| ours.st[i].map(|_| host.st(i))),
        memory: ours.memory.map(|_| host.memory),
        flags: host.flags(),
        conditions: [0, 1, 2, 3].map(|i| ours.conditions[i].map(|_| host.condition(i))),
    };
    if ours == theirs || op.name == "fscale" && underflow_is_not_raised(a, b, control) {
        return Ok(host);
    }
    Err(format!(
        "{} {a:x?} {b:x?} {memory:x?} control {control:#x}\n  ours {ours:x?}\n  host {theirs:x?}",
        op.name
    ))
}

/// Whether this is a denormal that `fscale` scales by nothing, with underflows unmasked: AMD's processors
/// raise one, Intel's do not.
fn underflow_is_not_raised(a: F80, b: F80, control: u16) -> bool {
    const UM: u16 = 1 << 4;
    let exponent = |x: F80| u16::from_le_bytes(x.to_bytes()[8..].try_into().unwrap()) & 0x7fff;
    let of_intel = std::arch::x86_64::__cpuid(0).ebx.to_le_bytes() == *b"Genu";
    of_intel && control & UM == 0 && exponent(a) == 0 && exponent(b) < 0x3fff
}

/// A control word with everything masked: rounding, precision.
fn masked(variant: u32) -> u16 {
    0x3f | (variant as u16 & 3) << 10 | [0, 2, 3, 3][variant as usize >> 2 & 3] << 8
}

fn operands(random: &mut Random, op: &Op) -> (F80, F80, [u8; 16]) {
    let a = values::operand(random);
    let mut memory = UNTOUCHED;
    let mut put = |bytes: &[u8]| memory[..bytes.len()].copy_from_slice(bytes);
    let partner = random.below(3) != 0;
    let (a, b) = match op.operands {
        Operands::Single => {
            put(&(values::other_operand(random, values::SINGLE) as u32).to_le_bytes());
            (a, F80::default())
        }
        Operands::Double => {
            put(&values::other_operand(random, values::DOUBLE).to_le_bytes());
            (a, F80::default())
        }
        Operands::Int => {
            put(&values::integer(random).to_le_bytes());
            (a, F80::default())
        }
        Operands::Bcd => {
            let mut digits = [0; 10];
            for byte in &mut digits[..9] {
                *byte = (random.below(10) << 4 | random.below(10)) as u8;
            }
            digits[9] = (random.next() & 0x80) as u8;
            let zeros = random.below(10) as usize;
            digits[9 - zeros..9].fill(0);
            put(&digits);
            (a, F80::default())
        }
        Operands::Square if partner => (values::square(random), F80::default()),
        Operands::Integer if partner => (values::near_integer(random), F80::default()),
        Operands::One | Operands::Square | Operands::Integer => (a, F80::default()),
        _ if !partner => (a, values::operand(random)),
        Operands::Sum => (a, values::partner_in_sum(random, a)),
        Operands::Product => (a, values::partner_in_product(random, a, false)),
        Operands::Quotient => (a, values::partner_in_product(random, a, true)),
        Operands::Scale => (a, {
            let field = 16383 + random.below(17) as i64 - 1;
            values::of_field(random, field)
        }),
    };
    (a, b, memory)
}

pub(crate) fn report(failures: &[String], cases: u64) {
    let shown = failures.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {cases} disagree:\n{shown}", failures.len());
}

#[test]
fn special_values_agree_with_the_host() {
    let mut cases = 0;
    let mut failures = Vec::new();
    let values = values::specials();
    for op in ops() {
        let two =
            matches!(op.operands, Operands::Sum | Operands::Product | Operands::Quotient | Operands::Scale);
        let second = if two { values.as_slice() } else { &[F80::default()] };
        for &a in &values {
            for &b in second {
                for variant in 0..16 {
                    cases += 1;
                    failures.extend(check(&op, a, b, UNTOUCHED, masked(variant)).err());
                }
            }
        }
    }
    println!("{cases} cases");
    report(&failures, cases);
}

/// `control` makes the control word of a case.
fn random_cases(count: u64, control: impl Fn(&mut Random) -> u16) -> [u64; 6] {
    let seed = from_environment("FORELIFT_SEED", 0x5eed);
    let mut random = Random(seed);
    let ops = ops();
    let mut failures = Vec::new();
    let mut seen = [0; 6];
    for case in 0..count {
        let op = &ops[case as usize % ops.len()];
        let (a, b, memory) = operands(&mut random, op);
        match check(op, a, b, memory, control(&mut random)) {
            Ok(answer) => {
                for (bit, count) in seen.iter_mut().enumerate() {
                    *count += u64::from(answer.flags() >> bit & 1);
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    println!("seed {seed:#x}: {count} cases; IE, DE, ZE, OE, UE, PE: {seen:?}");
    report(&failures, count);
    seen
}

#[test]
fn random_values_agree_with_the_host() {
    let count = from_environment("FORELIFT_CASES", RANDOM_CASES);
    let seen = random_cases(count, |random| masked(random.next() as u32));
    assert!(seen.iter().all(|&n| n > count / 2000), "the operands miss something: {seen:?}");
}

#[test]
fn unmasked_exceptions_agree_with_the_host() {
    let count = from_environment("FORELIFT_CASES", RANDOM_CASES);
    let seen = random_cases(count, |random| {
        let unmasked =
            1 << random.below(6) | if random.below(4) == 0 { random.next() as u16 & 0x3f } else { 0 };
        masked(random.next() as u32) & !unmasked
    });
    assert!(seen.iter().all(|&n| n > count / 4000), "the operands miss something: {seen:?}");
}
