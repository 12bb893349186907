//! The network's part of the [exercise](crate::exercise): connections and datagrams as servers and their
//! clients make them. Over the loopback ([`run`]), each part is a server in a process of its own, and its
//! client; through the network device ([`through`]), a client of what the host simulates.

use crate::sys;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Read, Seek, SeekFrom, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

/// How long anything may take that should not.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a large write.
const LARGE: usize = 64 << 10;
/// Bytes of a page of a web server, say.
const PAGE: usize = 6000;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Everything, once.
pub(crate) fn run() {
    for (ip, writes, rounds) in [(V4, 48, 300), (V6, 12, 80)] {
        pair(ip, |stream| sink(&stream), |stream| bulk(stream, writes));
        pair(ip, |stream| echo(&stream), |stream| requests(stream, rounds));
        datagrams(ip, rounds, &[40, 1400, 180, 16 << 10]);
    }
    pair(V4, |stream| from_file(&stream, 24), |stream| sink(&stream));
    connections(80);
    refusals(10);
    event_loop(8, 40);
    unix_stream(150);
}

/// The services of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Sends back what it gets, by TCP and UDP.
    pub(crate) echo: SocketAddr,
    /// Takes everything.
    pub(crate) discard: SocketAddr,
    /// Sends for ever.
    pub(crate) source: SocketAddr,
}

/// The same with a peer. When nobody answers at first, nothing more is tried.
pub(crate) fn through(peer: &Peer) {
    let Ok(stream) = connect(peer.echo) else { return };
    requests(stream, 300);
    let _ = connect(peer.discard).map(|stream| bulk(stream, 48));
    let _ = connect(peer.source).map(|mut stream| take(&mut stream, 48 * LARGE));
    for _ in 0..40 {
        let Ok(mut stream) = connect(peer.echo) else { break };
        let mut request = [b'g'; 120];
        let _ = stream.write_all(&request).and_then(|()| stream.read_exact(&mut request));
    }
    if let Ok(socket) = UdpSocket::bind((unspecified(peer.echo), 0)) {
        ask(&socket, peer.echo, 100, &[40, 1400, 180, 900]);
    }
}

fn unspecified(of: SocketAddr) -> IpAddr {
    if of.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// Reads so many bytes.
fn take(stream: &mut TcpStream, mut bytes: usize) {
    let mut buffer = vec![0; LARGE];
    while bytes > 0 {
        match stream.read(&mut buffer) {
            Ok(n @ 1..) => bytes = bytes.saturating_sub(n),
            _ => break,
        }
    }
}

/// Runs `server` in a child, and `client` here, which is told where it listens.
fn serve(ip: IpAddr, server: impl FnOnce(TcpListener), client: impl FnOnce(SocketAddr)) {
    let Ok(listener) = TcpListener::bind((ip, 0)) else { return };
    let Ok(address) = listener.local_addr() else { return };
    match sys::fork() {
        Ok(Some(pid)) => {
            drop(listener);
            client(address);
            let _ = sys::reap(pid);
        }
        Ok(None) => {
            // Whatever goes wrong, nobody waits for this process for ever.
            sys::alarm(PATIENCE);
            server(listener);
            sys::exit_now(0)
        }
        Err(_) => {}
    }
}

/// One connection: `server` has its one end in a child, `client` the other.
fn pair(ip: IpAddr, server: impl FnOnce(TcpStream), client: impl FnOnce(TcpStream)) {
    let accept = |listener: TcpListener| drop(listener.accept().map(|(stream, _)| server(stream)));
    serve(ip, accept, |address| drop(connect(address).map(client)));
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads to the end.
fn sink(mut stream: &TcpStream) {
    let mut buffer = vec![0; LARGE];
    while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
}

/// Large writes, of one buffer and of two.
fn bulk(mut stream: TcpStream, writes: usize) {
    let buffer = vec![b'b'; LARGE];
    let halves = buffer.split_at(100);
    for n in 0..writes {
        let written = if n % 4 == 0 {
            stream.write_vectored(&[IoSlice::new(halves.0), IoSlice::new(halves.1)]).map(drop)
        } else {
            stream.write_all(&buffer)
        };
        if written.is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    sink(&stream);
}

/// Sends a file `times`, as web servers do (sendfile(2)).
fn from_file(mut stream: &TcpStream, times: usize) {
    let path = "/files/sent";
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
    let Ok(mut file) = made else { return };
    let _ = file.write_all(&vec![b'f'; LARGE]);
    for _ in 0..times {
        if file.seek(SeekFrom::Start(0)).and_then(|_| io::copy(&mut file, &mut stream)).is_err() {
            break;
        }
    }
    let _ = fs::remove_file(path);
}

/// Sends back what comes, until its end.
fn echo(mut stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; PAGE];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
}

/// Requests and answers of few bytes, some with waiting, some by the plain calls for files.
fn requests(stream: TcpStream, rounds: usize) {
    let _ = stream.set_nodelay(true);
    let mut file = File::from(OwnedFd::from(stream));
    let mut buffer = [b'r'; 400];
    for n in 0..rounds {
        let part = &mut buffer[..1 + n * 7 % 400];
        if file.write_all(part).is_err() {
            break;
        }
        if n % 2 == 0 {
            let _ = sys::wait_for(file.as_raw_fd(), libc::POLLIN, 1000);
        }
        if file.read_exact(part).is_err() {
            break;
        }
    }
}

/// Connections that last for one request each.
fn connections(count: usize) {
    let server = |listener: TcpListener| {
        let (mut request, page) = ([0; 200], [b'p'; PAGE]);
        for _ in 0..count {
            let Ok((mut stream, _)) = listener.accept() else { break };
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&page);
        }
    };
    let client = |address| {
        for _ in 0..count {
            let Ok(mut stream) = connect(address) else { break };
            let _ = stream.write_all(&[b'g'; 120]);
            sink(&stream);
        }
    };
    serve(V4, server, client);
}

/// Connections that are refused.
fn refusals(count: usize) {
    let Ok(address) = TcpListener::bind((V4, 0)).and_then(|listener| listener.local_addr()) else { return };
    for _ in 0..count {
        let _ = connect(address);
    }
}

/// A server that waits for many connections at once by epoll(7), none of which may block.
fn event_loop(clients: usize, rounds: usize) {
    let client = |address| {
        let streams: Vec<TcpStream> = (0..clients).map_while(|_| connect(address).ok()).collect();
        let mut buffer = [b'e'; 90];
        for _ in 0..rounds {
            for mut stream in &streams {
                let _ = stream.write_all(&buffer);
            }
            for mut stream in &streams {
                if stream.read_exact(&mut buffer).is_err() {
                    return;
                }
            }
        }
    };
    serve(V4, |listener| drop(events(&listener, clients)), client);
}

fn events(listener: &TcpListener, clients: usize) -> io::Result<()> {
    let epoll = sys::Epoll::new()?;
    listener.set_nonblocking(true)?;
    epoll.add(listener.as_fd(), 0)?;
    let (mut streams, mut ended, mut buffer) = (Vec::new(), 0, vec![0; PAGE]);
    while ended < clients {
        for key in epoll.wait()? {
            let Some(mut stream) = (key as usize).checked_sub(1).and_then(|at| streams.get(at)) else {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    epoll.add(stream.as_fd(), streams.len() as u64 + 1)?;
                    streams.push(stream);
                }
                continue;
            };
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => {
                        epoll.remove(stream.as_fd())?;
                        ended += 1;
                    }
                    Ok(n) => {
                        stream.write_all(&buffer[..n])?;
                        continue;
                    }
                    Err(_) => {}
                }
                break;
            }
        }
    }
    Ok(())
}

/// Datagrams of a name server's size, of a packet's and of the largest that are usual, there and back.
fn datagrams(ip: IpAddr, rounds: usize, sizes: &[usize]) {
    let (Ok(server), Ok(client)) = (UdpSocket::bind((ip, 0)), UdpSocket::bind((ip, 0))) else { return };
    let Ok(address) = server.local_addr() else { return };
    match sys::fork() {
        Ok(Some(pid)) => {
            drop(server);
            ask(&client, address, rounds, sizes);
            let _ = client.send_to(&[], address);
            let _ = sys::reap(pid);
        }
        Ok(None) => {
            sys::alarm(PATIENCE);
            let mut buffer = vec![0; LARGE];
            while let Ok((n @ 1.., from)) = server.recv_from(&mut buffer) {
                let _ = server.send_to(&buffer[..n], from);
            }
            sys::exit_now(0)
        }
        Err(_) => {}
    }
}

/// Sends datagrams of these sizes and receives each back, half of them by a connected socket.
fn ask(client: &UdpSocket, address: SocketAddr, rounds: usize, sizes: &[usize]) {
    let _ = client.set_read_timeout(Some(PATIENCE));
    let mut buffer = vec![b'd'; LARGE];
    for (n, &size) in (0..rounds).zip(sizes.iter().cycle()) {
        let sent = if n < rounds / 2 {
            client.send_to(&buffer[..size], address)
        } else {
            let _ = client.connect(address);
            client.send(&buffer[..size])
        };
        if sent.and_then(|_| client.recv(&mut buffer)).is_err() {
            break;
        }
    }
}

/// The same as [`requests`] without an address.
fn unix_stream(rounds: usize) {
    let Ok((mut here, mut there)) = UnixStream::pair() else { return };
    let _ = here.set_read_timeout(Some(PATIENCE));
    let mut buffer = [b'u'; 100];
    match sys::fork() {
        Ok(Some(pid)) => {
            drop(there);
            for _ in 0..rounds {
                if here.write_all(&buffer).and_then(|()| here.read_exact(&mut buffer)).is_err() {
                    break;
                }
            }
            drop(here);
            let _ = sys::reap(pid);
        }
        Ok(None) => {
            drop(here);
            while there.read_exact(&mut buffer).is_ok() && there.write_all(&buffer).is_ok() {}
            sys::exit_now(0)
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{thread, time::Instant};

    /// A service on a port of its own, until the test's process ends.
    fn service(each: fn(TcpStream)) -> SocketAddr {
        let listener = TcpListener::bind((V4, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || listener.incoming().flatten().for_each(each));
        address
    }

    #[test]
    fn everything_ends_by_itself() {
        let begun = Instant::now();
        run();
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_peer_is_used_to_the_end() {
        let echo_service = service(|stream| echo(&stream));
        let udp = UdpSocket::bind(echo_service).unwrap();
        let count = thread::spawn(move || {
            let mut buffer = vec![0; LARGE];
            (0..100).for_each(|_| {
                let (n, from) = udp.recv_from(&mut buffer).unwrap();
                udp.send_to(&buffer[..n], from).unwrap();
            });
        });
        let discard = service(|stream| sink(&stream));
        let source = service(|mut stream| while stream.write_all(&[0; PAGE]).is_ok() {});
        through(&Peer { echo: echo_service, discard, source });
        count.join().unwrap();
    }

    #[test]
    fn nobody_is_left_alone() {
        let nobody = TcpListener::bind((V4, 0)).and_then(|listener| listener.local_addr()).unwrap();
        let begun = Instant::now();
        through(&Peer { echo: nobody, discard: nobody, source: nobody });
        assert!(begun.elapsed() < PATIENCE);
    }
}
