//! What a client has open: files, and directories with their listings.

use std::collections::HashMap;

use super::errno::Errno;
use super::fs::{Entry, Result};
use super::nodes::{NodeId, Nodes};

/// Open files at a time; the host's own limit may be lower, and gives EMFILE then.
pub(crate) const MAX_OPEN: usize = 1 << 16;

/// An open file.
pub(crate) struct Handle<F> {
    pub(crate) node: NodeId,
    pub(crate) file: F,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// An open directory, listed at the first read.
pub(super) struct Dir {
    pub(super) node: NodeId,
    pub(super) listing: Option<Listing>,
}

/// A directory as it was when reading it began: offsets in it stay good while entries come and go.
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    /// Device that the entries lie on.
    pub(super) dev: u64,
    /// What it takes of the budget, in bytes.
    pub(super) cost: usize,
}

/// The table of open files and directories.
pub(crate) struct Handles<F> {
    pub(super) files: HashMap<u64, Handle<F>>,
    pub(super) dirs: HashMap<u64, Dir>,
    /// Bytes in directory listings.
    pub(super) listed: usize,
    next: u64,
}

impl<F> Handles<F> {
    pub(crate) fn new() -> Self {
        Handles { files: HashMap::new(), dirs: HashMap::new(), listed: 0, next: 1 }
    }

    pub(crate) fn get(&self, fh: u64) -> Result<&Handle<F>> {
        self.files.get(&fh).ok_or(Errno::BADF)
    }

    pub(super) fn readable(&self, fh: u64) -> Result<&F> {
        let open = self.get(fh)?;
        if open.read { Ok(&open.file) } else { Err(Errno::BADF) }
    }

    pub(super) fn writable(&self, fh: u64) -> Result<&F> {
        let open = self.get(fh)?;
        if open.write { Ok(&open.file) } else { Err(Errno::BADF) }
    }

    /// An open file of a node that may be written to.
    pub(super) fn writable_of(&self, nodes: &Nodes, id: NodeId) -> Option<&F> {
        let all = nodes.get(id).ok()?.open.iter();
        all.filter_map(|fh| self.files.get(fh)).find(|open| open.write).map(|open| &open.file)
    }

    /// Some open file of a node.
    pub(crate) fn of_node(&self, nodes: &Nodes, id: NodeId) -> Option<&F> {
        let fh = nodes.get(id).ok()?.open.last()?;
        self.files.get(fh).map(|open| &open.file)
    }

    /// A number that was not used before, if another file or directory may be opened.
    pub(super) fn number(&mut self) -> Result<u64> {
        if self.files.len() + self.dirs.len() >= MAX_OPEN {
            return Err(Errno::NFILE);
        }
        self.next += 1;
        Ok(self.next)
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len() + self.dirs.len()
    }
}
