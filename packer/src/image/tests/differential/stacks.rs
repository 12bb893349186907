//! Random stacks of layers, for Forelift and for umoci.

use super::names::{Names, Node, join, split};
use crate::image::testing::Tar;
use std::collections::BTreeMap;

/// Where Forelift and umoci 0.4.7 make different trees of one archive. Each is decided as containerd and
/// docker do on an overlay, where a layer is laid out by itself, or keeps what its layer brings; umoci gets
/// entries that say the same to it, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deviation {
    /// umoci removes what the directory holds that a link on the way to a mark leads to.
    MarkBeyondLink,
    /// An opaque mark over a lower layer's link or file, or over nothing, makes a directory; umoci's makes
    /// none.
    OpaqueMakesDirectory,
    /// An entry below a lower layer's file makes a directory of that, as in umoci 0.5; 0.4.7 refuses it.
    EntryBelowFile,
    /// A hard link to itself changes nothing, as with tar; umoci refuses it.
    LinkToItself,
}

pub(super) const DEVIATIONS: [Deviation; 4] = [
    Deviation::MarkBeyondLink,
    Deviation::OpaqueMakesDirectory,
    Deviation::EntryBelowFile,
    Deviation::LinkToItself,
];

/// An entry of a layer.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Tells entries apart: part of a file's content, and of all metadata. 0 has the metadata of a directory
    /// that no entry describes.
    pub(super) number: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Dir,
    File,
    Fifo,
    Symlink(String),
    Hardlink(String),
    /// A whiteout or an opaque mark.
    Mark,
}

impl Entry {
    fn mark(dir: &str, name: &str) -> Self {
        Entry { path: join(dir, &format!(".wh.{name}")), kind: Kind::Mark, number: 0 }
    }

    fn write(&self, tar: Tar) -> Tar {
        let n = self.number;
        let mode = match self.kind {
            Kind::Dir if n > 0 => 0o700 + (n * 5) % 64,
            Kind::File => [0o644, 0o600, 0o4755, 0o2711][n as usize % 4],
            _ => 0o755,
        };
        let owner = (u64::from(n * 7 % 50), u64::from(n * 3 % 50));
        let (flag, link, data) = match &self.kind {
            Kind::Dir => (b'5', "", String::new()),
            Kind::File => (b'0', "", format!("content {n}")),
            Kind::Fifo => (b'6', "", String::new()),
            Kind::Symlink(to) => (b'2', to.as_str(), String::new()),
            Kind::Hardlink(to) => (b'1', to.as_str(), String::new()),
            Kind::Mark => (b'0', "", String::new()),
        };
        tar.described(&self.path, flag, link, data.as_bytes(), (mode, owner, u64::from(n)))
    }
}

/// A stack in both forms, and how they differ.
#[derive(Default)]
pub(super) struct Stack {
    pub(super) ours: Vec<Vec<Entry>>,
    pub(super) theirs: Vec<Vec<Entry>>,
    pub(super) deviations: BTreeMap<Deviation, usize>,
}

pub(super) fn archive(layer: &[Entry]) -> Vec<u8> {
    layer.iter().fold(Tar::new(), |tar, entry| entry.write(tar)).done()
}

struct Random(u64);

impl Random {
    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }
}

struct Generator {
    random: Random,
    names: Names,
    stack: Stack,
    number: u32,
}

/// Makes the stack of a seed: one to four layers of up to 14 entries, in any order, of few names.
pub(super) fn stack(seed: u64) -> Stack {
    let random = Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut generator = Generator { random, names: Names::default(), stack: Stack::default(), number: 0 };
    for _ in 0..1 + generator.random.below(4) {
        generator.stack.ours.push(Vec::new());
        generator.stack.theirs.push(Vec::new());
        generator.names.next_layer();
        for _ in 0..1 + generator.random.below(14) {
            generator.entry();
        }
    }
    generator.stack
}

impl Generator {
    fn both(&mut self, entry: &Entry) {
        self.ours(entry);
        self.theirs(entry.clone());
    }

    fn ours(&mut self, entry: &Entry) {
        self.stack.ours.last_mut().unwrap().push(entry.clone());
    }

    fn theirs(&mut self, entry: Entry) {
        self.stack.theirs.last_mut().unwrap().push(entry);
    }

    fn deviates(&mut self, deviation: Deviation) {
        *self.stack.deviations.entry(deviation).or_default() += 1;
    }

    /// A path of up to three names; often one that is there, or is below one.
    fn path(&mut self) -> String {
        let known = self.names.paths();
        let mut path = String::new();
        if !known.is_empty() && self.random.below(3) > 0 {
            path.clone_from(&known[self.random.below(known.len())]);
            if self.random.below(2) == 0 {
                return path;
            }
        }
        for _ in 0..1 + self.random.below(2) {
            path = join(&path, ["a", "b", "c"][self.random.below(3)]);
        }
        path
    }

    fn target(&mut self) -> String {
        match self.random.below(8) {
            0 => "..".into(),
            1 => "gone/../b".into(),
            2 => format!("../{}", self.path()),
            3 | 4 => format!("/{}", self.path()),
            _ => self.path(),
        }
    }

    fn entry(&mut self) {
        let path = self.path();
        self.number += 1;
        let kind = match self.random.below(16) {
            0..4 => Kind::Dir,
            4..7 => Kind::File,
            7..10 => Kind::Symlink(self.target()),
            10 => Kind::Fifo,
            11 | 12 => return self.hard_link(path),
            13 | 14 => return self.whiteout(&path),
            _ => return self.opaque(&path),
        };
        let Some(place) = self.place(&path) else { return };
        let node = match &kind {
            Kind::Dir => Node::Dir,
            Kind::Symlink(target) => Node::Link(target.clone()),
            _ => Node::File,
        };
        self.names.put(&place, node);
        self.both(&Entry { path, kind, number: self.number });
    }

    /// Where an entry's name leads, its directory made; `None` if it is refused: in circles, or below a file
    /// of its layer.
    fn place(&mut self, path: &str) -> Option<String> {
        let (dir, name) = split(path);
        let way = self.names.follow(dir)?;
        if let Some(file) = way.obstacle {
            if self.names.is_own(&file) {
                return None;
            }
            self.names.remove(&file);
            self.deviates(Deviation::EntryBelowFile);
            let (dir, name) = split(&file);
            self.theirs(Entry::mark(dir, name));
        }
        self.directories(&way.path);
        Some(join(&way.path, name))
    }

    /// Makes the directories of a path without links. Those that no entry describes are described to umoci,
    /// which gives them, and what they are in, the time of the unpacking.
    fn directories(&mut self, dir: &str) {
        let ends = dir.match_indices('/').map(|(at, _)| at).chain([dir.len()]);
        for path in ends.map(|end| &dir[..end]) {
            if !self.names.is_dir(path) {
                self.theirs(Entry { path: path.into(), kind: Kind::Dir, number: 0 });
            }
        }
        self.names.enter(dir);
    }

    fn hard_link(&mut self, path: String) {
        let files = self.names.paths().into_iter().filter(|p| !self.names.is_dir(p)).collect::<Vec<_>>();
        if files.is_empty() {
            return;
        }
        let target = files[self.random.below(files.len())].clone();
        let Some(way) = self.names.follow(split(&path).0) else { return };
        let place = join(&way.path, split(&path).1);
        // The link's own directories, or what it replaces, would take the target away: both refuse that.
        if way.obstacle.as_ref() == Some(&target) || target.starts_with(&format!("{place}/")) {
            return;
        }
        let Some(place) = self.place(&path) else { return };
        let entry = Entry { path, kind: Kind::Hardlink(target.clone()), number: self.number };
        if place == target {
            self.names.own(&place);
            self.deviates(Deviation::LinkToItself);
            // What says to umoci that the name is the layer's own: another name for it, and back.
            let spare = format!("spare{}", self.number);
            self.names.put(&spare, self.names.node(&target).unwrap().clone());
            self.both(&Entry { path: spare.clone(), kind: Kind::Hardlink(target), number: self.number });
            self.ours(&entry);
            self.theirs(Entry { kind: Kind::Hardlink(spare), ..entry });
            return;
        }
        self.names.put(&place, self.names.node(&target).unwrap().clone());
        self.both(&entry);
    }

    fn whiteout(&mut self, path: &str) {
        let (dir, name) = split(path);
        let mark = Entry::mark(dir, name);
        self.ours(&mark);
        if let Some(obstacle) = self.names.obstacle(dir) {
            match self.names.node(&obstacle) {
                Some(Node::Link(_)) => self.deviates(Deviation::MarkBeyondLink),
                _ => self.theirs(mark),
            }
            return;
        }
        if self.names.is_own(path) {
            self.names.prune(path);
        } else {
            self.names.remove(path);
        }
        self.theirs(mark);
    }

    fn opaque(&mut self, dir: &str) {
        let mark = Entry::mark(dir, ".wh..opq");
        self.ours(&mark);
        if self.names.is_dir(dir) {
            self.names.prune(dir);
            self.theirs(mark);
            return;
        }
        if let Some(obstacle) = self.names.obstacle(dir) {
            let link = matches!(self.names.node(&obstacle), Some(Node::Link(_)));
            if self.names.is_own(&obstacle) || link && obstacle != dir {
                self.deviates(Deviation::MarkBeyondLink);
                return;
            }
            self.names.remove(&obstacle);
            let (dir, name) = split(&obstacle);
            self.theirs(Entry::mark(dir, name));
        }
        self.deviates(Deviation::OpaqueMakesDirectory);
        self.directories(dir);
    }
}
