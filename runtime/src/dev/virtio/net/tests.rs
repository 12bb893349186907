//! The network device through its registers and rings.

use super::*;
use crate::dev::testing::{ALL, FakeHost, Guest, Vq};
use crate::dev::virtio::mmio::reg;
use crate::dev::{Devices, SLOT_NET};
use forelift_abi::net::{F_NEEDS_CSUM, GSO_TCPV4, Header};

const FEATURES: u64 = ALL | F_CSUM | F_GUEST_CSUM | F_MAC | F_GUEST_TSO | F_HOST_TSO | F_MRG_RXBUF | F_STATUS;

/// A guest whose driver is ready, with a network.
fn connected(features: u64) -> (Guest, Vq, Vq, FakeHost) {
    let mut g = Guest::new();
    let mut queues = g.probe(SLOT_NET, features, 2, 16);
    g.devices.connect_network(&mut g.mem);
    let (tx, rx) = (queues.remove(1), queues.remove(0));
    (g, tx, rx, FakeHost::new())
}

fn packet(header: Header, frame: &[u8]) -> Vec<u8> {
    [&header.encode()[..], frame].concat()
}

fn send(g: &mut Guest, tx: &mut Vq, packet: &[u8]) {
    let (head, tail) = packet.split_at(packet.len() / 2);
    let (a, b) = (g.put(head), g.put(tail));
    g.add(tx, &[(a, head.len() as u32, false), (b, tail.len() as u32, false)]);
    g.kick(tx);
}

fn framed(packets: &[&[u8]]) -> Vec<u8> {
    packets.iter().flat_map(|p| [&(p.len() as u32).to_be_bytes()[..], p].concat()).collect()
}

#[test]
fn the_link_is_up_whether_there_is_a_network_or_not() {
    let mut g = Guest::new();
    g.probe(SLOT_NET, FEATURES, 2, 16);
    let mac: Vec<u8> = g.read(SLOT_NET, 0x100).to_le_bytes().to_vec();
    assert_eq!(mac, GUEST_MAC[..4]);
    assert_eq!(g.read(SLOT_NET, 0x104) >> 16, 1, "up");
    assert_eq!(g.devices.interest(), Interest::default());
    g.devices.connect_network(&mut g.mem);
    assert_eq!(g.read(SLOT_NET, 0x104) >> 16, 1, "up");
    assert_eq!(g.read(SLOT_NET, reg::INTERRUPT_STATUS), 0, "nothing has changed for the driver");
    assert_eq!(g.devices.interest(), Interest { packets: true, ..Interest::default() });
}

#[test]
fn a_link_that_ends_is_told_to_the_driver_once() {
    let (mut g, _, mut rx, mut host) = connected(FEATURES);
    let p = packet(Header::default(), &[5; 60]);
    (host.unplugged, host.incoming) = (true, [p.clone()].into());
    let at = g.alloc(2000);
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!(g.read(SLOT_NET, 0x104) >> 16, 1, "up: there is a packet yet");
    g.add(&mut rx, &[(at, 2000, true)]);
    g.kick(&rx);
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!(g.used(&mut rx), [(0, p.len() as u32)]);
    assert_eq!(g.read(SLOT_NET, 0x104) >> 16, 0, "down");
    assert_eq!(g.read(SLOT_NET, reg::INTERRUPT_STATUS) & 2, 2, "the configuration has changed");
    assert_eq!(g.devices.interest(), Interest::default());
    g.write(SLOT_NET, reg::INTERRUPT_ACK, 3);
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!(g.read(SLOT_NET, reg::INTERRUPT_STATUS), 0);
}

#[test]
fn what_is_sent_without_a_network_is_dropped() {
    let mut g = Guest::new();
    let mut host = FakeHost::new();
    let mut tx = g.probe(SLOT_NET, FEATURES, 2, 16).remove(1);
    send(&mut g, &mut tx, &packet(Header::default(), &[1; 60]));
    assert_eq!(g.used(&mut tx).len(), 1);
    g.devices.service(&mut g.mem, &mut host);
    assert!(host.packets.is_empty() && host.asked == 0);
}

#[test]
fn packets_of_the_guest_arrive_whole_and_wait_for_room() {
    let (mut g, mut tx, _, mut host) = connected(FEATURES);
    let large = Header { flags: F_NEEDS_CSUM, gso_type: GSO_TCPV4, gso_size: 1448, ..Header::default() };
    let (a, b) = (packet(Header::default(), &[1; 60]), packet(large, &[2; 40000]));
    let c = packet(Header::default(), &[3; 1514]);
    host.packet_room = 4 + a.len() + 100;
    for p in [&a, &b, &c] {
        send(&mut g, &mut tx, p);
    }
    assert!(g.used(&mut tx).is_empty(), "not inside of the guest's store");
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!(host.packets, framed(&[&a]));
    assert_eq!(g.used(&mut tx).len(), 1);
    assert_eq!(g.devices.interest(), Interest { packets: true, packet_room: true, ..Interest::default() });
    host.packet_room = usize::MAX;
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!(host.packets, framed(&[&a, &b, &c]));
    assert_eq!(g.used(&mut tx).len(), 2);
    assert!(!g.devices.interest().packet_room);
}

#[test]
fn what_is_no_packet_is_dropped_and_nothing_behind_it() {
    let (mut g, mut tx, _, mut host) = connected(FEATURES);
    let good = packet(Header::default(), &[7; 60]);
    send(&mut g, &mut tx, &[0; HEADER - 2]);
    send(&mut g, &mut tx, &good);
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!((host.packets.clone(), g.used(&mut tx).len()), (framed(&[&good]), 2));
    // Longer than any frame.
    let far = g.alloc(80_000);
    g.add(&mut tx, &[(far, 80_000, false)]);
    g.kick(&tx);
    let before = host.packets.len();
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!((host.packets.len(), g.used(&mut tx).len()), (before, 1));
}

#[test]
fn a_packet_fills_as_many_buffers_as_it_needs_and_waits_for_them() {
    let (mut g, _, mut rx, mut host) = connected(FEATURES);
    let large = packet(Header { gso_type: GSO_TCPV4, gso_size: 1448, ..Header::default() }, &[5; 5000]);
    let small = packet(Header::default(), &[6; 60]);
    host.incoming.extend([large.clone(), small.clone()]);
    let buffers: Vec<u64> = (0..4).map(|_| g.alloc(2000)).collect();
    for &at in &buffers[..2] {
        g.add(&mut rx, &[(at, 2000, true)]);
    }
    g.kick(&rx);
    g.devices.service(&mut g.mem, &mut host);
    assert!(g.used(&mut rx).is_empty(), "4000 bytes are too few");
    assert_eq!(g.devices.interest(), Interest::default(), "only the guest can go on");
    for &at in &buffers[2..] {
        g.add(&mut rx, &[(at, 2000, true)]);
    }
    g.kick(&rx);
    let asked = host.asked;
    g.devices.service(&mut g.mem, &mut host);
    let used = g.used(&mut rx);
    assert_eq!(used.iter().map(|u| u.1).collect::<Vec<_>>(), [2000, 2000, 1012, 72]);
    assert_eq!(host.asked, asked + 1, "what had been received was kept");
    let got = [g.get(buffers[0], 2000), g.get(buffers[1], 2000), g.get(buffers[2], 1012)].concat();
    assert_eq!(got[10..12], [3, 0], "num_buffers");
    assert_eq!((&got[..10], &got[12..]), (&large[..10], &large[12..]));
    assert_eq!(g.get(buffers[3], 72), small);
    assert_eq!(g.read(SLOT_NET, reg::INTERRUPT_STATUS) & 1, 1);
    assert!(g.devices.interest().packets);
}

#[test]
fn a_driver_without_large_segments_gets_none() {
    let (mut g, _, mut rx, mut host) = connected(ALL | F_MAC);
    let large = packet(Header { gso_type: GSO_TCPV4, gso_size: 1448, ..Header::default() }, &[5; 1500]);
    let long = packet(Header::default(), &[8; 3000]);
    let small = packet(Header::default(), &[6; 60]);
    host.incoming.extend([large, long, small.clone()]);
    let buffers: Vec<u64> = (0..3).map(|_| g.alloc(1600)).collect();
    for &at in &buffers {
        g.add(&mut rx, &[(at, 1600, true)]);
    }
    g.kick(&rx);
    g.devices.service(&mut g.mem, &mut host);
    // A frame that no buffer holds is lost, its buffer comes back empty.
    assert_eq!(g.used(&mut rx).iter().map(|u| u.1).collect::<Vec<_>>(), [0, 72]);
    assert_eq!(g.get(buffers[1], 72), small);
}

#[test]
fn nonsense_from_the_gateway_stops_nothing() {
    struct Liar(Vec<Vec<u8>>);
    impl Host for Liar {
        fn monotonic_ns(&mut self) -> u64 {
            0
        }
        fn realtime_ns(&mut self) -> u64 {
            0
        }
        fn random(&mut self, _buf: &mut [u8]) {}
        fn read_stdin(&mut self, _buf: &mut [u8]) -> crate::host::Read {
            crate::host::Read::Eof
        }
        fn write(&mut self, _stream: crate::host::Stream, buf: &[u8]) -> crate::host::Written {
            crate::host::Written::Bytes(buf.len())
        }
        fn event(&mut self) -> Option<crate::host::HostEvent> {
            None
        }
        fn terminal(&mut self) -> crate::host::Terminal {
            crate::host::Terminal::default()
        }
        fn receive_packets(&mut self, buffer: &mut [u8]) -> usize {
            let Some(next) = self.0.pop() else { return 0 };
            buffer[..next.len()].copy_from_slice(&next);
            next.len()
        }
        fn wait(&mut self, _timeout_ns: Option<u64>, _interest: crate::host::Interest) {}
    }
    let (mut g, _, mut rx, _) = connected(FEATURES);
    let at = g.alloc(2000);
    g.add(&mut rx, &[(at, 2000, true)]);
    g.kick(&rx);
    let good = framed(&[&packet(Header::default(), &[6; 60])]);
    let mut host = Liar(vec![good, vec![0, 0, 0, 3, 1, 2, 3], vec![0xff; 20], vec![0, 0]]);
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!(g.used(&mut rx), [(0, 72)]);
}

#[test]
fn a_snapshot_comes_back_without_a_network_and_can_be_connected() {
    let mut g = Guest::new();
    let mut queues = g.probe(SLOT_NET, FEATURES, 2, 16);
    let (mut tx, mut rx) = (queues.remove(1), queues.remove(0));
    let state = g.devices.save();
    g.devices = Devices::restore(state, &g.mem).unwrap();
    assert_eq!(g.devices.interest(), Interest::default());
    g.devices.connect_network(&mut g.mem);
    let mut host = FakeHost::new();
    let p = packet(Header { gso_type: GSO_TCPV4, gso_size: 100, ..Header::default() }, &[4; 300]);
    host.incoming.push_back(p.clone());
    let at = g.alloc(2000);
    g.add(&mut rx, &[(at, 2000, true)]);
    g.kick(&rx);
    send(&mut g, &mut tx, &p);
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!(host.packets, framed(&[&p]));
    assert_eq!(g.used(&mut rx), [(0, p.len() as u32)], "the features are known again");
}
