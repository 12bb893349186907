//! The part of the [exercise](crate::exercise) that starts programs of the image, in the container that waits
//! for its command: what the C library and its loader ask of the kernel, and what starting costs by itself.
//!
//! * A few programs that every image has are started many times, as entry-point scripts do, so that the
//!   loader is known to be hot;
//! * what the image's scripts name as their interpreter in the first line is started once, with nothing to
//!   execute.
//!
//! None of them sees more than the copy of the machine that training runs on, which is thrown away.

use crate::{rootfs::ROOT, sys};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Read,
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

/// Where programs are looked for, in the container.
const DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// The same for programs.
const PATH: &[u8] = b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Files that are looked at for scripts, in each directory.
const FILES: usize = 400;
/// Interpreters that are started at most: those that most scripts name.
const INTERPRETERS: usize = 4;
/// How long a program may take, in milliseconds.
const PATIENCE: i32 = 5000;
/// How often a program is started that does next to nothing.
const TIMES: usize = 24;

/// What a shell script does that prepares something and starts a command.
const SCRIPT: &str = r#"
set -e
n=0
while [ $n -lt 24 ]; do
    true
    /bin/true
    case $n in 1*) x=${n#1} ;; *) x=$n ;; esac
    [ -d /etc ] && [ "$x" != none ] || exit 1
    n=$((n + 1))
done
for f in /etc/*; do [ -f "$f" ] && y=$(echo "$f" | cat); done
cat /etc/passwd | cat | cat
ls -l /etc /usr
"#;

/// Starts them; `stage` is the container's first process.
pub(crate) fn run(stage: i32) {
    for program in ["/bin/true", "/usr/bin/env", "/bin/cat", "/bin/ls"] {
        for _ in 0..TIMES {
            if !start(stage, &[program]) {
                break;
            }
        }
    }
    start(stage, &["/bin/sh", "-c", SCRIPT]);
    for interpreter in interpreters() {
        start(stage, &[&interpreter]);
    }
}

/// Runs a program to its end, without input; false when there is none.
fn start(stage: i32, words: &[&str]) -> bool {
    let Some(path) = find(words[0]) else { return false };
    match sys::fork() {
        Ok(Some(pid)) => {
            let ended = sys::pidfd(pid)
                .and_then(|ends| sys::wait_for(ends.as_fd().as_raw_fd(), libc::POLLIN, PATIENCE))
                .is_ok_and(|events| events != 0);
            if !ended {
                let _ = sys::kill(pid, libc::SIGKILL as u8);
            }
            sys::reap(pid).is_ok()
        }
        Ok(None) => {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            if enter(stage).is_ok() {
                let home = b"HOME=/root".to_vec();
                let _ = sys::exec(path.as_bytes(), &words, &[PATH.to_vec(), home]);
            }
            sys::exit_now(127)
        }
        Err(_) => false,
    }
}

/// Goes into the container, with `/dev/null` as its streams.
fn enter(stage: i32) -> std::io::Result<()> {
    sys::enter_mounts(&File::open(format!("/proc/{stage}/ns/mnt"))?)?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    (0..3).try_for_each(|number| sys::dup2(&null, number))?;
    sys::setsid()?;
    sys::default_signal(libc::SIGPIPE);
    std::env::set_current_dir("/")
}

/// The path of a program in the container, which `name` is or ends in.
fn find(name: &str) -> Option<String> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let other = DIRECTORIES.iter().map(|dir| format!("{dir}/{base}"));
    let given = name.starts_with('/').then(|| name.to_string());
    // Of a link with an absolute target only the container knows whether it leads anywhere.
    given.into_iter().chain(other).find(|path| fs::symlink_metadata(format!("{ROOT}{path}")).is_ok())
}

/// What scripts name as their interpreter, most often first.
fn interpreters() -> Vec<String> {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen = Vec::new();
    for dir in DIRECTORIES {
        let Ok(dir) = fs::canonicalize(format!("{ROOT}{dir}")) else { continue };
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        if seen.contains(&dir) {
            continue;
        }
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for path in files.iter().take(FILES) {
            if let Some(name) = first_line(path).as_deref().and_then(interpreter) {
                *names.entry(name.to_string()).or_default() += 1;
            }
        }
        seen.push(dir);
    }
    let mut names: Vec<(String, usize)> = names.into_iter().collect();
    names.sort_by_key(|(_, scripts)| std::cmp::Reverse(*scripts));
    names.into_iter().take(INTERPRETERS).map(|(name, _)| name).collect()
}

fn first_line(path: &Path) -> Option<String> {
    let mut bytes = [0; 128];
    // A pipe would wait for a writer.
    let is_file = fs::metadata(path).is_ok_and(|about| about.is_file());
    let len = is_file.then(|| File::open(path).and_then(|mut file| file.read(&mut bytes)).ok()).flatten()?;
    let line = bytes[..len].split(|&byte| byte == b'\n').next()?;
    String::from_utf8(line.to_vec()).ok()
}

/// The interpreter that a script's first line names, through `env` or not (execve(2), "Interpreter scripts").
fn interpreter(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("#!")?.split_whitespace();
    let first = words.next()?;
    if first.rsplit('/').next() != Some("env") {
        return Some(first);
    }
    words.find(|word| !word.starts_with('-') && !word.contains('='))
}

#[cfg(test)]
mod tests {
    use super::interpreter;

    #[test]
    fn a_first_line_names_its_interpreter() {
        let lines = [
            ("#!/bin/sh", Some("/bin/sh")),
            ("#! /usr/bin/perl -w", Some("/usr/bin/perl")),
            ("#!/usr/bin/env python3", Some("python3")),
            ("#!/usr/bin/env -S A=b node --harmony", Some("node")),
            ("#!/usr/bin/env", None),
            ("#!", None),
            ("\u{7f}ELF", None),
            ("", None),
        ];
        for (line, name) in lines {
            assert_eq!(interpreter(line), name, "{line}");
        }
    }
}
