//! What a command line asks for: options in docker's words where docker has them.

use crate::{
    config::{AddressError, Config, HOST_GATEWAY, HostAddress},
    publish::{Publish, PublishError},
    rule::{Rule, RuleError},
};
use forelift_abi::net::Network;
use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
};

/// The options of a command line, as they were written.
#[derive(Clone, Debug, Default)]
pub struct Options {
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
    /// `--net-capture` is there.
    pub capture: bool,
}

/// What they come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the container's interface is.
    pub interface: Network,
    /// What a gateway is told.
    pub config: Config,
}

/// Why the container cannot have such a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
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
}

impl Options {
    /// The network that they ask for; `None` without any.
    ///
    /// # Errors
    /// See [`OptionError`].
    pub fn plan(&self) -> Result<Option<Plan>, OptionError> {
        let inbound = !self.publish.is_empty() || self.publish_all;
        self.check(inbound)?;
        if !self.outbound && !inbound && self.stream.is_none() {
            return Ok(None);
        }
        let mut config = self.gateway()?;
        for &ip in &self.ips {
            let refused = |source| OptionError::Address { option: "--ip", text: ip.to_string(), source };
            config.set_guest_ip(ip).map_err(refused)?;
        }
        if self.stream.is_some() && self.mac.is_none() {
            // There may be others like this one on the link.
            let chance = RandomState::new().hash_one(0).to_le_bytes();
            config.mac[2..].copy_from_slice(&chance[..4]);
        }
        if let Some(text) = &self.mac {
            let mac = mac(text).ok_or_else(|| OptionError::Mac { text: text.clone() })?;
            let refused = |source| OptionError::Address { option: "--mac", text: text.clone(), source };
            config.set_guest_mac(mac).map_err(refused)?;
        }
        let mut interface = config.network();
        if self.stream.is_some() {
            // Nobody says that the other end is a gateway, with a resolver.
            interface.gateways = config.gateways().collect();
            interface.dns.clone_from(&self.dns);
        }
        Ok(Some(Plan { interface, config }))
    }

    /// What a gateway is told of them: names, rules and published ports.
    ///
    /// # Errors
    /// See [`OptionError`].
    pub fn gateway(&self) -> Result<Config, OptionError> {
        let mut config =
            Config { outbound: self.outbound, host_loopback: self.host_loopback, ..Config::default() };
        for text in &self.publish {
            config.published.extend(Publish::parse(text)?);
        }
        for text in &self.allow {
            config.allow.push(text.parse::<Rule>()?);
        }
        for text in &self.add_hosts {
            config.add_hosts.push(add_host(text).ok_or_else(|| OptionError::AddHost { text: text.clone() })?);
        }
        config.resolvers = self.dns.iter().map(|&ip| (ip, 53).into()).collect();
        config.search.clone_from(&self.search);
        Ok(config)
    }

    /// Options that would do nothing are mistakes.
    fn check(&self, inbound: bool) -> Result<(), OptionError> {
        let given = [
            ("--net", self.outbound),
            ("-p", !self.publish.is_empty()),
            ("-P", self.publish_all),
            ("--net-allow", !self.allow.is_empty()),
            ("--net-host-loopback", self.host_loopback),
            ("--dns", !self.dns.is_empty()),
            ("--add-host", !self.add_hosts.is_empty()),
            ("--dns-search", !self.search.is_empty()),
            ("--ip", !self.ips.is_empty()),
            ("--mac", self.mac.is_some()),
            ("--net-capture", self.capture),
        ];
        let first =
            |options: &[(&'static str, bool)]| options.iter().find(|option| option.1).map(|option| option.0);
        if self.stream.is_some() {
            return first(&given[..5]).map_or(Ok(()), |option| Err(OptionError::NoGateway { option }));
        }
        if !self.outbound && !inbound {
            return first(&given[3..]).map_or(Ok(()), |option| Err(OptionError::NoNetwork { option }));
        }
        if !self.outbound {
            return first(&given[3..6]).map_or(Ok(()), |option| Err(OptionError::NotOutbound { option }));
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(change: impl FnOnce(&mut Options)) -> Result<Option<Plan>, String> {
        let mut options = Options::default();
        change(&mut options);
        options.plan().map_err(|e| e.to_string())
    }

    #[test]
    fn there_is_no_network_unless_asked_for() {
        assert!(plan(|_| ()).unwrap().is_none());
        let config = plan(|o| o.outbound = true).unwrap().unwrap().config;
        assert!(config.outbound && config.published.is_empty() && !config.host_loopback);
        let config = plan(|o| o.publish.push("8080-8081:80-81".into())).unwrap().unwrap().config;
        assert!(!config.outbound);
        assert_eq!(config.published.iter().map(|p| p.guest).collect::<Vec<_>>(), [80, 81]);
        assert!(plan(|o| o.publish_all = true).unwrap().is_some());
    }

    #[test]
    fn options_that_would_do_nothing_are_refused() {
        let error = plan(|o| o.host_loopback = true).unwrap_err();
        assert_eq!(error, "--net-host-loopback: the container has no network: add --net, -p or --net-stream");
        let error = plan(|o| {
            o.publish.push("80".into());
            o.dns.push([9, 9, 9, 9].into());
        });
        assert_eq!(error.unwrap_err(), "--dns: the container opens no connections: add --net");
        let error = plan(|o| {
            o.stream = Some("tcp:127.0.0.1:9".into());
            o.allow.push("10.0.0.0/8".into());
        });
        assert!(error.unwrap_err().starts_with("--net-allow is for Forelift's own gateway"));
    }

    #[test]
    fn names_and_addresses() {
        let config = plan(|o| {
            o.outbound = true;
            o.add_hosts = ["db:10.1.2.3", "v6=[2001:db8::1]", "v7:2001:db8::2", "up:host-gateway"]
                .map(String::from)
                .into();
            o.ips = vec![[192, 168, 5, 6].into()];
            o.mac = Some("02-00-00-00-00-0a".into());
        });
        let config = config.unwrap().unwrap().config;
        let hosts: Vec<String> = config.add_hosts.iter().map(|(name, to)| format!("{name} {to:?}")).collect();
        assert_eq!(hosts, ["db Ip(10.1.2.3)", "v6 Ip(2001:db8::1)", "v7 Ip(2001:db8::2)", "up Gateway"]);
        assert_eq!(config.mac, [2, 0, 0, 0, 0, 10]);
        assert_eq!(config.network().addresses[0].ip, IpAddr::from([192, 168, 5, 6]));
        for (bad, message) in [("db", "--add-host db: use NAME:IP"), (":1.2.3.4", "--add-host :1.2.3.4: use")]
        {
            let error = plan(|o| {
                o.outbound = true;
                o.add_hosts = vec![bad.into()];
            });
            assert!(error.unwrap_err().starts_with(message));
        }
        for bad in ["02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:0g", "02:00:00:00:00:+1", ""] {
            let error = plan(|o| {
                o.outbound = true;
                o.mac = Some(bad.into());
            });
            assert!(error.unwrap_err().contains("six bytes"), "{bad}");
        }
        let error = plan(|o| {
            o.outbound = true;
            o.ips = vec![[10, 0, 2, 2].into()];
        });
        assert!(error.unwrap_err().starts_with("--ip 10.0.2.2: "));
    }
}
