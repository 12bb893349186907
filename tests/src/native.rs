//! Programs of an amd64 root file system, run by this machine's own processor: what a guest's results are
//! compared with.

use crate::{
    done::Done,
    process::program,
    workspace::{cached, fingerprint, tool},
};
use nix::unistd::geteuid;
use std::{path::Path, process::Command};

/// What is around the program: the root, which it cannot change, and fresh directories where it can.
const INSIDE: &str = r#"
set -e
root=$1; shift
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
exec chroot "$root" /usr/bin/env -i -C /tmp HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"#;

/// Runs a command in the root file system of a tar, apart from this machine's: nothing of what it does stays.
/// Without root's rights it has those of a user namespace.
///
/// # Panics
/// When the tar cannot be unpacked, or the kernel does not let this happen.
pub fn run(rootfs: &Path, args: &[&str]) -> Done {
    let name = rootfs.file_stem().and_then(|name| name.to_str()).unwrap_or("rootfs");
    let root = cached(&format!("unpacked-{name}"), &fingerprint(&[rootfs], &[]), |dir| {
        let status = Command::new(tool("tar")).arg("-xf").arg(rootfs).arg("-C").arg(dir).status();
        assert!(status.is_ok_and(|s| s.success()), "{} cannot be unpacked", rootfs.display());
    });
    program(tool("unshare"), |command| {
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", INSIDE, "sh"]);
        command.arg(root).args(args);
    })
}
