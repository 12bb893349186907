//! Warnings to the kernel's log, the only place where a guest can be read that has no working port.

use std::{fs::OpenOptions, io::Write};

/// Writes one line with the priority *warning* to `/dev/kmsg`. Where that fails nobody is left to tell.
pub(crate) fn warn(message: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("<4>forelift-init: {message}\n").as_bytes());
    }
}
