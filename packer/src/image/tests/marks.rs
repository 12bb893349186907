//! Whiteouts and opaque marks beside links, files and entries in any order.

use crate::image::{
    Kind, LoadedImage,
    testing::{Tar, content, layers, paths, try_layers},
};

/// Names and kinds: `/d/`, `/f`, `/l -> target`.
fn shape(image: &LoadedImage) -> Vec<String> {
    let tree = &image.tree;
    let name = |path: String| {
        let (dir, last) = path.rsplit_once('/').unwrap();
        let id = tree.child(tree.lookup(dir.as_bytes()).unwrap(), last.as_bytes()).unwrap();
        match &tree.inode(id).kind {
            Kind::Dir(_) => format!("{path}/"),
            Kind::Symlink(to) => format!("{path} -> {}", String::from_utf8_lossy(to)),
            _ => path,
        }
    };
    // Below links nothing is listed: `paths` follows none.
    paths(tree).into_iter().map(name).collect()
}

fn target() -> Vec<u8> {
    Tar::new().dir("target", 0o755).file("target/keep", b"keep").symlink("link", "target").done()
}

const KEPT: [&str; 3] = ["/link -> target", "/target/", "/target/keep"];
const REPLACED: [&str; 4] = ["/link/", "/link/new", "/target/", "/target/keep"];

#[test]
fn an_opaque_mark_before_its_directory_over_a_link() {
    let orders = [
        Tar::new().file("link/.wh..wh..opq", b"").dir("link", 0o755).file("link/new", b""),
        Tar::new().dir("link", 0o755).file("link/.wh..wh..opq", b"").file("link/new", b""),
        Tar::new().dir("link", 0o755).file("link/new", b"").file("link/.wh..wh..opq", b""),
        // The mark stands for its directory.
        Tar::new().file("link/.wh..wh..opq", b"").file("link/new", b""),
    ];
    for upper in orders {
        assert_eq!(shape(&layers(&[target(), upper.done()])), REPLACED);
    }
}

#[test]
fn no_mark_acts_through_a_link() {
    for upper in [
        Tar::new().file("link/.wh.keep", b""),
        Tar::new().file("link/sub/.wh..wh..opq", b""),
        Tar::new().file("link/../target/../link/.wh.keep", b""),
    ] {
        assert_eq!(shape(&layers(&[target(), upper.done()])), KEPT);
    }
    // Nor through one of its own layer, in either order with what goes through it.
    let lower = || Tar::new().dir("target", 0o755).file("target/keep", b"keep").done();
    for upper in [
        Tar::new().symlink("link", "target").file("link/.wh.keep", b""),
        Tar::new().symlink("link", "target").file("link/.wh..wh..opq", b""),
        Tar::new().symlink("link", "/target").dir("link/../target", 0o755).file("link/.wh..wh..opq", b""),
    ] {
        assert_eq!(content(&layers(&[lower(), upper.done()]).tree, "/link/keep"), b"keep");
    }
    // Chains, absolute and dangling ones.
    let lower =
        Tar::new().file("a/b/keep", b"").symlink("c", "/a").symlink("d", "c/b").symlink("e", "no/where");
    let upper = Tar::new()
        .file("d/.wh.keep", b"")
        .file("c/b/.wh.keep", b"")
        .file("c/.wh.b", b"")
        .file("c/b/.wh..wh..opq", b"")
        .file("e/.wh.x", b"");
    let image = layers(&[lower.done(), upper.done()]);
    assert_eq!(shape(&image), ["/a/", "/a/b/", "/a/b/keep", "/c -> /a", "/d -> c/b", "/e -> no/where"]);
}

#[test]
fn a_whiteout_of_a_link_hides_the_link() {
    for upper in [
        Tar::new().file(".wh.link", b""),
        Tar::new().file(".wh.link", b"").file("link/.wh.keep", b""),
        Tar::new().file("link/.wh.keep", b"").file(".wh.link", b""),
    ] {
        assert_eq!(shape(&layers(&[target(), upper.done()])), ["/target/", "/target/keep"]);
    }
    // Also when an entry of its layer went through the link: that stays where it led.
    let upper = Tar::new().file("link/new", b"new").file(".wh.link", b"").done();
    assert_eq!(shape(&layers(&[target(), upper])), ["/target/", "/target/keep", "/target/new"]);
    // And makes room for a directory, before or after it.
    for upper in [
        Tar::new().file(".wh.link", b"").file("link/new", b""),
        Tar::new().file(".wh.link", b"").dir("link", 0o755).file("link/new", b""),
        Tar::new().dir("link", 0o755).file(".wh.link", b"").file("link/new", b""),
    ] {
        assert_eq!(shape(&layers(&[target(), upper.done()])), REPLACED);
    }
}

#[test]
fn marks_over_files_and_devices() {
    let lower = Tar::new().file("x", b"plain").device("dev", tar::EntryType::Char, 1, 3).done();
    // A whiteout below a file finds nothing; an opaque mark makes a directory of it.
    let upper = Tar::new().file("x/.wh.y", b"").file("dev/.wh.y", b"");
    assert_eq!(shape(&layers(&[lower.clone(), upper.done()])), ["/dev", "/x"]);
    let upper = Tar::new().file("x/.wh..wh..opq", b"").file("dev/sub/.wh..wh..opq", b"");
    assert_eq!(shape(&layers(&[lower.clone(), upper.done()])), ["/dev/", "/dev/sub/", "/x/"]);
    // Not of one of its own layer.
    let upper = Tar::new().file("x", b"new").file("x/.wh..wh..opq", b"").file(".wh.x", b"");
    assert_eq!(content(&layers(&[lower, upper.done()]).tree, "/x"), b"new");
}

#[test]
fn an_entry_below_a_lower_layers_file_makes_a_directory() {
    let lower = Tar::new().file("x", b"plain").file("keep", b"").symlink("link", "x").done();
    let image = layers(&[lower.clone(), Tar::new().file("x/y", b"deep").done()]);
    assert_eq!(shape(&image), ["/keep", "/link -> x", "/x/", "/x/y"]);
    assert_eq!(content(&image.tree, "/link/y"), b"deep");
    let dir = image.tree.inode(image.tree.lookup(b"/x").unwrap());
    assert_eq!((dir.meta.mode, dir.meta.uid), (0o755, 0));
    // At any depth, below other kinds, and through a link.
    let image = layers(&[lower.clone(), Tar::new().dir("x/y/z", 0o700).file("link/w", b"").done()]);
    assert_eq!(shape(&image), ["/keep", "/link -> x", "/x/", "/x/w", "/x/y/", "/x/y/z/"]);
    let fifo = Tar::new().device("x", tar::EntryType::Fifo, 0, 0).done();
    assert_eq!(shape(&layers(&[fifo, Tar::new().symlink("x/y", "z").done()])), ["/x/", "/x/y -> z"]);
    // In its own layer it contradicts the file, whatever lower layers have.
    for upper in [
        Tar::new().file("x", b"").file("x/y", b""),
        Tar::new().file(".wh.x", b"").file("x", b"").dir("x/y", 0o755),
        Tar::new().hardlink("x", "keep").symlink("x/y", "z"),
    ] {
        let error = try_layers(&[lower.clone(), upper.done()]).unwrap_err().to_string();
        assert!(error.contains("`x/y`") && error.contains("no directory"), "{error}");
    }
}

#[test]
fn duplicates_and_changes_of_kind_within_a_layer() {
    let image = layers(&[Tar::new()
        .file("a", b"1")
        .symlink("a", "b")
        .file("a", b"2")
        .dir("d", 0o700)
        .file("d/x", b"")
        .dir("d", 0o711)
        .dir("e", 0o755)
        .file("e/x", b"")
        .file("e", b"now a file")
        .dir("e", 0o755)
        .symlink("l", "d")
        .dir("l", 0o755)
        .file("l/only", b"")
        .done()]);
    assert_eq!(shape(&image), ["/a", "/d/", "/d/x", "/e/", "/l/", "/l/only"]);
    assert_eq!(content(&image.tree, "/a"), b"2");
    assert_eq!(image.tree.inode(image.tree.lookup(b"/d").unwrap()).meta.mode, 0o711);
}

#[test]
fn a_file_over_a_link_does_not_write_through_it() {
    let upper = Tar::new().file("link", b"own").file("target/.wh.none", b"").done();
    let image = layers(&[target(), upper]);
    assert_eq!(shape(&image), ["/link", "/target/", "/target/keep"]);
    assert_eq!(content(&image.tree, "/target/keep"), b"keep");
}

#[test]
fn hard_links_across_marks() {
    let lower = Tar::new().file("d/a", b"1").hardlink("b", "d/a").done();
    let ino = |image: &LoadedImage, path: &str| image.tree.lookup(path.as_bytes()).unwrap();
    // Linked before the mark hides the name that the link was made by.
    for mark in ["d/.wh.a", "d/.wh..wh..opq", ".wh.d"] {
        let upper = Tar::new().hardlink("c", "d/a").file(mark, b"").done();
        let image = layers(&[lower.clone(), upper]);
        assert_eq!((content(&image.tree, "/c"), ino(&image, "/b")), (b"1".to_vec(), ino(&image, "/c")));
        assert_eq!(image.tree.inode(ino(&image, "/c")).links, 2);
        assert!(image.tree.lookup(b"/d/a").is_none());
    }
    // A new name in the marked directory is the layer's own.
    let upper = Tar::new().hardlink("d/new", "b").file("d/.wh..wh..opq", b"").done();
    let image = layers(&[lower.clone(), upper]);
    assert_eq!(shape(&image), ["/b", "/d/", "/d/new"]);
    // Behind the mark there is nothing to link to any more.
    let upper = Tar::new().file("d/.wh.a", b"").hardlink("c", "d/a").done();
    assert!(try_layers(&[lower.clone(), upper]).unwrap_err().to_string().contains("does not have"));
    // A new file leaves the other names of the old one alone.
    let image = layers(&[lower, Tar::new().file("b", b"2").done()]);
    assert_eq!((content(&image.tree, "/b"), content(&image.tree, "/d/a")), (b"2".to_vec(), b"1".to_vec()));
    // A link to a link is a name of the link; it is not followed.
    let image = layers(&[target(), Tar::new().hardlink("again", "link").file(".wh.link", b"").done()]);
    assert_eq!(shape(&image), ["/again -> target", "/target/", "/target/keep"]);
}

#[test]
fn parents_of_links_that_lead_nowhere_are_only_names() {
    let image = layers(&[Tar::new()
        .symlink("up", "gone/../made")
        .file("up/x", b"")
        .symlink("out", "../../nowhere/..")
        .file("out/y", b"")
        .done()]);
    assert_eq!(shape(&image), ["/made/", "/made/x", "/out -> ../../nowhere/..", "/up -> gone/../made", "/y"]);
}

/// Old layers come from AUFS: what its directories hold are targets of hard links.
#[test]
fn aufs_bookkeeping_leaves_its_hard_links() {
    let layer = Tar::new()
        .dir(".wh..wh.plnk", 0o700)
        .file(".wh..wh.plnk/12.34", b"linked")
        .file(".wh..wh.aufs", b"")
        .hardlink("a", ".wh..wh.plnk/12.34")
        .hardlink("b", ".wh..wh.plnk/12.34")
        .done();
    let image = layers(&[layer]);
    assert_eq!(shape(&image), ["/a", "/b"]);
    assert_eq!((content(&image.tree, "/b"), image.tree.file_bytes()), (b"linked".to_vec(), 4096));
}
