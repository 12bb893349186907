//! Applies a layer's entries to the tree, one after another.

use super::{
    builder::{Builder, NAME_MAX, PATH_MAX, Refusal},
    marks, resolve,
};
use crate::image::{
    ImageError,
    error::show,
    tar::{Archive, Entry, EntryKind},
    tree::{Extent, InodeId, Kind, components},
};
use std::{collections::BTreeMap, io::Read};

impl Builder {
    /// Reads a layer to its archive's end mark. `whiteouts` is false for a plain root file system, where
    /// `.wh.` has no meaning.
    pub(crate) fn apply<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        place: &str,
        whiteouts: bool,
    ) -> Result<(), ImageError> {
        while let Some(entry) = archive.next_entry().map_err(|fault| fault.at(place))? {
            let name = entry.name.clone();
            self.entry(archive, entry, whiteouts).map_err(|refusal| match refusal {
                Refusal::Entry(problem) => {
                    ImageError::Entry { place: place.to_owned(), entry: show(&name), problem }
                }
                Refusal::Fault(fault) => match fault.at(place) {
                    ImageError::Archive { place, offset, problem } => {
                        let problem = format!("entry `{}`: {problem}", show(&name));
                        ImageError::Archive { place, offset, problem }
                    }
                    other => other,
                },
                Refusal::TooLarge(bytes) => ImageError::TooLarge {
                    place: place.to_owned(),
                    entry: show(&name),
                    bytes,
                    limit: self.limits.total_bytes,
                },
                Refusal::TooMany => {
                    ImageError::TooMany { place: place.to_owned(), limit: self.limits.entries }
                }
                Refusal::Image(error) => error,
            })?;
        }
        if whiteouts {
            self.drop_bookkeeping();
        }
        self.layer += 1;
        self.tree.spool().flush()
    }

    fn entry<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        entry: Entry,
        whiteouts: bool,
    ) -> Result<(), Refusal> {
        self.count(&entry)?;
        let path = clean(&entry.name)?;
        let Some((&name, parents)) = path.split_last() else {
            return self.root(entry);
        };
        if whiteouts && name.starts_with(marks::WHITEOUT) {
            return self.mark(parents, name);
        }
        let parent = self.parent(parents)?;
        let xattrs = self.xattrs(entry.xattrs, &entry.name);
        let kind = match entry.kind {
            EntryKind::Dir => {
                if let Some(old) = self.tree.touch(parent, name, self.layer)
                    && self.tree.entries(old).is_some()
                {
                    let node = self.tree.inode_mut(old);
                    (node.meta, node.xattrs) = (entry.meta, xattrs);
                    return Ok(());
                }
                Kind::Dir(BTreeMap::new())
            }
            EntryKind::Hardlink(target) => return self.hardlink(parent, name, &target),
            EntryKind::File { size, sparse } => self.file(archive, size, sparse)?,
            EntryKind::Symlink(target) => {
                if target.is_empty() || target.len() >= PATH_MAX || target.contains(&0) {
                    return Err(Refusal::entry("its target is empty, or longer than 4095 bytes"));
                }
                Kind::Symlink(target.into())
            }
            EntryKind::Char(major, minor) => Kind::Char(major, minor),
            EntryKind::Block(major, minor) => Kind::Block(major, minor),
            EntryKind::Fifo => Kind::Fifo,
        };
        let id = self.tree.add(entry.meta, xattrs, kind);
        self.tree.link(parent, name, id, self.layer);
        Ok(())
    }

    /// Bounds the tree's own size: an archive of empty files is below the limit on file data.
    fn count(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Refusal::TooMany);
        }
        let xattrs: usize = entry.xattrs.iter().map(|x| x.name.len() + x.value.len()).sum();
        self.metadata += (entry.name.len() + xattrs) as u64;
        if self.metadata > self.limits.metadata_bytes {
            return Err(Refusal::entry(format!(
                "names and extended attributes reach {} bytes, at most {} are taken",
                self.metadata, self.limits.metadata_bytes
            )));
        }
        Ok(())
    }

    fn root(&mut self, entry: Entry) -> Result<(), Refusal> {
        if entry.kind != EntryKind::Dir {
            return Err(Refusal::entry("the root can only be a directory"));
        }
        let xattrs = self.xattrs(entry.xattrs, b"/");
        let root = self.tree.root();
        let node = self.tree.inode_mut(root);
        (node.meta, node.xattrs) = (entry.meta, xattrs);
        Ok(())
    }

    fn hardlink(&mut self, parent: InodeId, name: &[u8], target: &[u8]) -> Result<(), Refusal> {
        let missing =
            || Refusal::entry(format!("hard link to `{}`, which the image does not have", show(target)));
        let path = clean(target)?;
        let (&last, parents) = path.split_last().ok_or_else(missing)?;
        let dir = resolve::resolve(&self.tree, parents)?.found().ok_or_else(missing)?;
        let inode = self.tree.child(dir, last).ok_or_else(missing)?;
        if self.tree.entries(inode).is_some() {
            return Err(Refusal::entry(format!("hard link to the directory `{}`", show(target))));
        }
        if self.tree.child(parent, name) != Some(inode) {
            self.tree.link(parent, name, inode, self.layer);
        } else {
            self.tree.touch(parent, name, self.layer);
        }
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        size: u64,
        sparse: Option<Vec<(u64, u64)>>,
    ) -> Result<Kind, Refusal> {
        self.room(size)?;
        let mut spool = self.tree.spool().len();
        let limit = self.limits.spool_bytes();
        let stored = archive.remaining();
        if spool.saturating_add(stored) > limit {
            return Err(Refusal::TooLarge(spool.saturating_add(stored)));
        }
        loop {
            let n = archive.read_data(&mut self.buffer).map_err(Refusal::Fault)?;
            if n == 0 {
                break;
            }
            self.tree.spool().append(&self.buffer[..n]).map_err(Refusal::Image)?;
        }
        let runs = sparse.unwrap_or_else(|| vec![(0, stored)]);
        let extents = runs.into_iter().filter(|&(_, len)| len > 0).map(|(at, len)| {
            let extent = Extent { at, spool, len };
            spool += len;
            extent
        });
        Ok(Kind::File { size, extents: extents.collect() })
    }
}

/// The components of an entry's name, with `..` taken out; absolute names are relative to the image's root.
fn clean(name: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    if name.len() >= PATH_MAX {
        return Err(Refusal::entry("its path is longer than 4095 bytes"));
    }
    if name.is_empty() || name.contains(&0) {
        return Err(Refusal::entry("its name is empty, or contains a NUL"));
    }
    let mut path: Vec<&[u8]> = Vec::new();
    for component in components(name) {
        if component == b".." {
            if path.pop().is_none() {
                return Err(Refusal::entry(
                    "its path climbs out of the image (`..`): the archive is hostile or broken; it was refused",
                ));
            }
        } else if component.len() > NAME_MAX {
            return Err(Refusal::entry("a name in it is longer than 255 bytes"));
        } else {
            path.push(component);
        }
    }
    Ok(path)
}
