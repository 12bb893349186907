//! The container as docker builds it: namespaces, mounts, devices, limits, capabilities.
//!
//! All of it happens before the snapshot, in the process that becomes the command. The lists are docker's
//! (moby, `oci/defaults_linux.go` and `oci/caps/defaults.go`). Not here: seccomp and the filter of devices,
//! as the machine has nothing but this container to protect.

use crate::{etc, failure::*, network, rootfs, sys};
use libc::{
    MS_BIND, MS_MOVE, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT,
    MS_STRICTATIME,
};
use std::{
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::symlink},
    path::Path,
};

/// Where a container may neither read nor write.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Where a container may only read.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Character devices: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("pts/ptmx", "/dev/ptmx"),
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// The capabilities a container keeps: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
/// NET_BIND_SERVICE, NET_ADMIN, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP (linux/capability.h):
/// docker's, and NET_ADMIN, since the network is the container's own.
const CAPABILITIES: [u32; 15] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 12, 13, 18, 27, 29, 31];

/// Open files, soft and hard.
const OPEN_FILES: u64 = 1 << 20;

/// The network namespace with the machine's network device, and its view of `/sys`.
pub(crate) struct Outer {
    namespace: File,
    sys: OwnedFd,
}

/// Moves this process into namespaces of its own. The pid namespace is new already: the supervisor made it
/// before fork. That of the network comes with [`mount_all`].
pub(crate) fn enter_namespaces() -> Result<(), Failure> {
    fs::write(format!("{}/cgroup.procs", rootfs::CGROUP), "0")
        .context("cannot enter the container's cgroup")?;
    // After the move: the cgroup namespace takes this process's group as its root.
    sys::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP)
        .context("cannot make the container's namespaces")?;
    sys::mount("", "/", "", MS_REC | MS_PRIVATE, "").context("cannot make the mounts private")
}

/// Mounts everything, leaves the supervisor's root behind, and leaves the network device behind, too: for a
/// container that has a network, the way back is given.
pub(crate) fn mount_all() -> Result<Outer, Failure> {
    let shm = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    let mounts = [
        ("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""),
        ("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"),
        ("mqueue", "/dev/mqueue", "mqueue", shm, ""),
        ("shm", "/dev/shm", "tmpfs", shm, "mode=1777,size=65536k"),
    ];
    for (source, at, fstype, flags, options) in mounts {
        let target = format!("{}{at}", rootfs::ROOT);
        make_directory(Path::new(&target)).with_context(|| format!("cannot create {at}"))?;
        sys::mount(source, &target, fstype, flags, options).with_context(|| format!("cannot mount {at}"))?;
    }
    make_directory(&Path::new(rootfs::ROOT).join("sys")).context("cannot create /sys")?;
    let pts = format!("{}/dev/pts", rootfs::ROOT);
    fs::create_dir(&pts).context("cannot create /dev/pts")?;
    sys::mount(rootfs::PTS, &pts, "", MS_MOVE, "").context("cannot mount /dev/pts")?;

    let files = etc::take_files()?;
    // pivot_root(2), section *pivot_root(".", ".")*: the old root ends up mounted over the new one.
    std::env::set_current_dir(rootfs::ROOT).context("cannot enter the container's root")?;
    sys::pivot_root(".", ".").context("cannot pivot to the container's root")?;
    sys::detach(".").context("cannot leave the old root")?;
    std::env::set_current_dir("/").context("cannot enter the container's root")?;
    make_devices()?;
    mount_sys()?;
    let outer = Outer {
        namespace: File::open("/proc/self/ns/net").context("cannot open the machine's network")?,
        sys: sys::take_mount("/sys").context("cannot take /sys")?,
    };
    sys::detach("/sys").context("cannot take /sys away")?;
    sys::unshare(libc::CLONE_NEWNET).context("cannot make the container's network namespace")?;
    network::prepare_inner()?;
    mount_sys()?;
    protect_proc()?;
    etc::mount(files)?;
    etc::add_missing(Path::new("/"))?;
    Ok(outer)
}

/// Mounts `/sys`, which shows the interfaces of this process's network.
fn mount_sys() -> Result<(), Failure> {
    for (fstype, at) in [("sysfs", "/sys"), ("cgroup2", "/sys/fs/cgroup")] {
        sys::mount(fstype, at, fstype, sys::KERNEL_FS | MS_RDONLY, "")
            .with_context(|| format!("cannot mount {at}"))?;
    }
    mask("/sys/")
}

impl Outer {
    /// Gives the container the machine's network.
    pub(crate) fn join(&self) -> Result<(), Failure> {
        sys::enter_network(&self.namespace).context("cannot enter the machine's network")?;
        sys::detach("/sys").context("cannot take /sys away")?;
        sys::place_mount(&self.sys, "/sys").context("cannot mount /sys")
    }
}

/// Creates a mount point; the image may have it as a symbolic link to a directory.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(_) if path.is_dir() => Ok(()),
        other => other,
    }
}

fn make_devices() -> Result<(), Failure> {
    sys::umask(0);
    for (name, major, minor) in DEVICES {
        sys::mknod(format!("/dev/{name}"), libc::S_IFCHR | 0o666, sys::device(major, minor))
            .with_context(|| format!("cannot make /dev/{name}"))?;
    }
    sys::umask(0o022);
    for (to, link) in LINKS {
        symlink(to, link).with_context(|| format!("cannot make {link}"))?;
    }
    Ok(())
}

fn protect_proc() -> Result<(), Failure> {
    for path in READ_ONLY.into_iter().filter(|p| Path::new(p).exists()) {
        sys::mount(path, path, "", MS_BIND | MS_REC, "").with_context(|| format!("cannot protect {path}"))?;
        let flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
        sys::mount("", path, "", flags, "").with_context(|| format!("cannot protect {path}"))?;
    }
    mask("/proc/")
}

/// Hides what a container shall not see below `place`.
fn mask(place: &str) -> Result<(), Failure> {
    for path in MASKED.into_iter().filter(|path| path.starts_with(place)) {
        let Ok(found) = fs::metadata(path) else { continue };
        if found.is_dir() {
            sys::mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k")
        } else {
            sys::mount("/dev/null", path, "", MS_BIND, "")
        }
        .with_context(|| format!("cannot mask {path}"))?;
    }
    Ok(())
}

/// Sets resource limits and takes from the bounding set every capability that docker does not grant. This
/// process keeps the rest until it executes the command: for root the kernel then grants the bounding set,
/// for others nothing.
pub(crate) fn restrict_process() -> Result<(), Failure> {
    sys::set_limit(sys::Limit::Files, OPEN_FILES, OPEN_FILES)
        .context("cannot set the limit of open files")?;
    sys::set_limit(sys::Limit::Processes, sys::UNLIMITED, sys::UNLIMITED)
        .context("cannot set the limit of processes")?;
    // Docker's is unlimited. Here a core would be written to the machine's memory, where nobody would look
    // for it: it must be asked for (`ulimit -c`).
    sys::set_limit(sys::Limit::Core, 0, sys::UNLIMITED).context("cannot set the limit of core files")?;
    for capability in (0..64).filter(|c| !CAPABILITIES.contains(c)) {
        if !sys::drop_from_bounding_set(capability) {
            break;
        }
    }
    Ok(())
}
