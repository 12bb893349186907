//! `forelift run` on stand-ins for the emulator: what the module sees of the outside world.

mod common;

use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use common::{root, write_image};
use forelift_abi::embed::Record;

fn forelift(cache: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forelift"));
    command.env("XDG_CACHE_HOME", cache).env_remove("FORELIFT_CACHE").stdin(Stdio::null());
    command
}

fn run(body: &str, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let image = write_image(dir.path(), "image.wasm", body);
    let mut command = forelift(dir.path());
    command.arg("run");
    let (options, rest) = args.split_at(args.iter().position(|a| *a == "IMAGE").unwrap_or(args.len()));
    command.args(options).arg(image).args(rest.iter().skip(1));
    command.output().unwrap()
}

/// The one line of an error.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(text.starts_with("forelift: ") && text.lines().count() == 1, "{text}");
    text
}

#[test]
fn every_exit_code_comes_through() {
    for code in [0, 1, 3, 125, 126, 127, 143, 255] {
        let output = run(&format!("(call $exit (i32.const {code}))"), &[]);
        assert_eq!(output.status.code(), Some(code));
        assert!(output.stderr.is_empty());
    }
    assert_eq!(run("nop", &[]).status.code(), Some(0));
}

#[test]
fn a_trap_is_a_failure_of_ours() {
    let output = run("unreachable", &[]);
    assert_eq!(output.status.code(), Some(125));
    assert!(complaint(&output).contains("the emulator failed"));
}

#[test]
fn memory_holds_the_image() {
    // Root file system and RAM, through linear memory.
    let output = run(
        "(drop (call $write (i32.const 1) (call $word (i32.const 1)) (i32.const 3145728)))
         (drop (call $write (i32.const 2) (i32.add (call $word (i32.const 0)) (i32.const 20480)) (i32.const 8)))
         (drop (call $write (i32.const 2) (i32.const 2048) (i32.const 22)))",
        &[],
    );
    assert!(output.stdout == root());
    assert_eq!(output.stderr, b"\x05\x05\x05\x05\x05\x05\x05\x05the runtime's own data");
}

/// Copies standard input to standard output, waiting by poll_oneoff; ends with the number of times there was
/// nothing.
const COPY: &str = "(local $e i32)
    (block $end
      (loop $more
        (local.set $e (call $read (i32.const 0) (i32.const 65536) (i32.const 60000)))
        (if (i32.eq (local.get $e) (i32.const 6))
          (then (call $wait (i32.const 0)) (br $more)))
        (if (local.get $e) (then (unreachable)))
        (br_if $end (i32.eqz (i32.load (i32.const 24))))
        (if (call $write (i32.const 1) (i32.const 65536) (i32.load (i32.const 24))) (then (unreachable)))
        (br $more)))";

#[test]
fn pipes_are_binary_clean_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let image = write_image(dir.path(), "image.wasm", COPY);
    let mut child = forelift(dir.path())
        .arg("run")
        .arg(image)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let data: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut stdin = child.stdin.take().unwrap();
    let sent = data.clone();
    let writer = std::thread::spawn(move || {
        for piece in sent.chunks(70_001) {
            stdin.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == data);
}

#[test]
fn a_closed_stdout_is_epipe() {
    let dir = tempfile::tempdir().unwrap();
    let body = "(call $exit (call $write (i32.const 1) (i32.const 2048) (i32.const 5)))";
    let image = write_image(dir.path(), "image.wasm", body);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = forelift(dir.path()).arg("run").arg(image).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(64));
}

#[test]
fn arguments_environment_and_options_reach_the_module() {
    let body = "(drop (call $args_sizes (i32.const 0) (i32.const 4)))
        (drop (call $args_get (i32.const 4096) (i32.const 65536)))
        (drop (call $write (i32.const 1) (i32.const 65536) (i32.load (i32.const 4))))
        (drop (call $environ_sizes (i32.const 0) (i32.const 4)))
        (drop (call $environ_get (i32.const 4096) (i32.const 65536)))
        (drop (call $write (i32.const 2) (i32.const 65536) (i32.load (i32.const 4))))";
    let output = run(
        body,
        &[
            "-e",
            "A=1",
            "-e",
            "EMPTY=",
            "-e",
            "FORELIFT_NOT_SET",
            "--user",
            "5:6",
            "-w",
            "/x",
            "--entrypoint",
            "e",
            "IMAGE",
            "sh",
            "-c",
            "--help",
        ],
    );
    let args = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = args.split_once('\0').unwrap();
    assert_eq!(rest, "--entrypoint\0e\0--user\x005:6\0--workdir\0/x\0--\0sh\0-c\0--help\0");
    assert_eq!(output.stderr, b"A=1\0EMPTY=\0");
}

#[test]
fn shared_directories_are_served() {
    let dir = tempfile::tempdir().unwrap();
    // FUSE_INIT of version 7.41 to the first directory's descriptor, and its reply to stdout.
    let body = r#"(i32.store (i32.const 512) (i32.const 56))
        (i32.store (i32.const 516) (i32.const 26))
        (i32.store (i32.const 520) (i32.const 9))
        (i32.store (i32.const 552) (i32.const 7))
        (i32.store (i32.const 556) (i32.const 41))
        (if (call $write (i32.const 1001) (i32.const 512) (i32.const 56)) (then (unreachable)))
        (if (call $read (i32.const 1001) (i32.const 4096) (i32.const 200)) (then (unreachable)))
        (drop (call $write (i32.const 1) (i32.const 4096) (i32.load (i32.const 24))))"#;
    let output = run(body, &["--dir", &format!("{}::/mnt", dir.path().display())]);
    let reply = &output.stdout;
    assert_eq!(reply.len(), 16 + 64, "{}", String::from_utf8_lossy(&output.stderr));
    // Length, no error, the request's number; then the version.
    assert_eq!(reply[..16], [80, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(reply[16..24], [7, 0, 0, 0, 41, 0, 0, 0]);
}

/// Sends every record to stdout; ends with the number of the first signal.
const RECORDS: &str = "(local $e i32)
    (loop $more
      (local.set $e (call $read (i32.const 1000) (i32.const 4096) (i32.const 16)))
      (if (i32.eq (local.get $e) (i32.const 6))
        (then (call $wait (i32.const 1000)) (br $more)))
      (if (local.get $e) (then (unreachable)))
      (drop (call $write (i32.const 1) (i32.const 4096) (i32.const 16)))
      (if (i32.eq (i32.load (i32.const 4096)) (i32.const 1))
        (then (call $exit (i32.load (i32.const 4100)))))
      (br $more))";

fn record(child: &mut Child) -> Record {
    let mut bytes = [0; 16];
    child.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
    Record::decode(&bytes).unwrap()
}

fn kill(child: &Child, signal: i32) {
    // SAFETY: a system call on a child of ours that was not waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

fn wait(mut child: Child) -> std::process::ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn signals_are_records() {
    let dir = tempfile::tempdir().unwrap();
    let image = write_image(dir.path(), "image.wasm", RECORDS);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2] {
        let mut child = forelift(dir.path()).arg("run").arg(&image).stdout(Stdio::piped()).spawn().unwrap();
        let first = record(&mut child);
        assert_eq!(first, Record::Terminal { is_tty: false, raw: false, rows: 0, cols: 0 });
        kill(&child, signal);
        assert_eq!(record(&mut child), Record::Signal(signal as u8));
        assert_eq!(wait(child).code(), Some(signal));
    }
}

#[test]
fn a_deaf_emulator_can_be_ended() {
    let dir = tempfile::tempdir().unwrap();
    let body =
        "(drop (call $write (i32.const 1) (i32.const 2048) (i32.const 3))) (loop $forever (br $forever))";
    let image = write_image(dir.path(), "image.wasm", body);
    let mut child = forelift(dir.path()).arg("run").arg(&image).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    for _ in 0..2 {
        kill(&child, libc::SIGINT);
        std::thread::sleep(Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none());
    }
    kill(&child, libc::SIGINT);
    let status = wait(child);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGINT));
}

#[test]
fn a_terminal_is_reported_and_restored() {
    let Some((master, slave)) = pty(40, 100) else { return };
    let dir = tempfile::tempdir().unwrap();
    let image = write_image(dir.path(), "image.wasm", RECORDS);
    let before = termios(&slave);
    let mut child = forelift(dir.path())
        .args(["run", "-it"])
        .arg(&image)
        .stdin(slave.try_clone().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(record(&mut child), Record::Terminal { is_tty: true, raw: true, rows: 40, cols: 100 });
    assert_eq!(termios(&slave).c_lflag & (libc::ICANON | libc::ECHO | libc::ISIG), 0);
    resize(&master, 50, 120);
    kill(&child, libc::SIGWINCH);
    assert_eq!(record(&mut child), Record::WindowSize { rows: 50, cols: 120 });
    kill(&child, libc::SIGTERM);
    assert_eq!(wait(child).code(), Some(15));
    let after = termios(&slave);
    assert_eq!(
        (after.c_lflag, after.c_iflag, after.c_oflag),
        (before.c_lflag, before.c_iflag, before.c_oflag)
    );
}

fn pty(rows: u16, cols: u16) -> Option<(std::fs::File, std::fs::File)> {
    use std::os::fd::FromRawFd;
    let (mut master, mut slave) = (-1, -1);
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: openpty fills the two descriptors, which are then ours.
    unsafe {
        let null = std::ptr::null_mut();
        (libc::openpty(&mut master, &mut slave, null, std::ptr::null(), &size) == 0)
            .then(|| (std::fs::File::from_raw_fd(master), std::fs::File::from_raw_fd(slave)))
    }
}

fn resize(master: &std::fs::File, rows: u16, cols: u16) {
    use std::os::fd::AsRawFd;
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads the structure.
    assert_eq!(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size) }, 0);
}

fn termios(file: &std::fs::File) -> libc::termios {
    use std::os::fd::AsRawFd;
    // SAFETY: tcgetattr fills the structure.
    unsafe {
        let mut mode = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(file.as_raw_fd(), &mut mode), 0);
        mode
    }
}

#[test]
fn the_code_cache_is_used_and_survives_damage() {
    let dir = tempfile::tempdir().unwrap();
    let image = write_image(dir.path(), "image.wasm", "(call $exit (i32.const 9))");
    let run =
        |options: &[&str]| forelift(dir.path()).arg("run").args(options).arg(&image).status().unwrap().code();
    let cache = dir.path().join("forelift/code");
    assert_eq!(run(&["--no-cache"]), Some(9));
    assert!(!cache.exists());
    assert_eq!(run(&[]), Some(9));
    let entries: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(entries.len(), 1);
    let good = std::fs::read(&entries[0]).unwrap();
    let modified = || std::fs::metadata(&entries[0]).unwrap().modified().unwrap();
    let before = modified();
    assert_eq!(run(&[]), Some(9));
    let elsewhere = dir.path().join("elsewhere");
    let moved =
        forelift(dir.path()).env("FORELIFT_CACHE", &elsewhere).arg("run").arg(&image).status().unwrap();
    assert_eq!((moved.code(), elsewhere.join("code").is_dir()), (Some(9), true));
    assert_eq!(modified(), before, "the entry was written again");
    for damaged in [&good[..good.len() / 2], &[], &[&good[..5000], b"x", &good[5001..]].concat()] {
        std::fs::write(&entries[0], damaged).unwrap();
        assert_eq!(run(&[]), Some(9));
        assert!(std::fs::read(&entries[0]).unwrap() == good);
    }
}

#[test]
fn compiled_images_run_and_are_known_by_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let image = write_image(dir.path(), "image.wasm", "(call $exit (i32.const 77))");
    let run = |path: &Path| forelift(dir.path()).arg("run").arg(path).output().unwrap();
    let status = forelift(dir.path()).arg("compile").arg("-q").arg(&image).status().unwrap();
    assert!(status.success());
    let compiled = dir.path().join("image.cwasm");
    assert_eq!(run(&compiled).status.code(), Some(77));
    assert!(!dir.path().join("forelift").exists(), "a precompiled image needs no cache");

    let disguised = dir.path().join("other.wasm");
    std::fs::copy(&compiled, &disguised).unwrap();
    let refused = run(&disguised);
    assert_eq!(refused.status.code(), Some(125));
    assert!(complaint(&refused).contains("name it .cwasm"));

    let mut bytes = std::fs::read(&compiled).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&compiled, &bytes).unwrap();
    let refused = run(&compiled);
    assert_eq!(refused.status.code(), Some(125));
    assert!(complaint(&refused).contains("checksum"));
}

#[test]
fn other_native_code_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = write_image(dir.path(), "image.wasm", "nop");
    let mut file = Vec::new();
    forelift::pack::compiled::write(
        b"\x7fELF of another wasmtime",
        &std::fs::read(image).unwrap(),
        &mut file,
    )
    .unwrap();
    let path = dir.path().join("image.cwasm");
    std::fs::write(&path, file).unwrap();
    let output = forelift(dir.path()).arg("run").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(complaint(&output).contains("forelift compile"));
}
