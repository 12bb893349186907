//! A plain web server (`tests/web/serve.mjs`) for a directory.

use crate::{
    process::{DEADLINE, Running},
    workspace::{root, tool},
};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// A server that runs until its value is dropped.
#[derive(Debug)]
pub struct Site {
    _running: Running,
    /// Address of the directory, with a slash at its end.
    pub url: String,
}

impl Site {
    /// Serves `dir`.
    pub fn of(dir: &Path) -> Self {
        let mut command = Command::new(tool("node"));
        command.arg(root().join("tests/web/serve.mjs")).arg(dir).arg("0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running =
            Running::spawn(format!("a server for {}", dir.display()), command, None, 5 * DEADLINE);
        let url = running.said("serving at ");
        Site { _running: running, url }
    }
}
