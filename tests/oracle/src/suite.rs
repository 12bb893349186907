//! Runs the cases of many forms on both sides.

use crate::case::{Mode, Stop};
use crate::compare::{describe, difference};
use crate::emulated::Emulated;
use crate::generate::{Single, some_single};
use crate::host::Host;
use crate::maker::Maker;
use crate::random::Random;
use iced_x86::Code;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

/// What came of a form.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The form.
    pub code: Code,
    /// Cases that ran on both sides.
    pub cases: usize,
    /// Cases of them that ended without a fault.
    pub completed: usize,
    /// Cases about which the host has nothing to say.
    pub skipped: usize,
    /// Cases that differ.
    pub failed: usize,
    /// One of these.
    pub example: String,
}

/// Runs `cases` cases of each form, in both processors' worth of threads.
///
/// # Panics
/// When the host process cannot be started.
pub fn run(codes: &[Code], mode: Mode, cases: usize, seed: u64) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let mut host = Host::new();
                let mut here = Emulated::new();
                while let Some(&code) = codes.get(next.fetch_add(1, Relaxed)) {
                    let verdict = form(&mut host, &mut here, code, mode, cases, seed);
                    verdicts.lock().unwrap_or_else(|e| e.into_inner()).push(verdict);
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap_or_else(|e| e.into_inner());
    verdicts.sort_by_key(|v| v.code as usize);
    verdicts
}

/// The generator for a form: the same whatever else runs.
pub fn random_for(code: Code, mode: Mode, seed: u64) -> Random {
    Random::new(seed << 20 ^ (code as u64) << 1 ^ u64::from(mode == Mode::Long))
}

fn form(host: &mut Host, here: &mut Emulated, code: Code, mode: Mode, cases: usize, seed: u64) -> Verdict {
    let (maker, mut random) = (Maker::of_host(), random_for(code, mode, seed));
    let mut verdict = Verdict { code, cases: 0, completed: 0, skipped: 0, failed: 0, example: String::new() };
    while verdict.cases + verdict.skipped < cases {
        let wanted = (cases - verdict.cases - verdict.skipped).min(64);
        let singles: Vec<Single> = (0..wanted).map_while(|_| some_single(code, mode, &mut random)).collect();
        if singles.len() < wanted {
            verdict.example = "no case can be made".into();
            break;
        }
        let batch: Vec<_> = singles.iter().map(|s| s.case.clone()).collect();
        for (single, expected) in singles.iter().zip(host.run(&batch)) {
            match expected.stop {
                Stop::Endless | Stop::Lost => {
                    verdict.skipped += 1;
                    continue;
                }
                Stop::Trap { vector: 3, .. } => verdict.completed += 1,
                Stop::Trap { .. } => {}
            }
            verdict.cases += 1;
            let got = here.run(&single.case);
            if let Some(text) = difference(maker, single, &expected, &got) {
                verdict.failed += 1;
                if verdict.example.is_empty() {
                    verdict.example = format!("{text}{}", describe(&single.case));
                }
            }
        }
    }
    verdict
}
