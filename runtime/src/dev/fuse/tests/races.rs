//! Links that lead out of the directory, those too that take a directory's place while it is used.

use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::*;
use crate::dev::fuse::testing::Random;

/// Path, mode, links, inode number, owner, group, time of change, content.
type Facts = (PathBuf, u32, u64, u64, u32, u32, SystemTime, Vec<u8>);

/// What must not change, and must not be read.
struct Outside(tempfile::TempDir);

impl Outside {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("f"), b"outside").unwrap();
        std::fs::create_dir(temp.path().join("sub")).unwrap();
        std::fs::write(temp.path().join("sub/f"), b"outside").unwrap();
        Outside(temp)
    }

    /// Every file with all that a client could change.
    fn state(&self) -> Vec<Facts> {
        let mut all = Vec::new();
        let mut dirs = vec![self.0.path().to_path_buf()];
        while let Some(dir) = dirs.pop() {
            let paths = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path());
            for path in paths.chain([dir.clone()]) {
                let m = std::fs::symlink_metadata(&path).unwrap();
                if m.is_dir() && path != dir {
                    dirs.push(path.clone());
                }
                let data = if m.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
                let time = m.modified().unwrap();
                all.push((path, m.mode(), m.nlink(), m.ino(), m.uid(), m.gid(), time, data));
            }
        }
        all.sort();
        all
    }
}

/// Links on the host, to places outside and inside: nothing is ever done through them.
#[test]
fn links_are_never_followed() {
    let outside = Outside::new();
    let before = outside.state();
    let mut c = Client::new();
    std::fs::create_dir(c.at("inside")).unwrap();
    symlink(outside.0.path(), c.at("dir")).unwrap();
    symlink(outside.0.path().join("f"), c.at("file")).unwrap();
    symlink(outside.0.path().join("new"), c.at("dangling")).unwrap();
    symlink("inside", c.at("in")).unwrap();
    for link in ["dir", "file", "dangling", "in"] {
        let l = c.walk(link).unwrap();
        assert_eq!(c.attr(l).unwrap().mode >> 12, 0o12);
        assert_eq!(c.look_up(l, b"f").map(drop), Err(Errno::NOTDIR));
        for flags in [O_RDONLY, O_WRONLY, O_RDWR | O_TRUNC] {
            assert!(c.open_node(l, flags).is_err(), "{link}");
        }
        assert_eq!(c.open_dir_node(l).map(drop), Err(Errno::NOTDIR));
        for flags in [O_RDWR, O_RDWR | O_TRUNC, O_RDWR | O_EXCL] {
            assert!(c.create(link, flags, 0o644).is_err(), "{link}");
        }
        assert_eq!(c.mkdir(l, b"x", 0o755).map(drop), Err(Errno::NOTDIR));
        assert_eq!(c.unlink(l, b"f"), Err(Errno::NOTDIR));
        assert_eq!(c.rename((ROOT, b"inside"), (l, b"x")), Err(Errno::NOTDIR));
        assert_eq!(c.create_unnamed(l, O_RDWR, 0o600).map(drop), Err(Errno::NOTDIR));
        let set = |valid| Set { valid, mode: 0o777, mtime: (1, 0), ..Set::default() };
        assert_eq!(c.set(l, set(1)).map(drop), Err(Errno::OPNOTSUPP), "chmod of {link}");
        assert!(c.set(l, set(8)).is_err(), "truncate of {link}");
        assert_eq!(c.set(l, set(0x20)).unwrap().mtime.0, 1, "its own times");
        // A second name of the link, wherever it is, is that link.
        let (second, _) = c.link(l, ROOT, format!("{link}-2").as_bytes()).unwrap();
        assert_eq!(second, l);
    }
    // A directory that turns into a link behind the server's back, while a node names a file below it.
    std::fs::create_dir(c.at("sub")).unwrap();
    std::fs::write(c.at("sub/f"), b"mine").unwrap();
    let (sub, below) = (c.walk("sub").unwrap(), c.walk("sub/f").unwrap());
    std::fs::remove_dir_all(c.at("sub")).unwrap();
    symlink(outside.0.path(), c.at("sub")).unwrap();
    assert_eq!(c.attr(below).map(drop), Err(Errno::NOTDIR));
    assert_eq!(c.open_node(below, O_RDWR).map(drop), Err(Errno::NOTDIR));
    assert_eq!(c.unlink(sub, b"f"), Err(Errno::NOTDIR));
    assert_eq!(c.mkdir(sub, b"x", 0o755).map(drop), Err(Errno::NOTDIR));
    assert_eq!(c.set_xattr(below, "user.a", b"x", 0), Err(Errno::NOTDIR));
    let d = c.open_dir_node(sub).unwrap();
    assert_eq!(c.readdir(d, 0, 4096), Err(Errno::NOTDIR));
    assert_eq!(outside.state(), before);
}

/// The same by component-wise opening, as on hosts without *openat2*.
#[test]
fn links_are_not_followed_without_openat2() {
    let mut c = Client::new();
    std::fs::create_dir_all(c.at("a/b")).unwrap();
    std::fs::write(c.at("a/b/f"), b"f").unwrap();
    symlink("a", c.at("l")).unwrap();
    c.server.backend.without_openat2();
    let f = c.open("a/b/f", O_RDONLY).unwrap();
    assert_eq!(c.read(f, 0, 9).unwrap(), b"f");
    c.release(f).unwrap();
    let below = c.walk("a/b/f").unwrap();
    std::fs::rename(c.at("a"), c.at("x")).unwrap();
    assert_eq!(c.attr(below).map(drop), Err(Errno::NOENT));
    symlink("x", c.at("a")).unwrap();
    assert_eq!(c.attr(below).map(drop), Err(Errno::NOTDIR));
}

/// One operation of a client that works below the directory `d`, whatever that is at the moment.
fn step(c: &mut Client, r: &mut Random, known: (u64, u64, u64), i: usize, inside: &[u64]) {
    let (d, f, sub) = known;
    let name = format!("n{}", r.below(4)).into_bytes();
    let other = format!("n{}", r.below(4)).into_bytes();
    let node = [d, sub][r.below(2)];
    let mut looked = None;
    match r.below(20) {
        0 => looked = c.look_up(node, b"f").ok(),
        1..=3 => {
            if let Ok((open, _)) = c.open_node(f, [O_RDONLY, O_RDWR, O_RDWR | O_TRUNC][i % 2]) {
                let data = c.read(open, 0, 99).unwrap();
                assert!(data.starts_with(b"inside"), "{}", String::from_utf8_lossy(&data));
                if i % 2 == 1 {
                    c.write(open, 0, b"inside!").unwrap();
                }
                c.release(open).unwrap();
            }
        }
        4 | 5 => {
            if let Ok((open, attr)) = c.create_in(node, &name, O_RDWR, 0o644) {
                let _ = c.write(open, attr.size, b"inside");
                c.release(open).unwrap();
                c.forget(open.node, 1);
            }
        }
        6 => {
            if let Ok((open, _)) = c.create_unnamed(node, O_RDWR, 0o600) {
                c.release(open).unwrap();
                c.forget(open.node, 1);
            }
        }
        7 => looked = c.mkdir(node, &name, 0o755).ok(),
        8 => looked = c.symlink(node, &name, b"/etc").ok(),
        9 => looked = c.mknod(node, &name, 0o010_644).ok(),
        10 => looked = c.link(f, node, &name).ok(),
        11 => drop(c.unlink(node, &name)),
        12 => drop(c.rmdir(node, &name)),
        13 => drop(c.rename((node, &name), (d, &other))),
        14 => drop(c.rename_with((node, &name), (sub, &other), 2)),
        15 => drop(c.set(f, Set { valid: 1, mode: 0o600 | r.below(64) as u32, ..Set::default() })),
        16 => drop(c.set(f, Set { valid: 0x20 | 2, mtime: (i as i64, 0), uid: 5, ..Set::default() })),
        17 => drop(c.set(sub, Set { valid: 1, mode: 0o700 | r.below(64) as u32, ..Set::default() })),
        18 => {
            let _ = c.set_xattr([f, sub][r.below(2)], "user.a", b"x", 0);
        }
        _ => {
            if let Ok(dir) = c.open_dir_node(node) {
                if let Ok(entries) = c.readdir(dir, 0, 4096) {
                    assert!(entries.iter().all(|e| !inside.contains(&e.0)), "{entries:?}");
                }
                c.release_dir(dir).unwrap();
            }
        }
    }
    if let Some((node, attr)) = looked {
        assert!(!inside.contains(&attr.ino), "a file of the outside was seen: {attr:?}");
        c.forget(node, 1);
    }
}

fn race(with_openat2: bool, seed: u64) {
    let outside = Outside::new();
    let before = outside.state();
    let forbidden: Vec<u64> = before.iter().map(|s| s.3).collect();
    let mut c = Client::new();
    if !with_openat2 {
        c.server.backend.without_openat2();
    }
    std::fs::create_dir_all(c.at("d/sub")).unwrap();
    std::fs::write(c.at("d/f"), b"inside").unwrap();
    symlink(outside.0.path(), c.at("x")).unwrap();
    let known = (c.walk("d").unwrap(), c.walk("d/f").unwrap(), c.walk("d/sub").unwrap());
    let (d, x) = (c.at("d"), c.at("x"));
    let stop = AtomicBool::new(false);
    let exchanges = std::thread::scope(|scope| {
        let host = scope.spawn(|| {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            let mut count = 0u32;
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &d, CWD, &x, RenameFlags::EXCHANGE).unwrap();
                count += 1;
            }
            count
        });
        let mut r = Random(seed);
        for i in 0..20_000 {
            step(&mut c, &mut r, known, i, &forbidden);
        }
        stop.store(true, Ordering::Relaxed);
        host.join().unwrap()
    });
    assert!(exchanges > 1000, "{exchanges}");
    assert_eq!(outside.state(), before, "the outside was touched");
}

#[test]
fn a_directory_that_is_exchanged_for_a_link_all_the_time() {
    race(true, 0x1234_5678);
}

#[test]
fn the_same_without_openat2() {
    race(false, 0x8765_4321);
}
