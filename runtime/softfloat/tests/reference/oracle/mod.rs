//! Every operation, rounding mode and format against the real instruction, executed by QEMU's user mode.
//!
//! Compared are all bits of the result and all flags, of the integer arithmetic (`soft`) and of the exported
//! functions with no flag set before, with NX set (the fast paths differ) and with other flags set.
//! `FORELIFT_SEED` gives another seed than the fixed one, `FORELIFT_CASES` another number of random cases.

mod apply;
mod generate;
mod guest;

use crate::values::{Random, Shape};
use forelift_softfloat::{NX, Round};
use guest::{Answer, Op, Oracle, Record};

const RANDOM_CASES: usize = 3_000_000;
const LEAST_CASES: usize = 2_000_000;

fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")),
        Err(_) => default,
    }
}

/// All combinations of special values, in every mode.
fn special_records() -> Vec<Record> {
    let mut records = Vec::new();
    for op in Op::ALL.into_iter().filter(|op| !op.takes_integer()) {
        for double in [false, true] {
            let shape = Shape::of(double);
            let values = if op.operands() == 3 { shape.few_specials() } else { shape.specials() };
            let used = |place: usize| if place < op.operands() { values.as_slice() } else { &[0] };
            for &a in used(0) {
                for &b in used(1) {
                    for &c in used(2) {
                        let operands = [a, b, c];
                        records.extend((0..5).map(|rm| Record { op, double, rm, operands }));
                    }
                }
            }
        }
    }
    records
}

fn random_records(random: &mut Random, count: usize) -> Vec<Record> {
    let mut records = Vec::with_capacity(count + 5);
    while records.len() < count {
        // The arithmetic more often than the rest.
        let among = if random.below(3) == 0 { Op::ALL.len() } else { 6 };
        let op = Op::ALL[random.below(among as u64) as usize];
        let double = random.below(2) == 0;
        let operands = generate::operands(random, op, Shape::of(double));
        records.extend((0..5).map(|rm| Record { op, double, rm, operands }));
    }
    records
}

/// Compares one answer with all ways of computing it; `before` is one more state of the flags to begin with.
fn check(record: &Record, answer: Answer, before: u8) -> Result<(), String> {
    let rm = Round::from_rm(record.rm).expect("one of five");
    let mut results = vec![];
    for before in [0, NX, before] {
        let mut flags = before;
        let result = apply::exported(record, rm, &mut flags);
        results.push((format!("exported, flags {before:#x} before"), result, flags, answer.flags | before));
    }
    let mut flags = 0;
    if let Some(result) = apply::soft(record, rm, &mut flags) {
        results.push(("soft".to_owned(), result, flags, answer.flags));
    }
    for (way, result, flags, expected_flags) in results {
        if result != answer.result || flags != expected_flags {
            return Err(format!(
                "{:?} {} {rm:?} {:#x?}\n  {way}: {result:#x} flags {flags:#x}\n  oracle: {:#x} flags {expected_flags:#x}",
                record.op,
                if record.double { "double" } else { "single" },
                &record.operands[..record.op.operands()],
                answer.result,
            ));
        }
    }
    Ok(())
}

#[test]
fn agrees_with_the_oracle() {
    let seed = from_environment("FORELIFT_SEED", 0x5eed);
    let count = from_environment("FORELIFT_CASES", RANDOM_CASES as u64) as usize;
    let oracle = Oracle::build();
    let mut random = Random(seed);
    let (mut cases, mut inexact, mut underflows, mut overflows) = (0, 0, 0, 0);
    let mut failures = Vec::new();
    let mut batches = vec![special_records()];
    let specials = batches[0].len();
    while cases < specials + count {
        let records = batches.pop().unwrap_or_else(|| random_records(&mut random, 500_000));
        let answers = oracle.execute(&records);
        for (record, answer) in records.iter().zip(answers) {
            let before = random.below(32) as u8;
            if let Err(failure) = check(record, answer, before) {
                failures.push(failure);
            }
            inexact += usize::from(answer.flags & 1 != 0);
            underflows += usize::from(answer.flags & 2 != 0);
            overflows += usize::from(answer.flags & 4 != 0);
        }
        cases += records.len();
    }
    println!("seed {seed:#x}: {cases} cases, {specials} of them combinations of special values;");
    println!("{inexact} inexact, {underflows} underflows, {overflows} overflows");
    let shown = failures.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} of {cases} disagree (seed {seed:#x}):\n{shown}", failures.len());
    assert!(count < RANDOM_CASES || cases >= LEAST_CASES, "only {cases} cases");
    // A generator that misses the edges would make the agreement worth little.
    assert!(inexact > cases / 10 && underflows > cases / 100 && overflows > cases / 100);
}
