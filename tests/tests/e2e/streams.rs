//! Standard input, output and error: separate, binary-clean, each with its own end.

use crate::testing::dir;
use forelift_tests::{
    done::{Done, contains},
    hosts::{Host, Place},
    images::Image,
    random::Random,
    table::{Check, Group},
};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::Read,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

pub(crate) const CASES: Group = &[
    ("apart", Check::On(&Host::ALL, apart)),
    ("both_full", Check::Everywhere(&Host::EVERY, both_full)),
    ("control_characters", Check::On(&Host::ALL, control_characters)),
    ("random_bytes_out", Check::On(&Host::ALL, random_bytes_out)),
    ("random_bytes_in", Check::On(&Host::ALL, random_bytes_in)),
    ("random_bytes_through", Check::Everywhere(&Host::ALL, random_bytes_through)),
    ("random_bytes_to_stderr", Check::On(&Host::ALL, random_bytes_to_stderr)),
    ("empty_input", Check::On(&Host::ALL, empty_input)),
    ("end_of_input", Check::On(&Host::ALL, end_of_input)),
    ("no_stdin", Check::On(&Host::ALL, no_stdin)),
    ("conversation", Check::Everywhere(&Host::EVERY, conversation)),
    ("input_in_pieces", Check::On(&Host::ALL, input_in_pieces)),
    ("unread_input", Check::On(&Host::ALL, unread_input)),
    ("closed_input", Check::On(&Host::ALL, closed_input)),
    ("pipes_are_pipes", Check::On(&Host::ALL, pipes_are_pipes)),
    ("reader_leaves", Check::On(&Host::OURS, reader_leaves)),
    ("reader_leaves_elsewhere", Check::On(&[Host::PyWasmtime, Host::Node], reader_leaves_elsewhere)),
    ("slow_reader", Check::On(&Host::ALL, slow_reader)),
    ("files_as_streams", Check::On(&Host::ALL, files_as_streams)),
    ("dev_null_as_streams", Check::On(&Host::ALL, dev_null_as_streams)),
    ("same_pipe_for_both", Check::On(&Host::ALL, same_pipe_for_both)),
    ("output_comes_at_once", Check::On(&Host::ALL, output_comes_at_once)),
    ("background_process_keeps_the_pipe", Check::On(&Host::ALL, background_process_keeps_the_pipe)),
    ("long_lines_of_numbers", Check::On(&Host::ALL, long_lines_of_numbers)),
];

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn hash_in(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

pub(crate) fn apart(host: Place) {
    let script = "echo out; echo err >&2; echo more; echo 'more err' >&2; exit 9";
    host.sh(script).go().expect_status(9).expect_out("out\nmore\n").expect_err("err\nmore err\n");
}

pub(crate) fn both_full(host: Place) {
    let done = host.sh("for n in $(seq 3000); do echo out $n; echo err $n >&2; done").go().expect_status(0);
    let lines = |word: &str| (1..=3000).map(|n| format!("{word} {n}\n")).collect::<String>();
    assert!(done.out() == lines("out") && done.err() == lines("err"), "{done}");
}

pub(crate) fn control_characters(host: Place) {
    // What a terminal, or a runtime that thinks it is one, would change.
    let bytes = b"\r\n\n\r\0\x03\x04\x08\x0c\x11\x13\x15\x16\x1a\x1b[A\x7f\xff\xfe\xc3\x28\t \n".repeat(3);
    let done = host.run(Image::Busybox).args(["cat"]).stdin(bytes.clone()).go().expect_status(0);
    assert!(done.stdout == bytes && done.stderr.is_empty(), "{done}");
}

fn random_bytes_out(host: Place) {
    let done =
        host.sh("head -c 1000000 /dev/urandom | tee /tmp/r; sha256sum /tmp/r >&2").go().expect_status(0);
    assert_eq!(done.stdout.len(), 1_000_000);
    assert_eq!(sha256(&done.stdout), hash_in(&done.err()));
}

fn random_bytes_in(host: Place) {
    let bytes = Random::new(1).bytes(5_000_000);
    let text = host.run(Image::Busybox).args(["sha256sum"]).stdin(bytes.clone()).ok();
    assert_eq!(hash_in(&text), sha256(&bytes));
}

pub(crate) fn random_bytes_through(host: Place) {
    let bytes = Random::new(2).bytes(3_000_001);
    let done = host.run(Image::Busybox).args(["cat"]).stdin(bytes.clone()).go().expect_status(0);
    assert_eq!((done.stdout.len(), sha256(&done.stdout)), (bytes.len(), sha256(&bytes)));
}

fn random_bytes_to_stderr(host: Place) {
    let bytes = Random::new(3).bytes(300_000);
    let done = host.sh("cat >&2").stdin(bytes.clone()).go().expect_status(0);
    assert_eq!((done.stderr.len(), sha256(&done.stderr)), (bytes.len(), sha256(&bytes)));
    assert!(done.stdout.is_empty());
}

fn empty_input(host: Place) {
    assert_eq!(host.run(Image::Busybox).args(["cat"]).stdin("").ok(), "");
    assert_eq!(host.run(Image::Busybox).args(["wc", "-c"]).stdin("").ok().trim(), "0");
    assert_eq!(host.run(Image::Busybox).args(["cat"]).ok(), "");
}

pub(crate) fn end_of_input(host: Place) {
    for size in [1, 4095, 4096, 4097, 65_536, 100_003] {
        let text = host.run(Image::Busybox).args(["wc", "-c"]).stdin(vec![b'x'; size]).ok();
        assert_eq!(text.trim(), size.to_string());
    }
    // Without a newline at the end.
    assert_eq!(
        host.sh("read a; echo \"$a.\"; read b; echo $? \"$b.\"").stdin("one\ntwo").ok(),
        "one.\n1 two.\n"
    );
}

pub(crate) fn no_stdin(host: Place) {
    // The host's standard input never ends here.
    assert_eq!(host.sh("cat; echo done").no_stdin().deadline(60).ok(), "done\n");
}

pub(crate) fn conversation(host: Place) {
    let mut run = host.sh("while read line; do echo \"<$line>\"; done; echo end").held_stdin().spawn();
    for word in ["one", "two", "three"] {
        run.write(format!("{word}\n").as_bytes());
        run.expect(&format!("<{word}>\n"));
    }
    run.end_stdin();
    run.finish().expect_status(0).expect_out("<one>\n<two>\n<three>\nend\n");
}

pub(crate) fn input_in_pieces(host: Place) {
    let mut run = host.run(Image::Busybox).args(["sha256sum"]).held_stdin().spawn();
    let bytes = Random::new(4).bytes(40_000);
    let mut rest = &bytes[..];
    let mut sizes = Random::new(5);
    while !rest.is_empty() {
        let (now, later) = rest.split_at((1 + sizes.below(3000)).min(rest.len()));
        run.write(now);
        sleep(Duration::from_millis(sizes.below(20) as u64));
        rest = later;
    }
    run.end_stdin();
    assert_eq!(hash_in(&run.finish().ok()), sha256(&bytes));
}

pub(crate) fn unread_input(host: Place) {
    let text = host.sh("head -c 3; echo; cat > /dev/null & exec sleep 0.1").stdin(vec![b'a'; 2_000_000]).ok();
    assert_eq!(text, "aaa\n");
}

pub(crate) fn closed_input(host: Place) {
    assert_eq!(host.sh("exec <&-; sleep 0.2; echo done").stdin(vec![b'a'; 2_000_000]).ok(), "done\n");
}

fn pipes_are_pipes(host: Place) {
    let script = "for fd in 0 1 2; do test -p /dev/fd/$fd && echo pipe $fd; test -t $fd && echo tty $fd; done; \
        case $(readlink /proc/self/fd/0) in pipe:*) echo a pipe;; esac; echo through > /dev/stdout; tty";
    let done = host.sh(script).stdin("x").go().expect_status(1);
    done.expect_err("").expect_out("pipe 0\npipe 1\npipe 2\na pipe\nthrough\nnot a tty\n");
}

/// Starts `script`, reads the first line of its output and closes the pipe; gives that line, and the end.
fn read_one_line(host: Place, script: &str) -> (String, Done) {
    let mut command = host.sh(script).command();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begin = Instant::now();
    let mut child = command.spawn().expect("starting the host");
    let mut pipe = child.stdout.take().expect("a pipe");
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") && pipe.read(&mut byte).expect("reading") == 1 {
        line.push(byte[0]);
    }
    drop(pipe);
    // `wait_with_output` has no deadline of its own; the test harness's is the last resort.
    let output = child.wait_with_output().expect("waiting for the host");
    let done = Done::of(&format!("{script:?} on {}", host.name()), &output, begin.elapsed());
    (String::from_utf8_lossy(&line).into_owned(), done)
}

pub(crate) fn reader_leaves(host: Place) {
    let (line, done) = read_one_line(host, "yes; echo status $? >&2");
    assert_eq!(line, "y\n");
    assert!(done.err() == "status 141\n" && done.status() == 0, "{done}");
    // SIGPIPE ignored: the write fails instead.
    let (_, done) =
        read_one_line(host, "trap '' PIPE; echo first; while echo lost; do sleep 0.1; done; echo ended >&2");
    assert!(done.err().ends_with("ended\n") && done.err().contains("Broken pipe"), "{done}");
    // Process 1 is not killed by SIGPIPE (as in docker): its write fails.
    let (_, done) = read_one_line(host, "exec yes");
    assert!(done.status() == 1 && done.err().contains("Broken pipe"), "{done}");
}

fn reader_leaves_elsewhere(host: Place) {
    let begin = Instant::now();
    let (line, done) = read_one_line(host, "yes; echo ended >&2; exit 3");
    assert_eq!(line, "y\n");
    assert!(contains(&done.stderr, b"ended\n"), "{done}");
    assert!(begin.elapsed() < Duration::from_secs(60));
}

pub(crate) fn slow_reader(host: Place) {
    let mut command = host.sh("seq 1 300000; echo wrote >&2").command();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("starting the host");
    let mut pipe = child.stdout.take().expect("a pipe");
    sleep(Duration::from_secs(3));
    let (mut all, mut piece) = (Vec::new(), [0; 10_000]);
    loop {
        let n = pipe.read(&mut piece).expect("reading");
        if n == 0 {
            break;
        }
        all.extend_from_slice(&piece[..n]);
        if all.len() < 300_000 {
            sleep(Duration::from_millis(10));
        }
    }
    assert!(child.wait().expect("waiting").success());
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert_eq!((all.len(), sha256(&all)), (expected.len(), sha256(expected.as_bytes())));
}

fn files_as_streams(host: Place) {
    let dir = dir();
    let path = |name: &str| dir.path().join(name);
    let bytes = Random::new(6).bytes(700_000);
    fs::write(path("in"), &bytes).expect("writing");
    let create = |name: &str| File::create(path(name)).expect("creating");
    let mut command = host.sh("cat; echo error >&2; exit 5").command();
    let status = command
        .stdin(File::open(path("in")).expect("opening"))
        .stdout(create("out"))
        .stderr(create("err"))
        .status()
        .expect("running the host");
    assert_eq!(status.code(), Some(5));
    assert!(fs::read(path("out")).expect("reading") == bytes, "the output differs from the input");
    assert_eq!(fs::read_to_string(path("err")).expect("reading"), "error\n");
}

pub(crate) fn dev_null_as_streams(host: Place) {
    let mut command = host.sh("cat; seq 100000; seq 100000 >&2; exit 6").command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(command.status().expect("running the host").code(), Some(6));
}

/// `2>&1` on the host: the order of what the container wrote is kept as well as two pipes allow; nothing is
/// lost or torn.
fn same_pipe_for_both(host: Place) {
    let command = host.sh("for n in $(seq 200); do echo out $n; echo err $n >&2; done").command();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(command.get_program()).args(command.get_args());
    let output = shell.stdin(Stdio::null()).output().expect("running the host");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of = |word: &str| {
        text.lines().filter(|l| l.starts_with(word)).map(|l| format!("{l}\n")).collect::<String>()
    };
    let expected = |word: &str| (1..=200).map(|n| format!("{word} {n}\n")).collect::<String>();
    assert_eq!((of("out"), of("err")), (expected("out"), expected("err")), "{text}");
    assert_eq!(text.lines().count(), 400, "{text}");
}

pub(crate) fn output_comes_at_once(host: Place) {
    let mut run = host.sh("printf prompt; sleep 1000").held_stdin().spawn();
    run.expect("prompt");
    assert_eq!(run.output(), b"prompt");
}

/// As with docker, the container ends with its command, whoever else still holds its output.
fn background_process_keeps_the_pipe(host: Place) {
    let done = host.sh("sleep 1000 & echo bye").deadline(60).go();
    done.expect_status(0).expect_out("bye\n");
}

fn long_lines_of_numbers(host: Place) {
    let done = host.run(Image::Busybox).args(["seq", "-s", " ", "1", "200000"]).go().expect_status(0);
    let expected = (1..=200_000).map(|n| n.to_string()).collect::<Vec<_>>().join(" ") + "\n";
    assert_eq!(sha256(&done.stdout), sha256(expected.as_bytes()));
}
