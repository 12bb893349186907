//! Caches between runs: where they are, how their files are written and read, and a store of values by key.
//!
//! A cache never makes anything fail: a file that cannot be read or is damaged is a miss, and a file that
//! cannot be written is not cached.

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::pack::compiled::fold;

/// The directory of all caches: `FORELIFT_CACHE`, else `forelift` in the user's cache directory.
pub fn default_dir() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    let dir = |name| var(name).filter(|path| path.is_absolute());
    var("FORELIFT_CACHE").or_else(|| {
        Some(dir("XDG_CACHE_HOME").or_else(|| Some(dir("HOME")?.join(".cache")))?.join("forelift"))
    })
}

/// Opens a file that only this user can have written.
pub(crate) fn open_own(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    // SAFETY: a system call without side effects.
    let user = unsafe { libc::geteuid() };
    (meta.uid() == user && meta.mode() & 0o022 == 0 && meta.is_file()).then_some(file)
}

/// Writes `parts` to a file that only this user may read or write, and makes its directories. The file
/// appears whole or not at all.
pub(crate) fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Mode 0600, and removed by its destructor if anything fails.
    let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(dir)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.persist(path)?;
    Ok(())
}

/// A digest of everything that a value depends on.
pub type Key = [u8; 32];

/// Values by key. A value may be evicted at any time, but a value that is found is the one that was put.
pub trait Store: Sync {
    /// The value of `key`.
    fn get(&self, key: &Key) -> Option<Vec<u8>>;
    /// Keeps `value` for `key`.
    fn put(&self, key: &Key, value: &[u8]);
}

/// A [`Store`] in a directory that any number of processes share: one file per value, in sixteen directories
/// by the first digit of the key. The least recently used values are evicted when it gets too large.
pub struct Directory {
    dir: PathBuf,
    limit: u64,
    /// Bit N: something was put into directory N.
    written: AtomicU32,
    problem: OnceLock<String>,
}

/// Bytes on disk that a [`Directory`] takes by default, approximately.
pub const DEFAULT_LIMIT: u64 = 1 << 30;
const SHARDS: u64 = 16;
/// Directories that are trimmed at the end of a use. Few, so that a full cache does not slow a run down.
const TRIMMED_AT_ONCE: usize = 2;
/// A file's time of last use is updated when it is older than this.
const NOTED_AFTER: Duration = Duration::from_secs(3600);
const MAGIC: [u8; 8] = *b"FLcache1";

impl Directory {
    /// The store in `dir`, of about `limit` bytes. The directory is made when something is put.
    pub fn new(dir: PathBuf, limit: u64) -> Self {
        Directory { dir, limit, written: AtomicU32::new(0), problem: OnceLock::new() }
    }

    /// The first failure to write, if any.
    pub fn problem(&self) -> Option<&str> {
        self.problem.get().map(String::as_str)
    }

    fn shard(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:x}"))
    }

    fn path(&self, key: &Key) -> PathBuf {
        let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.shard(u64::from(key[0] >> 4)).join(&name[1..])
    }

    /// Covers the contents and the key, so that a file under a wrong name counts as damaged.
    fn checksum(key: &Key, value: &[u8]) -> [u8; 8] {
        let mut sum = fold(value).to_le_bytes();
        sum.iter_mut().zip(key).for_each(|(a, b)| *a ^= b);
        sum
    }

    /// Evicts values until the store fits its limit.
    pub fn trim(&self) {
        (0..SHARDS).for_each(|number| self.trim_shard(number));
    }

    /// Removes the least recently used files, down to nine tenths of the limit: so not every use has to.
    fn trim_shard(&self, number: u64) {
        let limit = self.limit / SHARDS;
        let Ok(entries) = fs::read_dir(self.shard(number)) else { return };
        let now = SystemTime::now();
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let meta = entry.metadata().ok()?;
                let modified = meta.modified().ok()?;
                // A temporary file of a writer. An old one was left by a writer that was killed.
                let unfinished = entry.file_name().as_encoded_bytes().starts_with(b".")
                    && now.duration_since(modified).ok().is_none_or(|ago| ago < NOTED_AFTER);
                (!unfinished).then(|| (modified, meta.blocks() * 512, entry.path()))
            })
            .collect();
        let mut total: u64 = files.iter().map(|file| file.1).sum();
        if total <= limit {
            return;
        }
        files.sort();
        for (_, bytes, path) in files {
            if total <= limit / 10 * 9 {
                break;
            }
            // Another process may have removed it.
            let _ = fs::remove_file(path);
            total -= bytes;
        }
    }
}

impl Store for Directory {
    fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let mut file = open_own(&self.path(key))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let value = bytes.strip_prefix(&MAGIC)?;
        let (sum, value) = value.split_first_chunk::<8>()?;
        if *sum != Self::checksum(key, value) {
            return None;
        }
        let now = SystemTime::now();
        let used = file.metadata().and_then(|meta| meta.modified()).unwrap_or(now);
        if now.duration_since(used).is_ok_and(|ago| ago > NOTED_AFTER) {
            // If this fails, the file is evicted a little earlier.
            let _ = file.set_modified(now);
        }
        bytes.drain(..MAGIC.len() + 8);
        Some(bytes)
    }

    fn put(&self, key: &Key, value: &[u8]) {
        match replace(&self.path(key), &[&MAGIC, &Self::checksum(key, value), value]) {
            Ok(()) => {
                self.written.fetch_or(1 << (key[0] >> 4), Ordering::Relaxed);
            }
            Err(e) => {
                self.problem.get_or_init(|| format!("{}: {e}: nothing is cached there", self.dir.display()));
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let written = self.written.load(Ordering::Relaxed);
        // A different one first each time, so that all directories are trimmed in turn.
        let first = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| u64::from(time.subsec_micros()));
        let shards = (0..SHARDS).map(|n| (first + n) % SHARDS).filter(|n| written >> n & 1 != 0);
        shards.take(TRIMMED_AT_ONCE).for_each(|number| self.trim_shard(number));
    }
}
