//! The options of an image's own command line that give the container a network. What they mean is
//! [`forelift_net::Options`]' business; only what a module can do about them is decided here.

use std::net::IpAddr;

use forelift_net::{OptionError, Options, Plan, PublishError};
use thiserror::Error;

/// What [`help`](super::help) says of them.
pub(super) const HELP: &str = "\
\x20     --net              let the container open connections (component only)\n\
\x20 -p, --publish [[IP:]HOST:]GUEST[/udp]  publish a port (component only)\n\
\x20 -P, --publish-all      publish all that the image exposes (component only)\n\
\x20     --net-allow CIDR|NAME[:PORT], --net-host-loopback  what it may reach (component only)\n\
\x20     --net-stream fd:N  connect eth0 to descriptor N, a stream socket in QEMU's framing\n\
\x20     --ip IP, --mac MAC  addresses of eth0 [10.0.2.15, fd00:f0::15]\n\
\x20     --dns IP, --dns-search DOMAIN  resolvers; domains to try\n\
\x20     --add-host NAME:IP  a name for /etc/hosts\n";

/// Those that have a value.
const NAMES: [&str; 8] =
    ["--net-stream", "--ip", "--mac", "--dns", "--dns-search", "--add-host", "--publish", "--net-allow"];
/// Those that have none.
const FLAGS: [&str; 3] = ["--net", "--publish-all", "--net-host-loopback"];
/// Short names.
const SHORT: [(&str, &str); 2] = [("-p", "--publish"), ("-P", "--publish-all")];
/// The first descriptor that is no standard stream.
const FIRST: u32 = 3;

/// The network that the image's own arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// What the container's link is connected to.
    pub link: Link,
    /// What the container's interface is.
    pub plan: Plan,
}

/// What a container's link is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// This descriptor, a stream socket with a frame behind each length.
    Stream(u32),
    /// A gateway of the module's own.
    Gateway,
}

/// Why the options were refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NetworkError {
    /// The module itself connects to nothing.
    #[error(
        "--net-stream {0}: in an image's own arguments it is fd:N, a connected stream socket that the runtime \
         has opened as descriptor N, from 3 on; `forelift run --net-stream tcp:HOST:PORT IMAGE` connects by itself"
    )]
    Stream(String),
    /// What has to be an address is none.
    #[error("{option} {text}: it is no IP address: use one as 10.0.2.15 or fd00:f0::15")]
    Ip {
        /// The option.
        option: &'static str,
        /// Its value.
        text: String,
    },
    /// An option that is of no use alone.
    #[error("{0}: the container has no network: add --net, -p or --net-stream fd:N")]
    NoNetwork(&'static str),
    /// `-P`: what the image exposes is no port.
    #[error("-P: the image exposes `{text}`: {source}")]
    Exposed {
        /// What it exposes.
        text: String,
        /// Why that is no port.
        source: PublishError,
    },
    /// Other mistakes.
    #[error(transparent)]
    Options(OptionError),
}

/// The name of the network's option that a word is, and whether a value belongs to it.
pub(super) fn name(word: &[u8]) -> Option<(&'static str, bool)> {
    let long = SHORT.iter().find(|(short, _)| short.as_bytes() == word).map(|(_, long)| long.as_bytes());
    let word = long.unwrap_or(word);
    let named = |names: &[&'static str]| names.iter().copied().find(|name| name.as_bytes() == word);
    named(&NAMES).map(|name| (name, true)).or_else(|| named(&FLAGS).map(|name| (name, false)))
}

/// Takes note of the option [`name`] with its value.
pub(super) fn set(options: &mut Options, name: &'static str, value: String) -> Result<(), NetworkError> {
    let ip = |text: &str| {
        let wrong = |_| NetworkError::Ip { option: name, text: text.to_owned() };
        text.parse::<IpAddr>().map_err(wrong)
    };
    match name {
        "--net-stream" => options.stream = Some(value),
        "--ip" => options.ips.push(ip(&value)?),
        "--mac" => options.mac = Some(value),
        "--dns" => options.dns.push(ip(&value)?),
        "--dns-search" => options.search.push(value),
        "--publish" => options.publish.push(value),
        "--net-allow" => options.allow.push(value),
        "--net" => options.outbound = true,
        "--publish-all" => options.publish_all = true,
        "--net-host-loopback" => options.host_loopback = true,
        _ => options.add_hosts.push(value),
    }
    Ok(())
}

/// The network that the options ask for, of an image that exposes these ports; `None` without any.
pub(super) fn network(options: &Options, exposed: &[String]) -> Result<Option<Box<Network>>, NetworkError> {
    let plan = options.plan().map_err(|error| match error {
        OptionError::NoNetwork { option } => NetworkError::NoNetwork(option),
        other => NetworkError::Options(other),
    })?;
    let Some(mut plan) = plan else { return Ok(None) };
    if options.publish_all {
        let refused = |(text, source)| NetworkError::Exposed { text, source };
        plan.config.publish_exposed(exposed).map_err(refused)?;
    }
    let Some(text) = &options.stream else {
        return Ok(Some(Box::new(Network { link: Link::Gateway, plan })));
    };
    let number = text.strip_prefix("fd:").filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
    let number = number.and_then(|number| number.parse().ok()).filter(|number| *number >= FIRST);
    let number = number.ok_or_else(|| NetworkError::Stream(text.clone()))?;
    Ok(Some(Box::new(Network { link: Link::Stream(number), plan })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[(&str, &str)]) -> Result<Option<Box<Network>>, String> {
        let mut options = Options::default();
        for (word, value) in words {
            let (name, has_value) = name(word.as_bytes()).expect(word);
            assert_eq!(has_value, !value.is_empty() || *word == "--net-stream");
            set(&mut options, name, (*value).to_owned()).map_err(|e| e.to_string())?;
        }
        network(&options, &["80/tcp".to_owned(), "53/udp".to_owned()]).map_err(|e| e.to_string())
    }

    #[test]
    fn a_descriptor_is_a_link() {
        assert_eq!(parse(&[]), Ok(None));
        let found = parse(&[
            ("--net-stream", "fd:1200"),
            ("--ip", "192.168.5.6"),
            ("--mac", "02:00:00:00:00:01"),
            ("--dns", "10.0.2.3"),
            ("--dns-search", "example.org"),
            ("--add-host", "db:10.1.2.3"),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!(found.link, Link::Stream(1200));
        let eth0 = found.plan.interface;
        assert_eq!((eth0.mac, eth0.search), ([2, 0, 0, 0, 0, 1], vec!["example.org".to_owned()]));
        assert_eq!(eth0.addresses[0].ip, IpAddr::from([192, 168, 5, 6]));
        assert_eq!(eth0.dns, [IpAddr::from([10, 0, 2, 3])]);
        assert_eq!(eth0.hosts, [("db".to_owned(), IpAddr::from([10, 1, 2, 3]))]);
        assert_eq!(name(b"--net-streams"), None);
        let short = SHORT.map(|(short, _)| short);
        for name in NAMES.iter().chain(&FLAGS).chain(&short) {
            assert!(HELP.contains(name), "{name}");
        }
    }

    #[test]
    fn a_component_has_a_gateway() {
        let found =
            parse(&[("--net", ""), ("-p", "8080:80"), ("--net-allow", "10.0.0.0/8")]).unwrap().unwrap();
        assert_eq!(found.link, Link::Gateway);
        let config = &found.plan.config;
        assert!(config.outbound && !config.host_loopback && config.allow.len() == 1);
        assert_eq!(config.published.iter().map(|p| p.guest).collect::<Vec<_>>(), [80]);
        let found = parse(&[("-P", "")]).unwrap().unwrap();
        assert!(!found.plan.config.outbound);
        assert_eq!(found.plan.config.published.iter().map(|p| p.guest).collect::<Vec<_>>(), [80, 53]);
        let error = parse(&[("-p", "x")]).unwrap_err();
        assert!(error.starts_with("-p x: "), "{error}");
        let error = parse(&[("--net-host-loopback", "")]).unwrap_err();
        assert!(error.contains("add --net, -p or --net-stream fd:N"), "{error}");
    }

    #[test]
    fn everything_else_is_one_clear_error() {
        for text in ["tcp:127.0.0.1:9", "fd:", "fd:x", "fd:+5", "fd:2", "fd:4294967296", ""] {
            let error = parse(&[("--net-stream", text)]).unwrap_err();
            assert!(error.starts_with(&format!("--net-stream {text}: ")), "{error}");
            assert!(error.contains("fd:N") && error.contains("forelift run --net-stream"), "{error}");
        }
        let error = parse(&[("--dns", "x")]).unwrap_err();
        assert!(error.starts_with("--dns x: it is no IP address"), "{error}");
        let error = parse(&[("--mac", "02:00:00:00:00:01")]).unwrap_err();
        assert_eq!(error, "--mac: the container has no network: add --net, -p or --net-stream fd:N");
        let error = parse(&[("--net-stream", "fd:5"), ("--mac", "x")]).unwrap_err();
        assert!(error.starts_with("--mac x: "), "{error}");
    }
}
