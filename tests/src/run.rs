//! One run of a container on a host: its command line, its streams, its end.

use crate::{hosts::Host, images::Image};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
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
        command
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

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    ended: bool,
}

/// An output stream being read by a thread.
#[derive(Debug)]
pub(crate) struct Stream {
    shared: Arc<(Mutex<Buffer>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    pub(crate) fn collect(source: Option<impl Read + Send + 'static>) -> Self {
        let shared = Arc::new((Mutex::new(Buffer::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let reader = source.map(|mut source| {
            thread::spawn(move || {
                let mut piece = vec![0; 64 << 10];
                loop {
                    // A terminal's end is EIO.
                    let n = source.read(&mut piece).unwrap_or(0);
                    let mut buffer = theirs.0.lock().unwrap_or_else(PoisonError::into_inner);
                    buffer.bytes.extend_from_slice(&piece[..n]);
                    buffer.ended = n == 0;
                    theirs.1.notify_all();
                    if n == 0 {
                        return;
                    }
                }
            })
        });
        Stream { shared, reader }
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came so far.
    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Waits until `found` says where the wanted part of the stream ends; false at the stream's end or at the deadline.
    pub(crate) fn wait(&self, deadline: Instant, mut found: impl FnMut(&[u8]) -> bool) -> bool {
        let mut buffer = self.lock();
        loop {
            if found(&buffer.bytes) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if buffer.ended || left.is_zero() {
                return false;
            }
            buffer = self.shared.1.wait_timeout(buffer, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All of it, once it has ended.
    pub(crate) fn all(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        std::mem::take(&mut self.lock().bytes)
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
        kill_process(pid_of(&self.child), signal)
            .unwrap_or_else(|e| panic!("{}: {signal:?}: {e}", self.what));
    }

    /// CPU time that the host has used, all its threads.
    pub fn cpu(&self) -> Duration {
        cpu_time(self.child.id())
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
        Done { what: std::mem::take(&mut self.what), status, stdout, stderr, took }
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
    Pid::from_child(child)
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
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

/// Whether `part` occurs in `whole`.
pub fn contains(whole: &[u8], part: &[u8]) -> bool {
    part.is_empty() || whole.windows(part.len()).any(|w| w == part)
}

/// Bytes for a message: printable, the middle of long ones left out.
pub fn show(bytes: &[u8]) -> String {
    const MOST: usize = 2000;
    if bytes.len() > 2 * MOST {
        let (first, last) = (&bytes[..MOST], &bytes[bytes.len() - MOST..]);
        return format!("{} [... {} bytes ...] {}", show(first), bytes.len() - 2 * MOST, show(last));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Done {
    what: String,
    status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Wall-clock time of the whole process.
    pub took: Duration,
}

impl Done {
    /// A run whose output the test has taken itself.
    pub fn of(what: &str, output: &Output, took: Duration) -> Self {
        let (stdout, stderr) = (output.stdout.clone(), output.stderr.clone());
        Done { what: what.into(), status: output.status, stdout, stderr, took }
    }

    /// Exit status of the host process.
    ///
    /// # Panics
    /// When a signal ended the host.
    pub fn status(&self) -> i32 {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => code,
            (None, signal) => panic!("{self}: the host was ended by signal {signal:?}"),
        }
    }

    /// Signal that ended the host itself.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn expect_status(self, status: i32) -> Self {
        assert_eq!(self.status(), status, "{self}");
        self
    }

    /// Asserts status 0 and an empty stderr, and gives stdout.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status() == 0 && self.stderr.is_empty(), "{self}");
        self.out()
    }

    /// Asserts stdout.
    #[track_caller]
    pub fn expect_out(self, text: &str) -> Self {
        assert_eq!(self.out(), text, "{self}");
        self
    }

    /// Asserts stderr.
    #[track_caller]
    pub fn expect_err(self, text: &str) -> Self {
        assert_eq!(self.err(), text, "{self}");
        self
    }

    /// Asserts exactly one line on stderr, ours, that holds these words; and nothing on stdout.
    #[track_caller]
    pub fn one_error(self, words: &[&str]) -> Self {
        let text = self.err();
        assert!(text.ends_with('\n') && text.lines().count() == 1, "not one line: {self}");
        assert!(text.starts_with("forelift: "), "not ours: {self}");
        for word in words {
            assert!(text.contains(word), "no {word:?}: {self}");
        }
        assert!(self.stdout.is_empty(), "output: {self}");
        self
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (out, err) = (show(&self.stdout), show(&self.stderr));
        write!(f, "{}: {} after {:?}\nstdout: {out}\nstderr: {err}\n", self.what, self.status, self.took)
    }
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

    #[test]
    fn long_output_is_shortened() {
        assert_eq!(show(b"abc"), "abc");
        assert_eq!(show(&[0xff]), "\\xff");
        assert!(show(&[b'x'; 100_000]).len() < 5000);
        assert!(contains(b"abc", b"bc") && !contains(b"abc", b"cb") && contains(b"", b""));
    }
}
