//! Each start is a new one: fresh entropy, the right time, and no CPU time while idle.

use forelift_tests::{
    hosts::{Host, Place},
    images::Image,
    table::{Check, Group},
};
use std::{
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub(crate) const CASES: Group = &[
    ("entropy_is_fresh", Check::Everywhere(&Host::ALL, entropy_is_fresh)),
    ("entropy_is_fresh_in_python", Check::On(&Host::ALL, entropy_is_fresh_in_python)),
    ("addresses_are_random", Check::On(&Host::ALL, addresses_are_random)),
    ("wall_clock_is_right", Check::On(&Host::ALL, wall_clock_is_right)),
    ("sleep_takes_its_time", Check::On(&Host::ALL, sleep_takes_its_time)),
    ("clocks_run_at_the_right_speed", Check::On(&Host::ALL, clocks_run_at_the_right_speed)),
    ("busy_clock_runs_at_the_right_speed", Check::Everywhere(&Host::ALL, busy_clock_runs_at_the_right_speed)),
    ("timers", Check::On(&Host::ALL, timers)),
    ("idle_shell_uses_no_cpu", Check::On(&Host::ALL, idle_shell_uses_no_cpu)),
    ("idle_sleep_uses_no_cpu", Check::On(&Host::ALL, idle_sleep_uses_no_cpu)),
    ("stopped_host_keeps_time", Check::On(&Host::OURS, stopped_host_keeps_time)),
];

pub(crate) fn entropy_is_fresh(host: Place) {
    let script = "head -c 16 /dev/urandom | od -An -tx1; head -c 16 /dev/random | od -An -tx1; \
        cat /proc/sys/kernel/random/uuid; cat /proc/sys/kernel/random/boot_id; mktemp -u";
    let (first, second) = (host.sh(script).ok(), host.sh(script).ok());
    assert_eq!((first.lines().count(), second.lines().count()), (5, 5), "{first}");
    for (a, b) in first.lines().zip(second.lines()) {
        assert_ne!(a, b, "the same in two starts");
    }
}

fn entropy_is_fresh_in_python(host: Place) {
    let code = "import uuid, random, secrets, os\n\
        print(uuid.uuid4()); print(random.random()); print(secrets.token_hex()); print(hash('text')); print(os.getrandom(16).hex())";
    let run = || host.run(Image::Python3).args(["python3", "-c", code]).ok();
    let (first, second) = (run(), run());
    assert_eq!((first.lines().count(), second.lines().count()), (5, 5), "{first}");
    for (a, b) in first.lines().zip(second.lines()) {
        assert_ne!(a, b, "the same in two starts");
    }
}

fn addresses_are_random(host: Place) {
    let script = "grep '\\[stack\\]' /proc/self/maps";
    let starts: Vec<String> = (0..3).map(|_| host.sh(script).ok()).collect();
    assert!(starts[0] != starts[1] || starts[0] != starts[2], "{starts:?}");
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs_f64()
}

pub(crate) fn wall_clock_is_right(host: Place) {
    let before = now();
    let done = host.sh("date +%s").go().expect_status(0);
    let after = now();
    let inside: f64 = done.out().trim().parse().expect("seconds");
    assert!(before - 2.0 < inside && inside < after + 2.0, "{inside} is not between {before} and {after}");
}

/// Seconds since the machine's start, as the guest says.
const UPTIME: &str = "cut -d' ' -f1 /proc/uptime";

pub(crate) fn sleep_takes_its_time(host: Place) {
    let begin = Instant::now();
    let text = host.sh(&format!("{UPTIME}; sleep 1; {UPTIME}")).ok();
    let outside = begin.elapsed().as_secs_f64();
    let times: Vec<f64> = text.lines().map(|l| l.parse().expect("seconds")).collect();
    let inside = times[1] - times[0];
    assert!((0.98..2.5).contains(&inside), "sleep 1 took {inside} s in the guest");
    assert!(outside >= 1.0, "sleep 1 took {outside} s on the host");
}

/// Times of two marks in the output, on the host's clock and, from the marks' text, on the guest's.
fn two_marks(host: Place, between: &str) -> (f64, f64) {
    let script = format!("echo mark $({UPTIME}).; {between}; echo mark $({UPTIME}).");
    let mut run = host.sh(&script).held_stdin().spawn();
    run.expect(".\n");
    let begin = Instant::now();
    run.expect(".\nmark ");
    let outside = begin.elapsed().as_secs_f64();
    run.end_stdin();
    let text = run.finish().ok();
    let times: Vec<f64> = text
        .lines()
        .map(|l| {
            l.trim_start_matches("mark ").trim_end_matches('.').parse().unwrap_or_else(|_| panic!("{text}"))
        })
        .collect();
    (outside, times[1] - times[0])
}

fn clocks_run_at_the_right_speed(host: Place) {
    let (outside, inside) = two_marks(host, "sleep 3");
    assert!((outside - inside).abs() < 0.6, "{outside} s on the host are {inside} s in the guest");
}

pub(crate) fn busy_clock_runs_at_the_right_speed(host: Place) {
    let (outside, inside) = two_marks(host, "timeout 3 sh -c 'while :; do :; done' 2>/dev/null; true");
    assert!((outside - inside).abs() < 0.6, "{outside} s on the host are {inside} s in the guest");
    assert!((2.9..6.0).contains(&inside), "timeout 3 took {inside} s");
}

pub(crate) fn timers(host: Place) {
    let code = "import time, threading, select\n\
        a, m = time.time(), time.monotonic(); time.sleep(0.3); b, n = time.time(), time.monotonic()\n\
        print(0.3 <= n - m < 1.3, abs((b - a) - (n - m)) < 0.05)\n\
        hits = []; t = threading.Timer(0.2, lambda: hits.append(1)); t.start(); t.join(); print(hits)\n\
        m = time.monotonic(); select.select([], [], [], 0.25); print(0.25 <= time.monotonic() - m < 1.25)\n\
        lot = [time.monotonic() for _ in range(10000)]; print(lot == sorted(lot))";
    let text = host.run(Image::Python3).args(["python3", "-c", code]).ok();
    assert_eq!(text, "True True\n[1]\nTrue\nTrue\n");
}

/// CPU time, as a share of wall time, of a container that has settled.
fn load(host: Place, script: &str) -> f64 {
    let mut run = host.sh(script).held_stdin().spawn();
    run.expect("ready\n");
    sleep(Duration::from_secs(2));
    let (cpu, begin) = (run.cpu(), Instant::now());
    sleep(Duration::from_secs(5));
    (run.cpu() - cpu).as_secs_f64() / begin.elapsed().as_secs_f64()
}

pub(crate) fn idle_shell_uses_no_cpu(host: Place) {
    let load = load(host, "echo ready; read line");
    assert!(load < 0.4, "an idle shell takes {:.0} % of a CPU", load * 100.0);
}

pub(crate) fn idle_sleep_uses_no_cpu(host: Place) {
    let load = load(host, "echo ready; sleep 1000");
    assert!(load < 0.4, "a sleeping shell takes {:.0} % of a CPU", load * 100.0);
}

/// A host process that was stopped and continued (a laptop's lid) continues with the right time.
fn stopped_host_keeps_time(host: Place) {
    use forelift_tests::process::Signal;
    let mut run = host.sh("echo ready; read line; date +%s; sleep 0.3; echo alive").held_stdin().spawn();
    run.expect("ready\n");
    run.signal(Signal::SIGSTOP);
    sleep(Duration::from_secs(4));
    run.signal(Signal::SIGCONT);
    run.write(b"go\n");
    run.expect("alive\n");
    let outside = now();
    run.end_stdin();
    let text = run.finish().ok();
    let inside: f64 = text.lines().nth(1).and_then(|l| l.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    assert!((outside - inside).abs() < 3.0, "{inside} in the guest, {outside} on the host");
}
