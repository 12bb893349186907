//! The module's imports: WASI preview 1.
//!
//! They are wasmtime-wasi's, except these, which shadow its own:
//! * `fd_read`, `fd_write`, `fd_fdstat_get` and `fd_fdstat_set_flags` on the standard streams, the control
//!   descriptor and the network's ([`super::net`]): wasmtime-wasi buffers them, cannot say "try again", and
//!   forgets why a write failed;
//! * `fd_read`, `fd_write`, `fd_fdstat_get`, `fd_prestat_get` and `fd_prestat_dir_name` on the descriptors of
//!   host directories ([`super::shares`]);
//! * `poll_oneoff`, which has to wait for all of them at once;
//! * `clock_time_get`, so that it and `poll_oneoff` mean the same clock;
//! * `proc_exit`: wasmtime-wasi refuses codes from 126 on.

use forelift_abi::embed::{CONTROL_FD, NET_FD, RECORD_SIZE};
use wasmtime::{AsContextMut, Caller, Engine, Linker, Memory};
use wasmtime_wasi::{
    WasiCtxBuilder,
    p1::{
        self, WasiP1Ctx,
        wasi_snapshot_preview1::{self as original, WasiSnapshotPreview1},
    },
    runtime::in_tokio,
};
use wiggle::GuestMemory;

use super::{
    control::Control,
    error::{RunError, one_line},
    net::{self, Net},
    options::RunOptions,
    poll::{self, Streams},
    shares::Shares,
    stdio::{self, Cursor, errno, put},
    terminal,
};

const MODULE: &str = "wasi_snapshot_preview1";
/// `$filetype`: unknown, character device, regular file.
const FILETYPE_UNKNOWN: u8 = 0;
const FILETYPE_CHARACTER_DEVICE: u8 = 2;
/// `$rights`: fd_read, fd_write, poll_fd_readwrite.
const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;
const RIGHT_POLL: u64 = 1 << 27;
/// `$fdflags`: non-blocking.
const FLAG_NONBLOCK: u16 = 1 << 2;

/// The module called `proc_exit` with this code.
#[derive(Debug)]
pub struct ProcExit(pub u32);

impl std::fmt::Display for ProcExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit with code {}", self.0)
    }
}

impl std::error::Error for ProcExit {}

/// What the imports work on.
pub struct Host {
    wasi: WasiP1Ctx,
    shares: Shares,
    net: Option<Net>,
    stdin: bool,
    /// Set once the module is about to start.
    pub control: Option<Control>,
    /// The module's memory, likewise.
    pub memory: Option<Memory>,
}

impl Host {
    /// Arguments, environment and directories of a run.
    ///
    /// # Errors
    /// When a directory cannot be opened, or the network not begun.
    pub fn new(options: &RunOptions) -> Result<Self, RunError> {
        let mut builder = WasiCtxBuilder::new();
        builder.args(&options.args).envs(&options.env).allow_blocking_current_thread(true);
        Ok(Host {
            wasi: builder.build_p1(),
            shares: Shares::open(&options.shares)?,
            net: options.network.as_ref().map(net::open).transpose()?,
            stdin: options.stdin,
            control: None,
            memory: None,
        })
    }
}

type Call<'a> = Caller<'a, Host>;

/// The module's memory and our state; fails only for a module that calls before it is started.
fn parts<'a>(caller: &'a mut Call<'_>) -> wasmtime::Result<(&'a mut [u8], &'a mut Host)> {
    let memory = caller.data().memory.ok_or_else(|| wasmtime::Error::msg("system call before the start"))?;
    Ok(memory.data_and_store_mut(caller))
}

/// A call's result as its error number, with `n` stored at `at` when it succeeded.
fn finish(memory: &mut [u8], at: u32, result: Result<u32, i32>) -> i32 {
    match result.and_then(|n| put(memory, at, &n.to_le_bytes())) {
        Ok(()) => errno::SUCCESS,
        Err(e) => e,
    }
}

fn fd_read(mut caller: Call<'_>, fd: i32, list: i32, count: i32, out: i32) -> wasmtime::Result<i32> {
    let (memory, host) = parts(&mut caller)?;
    let buffers = |memory: &[u8]| stdio::buffers(memory, list as u32, count as u32);
    let result = match fd as u32 {
        0 if host.stdin => buffers(memory).and_then(|b| stdio::read(memory, &b, 0)),
        0 => Ok(0),
        1 | 2 => Err(errno::BADF),
        CONTROL_FD => match &mut host.control {
            Some(control) => buffers(memory).and_then(|b| read_records(memory, &b, control)),
            None => Err(errno::BADF),
        },
        NET_FD => match &mut host.net {
            Some(net) => buffers(memory).and_then(|b| net.read(memory, &b)),
            None => Err(errno::BADF),
        },
        share if host.shares.has(share) => buffers(memory).and_then(|b| host.shares.read(memory, &b, share)),
        _ => return pass(caller, async |w, m| original::fd_read(w, m, fd, list, count, out).await),
    };
    Ok(finish(memory, out as u32, result))
}

fn read_records(memory: &mut [u8], buffers: &[(usize, usize)], control: &mut Control) -> Result<u32, i32> {
    let room: usize = buffers.iter().map(|b| b.1).sum::<usize>() / RECORD_SIZE;
    if room == 0 {
        return Err(errno::INVAL);
    }
    let mut bytes = Vec::new();
    while bytes.len() < room * RECORD_SIZE
        && let Some(record) = control.take()
    {
        bytes.extend_from_slice(&record.encode());
    }
    if bytes.is_empty() {
        return Err(errno::AGAIN);
    }
    Cursor::new(buffers).put(memory, &bytes);
    Ok(bytes.len() as u32)
}

fn fd_write(mut caller: Call<'_>, fd: i32, list: i32, count: i32, out: i32) -> wasmtime::Result<i32> {
    let (memory, host) = parts(&mut caller)?;
    let buffers = stdio::buffers(memory, list as u32, count as u32);
    let result = match fd as u32 {
        1 | 2 => buffers.and_then(|b| stdio::write(memory, &b, fd)),
        0 | CONTROL_FD => Err(errno::BADF),
        NET_FD => match &mut host.net {
            Some(net) => buffers.and_then(|b| net.write(memory, &b)),
            None => Err(errno::BADF),
        },
        share if host.shares.has(share) => buffers.and_then(|b| host.shares.write(memory, &b, share)),
        _ => return pass(caller, async |w, m| original::fd_write(w, m, fd, list, count, out).await),
    };
    Ok(finish(memory, out as u32, result))
}

fn fd_fdstat_get(mut caller: Call<'_>, fd: i32, out: i32) -> wasmtime::Result<i32> {
    let (memory, host) = parts(&mut caller)?;
    let (rights, below) = match (fd as u32, host.shares.read_only(fd as u32)) {
        (0 | CONTROL_FD, _) => (RIGHT_READ | RIGHT_POLL, 0),
        (1 | 2, _) => (RIGHT_WRITE | RIGHT_POLL, 0),
        (NET_FD, _) if host.net.is_some() => (RIGHT_READ | RIGHT_WRITE | RIGHT_POLL, 0),
        (NET_FD, _) => return Ok(errno::BADF),
        (_, Some(true)) => (RIGHT_READ | RIGHT_WRITE, RIGHT_READ),
        (_, Some(false)) => (RIGHT_READ | RIGHT_WRITE, RIGHT_READ | RIGHT_WRITE),
        _ => return pass(caller, async |w, m| original::fd_fdstat_get(w, m, fd, out).await),
    };
    if fd as u32 == CONTROL_FD && host.control.is_none() {
        return Ok(errno::BADF);
    }
    let tty = fd <= 2 && (fd != 0 || host.stdin) && terminal::is_tty(fd);
    let mut stat = [0u8; 24];
    stat[0] = if tty { FILETYPE_CHARACTER_DEVICE } else { FILETYPE_UNKNOWN };
    stat[2..4].copy_from_slice(&FLAG_NONBLOCK.to_le_bytes());
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    stat[16..].copy_from_slice(&below.to_le_bytes());
    Ok(put(memory, out as u32, &stat).err().unwrap_or(errno::SUCCESS))
}

fn fd_fdstat_set_flags(caller: Call<'_>, fd: i32, flags: i32) -> wasmtime::Result<i32> {
    match fd as u32 {
        // They never block, whatever is asked for.
        0..=2 | CONTROL_FD | NET_FD => Ok(errno::SUCCESS),
        _ => pass(caller, async |w, m| original::fd_fdstat_set_flags(w, m, fd, flags)),
    }
}

fn fd_prestat_get(mut caller: Call<'_>, fd: i32, out: i32) -> wasmtime::Result<i32> {
    let (memory, host) = parts(&mut caller)?;
    Ok(host.shares.prestat(memory, fd as u32, out as u32).err().unwrap_or(errno::SUCCESS))
}

fn fd_prestat_dir_name(mut caller: Call<'_>, fd: i32, to: i32, len: i32) -> wasmtime::Result<i32> {
    let (memory, host) = parts(&mut caller)?;
    Ok(host.shares.name(memory, fd as u32, to as u32, len as u32).err().unwrap_or(errno::SUCCESS))
}

fn poll_oneoff(mut caller: Call<'_>, list: i32, events: i32, count: i32, out: i32) -> wasmtime::Result<i32> {
    let (memory, host) = parts(&mut caller)?;
    let streams = Streams { stdin: host.stdin, control: host.control.as_ref(), net: host.net.as_ref() };
    let result = poll::poll_oneoff(memory, &streams, list as u32, events as u32, count as u32);
    Ok(finish(memory, out as u32, result))
}

fn clock_time_get(mut caller: Call<'_>, id: i32, _precision: i64, out: i32) -> wasmtime::Result<i32> {
    let (memory, _) = parts(&mut caller)?;
    Ok(match poll::clock_ns(id as u32) {
        Some(ns) => put(memory, out as u32, &ns.to_le_bytes()).err().unwrap_or(errno::SUCCESS),
        None => errno::INVAL,
    })
}

/// Passes a call on to wasmtime-wasi.
fn pass(
    mut caller: Call<'_>,
    call: impl AsyncFnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>) -> wasmtime::Result<i32>,
) -> wasmtime::Result<i32> {
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (memory, host) = parts(&mut caller)?;
    host.wasi.set_hostcall_fuel(fuel);
    in_tokio(call(&mut host.wasi, &mut GuestMemory::Unshared(memory)))
}

/// All imports.
///
/// # Errors
/// Only those of wasmtime.
pub fn linker(engine: &Engine) -> Result<Linker<Host>, RunError> {
    let build = || -> wasmtime::Result<Linker<Host>> {
        let mut linker = Linker::new(engine);
        p1::add_to_linker_sync(&mut linker, |host: &mut Host| &mut host.wasi)?;
        linker.allow_shadowing(true);
        linker.func_wrap(MODULE, "fd_read", fd_read)?;
        linker.func_wrap(MODULE, "fd_write", fd_write)?;
        linker.func_wrap(MODULE, "fd_fdstat_get", fd_fdstat_get)?;
        linker.func_wrap(MODULE, "fd_fdstat_set_flags", fd_fdstat_set_flags)?;
        linker.func_wrap(MODULE, "fd_prestat_get", fd_prestat_get)?;
        linker.func_wrap(MODULE, "fd_prestat_dir_name", fd_prestat_dir_name)?;
        linker.func_wrap(MODULE, "poll_oneoff", poll_oneoff)?;
        linker.func_wrap(MODULE, "clock_time_get", clock_time_get)?;
        linker.func_wrap(MODULE, "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::from(ProcExit(code as u32)))
        })?;
        Ok(linker)
    };
    build().map_err(|e| RunError::Engine(one_line(&e)))
}
