//! The root file system: a read-only EROFS image under an overlay whose writes live in guest memory.
//!
//! The initial root (the initramfs) cannot be the old root of pivot_root(2), so the supervisor first moves to
//! a tmpfs of its own, as switch_root does. That one tmpfs holds the overlay's upper and work directories,
//! the mount points and the files that are mounted over the container's `/etc`.

use crate::{
    etc::{self, DIR},
    failure::*,
    foreign, log, sys,
};
use libc::{MS_MOVE, MS_NOSUID, MS_RDONLY, MS_RELATIME};
use std::{fs, path::Path};

/// Where the container's root is mounted in the supervisor's namespace.
pub(crate) const ROOT: &str = "/root";
/// Where the container's devpts is mounted in the supervisor's namespace.
pub(crate) const PTS: &str = "/pts";
/// The container's cgroup.
pub(crate) const CGROUP: &str = "/sys/fs/cgroup/container";

const BASE: &str = "/base";
const DIRECTORIES: [&str; 10] =
    ["dev", "proc", "sys", "lower", "upper", "work", "root", "pts", "files", "binfmt"];

/// The disk that holds the image.
const DEVICE: &str = "/dev/vda";

/// Mounts the kernel's file systems and moves to a root of the supervisor's own.
pub(crate) fn enter_base() -> Result<(), Failure> {
    fs::create_dir_all(BASE).context("cannot create /base")?;
    // Half of memory, the default, is too little for a machine whose disk this is; all of it would leave the
    // out-of-memory killer nothing to free. The inodes are bounded by memory alone.
    sys::mount("forelift", BASE, "tmpfs", MS_RELATIME, "mode=0755,size=80%,nr_inodes=0")
        .context("cannot mount the supervisor's tmpfs")?;
    for name in DIRECTORIES {
        fs::create_dir(format!("{BASE}/{name}")).with_context(|| format!("cannot create {BASE}/{name}"))?;
    }
    sys::mount("dev", format!("{BASE}/dev"), "devtmpfs", MS_NOSUID, "mode=0755")
        .context("cannot mount devtmpfs")?;
    sys::mount("proc", format!("{BASE}/proc"), "proc", sys::KERNEL_FS, "").context("cannot mount proc")?;
    sys::mount("sysfs", format!("{BASE}/sys"), "sysfs", sys::KERNEL_FS, "").context("cannot mount sysfs")?;
    std::env::set_current_dir(BASE).context("cannot enter the supervisor's root")?;
    sys::mount(".", "/", "", MS_MOVE, "").context("cannot move the supervisor's root")?;
    std::os::unix::fs::chroot(".").context("cannot change to the supervisor's root")?;
    std::env::set_current_dir("/").context("cannot enter the supervisor's root")
}

/// Mounts the image and its overlay on [`ROOT`].
pub(crate) fn mount() -> Result<(), Failure> {
    mount_lower()?;
    foreign::enable("/lower", "/upper")?;
    for name in etc::FILES {
        fs::write(format!("{DIR}/{name}"), "").with_context(|| format!("cannot create {DIR}/{name}"))?;
    }
    // The upper layer never outlives the machine, so nothing of it need be synced (volatile), and directories
    // may be renamed (redirect_dir) and inodes changed without copying their data (metacopy).
    let options =
        "lowerdir=/lower,upperdir=/upper,workdir=/work,redirect_dir=on,metacopy=on,index=off,volatile";
    sys::mount("overlay", ROOT, "overlay", MS_RELATIME, options).context("cannot mount the overlay")
}

fn mount_lower() -> Result<(), Failure> {
    if !Path::new(DEVICE).exists() {
        return Err(Failure::own(format!("no root file system: there is no {DEVICE}")));
    }
    sys::mount(DEVICE, "/lower", "erofs", MS_RDONLY | MS_RELATIME, "")
        .with_context(|| format!("cannot mount the root file system from {DEVICE}"))
}

/// Mounts the cgroup tree and makes the container's group.
pub(crate) fn make_cgroup() -> Result<(), Failure> {
    sys::mount("cgroup", "/sys/fs/cgroup", "cgroup2", sys::KERNEL_FS, "").context("cannot mount cgroup2")?;
    let root = Path::new("/sys/fs/cgroup");
    let offered = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    for controller in offered.split_whitespace() {
        if let Err(e) = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}")) {
            log::warn(&format!("cgroup controller {controller}: {}", sys::describe(&e)));
        }
    }
    fs::create_dir(CGROUP).with_context(|| format!("cannot create {CGROUP}"))
}
