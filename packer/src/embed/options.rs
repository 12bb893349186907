//! How an image is to be run, on wasmtime or natively.

use std::path::PathBuf;

/// A host directory for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The directory on the host.
    pub host: PathBuf,
    /// Where it is mounted in the container.
    pub guest: String,
    /// Whether the container may not change it.
    pub read_only: bool,
}

/// What is written for a profiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The functions' names, in `/tmp/perf-PID.map`, where `perf` looks for them.
    PerfMap,
}

/// How to run an image.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The image's arguments, with the name of the program first.
    pub args: Vec<String>,
    /// Environment, name and value.
    pub env: Vec<(String, String)>,
    /// Host directories.
    pub shares: Vec<Share>,
    /// Whether standard input is connected; otherwise it is at its end.
    pub stdin: bool,
    /// Whether the container gets a terminal. With `stdin`, the host's is in raw mode meanwhile.
    pub tty: bool,
    /// Where native code is kept between runs; `None`: nowhere.
    pub cache: Option<PathBuf>,
    /// For a profiler.
    pub profile: Option<Profile>,
}
