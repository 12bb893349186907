//! The hosts that run an image: what they are called, and how a container's orders become their command line.

use crate::{
    images::Image,
    workspace::{cache, forelift, last_line, root, tool, wasmtime, web},
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
    /// The command wasmtime on a component.
    Component,
    /// The npm package of `runtime/web`, on Node.
    Web,
}

impl Host {
    /// All hosts.
    pub const ALL: [Host; 4] = [Host::Wasm, Host::Native, Host::PyWasmtime, Host::Node];
    /// All hosts, and a component's: for what differs between versions of WASI.
    pub const EVERY: [Host; 5] = [Host::Wasm, Host::Native, Host::PyWasmtime, Host::Node, Host::Component];
    /// Our own: the ones with signals, terminals and every exit status.
    pub const OURS: [Host; 2] = [Host::Wasm, Host::Native];
    /// Ours, with the engine that compiles while it runs: for what runs long enough.
    pub const ENGINES: [Host; 3] = [Host::Wasm, Host::Native, Host::Jit];
    /// Those where an exit status of 126 and more arrives (wasmtime's WASI preview 1 makes it a trap).
    pub const ANY_STATUS: [Host; 4] = [Host::Wasm, Host::Native, Host::Node, Host::Component];
    /// Those that have a network.
    pub const NETWORKED: [Host; 3] = [Host::Wasm, Host::Native, Host::Component];
    /// Those whose network is worth a look when it has nothing to do with how guest code runs.
    pub const GATEWAYS: [Host; 2] = [Host::Wasm, Host::Component];

    /// Its name in test names.
    pub fn name(self) -> &'static str {
        match self {
            Host::Wasm => "wasm",
            Host::Native => "native",
            Host::Jit => "jit",
            Host::PyWasmtime => "pywasmtime",
            Host::Node => "node",
            Host::Component => "component",
            Host::Web => "web",
        }
    }

    /// Whether it is `forelift run`.
    pub fn is_ours(self) -> bool {
        Host::ENGINES.contains(&self)
    }

    /// With images for riscv64.
    pub fn riscv64(self) -> Place {
        Place { host: self, guest: Guest::Riscv64 }
    }

    /// With images for amd64.
    pub fn amd64(self) -> Place {
        Place { host: self, guest: Guest::Amd64 }
    }

    /// The file that it runs.
    pub fn file(self, image: Image) -> PathBuf {
        match self {
            Host::Wasm => image.cwasm(),
            Host::Component => image.component(),
            _ => image.wasm(),
        }
    }

    /// The command with its own options, up to the image's file name.
    pub(crate) fn command(self) -> Command {
        let runner = |name: &str| root().join("tests/hosts").join(name);
        match self {
            Host::Wasm | Host::Native | Host::Jit => {
                let mut command = Command::new(forelift());
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
            Host::Component => {
                let mut command = Command::new(wasmtime());
                command.args(["run", "--allow-precompiled"]);
                command.args(["-S", "inherit-network", "-S", "allow-ip-name-lookup"]);
                command
            }
            Host::Node => {
                let mut command = Command::new(tool("node"));
                command.arg("--no-warnings").arg(runner("run_node.mjs"));
                command
            }
            Host::Web => {
                web();
                let mut command = Command::new(tool("node"));
                command.arg(runner("run_web.mjs"));
                command
            }
        }
    }
}

/// The machine that runs in the image: each has images of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guest {
    /// riscv64, with lifted code.
    Riscv64,
    /// x86_64, interpreted.
    Amd64,
}

/// Where a case runs: in a guest on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// What runs the image.
    pub host: Host,
    /// What runs in the image.
    pub guest: Guest,
}

impl Place {
    /// Its name in test names.
    pub fn name(self) -> &'static str {
        match (self.guest, self.host) {
            (Guest::Riscv64, host) => host.name(),
            (Guest::Amd64, Host::Wasm) => "wasm-amd64",
            (Guest::Amd64, Host::Native) => "native-amd64",
            (Guest::Amd64, Host::Jit) => "jit-amd64",
            (Guest::Amd64, Host::PyWasmtime) => "pywasmtime-amd64",
            (Guest::Amd64, Host::Node) => "node-amd64",
            (Guest::Amd64, Host::Component) => "component-amd64",
            (Guest::Amd64, Host::Web) => "web-amd64",
        }
    }

    /// The machine's name as `uname -m` says it.
    pub fn machine(self) -> &'static str {
        if self.guest == Guest::Amd64 { "x86_64" } else { "riscv64" }
    }

    /// The architecture's name in Debian.
    pub fn debian(self) -> &'static str {
        if self.guest == Guest::Amd64 { "amd64" } else { "riscv64" }
    }

    /// The image for this guest.
    pub fn image(self, image: Image) -> Image {
        if self.guest == Guest::Amd64 { image.for_amd64() } else { image }
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
