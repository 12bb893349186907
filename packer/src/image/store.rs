//! Where the blobs of an image come from: an OCI layout in a directory, an archive, skopeo's `dir:`, or (in
//! [`registry`](super::registry)) a registry.

use super::{
    ImageError, LoadOptions, Progress,
    error::show,
    oci::spec::Descriptor,
    stream::{self, Codec, Hasher, Unpacked},
    tar::{Archive, EntryKind},
    tree::components,
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Most files in an image archive: an image has a few dozens.
const MAX_PARTS: usize = 100_000;

/// Opens blobs by their descriptors. Their contents are not verified yet.
pub(crate) trait Store {
    /// Opens a blob; `manifest` tells image indexes and manifests from other blobs. Errors name `place`.
    fn blob(
        &mut self,
        descriptor: &Descriptor,
        manifest: bool,
        place: &str,
        progress: &mut dyn Progress,
    ) -> Result<Box<dyn Read + '_>, ImageError>;

    /// Whether a blob is there, without reading it; `None` when only a request for it could tell.
    fn has(&self, descriptor: &Descriptor, manifest: bool) -> Option<bool>;

    /// Opens a file of a layout by its name, if it is there.
    fn file(&mut self, name: &str) -> Result<Option<Box<dyn Read + '_>>, ImageError>;
}

/// The path of a blob in a layout (OCI image-spec, *image-layout.md*); the digest must have been checked for
/// its form.
fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

fn missing(place: &str, digest: &str) -> ImageError {
    ImageError::Missing {
        place: place.into(),
        problem: format!("blob {digest} is missing: the image is incomplete; export it again"),
    }
}

/// A layout in a directory.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(path: PathBuf) -> Self {
        Directory(path)
    }
}

/// Opens a file, if it is there.
fn open(path: PathBuf) -> Result<Option<Box<dyn Read>>, ImageError> {
    match File::open(&path) {
        Ok(file) => Ok(Some(Box::new(file))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ImageError::Io { action: "cannot be opened", path, source }),
    }
}

impl Store for Directory {
    fn blob(
        &mut self,
        descriptor: &Descriptor,
        _: bool,
        place: &str,
        _: &mut dyn Progress,
    ) -> Result<Box<dyn Read + '_>, ImageError> {
        self.file(&blob_path(&descriptor.digest))?.ok_or_else(|| missing(place, &descriptor.digest))
    }

    fn has(&self, descriptor: &Descriptor, _: bool) -> Option<bool> {
        let well_formed = Hasher::of(&descriptor.digest).is_some();
        Some(well_formed && self.0.join(blob_path(&descriptor.digest)).is_file())
    }

    fn file(&mut self, name: &str) -> Result<Option<Box<dyn Read + '_>>, ImageError> {
        open(self.0.join(name))
    }
}

/// What skopeo's `dir:` and `podman save --format docker-dir` write: `manifest.json`, `version`, and blobs
/// named by the digits of their digests (containers/image, *directory_transport.go*).
pub(crate) struct Transport(PathBuf);

/// How its file `version` begins.
const VERSION: &[u8] = b"Directory Transport Version: ";

impl Transport {
    /// Whether a directory is one.
    pub(crate) fn is_at(dir: &Path) -> bool {
        let mut start = Vec::new();
        let version = File::open(dir.join("version"));
        let read = version.and_then(|file| file.take(VERSION.len() as u64).read_to_end(&mut start));
        read.is_ok() && start == VERSION && dir.join("manifest.json").is_file()
    }

    pub(crate) fn new(path: PathBuf) -> Self {
        Transport(path)
    }

    /// Where the blob may be; the digest must have been checked for its form.
    fn paths(&self, digest: &str, manifest: bool) -> impl Iterator<Item = PathBuf> {
        let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
        let of_manifest = manifest.then(|| format!("{hex}.manifest.json"));
        let names = of_manifest.into_iter().chain([hex.to_owned(), digest.replacen(':', "-", 1)]);
        names.map(|name| self.0.join(name)).filter(|path| path.is_file())
    }
}

impl Store for Transport {
    fn blob(
        &mut self,
        descriptor: &Descriptor,
        manifest: bool,
        place: &str,
        _: &mut dyn Progress,
    ) -> Result<Box<dyn Read + '_>, ImageError> {
        let path = self.paths(&descriptor.digest, manifest).next();
        let file = path.map(open).transpose()?.flatten();
        file.ok_or_else(|| missing(place, &descriptor.digest))
    }

    fn has(&self, descriptor: &Descriptor, manifest: bool) -> Option<bool> {
        let well_formed = Hasher::of(&descriptor.digest).is_some();
        Some(well_formed && self.paths(&descriptor.digest, manifest).next().is_some())
    }

    fn file(&mut self, name: &str) -> Result<Option<Box<dyn Read + '_>>, ImageError> {
        open(self.0.join(name))
    }
}

enum Part {
    /// Offset and length in the file.
    Data(u64, u64),
    /// Another name.
    Link(String),
}

/// A tar archive whose files can be read in any order.
pub(crate) struct ArchiveFile {
    file: File,
    parts: BTreeMap<String, Part>,
}

fn normal(name: &[u8]) -> String {
    let mut path: Vec<&[u8]> = Vec::new();
    for component in components(name) {
        if component == b".." {
            path.pop();
        } else {
            path.push(component);
        }
    }
    String::from_utf8_lossy(&path.join(&b'/')).into_owned()
}

impl ArchiveFile {
    /// Reads the archive's names. A compressed archive is unpacked to an unlinked file first.
    pub(crate) fn open(path: &Path, place: &str, options: &LoadOptions) -> Result<Self, ImageError> {
        let io = |action| move |source| ImageError::Io { action, path: path.into(), source };
        let mut file = File::open(path).map_err(io("cannot be opened"))?;
        let (codec, reader) = stream::decompress(file.try_clone().map_err(io("cannot be opened"))?)
            .map_err(io("cannot be read"))?;
        if codec == Codec::None {
            drop(reader);
            file.rewind().map_err(io("cannot be read"))?;
        } else {
            let dir = options.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
            file = unpack(Unpacked::new(reader, None, options.limits.archive_bytes()), &dir, path, place)?;
        }
        let clone = file.try_clone().map_err(io("cannot be opened"))?;
        Ok(ArchiveFile { parts: index(clone, place)?, file })
    }

    fn part(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name;
        // Old `docker save` archives link equal layers to each other.
        for _ in 0..8 {
            match self.parts.get(name)? {
                Part::Data(offset, len) => return Some((*offset, *len)),
                Part::Link(target) => name = target,
            }
        }
        None
    }
}

fn unpack(mut reader: impl Read, dir: &Path, path: &Path, place: &str) -> Result<File, ImageError> {
    let spool = |source| ImageError::Spool { dir: dir.into(), source };
    let mut out = tempfile::tempfile_in(dir).map_err(spool)?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        let n = reader.read(&mut buffer).map_err(|source| {
            match source.get_ref().and_then(|e| e.downcast_ref()) {
                Some(stream::TooLong(limit)) => ImageError::Bomb { place: place.into(), limit: *limit },
                None => ImageError::Io { action: "cannot be unpacked", path: path.into(), source },
            }
        })?;
        if n == 0 {
            break;
        }
        out.write_all(&buffer[..n]).map_err(spool)?;
    }
    out.rewind().map_err(spool)?;
    Ok(out)
}

fn index(file: File, place: &str) -> Result<BTreeMap<String, Part>, ImageError> {
    let mut archive = Archive::new(BufReader::with_capacity(1 << 17, file));
    let mut parts = BTreeMap::new();
    while let Some(entry) = archive.next_entry().map_err(|fault| fault.at(place))? {
        let name = normal(&entry.name);
        let part = match entry.kind {
            EntryKind::File { size, sparse: None } => Part::Data(archive.offset(), size),
            EntryKind::Symlink(target) => {
                let mut whole = name.rsplit_once('/').map_or("", |(dir, _)| dir).as_bytes().to_vec();
                whole.push(b'/');
                whole.extend_from_slice(&target);
                Part::Link(normal(&whole))
            }
            EntryKind::Hardlink(target) => Part::Link(normal(&target)),
            EntryKind::Dir => continue,
            _ => {
                return Err(ImageError::Entry {
                    place: place.into(),
                    entry: show(&entry.name),
                    problem: "does not belong into an image archive".into(),
                });
            }
        };
        parts.insert(name, part);
        if parts.len() > MAX_PARTS {
            return Err(ImageError::TooMany { place: place.into(), limit: MAX_PARTS });
        }
    }
    Ok(parts)
}

struct Slice<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let n = self.file.read_at(&mut out[..want], self.offset)?;
        self.offset += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

impl Store for ArchiveFile {
    fn blob(
        &mut self,
        descriptor: &Descriptor,
        _: bool,
        place: &str,
        _: &mut dyn Progress,
    ) -> Result<Box<dyn Read + '_>, ImageError> {
        self.file(&blob_path(&descriptor.digest))?.ok_or_else(|| missing(place, &descriptor.digest))
    }

    fn has(&self, descriptor: &Descriptor, _: bool) -> Option<bool> {
        Some(self.part(&blob_path(&descriptor.digest)).is_some())
    }

    fn file(&mut self, name: &str) -> Result<Option<Box<dyn Read + '_>>, ImageError> {
        let Some((offset, left)) = self.part(&normal(name.as_bytes())) else { return Ok(None) };
        Ok(Some(Box::new(Slice { file: &self.file, offset, left })))
    }
}
