//! The same input gives the same bytes, whatever a cache holds.

use crate::testing::{busybox_tar, dir, mkimage};
use forelift_tests::{
    images::{Image, convert, inspect_json},
    process::program,
    workspace::forelift,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) fn same_input_same_bytes() {
    let (one, two) = (dir(), dir());
    for snapshot in ["ready", "none"] {
        for image in [Image::Busybox, Image::Service] {
            let paths = [one.path().join("a.wasm"), two.path().join("longer-name.wasm")];
            for path in &paths {
                convert(&image.reference(), path, &["--snapshot", snapshot, "--no-cache"]);
            }
            let [a, b] = paths.map(|p| fs::read(p).expect("reading"));
            let differ = a.iter().zip(&b).position(|(x, y)| x != y);
            assert!(
                a == b,
                "{image:?} {snapshot}: {} and {} bytes, first difference at {differ:?}",
                a.len(),
                b.len()
            );
        }
    }
}

/// The same image in another kind of archive has the same root file system and the same guest.
pub(super) fn same_content_same_bytes() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    mkimage(&["--format", "oci-archive", "--cmd", "sh"], &busybox_tar(), &at("archive"));
    let info = |reference: &str, name: &str| {
        convert(reference, &at(name), &["--snapshot", "none"]);
        let json = inspect_json(&at(name));
        (json["manifest"]["digest"].clone(), json["hostname"].clone(), json["parts"]["root"].clone())
    };
    let layout = info(&Image::Busybox.reference(), "a.wasm");
    assert_eq!(layout, info(&format!("oci-archive:{}", at("archive").display()), "b.wasm"));
}

/// Without a cache, with an empty, a filled, a partly damaged, and an impossible one; on any number of
/// threads.
pub(super) fn a_cache_changes_nothing() {
    let dir = dir();
    let (out, cache) = (dir.path().join("out.wasm"), dir.path().join("cache"));
    let reference = Image::Busybox.reference();
    let convert = |cache: &Path, threads: &str, options: &[&str]| {
        let done = program(forelift(), |c| {
            c.env("FORELIFT_CACHE", cache).env("RAYON_NUM_THREADS", threads);
            c.args(["convert", "-q", "--json"]).args(options).arg(&reference).arg(&out);
        });
        let json: Value = serde_json::from_str(&done.ok()).expect("JSON");
        let number = |name: &str| json["effort"][name].as_u64().expect(name);
        assert_eq!(json["lifted"]["functions"].as_u64().map(|n| n > 100), Some(true), "{json}");
        let trained = json["effort"]["training_cached"] == false;
        (fs::read(&out).expect("the output"), trained, number("lifted"), number("cached"))
    };
    let command = ["--train", "sh -c 'ls -lR /etc /bin'"];

    let (plain, trained, all, cached) = convert(&cache, "1", &[&command[..], &["--no-cache"]].concat());
    assert!(trained && all > 100 && cached == 0 && !cache.exists());
    let (cold, trained, lifted, cached) = convert(&cache, "3", &command);
    assert!(cold == plain && trained && cached == 0 && lifted == all);
    let (warm, trained, lifted, cached) = convert(&cache, "2", &command);
    assert!(warm == plain && !trained && cached == all && lifted == 0);

    let shards = fs::read_dir(cache.join("lift")).expect("a cache").map(|e| e.expect("an entry").path());
    let files: Vec<PathBuf> =
        shards.flat_map(|d| fs::read_dir(d).expect("reading").map(|e| e.expect("an entry").path())).collect();
    assert!(files.len() > 100);
    for file in files.iter().step_by(2) {
        let mut bytes = fs::read(file).expect("reading");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        fs::write(file, bytes).expect("writing");
    }
    let (damaged, _, lifted, cached) = convert(&cache, "1", &command);
    assert!(damaged == plain && lifted > 0 && cached > 0 && lifted + cached == all);
    let (repaired, trained, lifted, _) = convert(&cache, "4", &command);
    assert!(repaired == plain && !trained && lifted == 0);
    let (none, trained, lifted, _) = convert(Path::new("/dev/null/no"), "2", &command);
    assert!(none == plain && trained && lifted == all);

    // Another command has much in common with it: the kernel, the shell.
    let (other, trained, lifted, cached) =
        convert(&cache, "2", &["--train", "sh -c 'ls -lR /etc; sort /etc/passwd'"]);
    assert!(other != plain && trained && lifted > 0 && cached > 0);
}
