//! What skopeo, podman, buildah and umoci write is converted, in each of their formats and compressions: the
//! root file system is the same, bit for bit, whoever wrote the image.

use crate::testing::dir;
use forelift_tests::{
    hosts::Host,
    images::{Entry, Image, convert, tar_of},
    process::program,
    table::{Check, Group},
    workspace::{forelift, last_line, script, tool},
};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tar::EntryType;
use tempfile::TempDir;

pub(crate) const CASES: Group = &[
    ("skopeo", Check::Once(skopeo)),
    ("podman", Check::Once(podman)),
    ("buildah", Check::Once(buildah)),
    ("umoci", Check::Once(umoci)),
    ("what_they_write_runs", Check::Once(what_they_write_runs)),
];

/// A directory with an OCI layout `source`, tagged `t`, of two layers; and what its root file system is.
struct Work {
    dir: TempDir,
    root: Vec<u8>,
}

fn lower() -> Vec<u8> {
    tar_of(&[
        Entry::dir("bin/", 0o755),
        Entry::file("bin/tool", 0o4755, b"no program\n"),
        Entry::dir("etc/", 0o755),
        Entry::file("etc/conf", 0o644, b"lower\n"),
        Entry::link("etc/link", EntryType::Symlink, "conf"),
        Entry::link("etc/hard", EntryType::Link, "etc/conf"),
        Entry::dir("data/", 0o1777).owned(1000, 1001),
        Entry::file("data/gone", 0o600, b"x").owned(1000, 1001),
        Entry::dir("data/old/", 0o755),
        Entry::file("data/old/x", 0o644, b"x"),
        Entry::file("data/large", 0o640, &[b'z'; 100_000]),
        Entry { kind: EntryType::Fifo, ..Entry::file("data/fifo", 0o622, b"") },
    ])
}

fn upper() -> Vec<u8> {
    tar_of(&[
        Entry::dir("data/", 0o1777).owned(1000, 1001),
        Entry::file("data/.wh.gone", 0o644, b""),
        Entry::dir("data/old/", 0o700),
        Entry::file("data/old/.wh..wh..opq", 0o644, b""),
        Entry::file("data/old/new", 0o644, b"n"),
        Entry::file("etc/conf", 0o644, b"upper\n").owned(3, 0),
    ])
}

/// Runs a program that must succeed; gives its stdout.
fn run(name: &str, args: &[&str], dir: &Path) -> String {
    let output = Command::new(tool(name))
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {}\n{err}", output.status);
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The root file system of an image, but for what the image's digest makes of it: the superblock's checksum
/// and UUID.
fn root_of(reference: &str) -> Vec<u8> {
    let dir = dir();
    let out = dir.path().join("root.erofs");
    // A `dir:` that holds skopeo's format is converted with a warning.
    program(forelift(), |c| {
        c.args(["rootfs", "-q", reference]).arg(&out);
    })
    .expect_status(0);
    let mut bytes = fs::read(&out).expect("the root file system");
    bytes[1024 + 4..1024 + 8].fill(0);
    bytes[1024 + 48..1024 + 64].fill(0);
    bytes
}

impl Work {
    fn new(more: &[Vec<u8>]) -> Self {
        let dir = dir();
        let mut names = Vec::new();
        for (number, layer) in [lower(), upper()].iter().chain(more).enumerate() {
            let path = dir.path().join(format!("layer{number}.tar"));
            fs::write(&path, layer).expect("writing");
            names.push(path.display().to_string());
        }
        let source = dir.path().join("source");
        let options = ["--tag", "t", "--cmd", "/bin/tool"].map(OsStr::new);
        let layers = names.join(",");
        last_line(script("mkimage"), &[&options[..], &[layers.as_ref(), source.as_os_str()]].concat());
        let root = root_of(&format!("oci:{}:t", source.display()));
        assert!(root.len() > 100_000);
        Work { dir, root }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// What `name` holds must have the root file system of the source: by its transports, and recognised.
    fn same(&self, transports: &[&str], name: &str, suffix: &str) {
        let path = self.at(name).display().to_string();
        let named = transports.iter().map(|transport| format!("{transport}:{path}{suffix}"));
        for reference in named.chain([path.clone()]) {
            // Which of them it was shows in the failure.
            println!("{reference}");
            assert!(root_of(&reference) == self.root, "{reference}: another root file system");
        }
    }

    /// Options that keep a storage of this test's own, for podman and buildah.
    fn storage(&self) -> Vec<String> {
        let (root, run) = (self.at("storage"), self.at("run"));
        [
            "--root",
            &root.display().to_string(),
            "--runroot",
            &run.display().to_string(),
            "--storage-driver",
            "vfs",
        ]
        .map(str::to_owned)
        .into()
    }

    /// Runs podman or buildah on that storage.
    fn stored(&self, name: &str, args: &[&str]) -> String {
        let storage = self.storage();
        let mut all: Vec<&str> = storage.iter().map(String::as_str).collect();
        all.extend(args);
        run(name, &all, self.path())
    }
}

const POLICY: &str = "--insecure-policy";

fn skopeo() {
    let work = Work::new(&[]);
    let copy = |options: &[&str], from: &str, to: &str| {
        let args = [&[POLICY, "copy", "-q"], options, &[from, to]].concat();
        run("skopeo", &args, work.path());
    };
    copy(&[], "oci:source:t", "oci:oci:t");
    work.same(&["oci"], "oci", ":t");
    copy(&[], "oci:source:t", "oci-archive:archive.tar:t");
    work.same(&["oci-archive"], "archive.tar", ":t");
    copy(&[], "oci:source:t", "docker-archive:docker.tar:example.org/a:t");
    work.same(&["docker-archive"], "docker.tar", ":example.org/a:t");
    copy(&[], "oci:source:t", "dir:dir");
    work.same(&["dir"], "dir", "");
    copy(&["--dest-decompress"], "oci:source:t", "dir:plain");
    work.same(&["dir"], "plain", "");
    for format in ["gzip", "zstd", "zstd:chunked"] {
        let name = format.replace(':', "-");
        let options = ["--dest-compress", "--dest-compress-format", format];
        copy(&options, "dir:plain", &format!("dir:dir-{name}"));
        work.same(&["dir"], &format!("dir-{name}"), "");
        copy(&options[1..], "dir:plain", &format!("oci:oci-{name}:t"));
        work.same(&["oci"], &format!("oci-{name}"), ":t");
        copy(&options[1..], "dir:plain", &format!("oci-archive:{name}.tar:t"));
        work.same(&["oci-archive"], &format!("{name}.tar"), ":t");
    }
    for format in ["v2s2", "oci"] {
        copy(&["--format", format], "oci:source:t", &format!("dir:dir-{format}"));
        work.same(&["dir"], &format!("dir-{format}"), "");
    }
    copy(&["--all"], "oci:source:t", "dir:all");
    work.same(&["dir"], "all", "");
    // It is said that this is no root file system.
    let done = program(forelift(), |c| {
        c.arg("rootfs").arg(work.at("dir")).arg(work.at("root.erofs"));
    });
    let done = done.expect_status(0);
    assert!(done.err().contains("skopeo's `dir:` format"), "{done}");
    // A blob that got lost, and the schema that cannot be verified.
    let largest = fs::read_dir(work.at("dir"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_none() && path.file_name() != Some(OsStr::new("version")))
        .max_by_key(|path| fs::metadata(path).expect("metadata").len())
        .expect("a file");
    fs::remove_file(&largest).expect("removing");
    let name = largest.file_name().and_then(OsStr::to_str).expect("a name");
    refuse(&work.at("dir"), &[name, "is missing"]);
    fs::write(work.at("plain/manifest.json"), r#"{"schemaVersion": 1, "fsLayers": []}"#).expect("writing");
    refuse(&work.at("plain"), &["schema 2"]);
}

fn refuse(path: &Path, words: &[&str]) {
    crate::bad_input::refused(&["--snapshot", "none"], &path.display().to_string(), words);
}

fn podman() {
    let work = Work::new(&[]);
    let image = work.stored("podman", &["pull", "-q", "oci:source:t"]);
    let save = |options: &[&str], out: &str| {
        work.stored("podman", &[&["save", "-q"], options, &["-o", out, &image]].concat());
    };
    work.stored("podman", &["tag", &image, "localhost/made:v1"]);
    for (format, transport) in [
        ("docker-archive", "docker-archive"),
        ("oci-archive", "oci-archive"),
        ("oci-dir", "oci"),
        ("docker-dir", "dir"),
    ] {
        save(&["--format", format], format);
        work.same(&[transport], format, "");
    }
    save(&["--format", "docker-dir", "--compress"], "compressed");
    work.same(&["dir"], "compressed", "");
    save(&["--format", "oci-archive", "--uncompressed"], "uncompressed");
    work.same(&["oci-archive"], "uncompressed", "");
    work.stored("podman", &["save", "-q", "-m", "-o", "several.tar", "localhost/made:v1"]);
    work.same(&["docker-archive"], "several.tar", ":localhost/made:v1");
}

fn buildah() {
    let work = Work::new(&[]);
    work.stored("buildah", &["from", "-q", "--name", "made", "--arch", "riscv64", "oci:source:t"]);
    // A layer without any entry comes on top.
    work.stored("buildah", &["config", "--cmd", "/bin/other", "made"]);
    for format in ["oci", "docker"] {
        let image = format!("localhost/{format}:v1");
        work.stored("buildah", &["commit", "-q", "--format", format, "made", &image]);
        let push = |options: &[&str], to: &str| {
            work.stored("buildah", &[&["push", "-q"], options, &[&image, to]].concat());
        };
        for (transport, suffix) in
            [("dir", ""), ("oci", ":v1"), ("oci-archive", ":v1"), ("docker-archive", ":a/b:v1")]
        {
            let name = format!("{format}-{transport}");
            push(&[], &format!("{transport}:{name}{suffix}"));
            work.same(&[transport], &name, suffix);
        }
        push(&["-D"], &format!("dir:{format}-plain"));
        work.same(&["dir"], &format!("{format}-plain"), "");
        for manifest in ["oci", "v2s2"] {
            push(&["--format", manifest], &format!("dir:{format}-as-{manifest}"));
            work.same(&["dir"], &format!("{format}-as-{manifest}"), "");
        }
    }
    for compression in ["gzip", "zstd", "zstd:chunked"] {
        let name = format!("compressed-{}", compression.replace(':', "-"));
        let to = format!("oci:{name}:v1");
        work.stored("buildah", &["push", "-q", "--compression-format", compression, "localhost/oci:v1", &to]);
        work.same(&["oci"], &name, ":v1");
    }
}

/// Makes a file or directory as an [`Entry`] would be.
fn made(path: &Path, text: Option<&str>) {
    match text {
        Some(text) => fs::write(path, text).expect("writing"),
        None => fs::create_dir(path).expect("a directory"),
    }
    dated(path);
}

fn dated(path: &Path) {
    last_line(tool("touch"), &["-h".as_ref(), "-d".as_ref(), "@1600000000".as_ref(), path.as_os_str()]);
}

fn umoci() {
    // Each change, and the layer that says the same.
    let etc = Entry::dir("etc/", 0o755);
    let cases: [(&str, Vec<Entry<'_>>); 4] = [
        ("insert", vec![Entry::file("inserted", 0o644, b"i")]),
        ("whiteout", vec![Entry::file("etc/.wh.conf", 0, b"")]),
        (
            "opaque",
            vec![
                Entry::file("data/.wh..wh..opq", 0, b""),
                Entry::dir("data/", 0o755),
                Entry::file("data/y", 0o644, b"y"),
            ],
        ),
        (
            "repack",
            vec![
                etc.clone(),
                Entry::file("etc/.wh.conf", 0, b""),
                Entry::file("etc/new", 0o644, b"new"),
                Entry::link("etc/again", EntryType::Link, "etc/hard"),
            ],
        ),
    ];
    for (change, layer) in cases {
        let work = Work::new(&[tar_of(&layer)]);
        // What was made of three layers is expected of umoci's third on two.
        let plain = Work::new(&[]);
        let dir = plain.path();
        let umoci = |args: &[&str]| run("umoci", args, dir);
        match change {
            "insert" => {
                made(&plain.at("file"), Some("i"));
                umoci(&["insert", "--image", "source:t", "--tag", "made", "file", "/inserted"]);
            }
            "whiteout" => {
                umoci(&["insert", "--image", "source:t", "--tag", "made", "--whiteout", "/etc/conf"]);
            }
            "opaque" => {
                made(&plain.at("tree"), None);
                made(&plain.at("tree/y"), Some("y"));
                dated(&plain.at("tree"));
                umoci(&["insert", "--image", "source:t", "--tag", "made", "--opaque", "tree", "/data"]);
            }
            _ => {
                umoci(&["unpack", "--image", "source:t", "bundle"]);
                let etc = plain.at("bundle/rootfs/etc");
                fs::remove_file(etc.join("conf")).expect("removing");
                made(&etc.join("new"), Some("new"));
                fs::hard_link(etc.join("hard"), etc.join("again")).expect("linking");
                dated(&etc);
                umoci(&["repack", "--image", "source:made", "bundle"]);
            }
        }
        let reference = format!("oci:{}:made", plain.at("source").display());
        println!("{change}: {reference}");
        assert!(root_of(&reference) == work.root, "{change}: another root file system");
        assert!(root_of(&format!("oci:{}:t", plain.at("source").display())) == plain.root);
    }
}

/// One image of each, all the way.
fn what_they_write_runs() {
    let work = Work::new(&[]);
    let source = Image::Busybox.reference();
    run("skopeo", &[POLICY, "copy", "-q", &source, "dir:dir"], work.path());
    let image = work.stored("podman", &["pull", "-q", &source]);
    work.stored("podman", &["save", "-q", "-o", "podman.tar", &image]);
    work.stored("buildah", &["from", "-q", "--name", "made", "--arch", "riscv64", &source]);
    work.stored("buildah", &["config", "--cmd", "[\"echo\",\"built\"]", "made"]);
    work.stored("buildah", &["commit", "-q", "made", "localhost/made:v1"]);
    work.stored("buildah", &["push", "-q", "localhost/made:v1", "oci-archive:buildah.tar:v1"]);
    for (name, command) in
        [("dir", &["echo", "ran"][..]), ("podman.tar", &["echo", "ran"]), ("buildah.tar", &[])]
    {
        let out = work.at("out.wasm");
        convert(&work.at(name).display().to_string(), &out, &["--lift", "none"]);
        let text = Host::Wasm.riscv64().run(Image::Busybox).file(&out).args(command).ok();
        assert_eq!(text, if command.is_empty() { "built\n" } else { "ran\n" }, "{name}");
    }
}
