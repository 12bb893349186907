//! Walks, and what changes directories.

use super::*;

#[test]
fn walks() {
    let mut c = Client::new();
    std::fs::create_dir_all(c.at("a/b/c")).unwrap();
    std::fs::write(c.at("a/f"), b"").unwrap();
    let names = |n: &[&'static str]| n.iter().map(|s| s.as_bytes()).collect::<Vec<_>>();
    let mut walk = |newfid, n: &[&'static str]| {
        c.rpc(&Request::Walk { fid: ROOT, newfid, names: names(n) }).map(|r| match r {
            Reply::Walk { qids } => qids.len(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(walk(10, &[]), Ok(0));
    assert_eq!(walk(11, &["a", "b", "c"]), Ok(3));
    assert_eq!(walk(11, &["a"]), Err(Errno::INVAL), "the fid is in use");
    assert_eq!(walk(NO_FID, &["a"]), Err(Errno::INVAL));
    assert_eq!(walk(12, &["x"]), Err(Errno::NOENT));
    assert_eq!(walk(12, &["a", "x", "y"]), Ok(1), "the part that exists");
    assert_eq!(walk(12, &["a", "f", "x"]), Ok(2), "a file is no directory");
    assert_eq!(c.attr(12).map(|a| a.size), Err(Errno::BADF), "a partial walk makes no fid");
    let f = c.walk("a/f").unwrap();
    assert_eq!(c.walk_from(f, "x"), Err(Errno::NOTDIR));
    assert_eq!(c.walk_from(f, "").map(|_| ()), Ok(()));
    // Onto itself.
    let a = c.walk("a").unwrap();
    c.done(&Request::Walk { fid: a, newfid: a, names: names(&["b"]) }).unwrap();
    assert_eq!(c.attr(a).unwrap().qid, c.stat("a/b").unwrap().qid);
    assert_eq!(c.done(&Request::Walk { fid: 999, newfid: 1000, names: vec![] }), Err(Errno::BADF));
}

#[test]
fn making_and_removing() {
    let mut c = Client::new();
    let qid = c.mkdir(ROOT, "d").unwrap();
    assert_eq!((qid.kind, qid.path), (Qid::DIR, c.stat("d").unwrap().qid.path));
    assert_eq!(c.mkdir(ROOT, "d"), Err(Errno::EXIST));
    let d = c.walk("d").unwrap();
    assert_eq!(c.unlink(ROOT, "d", 0), Err(Errno::ISDIR));
    let mknod = |fid, mode| Request::Mknod { fid, name: b"n", mode, major: 0, minor: 0, gid: 0 };
    c.done(&mknod(d, 0o100644)).unwrap();
    assert_eq!(c.done(&mknod(d, 0o100644)), Err(Errno::EXIST));
    for kind in [0o010000, 0o020000, 0o060000, 0o140000] {
        assert_eq!(c.done(&mknod(ROOT, kind | 0o644)), Err(Errno::PERM));
    }
    assert!(c.at("d/n").is_file());
    assert_eq!(c.unlink(ROOT, "d", 0x200), Err(Errno::NOTEMPTY));
    assert_eq!(c.unlink(d, "n", 0x200), Err(Errno::NOTDIR));
    assert_eq!(c.unlink(d, "n", 1), Err(Errno::INVAL));
    assert_eq!(c.unlink(d, "n", 0), Ok(()));
    assert_eq!(c.unlink(d, "n", 0), Err(Errno::NOENT));
    assert_eq!(c.unlink(ROOT, "d", 0x200), Ok(()));
    assert_eq!(c.mkdir(d, "x"), Err(Errno::NOENT), "the directory is gone");
    std::fs::write(c.at("f"), b"").unwrap();
    let f = c.walk("f").unwrap();
    assert_eq!(c.mkdir(f, "x"), Err(Errno::NOTDIR));
}

#[test]
fn remove_takes_the_fid_along() {
    let mut c = Client::new();
    std::fs::create_dir_all(c.at("d/e")).unwrap();
    std::fs::write(c.at("f"), b"").unwrap();
    let f = c.walk("f").unwrap();
    c.done(&Request::Remove { fid: f }).unwrap();
    assert_eq!(c.clunk(f), Err(Errno::BADF));
    assert!(!exists(&c.at("f")));
    let d = c.walk("d").unwrap();
    assert_eq!(c.done(&Request::Remove { fid: d }), Err(Errno::NOTEMPTY));
    assert_eq!(c.clunk(d), Err(Errno::BADF), "also when it fails");
    let root = c.walk("").unwrap();
    assert_eq!(c.done(&Request::Remove { fid: root }), Err(Errno::BUSY));
}

#[test]
fn links() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"x").unwrap();
    c.mkdir(ROOT, "d").unwrap();
    let (f, d) = (c.walk("f").unwrap(), c.walk("d").unwrap());
    let link = |fid| Request::Link { dir: d, fid, name: b"g" };
    c.done(&link(f)).unwrap();
    assert_eq!(std::fs::read(c.at("d/g")).unwrap(), b"x");
    assert_eq!(c.done(&link(f)), Err(Errno::EXIST));
    assert_eq!(c.done(&link(d)), Err(Errno::PERM), "no links to directories");
    c.symlink("l", "d/../some/where").unwrap();
    assert_eq!(c.symlink("l", "x"), Err(Errno::EXIST));
    assert_eq!(c.symlink("m", ""), Err(Errno::NOENT));
    let l = c.walk("l").unwrap();
    let readlink = |fid| Request::Readlink { fid };
    assert_eq!(c.rpc(&readlink(l)), Ok(Reply::Readlink { target: b"d/../some/where" }));
    assert_eq!(c.done(&readlink(f)), Err(Errno::INVAL));
    // A link to a link's own name is a second link, not one to its target.
    let second = Request::Link { dir: ROOT, fid: l, name: b"l2" };
    c.done(&second).unwrap();
    let l2 = c.walk("l2").unwrap();
    assert_eq!(c.rpc(&readlink(l2)), Ok(Reply::Readlink { target: b"d/../some/where" }));
}

#[test]
fn renames() {
    let mut c = Client::new();
    std::fs::create_dir_all(c.at("a/b")).unwrap();
    std::fs::create_dir_all(c.at("full/x")).unwrap();
    std::fs::create_dir_all(c.at("empty")).unwrap();
    std::fs::write(c.at("f"), b"f").unwrap();
    let a = c.walk("a").unwrap();
    assert_eq!(c.rename((ROOT, "none"), (ROOT, "x")), Err(Errno::NOENT));
    assert_eq!(c.rename((ROOT, "a"), (ROOT, "full")), Err(Errno::NOTEMPTY));
    assert_eq!(c.rename((ROOT, "a"), (ROOT, "f")), Err(Errno::NOTDIR));
    assert_eq!(c.rename((ROOT, "f"), (ROOT, "empty")), Err(Errno::ISDIR));
    assert_eq!(c.rename((ROOT, "a"), (a, "inside")), Err(Errno::INVAL));
    // What is below a renamed directory keeps its fids.
    let b = c.walk("a/b").unwrap();
    let before = c.attr(b).unwrap().qid;
    c.rename((ROOT, "a"), (ROOT, "empty")).unwrap();
    assert_eq!(c.attr(b).unwrap().qid, before);
    c.mkdir(b, "deep").unwrap();
    assert!(c.at("empty/b/deep").is_dir());
    assert_eq!(c.stat("a").map(|s| s.size), Err(Errno::NOENT));
    // Trename, by the fid of the file itself.
    let f = c.walk("f").unwrap();
    c.done(&Request::Rename { fid: f, dir: b, name: b"g" }).unwrap();
    assert_eq!(std::fs::read(c.at("empty/b/g")).unwrap(), b"f");
    assert_eq!(c.attr(f).unwrap().size, 1);
    let root = c.walk("").unwrap();
    assert_eq!(c.done(&Request::Rename { fid: root, dir: b, name: b"r" }), Err(Errno::BUSY));
}

#[test]
fn renaming_a_file_to_its_other_name_does_nothing() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"f").unwrap();
    let f = c.walk("f").unwrap();
    c.done(&Request::Link { dir: ROOT, fid: f, name: b"g" }).unwrap();
    let g = c.walk("g").unwrap();
    c.rename((ROOT, "f"), (ROOT, "g")).unwrap();
    assert!(exists(&c.at("f")) && exists(&c.at("g")));
    assert_eq!(c.attr(f).unwrap().nlink, 2);
    assert_eq!(c.attr(g).unwrap().nlink, 2);
    c.rename((ROOT, "f"), (ROOT, "f")).unwrap();
    assert!(exists(&c.at("f")));
}

#[test]
fn a_read_only_export_refuses_every_change() {
    let host = HostDir::new();
    std::fs::write(host.path.join("f"), b"f").unwrap();
    std::fs::create_dir(host.path.join("d")).unwrap();
    let mut c = Client::with(host, true);
    let f = c.walk("f").unwrap();
    let name: &[u8] = b"new";
    let target: &[u8] = b"t";
    let size = 0;
    let set = |valid| Request::Setattr {
        fid: f,
        valid,
        mode: 0,
        uid: 0,
        gid: 0,
        size,
        atime_sec: 0,
        atime_nsec: 0,
        mtime_sec: 0,
        mtime_nsec: 0,
    };
    let changes = [
        Request::Lcreate { fid: ROOT, name, flags: O_RDWR, mode: 0, gid: 0 },
        Request::Symlink { fid: ROOT, name, target, gid: 0 },
        Request::Mknod { fid: ROOT, name, mode: 0o100644, major: 0, minor: 0, gid: 0 },
        Request::Mkdir { fid: ROOT, name, mode: 0, gid: 0 },
        Request::Link { dir: ROOT, fid: f, name },
        Request::Rename { fid: f, dir: ROOT, name },
        Request::Renameat { old_dir: ROOT, old_name: b"f", new_dir: ROOT, new_name: name },
        Request::Unlinkat { fid: ROOT, name: b"f", flags: 0 },
        Request::Unlinkat { fid: ROOT, name: b"d", flags: 0x200 },
        Request::Lopen { fid: f, flags: O_WRONLY },
        Request::Lopen { fid: f, flags: O_RDWR },
        Request::Lopen { fid: f, flags: O_TRUNC },
        set(1),
        set(8),
        set(0x20),
        Request::Remove { fid: f },
    ];
    for change in &changes {
        assert_eq!(c.done(change), Err(Errno::ROFS), "{change:?}");
    }
    let f = c.open("f", O_RDONLY).unwrap();
    assert_eq!(c.read(f, 0, 9).unwrap(), b"f");
    assert_eq!(c.write(f, 0, b"x"), Err(Errno::BADF));
    let d = c.open("", O_RDONLY).unwrap();
    assert_eq!(c.names(d, 1000), ["d", "f"]);
}
