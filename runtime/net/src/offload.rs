//! What a network card does for its driver, in software, for back ends that cannot: a checksum is completed,
//! and a TCP frame is cut into segments (virtio 1.2, section 5.1.6.2).

use crate::wire::{self, ETHERNET, FIN, IPV6, Ip, PSH, TCP, TYPE_IPV4, TYPE_IPV6};
use forelift_abi::net::{self, F_NEEDS_CSUM, GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6};

/// Congestion window reduced (RFC 3168): of the first segment only.
const CWR: u8 = 0x80;

/// Puts the checksum in that `header` says is missing. Whether the header fits to the frame.
pub fn complete_checksum(header: net::Header, frame: &mut [u8]) -> bool {
    if header.flags & F_NEEDS_CSUM == 0 {
        return true;
    }
    let (start, offset) = (usize::from(header.csum_start), usize::from(header.csum_offset));
    let Some(part) = frame.get_mut(start..) else { return false };
    if part.len() < offset + 2 {
        return false;
    }
    // The field holds the sum of the pseudo-header: what is there counts.
    let sum = match wire::finish(wire::sum(part)) {
        // UDP's "no checksum" is never meant (RFC 768); for TCP the two are one value.
        0 => 0xffff,
        sum => sum,
    };
    part[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
    true
}

/// Gives `emit` the frames, without headers, that a packet stands for: itself with its checksum, or its
/// segments. A packet whose header does not fit to it gives none, and `false`.
pub fn segment(packet: &[u8], emit: &mut dyn FnMut(&[u8])) -> bool {
    let Some((header, frame)) = packet.split_first_chunk::<{ net::HEADER }>() else { return false };
    let header = net::Header::decode(header);
    match header.gso_type & !GSO_ECN {
        GSO_NONE if header.flags & F_NEEDS_CSUM == 0 => {
            emit(frame);
            true
        }
        GSO_NONE => {
            let mut frame = frame.to_vec();
            let fits = complete_checksum(header, &mut frame);
            if fits {
                emit(&frame);
            }
            fits
        }
        GSO_TCPV4 | GSO_TCPV6 => cut(usize::from(header.gso_size), frame, emit).is_some(),
        _ => false,
    }
}

/// Cuts a TCP frame into segments of `size` bytes.
fn cut(size: usize, frame: &[u8], emit: &mut dyn FnMut(&[u8])) -> Option<()> {
    let kind = wire::word(frame, 12)?;
    let ip = Ip::parse(frame.get(ETHERNET..)?)?;
    let v6 = ip.source.is_ipv6();
    let fits = kind == if v6 { TYPE_IPV6 } else { TYPE_IPV4 };
    if !fits || ip.protocol != TCP || ip.fragment.is_some() || size == 0 {
        return None;
    }
    let tcp = ip.payload();
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    let data = tcp.get(header..)?;
    if header < 20 {
        return None;
    }
    let (at, flags) = (ETHERNET + ip.header, tcp[13]);
    let first = wire::long(tcp, 4)?;
    let ident = wire::word(ip.bytes, 4)?;
    let last = data.len().div_ceil(size).saturating_sub(1);
    let mut out = Vec::with_capacity(at + header + size);
    for nth in 0..=last {
        let part = &data[nth * size..data.len().min((nth + 1) * size)];
        out.clear();
        out.extend_from_slice(&frame[..at + header]);
        out.extend_from_slice(part);
        let packet = &mut out[ETHERNET..];
        let length = packet.len();
        if v6 {
            packet[4..6].copy_from_slice(&u16::try_from(length - IPV6).ok()?.to_be_bytes());
        } else {
            packet[2..4].copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
            packet[4..6].copy_from_slice(&ident.wrapping_add(nth as u16).to_be_bytes());
            packet[10..12].fill(0);
            let sum = wire::finish(wire::sum(&packet[..ip.header]));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        let segment = &mut out[at..];
        segment[4..8].copy_from_slice(&first.wrapping_add((nth * size) as u32).to_be_bytes());
        let mut flags = flags;
        if nth != last {
            flags &= !(FIN | PSH);
        }
        if nth != 0 {
            flags &= !CWR;
        }
        segment[13] = flags;
        segment[16..18].fill(0);
        let pseudo = wire::pseudo_sum(ip.source, ip.destination, TCP, segment.len());
        let sum = wire::finish(pseudo + wire::sum(segment));
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        emit(&out);
    }
    Some(())
}
