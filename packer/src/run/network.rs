//! What the container has of a network, in docker's words where docker has them.

use std::{
    fs::File,
    hash::{BuildHasher, RandomState},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use forelift_net::{AddressError, Config, HOST_GATEWAY, HostAddress, Publish, PublishError, Rule, RuleError};
use thiserror::Error;

use crate::embed::{Link, Network};

/// The options of a command line, as they were written.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// `--net`: the container may open connections.
    pub outbound: bool,
    /// `-p`.
    pub publish: Vec<String>,
    /// `-P`: all ports that the image exposes are published, at ports that the host chooses.
    pub publish_all: bool,
    /// `--dns`.
    pub dns: Vec<IpAddr>,
    /// `--dns-search`.
    pub search: Vec<String>,
    /// `--add-host`.
    pub add_hosts: Vec<String>,
    /// `--ip`.
    pub ips: Vec<IpAddr>,
    /// `--mac`.
    pub mac: Option<String>,
    /// `--net-allow`.
    pub allow: Vec<String>,
    /// `--net-host-loopback`.
    pub host_loopback: bool,
    /// `--net-stream`.
    pub stream: Option<String>,
    /// `--net-capture`.
    pub capture: Option<PathBuf>,
}

/// Why the container cannot have such a network.
#[derive(Debug, Error)]
pub enum NetworkOptionError {
    /// An option that is of no use alone.
    #[error("{option}: the container has no network: add --net, -p or --net-stream")]
    NoNetwork {
        /// The option.
        option: &'static str,
    },
    /// An option of the gateway's, on a link without one.
    #[error("{option} is for Forelift's own gateway: with --net-stream, the other end has its own rules")]
    NoGateway {
        /// The option.
        option: &'static str,
    },
    /// Options for connections to outside, where none may be opened.
    #[error("{option}: the container opens no connections: add --net")]
    NotOutbound {
        /// The option.
        option: &'static str,
    },
    /// `-p`.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// `--net-allow`.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// `--add-host`.
    #[error("--add-host {text}: use NAME:IP, or NAME:{HOST_GATEWAY} for the host")]
    AddHost {
        /// The option's value.
        text: String,
    },
    /// `--ip` or `--mac`.
    #[error("{option} {text}: {source}")]
    Address {
        /// The option.
        option: &'static str,
        /// Its value.
        text: String,
        /// Why.
        source: AddressError,
    },
    /// `--mac` with something else.
    #[error("--mac {text}: it is no Ethernet address: use six bytes, as 02:f0:00:00:00:10")]
    Mac {
        /// The option's value.
        text: String,
    },
    /// The capture's file.
    #[error("--net-capture {path}: {source}")]
    Capture {
        /// The file.
        path: PathBuf,
        /// Why it cannot be written.
        source: io::Error,
    },
}

/// The network that the options ask for; `None` without any.
///
/// # Errors
/// See [`NetworkOptionError`].
pub fn network(wishes: &Wishes) -> Result<Option<Network>, NetworkOptionError> {
    let inbound = !wishes.publish.is_empty() || wishes.publish_all;
    check(wishes, inbound)?;
    if !wishes.outbound && !inbound && wishes.stream.is_none() {
        return Ok(None);
    }
    let mut config =
        Config { outbound: wishes.outbound, host_loopback: wishes.host_loopback, ..Config::default() };
    for text in &wishes.publish {
        config.published.extend(Publish::parse(text)?);
    }
    for text in &wishes.allow {
        config.allow.push(text.parse::<Rule>()?);
    }
    for text in &wishes.add_hosts {
        config
            .add_hosts
            .push(add_host(text).ok_or_else(|| NetworkOptionError::AddHost { text: text.clone() })?);
    }
    config.resolvers = wishes.dns.iter().map(|&ip| (ip, 53).into()).collect();
    config.search.clone_from(&wishes.search);
    for &ip in &wishes.ips {
        let refused = |source| NetworkOptionError::Address { option: "--ip", text: ip.to_string(), source };
        config.set_guest_ip(ip).map_err(refused)?;
    }
    if wishes.stream.is_some() && wishes.mac.is_none() {
        // There may be others like this one on the link.
        let chance = RandomState::new().hash_one(0).to_le_bytes();
        config.mac[2..].copy_from_slice(&chance[..4]);
    }
    if let Some(text) = &wishes.mac {
        let mac = mac(text).ok_or_else(|| NetworkOptionError::Mac { text: text.clone() })?;
        let refused = |source| NetworkOptionError::Address { option: "--mac", text: text.clone(), source };
        config.set_guest_mac(mac).map_err(refused)?;
    }
    let link = match &wishes.stream {
        None => Link::Gateway,
        Some(text) => match text.split_once("-listen:") {
            Some((kind, address)) => Link::Listen(format!("{kind}:{address}")),
            None => Link::Connect(text.clone()),
        },
    };
    let capture = wishes.capture.as_deref().map(create).transpose()?;
    let mut interface = config.network();
    if link != Link::Gateway {
        // Nobody says that the other end is a gateway, with a resolver.
        interface.gateways = config.gateways().collect();
        interface.dns.clone_from(&wishes.dns);
    }
    Ok(Some(Network { interface, config, link, publish_all: wishes.publish_all, capture }))
}

/// Options that would do nothing are mistakes.
fn check(wishes: &Wishes, inbound: bool) -> Result<(), NetworkOptionError> {
    let given = [
        ("--net", wishes.outbound),
        ("-p", !wishes.publish.is_empty()),
        ("-P", wishes.publish_all),
        ("--net-allow", !wishes.allow.is_empty()),
        ("--net-host-loopback", wishes.host_loopback),
        ("--dns", !wishes.dns.is_empty()),
        ("--add-host", !wishes.add_hosts.is_empty()),
        ("--dns-search", !wishes.search.is_empty()),
        ("--ip", !wishes.ips.is_empty()),
        ("--mac", wishes.mac.is_some()),
        ("--net-capture", wishes.capture.is_some()),
    ];
    let first =
        |options: &[(&'static str, bool)]| options.iter().find(|option| option.1).map(|option| option.0);
    if wishes.stream.is_some() {
        return first(&given[..5]).map_or(Ok(()), |option| Err(NetworkOptionError::NoGateway { option }));
    }
    if !wishes.outbound && !inbound {
        return first(&given[3..]).map_or(Ok(()), |option| Err(NetworkOptionError::NoNetwork { option }));
    }
    if !wishes.outbound {
        return first(&given[3..6]).map_or(Ok(()), |option| Err(NetworkOptionError::NotOutbound { option }));
    }
    Ok(())
}

/// NAME:IP or NAME=IP, an IPv6 address with or without brackets.
fn add_host(text: &str) -> Option<(String, HostAddress)> {
    let (name, ip) = text.split_once([':', '='])?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '#') {
        return None;
    }
    if ip == HOST_GATEWAY {
        return Some((name.to_owned(), HostAddress::Gateway));
    }
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    Some((name.to_owned(), HostAddress::Ip(ip.parse().ok()?)))
}

/// Six bytes in hexadecimal, with colons or hyphens between them.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut out = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut out {
        let part = parts.next().filter(|part| part.len() <= 2 && !part.starts_with('+'))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(out)
}

fn create(path: &Path) -> Result<Arc<File>, NetworkOptionError> {
    File::create(path)
        .map(Arc::new)
        .map_err(|source| NetworkOptionError::Capture { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(change: impl FnOnce(&mut Wishes)) -> Result<Option<Network>, String> {
        let mut wishes = Wishes::default();
        change(&mut wishes);
        network(&wishes).map_err(|e| e.to_string())
    }

    #[test]
    fn there_is_no_network_unless_asked_for() {
        assert!(wishes(|_| ()).unwrap().is_none());
        let config = wishes(|w| w.outbound = true).unwrap().unwrap().config;
        assert!(config.outbound && config.published.is_empty() && !config.host_loopback);
        let config = wishes(|w| w.publish.push("8080-8081:80-81".into())).unwrap().unwrap().config;
        assert!(!config.outbound);
        assert_eq!(config.published.iter().map(|p| p.guest).collect::<Vec<_>>(), [80, 81]);
        assert!(wishes(|w| w.publish_all = true).unwrap().unwrap().publish_all);
    }

    #[test]
    fn options_that_would_do_nothing_are_refused() {
        let error = wishes(|w| w.host_loopback = true).unwrap_err();
        assert_eq!(error, "--net-host-loopback: the container has no network: add --net, -p or --net-stream");
        let error = wishes(|w| {
            w.publish.push("80".into());
            w.dns.push([9, 9, 9, 9].into());
        });
        assert_eq!(error.unwrap_err(), "--dns: the container opens no connections: add --net");
        let error = wishes(|w| {
            w.stream = Some("tcp:127.0.0.1:9".into());
            w.allow.push("10.0.0.0/8".into());
        });
        assert!(error.unwrap_err().starts_with("--net-allow is for Forelift's own gateway"));
    }

    #[test]
    fn names_and_addresses() {
        let config = wishes(|w| {
            w.outbound = true;
            w.add_hosts = ["db:10.1.2.3", "v6=[2001:db8::1]", "v7:2001:db8::2", "up:host-gateway"]
                .map(String::from)
                .into();
            w.ips = vec![[192, 168, 5, 6].into()];
            w.mac = Some("02-00-00-00-00-0a".into());
        });
        let config = config.unwrap().unwrap().config;
        let hosts: Vec<String> = config.add_hosts.iter().map(|(name, to)| format!("{name} {to:?}")).collect();
        assert_eq!(hosts, ["db Ip(10.1.2.3)", "v6 Ip(2001:db8::1)", "v7 Ip(2001:db8::2)", "up Gateway"]);
        assert_eq!(config.mac, [2, 0, 0, 0, 0, 10]);
        assert_eq!(config.network().addresses[0].ip, IpAddr::from([192, 168, 5, 6]));
        for (bad, message) in [("db", "--add-host db: use NAME:IP"), (":1.2.3.4", "--add-host :1.2.3.4: use")]
        {
            let error = wishes(|w| {
                w.outbound = true;
                w.add_hosts = vec![bad.into()];
            });
            assert!(error.unwrap_err().starts_with(message));
        }
        for bad in ["02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:0g", "02:00:00:00:00:+1", ""] {
            let error = wishes(|w| {
                w.outbound = true;
                w.mac = Some(bad.into());
            });
            assert!(error.unwrap_err().contains("six bytes"), "{bad}");
        }
        let error = wishes(|w| {
            w.outbound = true;
            w.ips = vec![[10, 0, 2, 2].into()];
        });
        assert!(error.unwrap_err().starts_with("--ip 10.0.2.2: "));
    }
}
