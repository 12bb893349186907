//! `forelift convert --web`: what the directory holds, and that it runs. Browsers are `tests/web`'s.

use crate::testing::{dir, run_file};
use forelift_tests::{
    done::Done,
    hosts::{Host, Place},
    images::Image,
    process::program,
    site::Site,
    workspace::forelift,
};
use std::{collections::BTreeMap, fs, path::Path};

fn convert(image: &str, options: &[&str]) -> Done {
    program(forelift(), |c| {
        c.args(["convert", "--quiet"]).args(options).arg(image);
    })
}

fn web(image: Image, dir: &Path, options: &[&str]) {
    let path = dir.display().to_string();
    convert(&image.reference(), &[&["--web", &path], options].concat()).expect_status(0).expect_err("");
}

/// Names and contents of all files.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("the directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match path.is_dir() {
            true => {
                all.extend(files(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)))
            }
            false => drop(all.insert(name, fs::read(&path).expect("a file"))),
        }
    }
    all
}

/// A directory runs from a plain server, and the root file system in it is the image's.
pub(super) fn web_directory(host: Place) {
    let dir = dir();
    web(host.image(Image::Minbase), dir.path(), &[]);
    let site = Site::of(dir.path());
    let script = "cat /usr/bin/[a-p]* | sha256sum; cat; exit 7";
    let image = format!("{}image.json", site.url);
    let from_web = host.sh(script).file(image).stdin("through").go().expect_status(7);
    let inside = Place { host: Host::Wasm, ..host }.sh(script).file(host.image(Image::Minbase).cwasm());
    assert_eq!(from_web.out(), inside.stdin("through").go().out());
    assert!(from_web.out().ends_with("through"), "{from_web}");
}

/// The same input gives the same bytes; a second run into the same directory replaces what the first left.
pub(super) fn web_directory_is_reproducible() {
    let (one, two) = (dir(), dir());
    web(Image::Busybox, one.path(), &["--no-cache", "--web-args", "echo hello"]);
    web(Image::Busybox, two.path(), &["--web-title", "Another", "--memory", "64M"]);
    let before = files(two.path());
    web(Image::Busybox, two.path(), &["--web-args", "echo hello"]);
    let (a, b) = (files(one.path()), files(two.path()));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    assert!(a == b, "the contents differ");
    assert_ne!(names(&before), names(&b));
    let largest = a.values().map(Vec::len).max().unwrap_or(0);
    assert!(largest < 20 << 20, "{largest} bytes are more than some hosts take");
    for name in ["index.html", "image.json", "NOTICE"] {
        assert!(a.contains_key(name), "no {name}");
    }
}

pub(super) fn web_refusals() {
    let (full, empty) = (dir(), dir());
    fs::write(full.path().join("mine"), "kept").expect("writing");
    let (full, empty) = (full.path().display().to_string(), empty.path().display().to_string());
    let image = Image::Busybox.reference();
    let refused = |options: &[&str], words: &[&str]| {
        convert(&image, options).expect_status(1).one_error(words);
    };
    refused(&["--web", &full], &[&full, "has not made", "empty directory"]);
    refused(&["--web", &format!("{full}/mine")], &["mine", "no directory"]);
    refused(&["--web", &format!("{full}/no/such")], &["no/such", "its directory cannot be used"]);
    refused(&["--web", &empty, "--web-args", "--no-such-option"], &["--web-args", "--no-such-option"]);
    for options in [
        &["--web", &empty, "--web-args", "'open"][..],
        &["--web", &empty, "--component"],
        &["--web-title", "x"],
        &["--web-fixed"],
        &["--web-ports", "80"],
        &["--web", "unused", "--web-ports", "0"],
        &["--web", "unused", "--web-ports", "80,x"],
        &["--web", "unused", "--web-net", "http://x/"],
    ] {
        let done = convert(&image, options).expect_status(2);
        assert!(done.err().contains("error:"), "{done}");
    }
    assert_eq!(files(Path::new(&full)).keys().collect::<Vec<_>>(), ["mine"]);
    assert!(files(Path::new(&empty)).is_empty());
}

/// The module of a directory is no image by itself.
pub(super) fn web_code_alone() {
    let dir = dir();
    web(Image::Busybox, dir.path(), &[]);
    let names = files(dir.path());
    let name =
        names.keys().find(|name| name.starts_with("code-") && name.ends_with(".wasm")).expect("a module");
    let code = dir.path().join(name);
    let words = ["index.html", "without --web"];
    run_file(&code).args(["true"]).go().expect_status(125).one_error(&words);
    Host::Node.riscv64().sh("true").file(&code).go().expect_status(125).one_error(&words);
    let done = program(forelift(), |c| {
        c.arg("compile").arg(&code).arg(dir.path().join("out.cwasm"));
    });
    done.expect_status(1).one_error(&words);
}
