//! The names that fids stand for, as a tree.
//!
//! A fid must go on meaning the same file when the file or a directory above it is renamed, and WASI has no handle that
//! could name a file without opening it. So each fid points to a node, and a node is a parent and a name: a rename moves
//! one node, and all paths below it follow. A node whose name was removed is *detached*: it has no path any more, and
//! nothing that later gets the same name is confused with it.
//!
//! Nodes are counted by the fids on them and by their children; a node that nobody refers to is freed, so the tree is
//! never larger than [`MAX_NODES`].

use std::collections::{BTreeMap, HashMap};

use super::errno::Errno;

/// Nodes in all. A fid needs one, and its parents are mostly shared.
pub(crate) const MAX_NODES: usize = 1 << 18;
/// Longest path in bytes, as Linux's PATH_MAX without the NUL.
pub(crate) const MAX_PATH: usize = 4095;

/// Number of a node.
pub(crate) type NodeId = u64;

/// The exported directory itself. It always exists.
pub(crate) const ROOT: NodeId = 0;

struct Node {
    /// `None` for the root and for a detached node.
    parent: Option<NodeId>,
    name: Box<[u8]>,
    children: BTreeMap<Box<[u8]>, NodeId>,
    refs: u32,
}

/// See the module's documentation.
pub(crate) struct Tree {
    nodes: HashMap<NodeId, Node>,
    next: NodeId,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let root = Node { parent: None, name: Box::default(), children: BTreeMap::new(), refs: 1 };
        Tree { nodes: HashMap::from([(ROOT, root)]), next: ROOT + 1 }
    }

    /// Counts another reference to `node`.
    pub(crate) fn retain(&mut self, node: NodeId) {
        if let Some(n) = self.nodes.get_mut(&node) {
            n.refs += 1;
        }
    }

    /// Drops a reference, and every node that thereby loses its last one.
    pub(crate) fn release(&mut self, mut node: NodeId) {
        loop {
            let Some(n) = self.nodes.get_mut(&node) else { return };
            n.refs = n.refs.saturating_sub(1);
            if n.refs > 0 || node == ROOT {
                return;
            }
            let Some(gone) = self.nodes.remove(&node) else { return };
            let Some(parent) = gone.parent else { return };
            if let Some(p) = self.nodes.get_mut(&parent) {
                p.children.remove(&gone.name);
            }
            node = parent;
        }
    }

    /// The node of a name in `parent`, made when missing, with a reference for the caller.
    pub(crate) fn child(&mut self, parent: NodeId, name: &[u8]) -> Result<NodeId, Errno> {
        let full = self.nodes.len() >= MAX_NODES;
        let id = self.next;
        let p = self.nodes.get_mut(&parent).ok_or(Errno::NOENT)?;
        if let Some(&known) = p.children.get(name) {
            self.retain(known);
            return Ok(known);
        }
        if full {
            return Err(Errno::NFILE);
        }
        p.children.insert(name.into(), id);
        p.refs += 1;
        self.nodes
            .insert(id, Node { parent: Some(parent), name: name.into(), children: BTreeMap::new(), refs: 1 });
        self.next += 1;
        Ok(id)
    }

    /// The parent; the root is its own. ENOENT for a detached node.
    pub(crate) fn parent(&self, node: NodeId) -> Result<NodeId, Errno> {
        if node == ROOT {
            return Ok(ROOT);
        }
        self.nodes.get(&node).and_then(|n| n.parent).ok_or(Errno::NOENT)
    }

    /// The node's own name; empty for the root.
    pub(crate) fn name(&self, node: NodeId) -> &[u8] {
        self.nodes.get(&node).map_or(&[], |n| &n.name)
    }

    /// The path from the root, `"."` for the root itself. ENOENT when a node on the way is detached.
    pub(crate) fn path(&self, node: NodeId) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::new();
        let mut len = 0;
        let mut at = node;
        while at != ROOT {
            let n = self.nodes.get(&at).ok_or(Errno::NOENT)?;
            len += n.name.len() + 1;
            if len > MAX_PATH + 1 {
                return Err(Errno::NAMETOOLONG);
            }
            names.push(&n.name[..]);
            at = n.parent.ok_or(Errno::NOENT)?;
        }
        if names.is_empty() {
            return Ok(b".".to_vec());
        }
        names.reverse();
        Ok(names.join(&b'/'))
    }

    /// Forgets the name of a child: it was removed.
    pub(crate) fn detach(&mut self, parent: NodeId, name: &[u8]) {
        let Some(child) = self.nodes.get_mut(&parent).and_then(|p| p.children.remove(name)) else { return };
        if let Some(c) = self.nodes.get_mut(&child) {
            c.parent = None;
        }
        self.release(parent);
    }

    /// Follows a rename that has happened: what had the new name is detached, what had the old one is moved.
    pub(crate) fn rename(&mut self, old: (NodeId, &[u8]), new: (NodeId, &[u8])) {
        if old == new {
            return;
        }
        self.detach(new.0, new.1);
        let Some(child) = self.nodes.get_mut(&old.0).and_then(|p| p.children.remove(old.1)) else { return };
        let Some(to) = self.nodes.get_mut(&new.0) else { return };
        to.children.insert(new.1.into(), child);
        to.refs += 1;
        if let Some(c) = self.nodes.get_mut(&child) {
            c.parent = Some(new.0);
            c.name = new.1.into();
        }
        self.release(old.0);
    }

    /// Number of nodes, the root included.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(tree: &mut Tree, names: &[&[u8]]) -> NodeId {
        let mut at = ROOT;
        tree.retain(ROOT);
        for name in names {
            let next = tree.child(at, name).unwrap();
            tree.release(at);
            at = next;
        }
        at
    }

    #[test]
    fn nodes_live_as_long_as_someone_points_at_them() {
        let mut t = Tree::new();
        let c = walk(&mut t, &[b"a", b"b", b"c"]);
        let d = walk(&mut t, &[b"a", b"b", b"d"]);
        assert_eq!((t.len(), t.path(c).unwrap()), (5, b"a/b/c".to_vec()));
        t.release(c);
        assert_eq!(t.len(), 4);
        assert_eq!(t.path(d).unwrap(), b"a/b/d");
        t.release(d);
        assert_eq!((t.len(), t.path(ROOT).unwrap()), (1, b".".to_vec()));
    }

    #[test]
    fn a_rename_moves_what_is_below() {
        let mut t = Tree::new();
        let f = walk(&mut t, &[b"a", b"b", b"f"]);
        let z = walk(&mut t, &[b"z"]);
        let victim = walk(&mut t, &[b"z", b"y"]);
        t.rename((ROOT, b"a"), (z, b"y"));
        assert_eq!(t.path(f).unwrap(), b"z/y/b/f");
        assert_eq!(t.path(victim), Err(Errno::NOENT));
        let other = walk(&mut t, &[b"z", b"y"]);
        assert_ne!(other, victim);
        for node in [f, z, victim, other] {
            t.release(node);
        }
        assert_eq!(t.len(), 1);
    }

    #[test]
    fn what_was_removed_has_no_path_and_lets_its_parents_go() {
        let mut t = Tree::new();
        let dir = walk(&mut t, &[b"d"]);
        let f = walk(&mut t, &[b"d", b"f"]);
        t.detach(dir, b"f");
        assert_eq!((t.path(f), t.parent(f)), (Err(Errno::NOENT), Err(Errno::NOENT)));
        t.release(dir);
        assert_eq!(t.len(), 2, "the root and the detached file");
        t.release(f);
        assert_eq!(t.len(), 1);
    }

    #[test]
    fn long_paths_are_refused() {
        let mut t = Tree::new();
        let name = [b'n'; 255];
        let ok = walk(&mut t, &[&name[..]; 16]);
        assert_eq!(t.path(ok).unwrap().len(), 4095);
        let long = t.child(ok, b"x").unwrap();
        assert_eq!(t.path(long), Err(Errno::NAMETOOLONG));
    }
}
