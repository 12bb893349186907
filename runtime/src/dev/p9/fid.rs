//! The table of fids: the client's numbers for files.

use std::collections::HashMap;

use super::errno::Errno;
use super::fs::{Entry, Target};
use super::tree::{NodeId, Tree};

/// Fids at a time. A guest's dentry cache holds one per entry in some cache modes, so this is generous.
pub(crate) const MAX_FIDS: usize = 1 << 16;
/// Open files at a time; the host's own limit may be lower, and gives EMFILE then.
pub(crate) const MAX_OPEN: usize = 4096;

/// A directory as it was when reading it began: offsets in it stay good while entries come and go.
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    /// Device that the entries lie on.
    pub(crate) dev: u64,
    /// What it takes of the server's budget, in bytes.
    pub(crate) cost: usize,
}

/// What a fid can do.
pub(crate) enum State<F> {
    /// Only names a file.
    Closed,
    /// Open regular file.
    File { file: F, read: bool, write: bool, append: bool },
    /// Open directory, listed at the first read.
    Dir(Option<Listing>),
}

/// One fid.
pub(crate) struct Fid<F> {
    pub(crate) node: NodeId,
    /// User on whose behalf it is used; new files belong to it.
    pub(crate) uid: u32,
    /// Was a directory when it was walked to: nothing else has names below it. Remembered, because some hosts would follow
    /// a link in that place.
    pub(crate) is_dir: bool,
    pub(crate) state: State<F>,
}

/// See the module's documentation.
pub(crate) struct Fids<F> {
    map: HashMap<u32, Fid<F>>,
    open: usize,
}

/// A file found by [`Fids::locate`].
pub(crate) enum Located<'a, F> {
    Path(Vec<u8>),
    File(&'a F),
}

impl<F> Located<'_, F> {
    pub(crate) fn target(&self) -> Target<'_, F> {
        match self {
            Located::Path(path) => Target::Path(path),
            Located::File(file) => Target::File(file),
        }
    }
}

impl<F> Fids<F> {
    pub(crate) fn new() -> Self {
        Fids { map: HashMap::new(), open: 0 }
    }

    /// The fid of a number; EBADF when there is none.
    pub(crate) fn get(&self, number: u32) -> Result<&Fid<F>, Errno> {
        self.map.get(&number).ok_or(Errno::BADF)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Result<&mut Fid<F>, Errno> {
        self.map.get_mut(&number).ok_or(Errno::BADF)
    }

    /// Whether `number` may be given to a new fid.
    pub(crate) fn check_new(&self, number: u32) -> Result<(), Errno> {
        if number == super::wire::NO_FID || self.map.contains_key(&number) {
            return Err(Errno::INVAL);
        }
        if self.map.len() >= MAX_FIDS { Err(Errno::NFILE) } else { Ok(()) }
    }

    /// Adds a fid whose number [`check_new`](Self::check_new) allowed.
    pub(crate) fn insert(&mut self, number: u32, node: NodeId, uid: u32, is_dir: bool) {
        self.map.insert(number, Fid { node, uid, is_dir, state: State::Closed });
    }

    /// Fails when no more files may be open.
    pub(crate) fn check_open(&self) -> Result<(), Errno> {
        if self.open >= MAX_OPEN { Err(Errno::NFILE) } else { Ok(()) }
    }

    /// Makes a closed fid an open one.
    pub(crate) fn set_state(&mut self, number: u32, state: State<F>) -> Result<(), Errno> {
        let is_file = matches!(state, State::File { .. });
        self.get_mut(number)?.state = state;
        self.open += usize::from(is_file);
        Ok(())
    }

    pub(crate) fn remove(&mut self, number: u32) -> Result<Fid<F>, Errno> {
        let fid = self.map.remove(&number).ok_or(Errno::BADF)?;
        self.open -= usize::from(matches!(fid.state, State::File { .. }));
        Ok(fid)
    }

    /// How to reach the file of a fid: by its own handle, by path, or, when the name is gone, by the handle of another
    /// fid on the same node. With `write`, only handles that are open for writing count.
    pub(crate) fn locate(&self, tree: &Tree, number: u32, write: bool) -> Result<Located<'_, F>, Errno> {
        let fid = self.get(number)?;
        if let State::File { file, write: w, .. } = &fid.state
            && (*w || !write)
        {
            return Ok(Located::File(file));
        }
        let gone = match tree.path(fid.node) {
            Ok(path) => return Ok(Located::Path(path)),
            Err(e) => e,
        };
        let same = self.map.values().filter(|other| other.node == fid.node);
        let mut handles = same.filter_map(|other| match &other.state {
            State::File { file, write: w, .. } if *w || !write => Some(file),
            _ => None,
        });
        handles.next().map(Located::File).ok_or(gone)
    }

    /// All fids' numbers.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.map.keys().copied().collect()
    }
}
