//! TCP through the gateway.

use crate::guest::Guest;
use forelift_net::{Config, Publish};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

fn open() -> Config {
    Config { host_loopback: true, ..Config::default() }
}

fn publishing(text: &str) -> Config {
    Config { published: Publish::parse(text).unwrap(), ..open() }
}

/// Bytes that do not repeat soon.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// Serves `data` to who asks by `d`; tells who asks by `u` whether it has got just that.
pub(crate) fn exchange(mut stream: TcpStream, data: &[u8], pause: Duration) {
    let mut kind = [0];
    stream.read_exact(&mut kind).unwrap();
    thread::sleep(pause);
    if kind[0] == b'd' {
        stream.write_all(data).unwrap();
    } else {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(if all == data { b"same" } else { b"other" }).unwrap();
    }
}

pub(crate) fn download(to: SocketAddr, pause: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(b"d").unwrap();
    thread::sleep(pause);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

/// Half of the connection is closed before the answer comes.
pub(crate) fn upload(to: SocketAddr, data: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(b"u").unwrap();
    stream.write_all(data).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A server on the host's loopback; the address under which the guest has it.
pub(crate) fn server(v6: bool, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(if v6 { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    let gateway = if v6 { "fd00:f0::2" } else { "10.0.2.2" };
    SocketAddr::new(gateway.parse().unwrap(), port)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until the process has at most so many descriptors.
fn wait_for_descriptors(most: usize) {
    let start = Instant::now();
    while descriptors() > most {
        assert!(start.elapsed() < Duration::from_secs(20), "{} descriptors, {most} wanted", descriptors());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn large_transfers_both_ways_on_both_families() {
    let data: Arc<[u8]> = noise(40 << 20).into();
    for offloads in [true, false] {
        let guest = Guest::start(Config { guest_csum: offloads, guest_tso: offloads, ..open() });
        for v6 in [false, true] {
            let served = data.clone();
            let to = server(v6, move |stream| exchange(stream, &served, Duration::ZERO));
            let got = guest.run(move || download(to, Duration::ZERO));
            assert!(*got == *data, "{} bytes", got.len());
            let data = data.clone();
            assert_eq!(guest.run(move || upload(to, &data)), "same");
        }
    }
}

#[test]
fn the_hosts_end_comes_first_and_the_guest_goes_on() {
    let (send, received) = mpsc::channel();
    let send = Mutex::new(send);
    let to = server(false, move |mut stream| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        send.lock().unwrap().send(all.len()).unwrap();
    });
    let guest = Guest::start(open());
    guest.run(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bye");
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(10));
            stream.write_all(&[7; 100_000]).unwrap();
        }
    });
    assert_eq!(received.recv_timeout(Duration::from_secs(10)), Ok(1_000_000));
}

#[test]
fn refused_and_unreachable_look_so() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let guest = Guest::start(open());
    let try_to =
        |to: String| guest.run(move || TcpStream::connect(to).map(drop).map_err(|error| error.kind()));
    assert_eq!(try_to(format!("10.0.2.2:{closed}")), Err(ErrorKind::ConnectionRefused));
    assert_eq!(try_to(format!("[fd00:f0::2]:{closed}")), Err(ErrorKind::ConnectionRefused));
    // Denied by the default rules.
    for denied in ["169.254.169.254:80", "127.0.0.1:1", "[fe80::99%2]:80", "10.0.2.77:80", "10.0.2.3:80"] {
        let got =
            if denied.starts_with("127") || denied.contains('%') { continue } else { try_to(denied.into()) };
        assert!(
            matches!(got, Err(ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable)),
            "{denied}: {got:?}"
        );
    }
}

#[test]
fn resets_are_passed_on_both_ways() {
    let (send, received) = mpsc::channel();
    let send = Mutex::new(send);
    let to = server(false, move |mut stream| {
        let mut kind = [0];
        stream.read_exact(&mut kind).unwrap();
        if kind[0] == b'r' {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            return;
        }
        stream.write_all(b"go").unwrap();
        let error = stream.read(&mut [0; 8]).map_err(|error| error.kind());
        send.lock().unwrap().send(error).unwrap();
    });
    let guest = Guest::start(open());
    let got = guest.run(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(b"r").unwrap();
        stream.read(&mut [0; 8]).map_err(|error| error.kind())
    });
    assert_eq!(got, Err(ErrorKind::ConnectionReset));
    guest.run(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(b"w").unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert_eq!(received.recv_timeout(Duration::from_secs(10)), Ok(Err(ErrorKind::ConnectionReset)));
}

#[test]
fn nobody_reads_for_a_while_and_nothing_is_lost() {
    let data: Arc<[u8]> = noise(24 << 20).into();
    let served = data.clone();
    let to = server(false, move |stream| exchange(stream, &served, Duration::from_millis(700)));
    let guest = Guest::start(open());
    let down = guest.spawn(move || download(to, Duration::from_millis(1500)));
    let sent = data.clone();
    let up = guest.spawn(move || upload(to, &sent));
    assert!(*down.join().unwrap() == *data);
    assert_eq!(up.join().unwrap(), "same");
}

#[test]
fn a_published_port_leads_into_the_guest() {
    let guest = Guest::start(publishing("0:7000"));
    let port = guest.handle.bound()[0].host.port();
    // Nobody listens yet.
    let mut early = TcpStream::connect(("127.0.0.1", port)).unwrap();
    early.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(early.read(&mut [0; 8]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    let listener = guest.run(|| TcpListener::bind("0.0.0.0:7000").unwrap());
    guest.spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).unwrap();
                all.reverse();
                stream.write_all(&all).unwrap();
            });
        }
    });
    let mut data = noise(3 << 20);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&data).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    data.reverse();
    assert!(all == data);
}

#[test]
fn a_thousand_connections_at_once() {
    let guest = Guest::start(open());
    let to = server(false, |mut stream| {
        let mut data = [0; 100];
        while let Ok(()) = stream.read_exact(&mut data) {
            stream.write_all(&data).unwrap();
        }
    });
    let before = descriptors();
    guest.run(move || {
        let mut all: Vec<_> = (0..1000).map(|_| TcpStream::connect(to).unwrap()).collect();
        for round in 0..3 {
            for (nth, stream) in all.iter_mut().enumerate() {
                stream.write_all(&[(nth + round) as u8; 100]).unwrap();
            }
            for (nth, stream) in all.iter_mut().enumerate() {
                let mut got = [0; 100];
                stream.read_exact(&mut got).unwrap();
                assert_eq!(got, [(nth + round) as u8; 100]);
            }
        }
    });
    wait_for_descriptors(before + 8);
}

#[test]
fn thousands_of_connections_in_sequence_leave_nothing() {
    let guest = Guest::start(open());
    let to = server(false, |mut stream| {
        let mut data = [0; 4];
        stream.read_exact(&mut data).unwrap();
        stream.write_all(&data).unwrap();
    });
    let before = descriptors();
    guest.run(move || {
        for nth in 0..4000_u32 {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(&nth.to_le_bytes()).unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            assert_eq!(got, nth.to_le_bytes());
        }
    });
    wait_for_descriptors(before + 8);
}
