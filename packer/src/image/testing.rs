//! Small archives and images for tests, made in memory.

use super::{LoadOptions, LoadedImage, Tree, load, stream};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};
use tar::{Builder, EntryType, Header};

/// An archive under construction.
pub(crate) struct Tar(Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Tar(Builder::new(Vec::new()))
    }

    fn header(kind: EntryType, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(1_700_000_000);
        header.set_size(0);
        header
    }

    /// Writes the name into the header as it stands: the crate's own setter refuses hostile ones.
    fn raw(mut self, mut header: Header, name: &str, link: &str, data: &[u8]) -> Self {
        let field = &mut header.as_mut_bytes()[..100];
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.raw(Self::header(EntryType::Regular, 0o644), name, "", data)
    }

    pub(crate) fn program(self, name: &str, data: &[u8]) -> Self {
        self.raw(Self::header(EntryType::Regular, 0o4755), name, "", data)
    }

    pub(crate) fn dir(self, name: &str, mode: u32) -> Self {
        self.raw(Self::header(EntryType::Directory, mode), name, "", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(Self::header(EntryType::Symlink, 0o777), name, target, b"")
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.raw(Self::header(EntryType::Link, 0o644), name, target, b"")
    }

    pub(crate) fn device(self, name: &str, kind: EntryType, major: u32, minor: u32) -> Self {
        let mut header = Self::header(kind, 0o660);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self.raw(header, name, "", b"")
    }

    /// An entry of any type flag, with mode, owner, group and time.
    pub(crate) fn described(
        self,
        name: &str,
        flag: u8,
        link: &str,
        data: &[u8],
        (mode, (uid, gid), mtime): (u32, (u64, u64), u64),
    ) -> Self {
        let mut header = Self::header(EntryType::new(flag), mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_mtime(mtime);
        self.raw(header, name, link, data)
    }

    /// An entry of any type flag, with data.
    pub(crate) fn typed(self, name: &str, flag: u8, data: &[u8]) -> Self {
        self.raw(Self::header(EntryType::new(flag), 0o644), name, "", data)
    }

    /// PAX records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut len = rest + 1;
            while len != rest + len.to_string().len() {
                len += 1;
            }
            body.extend_from_slice(format!("{len} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.typed("pax", b'x', &body)
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// The first bytes of a program for a machine (`e_machine`), 64-bit and little-endian.
pub(crate) fn elf(machine: u16) -> Vec<u8> {
    let mut out = vec![0; 64];
    out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    out[16] = 2;
    out[18..20].copy_from_slice(&machine.to_le_bytes());
    out[20] = 1;
    out
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

pub(crate) fn sha256(data: &[u8]) -> String {
    stream::hex_digest("sha256", &Sha256::digest(data))
}

/// An OCI layout in a temporary directory.
pub(crate) struct OciLayout {
    pub(crate) dir: tempfile::TempDir,
    manifests: Vec<serde_json::Value>,
}

impl OciLayout {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        OciLayout { dir, manifests: Vec::new() }
    }

    pub(crate) fn blob_file(&self, digest: &str) -> PathBuf {
        self.dir.path().join("blobs").join(digest.replace(':', "/"))
    }

    pub(crate) fn blob(&self, media_type: &str, data: &[u8]) -> serde_json::Value {
        let digest = sha256(data);
        fs::write(self.blob_file(&digest), data).unwrap();
        serde_json::json!({ "mediaType": media_type, "digest": digest, "size": data.len() })
    }

    /// Adds an image of layers, each unpacked and as stored; gives its manifest's descriptor.
    pub(crate) fn image(
        &mut self,
        arch: &str,
        tag: Option<&str>,
        settings: serde_json::Value,
        layers: &[(Vec<u8>, Vec<u8>)],
    ) -> serde_json::Value {
        let diff_ids: Vec<String> = layers.iter().map(|(tar, _)| sha256(tar)).collect();
        let config = serde_json::json!({
            "architecture": arch, "os": "linux", "config": settings,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let layers: Vec<_> =
            layers.iter().map(|(_, s)| self.blob("application/vnd.oci.image.layer.v1.tar+gzip", s)).collect();
        let manifest = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers });
        let mut descriptor =
            self.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        descriptor["platform"] = serde_json::json!({ "os": "linux", "architecture": arch });
        if let Some(tag) = tag {
            descriptor["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": tag });
        }
        self.manifests.push(descriptor.clone());
        self.write_index();
        descriptor
    }

    fn write_index(&self) {
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": self.manifests });
        fs::write(self.dir.path().join("index.json"), index.to_string()).unwrap();
    }

    pub(crate) fn name(&self) -> String {
        format!("oci:{}", self.dir.path().display())
    }
}

/// Lays archives over each other as layers.
pub(crate) fn layers(tars: &[Vec<u8>]) -> LoadedImage {
    try_layers(tars).unwrap()
}

pub(crate) fn try_layers(tars: &[Vec<u8>]) -> Result<LoadedImage, super::ImageError> {
    let mut layout = OciLayout::new();
    let stored: Vec<_> = tars.iter().map(|t| (t.clone(), t.clone())).collect();
    layout.image("riscv64", None, serde_json::json!({}), &stored);
    load(&layout.name(), &LoadOptions::default(), &mut ())
}

/// Writes a file that lives as long as the directory returned.
pub(crate) fn on_disk(name: &str, data: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, data).unwrap();
    let name = path.display().to_string();
    (dir, name)
}

pub(crate) fn content(tree: &Tree, path: &str) -> Vec<u8> {
    let id = tree.lookup(path.as_bytes()).unwrap_or_else(|| panic!("{path} is missing"));
    let super::Kind::File { size, .. } = tree.inode(id).kind else { panic!("{path} is no file") };
    let mut data = vec![0xaa; size as usize];
    tree.read_at(id, 0, &mut data).unwrap();
    data
}

/// All paths of a tree in order.
pub(crate) fn paths(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![(String::new(), tree.root())];
    while let Some((path, id)) = todo.pop() {
        for (name, d) in tree.entries(id).into_iter().flatten().rev() {
            todo.push((format!("{path}/{}", String::from_utf8_lossy(name)), d.inode));
        }
        if !path.is_empty() {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Packs a directory as an archive, as `tar -C DIR -c .` would.
pub(crate) fn pack_dir(dir: &Path) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder.append_dir_all(".", dir).unwrap();
    builder.into_inner().unwrap()
}
