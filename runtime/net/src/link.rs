//! The way to the guest: packets wait here until the back end takes them.

use crate::{
    config::{Config, LEAST_MTU},
    pcapng::Capture,
    wire::{self, ETHERNET, Fragment, Header, TYPE_IPV4, TYPE_IPV6},
};
use forelift_abi::net;
use std::{collections::VecDeque, net::SocketAddr, time::Duration};

/// Bytes before the IP packet.
pub(crate) const FRONT: usize = net::HEADER + ETHERNET;
/// Bytes that answers to the guest's own packets (ARP, resets, errors) may take beyond the room that there
/// is for data. What is over that is dropped, as a full switch drops it.
const SLACK: usize = 256 << 10;

/// Packets for the guest.
pub(crate) struct Link {
    guest_mac: [u8; 6],
    /// It is what the first frame comes from.
    learn_mac: bool,
    gateway_mac: [u8; 6],
    /// Longest IP packet in bytes.
    pub(crate) mtu: usize,
    /// The guest takes frames with their checksum missing.
    pub(crate) csum: bool,
    /// The guest takes TCP frames longer than the MTU.
    pub(crate) tso: bool,
    queue: VecDeque<Vec<u8>>,
    /// Bytes in `queue`.
    queued: usize,
    /// Bytes that the back end can take besides.
    room: usize,
    /// The last identification of a fragmented packet.
    ident: u16,
    capture: Option<Capture>,
    /// Packets that found no room.
    pub(crate) dropped: u64,
}

impl Link {
    pub(crate) fn new(config: &Config, capture: Option<Capture>) -> Self {
        Link {
            guest_mac: config.mac,
            learn_mac: config.learn_mac,
            gateway_mac: config.gateway_mac,
            mtu: usize::from(config.mtu.max(LEAST_MTU)),
            csum: config.guest_csum,
            tso: config.guest_csum && config.guest_tso,
            queue: VecDeque::new(),
            queued: 0,
            room: 0,
            ident: 0,
            capture,
            dropped: 0,
        }
    }

    /// Says how many bytes the back end takes.
    pub(crate) fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// Whether a packet with data may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.queued < self.room
    }

    /// The next packet: header and frame.
    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        let packet = self.queue.pop_front()?;
        self.queued -= packet.len();
        self.room = self.room.saturating_sub(packet.len());
        Some(packet)
    }

    /// Notes whom a packet of the guest's comes from, and the packet in the capture.
    pub(crate) fn seen(&mut self, packet: &[u8], now: Duration) {
        if self.learn_mac
            && let Some(source) = packet.get(net::HEADER + 6..).and_then(|rest| rest.first_chunk::<6>())
            // Groups and nobody send nothing.
            && source[0] & 1 == 0
            && *source != [0; 6]
        {
            self.guest_mac = *source;
            self.learn_mac = false;
        }
        if let (Some(capture), Some(frame)) = (&mut self.capture, packet.get(net::HEADER..)) {
            capture.packet(frame, now, false);
        }
    }

    /// What is before the payload of a frame of that EtherType.
    fn front(&self, kind: u16) -> [u8; FRONT] {
        let mut front = [0; FRONT];
        let (header, frame) = front.split_at_mut(net::HEADER);
        header.copy_from_slice(&net::Header::default().encode());
        frame[..6].copy_from_slice(&self.guest_mac);
        frame[6..12].copy_from_slice(&self.gateway_mac);
        frame[12..].copy_from_slice(&kind.to_be_bytes());
        front
    }

    /// An empty packet with `length` bytes for IPv4.
    pub(crate) fn blank(&self, length: usize) -> Vec<u8> {
        let mut packet = vec![0; FRONT + length];
        packet[..FRONT].copy_from_slice(&self.front(TYPE_IPV4));
        packet
    }

    /// Queues a packet that is complete.
    pub(crate) fn push(&mut self, packet: Vec<u8>, now: Duration) {
        if self.queued > self.room + SLACK {
            self.dropped += 1;
            return;
        }
        if let Some(capture) = &mut self.capture {
            capture.packet(&packet[net::HEADER..], now, true);
        }
        self.queued += packet.len();
        self.queue.push_back(packet);
    }

    /// Queues a frame that is not IP's.
    pub(crate) fn push_frame(&mut self, kind: u16, payload: &[u8], now: Duration) {
        // Ethernet's least is 60 bytes without the checksum.
        let mut packet = [&self.front(kind), payload].concat();
        packet.resize(packet.len().max(net::HEADER + 60), 0);
        self.push(packet, now);
    }

    /// Queues an IP packet with a payload that is complete, in fragments where it is longer than the MTU.
    pub(crate) fn send(&mut self, header: Header, payload: &[u8], now: Duration) {
        if header.len() + payload.len() <= self.mtu {
            self.send_part(header, payload, None, now);
            return;
        }
        self.ident = self.ident.wrapping_add(1);
        let id = u32::from(self.ident);
        let extra = if header.destination.is_ipv6() { 8 } else { 0 };
        let most = (self.mtu - header.len() - extra) & !7;
        for (nth, part) in payload.chunks(most).enumerate() {
            let offset = nth * most;
            let more = offset + part.len() < payload.len();
            self.send_part(header, part, Some(Fragment { id, offset, more }), now);
        }
    }

    fn send_part(&mut self, header: Header, payload: &[u8], place: Option<Fragment>, now: Duration) {
        let mut packet = Vec::with_capacity(FRONT + header.len() + 8 + payload.len());
        packet.extend(self.front(if header.destination.is_ipv6() { TYPE_IPV6 } else { TYPE_IPV4 }));
        if header.write(&mut packet, payload.len(), place).is_none() {
            return;
        }
        packet.extend_from_slice(payload);
        self.push(packet, now);
    }

    /// Queues a UDP datagram.
    pub(crate) fn send_udp(&mut self, from: SocketAddr, to: SocketAddr, data: &[u8], now: Duration) {
        if let Some(datagram) = wire::udp(from, to, data) {
            let header = Header { source: from.ip(), destination: to.ip(), protocol: wire::UDP, ttl: 64 };
            self.send(header, &datagram, now);
        }
    }
}
