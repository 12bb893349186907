//! The public riscv-tests for user mode (rv64ui, um, ua, uf, ud, uc) and for S mode (rv64si), built by
//! `scripts/riscv-tests`.
//!
//! Each runs as it is, from S mode with translation off; the user tests then run twice more under translation
//! to shuffled physical pages. `FORELIFT_RISCV_TESTS` names another directory of tests built with the same
//! header.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::random::Rng;
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};
use forelift_tests::hart::Machine;
use forelift_tests::hart::elf::Executable;
use forelift_tests::hart::pages::{Mode, PageTables, R, U, V, W, X};
use forelift_tests::workspace::{last_line, script};
use std::{collections::BTreeMap, env, fs, path::PathBuf};

const PAGE: u64 = 4096;
const RAM: usize = 4 << 20;
const LIMIT: u64 = 1_000_000;
const RESET_CALL: u64 = 0x5352_5354;

/// How many tests of each set there are at least.
const MINIMUM: &[(&str, usize)] = &[
    ("rv64ui", 52),
    ("rv64um", 13),
    ("rv64ua", 19),
    ("rv64uf", 11),
    ("rv64ud", 12),
    ("rv64uc", 1),
    ("rv64si", 5),
];

/// The verdict of a test that ended with the SBI's reset call.
fn verdict(number: u64, failed: bool) -> Result<(), String> {
    match (number, failed) {
        (1, false) => Ok(()),
        (1337, true) => Err("an unexpected trap".into()),
        (n, _) => Err(format!("test {n} failed")),
    }
}

fn describe(m: &Machine, what: &str) -> String {
    let h = &m.cpu.hart;
    format!(
        "{what}, test {}, pc {:#x}, scause {}, stval {:#x}, sepc {:#x}",
        h.x[3], h.pc, h.scause, h.stval, h.sepc
    )
}

/// As built: S mode first, translation off.
fn run_bare(test: &Executable) -> Result<(), String> {
    let mut m = Machine::new(RAM);
    for (address, bytes) in &test.segments {
        m.put(*address, bytes);
    }
    m.cpu.hart.pc = test.entry;
    match m.run(LIMIT) {
        Exit::Shutdown { reset: false, failed } => {
            verdict(m.cpu.hart.x[3], failed).map_err(|e| describe(&m, &e))
        }
        other => Err(describe(&m, &format!("{other:x?}"))),
    }
}

/// The user part alone, each page somewhere else; now and then interrupted.
fn run_paged(test: &Executable, start: u64, mode: Mode, seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let mut m = Machine::new(RAM);
    let extent = test.extent();
    let mut frames: Vec<u64> = (RAM_BASE + (1 << 20)..RAM_BASE + RAM as u64).step_by(PAGE as usize).collect();
    let mut tables = PageTables::new(mode, RAM_BASE);
    let mut page_of = BTreeMap::new();
    for va in (extent.start..extent.end).step_by(PAGE as usize) {
        let pa = frames.swap_remove(rng.below(frames.len()));
        tables.map(&mut m.mem, va, pa, V | R | W | X | U, 0);
        page_of.insert(va, pa);
    }
    for (address, bytes) in &test.segments {
        for (n, byte) in bytes.iter().enumerate() {
            let va = address + n as u64;
            m.put(page_of[&(va & !(PAGE - 1))] + va % PAGE, &[*byte]);
        }
    }
    m.catch_exceptions(Privilege::User);
    m.cpu.hart.satp = tables.satp(1);
    m.cpu.hart.fs = 1;
    m.cpu.hart.pc = start;
    while m.cpu.hart.instret < LIMIT {
        match m.run(1 + rng.below(50) as u64) {
            Exit::Budget => {}
            Exit::Trap { cause: 8, .. } if m.cpu.hart.x[17] == RESET_CALL => {
                return verdict(m.cpu.hart.x[3], m.cpu.hart.x[11] != 0).map_err(|e| describe(&m, &e));
            }
            other => return Err(describe(&m, &format!("{other:x?}"))),
        }
    }
    Err(describe(&m, "no end"))
}

#[test]
fn riscv_tests_pass() {
    let dir = match env::var_os("FORELIFT_RISCV_TESTS") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(last_line(script("riscv-tests"), &[])),
    };
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut names: Vec<String> =
        entries.map(|e| e.expect("a directory entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let (mut sets, mut runs, mut failures) = (BTreeMap::new(), 0, Vec::new());
    for (seed, name) in names.iter().enumerate() {
        let test = Executable::read(&dir.join(name));
        let mut results = vec![("bare", run_bare(&test))];
        if let Some(start) = test.symbol("userstart") {
            results.push(("Sv39", run_paged(&test, start, Mode::Sv39, seed as u64)));
            results.push(("Sv48", run_paged(&test, start, Mode::Sv48, seed as u64)));
        }
        let set = name.split_once('-').map_or(name.as_str(), |n| n.0);
        *sets.entry(set.to_owned()).or_insert(0) += 1;
        runs += results.len();
        failures.extend(
            results.into_iter().filter_map(|(how, r)| r.err().map(|e| format!("{name} ({how}): {e}"))),
        );
    }
    println!("{} riscv-tests, {runs} runs: {sets:?}", names.len());
    assert!(failures.is_empty(), "{} of {runs} runs failed:\n{}", failures.len(), failures.join("\n"));
    for (set, minimum) in MINIMUM {
        let ran = sets.get(*set).copied().unwrap_or(0);
        assert!(ran >= *minimum, "{ran} tests of {set} ran, there are {minimum}");
    }
    assert!(runs >= 3 * 108 + 5, "{runs} runs");
}
