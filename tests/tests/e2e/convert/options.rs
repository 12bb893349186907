//! Options of `forelift convert`, and its siblings `compile` and `rootfs`.

use crate::testing::{busybox_tar, dir, run_file};
use forelift_tests::{
    done::Done,
    hosts::Place,
    images::{Image, convert, inspect_json},
    process::program,
    workspace::{forelift, product, tool},
};
use std::{fs, path::PathBuf};

pub(super) fn without_snapshot(host: Place) {
    let done = host.sh("echo cold; exit 7").file(host.image(Image::Busybox).wasm_cold()).stdin("x").go();
    done.expect_status(7).expect_out("cold\n").expect_err("");
}

/// The .wasm itself, not precompiled; with an empty cache, and with a filled one.
pub(super) fn plain_module(host: Place) {
    let cache = dir();
    for _ in 0..2 {
        let mut command = host.sh("echo hello").file(host.image(Image::Busybox).wasm()).command();
        command.env("XDG_CACHE_HOME", cache.path()).env_remove("FORELIFT_CACHE");
        let output = command.output().expect("running the host");
        assert_eq!(
            (output.status.code(), output.stdout.as_slice(), output.stderr.as_slice()),
            (Some(0), &b"hello\n"[..], &b""[..])
        );
    }
    assert!(
        fs::read_dir(cache.path().join("forelift")).is_ok_and(|mut d| d.next().is_some()),
        "nothing was cached"
    );
    let text = host.sh("echo hello").file(host.image(Image::Busybox).wasm()).option("--no-cache").ok();
    assert_eq!(text, "hello\n");
}

pub(super) fn memory_option() {
    let total = |memory: &str| {
        let dir = dir();
        let out = dir.path().join("out.wasm");
        convert(&Image::Busybox.reference(), &out, &["--memory", memory]);
        let text = run_file(&out).args(["awk", "/^MemTotal/ { print $2 }", "/proc/meminfo"]).ok();
        text.trim().parse::<u64>().expect("a number") >> 10
    };
    let (small, large) = (total("64M"), total("1G"));
    assert!((40..64).contains(&small), "64M: {small} MiB");
    assert!((960..1024).contains(&large), "1G: {large} MiB");
}

pub(super) fn append_option() {
    let dir = dir();
    let out = dir.path().join("out.wasm");
    convert(&Image::Busybox.reference(), &out, &["--append", "forelift.test=appended quiet"]);
    let text = run_file(&out).args(["cat", "/proc/cmdline"]).ok();
    assert!(text.contains("forelift.test=appended"), "{text}");
}

fn built_in_kernel() -> PathBuf {
    let assets = product().into_iter().find(|p| p.is_dir()).expect("the directory of the assets");
    assets.join("Image-riscv64")
}

pub(super) fn kernel_option() {
    let dir = dir();
    let kernel = dir.path().join("my-kernel");
    fs::copy(built_in_kernel(), &kernel).expect("copying the kernel");
    let out = dir.path().join("out.wasm");
    convert(&Image::Busybox.reference(), &out, &["--kernel", &kernel.display().to_string()]);
    assert_eq!(run_file(&out).args(["uname", "-s"]).ok(), "Linux\n");
    let json = inspect_json(&out);
    assert!(json["manifest"]["kernel"]["origin"].as_str().is_some_and(|o| o.contains("my-kernel")), "{json}");
}

pub(super) fn compile() {
    let dir = dir();
    let wasm = dir.path().join("app.wasm");
    fs::copy(Image::Busybox.wasm(), &wasm).expect("copying");
    program(forelift(), |c| {
        c.args(["compile", "-q"]).arg(&wasm);
    })
    .ok();
    let cwasm = dir.path().join("app.cwasm");
    assert_eq!(run_file(&cwasm).args(["echo", "compiled"]).ok(), "compiled\n");
    // Native code is trusted: it must not come in by a name that promises WebAssembly.
    fs::copy(&cwasm, &wasm).expect("copying");
    run_file(&wasm).args(["echo"]).go().expect_status(125).one_error(&["app.wasm", "cwasm"]);
}

pub(super) fn default_output_name() {
    let dir = dir();
    let tar = dir.path().join("my-root.tar");
    fs::copy(busybox_tar(), &tar).expect("copying");
    let done = program(forelift(), |c| {
        c.args(["convert", "-q", "my-root.tar"]).current_dir(dir.path());
    });
    done.ok();
    assert_eq!(run_file(&dir.path().join("my-root.wasm")).args(["echo", "named"]).ok(), "named\n");
}

pub(super) fn rootfs_is_sound() {
    for image in [Image::Service, Image::Minbase] {
        let dir = dir();
        let out = dir.path().join("root.erofs");
        program(forelift(), |c| {
            c.args(["rootfs", "-q", &image.reference()]).arg(&out);
        })
        .ok();
        let check = program(tool("fsck.erofs"), |c| {
            c.arg(&out);
        });
        check.expect_status(0);
    }
}

pub(super) fn progress_is_quiet_when_asked() {
    let dir = dir();
    let out = dir.path().join("out.wasm");
    let run = |options: &[&str]| -> Done {
        program(forelift(), |c| {
            c.arg("convert").args(options).arg(Image::Busybox.reference()).arg(&out);
        })
    };
    run(&["-q"]).expect_status(0).expect_out("").expect_err("");
    let done = run(&[]).expect_status(0);
    assert!(done.out().lines().count() == 1 && done.out().contains("out.wasm"), "{done}");
    assert!(done.err().lines().count() >= 2 && !done.err().contains('\x1b'), "{done}");
}
