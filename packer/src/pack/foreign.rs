//! Recognises files that are no images, by name and first bytes, so that the error says what to do instead.

use std::{
    fmt,
    fs::{self, FileType},
    os::unix::fs::FileTypeExt,
    path::Path,
};

use super::compiled;
use crate::image::reference::{self, Source};

/// What was given instead of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A directory with a container image in it.
    OciLayout,
    /// Another directory.
    Directory,
    /// No file that can be mapped: a pipe, a device, a socket.
    Special(&'static str),
    /// A file without content.
    Empty,
    /// A tar archive of a container image.
    ImageArchive,
    /// Another tar archive.
    Archive,
    /// A compressed file.
    Compressed(&'static str),
    /// A file of another kind.
    Kind(&'static str),
    /// The beginning of an image.
    CutOff,
    /// A component.
    Component,
    /// WebAssembly in a binary format of this version.
    WasmVersion(u16),
    /// A WebAssembly module without what an image has.
    Module(&'static str),
    /// Nothing that is known here.
    Unknown,
}

/// First bytes of files that people mistake for images.
const MAGIC: [(&[u8], Foreign); 10] = [
    (b"\x7fELF", Foreign::Kind("an ELF file, a program or native code of another tool")),
    (b"#!", Foreign::Kind("a script")),
    (b"\x1f\x8b", Foreign::Compressed("gzip")),
    (b"\x28\xb5\x2f\xfd", Foreign::Compressed("zstd")),
    (b"\xfd7zXZ\0", Foreign::Compressed("xz")),
    (b"BZh", Foreign::Compressed("bzip2")),
    (b"PK\x03\x04", Foreign::Kind("a zip archive")),
    (b"!<arch>\n", Foreign::Kind("an ar archive or a Debian package")),
    (b"hsqs", Foreign::Kind("a squashfs file system")),
    (b"MZ", Foreign::Kind("a program for Windows or EFI")),
];

/// Magic numbers that are not at the beginning: of a tar archive (POSIX `ustar`), and of EROFS (Linux,
/// fs/erofs/erofs_fs.h).
const TAR: (usize, &[u8]) = (257, b"ustar");
const EROFS: (usize, &[u8]) = (1024, b"\xe2\xe1\xf5\xe0");

/// Transports of image names, as `forelift convert` takes them.
const TRANSPORTS: [&str; 6] = ["docker:", "oci:", "oci-archive:", "docker-archive:", "dir:", "tar:"];

/// Whether this can only be the name of a container image.
pub fn is_image_name(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    TRANSPORTS.iter().any(|transport| name.starts_with(transport.as_bytes()))
}

impl Foreign {
    /// Classifies a file that is not a regular one.
    pub(super) fn of_type(path: &Path, kind: FileType) -> Self {
        match kind {
            _ if kind.is_dir() && fs::exists(path.join("oci-layout")).unwrap_or(false) => Foreign::OciLayout,
            _ if kind.is_dir() => Foreign::Directory,
            _ if kind.is_fifo() => Foreign::Special("a pipe"),
            _ if kind.is_socket() => Foreign::Special("a socket"),
            _ => Foreign::Special("a device"),
        }
    }

    /// Classifies the file at `path` with the contents `bytes`, which are neither a core module nor a
    /// precompiled image.
    pub(super) fn of_content(path: &Path, bytes: &[u8]) -> Self {
        let has = |(at, magic): (usize, &[u8])| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
        let begins = |magic: &[u8]| magic.starts_with(bytes) && bytes.len() < magic.len();
        match bytes {
            [] => Foreign::Empty,
            [0, b'a', b's', b'm', version @ .., _, _] if version.len() >= 2 => Foreign::of_version(bytes),
            _ if begins(b"\0asm\x01\0\0\0") || begins(&compiled::MAGIC) => Foreign::CutOff,
            _ if has(TAR) => Foreign::of_archive(path),
            _ if has(EROFS) => Foreign::Kind("an EROFS file system"),
            _ => match MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
                Some((_, kind)) => *kind,
                None if is_text(bytes) => Foreign::Kind("a text file"),
                None => Foreign::Unknown,
            },
        }
    }

    /// A version and a layer: 0 for modules, 1 for components (component-model, *Binary.md*).
    fn of_version(bytes: &[u8]) -> Self {
        match (bytes[6], u16::from_le_bytes([bytes[4], bytes[5]])) {
            (0, version) => Foreign::WasmVersion(version),
            (1, _) => Foreign::Component,
            _ => Foreign::Unknown,
        }
    }

    fn of_archive(path: &Path) -> Self {
        // The absolute path: no transport can be read into it.
        let name = path.canonicalize().unwrap_or_default();
        match name.to_str().map(reference::parse) {
            Some(Ok(Source::OciArchive { .. } | Source::DockerArchive { .. })) => Foreign::ImageArchive,
            _ => Foreign::Archive,
        }
    }
}

/// Whether the first bytes look like text: UTF-8 without control characters.
fn is_text(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(4096)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character may be cut off.
        Err(e) if e.error_len().is_none() && head.len() < bytes.len() => {
            std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !c.is_whitespace() && c != '\x1b')
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CONVERT: &str = "convert it first, with `forelift convert`";
        const GIVE: &str = "give a file that `forelift convert` made";
        match self {
            Foreign::OciLayout => write!(f, "this is an image in OCI layout: {CONVERT}"),
            Foreign::Directory => write!(f, "this is a directory: {GIVE}"),
            Foreign::Special(what) => write!(f, "this is {what}: {GIVE}"),
            Foreign::Empty => write!(f, "the file is empty: convert the image again"),
            Foreign::ImageArchive => write!(f, "this is an image archive: {CONVERT}"),
            Foreign::Archive => {
                write!(f, "this is a tar archive: if it holds an image or a root file system, {CONVERT}")
            }
            Foreign::Compressed(how) => {
                write!(f, "this file is compressed ({how}): if it is an image archive, {CONVERT}")
            }
            Foreign::Kind(what) => write!(f, "this is {what}: {GIVE}"),
            Foreign::CutOff => write!(f, "the file is cut off near its beginning: convert the image again"),
            Foreign::Component => {
                write!(
                    f,
                    "this is a WebAssembly component of another program, or one that is damaged or was cut off: {GIVE}"
                )
            }
            Foreign::WasmVersion(version) => {
                write!(
                    f,
                    "this is WebAssembly of version {version}, which is damaged or unknown here: {GIVE}"
                )
            }
            Foreign::Module(why) => {
                write!(f, "this is a WebAssembly module, but no Forelift image ({why}): {GIVE}")
            }
            Foreign::Unknown => write!(f, "this is no WebAssembly module: {GIVE}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tar:odd name");
        let tar = |names: &[&str]| {
            let mut builder = tar::Builder::new(Vec::new());
            for name in names {
                let mut header = tar::Header::new_ustar();
                header.set_size(3);
                builder.append_data(&mut header, name, &b"abc"[..]).unwrap();
            }
            builder.into_inner().unwrap()
        };
        let erofs = [&[0; 1024][..], b"\xe2\xe1\xf5\xe0", &[0; 1024]].concat();
        let text = "grüße\n".repeat(1000).into_bytes();
        for (bytes, kind) in [
            (b"".to_vec(), "empty"),
            (b"\0as".to_vec(), "cut off"),
            (b"\0asm\x01\0\0".to_vec(), "cut off"),
            (b"\x7fFLCW".to_vec(), "cut off"),
            (b"\0asm\x0d\0\x01\0".to_vec(), "component"),
            (b"\0asm\x02\0\0\0rest".to_vec(), "version 2"),
            (b"\0asm\x01\0\x07\0".to_vec(), "no WebAssembly"),
            (b"\x7fELF\x02\x01\x01".to_vec(), "ELF"),
            (b"\x1f\x8b\x08".to_vec(), "gzip"),
            (b"\x28\xb5\x2f\xfd....".to_vec(), "zstd"),
            (b"#!/bin/sh\nexec true\n".to_vec(), "script"),
            (text[..4097].to_vec(), "text file"),
            (text, "text file"),
            (b"hello\n".to_vec(), "text file"),
            (b"hello\xff\n".to_vec(), "no WebAssembly module"),
            (b"hello\0\n".to_vec(), "no WebAssembly module"),
            (erofs, "EROFS"),
            (tar(&["oci-layout", "index.json"]), "image archive: convert it first"),
            (tar(&["blobs/sha256/x", "manifest.json"]), "image archive: convert it first"),
            (tar(&["etc/passwd"]), "tar archive"),
        ] {
            fs::write(&path, &bytes).unwrap();
            let text = Foreign::of_content(&path, &bytes).to_string();
            assert!(text.contains(kind), "{kind}: {text}");
        }
    }

    #[test]
    fn image_names_are_no_files() {
        for name in ["docker://debian", "oci:layout:v1", "tar:x", "oci-archive:/x.tar"] {
            assert!(is_image_name(name.as_ref()), "{name}");
        }
        for name in ["debian.wasm", "ocie:x", "./oci:x"] {
            assert!(!is_image_name(name.as_ref()), "{name}");
        }
    }
}
