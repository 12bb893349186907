//! Containers whose network is a relay (`forelift net-relay`), under `forelift run` and under Node.

use crate::network::{bytes, get, hex};
use forelift_tests::{
    hosts::{Host, Place},
    images::Image,
    network::Server,
    process::Signal,
    relay::Relay,
    table::{Check, Group},
};
use std::{
    io::{Read, Write},
    net::TcpListener,
};

pub(crate) const CASES: Group = &[
    ("tcp", Check::On(&[Host::Wasm, Host::Native, Host::Node], tcp)),
    ("websocket", Check::On(&[Host::Node], websocket)),
    ("input_and_packets_at_once", Check::On(&[Host::Wasm, Host::Node], input_and_packets_at_once)),
    ("published", Check::On(&[Host::Wasm, Host::Node], published)),
    ("nothing_but_what_is_allowed", Check::On(&[Host::Wasm], nothing_but_what_is_allowed)),
    ("relay_that_ends", Check::On(&[Host::Wasm, Host::Native, Host::Node], relay_that_ends)),
    ("own_arguments", Check::On(&Host::ALL, own_arguments)),
];

const TCP: &str = "tcp:127.0.0.1:0";
/// The host's loopback is open.
const OPEN: [&str; 1] = ["--net-host-loopback"];

/// Fetches and sends a MiB, by address and by name.
fn fetch_and_send(host: Place, relay: &Relay) {
    let data = bytes(1 << 20);
    let expected = hex(&data);
    let pages = Server::http(move |path| (path == "/data").then(|| data.clone()));
    let digests = Server::tcp(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(hex(&all).as_bytes())?;
        Ok(all.len().to_string())
    });
    let code = format!(
        "import hashlib, socket, urllib.request as u\nfor name in '10.0.2.2', 'host.forelift.internal':\n  \
         print(hashlib.sha256(u.urlopen(f'http://{{name}}:{}/data').read()).hexdigest())\n\
         b = bytes(range(251)) * 4000\ns = socket.create_connection(('10.0.2.2', {}))\n\
         s.sendall(b)\ns.shutdown(socket.SHUT_WR)\nr = b''\nwhile d := s.recv(999): r += d\n\
         print(r.decode() == hashlib.sha256(b).hexdigest())",
        pages.port(),
        digests.port()
    );
    let run = host.run(Image::Python3).args(["python3", "-c", &code]).net_stream(&relay.address);
    assert_eq!(run.deadline(300).ok(), format!("{expected}\n{expected}\nTrue\n"));
    assert_eq!(digests.seen(), ["1004000"]);
}

fn tcp(host: Place) {
    let mut relay = Relay::start(TCP, &OPEN);
    fetch_and_send(host, &relay);
    relay.running.said("forelift: guest 1 (");
    relay.running.signal(Signal::SIGTERM);
    assert_eq!(relay.running.finish().status(), 0);
}

fn websocket(host: Place) {
    let relay = Relay::start("ws://127.0.0.1:0/net", &OPEN);
    assert!(relay.address.ends_with("/net"), "{}", relay.address);
    fetch_and_send(host, &relay);
}

/// Neither standard input nor the network holds the other up.
fn input_and_packets_at_once(host: Place) {
    let echo = Server::tcp(|mut stream| {
        let mut byte = [0];
        while stream.read(&mut byte)? == 1 {
            stream.write_all(&byte)?;
        }
        Ok("ended".into())
    });
    let relay = Relay::start(TCP, &OPEN);
    let script = format!("echo up; nc 10.0.2.2 {}", echo.port());
    let mut run = host.sh(&script).net_stream(&relay.address).held_stdin().spawn();
    run.expect("up");
    for word in ["first", "second", "third"] {
        run.write(format!("{word}\n").as_bytes());
        run.expect(&format!("{word}\n"));
    }
    run.end_stdin();
    let done = run.finish();
    assert_eq!((done.status(), done.out().as_str()), (0, "up\nfirst\nsecond\nthird\n"), "{done}");
}

fn published(host: Place) {
    let mut relay = Relay::start(TCP, &["-p", "0:80"]);
    let address = relay.running.published("80/tcp");
    for _ in 0..2 {
        let script = "echo from the container > /tmp/file; echo up; httpd -f -h /tmp -p 80";
        let mut run = host.sh(script).net_stream(&relay.address).spawn();
        run.expect("up");
        assert!(get(address).ends_with("\r\n\r\nfrom the container\n"));
        // There is no place for a second guest, whose link is then dead.
        let second = Host::Wasm.riscv64().sh("ping -c 1 -W 2 10.0.2.2 >/dev/null || echo alone");
        let done = second.net_stream(&relay.address).go().expect_status(0);
        let done = done.expect_out("alone\n");
        assert!(done.err().starts_with("forelift: the container's link is down: --net-stream: "), "{done}");
    }
}

fn nothing_but_what_is_allowed(host: Place) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = server.local_addr().expect("its address").port();
    let relay = Relay::start(TCP, &["--net-allow", "192.0.2.7/32:80"]);
    let script = format!(
        "for to in '10.0.2.2 {port}' '192.0.2.1 80'; do nc -w 20 $to </dev/null 2>/dev/null; echo $?; done"
    );
    assert_eq!(host.sh(&script).net_stream(&relay.address).ok(), "1\n1\n");
}

/// The container goes on, and its link is down.
fn relay_that_ends(host: Place) {
    let relay = Relay::start(TCP, &[]);
    let script = "cat /sys/class/net/eth0/carrier; echo up; until [ $(cat /sys/class/net/eth0/carrier) = 0 ]; do sleep 0.1; done; echo down";
    let mut run = host.sh(script).net_stream(&relay.address).deadline(120).spawn();
    run.expect("1\nup");
    relay.running.signal(Signal::SIGTERM);
    assert_eq!(relay.running.finish().status(), 0);
    run.expect("down");
    run.said("forelift: the container's link is down: --net-stream: the other end has closed the stream");
    assert_eq!(run.finish().status(), 0);
}

fn own_arguments(host: Place) {
    let refused = |option: &str, value: &str, words: &[&str]| {
        host.run(Image::Busybox).args([option, value, "true"]).go().expect_status(125).one_error(words);
    };
    refused("--net-stream", "tcp:127.0.0.1:9", &["--net-stream tcp:127.0.0.1:9", "fd:N", "forelift run"]);
    refused("--dns", "10.0.2.3", &["--dns", "add --net, -p or --net-stream fd:N"]);
    let words = if host.host.is_ours() { "forelift run --net-stream" } else { "no such descriptor" };
    refused("--net-stream", "fd:77", &["--net-stream", words]);
}
