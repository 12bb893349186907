//! Who has an address of the gateway's: ARP (RFC 826) and neighbour discovery (RFC 4861).

use crate::{
    link::Link,
    wire::{self, Header, ICMPV6, Ip, TYPE_ARP, TYPE_IPV4},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

const ARP: usize = 28;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const ROUTER_SOLICITATION: u8 = 133;
/// Of an advertisement: solicited, and to override what is known; the gateway is a router, too.
const FLAGS: u32 = 0xe000_0000;

/// Answers an ARP request for one of `own`.
pub(crate) fn arp(link: &mut Link, mac: [u8; 6], own: &[IpAddr], payload: &[u8], now: Duration) {
    let Some(request) = payload.first_chunk::<ARP>() else { return };
    let head = [0, 1, (TYPE_IPV4 >> 8) as u8, TYPE_IPV4 as u8, 6, 4, 0, 1];
    let Some(target) = wire::long(request, 24).map(Ipv4Addr::from) else { return };
    if request[..8] != head || !own.contains(&target.into()) {
        return;
    }
    let mut reply = *request;
    reply[7] = 2;
    reply[8..14].copy_from_slice(&mac);
    reply[14..18].copy_from_slice(&target.octets());
    reply[18..28].copy_from_slice(&request[8..18]);
    link.push_frame(TYPE_ARP, &reply, now);
}

/// Answers a neighbour solicitation for one of `own`. Whether the packet was about neighbours at all.
pub(crate) fn ndp(link: &mut Link, mac: [u8; 6], own: &[IpAddr], ip: &Ip<'_>, now: Duration) -> bool {
    let payload = ip.payload();
    let kind = payload.first().copied().unwrap_or_default();
    if kind != SOLICITATION {
        return (ROUTER_SOLICITATION..=137).contains(&kind);
    }
    let target = payload.get(8..24).and_then(|bytes| bytes.first_chunk::<16>());
    let Some(target) = target.map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes))) else { return true };
    // From elsewhere than the link it would have a smaller hop limit (RFC 4861, section 7.1.1).
    if ip.ttl != 255 || !own.contains(&target) {
        return true;
    }
    let (all_nodes, solicited) = (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), ip.source);
    let probe = solicited.is_unspecified();
    let destination = if probe { all_nodes.into() } else { solicited };
    let flags = if probe { FLAGS & !0x4000_0000 } else { FLAGS };
    let mut reply = vec![ADVERTISEMENT, 0, 0, 0];
    reply.extend(flags.to_be_bytes());
    reply.extend_from_slice(&payload[8..24]);
    reply.extend([2, 1]);
    reply.extend(mac);
    let sum = wire::pseudo_sum(target, destination, ICMPV6, reply.len()) + wire::sum(&reply);
    reply[2..4].copy_from_slice(&wire::finish(sum).to_be_bytes());
    link.send(Header { source: target, destination, protocol: ICMPV6, ttl: 255 }, &reply, now);
    true
}
