//! Images that lack what most have: a command, `/etc/passwd`, the standard directories.

use crate::testing::{busybox_tar, dir, mkimage, run_file};
use forelift_tests::images::{Entry, convert, tar_of};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tar::EntryType;

/// An image that is a tar of these entries and busybox's program.
fn small_image(dir: &Path, entries: &[Entry<'_>], options: &[&str]) -> PathBuf {
    let mut archive = tar::Archive::new(fs::File::open(busybox_tar()).expect("busybox's tar"));
    let mut program = Vec::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        if entry.path().is_ok_and(|p| p.ends_with("usr/bin/busybox")) {
            std::io::Read::read_to_end(&mut entry, &mut program).expect("busybox");
        }
    }
    assert!(!program.is_empty(), "no busybox in {}", busybox_tar());
    let mut all = vec![Entry::file("busybox", 0o755, &program)];
    all.extend_from_slice(entries);
    let tar = dir.join("small.tar");
    fs::write(&tar, tar_of(&all)).expect("writing");
    let image = dir.join("image");
    mkimage(options, &tar.display().to_string(), &image);
    let out = dir.join("out.wasm");
    convert(&format!("oci:{}", image.display()), &out, &[]);
    out
}

pub(super) fn image_without_command() {
    let dir = dir();
    let out = small_image(dir.path(), &[], &[]);
    let done = run_file(&out).go().expect_status(125);
    assert!(done.err().contains("no command specified") && done.err().lines().count() == 1, "{done}");
    assert_eq!(run_file(&out).args(["/busybox", "echo", "given"]).ok(), "given\n");
}

pub(super) fn image_without_passwd() {
    let dir = dir();
    let out = small_image(dir.path(), &[], &["--user", "4242:4343", "--cmd", r#"["/busybox","id","-u"]"#]);
    assert_eq!(run_file(&out).ok(), "4242\n");
    assert_eq!(run_file(&out).args(["/busybox", "id", "-g"]).ok(), "4343\n");
    let done = run_file(&out).user("name").go().expect_status(125);
    assert!(done.err().contains("unable to find user name"), "{done}");
}

/// Nothing but a program: /proc, /dev, /etc and so on are made.
pub(super) fn image_without_standard_directories() {
    let dir = dir();
    let out = small_image(dir.path(), &[], &["--entrypoint", "/busybox"]);
    let script = "for f in /proc/self /sys/kernel /dev/null /etc/hosts /etc/resolv.conf /dev/shm /dev/pts; do \
        /busybox test -e $f || /busybox echo no $f; done; /busybox touch /new && /busybox echo writable";
    assert_eq!(run_file(&out).args(["sh", "-c", script]).ok(), "writable\n");
}

/// `/etc/mtab` and `/.dockerenv` are made in an image without them; the image's own stay.
pub(super) fn files_that_docker_adds() {
    let dir = dir();
    let look = "/busybox readlink /etc/mtab; /busybox cat /.dockerenv; /busybox stat -c '%F %a' /.dockerenv";
    let out = small_image(dir.path(), &[], &["--entrypoint", "/busybox"]);
    assert_eq!(run_file(&out).args(["sh", "-c", look]).ok(), "/proc/mounts\nregular empty file 755\n");
    let own = [
        Entry::link("etc/mtab", EntryType::Symlink, "../proc/self/mounts"),
        Entry::file(".dockerenv", 0o600, b"the image's\n"),
    ];
    let other = crate::testing::dir();
    let out = small_image(other.path(), &own, &["--entrypoint", "/busybox"]);
    let text = run_file(&out).args(["sh", "-c", look]).ok();
    assert_eq!(text, "../proc/self/mounts\nthe image's\nregular file 600\n");
}

pub(super) fn image_of_one_static_program() {
    let dir = dir();
    let out = small_image(
        dir.path(),
        &[],
        &["--entrypoint", r#"["/busybox","echo","static"]"#, "--workdir", "/w/d"],
    );
    assert_eq!(run_file(&out).args(["x"]).ok(), "static x\n");
}
