//! The directory: files are gathered in an unlinked one, and put in place at the end, quickly. Files that are
//! not of an earlier `--web` are left alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use crate::pack::output::{Output, directory, undisturbed};

/// Hexadecimal digits of a digest in a name.
const DIGITS: usize = 20;
/// Longest `image.json` that is read, in bytes.
const MAX_MANIFEST: u64 = 64 << 20;

/// Files that have no place yet.
pub struct Spool {
    file: File,
    at: u64,
    entries: BTreeMap<String, Range<u64>>,
}

impl Spool {
    /// An empty one, in the directory that `path` lies in.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Spool { file: tempfile::tempfile_in(directory(path))?, at: 0, entries: BTreeMap::new() })
    }

    /// Adds a file. One of that name that is there already stays.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn add(&mut self, name: String, bytes: &[u8]) -> io::Result<()> {
        if !self.entries.contains_key(&name) {
            self.file.write_all(bytes)?;
            let end = self.at + bytes.len() as u64;
            self.entries.insert(name, self.at..end);
            self.at = end;
        }
        Ok(())
    }

    /// Adds a file that has a digest of its contents between `head` and `tail` in its name; the name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn add_named(&mut self, head: &str, tail: &str, bytes: &[u8]) -> io::Result<String> {
        let name = format!("{head}{}{tail}", digest(bytes));
        self.add(name.clone(), bytes)?;
        Ok(name)
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// The contents of a file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn get(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let range = self.entries.get(name).cloned().unwrap_or_default();
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.file.seek(SeekFrom::Start(range.start))?;
        self.file.read_exact(&mut bytes)?;
        self.file.seek(SeekFrom::Start(self.at))?;
        Ok(bytes)
    }
}

/// A digest for a name.
pub fn digest(bytes: &[u8]) -> String {
    digest_of(&[bytes])
}

/// A digest of several things.
pub fn digest_of(things: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for bytes in things {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let mut text = format!("{:x}", hash.finalize());
    text.truncate(DIGITS);
    text
}

/// The directory to fill.
pub struct Directory {
    path: PathBuf,
    /// Files of an earlier run.
    before: BTreeSet<String>,
}

impl Directory {
    /// Looks at `path`: it must be absent, empty, or have been filled by this program.
    ///
    /// # Errors
    /// When it is none of these, or its parent cannot be used.
    pub fn check(path: &Path) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
        let this = |before| Ok(Directory { path: path.to_path_buf(), before });
        match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = directory(path).metadata();
                let parent = parent
                    .map_err(|e| io::Error::new(e.kind(), format!("its directory cannot be used: {e}")))?;
                if !parent.is_dir() {
                    return Err(invalid("what it lies in is no directory"));
                }
                this(BTreeSet::new())
            }
            Err(error) if path.exists() && !path.is_dir() => {
                drop(error);
                Err(invalid("it exists and is no directory: --web writes a directory"))
            }
            Err(error) => Err(error),
            Ok(mut entries) => match (entries.next(), earlier(path)) {
                (None, _) => this(BTreeSet::new()),
                (_, Some(files)) => this(files),
                _ => Err(invalid(
                    "it holds files that --web has not made: give an empty directory, or one that it has filled before",
                )),
            },
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the files of `spool` in place, then those of `last`, whose contents name the others; then removes
    /// what an earlier run has left. Gives number, sum and maximum of sizes.
    ///
    /// # Errors
    /// Those of the file system; what was new is removed then.
    pub fn publish(self, mut spool: Spool, last: &[(&str, &[u8])]) -> io::Result<(usize, u64, u64)> {
        undisturbed(|| {
            let existed = self.path.is_dir();
            let mut made = Vec::new();
            let done = self.fill(&mut spool, last, &mut made);
            if done.is_err() {
                made.iter().for_each(|name| drop(fs::remove_file(self.path.join(name))));
                self.remove_empty(made.iter());
                if !existed {
                    drop(fs::remove_dir(&self.path));
                }
            }
            done?;
            let stale: Vec<&String> =
                self.before.iter().filter(|name| !spool.entries.contains_key(*name)).collect();
            stale.iter().for_each(|name| drop(fs::remove_file(self.path.join(name))));
            self.remove_empty(stale.into_iter());
            let sizes = spool.entries.values().map(|range| range.end - range.start);
            let sizes: Vec<u64> = sizes.chain(last.iter().map(|(_, bytes)| bytes.len() as u64)).collect();
            Ok((sizes.len(), sizes.iter().sum(), sizes.iter().max().copied().unwrap_or(0)))
        })
    }

    fn fill(&self, spool: &mut Spool, last: &[(&str, &[u8])], made: &mut Vec<String>) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        for name in spool.names() {
            let path = self.path.join(&name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            // Names are digests: what is there under one is the same, unless it was cut off.
            let bytes = spool.get(&name)?;
            if fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == bytes.len() as u64) {
                continue;
            }
            made.push(name);
            write(&path, &bytes)?;
        }
        for (name, bytes) in last {
            write(&self.path.join(name), bytes)?;
        }
        Ok(())
    }

    /// Removes the directories of files that were removed, if nothing is left in them.
    fn remove_empty<'a>(&self, names: impl Iterator<Item = &'a String>) {
        let parents: BTreeSet<&Path> = names.filter_map(|name| Path::new(name).parent()).collect();
        for parent in parents.into_iter().filter(|parent| !parent.as_os_str().is_empty()) {
            drop(fs::remove_dir(self.path.join(parent)));
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut output = Output::create(path)?;
    output.writer().write_all(bytes)?;
    output.finish()
}

/// The files that an earlier run has left, by its own list; `None` when there was none.
fn earlier(path: &Path) -> Option<BTreeSet<String>> {
    let file = File::open(path.join("image.json")).ok()?;
    let manifest: Manifest = serde_json::from_reader(file.take(MAX_MANIFEST)).ok()?;
    // A list that is not ours names no files elsewhere.
    let is_inside = |name: &String| {
        Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    Some(manifest.files.into_iter().filter(is_inside).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::manifest::{Code, FORMAT, Page, Root};

    fn manifest(files: &[&str]) -> Vec<u8> {
        let code = Code { file: "code".into(), size: 1 };
        let root = Root { size: 0, chunk: 1, chunks: Vec::new(), first: Vec::new() };
        let page = Page { title: "t".into(), args: Vec::new(), net: None, fixed: false };
        let files = files.iter().map(|name| name.to_string()).collect();
        let forelift = "0".into();
        serde_json::to_vec(&Manifest {
            format: FORMAT,
            forelift,
            data: String::new(),
            code,
            memory: Vec::new(),
            root,
            page,
            files,
        })
        .unwrap()
    }

    fn publish(path: &Path, files: &[(&str, &str)]) -> io::Result<(usize, u64, u64)> {
        let directory = Directory::check(path)?;
        let mut spool = Spool::new(path)?;
        for (name, text) in files {
            spool.add(name.to_string(), text.as_bytes())?;
        }
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        directory.publish(spool, &[("image.json", &manifest(&names))])
    }

    fn tree(path: &Path) -> Vec<String> {
        let mut out = Vec::new();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                out.extend(tree(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
            } else {
                out.push(name);
            }
        }
        out.sort();
        out
    }

    #[test]
    fn a_second_run_replaces_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let web = dir.path().join("web");
        let (files, total, largest) = publish(&web, &[("a/x", "1"), ("b/y", "22")]).unwrap();
        assert_eq!((files, total > 3, largest > 2), (3, true, true));
        assert_eq!(tree(&web), ["a/x", "b/y", "image.json"]);
        fs::write(web.join("CNAME"), "mine").unwrap();
        fs::write(web.join("b/y"), "2").unwrap();
        publish(&web, &[("b/y", "22"), ("c", "3")]).unwrap();
        assert_eq!(tree(&web), ["CNAME", "b/y", "c", "image.json"]);
        assert_eq!(fs::read(web.join("b/y")).unwrap(), b"22", "what was cut off is mended");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_left_of_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let web = dir.path().join("web");
        assert!(publish(&web, &[("a/x", "1"), ("z", "1"), ("z/y", "1")]).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        publish(&web, &[("a/x", "1")]).unwrap();
        assert!(publish(&web, &[("a/x", "1"), ("b/x", "1"), ("z", "1"), ("z/y", "1")]).is_err());
        assert_eq!(tree(&web), ["a/x", "image.json"], "what was there before stays");
    }

    #[test]
    fn other_files_are_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let check = |path: &Path| Directory::check(path).map(|d| d.before.len()).map_err(|e| e.to_string());
        assert_eq!(check(dir.path()), Ok(0));
        assert_eq!(check(&dir.path().join("new")), Ok(0));
        assert!(check(&dir.path().join("no/such")).unwrap_err().contains("its directory cannot be used"));
        fs::write(dir.path().join("image.json"), "{}").unwrap();
        assert!(check(dir.path()).unwrap_err().contains("has not made"));
        assert!(check(&dir.path().join("image.json")).unwrap_err().contains("no directory"));
        let list = manifest(&["a", "../b", "/c", "d/e"]);
        fs::write(dir.path().join("image.json"), list).unwrap();
        assert_eq!(check(dir.path()), Ok(2), "files elsewhere are nobody's");
    }
}
