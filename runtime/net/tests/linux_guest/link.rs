//! The link itself: captures, streams between two guests, and handles.

use crate::guest::Guest;
use forelift_net::{
    Config,
    native::{Gateway, Handle, Stream},
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// Something written from another thread.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Two guests, one a server and the other its client.
fn talk(one: &Guest, two: &Guest) {
    let listener = one.run(|| TcpListener::bind("0.0.0.0:7003").unwrap());
    let data: Arc<[u8]> = (0..8_000_000_u32).map(|nth| (nth / 5) as u8).collect();
    let sent = data.clone();
    one.spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        assert_eq!(from.ip().to_string(), "10.0.2.16");
        stream.write_all(&sent).unwrap();
    });
    let got = two.run(|| {
        let mut all = Vec::new();
        TcpStream::connect("10.0.2.15:7003").unwrap().read_to_end(&mut all).unwrap();
        all
    });
    assert!(got == *data, "{} bytes", got.len());
}

fn two_guests(one: Handle, two: Handle) {
    let config = Config { ipv6: None, ..Config::default() };
    let one = Guest::on(Arc::new(one), &config.network());
    let mut other = Config { mac: [2, 0, 0, 0, 0, 1], ..config };
    other.set_guest_ip("10.0.2.16".parse().unwrap()).unwrap();
    let two = Guest::on(Arc::new(two), &other.network());
    talk(&one, &two);
}

#[test]
fn two_guests_by_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("unix:{}", folder.path().join("link").display());
    assert!(
        Stream::connect(&text, None, |_| ())
            .err()
            .unwrap()
            .to_string()
            .starts_with(&format!("--net-stream {text}: "))
    );
    let one = Stream::listen(&text, None, |_| ()).unwrap();
    two_guests(one, Stream::connect(&text, None, |_| ()).unwrap());
}

#[test]
fn two_guests_by_tcp_with_a_capture() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!("tcp:127.0.0.1:{port}");
    let file = Written::default();
    let one = Stream::listen(&text, Some(Box::new(file.clone())), |_| ()).unwrap();
    two_guests(one, Stream::connect(&text, None, |_| ()).unwrap());
    assert!(file.0.lock().unwrap().len() > 8_000_000);
    for bad in ["", "unix:", "tcp:", "udp:1.2.3.4:5", "/path"] {
        let error = Stream::connect(bad, None, |_| ()).err().unwrap().to_string();
        assert!(error.contains("unix:PATH or tcp:HOST:PORT"), "{error}");
    }
}

#[test]
fn a_peer_that_is_gone_is_told_behind_its_packets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp:{}", listener.local_addr().unwrap());
    for (bytes, frames, words) in [
        (&b"\0\0\0\x04abcd\0\0\0\x02ef"[..], 2, "has closed the stream"),
        (&b"\0\0\0\x04abcd\0\0\0\x02"[..], 1, "within a frame"),
        (&b"GET / HTTP/1.1\r\n\r\n"[..], 0, "QEMU's stream framing"),
    ] {
        let (tell, told) = std::sync::mpsc::channel();
        let handle = Stream::connect(&text, None, move |end| tell.send(end.to_string()).unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        assert!(!handle.has_ended());
        peer.write_all(bytes).unwrap();
        drop(peer);
        let why = told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(why.contains(words), "{why}");
        // The end follows the words about it.
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut seen = 0;
        while !handle.has_ended() {
            assert!(Instant::now() < deadline && polls(&handle, Duration::from_secs(10)));
            handle.clear();
            handle.receive(&mut |_| {
                seen += 1;
                true
            });
        }
        assert_eq!(seen, frames);
        // What is sent then is lost, as on a link that is down.
        assert!(handle.send(&[&[0; 12], &[0; 60]]));
    }
}

#[test]
fn a_capture_has_both_directions() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; 21]).unwrap();
        stream.write_all(b"a secret of the host's").unwrap();
    });
    let config = Config { host_loopback: true, ..Config::default() };
    let (file, network) = (Written::default(), config.network());
    let handle = Gateway::start(config, Some(Box::new(file.clone()))).unwrap();
    let guest = Guest::on(Arc::new(handle), &network);
    guest.run(move || {
        let mut stream = TcpStream::connect(("10.0.2.2", port)).unwrap();
        stream.write_all(b"a word of the guest's").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    drop(guest);
    let bytes = file.0.lock().unwrap().clone();
    let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(has(b"a secret of the host's") && has(b"a word of the guest's"));
}

fn polls(handle: &Handle, wait: Duration) -> bool {
    crate::guest::readable(handle.as_fd(), wait)
}

#[test]
fn the_descriptor_tells_of_packets_and_of_room() {
    let handle = Gateway::start(Config::default(), None).unwrap();
    assert!(!handle.has_packets() && handle.has_room() && !polls(&handle, Duration::ZERO));
    // A question for the gateway's address (ARP), which is answered.
    let mut ask = vec![0; 12];
    ask.extend([0xff; 6]);
    ask.extend(Config::default().mac);
    ask.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    ask.extend(Config::default().mac);
    ask.extend([10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
    assert!(handle.send(&[&ask[..12], &ask[12..20], &ask[20..]]));
    assert!(polls(&handle, Duration::from_secs(10)) && handle.has_packets());
    handle.clear();
    assert!(!polls(&handle, Duration::ZERO) && handle.has_packets());
    let mut seen = 0;
    handle.receive(&mut |_| {
        seen += 1;
        false
    });
    assert!(seen == 1 && handle.has_packets());
    handle.receive(&mut |packet| {
        assert_eq!((packet.len(), packet[12 + 14 + 7]), (72, 2));
        true
    });
    assert!(!handle.has_packets());
    // A guest that never reads: what it asks for is lost, its queue has room again, and memory has an end.
    let start = Instant::now();
    for _ in 0..200_000 {
        while !handle.send(&[&ask]) {
            assert!(polls(&handle, Duration::from_secs(10)), "no news of room");
            handle.clear();
        }
    }
    while start.elapsed() < Duration::from_secs(20) && !handle.has_room() {}
    let (mut packets, mut bytes) = (0, 0);
    thread::sleep(Duration::from_millis(200));
    handle.receive(&mut |packet| {
        packets += 1;
        bytes += packet.len();
        true
    });
    assert!(packets > 10_000 && bytes < 6 << 20, "{packets} packets, {bytes} bytes");
}
