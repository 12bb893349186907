//! A program that runs, with pipes for its output, and its end.

use crate::{
    done::{Done, contains, show},
    stream::Stream,
};
pub use nix::sys::signal::Signal;
use nix::{
    sys::signal::kill,
    unistd::{Pid, SysconfVar, sysconf},
};
use std::{
    ffi::OsStr,
    fs,
    io::Write,
    net::SocketAddr,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

/// How long a run may take unless it says otherwise: far more than any needs, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A program that runs: a host with its container, or any other.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Stream,
    stderr: Stream,
    writer: Option<JoinHandle<()>>,
    started: Instant,
    deadline: Instant,
    what: String,
}

impl Running {
    /// Starts `command`, whose output goes to pipes, and writes `bytes` to its standard input.
    pub(crate) fn spawn(what: String, mut command: Command, bytes: Option<Vec<u8>>, limit: Duration) -> Self {
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{what}: {command:?}: {e}"));
        let (stdout, stderr) = (Stream::collect(child.stdout.take()), Stream::collect(child.stderr.take()));
        let mut stdin = child.stdin.take();
        let writer = bytes.map(|bytes| {
            let mut pipe = stdin.take();
            thread::spawn(move || {
                // The program may end without reading all of it.
                let _ = pipe.as_mut().map(|p| p.write_all(&bytes));
            })
        });
        Running { child, stdin, stdout, stderr, writer, started, deadline: started + limit, what }
    }

    /// Process id of the host.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to a held standard input.
    pub fn write(&mut self, bytes: &[u8]) {
        let pipe = self.stdin.as_mut().expect("held_stdin");
        pipe.write_all(bytes)
            .and_then(|()| pipe.flush())
            .unwrap_or_else(|e| panic!("{}: stdin: {e}", self.what));
    }

    /// Ends a held standard input.
    pub fn end_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits for a text on standard output.
    pub fn expect(&mut self, text: &str) {
        let found = self.stdout.wait(self.deadline, |bytes| contains(bytes, text.as_bytes()));
        if !found {
            let _ = self.child.kill();
            let (out, err) = (self.stdout.so_far(), self.stderr.so_far());
            panic!("{}: waited for {text:?}\nstdout: {}\nstderr: {}", self.what, show(&out), show(&err));
        }
    }

    /// Waits for a whole line on standard error that begins so, and gives the rest of it.
    pub fn said(&mut self, start: &str) -> String {
        let find = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let line = text.split_inclusive('\n').find_map(|line| line.strip_prefix(start))?;
            line.ends_with('\n').then(|| line.trim().to_owned())
        };
        self.stderr.wait(self.deadline, |bytes| find(bytes).is_some());
        let said = self.stderr.so_far();
        find(&said).unwrap_or_else(|| panic!("{}: no line {start:?}: {}", self.what, show(&said)))
    }

    /// Waits until the host has said where a port of the container's is published, and gives that.
    pub fn published(&mut self, port: &str) -> SocketAddr {
        let address = self.said(&format!("forelift: port {port} is published at "));
        address.parse().unwrap_or_else(|e| panic!("{}: {address}: {e}", self.what))
    }

    /// Standard output so far.
    pub fn output(&self) -> Vec<u8> {
        self.stdout.so_far()
    }

    /// Sends a signal to the host.
    pub fn signal(&self, signal: Signal) {
        kill(pid_of(&self.child), signal).unwrap_or_else(|e| panic!("{}: {signal:?}: {e}", self.what));
    }

    /// CPU time that the host has used, all its threads.
    pub fn cpu(&self) -> Duration {
        cpu_time(self.child.id())
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Done {
        let status = match wait(&mut self.child, self.deadline) {
            Some(status) => status,
            None => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let (out, err) = (self.stdout.so_far(), self.stderr.so_far());
                let limit = self.deadline - self.started;
                panic!(
                    "{}: not done in {limit:?}\nstdout: {}\nstderr: {}",
                    self.what,
                    show(&out),
                    show(&err)
                );
            }
        };
        let took = self.started.elapsed();
        drop(self.stdin.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
        let (stdout, stderr) = (self.stdout.all(), self.stderr.all());
        Done::new(std::mem::take(&mut self.what), status, stdout, stderr, took)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test must not leave its container running; after `finish` there is none.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Waits for a process, but not past the deadline.
pub(crate) fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => sleep(pause),
            Ok(None) => return None,
            Err(e) => panic!("waiting for process {}: {e}", child.id()),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// CPU time of a process (proc(5), `/proc/PID/stat`, fields 14 and 15).
pub fn cpu_time(pid: u32) -> Duration {
    let text =
        fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|e| panic!("process {pid}: {e}"));
    // The second field is a name in parentheses that may hold anything.
    let rest = text.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = rest.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    let second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|n| u64::try_from(n).ok());
    Duration::from_millis(ticks * 1000 / second.expect("ticks of a second").max(1))
}

/// Runs any program to its end, its input empty.
pub fn program(program: impl AsRef<OsStr>, configure: impl FnOnce(&mut Command)) -> Done {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    configure(&mut command);
    let what = format!("{command:?}");
    Running::spawn(what, command, None, 5 * DEADLINE).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_run_to_their_end() {
        let done = program("sh", |c| {
            c.args(["-c", "echo out; echo err >&2; exit 7"]);
        });
        assert_eq!((done.status(), done.out().as_str(), done.err().as_str()), (7, "out\n", "err\n"));
        let done = program("sh", |c| {
            c.args(["-c", "kill -9 $$"]);
        });
        assert_eq!(done.signal(), Some(9));
    }

    #[test]
    #[should_panic(expected = "not one line")]
    fn two_lines_are_not_one_error() {
        program("sh", |c| {
            c.args(["-c", "echo forelift: a >&2; echo b >&2; exit 1"]);
        })
        .one_error(&[]);
    }

    #[test]
    fn cpu_time_grows() {
        let me = std::process::id();
        let before = cpu_time(me);
        let begin = Instant::now();
        while cpu_time(me) < before + Duration::from_millis(30) {
            assert!(begin.elapsed() < Duration::from_secs(60), "busy for a minute without using CPU time");
        }
    }
}
