//! What a gateway is told: addresses of the link, names, rules and published ports.

use crate::{
    publish::{Publish, PublishError},
    rule::{Rule, same_name},
};
use forelift_abi::net::{Address, GUEST_MAC, Network};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The name under which a container knows its host, when `host_loopback` is set.
pub const HOST_NAME: &str = "host.forelift.internal";
/// docker's word for the host's address in `--add-host NAME:host-gateway`.
pub const HOST_GATEWAY: &str = "host-gateway";

/// The three addresses of one family on the guest's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses<A> {
    /// The guest's own.
    pub guest: A,
    /// Bits of the network's prefix.
    pub prefix: u8,
    /// The gateway's: next hop of the default route, and the host itself under `host_loopback`.
    pub gateway: A,
    /// Where the guest asks for names.
    pub dns: A,
}

/// Least MTU in bytes: that of IPv6 (RFC 8200, section 5).
pub(crate) const LEAST_MTU: u16 = 1280;

/// What a name of `--add-host` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// An address.
    Ip(IpAddr),
    /// The gateway's addresses: docker's `host-gateway`.
    Gateway,
}

/// Why an address of the guest's cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is the gateway's or the resolver's own.
    #[error("{0} is used by the gateway itself (host numbers 2 and 3 are): choose another address")]
    Taken(IpAddr),
    /// It is no address for a host.
    #[error("{0} is no address for a host: choose one as 10.0.2.15 or fd00:f0::15")]
    NotUnicast(IpAddr),
    /// The first byte has the multicast bit, or all are zero.
    #[error("{0} is no address for an interface: the first byte has to be even, as in 02:f0:00:00:00:0f")]
    Mac(Mac),
}

/// An Ethernet address, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Everything that a gateway is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The guest's Ethernet address.
    pub mac: [u8; 6],
    /// The guest's address is what its first frame comes from, whatever `mac` says.
    pub learn_mac: bool,
    /// The gateway's, and the resolver's.
    pub gateway_mac: [u8; 6],
    /// Longest IP packet on the link in bytes; at least 1280 are taken.
    pub mtu: u16,
    /// IPv4 on the link.
    pub ipv4: Option<Addresses<Ipv4Addr>>,
    /// IPv6 on the link.
    pub ipv6: Option<Addresses<Ipv6Addr>>,
    /// The guest's device takes frames whose checksum is missing (`VIRTIO_NET_F_GUEST_CSUM`).
    pub guest_csum: bool,
    /// The guest's device takes TCP frames longer than the MTU (`VIRTIO_NET_F_GUEST_TSO4` and `_TSO6`).
    /// Without `guest_csum` it says nothing.
    pub guest_tso: bool,
    /// Where questions for names go. Empty: the native gateway reads `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
    /// Words of the guest's `search` line.
    pub search: Vec<String>,
    /// Words of the guest's `options` line.
    pub options: Vec<String>,
    /// `--add-host`: names that the gateway answers for.
    pub add_hosts: Vec<(String, HostAddress)>,
    /// `--net-allow`: where the guest may go. Empty: everywhere but to what is never reachable. The resolver
    /// may be asked for any name.
    pub allow: Vec<Rule>,
    /// `--net-host-loopback`: the gateway's address is the host's 127.0.0.1 and ::1, whatever the rules say.
    pub host_loopback: bool,
    /// The guest may open connections. Off when only ports are published.
    pub outbound: bool,
    /// Ports of the host's that lead into the guest.
    pub published: Vec<Publish>,
    /// What the numbers of TCP's segments begin with; `None`: chance. For runs that shall be repeated.
    pub seed: Option<u64>,
}

impl Default for Config {
    /// 10.0.2.15/24 behind 10.0.2.2 and fd00:f0::15/64 behind fd00:f0::2, with everything allowed that may
    /// be allowed without being asked for.
    fn default() -> Self {
        Config {
            mac: GUEST_MAC,
            learn_mac: false,
            gateway_mac: [0x02, 0xf0, 0, 0, 0, 0x02],
            mtu: 1500,
            ipv4: Some(v4_around(Ipv4Addr::new(10, 0, 2, 15))),
            ipv6: Some(v6_around(Ipv6Addr::new(0xfd00, 0xf0, 0, 0, 0, 0, 0, 0x15))),
            guest_csum: true,
            guest_tso: true,
            resolvers: Vec::new(),
            search: Vec::new(),
            options: Vec::new(),
            add_hosts: Vec::new(),
            allow: Vec::new(),
            host_loopback: false,
            outbound: true,
            published: Vec::new(),
            seed: None,
        }
    }
}

/// A /24 with the gateway at 2 and the resolver at 3.
fn v4_around(guest: Ipv4Addr) -> Addresses<Ipv4Addr> {
    let [a, b, c, _] = guest.octets();
    Addresses { guest, prefix: 24, gateway: Ipv4Addr::new(a, b, c, 2), dns: Ipv4Addr::new(a, b, c, 3) }
}

/// A /64 with the gateway at 2 and the resolver at 3.
fn v6_around(guest: Ipv6Addr) -> Addresses<Ipv6Addr> {
    let [a, b, c, d, ..] = guest.segments();
    Addresses {
        guest,
        prefix: 64,
        gateway: Ipv6Addr::new(a, b, c, d, 0, 0, 0, 2),
        dns: Ipv6Addr::new(a, b, c, d, 0, 0, 0, 3),
    }
}

impl Config {
    /// `-P`: publishes what an image exposes. The error comes with the text that is no port.
    pub fn publish_exposed(&mut self, exposed: &[String]) -> Result<(), (String, PublishError)> {
        for text in exposed {
            self.published.extend(Publish::parse(text).map_err(|source| (text.clone(), source))?);
        }
        Ok(())
    }

    /// `--ip`: gives the guest this address, in a network of its own: a /24 or a /64 with the gateway at host
    /// number 2 and the resolver at 3.
    pub fn set_guest_ip(&mut self, ip: IpAddr) -> Result<(), AddressError> {
        match ip {
            IpAddr::V4(guest) => {
                let last = guest.octets()[3];
                let unusable = guest.is_unspecified() || guest.is_multicast() || guest.is_loopback();
                if unusable || guest.is_link_local() || last == 0 || last == 255 || guest.octets()[0] == 0 {
                    return Err(AddressError::NotUnicast(ip));
                }
                let addresses = v4_around(guest);
                if guest == addresses.gateway || guest == addresses.dns {
                    return Err(AddressError::Taken(ip));
                }
                self.ipv4 = Some(addresses);
            }
            IpAddr::V6(guest) => {
                let unusable = guest.is_unspecified() || guest.is_multicast() || guest.is_loopback();
                if unusable || guest.is_unicast_link_local() || guest.to_ipv4_mapped().is_some() {
                    return Err(AddressError::NotUnicast(ip));
                }
                let addresses = v6_around(guest);
                if guest == addresses.gateway || guest == addresses.dns {
                    return Err(AddressError::Taken(ip));
                }
                self.ipv6 = Some(addresses);
            }
        }
        Ok(())
    }

    /// `--mac`: gives the guest's interface this address.
    pub fn set_guest_mac(&mut self, mac: [u8; 6]) -> Result<(), AddressError> {
        if mac[0] & 1 == 1 || mac == [0; 6] {
            return Err(AddressError::Mac(Mac(mac)));
        }
        if mac == self.gateway_mac {
            self.gateway_mac[5] ^= 0x80;
        }
        self.mac = mac;
        Ok(())
    }

    /// The gateway's addresses on the link.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.ipv4.map(|link| IpAddr::V4(link.gateway));
        v4.into_iter().chain(self.ipv6.map(|link| IpAddr::V6(link.gateway)))
    }

    /// The resolver's addresses on the link.
    pub fn dns(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.ipv4.map(|link| IpAddr::V4(link.dns));
        v4.into_iter().chain(self.ipv6.map(|link| IpAddr::V6(link.dns)))
    }

    /// The addresses of a name that the gateway itself answers for.
    pub(crate) fn local_name(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut found = None;
        let added = self.add_hosts.iter().filter(|(known, _)| same_name(known, name));
        for (_, address) in added {
            let found = found.get_or_insert_with(Vec::new);
            match address {
                HostAddress::Ip(ip) => found.push(*ip),
                HostAddress::Gateway => found.extend(self.gateways()),
            }
        }
        if found.is_none() && same_name(HOST_NAME, name) {
            found = Some(self.gateways().collect());
        }
        found
    }

    /// What init is told of the interface. The resolver of IPv4 stands first, and is the only one: a second
    /// line would only be another way to the same place.
    pub fn network(&self) -> Network {
        let address = |ip: IpAddr, prefix| Address { ip, prefix };
        let v4 = self.ipv4.map(|link| address(link.guest.into(), link.prefix));
        let v6 = self.ipv6.map(|link| address(link.guest.into(), link.prefix));
        let mut hosts = Vec::new();
        for (name, to) in &self.add_hosts {
            match to {
                HostAddress::Ip(ip) => hosts.push((name.clone(), *ip)),
                HostAddress::Gateway => hosts.extend(self.gateways().map(|ip| (name.clone(), ip))),
            }
        }
        if self.host_loopback {
            hosts.extend(self.gateways().map(|ip| (HOST_NAME.to_owned(), ip)));
        }
        Network {
            mac: self.mac,
            mtu: self.mtu.max(LEAST_MTU),
            addresses: v4.into_iter().chain(v6).collect(),
            // Answers to the clients of a published port go to the gateway, which is on the link.
            gateways: if self.outbound { self.gateways().collect() } else { Vec::new() },
            dns: if self.outbound { self.dns().take(1).collect() } else { Vec::new() },
            search: self.search.clone(),
            options: self.options.clone(),
            hosts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_link_is_as_documented() {
        let network = Config::default().network();
        let text = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ");
        let own: Vec<_> = network.addresses.iter().map(|a| format!("{}/{}", a.ip, a.prefix)).collect();
        assert_eq!(own, ["10.0.2.15/24", "fd00:f0::15/64"]);
        assert_eq!(text(&network.gateways), "10.0.2.2 fd00:f0::2");
        assert_eq!(text(&network.dns), "10.0.2.3");
        assert!(network.hosts.is_empty());
    }

    #[test]
    fn the_default_link_is_what_the_guest_has_before_its_orders() {
        let network = Config::default().network();
        let dns = network.dns.clone();
        assert_eq!(network, Network { dns, ..Network::preset() });
    }

    #[test]
    fn the_guest_may_have_any_address_but_the_gateways() {
        let mut config = Config::default();
        config.set_guest_ip("192.168.7.9".parse().unwrap()).unwrap();
        config.set_guest_ip("2001:db8::1:5".parse().unwrap()).unwrap();
        let all: Vec<_> = config.gateways().chain(config.dns()).map(|ip| ip.to_string()).collect();
        assert_eq!(all, ["192.168.7.2", "2001:db8::2", "192.168.7.3", "2001:db8::3"]);
        for bad in
            ["10.0.2.2", "10.0.2.3", "0.0.0.0", "127.0.0.1", "224.0.0.1", "::1", "fe80::1", "10.0.2.255"]
        {
            let before = config.clone();
            let error = config.set_guest_ip(bad.parse().unwrap()).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
            assert_eq!((config.ipv4, config.ipv6), (before.ipv4, before.ipv6));
        }
        assert!(config.set_guest_mac([1, 2, 3, 4, 5, 6]).is_err());
        config.set_guest_mac(config.gateway_mac).unwrap();
        assert_ne!(config.mac, config.gateway_mac);
    }

    #[test]
    fn added_names_are_orders_and_answers() {
        let mut config = Config { host_loopback: true, ..Config::default() };
        config.add_hosts.push(("Db".into(), HostAddress::Ip("10.9.9.9".parse().unwrap())));
        config.add_hosts.push(("up".into(), HostAddress::Gateway));
        assert_eq!(config.local_name("db.").unwrap(), ["10.9.9.9".parse::<IpAddr>().unwrap()]);
        assert_eq!(config.local_name("UP").unwrap().len(), 2);
        assert_eq!(config.local_name(HOST_NAME).unwrap().len(), 2);
        assert_eq!(config.local_name("other"), None);
        assert_eq!(config.network().hosts.len(), 5);
    }
}
