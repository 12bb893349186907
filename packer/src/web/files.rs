//! The directory: files are gathered in an unlinked one, and put in place at the end, quickly. Files that are
//! not of an earlier `--web` are left alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::pack::output::{Output, directory, undisturbed};

/// Hexadecimal digits of a digest in a name.
const DIGITS: usize = 20;
/// Longest `image.json` that is read, in bytes.
const MAX_MANIFEST: u64 = 64 << 20;
/// The list of the files, by which a later run knows them for this program's.
const LIST: &str = "image.json";
/// The list of a run that is not at its end, with what was there before.
const UNFINISHED: &str = "image.json.unfinished";

/// Files that have no place yet.
pub struct Spool {
    file: File,
    at: u64,
    entries: BTreeMap<String, Range<u64>>,
}

impl Spool {
    /// An empty one, whose file is in `dir`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(dir: &Path) -> io::Result<Self> {
        Ok(Spool { file: tempfile::tempfile_in(dir)?, at: 0, entries: BTreeMap::new() })
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
}

impl Directory {
    /// Looks at `path`: it must be absent, empty, or have been filled by this program.
    ///
    /// # Errors
    /// When it is none of these, or its parent cannot be used.
    pub fn check(path: &Path) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
        match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = directory(path).metadata();
                let parent = parent
                    .map_err(|e| io::Error::new(e.kind(), format!("its directory cannot be used: {e}")))?;
                if !parent.is_dir() {
                    return Err(invalid("what it lies in is no directory"));
                }
            }
            Err(_) if path.exists() && !path.is_dir() => {
                return Err(invalid("it exists and is no directory: --web writes a directory"));
            }
            Err(error) => return Err(error),
            Ok(mut entries) => {
                if entries.next().is_some() && earlier(path).is_none() {
                    return Err(invalid(
                        "it holds files that --web has not made: give an empty directory, or one that it has filled before",
                    ));
                }
            }
        }
        Ok(Directory { path: path.to_path_buf() })
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
            fs::create_dir_all(&self.path)?;
            // Two runs fill it one after the other.
            let lock = File::open(&self.path)?;
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
            let before = earlier(&self.path).unwrap_or_default();
            let mut made = Vec::new();
            let done = self.fill(&mut spool, &before, last, &mut made);
            if done.is_err() {
                self.remove(&made);
                if !existed {
                    drop(fs::remove_dir(&self.path));
                }
            }
            done?;
            let stale: Vec<String> =
                before.into_iter().filter(|name| !spool.entries.contains_key(name)).collect();
            self.remove(&stale);
            let sizes = spool.entries.values().map(|range| range.end - range.start);
            let sizes: Vec<u64> = sizes.chain(last.iter().map(|(_, bytes)| bytes.len() as u64)).collect();
            Ok((sizes.len(), sizes.iter().sum(), sizes.iter().max().copied().unwrap_or(0)))
        })
    }

    /// Removes files, the list of an unfinished run, and directories that are empty then.
    fn remove(&self, names: &[String]) {
        names.iter().for_each(|name| drop(fs::remove_file(self.path.join(name))));
        drop(fs::remove_file(self.path.join(UNFINISHED)));
        let parents: BTreeSet<&Path> = names.iter().filter_map(|name| Path::new(name).parent()).collect();
        for parent in parents.into_iter().filter(|parent| !parent.as_os_str().is_empty()) {
            drop(fs::remove_dir(self.path.join(parent)));
        }
    }

    fn fill(
        &self,
        spool: &mut Spool,
        before: &BTreeSet<String>,
        last: &[(&str, &[u8])],
        made: &mut Vec<String>,
    ) -> io::Result<()> {
        let names: BTreeSet<String> = before.iter().cloned().chain(spool.names()).collect();
        write(&self.path.join(UNFINISHED), &serde_json::to_vec(&Unfinished { files: names })?)?;
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
        // All of these are there before the first gets its name: a full disk leaves the old ones.
        let mut outputs = Vec::with_capacity(last.len());
        for (name, bytes) in last {
            let mut output = Output::create(&self.path.join(name))?;
            output.writer().write_all(bytes)?;
            outputs.push(output);
        }
        outputs.into_iter().try_for_each(Output::finish)
    }
}

/// What is read of a list.
#[derive(Default, Serialize, Deserialize)]
struct Unfinished {
    files: BTreeSet<String>,
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut output = Output::create(path)?;
    output.writer().write_all(bytes)?;
    output.finish()
}

/// The files that earlier runs have left, by their own lists; `None` when there was none.
fn earlier(path: &Path) -> Option<BTreeSet<String>> {
    let read = |name: &str| {
        let file = File::open(path.join(name)).ok()?;
        serde_json::from_reader::<_, Unfinished>(file.take(MAX_MANIFEST)).ok()
    };
    let (list, unfinished) = (read(LIST), read(UNFINISHED));
    if list.is_none() && unfinished.is_none() {
        return None;
    }
    // A list that is not ours names no files elsewhere.
    let is_inside = |name: &String| {
        Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    let all = list.into_iter().chain(unfinished).flat_map(|list| list.files);
    Some(all.filter(is_inside).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::manifest::{Code, FORMAT, Manifest, Page, Root};

    fn manifest(files: &[&str]) -> Vec<u8> {
        let code = Code { file: "code".into(), size: 1 };
        let root = Root { size: 0, chunk: 1, chunks: Vec::new(), first: Vec::new() };
        let page = Page { title: "t".into(), args: Vec::new(), net: None, ports: Vec::new(), fixed: false };
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
        let mut spool = Spool::new(crate::pack::output::directory(path))?;
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
        let check = |path: &Path| Directory::check(path).map(drop).map_err(|e| e.to_string());
        assert_eq!(check(dir.path()), Ok(()));
        assert_eq!(check(&dir.path().join("new")), Ok(()));
        assert!(check(&dir.path().join("no/such")).unwrap_err().contains("its directory cannot be used"));
        fs::write(dir.path().join("image.json"), "{}").unwrap();
        assert!(check(dir.path()).unwrap_err().contains("has not made"));
        assert!(check(&dir.path().join("image.json")).unwrap_err().contains("no directory"));
        let list = manifest(&["a", "../b", "/c", "d/e"]);
        fs::write(dir.path().join("image.json"), list).unwrap();
        assert_eq!(check(dir.path()), Ok(()));
        let names: Vec<String> = earlier(dir.path()).unwrap().into_iter().collect();
        assert_eq!(names, ["a", "d/e"], "files elsewhere are nobody's");
    }

    #[test]
    fn a_run_that_was_killed_is_cleaned_up_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let web = dir.path().join("web");
        fs::create_dir_all(web.join("a")).unwrap();
        fs::write(web.join("a/x"), "1").unwrap();
        let files = BTreeSet::from(["a/x".to_string(), "a/never".to_string()]);
        fs::write(web.join(UNFINISHED), serde_json::to_vec(&Unfinished { files }).unwrap()).unwrap();
        publish(&web, &[("b", "2")]).unwrap();
        assert_eq!(tree(&web), ["b", "image.json"]);
    }
}
