//! Owners and permission bits that the host does not keep.
//!
//! WASI knows neither owners nor modes, and a user who is not root can give files to nobody else. What such a
//! host makes belongs to whoever runs the emulator: the guest sees it as belonging to the container's user
//! (see [`super::server::OWNER_XATTR`]), with the host's mode, or 0755 where the host tells none (so that a
//! script in a shared directory can be executed). What the guest then sets with chmod and chown is remembered
//! here *for the session*, by file, and shown again: `cp -p`, `tar`, `ssh` and database servers look whether
//! it stuck. Nothing of it reaches the host.

use std::collections::HashMap;

use super::fs::{Kind, Owner, Stat, Time};
use super::wire::{self, Attr};

/// Files remembered at most; further changes are accepted and forgotten.
const MAX_FILES: usize = 1 << 16;

/// Mode of a file when the host keeps none.
pub(crate) const DEFAULT_MODE: u32 = 0o755;

/// What is remembered of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Perm {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// See the module's documentation. Files are named by their number.
#[derive(Default)]
pub(crate) struct Perms {
    files: HashMap<u64, Perm>,
}

impl Perms {
    pub(crate) fn get(&self, file: u64) -> Perm {
        self.files.get(&file).copied().unwrap_or_default()
    }

    /// Replaces what is known of a file.
    pub(crate) fn set(&mut self, file: u64, perm: Perm) {
        if perm == Perm::default() {
            self.files.remove(&file);
        } else if self.files.len() < MAX_FILES || self.files.contains_key(&file) {
            self.files.insert(file, perm);
        }
    }
}

/// A file as it is shown to the client: the host's attributes, and what was remembered.
pub(super) fn shown(stat: &Stat, number: u64, owner: Owner, perm: Perm) -> Attr {
    let time = |t: Time| (t.sec, t.nsec);
    // A link's mode is always this, and nothing asks for it.
    let default = if stat.kind == Kind::Symlink { 0o777 } else { DEFAULT_MODE };
    let mode = perm.mode.or(stat.mode).unwrap_or(default);
    Attr {
        ino: number,
        size: stat.size,
        blocks: stat.blocks,
        atime: time(stat.atime),
        mtime: time(stat.mtime),
        ctime: time(stat.ctime),
        mode: stat.kind.mode_bits() | mode & 0o7777,
        nlink: u32::try_from(stat.nlink).unwrap_or(u32::MAX),
        uid: perm.uid.unwrap_or(owner.uid),
        gid: perm.gid.unwrap_or(owner.gid),
        rdev: wire::encode_device(stat.device.0, stat.device.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let mut p = Perms::default();
        let perm = Perm { mode: Some(0o600), ..Perm::default() };
        (0..2 * MAX_FILES as u64).for_each(|f| p.set(f, perm));
        assert_eq!(p.files.len(), MAX_FILES);
        assert_eq!((p.get(0), p.get(2 * MAX_FILES as u64 - 1)), (perm, Perm::default()));
        p.set(0, Perm::default());
        assert_eq!(p.files.len(), MAX_FILES - 1);
    }
}
