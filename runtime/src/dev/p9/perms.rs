//! Owners and permission bits that the host does not keep.
//!
//! A host file belongs to whoever runs the emulator, and WASI knows neither owners nor modes. The guest sees all files as
//! belonging to the user named at the first attach, with the host's mode, or 0755 where the host tells none (a script in a
//! shared directory shall be executable). What the guest then sets with chmod and chown is remembered here *for the
//! session*, by file, and shown again: `cp -p`, `tar`, `ssh` and database servers look whether it stuck. Nothing of it
//! reaches the host, so a set-user-id bit or a foreign owner set in the guest means nothing outside.

use std::collections::HashMap;

/// Files remembered at most; further changes are accepted and forgotten.
const MAX_FILES: usize = 1 << 16;

/// Mode of a file when the host keeps none.
pub(crate) const DEFAULT_MODE: u32 = 0o755;

/// User and group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Owner {
    /// The owner that an attach asks for: `UID[:GID]` as user name (mount option `uname=1000:1000`), else the number
    /// given beside it, else root.
    pub(crate) fn from_attach(uname: &[u8], n_uname: u32) -> Owner {
        let parse = || {
            let text = core::str::from_utf8(uname).ok()?;
            let (uid, gid) = text.split_once(':').unwrap_or((text, text));
            Some(Owner { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        };
        let numbered = || (n_uname != u32::MAX).then_some(Owner { uid: n_uname, gid: n_uname });
        parse().or_else(numbered).unwrap_or_default()
    }
}

/// What is remembered of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Perm {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// See the module's documentation. Files are named by their qid's path.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_come_from_the_attach() {
        let of = |name: &str, n| {
            let o = Owner::from_attach(name.as_bytes(), n);
            (o.uid, o.gid)
        };
        assert_eq!(of("1000:100", 7), (1000, 100));
        assert_eq!(of("1000", u32::MAX), (1000, 1000));
        assert_eq!(of("nobody", u32::MAX), (0, 0));
        assert_eq!(of("nobody", 33), (33, 33));
        assert_eq!(of("1:x", 5), (5, 5));
        assert_eq!(of("99999999999", u32::MAX), (0, 0));
    }

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
