//! Where the checkout, its scripts, the command under test and the caches are.

use sha2::{Digest, Sha256};
use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// The command under test: `$FORELIFT_BIN`, else what `scripts/build` makes.
///
/// # Panics
/// When there is none.
pub fn forelift() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let path = env::var_os("FORELIFT_BIN").map_or(root().join("target/dist/bin/forelift"), PathBuf::from);
        assert!(path.is_file(), "{} does not exist: run scripts/build, or set FORELIFT_BIN", path.display());
        path
    })
}

/// A program that tests need, by its name in `PATH`.
///
/// # Panics
/// When it is not installed.
pub fn tool(name: &str) -> PathBuf {
    // Debian keeps some of them in sbin, which is not in every user's PATH.
    let path = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    dirs.extend(["/usr/sbin".into(), "/sbin".into()]);
    let is_program =
        |p: &PathBuf| fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    match dirs.into_iter().map(|dir| dir.join(name)).find(is_program) {
        Some(path) => path,
        None => panic!("{name} is not installed: run `scripts/setup build images test`"),
    }
}

/// Runs a program to its end and gives the last line of its stdout; its stderr is the test's.
///
/// # Panics
/// When it fails.
pub fn last_line(program: impl AsRef<OsStr>, args: &[&OsStr]) -> String {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    assert!(output.status.success(), "{} {args:?}: {}", program.display(), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim_end().lines().next_back().unwrap_or_default().to_owned()
}

/// Path of a script of the checkout.
pub fn script(name: &str) -> PathBuf {
    root().join("scripts").join(name)
}

/// Directory of things made once and used by all tests: they run in many processes.
pub fn cache() -> PathBuf {
    let dir = match env::var_os("FORELIFT_TEST_CACHE") {
        Some(dir) => dir.into(),
        None => root().join("target/e2e"),
    };
    fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    dir
}

/// Gives `cache()/kind/key`, which `make` fills when it is missing: a directory, made under a lock and then
/// renamed. Other keys of the same kind are removed: they belong to an older build.
pub fn cached(kind: &str, key: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let kind_dir = cache().join(kind);
    let done = kind_dir.join(key);
    if done.is_dir() {
        return done;
    }
    fs::create_dir_all(&kind_dir).unwrap_or_else(|e| panic!("{}: {e}", kind_dir.display()));
    let lock_path = cache().join(format!("{kind}.lock"));
    let lock = File::create(&lock_path).unwrap_or_else(|e| panic!("{}: {e}", lock_path.display()));
    lock.lock().unwrap_or_else(|e| panic!("{}: {e}", lock_path.display()));
    if done.is_dir() {
        return done;
    }
    for old in fs::read_dir(&kind_dir).into_iter().flatten().flatten() {
        let _ = fs::remove_dir_all(old.path());
    }
    let partial = kind_dir.join("partial");
    fs::create_dir(&partial).unwrap_or_else(|e| panic!("{}: {e}", partial.display()));
    make(&partial);
    fs::rename(&partial, &done).unwrap_or_else(|e| panic!("{}: {e}", done.display()));
    done
}

/// A short name for the state of files: their paths, sizes and times. A directory stands for the files in it.
pub fn fingerprint(paths: &[&Path], words: &[&str]) -> String {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word);
        hash.update([0]);
    }
    for path in paths {
        let mut files = vec![path.to_path_buf()];
        if path.is_dir() {
            files = fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect();
            files.sort();
        }
        for file in files {
            let meta = fs::metadata(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            hash.update(format!(
                "{}\0{} {}.{}\0",
                file.display(),
                meta.len(),
                meta.mtime(),
                meta.mtime_nsec()
            ));
        }
    }
    hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// The files that the command under test consists of.
pub fn product() -> Vec<PathBuf> {
    let mut parts = vec![forelift().to_path_buf()];
    let beside = forelift().parent().and_then(Path::parent).map(|p| p.join("share/forelift"));
    let assets = env::var_os("FORELIFT_ASSETS").map(PathBuf::from).or(beside);
    parts.extend(assets.filter(|p| p.is_dir()));
    parts
}

/// The command wasmtime, of the version that Forelift embeds.
pub fn wasmtime() -> &'static Path {
    static WASMTIME: OnceLock<PathBuf> = OnceLock::new();
    WASMTIME.get_or_init(|| last_line(script("wasmtime"), &[]).into())
}

/// Builds the npm package of `runtime/web`.
pub fn web() {
    static WEB: OnceLock<()> = OnceLock::new();
    WEB.get_or_init(|| drop(last_line(script("web"), &[])));
}

/// The directory of npm's package.
pub fn npm() -> PathBuf {
    last_line(script("npm"), &[]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_makes_once_and_forgets_the_old() {
        let kind = format!("unit-{}", std::process::id());
        let made = |key: &str| cached(&kind, key, |dir| fs::write(dir.join("f"), key).unwrap());
        let first = made("a");
        assert_eq!(fs::read(first.join("f")).unwrap(), b"a");
        assert_eq!(cached(&kind, "a", |_| panic!("made twice")), first);
        made("b");
        assert!(!first.exists());
        fs::remove_dir_all(cache().join(&kind)).unwrap();
        fs::remove_file(cache().join(format!("{kind}.lock"))).unwrap();
    }

    #[test]
    fn fingerprints_differ_with_content_and_words() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        let one = fingerprint(&[dir.path()], &["x"]);
        assert_eq!(one, fingerprint(&[dir.path()], &["x"]));
        assert_ne!(one, fingerprint(&[dir.path()], &["y"]));
        fs::write(dir.path().join("a"), "22").unwrap();
        assert_ne!(one, fingerprint(&[dir.path()], &["x"]));
    }

    #[test]
    #[should_panic(expected = "scripts/setup")]
    fn a_missing_tool_is_a_failure() {
        tool("no-such-program-anywhere");
    }
}
