//! The initial RAM file system: a cpio archive (*newc*,
//! Documentation/driver-api/early-userspace/buffer-format.rst) with the guest's init and the few nodes that
//! the kernel wants before `/dev` is mounted.

/// Mode bits of a directory, a regular file and a character device.
const DIR: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const CHARDEV: u32 = 0o020_600;

fn entry(out: &mut Vec<u8>, ino: u32, name: &str, mode: u32, rdev: (u32, u32), data: &[u8]) {
    let fields = [
        ino,
        mode,
        0, // uid
        0, // gid
        1, // links
        0, // mtime: equal inputs give equal bytes
        data.len() as u32,
        0, // device of the archive's files
        0,
        rdev.0,
        rdev.1,
        name.len() as u32 + 1,
        0, // checksum, unused in newc
    ];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The archive for a guest init of these bytes.
pub fn build(init: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(init.len() + 4096);
    for (i, dir) in ["dev", "proc", "sys", "run", "root"].into_iter().enumerate() {
        entry(&mut out, i as u32 + 1, dir, DIR, (0, 0), &[]);
    }
    entry(&mut out, 16, "dev/console", CHARDEV, (5, 1), &[]);
    entry(&mut out, 17, "dev/null", CHARDEV, (1, 3), &[]);
    entry(&mut out, 18, "init", EXECUTABLE, (0, 0), init);
    entry(&mut out, 0, "TRAILER!!!", 0, (0, 0), &[]);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_lists_it() {
        use std::{io::Write, process};
        let archive = build(b"\x7fELF and more");
        let run = process::Command::new("cpio")
            .arg("-t")
            .stdin(process::Stdio::piped())
            .stdout(process::Stdio::piped())
            .stderr(process::Stdio::null())
            .spawn();
        // No cpio here: then the headers are at least where they should be.
        let Ok(mut child) = run else {
            assert!(archive.starts_with(b"070701") && archive.len().is_multiple_of(512));
            return;
        };
        child.stdin.take().unwrap().write_all(&archive).unwrap();
        let names = child.wait_with_output().unwrap();
        assert!(names.status.success());
        assert_eq!(names.stdout, b"dev\nproc\nsys\nrun\nroot\ndev/console\ndev/null\ninit\n");
    }
}
