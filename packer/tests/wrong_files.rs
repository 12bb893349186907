//! What every command that takes an image says of a file that is none, or none for this build and this host:
//! one line, with the file's name, what it is, and what to do.

mod common;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use common::{config, image, ram, root, runtime, write_image};
use forelift::{
    embed::{code, engine},
    pack::{Manifest, Parts, compiled, module::Module, pack, reader, writer::Options},
};

/// The commands that open an image, and how they fail.
const COMMANDS: [(&str, i32); 4] = [("run", 125), ("inspect", 1), ("compile", 1), ("lockstep", 1)];

fn start(args: &[&str], dir: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_forelift"))
        .args(args)
        .current_dir(dir)
        .env("FORELIFT_CACHE", dir.join("cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the command, which must not hang.
fn forelift(args: &[&str], dir: &Path) -> Output {
    let mut child = start(args, dir);
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{args:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

/// The one line that the command fails with.
fn line(args: &[&str], dir: &Path, status: i32) -> String {
    let output = forelift(args, dir);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(text.starts_with("forelift: ") && text.ends_with('\n') && text.lines().count() == 1, "{text}");
    text
}

/// Every command refuses the file with these words and leaves no file.
fn refused(dir: &Path, name: &str, words: &[&str]) {
    let listing = || {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = listing();
    for (command, status) in COMMANDS {
        let text = line(&[command, name], dir, status);
        for word in [&[name], words].concat() {
            assert!(text.contains(word), "{command}: no {word:?}: {text}");
        }
        // No cause twice.
        let parts: Vec<&str> = text.trim_end().split(": ").collect();
        let different: BTreeSet<&str> = parts.iter().copied().collect();
        assert_eq!(parts.len(), different.len(), "{command}: {text}");
    }
    assert_eq!(listing(), before);
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).unwrap();
}

/// A tar archive with files of these names.
fn tar(names: &[&str]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for name in names {
        let mut header = tar::Header::new_ustar();
        header.set_size(3);
        builder.append_data(&mut header, name, &b"abc"[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn what_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    refused(dir, "missing.wasm", &["No such file or directory", "`forelift convert` made"]);
    refused(
        dir,
        "docker://debian:trixie",
        &["name of an image", "`forelift convert docker://debian:trixie`"],
    );
    fs::create_dir_all(dir.join("layout")).unwrap();
    refused(dir, "layout", &["a directory", "`forelift convert` made"]);
    put(dir, "layout/oci-layout", b"{}");
    refused(dir, "layout", &["OCI layout", "convert it first"]);
    let status = Command::new("mkfifo").arg(dir.join("pipe")).status().unwrap();
    assert!(status.success());
    refused(dir, "pipe", &["a pipe", "`forelift convert` made"]);
    refused(dir, "/dev/zero", &["a device", "`forelift convert` made"]);
    put(dir, "file", b"x");
    refused(dir, "file/i.wasm", &["Not a directory"]);
}

#[test]
fn files_of_other_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let program = fs::read(env!("CARGO_BIN_EXE_forelift")).unwrap();
    for (name, bytes, words) in [
        ("empty", &b""[..], &["empty", "convert the image again"][..]),
        ("text", b"no WebAssembly at all\n", &["a text file", "`forelift convert` made"]),
        ("script", b"#!/bin/sh\nexit 0\n", &["a script"]),
        ("program", &program[..10_000], &["an ELF file"]),
        ("noise", &[0x80, 7, 0, 3].repeat(1000), &["no WebAssembly module"]),
        ("root.tar", &tar(&["etc/passwd"]), &["a tar archive", "convert it first"]),
        ("oci.tar", &tar(&["oci-layout", "index.json"]), &["this is an image archive: convert it first"]),
        ("docker.tar", &tar(&["manifest.json"]), &["this is an image archive: convert it first"]),
        ("root.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0", &["gzip", "convert it first"]),
        ("root.tar.zst", b"\x28\xb5\x2f\xfd\0\0\0", &["zstd", "convert it first"]),
        ("component.wasm", b"\0asm\x0d\0\x01\0", &["a WebAssembly component", "`forelift convert` made"]),
        ("future.wasm", b"\0asm\x02\0\0\0", &["WebAssembly of version 2", "`forelift convert` made"]),
    ] {
        put(dir, name, bytes);
        refused(dir, name, words);
    }
}

#[test]
fn modules_of_other_programs() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for text in [
        "(module)",
        "(module (memory 1))",
        "(module (memory i64 1))",
        "(module (memory 1 2 shared))",
        r#"(module (import "env" "memory" (memory 1)))"#,
        r#"(module (memory 1) (data "passive"))"#,
        r#"(module (import "env" "base" (global i32)) (memory 1) (data (global.get 0) "x"))"#,
    ] {
        put(dir, "other.wasm", &wat::parse_str(text).unwrap());
        refused(dir, "other.wasm", &["no Forelift image", "`forelift convert` made"]);
    }
    put(dir, "runtime.wasm", &runtime("nop"));
    refused(dir, "runtime.wasm", &["holds no image", "`forelift convert`"]);
}

#[test]
fn cut_off_images() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let whole = image(&runtime("nop")).0;
    for len in [3, 7, 9, 100, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        put(dir, "cut.wasm", &whole[..len]);
        refused(dir, "cut.wasm", &["convert"]);
        if len >= whole.len() / 3 {
            refused(dir, "cut.wasm", &["offset", &format!("of {len} bytes"), "cut off", "again"]);
        }
    }
    let mut native = Vec::new();
    compiled::write(b"native code", &whole, &mut native).unwrap();
    for len in [3, 20, 100, 5000, native.len() - 1] {
        put(dir, "cut.cwasm", &native[..len]);
        refused(
            dir,
            "cut.cwasm",
            if len < 8 { &["cut off"] } else { &["it ends early", "`forelift compile`"] },
        );
    }
}

/// An image whose configuration and manifest are these.
fn image_of(config: &[u8], manifest: Manifest) -> Vec<u8> {
    let (ram, root) = (ram(), root());
    let parts = Parts {
        config,
        state: b"machine state",
        ram_len: ram.len() as u64,
        ram: &ram,
        root: &root,
        ..Parts::default()
    };
    let mut out = Vec::new();
    pack(&runtime("nop"), &parts, manifest, Options::default(), &mut out, |_, _| {}).unwrap();
    out
}

fn manifest(version: &str, arch: &str) -> Manifest {
    Manifest { forelift: version.into(), arch: arch.into(), ..Manifest::default() }
}

#[test]
fn images_of_other_versions() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let this = env!("CARGO_PKG_VERSION");
    let config = postcard::to_allocvec(&config()).unwrap();
    let by_other = ["made by forelift 9.8.7, this is", this];

    // Another layout.
    let mut bytes = image_of(&config, manifest("9.8.7", "riscv64"));
    let block = Module::parse(&bytes).unwrap().segments.iter().find(|s| s.addr == 1024).unwrap().offset;
    bytes[block + 8] = 99;
    put(dir, "version.wasm", &bytes);
    refused(dir, "version.wasm", &[&by_other[..], &["version 99", "convert the image again"]].concat());
    bytes[block + 8] ^= 99;
    bytes[block] = b'X';
    put(dir, "version.wasm", &bytes);
    refused(dir, "version.wasm", &["image header", "damaged", "convert the image again"]);

    // A guest of a third architecture, whose number no version before had.
    let mut third = config.clone();
    third[0] = 2;
    put(dir, "arch.wasm", &image_of(&third, manifest("9.8.7", "arm64")));
    refused(dir, "arch.wasm", &[&by_other[..], &["architecture is arm64", "riscv64 and amd64"]].concat());

    // A configuration that is understood by another version only.
    put(dir, "config.wasm", &image_of(&config[..config.len() / 2], manifest("9.8.7", "riscv64")));
    refused(
        dir,
        "config.wasm",
        &[&by_other[..], &["configuration cannot be decoded", "convert the image again"]].concat(),
    );
    put(dir, "config.wasm", &image_of(&config[..config.len() / 2], manifest(this, "riscv64")));
    let text = line(&["run", "config.wasm"], dir, 125);
    assert!(text.contains("configuration cannot be decoded") && !text.contains("made by"), "{text}");

    // What is the same in both is run.
    put(dir, "good.wasm", &image_of(&config, manifest("9.8.7", "riscv64")));
    assert_eq!(forelift(&["run", "good.wasm"], dir).status.code(), Some(0));
}

/// Native code of the image at `path`, as wasmtime makes it.
fn native(path: &Path) -> Vec<u8> {
    code::compile(&engine::new(None).unwrap(), &reader::open(path).unwrap()).unwrap()
}

/// Where `part` stands, once.
fn only(whole: &[u8], part: &[u8]) -> usize {
    let places: Vec<usize> =
        (0..=whole.len() - part.len()).filter(|&at| whole[at..].starts_with(part)).collect();
    assert_eq!(places.len(), 1, "{}", String::from_utf8_lossy(part));
    places[0]
}

/// The code as if made by another version of wasmtime: the version follows its length, as text.
fn other_version(mut code: Vec<u8>) -> Vec<u8> {
    let section = only(&code, format!("{}-unknown-linux", std::env::consts::ARCH).as_bytes());
    let version = code[..section].iter_mut().rev().find(|byte| byte.is_ascii_digit()).unwrap();
    *version = if *version == b'9' { b'8' } else { b'9' };
    code
}

/// The code as if made for another architecture: the name of the target stands in it, with its length.
fn other_arch(mut code: Vec<u8>) -> Vec<u8> {
    let names = match std::env::consts::ARCH {
        "x86_64" => ["x86_64-unknown-linux-gnu", "s390x-unknown-linux-musl"],
        _ => ["aarch64-unknown-linux-gnu", "sparc64-unknown-linux-gnu"],
    };
    let at = only(&code, names[0].as_bytes());
    code[at..at + names[0].len()].copy_from_slice(names[1].as_bytes());
    code
}

/// The code as if made for a CPU that has what this one, and this build, have not: the name of a feature, and
/// that it is used.
fn other_cpu(mut code: Vec<u8>) -> Vec<u8> {
    let names: [&[u8]; 2] = match std::env::consts::ARCH {
        "x86_64" => [b"has_avx512vbmi", b"has_avx999vbmi"],
        _ => [b"has_lse", b"has_xyz"],
    };
    let at = only(&code, names[0]);
    let end = at + names[0].len();
    code[at..end].copy_from_slice(names[1]);
    code[end + 1] = 1;
    code
}

#[test]
fn native_code_for_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let path = write_image(dir, "image.wasm", "(call $exit (i32.const 7))");
    let module = fs::read(&path).unwrap();
    let cwasm = |code: &[u8]| {
        let mut file = Vec::new();
        compiled::write(code, &module, &mut file).unwrap();
        put(dir, "image.cwasm", &file);
        file
    };
    let good = native(&path);
    cwasm(&good);
    assert_eq!(forelift(&["run", "image.cwasm"], dir).status.code(), Some(7));
    for (code, why) in [
        (other_version(good.clone()), "incompatible version"),
        (other_arch(good.clone()), "compiled for architecture"),
        (other_cpu(good.clone()), "999"),
        (b"\x7fELF of something else".to_vec(), ""),
    ] {
        let why = if std::env::consts::ARCH == "x86_64" { why } else { "" };
        cwasm(&code);
        let text = line(&["run", "image.cwasm"], dir, 125);
        for word in ["image.cwasm", "does not suit", "`forelift compile`", why] {
            assert!(text.contains(word), "no {word:?}: {text}");
        }
        // The module is in it: it can be looked at, and compiled again in place.
        assert_eq!(forelift(&["inspect", "image.cwasm"], dir).status.code(), Some(0));
        assert_eq!(forelift(&["compile", "-q", "image.cwasm"], dir).status.code(), Some(0));
        assert_eq!(forelift(&["run", "image.cwasm"], dir).status.code(), Some(7));
    }
    // The format of the file itself.
    let mut file = cwasm(&good);
    file[8] = 9;
    put(dir, "image.cwasm", &file);
    refused(dir, "image.cwasm", &["precompiled image of version 9", "`forelift compile`"]);
}

#[test]
fn images_that_cannot_be_compared() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut config = config();
    config.arch = forelift_abi::config::Arch::X86_64;
    let config = postcard::to_allocvec(&config).unwrap();
    put(dir, "amd64.wasm", &image_of(&config, Manifest::default()));
    for options in [&[][..], &["--engines", "interp,aot"], &["--bisect"], &["--bisect", "--test", "true"]] {
        let text = line(&[&["lockstep"], options, &["amd64.wasm"]].concat(), dir, 1);
        assert!(text.contains("amd64.wasm") && text.contains("is for amd64"), "{text}");
    }
    write_image(dir, "plain.wasm", "nop");
    let text = line(&["lockstep", "--engines", "aot,interp", "plain.wasm"], dir, 1);
    assert!(text.contains("plain.wasm") && text.contains("nothing is lifted"), "{text}");
    // A snapshot that is none.
    let text = line(&["lockstep", "plain.wasm"], dir, 1);
    assert!(text.contains("plain.wasm") && text.contains("convert the image again"), "{text}");
}
