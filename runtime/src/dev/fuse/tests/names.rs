//! Look-ups, and what changes directories.

use super::*;

#[test]
fn look_ups() {
    let mut c = Client::new();
    std::fs::create_dir_all(c.at("a/b/c")).unwrap();
    std::fs::write(c.at("a/f"), b"").unwrap();
    let nodes = ["a", "a/b", "a/b/c", "a/f"].map(|path| c.walk(path).unwrap());
    assert!((0..4).all(|i| nodes[i] != ROOT && (0..i).all(|j| nodes[i] != nodes[j])), "{nodes:?}");
    assert_eq!(c.walk("a/b/c"), Ok(nodes[2]), "a file has one node");
    assert_eq!(c.walk("x"), Err(Errno::NOENT));
    assert_eq!(c.walk("a/x/y"), Err(Errno::NOENT));
    assert_eq!(c.look_up(nodes[3], b"x").map(drop), Err(Errno::NOTDIR));
    assert_eq!(c.look_up(999, b"x").map(drop), Err(Errno::STALE));
    // What is forgotten is unknown, and is found again as another node.
    let f = c.look_up(nodes[0], b"f").unwrap().0;
    assert_eq!(f, nodes[3]);
    c.forget(f, 1);
    assert!(c.attr(f).is_ok(), "two look-ups, one taken back");
    c.forget(f, 1);
    assert_eq!(c.attr(f).map(drop), Err(Errno::STALE));
    assert_ne!(c.walk("a/f"), Ok(f));
}

#[test]
fn making_and_removing() {
    let mut c = Client::new();
    let (d, attr) = c.mkdir(ROOT, b"d", 0o755).unwrap();
    assert_eq!((attr.mode, attr.ino), (0o040_755, c.stat("d").unwrap().ino));
    assert_eq!(c.mkdir(ROOT, b"d", 0o755).map(drop), Err(Errno::EXIST));
    assert_eq!(c.unlink(ROOT, b"d"), Err(Errno::ISDIR));
    let (_, n) = c.mknod(d, b"n", 0o100_644).unwrap();
    assert_eq!((n.mode, n.size, n.nlink), (0o100_644, 0, 1));
    assert_eq!(c.mknod(d, b"n", 0o100_644).map(drop), Err(Errno::EXIST));
    for kind in [0o020_000, 0o060_000] {
        assert_eq!(c.mknod(ROOT, b"n", kind | 0o644).map(drop), Err(Errno::PERM), "a device");
    }
    for kind in [0o040_000, 0o120_000, 0o150_000] {
        assert_eq!(c.mknod(ROOT, b"n", kind | 0o644).map(drop), Err(Errno::INVAL));
    }
    assert!(c.at("d/n").is_file());
    assert_eq!(c.rmdir(ROOT, b"d"), Err(Errno::NOTEMPTY));
    assert_eq!(c.rmdir(d, b"n"), Err(Errno::NOTDIR));
    assert_eq!(c.unlink(d, b"n"), Ok(()));
    assert_eq!(c.unlink(d, b"n"), Err(Errno::NOENT));
    assert_eq!(c.rmdir(ROOT, b"d"), Ok(()));
    assert_eq!(c.rmdir(ROOT, b"d"), Err(Errno::NOENT));
    assert_eq!(c.mkdir(d, b"x", 0o755).map(drop), Err(Errno::NOENT), "the directory is gone");
    assert_eq!(c.look_up(d, b"x").map(drop), Err(Errno::NOENT));
    std::fs::write(c.at("f"), b"").unwrap();
    let f = c.walk("f").unwrap();
    assert_eq!(c.mkdir(f, b"x", 0o755).map(drop), Err(Errno::NOTDIR));
}

#[test]
fn links() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"x").unwrap();
    let (d, _) = c.mkdir(ROOT, b"d", 0o755).unwrap();
    let f = c.walk("f").unwrap();
    let (g, attr) = c.link(f, d, b"g").unwrap();
    assert_eq!((g, attr.nlink), (f, 2), "both names are one node");
    assert_eq!(std::fs::read(c.at("d/g")).unwrap(), b"x");
    assert_eq!(c.link(f, d, b"g").map(drop), Err(Errno::EXIST));
    assert_eq!(c.link(d, ROOT, b"e").map(drop), Err(Errno::PERM), "no links to directories");
    // Found after one name is gone, whichever it is.
    c.unlink(d, b"g").unwrap();
    assert_eq!(c.attr(f).unwrap().nlink, 1);
    assert_eq!(c.walk("f"), Ok(f));
    c.link(f, d, b"h").unwrap();
    c.unlink(ROOT, b"f").unwrap();
    assert_eq!(c.attr(f).unwrap().nlink, 1);
    assert_eq!(c.walk("d/h"), Ok(f));
    let open = c.open("d/h", O_RDONLY).unwrap();
    assert_eq!(c.read(open, 0, 9).unwrap(), b"x");
    c.release(open).unwrap();
    c.unlink(d, b"h").unwrap();
    assert_eq!(c.attr(f).map(|a| a.nlink), Ok(0));
    assert_eq!(c.open_node(f, O_RDONLY).map(drop), Err(Errno::NOENT));
}

#[test]
fn symbolic_links() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"x").unwrap();
    let (l, attr) = c.symlink(ROOT, b"l", b"d/../some/where").unwrap();
    assert_eq!((attr.mode, attr.size), (0o120_777, 15));
    assert_eq!(c.symlink(ROOT, b"l", b"x").map(drop), Err(Errno::EXIST));
    assert_eq!(c.symlink(ROOT, b"m", b"").map(drop), Err(Errno::NOENT));
    assert_eq!(c.readlink(l).unwrap(), b"d/../some/where");
    let f = c.walk("f").unwrap();
    assert_eq!(c.readlink(f), Err(Errno::INVAL));
    // A link to a link's own name is a second link, not one to its target.
    let (l2, attr) = c.link(l, ROOT, b"l2").unwrap();
    assert_eq!((l2, attr.nlink), (l, 2));
    c.unlink(ROOT, b"l").unwrap();
    assert_eq!(c.readlink(l2).unwrap(), b"d/../some/where");
}

#[test]
fn renames() {
    let mut c = Client::new();
    std::fs::create_dir_all(c.at("a/b")).unwrap();
    std::fs::create_dir_all(c.at("full/x")).unwrap();
    std::fs::create_dir_all(c.at("empty")).unwrap();
    std::fs::write(c.at("f"), b"f").unwrap();
    let a = c.walk("a").unwrap();
    assert_eq!(c.rename((ROOT, b"none"), (ROOT, b"x")), Err(Errno::NOENT));
    assert_eq!(c.rename((ROOT, b"a"), (ROOT, b"full")), Err(Errno::NOTEMPTY));
    assert_eq!(c.rename((ROOT, b"a"), (ROOT, b"f")), Err(Errno::NOTDIR));
    assert_eq!(c.rename((ROOT, b"f"), (ROOT, b"empty")), Err(Errno::ISDIR));
    assert_eq!(c.rename((ROOT, b"a"), (a, b"inside")), Err(Errno::INVAL));
    // What is below a renamed directory keeps its nodes.
    let b = c.walk("a/b").unwrap();
    let before = c.attr(b).unwrap().ino;
    c.rename((ROOT, b"a"), (ROOT, b"empty")).unwrap();
    assert_eq!(c.attr(b).unwrap().ino, before);
    assert_eq!(c.walk("empty/b"), Ok(b));
    c.mkdir(b, b"deep", 0o755).unwrap();
    assert!(c.at("empty/b/deep").is_dir());
    assert_eq!(c.stat("a").map(drop), Err(Errno::NOENT));
    let f = c.walk("f").unwrap();
    c.rename((ROOT, b"f"), (b, b"g")).unwrap();
    assert_eq!(std::fs::read(c.at("empty/b/g")).unwrap(), b"f");
    assert_eq!((c.attr(f).unwrap().size, c.walk("empty/b/g")), (1, Ok(f)));
    assert_eq!(c.rename_with((ROOT, b"empty"), (ROOT, b"e"), 4), Err(Errno::INVAL), "RENAME_WHITEOUT");
}

#[test]
fn renaming_a_file_to_its_other_name_does_nothing() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"f").unwrap();
    let f = c.walk("f").unwrap();
    c.link(f, ROOT, b"g").unwrap();
    c.rename((ROOT, b"f"), (ROOT, b"g")).unwrap();
    assert!(exists(&c.at("f")) && exists(&c.at("g")));
    assert_eq!(c.attr(f).unwrap().nlink, 2);
    c.rename((ROOT, b"f"), (ROOT, b"f")).unwrap();
    assert!(exists(&c.at("f")));
    assert_eq!((c.walk("f"), c.walk("g")), (Ok(f), Ok(f)));
}

#[test]
fn renames_that_replace_nothing() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"f").unwrap();
    std::fs::write(c.at("g"), b"g").unwrap();
    let f = c.walk("f").unwrap();
    assert_eq!(c.rename_with((ROOT, b"f"), (ROOT, b"g"), 1), Err(Errno::EXIST));
    assert_eq!(c.rename_with((ROOT, b"f"), (ROOT, b"f"), 1), Err(Errno::EXIST));
    assert_eq!(std::fs::read(c.at("g")).unwrap(), b"g");
    c.rename_with((ROOT, b"f"), (ROOT, b"h"), 1).unwrap();
    assert_eq!((c.walk("h"), c.walk("f")), (Ok(f), Err(Errno::NOENT)));
    assert_eq!(std::fs::read(c.at("h")).unwrap(), b"f");
}

#[test]
fn what_the_host_moves_is_found_again() {
    let mut c = Client::new();
    std::fs::create_dir(c.at("d")).unwrap();
    std::fs::write(c.at("d/f"), b"f").unwrap();
    let (d, f) = (c.walk("d").unwrap(), c.walk("d/f").unwrap());
    let open = c.open_node(f, O_RDWR).unwrap().0;
    std::fs::rename(c.at("d"), c.at("e")).unwrap();
    assert_eq!(c.walk("d"), Err(Errno::NOENT));
    assert_eq!(c.read(open, 0, 9).unwrap(), b"f", "an open file needs no name");
    assert_eq!(c.walk("e"), Ok(d), "the same directory by its new name");
    assert_eq!(c.walk("e/f"), Ok(f));
    c.create_in(d, b"g", O_RDWR, 0o644).unwrap();
    assert!(c.at("e/g").is_file());
    // Another file that takes the name is another node, and the open one stays what it is.
    std::fs::write(c.at("new"), b"other").unwrap();
    std::fs::rename(c.at("new"), c.at("e/f")).unwrap();
    let other = c.walk("e/f").unwrap();
    assert_ne!(other, f);
    assert_eq!((c.attr(other).unwrap().size, c.attr(f).unwrap().size), (5, 1));
    assert_eq!(c.read(open, 0, 9).unwrap(), b"f");
}

/// What is done with a file goes to that file, not to what the host has put under its name meanwhile.
#[test]
fn a_name_that_the_host_gives_to_another_file_is_stale() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"old").unwrap();
    let f = c.walk("f").unwrap();
    let open = c.open_node(f, O_RDONLY).unwrap().0;
    std::fs::write(c.at("new"), b"precious").unwrap();
    std::fs::rename(c.at("new"), c.at("f")).unwrap();
    // By the open file.
    let times = Set { valid: 1 << 5, mtime: (1_100_000_000, 0), ..Set::default() };
    c.set(f, times).unwrap();
    assert_eq!(c.attr(f).unwrap().mtime.0, 1_100_000_000);
    assert_eq!(c.set(f, Set { valid: 1 << 3, size: 0, ..Set::default() }).map(drop), Err(Errno::STALE));
    c.release(open).unwrap();
    // By name.
    assert_eq!(c.attr(f).map(drop), Err(Errno::STALE));
    assert_eq!(c.set(f, times).map(drop), Err(Errno::STALE));
    for flags in [O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC] {
        assert_eq!(c.open_node(f, flags).map(drop), Err(Errno::STALE));
    }
    let new = c.stat("f").unwrap();
    assert_eq!(std::fs::read(c.at("f")).unwrap(), b"precious");
    assert_ne!(new.mtime.0, 1_100_000_000);
}

/// Hosts give the number of a removed file to the next one.
#[test]
fn numbers_come_back() {
    let mut c = Client::new();
    for round in 0..200 {
        std::fs::write(c.at("f"), b"first").unwrap();
        let old = c.walk("f").unwrap();
        if round % 2 == 0 {
            // Removed by the host.
            std::fs::remove_file(c.at("f")).unwrap();
        } else {
            c.unlink(ROOT, b"f").unwrap();
        }
        std::fs::create_dir(c.at("f")).unwrap();
        let (new, attr) = c.look_up(ROOT, b"f").unwrap();
        assert_ne!(new, old, "a directory is not the file that it was");
        assert_eq!(attr.mode >> 12, 4);
        let gone = if round % 2 == 0 { Err(Errno::STALE) } else { Ok(0) };
        assert_eq!(c.attr(old).map(|a| a.nlink), gone);
        std::fs::remove_dir(c.at("f")).unwrap();
        c.unlink(ROOT, b"f").unwrap_err();
    }
}

#[test]
fn a_read_only_export_refuses_every_change() {
    let host = HostDir::new();
    std::fs::write(host.path.join("f"), b"f").unwrap();
    std::fs::create_dir(host.path.join("d")).unwrap();
    let mut c = Client::with(host, true);
    let f = c.walk("f").unwrap();
    let refused = Err(Errno::ROFS);
    assert_eq!(c.create("new", O_RDWR, 0).map(drop), refused);
    assert_eq!(c.create_unnamed(ROOT, O_RDWR, 0).map(drop), refused);
    assert_eq!(c.symlink(ROOT, b"new", b"t").map(drop), refused);
    assert_eq!(c.mknod(ROOT, b"new", 0o100_644).map(drop), refused);
    assert_eq!(c.mkdir(ROOT, b"new", 0).map(drop), refused);
    assert_eq!(c.link(f, ROOT, b"new").map(drop), refused);
    assert_eq!(c.rename((ROOT, b"f"), (ROOT, b"new")), refused);
    assert_eq!(c.rename_with((ROOT, b"f"), (ROOT, b"d"), 2), refused);
    assert_eq!(c.unlink(ROOT, b"f"), refused);
    assert_eq!(c.rmdir(ROOT, b"d"), refused);
    for flags in [O_WRONLY, O_RDWR, O_TRUNC] {
        assert_eq!(c.open_node(f, flags).map(drop), refused);
    }
    for valid in [1, 2, 4, 8, 1 << 4, 1 << 5 | 1 << 8] {
        assert_eq!(c.set(f, Set { valid, ..Set::default() }).map(drop), refused, "{valid}");
    }
    assert_eq!(c.set_xattr(f, "user.a", b"x", 0), refused);
    assert_eq!(c.remove_xattr(f, "user.a"), refused);
    let f = c.open("f", O_RDONLY).unwrap();
    assert_eq!(c.read(f, 0, 9).unwrap(), b"f");
    assert_eq!(c.write(f, 0, b"x"), Err(Errno::BADF));
    assert_eq!(c.allocate(f, 0, 0, 9), Err(Errno::BADF));
    assert_eq!(c.copy((f, 0), (f, 1), 1), Err(Errno::BADF));
    let d = c.open_dir("").unwrap();
    assert_eq!(c.names(d, 1000), ["d", "f"]);
}
