//! Listings.

use super::*;

#[test]
fn long_directories_in_small_pieces() {
    const N: usize = 1200;
    let mut c = Client::new();
    let mut expected: Vec<String> = (0..N).map(|i| format!("entry-{i}")).collect();
    expected.iter().for_each(|n| std::fs::write(c.at(n), b"").unwrap());
    expected.sort();
    let d = c.open_dir("").unwrap();
    for count in [40, 100, 1000, 60_000] {
        assert_eq!(c.names(d, count), expected, "{count} bytes at a time");
    }
    assert_eq!(c.readdir(d, 0, 31), Err(Errno::INVAL), "not even one fits");
    // Any offset that was told can be returned to.
    let all = c.readdir(d, 0, 60_000).unwrap();
    for i in [0, 1, 2, 500] {
        assert_eq!(c.readdir(d, all[i].1, 200).unwrap()[0].3, all[i + 1].3);
    }
    assert_eq!(c.readdir(d, u64::MAX, 1000).unwrap(), []);
    // A reader of its own has a place of its own.
    let e = c.open_dir("").unwrap();
    assert_eq!(c.readdir(e, 2, 60).unwrap()[0].3, all[2].3);
    c.release_dir(d).unwrap();
    assert_eq!(c.names(e, 4096), expected);
}

#[test]
fn removing_while_reading_skips_nothing() {
    let mut c = Client::new();
    (0..300).for_each(|i| std::fs::write(c.at(&format!("f{i}")), b"").unwrap());
    let d = c.open_dir("").unwrap();
    let mut offset = 0;
    loop {
        let some = c.readdir(d, offset, 200).unwrap();
        let Some(last) = some.last() else { break };
        offset = last.1;
        for (.., name) in some.into_iter().skip_while(|e| e.3.starts_with(b".")) {
            c.unlink(ROOT, &name).unwrap();
        }
    }
    assert_eq!(c.names(d, 1000), [""; 0], "rewinding shows the present state");
}

#[test]
fn entries_tell_type_and_number() {
    let mut c = Client::new();
    std::fs::write(c.at("f"), b"").unwrap();
    c.mkdir(ROOT, b"d", 0o755).unwrap();
    c.symlink(ROOT, b"l", b"f").unwrap();
    let d = c.open_dir("").unwrap();
    let entries = c.readdir(d, 0, 4096).unwrap();
    assert_eq!(entries.len(), 5);
    for (ino, _, kind, name) in entries {
        let (expected, path) = match &name[..] {
            b"f" => (8, "f"),
            b"d" => (4, "d"),
            b"l" => (10, "l"),
            _ => (4, ""),
        };
        let node = c.walk(path).unwrap();
        assert_eq!((kind, ino), (expected, c.attr(node).unwrap().ino), "{path}");
    }
    // `..` of a directory below is the one above.
    let sub = c.open_dir("d").unwrap();
    let entries = c.readdir(sub, 0, 4096).unwrap();
    let root = c.attr(ROOT).unwrap().ino;
    assert_eq!((entries[1].0, entries[0].0), (root, c.stat("d").unwrap().ino));
    // A directory that is removed while open reads as empty.
    c.rmdir(ROOT, b"d").unwrap();
    assert_eq!(c.names(sub, 1000), [""; 0]);
}

#[test]
fn what_came_after_the_listing_is_there_after_rewinding() {
    let mut c = Client::new();
    let d = c.open_dir("").unwrap();
    assert_eq!(c.names(d, 1000), [""; 0]);
    std::fs::write(c.at("host"), b"").unwrap();
    c.create("guest", O_RDWR, 0o644).unwrap();
    assert_eq!(c.names(d, 1000), ["guest", "host"]);
}
