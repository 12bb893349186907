//! `forelift net-relay` as a program: what it says, what it answers, and how it ends.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// Asks who has 10.0.2.2: a frame behind its length.
const QUESTION: [u8; 46] = [
    0, 0, 0, 42, 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0,
    9, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
];

/// A relay, and its lines.
struct Relay {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forelift"));
    command.arg("net-relay").args(options).stdin(Stdio::null());
    command
}

fn start(options: &[&str]) -> Relay {
    let mut child = command(options).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap());
    Relay { child, lines }
}

impl Relay {
    /// The next line, which begins so; the rest of it.
    fn said(&mut self, start: &str) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let rest = line.strip_prefix("forelift: ").and_then(|line| line.strip_prefix(start));
        rest.unwrap_or_else(|| panic!("{start}: {line}")).trim_end().to_owned()
    }

    /// Ends it by a signal; its exit status.
    fn end(&mut self, signal: &str) -> Option<i32> {
        let killed = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

fn asks(stream: &mut (impl Read + Write)) {
    stream.write_all(&QUESTION).unwrap();
    let mut answer = [0; 64];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..10], [0, 0, 0, 60, 2, 0, 0, 0, 0, 9]);
    assert_eq!((answer[25], &answer[32..36]), (2, &[10, 0, 2, 2][..]));
}

#[test]
fn it_says_where_it_listens_and_ends_by_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let unix = format!("unix:{}", path.display());
    for signal in ["INT", "TERM"] {
        let mut relay =
            start(&["--listen", "tcp:127.0.0.1:0", "--listen", &unix, "--listen", "ws://127.0.0.1:0"]);
        let address = relay.said("listening on tcp:");
        relay.said(&format!("listening on {unix}"));
        assert!(relay.said("listening on ws://127.0.0.1:").ends_with('/'));
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        asks(&mut tcp);
        let name = tcp.local_addr().unwrap();
        relay.said(&format!("guest 1 ({name}) has come"));
        let mut other = UnixStream::connect(&path).unwrap();
        asks(&mut other);
        relay.said("guest 2 (a Unix socket) has come");
        drop(tcp);
        relay.said(&format!("guest 1 ({name}) has gone: the other end has closed the stream"));
        assert_eq!(relay.end(signal), Some(0));
        assert!(!path.exists());
        assert_eq!(other.read(&mut [0]).unwrap_or(0), 0);
    }
}

#[test]
fn the_host_chooses_published_ports_once() {
    let mut relay = start(&["--listen", "tcp:127.0.0.1:0", "-p", "0:80"]);
    let published = relay.said("port 80/tcp is published at ");
    let address = relay.said("listening on tcp:");
    for _ in 0..2 {
        let mut guest = TcpStream::connect(&address).unwrap();
        asks(&mut guest);
        relay.said("guest ");
        TcpStream::connect(&published).unwrap();
        let mut second = TcpStream::connect(&address).unwrap();
        assert_eq!(second.read(&mut [0]).unwrap_or(0), 0);
        assert!(relay.said("127.0.0.1:").contains("is refused: published ports (-p)"));
        drop(guest);
        assert!(relay.said("guest ").contains("has gone"));
    }
}

/// The one line of a failure.
fn refused(options: &[&str], status: i32) -> String {
    let Output { status: ended, stdout, stderr } = command(options).output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!((ended.code(), stdout.len()), (Some(status), 0), "{text}");
    text
}

#[test]
fn mistakes_are_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("old");
    fs::write(&old, b"").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let tcp = ["--listen", "tcp:127.0.0.1:0"];
    let with = |more: &[&'static str]| [&tcp[..], more].concat();
    for (options, words) in [
        (vec!["--listen", &format!("tcp:127.0.0.1:{port}")], "cannot listen there"),
        (vec!["--listen", &format!("unix:{}", old.display())], "of a Unix socket, a file is left"),
        (with(&["-p", "80:x"]), "-p 80:x"),
        (with(&["--net-allow", "10.0.0.0/99"]), "--net-allow 10.0.0.0/99"),
        (with(&["--add-host", "db"]), "--add-host db"),
    ] {
        let text = refused(&options, 1);
        assert!(
            text.starts_with("forelift: ") && text.lines().count() == 1 && text.contains(words),
            "{text}"
        );
    }
    assert!(Path::new(&old).exists(), "what was there before stays");
    assert!(refused(&[], 2).contains("--listen"));
    for (options, words) in [
        (vec!["--listen", "wss://a:1"], "'wss://a:1' for '--listen <ADDR>': write it as tcp:HOST:PORT"),
        (vec!["--listen", "ws://a:1/b?c"], "'ws://a:1/b?c' for '--listen <ADDR>': write it as tcp:HOST:PORT"),
        (
            with(&["--allow-origin", "x.example"]),
            "'x.example' for '--allow-origin <ORIGIN>': write it as a browser",
        ),
    ] {
        let text = refused(&options, 2);
        assert!(text.contains(words), "{text}");
    }
    assert!(refused(&[&tcp[..], &["--max-guests", "0"]].concat(), 2).contains("--max-guests"));
}
