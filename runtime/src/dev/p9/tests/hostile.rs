//! A client that means harm: names, links, numbers, lengths.

use super::*;
use crate::dev::p9::fid::MAX_FIDS;

#[test]
fn dots_lead_nowhere() {
    let mut c = Client::new();
    std::fs::create_dir_all(c.at("a/b")).unwrap();
    let root = c.stat("").unwrap().qid;
    for path in ["..", "../..", "../../..", "a/..", "a/../..", "a/b/../../../.."] {
        assert_eq!(c.stat(path).unwrap().qid, root, "{path}");
    }
    assert_eq!(c.stat("a/b/..").unwrap().qid, c.stat("a").unwrap().qid);
    // `..` in the listing of the exported directory is that directory.
    let d = c.open("", O_RDONLY).unwrap();
    let entries = c.readdir(d, 0, 1000).unwrap();
    assert_eq!((entries[1].3.as_str(), entries[1].0.path), ("..", root.path));
}

#[test]
fn names_are_single_components() {
    let mut c = Client::new();
    std::fs::create_dir(c.at("a")).unwrap();
    std::fs::write(c.at("a/f"), b"").unwrap();
    let f = c.walk("a/f").unwrap();
    let bad: [&[u8]; 9] = [b"", b".", b"..", b"a/f", b"/etc", b"../x", b"a\0", b"\0", b"/"];
    for name in bad {
        let expected = Err(Errno::INVAL);
        if name != b".." {
            assert_eq!(
                c.done(&Request::Walk { fid: ROOT, newfid: 50, names: vec![name] }),
                expected,
                "{name:?}"
            );
        }
        let requests = [
            Request::Lcreate { fid: ROOT, name, flags: O_RDWR, mode: 0o644, gid: 0 },
            Request::Mkdir { fid: ROOT, name, mode: 0o755, gid: 0 },
            Request::Mknod { fid: ROOT, name, mode: 0o100644, major: 0, minor: 0, gid: 0 },
            Request::Symlink { fid: ROOT, name, target: b"x", gid: 0 },
            Request::Link { dir: ROOT, fid: f, name },
            Request::Rename { fid: f, dir: ROOT, name },
            Request::Renameat { old_dir: ROOT, old_name: name, new_dir: ROOT, new_name: b"x" },
            Request::Renameat { old_dir: ROOT, old_name: b"a", new_dir: ROOT, new_name: name },
            Request::Unlinkat { fid: ROOT, name, flags: 0 },
            Request::Unlinkat { fid: ROOT, name, flags: 0x200 },
        ];
        for request in requests {
            assert_eq!(c.done(&request), expected, "{request:?}");
        }
    }
    let long = [b'x'; 256];
    assert_eq!(c.done(&Request::Mkdir { fid: ROOT, name: &long, mode: 0, gid: 0 }), Err(Errno::NAMETOOLONG));
    assert_eq!(c.symlink("l", "a\0b"), Err(Errno::INVAL));
    assert_eq!(c.symlink("l", &"x".repeat(5000)), Err(Errno::NAMETOOLONG));
}

#[test]
fn deep_paths_end() {
    let mut c = Client::new();
    let name = "d".repeat(250);
    let mut at = c.walk("").unwrap();
    let mut made = 0;
    let error = loop {
        if let Err(e) = c.mkdir(at, &name) {
            break e;
        }
        made += 1;
        at = c.walk_from(at, &name).unwrap();
    };
    assert_eq!(error, Errno::NAMETOOLONG);
    assert!((10..=16).contains(&made), "{made}");
}

/// Links on the host, to places outside and inside: nothing is ever done through them.
#[cfg(unix)]
#[test]
fn links_are_never_followed() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), b"secret").unwrap();
    let secret_before = std::fs::metadata(outside.path().join("secret")).unwrap();
    let mut c = Client::new();
    std::fs::create_dir(c.at("inside")).unwrap();
    symlink(outside.path(), c.at("dir")).unwrap();
    symlink(outside.path().join("secret"), c.at("file")).unwrap();
    symlink(outside.path().join("new"), c.at("dangling")).unwrap();
    symlink("inside", c.at("in")).unwrap();
    for through in ["dir/secret", "dir/x", "in/x", "in/.."] {
        assert_eq!(
            c.stat(through).map(|a| a.size),
            Err(Errno::NOENT),
            "{through}: the walk stops at the link"
        );
    }
    for link in ["dir", "file", "dangling", "in"] {
        let l = c.walk(link).unwrap();
        assert_eq!(c.attr(l).unwrap().mode >> 12, 0o12);
        assert_eq!(c.walk_from(l, "secret"), Err(Errno::NOTDIR));
        for flags in [O_RDONLY, O_WRONLY, O_RDWR | O_TRUNC, 0o20_0000] {
            assert!(c.open(link, flags).is_err(), "{link}");
        }
        for flags in [O_RDWR, O_RDWR | O_TRUNC, O_RDWR | O_EXCL] {
            assert!(c.create(link, flags, 0o644).is_err(), "{link}");
        }
        assert_eq!(c.mkdir(l, "x"), Err(Errno::NOTDIR));
        assert_eq!(c.unlink(l, "secret", 0), Err(Errno::NOTDIR));
        assert_eq!(c.rename((ROOT, "inside"), (l, "x")), Err(Errno::NOTDIR));
        let set = |valid| Request::Setattr {
            fid: l,
            valid,
            mode: 0o777,
            uid: 0,
            gid: 0,
            size: 0,
            atime_sec: 1,
            atime_nsec: 0,
            mtime_sec: 1,
            mtime_nsec: 0,
        };
        assert!(c.done(&set(1)).is_err(), "chmod of {link}");
        assert!(c.done(&set(8)).is_err(), "truncate of {link}");
        assert_eq!(c.done(&set(0x120)), Ok(()), "its own times");
    }
    let secret = std::fs::metadata(outside.path().join("secret")).unwrap();
    assert_eq!(secret.modified().unwrap(), secret_before.modified().unwrap());
    assert_eq!(secret.permissions(), secret_before.permissions());
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    // A directory that turns into a link behind the server's back, while a fid names a file below it.
    std::fs::create_dir(c.at("sub")).unwrap();
    std::fs::write(c.at("sub/secret"), b"mine").unwrap();
    let below = c.walk("sub/secret").unwrap();
    let sub = c.walk("sub").unwrap();
    std::fs::remove_dir_all(c.at("sub")).unwrap();
    symlink(outside.path(), c.at("sub")).unwrap();
    assert_eq!(c.attr(below).map(|a| a.size), Err(Errno::NOTDIR));
    assert_eq!(c.done(&Request::Lopen { fid: below, flags: O_RDWR }), Err(Errno::NOTDIR));
    assert_eq!(c.unlink(sub, "secret", 0), Err(Errno::NOTDIR));
    assert_eq!(c.mkdir(sub, "x"), Err(Errno::NOTDIR));
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

/// The same by component-wise opening, as on hosts without *openat2*.
#[cfg(target_os = "linux")]
#[test]
fn links_are_not_followed_without_openat2() {
    let mut c = Client::new();
    std::fs::create_dir_all(c.at("a/b")).unwrap();
    std::fs::write(c.at("a/b/f"), b"f").unwrap();
    std::os::unix::fs::symlink("a", c.at("l")).unwrap();
    c.server.backend.without_openat2();
    let f = c.open("a/b/f", O_RDONLY).unwrap();
    assert_eq!(c.read(f, 0, 9).unwrap(), b"f");
    let below = c.walk("a/b/f").unwrap();
    std::fs::rename(c.at("a"), c.at("x")).unwrap();
    assert_eq!(c.attr(below).map(|a| a.size), Err(Errno::NOENT));
    std::os::unix::fs::symlink("x", c.at("a")).unwrap();
    assert_eq!(c.attr(below).map(|a| a.size), Err(Errno::NOTDIR));
}

#[cfg(unix)]
#[test]
fn special_files_are_seen_and_not_opened() {
    let mut c = Client::new();
    let path = c.at("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(c.at("socket")).unwrap();
    assert_eq!(c.stat("fifo").unwrap().mode >> 12, 0o1);
    assert_eq!(c.stat("socket").unwrap().mode >> 12, 0o14);
    for name in ["fifo", "socket"] {
        for flags in [O_RDONLY, O_WRONLY, O_RDWR] {
            assert_eq!(c.open(name, flags), Err(Errno::NXIO), "{name}");
            assert_eq!(c.create(name, flags, 0o644), Err(Errno::NXIO), "{name}");
        }
    }
    drop(listener);
}

#[test]
fn wrong_fids_and_unknown_messages() {
    let mut c = Client::new();
    let name: &[u8] = b"x";
    let requests = [
        Request::Statfs { fid: 9 },
        Request::Lopen { fid: 9, flags: 0 },
        Request::Lcreate { fid: 9, name, flags: 0, mode: 0, gid: 0 },
        Request::Symlink { fid: 9, name, target: name, gid: 0 },
        Request::Mknod { fid: 9, name, mode: 0, major: 0, minor: 0, gid: 0 },
        Request::Rename { fid: 9, dir: ROOT, name },
        Request::Rename { fid: ROOT, dir: 9, name },
        Request::Readlink { fid: 9 },
        Request::Getattr { fid: 9, mask: 0 },
        Request::Readdir { fid: 9, offset: 0, count: 99 },
        Request::Fsync { fid: 9, datasync: 0 },
        Request::Lock { fid: 9, kind: 0, flags: 0, start: 0, length: 0, proc_id: 0, client: name },
        Request::Getlock { fid: 9, kind: 0, start: 0, length: 0, proc_id: 0, client: name },
        Request::Link { dir: ROOT, fid: 9, name },
        Request::Link { dir: 9, fid: ROOT, name },
        Request::Mkdir { fid: 9, name, mode: 0, gid: 0 },
        Request::Renameat { old_dir: 9, old_name: name, new_dir: ROOT, new_name: name },
        Request::Renameat { old_dir: ROOT, old_name: name, new_dir: 9, new_name: name },
        Request::Unlinkat { fid: 9, name, flags: 0 },
        Request::Walk { fid: 9, newfid: 10, names: vec![] },
        Request::Read { fid: 9, offset: 0, count: 1 },
        Request::Write { fid: 9, offset: 0, data: Data(name) },
        Request::Clunk { fid: 9 },
        Request::Remove { fid: 9 },
    ];
    for request in requests {
        let expected =
            if matches!(request, Request::Rename { fid: ROOT, .. }) { Errno::BUSY } else { Errno::BADF };
        assert_eq!(c.done(&request), Err(expected), "{request:?}");
    }
    let refused = [
        Request::Auth { afid: 1, uname: name, aname: name, n_uname: 0 },
        Request::Attach { fid: 7, afid: 1, uname: name, aname: name, n_uname: 0 },
        Request::Xattrwalk { fid: ROOT, newfid: 8, name },
        Request::Xattrcreate { fid: ROOT, name, size: 1, flags: 0 },
    ];
    for request in refused {
        assert_eq!(c.done(&request), Err(Errno::OPNOTSUPP), "{request:?}");
    }
    assert_eq!(c.attach(ROOT, b""), Err(Errno::INVAL), "the fid is in use");
    c.done(&Request::Flush { oldtag: 1 }).unwrap();
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    let lock = Request::Lock { fid: f, kind: 1, flags: 1, start: 0, length: 0, proc_id: 5, client: name };
    assert_eq!(c.rpc(&lock), Ok(Reply::Lock { status: 0 }));
    let ask = Request::Getlock { fid: f, kind: 1, start: 3, length: 4, proc_id: 5, client: name };
    let free = Reply::Getlock { kind: 2, start: 3, length: 4, proc_id: 5, client: name };
    assert_eq!(c.rpc(&ask), Ok(free));
}

#[test]
fn fids_are_bounded() {
    let mut c = Client::new();
    let clone = |newfid| Request::Walk { fid: ROOT, newfid, names: vec![] };
    for newfid in 1..MAX_FIDS as u32 {
        c.done(&clone(newfid)).unwrap();
    }
    assert_eq!(c.done(&clone(MAX_FIDS as u32)), Err(Errno::NFILE));
    c.clunk(5).unwrap();
    c.done(&clone(MAX_FIDS as u32)).unwrap();
    // A new session starts with none.
    c.done(&Request::Version { msize: 8192, version: b"9P2000.L" }).unwrap();
    assert_eq!(c.clunk(6), Err(Errno::BADF));
    c.server.check_all_released();
}

#[test]
fn sizes_and_versions() {
    let mut c = Client::new();
    let ask = |msize, version: &'static [u8]| Request::Version { msize, version };
    assert_eq!(c.done(&ask(4095, b"9P2000.L")), Err(Errno::MSGSIZE));
    assert_eq!(
        c.rpc(&ask(u32::MAX, b"9P2000.L")),
        Ok(Reply::Version { msize: 512 << 10, version: b"9P2000.L" })
    );
    assert_eq!(c.rpc(&ask(8192, b"9P2000.u")), Ok(Reply::Version { msize: 8192, version: b"unknown" }));
    let mut reply = [0xaa; 64];
    let mut send = |message: &[u8], room: usize| {
        reply.fill(0xaa);
        let n = c.server.handle(message, &mut reply[..room]);
        (reply[..n].to_vec(), reply[room..].iter().all(|&b| b == 0xaa))
    };
    let error = |e: Errno| vec![11, 0, 0, 0, 7, 5, 0, e.0 as u8, 0, 0, 0];
    let clunk = [11, 0, 0, 0, 120, 5, 0, 9, 0, 0, 0];
    assert_eq!(send(&clunk, 64).0, error(Errno::BADF));
    for cut in 0..7 {
        assert_eq!(send(&clunk[..cut], 64).0, [], "no header, no answer");
    }
    for cut in 7..11 {
        assert_eq!(send(&clunk[..cut], 64).0, error(Errno::INVAL), "told to be longer than it is");
    }
    for size in [0u32, 6, 12, 8193, u32::MAX] {
        let mut m = clunk;
        m[..4].copy_from_slice(&size.to_le_bytes());
        assert_eq!(send(&m, 64).0, error(Errno::INVAL), "size {size}");
    }
    for id in [0, 6, 7, 9, 101, 106, 119, 124, 126, 255] {
        assert_eq!(send(&[7, 0, 0, 0, id, 5, 0], 64).0, error(Errno::OPNOTSUPP), "type {id}");
    }
    for room in 0..11 {
        assert_eq!(send(&clunk, room), (vec![], true), "no room for an error");
    }
}

/// A reply that has less room than its data gets as much as fits.
#[test]
fn short_reply_buffers() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), [7; 100]).unwrap();
    let fid = c.open("f", O_RDONLY).unwrap();
    let mut message = [0; 64];
    let n = Request::Read { fid, offset: 0, count: 100 }.encode(5, &mut message).unwrap();
    let mut reply = [0; 200];
    for room in 11..120 {
        let len = c.server.handle(&message[..n], &mut reply[..room]);
        assert_eq!(len, room.min(111), "{room}");
    }
}
