//! A mapped directory under `forelift run` is what a bind mount is: everything that Linux files can be and
//! do, the host's errors where Linux reports them, nothing lost, and no way out of it. And what of that holds
//! on other hosts.

use crate::testing::dir;
use forelift_tests::{
    hosts::{Guest, Host, Place},
    images::Image,
    run::Run,
    table::{Check, Group},
    workspace::{last_line, script, tool},
};
use nix::mount::{MsFlags, mount, umount};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt::Write,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

pub(crate) const CASES: Group = &[
    ("as_on_the_host", Check::On(&Host::OURS, as_on_the_host)),
    ("four_writers", Check::Everywhere(&Host::ALL, four_writers)),
    ("random_operations", Check::On(&Host::ALL, random_operations)),
    ("full_disk", Check::On(&Host::OURS, full_disk)),
    ("out_of_descriptors", Check::On(&Host::OURS, out_of_descriptors)),
    ("two_guests", Check::On(&Host::OURS, two_guests)),
    ("the_unprivileged_user_s_files", Check::On(&Host::OURS, the_unprivileged_user_s_files)),
    ("no_way_out", Check::On(&Host::OURS, no_way_out)),
    ("programs", Check::On(&[Host::Wasm], programs)),
    ("postgresql", Check::In(Guest::Riscv64, &[Host::Wasm], postgresql)),
    ("what_a_sandbox_cannot_say", Check::On(&Host::ALL, what_a_sandbox_cannot_say)),
];

const BIND: &str = include_str!("../../guest/directory/bind.py");
const POSTGRESQL: &str = include_str!("../../guest/directory/postgresql.sh");
const PROGRAMS: &str = include_str!("../../guest/directory/programs.sh");
const WRITERS: &str = include_str!("../../guest/directory/writers.py");

fn python(host: Place, code: &str, dir: &Path) -> Run {
    host.run(Image::Python3).args(["python3", "-c", code, "/mnt"]).dir(dir, "/mnt").deadline(600)
}

/// All that is below a directory, as text: kinds, modes, owners, sizes, links, times, holes, attributes and
/// contents.
fn tree(root: &Path) -> BTreeMap<OsString, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(below) = todo.pop() {
        let path = root.join(&below);
        let meta = fs::symlink_metadata(&path).expect("a file");
        let kind = meta.file_type();
        let mut text = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        if kind.is_dir() {
            for entry in fs::read_dir(&path).expect("a directory") {
                todo.push(below.join(entry.expect("an entry").file_name()));
            }
        } else {
            write!(text, " links {} size {}", meta.nlink(), meta.size()).expect("a String");
        }
        if kind.is_symlink() {
            write!(text, " -> {:?}", fs::read_link(&path).expect("a link")).expect("a String");
        }
        if kind.is_file() {
            let bytes = fs::read(&path).expect("a file");
            let sum = bytes.iter().fold(0u64, |sum, &b| sum.wrapping_mul(31).wrapping_add(u64::from(b)));
            write!(text, " sum {sum:x} blocks {}", meta.blocks()).expect("a String");
        }
        // Those that the script has set, not those of the clock.
        if below.starts_with("times") && !kind.is_symlink() {
            write!(text, " changed {}.{:09}", meta.mtime(), meta.mtime_nsec()).expect("a String");
        }
        if !kind.is_fifo() && !kind.is_socket() && !kind.is_symlink() {
            let mut names: Vec<String> = attributes(&path);
            names.sort();
            write!(text, " {names:?}").expect("a String");
        }
        found.insert(below.into_os_string(), text);
    }
    found
}

fn attributes(path: &Path) -> Vec<String> {
    let code = "import os, sys\nprint([(n, os.getxattr(sys.argv[1], n).hex()) for n in sorted(os.listxattr(sys.argv[1]))])";
    let under = |part: &str| path.components().any(|c| c.as_os_str() == part);
    // A process each: only where there are some.
    if !under("attributes") {
        return Vec::new();
    }
    vec![last_line(tool("python3"), &[OsStr::new("-c"), OsStr::new(code), path.as_os_str()])]
}

fn as_on_the_host(host: Place) {
    let (theirs, ours) = (dir(), dir());
    for dir in [&theirs, &ours] {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let done =
        Command::new(tool("python3")).arg("-c").arg(BIND).arg(theirs.path()).output().expect("python3");
    let expected = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "on the host: {expected}{}", String::from_utf8_lossy(&done.stderr));
    assert!(expected.ends_with("exclusive EEXIST\n"), "{expected}");
    let text = python(host, BIND, ours.path()).ok();
    for (line, (ours, theirs)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {line} of:\n{text}");
    }
    assert_eq!(text.len(), expected.len());
    let (theirs, ours) = (tree(theirs.path()), tree(ours.path()));
    for (name, text) in &theirs {
        assert_eq!(ours.get(name), Some(text), "{name:?}");
    }
    assert_eq!(ours.len(), theirs.len());
}

/// SQLite with a write-ahead log: its index is memory that all processes share.
fn four_writers(host: Place) {
    let dir = dir();
    let text = python(host, WRITERS, dir.path()).ok();
    assert_eq!(text, "200 ok\n");
}

/// Random reads, writes, truncations, mappings and holes against a model in memory (see the program).
fn random_operations(host: Place) {
    let arch = if host.machine() == "x86_64" { "amd64" } else { "riscv64" };
    let programs = last_line(script("stress"), &[OsStr::new(arch)]);
    let dir = dir();
    fs::copy(Path::new(&programs).join("bin/fsx"), dir.path().join("fsx")).expect("a program");
    fs::set_permissions(dir.path().join("fsx"), fs::Permissions::from_mode(0o755)).expect("chmod");
    // Without fallocate on hosts that do not have it: WASI has no such call that keeps what is there.
    let how = if host.host.is_ours() { "all" } else { "plain" };
    let run = host.sh(&format!("cd /mnt && for seed in 1 2 3; do ./fsx data $seed 3000 {how} || exit; done"));
    let text = run.dir(dir.path(), "/mnt").deadline(600).ok();
    assert_eq!(text, "3000 operations, no difference\n".repeat(3));
}

/// A script of tests/guest/directory in the image that has the programs.
fn programs_of(host: Place, script: &str) -> String {
    let (dir, scripts) = (dir(), dir());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::write(scripts.path().join("script"), script).expect("a script");
    host.run(Image::Files)
        .args(["sh", "/scripts/script"])
        .dir(dir.path(), "/mnt")
        .dir(scripts.path(), "/scripts")
        .deadline(900)
        .ok()
}

/// git, LMDB (which maps its file), fio with checks by pwrite and by mmap, SQLite with a rollback journal.
fn programs(host: Place) {
    let expected = "git\n2\nlmdb\n  Entries: 500\n500\nfio\npsync ok\nmmap ok\nsqlite\ndelete\n2000\nok\n";
    assert_eq!(programs_of(host, PROGRAMS), expected);
}

fn postgresql(host: Place) {
    let expected = "initdb ok\nnumber of transactions actually processed: 100/100\n100\nno bad checksums\n";
    assert_eq!(programs_of(host, POSTGRESQL), expected);
}

/// A file system of the test's own, unmounted at the end.
struct Mounted(TempDir);

impl Mounted {
    fn new(options: &str) -> Self {
        let dir = dir();
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options))
            .unwrap_or_else(|e| panic!("mounting a tmpfs: {e}: the tests need root"));
        Mounted(dir)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount(self.0.path());
    }
}

const FULL: &str = "
import errno, mmap, os
os.chdir('/mnt')
def attempt(what, call):
    try:
        print(what, call())
    except OSError as e:
        print(what, errno.errorcode[e.errno])
def fill(name):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT)
    done = 0
    try:
        while True:
            done += os.write(fd, b'x' * 5000)
    except OSError as e:
        print('filled', done >= 900000, done <= 1 << 20, errno.errorcode[e.errno], os.fstat(fd).st_size == done)
    attempt('one more', lambda: os.write(fd, b'y' * 5000))
    os.close(fd)
fd = os.open('mapped', os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 1 << 20)
memory = mmap.mmap(fd, 1 << 20)
memory[:5] = b'early'
memory.flush()
fill('full')
for page in range(0, 1 << 20, 4096):
    memory[page + 6] = 1
attempt('msync', memory.flush)
attempt('fsync', lambda: os.fsync(fd))
attempt('allocate', lambda: os.posix_fallocate(fd, 0, 1 << 20))
os.unlink('full')
memory[5000] = 7
attempt('room again', memory.flush)
print(os.pread(fd, 5, 0), os.pread(fd, 1, 5000))
";

fn full_disk(host: Place) {
    let disk = Mounted::new("size=1m,mode=755");
    let done = python(host, FULL, disk.0.path()).ok();
    let lines: Vec<&str> = done.lines().collect();
    assert_eq!(lines[..2], ["filled True True ENOSPC True", "one more ENOSPC"], "{done}");
    // Dirty pages that found no room are reported once, where Linux reports them.
    assert!(lines[2] == "msync ENOSPC" || lines[3] == "fsync ENOSPC", "{done}");
    assert_eq!(lines[4], "allocate ENOSPC", "{done}");
    assert_eq!(lines[lines.len() - 1], "b'early' b'\\x07'", "{done}");
    // The programs of case 7.
    let script = "cd /mnt; head -c 3000000 /dev/zero > /tmp/big; cp /tmp/big a; echo cp $?; rm a; \
        dd if=/tmp/big of=b bs=64k 2>/dev/null; echo dd $?; (echo > c; cat /tmp/big > c) 2>/dev/null; echo cat $?; \
        rm b; echo again > c; echo $?; cat c";
    let done = host.sh(script).dir(disk.0.path(), "/mnt").go();
    assert_eq!(done.expect_status(0).out(), "cp 1\ndd 1\ncat 1\n0\nagain\n");
    // A file system that the host makes read-only while the guest writes.
    let mut run = host
        .sh("cd /mnt; exec 3> open; echo ready; while read x; do echo more >&3; echo $?; echo x > new; echo $?; rm c; done")
        .dir(disk.0.path(), "/mnt")
        .held_stdin()
        .spawn();
    run.expect("ready\n");
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    // Only new writers are refused while one is open: Linux does not remount under them.
    assert!(mount(None::<&str>, disk.0.path(), None::<&str>, flags, None::<&str>).is_err());
    run.write(b"go\n");
    run.end_stdin();
    assert_eq!(run.finish().out(), "ready\n0\n0\n");
    mount(None::<&str>, disk.0.path(), None::<&str>, flags, None::<&str>).expect("remounting");
    let done = host
        .sh("cd /mnt; exec 2>&1; echo x > new2; mkdir d; rm open; touch new; cat new")
        .dir(disk.0.path(), "/mnt")
        .go();
    let text = done.out();
    assert_eq!(text.matches("Read-only file system").count(), 4, "{text}");
    assert!(text.ends_with("x\n"), "{text}");
}

/// The host's limit of open files is the guest's error, and goes away with the files.
fn out_of_descriptors(host: Place) {
    let code = "
import errno, os
os.chdir('/mnt')
files = []
try:
    while len(files) < 5000:
        files.append(os.open(f'f{len(files)}', os.O_CREAT | os.O_RDWR))
except OSError as e:
    print(errno.errorcode[e.errno])
count = len(files)
print(20 < count < 200)
for fd in files: os.close(fd)
print(len([os.open(f'f{n}', os.O_RDONLY) for n in range(count - 5)]) == count - 5)
";
    let dir = dir();
    let code = format!("import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (9000, 9000))\n{code}");
    let limited = python(host, &code, dir.path());
    let text = limited.under(&["prlimit", "--nofile=200:200"]).ok();
    assert_eq!(text, "EMFILE\nTrue\nTrue\n");
}

/// Two guests on one directory: whole files, renames and appended lines arrive. (Locks and mapped memory are
/// a guest's own.)
fn two_guests(host: Place) {
    let dir = dir();
    let script = |name: &str| {
        format!(
            "cd /mnt; while ! [ -e go ]; do sleep 0.01; done; for n in $(seq 200); do echo {name} $n >> log; done; \
             i=0; while [ $i -lt 600 ]; do printf '{name}%0100d\\n' $i; i=$((i+1)); done >> long; echo {name} > tmp.{name}; mv tmp.{name} {name}; \
             n=0; while ! [ -e a -a -e b ]; do n=$((n+1)); [ $n -lt 1200 ] || exit 9; sleep 0.05; done; cat a b"
        )
    };
    let one = host.sh(&script("a")).dir(dir.path(), "/mnt").spawn();
    let two = host.sh(&script("b")).dir(dir.path(), "/mnt").spawn();
    fs::write(dir.path().join("go"), b"").expect("a file");
    assert_eq!((one.finish().ok(), two.finish().ok()), ("a\nb\n".to_owned(), "a\nb\n".to_owned()));
    let log = fs::read_to_string(dir.path().join("log")).expect("a file");
    for name in ["a", "b"] {
        let numbers: Vec<&str> =
            log.lines().filter_map(|l| l.strip_prefix(name)?.strip_prefix(' ')).collect();
        assert_eq!(numbers, (1..=200).map(|n| n.to_string()).collect::<Vec<_>>(), "{name}");
    }
    // Lines that lie across pages stay whole.
    let long = fs::read_to_string(dir.path().join("long")).expect("a file");
    for name in ["a", "b"] {
        let whole = |n: usize| format!("{name}{n:0100}");
        let lines: Vec<&str> = long.lines().filter(|l| l.starts_with(name)).collect();
        assert_eq!(lines, (0..600).map(whole).collect::<Vec<_>>(), "{name}");
    }
}

/// Run by a user who is not root, the host's files are the container's user's, and what it gives away is
/// remembered.
fn the_unprivileged_user_s_files(host: Place) {
    let dir = dir();
    nix::unistd::chown(dir.path(), Some(1234.into()), Some(2345.into())).expect("the tests need root");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).expect("chmod");
    fs::write(dir.path().join("theirs"), b"x").expect("a file");
    let script = "cd /mnt; echo mine > new; mkdir d; chown 5:6 new d; chmod 4711 new; stat -c '%n %u:%g %a' . new d theirs; \
        echo more >> new; chmod 600 theirs || echo refused; rm -r d; ln -s /etc/hostname l; mkfifo p; ls";
    let done = host
        .run(Image::Busybox)
        .args(["sh", "-c", script])
        .dir(dir.path(), "/mnt")
        .under(&["setpriv", "--reuid=1234", "--regid=2345", "--clear-groups"])
        .go();
    assert_eq!(
        done.out(),
        ". 0:0 750\nnew 5:6 4711\nd 5:6 755\ntheirs 0:0 644\nrefused\nl\nnew\np\ntheirs\n",
        "{}",
        done.err()
    );
    // The bit reached the host, and was cleared when an unprivileged user wrote to the file.
    let meta = fs::metadata(dir.path().join("new")).expect("a file");
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1234, 2345, 0o711));
}

/// Names, links, and directories that the host exchanges for links while the guest works in them.
fn no_way_out(host: Place) {
    let (outside, dir) = (dir(), dir());
    fs::write(outside.path().join("secret"), b"of the host").expect("a file");
    fs::create_dir(dir.path().join("d")).expect("a directory");
    fs::write(dir.path().join("d/secret"), b"mine").expect("a file");
    symlink(outside.path(), dir.path().join("link")).expect("a link");
    symlink("/proc/self/root", dir.path().join("magic")).expect("a link");
    symlink("/proc/self/fd/3", dir.path().join("fd")).expect("a link");
    let code = "
import os
os.chdir('/mnt')
seen = set()
for n in range(1000):
    for name in ['d/secret', '../secret', 'magic' + os.sep + 'etc/shadow-of-the-host', 'fd/secret', 'link/secret']:
        try:
            seen.add(open(name).read())
        except OSError:
            pass
    for call in [lambda: os.open('d/new', os.O_CREAT | os.O_WRONLY), lambda: os.mkdir('d/dir'), lambda: os.link('d/secret', 'd/hard'),
                 lambda: os.chmod('d/secret', 0o600), lambda: os.truncate('d/secret', 4), lambda: os.utime('d/secret', (1, 1)),
                 lambda: os.rename('d/hard', 'd/moved'), lambda: os.unlink('d/moved'), lambda: os.listdir('d'), lambda: os.rmdir('d/dir'),
                 lambda: os.symlink('x', 'd/sym'), lambda: os.unlink('d/sym'), lambda: os.setxattr('d/secret', 'user.x', b'1')]:
        try:
            fd = call()
            if isinstance(fd, int): os.close(fd)
        except OSError:
            pass
print(sorted(seen))
";
    let before = tree(outside.path());
    let mut run = python(host, code, dir.path()).spawn();
    while !run.is_over() {
        let (real, link) = (dir.path().join("d"), dir.path().join("link"));
        let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
        nix::fcntl::renameat2(nix::fcntl::AT_FDCWD, &real, nix::fcntl::AT_FDCWD, &link, flags)
            .expect("exchanging");
    }
    assert_eq!(run.finish().ok(), "['mine']\n");
    assert_eq!(tree(outside.path()), before);
}

/// What WASI forbids fails by itself, with the right error, and spoils nothing beside it.
fn what_a_sandbox_cannot_say(host: Place) {
    let dir = dir();
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(name), name).expect("a file");
    }
    fs::write(dir.path().join(OsStr::from_bytes(b"bad\xff")), "bad").expect("a file");
    symlink("/etc/hostname", dir.path().join("abs")).expect("a link");
    symlink("/no/such/place", dir.path().join("dangling")).expect("a link");
    let ours = host.host.is_ours();
    if host.host == Host::PyWasmtime {
        // It lists no directory that holds such a name (readdir fails, of which busybox says nothing); the
        // files in it can be opened all the same.
        let text = host.sh("cd /mnt; cat a b c; ls 2>&1").dir(dir.path(), "/mnt").go().out();
        assert_eq!(text, "abc");
        fs::remove_file(dir.path().join(OsStr::from_bytes(b"bad\xff"))).expect("removing");
    }
    let text =
        host.sh("cd /mnt; ls; cat a b c; ls -la | grep -c '[abc]$'").dir(dir.path(), "/mnt").go().out();
    let bad = if ours { "bad\u{fffd}\n" } else { "" };
    let shown = text.replace("bad?\n", if ours { "bad\u{fffd}\n" } else { "bad?\n" });
    assert_eq!(shown, format!("a\nabs\nb\n{bad}c\ndangling\nabc3\n"));
    let text = host
        .sh("cd /mnt; exec 2>&1; ln -s /x made; mkfifo p; touch -d 1960-01-01 a; rm -f b c; ls | wc -l")
        .dir(dir.path(), "/mnt")
        .go()
        .out();
    match ours {
        true => assert_eq!(text, "6\n"),
        false => {
            assert_eq!(text.matches("Operation not permitted").count(), 2, "{text}");
            assert!(text.contains("Value too large"), "{text}");
            assert!(text.ends_with("3\n"), "{text}");
        }
    }
}
