//! How an image is to be run, on wasmtime or natively.

use std::{fs::File, path::PathBuf, sync::Arc};

use forelift_abi::net::Network as Interface;
use forelift_net::Config;

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

/// What is at the other end of the container's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// A gateway of this process.
    Gateway,
    /// Another program, at that address.
    Connect(String),
    /// The first program that connects to that address.
    Listen(String),
}

/// The container's network.
#[derive(Clone, Debug)]
pub struct Network {
    /// What the container's interface is.
    pub interface: Interface,
    /// Addresses, names, rules and published ports.
    pub config: Config,
    /// Where packets go.
    pub link: Link,
    /// Whether all ports that the image exposes are published, too.
    pub publish_all: bool,
    /// Where all packets are written to, as pcapng.
    pub capture: Option<Arc<File>>,
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
    /// The container's network; `None`: nothing but its loopback.
    pub network: Option<Network>,
    /// Whether standard input is connected; otherwise it is at its end.
    pub stdin: bool,
    /// Whether the container gets a terminal. With `stdin`, the host's is in raw mode meanwhile.
    pub tty: bool,
    /// Where native code is kept between runs; `None`: nowhere.
    pub cache: Option<PathBuf>,
    /// For a profiler.
    pub profile: Option<Profile>,
}
