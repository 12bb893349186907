//! The scenarios of the network: what the orders say of `eth0`, and what the container then sees.

use super::{scenarios::with, *};
use forelift_abi::net::{Address, Network};
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    match text.parse() {
        Ok(ip) => ip,
        Err(_) => panic!("{text} is no address"),
    }
}

fn address(text: &str, prefix: u8) -> Address {
    Address { ip: ip(text), prefix }
}

/// What fits QEMU's gateway.
fn fitting() -> Network {
    Network {
        mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
        mtu: 1500,
        addresses: vec![address("10.0.2.15", 24), address("fec0::15", 64)],
        gateways: vec![ip("10.0.2.2"), ip("fec0::2")],
        dns: vec![ip("10.0.2.3"), ip("fec0::3")],
        search: vec!["example.com".into(), "example.org".into()],
        options: vec!["ndots:0".into()],
        hosts: vec![("db".into(), ip("192.0.2.1"))],
    }
}

fn on(network: Network, start: Start) -> Start {
    with(start, |start| start.network = Some(network))
}

/// All of them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut all = settings();
    all.extend(traffic());
    all.extend(vec![
        failing(
            "network without a device",
            on(fitting(), start(&["true"])),
            125,
            "a network was asked for, and this machine has no network device: convert the image again with \
             this version of Forelift, or run it without a network",
        ),
        failing(
            "network with a bad address",
            on(Network { addresses: vec![address("10.0.2.15", 33)], ..fitting() }, start(&["true"])),
            125,
            "cannot give eth0 the address 10.0.2.15/33: invalid argument",
        )
        .nic(),
        failing(
            "network with a tiny MTU",
            on(
                Network { mtu: 60, addresses: Vec::new(), gateways: Vec::new(), ..fitting() },
                start(&["true"]),
            ),
            125,
            "cannot set eth0's MTU to 60 bytes: invalid argument",
        )
        .nic(),
    ]);
    all
}

fn settings() -> Vec<Scenario> {
    let show = "ip -4 addr show eth0 | grep -o 'inet .*'; ip -6 addr show eth0 | grep -o 'inet6 .*' | sort; \
        ip route; ip -6 route | grep default";
    vec![
        scenario("no network", sh("ip -o link | cut -d: -f2; ip addr | grep -c 'inet '; ip route | wc -l"), 0, " lo\n1\n0\n"),
        scenario(
            "a device without orders",
            sh("ip addr | grep inet | cut -d/ -f1; ip route | wc -l; \
                cat /etc/resolv.conf"),
            0,
            "    inet 127.0.0.1\n    inet6 ::1\n0\n# There is no network: no name server.\n",
        )
        .nic(),
        scenario("network addresses", on(fitting(), sh(show)), 0, "")
            .has(&[
                "inet 10.0.2.15/24 brd 10.0.2.255 scope global eth0\n",
                "inet6 fe80::5054:ff:fe12:3456/64 scope link flags 02 \n",
                "inet6 fec0::15/64 scope site flags 02 \n",
                "default via 10.0.2.2 dev eth0 \n10.0.2.0/24 dev eth0 scope link  src 10.0.2.15 \n",
                "default via fec0::2 dev eth0 ",
            ])
            .nic(),
        scenario(
            "network link",
            on(
                Network { mac: [2, 0, 0, 0, 0, 7], mtu: 1400, ..fitting() },
                sh("cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu /sys/class/net/eth0/carrier \
                    /sys/class/net/eth0/operstate; ls /sys/class/net | tr '\\n' ' '"),
            ),
            0,
            "02:00:00:00:00:07\n1400\n1\nup\neth0 lo ",
        )
        .nic(),
        scenario(
            "network without IPv6",
            on(
                Network { addresses: vec![address("10.0.2.15", 24)], gateways: vec![ip("10.0.2.2")], ..fitting() },
                sh("ip -6 addr show eth0 | wc -l; ip -6 addr show lo | grep -c ::1; ip -6 route | grep -c default"),
            ),
            1,
            "0\n1\n0\n",
        )
        .nic(),
        scenario(
            "network behind a gateway elsewhere",
            on(
                Network {
                    addresses: vec![address("192.0.2.7", 32), address("2001:db8::7", 128)],
                    gateways: vec![ip("10.0.2.2"), ip("fe80::2")],
                    ..fitting()
                },
                sh("ip route; ip -6 route | grep default"),
            ),
            0,
            "",
        )
        .has(&["default via 10.0.2.2 dev eth0 ", "default via fe80::2 dev eth0 "])
        .nic(),
        scenario(
            "network files",
            on(fitting(), with(sh("tail -n +2 /etc/hosts | grep -v ip6-; cat /etc/resolv.conf"), |s| s.hostname = "box.example.com".into())),
            0,
            "10.0.2.15\tbox.example.com box\nfec0::15\tbox.example.com box\n192.0.2.1\tdb\n\
             nameserver 10.0.2.3\nnameserver fec0::3\nsearch example.com example.org\noptions ndots:0\n",
        )
        .nic(),
        scenario(
            "network defaults",
            on(
                fitting(),
                with(
                    sh("cd /proc/sys/net; \
                        cat ipv4/ip_unprivileged_port_start ipv4/ping_group_range ipv6/conf/eth0/accept_ra; \
                        nc -l -p 80 -e echo served & \
                        until nc 127.0.0.1 80 </dev/null 2>/dev/null; do sleep 0.1; done"),
                    |s| s.user = "web".into(),
                ),
            ),
            0,
            "0\n0\t2147483647\n0\nserved\n",
        )
        .nic(),
    ]
}

fn traffic() -> Vec<Scenario> {
    vec![
        // The first packet must not be lost: it would be sent again after a second.
        scenario("network at once", on(fitting(), start(&["ping", "-c", "1", "-W", "1", "10.0.2.2"])), 0, "")
            .has(&["1 packets transmitted, 1 packets received, 0% packet loss"])
            .nic(),
        scenario(
            "network at once by IPv6",
            on(fitting(), start(&["ping", "-c", "1", "-W", "1", "fec0::2"])),
            0,
            "",
        )
        .has(&["1 packets transmitted, 1 packets received, 0% packet loss"])
        .nic(),
    ]
}
