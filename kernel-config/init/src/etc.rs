//! `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`: files of the machine, not of the image; and what
//! docker adds to an image that lacks it.
//!
//! As docker does, each of the former is a file of its own mounted over the image's (so that the image's
//! stays as it is); they are mounted empty before the snapshot and filled once the host name is known.

use crate::{failure::*, sys};
use forelift_abi::net::Network;
use std::{
    fs::{self, OpenOptions},
    io,
    net::IpAddr,
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, symlink},
    },
    path::{Path, PathBuf},
};

/// Where the supervisor keeps the files that are mounted over the container's.
pub(crate) const DIR: &str = "/files";
/// The files, by their name in `/etc`.
pub(crate) const FILES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

/// Takes the supervisor's empty files along: their mounts survive the loss of the old root.
pub(crate) fn take_files() -> Result<[OwnedFd; 3], Failure> {
    let [a, b, c] = FILES.map(|name| {
        let path = format!("{DIR}/{name}");
        sys::take_mount(&path).with_context(|| format!("cannot take {path} along"))
    });
    Ok([a?, b?, c?])
}

/// Mounts the empty files over the container's, this process's root.
pub(crate) fn mount(files: [OwnedFd; 3]) -> Result<(), Failure> {
    for (name, file) in FILES.into_iter().zip(files) {
        let target = format!("/etc/{name}");
        create_target(Path::new(&target), 0).with_context(|| format!("cannot create {target}"))?;
        sys::place_mount(&file, &target).with_context(|| format!("cannot mount {target}"))?;
    }
    Ok(())
}

/// Makes `/etc/mtab` and `/.dockerenv`, which programs look for, in a root directory without them (docker:
/// `daemon/initlayer`).
pub(crate) fn add_missing(root: &Path) -> Result<(), Failure> {
    let (mtab, mark) = (root.join("etc/mtab"), root.join(".dockerenv"));
    unless_there(symlink("/proc/mounts", &mtab)).context("cannot make /etc/mtab")?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o755).open(&mark);
    unless_there(made.map(drop)).context("cannot make /.dockerenv")
}

fn unless_there(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Makes sure that `path` leads to a file, making the target of a dangling symbolic link where there is one
/// (images have `resolv.conf` point into `/run`).
fn create_target(path: &Path, links: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::metadata(path) {
        Ok(_) => return Ok(()),
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Err(_) => {}
    }
    match fs::read_link(path) {
        // As many as the kernel follows (MAXSYMLINKS).
        Ok(_) if links >= 40 => Err(io::Error::from_raw_os_error(libc::ELOOP)),
        Ok(to) => create_target(&path.parent().map_or(PathBuf::new(), Path::to_path_buf).join(to), links + 1),
        Err(_) => OpenOptions::new().create(true).append(true).open(path).map(drop),
    }
}

/// What `/etc/hosts` says: docker's names, then the host's own, as docker has it on a network and Debian
/// without, then what the orders add.
fn hosts(hostname: &str, network: Option<&Network>) -> String {
    let mut text = "127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::\tip6-localnet\n\
        ff00::\tip6-mcastprefix\n\
        ff02::1\tip6-allnodes\n\
        ff02::2\tip6-allrouters\n"
        .to_owned();
    if !hostname.is_empty() {
        let own: Vec<IpAddr> = match network {
            Some(network) => network.addresses.iter().map(|address| address.ip).collect(),
            None => vec![IpAddr::from([127, 0, 1, 1])],
        };
        // Of a name with a domain the first part is a name, too.
        let short = hostname.split_once('.').map(|(short, _)| format!(" {short}")).unwrap_or_default();
        own.iter().for_each(|ip| text += &format!("{ip}\t{hostname}{short}\n"));
    }
    for (name, ip) in network.map_or(&[][..], |network| &network.hosts) {
        text += &format!("{ip}\t{name}\n");
    }
    text
}

/// What `/etc/resolv.conf` says.
fn resolv_conf(network: Option<&Network>) -> String {
    let Some(network) = network else { return "# There is no network: no name server.\n".to_owned() };
    let mut text = String::new();
    if network.dns.is_empty() {
        text += "# The network has no name server.\n";
    }
    network.dns.iter().for_each(|ip| text += &format!("nameserver {ip}\n"));
    for (word, list) in [("search", &network.search), ("options", &network.options)] {
        if !list.is_empty() {
            text += &format!("{word} {}\n", list.join(" "));
        }
    }
    text
}

/// Fills the mounted files.
pub(crate) fn write(hostname: &str, network: Option<&Network>) -> Result<(), Failure> {
    let texts = [format!("{hostname}\n"), hosts(hostname, network), resolv_conf(network)];
    for (name, text) in FILES.into_iter().zip(texts) {
        let path = format!("/etc/{name}");
        fs::write(&path, text).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use forelift_abi::net::Address;

    #[test]
    fn hosts_names_the_machine() {
        assert!(hosts("box", None).contains("\n127.0.1.1\tbox\n"));
        assert!(!hosts("", None).contains("127.0.1.1"));
        assert!(hosts("", None).starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost "));
        assert!(resolv_conf(None).starts_with('#'));
    }

    #[test]
    fn a_network_has_its_names() {
        let address = |ip: &str| Address { ip: ip.parse().unwrap(), prefix: 16 };
        let network = Network {
            mac: [2; 6],
            mtu: 1500,
            addresses: vec![address("172.17.0.2"), address("fd00::2")],
            gateways: Vec::new(),
            dns: vec!["172.17.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            search: vec!["example.com".into(), "example.org".into()],
            options: vec!["ndots:0".into()],
            hosts: vec![("db".into(), "192.0.2.1".parse().unwrap())],
        };
        let end =
            "ip6-allrouters\n172.17.0.2\tbox.example.com box\nfd00::2\tbox.example.com box\n192.0.2.1\tdb\n";
        let text = hosts("box.example.com", Some(&network));
        assert!(text.ends_with(end), "{text}");
        assert!(!text.contains("127.0.1.1"));
        assert_eq!(
            resolv_conf(Some(&network)),
            "nameserver 172.17.0.1\nnameserver fd00::1\nsearch example.com example.org\noptions ndots:0\n"
        );
        let bare = Network { dns: Vec::new(), search: Vec::new(), options: Vec::new(), ..network };
        assert_eq!(resolv_conf(Some(&bare)), "# The network has no name server.\n");
    }

    #[test]
    fn what_docker_adds_is_added_once() {
        let dir = std::env::temp_dir().join(format!("forelift-init-missing-{}", std::process::id()));
        fs::create_dir_all(dir.join("etc")).unwrap();
        add_missing(&dir).unwrap();
        assert_eq!(fs::read_link(dir.join("etc/mtab")).unwrap(), Path::new("/proc/mounts"));
        assert_eq!(fs::read(dir.join(".dockerenv")).unwrap(), b"");
        // The image's own stay, of whatever kind they are.
        fs::remove_file(dir.join("etc/mtab")).unwrap();
        fs::write(dir.join("etc/mtab"), "own").unwrap();
        fs::remove_file(dir.join(".dockerenv")).unwrap();
        symlink("nowhere", dir.join(".dockerenv")).unwrap();
        add_missing(&dir).unwrap();
        assert_eq!(fs::read(dir.join("etc/mtab")).unwrap(), b"own");
        assert_eq!(fs::read_link(dir.join(".dockerenv")).unwrap(), Path::new("nowhere"));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn dangling_links_get_their_target() {
        let dir = std::env::temp_dir().join(format!("forelift-init-etc-{}", std::process::id()));
        fs::create_dir_all(dir.join("etc")).unwrap();
        std::os::unix::fs::symlink("../run/deep/resolv", dir.join("etc/resolv.conf")).unwrap();
        create_target(&dir.join("etc/resolv.conf"), 0).unwrap();
        assert!(dir.join("run/deep/resolv").is_file());
        std::os::unix::fs::symlink("loop", dir.join("etc/loop")).unwrap();
        assert_eq!(create_target(&dir.join("etc/loop"), 0).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        fs::remove_dir_all(dir).unwrap();
    }
}
