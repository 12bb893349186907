//! The gateway against sockets in memory, packet by packet.

use crate::{
    Config, Gateway, Readiness, Token,
    link::FRONT,
    offload,
    testing::{Fake, ip_packet, packet, segment},
    wire::{self, ACK, FIN, ICMPV6, Ip, PSH, RST, SYN, TCP, TYPE_ARP},
};
use forelift_abi::net;
use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

const READY: Readiness = Readiness { readable: true, writable: true };

struct Bench {
    gateway: Gateway<Fake>,
    config: Config,
    now: Duration,
}

/// A TCP segment for the guest.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    flags: u8,
    sequence: u32,
    acknowledged: u32,
    window: u16,
    data: usize,
    gso_size: u16,
}

fn told(packet: &[u8]) -> Told {
    let head = net::Header::decode(packet.first_chunk().unwrap());
    let ip = Ip::parse(&packet[FRONT..]).unwrap();
    assert_eq!(ip.protocol, TCP, "{packet:x?}");
    let tcp = ip.payload();
    Told {
        flags: tcp[13],
        sequence: wire::long(tcp, 4).unwrap(),
        acknowledged: wire::long(tcp, 8).unwrap(),
        window: wire::word(tcp, 14).unwrap(),
        data: tcp.len() - usize::from(tcp[12] >> 4) * 4,
        gso_size: head.gso_size,
    }
}

fn ends() -> (SocketAddr, SocketAddr) {
    ("10.0.2.15:4000".parse().unwrap(), "198.51.100.7:80".parse().unwrap())
}

impl Bench {
    fn new(config: Config) -> Self {
        let gateway = Gateway::new(config.clone(), Fake::default(), Vec::new(), None);
        let mut bench = Bench { gateway, config, now: Duration::from_secs(1) };
        bench.gateway.set_room(4 << 20);
        bench
    }

    /// Sends a packet; what comes back.
    fn send(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        self.gateway.packet(packet, self.now);
        self.run()
    }

    fn tcp(&mut self, flags: u8, numbers: (u32, u32), data: &[u8]) -> Vec<Told> {
        let packet = segment(&self.config, ends(), flags, numbers, data);
        self.send(&packet).iter().map(|packet| told(packet)).collect()
    }

    fn run(&mut self) -> Vec<Vec<u8>> {
        self.gateway.run(self.now);
        std::iter::from_fn(|| self.gateway.pop()).collect()
    }

    /// Something happened to the nth connection of the host's.
    fn happen(&mut self, nth: usize, what: impl FnOnce(&mut crate::testing::Stream)) -> Vec<Told> {
        let stream = self.gateway.sockets().streams.get_mut(&nth).unwrap();
        what(stream);
        let token = stream.token;
        self.gateway.ready(token, READY, self.now);
        self.run().iter().map(|packet| told(packet)).collect()
    }

    /// A connection is made; the gateway's first number.
    fn connect(&mut self) -> u32 {
        assert!(self.tcp(SYN, (99, 0), &[]).is_empty());
        let answer = self.happen(0, |stream| stream.connected = Some(Ok(())));
        assert_eq!((answer.len(), answer[0].flags, answer[0].acknowledged), (1, SYN | ACK, 100));
        let first = answer[0].sequence.wrapping_add(1);
        assert!(self.tcp(ACK, (100, first), &[]).is_empty());
        first
    }
}

#[test]
fn a_syn_waits_for_the_hosts_connection() {
    let mut bench = Bench::new(Config::default());
    for _ in 0..3 {
        assert!(bench.tcp(SYN, (99, 0), &[]).is_empty());
    }
    assert_eq!(bench.gateway.sockets().streams.len(), 1);
    assert_eq!(bench.gateway.sockets().streams[&0].to, ends().1);
    // A report without news.
    assert!(bench.happen(0, |_| ()).is_empty());
    let packet = segment(&bench.config, ends(), SYN, (99, 0), &[]);
    bench.gateway.sockets().streams.get_mut(&0).unwrap().connected = Some(Ok(()));
    bench.gateway.ready(Token(0), READY, bench.now);
    let answers = bench.run();
    // The segment size is the link's, not that of smoltcp's frames.
    let tcp = Ip::parse(&answers[0][FRONT..]).unwrap().payload();
    assert_eq!(tcp[20..24], [2, 4, 1460_u16.to_be_bytes()[0], 1460_u16.to_be_bytes()[1]]);
    assert!(bench.send(&packet).len() <= 1);
}

#[test]
fn failures_are_told_as_what_they_are() {
    for (error, answers) in [
        (ErrorKind::ConnectionRefused, Some((TCP, RST | ACK))),
        (ErrorKind::HostUnreachable, Some((1, 1))),
        (ErrorKind::NetworkUnreachable, Some((1, 1))),
        (ErrorKind::PermissionDenied, Some((1, 13))),
        (ErrorKind::TimedOut, None),
    ] {
        let mut bench = Bench::new(Config::default());
        assert!(bench.tcp(SYN, (99, 0), &[]).is_empty());
        let stream = bench.gateway.sockets().streams.get_mut(&0).unwrap();
        stream.connected = Some(Err(error));
        bench.gateway.ready(Token(0), READY, bench.now);
        let got = bench.run().first().map(|packet| {
            let ip = Ip::parse(&packet[FRONT..]).unwrap();
            (ip.protocol, if ip.protocol == TCP { ip.payload()[13] } else { ip.payload()[1] })
        });
        assert_eq!(got, answers, "{error}");
        assert_eq!(bench.gateway.counts().connections, 0);
        assert_eq!(bench.gateway.deadline(), None);
    }
}

#[test]
fn bytes_ends_and_numbers() {
    let mut bench = Bench::new(Config::default());
    let first = bench.connect();
    let answers = bench.tcp(ACK | PSH, (100, first), b"hello");
    assert_eq!(bench.gateway.sockets().streams[&0].output, b"hello");
    // The acknowledgement waits a moment for data to go with.
    assert!(answers.is_empty());
    let answers = bench.happen(0, |stream| stream.input.extend(b"world!"));
    let got = answers.iter().map(|told| (told.flags, told.acknowledged, told.data)).collect::<Vec<_>>();
    assert_eq!(got, [(ACK | PSH, 105, 6)]);
    bench.tcp(ACK, (105, first + 6), &[]);
    // The guest's end; the host's side still sends.
    bench.tcp(ACK | FIN, (105, first + 6), &[]);
    assert!(bench.gateway.sockets().streams[&0].finished);
    let answers = bench.happen(0, |stream| stream.input.extend(b"more"));
    assert_eq!((answers[0].data, answers[0].acknowledged), (4, 106));
    let answers = bench.happen(0, |stream| stream.input_ends = true);
    assert_eq!(answers[0].flags & FIN, FIN);
    bench.tcp(ACK, (106, first + 11), &[]);
    assert!(!bench.gateway.sockets().closed[&0]);
    assert_eq!((bench.gateway.counts().connections, bench.gateway.deadline()), (0, None));
}

#[test]
fn a_delayed_acknowledgement_comes_by_its_deadline() {
    let mut bench = Bench::new(Config::default());
    let first = bench.connect();
    assert!(bench.tcp(ACK | PSH, (100, first), b"x").is_empty());
    let at = bench.gateway.deadline().unwrap();
    assert!(at - bench.now <= Duration::from_millis(2), "{:?}", at - bench.now);
    bench.now = at;
    assert_eq!(told(&bench.run()[0]).acknowledged, 101);
    assert_eq!(bench.gateway.deadline(), None);
}

#[test]
fn resets_go_both_ways() {
    let mut bench = Bench::new(Config::default());
    let first = bench.connect();
    bench.tcp(RST | ACK, (100, first), &[]);
    assert!(bench.gateway.sockets().closed[&0]);
    let mut bench = Bench::new(Config::default());
    bench.connect();
    let answers = bench.happen(0, |stream| stream.fails = Some(ErrorKind::ConnectionReset));
    assert_eq!(answers[0].flags & RST, RST);
    assert_eq!(bench.gateway.counts().connections, 0);
    // What comes after it is nobody's.
    assert_eq!(bench.tcp(ACK, (100, 7), &[])[0].flags, RST);
}

#[test]
fn large_frames_are_made_only_for_a_guest_that_takes_them() {
    for (csum, tso) in [(true, true), (true, false), (false, true)] {
        let mut bench = Bench::new(Config { guest_csum: csum, guest_tso: tso, ..Config::default() });
        let first = bench.connect();
        // The window of a guest that has said 8 bits of scale: 65535 * 256.
        bench.tcp(ACK, (100, first), &[]);
        bench.happen(0, |_| ());
        let stream = bench.gateway.sockets().streams.get_mut(&0).unwrap();
        stream.input.extend((0..200_000).map(|nth| nth as u8));
        bench.gateway.ready(Token(0), READY, bench.now);
        let packets = bench.run();
        let longest = packets.iter().map(Vec::len).max().unwrap();
        let all: usize = packets.iter().map(|packet| told(packet).data).sum();
        assert_eq!(all, 200_000);
        if csum && tso {
            assert!(packets.len() <= 5 && longest > 60_000, "{} {longest}", packets.len());
            assert_eq!(told(&packets[0]).gso_size, 1460);
            // Only the last segment is short.
            assert_eq!(told(&packets[0]).data % 1460, 0);
        } else {
            assert_eq!(longest, FRONT + 1500);
            assert!(packets.iter().all(|packet| told(packet).gso_size == 0));
        }
    }
}

#[test]
fn what_one_side_does_not_take_is_not_read_from_the_other() {
    let mut bench = Bench::new(Config::default());
    let first = bench.connect();
    bench.happen(0, |stream| stream.space = 1000);
    let (mut sequence, mut window) = (100_u32, u16::MAX);
    for _ in 0..1000 {
        for told in bench.tcp(ACK | PSH, (sequence, first), &[7; 1460]) {
            (sequence, window) = (told.acknowledged, told.window);
        }
        if window == 0 {
            break;
        }
    }
    // What the host's side took, and a buffer.
    assert_eq!((window, bench.gateway.sockets().streams[&0].output.len()), (0, 1000));
    let held = sequence as usize - 1100;
    // The window is told in units of 16 bytes.
    assert!(((512 << 10) - 16..=512 << 10).contains(&held), "{held}");
    let answers = bench.happen(0, |stream| stream.space = usize::MAX);
    assert!(answers.iter().any(|told| told.window > 0));
    assert_eq!(bench.gateway.sockets().streams[&0].output.len(), 1000 + held);
    // The other way: nothing is read while the link has no room.
    bench.gateway.set_room(0);
    let answers = bench.happen(0, |stream| stream.input.extend([1; 5000]));
    assert!(answers.is_empty());
    assert_eq!(bench.gateway.sockets().streams[&0].input.len(), 5000);
    assert!(!bench.gateway.unfinished());
    bench.gateway.set_room(1 << 20);
    assert!(bench.gateway.unfinished());
    assert_eq!(bench.run().iter().map(|packet| told(packet).data).sum::<usize>(), 5000);
}

#[test]
fn data_beyond_the_first_window_is_dropped() {
    let mut bench = Bench::new(Config::default());
    let first = bench.connect();
    for beyond in (0..20).map(|nth| 100 + 60_000 * nth) {
        bench.tcp(ACK | PSH, (beyond, first), &[7; 60_000]);
    }
    assert_eq!(bench.gateway.sockets().streams[&0].output.len(), 20 * 60_000);
    let mut bench = Bench::new(Config::default());
    let first = bench.connect();
    for _ in 0..2 {
        bench.tcp(ACK | PSH, (100 + (600 << 10), first), &[7; 60_000]);
        bench.tcp(ACK | PSH, (100 + (511 << 10), first), &[7; 60_000]);
        bench.tcp(ACK | PSH, (100, first), b"good");
    }
    assert_eq!(bench.gateway.sockets().streams[&0].output, b"good");
}

#[test]
fn connections_are_bounded_and_none_is_left() {
    let mut bench = Bench::new(Config::default());
    let end = |nth: u16| (SocketAddr::new(ends().0.ip(), 1000 + nth), ends().1);
    for nth in 0..4096 {
        let packet = segment(&bench.config, end(nth), SYN, (1, 0), &[]);
        assert!(bench.send(&packet).is_empty());
    }
    let packet = segment(&bench.config, end(4096), SYN, (1, 0), &[]);
    assert_eq!(told(&bench.send(&packet)[0]).flags, RST | ACK);
    let tokens: Vec<_> = bench.gateway.sockets().streams.values().map(|stream| stream.token).collect();
    for stream in bench.gateway.sockets().streams.values_mut() {
        stream.connected = Some(Ok(()));
    }
    for token in tokens {
        bench.gateway.ready(token, READY, bench.now);
        assert_eq!(told(&bench.run()[0]).flags, SYN | ACK);
    }
    for nth in 0..4096 {
        let packet = segment(&bench.config, end(nth), RST, (2, 0), &[]);
        bench.send(&packet);
    }
    assert_eq!((bench.gateway.counts().connections, bench.gateway.deadline()), (0, None));
    assert!(bench.gateway.sockets().streams.is_empty());
}

#[test]
fn flows_of_datagrams_are_bounded_and_end() {
    let mut bench = Bench::new(Config::default());
    let (guest, remote) = (ends().0.ip(), ends().1.ip());
    for nth in 0..3000 {
        let datagram = wire::udp((guest, 1000 + nth).into(), (remote, 9).into(), b"x").unwrap();
        let packet = ip_packet(&bench.config, (guest, remote), wire::UDP, &datagram, None);
        bench.send(&packet);
    }
    assert_eq!(bench.gateway.counts().flows, 1024);
    bench.now += Duration::from_secs(31);
    bench.run();
    assert_eq!((bench.gateway.counts().flows, bench.gateway.deadline()), (0, None));
}

#[test]
fn neighbours_are_answered_for_the_gateways_own_addresses_alone() {
    let mut bench = Bench::new(Config::default());
    let arp = |last| {
        let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0xf0, 0, 0, 0, 15, 10, 0, 2, 15];
        request.extend([0, 0, 0, 0, 0, 0, 10, 0, 2, last]);
        request
    };
    for (last, answers) in [(2, true), (3, true), (4, false), (15, false)] {
        let request = packet(&bench.config, TYPE_ARP, &arp(last));
        let got = bench.send(&request);
        assert_eq!(!got.is_empty(), answers, "10.0.2.{last}");
        if answers {
            assert_eq!(got[0][FRONT + 7], 2);
            assert_eq!(got[0][FRONT + 8..FRONT + 14], bench.config.gateway_mac);
            assert_eq!(got[0][FRONT + 14..FRONT + 18], [10, 0, 2, last]);
        }
    }
    for (last, answers) in [(2, true), (3, true), (4, false)] {
        let target: IpAddr = format!("fd00:f0::{last}").parse().unwrap();
        let IpAddr::V6(ip) = target else { unreachable!() };
        let mut ask = vec![135, 0, 0, 0, 0, 0, 0, 0];
        ask.extend(ip.octets());
        let guest = "fd00:f0::15".parse().unwrap();
        let mut request =
            ip_packet(&bench.config, (guest, "ff02::1:ff00:2".parse().unwrap()), ICMPV6, &ask, None);
        request[net::HEADER..net::HEADER + 2].copy_from_slice(&[0x33, 0x33]);
        request[FRONT + 7] = 255;
        let got = bench.send(&request);
        assert_eq!(!got.is_empty(), answers, "{target}");
        if answers {
            let reply = Ip::parse(&got[0][FRONT..]).unwrap();
            assert_eq!((reply.source, reply.destination, reply.ttl), (target, guest, 255));
            assert_eq!(reply.payload()[8..24], ip.octets());
        }
        // From beyond the link it would be a lie.
        request[FRONT + 7] = 254;
        assert!(bench.send(&request).is_empty());
    }
}

#[test]
fn a_frame_is_cut_as_a_network_card_cuts_it() {
    for v6 in [false, true] {
        let config = Config::default();
        let (from, to) = if v6 { ("[fd00::1]:5", "[fd00::2]:6") } else { ("10.0.2.15:5", "10.0.2.2:6") };
        let ends = (from.parse().unwrap(), to.parse().unwrap());
        let data: Vec<u8> = (0..5000).map(|nth| (nth / 3) as u8).collect();
        let mut packet = segment(&config, ends, ACK | PSH | FIN | 0x80, (u32::MAX - 1000, 8), &data);
        let header = if v6 { 40 } else { 20 };
        let head = net::Header {
            flags: net::F_NEEDS_CSUM,
            gso_type: if v6 { net::GSO_TCPV6 } else { net::GSO_TCPV4 },
            gso_size: 1400,
            csum_start: 14 + header,
            csum_offset: 16,
            ..net::Header::default()
        };
        packet[..net::HEADER].copy_from_slice(&head.encode());
        if !v6 {
            packet[FRONT + 4..FRONT + 6].copy_from_slice(&[0xff, 0xff]);
        }
        let (mut all, mut frames) = (Vec::new(), Vec::new());
        assert!(offload::segment(&packet, &mut |frame| frames.push(frame.to_vec())));
        for (nth, frame) in frames.iter().enumerate() {
            let ip = Ip::parse(&frame[14..]).unwrap();
            let tcp = ip.payload();
            let sum = wire::pseudo_sum(ip.source, ip.destination, TCP, tcp.len()) + wire::sum(tcp);
            assert_eq!(wire::finish(sum), 0, "segment {nth}");
            if !v6 {
                assert_eq!(wire::finish(wire::sum(&ip.bytes[..20])), 0);
                assert_eq!(wire::word(ip.bytes, 4).unwrap(), 0xffff_u16.wrapping_add(nth as u16));
            }
            let wanted = (u32::MAX - 1000).wrapping_add(all.len() as u32);
            assert_eq!(wire::long(tcp, 4).unwrap(), wanted);
            let flags = if nth == 0 {
                ACK | 0x80
            } else if nth == 3 {
                ACK | PSH | FIN
            } else {
                ACK
            };
            assert_eq!(tcp[13], flags, "segment {nth}");
            all.extend_from_slice(&tcp[20..]);
        }
        assert_eq!((frames.len(), all), (4, data));
        // Headers that do not fit give nothing.
        for (at, value) in [(1, 3), (4, 0), (FRONT + 9, 17), (FRONT - 2, 9)] {
            let mut bad = packet.clone();
            bad[at] = value;
            if (at, v6) == (FRONT + 9, true) || at == 4 {
                bad[4..6].fill(0);
            }
            assert!(!offload::segment(&bad, &mut |_| ()), "{at}");
        }
        for end in 0..FRONT + usize::from(header) + 20 {
            assert!(!offload::segment(&packet[..end], &mut |_| ()));
        }
    }
}

#[test]
fn a_missing_checksum_is_completed() {
    let config = Config::default();
    let mut packet = segment(&config, ends(), ACK, (1, 2), b"abc");
    let ip = Ip::parse(&packet[FRONT..]).unwrap();
    let pseudo = wire::fold(wire::pseudo_sum(ip.source, ip.destination, TCP, ip.payload().len()));
    packet[FRONT + 36..FRONT + 38].copy_from_slice(&pseudo.to_be_bytes());
    let mut head =
        net::Header { flags: net::F_NEEDS_CSUM, csum_start: 34, csum_offset: 16, ..net::Header::default() };
    packet[..net::HEADER].copy_from_slice(&head.encode());
    let mut frame = Vec::new();
    assert!(offload::segment(&packet, &mut |got| frame = got.to_vec()));
    let ip = Ip::parse(&frame[14..]).unwrap();
    let sum = wire::pseudo_sum(ip.source, ip.destination, TCP, ip.payload().len()) + wire::sum(ip.payload());
    assert_eq!(wire::finish(sum), 0);
    for (start, offset) in [(60_000, 16), (34, 60_000), (57, 1), (65_535, 65_535)] {
        (head.csum_start, head.csum_offset) = (start, offset);
        packet[..net::HEADER].copy_from_slice(&head.encode());
        assert!(!offload::segment(&packet, &mut |_| ()), "{start} {offset}");
    }
}

#[test]
fn a_host_that_takes_its_time_gets_all_after_both_ends() {
    let mut bench = Bench::new(Config::default());
    let first = bench.connect();
    bench.happen(0, |stream| (stream.space, stream.input_ends) = (0, true));
    bench.tcp(ACK | PSH, (100, first + 1), &[7; 3000]);
    let answers = bench.tcp(ACK | FIN, (3100, first + 1), &[]);
    assert_eq!(answers.last().map(|told| told.acknowledged), Some(3101));
    // Long after smoltcp's TIME-WAIT: nothing is forgotten, and nothing wakes anybody.
    for _ in 0..100 {
        bench.now += Duration::from_secs(1);
        assert!(bench.run().is_empty());
    }
    assert_eq!((bench.gateway.deadline(), bench.gateway.counts().connections), (None, 1));
    bench.happen(0, |stream| stream.space = 2999);
    assert_eq!(bench.gateway.sockets().streams[&0].output.len(), 2999);
    bench.happen(0, |stream| stream.space = 1);
    assert!(!bench.gateway.sockets().closed[&0]);
}

#[test]
fn the_guests_address_is_learned_from_its_first_frame() {
    let (group, nobody, first, second) = ([3; 6], [0; 6], [2, 0, 0, 0, 7, 7], [2, 0, 0, 0, 8, 8]);
    let known = Config::default().mac;
    for (learn_mac, told) in [(true, [known, known, first, first]), (false, [known; 4])] {
        let mut bench = Bench::new(Config { learn_mac, ..Config::default() });
        for (from, to) in [group, nobody, first, second].into_iter().zip(told) {
            let request =
                [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2];
            let request = packet(&Config { mac: from, ..Config::default() }, TYPE_ARP, &request);
            // What is cut off teaches nothing.
            assert!(bench.send(&request[..net::HEADER + 11]).is_empty());
            let answer = bench.send(&request);
            assert_eq!(answer[0][net::HEADER..net::HEADER + 6], to, "after {from:?}");
        }
    }
}
