//! What the integration tests share: running the tools that serve as reference.

use std::path::PathBuf;
use std::process::Command;

/// A file of this test's own; the name tells tests of one process apart.
pub(crate) fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

/// Runs a reference tool and returns its standard output; panics with the way out when that fails.
pub(crate) fn run(tool: &str, args: &[&std::ffi::OsStr]) -> Vec<u8> {
    let output = Command::new(tool).args(args).output().unwrap_or_else(|e| {
        panic!("cannot run {tool} ({e}): the ISA tests compare with it; `scripts/setup test` installs it")
    });
    assert!(
        output.status.success(),
        "{tool} {args:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
