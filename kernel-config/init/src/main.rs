//! The guest's init: PID 1 of the machine. It sets the container up, runs its command and reports its end.
//!
//! Two processes: the **supervisor** (this one), which stays in the outer namespaces and speaks the control
//! protocol of [`forelift_abi::control`], and the **stage** ([`stage`]), which becomes the command. The order
//! of a run:
//!
//! 1. The supervisor mounts the root file system ([`rootfs`]), makes a terminal ([`tty`]) and forks the stage
//!    into the container's namespaces; the stage builds the container ([`container`]) and waits for orders.
//! 2. The supervisor opens the ports ([`port`]), says *ready* and blocks in read. **The snapshot is taken
//!    here**, so nothing before depends on time or chance, and as little memory as possible has been written.
//! 3. On *start* it stirs fresh entropy in ([`entropy`]) before any user code runs, sets the network up
//!    ([`network`]), and passes the orders to the stage, which mounts, changes user and executes ([`mounts`],
//!    [`user`], [`mod@env`], [`exec`]).
//! 4. It pumps data and signals ([`io`]) until the command has ended and all its output is out, and says
//!    *exited*.
//!
//! The init must not die: the kernel would panic. Every error, and even a panic, becomes a *failed* message.

// Without std's start-up code, which aborts when descriptors 0 to 2 are closed and there is no /dev/null to
// open: the state in which a kernel without a console starts its init.
#![cfg_attr(not(test), no_main)]

mod container;
mod entropy;
mod env;
mod etc;
mod exec;
mod exercise;
mod failure;
mod foreign;
mod io;
mod ioctl;
mod log;
mod mounts;
mod netlink;
mod network;
mod port;
mod programs;
mod rootfs;
mod signals;
mod stage;
mod sys;
mod traffic;
mod tty;
mod user;

use failure::{Context, Failure};
use forelift_abi::{
    control::{self, Start, ToGuest, ToHost},
    exit,
};
use std::{
    fs::File,
    io::{Read, Write},
    thread::sleep,
    time::Duration,
};

/// How long the host may take to switch a machine off whose work is done.
const LINGER: Duration = Duration::from_secs(10);

/// Called by the C library's start-up code.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub extern "C" fn main() -> i32 {
    if std::process::id() != 1 {
        let _ = std::io::stderr()
            .write_all(b"forelift-init is the init of a Forelift guest; it runs as PID 1 only\n");
        return i32::from(exit::FAILURE);
    }
    std::panic::set_hook(Box::new(|info| {
        give_up(&Failure::own(format!("the guest's init panicked: {info}")))
    }));
    match supervise() {
        Ok(()) => switch_off(),
        Err(failure) => give_up(&failure),
    }
}

/// Tells whoever can be told, and ends: the stage by exit, the supervisor by switching the machine off.
fn give_up(failure: &Failure) -> ! {
    if stage::report(failure) {
        sys::exit_now(failure.code);
    }
    if !port::send_failure(failure) {
        log::warn(&format!("{failure}"));
        let _ = port::Control::open();
        port::send_failure(failure);
    }
    switch_off()
}

fn switch_off() -> ! {
    sleep(LINGER);
    loop {
        sys::power_off();
        sleep(LINGER);
    }
}

/// The supervisor's ends of the pipes to the stage.
struct Stage {
    pid: i32,
    orders: Option<File>,
    status: File,
    streams: io::Streams,
}

fn supervise() -> Result<(), Failure> {
    sys::umask(0o022);
    sys::ignore_signal(libc::SIGPIPE);
    rootfs::enter_base()?;
    sys::fill_standard_fds().context("cannot open /dev/null")?;
    let interface = network::prepare();
    rootfs::make_cgroup()?;
    rootfs::mount()?;
    let pty = tty::make()?;
    let mut stage = fork_stage()?;
    let mut control = port::Control::open()?;
    let ports = io::Ports {
        stdin: port::open(control::PORT_STDIN)?,
        stdout: port::open(control::PORT_STDOUT)?,
        stderr: port::open(control::PORT_STDERR)?,
    };
    wait_prepared(&mut stage.status)?;
    let namespaces = namespaces(stage.pid)?;
    control.send(&ToHost::Ready)?;

    let start = match receive_orders(&mut control)? {
        Orders::Run(start) => start,
        Orders::Exercise { directory, network } => {
            exercise::run(&directory, network);
            programs::run(stage.pid);
            return control.send(&ToHost::Exited { code: 0 });
        }
    };
    if !start.mounts.is_empty() {
        // Host directories are to be unmounted when the container has ended.
        drop(namespaces.mounts);
    }
    entropy::stir(&start.entropy)?;
    entropy::set_clock(start.realtime_ns);
    if let Some(network) = &start.network {
        network::configure(network, interface.as_ref())?;
    }
    let pty = give_orders(&mut stage, &start, pty)?;
    let mut report = Vec::new();
    stage.status.read_to_end(&mut report).context("cannot hear from the container's first process")?;
    stage::outcome(&report)?;
    control.send(&ToHost::Started)?;

    let ended = io::Pump::new(&start, stage.pid, ports, stage.streams, pty)?.run(&mut control)?;
    // The container's mounts went with its last process; what a host directory still had to be told is told
    // then. This covers a mount that anything else keeps alive.
    sys::sync();
    control.send(&ToHost::Exited {
        code: match ended {
            sys::Ended::Status(status) => status,
            sys::Ended::Signal(signal) => exit::from_signal(signal),
        },
    })
}

/// Starts the stage as PID 1 of a new pid namespace.
fn fork_stage() -> Result<Stage, Failure> {
    let pipe = || sys::pipe().context("cannot make a pipe");
    let (orders, to_stage) = pipe()?;
    let (from_stage, status) = pipe()?;
    let ((stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr)) = (pipe()?, pipe()?, pipe()?);
    sys::unshare(libc::CLONE_NEWPID).context("cannot make the container's pid namespace")?;
    match sys::fork().context("cannot fork")? {
        Some(pid) => Ok(Stage {
            pid,
            orders: Some(to_stage),
            status: from_stage,
            streams: io::Streams { stdin: to_stdin, stdout: from_stdout, stderr: from_stderr },
        }),
        None => {
            // Or it would wait for the end of orders that it could send itself.
            drop((to_stage, from_stage, to_stdin, from_stdout, from_stderr));
            stage::run(stage::Pipes { orders, status, stdin, stdout, stderr })
        }
    }
}

/// The container's namespaces, open: to take them apart takes time, which nobody has when the last process
/// leaves them.
struct Namespaces {
    mounts: File,
    _others: [File; 2],
}

fn namespaces(pid: i32) -> Result<Namespaces, Failure> {
    let open = |name| {
        File::open(format!("/proc/{pid}/ns/{name}"))
            .with_context(|| format!("cannot open the container's {name} namespace"))
    };
    Ok(Namespaces { mounts: open("mnt")?, _others: [open("net")?, open("ipc")?] })
}

fn wait_prepared(status: &mut File) -> Result<(), Failure> {
    let mut first = [0];
    match status.read(&mut first).context("cannot hear from the container's first process")? {
        1 if first == *b"R" => Ok(()),
        got => {
            let mut report = first[..got].to_vec();
            status.read_to_end(&mut report).context("cannot hear from the container's first process")?;
            stage::outcome(&report)
        }
    }
}

/// What there is to do.
enum Orders {
    /// The container's command.
    Run(Box<Start>),
    /// The exercise, with the mount tag of a host directory, and whether there is a network.
    Exercise { directory: String, network: bool },
}

fn receive_orders(control: &mut port::Control) -> Result<Orders, Failure> {
    loop {
        match control.receive()? {
            Some(ToGuest::Start(start)) => return Ok(Orders::Run(Box::new(start))),
            Some(ToGuest::Exercise { directory, network }) => {
                return Ok(Orders::Exercise { directory, network });
            }
            // What concerns a command has no meaning before there is one.
            Some(other) => log::warn(&format!("ignored before the start: {other:?}")),
            None => {}
        }
    }
}

/// Sets the terminal up, or gives it back when none is wanted, and lets the stage go.
fn give_orders(stage: &mut Stage, start: &Start, pty: tty::Pty) -> Result<Option<tty::Pty>, Failure> {
    let pty = match start.tty {
        Some(size) => {
            ioctl::set_window_size(&pty.master, size.rows, size.cols).context("cannot size the terminal")?;
            if !start.tty_echo {
                ioctl::echo_off(&pty.slave).context("cannot switch the terminal's echo off")?;
            }
            sys::own_process_group(stage.pid).context("cannot make a process group")?;
            ioctl::set_foreground(&pty.slave, stage.pid).context("cannot hand the terminal over")?;
            Some(pty)
        }
        None => None,
    };
    let orders = control::encode(&ToGuest::Start(start.clone()));
    if let Some(mut pipe) = stage.orders.take() {
        // A stage that is gone has said why. Dropping the pipe ends the orders.
        let _ = sys::write_all(&mut pipe, &orders);
    }
    Ok(pty)
}
