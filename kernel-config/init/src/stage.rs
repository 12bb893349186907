//! The container's first process, from fork to exec.
//!
//! Before the snapshot it builds the container around itself ([`prepare`]) and then blocks in reading its
//! orders from a pipe. Afterwards it does what depends on the orders and executes the command ([`obey`]), so
//! that the command is PID 1 of the container, as docker's is. It reports through a second pipe, which exec
//! closes:
//!
//! | bytes | meaning |
//! |---|---|
//! | `R` | prepared |
//! | `X` then end of file | the command runs |
//! | `F`, code, message, end of file | a failure |

use crate::{
    container::{self, Outer},
    env, etc, exec,
    failure::*,
    mounts, sys, tty, user,
};
use forelift_abi::control::{self, Start, ToGuest};
use std::{
    convert::Infallible,
    fs::{self, File, OpenOptions},
    io::Read,
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
};

/// The stage's ends of the pipes; the last three become the command's standard streams unless it has a
/// terminal.
pub(crate) struct Pipes {
    /// Where the orders come from.
    pub(crate) orders: File,
    /// Where reports go.
    pub(crate) status: File,
    /// Read end of standard input.
    pub(crate) stdin: File,
    /// Write end of standard output.
    pub(crate) stdout: File,
    /// Write end of standard error.
    pub(crate) stderr: File,
}

/// The whole life of the process; it ends in exec or in a report.
pub(crate) fn run(mut pipes: Pipes) -> ! {
    // Borrowed throughout: the status pipe must still be open for the report.
    let Err(failure) = prepare(&mut pipes.status).and_then(|outer| obey(&mut pipes, &outer));
    report(&failure);
    sys::exit_now(failure.code)
}

/// Number of the status pipe's write end, for the panic hook; -1 in the supervisor.
static STATUS_FD: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

/// Reports a failure to the supervisor. False when this is not the stage.
pub(crate) fn report(failure: &Failure) -> bool {
    let fd = STATUS_FD.load(std::sync::atomic::Ordering::Relaxed);
    fd >= 0 && sys::write_raw(fd, &[b"F", &[failure.code], failure.message.as_bytes()].concat()).is_ok()
}

fn prepare(status: &mut File) -> Result<Outer, Failure> {
    STATUS_FD.store(std::os::fd::AsRawFd::as_raw_fd(status), std::sync::atomic::Ordering::Relaxed);
    container::enter_namespaces()?;
    let outer = container::mount_all()?;
    container::restrict_process()?;
    sys::write_all(status, b"R").context("cannot report to the supervisor")?;
    Ok(outer)
}

fn read_orders(orders: &mut File) -> Result<Start, Failure> {
    let mut bytes = Vec::new();
    orders.read_to_end(&mut bytes).context("cannot read the orders")?;
    match control::take(&mut bytes) {
        Ok(Some(ToGuest::Start(start))) => Ok(start),
        _ => Err(Failure::own("the supervisor's orders are damaged")),
    }
}

fn obey(pipes: &mut Pipes, outer: &Outer) -> Result<Infallible, Failure> {
    let start = read_orders(&mut pipes.orders)?;
    if start.network.is_some() {
        outer.join()?;
    }
    if start.tty.is_none() {
        // Away from the supervisor's session and its terminal.
        sys::setsid().context("cannot make a session")?;
    }
    sys::set_hostname(&start.hostname).with_context(|| format!("invalid host name `{}`", start.hostname))?;
    etc::write(&start.hostname, start.network.as_ref())?;
    let file = |path| fs::read(path).unwrap_or_default();
    let identity = user::resolve(&start.user, &file("/etc/passwd"), &file("/etc/group"))?;
    mounts::mount_all(&start.mounts, &start.volumes, identity.uid, identity.gid)?;
    let environment = env::complete(start.env, &start.hostname, start.tty.is_some(), &identity.home);
    connect(start.tty.is_some(), start.stdin, pipes, identity.uid)?;

    let cwd = mounts::normalise(&start.cwd);
    let what = || format!("cannot use working directory {}", cwd.display());
    fs::create_dir_all(&cwd).with_context(what)?;
    // Once as root and once as the user: a file server may let in only the one or only the other (runc does
    // the same).
    let as_root = std::env::set_current_dir(&cwd);
    sys::become_user(identity.uid, identity.gid, &identity.groups).context("cannot change user")?;
    if as_root.is_err() {
        std::env::set_current_dir(&cwd).map_err(|e| {
            Failure::not_executable(format!("chdir to cwd (\"{}\"): {}", cwd.display(), sys::describe(&e)))
        })?;
    }
    sys::default_signal(libc::SIGPIPE);
    Err(exec::run(&start.argv, &environment, || drop(sys::write_all(&mut pipes.status, b"X"))))
}

/// Makes the terminal or the pipes the standard streams, owned by the user, who may then open `/dev/stdout`
/// and kin (runc: `fixStdioPermissions`).
fn connect(tty: bool, stdin: bool, pipes: &Pipes, uid: u32) -> Result<(), Failure> {
    let open = |path| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY);
        options.open(path).with_context(|| format!("cannot open {path}"))
    };
    if tty {
        let terminal = open(tty::PATH)?;
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open("/dev/console")
            .context("/dev/console")?;
        sys::mount(tty::PATH, "/dev/console", "", libc::MS_BIND, "").context("cannot mount /dev/console")?;
        return take_over(&[&terminal, &terminal, &terminal], uid);
    }
    let null = if stdin { None } else { Some(open("/dev/null")?) };
    take_over(&[null.as_ref().unwrap_or(&pipes.stdin), &pipes.stdout, &pipes.stderr], uid)
}

fn take_over(streams: &[&File; 3], uid: u32) -> Result<(), Failure> {
    for (number, stream) in (0..).zip(streams) {
        let meta = stream.metadata().context("cannot look at a standard stream")?;
        if meta.uid() != uid && meta.rdev() != sys::device(1, 3) {
            fchown(stream, Some(uid), None).context("cannot hand over a standard stream")?;
        }
        sys::dup2(stream, number).context("cannot set a standard stream")?;
    }
    Ok(())
}

/// What the stage reported after its orders, as the supervisor reads it.
pub(crate) fn outcome(report: &[u8]) -> Result<(), Failure> {
    // An `X` may stand before the failure of the exec itself.
    match report.strip_prefix(b"X").unwrap_or(report) {
        [b'F', code, message @ ..] => {
            Err(Failure { code: *code, message: String::from_utf8_lossy(message).into_owned() })
        }
        [] if !report.is_empty() => Ok(()),
        _ => Err(Failure::own("the container's first process died before it could run the command")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_apart() {
        assert_eq!(outcome(b"X"), Ok(()));
        assert_eq!(outcome(b"F\x7eno"), Err(Failure { code: 126, message: "no".into() }));
        assert_eq!(outcome(b"XF\x7fgone"), Err(Failure { code: 127, message: "gone".into() }));
        assert_eq!(outcome(b"").unwrap_err().code, 125);
        assert_eq!(outcome(b"F").unwrap_err().code, 125);
    }
}
