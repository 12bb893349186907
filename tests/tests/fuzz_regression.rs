//! A short run of each fuzz target, without a fuzzer: over the committed corpus
//! (`tests/fuzz/corpus/TARGET/*`, inputs that once failed or that reach far) and over inputs made from fixed
//! seeds.

use forelift_tests::fuzz::{TARGETS, generate};
use std::{collections::BTreeSet, fs, panic, path::Path};

/// Inputs made for each target.
const COUNT: usize = 20_000;

fn check(target: &str, body: fn(&[u8]), origin: &str, input: &[u8]) {
    if panic::catch_unwind(|| body(input)).is_err() {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-failed"));
        let _ = fs::write(&path, input);
        panic!("target {target}, {origin}: the input is kept in {}", path.display());
    }
}

fn run(target: &str) {
    let (_, body) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target of that name");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&corpus)
        .unwrap_or_else(|e| panic!("{}: {e}", corpus.display()))
        .map(|f| f.expect("a file").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus in {}", corpus.display());
    for file in files {
        let input = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        check(target, body, &file.display().to_string(), &input);
    }
    for (number, input) in generate::seeds(target).iter().enumerate() {
        check(target, body, &format!("seed input {number}"), input);
    }
    let mut ran = 0;
    for (number, input) in generate::inputs(target, 1, COUNT).enumerate() {
        check(target, body, &format!("made input {number}"), &input);
        ran += 1;
    }
    assert_eq!(ran, COUNT);
}

#[test]
fn layer() {
    run("layer");
}

#[test]
fn fuse() {
    run("fuse");
}

#[test]
fn virtqueues() {
    run("virtqueues");
}

#[test]
fn snapshot() {
    run("snapshot");
}

#[test]
fn image_header() {
    run("image_header");
}

#[test]
fn control() {
    run("control");
}

#[test]
fn gateway() {
    run("gateway");
}

#[test]
fn frames() {
    run("frames");
}

/// Each target is run above, has a cargo-fuzz target of its name, and has a corpus.
#[test]
fn none_is_forgotten() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let ours = ["layer", "fuse", "virtqueues", "snapshot", "image_header", "control", "gateway", "frames"];
    let ours = BTreeSet::from(ours.map(String::from));
    assert_eq!(names, ours);
    let listing = |dir: &str| -> BTreeSet<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(dir);
        let entries = fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let names = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
        names.map(|n| n.trim_end_matches(".rs").to_owned()).collect()
    };
    assert_eq!(listing("fuzz_targets"), names);
    assert_eq!(listing("corpus"), names);
}
