//! What only a Linux host can: any name, any link, special files, owners, extended attributes, holes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::dev::fuse::fs::{Owner, Owners};

/// What a process that is not root may do with owners; tests often run as root.
pub(super) fn fixed() -> Owners {
    // SAFETY: neither call has a precondition.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    Owners::Fixed(Owner { uid, gid })
}

fn is_root() -> bool {
    // SAFETY: the call has no precondition.
    unsafe { libc::geteuid() == 0 }
}

/// Runs a test of this file once more, in a process of its own that `limit` has prepared: limits and masks
/// are a whole process's. True in that process.
fn in_child(name: &str, limit: fn()) -> bool {
    const MARK: &str = "FORELIFT_TEST_CHILD";
    if std::env::var_os(MARK).is_some() {
        limit();
        return true;
    }
    let test = format!("dev::fuse::tests::linux::{name}");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let out = child.args([&test, "--exact", "--test-threads=1"]).env(MARK, "1").output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    false
}

#[test]
fn names_are_bytes() {
    let mut c = Client::new();
    let names: [&[u8]; 6] = [b"\xff\xfe", b"caf\xe9", b"a\nb", b"*", b" ", &[0x80; 255]];
    for name in names {
        let (f, _) = c.create_in(ROOT, name, O_RDWR | O_EXCL, 0o644).unwrap();
        c.write(f, 0, name).unwrap();
        assert_eq!(std::fs::read(c.at("").join(OsStr::from_bytes(name))).unwrap(), name);
        assert_eq!(c.look_up(ROOT, name).unwrap().0, f.node);
    }
    let d = c.open_dir("").unwrap();
    let mut listed: Vec<_> = c.readdir(d, 2, 4096).unwrap().into_iter().map(|e| e.3).collect();
    listed.sort();
    let mut expected = names.map(<[u8]>::to_vec);
    expected.sort();
    assert_eq!(listed, expected);
    let (e, _) = c.mkdir(ROOT, b"d\xff", 0o755).unwrap();
    c.rename((ROOT, names[0]), (e, b"\xff")).unwrap();
    assert_eq!(c.symlink(e, b"l", b"\xfe\xff/x").map(|l| c.readlink(l.0)).unwrap().unwrap(), b"\xfe\xff/x");
    for name in &names[1..] {
        c.unlink(ROOT, name).unwrap();
    }
    c.release_dir(d).unwrap();
}

#[test]
fn links_have_any_text() {
    let mut c = Client::new();
    let long = [b'x'; 4095];
    let texts: [&[u8]; 6] = [b"/etc/passwd", b"/", b"../../../..", b"gone", b"a//b/./c", &long];
    for (i, text) in texts.into_iter().enumerate() {
        let name = format!("l{i}");
        let (l, attr) = c.symlink(ROOT, name.as_bytes(), text).unwrap();
        assert_eq!((attr.size, attr.mode), (text.len() as u64, 0o120_777));
        assert_eq!(c.readlink(l).unwrap(), text);
        assert_eq!(std::fs::read_link(c.at(&name)).unwrap().as_os_str().as_bytes(), text);
    }
    assert_eq!(c.symlink(ROOT, b"longer", &[b'x'; 4096]).map(drop), Err(Errno::NAMETOOLONG));
}

#[test]
fn fifos_and_sockets_are_made_seen_and_not_opened() {
    let mut c = Client::new();
    (c.uid, c.gid) = (5, 6);
    for (kind, name) in [(0o010_000, "fifo"), (0o140_000, "socket")] {
        let (node, attr) = c.mknod(ROOT, name.as_bytes(), kind | 0o622).unwrap();
        assert_eq!((attr.mode, attr.uid, attr.gid, attr.rdev), (kind | 0o622, 5, 6, 0));
        assert_eq!(std::fs::symlink_metadata(c.at(name)).unwrap().mode(), kind | 0o622);
        for flags in [O_RDONLY, O_WRONLY, O_RDWR] {
            assert_eq!(c.open_node(node, flags).map(drop), Err(Errno::NXIO), "{name}");
            assert_eq!(c.create(name, flags, 0o644).map(drop), Err(Errno::NXIO), "{name}");
        }
        assert!(c.set(node, Set { valid: 8, size: 0, ..Set::default() }).is_err());
        assert_eq!(c.set(node, Set { valid: 1, mode: 0o600, ..Set::default() }).unwrap().mode, kind | 0o600);
    }
    let listener = std::os::unix::net::UnixListener::bind(c.at("bound")).unwrap();
    assert_eq!(c.stat("bound").unwrap().mode >> 12, 0o14);
    drop(listener);
    let d = c.open_dir("").unwrap();
    let kinds: Vec<u32> = c.readdir(d, 2, 4096).unwrap().into_iter().map(|e| e.2).collect();
    assert_eq!(kinds.iter().sum::<u32>(), 1 + 12 + 12, "{kinds:?}");
}

/// Nobody on the host who waits at a FIFO is woken by the guest.
#[test]
fn a_fifo_is_not_touched() {
    let mut c = Client::new();
    let (node, _) = c.mknod(ROOT, b"fifo", 0o010_644).unwrap();
    let path = c.at("fifo");
    let (told, tells) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        told.send(()).unwrap();
        std::fs::read(path)
    });
    tells.recv().unwrap();
    for _ in 0..50 {
        for flags in [O_RDONLY, O_WRONLY, O_RDWR] {
            assert_eq!(c.open_node(node, flags).map(drop), Err(Errno::NXIO));
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(!waiting.is_finished(), "it found a writer");
    }
    std::fs::OpenOptions::new().write(true).open(c.at("fifo")).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), b"");
}

#[test]
fn devices_show_their_numbers() {
    // /dev itself: what is in it belongs to the host, and only looking is safe.
    let mut c = Client::of(HostFs::open(Path::new("/dev")).unwrap(), true);
    let (node, null) = c.look_up(ROOT, b"null").unwrap();
    assert_eq!((null.mode >> 12, null.rdev), (2, 0x103));
    assert_eq!(c.open_node(node, O_RDONLY).map(drop), Err(Errno::NXIO));
}

#[test]
fn a_directory_gives_its_group() {
    let mut c = Client::new();
    let (d, _) = c.mkdir(ROOT, b"d", 0o755).unwrap();
    std::fs::set_permissions(c.at("d"), std::fs::Permissions::from_mode(0o2775)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(c.at("d"), Some(50), Some(60)).unwrap();
        std::fs::set_permissions(c.at("d"), std::fs::Permissions::from_mode(0o2775)).unwrap();
    }
    let group = c.attr(d).unwrap().gid;
    (c.uid, c.gid) = (33, 34);
    let (f, attr) = c.create_in(d, b"f", O_RDWR, 0o664).unwrap();
    assert_eq!((attr.uid, attr.gid), (33, group));
    let (sub, attr) = c.mkdir(d, b"sub", 0o755).unwrap();
    assert_eq!((attr.uid, attr.gid, attr.mode), (33, group, 0o042_755), "and hands it on");
    let (_, attr) = c.create_in(sub, b"g", O_RDWR, 0o600).unwrap();
    assert_eq!((attr.uid, attr.gid), (33, group));
    let (_, attr) = c.create_unnamed(d, O_RDWR, 0o600).unwrap();
    assert_eq!((attr.uid, attr.gid), (33, group));
    c.release(f).unwrap();
}

#[test]
fn root_keeps_owners_on_the_host() {
    if !is_root() {
        eprintln!("not root: the host keeps no owners; the next test is about that");
        return;
    }
    let mut c = Client::new();
    (c.uid, c.gid) = (33, 34);
    let f = c.create("f", O_RDWR, 0o4755).unwrap();
    c.mkdir(ROOT, b"d", 0o1777).unwrap();
    c.symlink(ROOT, b"l", b"f").unwrap();
    let facts = |c: &Client, name: &str| {
        let m = std::fs::symlink_metadata(c.at(name)).unwrap();
        (m.uid(), m.gid(), m.mode())
    };
    assert_eq!(facts(&c, "f"), (33, 34, 0o104_755), "the set-user-id bit outlives the change of owner");
    assert_eq!(facts(&c, "d"), (33, 34, 0o041_777));
    assert_eq!(facts(&c, "l"), (33, 34, 0o120_777));
    let l = c.walk("l").unwrap();
    c.set(l, Set { valid: 2 | 4, uid: 7, gid: 8, ..Set::default() }).unwrap();
    assert_eq!((facts(&c, "l"), facts(&c, "f").0), ((7, 8, 0o120_777), 33), "the link, not its target");
    c.unlink(ROOT, b"f").unwrap();
    let attr = c.set(f.node, Set { valid: 2, uid: 9, ..Set::default() }).unwrap();
    assert_eq!((attr.uid, attr.gid), (9, 34), "an open file without a name");
    assert_eq!(c.set(l, Set { valid: 2, uid: u32::MAX, ..Set::default() }).map(|a| a.gid), Ok(8));
    assert_eq!(facts(&c, "l").0, 7, "all ones are nobody");
}

#[test]
fn owners_that_the_host_does_not_keep_are_remembered() {
    let mut c = Client::new();
    c.server.backend.set_owners(fixed());
    c.set_xattr(ROOT, crate::dev::fuse::OWNER_XATTR, b"1000:100", 0).unwrap();
    (c.uid, c.gid) = (33, 34);
    let f = c.create("f", O_RDWR, 0o4755).unwrap();
    let me = std::fs::metadata(c.at("f")).unwrap();
    assert_eq!(Owners::Fixed(Owner { uid: me.uid(), gid: me.gid() }), fixed(), "the host's user made it");
    assert_eq!((me.mode(), c.stat("f").unwrap().mode), (0o104_755, 0o104_755), "the mode is the host's");
    let a = c.stat("f").unwrap();
    assert_eq!((a.uid, a.gid), (33, 34));
    let a = c.set(f.node, Set { valid: 2, uid: 70, ..Set::default() }).unwrap();
    assert_eq!((a.uid, a.gid), (70, 34));
    c.rename((ROOT, b"f"), (ROOT, b"g")).unwrap();
    assert_eq!(c.stat("g").unwrap().uid, 70);
    // What the host makes is the container's user's; strangers have numbers.
    std::fs::write(c.at("host"), b"").unwrap();
    let a = c.stat("host").unwrap();
    assert_eq!((a.uid, a.gid), (1000, 100));
    if is_root() {
        std::os::unix::fs::chown(c.at("host"), Some(4242), None).unwrap();
        let a = c.stat("host").unwrap();
        assert_eq!((a.uid, a.gid), (4242, 100));
    }
    c.init();
    assert_eq!(c.stat("g").unwrap().uid, 70, "a remount forgets nothing");
}

#[test]
fn the_processs_umask_means_nothing() {
    fn mask() {
        // SAFETY: the call has no precondition.
        unsafe { libc::umask(0o077) };
    }
    if !in_child("the_processs_umask_means_nothing", mask) {
        return;
    }
    let mut c = Client::new();
    for mode in [0o777u32, 0o666, 0o644, 0o600, 0o4711] {
        let name = |kind: &str| format!("{kind}{mode:o}").into_bytes();
        let bits = |attr: Attr| attr.mode & 0o7777;
        let (f, attr) = c.create_in(ROOT, &name("f"), O_RDWR, mode).unwrap();
        assert_eq!((bits(attr), bits(c.file_attr(f).unwrap())), (mode, mode));
        assert_eq!(bits(c.mkdir(ROOT, &name("d"), mode & 0o777).unwrap().1), mode & 0o777);
        assert_eq!(bits(c.mknod(ROOT, &name("n"), 0o100_000 | mode).unwrap().1), mode);
        assert_eq!(bits(c.mknod(ROOT, &name("p"), 0o010_000 | mode).unwrap().1), mode);
        assert_eq!(bits(c.create_unnamed(ROOT, O_RDWR, mode).unwrap().1), mode);
    }
    let (d, _) = c.mkdir(ROOT, b"d", 0o755).unwrap();
    c.set(d, Set { valid: 1, mode: 0o2777, ..Set::default() }).unwrap();
    assert_eq!(c.mkdir(d, b"e", 0o777).unwrap().1.mode, 0o042_777, "what its directory gave it stays");
}

#[test]
fn the_hosts_limit_of_open_files_is_an_error() {
    fn limit() {
        let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        // SAFETY: the structure outlives the call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    }
    if !in_child("the_hosts_limit_of_open_files_is_an_error", limit) {
        return;
    }
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"content").unwrap();
    std::fs::create_dir(c.at("d")).unwrap();
    let f = c.walk("f").unwrap();
    let d = c.walk("d").unwrap();
    let mut open = Vec::new();
    let error = loop {
        match c.open_node(f, O_RDWR) {
            Ok((file, _)) => open.push(file),
            Err(e) => break e,
        }
        assert!(open.len() < 64);
    };
    assert_eq!(error, Errno::MFILE);
    assert!(open.len() > 32, "{}", open.len());
    let dir = c.open_dir("").unwrap();
    assert_eq!(c.readdir(dir, 0, 4096), Err(Errno::MFILE));
    assert_eq!(c.create("new", O_RDWR, 0o644).map(drop), Err(Errno::MFILE));
    assert!(!exists(&c.at("new")));
    assert_eq!(c.create_in(d, b"new", O_RDWR, 0o644).map(drop), Err(Errno::MFILE));
    // What is open works, its close included.
    assert_eq!(c.write(open[0], 0, b"CON"), Ok(3));
    assert_eq!(c.read(open[1], 0, 99).unwrap(), b"CONtent");
    assert_eq!(c.flush(open[0]), Ok(()));
    c.release(open[0]).unwrap();
    c.release(open[1]).unwrap();
    assert_eq!(c.names(dir, 4096), ["d", "f"]);
    c.create_in(d, b"new", O_RDWR, 0o644).unwrap();
}

/// `ENODATA`, sizes of 0, too small and right, flags.
fn round_trip(c: &mut Client, node: u64) {
    assert_eq!(c.get_xattr(node, "user.a", 99), Err(Errno::NODATA));
    c.set_xattr(node, "user.a", b"value", 0).unwrap();
    assert_eq!(c.get_xattr(node, "user.a", 0).unwrap(), [5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(c.get_xattr(node, "user.a", 4), Err(Errno::RANGE));
    assert_eq!(c.get_xattr(node, "user.a", 5).unwrap(), b"value");
    assert_eq!(c.set_xattr(node, "user.a", b"x", 1), Err(Errno::EXIST), "XATTR_CREATE");
    assert_eq!(c.set_xattr(node, "user.b", b"x", 2), Err(Errno::NODATA), "XATTR_REPLACE");
    c.set_xattr(node, "user.b", b"", 1).unwrap();
    let big: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
    c.set_xattr(node, "user.a", &big, 2).unwrap();
    assert_eq!(c.get_xattr(node, "user.a", 4096).unwrap(), big);
    assert_eq!(c.get_xattr(node, "user.b", 9).unwrap(), b"");
    let list = c.list_xattrs(node, 4096).unwrap();
    let mut names: Vec<&[u8]> = list.split(|&b| b == 0).filter(|n| n.starts_with(b"user.")).collect();
    names.sort();
    assert_eq!(names, [b"user.a", b"user.b"]);
    assert_eq!(c.list_xattrs(node, 1), Err(Errno::RANGE));
    c.remove_xattr(node, "user.a").unwrap();
    assert_eq!(c.remove_xattr(node, "user.a"), Err(Errno::NODATA));
    assert_eq!(c.get_xattr(node, "nonsense", 9), Err(Errno::OPNOTSUPP));
    assert_eq!(c.set_xattr(node, "nonsense.a", b"x", 0), Err(Errno::OPNOTSUPP));
}

#[test]
fn extended_attributes() {
    let mut c = Client::new();
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    round_trip(&mut c, f.node);
    c.release(f).unwrap();
    let (d, _) = c.mkdir(ROOT, b"d", 0o755).unwrap();
    round_trip(&mut c, d);
    let (g, _) = c.create_in(d, b"g", O_RDWR, 0o644).unwrap();
    c.release(g).unwrap();
    round_trip(&mut c, g.node);
    round_trip(&mut c, ROOT);
    // Without a name, by the open file.
    let g = c.open_node(g.node, O_RDONLY).unwrap().0;
    c.unlink(d, b"g").unwrap();
    assert_eq!(c.get_xattr(g.node, "user.b", 9).unwrap(), b"");
    c.set_xattr(g.node, "user.c", b"late", 0).unwrap();
    assert_eq!(c.get_xattr(g.node, "user.c", 9).unwrap(), b"late");
    // Links and special files have none of a user's (xattr(7)); a link is not followed.
    let (l, _) = c.symlink(ROOT, b"l", b"f").unwrap();
    let (p, _) = c.mknod(ROOT, b"p", 0o010_644).unwrap();
    for node in [l, p] {
        assert_eq!(c.set_xattr(node, "user.a", b"x", 0), Err(Errno::PERM));
        assert_eq!(c.get_xattr(node, "user.b", 9), Err(Errno::NODATA));
        assert_eq!(c.remove_xattr(node, "user.b"), Err(Errno::PERM));
    }
    if is_root() {
        c.set_xattr(l, "trusted.a", b"of the link", 0).unwrap();
        assert_eq!(c.get_xattr(l, "trusted.a", 99).unwrap(), b"of the link");
        assert_eq!(c.get_xattr(f.node, "trusted.a", 99), Err(Errno::NODATA));
    }
}

#[test]
fn allocation_and_holes() {
    const KEEP: u32 = 1;
    const PUNCH: u32 = 2;
    const ZERO: u32 = 0x10;
    let mut c = Client::new();
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    c.allocate(f, 0, 0, 100_000).unwrap();
    let attr = c.file_attr(f).unwrap();
    assert!(attr.size == 100_000 && attr.blocks * 512 >= 100_000, "{attr:?}");
    c.allocate(f, KEEP, 0, 1 << 20).unwrap();
    let attr = c.file_attr(f).unwrap();
    assert!(attr.size == 100_000 && attr.blocks * 512 >= 1 << 20, "{attr:?}");
    c.set(f.node, Set { valid: 8, size: 0, ..Set::default() }).unwrap();
    c.write(f, 0, &[7; 1 << 15]).unwrap();
    c.write(f, 1 << 16, &[8; 1 << 15]).unwrap();
    assert_eq!((c.seek(f, 0, 4), c.seek(f, 1 << 15, 3)), (Ok(1 << 15), Ok(1 << 16)));
    assert_eq!(c.seek(f, 1 << 16, 4), Ok((1 << 16) + (1 << 15)));
    c.allocate(f, PUNCH | KEEP, 4096, 8192).unwrap();
    assert_eq!((c.seek(f, 0, 4), c.seek(f, 4096, 3)), (Ok(4096), Ok(3 * 4096)));
    let data = c.read(f, 0, 4 * 4096).unwrap();
    let expected = [vec![7; 4096], vec![0; 8192], vec![7; 4096]].concat();
    assert_eq!(data, expected);
    c.allocate(f, ZERO | KEEP, 0, 10).unwrap();
    assert_eq!(c.read(f, 0, 12).unwrap(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 7]);
    assert_eq!(c.allocate(f, PUNCH, 0, 10), Err(Errno::OPNOTSUPP), "without keeping the size");
    assert_eq!(c.allocate(f, 0, 0, 0), Err(Errno::INVAL));
    assert_eq!(c.allocate(f, 0, u64::MAX, 1), Err(Errno::INVAL));
    let r = c.open("f", O_RDONLY).unwrap();
    assert_eq!(c.allocate(r, 0, 0, 10), Err(Errno::BADF));
}

#[test]
fn copies_within_the_host() {
    let mut c = Client::new();
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    let g = c.create("g", O_RDWR, 0o644).unwrap();
    let data: Vec<u8> = (0..200_000u32).map(|i| (i >> 3) as u8).collect();
    for (i, part) in data.chunks(50_000).enumerate() {
        c.write(f, 50_000 * i as u64, part).unwrap();
    }
    assert_eq!(c.copy((f, 1000), (g, 10), 100_000), Ok(100_000));
    let copied = std::fs::read(c.at("g")).unwrap();
    assert_eq!((&copied[..10], &copied[10..]), (&[0; 10][..], &data[1000..101_000]));
    assert_eq!(c.copy((f, 199_990), (g, 0), u64::MAX), Ok(10), "as far as there is data");
    assert_eq!(c.copy((f, 200_000), (g, 0), 9), Ok(0));
    // Within a file, but not onto itself.
    assert_eq!(c.copy((f, 0), (f, 300_000), 100), Ok(100));
    assert_eq!(c.read(f, 300_000, 100).unwrap(), data[..100]);
    assert_eq!(c.copy((f, 0), (f, 50), 100), Err(Errno::INVAL));
}

#[test]
fn files_without_a_name_get_one() {
    let mut c = Client::new();
    (c.uid, c.gid) = (33, 34);
    let (d, _) = c.mkdir(ROOT, b"d", 0o755).unwrap();
    let (f, attr) = c.create_unnamed(d, O_RDWR, 0o640).unwrap();
    assert_eq!((attr.mode, attr.nlink, attr.uid, attr.gid), (0o100_640, 0, 33, 34));
    c.write(f, 0, b"unseen").unwrap();
    assert_eq!(std::fs::read_dir(c.at("d")).unwrap().count(), 0);
    assert_eq!(c.file_attr(f).unwrap().size, 6);
    // Opened again, through /proc/self/fd in the guest.
    let again = c.open_node(f.node, O_RDONLY).unwrap().0;
    assert_eq!(c.read(again, 0, 9).unwrap(), b"unseen");
    assert_eq!(c.open_node(f.node, O_WRONLY | O_TRUNC).and_then(|w| c.write(w.0, 0, b"new")), Ok(3));
    c.set(f.node, Set { valid: 1, mode: 0o600, ..Set::default() }).unwrap();
    let (linked, attr) = c.link(f.node, d, b"named").unwrap();
    assert_eq!((linked, attr.nlink, attr.mode, attr.uid), (f.node, 1, 0o100_600, 33));
    assert_eq!(std::fs::read(c.at("d/named")).unwrap(), b"new");
    assert_eq!(c.walk("d/named"), Ok(f.node));
    c.unlink(d, b"named").unwrap();
    assert_eq!(c.link(f.node, d, b"back").map(drop), Err(Errno::NOENT), "it was removed for good");
    let file = c.create("file", O_RDWR, 0o600).unwrap();
    assert_eq!(c.create_unnamed(file.node, O_RDWR, 0o600).map(drop), Err(Errno::NOTDIR));
    assert_eq!(c.create_unnamed(ROOT, O_RDONLY, 0o600).map(drop), Err(Errno::INVAL));
}

#[test]
fn two_names_are_exchanged() {
    let mut c = Client::new();
    let (d, _) = c.mkdir(ROOT, b"d", 0o755).unwrap();
    let (x, _) = c.create_in(d, b"x", O_RDWR, 0o644).unwrap();
    let (f, _) = c.create_in(ROOT, b"f", O_RDWR, 0o644).unwrap();
    c.write(f, 0, b"f").unwrap();
    assert_eq!(c.rename_with((ROOT, b"f"), (ROOT, b"none"), 2), Err(Errno::NOENT));
    assert_eq!(c.rename_with((ROOT, b"d"), (d, b"x"), 2), Err(Errno::INVAL));
    // A directory and a file.
    c.rename_with((ROOT, b"d"), (ROOT, b"f"), 2).unwrap();
    assert_eq!((c.walk("d"), c.walk("f"), c.walk("f/x")), (Ok(f.node), Ok(d), Ok(x.node)));
    assert_eq!(std::fs::read(c.at("d")).unwrap(), b"f");
    c.write(x, 0, b"x").unwrap();
    assert_eq!((c.attr(x.node).unwrap().size, std::fs::read(c.at("f/x")).unwrap()), (1, b"x".to_vec()));
    // Two files in different directories.
    c.rename_with((ROOT, b"d"), (d, b"x"), 2).unwrap();
    assert_eq!((c.walk("d"), c.walk("f/x")), (Ok(x.node), Ok(f.node)));
    // Two names of one file.
    c.link(f.node, ROOT, b"g").unwrap();
    c.rename_with((ROOT, b"g"), (d, b"x"), 2).unwrap();
    assert_eq!((c.walk("g"), c.walk("f/x")), (Ok(f.node), Ok(f.node)));
    c.unlink(d, b"x").unwrap();
    assert_eq!(c.attr(f.node).unwrap().nlink, 1);
}

#[test]
fn a_link_that_leads_to_the_root_leads_nowhere() {
    // /proc/self has links of the kernel's own making, which are no text.
    for with_openat2 in [true, false] {
        let mut c = Client::of(HostFs::open(Path::new("/proc/self")).unwrap(), false);
        if !with_openat2 {
            c.server.backend.without_openat2();
        }
        for name in ["root", "cwd", "exe"] {
            let (l, attr) = c.look_up(ROOT, name.as_bytes()).unwrap();
            assert_eq!(attr.mode >> 12, 0o12, "{name}");
            assert_eq!(c.look_up(l, b"etc").map(drop), Err(Errno::NOTDIR));
            assert_eq!(c.open_dir_node(l).map(drop), Err(Errno::NOTDIR));
            for flags in [O_RDONLY, O_WRONLY] {
                assert!(c.open_node(l, flags).is_err(), "{name}");
                assert!(c.create(name, flags, 0o644).is_err(), "{name}");
            }
            assert!(c.mkdir(l, b"x", 0o755).is_err());
            assert_eq!(c.create_unnamed(l, O_RDWR, 0o600).map(drop), Err(Errno::NOTDIR));
            assert_eq!(
                c.set(l, Set { valid: 1, mode: 0o777, ..Set::default() }).map(drop),
                Err(Errno::OPNOTSUPP)
            );
            assert!(c.set(l, Set { valid: 8, ..Set::default() }).is_err());
        }
        let (fd, _) = c.look_up(ROOT, b"fd").unwrap();
        assert_eq!(c.look_up(fd, b"0").unwrap().1.mode >> 12, 0o12);
        assert!(c.look_up(fd, b"0").and_then(|(l, _)| c.open_node(l, O_RDONLY)).is_err());
    }
    let mut c = Client::new();
    symlink("/proc/self/root", c.at("r")).unwrap();
    assert_eq!(c.walk("r/etc"), Err(Errno::NOTDIR));
}
