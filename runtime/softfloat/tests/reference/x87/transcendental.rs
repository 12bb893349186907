//! The functions that are not rounded exactly: results within one unit in the last place of the host's, which
//! is what both promise of the true value (SDM vol. 1, 8.3.10); flags but PE, UE and OE, and C2, exactly.

use super::host::{self, Answer};
use super::values::{self, Random};
use super::{from_environment, report};
use forelift_softfloat::x87::{self, Env, F80, Trig};

const RANDOM_CASES: u64 = 2_000_000;

/// ST(0) and ST(1), and C2, after an instruction that took its operands off and pushed its results.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Outcome {
    st: [Option<F80>; 2],
    flags: u8,
    c2: bool,
}

struct Op {
    name: &'static str,
    host: fn(F80, F80, [u8; 16], u16) -> Answer,
    ours: fn(F80, F80, &mut Env) -> Outcome,
    operands: fn(&mut Random) -> (F80, F80),
    /// Whether the result of special operands is defined.
    defined: fn(F80) -> bool,
}

fn one(st: F80, result: Option<F80>, env: &Env) -> Outcome {
    Outcome { st: [Some(result.unwrap_or(st)), None], flags: env.raised(), c2: false }
}

fn trig(st: F80, result: Option<Trig<F80>>, env: &Env) -> Outcome {
    match result {
        Some(Trig::OutOfRange) => Outcome { c2: true, ..one(st, None, env) },
        Some(Trig::Value(value)) => one(st, Some(value), env),
        None => one(st, None, env),
    }
}

/// The second value was pushed.
fn pair(st: F80, result: Option<Trig<(F80, F80)>>, env: &Env) -> Outcome {
    match result {
        Some(Trig::OutOfRange) => Outcome { c2: true, ..one(st, None, env) },
        Some(Trig::Value((below, top))) => Outcome { st: [Some(top), Some(below)], ..one(st, None, env) },
        None => one(st, None, env),
    }
}

/// A number of the exponents from `-less` to `more`.
fn around_one(random: &mut Random, less: u64, more: u64) -> F80 {
    let field = 16383 - less as i64 + random.below(less + more + 1) as i64;
    values::of_field(random, field)
}

fn angle(random: &mut Random) -> (F80, F80) {
    let a = match random.below(4) {
        0 => values::operand(random),
        1 => around_one(random, 70, 3),
        _ => around_one(random, 4, 3),
    };
    (a, F80::default())
}

fn positive(x: F80) -> F80 {
    F80 { sign_exp: x.sign_exp & 0x7fff, ..x }
}

fn ops() -> Vec<Op> {
    vec![
        Op {
            name: "f2xm1",
            host: host::f2xm1,
            ours: |a, _, e| one(a, x87::exp2m1(a, e), e),
            operands: |random| (around_one(random, 70, 0), F80::default()),
            defined: |a| a.field() < 0x3fff || a.field() == 0x7fff && a.mantissa != 1 << 63,
        },
        Op {
            name: "fyl2x",
            host: host::fyl2x,
            ours: |a, b, e| one(b, x87::y_log2_x(a, b, e), e),
            operands: |random| {
                let a = match random.below(3) {
                    0 => values::operand(random),
                    1 => around_one(random, 1, 0),
                    _ => around_one(random, 10, 10),
                };
                (
                    positive(a),
                    if random.below(2) == 0 { values::operand(random) } else { around_one(random, 10, 10) },
                )
            },
            defined: |_| true,
        },
        Op {
            name: "fyl2xp1",
            host: host::fyl2xp1,
            ours: |a, b, e| one(b, x87::y_log2_x_plus_1(a, b, e), e),
            operands: |random| {
                let a = around_one(random, 70, 0);
                let a = F80 { sign_exp: a.sign_exp - 3, ..a };
                (a, if random.below(2) == 0 { values::operand(random) } else { around_one(random, 10, 10) })
            },
            defined: |a| a.field() < 0x3ffd || a.field() == 0x7fff && a.mantissa != 1 << 63,
        },
        Op {
            name: "fpatan",
            host: host::fpatan,
            ours: |a, b, e| one(b, x87::atan2(b, a, e), e),
            operands: |random| match random.below(3) {
                0 => (values::operand(random), values::operand(random)),
                1 => (around_one(random, 70, 70), around_one(random, 3, 3)),
                _ => (around_one(random, 3, 3), around_one(random, 3, 3)),
            },
            defined: |_| true,
        },
        Op {
            name: "fsin",
            host: host::fsin,
            ours: |a, _, e| trig(a, x87::sin(a, e), e),
            operands: angle,
            defined: |_| true,
        },
        Op {
            name: "fcos",
            host: host::fcos,
            ours: |a, _, e| trig(a, x87::cos(a, e), e),
            operands: angle,
            defined: |_| true,
        },
        Op {
            name: "fsincos",
            host: host::fsincos,
            ours: |a, _, e| pair(a, x87::sin_cos(a, e), e),
            operands: angle,
            defined: |_| true,
        },
        Op {
            name: "fptan",
            host: host::fptan,
            ours: |a, _, e| pair(a, x87::tan(a, e), e),
            operands: angle,
            defined: |_| true,
        },
    ]
}

/// Units in the last place between two numbers: the patterns, without the integer bit, count up.
fn distance(a: F80, b: F80) -> u128 {
    let key = |x: F80| {
        let magnitude = i128::from(x.field()) << 63 | i128::from(x.mantissa & !(1 << 63));
        if x.sign() { -magnitude } else { magnitude }
    };
    (key(a) - key(b)).unsigned_abs()
}

/// The greatest distance in units in the last place.
fn check(op: &Op, a: F80, b: F80, control: u16) -> Result<u128, String> {
    let host = (op.host)(a, b, [0; 16], control);
    let ours = (op.ours)(a, b, &mut Env::new(control));
    let theirs = Outcome {
        st: [0, 1].map(|i| ours.st[i].map(|_| host.st(i))),
        flags: host.flags(),
        c2: host.condition(2),
    };
    let far =
        [0, 1].into_iter().filter_map(|i| Some(distance(ours.st[i]?, theirs.st[i]?))).max().unwrap_or(0);
    if far <= 1 && (ours.flags ^ theirs.flags) & 7 == 0 && ours.c2 == theirs.c2 {
        return Ok(far);
    }
    Err(format!(
        "{} {a:x?} {b:x?} control {control:#x}: {far}\n  ours {ours:x?}\n  host {theirs:x?}",
        op.name
    ))
}

#[test]
fn special_values_agree_with_the_host() {
    let mut failures = Vec::new();
    let mut cases = 0;
    let values = values::specials();
    for op in ops() {
        for &a in values.iter().filter(|&&a| (op.defined)(a)) {
            let two = op.name.starts_with("fy") || op.name == "fpatan";
            for &b in if two { values.as_slice() } else { &values[..1] } {
                for rounding in 0..4 {
                    cases += 1;
                    failures.extend(check(&op, a, b, 0x33f | rounding << 10).err());
                }
            }
        }
    }
    println!("{cases} cases");
    report(&failures, cases);
}

#[test]
fn random_values_agree_with_the_host() {
    let mut random = Random(from_environment("FORELIFT_SEED", 0x5eed));
    let count = from_environment("FORELIFT_CASES", RANDOM_CASES);
    let ops = ops();
    let mut failures = Vec::new();
    let mut off = vec![0; ops.len()];
    for case in 0..count {
        let number = case as usize % ops.len();
        let op = &ops[number];
        let (a, b) = (op.operands)(&mut random);
        let control = 0x33f | (random.next() as u16 & 3) << 10;
        match check(op, a, b, control) {
            Ok(far) => off[number] += far,
            Err(failure) => failures.push(failure),
        }
    }
    for (op, off) in ops.iter().zip(off) {
        println!("{}: {off} off by one unit", op.name);
    }
    report(&failures, count);
}
