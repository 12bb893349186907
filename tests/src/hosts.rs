//! The hosts that run an image: what they are called, and how a container's orders become their command line.

use crate::{
    images::Image,
    run::Run,
    workspace::{cache, last_line, root, tool},
};
use std::{ffi::OsString, fs::File, path::PathBuf, process::Command, sync::OnceLock};

/// Something that runs images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// `forelift run` on a precompiled image.
    Wasm,
    /// `forelift run --native`.
    Native,
    /// `forelift run --engine native`.
    Jit,
    /// The wasmtime package of PyPI.
    PyWasmtime,
    /// Node's `node:wasi`.
    Node,
}

impl Host {
    /// All hosts.
    pub const ALL: [Host; 4] = [Host::Wasm, Host::Native, Host::PyWasmtime, Host::Node];
    /// Our own: the ones with signals, terminals and every exit status.
    pub const OURS: [Host; 2] = [Host::Wasm, Host::Native];
    /// Ours, with the engine that compiles while it runs: for what runs long enough.
    pub const ENGINES: [Host; 3] = [Host::Wasm, Host::Native, Host::Jit];
    /// Those where an exit status of 126 and more arrives (wasmtime's own WASI turns it into a trap).
    pub const ANY_STATUS: [Host; 3] = [Host::Wasm, Host::Native, Host::Node];

    /// Its name in test names.
    pub fn name(self) -> &'static str {
        match self {
            Host::Wasm => "wasm",
            Host::Native => "native",
            Host::Jit => "jit",
            Host::PyWasmtime => "pywasmtime",
            Host::Node => "node",
        }
    }

    /// Whether it is `forelift run`.
    pub fn is_ours(self) -> bool {
        Host::ENGINES.contains(&self)
    }

    /// A run of the image's default command.
    pub fn run(self, image: Image) -> Run {
        Run::new(self, image)
    }

    /// A run of a shell script in the busybox image.
    pub fn sh(self, script: &str) -> Run {
        self.run(Image::Busybox).args(["sh", "-c", script])
    }

    /// The file that it runs.
    pub fn file(self, image: Image) -> PathBuf {
        if self == Host::Wasm { image.cwasm() } else { image.wasm() }
    }

    /// The command with its own options, up to the image's file name.
    pub(crate) fn command(self) -> Command {
        let runner = |name: &str| root().join("tests/hosts").join(name);
        match self {
            Host::Wasm | Host::Native | Host::Jit => {
                let mut command = Command::new(crate::workspace::forelift());
                command.arg("run");
                match self {
                    Host::Native => command.arg("--native"),
                    Host::Jit => command.args(["--engine", "native"]),
                    _ => &mut command,
                };
                command
            }
            Host::PyWasmtime => {
                let mut command = Command::new(python());
                command.arg(runner("run_wasmtime.py"));
                command
            }
            Host::Node => {
                let mut command = Command::new(tool("node"));
                command.arg("--no-warnings").arg(runner("run_node.mjs"));
                command
            }
        }
    }
}

/// The python that has PyPI's wasmtime: `tests/hosts/venv` makes it when it is missing.
fn python() -> &'static OsString {
    static PYTHON: OnceLock<OsString> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let lock = cache().join("venv.lock");
        let lock = File::create(&lock).unwrap_or_else(|e| panic!("{}: {e}", lock.display()));
        lock.lock().expect("locking the virtual environment");
        last_line(root().join("tests/hosts/venv"), &[]).into()
    })
}
