//! A client that means harm: names, links, numbers, lengths.

use super::*;
use crate::dev::fuse::fs_mem::MemFs;
use crate::dev::fuse::handles::MAX_OPEN;
use crate::dev::fuse::wire;

/// Every operation that takes a name in a directory.
fn with_name(c: &mut Client, dir: u64, file: u64, name: &[u8]) -> Vec<Result<()>> {
    vec![
        c.look_up(dir, name).map(drop),
        c.create_in(dir, name, O_RDWR, 0o644).map(drop),
        c.mkdir(dir, name, 0o755).map(drop),
        c.mknod(dir, name, 0o100_644).map(drop),
        c.symlink(dir, name, b"x").map(drop),
        c.link(file, dir, name).map(drop),
        c.rename((dir, name), (ROOT, b"x")),
        c.rename((ROOT, b"a"), (dir, name)),
        c.rename_with((ROOT, b"a"), (dir, name), 1),
        c.unlink(dir, name),
        c.rmdir(dir, name),
    ]
}

#[test]
fn names_are_single_components() {
    let mut c = Client::new();
    std::fs::create_dir(c.at("a")).unwrap();
    std::fs::write(c.at("a/f"), b"").unwrap();
    let (a, f) = (c.walk("a").unwrap(), c.walk("a/f").unwrap());
    let bad: [&[u8]; 9] = [b"", b".", b"..", b"a/f", b"/etc", b"../x", b"a/", b"/", b"./a"];
    for name in bad {
        for dir in [ROOT, a] {
            for (i, done) in with_name(&mut c, dir, f, name).into_iter().enumerate() {
                assert_eq!(done, Err(Errno::INVAL), "operation {i}, {name:?}");
            }
        }
    }
    for (i, done) in with_name(&mut c, ROOT, f, &[b'x'; 256]).into_iter().enumerate() {
        assert_eq!(done, Err(Errno::NAMETOOLONG), "operation {i}");
    }
    // Without the NUL at its end.
    for opcode in [op::LOOKUP, op::UNLINK, op::RMDIR, op::SYMLINK, op::REMOVEXATTR] {
        assert_eq!(c.done(opcode, ROOT, Body::new().bytes(b"a")), Err(Errno::INVAL));
    }
    assert_eq!(c.symlink(ROOT, b"l", &[b'x'; 5000]).map(drop), Err(Errno::NAMETOOLONG));
    // Nothing of all that has changed anything.
    let d = c.open_dir("").unwrap();
    assert_eq!(c.names(d, 1000), ["a"]);
}

#[test]
fn the_root_has_nothing_above() {
    let mut c = Client::new();
    std::fs::create_dir_all(c.at("a/b")).unwrap();
    let root = c.attr(ROOT).unwrap();
    let d = c.open_dir("").unwrap();
    let entries = c.readdir(d, 0, 1000).unwrap();
    assert_eq!((&entries[1].3[..], entries[1].0), (&b".."[..], root.ino), "`..` is that directory itself");
    assert_eq!(c.link(ROOT, ROOT, b"r").map(drop), Err(Errno::PERM));
    // Node 0 and numbers that were never given are no directories.
    for node in [0, 2, u64::MAX] {
        assert_eq!(c.look_up(node, b"a").map(drop), Err(Errno::STALE));
        assert_eq!(c.open_dir_node(node).map(drop), Err(Errno::STALE));
    }
    c.tell(op::FORGET, ROOT, Body::new().u64(u64::MAX));
    assert_eq!(c.attr(ROOT).unwrap().ino, root.ino, "it cannot be forgotten");
}

#[test]
fn deep_paths_end() {
    let mut c = Client::new();
    let name = [b'd'; 250];
    let mut at = ROOT;
    let mut made = 0;
    let error = loop {
        match c.mkdir(at, &name, 0o755) {
            Ok((node, _)) => at = node,
            Err(e) => break e,
        }
        made += 1;
    };
    assert_eq!(error, Errno::NAMETOOLONG);
    assert!((10..=16).contains(&made), "{made}");
}

#[test]
fn wrong_numbers_and_unknown_operations() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"abc").unwrap();
    let f = c.walk("f").unwrap();
    for (i, done) in with_name(&mut c, 99, f, b"x").into_iter().enumerate() {
        // A rename from the root to there: what is missing in the root is said first, by no rule.
        assert!(matches!(done, Err(Errno::STALE)), "operation {i}: {done:?}");
    }
    let stale = Err(Errno::STALE);
    assert_eq!(c.link(99, ROOT, b"x").map(drop), stale);
    assert_eq!(c.attr(99).map(drop), stale);
    assert_eq!(c.readlink(99).map(drop), stale);
    assert_eq!(c.open_node(99, 0).map(drop), stale);
    assert_eq!(c.get_xattr(99, "user.a", 9).map(drop), stale);
    assert_eq!(c.done(op::FSYNCDIR, 99, Body::new().u64(0).u64(0)), stale);
    let none = File { node: f, fh: 99 };
    let bad = Err(Errno::BADF);
    assert_eq!(c.read(none, 0, 1).map(drop), bad);
    assert_eq!(c.write(none, 0, b"x").map(drop), bad);
    assert_eq!(c.flush(none), bad);
    assert_eq!(c.fsync(none, false), bad);
    assert_eq!(c.release(none), bad);
    assert_eq!(c.allocate(none, 0, 0, 1), bad);
    assert_eq!(c.seek(none, 0, 3).map(drop), bad);
    assert_eq!(c.readdir(Dir(none), 0, 100).map(drop), bad);
    assert_eq!(c.release_dir(Dir(none)), bad);
    let open = c.open_node(f, O_RDWR).unwrap().0;
    assert_eq!(c.copy((none, 0), (open, 0), 1).map(drop), bad);
    assert_eq!(c.copy((open, 0), (none, 0), 1).map(drop), bad);
    // A handle that is another file's tells nothing of this one.
    let other = c.create("other", O_RDWR, 0o644).unwrap();
    assert_eq!(c.file_attr(File { node: f, fh: other.fh }).unwrap().size, 3);
    let cut = Set { valid: 1 << 3 | 1 << 6, fh: open.fh, size: 1, ..Set::default() };
    assert_eq!(c.set(other.node, cut).unwrap().size, 1);
    assert_eq!(c.attr(f).unwrap().size, 3);
    let set_attr_of_a_link = c.symlink(ROOT, b"l", b"f").unwrap().0;
    assert_eq!(c.open_dir_node(set_attr_of_a_link).map(drop), Err(Errno::NOTDIR));
    for opcode in [0, 7, 19, 31, 34, 37, 39, 40, 41, 44, 48, 49, 52, 53, 4096, u32::MAX] {
        assert_eq!(c.done(opcode, ROOT, Body::new().bytes(&[0; 64])), Err(Errno::NOSYS), "{opcode}");
    }
    c.tell(op::INTERRUPT, 0, Body::new().u64(1));
    c.tell(op::FORGET, 99, Body::new().u64(1));
    c.tell(op::BATCH_FORGET, 0, Body::new().u32(u32::MAX).u32(0).u64(99).u64(1).u64(98));
    for mode in [4, 0x40, 0x80, 1 << 31] {
        assert_eq!(c.allocate(open, mode, 0, 1), Err(Errno::OPNOTSUPP));
    }
    let flags = Body::new().u64(open.fh).u64(0).u64(f).u64(open.fh).u64(1).u64(1).u64(1);
    assert_eq!(c.done(op::COPY_FILE_RANGE, f, flags), Err(Errno::INVAL));
    c.rename((ROOT, b"f"), (99, b"x")).unwrap_err();
    assert!(exists(&c.at("f")));
}

#[test]
fn open_files_are_bounded() {
    let mut c = Client::of(MemFs::new(), false);
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    for _ in 1..MAX_OPEN - 1 {
        c.open_node(f.node, O_RDONLY).unwrap();
    }
    let d = c.open_dir("").unwrap();
    assert_eq!(c.open_node(f.node, O_RDONLY).map(drop), Err(Errno::NFILE));
    assert_eq!(c.create("g", O_RDWR, 0o644).map(drop), Err(Errno::NFILE));
    assert_eq!(c.look_up(ROOT, b"g").map(drop), Err(Errno::NOENT), "nothing was made");
    assert_eq!(c.open_dir("").map(drop), Err(Errno::NFILE));
    c.release_dir(d).unwrap();
    c.open_node(f.node, O_RDONLY).unwrap();
    // A new session starts with none.
    c.init();
    assert_eq!(c.read(f, 0, 1), Err(Errno::BADF));
    assert_eq!((c.server.handles.len(), c.server.nodes.len()), (0, 1));
}

#[test]
fn sessions_begin_and_end() {
    let mut c = Client::new();
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    let d = c.open_dir("").unwrap();
    assert_eq!(c.names(d, 1000), ["f"]);
    let ask = |c: &mut Client, major: u32, minor: u32| {
        c.ask(op::INIT, 0, Body::new().u32(major).u32(minor).u32(4096).u32(u32::MAX).u32(0))
    };
    let words = |reply: Vec<u8>| -> Vec<u32> {
        reply.chunks(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect()
    };
    assert_eq!(ask(&mut c, 6, 99), Err(Errno::PROTO));
    assert_eq!(ask(&mut c, 7, 30), Err(Errno::PROTO));
    let older = words(ask(&mut c, 7, 31).unwrap());
    assert_eq!(older[..3], [7, 31, 4096], "not newer than the client");
    let newer = words(ask(&mut c, 8, 0).unwrap());
    assert_eq!(newer[0], 7, "the client shall ask again");
    let newer = words(ask(&mut c, 7, 99).unwrap());
    assert_eq!(newer[..2], [7, 41]);
    // AUTO_INVAL_DATA, HANDLE_KILLPRIV_V2, MAX_PAGES; no WRITEBACK_CACHE; 256 pages of 4 KiB.
    assert_eq!(newer[3] & (1 << 12 | 1 << 28 | 1 << 22 | 1 << 16), 1 << 12 | 1 << 28 | 1 << 22);
    assert_eq!((newer[5], newer[6], newer[7] & 0xffff), (1 << 20, 1, 256));
    assert_eq!(c.ask(op::INIT, 0, Body::new().u32(7).u32(41)), Err(Errno::INVAL));
    assert_eq!((c.read(f, 0, 1), c.attr(f.node).map(drop)), (Err(Errno::BADF), Err(Errno::STALE)));
    assert_eq!((c.server.handles.len(), c.server.nodes.len(), c.server.handles.listed), (0, 1, 0));
    c.init();
    c.create("g", O_RDWR, 0o644).unwrap();
    c.open_dir("").unwrap();
    c.done(op::DESTROY, 0, Body::new()).unwrap();
    assert_eq!((c.server.handles.len(), c.server.nodes.len()), (0, 1));
    c.init();
}

#[test]
fn lengths_that_lie() {
    let mut c = Client::new();
    let getattr = wire::request(op::GETATTR, 5, 99, &[0; 16]);
    let mut reply = [0xaa; 64];
    let mut send = |message: &[u8], room: usize| {
        reply.fill(0xaa);
        let n = c.server.handle(message, &mut reply[..room]);
        (reply[..n].to_vec(), reply[room..].iter().all(|&b| b == 0xaa))
    };
    let error = |e: Errno| {
        let mut bytes = vec![16, 0, 0, 0];
        bytes.extend((e.0 as i32).wrapping_neg().to_le_bytes());
        bytes.extend(5u64.to_le_bytes());
        bytes
    };
    assert_eq!(send(&getattr, 64).0, error(Errno::STALE));
    for cut in 0..40 {
        assert_eq!(send(&getattr[..cut], 64).0, [], "no header, no answer");
    }
    for cut in 40..getattr.len() {
        assert_eq!(send(&getattr[..cut], 64).0, error(Errno::INVAL), "told to be longer than it is");
    }
    for size in [0u32, 39, 40, 55, 57, u32::MAX] {
        let mut m = getattr.clone();
        m[..4].copy_from_slice(&size.to_le_bytes());
        assert_eq!(send(&m, 64).0, error(Errno::INVAL), "size {size}");
    }
    for room in 0..16 {
        assert_eq!(send(&getattr, room), (vec![], true), "no room for an error");
    }
    // A write that claims more data than came, and bodies of every length of every operation.
    let body = Body::new().u64(1).u64(0).u32(u32::MAX).bytes(&[0; 20]).bytes(b"data");
    assert_eq!(send(&wire::request(op::WRITE, 5, 1, &body.0), 64).0, error(Errno::INVAL));
    // But for those whose body is nothing, and which take the disk's time.
    for opcode in (1..54).filter(|o| ![op::SYNCFS, op::FSYNCDIR].contains(o)) {
        for len in 0..72 {
            let got = send(&wire::request(opcode, 5, 1, &vec![0xff; len]), 64).0;
            let silent = matches!(opcode, op::FORGET | op::BATCH_FORGET | op::INTERRUPT);
            assert!(silent && got.is_empty() || got.len() >= 16, "operation {opcode}, {len} bytes");
        }
    }
}

/// A reply that has less room than its data gets as much as fits; one of fixed length is an error.
#[test]
fn short_reply_buffers() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), [7; 100]).unwrap();
    let f = c.open("f", O_RDONLY).unwrap();
    let mut reply = [0; 200];
    let read = wire::request(op::READ, 5, f.node, &crate::dev::fuse::testing::read(f.fh, 0, 100).0);
    for room in 16..130 {
        assert_eq!(c.server.handle(&read, &mut reply[..room]), room.min(116), "{room}");
    }
    let getattr = wire::request(op::GETATTR, 5, f.node, &[0; 16]);
    for room in 16..130 {
        let expected = if room < 16 + 16 + wire::ATTR { 16 } else { 16 + 16 + wire::ATTR };
        assert_eq!(c.server.handle(&getattr, &mut reply[..room]), expected, "{room}");
    }
    let look_up = wire::request(op::LOOKUP, 5, ROOT, b"f\0");
    let before = c.server.nodes.len();
    for room in 16..16 + wire::ENTRY_OUT {
        assert_eq!(c.server.handle(&look_up, &mut reply[..room]), 16, "{room}");
    }
    assert_eq!(c.server.nodes.len(), before);
    // Not even its error counts as a look-up.
    c.release(f).unwrap();
    c.forget(f.node, 1);
    assert_eq!(c.server.nodes.len(), 1);
}

/// Directory listings together take a bounded amount of memory.
#[test]
fn listings_are_counted_while_they_are_open() {
    let mut c = Client::new();
    (0..50).for_each(|i| std::fs::write(c.at(&format!("f{i}")), b"").unwrap());
    let a = c.open_dir("").unwrap();
    assert_eq!(c.server.handles.listed, 0);
    c.readdir(a, 0, 100).unwrap();
    let one = c.server.handles.listed;
    assert!(one > 50 * 2);
    c.readdir(a, 0, 100).unwrap();
    assert_eq!(c.server.handles.listed, one, "rewinding lists anew");
    let b = c.open_dir("").unwrap();
    c.readdir(b, 0, 100).unwrap();
    assert_eq!(c.server.handles.listed, 2 * one);
    c.release_dir(a).unwrap();
    assert_eq!(c.server.handles.listed, one);
    c.release_dir(b).unwrap();
    assert_eq!(c.server.handles.listed, 0);
}
