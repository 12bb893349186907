//! Programs that stress whatever executes guest code: the stress programs of `tests/guest`, GCC's
//! execute tests, Python's own tests, and programs whose results the host can check. What they print is
//! compared with what they print under qemu's user mode (for amd64: on this machine itself), or with what the
//! host's programs say.
//!
//!     cargo test --release -p forelift-tests --test guest
//!
//! `FORELIFT_GUEST_ENGINE` holds words for `forelift run` (`--engine native`), `FORELIFT_GUEST_CONVERT` words
//! for `forelift convert` (`--train 'sh -c true'`), quoted as for a shell.

use forelift_tests::{
    done::Done,
    hosts::Guest,
    images::{Entry, convert, tar_of},
    native,
    process::program,
    random::Random,
    workspace::{cached, fingerprint, forelift, last_line, product, script, tool},
};
use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};
use tempfile::TempDir;

/// Where the image has its programs.
const PROGRAMS: &str = "opt/t";
/// The levels of optimisation of `scripts/torture`.
const LEVELS: &[&str] = &["O0", "O1", "O2", "O3", "Os"];
/// How many of GCC's tests each level has at least.
const TORTURE_MINIMUM: usize = 1600;
/// Size of the data that is compressed, hashed and encrypted.
const DATA: usize = 3 << 20;

/// Splits words as a shell does: quotes of both kinds, and a backslash outside of them.
fn words(text: &str) -> Vec<String> {
    let (mut done, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => done.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "a quote is not closed: {text}");
    done.extend(word);
    done
}

fn words_of(variable: &str) -> Vec<String> {
    words(&env::var(variable).unwrap_or_default())
}

/// Debian's name of the architecture.
fn arch(guest: Guest) -> &'static str {
    if guest == Guest::Amd64 { "amd64" } else { "riscv64" }
}

fn stress(guest: Guest) -> PathBuf {
    last_line(script("stress"), &[arch(guest).as_ref()]).into()
}

fn torture(guest: Guest) -> PathBuf {
    last_line(script("torture"), &[arch(guest).as_ref()]).into()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    entries.map(|e| e.expect("a directory entry").file_name().to_string_lossy().into_owned()).collect()
}

/// The root file system below them, as a tar.
fn rootfs(guest: Guest) -> PathBuf {
    last_line(script("rootfs"), &["--arch".as_ref(), arch(guest).as_ref(), "guest".as_ref()]).into()
}

/// The programs as the layer of an image.
fn layer(stress: &Path, torture: &Path) -> Vec<u8> {
    let of_stress = names(&stress.join("bin")).into_iter().map(|name| (stress.join("bin").join(&name), name));
    let of_torture =
        LEVELS.iter().map(|level| format!("torture-{level}")).map(|name| (torture.join(&name), name));
    let files: Vec<(String, Vec<u8>)> =
        of_stress.chain(of_torture).map(|(path, name)| (format!("{PROGRAMS}/{name}"), read(&path))).collect();
    let directory = format!("{PROGRAMS}/");
    let mut entries = vec![Entry::dir("opt/", 0o755), Entry::dir(&directory, 0o755)];
    entries.extend(files.iter().map(|(path, data)| Entry::file(path, 0o755, data)));
    tar_of(&entries)
}

/// The image that all tests run, converted as `FORELIFT_GUEST_CONVERT` says.
fn image(guest: Guest) -> &'static Path {
    static IMAGES: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
    IMAGES[usize::from(guest == Guest::Amd64)].get_or_init(|| converted(guest))
}

fn converted(guest: Guest) -> PathBuf {
    let (arch, rootfs) = (arch(guest), rootfs(guest));
    let (stress, torture) = (stress(guest), torture(guest));
    let mkimage = script("mkimage");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest.rs");
    let key = fingerprint(&[&rootfs, &mkimage, &here, &stress.join("bin"), &torture], &[]);
    let container = cached(&format!("image-guest-{arch}"), &key, |dir| {
        let top = dir.join("programs.tar");
        fs::write(&top, layer(&stress, &torture)).unwrap_or_else(|e| panic!("{}: {e}", top.display()));
        let mut layers = rootfs.clone().into_os_string();
        layers.push(",");
        layers.push(&top);
        let out = dir.join("image");
        let options =
            ["--format", "oci-archive", "--compression", "none", "--cmd", "bash", "--env", "LANG=C.UTF-8"];
        let mut args: Vec<&std::ffi::OsStr> = options.iter().map(std::ffi::OsStr::new).collect();
        args.extend(["--arch", arch].map(std::ffi::OsStr::new));
        args.extend([layers.as_os_str(), out.as_os_str()]);
        last_line(&mkimage, &args);
    })
    .join("image");
    let mut parts = product();
    parts.push(container.clone());
    let parts: Vec<&Path> = parts.iter().map(PathBuf::as_path).collect();
    let extra = words_of("FORELIFT_GUEST_CONVERT");
    let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
    // Images that were converted in different ways stay beside each other.
    let kind = format!("wasm-guest-{arch}-{}", fingerprint(&[], &extra));
    let dir = cached(&kind, &fingerprint(&parts, &extra), |dir| {
        convert(&format!("oci-archive:{}", container.display()), &dir.join("image.wasm"), &extra);
    });
    dir.join("image.wasm")
}

/// Runs a command in the image, as `FORELIFT_GUEST_ENGINE` says; `dir` is its `/mnt`.
fn run(guest: Guest, dir: Option<&Path>, args: &[&str]) -> Done {
    let image = image(guest);
    program(forelift(), |command| {
        command.arg("run").args(words_of("FORELIFT_GUEST_ENGINE"));
        if let Some(dir) = dir {
            command.arg("--dir").arg(format!("{}::/mnt", dir.display()));
        }
        command.arg(image).args(args);
    })
}

/// The first line that differs.
fn difference(got: &str, expected: &str) -> Option<String> {
    if got == expected {
        return None;
    }
    let (mut got_lines, mut expected_lines) = (got.lines(), expected.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (got_lines.next(), expected_lines.next()) {
            (None, None) => return Some("the last line's end".into()),
            (a, b) if a != b => return Some(format!("line {number}: {a:?}, expected {b:?}")),
            _ => {}
        }
    }
}

#[track_caller]
fn same(what: &str, done: Done, expected: &[u8]) {
    let expected = String::from_utf8_lossy(expected);
    assert!(!expected.is_empty(), "{what}: nothing is expected");
    if let Some(difference) = difference(&done.out(), &expected) {
        panic!("{what}: {difference}\n{done}");
    }
    done.ok();
}

fn run_stress(guest: Guest, name: &str) {
    let expected = read(&stress(guest).join("expected").join(name));
    same(name, run(guest, None, &[&format!("/{PROGRAMS}/{name}")]), &expected);
}

/// A test for each stress program, and their names.
macro_rules! stress {
    ($module:ident $guest:ident: $($name:ident),* $(,)?) => {
        mod $module {
            use forelift_tests::hosts::Guest;
            $(#[test] fn $name() { super::run_stress(Guest::$guest, stringify!($name)); })*
            #[test]
            fn every_program_has_its_test() {
                let have = [$(stringify!($name)),*].map(str::to_owned).into();
                let dir = super::stress(Guest::$guest);
                assert_eq!(super::names(&dir.join("bin")), have);
                assert_eq!(super::names(&dir.join("expected")), have);
            }
        }
    };
}

stress!(stress Riscv64: alias, dispatch, forks, fp, fsx, integer, jumps, misaligned, remap, signals, smc, threads);
stress!(stress_amd64 Amd64: faults, forks, fsx, smc, threads);

fn run_torture(guest: Guest, level: &str) {
    let expected = read(&torture(guest).join(format!("expected-{level}")));
    let done = run(guest, None, &["sh", "-c", &format!("cd /tmp && exec /{PROGRAMS}/torture-{level}")]);
    let out = done.out();
    let ran: usize = out.lines().next_back().and_then(|l| l.strip_prefix("ran ")?.parse().ok()).unwrap_or(0);
    let wrong: Vec<&str> =
        out.lines().filter(|l| !l.starts_with("ran ") && !l.ends_with(" exit 0")).collect();
    println!("{level}: {ran} tests, {} of them without success, in {:?}", wrong.len(), done.took);
    same(&format!("torture-{level} (not successful: {wrong:?})"), done, &expected);
    assert!(ran >= TORTURE_MINIMUM && out.lines().count() == ran + 1, "{level}: {ran} tests ran");
}

/// A test for each level.
macro_rules! torture {
    ($module:ident $guest:ident: $($test:ident $level:literal),* $(,)?) => {
        mod $module {
            use forelift_tests::hosts::Guest;
            $(#[test] fn $test() { super::run_torture(Guest::$guest, $level); })*
            #[test]
            fn every_level_has_its_test() {
                assert_eq!(super::LEVELS, [$($level),*]);
                let names = super::names(&super::torture(Guest::$guest)).into_iter();
                let built: Vec<String> = names.filter(|n| n.starts_with("torture-")).collect();
                assert_eq!(built, super::LEVELS.iter().map(|l| format!("torture-{l}")).collect::<Vec<_>>());
            }
        }
    };
}

torture!(torture Riscv64: level_0 "O0", level_1 "O1", level_2 "O2", level_3 "O3", level_s "Os");
torture!(torture_amd64 Amd64: level_0 "O0", level_1 "O1", level_2 "O2", level_3 "O3", level_s "Os");

#[test]
fn differences_are_seen() {
    // The driver runs what it is asked for, no more.
    let done = run(
        Guest::Riscv64,
        None,
        &[&format!("/{PROGRAMS}/torture-O0"), "20000112-1", "no-such-test", "ieee/mzero2"],
    );
    assert_eq!(done.ok(), "20000112-1 exit 0\nieee/mzero2 exit 0\nran 2\n");
    assert_eq!(
        difference("a exit 0\nb signal 6\n", "a exit 0\nb exit 0\n").as_deref(),
        Some("line 2: Some(\"b signal 6\"), expected Some(\"b exit 0\")")
    );
    assert!(
        difference("a\n", "a\nb\n").is_some()
            && difference("a", "a\n").is_some()
            && difference("a\n", "a\n").is_none()
    );
}

/// What `python3 -m test -v` of a module, or of those of its tests that `only` says (python's own patterns),
/// has to say: the verdict on each test, sorted, and the sums.
fn python_results(done: Done) -> Vec<String> {
    let (out, status) = (done.out(), done.status());
    assert!(status == 0 && out.ends_with("Result: SUCCESS\n"), "{done}");
    let is_sum = |l: &&str| ["Total tests:", "Total test files:", "Result:"].iter().any(|s| l.starts_with(s));
    let verdicts = ["ok", "skipped", "FAIL", "ERROR", "expected failure", "unexpected success"];
    let is_verdict = |l: &&str| {
        l.rsplit_once(" ... ").is_some_and(|(_, verdict)| verdicts.iter().any(|v| verdict.starts_with(v)))
    };
    let text = [out, done.err()].concat();
    let mut lines: Vec<String> =
        text.lines().filter(|l| is_sum(l) || is_verdict(l)).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// How many tests ran, by the sums.
fn python_ran(results: &[String]) -> u64 {
    // Total tests: run=1,234 (filtered) skipped=5
    let total = results.iter().find_map(|l| l.strip_prefix("Total tests: run="));
    let digits = total.unwrap_or_default().split(' ').next().unwrap_or_default().replace(',', "");
    digits.parse().unwrap_or_else(|e| panic!("{results:?}: {e}"))
}

/// `python3 -m test` of one module: of at least that many tests. In an amd64 image each of them must end as
/// it does on this machine's own processor.
fn run_python(guest: Guest, module: &str, minimum: u64, only: &[&str]) {
    let mut args = vec!["python3", "-m", "test", "-v", module];
    args.extend(only.iter().flat_map(|pattern| ["-m", pattern]));
    let done = run(guest, None, &args);
    let took = done.took;
    let results = python_results(done);
    let ran = python_ran(&results);
    println!("{module}: {ran} tests in {took:?}");
    assert!(ran >= minimum, "{ran} tests of {module} ran, there are {minimum}");
    if guest == Guest::Amd64 {
        let expected = python_results(native::run(&rootfs(guest), &args));
        assert!(expected.len() as u64 > ran, "{expected:?}");
        assert_eq!(results, expected, "{module}");
    }
}

/// A test for each module.
macro_rules! python {
    ($part:ident $guest:ident: $($module:ident $($minimum:literal)? $([$($only:literal),*])?),* $(,)?) => {
        mod $part {
            use forelift_tests::hosts::Guest;
            $(#[test] fn $module() {
                super::run_python(Guest::$guest, stringify!($module), 1 $(.max($minimum))?, &[$($($only),*)?]);
            })*
        }
    };
}

python!(python Riscv64:
    test_json 180, test_re 160, test_math 80, test_struct 38, test_float 48, test_decimal 700, test_zlib 70,
);
// A part of them, as nothing is lifted there; how many there are is what this machine says.
python!(python_amd64 Amd64:
    test_json ["*TestC*"],
    test_re,
    test_math ["*.test[A-L]*"],
    test_struct,
    test_float,
    test_decimal ["*CFormat*", "*CExplicit*", "*CArithmeticOperators*"],
    test_zlib ["*Checksum*", "*CompressObject*"],
);

/// A host directory with data: half of it noise, half of it text.
fn data() -> (TempDir, Vec<u8>) {
    let mut random = Random::new(7);
    let mut bytes = random.bytes(DATA / 2);
    while bytes.len() < DATA {
        bytes.extend(format!("line {} of {}\n", random.below(1000), random.below(7)).bytes());
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("data"), &bytes).expect("a file in it");
    (dir, bytes)
}

fn gzip_and_the_host_agree(guest: Guest) {
    let (dir, bytes) = data();
    let host = |args: &[&str], file: &str| {
        let out = Command::new(tool("gzip")).args(args).arg(dir.path().join(file)).output().expect("gzip");
        assert!(out.status.success(), "gzip {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    fs::write(dir.path().join("host.gz"), host(&["-6", "-c", "-n"], "data")).expect("a file");
    let mut broken = read(&dir.path().join("host.gz"));
    let middle = broken.len() / 2;
    broken[middle] ^= 0x10;
    fs::write(dir.path().join("broken.gz"), broken).expect("a file");
    run(
        guest,
        Some(dir.path()),
        &[
            "sh",
            "-c",
            "cd /mnt && gzip -t host.gz && gzip -dc host.gz | cmp - data && gzip -9 -n -c data >guest.gz && gzip -t guest.gz \
             && if gzip -t broken.gz 2>/dev/null; then echo 'the broken one passes'; exit 1; fi && gzip -6 -n -c data | cmp - host.gz",
        ],
    )
    .ok();
    assert_eq!(host(&["-d", "-c"], "guest.gz"), bytes);
}

fn openssl_and_the_host_agree(guest: Guest) {
    let (dir, _) = data();
    for (key, kind) in [("rsa", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..]), ("ed", &["ED25519"])] {
        let made = program(tool("openssl"), |c| {
            c.args(["genpkey", "-quiet", "-out", key, "-algorithm"]).args(kind).current_dir(dir.path());
        });
        assert_eq!(made.status(), 0, "{made}");
    }
    let script = "set -e\n\
        sum() { openssl dgst -sha256; }\n\
        enc() { openssl enc -$1 -K $2 -iv f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff -in data | sum; }\n\
        short=000102030405060708090a0b0c0d0e0f long=${short}101112131415161718191a1b1c1d1e1f\n\
        for d in md5 sha1 sha256 sha512 sha3-256 blake2b512; do openssl dgst -$d data; done\n\
        enc aes-128-ctr $short; enc aes-256-cbc $long; enc chacha20 $long; enc camellia-128-cbc $short\n\
        openssl prime 1000000007; openssl prime 170141183460469231731687303715884105727\n\
        openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt pass:secret -kdfopt salt:salt -kdfopt iter:2000 PBKDF2\n\
        openssl dgst -sha256 -sign rsa data | sum\n\
        head -c 1000 data >/tmp/part.$$; openssl pkeyutl -sign -inkey ed -rawin -in /tmp/part.$$ | sum; rm /tmp/part.$$\n";
    let host = program(tool("sh"), |c| {
        c.args(["-c", script]).current_dir(dir.path());
    });
    assert_eq!(host.out().lines().count(), 6 + 4 + 2 + 2 + 2, "{host}");
    let done = run(guest, Some(dir.path()), &["sh", "-c", &format!("cd /mnt\n{script}")]);
    same("openssl", done, host.ok().as_bytes());
}

/// One script, by the guest's sqlite3 program and by the host's Python.
fn sqlite_and_the_host_agree(guest: Guest) {
    let sql = "CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, v TEXT, r INTEGER);\n\
        WITH RECURSIVE n(i, x) AS (SELECT 1, 12345 UNION ALL SELECT i + 1, (x * 1103515245 + 12345) % 2147483648 FROM n WHERE i < 40000)\n\
        INSERT INTO t SELECT i, x % 997, hex(x * 31) || '-' || substr('abcdefghij', x % 10 + 1), x FROM n;\n\
        CREATE INDEX by_k ON t(k, v);\n\
        UPDATE t SET r = r * 3 % 65537 WHERE k % 5 = 0;\n\
        DELETE FROM t WHERE v LIKE '%3%7%a%';\n\
        SELECT count(*), sum(r), min(v), max(v), total(k) FROM t;\n\
        SELECT k, count(*), sum(r), sum(id * id), max(v) FROM t WHERE k BETWEEN 100 AND 110 GROUP BY k ORDER BY k;\n\
        SELECT a.k, count(*), sum(a.r * b.r % 1000) FROM t a JOIN t b ON a.k = b.k WHERE a.id < b.id AND a.k < 40 GROUP BY a.k ORDER BY 3 DESC, 1 LIMIT 20;\n\
        SELECT v, length(v), upper(v), instr(v, 'c') FROM t ORDER BY v DESC LIMIT 50;\n\
        SELECT k, r, sum(r) OVER (PARTITION BY k ORDER BY id ROWS 3 PRECEDING), row_number() OVER (ORDER BY r, id) FROM t WHERE k IN (7, 77, 777) ORDER BY k, id;\n";
    // Every SELECT is a row of columns separated by `|`; totals are floats.
    let host = "import sqlite3, sys\n\
        db = sqlite3.connect(':memory:')\n\
        for statement in sys.argv[1].split(';\\n'):\n\
        \x20   for row in db.execute(statement):\n\
        \x20       print('|'.join(str(c) for c in row))\n";
    let host = program(tool("python3"), |c| {
        c.args(["-c", host, sql]);
    });
    assert!(host.out().lines().count() > 150, "{host}");
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("script"), sql).expect("a file in it");
    let done = run(
        guest,
        Some(dir.path()),
        &["sh", "-c", "sqlite3 /tmp/db </mnt/script && sqlite3 /tmp/db 'PRAGMA integrity_check' >&2"],
    );
    assert_eq!(done.err(), "ok\n", "{done}");
    if let Some(difference) = difference(&done.out(), &host.ok()) {
        panic!("sqlite3: {difference}");
    }
    done.expect_status(0);
}

/// A test for each program whose results the host can check.
macro_rules! host_agrees {
    ($part:ident $guest:ident) => {
        mod $part {
            use forelift_tests::hosts::Guest;
            #[test]
            fn gzip() {
                super::gzip_and_the_host_agree(Guest::$guest);
            }
            #[test]
            fn openssl() {
                super::openssl_and_the_host_agree(Guest::$guest);
            }
            #[test]
            fn sqlite() {
                super::sqlite_and_the_host_agree(Guest::$guest);
            }
        }
    };
}

host_agrees!(host_agrees Riscv64);
host_agrees!(host_agrees_amd64 Amd64);

#[test]
fn words_are_a_shells() {
    assert_eq!(words(""), [""; 0]);
    assert_eq!(
        words(" --train 'sh -c true'  a\"b c\"'' \\'x ''"),
        ["--train", "sh -c true", "ab c", "'x", ""]
    );
}
