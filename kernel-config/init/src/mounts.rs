//! What is mounted into the container for one run: host directories (virtio-fs) and the image's volumes.
//!
//! Both are mounted in the order of their depth, so that one may lie in another, as docker does; a host
//! directory at a volume's path takes the volume's place. A volume is a tmpfs holding a copy of what the
//! image has there, owners, modes, times and extended attributes included: docker's anonymous volume, in a
//! machine without a disk.

use crate::{failure::*, log, sys};
use forelift_abi::control::Mount;
use libc::{MS_RDONLY, MS_RELATIME, MS_REMOUNT};
use std::{
    ffi::CStr,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Component, Path, PathBuf},
};

/// The extended attribute by which the server of a host directory is told who the container's user is, as
/// `UID:GID`.
const OWNER_XATTR: &CStr = c"trusted.forelift.owner";

/// One thing to mount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A host directory.
    Host(&'a Mount),
    /// A volume.
    Volume,
}

/// The path without `.`, `..` and doubled slashes, from the root.
pub(crate) fn normalise(path: &str) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out
}

/// What to mount where, in order.
///
/// # Errors
/// 125 when something is to be mounted over the root or inside /proc, or twice at one place.
pub(crate) fn plan<'a>(mounts: &'a [Mount], volumes: &[String]) -> Result<Vec<(PathBuf, Item<'a>)>, Failure> {
    let mut items: Vec<(PathBuf, Item<'a>)> =
        mounts.iter().map(|m| (normalise(&m.path), Item::Host(m))).collect();
    for volume in volumes {
        let path = normalise(volume);
        if !items.iter().any(|(taken, _)| *taken == path) {
            items.push((path, Item::Volume));
        }
    }
    if items.iter().any(|(path, _)| path == Path::new("/")) {
        return Err(Failure::own("invalid mount: destination can't be '/': name a directory below it"));
    }
    for (index, (path, item)) in items.iter().enumerate() {
        if path.starts_with("/proc") {
            let path = path.display();
            return Err(Failure::own(format!("invalid mount: \"{path}\" cannot be mounted inside /proc")));
        }
        if matches!(item, Item::Host(_)) && items[..index].iter().any(|(other, _)| other == path) {
            return Err(Failure::own(format!("duplicate mount point: {}", path.display())));
        }
    }
    // Stable: what has the same depth stays in the order given.
    items.sort_by_key(|(path, _)| path.components().count());
    Ok(items)
}

/// Mounts everything into the container, this process's root. What belongs to the host's user is shown as
/// owned by `uid:gid` where the host does not keep owners, so that whoever the container runs as can write to
/// it.
pub(crate) fn mount_all(mounts: &[Mount], volumes: &[String], uid: u32, gid: u32) -> Result<(), Failure> {
    for (path, item) in plan(mounts, volumes)? {
        fs::create_dir_all(&path).with_context(|| format!("cannot create mount point {}", path.display()))?;
        match item {
            Item::Host(mount) => mount_host(&path, mount, uid, gid)?,
            Item::Volume => {
                mount_volume(&path).with_context(|| format!("cannot set up volume {}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn mount_host(path: &Path, mount: &Mount, uid: u32, gid: u32) -> Result<(), Failure> {
    let mounted = sys::mount(&mount.tag, path, "virtiofs", MS_RELATIME, "")
        .and_then(|()| sys::set_xattr(path, OWNER_XATTR, format!("{uid}:{gid}").as_bytes()))
        .and_then(|()| match mount.read_only {
            // Only now: nothing could be told to a mount that takes no changes.
            true => sys::mount(&mount.tag, path, "virtiofs", MS_REMOUNT | MS_RDONLY | MS_RELATIME, ""),
            false => Ok(()),
        });
    mounted.with_context(|| format!("cannot mount host directory `{}` on {}", mount.tag, path.display()))
}

fn mount_volume(path: &Path) -> io::Result<()> {
    // Held open, the image's directory can still be read through /proc when the tmpfs covers it.
    let covered = File::open(path)?;
    sys::mount("volume", path, "tmpfs", MS_RELATIME, "mode=0755,size=80%,nr_inodes=0")?;
    let source = PathBuf::from(format!("/proc/self/fd/{}/.", std::os::fd::AsRawFd::as_raw_fd(&covered)));
    copy_directory(&source, path)
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        copy(&from.join(&name), &to.join(&name))?;
    }
    copy_attributes(from, to, &fs::metadata(from)?)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    let kind = meta.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return lchown(to, Some(meta.uid()), Some(meta.gid()));
    }
    if kind.is_dir() {
        fs::create_dir(to)?;
        return copy_directory(from, to);
    }
    if kind.is_file() {
        io::copy(&mut File::open(from)?, &mut File::create_new(to)?)?;
    } else {
        let device = if kind.is_fifo() || kind.is_socket() { 0 } else { meta.rdev() };
        sys::mknod(to, meta.mode() as libc::mode_t, device)?;
    }
    copy_attributes(from, to, &meta)
}

fn copy_attributes(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    // The owner first: changing it clears the set-user-id bit.
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    for (name, value) in sys::xattrs(from)? {
        if let Err(e) = sys::set_xattr(to, &name, &value) {
            log::warn(&format!("{}: {}: {}", to.display(), name.to_string_lossy(), sys::describe(&e)));
        }
    }
    if meta.is_file() || meta.is_dir() {
        let times = fs::FileTimes::new().set_accessed(meta.accessed()?).set_modified(meta.modified()?);
        File::open(to)?.set_times(times)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(path: &str) -> Mount {
        Mount { tag: format!("t{path}"), path: path.into(), read_only: false }
    }

    #[test]
    fn paths_are_cleaned() {
        for (given, clean) in
            [("/a//b/./c/", "/a/b/c"), ("a", "/a"), ("/../../x/../y", "/y"), ("", "/"), ("/..", "/")]
        {
            assert_eq!(normalise(given), Path::new(clean), "{given}");
        }
    }

    #[test]
    fn outer_mounts_come_first_and_hosts_replace_volumes() {
        let mounts = [host("/a/b/c"), host("/data"), host("/a")];
        let volumes = ["/data/".to_owned(), "/a/b".to_owned(), "/v".to_owned(), "/v".to_owned()];
        let plan = plan(&mounts, &volumes).unwrap();
        let shown: Vec<_> =
            plan.iter().map(|(p, i)| (p.to_str().unwrap(), matches!(i, Item::Host(_)))).collect();
        assert_eq!(shown, [("/data", true), ("/a", true), ("/v", false), ("/a/b", false), ("/a/b/c", true)]);
    }

    #[test]
    fn the_root_cannot_be_covered() {
        assert!(plan(&[host("/x/..")], &[]).is_err());
        assert!(plan(&[], &["/".to_owned()]).is_err());
    }

    #[test]
    fn places_are_taken_once_and_not_in_proc() {
        assert!(plan(&[host("/a"), host("/b/../a/")], &[]).is_err());
        assert!(plan(&[host("/proc")], &[]).is_err());
        assert!(plan(&[], &["/proc/sys".to_owned()]).is_err());
        assert!(plan(&[host("/process")], &["/process".to_owned()]).is_ok());
    }

    #[test]
    fn copies_keep_kinds_modes_and_times() {
        let dir = std::env::temp_dir().join(format!("forelift-init-copy-{}", std::process::id()));
        let (from, to) = (dir.join("from"), dir.join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("sub/file"), "text").unwrap();
        fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o1710)).unwrap();
        symlink("nowhere", from.join("link")).unwrap();
        sys::mknod(from.join("fifo"), libc::S_IFIFO | 0o640, 0).unwrap();
        let then = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        let times = fs::FileTimes::new().set_modified(then).set_accessed(then);
        File::open(from.join("sub/file")).unwrap().set_times(times).unwrap();
        copy_directory(&from, &to).unwrap();
        let meta = fs::metadata(to.join("sub/file")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.modified().unwrap()), (0o4751, then));
        assert_eq!(fs::metadata(to.join("sub")).unwrap().mode() & 0o7777, 0o1710);
        assert_eq!(fs::read_to_string(to.join("sub/file")).unwrap(), "text");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("nowhere"));
        assert!(fs::symlink_metadata(to.join("fifo")).unwrap().file_type().is_fifo());
        fs::remove_dir_all(dir).unwrap();
    }
}
