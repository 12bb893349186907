//! Whiteouts and opaque marks (OCI image-spec, *layer.md*, Whiteouts).
//!
//! A mark hides files of lower layers, never those of its own layer, wherever in the archive it is. It acts
//! on the directory that it names and never through a symbolic link: a link leads to another directory, which
//! the layer's author did not mean. A mark whose directory cannot be reached without a link hides nothing.
//!
//! An opaque mark implies its directory: a missing one is made, and it replaces a lower layer's link or file,
//! as in containerd's and docker's overlays.

use super::{
    builder::{Builder, Refusal},
    resolve::{Obstacle, obstacle},
};
use crate::image::tree::InodeId;

/// Prefix of a whiteout.
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// Hides all files of lower layers in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Prefix of AUFS's own metadata, in the root directory.
const AUFS: &[u8] = b".wh..wh.";

impl Builder {
    /// Applies a mark.
    pub(super) fn mark(&mut self, parents: &[&[u8]], name: &[u8]) -> Result<(), Refusal> {
        if name == OPAQUE {
            return self.opaque(parents);
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(Refusal::entry("this whiteout names no file"));
        }
        let Some(parent) = self.unlinked(parents) else { return Ok(()) };
        let Some(dirent) = self.tree.entries(parent).and_then(|e| e.get(hidden)).copied() else {
            return Ok(());
        };
        if dirent.layer < self.layer {
            self.tree.unlink(parent, hidden);
        } else {
            self.tree.prune(dirent.inode, self.layer);
        }
        Ok(())
    }

    /// What is at `path`, if no link leads there.
    fn unlinked(&self, path: &[&[u8]]) -> Option<InodeId> {
        // A link is no directory, and has no children.
        path.iter().try_fold(self.tree.root(), |here, name| self.tree.child(here, name))
    }

    fn opaque(&mut self, path: &[&[u8]]) -> Result<(), Refusal> {
        if let Some(dir) = self.unlinked(path).filter(|&dir| self.tree.entries(dir).is_some()) {
            self.tree.prune(dir, self.layer);
            return Ok(());
        }
        match obstacle(&self.tree, path) {
            Some(Obstacle { layer, .. }) if layer == self.layer => return Ok(()),
            Some(Obstacle { at, link: true, dir, .. }) => {
                if at + 1 < path.len() {
                    return Ok(());
                }
                self.tree.unlink(dir, path[at]);
            }
            _ => {}
        }
        self.directories(path).map(drop)
    }

    /// Removes AUFS's directories at a layer's end: files in them are the targets of the layer's hard links,
    /// and nothing else (docker does the same).
    pub(super) fn drop_bookkeeping(&mut self) {
        let root = self.tree.root();
        let from: Box<[u8]> = AUFS.into();
        let names: Vec<Box<[u8]>> = self.tree.entries(root).map_or(Vec::new(), |entries| {
            entries.range(from..).map(|(name, _)| name.clone()).take_while(|n| n.starts_with(AUFS)).collect()
        });
        for name in names {
            self.tree.unlink(root, &name);
        }
    }
}
