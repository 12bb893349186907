//! `--net-allow CIDR|NAME[:PORT]`: one rule, as it is written and what it is about.

use crate::publish;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// All addresses with this prefix.
    Network {
        /// The network, with zeros behind the prefix.
        ip: IpAddr,
        /// Bits of the prefix.
        prefix: u8,
    },
    /// A host's name, or with `*.` before it all names that end so.
    Name(String),
}

/// One `--net-allow CIDR|NAME[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The hosts.
    pub to: Destination,
    /// The port; all of them if there is none.
    pub port: Option<u16>,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--net-allow {text}: {reason}; write it as CIDR or NAME with :PORT if wanted, for example 10.1.0.0/16, \
     [2001:db8::/32]:443 or example.org:443"
)]
pub struct RuleError {
    text: String,
    reason: &'static str,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let fail = |reason| RuleError { text: text.to_owned(), reason };
        let (host, port) = split(text).ok_or_else(|| fail("the brackets are not closed"))?;
        let port = match port {
            None => None,
            Some(text) => Some(
                publish::port(text)
                    .filter(|port| *port != 0)
                    .ok_or_else(|| fail("the port is no number up to 65535"))?,
            ),
        };
        if let Some((ip, prefix)) = host.split_once('/') {
            let ip: IpAddr = ip.parse().map_err(|_| fail("the network is no IP address"))?;
            let most = if ip.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.parse().ok().filter(|prefix| *prefix <= most);
            let prefix = prefix.ok_or_else(|| fail("the prefix is longer than the address"))?;
            return Ok(Rule { to: Destination::Network { ip: masked(ip, prefix), prefix }, port });
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            let prefix = if ip.is_ipv4() { 32 } else { 128 };
            return Ok(Rule { to: Destination::Network { ip, prefix }, port });
        }
        let name = host.strip_prefix("*.").unwrap_or(host);
        let label = |label: &str| {
            !label.is_empty()
                && label.len() < 64
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(fail("this is neither an address nor a name"));
        }
        // It looks like an address, and no name of a host ends in a number.
        if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit())) {
            return Err(fail("this is neither an address nor a name"));
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        Ok(Rule { to: Destination::Name(host.to_ascii_lowercase()), port })
    }
}

/// The host of a rule and its port.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    Some(match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        // More than one colon: an IPv6 address.
        _ => (text, None),
    })
}

/// The address with zeros behind the prefix.
pub(crate) fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(ip) & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(ip) & mask).into()
        }
    }
}

/// Whether a network has an address.
pub(crate) fn within(ip: IpAddr, network: IpAddr, prefix: u8) -> bool {
    ip.is_ipv4() == network.is_ipv4() && masked(ip, prefix) == network
}

/// Whether a rule's name stands for `name`.
pub(crate) fn names(rule: &str, name: &str) -> bool {
    let name = name.trim_end_matches('.');
    match rule.strip_prefix("*.") {
        None => same_name(rule, name),
        Some(end) => name.len().checked_sub(end.len() + 1).is_some_and(|dot| {
            name.as_bytes()[dot] == b'.' && name.as_bytes()[dot + 1..].eq_ignore_ascii_case(end.as_bytes())
        }),
    }
}

/// Whether two names of hosts are the same: letters of ASCII in either case, with or without the last dot.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a.trim_end_matches('.').eq_ignore_ascii_case(b.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let rule = |to, port| Rule { to, port };
        let network = |ip: &str, prefix| Destination::Network { ip: ip.parse().unwrap(), prefix };
        let name = |name: &str| Destination::Name(name.into());
        for (text, wanted) in [
            ("10.1.2.3/8", rule(network("10.0.0.0", 8), None)),
            ("10.1.2.3:80", rule(network("10.1.2.3", 32), Some(80))),
            ("0.0.0.0/0", rule(network("0.0.0.0", 0), None)),
            ("::/0", rule(network("::", 0), None)),
            ("fd00::1", rule(network("fd00::1", 128), None)),
            ("[2001:db8::/32]:443", rule(network("2001:db8::", 32), Some(443))),
            ("Example.ORG.", rule(name("example.org"), None)),
            ("*.example.org:443", rule(name("*.example.org"), Some(443))),
        ] {
            assert_eq!(text.parse::<Rule>().unwrap(), wanted, "{text}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "10.0.0.0/33",
            "x/8",
            "[::1",
            "[::1]x",
            "a:0",
            "a:99999",
            "a:+8",
            "1.2.3",
            "a..b",
        ] {
            let error = bad.parse::<Rule>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("--net-allow {bad}: ")), "{error}");
        }
    }
}
