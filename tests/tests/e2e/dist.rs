//! What `scripts/dist` packs runs where it is unpacked or installed, and is the same each time.

use crate::testing::dir;
use forelift_tests::{
    done::Done,
    images::Image,
    process::program,
    table::{Check, Group},
    workspace::{cached, fingerprint, forelift, product, script, tool},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) const CASES: Group = &[
    ("tarball_runs_where_it_is_unpacked", Check::Once(tarball_runs_where_it_is_unpacked)),
    ("debian_package_runs_where_it_is_installed", Check::Once(debian_package_runs_where_it_is_installed)),
    ("packing_is_reproducible", Check::Once(packing_is_reproducible)),
    ("half_a_build_is_refused", Check::Once(half_a_build_is_refused)),
];

/// What `scripts/build` made.
fn build() -> &'static Path {
    forelift().parent().and_then(Path::parent).expect("the command is in a directory bin")
}

fn dist(build: &Path, out: &Path) -> Done {
    program(script("dist"), |c| {
        c.arg("--build").arg(build).arg("--out").arg(out);
    })
}

/// The tarball and the Debian package, as a run of `scripts/dist` named them.
fn packed(out: &Path) -> [PathBuf; 2] {
    let done = dist(build(), out).expect_status(0);
    let paths: Vec<PathBuf> = done.out().lines().map(PathBuf::from).collect();
    assert!(paths.iter().all(|path| path.parent() == Some(out) && path.is_file()), "{done}");
    paths.try_into().unwrap_or_else(|paths| panic!("{paths:?}: {done}"))
}

/// The same, made once for this build.
fn packages() -> [PathBuf; 2] {
    let parts = product();
    let scripts = [script("dist"), script("crate-licences")];
    let parts: Vec<&Path> = parts.iter().chain(&scripts).map(PathBuf::as_path).collect();
    let dir = cached("dist", &fingerprint(&parts, &[]), |dir| {
        packed(dir);
    });
    let named = |end: &str| {
        let mut files = fs::read_dir(&dir).expect("a directory").flatten().map(|e| e.path());
        files.find(|path| path.to_string_lossy().ends_with(end)).unwrap_or_else(|| panic!("no {end}"))
    };
    [named("-x86_64-linux.tar.gz"), named("_amd64.deb")]
}

fn succeeds(name: &str, args: &[&Path]) -> String {
    let done = program(tool(name), |c| {
        c.args(args);
    });
    done.expect_status(0).out()
}

/// The command below `prefix` converts and runs images for both machines, with nothing of the build; all that
/// belongs to it is there.
fn runs_from(prefix: &Path) {
    let command = prefix.join("bin/forelift");
    let run = |args: &[&str]| {
        program(&command, |c| {
            c.env_remove("FORELIFT_ASSETS").args(args);
        })
    };
    let work = dir();
    for (image, machine) in [(Image::Busybox, "riscv64\n"), (Image::Amd64Busybox, "x86_64\n")] {
        let out = work.path().join("image.wasm");
        let out = out.to_str().expect("a path in UTF-8");
        run(&["convert", "-q", &image.reference(), out]).ok();
        assert_eq!(run(&["run", out, "uname", "-m"]).ok(), machine);
    }
    let share = prefix.join("share");
    let read = |path: &str| {
        fs::read_to_string(share.join(path)).unwrap_or_else(|e| panic!("{}: {e}", share.join(path).display()))
    };
    for (path, words) in [
        ("forelift/LICENSES-crates", &["wasmtime ", "cranelift-codegen ", "Apache License", "BSD"][..]),
        ("forelift/NOTICE", &["GPL-2.0"]),
        ("forelift/SOURCE-riscv64", &["apt-get source linux="]),
        ("forelift/SOURCE-x86_64", &["apt-get source linux="]),
        ("forelift/SOURCE-qemu-aarch64", &["apt-get source qemu="]),
        ("bash-completion/completions/forelift", &["convert", "lockstep"]),
        ("fish/vendor_completions.d/forelift.fish", &["convert", "lockstep"]),
    ] {
        let text = read(path);
        for word in words {
            assert!(text.contains(word), "no {word:?} in {path}");
        }
    }
}

fn tarball_runs_where_it_is_unpacked() {
    let [tarball, _] = packages();
    let place = dir();
    succeeds("tar", &["-xzf".as_ref(), &tarball, "-C".as_ref(), place.path()]);
    let name = tarball.file_name().expect("a file").to_string_lossy().replace(".tar.gz", "");
    let top = place.path().join(name);
    runs_from(&top);
    for file in
        ["LICENSE", "NOTICE", "README.md", "share/man/man1/forelift.1", "share/zsh/site-functions/_forelift"]
    {
        assert!(fs::metadata(top.join(file)).is_ok_and(|m| m.len() > 100), "{file}");
    }
}

fn debian_package_runs_where_it_is_installed() {
    let [_, package] = packages();
    let root = dir();
    let status = root.path().join("var/lib/dpkg");
    fs::create_dir_all(status.join("info")).expect("a directory");
    fs::write(status.join("status"), "").expect("a file");
    let dpkg = |args: &[&str]| {
        program(tool("dpkg"), |c| {
            c.arg(format!("--root={}", root.path().display()));
            // The root is empty: what the package depends on is this machine's.
            c.args(["--force-depends", "--force-not-root"]).args(args);
        })
    };
    dpkg(&["--install", &package.to_string_lossy()]).expect_status(0);
    // Each file is what the package's list of checksums says.
    assert_eq!(dpkg(&["--verify", "forelift"]).expect_status(0).out(), "");
    let depends = succeeds("dpkg-deb", &["-f".as_ref(), &package, "Depends".as_ref()]);
    assert!(depends.contains("libc6 (>= 2."), "{depends}");
    runs_from(&root.path().join("usr"));
    for file in [
        "share/doc/forelift/copyright",
        "share/doc/forelift/changelog.gz",
        "share/doc/forelift/changelog.Debian.gz",
        "share/man/man1/forelift.1.gz",
        "share/zsh/vendor-completions/_forelift",
    ] {
        let path = root.path().join("usr").join(file);
        assert!(fs::metadata(&path).is_ok_and(|m| m.len() > 100), "{file}");
    }
}

fn packing_is_reproducible() {
    let again = dir();
    for (first, second) in packages().iter().zip(&packed(again.path())) {
        assert_eq!(first.file_name(), second.file_name());
        let same = fs::read(first).expect("a package") == fs::read(second).expect("a package");
        assert!(same, "{} and {} differ", first.display(), second.display());
    }
}

fn half_a_build_is_refused() {
    let (half, out) = (dir(), dir());
    fs::create_dir(half.path().join("bin")).expect("a directory");
    fs::copy(forelift(), half.path().join("bin/forelift")).expect("a copy");
    let done = dist(half.path(), out.path()).expect_status(1);
    assert!(done.err().contains("scripts/build") && done.err().lines().count() == 1, "{done}");
    assert_eq!(fs::read_dir(out.path()).expect("a directory").count(), 0);
}
