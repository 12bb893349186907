//! `-p [IP:]HOST:GUEST[/tcp|udp]`: ports of the host's that lead into the guest, in docker's words.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What is carried through a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// One port of the host's that leads to one of the guest's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where the host listens. Port 0: the host chooses one.
    pub host: SocketAddr,
    /// The guest's port.
    pub guest: u16,
    /// What is carried.
    pub protocol: Protocol,
    /// The option as it was written, for messages.
    pub text: String,
}

/// Why an option's text is no published port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "-p {text}: {reason}; write it as [IP:]HOST:GUEST[/tcp|udp], for example 8080:80 or [::1]:5353:53/udp"
)]
pub struct PublishError {
    text: String,
    reason: &'static str,
}

impl Publish {
    /// Lines that tell which ports the host has chosen for those that were asked for.
    pub fn chosen(asked: &[Publish], bound: &[Publish]) -> impl Iterator<Item = String> {
        let chosen = bound.iter().zip(asked).filter(|(_, asked)| asked.host.port() == 0);
        chosen.map(|(port, _)| format!("port {}/{} is published at {}", port.guest, port.protocol, port.host))
    }

    /// Reads an option: `GUEST` alone has the host choose its port, and both sides may be ranges of the same
    /// length (`8000-8002:80-82`). Without an address the host listens on 127.0.0.1.
    pub fn parse(text: &str) -> Result<Vec<Publish>, PublishError> {
        let fail = |reason| PublishError { text: text.to_owned(), reason };
        let (ports, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return Err(fail("the protocol is neither tcp nor udp")),
        };
        let (front, guest) = match ports.rsplit_once(':') {
            None => (None, ports),
            Some((front, guest)) => (Some(front), guest),
        };
        let (ip, host) = match front {
            None => (IpAddr::V4(Ipv4Addr::LOCALHOST), None),
            Some(front) => match front.rsplit_once(':') {
                None => (IpAddr::V4(Ipv4Addr::LOCALHOST), Some(front)),
                Some((ip, host)) => {
                    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
                    (ip.parse().map_err(|_| fail("the address is no IP address"))?, Some(host))
                }
            },
        };
        let guest = range(guest).ok_or_else(|| fail("the guest's port is no number from 1 to 65535"))?;
        if guest.0 == 0 {
            return Err(fail("the guest's port is no number from 1 to 65535"));
        }
        let host = match host {
            None | Some("") | Some("0") => None,
            Some(host) => Some(range(host).ok_or_else(|| fail("the host's port is no number up to 65535"))?),
        };
        if host.is_some_and(|host| host.1 - host.0 != guest.1 - guest.0) {
            return Err(fail("the two ranges have different lengths"));
        }
        let host_port = |nth: u16| host.map_or(0, |host| host.0 + nth);
        let one = |nth: u16| Publish {
            host: SocketAddr::new(ip, host_port(nth)),
            guest: guest.0 + nth,
            protocol,
            text: text.to_owned(),
        };
        Ok((0..=guest.1 - guest.0).map(one).collect())
    }
}

/// A port's number: digits alone.
pub(crate) fn port(text: &str) -> Option<u16> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `FIRST` or `FIRST-LAST`.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = match text.split_once('-') {
        None => (port(text)?, port(text)?),
        Some((first, last)) => (port(first)?, port(last)?),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &str) -> Vec<String> {
        let all = Publish::parse(text).unwrap();
        all.iter().map(|p| format!("{}>{}/{}", p.host, p.guest, p.protocol)).collect()
    }

    #[test]
    fn dockers_forms() {
        assert_eq!(short("8080:80"), ["127.0.0.1:8080>80/tcp"]);
        assert_eq!(short("80"), ["127.0.0.1:0>80/tcp"]);
        assert_eq!(short("0:80/udp"), ["127.0.0.1:0>80/udp"]);
        assert_eq!(short("0.0.0.0:53:53/udp"), ["0.0.0.0:53>53/udp"]);
        assert_eq!(short("[::1]:8080:80"), ["[::1]:8080>80/tcp"]);
        assert_eq!(short("127.0.0.2::80"), ["127.0.0.2:0>80/tcp"]);
        assert_eq!(short("8000-8001:80-81"), ["127.0.0.1:8000>80/tcp", "127.0.0.1:8001>81/tcp"]);
    }

    #[test]
    fn errors_repeat_the_option() {
        for bad in ["", "x", "80:", "80:0", "70000:80", "1-2:3", "5-2:5-2", "1.2.3:80:80", "80/sctp", "+8:8"]
        {
            let error = Publish::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("-p {bad}: ")) && error.contains("8080:80"), "{error}");
        }
    }
}
