//! What the gateway says by ICMP (RFC 792) and ICMPv6 (RFC 4443): answers to echo requests, and errors.

use crate::{
    link::Link,
    wire::{self, Header, ICMP, ICMPV6, Ip},
};
use std::{net::IpAddr, time::Duration};

/// Bytes of an ICMP header.
pub(crate) const HEADER: usize = 8;
/// Most bytes of an error (RFC 1812, section 4.3.2.3; RFC 4443, section 2.4).
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = 1280;

/// Errors that a packet may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// Its time to live ended here.
    TimeExceeded,
    /// No route leads there, or nobody answers.
    HostUnreachable,
    /// The host has no such port.
    PortUnreachable,
    /// A rule denies it.
    Prohibited,
}

impl Error {
    /// Type and code.
    fn code(self, v6: bool) -> [u8; 2] {
        match (self, v6) {
            (Error::TimeExceeded, false) => [11, 0],
            (Error::HostUnreachable, false) => [3, 1],
            (Error::PortUnreachable, false) => [3, 3],
            (Error::Prohibited, false) => [3, 13],
            (Error::TimeExceeded, true) => [3, 0],
            (Error::HostUnreachable, true) => [1, 3],
            (Error::PortUnreachable, true) => [1, 4],
            (Error::Prohibited, true) => [1, 1],
        }
    }
}

/// An echo request or reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo<'a> {
    pub(crate) ident: u16,
    /// The whole message, from its type on.
    pub(crate) message: &'a [u8],
}

impl<'a> Echo<'a> {
    /// An echo request of the guest's.
    pub(crate) fn parse(ip: &Ip<'a>) -> Option<Self> {
        let message = ip.payload();
        let request = if ip.source.is_ipv4() { 8 } else { 128 };
        let is_request = message.len() >= HEADER && message[..2] == [request, 0];
        is_request.then(|| Echo { ident: u16::from_be_bytes([message[4], message[5]]), message })
    }
}

/// Sends an echo reply with `ident` and the rest of `message`, from `source` to the guest.
pub(crate) fn reply(link: &mut Link, source: IpAddr, to: IpAddr, ident: u16, message: &[u8], now: Duration) {
    if message.len() < HEADER {
        return;
    }
    let mut reply = message.to_vec();
    reply[..4].copy_from_slice(&[if to.is_ipv4() { 0 } else { 129 }, 0, 0, 0]);
    reply[4..6].copy_from_slice(&ident.to_be_bytes());
    send(link, source, to, reply, now);
}

/// Completes an ICMP message and sends it.
fn send(link: &mut Link, source: IpAddr, destination: IpAddr, mut message: Vec<u8>, now: Duration) {
    let (protocol, pseudo) = match destination {
        IpAddr::V4(_) => (ICMP, 0),
        IpAddr::V6(_) => (ICMPV6, wire::pseudo_sum(source, destination, ICMPV6, message.len())),
    };
    let sum = wire::finish(pseudo + wire::sum(&message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    link.send(Header { source, destination, protocol, ttl: 64 }, &message, now);
}

/// Answers `packet`, a whole IP packet of the guest's, with an error from `source`. There is none about
/// errors (RFC 1122, section 3.2.2), nor to an address that is nobody's.
pub(crate) fn error(link: &mut Link, source: IpAddr, packet: &[u8], error: Error, now: Duration) {
    let Some(ip) = Ip::parse(packet) else { return };
    let v6 = ip.source.is_ipv6();
    let first = ip.payload().first().copied().unwrap_or_default();
    let about_error = match ip.protocol {
        ICMP => !matches!(first, 0 | 8 | 13 | 14),
        ICMPV6 => first < 128,
        _ => false,
    };
    let nobody = ip.source.is_unspecified() || ip.source.is_multicast() || ip.destination.is_multicast();
    let later = ip.fragment.is_some_and(|place| place.offset != 0);
    if about_error || nobody || later || source.is_ipv6() != v6 {
        return;
    }
    let most = if v6 { LONGEST_V6 - wire::IPV6 } else { LONGEST_V4 - wire::IPV4 } - HEADER;
    let mut message = Vec::with_capacity(HEADER + most);
    message.extend(error.code(v6));
    message.extend([0; 6]);
    message.extend_from_slice(&ip.bytes[..ip.bytes.len().min(most)]);
    send(link, source, ip.source, message, now);
}
