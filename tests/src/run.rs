//! One run of a container on a host: its command line, its streams, its end.

use crate::{
    done::{Done, contains, show},
    hosts::Host,
    images::Image,
    stream::Stream,
    workspace::tool,
};
pub use nix::sys::signal::Signal;
use nix::{
    sys::signal::kill,
    unistd::{Pid, SysconfVar, sysconf},
};
use std::{
    ffi::{OsStr, OsString},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

/// How long a run may take unless it says otherwise: far more than any needs, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// What the container's standard input is connected to.
#[derive(Clone, Debug)]
enum Input {
    /// `/dev/null`.
    Null,
    /// A pipe with these bytes, then its end.
    Bytes(Vec<u8>),
    /// A pipe that the test writes to.
    Held,
    /// A pipe that nobody writes to nor closes, and an image that is told to leave it alone.
    Unused,
}

/// A container to be run.
#[derive(Clone, Debug)]
pub struct Run {
    host: Host,
    file: PathBuf,
    /// What this is about, for messages.
    what: String,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    dirs: Vec<(PathBuf, String)>,
    image_options: Vec<(&'static str, String)>,
    host_options: Vec<String>,
    /// The program that starts the host, with its arguments; empty: none.
    under: Vec<String>,
    input: Input,
    deadline: Duration,
}

impl Run {
    /// The image's default command on that host, with nothing on standard input.
    pub fn new(host: Host, image: Image) -> Self {
        Run {
            host,
            file: host.file(image),
            what: format!("{} on {}", image.name(), host.name()),
            args: Vec::new(),
            env: Vec::new(),
            dirs: Vec::new(),
            image_options: Vec::new(),
            host_options: Vec::new(),
            under: Vec::new(),
            input: Input::Null,
            deadline: DEADLINE,
        }
    }

    /// Another file than the image's usual one.
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = file.into();
        self
    }

    /// The image's own arguments.
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A host directory and where it is mounted.
    pub fn dir(mut self, host: &Path, guest: &str) -> Self {
        self.dirs.push((host.into(), guest.into()));
        self
    }

    /// Another entry point.
    pub fn entrypoint(mut self, command: &str) -> Self {
        self.image_options.push(("--entrypoint", command.into()));
        self
    }

    /// Another user.
    pub fn user(mut self, user: &str) -> Self {
        self.image_options.push(("--user", user.into()));
        self
    }

    /// Another working directory.
    pub fn workdir(mut self, dir: &str) -> Self {
        self.image_options.push(("--workdir", dir.into()));
        self
    }

    /// An option of `forelift run`, for our hosts only.
    pub fn option(mut self, option: &str) -> Self {
        assert!(self.host.is_ours(), "{option} on {}", self.host.name());
        self.host_options.push(option.into());
        self
    }

    /// Lets another program start the host (`prlimit`, `setpriv`), which ends with it.
    pub fn under(mut self, words: &[&str]) -> Self {
        self.under = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Standard input is a pipe with these bytes.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Standard input is a pipe that [`Running::stdin`] writes to.
    pub fn held_stdin(mut self) -> Self {
        self.input = Input::Held;
        self
    }

    /// `--no-stdin`, while the host's standard input never ends.
    pub fn no_stdin(mut self) -> Self {
        self.input = Input::Unused;
        self
    }

    /// How long the run may take.
    pub fn deadline(mut self, seconds: u64) -> Self {
        self.deadline = Duration::from_secs(seconds);
        self
    }

    /// The whole command line. Ours takes the image's options as its own, others leave them to the image.
    pub fn command(&self) -> Command {
        let mut command = self.host.command();
        let ours = self.host.is_ours();
        command.args(&self.host_options);
        for (name, value) in &self.env {
            command.arg(if ours { "-e" } else { "--env" }).arg(format!("{name}={value}"));
        }
        for (host, guest) in &self.dirs {
            command.arg("--dir").arg(format!("{}::{guest}", host.display()));
        }
        let options = self.image_options.iter().flat_map(|(name, value)| [*name, value]);
        if ours {
            command.args(options).arg(&self.file);
        } else {
            command.arg(&self.file).args(options);
        }
        if matches!(self.input, Input::Unused) {
            command.arg("--no-stdin");
        }
        command.args(&self.args);
        match self.under.split_first() {
            Some((program, words)) => {
                let mut starter = Command::new(tool(program));
                starter.args(words).arg(command.get_program()).args(command.get_args());
                starter
            }
            None => command,
        }
    }

    /// Starts it, with pipes for its output.
    pub fn spawn(self) -> Running {
        let mut command = self.command();
        let stdin = if matches!(self.input, Input::Null) { Stdio::null() } else { Stdio::piped() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {command:?}: {e}", self.what));
        let stdout = Stream::collect(child.stdout.take());
        let stderr = Stream::collect(child.stderr.take());
        let mut stdin = child.stdin.take();
        let mut writer = None;
        if let Input::Bytes(bytes) = self.input {
            let mut pipe = stdin.take();
            writer = Some(thread::spawn(move || {
                // The container may end without reading all of it.
                let _ = pipe.as_mut().map(|p| p.write_all(&bytes));
            }));
        }
        Running {
            child,
            stdin,
            stdout,
            stderr,
            writer,
            started,
            what: self.what,
            deadline: started + self.deadline,
        }
    }

    /// Runs it to its end.
    pub fn go(self) -> Done {
        self.spawn().finish()
    }

    /// Runs it to its end, which must be status 0 and nothing on stderr; gives its stdout.
    pub fn ok(self) -> String {
        self.go().ok()
    }
}

/// A container that runs.
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
        // A failed test must not leave its container behind; after `finish` there is none.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Waits for a process, but not beyond the deadline.
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
    let started = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{what}: {e}"));
    let (stdout, stderr) = (Stream::collect(child.stdout.take()), Stream::collect(child.stderr.take()));
    let deadline = started + 5 * DEADLINE;
    Running { child, stdin: None, stdout, stderr, writer: None, started, deadline, what }.finish()
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
