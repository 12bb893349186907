//! What training runs besides the image's command: what most programs ask of a kernel, so that its usual
//! paths are known to be hot whatever the command was. Nothing here has a result; what fails was at least
//! tried.

use crate::{
    rootfs::ROOT,
    sys,
    traffic::{self, Peer},
};
use forelift_abi::net;
use libc::MS_RELATIME;
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    ptr::null_mut,
    time::Duration,
};

/// Size of a page in bytes.
const PAGE: usize = 4096;
/// Files of the image that are read and mapped at most, and the bytes of each.
const FILES: usize = 40;
const FILE_BYTES: usize = 1 << 20;

/// Size of the file that is read and written in blocks, and of the small and the large blocks, in bytes.
const BLOCKS: usize = 768 << 10;
const SMALL: usize = PAGE;
const LARGE: usize = 256 << 10;

/// Everything, once. `directory` is the mount tag of a host directory; `network`: something answers behind
/// the network device.
pub(crate) fn run(directory: &str, network: bool) {
    let programs = programs();
    single_bytes();
    read_and_map(&programs);
    files(Path::new("/files/exercise"));
    files(&Path::new(ROOT).join("exercise"));
    host_directory(directory);
    processes(&programs);
    pipes();
    signals();
    memory();
    threads();
    if network {
        through_the_device();
    }
    traffic::run();
}

/// The network device, with the peer that the host simulates.
fn through_the_device() {
    for ip in net::EXERCISE_PEERS {
        let at = |port| (ip, port).into();
        traffic::through(&Peer { echo: at(net::ECHO), discard: at(net::DISCARD), source: at(net::CHARGEN) });
    }
}

/// Some regular files of the image.
fn programs() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for dir in ["bin", "usr/bin", "lib", "usr/lib", "etc", "usr/lib/riscv64-linux-gnu"] {
        let Ok(entries) = fs::read_dir(Path::new(ROOT).join(dir)) else { continue };
        let mut here: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        here.sort();
        files.extend(here.into_iter().filter(|path| path.is_file()).take(FILES / 4));
    }
    files.truncate(FILES);
    files
}

/// System calls that do as little as possible.
fn single_bytes() {
    let (Ok(mut zero), Ok(mut null)) =
        (File::open("/dev/zero"), OpenOptions::new().write(true).open("/dev/null"))
    else {
        return;
    };
    let mut byte = [0];
    for _ in 0..3000 {
        let _ = zero.read(&mut byte);
        let _ = null.write(&byte);
    }
    for _ in 0..300 {
        // SAFETY: calls without arguments that only ask.
        unsafe {
            libc::getppid();
            libc::getuid();
        }
        let _ = std::time::SystemTime::now();
        let _ = fs::metadata(ROOT);
    }
}

fn read_and_map(programs: &[PathBuf]) {
    let mut buffer = vec![0; 16 * PAGE];
    for path in programs {
        let Ok(mut file) = File::open(path) else { continue };
        let len = file.metadata().map_or(0, |m| m.len() as usize).min(FILE_BYTES);
        let mut rest = len;
        while rest > 0 {
            match file.read(&mut buffer) {
                Ok(n) if n > 0 => rest = rest.saturating_sub(n),
                _ => break,
            }
        }
        touch(len, libc::MAP_PRIVATE, libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd(), 4);
    }
}

/// Maps `len` bytes, reads each page, writes every `stride`th, changes the protection, and unmaps.
fn touch(len: usize, flags: i32, protection: i32, fd: i32, stride: usize) {
    if len == 0 {
        return;
    }
    // SAFETY: a fresh mapping, which nobody else knows, of `len` bytes; it is only touched inside and
    // unmapped at the end. What a file does not fill of its last page is zeros.
    unsafe {
        let at = libc::mmap(null_mut(), len, protection, flags, fd, 0);
        if at == libc::MAP_FAILED {
            return;
        }
        let bytes = at.cast::<u8>();
        for (n, offset) in (0..len).step_by(PAGE).enumerate() {
            let byte = bytes.add(offset).read_volatile();
            if n % stride == 0 {
                bytes.add(offset).write_volatile(byte);
            }
        }
        libc::mprotect(at, len, libc::PROT_READ);
        libc::munmap(at, len);
    }
}

/// A directory's life.
fn files(dir: &Path) {
    if fs::create_dir(dir).is_err() {
        return;
    }
    let data = vec![b'x'; 3 * PAGE + 17];
    for n in 0..60 {
        let path = dir.join(format!("file{n}"));
        let Ok(mut file) = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)
        else {
            continue;
        };
        let _ = file.write_all(&data);
        for line in data[..200].chunks(20) {
            let _ = file.write_all(line);
        }
        let _ = file.seek(SeekFrom::Start(100));
        let mut back = vec![0; PAGE];
        let _ = file.read(&mut back);
        let _ = file.metadata();
        let _ = file.set_len(PAGE as u64);
        touch(PAGE, libc::MAP_SHARED, libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd(), 1);
        drop(file);
        let other = dir.join(format!("renamed{n}"));
        let _ = fs::rename(&path, &other);
        let _ = std::os::unix::fs::symlink(&other, &path);
        let _ = fs::read(&path);
    }
    if let Ok(entries) = fs::read_dir(dir) {
        for entry in entries.flatten() {
            let _ = entry.metadata();
            let _ = fs::remove_file(entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// The same on a host directory, and larger files.
fn host_directory(tag: &str) {
    let dir = Path::new("/exercise");
    if fs::create_dir(dir).is_err() || sys::mount(tag, dir, "virtiofs", MS_RELATIME, "").is_err() {
        return;
    }
    files(&dir.join("files"));
    blocks(&dir.join("small"), SMALL);
    blocks(&dir.join("large"), LARGE);
    let _ = sys::detach("/exercise");
}

/// Writes a file in blocks, and reads it.
fn blocks(path: &Path, size: usize) {
    let mut block = vec![b'y'; size];
    let _ = File::create(path).and_then(|mut file| {
        (0..BLOCKS / size).try_for_each(|_| file.write_all(&block))?;
        file.sync_all()
    });
    // The server has seen another file at the last open, so nothing of it is cached.
    if let Ok(mut file) = File::open(path) {
        while file.read(&mut block).is_ok_and(|n| n > 0) {}
    }
    let _ = fs::remove_file(path);
}

/// Forks, in children: memory and files; and programs that are executed.
fn processes(programs: &[PathBuf]) {
    for n in 0..60 {
        let Ok(child) = sys::fork() else { return };
        match child {
            Some(pid) => {
                let _ = sys::reap(pid);
            }
            None => {
                touch(
                    40 * PAGE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                    libc::PROT_READ | libc::PROT_WRITE,
                    -1,
                    1,
                );
                if let Some(path) = programs.get(n % programs.len().max(1)) {
                    let _ = File::open(path).and_then(|mut file| file.read(&mut [0; 800]));
                }
                if n % 2 == 0 {
                    // This program: it ends at once when it is not the first process.
                    let _ = sys::exec(b"/proc/self/exe", &[b"exercise".to_vec()], &[b"A=b".to_vec()]);
                }
                sys::exit_now(0)
            }
        }
    }
}

/// Two processes that wait for each other.
fn pipes() {
    let (Ok((mut here, mut there)), Ok((mut back_here, mut back_there))) = (sys::pipe(), sys::pipe()) else {
        return;
    };
    let mut byte = [7];
    match sys::fork() {
        Ok(Some(pid)) => {
            drop((here, back_there));
            for _ in 0..300 {
                if there.write(&byte).is_err() {
                    break;
                }
                let _ = sys::wait_for(back_here.as_raw_fd(), libc::POLLIN, 1000);
                if !matches!(back_here.read(&mut byte), Ok(1)) {
                    break;
                }
            }
            drop(there);
            let _ = sys::reap(pid);
        }
        Ok(None) => {
            drop((there, back_here));
            while matches!(here.read(&mut byte), Ok(1)) && back_there.write(&byte).is_ok() {}
            sys::exit_now(0)
        }
        Err(_) => {}
    }
}

extern "C" fn handler(_signal: i32) {}

fn signals() {
    let Ok(child) = sys::fork() else { return };
    if let Some(pid) = child {
        let _ = sys::reap(pid);
        return;
    }
    // SAFETY: the handler does nothing; this process has no other use.
    unsafe {
        libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t);
        for _ in 0..200 {
            libc::raise(libc::SIGUSR1);
        }
    }
    sys::exit_now(0)
}

fn memory() {
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    for pages in [1, 4, 16, 64, 256, 1024] {
        for _ in 0..6 {
            touch(pages * PAGE, anonymous, libc::PROT_READ | libc::PROT_WRITE, -1, 1);
        }
    }
    let mut list = Vec::new();
    for n in 0..4000_usize {
        list.push(vec![n as u8; n % 900]);
    }
    drop(list);
}

fn threads() {
    let Ok(child) = sys::fork() else { return };
    if let Some(pid) = child {
        let _ = sys::reap(pid);
        return;
    }
    let lock = std::sync::Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    if let Ok(mut count) = lock.lock() {
                        *count += 1;
                        std::thread::sleep(Duration::from_micros(100));
                    }
                }
            });
        }
    });
    sys::exit_now(0)
}
