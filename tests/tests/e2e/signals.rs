//! Signals to `forelift run` reach the container's command.

use forelift_tests::process::Signal;
use forelift_tests::{
    hosts::{Host, Place},
    images::Image,
    process::Running,
    run::Run,
    table::{Check, Group},
};
use std::time::{Duration, Instant};

pub(crate) const CASES: Group = &[
    ("reach_a_trap", Check::On(&Host::OURS, reach_a_trap)),
    ("stop_signal_of_the_image", Check::On(&Host::OURS, stop_signal_of_the_image)),
    ("end_a_command_that_handles_them_not", Check::On(&Host::OURS, end_a_command_that_handles_them_not)),
    ("many", Check::On(&Host::OURS, many)),
    ("early", Check::On(&Host::OURS, early)),
    ("python_keyboard_interrupt", Check::On(&Host::OURS, python_keyboard_interrupt)),
    ("ignored_ones_do_not_pile_up", Check::On(&Host::OURS, ignored_ones_do_not_pile_up)),
    ("kill_of_the_host", Check::On(&Host::ALL, kill_of_the_host)),
];

fn trapping(host: Place) -> Run {
    let traps: String = ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM"]
        .iter()
        .enumerate()
        .map(|(n, name)| format!("trap 'echo got {name}; exit {}' {name}; ", 60 + n))
        .collect();
    host.sh(&format!("{traps} echo ready; while :; do sleep 0.05; done")).deadline(60)
}

fn ready(run: Run) -> Running {
    let mut run = run.spawn();
    run.expect("ready\n");
    run
}

pub(crate) fn reach_a_trap(host: Place) {
    let signals =
        [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTERM];
    for ((n, signal), name) in
        signals.into_iter().enumerate().zip(["HUP", "INT", "QUIT", "USR1", "USR2", "TERM"])
    {
        let run = ready(trapping(host));
        run.signal(signal);
        run.finish().expect_status(60 + n as i32).expect_out(&format!("ready\ngot {name}\n"));
    }
}

/// As `docker run` does: what comes is passed on; only `docker stop` sends the stop signal.
fn stop_signal_of_the_image(host: Place) {
    for (signal, word, status) in [(Signal::SIGQUIT, "quit", 21), (Signal::SIGTERM, "term", 22)] {
        let mut run = host.run(Image::Service).args(["wait"]).deadline(60).spawn();
        run.expect("waiting\n");
        run.signal(signal);
        run.finish().expect_status(status).expect_out(&format!("waiting\n{word}\n"));
    }
}

/// Process 1 of a namespace takes no signal that it does not handle, so its child is the one to be asked.
pub(crate) fn end_a_command_that_handles_them_not(host: Place) {
    let mut run = host
        .sh("trap 'kill $child' TERM; sleep 1000 & child=$!; echo ready; wait $child; wait $child; exit $?")
        .deadline(60)
        .spawn();
    run.expect("ready\n");
    run.signal(Signal::SIGTERM);
    run.finish().expect_status(143);
}

fn many(host: Place) {
    let mut run = host.sh("n=0; trap 'n=$((n+1)); echo n=$n.' USR1; trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done").deadline(60).spawn();
    run.expect("ready\n");
    for n in 1..=10 {
        run.signal(Signal::SIGUSR1);
        run.expect(&format!("n={n}."));
    }
    run.signal(Signal::SIGTERM);
    run.finish().expect_status(9);
}

/// At any moment of the start: the container ends by it, or the host does; nothing hangs.
fn early(host: Place) {
    for pause in [0, 5, 10, 20, 40, 80] {
        let run = host.sh("trap 'exit 9' TERM; while :; do sleep 0.05; done").deadline(30).spawn();
        std::thread::sleep(Duration::from_millis(pause));
        // A shell that has not set its trap yet ignores the signal, as process 1: ask until it is heard.
        let begin = Instant::now();
        run.signal(Signal::SIGTERM);
        while begin.elapsed() < Duration::from_secs(20) && alive(run.pid()) {
            std::thread::sleep(Duration::from_millis(200));
            if alive(run.pid()) {
                run.signal(Signal::SIGTERM);
            }
        }
        let done = run.finish();
        let ended = done.signal().is_some() || [9, 143].contains(&done.status());
        assert!(ended, "{done}");
    }
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

pub(crate) fn python_keyboard_interrupt(host: Place) {
    let code = "import time\nprint('ready', flush=True)\ntry: time.sleep(100)\nexcept KeyboardInterrupt: print('interrupted'); raise";
    let mut run = host.run(Image::Python3).args(["python3", "-c", code]).deadline(60).spawn();
    run.expect("ready\n");
    run.signal(Signal::SIGINT);
    let done = run.finish().expect_status(130);
    assert!(done.out() == "ready\ninterrupted\n" && done.err().contains("KeyboardInterrupt"), "{done}");
}

fn ignored_ones_do_not_pile_up(host: Place) {
    let mut run = host
        .sh("trap '' INT TERM; echo ready; n=0; while [ $n -lt 20 ]; do sleep 0.1; n=$((n+1)); done; exit 4")
        .deadline(60)
        .spawn();
    run.expect("ready\n");
    for _ in 0..8 {
        run.signal(Signal::SIGINT);
        run.signal(Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(100));
    }
    run.finish().expect_status(4);
}

fn kill_of_the_host(host: Place) {
    let mut run = host.sh("echo ready; sleep 1000").spawn();
    run.expect("ready\n");
    run.signal(Signal::SIGKILL);
    assert_eq!(run.finish().signal(), Some(9));
}
