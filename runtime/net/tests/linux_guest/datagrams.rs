//! UDP, names and echo requests through the gateway, and rules.

use crate::guest::{Guest, shell};
use forelift_net::{Config, HostAddress, Publish};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn open() -> Config {
    Config { host_loopback: true, ..Config::default() }
}

/// Answers each datagram with its bytes in reverse.
fn reverser(v6: bool) -> u16 {
    let socket = UdpSocket::bind(if v6 { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut data = vec![0; 65536];
        loop {
            let (length, from) = socket.recv_from(&mut data).unwrap();
            data[..length].reverse();
            socket.send_to(&data[..length], from).unwrap();
        }
    });
    port
}

fn client(to: SocketAddr) -> UdpSocket {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { "::".parse().unwrap() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket
}

#[test]
fn datagrams_of_all_sizes_come_back() {
    let guest = Guest::start(open());
    for v6 in [false, true] {
        let gateway: IpAddr = if v6 { "fd00:f0::2" } else { "10.0.2.2" }.parse().unwrap();
        let to = SocketAddr::new(gateway, reverser(v6));
        guest.run(move || {
            let socket = client(to);
            for length in
                [0, 1, 1000, 1452, 1472, 1473, 3000, 20_000, 65_000, 65_507 - if v6 { 40 } else { 0 }]
            {
                let data: Vec<u8> = (0..length).map(|nth| (nth * 7 / 3) as u8).collect();
                socket.send(&data).unwrap();
                let mut got = vec![0; 65536];
                let length = socket.recv(&mut got).unwrap();
                got.truncate(length);
                got.reverse();
                assert!(got == data, "{} bytes", data.len());
            }
        });
    }
}

#[test]
fn a_port_without_anybody_is_refused_and_a_denied_one_prohibited() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let guest = Guest::start(open());
    let error = |to: SocketAddr| {
        guest.run(move || {
            let socket = client(to);
            socket.send(b"x").unwrap();
            socket.recv(&mut [0; 8]).map_err(|error| error.kind())
        })
    };
    let refused = Err(ErrorKind::ConnectionRefused);
    assert_eq!(error(SocketAddr::from(([10, 0, 2, 2], closed))), refused);
    assert_eq!(error(SocketAddr::from(([10, 0, 2, 3], 54))), refused);
    // Linux makes "no route to host" of "administratively prohibited".
    assert_eq!(error("169.254.169.254:80".parse().unwrap()), Err(ErrorKind::HostUnreachable));
    assert_eq!(error("[fd00:ec2::254]:80".parse().unwrap()), Err(ErrorKind::PermissionDenied));
}

#[test]
fn a_published_datagram_port_has_many_clients() {
    let published = Publish::parse("0:7001/udp").unwrap();
    let guest = Guest::start(Config { published, ..open() });
    let to = guest.handle.bound()[0].host;
    let socket = guest.run(|| UdpSocket::bind("0.0.0.0:7001").unwrap());
    let server = guest.spawn(move || {
        let mut data = [0; 2000];
        for _ in 0..60 {
            let (length, from) = socket.recv_from(&mut data).unwrap();
            assert_eq!(from.ip(), IpAddr::from([10, 0, 2, 2]));
            data[..length].reverse();
            socket.send_to(&data[..length], from).unwrap();
        }
    });
    let clients: Vec<_> = (0..20).map(|_| client(to)).collect();
    for round in 0..3_u8 {
        for (nth, client) in clients.iter().enumerate() {
            client.send(&[round, nth as u8, 7]).unwrap();
        }
        for (nth, client) in clients.iter().enumerate() {
            let mut got = [0; 3];
            client.recv(&mut got).unwrap();
            assert_eq!(got, [7, nth as u8, round]);
        }
    }
    server.join().unwrap();
}

/// A query for `name`.
fn query(id: u16, name: &str, kind: u8) -> Vec<u8> {
    let mut out = vec![(id >> 8) as u8, id as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend(label.bytes());
    }
    out.extend([0, 0, kind, 0, 1]);
    out
}

/// The answer with one record: an address, or 200 bytes of text.
fn response(query: &[u8], ip: Ipv4Addr) -> Vec<u8> {
    let mut out = query.to_vec();
    (out[2], out[3], out[7]) = (0x81, 0x80, 1);
    let kind = query[query.len() - 3];
    out.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 1, 0]);
    if kind == 1 {
        out.push(4);
        out.extend(ip.octets());
    } else {
        out.push(200);
        out.extend([b'x'; 200]);
    }
    out
}

/// A resolver: `a.test` is the host's own address, anything else 198.51.100.1. It speaks UDP and TCP.
fn resolver(own: Ipv4Addr) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    let answer = move |query: &[u8]| {
        let ip = if query[12..].starts_with(b"\x01a\x04test") { own } else { Ipv4Addr::new(198, 51, 100, 1) };
        response(query, ip)
    };
    thread::spawn(move || {
        let mut data = [0; 2000];
        loop {
            let (length, from) = udp.recv_from(&mut data).unwrap();
            udp.send_to(&answer(&data[..length]), from).unwrap();
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut data = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut data).unwrap();
            let answer = answer(&data);
            stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    address
}

const DNS: ([u8; 4], u16) = ([10, 0, 2, 3], 53);

fn ask(guest: &Guest, query: Vec<u8>) -> Vec<u8> {
    guest.run(move || {
        let socket = client(DNS.into());
        socket.send(&query).unwrap();
        let mut got = vec![0; 2000];
        let length = socket.recv(&mut got).unwrap();
        got.truncate(length);
        got
    })
}

/// An address of the host's that is not its loopback.
fn own_address() -> Ipv4Addr {
    let text = shell("ip -4 -o addr show scope global | awk '{print $4}' | head -n1").unwrap();
    let address = text.split('/').next().unwrap();
    address.parse().expect("these tests need an interface with an IPv4 address besides the loopback")
}

#[test]
fn names_are_asked_of_the_hosts_resolver_and_of_the_gateway() {
    // The first resolver does not answer, and the second has to.
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = Config { resolvers: vec![closed, resolver(own_address())], ..open() };
    config.add_hosts.push(("db.local".into(), HostAddress::Ip("10.9.8.7".parse().unwrap())));
    let guest = Guest::start(config);
    let asked = query(77, "b.test", 1);
    assert_eq!(ask(&guest, asked.clone()), response(&asked, Ipv4Addr::new(198, 51, 100, 1)));
    // A text record, which the gateway has no business with.
    let asked = query(78, "b.test", 16);
    assert_eq!(ask(&guest, asked.clone()).len(), asked.len() + 212);
    assert!(ask(&guest, query(79, "DB.local", 1)).ends_with(&[0, 4, 10, 9, 8, 7]));
    assert!(ask(&guest, query(80, "host.forelift.internal", 1)).ends_with(&[0, 4, 10, 0, 2, 2]));
    // A known name without an address of that family has an answer, which is empty.
    let none = ask(&guest, query(81, "db.local", 28));
    assert_eq!((none[3] & 15, none[7]), (0, 0));
}

#[test]
fn names_are_asked_by_tcp_too() {
    let resolvers = vec![resolver(own_address())];
    let guest = Guest::start(Config { resolvers, ..open() });
    let asked = query(5, "b.test", 1);
    let wanted = response(&asked, Ipv4Addr::new(198, 51, 100, 1));
    let got = guest.run(move || {
        let mut stream = TcpStream::connect(SocketAddr::from(DNS)).unwrap();
        stream.write_all(&[0, asked.len() as u8]).unwrap();
        stream.write_all(&asked).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    assert_eq!(got[2..], wanted);
}

#[test]
fn without_any_resolver_the_answer_is_a_failure() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let guest = Guest::start(Config { resolvers: vec![closed], ..open() });
    let answer = ask(&guest, query(5, "b.test", 1));
    assert_eq!((answer[1], answer[3] & 15), (5, 2));
}

#[test]
fn rules_hold_names_to_what_was_resolved() {
    let own = own_address();
    let listener = TcpListener::bind((own, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = SocketAddr::from((own, port));
    let connect =
        |guest: &Guest| guest.run(move || TcpStream::connect(to).map(drop).map_err(|error| error.kind()));
    let with = |rules: &[&str]| {
        let allow = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Guest::start(Config { allow, resolvers: vec![resolver(own)], ..Config::default() })
    };
    let refused = Err(ErrorKind::ConnectionRefused);
    // Everything that is not forbidden.
    assert_eq!(connect(&with(&[])), Ok(()));
    assert_eq!(connect(&with(&["198.51.100.0/24"])), refused);
    assert_eq!(connect(&with(&[&format!("{own}:{port}")])), Ok(()));
    assert_eq!(connect(&with(&[&format!("{own}:1")])), refused);
    let guest = with(&[&format!("a.test:{port}")]);
    assert_eq!(connect(&guest), refused);
    ask(&guest, query(1, "b.test", 1));
    assert_eq!(connect(&guest), refused);
    ask(&guest, query(2, "a.test", 1));
    assert_eq!(connect(&guest), Ok(()));
}

#[test]
fn inbound_only_has_no_way_out() {
    let own = own_address();
    let listener = TcpListener::bind((own, 0)).unwrap();
    let to = listener.local_addr().unwrap();
    let published = Publish::parse("0:7002").unwrap();
    let config = Config { outbound: false, published, resolvers: vec![resolver(own)], ..open() };
    let guest = Guest::start(config);
    let connect =
        |to: SocketAddr| guest.run(move || TcpStream::connect(to).map(drop).map_err(|error| error.kind()));
    assert_eq!(connect(to), Err(ErrorKind::NetworkUnreachable));
    // Nor by a route of its own making.
    guest.run(|| shell("ip route add default via 10.0.2.2").unwrap());
    assert_eq!(connect(to), Err(ErrorKind::ConnectionRefused));
    assert_eq!(connect(SocketAddr::from(([10, 0, 2, 2], to.port()))), Err(ErrorKind::ConnectionRefused));
    assert_eq!(ask(&guest, query(1, "b.test", 1))[3] & 15, 5);
    let inner = guest.run(|| TcpListener::bind("0.0.0.0:7002").unwrap());
    guest.spawn(move || inner.accept().unwrap().0.write_all(b"in").unwrap());
    let mut text = String::new();
    TcpStream::connect(guest.handle.bound()[0].host).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "in");
}

/// Sends an echo request with `length` bytes; who says what (type, code) to it, and how many bytes come back.
fn ping(to: &str, length: usize, ttl: u32) -> (IpAddr, [u8; 2], usize) {
    let to: IpAddr = to.parse().unwrap();
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut message = vec![if to.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0x12, 0x34, 0, 1];
    message.extend((0..length).map(|nth| nth as u8));
    if to.is_ipv4() {
        socket.set_ttl_v4(ttl).unwrap();
        let sum: u32 =
            message.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    } else {
        socket.set_unicast_hops_v6(ttl).unwrap();
    }
    socket.send_to(&message, &SocketAddr::new(to, 0).into()).unwrap();
    let mut got = vec![0; 65536];
    loop {
        let count = (&socket).read(&mut got).unwrap();
        // IPv4's header is included, and IPv6's is not.
        let (from, reply) = match to {
            IpAddr::V4(_) => (IpAddr::from([got[12], got[13], got[14], got[15]]), &got[20..count]),
            IpAddr::V6(_) => (to, &got[..count]),
        };
        // Neighbours are none of this.
        if matches!(reply[0], 0 | 3 | 11 | 1 | 129) {
            if matches!(reply[0], 0 | 129) {
                assert_eq!(reply[4..], message[4..]);
            }
            return (from, [reply[0], reply[1]], reply.len() - 8);
        }
    }
}

#[test]
fn echo_requests_are_answered() {
    let own = own_address().to_string();
    let guest = Guest::start(open());
    guest.run(move || {
        let reply = |to: &str, length| (to.parse().unwrap(), [0, 0], length);
        assert_eq!(ping("10.0.2.2", 56, 64), reply("10.0.2.2", 56));
        assert_eq!(ping("10.0.2.3", 56, 1), reply("10.0.2.3", 56));
        assert_eq!(ping("fd00:f0::2", 56, 64).1, [129, 0]);
        // Of the largest size that is no fragment, and in fragments.
        assert_eq!(ping("10.0.2.2", 1472, 64), reply("10.0.2.2", 1472));
        assert_eq!(ping("10.0.2.2", 20_001, 64), reply("10.0.2.2", 20_001));
        assert_eq!(ping("fd00:f0::2", 20_001, 64).2, 20_001);
        // Another host, by the host's own socket.
        assert_eq!(ping(&own, 100, 64), reply(&own, 100));
        assert_eq!(ping(&own, 3000, 64), reply(&own, 3000));
        let gateway: IpAddr = "10.0.2.2".parse().unwrap();
        // Its way ends at the first hop; a rule is against it.
        assert_eq!(ping("198.51.100.1", 56, 1), (gateway, [11, 0], 84));
        assert_eq!(ping("169.254.1.1", 56, 64), (gateway, [3, 13], 84));
        assert_eq!(ping("fd00:ec2::254", 56, 64).1, [1, 1]);
    });
}

#[test]
fn ordinary_programs_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    std::fs::write(&file, vec![b'f'; 5 << 20]).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = std::process::Command::new("python3")
        .args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()])
        .current_dir(folder.path())
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    let guest = Guest::start(open());
    let got = guest.run(move || {
        shell(&format!("curl -sS --max-time 30 http://10.0.2.2:{port}/data | sha256sum | cut -c1-64"))
    });
    server.kill().unwrap();
    server.wait().unwrap();
    let wanted = shell(&format!("sha256sum {} | cut -c1-64", file.display())).unwrap();
    assert_eq!(got, Ok(wanted));
}
