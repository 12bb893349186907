//! Host directories to mount, as wasmtime's `--dir` and docker's `-v` name them.

use std::{fs, io, path::Path};

use forelift_runtime::dev::COUNT_SHARES;
use thiserror::Error;

use crate::embed::Share;

/// Why directories cannot be mounted.
#[derive(Debug, Error)]
pub enum MountsError {
    /// One of them cannot.
    #[error("{option} {text}: {source}")]
    Mount {
        /// The option that names it.
        option: &'static str,
        /// The option's value.
        text: String,
        /// Why.
        source: MountError,
    },
    /// The machine has not so many slots for them.
    #[error("{count} directories: at most {COUNT_SHARES} can be mounted; mount one that holds several")]
    TooMany {
        /// How many were named.
        count: usize,
    },
}

/// Why a directory cannot be mounted.
#[derive(Debug, Error)]
pub enum MountError {
    /// It is not there.
    #[error(transparent)]
    Host(#[from] io::Error),
    /// It is something else.
    #[error("it is not a directory")]
    NotDirectory,
    /// Its name cannot be the container's, too.
    #[error("its name is not UTF-8")]
    NotUtf8,
    /// The container's path depends on a directory.
    #[error("the container's path `{guest}` is not absolute")]
    NotAbsolute {
        /// The path.
        guest: String,
    },
    /// A volume of docker's own.
    #[error("there are no volumes but host directories: use HOST:GUEST or HOST:GUEST:ro")]
    NotTwoParts,
    /// A volume of docker's own, by name.
    #[error("there are no named volumes: for the directory, write ./{name}")]
    Named {
        /// The name.
        name: String,
    },
    /// Options that exclude each other, or one of them twice.
    #[error("ro and rw: only one of them")]
    TwoModes,
    /// An option that has no meaning here.
    #[error("`{option}` is no option of a volume here: use ro or rw")]
    Option {
        /// The option.
        option: String,
    },
}

/// The directories of `dirs` (`HOST[::GUEST]`), then of `volumes` (`HOST:GUEST[:OPTIONS]`).
///
/// # Errors
/// When one of them cannot be mounted, or they are too many.
pub fn mounts(dirs: &[String], volumes: &[String]) -> Result<Vec<Share>, MountsError> {
    let named = |option, text: &String| {
        let text = text.clone();
        move |source| MountsError::Mount { option, text, source }
    };
    let dirs = dirs.iter().map(|text| dir(text).map_err(named("--dir", text)));
    let volumes = volumes.iter().map(|text| volume(text).map_err(named("-v", text)));
    let shares: Vec<Share> = dirs.chain(volumes).collect::<Result<_, _>>()?;
    match shares.len() {
        count if count > COUNT_SHARES => Err(MountsError::TooMany { count }),
        _ => Ok(shares),
    }
}

/// HOST\[::GUEST\], as wasmtime has it.
fn dir(text: &str) -> Result<Share, MountError> {
    match text.split_once("::") {
        Some((host, guest)) => share(host, Some(guest), false),
        None => share(text, None, false),
    }
}

/// HOST:GUEST\[:OPTIONS\], as docker has it.
fn volume(text: &str) -> Result<Share, MountError> {
    let mut parts = text.split(':');
    let (Some(host), Some(guest), options, None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(MountError::NotTwoParts);
    };
    // docker's rule for what is the name of a volume of its own.
    if !host.starts_with(['/', '.', '~']) {
        return Err(MountError::Named { name: host.into() });
    }
    let mut mode = None;
    for option in options.unwrap_or("rw").split(',') {
        match option {
            "ro" | "rw" if mode.is_none() => mode = Some(option),
            "ro" | "rw" => return Err(MountError::TwoModes),
            // For hosts with SELinux, and for docker's virtual machine on a Mac: nothing here.
            "z" | "Z" | "cached" | "consistent" | "delegated" => {}
            other => return Err(MountError::Option { option: other.into() }),
        }
    }
    share(host, Some(guest), mode == Some("ro"))
}

fn share(host: &str, guest: Option<&str>, read_only: bool) -> Result<Share, MountError> {
    let host = fs::canonicalize(host)?;
    if !host.is_dir() {
        return Err(MountError::NotDirectory);
    }
    let guest = guest.or(host.to_str()).ok_or(MountError::NotUtf8)?;
    if !Path::new(guest).is_absolute() {
        return Err(MountError::NotAbsolute { guest: guest.into() });
    }
    let guest = guest.to_string();
    Ok(Share { host, guest, read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_volumes() {
        let place = tempfile::tempdir().unwrap();
        let name = place.path().to_str().unwrap();
        assert_eq!(dir(&format!("{name}::/mnt")).unwrap().guest, "/mnt");
        assert!(dir(name).unwrap().guest.starts_with('/'));
        assert!(dir(&format!("{name}::mnt")).is_err());
        assert!(dir("/no/such").is_err());
        assert!(dir("/etc/passwd").is_err());
        let read_only = |options: &str| volume(&format!("{name}:/mnt{options}")).map(|share| share.read_only);
        for (options, expected) in [("", false), (":ro", true), (":rw", false), (":z,ro", true)] {
            assert_eq!(read_only(options).unwrap(), expected, "{options}");
        }
        for options in [":", ":exec", ":ro:rw", ":ro,rw"] {
            assert!(read_only(options).is_err(), "{options}");
        }
        assert_eq!(volume(&format!("{name}:/mnt")).unwrap().guest, "/mnt");
        assert!(volume("data:/mnt").unwrap_err().to_string().contains("./data"));
        assert!(volume("/mnt").is_err());
    }

    #[test]
    fn the_option_and_the_number_are_named() {
        let dirs = vec!["/".to_string(); COUNT_SHARES];
        assert_eq!(mounts(&dirs, &[]).unwrap().len(), COUNT_SHARES);
        let error = mounts(&dirs, &["/:/mnt".into()]).unwrap_err().to_string();
        assert_eq!(error, "9 directories: at most 8 can be mounted; mount one that holds several");
        let error = mounts(&[], &["data:/mnt".into()]).unwrap_err().to_string();
        assert_eq!(error, "-v data:/mnt: there are no named volumes: for the directory, write ./data");
    }
}
