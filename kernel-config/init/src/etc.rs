//! `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`: files of the machine, not of the image; and what
//! docker adds to an image that lacks it.
//!
//! As docker does, each of the former is a file of its own mounted over the image's (so that the image's
//! stays as it is); they are mounted empty before the snapshot and filled once the host name is known.

use crate::{failure::*, sys};
use std::{
    fs::{self, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, symlink},
    },
    path::{Path, PathBuf},
};

/// Where the supervisor keeps the files that are mounted over the container's.
pub(crate) const DIR: &str = "/files";
/// The files, by their name in `/etc`.
pub(crate) const FILES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

/// Takes the supervisor's empty files along: their mounts survive the loss of the old root.
pub(crate) fn take_files() -> Result<[OwnedFd; 3], Failure> {
    let [a, b, c] = FILES.map(|name| {
        let path = format!("{DIR}/{name}");
        sys::take_mount(&path).with_context(|| format!("cannot take {path} along"))
    });
    Ok([a?, b?, c?])
}

/// Mounts the empty files over the container's, this process's root.
pub(crate) fn mount(files: [OwnedFd; 3]) -> Result<(), Failure> {
    for (name, file) in FILES.into_iter().zip(files) {
        let target = format!("/etc/{name}");
        create_target(Path::new(&target), 0).with_context(|| format!("cannot create {target}"))?;
        sys::place_mount(&file, &target).with_context(|| format!("cannot mount {target}"))?;
    }
    Ok(())
}

/// Makes `/etc/mtab` and `/.dockerenv`, which programs look for, in a root directory without them (docker:
/// `daemon/initlayer`).
pub(crate) fn add_missing(root: &Path) -> Result<(), Failure> {
    let (mtab, mark) = (root.join("etc/mtab"), root.join(".dockerenv"));
    unless_there(symlink("/proc/mounts", &mtab)).context("cannot make /etc/mtab")?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o755).open(&mark);
    unless_there(made.map(drop)).context("cannot make /.dockerenv")
}

fn unless_there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Makes sure that `path` leads to a file, making the target of a dangling symbolic link where there is one
/// (images have `resolv.conf` point into `/run`).
fn create_target(path: &Path, links: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::metadata(path) {
        Ok(_) => return Ok(()),
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Err(_) => {}
    }
    match fs::read_link(path) {
        // As many as the kernel follows (MAXSYMLINKS).
        Ok(_) if links >= 40 => Err(io::Error::from_raw_os_error(libc::ELOOP)),
        Ok(to) => create_target(&path.parent().map_or(PathBuf::new(), Path::to_path_buf).join(to), links + 1),
        Err(_) => OpenOptions::new().create(true).append(true).open(path).map(drop),
    }
}

/// What `/etc/hosts` says; the names of docker's, and the host's own as Debian has it while there is no
/// network.
pub(crate) fn hosts(hostname: &str) -> String {
    let own = if hostname.is_empty() { String::new() } else { format!("127.0.1.1\t{hostname}\n") };
    format!(
        "127.0.0.1\tlocalhost\n{own}::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
    )
}

/// Fills the mounted files.
pub(crate) fn write(hostname: &str) -> Result<(), Failure> {
    let resolv = "# There is no network: no name server.\n".to_owned();
    let texts = [format!("{hostname}\n"), hosts(hostname), resolv];
    for (name, text) in FILES.into_iter().zip(texts) {
        let path = format!("/etc/{name}");
        fs::write(&path, text).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_names_the_machine() {
        assert!(hosts("box").contains("\n127.0.1.1\tbox\n"));
        assert!(!hosts("").contains("127.0.1.1"));
        assert!(hosts("").starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost "));
    }

    #[test]
    fn what_docker_adds_is_added_once() {
        let dir = std::env::temp_dir().join(format!("forelift-init-missing-{}", std::process::id()));
        fs::create_dir_all(dir.join("etc")).unwrap();
        add_missing(&dir).unwrap();
        assert_eq!(fs::read_link(dir.join("etc/mtab")).unwrap(), Path::new("/proc/mounts"));
        assert_eq!(fs::read(dir.join(".dockerenv")).unwrap(), b"");
        // The image's own stay, of whatever kind they are.
        fs::remove_file(dir.join("etc/mtab")).unwrap();
        fs::write(dir.join("etc/mtab"), "own").unwrap();
        fs::remove_file(dir.join(".dockerenv")).unwrap();
        symlink("nowhere", dir.join(".dockerenv")).unwrap();
        add_missing(&dir).unwrap();
        assert_eq!(fs::read(dir.join("etc/mtab")).unwrap(), b"own");
        assert_eq!(fs::read_link(dir.join(".dockerenv")).unwrap(), Path::new("nowhere"));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn dangling_links_get_their_target() {
        let dir = std::env::temp_dir().join(format!("forelift-init-etc-{}", std::process::id()));
        fs::create_dir_all(dir.join("etc")).unwrap();
        std::os::unix::fs::symlink("../run/deep/resolv", dir.join("etc/resolv.conf")).unwrap();
        create_target(&dir.join("etc/resolv.conf"), 0).unwrap();
        assert!(dir.join("run/deep/resolv").is_file());
        std::os::unix::fs::symlink("loop", dir.join("etc/loop")).unwrap();
        assert_eq!(create_target(&dir.join("etc/loop"), 0).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        fs::remove_dir_all(dir).unwrap();
    }
}
