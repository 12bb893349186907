//! A second opinion on names: what a stack of layers makes of them, kept as a table of paths. It knows no
//! data and no metadata, and shares nothing with the code under test.

use std::collections::BTreeMap;

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    /// A file, a FIFO: no directory and no link.
    File,
    Link(String),
}

#[derive(Clone, Debug)]
struct Name {
    node: Node,
    /// Whether the layer being made brought it, or something below it.
    own: bool,
}

/// All names, without a slash in front; the root is not among them.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<String, Name>);

/// Where a path leads when links are followed.
pub(super) struct Way {
    pub(super) path: String,
    /// The first name on it that is no directory, the last included.
    pub(super) obstacle: Option<String>,
}

/// A path's own name and its directory.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

pub(super) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

impl Names {
    pub(super) fn node(&self, path: &str) -> Option<&Node> {
        self.0.get(path).map(|name| &name.node)
    }

    pub(super) fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.node(path) == Some(&Node::Dir)
    }

    pub(super) fn is_own(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|name| name.own)
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Begins another layer.
    pub(super) fn next_layer(&mut self) {
        self.0.values_mut().for_each(|name| name.own = false);
    }

    /// Follows a directory's path; `None` when its links go in circles.
    pub(super) fn follow(&self, path: &str) -> Option<Way> {
        let mut todo: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        let mut here = String::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match &name[..] {
                "" | "." => continue,
                ".." => here = split(&here).0.to_owned(),
                _ => {
                    let next = join(&here, &name);
                    let Some(Node::Link(target)) = self.node(&next) else {
                        here = next;
                        continue;
                    };
                    if links == 20 {
                        return None;
                    }
                    links += 1;
                    if target.starts_with('/') {
                        here.clear();
                    }
                    todo.extend(target.rsplit('/').map(str::to_owned));
                }
            }
        }
        let obstacle = self.obstacle(&here);
        Some(Way { path: here, obstacle })
    }

    /// The first name of a path, as it stands, that is there and is no directory.
    pub(super) fn obstacle(&self, path: &str) -> Option<String> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut prefixes = ends.map(|end| &path[..end]);
        prefixes.find(|p| matches!(self.node(p), Some(Node::File | Node::Link(_)))).map(str::to_owned)
    }

    /// Marks a path and the directories that it is in as the layer's own; makes those that are missing.
    pub(super) fn enter(&mut self, dir: &str) {
        let mut path = dir;
        while !path.is_empty() {
            self.0.entry(path.to_owned()).or_insert(Name { node: Node::Dir, own: true }).own = true;
            path = split(path).0;
        }
    }

    /// Puts something at a path whose directory is there.
    pub(super) fn put(&mut self, path: &str, node: Node) {
        if !(node == Node::Dir && self.is_dir(path)) {
            self.remove(path);
        }
        self.0.insert(path.to_owned(), Name { node, own: true });
        self.enter(split(path).0);
    }

    pub(super) fn own(&mut self, path: &str) {
        if let Some(name) = self.0.get_mut(path) {
            name.own = true;
        }
    }

    /// Takes a path and all below it away.
    pub(super) fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.0.retain(|name, _| name != path && !name.starts_with(&below));
    }

    /// Takes away what lower layers have below a directory.
    pub(super) fn prune(&mut self, dir: &str) {
        let below = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        self.0.retain(|name, entry| entry.own || !name.starts_with(&below));
    }
}
