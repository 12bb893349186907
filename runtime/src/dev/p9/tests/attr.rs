//! Attributes, owners, times.

use super::*;

const MODE: u32 = 1;
const UID: u32 = 2;
const GID: u32 = 4;
const SIZE: u32 = 8;
const ATIME: u32 = 0x10;
const MTIME: u32 = 0x20;
const ATIME_SET: u32 = 0x80;
const MTIME_SET: u32 = 0x100;

/// A `Tsetattr` of fields that all hold something, of which `valid` chooses.
fn set(fid: u32, valid: u32) -> Request<'static> {
    Request::Setattr {
        fid,
        valid,
        mode: 0o4751,
        uid: 999,
        gid: 998,
        size: 7,
        atime_sec: 1_000_000_000,
        atime_nsec: 123_456_789,
        mtime_sec: 1_100_000_000,
        mtime_nsec: 987_654_321,
    }
}

#[test]
fn kinds_sizes_and_links() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"12345").unwrap();
    std::fs::create_dir(c.at("d")).unwrap();
    c.symlink("l", "nowhere").unwrap();
    let f = c.stat("f").unwrap();
    assert_eq!((f.mode >> 12, f.size, f.nlink, f.qid.kind), (0o10, 5, 1, 0));
    assert_ne!(f.qid.version, 0, "a version of 0 would switch the guest's cache off");
    let d = c.stat("d").unwrap();
    assert_eq!((d.mode & 0o170777, d.qid.kind), (0o040755, Qid::DIR));
    let l = c.stat("l").unwrap();
    assert_eq!((l.mode & 0o170777, l.qid.kind), (0o120777, Qid::SYMLINK));
    let paths = [f.qid.path, d.qid.path, l.qid.path, c.stat("").unwrap().qid.path];
    assert!((0..4).all(|i| (0..i).all(|j| paths[i] != paths[j])), "one number per file: {paths:?}");
    // Stable, and the same through another name.
    let fid = c.walk("f").unwrap();
    c.done(&Request::Link { dir: ROOT, fid, name: b"f2" }).unwrap();
    let f2 = c.stat("f2").unwrap();
    assert_eq!((f2.qid.path, f2.nlink), (f.qid.path, 2));
    c.rename((ROOT, "f"), (ROOT, "f3")).unwrap();
    assert_eq!(c.stat("f3").unwrap().qid.path, f.qid.path);
    std::fs::write(c.at("f3"), b"other length").unwrap();
    assert_ne!(c.stat("f3").unwrap().qid.version, f.qid.version);
}

#[test]
fn size_and_times() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"0123456789").unwrap();
    let closed = c.walk("f").unwrap();
    c.done(&set(closed, SIZE | ATIME | ATIME_SET | MTIME | MTIME_SET)).unwrap();
    let a = c.attr(closed).unwrap();
    assert_eq!(a.size, 7);
    assert_eq!(a.atime.0, 1_000_000_000);
    assert_eq!(a.mtime.0, 1_100_000_000);
    // Node sets whole seconds.
    let exact = (a.atime.1, a.mtime.1) == (123_456_789, 987_654_321);
    assert!(exact || cfg!(target_os = "wasi") && (a.atime.1, a.mtime.1) == (0, 0), "{a:?}");
    // One without the other.
    c.done(&set(closed, MTIME)).unwrap();
    let b = c.attr(closed).unwrap();
    assert!(b.mtime.0 > 1_600_000_000, "now");
    assert_eq!(b.atime.0, a.atime.0, "untouched");
    assert_eq!(std::fs::read(c.at("f")).unwrap(), b"0123456");
    // Through an open file, also one that is open for reading only.
    let open = c.open("f", O_RDONLY).unwrap();
    c.done(&set(open, ATIME | ATIME_SET | MTIME | MTIME_SET)).unwrap();
    assert_eq!(c.attr(open).unwrap().mtime.0, 1_100_000_000);
    std::fs::write(c.at("f"), b"0123456789").unwrap();
    c.done(&set(open, SIZE)).unwrap();
    assert_eq!(c.attr(open).unwrap().size, 7);
    // A directory's times, but not its size.
    c.mkdir(ROOT, "d").unwrap();
    let d = c.walk("d").unwrap();
    c.done(&set(d, MTIME | MTIME_SET)).unwrap();
    assert_eq!(c.attr(d).unwrap().mtime.0, 1_100_000_000);
    assert_eq!(c.done(&set(d, SIZE)), Err(Errno::ISDIR));
}

#[test]
fn a_links_times_are_its_own() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"").unwrap();
    c.symlink("l", "f").unwrap();
    let l = c.walk("l").unwrap();
    c.done(&set(l, MTIME | MTIME_SET)).unwrap();
    assert_eq!(c.attr(l).unwrap().mtime.0, 1_100_000_000);
    assert_ne!(c.stat("f").unwrap().mtime.0, 1_100_000_000);
    assert!(c.done(&set(l, SIZE)).is_err());
    let mut bad = set(l, MTIME | MTIME_SET);
    if let Request::Setattr { mtime_nsec, .. } = &mut bad {
        *mtime_nsec = 1_000_000_000;
    }
    assert_eq!(c.done(&bad), Err(Errno::INVAL));
}

#[test]
fn chmod_and_chown_stick() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"").unwrap();
    let f = c.walk("f").unwrap();
    c.done(&set(f, MODE | UID | GID)).unwrap();
    let a = c.stat("f").unwrap();
    assert_eq!((a.mode, a.owner), (0o104751, (999, 998)));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(c.at("f")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o751, "no set-user-id bit reaches the host");
    }
    // By an open file, and after a rename.
    c.rename((ROOT, "f"), (ROOT, "g")).unwrap();
    assert_eq!(c.stat("g").unwrap().owner, (999, 998));
    // A file that takes the place starts anew.
    c.unlink(ROOT, "g", 0).unwrap();
    let new = c.create("g", O_RDWR, 0o640).unwrap();
    let a = c.attr(new).unwrap();
    assert_eq!((a.mode, a.owner), (0o100640, (0, 0)));
    c.done(&set(new, MODE)).unwrap();
    assert_eq!(c.attr(new).unwrap().mode, 0o104751);
}

#[test]
fn new_files_have_the_mode_that_was_asked_for() {
    let mut c = Client::new();
    for mode in [0o600, 0o666, 0o777, 0o755, 0o400] {
        let name = format!("f{mode:o}");
        let f = c.create(&name, O_RDWR, mode).unwrap();
        assert_eq!(c.attr(f).unwrap().mode, 0o100000 | mode);
        let name = format!("d{mode:o}");
        c.done(&Request::Mkdir { fid: ROOT, name: name.as_bytes(), mode, gid: 7 }).unwrap();
        let d = c.stat(&name).unwrap();
        assert_eq!((d.mode, d.owner), (0o040000 | mode, (0, 7)));
    }
}

#[test]
fn files_belong_to_whoever_attached_first() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"").unwrap();
    c.done(&Request::Version { msize: 64 << 10, version: b"9P2000.L" }).unwrap();
    c.attach(ROOT, b"1000:100").unwrap();
    assert_eq!(c.stat("f").unwrap().owner, (1000, 100));
    // A second attach sees the same, and what it makes is its user's.
    let www = 77;
    let attach = Request::Attach { fid: www, afid: NO_FID, uname: b"", aname: b"", n_uname: 33 };
    c.done(&attach).unwrap();
    let made = Request::Lcreate { fid: www, name: b"new", flags: O_RDWR, mode: 0o644, gid: 34 };
    c.done(&made).unwrap();
    assert_eq!(c.stat("new").unwrap().owner, (33, 34));
    assert_eq!(c.stat("f").unwrap().owner, (1000, 100));
}

#[test]
fn statfs_tells_of_space() {
    let mut c = Client::new();
    match c.rpc(&Request::Statfs { fid: ROOT }).unwrap() {
        Reply::Statfs { kind, bsize, blocks, bfree, namelen, .. } => {
            assert_eq!((kind, namelen), (0x0102_1997, 255));
            assert!(bsize >= 512 && blocks >= bfree && blocks > 0);
        }
        other => panic!("{other:?}"),
    }
}
