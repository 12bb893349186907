//! Where the guest may go.
//!
//! Never reachable: the host's loopback (but by the gateway's address under `host_loopback`), multicast,
//! broadcast, 0.0.0.0/8, addresses that hide an IPv4 address in an IPv6 one, and link-local addresses with
//! the metadata services among them, which a rule may name literally. Without rules everything else is
//! reachable; with rules only what one of them allows.
//!
//! A rule with a name is good for the addresses that the resolver last gave for that name. A name that has
//! once had a public address never again stands for a private one: that would be DNS rebinding. Whoever wants
//! both writes a rule with the private network.

use crate::{
    config::Config,
    rule::{Destination, Rule, masked, names, within},
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// Most addresses that are remembered of one rule's name.
const MOST_ADDRESSES: usize = 256;
/// An address is good for at least this long: programs remember names longer than the resolver says.
const LEAST_LIFE: Duration = Duration::from_secs(300);
const MOST_LIFE: Duration = Duration::from_secs(86_400);

/// What addresses are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    /// Of a site: RFC 1918, RFC 6598, RFC 4193.
    Private,
    /// Link-local, and the metadata services.
    Local,
    Never,
}

fn kind(ip: IpAddr) -> Kind {
    match ip {
        IpAddr::V4(ip) => match ip.octets() {
            [0 | 127, ..] | [224..=255, ..] => Kind::Never,
            [169, 254, ..] => Kind::Local,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Kind::Private,
            _ => Kind::Public,
        },
        IpAddr::V6(ip) => match ip.segments() {
            // ::, ::1, and IPv4 addresses in IPv6's clothes (RFC 4291, section 2.5.5).
            [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Kind::Never,
            [first, ..] if first & 0xff00 == 0xff00 => Kind::Never,
            // Translated and tunnelled IPv4 (RFC 6052, RFC 3056) is judged by the address inside.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inside(high, low),
            [0x2002, high, low, ..] => inside(high, low),
            [first, ..] if first & 0xffc0 == 0xfe80 => Kind::Local,
            [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Kind::Local,
            [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 => Kind::Private,
            _ => Kind::Public,
        },
    }
}

fn inside(high: u16, low: u16) -> Kind {
    match kind(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)).into()) {
        Kind::Public => Kind::Public,
        _ => Kind::Never,
    }
}

/// The addresses that were given for the name of a rule.
#[derive(Debug, Default)]
struct Learned {
    addresses: HashMap<IpAddr, Duration>,
    /// One of them was public.
    public: bool,
}

/// The rules in force, and what they know.
pub(crate) struct Policy {
    allow: Vec<Rule>,
    /// For each rule.
    learned: Vec<Learned>,
    host_loopback: bool,
    outbound: bool,
    gateways: Vec<IpAddr>,
    /// The guest's own networks: nothing is there besides what the gateway knows.
    links: Vec<(IpAddr, u8)>,
}

impl Policy {
    pub(crate) fn new(config: &Config) -> Self {
        let v4 = config.ipv4.map(|link| (IpAddr::V4(link.guest), link.prefix));
        let v6 = config.ipv6.map(|link| (IpAddr::V6(link.guest), link.prefix));
        let links = v4.into_iter().chain(v6).map(|(ip, prefix)| (masked(ip, prefix), prefix));
        Policy {
            learned: config.allow.iter().map(|_| Learned::default()).collect(),
            allow: config.allow.clone(),
            host_loopback: config.host_loopback,
            outbound: config.outbound,
            gateways: config.gateways().collect(),
            links: links.collect(),
        }
    }

    /// Whether the guest may open anything at all.
    pub(crate) fn outbound(&self) -> bool {
        self.outbound
    }

    /// Where a packet to `ip` goes, if it may. A packet without a port needs a rule without one.
    pub(crate) fn target(&self, ip: IpAddr, port: Option<u16>, now: Duration) -> Option<IpAddr> {
        if !self.outbound {
            return None;
        }
        if self.gateways.contains(&ip) {
            let loopback: IpAddr = match ip {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            return self.host_loopback.then_some(loopback);
        }
        if self.links.iter().any(|(network, prefix)| within(ip, *network, *prefix)) {
            return None;
        }
        let kind = kind(ip);
        if kind == Kind::Never {
            return None;
        }
        if self.allow.is_empty() {
            return (kind != Kind::Local).then_some(ip);
        }
        let allows = |(rule, learned): (&Rule, &Learned)| {
            if rule.port.is_some() && rule.port != port {
                return false;
            }
            match rule.to {
                Destination::Network { ip: network, prefix } => {
                    within(ip, network, prefix) && (kind != Kind::Local || is_local(network, prefix))
                }
                Destination::Name(_) => learned.addresses.get(&ip).is_some_and(|until| *until > now),
            }
        };
        self.allow.iter().zip(&self.learned).any(allows).then_some(ip)
    }

    /// Takes note of the addresses that the resolver gave for `name`, with their times to live.
    pub(crate) fn learn(&mut self, name: &str, addresses: &[(IpAddr, Duration)], now: Duration) {
        for (rule, learned) in self.allow.iter().zip(&mut self.learned) {
            let Destination::Name(known) = &rule.to else { continue };
            if !names(known, name) {
                continue;
            }
            learned.public |= addresses.iter().any(|(ip, _)| kind(*ip) == Kind::Public);
            for (ip, life) in addresses {
                let good = match kind(*ip) {
                    Kind::Public => true,
                    Kind::Private => !learned.public,
                    Kind::Local | Kind::Never => false,
                };
                if good {
                    learned.add(*ip, now + (*life).clamp(LEAST_LIFE, MOST_LIFE), now);
                }
            }
        }
    }
}

/// Whether a rule's network is all link-local: a wider one does not name what is in there.
fn is_local(network: IpAddr, prefix: u8) -> bool {
    let least = match network {
        IpAddr::V4(_) => 16,
        IpAddr::V6(ip) if ip.segments()[0] == 0xfd00 => 128,
        IpAddr::V6(_) => 10,
    };
    prefix >= least && kind(network) == Kind::Local
}

impl Learned {
    fn add(&mut self, ip: IpAddr, until: Duration, now: Duration) {
        if self.addresses.len() >= MOST_ADDRESSES && !self.addresses.contains_key(&ip) {
            self.addresses.retain(|_, until| *until > now);
            let oldest = self.addresses.iter().min_by_key(|(_, until)| **until).map(|(ip, _)| *ip);
            if let Some(oldest) = oldest.filter(|_| self.addresses.len() >= MOST_ADDRESSES) {
                self.addresses.remove(&oldest);
            }
        }
        let known = self.addresses.entry(ip).or_insert(until);
        *known = until.max(*known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(9);

    fn policy(rules: &[&str]) -> Policy {
        let allow = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Policy::new(&Config { allow, ..Config::default() })
    }

    fn may(policy: &Policy, ip: &str, port: u16) -> bool {
        policy.target(ip.parse().unwrap(), Some(port), NOW).is_some()
    }

    #[test]
    fn without_rules_only_the_public_and_the_private_are_reachable() {
        let policy = policy(&[]);
        for open in [
            "1.1.1.1",
            "192.168.1.1",
            "172.16.0.1",
            "10.0.3.1",
            "2606:4700::1111",
            "fd12::1",
            "64:ff9b::101:101",
        ] {
            assert!(may(&policy, open, 80), "{open}");
        }
        for closed in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "10.0.2.2",
            "10.0.2.77",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::1",
            "fd00:f0::2",
            "fd00:f0::77",
        ] {
            assert!(!may(&policy, closed, 80), "{closed}");
        }
    }

    #[test]
    fn the_gateway_is_the_hosts_loopback_only_when_told() {
        let config = Config { host_loopback: true, ..Config::default() };
        let policy = Policy::new(&config);
        let to = |ip: &str| policy.target(ip.parse().unwrap(), Some(1), NOW).map(|ip| ip.to_string());
        assert_eq!(to("10.0.2.2").as_deref(), Some("127.0.0.1"));
        assert_eq!(to("fd00:f0::2").as_deref(), Some("::1"));
        assert_eq!(to("127.0.0.1"), None);
        let closed = Policy::new(&Config { outbound: false, ..config });
        assert_eq!(closed.target("10.0.2.2".parse().unwrap(), Some(1), NOW), None);
    }

    #[test]
    fn with_rules_only_they_count() {
        let policy = policy(&["10.1.0.0/16", "1.1.1.1:443", "0.0.0.0/1:22"]);
        assert!(may(&policy, "10.1.2.3", 9) && may(&policy, "1.1.1.1", 443) && may(&policy, "9.9.9.9", 22));
        assert!(!may(&policy, "10.2.0.1", 9) && !may(&policy, "1.1.1.1", 80) && !may(&policy, "::1", 22));
        assert!(policy.target("10.1.2.3".parse().unwrap(), None, NOW).is_some());
        assert!(policy.target("1.1.1.1".parse().unwrap(), None, NOW).is_none());
    }

    #[test]
    fn link_local_has_to_be_named() {
        let wide = policy(&["0.0.0.0/0", "::/0", "fd00::/8"]);
        for ip in ["169.254.169.254", "fe80::1", "fd00:ec2::254", "127.0.0.1", "::1"] {
            assert!(!may(&wide, ip, 80), "{ip}");
        }
        assert!(may(&wide, "8.8.8.8", 80) && may(&wide, "fd77::1", 80));
        let literal = policy(&["169.254.169.254", "fe80::/64", "fd00:ec2::254", "127.0.0.0/8"]);
        for ip in ["169.254.169.254", "fe80::1", "fd00:ec2::254"] {
            assert!(may(&literal, ip, 80), "{ip}");
        }
        assert!(!may(&literal, "169.254.1.1", 80) && !may(&literal, "127.0.0.1", 80));
    }

    #[test]
    fn names_stand_for_what_the_resolver_says() {
        let mut policy = policy(&["example.org:443", "*.pages.dev", "10.5.0.0/16"]);
        let ip = |text: &str| (text.parse::<IpAddr>().unwrap(), Duration::from_secs(1));
        assert!(!may(&policy, "93.184.1.1", 443));
        policy.learn("Example.org.", &[ip("93.184.1.1")], NOW);
        policy.learn("other.org", &[ip("93.184.1.2")], NOW);
        policy.learn("a.pages.dev", &[ip("93.184.1.3")], NOW);
        policy.learn("pages.dev", &[ip("93.184.1.4")], NOW);
        assert!(may(&policy, "93.184.1.1", 443) && !may(&policy, "93.184.1.1", 80));
        assert!(!may(&policy, "93.184.1.2", 443) && may(&policy, "93.184.1.3", 1));
        assert!(!may(&policy, "93.184.1.4", 1));
        // The answer changes: rebinding.
        policy.learn("example.org", &[ip("192.168.0.1"), ip("169.254.169.254"), ip("10.5.0.1")], NOW);
        assert!(!may(&policy, "192.168.0.1", 443) && !may(&policy, "169.254.169.254", 443));
        assert!(may(&policy, "10.5.0.1", 443));
        let later = policy.target("93.184.1.1".parse().unwrap(), Some(443), NOW + LEAST_LIFE);
        assert_eq!(later, None);
    }

    #[test]
    fn a_name_that_has_always_been_private_is_reachable_and_memory_is_bounded() {
        let mut policy = policy(&["db.corp"]);
        policy.learn("db.corp", &[("10.7.7.7".parse().unwrap(), Duration::ZERO)], NOW);
        assert!(may(&policy, "10.7.7.7", 5432));
        for nth in 0..2000_u32 {
            let ip = Ipv4Addr::from(0x0b00_0000 + nth).into();
            policy.learn("db.corp", &[(ip, Duration::ZERO)], NOW + Duration::from_millis(nth.into()));
        }
        assert_eq!(policy.learned[0].addresses.len(), MOST_ADDRESSES);
    }
}
