//! Digests of the sources that decide what is cached between conversions: what makes lifted code, and what
//! makes a profile. A change of either makes another key by itself; a number that somebody has to raise would
//! be forgotten one day, and then a stale cache is wrong code. The price, a cold cache after any change, is
//! seconds. `Cargo.lock` stands for the dependencies, Cranelift above all.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// What a lifted function depends on besides its key's other parts.
const LIFT: [&str; 6] = [
    "packer/src/lift",
    "runtime/abi/src",
    "runtime/isa/src",
    "translator/emit/src",
    "translator/src",
    "Cargo.lock",
];
/// What a profile depends on besides its key's other parts: the machine, and how it is booted from an image.
const TRAIN: [&str; 7] = [
    "packer/src",
    "runtime/abi/src",
    "runtime/isa/src",
    "runtime/net/src",
    "runtime/softfloat/src",
    "runtime/src",
    "Cargo.lock",
];

/// The files in `path`, or itself, sorted.
fn files(path: &Path, out: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        out.push(path.into());
        return;
    }
    let entries = path.read_dir().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|e| e.unwrap_or_else(|e| panic!("{}: {e}", path.display())).path()).collect();
    paths.sort();
    paths.iter().for_each(|path| files(path, out));
}

fn digest(root: &Path, names: &[&str]) -> String {
    let mut hash = Sha256::new();
    for name in names {
        let path = root.join(name);
        println!("cargo:rerun-if-changed={}", path.display());
        let mut found = Vec::new();
        files(&path, &mut found);
        for file in found {
            let bytes = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
            for field in [name.as_bytes(), &bytes] {
                hash.update((field.len() as u64).to_le_bytes());
                hash.update(field);
            }
        }
    }
    format!("{:x}", hash.finalize())
}

fn main() {
    // At run time: a path that was compiled in would be wrong after the checkout has moved.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = Path::new(&package).join("..");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=FORELIFT_LIFT_SOURCES={}", digest(&root, &LIFT));
    println!("cargo:rustc-env=FORELIFT_TRAIN_SOURCES={}", digest(&root, &TRAIN));
}
