//! Open files and directories.

use super::*;

#[test]
fn written_is_read() {
    let mut c = Client::new();
    let f = c.create("f", O_RDWR | O_EXCL, 0o644).unwrap();
    assert_eq!(c.write(f, 0, b"hello"), Ok(5));
    assert_eq!(c.write(f, 10, b"world"), Ok(5));
    assert_eq!(c.read(f, 0, 100).unwrap(), b"hello\0\0\0\0\0world");
    assert_eq!(c.read(f, 12, 2).unwrap(), b"rl");
    assert_eq!(c.read(f, 15, 9).unwrap(), b"");
    assert_eq!(c.read(f, u64::MAX / 2, 9).unwrap_or_default(), b"");
    assert_eq!(std::fs::read(c.at("f")).unwrap(), b"hello\0\0\0\0\0world");
    for datasync in [0, 1] {
        c.done(&Request::Fsync { fid: f, datasync }).unwrap();
    }
    assert_eq!(c.attr(f).unwrap().size, 15);
    c.clunk(f).unwrap();
    assert_eq!(c.read(f, 0, 1), Err(Errno::BADF));
}

#[test]
fn access_modes_are_kept() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"abc").unwrap();
    let r = c.open("f", O_RDONLY).unwrap();
    assert_eq!(c.write(r, 0, b"x"), Err(Errno::BADF));
    let w = c.open("f", O_WRONLY).unwrap();
    assert_eq!(c.read(w, 0, 1), Err(Errno::BADF));
    assert_eq!(c.write(w, 0, b"x"), Ok(1));
    assert_eq!(c.done(&Request::Lopen { fid: w, flags: 0 }), Err(Errno::BADF), "open already");
    assert_eq!(c.open("f", 3), Err(Errno::INVAL));
    assert_eq!(c.open("none", 0), Err(Errno::NOENT));
    let t = c.open("f", O_WRONLY | O_TRUNC).unwrap();
    assert_eq!(c.attr(t).unwrap().size, 0);
    let closed = c.walk("f").unwrap();
    assert_eq!(c.read(closed, 0, 1), Err(Errno::BADF));
    assert_eq!(c.done(&Request::Fsync { fid: closed, datasync: 0 }), Err(Errno::BADF));
}

#[test]
fn append_goes_to_the_end_that_the_host_knows() {
    let mut c = Client::new();
    let f = c.create("log", O_WRONLY | O_APPEND, 0o644).unwrap();
    assert_eq!(c.write(f, 0, b"one "), Ok(4));
    std::fs::write(c.at("log"), b"changed by the host ").unwrap();
    assert_eq!(c.write(f, 4, b"two"), Ok(3));
    assert_eq!(std::fs::read(c.at("log")).unwrap(), b"changed by the host two");
}

#[test]
fn create_minds_what_is_there() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"old").unwrap();
    std::fs::create_dir(c.at("d")).unwrap();
    c.symlink("l", "f").unwrap();
    assert_eq!(c.create("f", O_RDWR | O_EXCL, 0o644), Err(Errno::EXIST));
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    assert_eq!(c.read(f, 0, 9).unwrap(), b"old");
    let f = c.create("f", O_RDWR | O_TRUNC, 0o644).unwrap();
    assert_eq!(c.read(f, 0, 9).unwrap(), b"");
    assert_eq!(c.create("d", O_RDWR, 0o644), Err(Errno::ISDIR));
    assert_eq!(c.create("l", O_RDWR, 0o644), Err(Errno::LOOP), "a link is not followed");
    // The fid is still the directory's after a failure, and the file's after success.
    let fid = c.walk("").unwrap();
    let make =
        |name: &'static [u8]| Request::Lcreate { fid, name, flags: O_RDWR | O_EXCL, mode: 0o600, gid: 0 };
    assert_eq!(c.done(&make(b"f")), Err(Errno::EXIST));
    assert_eq!(c.done(&make(b"g")), Ok(()));
    assert_eq!(c.write(fid, 0, b"in g"), Ok(4));
    assert_eq!(c.done(&make(b"h")), Err(Errno::BADF), "it is open");
    assert_eq!(std::fs::read(c.at("g")).unwrap(), b"in g");
    let file = c.walk("g").unwrap();
    let below = Request::Lcreate { fid: file, name: b"x", flags: O_RDWR, mode: 0o600, gid: 0 };
    assert_eq!(c.done(&below), Err(Errno::NOTDIR));
}

#[test]
fn directories_are_no_files() {
    let mut c = Client::new();
    std::fs::create_dir(c.at("d")).unwrap();
    std::fs::write(c.at("f"), b"").unwrap();
    let d = c.open("d", O_RDONLY).unwrap();
    assert_eq!(c.read(d, 0, 1), Err(Errno::ISDIR));
    assert_eq!(c.write(d, 0, b"x"), Err(Errno::ISDIR));
    c.done(&Request::Fsync { fid: d, datasync: 0 }).unwrap();
    assert_eq!(c.open("d", O_RDWR), Err(Errno::ISDIR));
    assert_eq!(c.open("f", 0o20_0000), Err(Errno::NOTDIR), "O_DIRECTORY");
    let f = c.open("f", O_RDONLY).unwrap();
    assert_eq!(c.readdir(f, 0, 100), Err(Errno::NOTDIR));
    let closed = c.walk("d").unwrap();
    assert_eq!(c.readdir(closed, 0, 100), Err(Errno::BADF));
}

#[test]
fn open_files_outlive_their_names() {
    let mut c = Client::new();
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    c.write(f, 0, b"before").unwrap();
    let other = c.walk("f").unwrap();
    c.unlink(ROOT, "f", 0).unwrap();
    assert!(!exists(&c.at("f")));
    c.write(f, 6, b" after").unwrap();
    assert_eq!(c.read(f, 0, 99).unwrap(), b"before after");
    assert_eq!(c.attr(f).unwrap().size, 12);
    assert_eq!(c.attr(other).unwrap().size, 12, "found by the handle of another fid");
    let cut = Request::Setattr {
        fid: other,
        valid: 8,
        mode: 0,
        uid: 0,
        gid: 0,
        size: 3,
        atime_sec: 0,
        atime_nsec: 0,
        mtime_sec: 0,
        mtime_nsec: 0,
    };
    c.done(&cut).unwrap();
    assert_eq!(c.read(f, 0, 99).unwrap(), b"bef");
    // A new file of that name is another file.
    let new = c.create("f", O_RDWR | O_EXCL, 0o644).unwrap();
    c.write(new, 0, b"new").unwrap();
    assert_eq!(c.read(f, 0, 99).unwrap(), b"bef");
    assert_eq!(c.attr(other).unwrap().size, 3);
    c.clunk(f).unwrap();
    assert_eq!(c.attr(other).map(|a| a.size), Err(Errno::NOENT));
}

#[test]
fn open_files_survive_renames() {
    let mut c = Client::new();
    let f = c.create("f", O_RDWR, 0o644).unwrap();
    let victim = c.create("g", O_RDWR, 0o644).unwrap();
    c.write(victim, 0, b"victim").unwrap();
    c.rename((ROOT, "f"), (ROOT, "g")).unwrap();
    c.write(f, 0, b"moved").unwrap();
    assert_eq!(c.read(victim, 0, 99).unwrap(), b"victim");
    assert_eq!(std::fs::read(c.at("g")).unwrap(), b"moved");
    assert!(!exists(&c.at("f")));
    let again = c.open("g", O_RDONLY).unwrap();
    assert_eq!(c.read(again, 0, 99).unwrap(), b"moved");
}

#[test]
fn big_files() {
    let mut c = Client::new();
    let f = c.create("big", O_RDWR, 0o644).unwrap();
    let block: Vec<u8> = (0..40_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
    for i in 0..50u64 {
        assert_eq!(c.write(f, i * 40_000, &block), Ok(40_000));
    }
    let far = (1u64 << 32) + 12_345;
    assert_eq!(c.write(f, far, b"beyond 4 GiB"), Ok(12));
    assert_eq!(c.attr(f).unwrap().size, far + 12);
    assert_eq!(c.read(f, far, 99).unwrap(), b"beyond 4 GiB");
    for i in [0u64, 17, 49] {
        assert_eq!(c.read(f, i * 40_000, 40_000).unwrap(), block);
    }
    // A read longer than the message size is cut to it, not refused.
    assert_eq!(c.read(f, 0, u32::MAX).unwrap().len(), (64 << 10) - 11);
    assert!(c.write(f, u64::MAX - 1, b"abc").is_err());
}

#[test]
fn many_fids_at_once() {
    let mut c = Client::new();
    let fids: Vec<u32> = (0..200).map(|i| c.create(&format!("f{i}"), O_RDWR, 0o644).unwrap()).collect();
    for (i, &f) in fids.iter().enumerate() {
        c.write(f, 0, format!("file {i}").as_bytes()).unwrap();
    }
    for (i, &f) in fids.iter().enumerate().rev() {
        assert_eq!(c.read(f, 0, 99).unwrap(), format!("file {i}").into_bytes());
        c.clunk(f).unwrap();
    }
    c.clunk(ROOT).unwrap();
    c.server.check_all_released();
}

#[test]
fn long_directories_in_small_pieces() {
    const N: usize = 1200;
    let mut c = Client::new();
    let mut expected: Vec<String> = (0..N).map(|i| format!("entry-{i}")).collect();
    expected.iter().for_each(|n| std::fs::write(c.at(n), b"").unwrap());
    expected.sort();
    let d = c.open("", O_RDONLY).unwrap();
    for count in [40, 100, 1000, 60_000] {
        assert_eq!(c.names(d, count), expected, "{count} bytes at a time");
    }
    assert_eq!(c.readdir(d, 0, 24), Err(Errno::INVAL), "not even one fits");
    // Any offset that was told can be returned to.
    let all = c.readdir(d, 0, 60_000).unwrap();
    for i in [0, 1, 2, 500] {
        assert_eq!(c.readdir(d, all[i].1, 200).unwrap()[0].3, all[i + 1].3);
    }
    assert_eq!(c.readdir(d, u64::MAX, 1000).unwrap(), []);
}

#[test]
fn removing_while_reading_skips_nothing() {
    let mut c = Client::new();
    (0..300).for_each(|i| std::fs::write(c.at(&format!("f{i}")), b"").unwrap());
    let d = c.open("", O_RDONLY).unwrap();
    let mut offset = 0;
    loop {
        let some = c.readdir(d, offset, 200).unwrap();
        let Some(last) = some.last() else { break };
        offset = last.1;
        for (.., name) in some.into_iter().skip_while(|e| e.3.starts_with('.')) {
            c.unlink(ROOT, &name, 0).unwrap();
        }
    }
    assert_eq!(c.names(d, 1000), [""; 0], "rewinding shows the present state");
}

#[test]
fn entries_tell_type_and_number() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"").unwrap();
    c.mkdir(ROOT, "d").unwrap();
    c.symlink("l", "f").unwrap();
    let d = c.open("", O_RDONLY).unwrap();
    let entries = c.readdir(d, 0, 4096).unwrap();
    assert_eq!(entries.len(), 5);
    for (qid, _, kind, name) in entries {
        let (expected, attr) = match name.as_str() {
            "f" => (8, c.stat("f")),
            "d" => (4, c.stat("d")),
            "l" => (10, c.stat("l")),
            _ => (4, c.stat("")),
        };
        let attr = attr.unwrap();
        assert_eq!((kind, qid.kind, qid.path), (expected, attr.qid.kind, attr.qid.path), "{name}");
    }
    // A directory that is removed while open reads as empty.
    let sub = c.open("d", O_RDONLY).unwrap();
    c.unlink(ROOT, "d", 0x200).unwrap();
    assert_eq!(c.names(sub, 1000), [""; 0]);
}
