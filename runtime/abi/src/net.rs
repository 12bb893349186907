//! The container's network: what init is told of its interface, and the packets that a gateway and the
//! network device exchange.
//!
//! A packet is a [`HEADER`] and an Ethernet frame. The header is `struct virtio_net_hdr_v1` (virtio 1.2,
//! section 5.1.6) with `num_buffers` 1: it says which checksum has yet to be calculated, and into how large
//! segments a frame has to be cut that is longer than the link's MTU. Between programs a packet is preceded
//! by its length, [`LENGTH`] bytes, big-endian, as on QEMU's stream back end.

use alloc::{string::String, vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use serde::{Deserialize, Serialize};

extern crate alloc;

/// The interface's Ethernet address, unless a run has another: locally administered.
pub const GUEST_MAC: [u8; 6] = [0x02, 0xf0, 0, 0, 0, 0x0f];
/// Bytes of the header before each frame.
pub const HEADER: usize = 12;
/// Bytes of the word with the length of header and frame.
pub const LENGTH: usize = 4;
/// Longest frame in bytes: 64 KiB of IP in an Ethernet frame with a VLAN tag.
pub const MAX_FRAME: usize = 65535 + 18;
/// Longest packet in bytes, without its length.
pub const MAX_PACKET: usize = HEADER + MAX_FRAME;

/// In `flags`: the checksum from `csum_start` on has to be put `csum_offset` bytes behind that.
pub const F_NEEDS_CSUM: u8 = 1;
/// In `flags`: the checksums are right.
pub const F_DATA_VALID: u8 = 2;
/// `gso_type`: the frame is not to be cut.
pub const GSO_NONE: u8 = 0;
/// `gso_type`: TCP over IPv4.
pub const GSO_TCPV4: u8 = 1;
/// `gso_type`: TCP over IPv6.
pub const GSO_TCPV6: u8 = 4;
/// In `gso_type`: TCP with ECN.
pub const GSO_ECN: u8 = 0x80;

/// `struct virtio_net_hdr_v1` without `num_buffers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// [`F_NEEDS_CSUM`], [`F_DATA_VALID`].
    pub flags: u8,
    /// [`GSO_NONE`], [`GSO_TCPV4`], [`GSO_TCPV6`], [`GSO_ECN`].
    pub gso_type: u8,
    /// Bytes of the headers that each segment gets: a hint.
    pub hdr_len: u16,
    /// Most bytes of payload in a segment.
    pub gso_size: u16,
    /// Where the checksum starts in the frame.
    pub csum_start: u16,
    /// Where it is put, from `csum_start`.
    pub csum_offset: u16,
}

impl Header {
    /// The bytes before a frame.
    pub fn encode(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        (out[0], out[1]) = (self.flags, self.gso_type);
        let words = [self.hdr_len, self.gso_size, self.csum_start, self.csum_offset, 1];
        for (to, word) in out[2..].chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Reads the bytes before a frame.
    pub fn decode(bytes: &[u8; HEADER]) -> Self {
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Header {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        }
    }
}

/// The first of the packets in `bytes`, each behind its length, and what follows it; `None` when there is no
/// whole one.
pub fn first_packet(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

/// Puts a packet behind its length into `buffer`, from `at` on. Where it ends; `None` when there is no room.
pub fn put_packet(buffer: &mut [u8], at: usize, packet: &[u8]) -> Option<usize> {
    let end = at + LENGTH + packet.len();
    let (length, body) = buffer.get_mut(at..end)?.split_at_mut(LENGTH);
    length.copy_from_slice(&(packet.len() as u32).to_be_bytes());
    body.copy_from_slice(packet);
    Some(end)
}

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the network's prefix.
    pub prefix: u8,
}

/// The container's interface `eth0`, and its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The interface's own address on the link.
    pub mac: [u8; 6],
    /// Longest IP packet in bytes.
    pub mtu: u16,
    /// Addresses of the interface.
    pub addresses: Vec<Address>,
    /// Next hops of the default routes, at most one of each family; none for a link without a way out.
    pub gateways: Vec<IpAddr>,
    /// `nameserver` lines of `/etc/resolv.conf`.
    pub dns: Vec<IpAddr>,
    /// Words of its `search` line.
    pub search: Vec<String>,
    /// Words of its `options` line.
    pub options: Vec<String>,
    /// Lines of `/etc/hosts`, besides the container's own.
    pub hosts: Vec<(String, IpAddr)>,
}

/// Whom the exercise speaks to through the network device, when there is a network: a peer behind the gateway
/// of [`Network::preset`] with the services [`ECHO`], [`DISCARD`] and [`CHARGEN`].
pub const EXERCISE_PEERS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
/// Port of the echo service (RFC 862), by TCP and UDP.
pub const ECHO: u16 = 7;
/// Port of the discard service (RFC 863), by TCP.
pub const DISCARD: u16 = 9;
/// Port of the character generator (RFC 864), by TCP: any bytes, until the guest closes.
pub const CHARGEN: u16 = 19;

impl Network {
    /// What the interface is before the orders come, during the exercise, and in a run that wants nothing
    /// else: so that nothing is left to do at its start.
    pub fn preset() -> Self {
        let address = |ip, prefix| Address { ip, prefix };
        let v6 = |last| IpAddr::V6(Ipv6Addr::new(0xfd00, 0xf0, 0, 0, 0, 0, 0, last));
        Network {
            mac: GUEST_MAC,
            mtu: 1500,
            addresses: vec![address(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 15)), 24), address(v6(0x15), 64)],
            gateways: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2)), v6(2)],
            dns: Vec::new(),
            search: Vec::new(),
            options: Vec::new(),
            hosts: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back_whole_or_not_at_all() {
        let mut buffer = [0; 12];
        let end = put_packet(&mut buffer, 0, b"abc").and_then(|end| put_packet(&mut buffer, end, b"d"));
        assert_eq!(end, Some(12));
        assert_eq!(put_packet(&mut buffer, 9, b""), None);
        let (first, rest) = first_packet(&buffer).unwrap();
        assert_eq!((first, first_packet(rest)), (&b"abc"[..], Some((&b"d"[..], &[][..]))));
        for end in 0..7 {
            assert_eq!(first_packet(&buffer[..end]), None);
        }
        assert_eq!(first_packet(&[0xff; 12]), None);
    }

    #[test]
    fn headers_round_trip() {
        let header = Header {
            flags: F_NEEDS_CSUM,
            gso_type: GSO_TCPV6 | GSO_ECN,
            hdr_len: 74,
            gso_size: 1440,
            csum_start: 54,
            csum_offset: 16,
        };
        assert_eq!(Header::decode(&header.encode()), header);
        assert_eq!(header.encode()[10..], [1, 0]);
    }
}
