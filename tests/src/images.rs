//! The images that the tests run, made once: root file system, container image, converted module, native
//! code.

use crate::process::program;
use crate::workspace::{cached, fingerprint, forelift, last_line, product, script, wasmtime};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tar::{EntryType, Header};

/// A container image. Each comes as another kind of archive, so that all are read for real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Busybox alone, `sh` as its command; an OCI layout, gzip.
    Busybox,
    /// Debian trixie, the least of it; an OCI archive, zstd.
    Minbase,
    /// Debian with python3; a docker archive.
    Python3,
    /// Busybox under layers of its own with an unprivileged user, a volume, an entry point that is a script;
    /// an OCI layout with two layers more ([`service_layers`]).
    Service,
    /// Debian with git and databases; an OCI layout.
    Files,
    /// Debian with programs that use a network; an OCI layout.
    Net,
    /// [`Image::Busybox`] for amd64.
    Amd64Busybox,
    /// [`Image::Minbase`] for amd64.
    Amd64Minbase,
    /// [`Image::Python3`] for amd64.
    Amd64Python3,
    /// [`Image::Service`] for amd64.
    Amd64Service,
    /// [`Image::Files`] for amd64.
    Amd64Files,
    /// [`Image::Net`] for amd64.
    Amd64Net,
    /// Debian with redis-server for amd64; an OCI layout, zstd.
    Amd64Redis,
    /// Debian with gcc, gdb, strace, ltrace and git for amd64; an OCI layout.
    Amd64Debug,
    /// [`Image::Busybox`] for 386.
    I386Busybox,
    /// [`Image::Minbase`] for 386.
    I386Minbase,
    /// [`Image::Busybox`] for arm64.
    Arm64Busybox,
    /// [`Image::Minbase`] for arm64.
    Arm64Minbase,
}

impl Image {
    /// All images for riscv64.
    pub const ALL: [Image; 6] =
        [Image::Busybox, Image::Minbase, Image::Python3, Image::Service, Image::Files, Image::Net];

    /// Its name in file names.
    pub fn name(self) -> &'static str {
        match self {
            Image::Busybox => "busybox",
            Image::Minbase => "minbase",
            Image::Python3 => "python3",
            Image::Service => "service",
            Image::Files => "files",
            Image::Net => "net",
            Image::Amd64Busybox => "amd64-busybox",
            Image::Amd64Minbase => "amd64-minbase",
            Image::Amd64Python3 => "amd64-python3",
            Image::Amd64Service => "amd64-service",
            Image::Amd64Files => "amd64-files",
            Image::Amd64Net => "amd64-net",
            Image::Amd64Redis => "amd64-redis",
            Image::Amd64Debug => "amd64-debug",
            Image::I386Busybox => "386-busybox",
            Image::I386Minbase => "386-minbase",
            Image::Arm64Busybox => "arm64-busybox",
            Image::Arm64Minbase => "arm64-minbase",
        }
    }

    /// The same image for amd64.
    pub fn for_amd64(self) -> Self {
        match self {
            Image::Busybox => Image::Amd64Busybox,
            Image::Minbase => Image::Amd64Minbase,
            Image::Python3 => Image::Amd64Python3,
            Image::Service => Image::Amd64Service,
            Image::Files => Image::Amd64Files,
            Image::Net => Image::Amd64Net,
            other => other,
        }
    }

    fn is_service(self) -> bool {
        matches!(self, Image::Service | Image::Amd64Service)
    }

    /// Its architecture, as OCI names it.
    pub fn arch(self) -> &'static str {
        match self {
            Image::Busybox | Image::Minbase | Image::Python3 | Image::Service | Image::Files | Image::Net => {
                "riscv64"
            }
            Image::Amd64Busybox
            | Image::Amd64Minbase
            | Image::Amd64Python3
            | Image::Amd64Service
            | Image::Amd64Files
            | Image::Amd64Net
            | Image::Amd64Redis
            | Image::Amd64Debug => "amd64",
            Image::I386Busybox | Image::I386Minbase => "386",
            Image::Arm64Busybox | Image::Arm64Minbase => "arm64",
        }
    }

    /// The root file system tar of `scripts/rootfs`.
    pub fn rootfs(self) -> PathBuf {
        let name = match self {
            _ if self.is_service() => "busybox",
            _ => self.name().rsplit('-').next().unwrap_or_default(),
        };
        let debian = if self.arch() == "386" { "i386" } else { self.arch() };
        last_line(script("rootfs"), &["--arch".as_ref(), debian.as_ref(), name.as_ref()]).into()
    }

    fn mkimage_options(self) -> &'static [&'static str] {
        match self {
            Image::Busybox | Image::Amd64Busybox | Image::I386Busybox | Image::Arm64Busybox => {
                &["--format", "oci", "--cmd", "sh"]
            }
            Image::Amd64Redis => {
                &["--format", "oci", "--compression", "zstd", "--cmd", "redis-server", "--expose", "6379"]
            }
            Image::Net | Image::Amd64Net => {
                &["--format", "oci", "--compression", "none", "--cmd", "bash", "--expose", "80"]
            }
            Image::Files | Image::Amd64Files | Image::Amd64Debug => {
                &["--format", "oci", "--compression", "none", "--cmd", "bash"]
            }
            Image::Minbase | Image::Amd64Minbase | Image::I386Minbase | Image::Arm64Minbase => {
                &["--format", "oci-archive", "--compression", "zstd", "--cmd", "bash"]
            }
            Image::Python3 | Image::Amd64Python3 => &[
                "--format",
                "docker-archive",
                "--cmd",
                "python3",
                "--env",
                "LANG=C.UTF-8",
                "--tag",
                "test/python3:1",
            ],
            Image::Service | Image::Amd64Service => &[
                "--format",
                "oci",
                "--entrypoint",
                r#"["/srv/app/entry","--from-entrypoint"]"#,
                "--cmd",
                r#"["default","command"]"#,
                "--user",
                "app",
                "--workdir",
                "/srv/app/work",
                "--volume",
                "/data",
                "--env",
                "GREETING=hello from the image",
                "--env",
                "EMPTY=",
                "--expose",
                "8080",
                "--stop-signal",
                "SIGQUIT",
                "--label",
                "org.example.name=service",
            ],
        }
    }

    /// The image's reference for `forelift convert`, with its transport.
    pub fn reference(self) -> String {
        let rootfs = self.rootfs();
        let options = self.mkimage_options();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/images.rs");
        let mkimage = script("mkimage");
        let key = fingerprint(&[&rootfs, &mkimage, &here], options);
        let dir = cached(&format!("image-{}", self.name()), &key, |dir| {
            let mut layers = rootfs.clone().into_os_string();
            if self.is_service() {
                for (number, layer) in service_layers().into_iter().enumerate() {
                    let path = dir.join(format!("layer{number}.tar"));
                    fs::write(&path, layer).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                    layers.push(",");
                    layers.push(path);
                }
            }
            let out = dir.join("image");
            let mut args: Vec<&OsStr> = ["--arch", self.arch()].map(OsStr::new).into();
            args.extend(options.iter().map(OsStr::new));
            args.extend([layers.as_os_str(), out.as_os_str()]);
            last_line(&mkimage, &args);
        });
        let format = options.iter().skip_while(|o| **o != "--format").nth(1);
        let transport = format.expect("every image names its format");
        format!("{transport}:{}", dir.join("image").display())
    }

    fn converted(self, kind: &str, options: &[&str]) -> PathBuf {
        let reference = self.reference();
        let parts = product();
        let parts: Vec<&Path> = parts.iter().map(PathBuf::as_path).collect();
        let mut words = vec![reference.as_str()];
        words.extend(options);
        cached(&format!("{kind}-{}", self.name()), &fingerprint(&parts, &words), |dir| {
            let out = dir.join("image.wasm");
            convert(&reference, &out, options);
        })
    }

    /// The converted module.
    pub fn wasm(self) -> PathBuf {
        self.converted("wasm", &[]).join("image.wasm")
    }

    /// The converted module without a snapshot: it boots at each start.
    pub fn wasm_cold(self) -> PathBuf {
        self.converted("cold", &["--snapshot", "none"]).join("image.wasm")
    }

    /// The image as a component, compiled by wasmtime.
    pub fn component(self) -> PathBuf {
        let wasm = self.component_wasm();
        let parts = product();
        let mut parts: Vec<&Path> = parts.iter().map(PathBuf::as_path).collect();
        parts.extend([&*wasm, wasmtime()]);
        let dir = cached(&format!("component-cwasm-{}", self.name()), &fingerprint(&parts, &[]), |dir| {
            let compiled = program(wasmtime(), |c| {
                c.arg("compile").arg("-o").arg(dir.join("image.cwasm")).arg(&wasm);
            });
            assert_eq!(compiled.status(), 0, "{compiled}");
        });
        dir.join("image.cwasm")
    }

    /// The image as a component.
    pub fn component_wasm(self) -> PathBuf {
        self.converted("component", &["--component"]).join("image.wasm")
    }

    /// The module compiled for this host.
    pub fn cwasm(self) -> PathBuf {
        let wasm = self.wasm();
        let parts = product();
        let mut parts: Vec<&Path> = parts.iter().map(PathBuf::as_path).collect();
        parts.push(&wasm);
        let dir = cached(&format!("cwasm-{}", self.name()), &fingerprint(&parts, &[]), |dir| {
            let status = Command::new(forelift())
                .args(["compile", "-q"])
                .arg(&wasm)
                .arg(dir.join("image.cwasm"))
                .status()
                .unwrap_or_else(|e| panic!("{}: {e}", forelift().display()));
            assert!(status.success(), "forelift compile {}: {status}", wasm.display());
        });
        dir.join("image.cwasm")
    }
}

/// What `forelift inspect` says of an image.
pub fn inspect_json(file: &Path) -> serde_json::Value {
    let done = program(forelift(), |c| {
        c.args(["inspect", "--json"]).arg(file);
    });
    serde_json::from_str(&done.ok()).expect("JSON")
}

/// Runs `forelift convert`; it must succeed.
pub fn convert(reference: &str, out: &Path, options: &[&str]) {
    let status = Command::new(forelift())
        .args(["convert", "-q"])
        .args(options)
        .arg(reference)
        .arg(out)
        .status()
        .unwrap_or_else(|e| panic!("{}: {e}", forelift().display()));
    assert!(status.success(), "forelift convert {reference}: {status}");
}

/// One entry of a layer.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Path in the archive.
    pub path: &'a str,
    /// What it is.
    pub kind: EntryType,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u64, u64),
    /// Content, or the target of a link.
    pub data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A file of root's.
    pub fn file(path: &'a str, mode: u32, data: &'a [u8]) -> Self {
        Entry { path, kind: EntryType::Regular, mode, owner: (0, 0), data }
    }

    /// A directory of root's.
    pub fn dir(path: &'a str, mode: u32) -> Self {
        Entry { path, kind: EntryType::Directory, mode, owner: (0, 0), data: b"" }
    }

    /// A hard or symbolic link.
    pub fn link(path: &'a str, kind: EntryType, target: &'a str) -> Self {
        Entry { path, kind, mode: 0o777, owner: (0, 0), data: target.as_bytes() }
    }

    /// The same with another owner.
    pub fn owned(self, uid: u64, gid: u64) -> Self {
        Entry { owner: (uid, gid), ..self }
    }
}

/// Puts a name into a header as it is: unlike the crate's setters, which refuse what hostile archives hold.
fn put(field: &mut [u8], name: &[u8]) {
    assert!(name.len() <= field.len(), "a name of {} bytes in an old header", name.len());
    field[..name.len()].copy_from_slice(name);
}

/// A tar of these entries, names unchecked.
pub fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_mtime(1_600_000_000);
        put(&mut header.as_old_mut().name, entry.path.as_bytes());
        let mut data = entry.data;
        if matches!(entry.kind, EntryType::Link | EntryType::Symlink) {
            put(&mut header.as_old_mut().linkname, data);
            data = b"";
        }
        if matches!(entry.kind, EntryType::Char | EntryType::Block) {
            // Every device here is a null device: what counts is that it arrives.
            header
                .set_device_major(1)
                .and_then(|()| header.set_device_minor(3))
                .expect("a GNU header has devices");
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).expect("writing to memory");
    }
    builder.into_inner().expect("writing to memory")
}

/// Entry point of [`Image::Service`]. Its first argument comes from the image's Entrypoint.
const SERVICE_ENTRY: &[u8] = br#"#!/bin/sh
first=$1
shift
case $1 in
run) shift; exec "$@" ;;
wait)
    trap 'echo quit; exit 21' QUIT
    trap 'echo term; exit 22' TERM
    echo waiting
    while :; do sleep 0.05; done
    ;;
esac
echo "entry: $first"
echo "arguments: $*"
echo "user: $(id -u):$(id -g) $(id -un)"
echo "directory: $(pwd)"
echo "greeting: $GREETING"
echo "home: $HOME"
"#;

/// The two layers that [`Image::Service`] adds to busybox. The upper one hides parts of the lower one.
pub fn service_layers() -> Vec<Vec<u8>> {
    let pax = |path: &'static str| Entry { kind: EntryType::XHeader, ..Entry::file(path, 0o644, b"") };
    let lower = tar_of(&[
        Entry::dir("opt/", 0o755),
        Entry::file("opt/gone", 0o644, b"hidden by a whiteout\n"),
        Entry::file("opt/replaced", 0o600, b"the lower one\n"),
        Entry::dir("opt/opaque/", 0o755),
        Entry::file("opt/opaque/old", 0o644, b"hidden by an opaque directory\n"),
        Entry::dir("opt/merged/", 0o755),
        Entry::file("opt/merged/lower", 0o644, b"l\n"),
        Entry::file("opt/was-file", 0o644, b"a file in the lower layer\n"),
        Entry::dir("opt/was-dir/", 0o755),
        Entry::file("opt/was-dir/inside", 0o644, b"x"),
    ]);
    let upper = tar_of(&[
        Entry::file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
        ),
        Entry::file("etc/group", 0o644, b"root:x:0:\nappgroup:x:1001:\nextra:x:2000:app\nnogroup:x:65534:\n"),
        Entry::dir("home/app/", 0o750).owned(1000, 1001),
        Entry::dir("srv/app/", 0o755),
        Entry::dir("srv/app/work/", 0o755).owned(1000, 1001),
        Entry::file("srv/app/entry", 0o755, SERVICE_ENTRY),
        Entry::dir("data/", 0o750).owned(1000, 1001),
        Entry::file("data/seed", 0o640, b"from the image\n").owned(1000, 1001),
        Entry::link("data/link", EntryType::Symlink, "seed"),
        Entry::file("opt/.wh.gone", 0, b""),
        Entry::dir("opt/opaque/", 0o700),
        Entry::file("opt/opaque/.wh..wh..opq", 0, b""),
        Entry::file("opt/opaque/new", 0o644, b"n\n"),
        Entry::file("opt/merged/upper", 0o644, b"u\n"),
        Entry::file("opt/replaced", 0o644, b"the upper one\n"),
        Entry::dir("opt/was-file/", 0o755),
        Entry::file("opt/was-file/inside", 0o644, b"now a directory\n"),
        Entry::file("opt/was-dir", 0o644, b"now a file\n"),
        Entry::file("opt/data", 0o644, b"not executable\n"),
        Entry::file("opt/noformat", 0o755, b"\x01\x02 no program, and no script either\n"),
        Entry::file("opt/lost", 0o755, b"#!/no/such/interpreter\n"),
        Entry::file("opt/setuid", 0o4755, b"#!/bin/sh\n"),
        Entry::dir("opt/sticky/", 0o1777),
        Entry::file("opt/hard-a", 0o644, b"one inode\n"),
        Entry::link("opt/hard-b", EntryType::Link, "opt/hard-a"),
        Entry::link("opt/absolute", EntryType::Symlink, "/etc/passwd"),
        Entry { kind: EntryType::Fifo, ..Entry::file("opt/fifo", 0o600, b"") },
        Entry { kind: EntryType::Char, ..Entry::file("opt/null", 0o666, b"") },
        Entry::file("opt/foreign", 0o604, b"x").owned(12345, 54321),
        Entry { data: b"33 SCHILY.xattr.user.colour=blue\n", ..pax("PaxHeaders/opt/coloured") },
        Entry::file("opt/coloured", 0o644, b"has an extended attribute\n"),
        Entry { data: b"23 path=opt/\xc3\xa4\xe2\x82\xac \xf0\x9f\x90\xa7\n", ..pax("PaxHeaders/unicode") },
        Entry::file("opt/ascii", 0o644, "ä€ 🐧\n".as_bytes()),
        Entry::file("opt/empty", 0o644, b""),
    ]);
    vec![lower, upper]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_layers_are_readable_tars() {
        for layer in service_layers() {
            let mut archive = tar::Archive::new(&layer[..]);
            for entry in archive.entries().unwrap() {
                let mut entry = entry.unwrap();
                assert!(entry.path().unwrap().is_relative());
                // A wrong length in a PAX record would make this fail.
                for record in entry.pax_extensions().unwrap().into_iter().flatten() {
                    record.unwrap();
                }
            }
        }
    }

    #[test]
    fn hostile_names_go_in_unchecked() {
        let bytes = tar_of(&[Entry::file("../../etc/passwd", 0o644, b"x")]);
        assert!(bytes.starts_with(b"../../etc/passwd\0"));
    }
}
