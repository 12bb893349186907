//! Where the names of a layer's entries lead.
//!
//! A path is resolved first, without a change to the tree; then its directories are made. On the way of a
//! link, a name that does not exist is kept as it is, as in *filepath-securejoin*, which umoci and runc use.

use super::builder::{Builder, MAX_LINKS, NAME_MAX, Refusal};
use crate::image::{
    error::show,
    tree::{InodeId, Kind, Meta, Tree, components},
};
use std::collections::BTreeMap;

/// A path inside the image with its symbolic links followed.
pub(super) struct Resolved {
    /// From the root; without `..` and links.
    names: Vec<Vec<u8>>,
    /// The root, then the inode of each name that exists.
    nodes: Vec<InodeId>,
}

impl Resolved {
    /// Its last name's inode, if all of it exists.
    pub(super) fn found(&self) -> Option<InodeId> {
        self.nodes.get(self.names.len()).copied()
    }
}

/// Follows a path as a process with the image as its root would.
pub(super) fn resolve(tree: &Tree, path: &[&[u8]]) -> Result<Resolved, Refusal> {
    let mut todo: Vec<Vec<u8>> = path.iter().rev().map(|c| c.to_vec()).collect();
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut nodes = vec![tree.root()];
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == b".." {
            names.pop();
            nodes.truncate(names.len() + 1);
            continue;
        }
        let here = nodes.get(names.len());
        let Some(child) = here.and_then(|&here| tree.child(here, &name)) else {
            names.push(name);
            continue;
        };
        let Kind::Symlink(target) = &tree.inode(child).kind else {
            names.push(name);
            nodes.push(child);
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(Refusal::entry("more than 40 symbolic links on the way to it (a cycle of links?)"));
        }
        if target.first() == Some(&b'/') {
            names.clear();
            nodes.truncate(1);
        }
        todo.extend(components(target).rev().map(<[u8]>::to_vec));
    }
    Ok(Resolved { names, nodes })
}

/// The first name of a path that exists and is not a directory: its position, whether it is a link, and the
/// last layer that used it. No link is followed.
pub(super) fn obstacle(tree: &Tree, path: &[&[u8]]) -> Option<Obstacle> {
    let mut here = tree.root();
    for (at, name) in path.iter().enumerate() {
        let dirent = tree.entries(here)?.get(*name)?;
        match tree.inode(dirent.inode).kind {
            Kind::Dir(_) => here = dirent.inode,
            ref kind => {
                let link = matches!(kind, Kind::Symlink(_));
                return Some(Obstacle { at, link, dir: here, layer: dirent.layer });
            }
        }
    }
    None
}

/// See [`obstacle`].
pub(super) struct Obstacle {
    pub(super) at: usize,
    pub(super) link: bool,
    /// The directory that it is in.
    pub(super) dir: InodeId,
    pub(super) layer: u32,
}

impl Builder {
    /// The directory at `path`, with links followed. Missing directories are made; they replace files of
    /// lower layers.
    pub(super) fn parent(&mut self, path: &[&[u8]]) -> Result<InodeId, Refusal> {
        let place = resolve(&self.tree, path)?;
        let names: Vec<&[u8]> = place.names.iter().map(Vec::as_slice).collect();
        self.directories(&names)
    }

    /// The directory at `path`, none of whose names is a link.
    pub(super) fn directories(&mut self, path: &[&[u8]]) -> Result<InodeId, Refusal> {
        let mut here = self.tree.root();
        for name in path {
            here = self.enter(here, name)?;
        }
        Ok(here)
    }

    fn enter(&mut self, here: InodeId, name: &[u8]) -> Result<InodeId, Refusal> {
        if let Some(dirent) = self.tree.entries(here).and_then(|e| e.get(name)).copied() {
            if self.tree.entries(dirent.inode).is_some() {
                self.tree.touch(here, name, self.layer);
                return Ok(dirent.inode);
            }
            if dirent.layer == self.layer {
                let problem = format!("it lies below `{}`, which is no directory", show(name));
                return Err(Refusal::Entry(problem));
            }
        }
        if name.len() > NAME_MAX {
            return Err(Refusal::entry("a name in it is longer than 255 bytes"));
        }
        if self.tree.capacity() > self.limits.entries.saturating_mul(2) {
            return Err(Refusal::TooMany);
        }
        let id = self.tree.add(Meta::IMPLICIT_DIR, Box::default(), Kind::Dir(BTreeMap::new()));
        self.tree.link(here, name, id, self.layer);
        Ok(id)
    }
}
