//! `forelift net-relay`, for containers to have a network from.

use crate::{
    process::{DEADLINE, Running},
    workspace::forelift,
};
use std::process::{Command, Stdio};

/// A relay that runs until its value is dropped.
#[derive(Debug)]
pub struct Relay {
    /// The program.
    pub running: Running,
    /// Where it listens, as `--net-stream` and WebSocket clients take it.
    pub address: String,
}

impl Relay {
    /// A relay that listens there (`tcp:127.0.0.1:0`), with other options.
    pub fn start(listen: &str, options: &[&str]) -> Self {
        let mut command = Command::new(forelift());
        command.args(["net-relay", "--listen", listen]).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let what = format!("net-relay --listen {listen}");
        let mut running = Running::spawn(what, command, None, 5 * DEADLINE);
        let address = running.said("forelift: listening on ");
        Relay { running, address }
    }
}
