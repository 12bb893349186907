//! The snapshot: the machine's state as bytes. RAM is kept apart (the packer stores its pages in the module's
//! data).
//!
//! Layout, little-endian: magic (8 bytes), version (u32), length of the body (u32), FNV-1a of the body (u64),
//! body in postcard. The bytes are untrusted on load: a snapshot may come from a file that somebody else
//! made. The header bounds and identifies the body; [`MachineState`] is decoded into plain data and every
//! part checks its own on restore. Saving what was restored gives the same bytes again.

use crate::cpu::CpuState;
use crate::dev::DevicesState;
use forelift_abi::header::checksum;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// First bytes of a snapshot.
pub const MAGIC: [u8; 8] = *b"FLSTATE\0";
/// Version of [`MachineState`].
pub const VERSION: u32 = 2;
/// Longest body accepted, in bytes.
pub const MAX_BODY: usize = 16 << 20;
const HEADER: usize = 24;

/// Everything but RAM and the root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineState {
    /// The processor.
    pub hart: CpuState,
    /// The devices.
    pub devices: DevicesState,
    /// The machine's clock in ticks: riscv64's `time` CSR, a hundredth of x86_64's time-stamp counter.
    pub ticks: u64,
    /// Size of RAM in bytes.
    pub ram_len: u64,
    /// Size of the root file system window in bytes.
    pub root_len: u64,
}

/// Why a snapshot was refused.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// Too short, or not a snapshot.
    #[error("snapshot: no snapshot (bad magic): convert the image again")]
    Magic,
    /// Made by another version.
    #[error("snapshot: version {0}, this build reads {VERSION}: convert the image again")]
    Version(u32),
    /// The length word and the bytes disagree.
    #[error("snapshot: {found} bytes, {expected} expected: the file is truncated or damaged")]
    Length {
        /// Bytes there.
        found: usize,
        /// Bytes said.
        expected: usize,
    },
    /// The checksum does not match.
    #[error("snapshot: checksum mismatch: the file is damaged")]
    Checksum,
    /// The body cannot be decoded.
    #[error("snapshot: cannot be decoded: the file is damaged")]
    Body,
    /// The snapshot belongs to other memory.
    #[error("snapshot: made for {what} of {expected} bytes, the image has {found}: the file is damaged")]
    Memory {
        /// Which memory.
        what: &'static str,
        /// Size in the snapshot.
        expected: u64,
        /// Size there is.
        found: u64,
    },
    /// The parts are not of one machine.
    #[error("snapshot: the processor and its devices are of two architectures: the file is damaged")]
    Mixed,
    /// A device's state was refused.
    #[error(transparent)]
    Devices(#[from] crate::dev::RestoreError),
}

impl MachineState {
    /// The state as bytes.
    pub fn encode(&self) -> Vec<u8> {
        // Serialising plain data into a Vec cannot fail.
        let body = postcard::to_allocvec(self).unwrap_or_default();
        let mut out = Vec::with_capacity(HEADER + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&checksum(&body).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads a state.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let header = bytes.first_chunk::<HEADER>().ok_or(SnapshotError::Magic)?;
        if header[..8] != MAGIC {
            return Err(SnapshotError::Magic);
        }
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if word(8) != VERSION {
            return Err(SnapshotError::Version(word(8)));
        }
        let (body, expected) = (&bytes[HEADER..], word(12) as usize);
        if expected > MAX_BODY || body.len() != expected {
            return Err(SnapshotError::Length { found: body.len(), expected });
        }
        if checksum(body) != u64::from(word(16)) | u64::from(word(20)) << 32 {
            return Err(SnapshotError::Checksum);
        }
        match postcard::take_from_bytes(body) {
            Ok((state, [])) => Ok(state),
            _ => Err(SnapshotError::Body),
        }
    }
}
