//! What an image carries besides its files: the OCI image configuration, reduced to what the guest needs.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

extern crate alloc;

/// Guest architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    /// RV64GC.
    Riscv64,
    /// AMD64.
    X86_64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Arch; 2] = [Arch::Riscv64, Arch::X86_64];

    /// The name that OCI image configurations use (GOARCH).
    pub fn oci_name(self) -> &'static str {
        match self {
            Arch::Riscv64 => "riscv64",
            Arch::X86_64 => "amd64",
        }
    }
}

/// File in the root directory of an image's root file system: the interpreter of arm64 programs, where the
/// container's are. Init registers it and hides it from the container.
pub const ARM64_INTERPRETER: &str = ".forelift-qemu-aarch64";

/// The container's defaults, from the OCI image configuration (image-spec, *config.md*).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// `Entrypoint`: leading words of the command line.
    pub entrypoint: Vec<String>,
    /// `Cmd`: default arguments, or the command when there is no entry point.
    pub cmd: Vec<String>,
    /// `Env`: `NAME=value` each.
    pub env: Vec<String>,
    /// `WorkingDir`; empty means `/`.
    pub working_dir: String,
    /// `User`: `user[:group]`, each a name or a number; empty means root.
    pub user: String,
    /// `StopSignal`: a name (`SIGTERM`, `TERM`) or a number; empty means SIGTERM.
    pub stop_signal: String,
    /// `Volumes`: guest paths.
    pub volumes: Vec<String>,
    /// `ExposedPorts`: `port/proto` each.
    pub exposed_ports: Vec<String>,
    /// Labels of the image.
    pub labels: Vec<(String, String)>,
}

/// Everything that `forelift convert` decided about an image, stored in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Guest architecture.
    pub arch: Arch,
    /// The image's name as the user gave it.
    pub name: String,
    /// The container's defaults.
    pub container: ContainerConfig,
    /// Host name inside the container: derived from the image's digest, so that equal inputs give equal
    /// outputs.
    pub hostname: String,
    /// Kernel command line, complete.
    pub cmdline: String,
}
