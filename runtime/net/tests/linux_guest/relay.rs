//! A relay, and Linux's own network stack at the other end of its streams.

use crate::{
    guest::Guest,
    tcp::{download, exchange, noise, server, upload},
};
use forelift_net::{
    Config, Options, Publish,
    native::{
        Stream,
        relay::{Note, Relay, RelayOptions},
    },
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// Starts a relay; where it listens, the ports that it publishes, its lines, and what ends it when dropped.
fn relay(config: Config) -> (String, Vec<Publish>, Arc<Mutex<Vec<String>>>, UnixStream) {
    let listen = vec!["tcp:127.0.0.1:0".parse().unwrap()];
    let relay = RelayOptions { listen, config, max_guests: 16, allow_origins: Vec::new() };
    let relay = Relay::new(relay).unwrap();
    let address = relay.addresses().next().unwrap().to_string();
    let published = relay.published().to_vec();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (stop, ours) = UnixStream::pair().unwrap();
    let kept = lines.clone();
    let note: Note = Arc::new(move |line| kept.lock().unwrap().push(line.to_owned()));
    thread::spawn(move || relay.serve(stop.as_fd(), &note).unwrap());
    (address, published, lines, ours)
}

/// A guest as `--net-stream` makes it.
fn guest(address: &str) -> Guest {
    let options = Options { stream: Some(address.to_owned()), ..Options::default() };
    let plan = options.plan().unwrap().unwrap();
    Guest::on(Arc::new(Stream::connect(address, None, |_| ()).unwrap()), &plan.interface)
}

fn open() -> Config {
    Config { host_loopback: true, ..Config::default() }
}

#[test]
fn guests_of_a_relay_have_the_hosts_network_at_the_same_time() {
    let (address, _, lines, _stop) = relay(open());
    let data: Arc<[u8]> = noise(10 << 20).into();
    // They have the same addresses, but for Ethernet's.
    let guests = [guest(&address), guest(&address)];
    for v6 in [false, true] {
        let served = data.clone();
        let to = server(v6, move |stream| exchange(stream, &served, Duration::ZERO));
        let work = guests.each_ref().map(|guest| {
            let data = data.clone();
            guest.spawn(move || (download(to, Duration::ZERO) == *data, upload(to, &data)))
        });
        for work in work {
            assert_eq!(work.join().unwrap(), (true, "same".to_owned()));
        }
    }
    drop(guests);
    for _ in 0..200 {
        if lines.lock().unwrap().len() == 4 {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let lines = lines.lock().unwrap();
    let count = |word| lines.iter().filter(|line| line.contains(word)).count();
    assert_eq!((count(" has come"), count(" has gone: "), lines.len()), (2, 2, 4), "{lines:?}");
}

#[test]
fn a_published_port_leads_to_the_guest_at_the_relay() {
    let config = Config { published: Publish::parse("0:7100").unwrap(), ..Config::default() };
    let (address, published, _, _stop) = relay(config);
    let guest = guest(&address);
    let listener = guest.run(|| TcpListener::bind("0.0.0.0:7100").unwrap());
    let work = guest.spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let data = noise(3 << 20);
    let mut stream = TcpStream::connect(published[0].host).unwrap();
    stream.write_all(&data).unwrap();
    drop(stream);
    assert!(work.join().unwrap() == data);
}
