//! Every form of every instruction that the guest's processor has, on the interpreter and on the host's
//! processor.
//!
//! `FORELIFT_FORMS=PREFIX` runs only the forms whose iced-x86 names start with it, `FORELIFT_CASES=N` that
//! many cases of each, and `FORELIFT_SEED=N` other cases.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use forelift_oracle::case::Mode;
use forelift_oracle::forms::forms;
use forelift_oracle::suite::{Verdict, run};
use std::env;

/// Cases of each form.
const CASES: usize = 1000;

/// Forms that differ, by the beginning of their names, and why. One that does not differ any more is a
/// failure, too.
const NOT_YET: &[(&str, &str)] = &[];

/// Forms that a user program never gets through: system instructions, undefined ones, and loads of the stack
/// segment with any selector.
const ALWAYS_FAULTS: &[&str] = &[
    "Ins",
    "Outs",
    "In_",
    "Out_",
    "Hlt",
    "Cli",
    "Sti",
    "Lldt",
    "Ltr",
    "Lgdt",
    "Lidt",
    "Lmsw",
    "Invlpg",
    "Swapgs",
    "Clts",
    "Invd",
    "Wbinvd",
    "Ud2",
    "Mov_r32_cr",
    "Mov_r64_cr",
    "Mov_r32_dr",
    "Mov_r64_dr",
    "Mov_cr",
    "Mov_dr",
    "Wrmsr",
    "Rdmsr",
    "Lss",
    "Popw_SS",
    "Popd_SS",
];

fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

fn starts_with_any(name: &str, prefixes: impl IntoIterator<Item = &'static str>) -> bool {
    prefixes.into_iter().any(|prefix| name.starts_with(prefix))
}

fn judge(verdict: &Verdict, cases: usize) -> Option<String> {
    let name = format!("{:?}", verdict.code);
    let expected = starts_with_any(&name, NOT_YET.iter().map(|n| n.0));
    let Verdict { cases: ran, completed, skipped, failed, example, .. } = verdict;
    if *failed > 0 {
        return (!expected).then(|| format!("{name}: {failed} of {ran} cases differ\n{example}"));
    }
    if expected {
        return Some(format!("{name}: does not differ any more: take it out of NOT_YET"));
    }
    // An instruction that the test does not execute says nothing. Jumps to themselves are endless.
    if ran + skipped < cases || *skipped > cases / 50 + 1 {
        return Some(format!("{name}: only {ran} cases of {cases}, {skipped} skipped {example}"));
    }
    (*completed < cases / 20 && !starts_with_any(&name, ALWAYS_FAULTS.iter().copied()))
        .then(|| format!("{name}: only {completed} of {ran} cases ended without a fault"))
}

fn all(mode: Mode, minimum: usize) {
    let (cases, seed) = (number("FORELIFT_CASES", CASES), number("FORELIFT_SEED", 1) as u64);
    let prefix = env::var("FORELIFT_FORMS").unwrap_or_default();
    let codes: Vec<_> = forms(mode).into_iter().filter(|c| format!("{c:?}").starts_with(&prefix)).collect();
    let verdicts = run(&codes, mode, cases, seed);
    let problems: Vec<String> = verdicts.iter().filter_map(|v| judge(v, cases)).collect();
    let count = |f: fn(&Verdict) -> usize| verdicts.iter().map(f).sum::<usize>();
    println!(
        "{mode:?}: {} forms, {} cases compared, {} of them ended without a fault, seed {seed}",
        verdicts.len(),
        count(|v| v.cases),
        count(|v| v.completed)
    );
    for problem in problems.iter().take(20) {
        println!("{problem}");
    }
    assert!(problems.is_empty(), "{} forms of {}", problems.len(), verdicts.len());
    assert!(!prefix.is_empty() || verdicts.len() >= minimum, "only {} forms", verdicts.len());
}

#[test]
fn in_64_bit_mode() {
    all(Mode::Long, 1290);
}

#[test]
fn in_compatibility_mode() {
    all(Mode::Compat, 1140);
}
