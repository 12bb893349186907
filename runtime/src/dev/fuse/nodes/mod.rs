//! The files that the client knows, by number, and the names by which the host knows them.
//!
//! A *node* is one file of the host: the client keeps one inode for it, with one page cache, however many
//! names it has. Hosts tell files apart by device and inode number; where one does not, a name stands for a
//! file.
//!
//! WASI has no handle that could name a file without opening it. So a node holds a parent and a name, and its
//! path is made from these: a rename moves one node, and all paths below it follow. Every look-up of the
//! client's tells the present name, so that what the host renames is found again, too. A node whose last
//! known name was removed has no path any more; only its open files lead to it then.
//!
//! A node lives as long as the client remembers it (each look-up counts, until `FUSE_FORGET` takes it back),
//! has it open, or knows something below it. There are never more than [`MAX_NODES`].

use std::collections::HashMap;

use crate::dev::fuse::errno::Errno;
use crate::dev::fuse::fs::{Kind, Result, Stat, Time};

/// Nodes in all: about 200 MB, and more inodes than a guest of 1 GiB holds in its memory.
pub(crate) const MAX_NODES: usize = 1 << 20;
/// Longest path in bytes, as Linux's PATH_MAX without the NUL.
pub(crate) const MAX_PATH: usize = 4095;
/// Names of one file that are remembered, the newest ones.
const MAX_NAMES: usize = 8;

/// Number of a node.
pub(crate) type NodeId = u64;

/// The exported directory itself (`FUSE_ROOT_ID`). It always exists.
pub(crate) const ROOT: NodeId = 1;

/// What makes a file the same file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Device and inode number.
    Inode(u64, u64),
    /// A name in a directory, on a host without inode numbers.
    Name(NodeId, Box<[u8]>),
}

impl Key {
    pub(crate) fn of(stat: &Stat, parent: NodeId, name: &[u8]) -> Key {
        if stat.ino == 0 { Key::Name(parent, name.into()) } else { Key::Inode(stat.dev, stat.ino) }
    }
}

/// By what a change of a file's content shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
}

impl Version {
    pub(crate) fn of(stat: &Stat) -> Self {
        Version { size: stat.size, mtime: stat.mtime, ctime: stat.ctime }
    }
}

pub(crate) struct Node {
    /// `None` once it was removed: its number on the host may be another file's then.
    key: Option<Key>,
    kind: Kind,
    /// The newest last.
    names: Vec<(NodeId, Box<[u8]>)>,
    /// Look-ups that the client has not taken back.
    lookups: u64,
    /// Names of other nodes that lie in this one.
    children: usize,
    /// Handles of open files.
    pub(crate) open: Vec<u64>,
    /// What the file was when the client last opened it.
    pub(crate) seen: Option<Version>,
    /// What it was when its last name was removed: a process may still stand in a directory that is gone.
    pub(crate) last: Option<Stat>,
}

impl Node {
    pub(crate) fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }
}

/// See the module's documentation.
pub(crate) struct Nodes {
    nodes: HashMap<NodeId, Node>,
    keys: HashMap<Key, NodeId>,
    next: NodeId,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        let root = Node {
            key: None,
            kind: Kind::Dir,
            names: Vec::new(),
            lookups: 1,
            children: 0,
            open: Vec::new(),
            seen: None,
            last: None,
        };
        Nodes { nodes: HashMap::from([(ROOT, root)]), keys: HashMap::new(), next: ROOT + 1 }
    }

    /// Number of nodes, the root included.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn get(&self, id: NodeId) -> Result<&Node> {
        self.nodes.get(&id).ok_or(Errno::STALE)
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> Result<&mut Node> {
        self.nodes.get_mut(&id).ok_or(Errno::STALE)
    }

    /// The parent by the newest name; the root is its own.
    pub(crate) fn parent(&self, id: NodeId) -> Result<NodeId> {
        if id == ROOT {
            return Ok(ROOT);
        }
        self.get(id)?.names.last().map(|(parent, _)| *parent).ok_or(Errno::NOENT)
    }

    /// The path from the root, `"."` for the root itself. ENOENT when a node on the way has no name.
    pub(crate) fn path(&self, id: NodeId) -> Result<Vec<u8>> {
        let mut names = Vec::new();
        let mut len = 0;
        let mut at = id;
        while at != ROOT {
            let (parent, name) = self.get(at)?.names.last().ok_or(Errno::NOENT)?;
            // Ends a circle, too, which a host that moves directories about may leave here for a moment.
            len += name.len() + 1;
            if len > MAX_PATH + 1 {
                return Err(Errno::NAMETOOLONG);
            }
            names.push(&name[..]);
            at = *parent;
        }
        if names.is_empty() {
            return Ok(b".".to_vec());
        }
        names.reverse();
        Ok(names.join(&b'/'))
    }

    /// ESTALE when a file that was just found under a node's name is not the node's: the host has put another
    /// there, and the client shall look it up.
    pub(crate) fn check(&self, id: NodeId, stat: &Stat) -> Result<()> {
        let node = self.get(id)?;
        let same = match &node.key {
            Some(Key::Inode(dev, ino)) => {
                stat.ino == 0 || (*dev, *ino, node.kind) == (stat.dev, stat.ino, stat.kind)
            }
            Some(Key::Name(..)) => true,
            None => id == ROOT || node.names.is_empty(),
        };
        if same { Ok(()) } else { Err(Errno::STALE) }
    }

    /// Whether the client may still know the file by a path.
    pub(crate) fn has_name(&self, id: NodeId) -> bool {
        id == ROOT || self.nodes.get(&id).is_some_and(|n| !n.names.is_empty())
    }

    /// The node of a file, if it is known.
    pub(crate) fn find(&self, key: &Key) -> Option<NodeId> {
        self.keys.get(key).copied()
    }

    /// The node of a file that was found under a name, made when it is new; counts the look-up. ENFILE when
    /// there are too many.
    pub(crate) fn look_up(&mut self, parent: NodeId, name: &[u8], stat: &Stat) -> Result<NodeId> {
        let key = Key::of(stat, parent, name);
        let id = match self.find(&key) {
            Some(id) if self.get(id)?.kind == stat.kind => id,
            Some(other) => {
                // The host has removed it, and given its number to a new file.
                self.forget_key(other);
                self.add(key, stat.kind)?
            }
            None => self.add(key, stat.kind)?,
        };
        self.set_name(id, parent, name)?;
        self.get_mut(id)?.lookups += 1;
        Ok(id)
    }

    /// The node of a new file without a name; counts the look-up.
    pub(crate) fn add_unnamed(&mut self, stat: &Stat) -> Result<NodeId> {
        let key = Key::Inode(stat.dev, stat.ino);
        if let Some(old) = self.find(&key) {
            self.forget_key(old);
        }
        let id = self.add(key, stat.kind)?;
        self.get_mut(id)?.lookups += 1;
        Ok(id)
    }

    fn add(&mut self, key: Key, kind: Kind) -> Result<NodeId> {
        if self.nodes.len() >= MAX_NODES {
            return Err(Errno::NFILE);
        }
        let id = self.next;
        self.next += 1;
        self.keys.insert(key.clone(), id);
        let node = Node {
            key: Some(key),
            kind,
            names: Vec::new(),
            lookups: 0,
            children: 0,
            open: Vec::new(),
            seen: None,
            last: None,
        };
        self.nodes.insert(id, node);
        Ok(id)
    }

    /// Makes a name a node's newest. A directory has no other.
    pub(crate) fn set_name(&mut self, id: NodeId, parent: NodeId, name: &[u8]) -> Result<()> {
        let node = self.get_mut(id)?;
        if node.names.last().is_some_and(|(p, n)| *p == parent && **n == *name) {
            return Ok(());
        }
        let one = node.kind == Kind::Dir;
        let drop = |(p, n): &(NodeId, Box<[u8]>)| one || *p == parent && **n == *name;
        let mut gone: Vec<NodeId> = node.names.iter().filter(|old| drop(old)).map(|(p, _)| *p).collect();
        node.names.retain(|old| !drop(old));
        if node.names.len() >= MAX_NAMES {
            gone.push(node.names.remove(0).0);
        }
        node.names.push((parent, name.into()));
        self.get_mut(parent)?.children += 1;
        for parent in gone {
            self.drop_child(parent);
        }
        Ok(())
    }

    /// A name was removed; with `last`, the file's last one, and what the file was before.
    pub(crate) fn remove_name(&mut self, id: NodeId, parent: NodeId, name: &[u8], last: Option<Stat>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let before = node.names.len();
        node.names.retain(|(p, n)| *p != parent || **n != *name);
        if node.names.len() < before {
            self.drop_child(parent);
        }
        if let Some(stat) = last {
            self.forget_key(id);
            let Some(node) = self.nodes.get_mut(&id) else { return };
            node.last = Some(Stat { nlink: 0, ..stat });
            let names = std::mem::take(&mut node.names);
            for (parent, _) in names {
                self.drop_child(parent);
            }
        }
        self.release(id);
    }

    /// Follows a rename that has happened.
    pub(crate) fn rename(&mut self, id: NodeId, old: (NodeId, &[u8]), new: (NodeId, &[u8])) -> Result<()> {
        if let Some(Key::Name(..)) = self.get(id)?.key {
            self.forget_key(id);
            let key = Key::Name(new.0, new.1.into());
            self.keys.insert(key.clone(), id);
            self.get_mut(id)?.key = Some(key);
        }
        self.set_name(id, new.0, new.1)?;
        self.remove_name(id, old.0, old.1, None);
        Ok(())
    }

    fn forget_key(&mut self, id: NodeId) {
        let Some(key) = self.nodes.get_mut(&id).and_then(|n| n.key.take()) else { return };
        // A name may stand for another file by now.
        if self.keys.get(&key) == Some(&id) {
            self.keys.remove(&key);
        }
    }

    fn drop_child(&mut self, parent: NodeId) {
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.children = node.children.saturating_sub(1);
        }
        self.release(parent);
    }

    /// The client takes back look-ups.
    pub(crate) fn forget(&mut self, id: NodeId, count: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(count);
        }
        self.release(id);
    }

    /// Drops a node that nobody refers to, and those that lose their last reference by that.
    pub(crate) fn release(&mut self, id: NodeId) {
        let mut todo = vec![id];
        while let Some(id) = todo.pop() {
            let Some(node) = self.nodes.get(&id) else { continue };
            if id == ROOT || node.lookups > 0 || node.children > 0 || !node.open.is_empty() {
                continue;
            }
            self.forget_key(id);
            let Some(node) = self.nodes.remove(&id) else { continue };
            for (parent, _) in node.names {
                if let Some(p) = self.nodes.get_mut(&parent) {
                    p.children = p.children.saturating_sub(1);
                    todo.push(parent);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
