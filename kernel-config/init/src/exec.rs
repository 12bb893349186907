//! From a command word to a running program, with docker's exit codes and words.
//!
//! The lookup is that of Go's `exec.LookPath`, which runc uses: a word with a slash is taken as it is;
//! otherwise the first executable regular file of that name in `PATH`, relative to the working directory, as
//! the target user sees it. A file in `PATH` that cannot be executed is passed over, so that in the end the
//! command is *not found* (127).

use crate::{env, failure::Failure, sys};
use std::{ffi::OsStr, fs, io, os::unix::ffi::OsStrExt, path::Path};

/// Finds the file for `word`; `probe` says whether a path can be executed.
///
/// # Errors
/// 127 when there is no such command, 126 when there is and it may not be executed.
pub(crate) fn find(
    word: &[u8],
    path: &[u8],
    probe: impl Fn(&[u8]) -> io::Result<()>,
) -> Result<Vec<u8>, Failure> {
    let shown = String::from_utf8_lossy(word);
    if word.contains(&b'/') {
        return match probe(word) {
            Ok(()) => Ok(word.to_vec()),
            Err(e) if is_absent(&e) => {
                Err(Failure::not_found(format!("exec: \"{shown}\": stat {shown}: {}", sys::describe(&e))))
            }
            Err(e) => Err(Failure::not_executable(format!("exec: \"{shown}\": {}", sys::describe(&e)))),
        };
    }
    let candidates = path.split(|&b| b == b':').map(|dir| match dir {
        b"" => [b"./", word].concat(),
        _ => [dir, b"/", word].concat(),
    });
    let found = if word.is_empty() { None } else { candidates.into_iter().find(|c| probe(c).is_ok()) };
    found.ok_or_else(|| Failure::not_found(format!("exec: \"{shown}\": executable file not found in $PATH")))
}

fn is_absent(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// Whether this process may execute `path`: it exists, is no directory and has the permission.
fn probe(path: &[u8]) -> io::Result<()> {
    if fs::metadata(Path::new(OsStr::from_bytes(path)))?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    sys::may_execute(path)
}

/// Replaces this process by the command; comes back only with the reason why not.
pub(crate) fn run(argv: &[Vec<u8>], environment: &[Vec<u8>], about_to: impl FnOnce()) -> Failure {
    let Some(word) = argv.first() else {
        return Failure::own("no command specified");
    };
    let path = env::get(environment, "PATH").unwrap_or_default();
    let file = match find(word, path, probe) {
        Ok(file) => file,
        Err(failure) => return failure,
    };
    about_to();
    let error = sys::exec(&file, argv, environment);
    let message = format!("exec {}: {}", String::from_utf8_lossy(&file), sys::describe(&error));
    // ENOENT here is a missing interpreter: of a script, or the dynamic loader.
    if is_absent(&error) { Failure::not_found(message) } else { Failure::not_executable(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(path: &[u8]) -> io::Result<()> {
        io::Result::Err(io::Error::from_raw_os_error(match path {
            b"/usr/bin/ls" | b"/bin/ls" | b"./here" | b"/bin/ok" | b"rel/tool" => return Ok(()),
            b"/bin/locked" => libc::EACCES,
            b"/bin" => libc::EISDIR,
            _ => libc::ENOENT,
        }))
    }

    #[test]
    fn path_is_searched_in_order() {
        let find = |word: &str, path: &str| find(word.as_bytes(), path.as_bytes(), fake);
        assert_eq!(find("ls", "/nowhere:/usr/bin:/bin").unwrap(), b"/usr/bin/ls");
        assert_eq!(find("here", "/bin::/usr/bin").unwrap(), b"./here");
        assert_eq!(find("tool", "rel").unwrap(), b"rel/tool");
        assert_eq!(find("/bin/ok", "").unwrap(), b"/bin/ok");
    }

    #[test]
    fn failures_read_as_dockers() {
        let find = |word: &str| find(word.as_bytes(), b"/bin", fake).unwrap_err();
        let not_in_path =
            |w| Failure::not_found(format!("exec: \"{w}\": executable file not found in $PATH"));
        assert_eq!(find("nope"), not_in_path("nope"));
        assert_eq!(find("locked"), not_in_path("locked"));
        assert_eq!(find(""), not_in_path(""));
        assert_eq!(
            find("/no/such"),
            Failure::not_found("exec: \"/no/such\": stat /no/such: no such file or directory")
        );
        assert_eq!(find("/bin/locked"), Failure::not_executable("exec: \"/bin/locked\": permission denied"));
        assert_eq!(find("/bin"), Failure::not_executable("exec: \"/bin\": is a directory"));
    }

    #[test]
    fn the_real_probe_tells_files_apart() {
        assert!(probe(b"/bin/sh").is_ok());
        assert_eq!(probe(b"/bin").unwrap_err().raw_os_error(), Some(libc::EISDIR));
        assert_eq!(probe(b"/no/such").unwrap_err().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(probe(b"/proc/version").unwrap_err().raw_os_error(), Some(libc::EACCES));
    }
}
