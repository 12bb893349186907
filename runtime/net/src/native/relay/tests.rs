//! Relays on the host's loopback, with guests that are made of single frames.

use super::*;
use crate::{
    testing::{packet, segment},
    wire::{SYN, TYPE_ARP},
};
use forelift_abi::net::{HEADER, MAX_FRAME};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::mpsc::{self, Receiver},
    time::Instant,
};
use tungstenite::{HandshakeError, Message, WebSocket, client::IntoClientRequest};

const LIMIT: Duration = Duration::from_secs(20);
/// The guests' Ethernet addresses end so, each differently.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

struct Bench {
    addresses: Vec<String>,
    published: Vec<SocketAddr>,
    notes: Receiver<String>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<Result<(), RelayError>>>,
}

fn options(listen: &[&str]) -> RelayOptions {
    RelayOptions {
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        config: Config::default(),
        max_guests: 16,
        allow_origins: Vec::new(),
    }
}

/// A relay, with a change to what its guests have in common.
fn start(options: RelayOptions, change: impl FnOnce(&mut Common)) -> Bench {
    let mut relay = Relay::new(options).unwrap();
    change(Arc::get_mut(&mut relay.common).unwrap());
    let (stop, ours) = UnixStream::pair().unwrap();
    let (sender, notes) = mpsc::channel();
    let addresses = relay.addresses().map(ToString::to_string).collect();
    let published = relay.published().iter().map(|port| port.host).collect();
    let note: Note = Arc::new(move |line| drop(sender.send(line.to_owned())));
    let thread = thread::spawn(move || relay.serve(stop.as_fd(), &note));
    Bench { addresses, published, notes, stop: Some(ours), thread: Some(thread) }
}

impl Bench {
    /// Waits for a line that has all of this.
    fn line(&self, words: &[&str]) -> String {
        let mut seen = Vec::new();
        let deadline = Instant::now() + LIMIT;
        while let Ok(line) = self.notes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            assert_eq!(line.lines().count(), 1, "{line}");
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
            seen.push(line);
        }
        panic!("{words:?} is not in {seen:?}");
    }

    fn tcp(&self) -> TcpStream {
        connect(self.addresses[0].strip_prefix("tcp:").unwrap())
    }

    fn web(&self, header: Option<(&'static str, &str)>) -> Result<WebSocket<TcpStream>, tungstenite::Error> {
        let url = self.addresses[0].as_str();
        self.web_at(url, header)
    }

    fn web_at(
        &self,
        url: &str,
        header: Option<(&'static str, &str)>,
    ) -> Result<WebSocket<TcpStream>, tungstenite::Error> {
        let mut request = url.into_client_request().unwrap();
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = connect(request.uri().authority().unwrap().as_str());
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(socket),
            Err(HandshakeError::Failure(error)) => Err(error),
            Err(HandshakeError::Interrupted(_)) => panic!("no answer in time"),
        }
    }

    /// Ends the relay.
    fn end(&mut self) -> Result<(), RelayError> {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap()
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

fn framed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes(), frame].concat()
}

/// Asks who has 10.0.2.2, from the nth guest.
fn question(nth: u8) -> Vec<u8> {
    let mac = mac(nth);
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend(mac);
    arp.extend([10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
    framed(&packet(&Config { mac, ..Config::default() }, TYPE_ARP, &arp)[HEADER..])
}

fn mac(nth: u8) -> [u8; 6] {
    let mut mac = MAC;
    mac[5] = nth;
    mac
}

fn frame(stream: &mut impl Read) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).unwrap();
    frame
}

/// Whether a frame is the gateway's answer to the nth guest.
fn is_answer(frame: &[u8], nth: u8) -> bool {
    frame.len() == 60 && frame[..6] == mac(nth) && frame[12..14] == TYPE_ARP.to_be_bytes() && frame[21] == 2
}

fn asks<S: Read + Write>(stream: &mut S, nth: u8) {
    stream.write_all(&question(nth)).unwrap();
    let got = frame(stream);
    assert!(is_answer(&got, nth), "{got:x?}");
}

fn ends(stream: &mut impl Read) -> bool {
    // Unread bytes make it a reset.
    matches!(stream.read(&mut [0; 9]), Ok(0))
        || stream.read(&mut [0; 9]).is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
}

#[test]
fn guests_come_by_tcp_and_by_unix_sockets_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay");
    let unix = format!("unix:{}", path.display());
    let mut bench = start(options(&["tcp:127.0.0.1:0", &unix]), |_| ());
    assert!(bench.addresses[0].starts_with("tcp:127.0.0.1:") && !bench.addresses[0].ends_with(":0"));
    assert_eq!(bench.addresses[1], unix);
    let (mut a, mut b) = (bench.tcp(), UnixStream::connect(&path).unwrap());
    for _ in 0..3 {
        asks(&mut a, 1);
        asks(&mut b, 2);
    }
    drop(a);
    bench.line(&["guest ", "(127.0.0.1:", ") has gone: the other end has closed the stream"]);
    asks(&mut b, 2);
    // A frame in single bytes.
    let question = question(2);
    for byte in &question {
        b.write_all(&[*byte]).unwrap();
    }
    assert!(is_answer(&frame(&mut b), 2));
    bench.end().unwrap();
    assert!(ends(&mut b) && !path.exists());
    bench.line(&["guest ", "(a Unix socket) has gone"]);
}

#[test]
fn the_hosts_loopback_is_reached_where_it_is_allowed() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    for allowed in [true, false] {
        let mut options = options(&["tcp:127.0.0.1:0"]);
        options.config.host_loopback = allowed;
        let bench = start(options, |_| ());
        let mut guest = bench.tcp();
        let config = Config { mac: mac(7), ..Config::default() };
        let to = SocketAddr::new([10, 0, 2, 2].into(), server.local_addr().unwrap().port());
        let syn = segment(&config, ("10.0.2.15:4000".parse().unwrap(), to), SYN, (1, 0), &[]);
        guest.write_all(&framed(&syn[HEADER..])).unwrap();
        let answer = frame(&mut guest);
        // SYN and ACK, or RST and ACK.
        assert_eq!((&answer[..6], answer[14 + 20 + 13]), (&mac(7)[..], if allowed { 0x12 } else { 0x14 }));
    }
}

#[test]
fn there_are_only_so_many_guests() {
    let bench = start(RelayOptions { max_guests: 2, ..options(&["tcp:127.0.0.1:0"]) }, |_| ());
    let (mut a, mut b) = (bench.tcp(), bench.tcp());
    asks(&mut a, 1);
    asks(&mut b, 2);
    let mut c = bench.tcp();
    bench.line(&["127.0.0.1:", "is refused", "2 guests", "--max-guests"]);
    assert!(ends(&mut c));
    drop(a);
    bench.line(&["has gone"]);
    asks(&mut bench.tcp(), 3);
    asks(&mut b, 2);
}

#[test]
fn who_has_gone_leaves_nothing_open() {
    let bench = start(options(&["tcp:127.0.0.1:0"]), |_| ());
    // Each test is a process of its own (nextest).
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let mut guest = bench.tcp();
    asks(&mut guest, 1);
    assert!(open() > before + 2);
    drop(guest);
    bench.line(&["has gone"]);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while open() > before {
        assert!(std::time::Instant::now() < deadline, "{} descriptors, {before} before", open());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nonsense_ends_one_guest_alone() {
    let bench = start(options(&["tcp:127.0.0.1:0"]), |_| ());
    let mut good = bench.tcp();
    asks(&mut good, 1);
    for (bytes, words) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "1195725856 bytes"),
        (&(MAX_FRAME as u32 + 1).to_be_bytes(), "QEMU's stream framing"),
        (&u32::MAX.to_be_bytes(), "4294967295 bytes"),
    ] {
        let mut bad = bench.tcp();
        bad.write_all(bytes).unwrap();
        bench.line(&["has gone", words]);
        assert!(ends(&mut bad));
    }
    // Frames that are too short for anything, and one that is cut off.
    let mut bad = bench.tcp();
    bad.write_all(&[framed(b""), framed(&[0; 13]), question(2)].concat()).unwrap();
    assert!(is_answer(&frame(&mut bad), 2));
    bad.write_all(&question(2)[..20]).unwrap();
    drop(bad);
    bench.line(&["has gone", "within a frame"]);
    asks(&mut good, 1);
}

#[test]
fn a_guest_that_never_reads_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay");
    // A Unix socket holds less than TCP's.
    let listen = ["tcp:127.0.0.1:0", &format!("unix:{}", path.display())];
    let bench = start(options(&listen), |common| common.patience = Duration::from_secs(1));
    let mut good = bench.tcp();
    asks(&mut good, 1);
    let mut bad = UnixStream::connect(&path).unwrap();
    let questions = question(2).repeat(1000);
    let mut sent = 0;
    // It is held up before much is kept for it.
    while bad.write_all(&questions).is_ok() {
        sent += questions.len();
        assert!(sent < 256 << 20);
    }
    bench.line(&["has gone", "it has taken nothing for 1 seconds"]);
    thread::sleep(Duration::from_secs(1));
    asks(&mut good, 1);
}

#[test]
fn messages_of_a_websocket_are_bytes() {
    let bench = start(options(&["ws://127.0.0.1:0"]), |_| ());
    let mut socket = bench.web(None).unwrap();
    let questions = question(1).repeat(2);
    for piece in questions.chunks(7) {
        socket.send(Message::binary(piece.to_vec())).unwrap();
        socket.send(Message::binary(Vec::new())).unwrap();
    }
    socket.send(Message::Ping(vec![1, 2].into())).unwrap();
    let (mut bytes, mut pongs) = (Vec::new(), 0);
    while bytes.len() < 2 * 64 || pongs < 1 {
        match socket.read().unwrap() {
            Message::Binary(message) => bytes.extend_from_slice(&message),
            Message::Pong(data) => pongs += usize::from(data == [1, 2][..]),
            other => panic!("{other:?}"),
        }
    }
    assert!(is_answer(&bytes[4..64], 1) && is_answer(&bytes[68..], 1));
    socket.close(None).unwrap();
    bench.line(&["has gone: the other end has closed the stream"]);
    for (message, words) in [
        (Message::text("hello"), "binary"),
        (Message::binary(vec![0; (1 << 20) + 1]), "1048576 bytes"),
        (Message::binary(vec![0xff; 4]), "4294967295 bytes"),
    ] {
        let mut socket = bench.web(None).unwrap();
        socket.send(message).unwrap();
        bench.line(&["has gone", words]);
    }
}

#[test]
fn web_pages_of_other_sites_are_refused() {
    let allow_origins = vec!["https://good.example".parse().unwrap()];
    let bench = start(RelayOptions { allow_origins, ..options(&["ws://127.0.0.1:0/net"]) }, |_| ());
    let origin = |origin| bench.web(Some(("origin", origin)));
    for (nth, good) in
        ["http://localhost:8000", "http://127.0.0.1", "https://good.example"].iter().enumerate()
    {
        let mut socket = origin(good).unwrap();
        socket.send(Message::binary(question(nth as u8))).unwrap();
        assert!(is_answer(&socket.read().unwrap().into_data()[4..], nth as u8));
    }
    for bad in ["https://evil.example", "null", "http://good.example"] {
        let Err(tungstenite::Error::Http(response)) = origin(bad) else { panic!("{bad} is let in") };
        assert_eq!(response.status(), 403, "{bad}");
        bench.line(&["is refused", bad, "--allow-origin"]);
    }
    let elsewhere = bench.addresses[0].replace("/net", "/other");
    let Err(tungstenite::Error::Http(response)) = bench.web_at(&elsewhere, None) else { panic!("served") };
    assert_eq!(response.status(), 404);
    bench.line(&["is refused", "/other", "/net"]);
}

#[test]
fn who_does_not_ask_for_a_websocket_gets_none() {
    let change = |common: &mut Common| common.handshake = Duration::from_millis(200);
    let bench = start(options(&["ws://127.0.0.1:0"]), change);
    let address = bench.addresses[0].trim_start_matches("ws://").trim_end_matches('/').to_owned();
    let mut silent = connect(&address);
    bench.line(&["is refused", "has not asked for a WebSocket"]);
    assert!(ends(&mut silent));
    let mut plain = connect(&address);
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    bench.line(&["is refused", "did not ask for a WebSocket"]);
    assert!(ends(&mut plain));
    bench.web(None).unwrap();
}

#[test]
fn published_ports_belong_to_one_guest() {
    let mut options = options(&["tcp:127.0.0.1:0"]);
    options.config.published = Publish::parse("0:80").unwrap();
    let bench = start(options, |_| ());
    for nth in 1..3 {
        let mut guest = bench.tcp();
        asks(&mut guest, nth);
        let mut other = bench.tcp();
        bench.line(&["is refused", "published ports (-p) belong to one guest"]);
        assert!(ends(&mut other));
        let client = TcpStream::connect(bench.published[0]).unwrap();
        let syn = frame(&mut guest);
        // To port 80 of 10.0.2.15, at the guest's own address.
        assert_eq!(
            (&syn[..6], &syn[30..34], &syn[36..38]),
            (&mac(nth)[..], &[10, 0, 2, 15][..], &[0, 80][..])
        );
        drop((client, guest));
        bench.line(&["has gone"]);
    }
}

#[test]
fn a_relay_that_cannot_start_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = |options| Relay::new(options).err().unwrap().to_string();
    let text = format!("tcp:127.0.0.1:{port}");
    let said = error(options(&[&text]));
    assert!(said.starts_with(&format!("--listen {text}: cannot listen there: ")), "{said}");
    let mut published = options(&["tcp:127.0.0.1:0"]);
    published.config.published = Publish::parse(&format!("{port}:80")).unwrap();
    assert!(error(published).starts_with(&format!("-p {port}:80: ")));
}
