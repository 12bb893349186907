//! Images are checked by erofs-utils, and read back by a reader written from the format's description.

use super::{Options, Volume};
use crate::image::{
    InodeId, Kind, LoadOptions, Tree, load,
    testing::{Tar, layers},
};
use std::{fs, io, process::Command};

/// An image of a tree, made in one go.
fn image(tree: &Tree) -> Vec<u8> {
    let volume = Volume::new(tree, &Options { seed: "sha256:0".into() }).unwrap();
    let mut out = Vec::new();
    volume.write_to(&mut out, &mut ()).unwrap();
    assert_eq!(out.len() as u64, volume.size());
    assert_eq!(out.len() % (2 << 20), 0);
    out
}

/// Reads an image; panics on anything odd.
struct Reader<'a>(&'a [u8]);

/// An inode read back.
struct Found {
    mode: u16,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
    links: u32,
    device: u32,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    data: Vec<u8>,
    inline: bool,
}

impl Reader<'_> {
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.0[at..at + 2].try_into().unwrap())
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn root(&self) -> u64 {
        assert_eq!(self.u32(1024), 0xe0f5_e1e2);
        self.u16(1024 + 14).into()
    }

    fn inode(&self, nid: u64) -> Found {
        let at = nid as usize * 32;
        let format = self.u16(at);
        assert!(format == 1 || format == 5, "format {format}");
        let inline = format == 5;
        let count = usize::from(self.u16(at + 2));
        let xattr_len = if count == 0 { 0 } else { 12 + 4 * (count - 1) };
        let mode = self.u16(at + 4);
        let size = self.u64(at + 8) as usize;
        let has_data = matches!(mode >> 12, 4 | 8 | 10);
        let start = if inline { at + 64 + xattr_len } else { self.u32(at + 16) as usize * 4096 };
        if inline {
            assert!(size == 0 || start / 4096 == (start + size - 1) / 4096, "inline data crosses a block");
        }
        Found {
            mode,
            uid: self.u32(at + 24),
            gid: self.u32(at + 28),
            mtime: (self.u64(at + 32) as i64, self.u32(at + 40)),
            links: self.u32(at + 44),
            device: self.u32(at + 16),
            xattrs: self.xattrs(at + 64, xattr_len),
            data: if has_data { self.0[start..start + size].to_vec() } else { Vec::new() },
            inline,
        }
    }

    fn xattrs(&self, start: usize, len: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let prefixes =
            ["", "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "", "security."];
        let mut found = Vec::new();
        let mut at = start + 12;
        while at < start + len {
            let (name_len, index) = (usize::from(self.0[at]), usize::from(self.0[at + 1]));
            let value_len = usize::from(self.u16(at + 2));
            let name = [prefixes[index].as_bytes(), &self.0[at + 4..at + 4 + name_len]].concat();
            found.push((name, self.0[at + 4 + name_len..][..value_len].to_vec()));
            at += (4 + name_len + value_len).next_multiple_of(4);
        }
        found
    }

    fn entries(&self, nid: u64) -> Vec<(Vec<u8>, u64, u8)> {
        let data = self.inode(nid).data;
        let mut found: Vec<(Vec<u8>, u64, u8)> = Vec::new();
        for block in data.chunks(4096) {
            let offset = |i: usize| {
                usize::from(u16::from_le_bytes(block[i * 12 + 8..i * 12 + 10].try_into().unwrap()))
            };
            let count = offset(0) / 12;
            for i in 0..count {
                let end = if i + 1 < count { offset(i + 1) } else { block.len() };
                let name: Vec<u8> = block[offset(i)..end].iter().copied().take_while(|&b| b != 0).collect();
                let nid = u64::from_le_bytes(block[i * 12..i * 12 + 8].try_into().unwrap());
                assert!(found.last().is_none_or(|(last, ..)| *last < name), "names are not sorted");
                found.push((name, nid, block[i * 12 + 10]));
            }
        }
        found
    }

    /// Compares everything below a directory with the tree.
    fn compare(&self, tree: &Tree) -> usize {
        let mut todo = vec![(self.root(), tree.root(), self.root())];
        let mut links = std::collections::HashMap::new();
        let mut count = 0;
        while let Some((nid, id, parent)) = todo.pop() {
            count += 1;
            let (found, node) = (self.inode(nid), tree.inode(id));
            assert_eq!(*links.entry(id).or_insert(nid), nid, "names of one file have different inodes");
            let link = matches!(node.kind, Kind::Symlink(_));
            assert_eq!(found.mode & 0o7777, if link { 0o777 } else { node.meta.mode });
            assert_eq!((found.uid, found.gid), (node.meta.uid, node.meta.gid));
            assert_eq!(found.mtime, (node.meta.mtime.secs, node.meta.mtime.nanos));
            let xattrs = node.xattrs.iter().map(|x| (x.name.to_vec(), x.value.to_vec()));
            assert_eq!(found.xattrs, xattrs.collect::<Vec<_>>());
            match &node.kind {
                Kind::Dir(entries) => {
                    let mut names = self.entries(nid);
                    let mut take = |name: &[u8]| {
                        let at = names.iter().position(|(n, ..)| n == name).unwrap();
                        names.remove(at).1
                    };
                    assert_eq!((take(b"."), take(b"..")), (nid, parent));
                    assert_eq!(names.len(), entries.len());
                    for ((name, child, _), (want, dirent)) in names.into_iter().zip(entries) {
                        assert_eq!(*name, **want);
                        todo.push((child, dirent.inode, nid));
                    }
                }
                Kind::File { size, .. } => {
                    let mut data = vec![0; *size as usize];
                    tree.read_at(id, 0, &mut data).unwrap();
                    assert!(found.data == data && !found.inline);
                    assert_eq!((found.mode >> 12, found.links), (8, node.links));
                }
                Kind::Symlink(target) => assert_eq!((&found.data[..], found.mode), (&**target, 0o120777)),
                Kind::Char(..) => assert_eq!((found.device, found.mode >> 12), (linux_device(tree, id), 2)),
                Kind::Block(..) => assert_eq!((found.device, found.mode >> 12), (linux_device(tree, id), 6)),
                Kind::Fifo => assert_eq!(found.mode >> 12, 1),
                Kind::Socket => assert_eq!(found.mode >> 12, 12),
            }
        }
        count
    }
}

fn linux_device(tree: &Tree, id: InodeId) -> u32 {
    let (Kind::Char(major, minor) | Kind::Block(major, minor)) = tree.inode(id).kind else { return 0 };
    (minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)
}

/// What fsck.erofs says. Its exit status is no help: version 1.5 gives 0 even for a wrong checksum.
fn fsck_says(data: &[u8], arguments: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("image");
    fs::write(&file, data).unwrap();
    let out = Command::new("fsck.erofs").arg("-d3").args(arguments).arg(&file).output();
    let out = out.expect("fsck.erofs cannot be run: install it with `scripts/setup test`");
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

fn fsck(data: &[u8], arguments: &[&str]) {
    let said = fsck_says(data, arguments);
    assert!(
        (said.contains("No errors found") || said.contains("Extracted filesystem successfully"))
            && !said.contains("<E>"),
        "{said}"
    );
}

/// A tree with everything in it.
fn sample() -> crate::image::LoadedImage {
    let long = "t".repeat(4000);
    let big = vec![b'x'; 60_000];
    let mut tar = Tar::new()
        .dir("./", 0o755)
        .dir("empty", 0o1777)
        .program("bin/p", &vec![0x5a; 3 << 20])
        .file("small", b"x")
        .file("nothing", b"")
        .file("block", &[3; 4096])
        .file("!before-dots", b"1")
        .file("-also", b"2")
        .file("zzz", b"3")
        .hardlink("bin/hard", "bin/p")
        .symlink("short-link", "small")
        .pax(&[("linkpath", long.as_bytes())])
        .symlink("long-link", "x")
        .device("null", tar::EntryType::Char, 1, 3)
        .device("disk", tar::EntryType::Block, 259, 0x12345)
        .device("fifo", tar::EntryType::Fifo, 0, 0)
        .pax(&[
            ("SCHILY.xattr.user.big", &big[..]),
            ("SCHILY.xattr.user.e", b""),
            (
                "SCHILY.xattr.security.capability",
                &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            ("SCHILY.xattr.trusted.t", b"odd"),
            ("mtime", b"-1234.000000001"),
            ("uid", b"4294967294"),
        ])
        .dir("attributes", 0o700)
        .pax(&[("SCHILY.xattr.user.x", &[1; 3900])])
        .symlink("fat-link", "t");
    for i in 0..3000 {
        let name = format!("many/{i:x}-{}", "n".repeat(i % 80));
        tar = if i % 3 == 0 { tar.symlink(&name, "x") } else { tar.file(&name, name.as_bytes()) };
    }
    layers(&[tar.done()])
}

#[test]
fn everything_is_read_back() {
    let loaded = sample();
    let data = image(&loaded.tree);
    assert_eq!(Reader(&data).compare(&loaded.tree), 3000 + 19);
    assert_eq!(image(&sample().tree), data, "the same input gives other bytes");
    let reader = Reader(&data);
    assert_eq!(reader.u64(1024 + 16), 3000 + 18, "inode count");
    let root = reader.inode(reader.root());
    assert_eq!(root.links, 2 + 4);
}

#[test]
fn erofs_utils_find_no_fault() {
    fsck(&image(&sample().tree), &[]);
    fsck(&image(&layers(&[Tar::new().done()]).tree), &[]);
}

#[test]
fn erofs_utils_extract_the_same_tree() {
    // Device nodes need root: a tree without.
    let tar = Tar::new()
        .program("bin/p", &vec![7; 1 << 20])
        .hardlink("h", "bin/p")
        .symlink("s", "bin/p")
        .file("d/e/f", b"deep")
        .file("nothing", b"");
    let loaded = layers(&[tar.done()]);
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("root");
    fsck(&image(&loaded.tree), &[&format!("--extract={}", target.display()), "--no-preserve-owner"]);
    let read = |name: &str| fs::read(target.join(name)).unwrap();
    assert!(read("bin/p") == vec![7; 1 << 20] && read("h") == read("bin/p"));
    assert_eq!((read("d/e/f"), read("nothing")), (b"deep".to_vec(), Vec::new()));
    assert_eq!(fs::read_link(target.join("s")).unwrap().to_str(), Some("bin/p"));
}

#[test]
fn damage_is_noticed() {
    // That the checks above can fail: a wrong checksum, a root directory that is none.
    let good = image(&layers(&[Tar::new().file("a", b"1").done()]).tree);
    for at in [1024 + 48, 1152 + 5] {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        let said = fsck_says(&bad, &[]);
        assert!(said.contains("<E>") || !said.contains("No errors found"), "byte {at}: {said}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |tar: Tar, words: &str| {
        let loaded = layers(&[tar.done()]);
        let error = Volume::new(&loaded.tree, &Options::default()).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(Tar::new().device("d/x", tar::EntryType::Char, 4096, 0), "`/d/x`: device number 4096:0");
    let value = vec![0; 60_000];
    let names: Vec<String> = (0..5).map(|i| format!("SCHILY.xattr.user.{i}")).collect();
    let records: Vec<(&str, &[u8])> = names.iter().map(|n| (&n[..], &value[..])).collect();
    refused(Tar::new().pax(&records).file("x", b""), "extended attributes take");
}

/// Fails once it is full.
struct Full(usize);

impl io::Write for Full {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(data.len()).ok_or(io::Error::from(io::ErrorKind::StorageFull))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let loaded = sample();
    let volume = Volume::new(&loaded.tree, &Options::default()).unwrap();
    for room in [0, 5000, 100_000, volume.size() as usize - 1] {
        assert!(volume.write_to(&mut Full(room), &mut ()).is_err());
    }
    volume.write_to(&mut Full(volume.size() as usize), &mut ()).unwrap();
}

#[test]
fn times_of_host_files_are_kept() {
    // From a directory of the host: the way of sub-second times.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), b"1").unwrap();
    let loaded = load(&format!("dir:{}", dir.path().display()), &LoadOptions::default(), &mut ()).unwrap();
    Reader(&image(&loaded.tree)).compare(&loaded.tree);
}
