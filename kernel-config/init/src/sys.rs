//! The system calls that std does not have, each with a safe interface.
//!
//! All `unsafe` of the init is here and in [`crate::ioctl`]. Every wrapper turns the -1 of libc into
//! [`io::Error`] and takes paths and strings as Rust values; nothing here decides anything. The init is one
//! thread in each of its two processes, which is what makes [`fork`] and `unshare` safe.

use libc::{c_int, c_ulong};
use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    ptr,
};

/// The result of a call that gives -1 for an error.
pub(crate) fn check(ret: c_int) -> io::Result<c_int> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

fn c_str(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn c_path(path: impl AsRef<Path>) -> io::Result<CString> {
    c_str(path.as_ref().as_os_str().as_bytes())
}

/// Flags of the kernel's own file systems, as docker has them.
pub(crate) const KERNEL_FS: c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RELATIME;

/// mount(2). An empty `fstype` or `data` is passed as a null pointer.
pub(crate) fn mount(
    source: impl AsRef<Path>,
    target: impl AsRef<Path>,
    fstype: &str,
    flags: c_ulong,
    data: &str,
) -> io::Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    let (fstype, data) = (c_str(fstype.as_bytes())?, c_str(data.as_bytes())?);
    let or_null = |s: &CStr| if s.is_empty() { ptr::null() } else { s.as_ptr() };
    // SAFETY: all pointers are null or NUL-terminated strings that outlive the call.
    check(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), or_null(&fstype), flags, or_null(&data).cast())
    })?;
    Ok(())
}

/// Detaches the mount at `target` (umount2(2) with `MNT_DETACH`).
pub(crate) fn detach(target: &str) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: `target` is a NUL-terminated string.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) })?;
    Ok(())
}

/// pivot_root(2).
pub(crate) fn pivot_root(new_root: &str, put_old: &str) -> io::Result<()> {
    let (new_root, put_old) = (c_path(new_root)?, c_path(put_old)?);
    // SAFETY: both are NUL-terminated strings.
    let ret = unsafe { libc::syscall(libc::SYS_pivot_root, new_root.as_ptr(), put_old.as_ptr()) };
    check(ret as c_int)?;
    Ok(())
}

// linux/mount.h; not in every libc.
const OPEN_TREE_CLONE: libc::c_uint = 1;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;

/// A bind mount of `path`, with what is mounted in it, that is mounted nowhere yet (open_tree(2)).
pub(crate) fn take_mount(path: &str) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = OPEN_TREE_CLONE | AT_RECURSIVE | libc::O_CLOEXEC as libc::c_uint;
    // SAFETY: `path` is a NUL-terminated string.
    let fd =
        check(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) } as c_int)?;
    // SAFETY: a fresh descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Mounts on `target` what [`take_mount`] took (move_mount(2)); symbolic links in `target` are followed.
pub(crate) fn place_mount(mount: &OwnedFd, target: &str) -> io::Result<()> {
    let target = c_path(target)?;
    // MOVE_MOUNT_T_SYMLINKS is 0x10.
    let flags = MOVE_MOUNT_F_EMPTY_PATH | 0x10;
    let (from, here) = (mount.as_raw_fd(), libc::AT_FDCWD);
    // SAFETY: both strings are NUL-terminated.
    let ret =
        unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), here, target.as_ptr(), flags) };
    check(ret as c_int)?;
    Ok(())
}

/// unshare(2).
pub(crate) fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: changes this process's namespaces; no memory is involved.
    check(unsafe { libc::unshare(flags) })?;
    Ok(())
}

/// Enters the mount namespace that `namespace` stands for (setns(2)): its root becomes this process's.
pub(crate) fn enter_mounts(namespace: &File) -> io::Result<()> {
    // SAFETY: changes this process's view of the file system; no memory is involved.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) })?;
    Ok(())
}

/// Enters a network namespace (setns(2)).
pub(crate) fn enter_network(namespace: &File) -> io::Result<()> {
    // SAFETY: changes this process's network; no memory is involved.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
    Ok(())
}

/// fork(2): the child's pid in the parent, `None` in the child.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the process has one thread, so no lock can be held by a thread that the child lacks.
    let pid = check(unsafe { libc::fork() })?;
    Ok((pid != 0).then_some(pid))
}

/// A pipe, both ends close-on-exec: (read end, write end).
pub(crate) fn pipe() -> io::Result<(File, File)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: both are fresh descriptors that nobody else owns.
    Ok(unsafe { (File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1])) })
}

/// Makes `new` refer to what `file` refers to, without close-on-exec.
pub(crate) fn dup2(file: &File, new: RawFd) -> io::Result<()> {
    // SAFETY: only called for descriptors 0 to 2, which no Rust object owns.
    check(unsafe { libc::dup2(file.as_raw_fd(), new) })?;
    Ok(())
}

/// Opens `/dev/null` until descriptors 0, 1 and 2 are all taken, so that no later file gets one of these
/// numbers.
pub(crate) fn fill_standard_fds() -> io::Result<()> {
    loop {
        // SAFETY: the string is NUL-terminated; the descriptor is leaked when it is 0 to 2, and closed
        // otherwise.
        let fd = check(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) })?;
        if fd > 2 {
            // SAFETY: `fd` was opened above.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            return Ok(());
        }
    }
}

/// A socket to the kernel's routing tables (rtnetlink(7)). Messages are written and read as if it were a
/// file.
pub(crate) fn route_socket() -> io::Result<File> {
    // SAFETY: no memory is involved.
    let fd = check(unsafe {
        libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE)
    })?;
    // SAFETY: a fresh descriptor. The kernel binds the socket when it is first written to.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Switches `O_NONBLOCK` on.
pub(crate) fn set_nonblocking(file: &File) -> io::Result<()> {
    // SAFETY: plain fcntl on an open descriptor.
    let flags = check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// poll(2), restarted when a signal interrupts it; `timeout` in ms, -1 for none.
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout: c_int) -> io::Result<usize> {
    loop {
        // SAFETY: the slice's own length is passed.
        match check(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) }) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|n| n as usize),
        }
    }
}

/// Waits up to `timeout` ms for `events` on one descriptor; gives what came.
pub(crate) fn wait_for(fd: RawFd, events: i16, timeout: c_int) -> io::Result<i16> {
    let mut fds = [libc::pollfd { fd, events, revents: 0 }];
    poll(&mut fds, timeout)?;
    Ok(fds[0].revents)
}

/// An epoll(7) instance.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// One that waits for nothing yet.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: a fresh descriptor.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits for `fd` to become readable, too, which is told by `key`.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: key };
        let (epoll, fd) = (self.0.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: `event` is a valid epoll_event.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) })?;
        Ok(())
    }

    /// Waits for `fd` no longer.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let (epoll, fd) = (self.0.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: the operation takes no event.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, ptr::null_mut()) })?;
        Ok(())
    }

    /// The keys of what is readable, at least one.
    pub(crate) fn wait(&self) -> io::Result<Vec<u64>> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
        let room = events.len() as c_int;
        // SAFETY: the array's own length is passed.
        let n = check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, -1) })?;
        Ok(events[..n as usize].iter().map(|event| event.u64).collect())
    }
}

/// Has SIGALRM end this process after a while.
pub(crate) fn alarm(after: std::time::Duration) {
    // SAFETY: no memory is involved.
    unsafe { libc::alarm(after.as_secs() as libc::c_uint) };
}

/// A descriptor that becomes readable when the process `pid` ends (pidfd_open(2)).
pub(crate) fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as c_int)?;
    // SAFETY: a fresh descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By exit(2) with this status.
    Status(u8),
    /// By this signal.
    Signal(u8),
}

/// Reaps every child that has ended, waiting for `pid`; gives how that one ended.
pub(crate) fn reap(pid: i32) -> io::Result<Ended> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result.
        let who = match check(unsafe { libc::waitpid(-1, &mut status, 0) }) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if who != pid {
            continue;
        }
        if libc::WIFSIGNALED(status) {
            return Ok(Ended::Signal(libc::WTERMSIG(status) as u8));
        }
        if libc::WIFEXITED(status) {
            return Ok(Ended::Status(libc::WEXITSTATUS(status) as u8));
        }
    }
}

/// kill(2).
pub(crate) fn kill(pid: i32, signal: u8) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::kill(pid, c_int::from(signal)) })?;
    Ok(())
}

/// setsid(2).
pub(crate) fn setsid() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::setsid() })?;
    Ok(())
}

/// Makes `pid` the leader of a process group of its own.
pub(crate) fn own_process_group(pid: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::setpgid(pid, pid) })?;
    Ok(())
}

/// umask(2).
pub(crate) fn umask(mask: libc::mode_t) {
    // SAFETY: cannot fail, no memory is involved.
    unsafe { libc::umask(mask) };
}

/// sethostname(2).
pub(crate) fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length are those of `name`.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })?;
    Ok(())
}

/// Makes a node: `mode` holds the type (`S_IFCHR`, ...) and the permissions.
pub(crate) fn mknod(path: impl AsRef<Path>, mode: libc::mode_t, device: u64) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: `path` is a NUL-terminated string.
    check(unsafe { libc::mknod(path.as_ptr(), mode, device as libc::dev_t) })?;
    Ok(())
}

/// The device number of (major, minor).
pub(crate) fn device(major: u32, minor: u32) -> u64 {
    libc::makedev(major, minor)
}

/// Becomes the given user for good: supplementary groups, group, user.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the slice's own length is passed.
    check(unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) })?;
    // SAFETY: no memory is involved.
    check(unsafe { libc::setgid(gid) })?;
    // SAFETY: no memory is involved.
    check(unsafe { libc::setuid(uid) })?;
    Ok(())
}

/// Takes `capability` from the bounding set; false when the kernel knows no such capability.
pub(crate) fn drop_from_bounding_set(capability: u32) -> bool {
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, c_ulong::from(capability), 0, 0, 0) == 0 }
}

/// A resource limit that [`set_limit`] can set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// Open files.
    Files,
    /// Size of a core file.
    Core,
    /// Processes of a user.
    Processes,
}

/// "No limit" for [`set_limit`].
pub(crate) const UNLIMITED: u64 = libc::RLIM_INFINITY;

/// setrlimit(2).
pub(crate) fn set_limit(limit: Limit, soft: u64, hard: u64) -> io::Result<()> {
    let resource = match limit {
        Limit::Files => libc::RLIMIT_NOFILE,
        Limit::Core => libc::RLIMIT_CORE,
        Limit::Processes => libc::RLIMIT_NPROC,
    };
    let value = libc::rlimit { rlim_cur: soft as _, rlim_max: hard as _ };
    // SAFETY: `value` is a valid rlimit.
    check(unsafe { libc::setrlimit(resource, &value) })?;
    Ok(())
}

/// Whether this process's effective user may execute the file (faccessat(2), `AT_EACCESS`).
pub(crate) fn may_execute(path: &[u8]) -> io::Result<()> {
    let path = c_str(path)?;
    // SAFETY: `path` is a NUL-terminated string.
    check(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) })?;
    Ok(())
}

/// execve(2): comes back only to say why not.
pub(crate) fn exec(path: &[u8], argv: &[Vec<u8>], env: &[Vec<u8>]) -> io::Error {
    let strings = |list: &[Vec<u8>]| list.iter().map(|s| c_str(s)).collect::<io::Result<Vec<_>>>();
    let run = || -> io::Result<c_int> {
        let (path, argv, env) = (c_str(path)?, strings(argv)?, strings(env)?);
        let pointers =
            |list: &[CString]| list.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
        let (argv_ptrs, env_ptrs) = (pointers(&argv), pointers(&env));
        // SAFETY: both arrays end with a null pointer and point to NUL-terminated strings that are still
        // alive.
        check(unsafe { libc::execve(path.as_ptr(), argv_ptrs.as_ptr(), env_ptrs.as_ptr()) })
    };
    match run() {
        Ok(_) => io::Error::from_raw_os_error(libc::EINVAL),
        Err(e) => e,
    }
}

/// Sets the wall clock, in ns since 1970.
pub(crate) fn set_clock(realtime_ns: u64) -> io::Result<()> {
    let time = libc::timespec {
        tv_sec: (realtime_ns / 1_000_000_000) as _,
        tv_nsec: (realtime_ns % 1_000_000_000) as _,
    };
    // SAFETY: `time` is a valid timespec.
    check(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &time) })?;
    Ok(())
}

/// The extended attributes of a file itself (symbolic links are not followed): names and values.
pub(crate) fn xattrs(path: &Path) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let path = c_path(path)?;
    let mut names = vec![0u8; 1024];
    let len = loop {
        // SAFETY: the buffer's own length is passed.
        let n = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
        match n {
            0.. => break n as usize,
            _ => {
                let e = io::Error::last_os_error();
                if e.raw_os_error() != Some(libc::ERANGE) || names.len() > 1 << 16 {
                    return Err(e);
                }
                names.resize(names.len() * 4, 0);
            }
        }
    };
    let mut out = Vec::new();
    for name in names[..len].split(|&b| b == 0).filter(|n| !n.is_empty()) {
        let name = c_str(name)?;
        // The largest value the VFS lets through (linux/limits.h, XATTR_SIZE_MAX).
        let mut value = vec![0u8; 1 << 16];
        // SAFETY: strings are NUL-terminated, the buffer's own length is passed.
        let n =
            unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        value.truncate(n as usize);
        out.push((name, value));
    }
    Ok(out)
}

/// Sets an extended attribute of a file itself.
pub(crate) fn set_xattr(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: strings are NUL-terminated, the slice's own length is passed.
    check(unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) })?;
    Ok(())
}

/// Resets a signal's handling to the kernel's default.
pub(crate) fn default_signal(signal: c_int) {
    // SAFETY: installs no handler of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Makes a signal be ignored.
pub(crate) fn ignore_signal(signal: c_int) {
    // SAFETY: installs no handler of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Writes all file systems' changes to where they belong (sync(2)).
pub(crate) fn sync() {
    // SAFETY: cannot fail, no memory is involved.
    unsafe { libc::sync() };
}

/// Switches the machine off. Comes back only when the kernel refuses.
pub(crate) fn power_off() {
    // SAFETY: no memory is involved.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
}

/// Ends this process at once, without destructors.
pub(crate) fn exit_now(status: u8) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(c_int::from(status)) }
}

/// Writes to a descriptor given by number, waiting while it is full: for a process about to give up.
pub(crate) fn write_raw(fd: RawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the File is never dropped, so that the descriptor stays with its owner.
    let mut file = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    write_all(&mut file, bytes)
}

/// Writes everything, waiting with poll(2) while a non-blocking descriptor is full.
pub(crate) fn write_all(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                wait_for(file.as_raw_fd(), libc::POLLOUT, -1)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// What the C library says about an error, in docker's lower case: `no such file or directory`.
pub(crate) fn describe(error: &io::Error) -> String {
    let Some(code) = error.raw_os_error() else { return error.to_string() };
    let mut text = [0u8; 128];
    // SAFETY: the buffer's own length is passed.
    let ret = unsafe { libc::strerror_r(code, text.as_mut_ptr().cast(), text.len()) };
    let said = CStr::from_bytes_until_nul(&text).map(|s| OsStr::from_bytes(s.to_bytes()).to_string_lossy());
    match said {
        Ok(said) if ret == 0 && !said.is_empty() => {
            let mut chars = said.chars();
            chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
        }
        _ => format!("error {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_dockers() {
        let text = |code| describe(&io::Error::from_raw_os_error(code));
        assert_eq!(text(libc::ENOENT), "no such file or directory");
        assert_eq!(text(libc::ENOEXEC), "exec format error");
        assert_eq!(text(libc::EACCES), "permission denied");
    }

    #[test]
    fn a_nul_in_an_argument_is_an_error() {
        let e = exec(b"/bin/true", &[b"a\0b".to_vec()], &[]);
        assert_eq!(e.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn pipes_carry_and_end() {
        use std::io::Read;
        let (mut r, mut w) = pipe().unwrap();
        write_all(&mut w, b"abc").unwrap();
        drop(w);
        let mut got = Vec::new();
        r.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"abc");
    }
}
