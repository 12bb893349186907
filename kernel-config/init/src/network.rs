//! The container's network: the loopback and, when the orders have one, the interface `eth0`.
//!
//! There are two network namespaces. The outer one, the supervisor's, has the network device: before the
//! snapshot it becomes what most runs want of it ([`prepare`], [`Network::preset`]), so that at a start
//! there is nothing left to do; what else the orders say, [`configure`] says to the kernel in one write of
//! rtnetlink messages. The inner one, the container's, has the loopback alone ([`prepare_inner`]). A
//! container with a network is moved to the outer one at its start ([`crate::container::Outer`]).

use crate::{
    failure::*,
    log,
    netlink::{self, Message, Request, Socket},
    sys,
};
use forelift_abi::net::{Address, Network};
use std::{fmt, fs, net::IpAddr};

/// What the container's interface is called.
const NAME: &str = "eth0";
/// The shortest MTU that IPv6 works with (RFC 8200, section 5).
const IPV6_MTU: u16 = 1280;

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/if_arp.h, linux/if.h.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_F_NODAD: u8 = 2;
const IFA_F_PERMANENT: u8 = 0x80;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const RTNH_F_ONLINK: u32 = 4;
const ARPHRD_ETHER: u16 = 1;
const IFF_UP: u32 = 1;
const AF_INET: u8 = libc::AF_INET as u8;
const AF_INET6: u8 = libc::AF_INET6 as u8;

/// Bytes of `struct ifinfomsg`.
const IFINFO: usize = 16;
/// The loopback's index in every network namespace.
const LOOPBACK: u32 = 1;

/// The network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    index: u32,
    /// What it is before the orders.
    is: Network,
}

/// Brings the loopback up, sets what docker sets in a container's network namespace, and makes the network
/// device ready, if there is one.
pub(crate) fn prepare() -> Option<Interface> {
    restrict_nothing();
    make_ready().unwrap_or_else(|failure| {
        log::warn(&failure.message);
        None
    })
}

/// The same in a namespace that is to have nothing but its loopback.
pub(crate) fn prepare_inner() -> Result<(), Failure> {
    restrict_nothing();
    loopback_up(&mut open()?)
}

/// Ports below 1024 and ping need no privilege.
fn restrict_nothing() {
    for (name, value) in [("ip_unprivileged_port_start", "0"), ("ping_group_range", "0 2147483647")] {
        set(&format!("ipv4/{name}"), value);
    }
}

fn open() -> Result<Socket, Failure> {
    Socket::open().context("cannot open a socket for the network's settings")
}

fn loopback_up(socket: &mut Socket) -> Result<(), Failure> {
    let up = socket.change(vec![link(LOOPBACK, IFF_UP)]);
    up.map_err(|(_, e)| e).context("cannot bring lo up")
}

fn set(setting: &str, value: &str) {
    if let Err(e) = fs::write(format!("/proc/sys/net/{setting}"), value) {
        log::warn(&format!("cannot set net/{setting} to {value}: {}", sys::describe(&e)));
    }
}

fn make_ready() -> Result<Option<Interface>, Failure> {
    let mut socket = open()?;
    loopback_up(&mut socket)?;
    let mut found = None;
    let all = Request::new(RTM_GETLINK, netlink::NLM_F_DUMP, &[0; IFINFO]);
    socket
        .dump(all, |message| {
            if found.is_none() {
                found = network_device(message);
            }
        })
        .context("cannot list the network's interfaces")?;
    let Some(mut interface) = found else { return Ok(None) };
    change(&mut socket, &interface, &[Change::Name])?;
    // The orders say it all: no router is asked, no address is doubted for a second, and none is made up for
    // an interface without IPv6 (programs would take it for one with: addr_gen_mode 1 is none).
    for (setting, value) in [("accept_ra", "0"), ("accept_dad", "0"), ("addr_gen_mode", "1")] {
        set(&format!("ipv6/conf/{NAME}/{setting}"), value);
    }
    let preset = Network::preset();
    let mut changes = vec![Change::Up];
    changes.extend(plan(&preset, &interface.is));
    change(&mut socket, &interface, &changes)?;
    interface.is = preset;
    Ok(Some(interface))
}

/// Sends changes to the kernel.
fn change(socket: &mut Socket, interface: &Interface, changes: &[Change]) -> Result<(), Failure> {
    let requests = changes.iter().map(|change| change.request(interface.index)).collect();
    socket.change(requests).map_err(|(index, e)| {
        let what = changes.get(index).map_or_else(|| "cannot set the network up".into(), Change::to_string);
        Failure::own(format!("{what}: {}", sys::describe(&e)))
    })
}

/// The interface that a message is about, if it is a virtio device's.
fn network_device(message: &Message<'_>) -> Option<Interface> {
    let kind = u16::from_ne_bytes([*message.body.get(2)?, *message.body.get(3)?]);
    if message.kind != RTM_NEWLINK || kind != ARPHRD_ETHER {
        return None;
    }
    let is = Network { addresses: Vec::new(), gateways: Vec::new(), ..Network::preset() };
    let mut interface = Interface { index: netlink::word(message.body, 4)?, is };
    let mut on_virtio = false;
    for (attribute, value) in netlink::attributes(message.body, IFINFO) {
        match attribute {
            IFLA_ADDRESS => interface.is.mac = *value.first_chunk()?,
            IFLA_MTU => interface.is.mtu = netlink::word(value, 0)?.try_into().ok()?,
            IFLA_PARENT_DEV_BUS_NAME => on_virtio = text(value) == "virtio",
            _ => {}
        }
    }
    on_virtio.then_some(interface)
}

/// A string of the kernel's, which ends in a zero.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned()
}

/// Makes `interface` what the orders ask for.
///
/// # Errors
/// 125 with the setting that the kernel refused, or when there is no device.
pub(crate) fn configure(network: &Network, interface: Option<&Interface>) -> Result<(), Failure> {
    let Some(interface) = interface else {
        return Err(Failure::own(
            "a network was asked for, and this machine has no network device: convert the image again with \
             this version of Forelift, or run it without a network",
        ));
    };
    if network.mtu < IPV6_MTU && network.addresses.iter().any(|address| address.ip.is_ipv6()) {
        return Err(Failure::own(format!(
            "an MTU of {} bytes is too small for {NAME}'s IPv6 address: it must be {IPV6_MTU} or more, or the \
             address has to go",
            network.mtu
        )));
    }
    let changes = plan(network, &interface.is);
    if changes.is_empty() {
        return Ok(());
    }
    change(&mut open()?, interface, &changes)
}

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Name,
    Mac([u8; 6]),
    Mtu(u16),
    /// Brought up, if it is not.
    Up,
    Address(Address),
    NoAddress(Address),
    Route {
        gateway: IpAddr,
        /// The gateway is on the link although no address says so.
        on_link: bool,
    },
    NoRoute {
        gateway: IpAddr,
        on_link: bool,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Name => write!(f, "cannot call the network device {NAME}"),
            Change::Mac([a, b, c, d, e, g]) => write!(
                f,
                "cannot give {NAME} the MAC address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"
            ),
            Change::Mtu(mtu) => write!(f, "cannot set {NAME}'s MTU to {mtu} bytes"),
            Change::Up => write!(f, "cannot bring {NAME} up"),
            Change::Address(Address { ip, prefix }) => {
                write!(f, "cannot give {NAME} the address {ip}/{prefix}")
            }
            Change::NoAddress(Address { ip, .. }) => write!(f, "cannot take the address {ip} from {NAME}"),
            Change::Route { gateway, .. } => write!(f, "cannot set the default route by {gateway}"),
            Change::NoRoute { gateway, .. } => write!(f, "cannot remove the default route by {gateway}"),
        }
    }
}

/// The settings in which `now` differs from the orders, in the kernel's order: routes and addresses go, the
/// link changes, addresses come, then the routes that need them. The kernel forgets routes with the addresses
/// that they need: a family whose addresses change gets all of its own anew.
fn plan(network: &Network, now: &Network) -> Vec<Change> {
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    for v6 in [false, true] {
        let (wanted, have) = (Family::of(network, v6), Family::of(now, v6));
        let addresses = wanted.addresses != have.addresses;
        if addresses || wanted.routes != have.routes {
            gone.extend(have.routes.iter().map(|&(gateway, on_link)| Change::NoRoute { gateway, on_link }));
            come.extend(wanted.routes.iter().map(|&(gateway, on_link)| Change::Route { gateway, on_link }));
        }
        if addresses {
            gone.extend(have.addresses.into_iter().map(Change::NoAddress));
            come.extend(wanted.addresses.into_iter().map(Change::Address));
        }
    }
    // Addresses first.
    come.sort_by_key(|change| matches!(change, Change::Route { .. }));
    if now.mac != network.mac {
        gone.push(Change::Mac(network.mac));
    }
    if now.mtu != network.mtu {
        gone.push(Change::Mtu(network.mtu));
    }
    gone.extend(come);
    gone
}

/// What one of the two families has.
#[derive(PartialEq, Eq)]
struct Family {
    addresses: Vec<Address>,
    /// The gateways, and whether each is on the link although no address says so.
    routes: Vec<(IpAddr, bool)>,
}

impl Family {
    fn of(network: &Network, v6: bool) -> Self {
        let own = |address: &&Address| address.ip.is_ipv6() == v6;
        let mut addresses: Vec<Address> = network.addresses.iter().filter(own).copied().collect();
        if addresses.iter().any(|address| v6 && !is_link_local(address.ip)) {
            addresses.insert(0, link_local(network.mac));
        }
        let on_link = |gateway| {
            !is_link_local(gateway) && !network.addresses.iter().any(|address| covers(address, gateway))
        };
        let gateways = network.gateways.iter().filter(|gateway| gateway.is_ipv6() == v6);
        Family { addresses, routes: gateways.map(|&gateway| (gateway, on_link(gateway))).collect() }
    }
}

/// Whether `ip` is in the address's network.
fn covers(address: &Address, ip: IpAddr) -> bool {
    let (bits, differ) = match (address.ip, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (32, u128::from(u32::from(a) ^ u32::from(b))),
        (IpAddr::V6(a), IpAddr::V6(b)) => (128, u128::from(a) ^ u128::from(b)),
        _ => return false,
    };
    let host_bits = bits - u32::from(address.prefix).min(bits);
    differ.checked_shr(host_bits).unwrap_or(0) == 0
}

/// Whether every IPv6 interface has a route to it.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// The link-local address that goes with a MAC address (RFC 4291, appendix A): the kernel would make the
/// same, but only in a change of the link that costs three times as much.
fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Address {
    let ip = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Address { ip: IpAddr::from(ip), prefix: 64 }
}

/// The broadcast address of an IPv4 network that has one.
fn broadcast(address: &Address) -> Option<IpAddr> {
    match address.ip {
        IpAddr::V4(ip) if address.prefix < 31 => {
            Some(IpAddr::from((u32::from(ip) | u32::MAX >> address.prefix).to_be_bytes()))
        }
        _ => None,
    }
}

/// `struct ifinfomsg` of an interface; `flags` are switched on.
fn info(index: u32, flags: u32) -> [u8; IFINFO] {
    let mut info = [0; IFINFO];
    info[4..8].copy_from_slice(&index.to_ne_bytes());
    info[8..12].copy_from_slice(&flags.to_ne_bytes());
    info[12..].copy_from_slice(&flags.to_ne_bytes());
    info
}

fn link(index: u32, flags: u32) -> Request {
    Request::new(RTM_NEWLINK, 0, &info(index, flags))
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { AF_INET } else { AF_INET6 }
}

impl Change {
    fn request(&self, index: u32) -> Request {
        match self {
            Change::Name => link(index, 0).with(IFLA_IFNAME, format!("{NAME}\0").as_bytes()),
            Change::Mac(mac) => link(index, 0).with(IFLA_ADDRESS, mac),
            Change::Mtu(mtu) => link(index, 0).with(IFLA_MTU, &u32::from(*mtu).to_ne_bytes()),
            Change::Up => link(index, IFF_UP),
            Change::Address(address) => self::address(RTM_NEWADDR, MAKE, index, address),
            Change::NoAddress(address) => self::address(RTM_DELADDR, 0, index, address),
            Change::Route { gateway, on_link } => {
                default_route(RTM_NEWROUTE, MAKE, index, *gateway, *on_link)
            }
            Change::NoRoute { gateway, on_link } => default_route(RTM_DELROUTE, 0, index, *gateway, *on_link),
        }
    }
}

/// Flags of a request for something that is not there yet.
const MAKE: u16 = netlink::NLM_F_CREATE | netlink::NLM_F_EXCL;

/// `RTM_NEWADDR` or `RTM_DELADDR` (`struct ifaddrmsg`).
fn address(kind: u16, flags: u16, index: u32, address: &Address) -> Request {
    let mut info = [family(address.ip), address.prefix, IFA_F_PERMANENT, 0, 0, 0, 0, 0];
    if address.ip.is_ipv6() {
        // Nobody else is on the link: the address is not tentative for a second.
        info[2] |= IFA_F_NODAD;
    }
    info[4..].copy_from_slice(&index.to_ne_bytes());
    let request =
        Request::new(kind, flags, &info).with_ip(IFA_LOCAL, address.ip).with_ip(IFA_ADDRESS, address.ip);
    match broadcast(address) {
        Some(all) => request.with_ip(IFA_BROADCAST, all),
        None => request,
    }
}

/// `RTM_NEWROUTE` or `RTM_DELROUTE` to everything (`struct rtmsg`).
fn default_route(kind: u16, make: u16, index: u32, gateway: IpAddr, on_link: bool) -> Request {
    let mut info = [family(gateway), 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    let flags = if on_link { RTNH_F_ONLINK } else { 0 };
    info[8..].copy_from_slice(&flags.to_ne_bytes());
    Request::new(kind, make, &info).with_ip(RTA_GATEWAY, gateway).with(RTA_OIF, &index.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str, prefix: u8) -> Address {
        Address { ip: ip.parse().unwrap(), prefix }
    }

    fn network() -> Network {
        Network {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            addresses: vec![address("10.0.2.15", 24), address("fd00::15", 64)],
            gateways: vec!["10.0.2.2".parse().unwrap(), "fe80::2".parse().unwrap()],
            dns: Vec::new(),
            search: Vec::new(),
            options: Vec::new(),
            hosts: Vec::new(),
        }
    }

    /// A device that is up and has nothing.
    fn bare() -> Network {
        Network { addresses: Vec::new(), gateways: Vec::new(), ..network() }
    }

    #[test]
    fn only_what_differs_is_changed() {
        let route = |gateway: &str, on_link| Change::Route { gateway: gateway.parse().unwrap(), on_link };
        let network = network();
        assert_eq!(plan(&network, &network), []);
        assert_eq!(plan(&Network::preset(), &Network::preset()), []);
        let all = [
            Change::Address(network.addresses[0]),
            Change::Address(address("fe80::ff:fe00:1", 64)),
            Change::Address(network.addresses[1]),
            route("10.0.2.2", false),
            route("fe80::2", false),
        ];
        assert_eq!(plan(&network, &bare()), all);
        let other = Network { mac: [2; 6], mtu: 9000, ..bare() };
        let first = [Change::Mac(network.mac), Change::Mtu(1500)];
        assert_eq!(plan(&network, &other), [&first[..], &all].concat());

        let apart = Network {
            addresses: vec![address("192.0.2.7", 32), address("2001:db8::7", 128)],
            gateways: vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            ..bare()
        };
        assert_eq!(plan(&apart, &bare())[3..], [route("10.0.0.1", true), route("2001:db8::1", true)]);
    }

    #[test]
    fn what_is_there_goes_first() {
        let preset = network();
        let no_route = |gateway: &str| Change::NoRoute { gateway: gateway.parse().unwrap(), on_link: false };
        // Published ports alone: no way out.
        let inbound = Network { gateways: Vec::new(), ..network() };
        assert_eq!(plan(&inbound, &preset), [no_route("10.0.2.2"), no_route("fe80::2")]);
        // Another address behind the same gateway: its route goes with the old one.
        let mut moved = network();
        moved.addresses[0] = address("10.0.2.77", 24);
        let expected = [
            no_route("10.0.2.2"),
            Change::NoAddress(preset.addresses[0]),
            Change::Address(moved.addresses[0]),
            Change::Route { gateway: preset.gateways[0], on_link: false },
        ];
        assert_eq!(plan(&moved, &preset), expected);
        // The address of the link follows the MAC address.
        let mac = Network { mac: [2, 0, 0, 0, 0, 2], ..network() };
        let changes = plan(&mac, &preset);
        assert_eq!(changes[1], Change::NoAddress(address("fe80::ff:fe00:1", 64)));
        assert!(changes.contains(&Change::Address(address("fe80::ff:fe00:2", 64))));
        assert_eq!(changes[3], Change::Mac(mac.mac));
    }

    #[test]
    fn networks_cover_their_addresses() {
        let cases = [
            ("10.0.2.15", 24, "10.0.2.255", true),
            ("10.0.2.15", 24, "10.0.3.2", false),
            ("10.0.2.15", 0, "192.0.2.1", true),
            ("10.0.2.15", 32, "10.0.2.15", true),
            ("10.0.2.15", 32, "10.0.2.14", false),
            ("10.0.2.15", 200, "10.0.2.14", false),
            ("10.0.2.15", 0, "::1", false),
            ("fd00::1", 64, "fd00::ffff:0:0:1", true),
            ("fd00::1", 64, "fd00:0:0:1::1", false),
            ("fd00::1", 0, "2001::1", true),
            ("fd00::1", 128, "fd00::2", false),
        ];
        for (own, prefix, other, expected) in cases {
            assert_eq!(
                covers(&address(own, prefix), other.parse().unwrap()),
                expected,
                "{own}/{prefix} {other}"
            );
        }
    }

    #[test]
    fn broadcast_addresses_are_ipv4s() {
        let of = |ip, prefix| broadcast(&address(ip, prefix)).map(|ip| ip.to_string());
        assert_eq!(of("10.0.2.15", 24).as_deref(), Some("10.0.2.255"));
        assert_eq!(of("172.17.0.2", 16).as_deref(), Some("172.17.255.255"));
        assert_eq!(of("10.0.0.1", 0).as_deref(), Some("255.255.255.255"));
        assert_eq!(of("10.0.0.1", 31), None);
        assert_eq!(of("fd00::1", 64), None);
    }

    #[test]
    fn settings_are_laid_out_as_the_kernel_reads_them() {
        let request = Change::Address(address("fd00::15", 64)).request(2);
        let expected = Request::new(RTM_NEWADDR, 0x600, &[10, 64, 0x82, 0, 2, 0, 0, 0]);
        let ip = "fd00::15".parse().unwrap();
        assert_eq!(request, expected.with_ip(IFA_LOCAL, ip).with_ip(IFA_ADDRESS, ip));

        let gateway = IpAddr::from([10, 0, 0, 1]);
        let request = Change::Route { gateway, on_link: true }.request(2);
        let expected = Request::new(RTM_NEWROUTE, 0x600, &[2, 0, 0, 0, 254, 3, 0, 1, 4, 0, 0, 0]);
        assert_eq!(request, expected.with(5, &[10, 0, 0, 1]).with(4, &[2, 0, 0, 0]));
        let expected = Request::new(RTM_DELADDR, 0, &[10, 64, 0x82, 0, 2, 0, 0, 0]);
        let request = Change::NoAddress(address("fd00::15", 64)).request(2);
        assert_eq!(request, expected.with_ip(IFA_LOCAL, ip).with_ip(IFA_ADDRESS, ip));

        let up = [0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(Change::Up.request(7), Request::new(RTM_NEWLINK, 0, &up));
    }

    #[test]
    fn the_device_is_found_by_its_bus() {
        let bytes = |kind: u8, bus: Option<&[u8]>| {
            let info = [0, 0, kind, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let link = Request::new(RTM_NEWLINK, 0, &info)
                .with(IFLA_IFNAME, b"eth0\0")
                .with(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1])
                .with(IFLA_MTU, &1500u32.to_ne_bytes());
            bus.into_iter().fold(link, |link, bus| link.with(IFLA_PARENT_DEV_BUS_NAME, bus)).finish(1, false)
        };
        let found = |bytes: &[u8]| netlink::messages(bytes).find_map(|message| network_device(&message));
        assert_eq!(found(&bytes(1, Some(b"virtio\0"))), Some(Interface { index: 2, is: bare() }));
        assert_eq!(found(&bytes(1, Some(b"pci\0"))), None);
        assert_eq!(found(&bytes(1, None)), None);
        assert_eq!(found(&bytes(4, Some(b"virtio\0"))), None);
        assert_eq!(network_device(&Message { kind: RTM_NEWLINK, number: 1, body: &[1, 2] }), None);
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_way_out() {
        let failure = configure(&network(), None).unwrap_err();
        assert!(failure.message.contains("no network device"), "{failure}");
        let small = Network { mtu: 1000, ..network() };
        let failure = configure(&small, Some(&Interface { index: 2, is: bare() })).unwrap_err();
        assert!(failure.message.contains("1280"), "{failure}");
        assert_eq!(
            Change::Mac([2, 0, 0, 0, 0, 0xfe]).to_string(),
            "cannot give eth0 the MAC address 02:00:00:00:00:fe"
        );
    }
}
