//! Full file systems, on a small tmpfs of the test's own.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use super::*;

const SIZE: usize = 256 << 10;

/// A tmpfs mounted on a directory `m`, unmounted at the end.
struct Small(HostDir);

impl Small {
    /// `None` for a user who may not mount.
    fn mount() -> Option<Self> {
        let small = Small(HostDir::new());
        std::fs::create_dir(small.path()).unwrap();
        let path = CString::new(small.path().as_os_str().as_bytes()).unwrap();
        let options = CString::new(format!("size={SIZE},nr_inodes=16")).unwrap();
        // SAFETY: all strings outlive the call.
        let done = unsafe {
            let kind = c"tmpfs".as_ptr();
            libc::mount(kind, path.as_ptr(), kind, libc::MS_NOSUID, options.as_ptr().cast())
        };
        if done == 0 {
            return Some(small);
        }
        let error = std::io::Error::last_os_error();
        let place = small.path();
        // There is nothing to unmount.
        std::mem::forget(small);
        // SAFETY: the call has no precondition.
        let root = unsafe { libc::geteuid() } == 0;
        assert!(
            !root,
            "root cannot mount a tmpfs on {}: {error}; run the tests where it may",
            place.display()
        );
        eprintln!("not root: full file systems are not tried");
        None
    }

    fn path(&self) -> PathBuf {
        self.0.path.join("m")
    }

    fn export(&self) -> HostFs {
        HostFs::open(&self.path()).unwrap()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let path = CString::new(self.path().as_os_str().as_bytes()).unwrap();
        // SAFETY: the string outlives the call.
        let done = unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        assert!(done == 0 || std::thread::panicking(), "{}", std::io::Error::last_os_error());
    }
}

#[test]
fn a_full_file_system_says_so() {
    let Some(small) = Small::mount() else { return };
    let mut c = Client::of(small.export(), false);
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    let block = [7; 48 << 10];
    let mut at = 0;
    let short = loop {
        match c.write(f, at, &block).unwrap() as usize {
            n if n == block.len() => at += n as u64,
            n => break n,
        }
    };
    at += short as u64;
    assert_eq!(at, SIZE as u64, "what had room was taken, and told");
    assert_eq!(c.write(f, at, &block), Err(Errno::NOSPC));
    assert_eq!(c.write_with(f, at, &block, 0, O_RDWR | O_APPEND), Err(Errno::NOSPC));
    assert_eq!(c.file_attr(f).unwrap().size, at);
    assert_eq!(c.allocate(f, 0, at, 1 << 20), Err(Errno::NOSPC));
    let g = c.create("g", O_RDWR, 0o644).unwrap();
    assert_eq!(c.copy((f, 0), (g, 0), 4096), Err(Errno::NOSPC));
    let space = |c: &mut Client| {
        let reply = c.ask(op::STATFS, ROOT, Body::new()).unwrap();
        u64::from_le_bytes(reply[8..16].try_into().unwrap())
    };
    assert_eq!(space(&mut c), 0);
    // A page that was written to by mmap(2) is written back whole, or its error is told: a short count would
    // be taken for success.
    c.set(f.node, Set { valid: 8, size: at - 4096, ..Set::default() }).unwrap();
    assert_eq!(space(&mut c), 1);
    assert_eq!(c.write_with(f, at - 4096, &[8; 8192], 1, O_RDWR), Err(Errno::NOSPC));
    c.set(f.node, Set { valid: 8, size: at - 4096, ..Set::default() }).unwrap();
    assert_eq!(c.write_with(f, at - 4096, &[8; 8192], 0, O_RDWR), Ok(4096));
    // Room again.
    c.set(f.node, Set { valid: 8, size: 4096, ..Set::default() }).unwrap();
    assert_eq!(c.write(f, 4096, &block), Ok(block.len() as u32));
    for file in [f, g] {
        c.flush(file).unwrap();
        c.fsync(file, false).unwrap();
    }
}

#[test]
fn no_more_files_can_be_made() {
    let Some(small) = Small::mount() else { return };
    let mut c = Client::of(small.export(), false);
    let mut made = 0;
    let error = loop {
        match c.mknod(ROOT, format!("f{made}").as_bytes(), 0o100_644) {
            Ok(_) => made += 1,
            Err(e) => break e,
        }
    };
    assert_eq!((error, made), (Errno::NOSPC, 15), "16 inodes, one of them the directory's");
    assert_eq!(c.create("x", O_RDWR, 0o644).map(drop), Err(Errno::NOSPC));
    assert_eq!(c.mkdir(ROOT, b"x", 0o755).map(drop), Err(Errno::NOSPC));
    assert_eq!(c.symlink(ROOT, b"x", b"y").map(drop), Err(Errno::NOSPC));
    assert_eq!(c.create_unnamed(ROOT, O_RDWR, 0o644).map(drop), Err(Errno::NOSPC));
    assert_eq!(c.look_up(ROOT, b"x").map(drop), Err(Errno::NOENT));
    c.unlink(ROOT, b"f3").unwrap();
    c.create("x", O_RDWR, 0o644).unwrap();
}

/// tmpfs keeps any time, where ext4 ends in 2446.
#[test]
fn times_that_few_file_systems_keep() {
    let Some(small) = Small::mount() else { return };
    let mut c = Client::of(small.export(), false);
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    for time in [(19_900_000_000, 123_456_789), (-19_900_000_000, 999_999_999), (0, 1), (-1, 0)] {
        let set = Set { valid: 0x30, atime: time, mtime: time, ..Set::default() };
        let a = c.set(f.node, set).unwrap();
        assert_eq!((a.atime, a.mtime), (time, time));
        let (_, a) = c.look_up(ROOT, b"f").unwrap();
        assert_eq!((a.atime, a.mtime), (time, time));
    }
}

/// Files of other file systems below the directory have numbers of their own.
#[test]
fn a_mount_below_the_directory_is_part_of_it() {
    let Some(small) = Small::mount() else { return };
    let mut c = Client::of(small.0.export(), false);
    let (inner, attr) = c.look_up(ROOT, b"m").unwrap();
    assert_ne!(attr.ino >> 56, c.attr(ROOT).unwrap().ino >> 56);
    let (f, made) = c.create_in(inner, b"f", O_RDWR, 0o644).unwrap();
    c.write(f, 0, b"there").unwrap();
    assert_eq!(std::fs::read(small.path().join("f")).unwrap(), b"there");
    let d = c.open_dir_node(inner).unwrap();
    let entries = c.readdir(d, 2, 4096).unwrap();
    assert_eq!(entries[0].0, made.ino);
    assert_eq!(c.link(f.node, ROOT, b"across").map(drop), Err(Errno::XDEV));
    assert_eq!(c.rename((inner, b"f"), (ROOT, b"across")), Err(Errno::XDEV));
    assert_eq!(c.rmdir(ROOT, b"m"), Err(Errno::BUSY));
}
