//! The shapes of what is on the link: IP packets taken apart, and headers written. Everything read here was
//! written by the guest: a packet that is not well formed is `None`, never a panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;
/// EtherTypes (RFC 7042, appendix B.1).
pub(crate) const TYPE_IPV4: u16 = 0x0800;
pub(crate) const TYPE_ARP: u16 = 0x0806;
pub(crate) const TYPE_IPV6: u16 = 0x86dd;
/// Bytes of an IP header without options.
pub(crate) const IPV4: usize = 20;
pub(crate) const IPV6: usize = 40;
/// Protocol numbers (RFC 5237's registry).
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;
/// Bytes of UDP's header.
pub(crate) const UDP_HEADER: usize = 8;
/// Flags of TCP (RFC 9293, section 3.1).
pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;
/// Most extension headers that are looked through (RFC 8200, section 4).
const EXTENSIONS: usize = 8;

/// The big-endian word at `at`.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The big-endian long word at `at`.
pub(crate) fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// What the fragments of a packet have in common, besides addresses and protocol.
    pub(crate) id: u32,
    /// Bytes before it.
    pub(crate) offset: usize,
    /// It is not the last.
    pub(crate) more: bool,
}

/// An IP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ip<'a> {
    /// All of it, without what Ethernet may have put behind it.
    pub(crate) bytes: &'a [u8],
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Of the payload.
    pub(crate) protocol: u8,
    /// Time to live, or hop limit.
    pub(crate) ttl: u8,
    /// Where the payload begins.
    pub(crate) header: usize,
    pub(crate) fragment: Option<Fragment>,
}

impl<'a> Ip<'a> {
    /// Takes a packet apart.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::parse_v4(bytes),
            6 => Self::parse_v6(bytes),
            _ => None,
        }
    }

    /// RFC 791, section 3.1.
    fn parse_v4(bytes: &'a [u8]) -> Option<Self> {
        let header = usize::from(bytes[0] & 15) * 4;
        let total = usize::from(word(bytes, 2)?);
        if header < IPV4 || total < header || bytes.len() < total {
            return None;
        }
        let fragment = word(bytes, 6)?;
        let (offset, more) = (usize::from(fragment & 0x1fff) * 8, fragment & 0x2000 != 0);
        let fragment = Fragment { id: u32::from(word(bytes, 4)?), offset, more };
        Some(Ip {
            bytes: &bytes[..total],
            source: Ipv4Addr::from(long(bytes, 12)?).into(),
            destination: Ipv4Addr::from(long(bytes, 16)?).into(),
            protocol: bytes[9],
            ttl: bytes[8],
            header,
            fragment: (offset != 0 || more).then_some(fragment),
        })
    }

    /// RFC 8200, sections 3 and 4.
    fn parse_v6(bytes: &'a [u8]) -> Option<Self> {
        let total = IPV6 + usize::from(word(bytes, 4)?);
        let bytes = bytes.get(..total)?;
        let address = |at: usize| Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?));
        let (mut next, mut header, mut fragment) = (bytes[6], IPV6, None);
        for _ in 0..EXTENSIONS {
            match next {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                    next = *bytes.get(header)?;
                    header += (usize::from(*bytes.get(header + 1)?) + 1) * 8;
                }
                FRAGMENT if fragment.is_none() => {
                    let place = word(bytes, header + 2)?;
                    let (offset, more) = (usize::from(place & 0xfff8), place & 1 != 0);
                    next = *bytes.get(header)?;
                    let id = long(bytes, header + 4)?;
                    header += 8;
                    // An "atomic" fragment is a whole packet (RFC 6946).
                    if offset != 0 || more {
                        fragment = Some(Fragment { id, offset, more });
                        break;
                    }
                }
                _ => break,
            }
        }
        if header > bytes.len() {
            return None;
        }
        let (source, destination) = (address(8)?.into(), address(24)?.into());
        Some(Ip { bytes, source, destination, protocol: next, ttl: bytes[7], header, fragment })
    }

    /// What the packet carries.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.header..).unwrap_or_default()
    }
}

/// Writes the header of a packet with `payload` bytes. The fragment's offset is in bytes, a multiple of 8;
/// the identification is IPv4's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    pub(crate) ttl: u8,
}

impl Header {
    /// Bytes of it.
    pub(crate) fn len(&self) -> usize {
        if self.destination.is_ipv4() { IPV4 } else { IPV6 }
    }

    /// Appends it. `None`: the two addresses are not of one family, or the packet is too long.
    pub(crate) fn write(&self, to: &mut Vec<u8>, payload: usize, place: Option<Fragment>) -> Option<()> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let place = place.unwrap_or(Fragment { id: 0, offset: 0, more: false });
                let bits = (place.offset / 8) as u16 | if place.more { 0x2000 } else { 0 };
                let start = to.len();
                to.extend([0x45, 0]);
                to.extend(u16::try_from(IPV4 + payload).ok()?.to_be_bytes());
                to.extend((place.id as u16).to_be_bytes());
                to.extend(bits.to_be_bytes());
                to.extend([self.ttl, self.protocol, 0, 0]);
                to.extend(source.octets());
                to.extend(destination.octets());
                let sum = finish(sum(&to[start..]));
                to[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let extra = if place.is_some() { 8 } else { 0 };
                to.extend([0x60, 0, 0, 0]);
                to.extend(u16::try_from(payload + extra).ok()?.to_be_bytes());
                to.extend([if place.is_some() { FRAGMENT } else { self.protocol }, self.ttl]);
                to.extend(source.octets());
                to.extend(destination.octets());
                if let Some(place) = place {
                    to.extend([self.protocol, 0]);
                    to.extend((place.offset as u16 | u16::from(place.more)).to_be_bytes());
                    to.extend(place.id.to_be_bytes());
                }
            }
            _ => return None,
        }
        Some(())
    }
}

/// The sum of the words of `bytes` for a checksum of the Internet's (RFC 1071), not yet folded.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<4>();
    // Words of 32 bits may be added as well as those of 16 (RFC 1071, section 2, part B). 16,384 of them
    // leave half of the sum's bits unused.
    let whole: u64 = chunks.iter().map(|chunk| u64::from(u32::from_be_bytes(*chunk))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    whole + u64::from(u32::from_be_bytes(last))
}

/// The sum of the header that a checksum includes besides the payload (RFC 9293, section 3.1; RFC 8200,
/// section 8.1).
pub(crate) fn pseudo_sum(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> u64 {
    let of = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => sum(&ip.octets()),
        IpAddr::V6(ip) => sum(&ip.octets()),
    };
    of(source) + of(destination) + u64::from(protocol) + length as u64
}

/// Folds a sum into 16 bits.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of a sum.
pub(crate) fn finish(sum: u64) -> u16 {
    !fold(sum)
}

/// A UDP datagram with its checksum: 0 is written as 65535 (RFC 768).
pub(crate) fn udp(source: SocketAddr, destination: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
    let length = UDP_HEADER + data.len();
    let mut out = Vec::with_capacity(length);
    out.extend(source.port().to_be_bytes());
    out.extend(destination.port().to_be_bytes());
    out.extend(u16::try_from(length).ok()?.to_be_bytes());
    out.extend([0, 0]);
    out.extend_from_slice(data);
    let sum = match finish(pseudo_sum(source.ip(), destination.ip(), UDP, length) + sum(&out)) {
        0 => 0xffff,
        sum => sum,
    };
    out[6..8].copy_from_slice(&sum.to_be_bytes());
    Some(out)
}

/// A parsed UDP header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Udp<'a> {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) data: &'a [u8],
}

impl<'a> Udp<'a> {
    /// Takes a datagram apart. Its checksum is not looked at: the link is memory.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(word(bytes, 4)?);
        let data = bytes.get(UDP_HEADER..length)?;
        Some(Udp { source: word(bytes, 0)?, destination: word(bytes, 2)?, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
        assert_eq!(fold(sum(&[0xff; 3])), fold(0xffff + 0xff00));
        // A header of RFC 791's form, with its known checksum.
        let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 192, 168, 0, 1, 192, 168, 0, 199];
        assert_eq!(finish(sum(&header)), 0xb861);
    }

    #[test]
    fn headers_are_read_as_they_are_written() {
        for (source, destination) in [("10.0.2.2", "10.0.2.15"), ("fd00::2", "fd00::15")] {
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            let header = Header { source, destination, protocol: UDP, ttl: 7 };
            for place in [None, Some(Fragment { id: 77, offset: 1480, more: true })] {
                let mut bytes = Vec::new();
                header.write(&mut bytes, 3, place).unwrap();
                bytes.extend([1, 2, 3, 0, 0]);
                let ip = Ip::parse(&bytes).unwrap();
                assert_eq!((ip.source, ip.destination, ip.protocol, ip.ttl), (source, destination, UDP, 7));
                assert_eq!((ip.payload(), ip.fragment), (&[1, 2, 3][..], place));
                if source.is_ipv4() {
                    assert_eq!(finish(sum(&bytes[..IPV4])), 0);
                }
            }
            assert!(header.write(&mut Vec::new(), 70_000, None).is_none());
        }
    }

    #[test]
    fn extension_headers_are_passed_over_and_never_run_out_of_the_packet() {
        let mut bytes = Vec::new();
        let ip: IpAddr = "fd00::15".parse().unwrap();
        Header { source: ip, destination: ip, protocol: 0, ttl: 1 }.write(&mut bytes, 26, None).unwrap();
        bytes.extend([DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0, UDP, 1]);
        bytes.extend([0; 14]);
        bytes.extend([9, 9]);
        let parsed = Ip::parse(&bytes).unwrap();
        assert_eq!((parsed.protocol, parsed.payload()), (UDP, &[9, 9][..]));
        bytes[49] = 200;
        assert!(Ip::parse(&bytes).is_none());
        for end in 0..bytes.len() {
            assert!(Ip::parse(&bytes[..end]).is_none());
        }
    }

    #[test]
    fn datagrams() {
        let (a, b) = ("10.0.2.2".parse().unwrap(), "10.0.2.15".parse().unwrap());
        let bytes = udp(SocketAddr::new(a, 53), SocketAddr::new(b, 4000), b"hello").unwrap();
        assert_eq!(fold(pseudo_sum(a, b, UDP, bytes.len()) + sum(&bytes)), 0xffff);
        let parsed = Udp::parse(&bytes).unwrap();
        assert_eq!((parsed.source, parsed.destination, parsed.data), (53, 4000, &b"hello"[..]));
        assert!(Udp::parse(&bytes[..12]).is_none());
        assert!(Udp::parse(&[0, 1, 0, 2, 0, 7, 0, 0]).is_none());
    }
}
