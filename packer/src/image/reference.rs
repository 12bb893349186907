//! Names of images: skopeo's transports (*containers-transports(5)*), existing paths, and registry
//! references.
//!
//! `dir:` and `tar:` differ from skopeo: here they name a plain root file system. A `dir:` that skopeo wrote
//! is recognised, though. A path that exists is recognised by its content; any other name is a registry
//! reference.

use super::{ImageError, store::Transport, stream, tar::Archive};
use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory in OCI layout.
    OciDir {
        /// The directory.
        dir: PathBuf,
        /// Which image of it.
        tag: Option<String>,
    },
    /// A tar archive of an OCI layout.
    OciArchive {
        /// The file.
        file: PathBuf,
        /// Which image of it.
        tag: Option<String>,
    },
    /// What `docker save` writes.
    DockerArchive {
        /// The file.
        file: PathBuf,
        /// Which image of it.
        reference: Option<String>,
    },
    /// A directory that is a root file system.
    Dir(PathBuf),
    /// A directory that holds an image in the format of skopeo's `dir:`.
    Transport(PathBuf),
    /// A tar archive of a root file system.
    Tar(PathBuf),
    /// An image in a registry.
    Registry(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = |tag: &Option<String>| tag.as_ref().map_or(String::new(), |t| format!(":{t}"));
        match self {
            Source::OciDir { dir, tag } => write!(f, "oci:{}{}", dir.display(), suffix(tag)),
            Source::OciArchive { file, tag } => write!(f, "oci-archive:{}{}", file.display(), suffix(tag)),
            Source::DockerArchive { file, reference } => {
                write!(f, "docker-archive:{}{}", file.display(), suffix(reference))
            }
            Source::Dir(path) | Source::Transport(path) => write!(f, "dir:{}", path.display()),
            Source::Tar(path) => write!(f, "tar:{}", path.display()),
            Source::Registry(reference) => write!(f, "docker://{reference}"),
        }
    }
}

/// A path and what follows its colon. A path that exists as a whole has no tag, whatever its name.
fn split(rest: &str) -> (PathBuf, Option<String>) {
    if Path::new(rest).exists() {
        return (rest.into(), None);
    }
    let colons: Vec<usize> = rest.match_indices(':').map(|(i, _)| i).collect();
    let existing = colons.iter().find(|&&i| Path::new(&rest[..i]).exists());
    match existing.or(colons.first()) {
        Some(&i) => (rest[..i].into(), Some(rest[i + 1..].to_owned()).filter(|t| !t.is_empty())),
        None => (rest.into(), None),
    }
}

/// Parses an image's name. Of an existing path without a transport, the content is read.
///
/// # Errors
/// When the name is empty, names a path that does not exist, or a file that is no image.
pub fn parse(name: &str) -> Result<Source, ImageError> {
    let wrong = |problem: &str| ImageError::Reference { reference: name.into(), problem: problem.into() };
    let (transport, rest) = name.split_once(':').unwrap_or(("", name));
    let source = match transport {
        "docker" => {
            let reference = rest.strip_prefix("//").unwrap_or_default();
            Source::Registry(reference.to_owned())
        }
        "oci" => {
            let (dir, tag) = split(rest);
            Source::OciDir { dir, tag }
        }
        "oci-archive" => {
            let (file, tag) = split(rest);
            Source::OciArchive { file, tag }
        }
        "docker-archive" => {
            let (file, reference) = split(rest);
            Source::DockerArchive { file, reference }
        }
        "dir" => directory(rest.into()),
        "tar" => Source::Tar(rest.into()),
        _ if name.is_empty() => {
            return Err(wrong("no name given: try `docker://debian:trixie-slim`, or the path of an archive"));
        }
        _ if Path::new(name).exists() => recognise(Path::new(name))?,
        _ if name.starts_with(['/', '.']) => return Err(wrong("no such file or directory")),
        _ => Source::Registry(name.to_owned()),
    };
    match &source {
        Source::Registry(r) if r.is_empty() => {
            Err(wrong("a registry reference is `docker://[HOST/]NAME[:TAG]`"))
        }
        Source::Dir(p) | Source::Tar(p) if p.as_os_str().is_empty() => {
            Err(wrong("a path must follow the colon"))
        }
        _ => Ok(source),
    }
}

/// What a directory without an OCI layout is.
fn directory(path: PathBuf) -> Source {
    if Transport::is_at(&path) { Source::Transport(path) } else { Source::Dir(path) }
}

/// Recognises what an existing path holds.
fn recognise(path: &Path) -> Result<Source, ImageError> {
    let io = |source| ImageError::Io { action: "cannot be read", path: path.into(), source };
    if path.is_dir() {
        let layout = path.join("oci-layout").is_file()
            || path.join("index.json").is_file() && path.join("blobs").is_dir();
        return Ok(if layout {
            Source::OciDir { dir: path.into(), tag: None }
        } else {
            directory(path.into())
        });
    }
    let file = File::open(path).map_err(io)?;
    let (_, reader) = stream::decompress(file).map_err(io)?;
    // The files that identify an image archive can be anywhere in it. Only names are read, and a name that no
    // image archive has shows that it is a root file system.
    let mut archive = Archive::new(reader.take(64 << 30));
    let mut docker = false;
    let (mut index, mut blobs) = (false, false);
    let mut first = true;
    while let Some(entry) = archive.next_entry().map_err(|fault| match (first, fault.at(&path.display().to_string())) {
        (true, ImageError::Archive { problem, .. }) => ImageError::Reference {
            reference: path.display().to_string(),
            problem: format!(
                "neither an OCI layout or archive, nor a docker archive, nor a tar archive of a root file system: {problem}"
            ),
        },
        (_, error) => error,
    })? {
        first = false;
        let name = super::tree::components(&entry.name).collect::<Vec<_>>().join(&b'/');
        match &name[..] {
            b"oci-layout" => return Ok(Source::OciArchive { file: path.into(), tag: None }),
            b"manifest.json" => docker = true,
            b"index.json" => index = true,
            // Jib's configuration is `config.json`.
            b"" | b"config.json" | b"repositories" | b"blobs" => {}
            _ if name.starts_with(b"blobs/") => blobs = true,
            _ if image_part(&name) => {}
            _ => break,
        }
    }
    Ok(if docker {
        Source::DockerArchive { file: path.into(), reference: None }
    } else if index && blobs {
        Source::OciArchive { file: path.into(), tag: None }
    } else {
        Source::Tar(path.into())
    })
}

/// Whether `docker save` and similar tools could have given a file this name: `HEX.json`, `HEX.tar`,
/// something in a directory `HEX`; `HEX.tar.gz` and `sha256:HEX` (crane, kaniko, ko).
fn image_part(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"sha256:").unwrap_or(name);
    let stem = name.split(|&b| b == b'/' || b == b'.').next().unwrap_or_default();
    stem.len() == 64 && stem.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports() {
        let dir = tempfile::tempdir().unwrap();
        let colon = dir.path().join("a:b");
        std::fs::create_dir(&colon).unwrap();
        let is = |name: &str, source| assert_eq!(parse(name).unwrap(), source, "{name}");
        is("oci:/x/y:t:1", Source::OciDir { dir: "/x/y".into(), tag: Some("t:1".into()) });
        is(&format!("oci:{}", colon.display()), Source::OciDir { dir: colon.clone(), tag: None });
        is(
            &format!("oci:{}:v1", colon.display()),
            Source::OciDir { dir: colon.clone(), tag: Some("v1".into()) },
        );
        is(&colon.display().to_string(), Source::Dir(colon));
        is("oci-archive:f.tar", Source::OciArchive { file: "f.tar".into(), tag: None });
        is(
            "docker-archive:f.tar:debian:12",
            Source::DockerArchive { file: "f.tar".into(), reference: Some("debian:12".into()) },
        );
        is("docker://debian:12", Source::Registry("debian:12".into()));
        is("debian:12", Source::Registry("debian:12".into()));
        is("127.0.0.1:5000/a", Source::Registry("127.0.0.1:5000/a".into()));
        is("tar:x", Source::Tar("x".into()));
        for bad in ["", "docker:", "docker://", "/no/such/file", "./nothing", "tar:", "dir:"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
