//! Terminals: modes, keys, sizes and signals reach the container's command.

use forelift_tests::process::Signal;
use forelift_tests::{
    hosts::{Host, Place},
    images::Image,
    process::program,
    pty::Terminal,
    table::{Check, Group},
    workspace::forelift,
};

pub(crate) const CASES: Group = &[
    ("shell_at_a_prompt", Check::On(&Host::OURS, shell_at_a_prompt)),
    ("shell_on_other_runtimes", Check::On(&[Host::PyWasmtime, Host::Node], shell_on_other_runtimes)),
    ("is_a_terminal", Check::On(&Host::OURS, is_a_terminal)),
    ("has_the_right_size", Check::On(&Host::OURS, has_the_right_size)),
    ("resizing_is_signalled", Check::On(&Host::OURS, resizing_is_signalled)),
    ("ctrl_c", Check::On(&Host::OURS, ctrl_c)),
    ("ctrl_d", Check::On(&Host::OURS, ctrl_d)),
    ("ctrl_z_and_jobs", Check::On(&Host::OURS, ctrl_z_and_jobs)),
    ("python_prompt", Check::On(&Host::OURS, python_prompt)),
    ("line_editing", Check::On(&Host::OURS, line_editing)),
    ("raw_programs", Check::On(&Host::OURS, raw_programs)),
    ("much_output", Check::On(&Host::OURS, much_output)),
    ("settings_come_back", Check::On(&Host::OURS, settings_come_back)),
    ("without_t_there_is_none", Check::On(&Host::OURS, without_t_there_is_none)),
    ("without_i_there_is_no_input", Check::On(&Host::OURS, without_i_there_is_no_input)),
    ("needs_a_terminal", Check::Once(needs_a_terminal)),
];

fn start(host: Place, image: Image, options: &str, args: &[&str], rows: u16, cols: u16) -> Terminal {
    Terminal::spawn(host.run(image).option(options).args(args.iter().copied()).command(), rows, cols)
}

fn shell(host: Place) -> Terminal {
    let mut terminal = start(host, Image::Busybox, "-it", &["sh"], 24, 80);
    terminal.expect("# ");
    terminal
}

/// As long as a user takes to type the next thing.
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(700));
}

pub(crate) fn shell_at_a_prompt(host: Place) {
    let mut terminal = shell(host);
    terminal.send("echo $((6 * 7)).\r");
    terminal.expect("42.");
    terminal.expect("# ");
    terminal.send("uname -m\r");
    terminal.expect(&format!("{}\r\n", host.machine()));
    terminal.send("exit 3\r");
    assert_eq!(terminal.finish(), 3);
    // What was typed is there once: either side echoes, not both.
    assert_eq!(terminal.screen().matches("uname -m").count(), 1, "{}", terminal.screen());
}

/// The host's terminal stays in its own mode there: it edits lines and echoes by itself.
fn shell_on_other_runtimes(host: Place) {
    let mut terminal = Terminal::spawn(host.run(Image::Busybox).args(["sh"]).command(), 24, 80);
    terminal.expect("# ");
    terminal.send("echo $((6 * 7)).; test -t 0 && test -t 1 && echo a terminal\r");
    terminal.expect("42.");
    terminal.expect("a terminal");
    terminal.send("exit 3\r");
    assert_eq!(terminal.finish(), 3);
    assert_eq!(terminal.screen().matches("6 * 7").count(), 1, "{}", terminal.screen());
}

pub(crate) fn is_a_terminal(host: Place) {
    let script = "for fd in 0 1 2; do test -t $fd && echo tty $fd; done; tty; echo term $TERM; echo > /dev/tty && echo controlling; \
        test -c /dev/console && echo console; ps -o tty= -p 1; stty -a | grep -c icanon; exit 4";
    let mut terminal = start(host, Image::Busybox, "-it", &["sh", "-c", script], 24, 80);
    for text in ["tty 0\r\n", "tty 1\r\n", "tty 2\r\n", "/dev/pts/0\r\n", "term xterm\r\n", "controlling\r\n"]
    {
        terminal.expect(text);
    }
    assert_eq!(terminal.finish(), 4, "{}", terminal.screen());
}

pub(crate) fn has_the_right_size(host: Place) {
    for (rows, cols) in [(24, 80), (50, 132), (3, 7)] {
        let mut terminal = start(host, Image::Busybox, "-it", &["stty", "size"], rows, cols);
        terminal.expect(&format!("{rows} {cols}\r\n"));
        assert_eq!(terminal.finish(), 0);
    }
}

pub(crate) fn resizing_is_signalled(host: Place) {
    let script = "trap 'echo size $(stty size).' WINCH; echo ready.; while :; do sleep 0.05; done";
    let mut terminal = start(host, Image::Busybox, "-it", &["sh", "-c", script], 24, 80);
    terminal.expect("ready.");
    for (rows, cols) in [(30, 100), (10, 40)] {
        terminal.resize(rows, cols);
        terminal.expect(&format!("size {rows} {cols}."));
    }
    terminal.signal(Signal::SIGKILL);
}

pub(crate) fn ctrl_c(host: Place) {
    let mut terminal = shell(host);
    terminal.send("sleep 1000\r");
    terminal.expect("sleep 1000\r\n");
    pause();
    terminal.send("\x03");
    terminal.expect("# ");
    terminal.send("echo status $?.\r");
    terminal.expect("status 130.");
    terminal.send("exit\r");
    assert_eq!(terminal.finish(), 0);
}

fn ctrl_d(host: Place) {
    let mut terminal = shell(host);
    terminal.send("cat > /f\r");
    terminal.expect("/f\r\n");
    pause();
    terminal.send("words\r\x04");
    terminal.expect("# ");
    terminal.send("cat /f\r");
    terminal.expect("words\r\n");
    terminal.expect("# ");
    terminal.send("\x04");
    assert_eq!(terminal.finish(), 0);
}

fn ctrl_z_and_jobs(host: Place) {
    let mut terminal = start(host, Image::Minbase, "-it", &["bash", "--norc"], 24, 80);
    terminal.expect("# ");
    terminal.send("sleep 1000\r");
    terminal.expect("sleep 1000\r\n");
    pause();
    terminal.send("\x1a");
    terminal.expect("Stopped");
    terminal.expect("# ");
    terminal.send("fg\r");
    terminal.expect("sleep 1000\r\n");
    pause();
    terminal.send("\x03");
    terminal.expect("# ");
    terminal.send("echo gone $?.\r");
    terminal.expect("gone 130.");
    terminal.send("exit 6\r");
    assert_eq!(terminal.finish(), 6);
}

fn python_prompt(host: Place) {
    let mut terminal = start(host, Image::Python3, "-it", &["python3", "-q"], 24, 80);
    terminal.expect(">>> ");
    terminal.send("6 * 7 * 11\r");
    terminal.expect("462");
    terminal.send("raise SystemExit(5)\r");
    assert_eq!(terminal.finish(), 5);
}

pub(crate) fn line_editing(host: Place) {
    let mut terminal = shell(host);
    // Erase, cursor left, history.
    terminal.send("echo wrongg\x7f\x7f\x7f\x7f\x7f\x7fright.\r");
    terminal.expect("right.\r\n");
    terminal.expect("right.\r\n");
    terminal.send("echo bc\x1b[D\x1b[Da\r");
    terminal.expect("\nabc\r\n");
    terminal.send("\x1b[A\r");
    terminal.expect("\nabc\r\n");
    terminal.send("exit\r");
    assert_eq!(terminal.finish(), 0);
}

/// vi draws the screen and wants every key by itself.
fn raw_programs(host: Place) {
    let mut terminal = shell(host);
    terminal.send("vi /text\r");
    terminal.expect("/text");
    terminal.send("ihello\x1b");
    // What follows an escape at once is part of a key.
    pause();
    terminal.send(":wq\r");
    terminal.expect("# ");
    terminal.send("od -c /text\r");
    terminal.expect("h   e   l   l   o  \\n");
    terminal.send("exit\r");
    assert_eq!(terminal.finish(), 0);
}

pub(crate) fn much_output(host: Place) {
    let mut terminal =
        start(host, Image::Busybox, "-it", &["sh", "-c", "seq 20000; echo end.; exit 2"], 24, 80);
    terminal.expect("\n19999\r\n20000\r\nend.");
    assert_eq!(terminal.finish(), 2);
    let expected: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
    assert!(terminal.screen().contains(&expected), "lines are missing");
}

fn settings_come_back(host: Place) {
    let script = "stty raw -echo; echo ready.; sleep 1000";
    for (script, signal) in [("echo ready.; exit 3", None), (script, Some(Signal::SIGHUP))] {
        let mut terminal = Terminal::spawn(std::process::Command::new("true"), 24, 80);
        terminal.finish();
        let before = terminal.settings();
        let mut terminal = start(
            host,
            Image::Busybox,
            "-it",
            &["sh", "-c", &format!("trap 'exit 3' HUP; {script} & wait")],
            24,
            80,
        );
        terminal.expect("ready.");
        if let Some(signal) = signal {
            terminal.signal(signal);
        }
        terminal.finish();
        let after = terminal.settings();
        assert_eq!(
            (before.local_flags, before.input_flags, before.output_flags),
            (after.local_flags, after.input_flags, after.output_flags)
        );
    }
}

fn without_t_there_is_none(host: Place) {
    let script = "for fd in 0 1 2; do test -t $fd && echo tty $fd; test -p /dev/fd/$fd && echo pipe $fd; done; read x; echo \"got $x.\"";
    let mut terminal = start(host, Image::Busybox, "-i", &["sh", "-c", script], 24, 80);
    terminal.expect("pipe 2");
    terminal.send("words\r");
    terminal.expect("got words.");
    assert_eq!(terminal.finish(), 0);
    assert!(!terminal.shows("tty "), "{}", terminal.screen());
}

fn without_i_there_is_no_input(host: Place) {
    // The host's standard input is a terminal, which no option connects.
    let mut terminal = Terminal::spawn(host.sh("cat; echo ended.").command(), 24, 80);
    terminal.expect("ended.");
    assert_eq!(terminal.finish(), 0);
}

fn needs_a_terminal() {
    let done = program(forelift(), |c| {
        c.args(["run", "-it"]).arg(Image::Busybox.wasm()).arg("true");
    });
    done.expect_status(125).one_error(&["TTY"]);
}
