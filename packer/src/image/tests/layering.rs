//! How layers lie over each other.

use crate::image::{
    Kind,
    testing::{Tar, content, layers, paths},
};

#[test]
fn metadata_is_kept() {
    let image = layers(&[Tar::new()
        .dir("d/", 0o1777)
        .program("d/p", b"program")
        .symlink("d/l", "../d/p")
        .device("d/c", tar::EntryType::Char, 4, 65)
        .device("d/b", tar::EntryType::Block, 8, 300)
        .device("d/f", tar::EntryType::Fifo, 0, 0)
        .done()]);
    let tree = &image.tree;
    let at = |path: &str| tree.inode(tree.lookup(path.as_bytes()).unwrap());
    let program = at("/d/p");
    assert_eq!((program.meta.mode, program.meta.uid, program.meta.gid), (0o4755, 1000, 1001));
    assert_eq!((program.meta.mtime.secs, program.links), (1_700_000_000, 1));
    assert_eq!(at("/d").meta.mode, 0o1777);
    assert_eq!(content(tree, "/d/l"), b"program");
    assert_eq!(at("/d/c").kind, Kind::Char(4, 65));
    assert_eq!(at("/d/b").kind, Kind::Block(8, 300));
    assert_eq!(at("/d/f").kind, Kind::Fifo);
}

#[test]
fn upper_layers_replace_and_merge() {
    let lower = Tar::new()
        .dir("d", 0o700)
        .file("d/old", b"1")
        .file("f", b"lower")
        .dir("dir-to-file", 0o755)
        .file("dir-to-file/x", b"x")
        .file("file-to-dir", b"x")
        .symlink("link-to-dir", "d")
        .done();
    let upper = Tar::new()
        .dir("d", 0o755)
        .file("d/new", b"2")
        .file("f", b"upper one")
        .file("dir-to-file", b"now a file")
        .dir("file-to-dir", 0o711)
        .file("file-to-dir/y", b"y")
        .dir("link-to-dir", 0o711)
        .done();
    let image = layers(&[lower, upper]);
    assert_eq!(
        paths(&image.tree),
        ["/d", "/d/new", "/d/old", "/dir-to-file", "/f", "/file-to-dir", "/file-to-dir/y", "/link-to-dir"]
    );
    assert_eq!(content(&image.tree, "/f"), b"upper one");
    let d = image.tree.lookup(b"/d").unwrap();
    assert_eq!(image.tree.inode(d).meta.mode, 0o755);
    assert!(image.tree.entries(image.tree.lookup(b"/link-to-dir").unwrap()).is_some_and(|e| e.is_empty()));
    // Only what is left counts: f, d/old, d/new, dir-to-file, file-to-dir/y.
    assert_eq!(image.tree.file_bytes(), 5 * 4096);
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let lower = Tar::new().file("a/x", b"1").file("a/deep/y", b"2").file("b", b"3").file("keep", b"4").done();
    // The whiteout is after what its own layer brings, and before.
    let upper = Tar::new()
        .file("a/new", b"5")
        .file(".wh.a", b"")
        .file(".wh.b", b"")
        .file("b", b"again")
        .file(".wh.never-was", b"")
        .file("no/such/.wh.dir", b"")
        .file(".wh..wh.plnk", b"")
        .done();
    let image = layers(&[lower.clone(), upper]);
    assert_eq!(paths(&image.tree), ["/a", "/a/new", "/b", "/keep"]);
    assert_eq!(content(&image.tree, "/b"), b"again");
    // In a lowest layer a whiteout has nothing to hide.
    let image = layers(&[Tar::new().file("x", b"1").file(".wh.x", b"").done(), lower]);
    assert!(image.tree.lookup(b"/x").is_some());
}

#[test]
fn opaque_directories_hide_all_below() {
    let lower = Tar::new().dir("d", 0o700).file("d/x", b"1").file("d/e/y", b"2").file("d/e/z", b"3").done();
    let upper = Tar::new().file("d/e/new", b"4").file("d/.wh..wh..opq", b"").file("d/w", b"5").done();
    let image = layers(&[lower.clone(), upper]);
    assert_eq!(paths(&image.tree), ["/d", "/d/e", "/d/e/new", "/d/w"]);
    let image = layers(&[lower, Tar::new().file(".wh..wh..opq", b"").done()]);
    assert_eq!(paths(&image.tree), Vec::<String>::new());
    assert_eq!((image.tree.live_inodes(), image.tree.file_bytes()), (1, 0));
}

#[test]
fn hard_links_share_and_survive() {
    let lower = Tar::new().file("a", b"shared").hardlink("dir/b", "/a").hardlink("c", "./a").done();
    let image = layers(std::slice::from_ref(&lower));
    let id = |p: &str| image.tree.lookup(p.as_bytes()).unwrap();
    assert_eq!((id("/a"), id("/a")), (id("/dir/b"), id("/c")));
    assert_eq!(image.tree.inode(id("/a")).links, 3);
    assert_eq!(image.tree.file_bytes(), 4096);
    // The whiteout of one name leaves the others; a link to a lower layer's file works.
    let image = layers(&[lower, Tar::new().file(".wh.a", b"").hardlink("d", "c").done()]);
    assert_eq!(paths(&image.tree), ["/c", "/d", "/dir", "/dir/b"]);
    assert_eq!(content(&image.tree, "/dir/b"), b"shared");
    assert_eq!(image.tree.inode(image.tree.lookup(b"/c").unwrap()).links, 3);
    // Linking a name to itself changes nothing.
    let image = layers(&[Tar::new().file("a", b"1").hardlink("a", "a").done()]);
    assert_eq!(content(&image.tree, "/a"), b"1");
}

#[test]
fn entries_below_links_stay_inside() {
    let image = layers(&[Tar::new()
        .dir("real", 0o755)
        .symlink("absolute", "/real")
        .symlink("outside", "../../../../etc")
        .symlink("dangling", "made/up")
        .file("absolute/a", b"1")
        .file("outside/b", b"2")
        .file("dangling/c", b"3")
        .file("/leading", b"4")
        .file("x/../y", b"5")
        .done()]);
    assert_eq!(
        paths(&image.tree),
        [
            "/absolute",
            "/dangling",
            "/etc",
            "/etc/b",
            "/leading",
            "/made",
            "/made/up",
            "/made/up/c",
            "/outside",
            "/real",
            "/real/a",
            "/y"
        ]
    );
}

#[test]
fn a_root_entry_sets_the_root() {
    let image = layers(&[Tar::new().dir("./", 0o711).file("./a", b"").done()]);
    assert_eq!(image.tree.inode(image.tree.root()).meta.mode, 0o711);
    assert_eq!(paths(&image.tree), ["/a"]);
}
