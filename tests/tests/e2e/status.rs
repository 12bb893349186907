//! The exit status is the container's.

use forelift_tests::{
    hosts::{Guest, Host, Place},
    images::Image,
    table::{Check, Group},
};

pub(crate) const CASES: Group = &[
    ("some", Check::Everywhere(&Host::ALL, some)),
    ("above_125", Check::Everywhere(&Host::ANY_STATUS, above_125)),
    ("all_256", Check::On(&[Host::Wasm], all_256)),
    ("true_and_false", Check::On(&Host::ALL, true_and_false)),
    ("last_of_a_pipeline", Check::On(&Host::OURS, last_of_a_pipeline)),
    ("signals_of_children", Check::On(&Host::ANY_STATUS, signals_of_children)),
    ("signals_of_the_command", Check::On(&Host::ANY_STATUS, signals_of_the_command)),
    ("not_found", Check::On(&Host::ANY_STATUS, not_found)),
    ("not_executable", Check::On(&Host::ANY_STATUS, not_executable)),
    ("not_started", Check::On(&Host::ALL, not_started)),
    ("unknown_user", Check::On(&Host::ALL, unknown_user)),
    ("unknown_option_of_the_image", Check::On(&Host::ALL, unknown_option_of_the_image)),
    ("failure_wins_over_stdin", Check::On(&Host::ALL, failure_wins_over_stdin)),
];

fn exits_with(host: Place, status: i32) {
    host.sh(&format!("exit {status}")).go().expect_status(status).expect_out("").expect_err("");
}

pub(crate) fn some(host: Place) {
    for status in [0, 1, 2, 42, 100, 124, 125] {
        exits_with(host, status);
    }
}

pub(crate) fn above_125(host: Place) {
    for status in [126, 127, 128, 137, 200, 254, 255] {
        exits_with(host, status);
    }
}

fn all_256(host: Place) {
    for status in 0..256 {
        exits_with(host, status);
    }
}

fn true_and_false(host: Place) {
    host.run(Image::Busybox).args(["true"]).go().expect_status(0);
    host.run(Image::Busybox).args(["false"]).go().expect_status(1);
}

fn last_of_a_pipeline(host: Place) {
    host.sh("false | true").go().expect_status(0);
    host.sh("true | (exit 9)").go().expect_status(9);
    host.run(Image::Minbase).args(["bash", "-c", "set -o pipefail; (exit 6) | true"]).go().expect_status(6);
    host.run(Image::Python3).args(["python3", "-c", "import sys; sys.exit(77)"]).go().expect_status(77);
}

pub(crate) fn signals_of_children(host: Place) {
    for (name, status) in
        [("KILL", 137), ("TERM", 143), ("SEGV", 139), ("HUP", 129), ("USR1", 138), ("ABRT", 134)]
    {
        host.sh(&format!("sh -c 'kill -{name} $$'; exit $?")).go().expect_status(status).expect_out("");
    }
}

/// The command is process 1 of its namespace, which only the kernel's own signals and signals from outside
/// end.
fn signals_of_the_command(host: Place) {
    let python = |code: &str| host.run(Image::Python3).args(["python3", "-c", code]).go();
    python("import ctypes; ctypes.string_at(0)").expect_status(139);
    // SIGABRT is ignored, so abort() comes to its last resort: an ebreak, or a hlt, which no user may
    // execute.
    let status = if host.guest == Guest::Amd64 { 139 } else { 133 };
    python("import ctypes; ctypes.CDLL(None).abort()").expect_status(status);
    host.sh("kill -KILL $$; echo still here").go().expect_status(0).expect_out("still here\n");
}

fn fails(host: Place, entrypoint: &str, status: i32, words: &[&str]) {
    let done = host.run(Image::Service).entrypoint(entrypoint).user("root").go().expect_status(status);
    let text = done.err();
    assert!(text.lines().count() == 1 && done.stdout.is_empty(), "not one line: {done}");
    for word in words {
        assert!(text.contains(word), "no {word:?}: {done}");
    }
}

pub(crate) fn not_found(host: Place) {
    fails(host, "no-such-command", 127, &["no-such-command", "executable file not found"]);
    fails(host, "/no/such/file", 127, &["/no/such/file", "no such file"]);
    fails(host, "/opt/lost", 127, &["/opt/lost", "no such file"]);
    host.sh("no-such-command").go().expect_status(127);
}

fn not_executable(host: Place) {
    fails(host, "/opt/data", 126, &["/opt/data", "permission denied"]);
    fails(host, "/opt", 126, &["/opt", "is a directory"]);
    fails(host, "/opt/noformat", 126, &["/opt/noformat", "exec format error"]);
    host.sh("/etc/passwd").go().expect_status(126);
}

/// Where no status above 125 arrives, a failure still is one, and says why.
fn not_started(host: Place) {
    let done = host.run(Image::Busybox).args(["no-such-command"]).go();
    assert!(done.status() != 0 && done.err().contains("no-such-command"), "{done}");
}

fn unknown_user(host: Place) {
    let done = host.run(Image::Busybox).user("stranger").args(["true"]).go().expect_status(125);
    assert!(done.err().contains("unable to find user stranger") && done.err().lines().count() == 1, "{done}");
    let done = host.run(Image::Busybox).user("root:strangers").args(["true"]).go().expect_status(125);
    assert!(done.err().contains("unable to find group strangers"), "{done}");
}

pub(crate) fn unknown_option_of_the_image(host: Place) {
    let done = host.run(Image::Busybox).args(["--bogus", "true"]).go().expect_status(125);
    assert!(done.err().contains("--bogus") && done.err().lines().count() == 1, "{done}");
    host.run(Image::Busybox).args(["--user"]).go().expect_status(125);
    host.run(Image::Busybox).workdir("relative").args(["true"]).go().expect_status(125);
}

/// Unread input must not keep a failed or finished container from ending.
fn failure_wins_over_stdin(host: Place) {
    host.sh("exit 3").held_stdin().deadline(60).go().expect_status(3);
    host.sh("exit 4").stdin(vec![b'x'; 4 << 20]).go().expect_status(4);
    host.run(Image::Busybox).user("stranger").args(["cat"]).held_stdin().deadline(60).go().expect_status(125);
}
