//! Plain root file systems: a tar archive, or a directory of the host with its owners, modes and attributes
//! as they are.

use super::{
    ImageError, Limits, LoadOptions, LoadedImage, Progress, Tree, Xattr,
    layer::{Builder, Refusal},
    loaded::{self, LoadedParts},
    oci::spec::ImageFile,
    stream::{self, Hasher, Stored, Unpacked},
    tar::{Archive, Fault},
    tree::{Extent, InodeId, Kind, Meta, Mtime},
};
use rustix::{
    fs::{self as sys, FileType},
    io::Errno,
};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::{CStr, OsStr},
    fs::{self, File},
    io::{self, Read},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

fn plain(name: String, digest: String, archive_bytes: u64) -> LoadedParts {
    let image = ImageFile::plain();
    LoadedParts { name, digest, image, claimed: None, layers: 1, archive_bytes }
}

/// Loads a root file system archive; its digest is the unpacked archive's.
pub(crate) fn load_tar(
    name: String,
    path: &Path,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<LoadedImage, ImageError> {
    let io = |source| ImageError::Io { action: "cannot be read", path: path.into(), source };
    let file = File::open(path).map_err(io)?;
    progress.stage("root file system", Some(file.metadata().map_err(io)?.len()));
    let stored = Stored::new(Box::new(file), None, progress);
    let mut builder = Builder::new(Tree::new(options.spool_dir.as_deref())?, options.limits);
    let (_, reader) = stream::decompress(stored.clone()).map_err(io)?;
    let hasher = Hasher::of(&format!("sha256:{}", "0".repeat(64)));
    let mut archive = Archive::new(Unpacked::new(reader, hasher, options.limits.archive_bytes()));
    builder.apply(&mut archive, &name, false)?;
    let offset = archive.offset();
    if !archive.ended_by_mark() {
        // A bare archive has no digest: only its end mark shows that it is whole.
        let problem =
            "the archive is truncated: it ends without its end mark of zero blocks; fetch or make it again";
        return Err(ImageError::Archive { place: name, offset, problem: problem.into() });
    }
    let hasher = archive.into_inner().finish().map_err(|e| Fault::Io(offset, e).at(&name))?;
    let digest = hasher.map(Hasher::finish).unwrap_or_default();
    let (bytes, _) = stored.finish().map_err(io)?;
    loaded::finish(builder, plain(name, digest, bytes), options)
}

/// Reads a directory of the host.
struct Walk<'a> {
    builder: Builder,
    name: String,
    limits: Limits,
    /// Inodes with several names, by device and number.
    linked: HashMap<(u64, u64), InodeId>,
    metadata: u64,
    buffer: Vec<u8>,
    progress: &'a mut dyn Progress,
}

/// Loads a root file system from a directory; its digest is the tree's.
pub(crate) fn load_dir(
    name: String,
    path: &Path,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<LoadedImage, ImageError> {
    progress.stage("root file system", None);
    let builder = Builder::new(Tree::new(options.spool_dir.as_deref())?, options.limits);
    let mut walk = Walk {
        builder,
        name: name.clone(),
        limits: options.limits,
        linked: HashMap::new(),
        metadata: 0,
        buffer: vec![0; 1 << 17],
        progress,
    };
    walk.run(path)?;
    let mut builder = walk.builder;
    builder.tree.spool().flush()?;
    let dir = options.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
    let digest = builder.tree.digest().map_err(|source| ImageError::Spool { dir, source })?;
    let bytes = builder.tree.file_bytes();
    loaded::finish(builder, plain(name, digest, bytes), options)
}

fn failed<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io {
        action: "cannot be read (a root file system needs a reader who may read all of it: try as root, or make a tar)",
        path,
        source: source.into(),
    }
}

fn meta(stat: &fs::Metadata) -> Meta {
    Meta {
        mode: (stat.mode() & 0o7777) as u16,
        uid: stat.uid(),
        gid: stat.gid(),
        mtime: Mtime { secs: stat.mtime(), nanos: stat.mtime_nsec().clamp(0, 999_999_999) as u32 },
    }
}

/// Reads a list or value whose size is unknown and may change.
fn grow(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 1024];
    loop {
        match read(&mut buffer) {
            Ok(n) => {
                buffer.truncate(n);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            // File systems without attributes.
            Err(Errno::NOTSUP | Errno::NODATA) => return Ok(Vec::new()),
            Err(e) => return Err(e),
        }
    }
}

fn xattrs(path: &Path) -> Result<Vec<Xattr>, Errno> {
    let list = grow(|buffer| sys::llistxattr(path, buffer))?;
    let mut found = Vec::new();
    for name in list.split_inclusive(|&b| b == 0).filter_map(|n| CStr::from_bytes_with_nul(n).ok()) {
        let value = grow(|buffer| sys::lgetxattr(path, name, buffer))?;
        found.push(Xattr { name: name.to_bytes().into(), value: value.into() });
    }
    found.sort();
    Ok(found)
}

impl Walk<'_> {
    fn run(&mut self, top: &Path) -> Result<(), ImageError> {
        let stat = fs::metadata(top).map_err(failed(top))?;
        let root = self.builder.tree.root();
        let attributes = self.attributes(&top.join("."))?;
        let node = self.builder.tree.inode_mut(root);
        (node.meta, node.xattrs) = (meta(&stat), attributes);
        let mut todo: Vec<(PathBuf, InodeId)> = vec![(top.to_owned(), root)];
        while let Some((dir, parent)) = todo.pop() {
            let mut names = Vec::new();
            for entry in fs::read_dir(&dir).map_err(failed(&dir))? {
                names.push(entry.map_err(failed(&dir))?.file_name().into_vec());
            }
            names.sort();
            for name in names {
                let path = dir.join(OsStr::from_bytes(&name));
                let id = self.add(&path)?;
                self.builder.tree.link(parent, &name, id, 0);
                if self.builder.tree.entries(id).is_some() {
                    todo.push((path, id));
                }
            }
        }
        Ok(())
    }

    fn attributes(&mut self, path: &Path) -> Result<Box<[Xattr]>, ImageError> {
        let found = xattrs(path).map_err(failed(path))?;
        let size: usize = found.iter().map(|x| x.name.len() + x.value.len()).sum();
        self.metadata += (path.as_os_str().len() + size) as u64;
        let full = self.builder.tree.capacity() >= self.limits.entries;
        if full || self.metadata > self.limits.metadata_bytes.saturating_mul(4) {
            return Err(ImageError::TooMany { place: self.name.clone(), limit: self.limits.entries });
        }
        Ok(self.builder.xattrs(found, path.as_os_str().as_bytes()))
    }

    /// Makes an inode of the file at `path`, or finds the inode that the path is another name of.
    fn add(&mut self, path: &Path) -> Result<InodeId, ImageError> {
        let stat = fs::symlink_metadata(path).map_err(failed(path))?;
        let key = (stat.dev(), stat.ino());
        if let Some(&id) = self.linked.get(&key) {
            return Ok(id);
        }
        let attributes = self.attributes(path)?;
        let device = (sys::major(stat.rdev()), sys::minor(stat.rdev()));
        let kind = match FileType::from_raw_mode(stat.mode()) {
            FileType::Directory => Kind::Dir(BTreeMap::new()),
            FileType::RegularFile => self.file(path)?,
            FileType::Symlink => {
                let target = fs::read_link(path).map_err(failed(path))?;
                Kind::Symlink(target.into_os_string().into_vec().into())
            }
            FileType::CharacterDevice => Kind::Char(device.0, device.1),
            FileType::BlockDevice => Kind::Block(device.0, device.1),
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::Unknown => {
                return Err(ImageError::Entry {
                    place: self.name.clone(),
                    entry: path.display().to_string(),
                    problem: "its kind of file is unknown".into(),
                });
            }
        };
        let dir = matches!(kind, Kind::Dir(_));
        let id = self.builder.tree.add(meta(&stat), attributes, kind);
        if !dir && stat.nlink() > 1 {
            self.linked.insert(key, id);
        }
        Ok(id)
    }

    /// Copies a file to the spool. Its size is the number of bytes read, in case it changes meanwhile.
    fn file(&mut self, path: &Path) -> Result<Kind, ImageError> {
        // The file may have been replaced since: a pipe must not block, and a link is not followed.
        let flags =
            sys::OFlags::RDONLY | sys::OFlags::NOFOLLOW | sys::OFlags::NONBLOCK | sys::OFlags::CLOEXEC;
        let mut file = File::from(sys::open(path, flags, sys::Mode::empty()).map_err(failed(path))?);
        let told = file.metadata().map_err(failed(path))?.len();
        self.room(path, told)?;
        let spool = self.builder.tree.spool().len();
        let mut size = 0;
        loop {
            let n = file.read(&mut self.buffer).map_err(failed(path))?;
            if n == 0 {
                break;
            }
            size += n as u64;
            self.room(path, size)?;
            self.builder.tree.spool().append(&self.buffer[..n])?;
            self.progress.advance(n as u64);
        }
        let extents = if size > 0 { vec![Extent { at: 0, spool, len: size }] } else { Vec::new() };
        Ok(Kind::File { size, extents: extents.into() })
    }

    fn room(&self, path: &Path, size: u64) -> Result<(), ImageError> {
        self.builder.room(size).map_err(|refusal| ImageError::TooLarge {
            place: self.name.clone(),
            entry: path.display().to_string(),
            bytes: if let Refusal::TooLarge(bytes) = refusal { bytes } else { size },
            limit: self.limits.total_bytes,
        })
    }
}
