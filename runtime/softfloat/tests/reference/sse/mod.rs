//! SSE's operations against the host CPU: results, flags and faults, in every rounding mode, with DAZ, FTZ,
//! flags set before and exceptions unmasked. `FORELIFT_SEED` gives another seed than the fixed one,
//! `FORELIFT_CASES` another number of random cases.

mod host;

use crate::values::{self, DOUBLE, Random, SINGLE, Shape};
use forelift_softfloat::Round;
use forelift_softfloat::x86::{self, Env, Predicate};
use host::Answer;

const RANDOM_CASES: u64 = 3_000_000;

/// Where the interesting operands of an operation are.
#[derive(Clone, Copy, PartialEq)]
enum Operands {
    Sum,
    Product,
    Quotient,
    Square,
    One,
    Narrowed,
    Bounds,
    Integer,
}

/// An instruction, and what stands for it.
struct Op {
    name: &'static str,
    operands: Operands,
    shape: Shape,
    host: fn(u64, u64, u32) -> Answer,
    ours: fn(u64, u64, &mut Env) -> u64,
}

/// The flags that LAHF leaves after a comparison.
fn lahf(order: Option<std::cmp::Ordering>) -> u64 {
    match order {
        None => 0x4500,
        Some(std::cmp::Ordering::Less) => 0x0100,
        Some(std::cmp::Ordering::Equal) => 0x4000,
        Some(std::cmp::Ordering::Greater) => 0,
    }
}

macro_rules! ops {
    ($($name:ident, $operands:ident, $shape:ident, |$a:ident, $b:ident, $env:ident| $ours:expr;)+) => {
        vec![$(Op {
            name: stringify!($name),
            operands: Operands::$operands,
            shape: $shape,
            host: host::$name,
            ours: |$a, $b, $env| $ours,
        }),+]
    };
}

#[allow(unused_variables, reason = "operations of one operand")]
fn ops() -> Vec<Op> {
    let mut ops = ops! {
        addss, Sum, SINGLE, |a, b, e| x86::f32_add(a as u32, b as u32, e).into();
        addsd, Sum, DOUBLE, |a, b, e| x86::f64_add(a, b, e);
        subss, Sum, SINGLE, |a, b, e| x86::f32_sub(a as u32, b as u32, e).into();
        subsd, Sum, DOUBLE, |a, b, e| x86::f64_sub(a, b, e);
        mulss, Product, SINGLE, |a, b, e| x86::f32_mul(a as u32, b as u32, e).into();
        mulsd, Product, DOUBLE, |a, b, e| x86::f64_mul(a, b, e);
        divss, Quotient, SINGLE, |a, b, e| x86::f32_div(a as u32, b as u32, e).into();
        divsd, Quotient, DOUBLE, |a, b, e| x86::f64_div(a, b, e);
        sqrtss, Square, SINGLE, |a, b, e| x86::f32_sqrt(a as u32, e).into();
        sqrtsd, Square, DOUBLE, |a, b, e| x86::f64_sqrt(a, e);
        minss, Sum, SINGLE, |a, b, e| x86::f32_min(a as u32, b as u32, e).into();
        minsd, Sum, DOUBLE, |a, b, e| x86::f64_min(a, b, e);
        maxss, Sum, SINGLE, |a, b, e| x86::f32_max(a as u32, b as u32, e).into();
        maxsd, Sum, DOUBLE, |a, b, e| x86::f64_max(a, b, e);
        cvtss2sd, One, SINGLE, |a, b, e| x86::f32_to_f64(a as u32, e);
        cvtsd2ss, Narrowed, DOUBLE, |a, b, e| x86::f64_to_f32(a, e).into();
        cvtss2si32, Bounds, SINGLE, |a, b, e| u64::from(x86::f32_to_i32(a as u32, e.rounding(), e) as u32);
        cvtss2si64, Bounds, SINGLE, |a, b, e| x86::f32_to_i64(a as u32, e.rounding(), e) as u64;
        cvtsd2si32, Bounds, DOUBLE, |a, b, e| u64::from(x86::f64_to_i32(a, e.rounding(), e) as u32);
        cvtsd2si64, Bounds, DOUBLE, |a, b, e| x86::f64_to_i64(a, e.rounding(), e) as u64;
        cvttss2si32, Bounds, SINGLE, |a, b, e| u64::from(x86::f32_to_i32(a as u32, Round::Rtz, e) as u32);
        cvttss2si64, Bounds, SINGLE, |a, b, e| x86::f32_to_i64(a as u32, Round::Rtz, e) as u64;
        cvttsd2si32, Bounds, DOUBLE, |a, b, e| u64::from(x86::f64_to_i32(a, Round::Rtz, e) as u32);
        cvttsd2si64, Bounds, DOUBLE, |a, b, e| x86::f64_to_i64(a, Round::Rtz, e) as u64;
        cvtsi2ss32, Integer, DOUBLE, |a, b, e| x86::f32_from_i32(a as i32, e).into();
        cvtsi2ss64, Integer, DOUBLE, |a, b, e| x86::f32_from_i64(a as i64, e).into();
        cvtsi2sd32, Integer, DOUBLE, |a, b, e| x86::f64_from_i32(a as i32);
        cvtsi2sd64, Integer, DOUBLE, |a, b, e| x86::f64_from_i64(a as i64, e);
        roundss_nearest, Bounds, SINGLE, |a, b, e| x86::f32_round(a as u32, Round::Rne, true, e).into();
        roundss_up_quiet, Bounds, SINGLE, |a, b, e| x86::f32_round(a as u32, Round::Rup, false, e).into();
        roundss_mxcsr, Bounds, SINGLE, |a, b, e| x86::f32_round(a as u32, e.rounding(), true, e).into();
        roundsd_down, Bounds, DOUBLE, |a, b, e| x86::f64_round(a, Round::Rdn, true, e);
        roundsd_zero_quiet, Bounds, DOUBLE, |a, b, e| x86::f64_round(a, Round::Rtz, false, e);
        roundsd_mxcsr, Bounds, DOUBLE, |a, b, e| x86::f64_round(a, e.rounding(), true, e);
        comiss, Sum, SINGLE, |a, b, e| lahf(x86::f32_compare(a as u32, b as u32, true, e));
        comisd, Sum, DOUBLE, |a, b, e| lahf(x86::f64_compare(a, b, true, e));
        ucomiss, Sum, SINGLE, |a, b, e| lahf(x86::f32_compare(a as u32, b as u32, false, e));
        ucomisd, Sum, DOUBLE, |a, b, e| lahf(x86::f64_compare(a, b, false, e));
    };
    macro_rules! predicates {
        ($($single:ident, $double:ident, $number:literal;)+) => {
            $(ops.extend(ops! {
                $single, Sum, SINGLE, |a, b, e| x86::f32_test(a as u32, b as u32, Predicate::new($number), e).into();
                $double, Sum, DOUBLE, |a, b, e| x86::f64_test(a, b, Predicate::new($number | 8), e).into();
            });)+
        };
    }
    predicates! {
        cmpss0, cmpsd0, 0; cmpss1, cmpsd1, 1; cmpss2, cmpsd2, 2; cmpss3, cmpsd3, 3;
        cmpss4, cmpsd4, 4; cmpss5, cmpsd5, 5; cmpss6, cmpsd6, 6; cmpss7, cmpsd7, 7;
    }
    ops
}

fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")),
        Err(_) => default,
    }
}

fn check(op: &Op, a: u64, b: u64, mxcsr: u32) -> Result<Answer, String> {
    let host = (op.host)(a, b, mxcsr);
    let mut env = Env::new(mxcsr);
    let result = (op.ours)(a, b, &mut env);
    let (after, faulted) = env.finish();
    let ours = Answer { result: if faulted { 0 } else { result }, mxcsr: after, faulted };
    if ours == host {
        return Ok(host);
    }
    Err(format!("{} {a:#x} {b:#x} MXCSR {mxcsr:#x}\n  ours {ours:x?}\n  host {host:x?}", op.name))
}

/// MXCSR with everything masked: rounding, DAZ, FTZ, PE set before.
fn masked(variant: u32) -> u32 {
    host::MASKS
        | (variant & 3) << 13
        | (variant >> 2 & 1) << 6
        | (variant >> 3 & 1) << 15
        | (variant >> 4 & 1) << 5
}

/// MXCSR with the exception of this number unmasked.
fn unmasking(variant: u32, exception: u32) -> u32 {
    masked(variant) & !(0x80 << exception)
}

fn operands(random: &mut Random, op: &Op) -> (u64, u64) {
    let a = values::operand(random, op.shape);
    if op.operands != Operands::Integer && random.below(3) == 0 {
        return (a, values::operand(random, op.shape));
    }
    match op.operands {
        Operands::Sum => (a, values::partner_in_sum(random, op.shape, a)),
        Operands::Product => (a, values::partner_in_product(random, op.shape, a)),
        Operands::Quotient => {
            let [a, b, _] = values::dividend_and_divisor(random, op.shape);
            (a, b)
        }
        Operands::Square => (values::square(random, op.shape), 0),
        Operands::One => (a, 0),
        Operands::Narrowed => (values::near_single(random), 0),
        Operands::Bounds => {
            (values::near_integer_bound(random, op.shape) ^ random.next() & op.shape.sign(), 0)
        }
        Operands::Integer => (values::integer(random), 0),
    }
}

fn report(failures: &[String], cases: u64) {
    let shown = failures.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {cases} disagree:\n{shown}", failures.len());
}

#[test]
fn special_values_agree_with_the_host() {
    let mut cases = 0;
    let mut failures = Vec::new();
    for op in ops() {
        let values = op.shape.specials();
        let two = matches!(op.operands, Operands::Sum | Operands::Product | Operands::Quotient);
        let second = if two { values.as_slice() } else { &[0] };
        for &a in &values {
            for &b in second {
                for variant in 0..32 {
                    cases += 1;
                    failures.extend(check(&op, a, b, masked(variant)).err());
                }
            }
        }
    }
    println!("{cases} cases");
    report(&failures, cases);
}

#[test]
fn random_values_agree_with_the_host() {
    let seed = from_environment("FORELIFT_SEED", 0x5eed);
    let count = from_environment("FORELIFT_CASES", RANDOM_CASES);
    let mut random = Random(seed);
    let ops = ops();
    let mut failures = Vec::new();
    let mut seen = [0; 6];
    for case in 0..count {
        let op = &ops[case as usize % ops.len()];
        let (a, b) = operands(&mut random, op);
        let before = (random.next() & random.next()) as u32 & 0x3f;
        match check(op, a, b, masked(random.next() as u32) | before) {
            Ok(answer) => {
                for (bit, count) in seen.iter_mut().enumerate() {
                    *count += u64::from((answer.mxcsr & !before) >> bit & 1);
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    println!("seed {seed:#x}: {count} cases; IE, DE, ZE, OE, UE, PE: {seen:?}");
    report(&failures, count);
    assert!(seen.iter().all(|&n| n > count / 2000), "the operands miss something: {seen:?}");
}

#[test]
fn unmasked_exceptions_agree_with_the_host() {
    host::catch_faults();
    let mut random = Random(from_environment("FORELIFT_SEED", 0x5eed));
    let ops = ops();
    let mut failures = Vec::new();
    let mut faults = [0; 6];
    // A fault costs a signal.
    let count = from_environment("FORELIFT_CASES", RANDOM_CASES) / 10;
    for case in 0..count {
        let op = &ops[case as usize % ops.len()];
        let (a, b) = operands(&mut random, op);
        let exception = random.below(6) as u32;
        let mut mxcsr = unmasking(random.next() as u32, exception);
        if random.below(4) == 0 {
            mxcsr &= !(0x80 << random.below(6));
        }
        match check(op, a, b, mxcsr) {
            Ok(answer) => faults[exception as usize] += u64::from(answer.faulted),
            Err(failure) => failures.push(failure),
        }
    }
    println!("{count} cases; faults with IE, DE, ZE, OE, UE, PE unmasked: {faults:?}");
    report(&failures, count);
    assert!(faults.iter().all(|&n| n > count / 2000), "the operands miss something: {faults:?}");
}
