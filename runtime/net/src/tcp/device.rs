//! The link as a device of smoltcp's: one packet in, any number out.
//!
//! smoltcp is told that the link carries packets of 64 KiB. What it sends is cut by the guest's device
//! (`gso_size`), and what it says of its own segment size is put right on the way.

use crate::{
    link::{FRONT, Link},
    wire::{self, ETHERNET, IPV4, IPV6, SYN, TCP},
};
use forelift_abi::net::{self, F_NEEDS_CSUM, GSO_TCPV4, GSO_TCPV6};
use smoltcp::{
    phy::{self, Checksum, DeviceCapabilities, Medium},
    time::Instant,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// Bytes of TCP's header without options.
const HEADER: usize = 20;
/// Most bytes in a frame that is cut by the guest's device: with any headers it is below 64 KiB.
const LONGEST: usize = 65_400;
/// Least segment size (that of Linux).
const LEAST: u16 = 48;

/// A device for one connection.
pub(crate) struct Port<'a> {
    pub(crate) link: &'a mut Link,
    /// The packet that is to be received.
    pub(crate) received: Option<&'a [u8]>,
    /// Most bytes of data in a segment.
    pub(crate) segment: u16,
    /// Sends whatever room there is.
    pub(crate) urgent: bool,
    /// A segment without SYN was sent.
    pub(crate) sent: bool,
    pub(crate) now: Duration,
}

pub(crate) struct Received<'a>(&'a [u8]);

pub(crate) struct Transmit<'a> {
    link: &'a mut Link,
    segment: u16,
    sent: &'a mut bool,
    now: Duration,
}

impl phy::Device for Port<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Transmit<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Transmit<'_>)> {
        let packet = self.received.take()?;
        Some((Received(packet), self.token()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_>> {
        let may = self.urgent || self.link.has_room();
        may.then(|| self.token())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = if self.link.tso { 65_535 } else { self.link.mtu };
        capabilities.checksum.ipv4 = Checksum::Tx;
        // What the guest leaves out is not missed: the link is memory. What is sent is done below.
        capabilities.checksum.tcp = Checksum::None;
        capabilities
    }
}

impl Port<'_> {
    fn token(&mut self) -> Transmit<'_> {
        Transmit { link: self.link, segment: self.segment, sent: &mut self.sent, now: self.now }
    }
}

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl phy::TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut packet = self.link.blank(length);
        let result = f(&mut packet[FRONT..]);
        if let Some(flags) = complete(&mut packet, self.link, self.segment) {
            *self.sent |= flags & SYN == 0;
            self.link.push(packet, self.now);
        }
        result
    }
}

/// Completes a packet of smoltcp's: EtherType, segment size, checksum, and how it is to be cut. TCP's flags.
fn complete(packet: &mut [u8], link: &Link, segment: u16) -> Option<u8> {
    let (front, ip) = packet.split_at_mut(FRONT);
    let v6 = ip.first()? >> 4 == 6;
    let header = if v6 { IPV6 } else { IPV4 };
    if v6 {
        front[FRONT - 2..].copy_from_slice(&wire::TYPE_IPV6.to_be_bytes());
    }
    let address = |at: usize| -> Option<IpAddr> {
        let bytes = ip.get(at..)?;
        Some(if v6 {
            Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()
        } else {
            Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()
        })
    };
    let (source, destination) = if v6 { (address(8)?, address(24)?) } else { (address(12)?, address(16)?) };
    let tcp = ip.get_mut(header..)?;
    if tcp.get(13)? & SYN != 0 {
        let own = (link.mtu - header - HEADER) as u16;
        change_segment_size(tcp, |_| own);
    }
    let mut head = net::Header::default();
    let pseudo = wire::pseudo_sum(source, destination, TCP, tcp.len());
    tcp.get_mut(16..18)?.fill(0);
    if link.csum {
        head.flags = F_NEEDS_CSUM;
        (head.csum_start, head.csum_offset) = ((ETHERNET + header) as u16, 16);
        tcp[16..18].copy_from_slice(&wire::fold(pseudo).to_be_bytes());
    } else {
        let sum = wire::finish(pseudo + wire::sum(tcp));
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    }
    let options = usize::from(tcp[12] >> 4) * 4;
    if tcp.len() - options.min(tcp.len()) > usize::from(segment) {
        head.gso_type = if v6 { GSO_TCPV6 } else { GSO_TCPV4 };
        head.gso_size = segment;
        head.hdr_len = (ETHERNET + header + options) as u16;
    }
    front[..net::HEADER].copy_from_slice(&head.encode());
    Some(tcp[13])
}

/// Takes the segment size out of the guest's SYN, and puts in how long smoltcp's segments may be.
pub(crate) fn adopt_segment_size(packet: &mut [u8], header: usize, link: &Link) -> u16 {
    let base = if packet.first().is_some_and(|first| first >> 4 == 6) { IPV6 } else { IPV4 };
    let most = (link.mtu - base - HEADER) as u16;
    // What is taken for granted without the option (RFC 9293, section 3.7.1): smoltcp does for both families.
    let mut segment = 536;
    if let Some(tcp) = packet.get_mut(header..) {
        change_segment_size(tcp, |told| {
            segment = told.clamp(LEAST, most);
            if link.tso { segment * (LONGEST as u16 / segment).max(1) } else { segment }
        });
    }
    segment
}

/// Changes the option "maximum segment size" (RFC 9293, section 3.2) of a TCP header.
fn change_segment_size(tcp: &mut [u8], mut to: impl FnMut(u16) -> u16) {
    let end = tcp.get(12).map_or(0, |word| usize::from(word >> 4) * 4).min(tcp.len());
    let mut at = HEADER;
    while at < end {
        match tcp[at] {
            0 => return,
            1 => at += 1,
            kind => {
                let length = tcp.get(at + 1).map_or(0, |length| usize::from(*length));
                if length < 2 || at + length > end {
                    return;
                }
                if kind == 2 && length == 4 {
                    let told = u16::from_be_bytes([tcp[at + 2], tcp[at + 3]]);
                    tcp[at + 2..at + 4].copy_from_slice(&to(told).to_be_bytes());
                    return;
                }
                at += length;
            }
        }
    }
}
