//! The container's first pseudo-terminal, made before the snapshot whether or not a run wants it.
//!
//! It comes from the container's own devpts instance, so that it is `/dev/pts/0` there. The **supervisor** is
//! the leader of its session, not the command: when a session's leader ends, the kernel hangs the terminal up
//! and throws away what the master has not read yet (`disassociate_ctty`, `tty_ldisc_hangup`,
//! `pty_flush_buffer`), which on one hart would cut off the end of every short command's output. Docker has
//! the command as the leader and loses the race only sometimes. What differs for the command: `getsid` says
//! 0. A process inherits its controlling terminal by fork alone (only a leader may acquire one), which is why
//! the terminal is made before the stage. Without a tty the stage leaves by setsid.

use crate::{failure::*, ioctl, rootfs, sys};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
};

/// The first terminal of the container's devpts instance, as the container names it.
pub(crate) const PATH: &str = "/dev/pts/0";

/// Both ends, held by the supervisor.
pub(crate) struct Pty {
    /// The host's side.
    pub(crate) master: File,
    /// The command's side. While the supervisor holds it, the master never sees a hangup, which it would have
    /// to poll for.
    pub(crate) slave: File,
}

/// Mounts the container's devpts, opens its first terminal and makes it the controlling terminal of this
/// process.
pub(crate) fn make() -> Result<Pty, Failure> {
    let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
    sys::mount("devpts", rootfs::PTS, "devpts", flags, "newinstance,ptmxmode=0666,mode=0620,gid=5")
        .context("cannot mount devpts")?;
    let open = |name: &str| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY);
        options.open(format!("{}/{name}", rootfs::PTS)).context("cannot open the terminal")
    };
    let master = open("ptmx")?;
    let number = ioctl::unlock_pty(&master).context("cannot unlock the terminal")?;
    let slave = open(&number.to_string())?;
    sys::setsid().context("cannot make a session")?;
    ioctl::set_controlling_tty(&slave).context("cannot acquire the terminal")?;
    Ok(Pty { master, slave })
}
