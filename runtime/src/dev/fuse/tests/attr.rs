//! Attributes, owners, times.

use super::*;

const MODE: u32 = 1;
const UID: u32 = 2;
const GID: u32 = 4;
const SIZE: u32 = 8;
const ATIME: u32 = 0x10;
const MTIME: u32 = 0x20;
const FH: u32 = 0x40;
const MTIME_NOW: u32 = 0x100;

/// A `FUSE_SETATTR` of fields that all hold something, of which `valid` chooses.
fn set(valid: u32) -> Set {
    Set {
        valid,
        fh: 0,
        mode: 0o4751,
        uid: 999,
        gid: 998,
        size: 7,
        atime: (1_000_000_000, 123_456_789),
        mtime: (1_100_000_000, 987_654_321),
    }
}

#[test]
fn kinds_sizes_and_links() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"12345").unwrap();
    std::fs::create_dir(c.at("d")).unwrap();
    c.symlink(ROOT, b"l", b"nowhere").unwrap();
    let f = c.stat("f").unwrap();
    assert_eq!((f.mode >> 12, f.size, f.nlink), (0o10, 5, 1));
    let d = c.stat("d").unwrap();
    assert_eq!(d.mode & 0o170_777, 0o040_755);
    let l = c.stat("l").unwrap();
    assert_eq!(l.mode & 0o170_777, 0o120_777);
    let numbers = [f.ino, d.ino, l.ino, c.attr(ROOT).unwrap().ino];
    assert!((0..4).all(|i| (0..i).all(|j| numbers[i] != numbers[j])), "one number per file: {numbers:?}");
    // Stable, and the same through another name.
    let node = c.walk("f").unwrap();
    c.link(node, ROOT, b"f2").unwrap();
    let f2 = c.stat("f2").unwrap();
    assert_eq!((f2.ino, f2.nlink), (f.ino, 2));
    c.rename((ROOT, b"f"), (ROOT, b"f3")).unwrap();
    assert_eq!(c.stat("f3").unwrap().ino, f.ino);
    std::fs::write(c.at("f3"), b"other length").unwrap();
    assert_eq!(c.stat("f3").unwrap().size, 12);
}

#[test]
fn size_and_times() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"0123456789").unwrap();
    let f = c.walk("f").unwrap();
    let a = c.set(f, set(SIZE | ATIME | MTIME)).unwrap();
    assert_eq!((a.size, a.atime.0, a.mtime.0), (7, 1_000_000_000, 1_100_000_000));
    // Node sets whole seconds.
    let exact = (a.atime.1, a.mtime.1) == (123_456_789, 987_654_321);
    assert!(exact || cfg!(target_os = "wasi") && (a.atime.1, a.mtime.1) == (0, 0), "{a:?}");
    // One without the other.
    let b = c.set(f, set(MTIME | MTIME_NOW)).unwrap();
    assert!(b.mtime.0 > 1_600_000_000, "now");
    assert_eq!(b.atime.0, a.atime.0, "untouched");
    assert_eq!(std::fs::read(c.at("f")).unwrap(), b"0123456");
    // Through an open file, also one that is open for reading only.
    let open = c.open("f", O_RDONLY).unwrap();
    assert_eq!(c.set(f, set(ATIME | MTIME)).unwrap().mtime.0, 1_100_000_000);
    assert_eq!(c.file_attr(open).unwrap().mtime.0, 1_100_000_000);
    std::fs::write(c.at("f"), b"0123456789").unwrap();
    assert_eq!(c.set(f, set(SIZE)).unwrap().size, 7, "truncate(2)");
    std::fs::write(c.at("f"), b"0123456789").unwrap();
    let w = c.open("f", O_WRONLY).unwrap();
    assert_eq!(c.set(f, Set { fh: w.fh, ..set(SIZE | FH) }).unwrap().size, 7, "ftruncate(2)");
    assert_eq!(c.set(f, Set { fh: w.fh, size: 1 << 40, ..set(SIZE | FH) }).unwrap().size, 1 << 40, "sparse");
    // A directory's times, but not its size.
    let (d, _) = c.mkdir(ROOT, b"d", 0o755).unwrap();
    assert_eq!(c.set(d, set(MTIME)).unwrap().mtime.0, 1_100_000_000);
    assert_eq!(c.set(d, set(SIZE)).map(drop), Err(Errno::ISDIR));
    assert!(c.set(ROOT, set(ATIME)).is_ok());
    assert_eq!(c.attr(ROOT).unwrap().atime.0, 1_000_000_000);
    assert_eq!(c.set(999, set(MTIME)).map(drop), Err(Errno::STALE));
}

#[test]
fn a_links_times_are_its_own() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"").unwrap();
    let (l, _) = c.symlink(ROOT, b"l", b"f").unwrap();
    assert_eq!(c.set(l, set(MTIME)).unwrap().mtime.0, 1_100_000_000);
    assert_ne!(c.stat("f").unwrap().mtime.0, 1_100_000_000);
    assert!(c.set(l, set(SIZE)).is_err());
    let bad = Set { mtime: (0, 1_000_000_000), ..set(MTIME) };
    assert_eq!(c.set(l, bad).map(drop), Err(Errno::INVAL));
    assert_eq!(c.set(l, Set { valid: MTIME | MTIME_NOW, ..bad }).map(drop), Ok(()), "not looked at");
}

/// Times that 32 bits, or 64 bits of nanoseconds, cannot say. WASI refuses what it cannot say.
#[test]
fn times_of_any_year() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"").unwrap();
    let f = c.walk("f").unwrap();
    for sec in [-1, -86_400 * 365 * 50, (1 << 31) + 5, 86_400 * 365 * 450] {
        let time = (sec, 999_999_999);
        let done = c.set(f, Set { atime: time, mtime: time, ..set(ATIME | MTIME) });
        if cfg!(target_os = "wasi") && sec < 0 {
            assert_eq!(done.map(drop), Err(Errno::OVERFLOW));
            continue;
        }
        let a = done.unwrap();
        let whole = cfg!(target_os = "wasi") && a.mtime == (sec, 0);
        assert!(a.mtime == time && a.atime == time || whole, "{sec}: {a:?}");
    }
    // ext4 ends in 2446: what the host makes of later years is the host's affair, but nothing is refused or
    // wrapped here.
    let late = (19_900_000_000, 123_456_789);
    let done = c.set(f, Set { mtime: late, ..set(MTIME) });
    if cfg!(target_os = "wasi") {
        assert_eq!(done.map(drop), Err(Errno::OVERFLOW));
    } else {
        let direct = std::fs::metadata(c.at("f")).unwrap().modified().unwrap();
        let shown = done.unwrap().mtime;
        let at = std::time::UNIX_EPOCH + std::time::Duration::new(shown.0.try_into().unwrap(), shown.1);
        assert_eq!(at, direct);
    }
}

#[test]
fn chmod_and_chown_stick() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"").unwrap();
    let f = c.walk("f").unwrap();
    let a = c.set(f, set(MODE | UID | GID)).unwrap();
    assert_eq!((a.mode, a.uid, a.gid), (0o104_751, 999, 998));
    let owner = |a: Attr| (a.uid, a.gid);
    // After a rename.
    c.rename((ROOT, b"f"), (ROOT, b"g")).unwrap();
    assert_eq!(owner(c.stat("g").unwrap()), (999, 998));
    // One of both.
    assert_eq!(owner(c.set(f, Set { uid: 5, ..set(UID) }).unwrap()), (5, 998));
    assert_eq!(owner(c.set(f, Set { gid: 6, ..set(GID) }).unwrap()), (5, 6));
    // A file that takes the place starts anew.
    c.unlink(ROOT, b"g").unwrap();
    let new = c.create("g", O_RDWR, 0o640).unwrap();
    let a = c.file_attr(new).unwrap();
    assert_eq!((a.mode, owner(a)), (0o100_640, (0, 0)));
    assert_eq!(c.set(new.node, set(MODE)).unwrap().mode, 0o104_751);
}

#[test]
fn new_files_have_the_mode_and_owner_that_was_asked_for() {
    let mut c = Client::new();
    for mode in [0o600, 0o666, 0o777, 0o755, 0o400, 0o4755, 0o2755, 0o6711, 0o1666, 0] {
        (c.uid, c.gid) = (mode, mode + 1);
        let name = format!("f{mode:o}");
        let (f, made) = c.create_in(ROOT, name.as_bytes(), O_RDWR, mode).unwrap();
        let a = c.file_attr(f).unwrap();
        for a in [a, made] {
            assert_eq!((a.mode, a.uid, a.gid), (0o100_000 | mode, mode, mode + 1), "{mode:o}");
        }
        let (_, n) = c.mknod(ROOT, format!("n{mode:o}").as_bytes(), 0o100_000 | mode).unwrap();
        assert_eq!((n.mode, n.uid, n.gid), (0o100_000 | mode, mode, mode + 1), "{mode:o}");
        let name = format!("d{mode:o}");
        // mkdir(2) gives the sticky bit, and no other than permissions.
        c.mkdir(ROOT, name.as_bytes(), mode & 0o1777).unwrap();
        let d = c.stat(&name).unwrap();
        assert_eq!((d.mode, d.uid, d.gid), (0o040_000 | mode & 0o1777, mode, mode + 1));
        let (_, l) = c.symlink(ROOT, format!("l{mode:o}").as_bytes(), b"x").unwrap();
        assert_eq!((l.mode, l.uid, l.gid), (0o120_777, mode, mode + 1));
    }
}

/// Who writes without privileges takes the bits that lend some. The client asks for it.
#[test]
fn lent_privileges_end_with_a_change() {
    const KILL: u32 = 1 << 11;
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"0123456789").unwrap();
    let f = c.walk("f").unwrap();
    let lend = |c: &mut Client, mode| {
        let a = c.set(f, Set { mode, ..set(MODE) }).unwrap();
        assert_eq!(a.mode, 0o100_000 | mode);
    };
    let mode = |c: &mut Client| c.attr(f).unwrap().mode & 0o7777;
    let w = c.open("f", O_RDWR).unwrap();
    lend(&mut c, 0o6755);
    c.write_with(w, 0, b"x", 4, O_RDWR).unwrap();
    assert_eq!(mode(&mut c), 0o755);
    lend(&mut c, 0o6745);
    c.write_with(w, 0, b"x", 4, O_RDWR).unwrap();
    assert_eq!(mode(&mut c), 0o2745, "without execute for the group, the bit says something else");
    lend(&mut c, 0o4755);
    c.set(f, set(SIZE | KILL)).unwrap();
    assert_eq!(mode(&mut c), 0o755);
    lend(&mut c, 0o4755);
    c.set(f, set(UID | KILL)).unwrap();
    assert_eq!(mode(&mut c), 0o755, "chown(2)");
    c.set(f, set(UID | MODE | KILL)).unwrap();
    assert_eq!(mode(&mut c), 0o4751, "what is set at the same time is set");
    lend(&mut c, 0o4755);
    let body = Body::new().u32(O_WRONLY | O_TRUNC).u32(1);
    let open = c.ask(op::OPEN, f, body).unwrap();
    let fh = u64::from_le_bytes(open[..8].try_into().unwrap());
    assert_eq!(mode(&mut c), 0o755, "open(2) with O_TRUNC");
    c.release(File { node: f, fh }).unwrap();
    lend(&mut c, 0o4755);
    let body = Body::new().u32(O_WRONLY | O_TRUNC | O_CREAT).u32(0o644).u32(0).u32(1).name(b"f");
    let open = c.ask(op::CREATE, ROOT, body).unwrap();
    let entry: [u8; 8] = open[..8].try_into().unwrap();
    assert_eq!((u64::from_le_bytes(entry), mode(&mut c)), (f, 0o755), "found by create");
    assert_eq!(open[40 + 60..40 + 64], 0o100_755u32.to_le_bytes(), "and told so");
    let fh = u64::from_le_bytes(open[128..136].try_into().unwrap());
    c.release(File { node: f, fh }).unwrap();
    c.tell(op::FORGET, f, Body::new().u64(1));
}

#[test]
fn files_belong_to_the_containers_user_that_init_tells() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"").unwrap();
    let name = crate::dev::fuse::OWNER_XATTR;
    let f = c.walk("f").unwrap();
    assert_eq!(c.set_xattr(f, name, b"1:2", 0), Err(Errno::PERM), "of the root only");
    for bad in [&b""[..], b"1", b"1:", b":1", b"a:b", b"1:2:3", b"-1:5", b"4294967296:1", b"\xff:1"] {
        assert_eq!(c.set_xattr(ROOT, name, bad, 0), Err(Errno::INVAL), "{bad:?}");
    }
    let fixed = |c: &mut Client| {
        #[cfg(target_os = "linux")]
        c.server.backend.set_owners(linux::fixed());
        let _ = c;
    };
    fixed(&mut c);
    let owner = |a: Attr| (a.uid, a.gid);
    assert_eq!(owner(c.attr(f).unwrap()), (0, 0));
    c.set_xattr(ROOT, name, b"1000:100", 0).unwrap();
    assert_eq!(c.set_xattr(ROOT, name, b"1:1", 0), Err(Errno::PERM), "said once");
    assert_eq!(c.get_xattr(ROOT, name, 99), Err(Errno::NODATA), "it is nowhere");
    assert_eq!(c.remove_xattr(ROOT, name), Err(Errno::NODATA));
    assert_eq!(owner(c.stat("f").unwrap()), (1000, 100));
    // What a process makes is its user's, and what is changed stays changed.
    (c.uid, c.gid) = (33, 34);
    c.create("new", O_RDWR, 0o644).unwrap();
    assert_eq!(owner(c.stat("new").unwrap()), (33, 34));
    assert_eq!(owner(c.stat("f").unwrap()), (1000, 100));
    assert_eq!(owner(c.set(f, set(UID)).unwrap()), (999, 100));
    // The next session begins anew.
    c.init();
    let f = c.walk("f").unwrap();
    assert_eq!(c.attr(f).unwrap().gid, 0);
    c.set_xattr(ROOT, name, b"7:8", 0).unwrap();
    assert_eq!(c.attr(f).unwrap().gid, 8);
}

#[test]
fn statfs_tells_of_space() {
    let mut c = Client::new();
    let reply = c.ask(op::STATFS, ROOT, Body::new()).unwrap();
    assert_eq!(reply.len(), 80);
    let long = |i: usize| u64::from_le_bytes(reply[8 * i..8 * i + 8].try_into().unwrap());
    let word = |i: usize| u32::from_le_bytes(reply[4 * i..4 * i + 4].try_into().unwrap());
    let (blocks, free, available, block, longest, fragment) =
        (long(0), long(1), long(2), word(10), word(11), word(12));
    assert!(blocks >= free && free >= available && blocks > 0);
    assert_eq!((block >= 512, longest, fragment), (true, 255, block));
}

/// `FUSE_SETXATTR` and its kin, as far as every host has them: not at all, or as Linux does (see `linux`).
#[test]
fn extended_attributes_answer_as_linux_does() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"").unwrap();
    let f = c.walk("f").unwrap();
    let value = c.get_xattr(f, "user.none", 0);
    assert!(matches!(value, Err(Errno::NODATA | Errno::OPNOTSUPP)), "{value:?}");
    if cfg!(target_os = "wasi") {
        assert_eq!(c.set_xattr(f, "user.a", b"x", 0), Err(Errno::OPNOTSUPP));
        assert_eq!(c.remove_xattr(f, "user.a"), Err(Errno::OPNOTSUPP));
        assert_eq!((c.list_xattrs(f, 0), c.list_xattrs(f, 9)), (Ok(vec![0; 8]), Ok(vec![])));
    }
    assert_eq!(c.set_xattr(f, &"u".repeat(256), b"", 0), Err(Errno::RANGE));
    let short = Body::new().u32(9).u32(0).name(b"user.a").bytes(b"short");
    assert_eq!(c.done(op::SETXATTR, f, short), Err(Errno::INVAL), "a value that is not there");
}
