//! Host directories in the container, read and write, both ways.

use crate::testing::dir;
use forelift_tests::{
    hosts::{Host, Place},
    images::Image,
    random::Random,
    run::Run,
    table::{Check, Group},
};
use sha2::{Digest, Sha256};
use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
};
use tempfile::TempDir;

pub(crate) const CASES: Group = &[
    ("read", Check::Everywhere(&Host::ALL, read)),
    ("list", Check::On(&Host::ALL, list)),
    ("write", Check::Everywhere(&Host::EVERY, write)),
    ("append_truncate_overwrite", Check::On(&Host::ALL, append_truncate_overwrite)),
    ("big_file_in", Check::On(&Host::ALL, big_file_in)),
    ("big_file_out", Check::On(&Host::ALL, big_file_out)),
    ("rename_and_remove", Check::Everywhere(&Host::ALL, rename_and_remove)),
    ("directories", Check::On(&Host::ALL, directories)),
    ("symbolic_links", Check::On(&Host::ALL, symbolic_links)),
    ("links_do_not_lead_out", Check::On(&Host::ALL, links_do_not_lead_out)),
    ("many_files", Check::On(&Host::ALL, many_files)),
    ("names", Check::On(&Host::ALL, names)),
    ("two_directories", Check::On(&Host::ALL, two_directories)),
    ("mount_point_is_made", Check::On(&Host::ALL, mount_point_is_made)),
    ("changes_of_the_host_are_seen", Check::On(&Host::ALL, changes_of_the_host_are_seen)),
    ("mapped_into_memory", Check::On(&Host::ALL, mapped_into_memory)),
    ("database", Check::On(&Host::OURS, database)),
    ("removed_while_open", Check::On(&Host::ALL, removed_while_open)),
    ("times", Check::On(&Host::ALL, times)),
    ("sizes_and_kinds", Check::On(&Host::ALL, sizes_and_kinds)),
    ("errors", Check::On(&Host::ALL, errors)),
    ("unprivileged_user", Check::On(&Host::ALL, unprivileged_user)),
    ("missing_directory", Check::On(&Host::OURS, missing_directory)),
    ("read_only", Check::On(&Host::OURS, read_only)),
    ("working_directory_in_it", Check::On(&Host::ALL, working_directory_in_it)),
];

struct Share {
    dir: TempDir,
    host: Place,
}

impl Share {
    fn new(host: Place) -> Self {
        Share { dir: dir(), host }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.get(name)).expect("UTF-8")
    }

    fn on(&self, run: Run) -> Run {
        run.dir(self.path(), "/mnt")
    }

    /// Runs a script in the directory.
    fn sh(&self, script: &str) -> String {
        self.on(self.host.sh(&format!("cd /mnt && {{ {script}\n}}"))).ok()
    }
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

pub(crate) fn read(host: Place) {
    let share = Share::new(host);
    share.put("file", b"from the host\n");
    fs::create_dir_all(share.path().join("a/b/c")).expect("directories");
    share.put("a/b/c/deep", b"deep\n");
    assert_eq!(
        share.sh(
            "cat file a/b/c/deep; wc -c < file; tail -c 5 file; dd if=file bs=1 skip=5 count=3 2>/dev/null"
        ),
        "from the host\ndeep\n14\nhost\nthe"
    );
}

pub(crate) fn list(host: Place) {
    let share = Share::new(host);
    for name in ["one", "two", "three"] {
        share.put(name, name.as_bytes());
    }
    fs::create_dir(share.path().join("sub")).expect("a directory");
    assert_eq!(
        share.sh("ls; ls -a | wc -l; find . -type d | sort; find . -type f | wc -l"),
        "one\nsub\nthree\ntwo\n6\n.\n./sub\n3\n"
    );
}

pub(crate) fn write(host: Place) {
    let share = Share::new(host);
    assert_eq!(
        share.sh("echo from the guest > new; printf 'a\\0b' > binary; : > empty; cat new"),
        "from the guest\n"
    );
    assert_eq!(share.text("new"), "from the guest\n");
    assert_eq!(share.get("binary"), b"a\0b");
    assert_eq!(share.get("empty"), b"");
}

pub(crate) fn append_truncate_overwrite(host: Place) {
    let share = Share::new(host);
    share.put("log", b"one\n");
    share.put("long", &[b'x'; 10_000]);
    share.put("middle", b"0123456789");
    share.sh("echo two >> log; echo three >> log; echo short > long; printf AB | dd of=middle bs=1 seek=4 conv=notrunc 2>/dev/null; \
        truncate -s 5000 grown; truncate -s 3 middle2 2>/dev/null; cp middle cut; truncate -s 6 cut");
    assert_eq!(share.text("log"), "one\ntwo\nthree\n");
    assert_eq!(share.text("long"), "short\n");
    assert_eq!(share.text("middle"), "0123AB6789");
    assert_eq!(share.get("grown"), vec![0; 5000]);
    assert_eq!(share.text("cut"), "0123AB");
}

pub(crate) fn big_file_in(host: Place) {
    let share = Share::new(host);
    let bytes = Random::new(11).bytes(20_000_003);
    share.put("big", &bytes);
    let text = share.sh("sha256sum big; cmp big big && tail -c 10 big | od -An -tx1 | tr -d ' \\n'");
    let end: String = bytes[bytes.len() - 10..].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(text, format!("{}  big\n{end}", sha256(&bytes)));
}

pub(crate) fn big_file_out(host: Place) {
    let share = Share::new(host);
    let text = share.sh("head -c 10000003 /dev/urandom > big; sha256sum big; cp big copy; cmp big copy");
    assert_eq!(text, format!("{}  big\n", sha256(&share.get("big"))));
    assert!(share.get("big") == share.get("copy"));
}

pub(crate) fn rename_and_remove(host: Place) {
    let share = Share::new(host);
    for name in ["a", "b", "c", "gone"] {
        share.put(name, name.as_bytes());
    }
    fs::create_dir(share.path().join("dir")).expect("a directory");
    let text =
        share.sh("mv a renamed; mv b c; mv renamed dir/moved; mv dir dir2; rm gone; ls; ls dir2; cat c");
    assert_eq!(text, "c\ndir2\nmoved\nb");
    assert_eq!(share.text("dir2/moved"), "a");
    assert_eq!(share.text("c"), "b");
    for name in ["a", "b", "gone", "dir", "renamed"] {
        assert!(!share.path().join(name).exists(), "{name} is still there");
    }
}

pub(crate) fn directories(host: Place) {
    let share = Share::new(host);
    let text = share.sh("mkdir -p x/y/z; echo 1 > x/y/z/f; rmdir x/y 2>/dev/null || echo not empty; cp -r x copy; rm -r x; ls; rmdir copy/y/z 2>/dev/null; mkdir copy 2>/dev/null || echo exists");
    assert_eq!(text, "not empty\ncopy\nexists\n");
    assert_eq!(share.text("copy/y/z/f"), "1\n");
}

pub(crate) fn symbolic_links(host: Place) {
    let share = Share::new(host);
    share.put("target", b"content\n");
    symlink("target", share.path().join("from-host")).expect("a link");
    let text = share.sh("cat from-host; readlink from-host; ln -s target from-guest; cat from-guest; ln -s nowhere dangling; test -L dangling && ! test -e dangling && echo dangles; rm from-host");
    assert_eq!(text, "content\ntarget\ncontent\ndangles\n");
    assert_eq!(fs::read_link(share.path().join("from-guest")).expect("a link"), Path::new("target"));
    assert!(
        share.path().join("target").exists() && fs::symlink_metadata(share.path().join("from-host")).is_err()
    );
}

/// A link is followed by the guest, in the guest: its target on the host outside of the directory stays out
/// of reach.
pub(crate) fn links_do_not_lead_out(host: Place) {
    let outside = dir();
    fs::write(outside.path().join("secret"), "of the host").expect("writing");
    let share = Share::new(host);
    symlink(outside.path(), share.path().join("absolute")).expect("a link");
    let name = outside.path().file_name().and_then(|n| n.to_str()).expect("a name");
    symlink(format!("../{name}"), share.path().join("relative")).expect("a link");
    let text = share.sh("exec 2>&1; cat absolute/secret relative/secret ../secret; echo x > absolute/new; echo x > relative/new; ls ..; true");
    assert!(!text.contains("of the host"), "{text}");
    assert_eq!(fs::read_dir(outside.path()).expect("a directory").count(), 1);
}

pub(crate) fn many_files(host: Place) {
    let share = Share::new(host);
    for n in 0..500 {
        share.put(&format!("h{n}"), n.to_string().as_bytes());
    }
    let text = share.sh("ls | wc -l; cat h* | wc -c; for n in $(seq 0 299); do echo $n > g$n; done; ls | wc -l; rm h*; ls | wc -l");
    let bytes: usize = (0..500).map(|n: i32| n.to_string().len()).sum();
    assert_eq!(text, format!("500\n{bytes}\n800\n300\n"));
    assert_eq!(fs::read_dir(share.path()).expect("a directory").count(), 300);
    assert_eq!(share.text("g299"), "299\n");
}

pub(crate) fn names(host: Place) {
    let share = Share::new(host);
    let long = "n".repeat(255);
    let names = [
        "with space",
        "ünïcödé 🐧",
        "-dash",
        "new\nline",
        "back\\slash",
        "quote'\"",
        ".hidden",
        "a:b",
        "*",
        &long,
    ];
    for name in names {
        share.put(name, name.as_bytes());
    }
    let text = share.sh("for f in * .hidden; do test \"$(cat -- \"$f\")\" = \"$f\" && echo same; done; mkdir out; for f in *; do test -f \"$f\" && cp -- \"$f\" out/; done");
    assert_eq!(text.lines().count(), names.len(), "{text}");
    for name in names.iter().filter(|n| **n != ".hidden") {
        assert_eq!(share.text(&format!("out/{name}")), *name);
    }
}

pub(crate) fn two_directories(host: Place) {
    let (one, two) = (Share::new(host), Share::new(host));
    one.put("f", b"one");
    let script = "cat /one/f > /deep/er/two/g; mv /one/f /deep/er/two/h; ls /one | wc -l; mount | grep -c ' type virtiofs '";
    let text = host.sh(script).dir(one.path(), "/one").dir(two.path(), "/deep/er/two").ok();
    assert_eq!(text, "0\n2\n");
    assert_eq!((two.text("g").as_str(), two.text("h").as_str()), ("one", "one"));
    assert_eq!(fs::read_dir(one.path()).expect("a directory").count(), 0);
}

pub(crate) fn mount_point_is_made(host: Place) {
    let share = Share::new(host);
    share.put("f", b"x\n");
    // Missing in the image; and a directory of the image that is covered.
    assert_eq!(host.sh("cat '/new/with space/f'").dir(share.path(), "/new/with space").ok(), "x\n");
    assert_eq!(host.sh("ls /etc").dir(share.path(), "/etc").go().expect_status(0).out(), "f\n");
}

fn changes_of_the_host_are_seen(host: Place) {
    let share = Share::new(host);
    share.put("f", b"first\n");
    share.put("gone", b"x");
    let mut run = share
        .on(host
            .sh("cd /mnt; cat f; while read x; do cat f new 2>/dev/null; ls | tr '\\n' ' '; echo .; done"))
        .held_stdin()
        .spawn();
    run.expect("first\n");
    share.put("f", b"second, longer\n");
    share.put("new", b"created\n");
    fs::remove_file(share.path().join("gone")).expect("removing");
    run.write(b"again\n");
    run.expect(".\n");
    run.end_stdin();
    assert_eq!(run.finish().ok(), "first\nsecond, longer\ncreated\nf new .\n");
}

pub(crate) fn mapped_into_memory(host: Place) {
    let share = Share::new(host);
    let bytes = Random::new(12).bytes(100_000);
    share.put("m", &bytes);
    let code = "import mmap\n\
        f = open('/mnt/m', 'r+b'); m = mmap.mmap(f.fileno(), 0)\n\
        import hashlib; print(len(m), hashlib.sha256(m).hexdigest())\n\
        m[70000:70005] = b'guest'; m.flush(); m.close(); f.close()";
    let text = share.on(host.run(Image::Python3)).args(["python3", "-c", code]).ok();
    assert_eq!(text, format!("100000 {}\n", sha256(&bytes)));
    let mut expected = bytes;
    expected[70_000..70_005].copy_from_slice(b"guest");
    assert!(share.get("m") == expected);
}

pub(crate) fn database(host: Place) {
    let share = Share::new(host);
    let code = "import sqlite3\n\
        c = sqlite3.connect('/mnt/db'); c.execute('create table t(n integer primary key, s text)')\n\
        c.executemany('insert into t values(?, ?)', ((n, str(n) * 5) for n in range(2000))); c.commit()\n\
        c.execute('delete from t where n % 3 = 0'); c.commit(); c.close()\n\
        c = sqlite3.connect('/mnt/db'); print(c.execute('select count(*), sum(n) from t').fetchone(), c.execute('pragma integrity_check').fetchone())";
    let text = share.on(host.run(Image::Python3)).args(["python3", "-c", code]).ok();
    assert_eq!(text, "(1333, 1332667) ('ok',)\n");
    assert!(share.get("db").starts_with(b"SQLite format 3\0"));
}

pub(crate) fn removed_while_open(host: Place) {
    let share = Share::new(host);
    share.put("f", b"still readable\n");
    assert_eq!(share.sh("exec 3< f; rm f; cat <&3; ls | wc -l"), "still readable\n0\n");
}

pub(crate) fn times(host: Place) {
    let share = Share::new(host);
    share.put("f", b"x");
    let script =
        "stat -c %Y f; touch -d @1500000000 f; stat -c %Y f; touch new; test new -nt f && echo newer";
    let text = share.sh(script);
    let lines: Vec<&str> = text.lines().collect();
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(lines[0].parse::<u64>().expect("seconds").abs_diff(now) < 300, "{text}");
    assert_eq!(lines[1..], ["1500000000", "newer"]);
    assert_eq!(fs::metadata(share.path().join("f")).expect("a file").mtime(), 1_500_000_000);
}

pub(crate) fn sizes_and_kinds(host: Place) {
    let share = Share::new(host);
    share.put("f", &[0; 12_345]);
    fs::create_dir(share.path().join("d")).expect("a directory");
    symlink("f", share.path().join("l")).expect("a link");
    assert_eq!(
        share.sh("stat -c '%n %F %s' f l; stat -c '%n %F' d .; df . | tail -n 1 | wc -l"),
        "f regular file 12345\nl symbolic link 1\nd directory\n. directory\n1\n"
    );
}

pub(crate) fn errors(host: Place) {
    let share = Share::new(host);
    share.put("f", b"x");
    fs::create_dir(share.path().join("d")).expect("a directory");
    share.put("d/x", b"x");
    let text = share
        .sh("exec 2>&1; cat missing; cat d; ls f/x; mkdir f; rmdir d; mv d f; rm missing; cd f; echo done");
    for word in
        ["'missing': No such file", "Is a directory", "Not a directory", "File exists", "not empty", "done"]
    {
        assert!(text.contains(word), "no {word:?}: {text}");
    }
    assert_eq!(share.text("f"), "x");
}

/// The host's files are the host user's; an unprivileged user of the container can use what that user lets
/// others use.
pub(crate) fn unprivileged_user(host: Place) {
    let share = Share::new(host);
    share.put("f", b"readable\n");
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("chmod")
    };
    mode(share.path(), 0o777);
    mode(&share.path().join("f"), 0o644);
    let run = share.on(host.run(Image::Service)).entrypoint("sh").args([
        "--",
        "-c",
        "cat /mnt/f; echo mine > /mnt/new && cat /mnt/new",
    ]);
    assert_eq!(run.ok(), "readable\nmine\n");
    assert_eq!(share.text("new"), "mine\n");
}

fn missing_directory(host: Place) {
    let done = host.sh("true").dir(Path::new("/no/such/dir"), "/mnt").go();
    done.expect_status(125).one_error(&["/no/such/dir"]);
    let done = host.sh("true").dir(Path::new("/etc/passwd"), "/mnt").go();
    done.expect_status(125).one_error(&["/etc/passwd"]);
    let done = host.sh("true").dir(Path::new("/tmp"), "relative").go();
    done.expect_status(125).one_error(&["relative"]);
}

/// As docker's -v HOST:GUEST:ro.
fn read_only(host: Place) {
    let share = Share::new(host);
    share.put("here", b"text\n");
    let volume = |options: &str| format!("--volume={}:/mnt{options}", share.path().display());
    let script = "exec 2>&1; cd /mnt; cat here; grep -c ' /mnt virtiofs ro,' /proc/mounts
        echo x > new; echo x > here; rm here; mkdir d; mv here there; chmod 600 here; touch here; mount -o remount,rw /mnt; echo x > here; cat here";
    let done = host.sh(script).option(&volume(":ro")).user("0").go();
    let text = done.out();
    assert!(text.starts_with("text\n1\n") && text.ends_with("text\n"), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 8, "{text}");
    assert_eq!(fs::read_dir(share.path()).expect("a directory").count(), 1);
    assert_eq!(share.text("here"), "text\n");
    host.sh("echo changed > /mnt/here").option(&volume("")).ok();
    assert_eq!(share.text("here"), "changed\n");
    let done = host.sh("true").option("--volume=data:/mnt").go();
    done.expect_status(125).one_error(&["-v data:/mnt", "./data"]);
}

pub(crate) fn working_directory_in_it(host: Place) {
    let share = Share::new(host);
    share.put("here", b"x");
    assert_eq!(share.on(host.run(Image::Busybox)).workdir("/mnt").args(["ls"]).ok(), "here\n");
}
