//! The tree that layers are applied to, and why an entry is refused.

use crate::image::{ImageError, Limits, Xattr, error::show, tar::Fault, tree::Tree};

/// Longest name of a file, in bytes (Linux `NAME_MAX`).
pub(super) const NAME_MAX: usize = 255;
/// Longest path, and longest symbolic link (Linux `PATH_MAX`, its NUL included).
pub(super) const PATH_MAX: usize = 4096;
/// Symbolic links followed in one path (Linux `MAXSYMLINKS`).
pub(super) const MAX_LINKS: usize = 40;

/// A tree that layers are applied to.
pub(crate) struct Builder {
    pub(crate) tree: Tree,
    pub(super) limits: Limits,
    /// Number of the layer being read; the lowest is 0.
    pub(super) layer: u32,
    pub(super) entries: usize,
    pub(super) metadata: u64,
    pub(super) buffer: Vec<u8>,
    /// Extended attributes left out: how many, and the first.
    pub(crate) dropped: Option<(usize, String)>,
}

/// Whether the root file system can hold an attribute, and the guest should see it.
fn keep_xattr(name: &[u8]) -> bool {
    let namespaces: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    let known = namespaces.iter().any(|n| name.starts_with(n) && name.len() > n.len());
    let acl = matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default");
    // The guest's overlay would interpret the marks of the host's.
    (known || acl) && !name.starts_with(b"trusted.overlay.")
}

impl Builder {
    pub(crate) fn new(tree: Tree, limits: Limits) -> Self {
        Builder { tree, limits, layer: 0, entries: 0, metadata: 0, buffer: vec![0; 1 << 17], dropped: None }
    }

    pub(crate) fn xattrs(&mut self, mut xattrs: Vec<Xattr>, path: &[u8]) -> Box<[Xattr]> {
        xattrs.retain(|x| {
            let keep = keep_xattr(&x.name) && x.name.len() <= NAME_MAX && x.value.len() <= 0xffff;
            if !keep {
                let first = || (0, format!("{} of {}", show(&x.name), show(path)));
                self.dropped.get_or_insert_with(first).0 += 1;
            }
            keep
        });
        xattrs.into()
    }

    /// Refuses a file that would make the image too large, before any of it is read.
    pub(crate) fn room(&self, size: u64) -> Result<(), Refusal> {
        let rounded = size.div_ceil(4096).saturating_mul(4096);
        let sum = self.tree.file_bytes().saturating_add(rounded);
        if sum > self.limits.total_bytes { Err(Refusal::TooLarge(sum)) } else { Ok(()) }
    }
}

/// Why an entry was not taken; [`Builder::apply`] adds where.
pub(crate) enum Refusal {
    Entry(String),
    Fault(Fault),
    TooLarge(u64),
    TooMany,
    Image(ImageError),
}

impl Refusal {
    pub(super) fn entry(problem: impl Into<String>) -> Self {
        Refusal::Entry(problem.into())
    }
}
