//! Random programs in lockstep with `qemu-riscv64-static`, and with themselves under address translation,
//! interruption and migration.
//!
//! `FORELIFT_SEEDS=FROM..TO` (or one seed) runs others than the fixed ones, for as long as they take.

use forelift_isa::rv64::random::{Options, Program};
use forelift_runtime::cpu::rv64::state::Privilege::{Supervisor, User};
use forelift_tests::hart::pages::Mode::{Sv39, Sv48};
use forelift_tests::hart::programs::{Outcome, PLAIN, QEMU, Stops, Variant, run, run_on_qemu};
use forelift_tests::random::seeds;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, ops::Range, thread};

/// Seeds of an ordinary run.
const SEEDS: Range<u64> = 0..200;
/// Instructions that an ordinary run compares with QEMU at least.
const MINIMUM: u64 = 10_000_000;

/// Runs that must give what the plain one gives.
const VARIANTS: &[Variant] = &[
    Variant { paging: Some(Sv39), privilege: User, stops: Stops::Never, lifted: false },
    Variant { paging: Some(Sv48), privilege: Supervisor, stops: Stops::Never, lifted: false },
    Variant { paging: None, privilege: User, stops: Stops::Often, lifted: false },
    Variant { paging: Some(Sv48), privilege: User, stops: Stops::Often, lifted: false },
    Variant { paging: Some(Sv39), privilege: Supervisor, stops: Stops::Migrate, lifted: false },
    Variant { paging: None, privilege: User, stops: Stops::Never, lifted: true },
    Variant { paging: Some(Sv39), privilege: Supervisor, stops: Stops::Often, lifted: true },
    Variant { paging: Some(Sv48), privilege: User, stops: Stops::Never, lifted: true },
];

/// Compiling everything that a program executes takes a second; one in so many is run lifted, too.
const LIFTED_SEEDS: u64 = 10;

fn options(seed: u64) -> Options {
    Options {
        seed,
        chunks: 128 + (seed % 5) as usize * 64,
        items: 20 + (seed % 7) as usize * 10,
        cross_pages: !seed.is_multiple_of(3),
        self_modifying: !seed.is_multiple_of(4),
        ..Options::default()
    }
}

/// Runs one program in all ways; gives the instructions of the plain run and of the others.
fn compare(seed: u64, dir: &std::path::Path) -> Result<(u64, u64), String> {
    let program = Program::random(&options(seed));
    let file = dir.join(format!("seed{seed}"));
    let reference = run_on_qemu(&program, &file);
    let plain = run(&program, &PLAIN, seed)?;
    if let Some(difference) = program.difference(&plain.output, &reference) {
        // The file stays for debugging.
        let kept = env::temp_dir().join(format!("forelift-lockstep-seed{seed}"));
        let _ = std::fs::copy(&file, &kept);
        return Err(format!("against {QEMU} ({}): {difference}", kept.display()));
    }
    let _ = std::fs::remove_file(&file);
    let mut others = 0;
    for variant in VARIANTS.iter().filter(|variant| !variant.lifted || seed.is_multiple_of(LIFTED_SEEDS)) {
        let Outcome { output, instret } =
            run(&program, variant, seed).map_err(|e| format!("{variant:?}: {e}"))?;
        if let Some(difference) = program.difference(&output, &plain.output) {
            return Err(format!("{variant:?} against the plain run: {difference}"));
        }
        if instret != plain.instret {
            return Err(format!(
                "{variant:?} retired {instret} instructions, the plain run {}",
                plain.instret
            ));
        }
        others += instret;
    }
    Ok((plain.instret, others))
}

#[test]
fn random_programs_agree_with_qemu() {
    let (seeds, ordinary) = seeds(SEEDS);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let next = AtomicU64::new(seeds.start);
    let (plain, others) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    match compare(seed, dir.path()) {
                        Ok((a, b)) => {
                            plain.fetch_add(a, Ordering::Relaxed);
                            others.fetch_add(b, Ordering::Relaxed);
                        }
                        Err(text) => failures.lock().expect("no thread panics").push((seed, text)),
                    }
                }
            });
        }
    });
    let (plain, others) = (plain.into_inner(), others.into_inner());
    let failures = failures.into_inner().expect("no thread panics");
    for (seed, text) in failures.iter().take(3) {
        eprintln!("FORELIFT_SEEDS={seed} repeats this. Seed {seed}, {:?}:\n{text}", options(*seed));
    }
    println!(
        "{} programs: {plain} instructions compared with {QEMU}, {others} more under {} variants",
        seeds.end - seeds.start,
        VARIANTS.len()
    );
    let failed: Vec<_> = failures.iter().map(|f| f.0).collect();
    assert!(failed.is_empty(), "{} programs differ: seeds {failed:?}", failed.len());
    assert!(!ordinary || plain >= MINIMUM, "only {plain} instructions ran");
}
