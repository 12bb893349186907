//! Extensions of tar: long names, PAX attributes, sparse files; and directories of the host.

use crate::image::{
    Kind, LoadOptions, Mtime, load,
    testing::{Tar, content, layers, paths},
};
use std::{fs, os::unix::fs as unix, os::unix::fs::PermissionsExt, process::Command};

#[test]
fn long_names_of_both_kinds() {
    let name = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let image = layers(&[Tar::new()
        .typed("././@LongLink", b'L', format!("{name}\0").as_bytes())
        .file("short", b"gnu")
        .typed("././@LongLink", b'K', format!("/{name}\0").as_bytes())
        .symlink("link", "short")
        .pax(&[("path", b"p\xc3\xa4x\nname"), ("linkpath", name.as_bytes())])
        .hardlink("short", "short")
        .done()]);
    assert_eq!(content(&image.tree, "/link"), b"gnu");
    assert_eq!(content(&image.tree, "/p\u{e4}x\nname"), b"gnu");
}

#[test]
fn pax_attributes() {
    let image = layers(&[Tar::new()
        .typed("global", b'g', b"13 mtime=5.5\n")
        .pax(&[
            ("SCHILY.xattr.user.b", b"two\0\n="),
            ("SCHILY.xattr.security.capability", &[1, 0, 0, 2]),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.com.apple.x", b"y"),
            ("mtime", b"-1.5"),
            ("uid", b"4000000000"),
            ("gid", b"70000"),
        ])
        .file("f", b"")
        .file("g", b"")
        .done()]);
    let at = |p: &str| image.tree.inode(image.tree.lookup(p.as_bytes()).unwrap());
    let f = at("/f");
    assert_eq!(
        (f.meta.uid, f.meta.gid, f.meta.mtime),
        (4_000_000_000, 70_000, Mtime { secs: -2, nanos: 500_000_000 })
    );
    let xattrs: Vec<(&[u8], &[u8])> = f.xattrs.iter().map(|x| (&*x.name, &*x.value)).collect();
    assert_eq!(xattrs, [(&b"security.capability"[..], &[1, 0, 0, 2][..]), (b"user.b", b"two\0\n=")]);
    assert_eq!(at("/g").meta.mtime, Mtime { secs: 1_700_000_000, nanos: 0 });
    assert!(image.warnings[0].contains("2 extended attributes"), "{:?}", image.warnings);
}

fn tar_of(dir: &std::path::Path, arguments: &[&str]) -> Vec<u8> {
    let out =
        Command::new("tar").arg("-C").arg(dir).args(arguments).args(["-cf", "-", "."]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[test]
fn sparse_files_in_all_forms_that_gnu_tar_writes() {
    let dir = tempfile::tempdir().unwrap();
    let mut want = vec![0; 1 << 20];
    let path = dir.path().join("sparse");
    let file = fs::File::create(&path).unwrap();
    file.set_len(want.len() as u64).unwrap();
    for i in 0..40 {
        // More runs than one header holds.
        let data = vec![i as u8 + 1; 5000];
        unix::FileExt::write_all_at(&file, &data, i * 24_576).unwrap();
        want[i as usize * 24_576..][..5000].copy_from_slice(&data);
    }
    for form in [
        &["--format=gnu", "-S"][..],
        &["--format=pax", "-S", "--sparse-version=0.0"],
        &["--format=pax", "-S", "--sparse-version=0.1"],
        &["--format=pax", "-S", "--sparse-version=1.0"],
        &["--format=ustar"],
    ] {
        let tar = tar_of(dir.path(), form);
        let sparse = form.contains(&"-S");
        assert_eq!(tar.len() < 700_000, sparse, "{form:?}: the test's file is not stored as it should");
        let image = layers(&[tar]);
        assert!(content(&image.tree, "/sparse") == want, "{form:?}");
        let id = image.tree.lookup(b"/sparse").unwrap();
        let mut part = vec![0; 70_000];
        image.tree.read_at(id, 4999, &mut part).unwrap();
        assert!(part == want[4999..74_999], "{form:?}");
    }
}

#[test]
fn directories_of_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::set_permissions(at("d"), fs::Permissions::from_mode(0o2711)).unwrap();
    fs::write(at("d/f"), vec![9; 300_000]).unwrap();
    fs::hard_link(at("d/f"), at("h")).unwrap();
    unix::symlink("../outside", at("s")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("sock")).unwrap();
    let name = format!("dir:{}", dir.path().display());
    let image = load(&name, &LoadOptions::default(), &mut ()).unwrap();
    assert_eq!(paths(&image.tree), ["/d", "/d/f", "/h", "/s", "/sock"]);
    let id = |p: &str| image.tree.lookup(p.as_bytes());
    assert_eq!(id("/h"), id("/d/f"));
    assert_eq!(image.tree.inode(id("/d").unwrap()).meta.mode, 0o2711);
    assert_eq!(image.tree.inode(id("/sock").unwrap()).kind, Kind::Socket);
    assert_eq!(content(&image.tree, "/h"), vec![9; 300_000]);
    assert_eq!(load(&name, &LoadOptions::default(), &mut ()).unwrap().digest, image.digest);
    fs::write(at("d/f"), vec![8; 300_000]).unwrap();
    assert_ne!(load(&name, &LoadOptions::default(), &mut ()).unwrap().digest, image.digest);
    assert_eq!(id("/s"), None);
}
