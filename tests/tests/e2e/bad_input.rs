//! Bad kernels, options, disks and modules: one clear line, a status that is not 0, nothing left behind.

use crate::testing::dir;
use forelift_abi::header;
use forelift_tests::{
    done::Done,
    hosts::{Guest, Host, Place},
    images::Image,
    process::program,
    random::Random,
    table::{Check, Group},
    workspace::{forelift, product, tool},
};
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

pub(crate) const CASES: Group = &[
    ("usage", Check::Once(usage)),
    ("usage_of_run", Check::Once(usage_of_run)),
    ("bad_kernels", Check::Once(bad_kernels)),
    ("kernel_that_does_not_boot", Check::Once(kernel_that_does_not_boot)),
    ("too_little_memory", Check::Once(too_little_memory)),
    ("too_much_memory", Check::Once(too_much_memory)),
    ("memory_that_the_guest_cannot_boot_in", Check::Once(memory_that_the_guest_cannot_boot_in)),
    ("command_line_that_does_not_boot", Check::Once(command_line_that_does_not_boot)),
    ("output_that_cannot_be_written", Check::Once(output_that_cannot_be_written)),
    ("old_output_survives_a_failure", Check::Once(old_output_survives_a_failure)),
    ("full_disk", Check::Once(full_disk)),
    ("full_disk_of_compile", Check::Once(full_disk_of_compile)),
    ("interrupted_conversion", Check::Once(interrupted_conversion)),
    ("missing_assets", Check::Once(missing_assets)),
    ("no_module", Check::In(Guest::Riscv64, &Host::OURS, no_module)),
    ("truncated_module", Check::In(Guest::Riscv64, &Host::OURS, truncated_module)),
    ("damaged_header", Check::In(Guest::Riscv64, &Host::ALL, damaged_header)),
    ("damaged_snapshot", Check::On(&Host::ALL, damaged_snapshot)),
    ("damaged_memory_is_contained", Check::On(&Host::OURS, damaged_memory_is_contained)),
    ("truncated_native_code", Check::In(Guest::Riscv64, &[Host::Wasm], truncated_native_code)),
    ("every_command_refuses", Check::Once(every_command_refuses)),
    ("lockstep_refuses_native_code", Check::Once(lockstep_refuses_native_code)),
];

/// Names of the files in a directory.
fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("a directory")
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Converts something that must be refused: one line with these words, and an empty output directory.
pub(crate) fn refused(options: &[&str], reference: &str, words: &[&str]) {
    let dir = dir();
    let done = program(forelift(), |c| {
        c.args(["convert", "-q"]).args(options).arg(reference).arg(dir.path().join("out.wasm"));
    });
    if done.status() == 2 {
        // Wrong usage: the command line parser's own form, which is several lines.
        for word in words {
            assert!(done.err().contains(word), "no {word:?}: {done}");
        }
    } else {
        done.one_error(words).expect_status(1);
    }
    assert_eq!(listing(dir.path()), Vec::<String>::new(), "left behind by {reference}");
}

fn usage() {
    let run = |args: &[&str]| {
        program(forelift(), |c| {
            c.args(args);
        })
    };
    for args in
        [&["convert"][..], &["convert", "--nope", "x"], &["nope"], &["convert", "--memory", "lots", "x"]]
    {
        let done = run(args).expect_status(2);
        assert!(done.stdout.is_empty() && done.err().contains("--help"), "{done}");
    }
    for args in [&["--help"][..], &["convert", "--help"], &["run", "--help"], &["--version"]] {
        assert!(!run(args).ok().is_empty());
    }
}

/// As docker: wrong usage of `run` is 125, so that 2 is the container's.
fn usage_of_run() {
    for args in [
        &["run"][..],
        &["run", "--nope", "x"],
        &["run", "/no/such/file.wasm"],
        &["run", "--dir"],
        &["run", "-e", "=x", "f"],
    ] {
        let done = program(forelift(), |c| {
            c.args(args);
        });
        let done = done.expect_status(125);
        assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{done}");
    }
}

fn kernel() -> PathBuf {
    product().into_iter().find(|p| p.is_dir()).expect("the directory of the assets").join("Image-riscv64")
}

fn refuse_kernel(bytes: &[u8], words: &[&str]) {
    let dir = dir();
    let path = dir.path().join("kernel.bin");
    fs::write(&path, bytes).expect("writing");
    let mut all = vec!["kernel.bin"];
    all.extend_from_slice(words);
    refused(&["--kernel", &path.display().to_string()], &Image::Busybox.reference(), &all);
}

fn bad_kernels() {
    let good = fs::read(kernel()).expect("the kernel");
    refuse_kernel(b"", &["riscv64"]);
    refuse_kernel(b"no kernel", &["riscv64"]);
    refuse_kernel(&Random::new(3).bytes(5_000_000), &["riscv64"]);
    refuse_kernel(&good[..40], &["riscv64"]);
    refuse_kernel(&fs::read("/bin/true").expect("/bin/true"), &["ELF"]);
    refuse_kernel(b"\x1f\x8b\x08\0\0\0\0\0", &["compressed"]);
    refused(
        &["--kernel", "/no/such/kernel"],
        &Image::Busybox.reference(),
        &["/no/such/kernel", "No such file"],
    );
    refused(&["--kernel", "/etc"], &Image::Busybox.reference(), &["/etc"]);
}

/// A right header over wrong code: what runs wild, hangs or stops must end the conversion.
fn kernel_that_does_not_boot() {
    let good = fs::read(kernel()).expect("the kernel");
    let with_code = |code: &[u8]| {
        let mut bytes = good.clone();
        // The first two instructions are the header's first 8 bytes.
        for chunk in bytes[64..].chunks_mut(code.len()) {
            let n = chunk.len();
            chunk.copy_from_slice(&code[..n]);
        }
        bytes[..8].copy_from_slice(&[0x13, 0, 0, 0, 0x6f, 0, 0xc0, 0x03]);
        bytes
    };
    // Illegal instructions; an endless loop; a sleep without any timer.
    for code in [&[0, 0, 0, 0][..], &[0x6f, 0, 0, 0], &[0x73, 0, 0x50, 0x10]] {
        refuse_kernel_boot(&with_code(code));
    }
    let mut damaged = good;
    let len = damaged.len();
    damaged[0x1000..len / 2].copy_from_slice(&Random::new(4).bytes(len / 2 - 0x1000));
    refuse_kernel_boot(&damaged);
}

fn refuse_kernel_boot(bytes: &[u8]) {
    let work = dir();
    let path = work.path().join("kernel.bin");
    fs::write(&path, bytes).expect("writing");
    refused(&["--kernel", &path.display().to_string()], &Image::Busybox.reference(), &[]);
}

fn too_little_memory() {
    for memory in ["8M", "1M", "4096"] {
        refused(&["--memory", memory], &Image::Busybox.reference(), &["--memory", "at least"]);
    }
    refused(&["--memory", "0"], &Image::Busybox.reference(), &["memory"]);
}

fn too_much_memory() {
    for memory in ["4G", "5G", "100G"] {
        refused(&["--memory", memory], &Image::Busybox.reference(), &["4 GiB"]);
    }
    // Alone it would fit, but not with the root file system.
    refused(&["--memory", "4090M"], &Image::Python3.reference(), &["a WebAssembly memory holds"]);
}

/// Between what is refused at once and what works: the guest reports it, or it works.
fn memory_that_the_guest_cannot_boot_in() {
    for megabytes in [20, 24, 28, 32, 40] {
        let dir = dir();
        let out = dir.path().join("out.wasm");
        let done = program(forelift(), |c| {
            c.args(["convert", "-q", "--memory", &format!("{megabytes}M"), &Image::Busybox.reference()])
                .arg(&out);
        });
        if done.status() == 0 {
            let text = Host::Wasm.riscv64().run(Image::Busybox).file(&out).args(["echo", "works"]).go();
            text.expect_status(0).expect_out("works\n");
        } else {
            done.expect_status(1).one_error(&[]);
            assert_eq!(listing(dir.path()), Vec::<String>::new());
        }
    }
}

fn command_line_that_does_not_boot() {
    refused(
        &["--append", "init=/no/such/init rdinit=/no/such/init"],
        &Image::Busybox.reference(),
        &["guest"],
    );
}

fn convert_to(path: &Path) -> Done {
    program(forelift(), |c| {
        c.args(["convert", "-q", &Image::Busybox.reference()]).arg(path);
    })
}

fn output_that_cannot_be_written() {
    let dir = dir();
    convert_to(&dir.path().join("no/such/dir/out.wasm")).expect_status(1).one_error(&["no/such/dir"]);
    fs::write(dir.path().join("file"), "x").expect("writing");
    convert_to(&dir.path().join("file/out.wasm")).expect_status(1).one_error(&["file"]);
    fs::create_dir(dir.path().join("taken.wasm")).expect("a directory");
    convert_to(&dir.path().join("taken.wasm")).expect_status(1).one_error(&["taken.wasm"]);
    convert_to(Path::new("/proc/forelift.wasm")).expect_status(1).one_error(&["/proc"]);
    assert_eq!(listing(dir.path()), ["file", "taken.wasm"]);
    assert_eq!(listing(&dir.path().join("taken.wasm")), Vec::<String>::new());
}

fn old_output_survives_a_failure() {
    let dir = dir();
    let out = dir.path().join("out.wasm");
    fs::write(&out, "precious").expect("writing");
    let done = program(forelift(), |c| {
        c.args(["convert", "-q", "tar:/dev/null"]).arg(&out);
    });
    done.expect_status(1).one_error(&[]);
    assert_eq!(fs::read_to_string(&out).expect("the old output"), "precious");
    assert_eq!(listing(dir.path()), ["out.wasm"]);
}

/// Runs a script in a mount namespace with a small tmpfs on `$0`; the script's directory is listed after its
/// output.
fn on_small_disk(megabytes: u32, script: &str, args: &[&str]) -> Done {
    let dir = dir();
    let unshare = tool("unshare");
    let mount = format!(
        "mount -t tmpfs -o size={megabytes}m small \"$0\" && cd \"$0\" && {{ {script}\n}}; s=$?; ls -A; exit $s"
    );
    program(unshare, |c| {
        // Not root: a user namespace allows the mount.
        c.args(if nix::unistd::geteuid().is_root() { &["-m"][..] } else { &["-rm"] });
        c.args(["sh", "-c", &mount]).arg(dir.path()).args(args);
    })
}

fn full_disk() {
    let bin = forelift().display().to_string();
    // Full while layers are spooled, while the root file system is built, and while the module is written.
    for (megabytes, image) in
        [(1, Image::Busybox), (4, Image::Busybox), (10, Image::Busybox), (60, Image::Python3)]
    {
        let done = on_small_disk(megabytes, "\"$1\" convert -q \"$2\" out.wasm", &[&bin, &image.reference()]);
        let done = done.expect_status(1).one_error(&["No space left"]);
        assert_eq!(done.out(), "", "left behind on {megabytes} MB");
    }
}

fn full_disk_of_compile() {
    let bin = forelift().display().to_string();
    let wasm = Image::Busybox.wasm().display().to_string();
    let done = on_small_disk(2, "\"$1\" compile -q \"$2\" out.cwasm", &[&bin, &wasm]);
    let done = done.expect_status(1).one_error(&["No space left"]);
    assert_eq!(done.out(), "", "left behind");
}

fn interrupted_conversion() {
    use forelift_tests::process::Signal;
    use nix::{sys::signal::kill, unistd::Pid};
    for (signal, pause) in
        [(Signal::SIGTERM, 30), (Signal::SIGINT, 300), (Signal::SIGHUP, 1000), (Signal::SIGTERM, 2500)]
    {
        let dir = dir();
        let mut child = Command::new(forelift())
            .args(["convert", "-q", &Image::Python3.reference()])
            .arg(dir.path().join("out.wasm"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting");
        sleep(Duration::from_millis(pause));
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("kill");
        let begin = Instant::now();
        let status = child.wait().expect("waiting");
        assert!(begin.elapsed() < Duration::from_secs(10), "the conversion goes on after {signal:?}");
        if status.success() {
            assert_eq!(listing(dir.path()), ["out.wasm"], "it was done already");
        } else {
            assert_eq!(status.signal(), Some(signal as i32), "{status}");
            assert_eq!(listing(dir.path()), Vec::<String>::new(), "left behind after {signal:?}");
        }
    }
}

fn missing_assets() {
    let empty = dir();
    let work = dir();
    let done = program(forelift(), |c| {
        c.env("FORELIFT_ASSETS", empty.path());
        c.args(["convert", "-q", &Image::Busybox.reference()]).arg(work.path().join("out.wasm"));
    });
    done.expect_status(1).one_error(&["scripts/build"]);
    assert_eq!(listing(work.path()), Vec::<String>::new());
}

fn refuses(host: Place, bytes: &[u8], words: &[&str]) {
    let dir = dir();
    let path = dir.path().join("bad.wasm");
    fs::write(&path, bytes).expect("writing");
    let done = host.run(Image::Busybox).file(&path).args(["true"]).go();
    let mut all = vec!["bad.wasm"];
    all.extend_from_slice(words);
    done.expect_status(125).one_error(&all);
}

fn no_module(host: Place) {
    refuses(host, b"", &[]);
    refuses(host, b"no WebAssembly at all\n", &[]);
    refuses(host, &Random::new(5).bytes(100_000), &[]);
    // A module, but none of ours.
    refuses(host, b"\0asm\x01\0\0\0", &[]);
    refuses(host, b"\0asm\x02\0\0\0", &[]);
    refuses(host, b"\0asm\x01\0\0\0\x05\x03\x01\0\x01\x07\x0a\x01\x06memory\x02\0", &[]);
}

fn truncated_module(host: Place) {
    let whole = fs::read(Image::Busybox.wasm()).expect("the module");
    for len in [7, 8, 9, 100, 10_000, whole.len() / 3, whole.len() * 9 / 10, whole.len() - 1] {
        refuses(host, &whole[..len], &[]);
    }
}

/// Where `needle` stands in the module, once.
fn find(module: &[u8], needle: &[u8]) -> Vec<usize> {
    let first = needle[0];
    let candidates = module.iter().enumerate().filter(|(_, b)| **b == first).map(|(at, _)| at);
    candidates.filter(|&at| module[at..].starts_with(needle)).collect()
}

/// A copy of the module with one byte changed runs nowhere, and says why.
fn refuses_damage(host: Place, at: usize, words: &[&str]) {
    let mut module = fs::read(host.image(Image::Busybox).wasm()).expect("the module");
    module[at] ^= 0x10;
    let dir = dir();
    let path = dir.path().join("bad.wasm");
    fs::write(&path, &module).expect("writing");
    let done = host.run(Image::Busybox).file(&path).args(["echo", "ran"]).go();
    assert!(done.status() != 0 && done.stdout.is_empty(), "{done}");
    let done = if host.host.is_ours() { done.expect_status(125).one_error(&[]) } else { done };
    for word in words {
        assert!(done.err().contains(word), "no {word:?}: {done}");
    }
}

fn damaged_header(host: Place) {
    let module = fs::read(Image::Busybox.wasm()).expect("the module");
    let start = [&header::MAGIC[..], &header::VERSION.to_le_bytes()].concat();
    let places = find(&module, &start);
    assert_eq!(places.len(), 1, "the image header should stand in the module once: {places:x?}");
    for (offset, word) in [(3, "header"), (8, "version"), (20, "header"), (40, "header")] {
        refuses_damage(host, places[0] + offset, &[word]);
    }
}

fn damaged_snapshot(host: Place) {
    let module = fs::read(host.image(Image::Busybox).wasm()).expect("the module");
    let places = find(&module, b"FLSTATE\0\x02\0\0\0");
    assert_eq!(places.len(), 1, "the snapshot should stand in the module once: {places:x?}");
    for (offset, word) in [
        (2, "snapshot"),
        (8, "version"),
        (13, "snapshot"),
        (17, "snapshot"),
        (40, "snapshot"),
        (200, "snapshot"),
    ] {
        refuses_damage(host, places[0] + offset, &[word]);
    }
}

/// RAM has no checksum: a guest whose memory was damaged may do anything, inside. The host must not crash,
/// nor hang.
fn damaged_memory_is_contained(host: Place) {
    let module = fs::read(host.image(Image::Busybox).wasm()).expect("the module");
    let dir = dir();
    let path = dir.path().join("bad.wasm");
    let mut random = Random::new(6);
    // After the code, which takes less than the first third.
    let (from, room) = (module.len() / 3, module.len() * 2 / 3 - 4096);
    for _ in 0..6 {
        let mut bad = module.clone();
        for _ in 0..40 {
            let at = from + random.below(room);
            for byte in &mut bad[at..at + 64] {
                *byte = random.below(256) as u8;
            }
        }
        fs::write(&path, &bad).expect("writing");
        let mut command = host.sh("cat /etc/passwd; ls -lR /usr | wc -l").file(&path).command();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting");
        let begin = Instant::now();
        let status = loop {
            match child.try_wait().expect("waiting") {
                Some(status) => break Some(status),
                // A guest may hang, as any machine; the host can still be ended.
                None if begin.elapsed() > Duration::from_secs(10) => {
                    child.kill().expect("kill");
                    child.wait().expect("waiting");
                    break None;
                }
                None => sleep(Duration::from_millis(20)),
            }
        };
        // The guest's own words may be any bytes: its memory is damaged.
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut child.stderr.take().expect("a pipe"), &mut said).expect("reading");
        let text = String::from_utf8_lossy(&said);
        assert!(!text.contains("panicked"), "{text}");
        assert!(status.is_none_or(|s| s.code().is_some()), "{status:?}: {text}");
    }
}

fn truncated_native_code(host: Place) {
    let whole = fs::read(Image::Busybox.cwasm()).expect("the compiled image");
    let dir = dir();
    let path = dir.path().join("bad.cwasm");
    for len in [8, 50, 100, 5000, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).expect("writing");
        let done = host.run(Image::Busybox).file(&path).args(["true"]).go();
        done.expect_status(125).one_error(&["bad.cwasm"]);
    }
    // A changed byte of the code is found by its checksum.
    let mut bad = whole;
    let word = |at: usize| bad[at..at + 8].iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
    let (code, len) = (word(32), word(40));
    assert!(len > 100_000 && code + len < bad.len(), "code at {code}, {len} bytes");
    bad[code + len / 2] ^= 1;
    fs::write(&path, &bad).expect("writing");
    host.run(Image::Busybox).file(&path).args(["true"]).go().expect_status(125).one_error(&["bad.cwasm"]);
}

fn every_command_refuses() {
    let dir = dir();
    let path = dir.path().join("bad.wasm");
    let refused = |file: &Path, words: &[&str]| {
        for (command, status) in [("run", 125), ("inspect", 1), ("compile", 1), ("lockstep", 1)] {
            let done = program(forelift(), |c| {
                c.arg(command).arg(file);
            });
            done.expect_status(status).one_error(words);
        }
    };
    let whole = fs::read(Image::Busybox.wasm()).expect("the module");
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"text", "a text file"),
        (&whole[..whole.len() / 2], "cut off"),
        (b"\0asm\x01\0\0\0", "no Forelift image"),
    ] {
        fs::write(&path, bytes).expect("writing");
        refused(&path, &["bad.wasm", word]);
        assert_eq!(listing(dir.path()), ["bad.wasm"]);
    }
    // Images that were not converted, in each form.
    for (image, word) in [
        (Image::Busybox, "OCI layout: convert it first"),
        (Image::Minbase, "image archive: convert it first"),
        (Image::Python3, "image archive: convert it first"),
    ] {
        let reference = image.reference();
        refused(Path::new(&reference), &[&reference, "name of an image", "convert it first"]);
        let (_, file) = reference.split_once(':').expect("a transport");
        refused(Path::new(file), &[file, word]);
    }
}

/// What the engines of `lockstep` say of damaged native code. Of another build or another CPU:
/// `packer/tests/wrong_files.rs`.
fn lockstep_refuses_native_code() {
    let dir = dir();
    let path = dir.path().join("bad.cwasm");
    let whole = fs::read(Image::Busybox.cwasm()).expect("the compiled image");
    let lockstep = |options: &[&str]| {
        program(forelift(), |c| {
            c.arg("lockstep").args(options).arg(&path).arg("true");
        })
    };
    fs::write(&path, &whole[..whole.len() - 1]).expect("writing");
    lockstep(&[]).expect_status(1).one_error(&["bad.cwasm", "forelift compile"]);
    // A byte of the code: only the engine that executes it reads it.
    let mut bad = whole;
    bad[10_000] ^= 1;
    fs::write(&path, &bad).expect("writing");
    lockstep(&["--engines", "interp,aot"]).expect_status(1).one_error(&["bad.cwasm", "checksum"]);
    assert!(lockstep(&["--engines", "interp,native"]).ok().starts_with("no difference"));
}
