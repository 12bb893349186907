//! Many connections of the container's, and peers that do not do their part.

use crate::network::{HOST, OPEN, hex, python};
use forelift_tests::{
    hosts::{Host, Place},
    network::Server,
    table::{Check, Group},
};
use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

pub(crate) const CASES: Group = &[
    ("many_connections", Check::On(&Host::GATEWAYS, many_connections)),
    ("a_peer_that_never_reads", Check::On(&Host::GATEWAYS, a_peer_that_never_reads)),
    (
        "a_reset_towards_a_peer_that_never_reads",
        Check::On(&Host::GATEWAYS, a_reset_towards_a_peer_that_never_reads),
    ),
    ("what_is_sent_last_arrives", Check::On(&Host::NETWORKED, what_is_sent_last_arrives)),
];

fn many_connections(host: Place) {
    let server = Server::tcp(|mut stream| {
        let mut word = [0; 4];
        stream.read_exact(&mut word)?;
        stream.write_all(&word)?;
        Ok(String::new())
    });
    let code = format!(
        "import socket\nto = ('{HOST}', {})\n\
         def rounds(all):\n  for i, s in enumerate(all): s.send(i.to_bytes(4, 'big'))\n  return sum(s.recv(4) == i.to_bytes(4, 'big') for i, s in enumerate(all))\n\
         print(rounds([socket.create_connection(to) for _ in range(200)]))\n\
         print(sum(rounds([socket.create_connection(to)]) for _ in range(500)))",
        server.port()
    );
    assert_eq!(python(host, &OPEN, &code), "200\n500\n");
}

fn a_peer_that_never_reads(host: Place) {
    let server = Server::tcp(|stream| {
        thread::sleep(Duration::from_secs(3));
        drop(stream);
        Ok(String::new())
    });
    let answers = Server::tcp(|mut stream| {
        stream.write_all(b"at once")?;
        Ok(String::new())
    });
    // The flood stops at some megabytes; another connection is not held up.
    let code = format!(
        "import socket\ns = socket.create_connection(('{HOST}', {})); s.setblocking(False); n = 0\n\
         import time\nend = time.monotonic() + 2\n\
         while time.monotonic() < end:\n  try: n += s.send(bytes(65536))\n  except BlockingIOError: time.sleep(0.01)\n  except OSError: break\n\
         print(0 < n < 50 << 20); print(socket.create_connection(('{HOST}', {})).makefile().read())",
        server.port(),
        answers.port()
    );
    assert_eq!(python(host, &OPEN, &code), "True\nat once\n");
}

fn a_reset_towards_a_peer_that_never_reads(host: Place) {
    const STILL: Duration = Duration::from_secs(40);
    let stubborn = Server::tcp(|stream| {
        thread::sleep(STILL);
        drop(stream);
        Ok(String::new())
    });
    let answers = Server::tcp(|mut stream| {
        stream.write_all(b"at once")?;
        Ok(String::new())
    });
    let (begin, to) = (Instant::now(), stubborn.port());
    // One connection is reset, another is left as it is: neither holds up what follows, nor the end.
    let code = format!(
        "import socket, struct, time\n\
         def fill():\n  s = socket.create_connection(('{HOST}', {to})); s.setblocking(False); end = time.monotonic() + 1\n  \
           while time.monotonic() < end:\n    try: s.send(bytes(65536))\n    except BlockingIOError: time.sleep(0.01)\n  return s\n\
         a, b = fill(), fill(); a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); a.close()\n\
         time.sleep(0.2); print(socket.create_connection(('{HOST}', {})).makefile().read())",
        answers.port()
    );
    assert_eq!(python(host, &OPEN, &code), "at once\n");
    assert!(begin.elapsed() < STILL, "{:?}", begin.elapsed());
}

fn what_is_sent_last_arrives(host: Place) {
    let server = Server::tcp(|mut stream| {
        thread::sleep(Duration::from_millis(300));
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        Ok(hex(&all))
    });
    let code = format!(
        "import os, socket\ns = socket.create_connection(('{HOST}', {})); s.sendall(bytes(range(250)) * 400); os._exit(0)",
        server.port()
    );
    assert_eq!(python(host, &OPEN, &code), "");
    let expected: Vec<u8> = (0..250).collect::<Vec<u8>>().repeat(400);
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.seen().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.seen(), [hex(&expected)]);
}
