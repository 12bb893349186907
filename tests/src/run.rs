//! One run of a container on a host: its command line, its streams, its end.

use crate::{
    done::Done,
    hosts::{Host, Place},
    images::Image,
    process::{DEADLINE, Running},
    workspace::tool,
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// What the container's standard input is connected to.
#[derive(Clone, Debug)]
enum Input {
    /// `/dev/null`.
    Null,
    /// A pipe with these bytes, then its end.
    Bytes(Vec<u8>),
    /// A pipe that the test writes to.
    Held,
    /// A pipe that is never written to nor closed, and an image that is told to ignore it.
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

    /// The container's interface leads there (`tcp:HOST:PORT`), and its resolver is a relay's.
    pub fn net_stream(mut self, address: &str) -> Self {
        assert!(self.host.is_ours() || self.host == Host::Node, "no network on {}", self.host.name());
        self.host_options.extend(["--net-stream".to_owned(), address.to_owned()]);
        self.image_options.push(("--dns", "10.0.2.3".into()));
        self
    }

    /// Another working directory.
    pub fn workdir(mut self, dir: &str) -> Self {
        self.image_options.push(("--workdir", dir.into()));
        self
    }

    /// An option of `forelift run`; of a component's network, which is its own; of `run_web.mjs`.
    pub fn option(mut self, option: &str) -> Self {
        assert!(
            Host::NETWORKED.contains(&self.host) || self.host.is_ours() || self.host == Host::Web,
            "{option} on {}",
            self.host.name()
        );
        self.host_options.push(option.into());
        self
    }

    /// Several of them.
    pub fn options(self, options: &[&str]) -> Self {
        options.iter().fold(self, |run, option| run.option(option))
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

    /// Standard input is a pipe that `Running::stdin` writes to.
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
        let of_image = self.host == Host::Component;
        if !of_image {
            command.args(&self.host_options);
        }
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
        if of_image {
            command.args(&self.host_options);
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
        let bytes = if let Input::Bytes(bytes) = self.input { Some(bytes) } else { None };
        Running::spawn(self.what, command, bytes, self.deadline)
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

impl Place {
    /// A run of the image's default command.
    pub fn run(self, image: Image) -> Run {
        Run::new(self.host, self.image(image))
    }

    /// A run of a shell script in the busybox image.
    pub fn sh(self, script: &str) -> Run {
        self.run(Image::Busybox).args(["sh", "-c", script])
    }
}
