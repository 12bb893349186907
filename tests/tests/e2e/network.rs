//! The container's network: out, in, names, rules, two families, and none unless asked for.

use crate::testing::dir;
use forelift_tests::{
    done::Done,
    hosts::{Host, Place},
    images::Image,
    network::{Server, dns_answer},
    process::program,
    table::{Check, Group},
    workspace::{npm, tool},
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

pub(crate) const CASES: Group = &[
    ("none_unless_asked_for", Check::Everywhere(&Host::ALL, none_unless_asked_for)),
    ("interface", Check::On(&Host::NETWORKED, interface)),
    ("addresses_and_names", Check::On(&Host::GATEWAYS, addresses_and_names)),
    ("download", Check::On(&Host::NETWORKED, download)),
    ("upload", Check::On(&Host::NETWORKED, upload)),
    ("refused_reset_and_half_closed", Check::On(&Host::NETWORKED, refused_reset_and_half_closed)),
    ("udp", Check::On(&Host::NETWORKED, udp)),
    ("dns", Check::On(&Host::NETWORKED, dns)),
    ("statistics", Check::On(&[Host::Wasm], statistics)),
    ("ping_and_first_hop", Check::On(&[Host::Wasm], ping_and_first_hop)),
    ("ipv6", Check::On(&Host::GATEWAYS, ipv6)),
    ("rules", Check::On(&Host::GATEWAYS, rules)),
    ("loopback_of_the_host_is_closed", Check::On(&Host::NETWORKED, loopback_of_the_host_is_closed)),
    ("published", Check::On(&Host::NETWORKED, published)),
    ("published_udp", Check::On(&Host::GATEWAYS, published_udp)),
    ("published_leads_nowhere_else", Check::On(&Host::GATEWAYS, published_leads_nowhere_else)),
    ("iperf", Check::On(&[Host::Wasm], iperf)),
    ("nginx", Check::On(&Host::GATEWAYS, nginx)),
    ("redis", Check::On(&[Host::Wasm], redis)),
    ("git", Check::On(&Host::GATEWAYS, git)),
    ("pip", Check::On(&[Host::Wasm], pip)),
    ("npm_install", Check::On(&[Host::Wasm], npm_install)),
    ("apt", Check::On(&[Host::Wasm], apt)),
    ("iptables", Check::On(&[Host::Wasm], iptables)),
    ("two_guests", Check::On(&[Host::Wasm], two_guests)),
    ("idle_link_uses_no_cpu", Check::On(&Host::GATEWAYS, idle_link_uses_no_cpu)),
    ("mistakes", Check::Once(mistakes)),
];

/// The host, as the container sees it.
pub(crate) const HOST: &str = "10.0.2.2";
const HOST6: &str = "fd00:f0::2";
/// A network that leads to the host's loopback.
pub(crate) const OPEN: [&str; 2] = ["--net", "--net-host-loopback"];

pub(crate) fn python(host: Place, options: &[&str], code: &str) -> String {
    host.run(Image::Python3).options(options).args(["python3", "-c", code]).ok()
}

/// Bytes that repeat late.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn none_unless_asked_for(host: Place) {
    let server = Server::http(|_| Some(b"reached".to_vec()));
    let script = format!(
        "ls /sys/class/net; ip -o addr | awk '{{print $2, $4}}'; ip route | wc -l; cat /etc/resolv.conf | grep -c nameserver; \
         for a in {HOST} 127.0.0.1 10.0.2.15 [{HOST6}]; do wget -q -T 3 -O - http://$a:{}/ 2>&1 | grep -c reached || true; done",
        server.port()
    );
    let text = host.sh(&script).ok();
    assert_eq!(text, "lo\nlo 127.0.0.1/8\nlo ::1/128\n0\n0\n0\n0\n0\n0\n");
    assert_eq!(server.seen(), [""; 0]);
}

fn interface(host: Place) {
    let script = "ip -o addr show eth0 | awk '{print $4}' | sort; cat /sys/class/net/eth0/mtu /sys/class/net/eth0/address \
         /sys/class/net/eth0/carrier; ip route | grep default; ip -6 route | grep default; cat /etc/resolv.conf; grep -v localhost /etc/hosts; \
         cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let text = host.sh(script).option("--net").ok();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let [a, b, c, mtu, mac, carrier, v4, v6, dns, rest @ ..] = lines.as_slice() else { panic!("{text}") };
    assert_eq!([*a, *b], ["10.0.2.15/24", "fd00:f0::15/64"], "{text}");
    assert!(c.starts_with("fe80::") || c.is_empty(), "{text}");
    assert_eq!([*mtu, *mac, *carrier], ["1500", "02:f0:00:00:00:0f", "1"], "{text}");
    assert!(v4.starts_with("default via 10.0.2.2 dev eth0"), "{text}");
    assert!(v6.starts_with("default via fd00:f0::2 dev eth0"), "{text}");
    assert_eq!(*dns, "nameserver 10.0.2.3", "{text}");
    assert!(rest.iter().any(|line| line.starts_with("10.0.2.15")), "its own name: {text}");
    assert_eq!(rest.last(), Some(&"0"), "{text}");
}

fn addresses_and_names(host: Place) {
    let options = [
        "--net",
        "--ip",
        "192.168.77.5",
        "--ip",
        "2001:db8::5",
        "--mac",
        "02:00:00:00:77:05",
        "--add-host",
        "db:10.1.2.3",
        "--add-host",
        "up:host-gateway",
        "--dns-search",
        "example.org",
    ];
    let script = "ip -o -4 addr show eth0 | awk '{print $4}'; ip -o -6 addr show eth0 | grep -o 2001.*/64; \
         cat /sys/class/net/eth0/address; ip route | awk '/default/ {print $3}'; grep -wE 'db|up' /etc/hosts; cat /etc/resolv.conf";
    let text = host.sh(script).options(&options).ok();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "192.168.77.5/24 2001:db8::5/64 02:00:00:00:77:05 192.168.77.2 10.1.2.3 db 192.168.77.2 up 2001:db8::2 up \
         nameserver 192.168.77.3 search example.org"
    );
}

fn download(host: Place) {
    let data = bytes(20 << 20);
    let expected = hex(&data);
    let server = Server::http(move |path| (path == "/data").then(|| data.clone()));
    let code = format!(
        "import hashlib, urllib.request as u\nfor name in '{HOST}', 'host.forelift.internal':\n  \
         print(hashlib.sha256(u.urlopen(f'http://{{name}}:{}/data').read()).hexdigest())",
        server.port()
    );
    assert_eq!(python(host, &OPEN, &code), format!("{expected}\n{expected}\n"));
    assert_eq!(server.seen(), ["GET /data HTTP/1.1 0"; 2]);
}

/// Answers what it is sent with its digest, when the other side has ended; notes its length.
fn digests_on(ip: IpAddr) -> Server {
    Server::tcp_on(ip, |mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(hex(&all).as_bytes())?;
        Ok(all.len().to_string())
    })
}

/// Sends 251 bytes `times`, in one piece, and compares the digest.
fn send_and_compare(host: Place, ip: &str, server: &Server, times: usize) {
    let code = format!(
        "import socket, hashlib\nb = bytes(range(251)) * {times}\ns = socket.create_connection(('{ip}', {}))\n\
         s.sendall(b)\ns.shutdown(socket.SHUT_WR)\nr = b''\nwhile d := s.recv(999): r += d\n\
         print(r.decode() == hashlib.sha256(b).hexdigest())",
        server.port()
    );
    assert_eq!(python(host, &OPEN, &code), "True\n");
    assert_eq!(server.seen(), [(251 * times).to_string()]);
}

fn upload(host: Place) {
    send_and_compare(host, HOST, &digests_on(Ipv4Addr::LOCALHOST.into()), 80000);
}

fn refused_reset_and_half_closed(host: Place) {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let reset = Server::tcp(|stream| {
        // Unread data at the end makes it a reset.
        thread::sleep(Duration::from_millis(100));
        drop(stream);
        Ok("closed".into())
    });
    let half = Server::tcp(|mut stream| {
        stream.write_all(b"first")?;
        stream.shutdown(Shutdown::Write)?;
        let mut rest = String::new();
        stream.read_to_string(&mut rest)?;
        Ok(rest)
    });
    let code = format!(
        "import socket, time\n\
         def go(port):\n  s = socket.create_connection(('{HOST}', port), 20); return s\n\
         try: go({closed})\nexcept OSError as e: print(type(e).__name__)\n\
         s = go({}); s.send(b'x' * 1000)\n\
         try:\n  while s.recv(10): pass\n  print('end')\nexcept OSError as e: print(type(e).__name__)\n\
         s = go({}); f = s.makefile(); print(f.read()); s.send(b'second'); s.shutdown(socket.SHUT_WR); time.sleep(0.1)\n\
         s = socket.socket(); s.settimeout(3); s.bind(('', 0))\n\
         try: s.connect(('169.254.169.254', 80)); print('metadata')\nexcept OSError as e: print(type(e).__name__)",
        reset.port(),
        half.port()
    );
    let text = python(host, &OPEN, &code);
    assert_eq!(text, "ConnectionRefusedError\nConnectionResetError\nfirst\nConnectionRefusedError\n");
    assert_eq!(half.seen(), ["second"]);
}

fn udp(host: Place) {
    let server = Server::udp(|data| Some(data.iter().rev().copied().collect()));
    let closed = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a free port").port();
    let code = format!(
        "import socket\ns = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(20)\ns.connect(('{HOST}', {}))\n\
         for n in 1, 1472, 1473, 9000, 60000:\n  b = bytes(i * 7 & 255 for i in range(n)); s.send(b); print(n, s.recv(65535) == b[::-1])\n\
         s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(20); s.connect(('{HOST}', {closed})); s.send(b'x')\n\
         try: s.recv(9); print('answer')\nexcept OSError as e: print(type(e).__name__)",
        server.port()
    );
    let text = python(host, &OPEN, &code);
    assert_eq!(text, "1 True\n1472 True\n1473 True\n9000 True\n60000 True\nConnectionRefusedError\n");
}

/// A resolver, and its address.
fn resolver(names: fn(&str) -> Option<Ipv4Addr>) -> (Server, String) {
    let server = Server::resolver(move |query| dns_answer(query, names));
    let ip = server.address().ip().to_string();
    (server, ip)
}

fn dns(host: Place) {
    let (server, ip) = resolver(|name| (name == "www.example.org.").then_some(Ipv4Addr::new(192, 0, 2, 80)));
    let code = "import socket\nprint(socket.gethostbyname('www.example.org'))\n\
        try: socket.gethostbyname('no.example.org')\nexcept OSError as e: print(e)\n\
        s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(20); s.connect(('10.0.2.3', 53))\n\
        s.send(b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\3www\\7example\\3org\\0\\0\\x10\\0\\1'); r = s.recv(512); print(r[:2].hex(), r[-5:].decode())";
    let text = python(host, &["--net", "--dns", &ip], code);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("192.0.2.80"), "{text}");
    assert!(lines.next().is_some_and(|line| line.contains("Name or service not known")), "{text}");
    assert_eq!(lines.next(), Some("1234 hello"), "any type of record: {text}");
    assert!(server.seen().len() >= 3);
}

/// What the interface counts: every byte, once, and nothing else but what a kernel says on any new link.
fn statistics(host: Place) {
    const SIZE: u64 = 2 << 20;
    let server = Server::http(|_| Some(bytes(SIZE as usize)));
    let script = format!(
        "cd /sys/class/net/eth0/statistics; s() {{ cat rx_bytes rx_packets tx_bytes tx_packets; \
         cat [rt]x_errors [rt]x_dropped | awk '{{ n += $1 }} END {{ print n }}'; }}; s; wget -q -O /dev/null http://{HOST}:{}/; s",
        server.port()
    );
    let text = host.sh(&script).options(&OPEN).ok();
    let numbers: Vec<u64> = text.lines().map(|line| line.parse().expect("a number")).collect();
    let [r0, rp0, t0, tp0, lost0, r1, rp1, t1, tp1, lost1] = numbers[..] else { panic!("{text}") };
    assert!(r0 + rp0 == 0 && t0 < 1000 && tp0 < 10 && lost0 <= 1, "memberships of multicast groups: {text}");
    let (received, packets, sent, acks) = (r1 - r0, rp1 - rp0, t1 - t0, tp1 - tp0);
    // Headers of 66 bytes for each segment of at least 1460, and a few packets beside them.
    assert!((SIZE..SIZE + SIZE / 20).contains(&received), "{text}");
    assert!(packets >= SIZE / 65536 && received / packets <= 65535 + 14, "{text}");
    assert!(acks > 2 && sent >= acks * 54 && sent < SIZE / 8, "{text}");
    assert_eq!(lost1, lost0, "{text}");
}

fn ping_and_first_hop(host: Place) {
    let script = format!(
        "ping -c 2 -W 10 {HOST} | grep -c 'ttl='; ping -c 1 -W 10 {HOST6} | grep -c 'ttl='; \
         traceroute -n -q 1 -m 1 -w 10 192.0.2.1 | grep -o ' 10.0.2.2 '"
    );
    assert_eq!(host.sh(&script).option("--net").ok(), "2\n1\n 10.0.2.2 \n");
}

fn ipv6(host: Place) {
    send_and_compare(host, HOST6, &digests_on(Ipv6Addr::LOCALHOST.into()), 9000);
}

/// A program that says how connecting to each place went.
fn tries(places: &[(&str, u16)]) -> String {
    let places: Vec<String> = places.iter().map(|(ip, port)| format!("('{ip}', {port})")).collect();
    format!(
        "import socket\nfor place in [{}]:\n  try: socket.create_connection(place, 20); print('open')\n  except OSError as e: print(type(e).__name__)",
        places.join(", ")
    )
}

/// An address of this machine's that is no loopback's. Nothing is sent to find it.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a UDP socket");
    socket.connect("192.0.2.1:9").expect("a machine with an address");
    socket.local_addr().expect("its address").ip()
}

fn rules(host: Place) {
    let own = own_address();
    let a = Server::tcp_on(own, |_| Ok("reached".into()));
    let b = Server::tcp_on(own, |_| Ok("reached".into()));
    let own = own.to_string();
    let code = tries(&[(&own, a.port()), (&own, b.port()), ("192.0.2.1", 9), (HOST, a.port())]);
    let allow = format!("{own}/32:{}", a.port());
    let text = python(host, &["--net", "--net-allow", &allow], &code);
    assert_eq!(text, "open\nConnectionRefusedError\nConnectionRefusedError\nConnectionRefusedError\n");
    assert_eq!((a.seen().len(), b.seen().len()), (1, 0));
    // What a name stands for is allowed once the container has asked for it.
    let (_resolver, ip) = resolver(|_| Some(Ipv4Addr::new(192, 0, 2, 80)));
    let code =
        format!("import socket\nsocket.gethostbyname('www.example.org')\n{}", tries(&[(&own, a.port())]));
    let text = python(host, &["--net", "--net-allow", "www.example.org", "--dns", &ip], &code);
    assert_eq!(text, "ConnectionRefusedError\n");
}

fn loopback_of_the_host_is_closed(host: Place) {
    let server = Server::tcp(|_| Ok("reached".into()));
    let port = server.port();
    let code = tries(&[(HOST, port), (HOST6, port), ("::ffff:127.0.0.1", port), ("0.0.0.0", port)]);
    assert_eq!(python(host, &["--net"], &code), "ConnectionRefusedError\n".repeat(4));
    assert_eq!(server.seen(), [""; 0]);
}

/// What a request to `/` of a server in a container gives, once it answers.
pub(crate) fn get(address: SocketAddr) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            stream.write_all(b"GET /file HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        match ask() {
            Ok(text) if !text.is_empty() => return text,
            last => assert!(Instant::now() < deadline, "{address}: {last:?}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn published(host: Place) {
    let script = "echo from the container > /tmp/file; httpd -f -h /tmp -p 80";
    let mut run = host.sh(script).options(&["-p", "0:80", "-p", "[::1]::80"]).spawn();
    let address = run.published("80/tcp");
    assert_eq!(address.ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
    for _ in 0..3 {
        assert!(get(address).ends_with("\r\n\r\nfrom the container\n"));
    }
    // The container refuses: so does the host.
    let mut run = host.sh("sleep 30").options(&["-p", "0:80"]).spawn();
    let mut stream = TcpStream::connect(run.published("80/tcp")).expect("a published port");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    let ended = stream.read(&mut [0; 1]);
    match host.host {
        // WASI has no way to reset a connection.
        Host::Component => assert!(matches!(ended, Ok(0)), "{ended:?}"),
        _ => assert!(
            matches!(ended, Err(ref e) if e.kind() == std::io::ErrorKind::ConnectionReset),
            "{ended:?}"
        ),
    }
}

fn published_udp(host: Place) {
    let code = "import socket\ns = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 5353)); print('ready', flush=True)\n\
        while True:\n  b, a = s.recvfrom(9999); s.sendto(b[::-1], a)";
    let mut run =
        host.run(Image::Python3).options(&["-p", "0:5353/udp"]).args(["python3", "-c", code]).spawn();
    let address = run.published("5353/udp");
    run.expect("ready");
    for n in 0..2 {
        // Each peer of its own gets its own answers.
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP socket");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        socket.send_to(&[n, 1, 2], address).expect("sending");
        let mut answer = [0; 9];
        let (len, from) = socket.recv_from(&mut answer).expect("an answer");
        assert_eq!((&answer[..len], from), (&[2, 1, n][..], address));
    }
}

fn published_leads_nowhere_else(host: Place) {
    let server = Server::tcp(|_| Ok("reached".into()));
    let code = tries(&[(HOST, server.port()), ("192.0.2.1", 9)])
        + "\nprint(open('/etc/resolv.conf').read().count('nameserver'))";
    let done = host.run(Image::Python3).options(&["-p", "0:80"]).args(["python3", "-c", &code]).go();
    assert_eq!(done.status(), 0);
    let text = done.out();
    assert!(!text.contains("open"), "{text}");
    assert!(text.ends_with("0\n"), "{text}");
    assert_eq!(server.seen(), [""; 0]);
}

fn iperf(host: Place) {
    let mut run = host
        .run(Image::Net)
        .options(&["-p", "0:5201"])
        .args(["iperf3", "-s", "--forceflush"])
        .deadline(300)
        .spawn();
    let port = run.published("5201/tcp").port().to_string();
    run.expect("Server listening");
    for way in [&[][..], &["-R"]] {
        let done = program(tool("iperf3"), |c| {
            c.args(["-c", "127.0.0.1", "-p", &port, "-t", "2", "-J"]).args(way);
        });
        let report: serde_json::Value = serde_json::from_str(&done.ok()).expect("JSON");
        let bytes = report["end"]["sum_received"]["bytes"].as_u64().unwrap_or(0);
        assert!(bytes > 1 << 20, "{way:?}: {bytes} bytes");
    }
}

fn nginx(host: Place) {
    let mut run =
        host.run(Image::Net).option("-P").args(["nginx", "-g", "daemon off;"]).deadline(300).spawn();
    let address = run.published("80/tcp");
    assert!(get(address).contains("404 Not Found"));
    let url = format!("http://{address}/");
    for connections in ["1", "50"] {
        let done = program(tool("wrk"), |c| {
            c.args(["-t", "1", "-c", connections, "-d", "2s", "--timeout", "30s", &url]);
        });
        let text = done.ok();
        assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
        let count = text.lines().find_map(|line| line.trim().split_once(" requests in"));
        assert!(count.is_some_and(|(n, _)| n.parse::<u32>().is_ok_and(|n| n > 20)), "{text}");
    }
}

fn redis(host: Place) {
    let server = ["redis-server", "--save", "", "--protected-mode", "no"];
    let mut run = host.run(Image::Net).options(&["-p", "0:6379"]).args(server).deadline(300).spawn();
    let port = run.published("6379/tcp").port().to_string();
    run.expect("Ready to accept connections");
    for pipeline in ["1", "16"] {
        let done = program(tool("redis-benchmark"), |c| {
            c.args(["-p", &port, "-t", "set,get", "-n", "2000", "-c", "10", "-P", pipeline, "--csv"]);
        });
        let text = done.ok();
        for test in ["SET", "GET"] {
            assert!(text.contains(&format!("\"{test}\",\"")), "{text}");
        }
    }
}

/// A server for the files in a directory.
fn files(dir: &Path) -> Server {
    let dir = dir.to_owned();
    Server::http(move |path| {
        let path = dir.join(path.split('?').next().unwrap_or_default().trim_start_matches('/'));
        fs::read(&path).or_else(|_| fs::read(path.join("index.html"))).ok()
    })
}

/// Runs a shell script of the host's in a directory.
fn on_host(dir: &Path, script: &str) {
    program("sh", |c| {
        c.args(["-euc", script]).current_dir(dir);
    })
    .ok();
}

fn net(host: Place, script: &str) -> Done {
    host.run(Image::Net).options(&OPEN).args(["sh", "-euc", script]).deadline(300).go()
}

fn git(host: Place) {
    let place = dir();
    let make = "export GIT_CONFIG_GLOBAL=/dev/null; git init -q work; cd work; for n in 1 2 3; do echo $n >file; git add file; \
         git -c user.name=a -c user.email=a@b commit -q -m $n; done; git clone -q --bare . ../repo.git; cd ../repo.git; git update-server-info";
    on_host(place.path(), make);
    let server = files(place.path());
    let script = format!(
        "git clone -q http://{HOST}:{}/repo.git /tmp/x; git -C /tmp/x log --format=%s; cat /tmp/x/file",
        server.port()
    );
    let done = net(host, &script);
    assert_eq!((done.status(), done.out().as_str()), (0, "3\n2\n1\n3\n"), "{done}");
}

fn pip(host: Place) {
    let place = dir();
    let make = "python3 -c \"import zipfile, os; os.makedirs('simple/tiny'); n = 'tiny-1.0.dist-info/'\nwith zipfile.ZipFile('simple/tiny/tiny-1.0-py3-none-any.whl', 'w') as z:\n  \
         z.writestr('tiny.py', 'X = 42'); z.writestr(n + 'METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n')\n  \
         z.writestr(n + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'); z.writestr(n + 'RECORD', '')\n\
open('simple/tiny/index.html', 'w').write('<a href=tiny-1.0-py3-none-any.whl>tiny-1.0-py3-none-any.whl</a>')\"";
    on_host(place.path(), make);
    let server = files(place.path());
    let script = format!(
        "pip install -q --break-system-packages --root-user-action ignore --no-input --disable-pip-version-check \
         --index-url http://{HOST}:{}/simple/ --trusted-host {HOST} tiny; python3 -c 'import tiny; print(tiny.X)'",
        server.port()
    );
    let done = net(host, &script);
    assert_eq!((done.status(), done.out().as_str()), (0, "42\n"), "{done}");
}

/// A registry of one package, of two files.
fn npm_install(host: Place) {
    let place = dir();
    let make = "mkdir package; echo '{\"name\":\"tiny\",\"version\":\"1.0.0\",\"main\":\"tiny.js\"}' >package/package.json; \
         echo 'module.exports = 42' >package/tiny.js; tar -c -z -f tiny-1.0.0.tgz package; openssl dgst -sha512 -binary tiny-1.0.0.tgz | \
         base64 -w 0 >digest";
    on_host(place.path(), make);
    let read = |name: &str| fs::read(place.path().join(name)).expect("a file of the registry");
    let (package, digest) = (read("tiny-1.0.0.tgz"), String::from_utf8(read("digest")).expect("base64"));
    // The registry's answer names its own port, which is known once it is there.
    let own = Arc::new(OnceLock::new());
    let server = Server::http({
        let own = own.clone();
        move |path| match path {
            "/tiny/-/tiny-1.0.0.tgz" => Some(package.clone()),
            "/tiny" => {
                let port: &u16 = own.get()?;
                let tarball = format!("http://{HOST}:{port}/tiny/-/tiny-1.0.0.tgz");
                let version = json!({ "name": "tiny", "version": "1.0.0",
                    "dist": { "tarball": tarball, "integrity": format!("sha512-{digest}") } });
                let about = json!({ "name": "tiny", "dist-tags": { "latest": "1.0.0" },
                    "versions": { "1.0.0": version } });
                Some(about.to_string().into_bytes())
            }
            _ => None,
        }
    });
    own.set(server.port()).expect("it is set once");
    let script = format!(
        "cd /root; node /npm/bin/npm-cli.js install --no-audit --no-fund --no-update-notifier --loglevel error \
         --registry http://{HOST}:{}/ tiny >&2; node -p 'require(\"tiny\")'",
        server.port()
    );
    let npm = format!("{}:/npm:ro", npm().display());
    let run = host.run(Image::Net).options(&OPEN).options(&["-v", &npm]).args(["sh", "-euc", &script]);
    let done = run.deadline(600).go();
    assert_eq!((done.status(), done.out().as_str()), (0, "42\n"), "{done}");
}

fn apt(host: Place) {
    let place = dir();
    let make = "mkdir -p p/DEBIAN p/usr/share/tiny; echo hi >p/usr/share/tiny/word; \
         printf 'Package: tiny\\nVersion: 1\\nArchitecture: all\\nMaintainer: a <a@b>\\nDescription: tiny\\n' >p/DEBIAN/control; \
         dpkg-deb -b p tiny.deb >/dev/null; { dpkg-deb -f tiny.deb; echo Filename: ./tiny.deb; echo Size: $(stat -c %s tiny.deb); \
         echo SHA256: $(sha256sum tiny.deb | cut -d ' ' -f 1); } >Packages";
    on_host(place.path(), make);
    let server = files(place.path());
    let script = format!(
        "rm -f /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] http://{HOST}:{}/ ./' >/etc/apt/sources.list; \
         apt-get -q update; apt-get -q install -y tiny; cat /usr/share/tiny/word",
        server.port()
    );
    let done = net(host, &script);
    assert!(done.status() == 0 && done.out().ends_with("\nhi\n"), "{done}");
}

fn iptables(host: Place) {
    let server = Server::http(|_| Some(b"reached".to_vec()));
    let port = server.port();
    let script = format!(
        "iptables -t nat -A OUTPUT -p tcp -d 198.51.100.1 --dport 80 -j DNAT --to-destination {HOST}:{port}; \
         iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT; ip6tables -A INPUT -p icmpv6 -j ACCEPT; \
         iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE; iptables -A OUTPUT -p tcp --dport 81 -j REJECT --reject-with tcp-reset; \
         curl -s http://198.51.100.1/; echo; curl -s http://{HOST}:81/ || echo $?; \
         ip link add br0 type bridge; ip link add d0 type dummy; ip link add v0 type veth peer name v1; \
         ip link add link eth0 name eth0.5 type vlan id 5; ip link add m0 link eth0 type macvlan; ip -br link | wc -l"
    );
    let done = net(host, &script);
    assert_eq!((done.status(), done.out().as_str()), (0, "reached\n7\n8\n"), "{done}");
}

fn two_guests(host: Place) {
    let place = dir();
    let socket = place.path().join("link").display().to_string();
    let server = "echo up; httpd -f -h /etc -p 80";
    let mut first = host.sh(server).options(&["--net-stream", &format!("unix-listen:{socket}")]).spawn();
    first.expect("up");
    let script = "for n in 1 2 3 4 5 6 7 8 9; do wget -q -T 5 -O - http://10.0.2.15/hostname && break; sleep 1; done; ping -c 1 -W 5 fd00:f0::15 | grep -c ttl=";
    let options = ["--net-stream", &format!("unix:{socket}"), "--ip", "10.0.2.16", "--ip", "fd00:f0::16"];
    let text = host.sh(script).options(&options).ok();
    let mut lines = text.lines();
    assert!(lines.next().is_some_and(|name| name.len() == 12), "{text}");
    assert_eq!(lines.next(), Some("1"), "{text}");
}

fn idle_link_uses_no_cpu(host: Place) {
    let mut run = host.sh("echo up; read x; echo end").option("--net").held_stdin().spawn();
    run.expect("up");
    thread::sleep(Duration::from_secs(1));
    let before = run.cpu();
    thread::sleep(Duration::from_secs(10));
    let used = run.cpu() - before;
    run.end_stdin();
    assert!(used <= Duration::from_millis(100), "{used:?} in 10 s");
}

fn mistakes() {
    let run = |options: &[&str]| Host::Wasm.riscv64().sh("true").options(options).go();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port();
    run(&["-p", &format!("{port}:80")]).one_error(&[&format!("-p {port}:80"), "in use"]);
    run(&["-p", "80:x"]).one_error(&["-p 80:x", "8080:80"]);
    run(&["--net-host-loopback"]).one_error(&["--net-host-loopback", "add --net"]);
    run(&["--net", "--net-allow", "10.0.0.0/99"]).one_error(&["--net-allow 10.0.0.0/99"]);
    run(&["--net", "--net-capture", "/no/such/file"])
        .one_error(&["--net-capture /no/such/file", "No such file"]);
    run(&["--net-stream", "unix:/no/such/socket"]).one_error(&["/no/such/socket"]);
}
