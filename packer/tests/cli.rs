//! The command line: usage, errors, their exit status, and the files that they leave.

mod common;

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use common::{runtime, write_image};

fn forelift(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forelift")).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Exit status and the one line on stderr.
fn failure(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.lines().filter(|l| l.starts_with("forelift: ")).count(), 1, "{text}");
    assert!(output.stdout.is_empty());
    (output.status.code().unwrap(), text)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Assets with a stand-in for everything.
fn assets(dir: &Path) {
    let mut kernel = vec![0u8; 8192];
    kernel[16..24].copy_from_slice(&16384u64.to_le_bytes());
    kernel[0x38..0x3c].copy_from_slice(b"RSC\x05");
    std::fs::write(dir.join("Image-riscv64"), kernel).unwrap();
    std::fs::write(dir.join("SOURCE-riscv64"), "Package: a kernel\nVersion: 1\n").unwrap();
    std::fs::write(dir.join("init-riscv64"), b"\x7fELF").unwrap();
    std::fs::write(dir.join("runtime-riscv64.wasm"), runtime("(call $exit (i32.const 5))")).unwrap();
}

/// What is added to [`assets`] for the x86_64 guest.
fn x86_64_assets(dir: &Path) {
    // An ELF file of one segment of 100 bytes for the second MiB and a half.
    let mut kernel = vec![0u8; 220];
    kernel[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value) in [
        (16, 2),
        (18, 62),
        (32, 64),
        (52, 64),
        (54, 56),
        (56, 1),
        (64, 1),
        (72, 120),
        (88, 0x28_0000),
        (96, 100),
        (104, 100),
    ] {
        kernel[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
    }
    std::fs::write(dir.join("Image-x86_64"), kernel).unwrap();
    std::fs::write(dir.join("init-x86_64"), b"\x7fELF").unwrap();
    std::fs::write(dir.join("runtime-x86_64.wasm"), runtime("(call $exit (i32.const 6))")).unwrap();
    std::fs::write(dir.join("qemu-aarch64"), b"\x7fELF that interprets").unwrap();
    std::fs::write(dir.join("SOURCE-qemu-aarch64"), "Package: an interpreter\n").unwrap();
}

/// A root file system with one file of `bytes` bytes.
fn root(dir: &Path, bytes: usize) {
    std::fs::create_dir_all(dir.join("root/bin")).unwrap();
    let data: Vec<u8> = (0..bytes).map(|i| (i * 7 + i / 251) as u8).collect();
    std::fs::write(dir.join("root/bin/file"), data).unwrap();
}

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("assets")).unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        assets(&dir.path().join("assets"));
        root(dir.path(), bytes);
        Bench { dir }
    }

    fn out(&self) -> std::path::PathBuf {
        self.dir.path().join("out")
    }

    fn shell(&self, script: &str) -> Output {
        Command::new("sh")
            .args(["-c", script])
            .env("FORELIFT", env!("CARGO_BIN_EXE_forelift"))
            .env("FORELIFT_ASSETS", self.dir.path().join("assets"))
            .env("XDG_CACHE_HOME", self.dir.path())
            .env_remove("FORELIFT_CACHE")
            .env("ROOT", self.dir.path().join("root"))
            .current_dir(self.out())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

#[test]
fn wrong_usage_is_status_2_and_of_run_125() {
    for args in [&["run"][..], &["run", "--frobnicate", "x"]] {
        let output = forelift(args);
        assert_eq!(output.status.code(), Some(125), "{args:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
    for args in [
        &["frobnicate"][..],
        &["convert"],
        &["convert", "--memory", "lots", "x"],
        &["convert", "--arch", "sparc", "x"],
        &["convert", "--platform", "linux/arm/v7", "x"],
        &["convert", "--snapshot", "maybe", "x"],
        &["inspect", "a", "b"],
    ] {
        let output = forelift(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
    for args in [&["--version"][..], &["--help"], &["run", "--help"], &["convert", "-h"]] {
        let output = forelift(args);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn run_fails_with_125_and_the_rest_with_1() {
    let (code, text) = failure(&forelift(&["run", "/no/such.wasm"]));
    assert_eq!(code, 125);
    assert!(text.contains("/no/such.wasm"));
    assert_eq!(failure(&forelift(&["inspect", "/no/such.wasm"])).0, 1);
    assert_eq!(failure(&forelift(&["compile", "/etc/passwd"])).0, 1);
    let dir = tempfile::tempdir().unwrap();
    let image = write_image(dir.path(), "i.wasm", "nop");
    let image = image.to_str().unwrap();
    for (args, word) in [
        (&["run", "-it", image][..], "not a TTY"),
        (&["run", "--dir", "/no/such", image], "/no/such"),
        (&["run", "--dir", "/tmp::relative", image], "not absolute"),
        (&["run", "-e", "=1", image], "environment variable"),
        (&["run", "--env-file", "/no/such", image], "/no/such"),
    ] {
        let (code, text) = failure(&forelift(args));
        assert!(code == 125 && text.contains(word), "{text}");
    }
}

#[test]
fn truncated_images_are_refused_by_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let image = write_image(dir.path(), "i.wasm", "nop");
    let bytes = std::fs::read(&image).unwrap();
    std::fs::write(&image, &bytes[..bytes.len() / 2]).unwrap();
    for command in ["run", "inspect", "compile"] {
        let (_, text) = failure(&forelift(&[command, image.to_str().unwrap()]));
        assert!(text.contains("i.wasm") && text.contains("offset"), "{text}");
    }
    assert_eq!(names(dir.path()), ["i.wasm"]);
}

#[test]
fn missing_assets_name_the_way_out() {
    let bench = Bench::new(10);
    std::fs::remove_file(bench.dir.path().join("assets/runtime-riscv64.wasm")).unwrap();
    let (code, text) = failure(&bench.shell("\"$FORELIFT\" convert -q \"dir:$ROOT\" o.wasm"));
    assert_eq!(code, 1);
    assert!(
        text.contains("runtime-riscv64.wasm") && text.contains("scripts/build") && text.contains("assets"),
        "{text}"
    );
    assert!(names(&bench.out()).is_empty());
}

/// A build for riscv64 alone, as the quick start makes it.
#[test]
fn an_architecture_that_is_not_installed() {
    let bench = Bench::new(10);
    let convert = |options: &str| {
        failure(&bench.shell(&format!("\"$FORELIFT\" convert -q {options} \"dir:$ROOT\" o.wasm")))
    };
    let words = ["images for amd64", "no runtime-x86_64.wasm", "scripts/build", "--platform linux/riscv64"];
    let has_all = |(code, text): (i32, String)| {
        assert!(code == 1 && words.iter().all(|word| text.contains(word)), "{text}");
        assert!(names(&bench.out()).is_empty());
    };
    has_all(convert("--platform linux/amd64"));
    std::fs::write(bench.dir.path().join("root/bin/sh"), program(62)).unwrap();
    has_all(convert(""));
    // With nothing at all there is nothing to choose.
    for file in names(&bench.dir.path().join("assets")) {
        std::fs::remove_file(bench.dir.path().join("assets").join(file)).unwrap();
    }
    let (_, text) = convert("");
    assert!(text.contains("scripts/build") && !text.contains("--platform"), "{text}");
}

#[test]
fn an_installation_can_be_moved() {
    let bench = Bench::new(10);
    let at = |path: &str| bench.dir.path().join(path);
    for dir in ["old/bin", "old/share", "links"] {
        std::fs::create_dir_all(at(dir)).unwrap();
    }
    std::fs::copy(env!("CARGO_BIN_EXE_forelift"), at("old/bin/forelift")).unwrap();
    std::fs::rename(at("assets"), at("old/share/forelift")).unwrap();
    std::fs::rename(at("old"), at("new")).unwrap();
    std::os::unix::fs::symlink("../new/bin/forelift", at("links/forelift")).unwrap();
    // By its path, by a symbolic link, found in PATH; FORELIFT_ASSETS is not set, or empty.
    for call in ["../new/bin/forelift", "../links/forelift", "PATH=$PWD/../links:$PATH forelift"] {
        for unset in ["unset FORELIFT_ASSETS", "export FORELIFT_ASSETS="] {
            let output =
                bench.shell(&format!("{unset}; {call} convert -q --snapshot none \"dir:$ROOT\" o.wasm"));
            assert!(output.status.success(), "{call}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    std::fs::rename(at("new/share/forelift"), at("assets")).unwrap();
    let (_, text) =
        failure(&bench.shell("unset FORELIFT_ASSETS; ../links/forelift convert -q \"dir:$ROOT\" x.wasm"));
    let looked = at("new/share/forelift");
    assert!(text.contains(&format!("in {}:", looked.display())), "{text}");
    // What is set counts, and nothing else.
    let set = "../links/forelift convert -q --snapshot none \"dir:$ROOT\" x.wasm";
    assert!(bench.shell(set).status.success());
    let (_, text) = failure(&bench.shell(&format!("export FORELIFT_ASSETS=/no/such; {set}")));
    assert!(text.contains("in /no/such:"), "{text}");
    // The program knows no place of the machine that built it.
    let program = std::fs::read(env!("CARGO_BIN_EXE_forelift")).unwrap();
    let checkout = env!("CARGO_MANIFEST_DIR").as_bytes();
    assert!(!program.windows(checkout.len()).any(|part| part == checkout), "the checkout's path is in it");
}

#[test]
fn converts_inspects_and_runs_without_a_snapshot() {
    let bench = Bench::new(500_000);
    let convert =
        "\"$FORELIFT\" convert -q --json --snapshot none --memory 64M --append 'a=b c' \"dir:$ROOT\"";
    let output = bench.shell(convert);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(names(&bench.out()), ["root.wasm"]);
    let size = std::fs::metadata(bench.out().join("root.wasm")).unwrap().len();
    assert_eq!((report["size"].as_u64(), report["out"].as_str()), (Some(size), Some("root.wasm")));
    assert!(report["stages"].as_array().unwrap().len() >= 3);
    assert!(size > 500_000 && size < 700_000, "{size}");

    let shown: serde_json::Value =
        serde_json::from_slice(&bench.shell("\"$FORELIFT\" inspect --json root.wasm").stdout).unwrap();
    assert_eq!(shown["ram"], 64 << 20);
    assert_eq!(shown["snapshot"], false);
    assert!(shown["cmdline"].as_str().unwrap().ends_with("a=b c"));
    assert_eq!(shown["manifest"]["kernel"]["source"], "Package: a kernel | Version: 1");
    assert_eq!(shown["parts"]["kernel"]["size"], 8192);
    let text = bench.shell("\"$FORELIFT\" inspect root.wasm").stdout;
    assert!(String::from_utf8(text).unwrap().contains("guest RAM      64.0 MiB"));

    assert_eq!(bench.shell("\"$FORELIFT\" run root.wasm").status.code(), Some(5));
    // The same again gives the same bytes.
    let first = std::fs::read(bench.out().join("root.wasm")).unwrap();
    assert!(bench.shell(convert).status.success());
    assert!(std::fs::read(bench.out().join("root.wasm")).unwrap() == first);
}

/// The headers of a program for this machine (ELF's `e_machine`).
fn program(machine: u8) -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    (elf[16], elf[18], elf[20]) = (2, machine, 1);
    elf
}

#[test]
fn the_machine_follows_from_the_image() {
    let bench = Bench::new(10);
    x86_64_assets(&bench.dir.path().join("assets"));
    let sh = bench.dir.path().join("root/bin/sh");
    for (machine, arch, status, foreign) in
        [(243, "riscv64", 5, false), (62, "amd64", 6, false), (3, "amd64", 6, false), (183, "amd64", 6, true)]
    {
        std::fs::write(&sh, program(machine)).unwrap();
        let output =
            bench.shell("\"$FORELIFT\" convert --json --snapshot none --memory 64M \"dir:$ROOT\" o.wasm");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{machine}: {said}");
        assert_eq!(said.contains("qemu-aarch64") && said.contains("slow"), foreign, "{said}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["arch"], arch, "{machine}");
        let text = bench.shell("\"$FORELIFT\" inspect o.wasm").stdout;
        assert_eq!(String::from_utf8(text).unwrap().contains("Package: an interpreter"), foreign);
        let bytes = std::fs::read(bench.out().join("o.wasm")).unwrap();
        let has = |part: &[u8]| bytes.windows(part.len()).any(|w| w == part);
        assert_eq!(has(b"\x7fELF that interprets"), foreign);
        assert_eq!(has(b".forelift-qemu-aarch64"), foreign);
        assert_eq!(bench.shell("\"$FORELIFT\" run o.wasm").status.code(), Some(status));
        std::fs::remove_file(bench.out().join("o.wasm")).unwrap();
    }
    // The last image is for arm64.
    for (options, word) in [
        ("--platform linux/amd64", "for arm64"),
        ("--platform linux/arm64 --kernel ../assets/Image-riscv64", "no ELF file"),
        ("--memory 8M", "too little"),
        ("--memory 3500M", "room for 3072.0 MiB"),
    ] {
        let (code, text) = failure(
            &bench.shell(&format!("\"$FORELIFT\" convert -q --snapshot none {options} dir:$ROOT o.wasm")),
        );
        assert!(code == 1 && text.contains(word), "{options}: {text}");
    }
    std::fs::remove_file(bench.dir.path().join("assets/qemu-aarch64")).unwrap();
    let (_, text) = failure(&bench.shell("\"$FORELIFT\" convert -q --snapshot none dir:$ROOT o.wasm"));
    assert!(text.contains("no qemu-aarch64") && text.contains("scripts/build"), "{text}");
    // s390x.
    std::fs::write(&sh, program(22)).unwrap();
    let (_, text) = failure(&bench.shell("\"$FORELIFT\" convert -q --snapshot none dir:$ROOT o.wasm"));
    assert!(text.contains("is for s390x") && text.contains("riscv64, amd64, 386, arm64"), "{text}");
    assert!(names(&bench.out()).is_empty());
}

#[test]
fn rootfs_writes_the_file_system_alone() {
    let bench = Bench::new(100_000);
    let output = bench.shell("\"$FORELIFT\" rootfs \"dir:$ROOT\" o.erofs");
    assert!(output.status.success());
    let image = std::fs::read(bench.out().join("o.erofs")).unwrap();
    assert_eq!(image.len() % (2 << 20), 0);
    // The superblock's magic number (Linux, fs/erofs/erofs_fs.h).
    assert_eq!(image[1024..1028], 0xe0f5_e1e2_u32.to_le_bytes());
}

#[test]
fn what_cannot_be_converted_leaves_nothing() {
    let bench = Bench::new(10);
    std::fs::write(bench.dir.path().join("gz"), b"\x1f\x8b\x08 not an image").unwrap();
    for (args, word) in [
        ("--kernel /etc/passwd dir:$ROOT", "riscv64 kernel image"),
        ("--kernel ../gz dir:$ROOT", "compressed"),
        ("--kernel /no/such dir:$ROOT", "/no/such"),
        ("--memory 4M dir:$ROOT", "too little"),
        ("--memory 8G dir:$ROOT", "4 GiB"),
        ("--memory 4090M dir:$ROOT", "lower --memory"),
        ("dir:/no/such", "/no/such"),
        ("tar:/etc/passwd", "/etc/passwd"),
    ] {
        let (code, text) =
            failure(&bench.shell(&format!("\"$FORELIFT\" convert -q --snapshot none {args} o.wasm")));
        assert!(code == 1 && text.contains(word), "{args}: {text}");
        assert!(names(&bench.out()).is_empty(), "{args}");
    }
    let (_, text) =
        failure(&bench.shell("\"$FORELIFT\" convert -q --snapshot none dir:$ROOT /no/such/o.wasm"));
    assert!(text.contains("/no/such/o.wasm: its directory") && !text.contains(".tmp"), "{text}");
    assert_eq!(text.matches("No such file").count(), 1, "{text}");
    let (_, text) = failure(&bench.shell("\"$FORELIFT\" convert -q --snapshot none dir:$ROOT /dev/null"));
    assert!(text.contains("not a regular file"), "{text}");
}

#[test]
fn a_full_disk_leaves_nothing() {
    let bench = Bench::new(3_000_000);
    std::fs::write(bench.out().join("o.wasm"), "what was there before").unwrap();
    for command in ["convert --snapshot none", "rootfs"] {
        // Units of 512 bytes: about 1 MB.
        let script = format!("ulimit -f 2000; \"$FORELIFT\" {command} -q \"dir:$ROOT\" o.wasm");
        let (code, text) = failure(&bench.shell(&script));
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("too large") || text.contains("space"), "{text}");
        assert_eq!(names(&bench.out()), ["o.wasm"]);
    }
    assert_eq!(std::fs::read(bench.out().join("o.wasm")).unwrap(), b"what was there before");
}

#[test]
fn a_signal_leaves_nothing() {
    let bench = Bench::new(10);
    // The image comes through a pipe that never ends, so the command is still loading when the signal comes.
    let script = "mkfifo ../pipe; sleep 30 >../pipe & feeder=$!
        \"$FORELIFT\" convert -q --snapshot none tar:../pipe o.wasm & pid=$!
        n=0; while [ -z \"$(ls -A)\" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
        ls -A | wc -l; kill -TERM $pid; wait $pid; echo $?; kill $feeder";
    let output = bench.shell(script);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "1\n143\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(names(&bench.out()).is_empty());
}
