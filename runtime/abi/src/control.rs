//! The control protocol between the runtime and the guest's init.
//!
//! Both sides hold the virtio-console port [`PORT_CONTROL`] open. A message is a little-endian `u32` length
//! and that many bytes of postcard. The order of a run:
//!
//! 1. init boots, mounts the root, builds the container's namespaces and sends [`ToHost::Ready`]. **This is
//!    where the snapshot is taken.** Init then blocks in `read` on the control port.
//! 2. The runtime sends [`ToGuest::Start`]. Init credits the entropy, sets the clock, mounts the host
//!    directories, and executes the command. It answers [`ToHost::Started`] or [`ToHost::Failed`].
//! 3. Data flows over [`PORT_STDIN`], [`PORT_STDOUT`] and [`PORT_STDERR`] (with a tty: stdin and stdout
//!    only).
//! 4. When the command has ended and all its output has been written, init unmounts, sends [`ToHost::Exited`]
//!    and waits to be switched off.

use crate::net::Network;
use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

extern crate alloc;

/// Name of the virtio-console port for messages of this module.
pub const PORT_CONTROL: &str = "forelift.ctl";
/// Name of the port that carries standard input to the guest.
pub const PORT_STDIN: &str = "forelift.stdin";
/// Name of the port that carries standard output from the guest.
pub const PORT_STDOUT: &str = "forelift.stdout";
/// Name of the port that carries standard error from the guest.
pub const PORT_STDERR: &str = "forelift.stderr";
/// Longest message in bytes, without its length word.
pub const MAX_MESSAGE: usize = 8 << 20;

/// A terminal's size in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

/// A host directory to mount in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Tag of the virtio file system device.
    pub tag: String,
    /// Absolute guest path; created when missing.
    pub path: String,
    /// Whether the guest may only read it.
    pub read_only: bool,
}

/// Orders for the container's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Command line; the first word is looked up in the container's `PATH` unless it holds a slash. Never
    /// empty.
    pub argv: Vec<Vec<u8>>,
    /// Environment, `NAME=value` each, complete but for what init adds when missing: PATH, HOME, HOSTNAME,
    /// and TERM with a tty.
    pub env: Vec<Vec<u8>>,
    /// Working directory; created when missing (as docker does).
    pub cwd: String,
    /// `user[:group]`, names or numbers; empty means root.
    pub user: String,
    /// A pseudo-terminal of this size, or pipes.
    pub tty: Option<WindowSize>,
    /// Whether the pseudo-terminal echoes (false when the host's terminal does so itself).
    pub tty_echo: bool,
    /// Whether standard input is connected; otherwise it is at its end (`/dev/null`).
    pub stdin: bool,
    /// Host name.
    pub hostname: String,
    /// The network interface; without one there is only the loopback.
    pub network: Option<Network>,
    /// Host directories.
    pub mounts: Vec<Mount>,
    /// Paths to cover with a fresh writable directory holding a copy of what the image has there.
    pub volumes: Vec<String>,
    /// Signal that asks the command to stop, for `ToGuest::Stop`.
    pub stop_signal: String,
    /// Wall clock in ns since 1970-01-01T00:00Z.
    pub realtime_ns: u64,
    /// Fresh entropy from the host.
    pub entropy: Vec<u8>,
}

/// From the runtime to init.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "a handful of messages in a run, and none is kept")]
pub enum ToGuest {
    /// Run the command. Sent once.
    Start(Start),
    /// Deliver a signal by number (Linux numbering) to the command.
    Signal(u8),
    /// Deliver the image's stop signal to the command.
    Stop,
    /// The terminal's size changed.
    WindowSize(WindowSize),
    /// Standard input ends after this many bytes in total have been read from its port.
    StdinEof {
        /// Bytes that the port carries before the end.
        bytes: u64,
    },
    /// Nobody reads this output stream (1 stdout, 2 stderr) any more: init closes its end of the pipe, so
    /// that the command gets EPIPE and SIGPIPE.
    OutputClosed(u8),
    /// Instead of a start: use the kernel as programs do, then answer [`ToHost::Exited`]. For training.
    Exercise {
        /// Mount tag of a host directory, which is the exercise's to change.
        directory: String,
        /// There is a network, with [`crate::net::EXERCISE_PEERS`].
        network: bool,
    },
}

/// From init to the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHost {
    /// Ready to exec.
    Ready,
    /// The command runs.
    Started,
    /// The command ended; `code` is its status, or 128 + signal.
    Exited {
        /// Exit code.
        code: u8,
    },
    /// The command could not be started.
    Failed {
        /// 125, 126 or 127 (see [`crate::exit`]).
        code: u8,
        /// One line for the user.
        message: String,
    },
}

/// Why a message could not be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ControlError {
    /// The length word exceeds [`MAX_MESSAGE`].
    #[error("control message of {0} bytes, at most {MAX_MESSAGE} are allowed")]
    TooLong(usize),
    /// The body is no message.
    #[error("control message of {0} bytes cannot be decoded")]
    Malformed(usize),
}

/// Encodes a message with its length word.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    // Serialising these plain types into a Vec cannot fail.
    let body = postcard::to_allocvec(message).unwrap_or_default();
    let mut out = Vec::with_capacity(4 + body.len());
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&body);
    out
}

/// Takes the first whole message off `buffer`, or gives `None` when more bytes are needed.
///
/// # Errors
/// See [`ControlError`]; the buffer is then of no further use.
pub fn take<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<T>, ControlError> {
    let Some(word) = buffer.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*word) as usize;
    if len > MAX_MESSAGE {
        return Err(ControlError::TooLong(len));
    }
    if buffer.len() < 4 + len {
        return Ok(None);
    }
    let message = postcard::from_bytes(&buffer[4..4 + len]).map_err(|_| ControlError::Malformed(len))?;
    buffer.drain(..4 + len);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_split() {
        let sent = [ToGuest::Signal(15), ToGuest::StdinEof { bytes: 1 << 40 }, ToGuest::Stop];
        let stream: Vec<u8> = sent.iter().flat_map(encode).collect();
        for cut in 0..stream.len() {
            let mut buffer = stream[..cut].to_vec();
            let mut got = Vec::new();
            while let Some(m) = take::<ToGuest>(&mut buffer).unwrap() {
                got.push(m);
            }
            buffer.extend_from_slice(&stream[cut..]);
            while let Some(m) = take::<ToGuest>(&mut buffer).unwrap() {
                got.push(m);
            }
            assert_eq!(got, sent);
        }
    }

    #[test]
    fn hostile_lengths_are_refused() {
        assert_eq!(take::<ToHost>(&mut vec![0xff; 8]), Err(ControlError::TooLong(0xffff_ffff)));
        assert_eq!(take::<ToHost>(&mut vec![1, 0, 0, 0, 0x7f]), Err(ControlError::Malformed(1)));
    }
}
