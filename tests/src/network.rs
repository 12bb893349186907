//! Servers on the host's loopback for containers to talk to, each ends with its value.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Pause between two looks at whether a server shall end.
const TICK: Duration = Duration::from_millis(20);

/// A thread that serves until its value is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(
        address: SocketAddr,
        serve: impl FnOnce(&AtomicBool, &Mutex<Vec<String>>) + Send + 'static,
    ) -> Self {
        let (end, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let theirs = (end.clone(), seen.clone());
        let thread = thread::spawn(move || serve(&theirs.0, &theirs.1));
        Server { address, end, thread: Some(thread), seen }
    }

    /// Each TCP connection to a free port of `ip` is `handle`'s, in a thread of its own; what it returns is
    /// noted.
    pub fn tcp_on(
        ip: IpAddr,
        handle: impl Fn(TcpStream) -> io::Result<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("its address");
        let handle = Arc::new(handle);
        Server::start(address, move |end, seen| {
            thread::scope(|scope| {
                while !end.load(SeqCst) {
                    let Ok((stream, _)) = listener.accept() else {
                        thread::sleep(TICK);
                        continue;
                    };
                    let handle = handle.clone();
                    scope.spawn(move || {
                        let _ = stream.set_nonblocking(false);
                        // A container that has gone away must not hold the test up.
                        let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                        let note = handle(stream).unwrap_or_else(|e| format!("error: {e}"));
                        seen.lock().unwrap_or_else(PoisonError::into_inner).push(note);
                    });
                }
            });
        })
    }

    /// [`tcp_on`](Self::tcp_on) 127.0.0.1.
    pub fn tcp(handle: impl Fn(TcpStream) -> io::Result<String> + Send + Sync + 'static) -> Self {
        Self::tcp_on(Ipv4Addr::LOCALHOST.into(), handle)
    }

    /// Answers `GET PATH` by what `page` gives, 404 for nothing; `PUT` bodies are noted by their length and
    /// first byte.
    pub fn http(page: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::tcp(move |stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut length = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header)?;
                if let Some((name, value)) = header.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap_or(0);
                }
                if header.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let mut stream = stream;
            let (status, answer) = match page(&path) {
                Some(answer) => ("200 OK", answer),
                None => ("404 Not Found", Vec::new()),
            };
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                answer.len()
            )?;
            stream.write_all(&answer)?;
            Ok(format!("{} {}", line.trim(), body.len()))
        })
    }

    /// Answers each datagram to a free port of 127.0.0.1 by what `answer` makes of it.
    pub fn udp(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        Self::datagrams(UdpSocket::bind("127.0.0.1:0").expect("a free port"), answer)
    }

    /// The same on port 53, at an address of the loopback that nobody else has.
    pub fn resolver(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let id = std::process::id();
        let bind = |n: u8| UdpSocket::bind((Ipv4Addr::new(127, 64 + n, (id >> 8) as u8, id as u8 | 1), 53));
        let socket = (0..60).find_map(|n| bind(n).ok()).expect("port 53 of a loopback address, as root");
        Self::datagrams(socket, answer)
    }

    fn datagrams(socket: UdpSocket, answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        socket.set_read_timeout(Some(TICK)).expect("a time limit");
        let address = socket.local_addr().expect("its address");
        Server::start(address, move |end, seen| {
            let mut buffer = vec![0; 1 << 16];
            while !end.load(SeqCst) {
                let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{n} bytes"));
                if let Some(answer) = answer(&buffer[..n]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it has served, in order.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A resolver's answer to a question with one name: an A record with that address, or TXT records of `text`,
/// or no such name (RFC 1035, section 4).
pub fn dns_answer(query: &[u8], a: impl Fn(&str) -> Option<Ipv4Addr>) -> Option<Vec<u8>> {
    let mut name = String::new();
    let mut at = 12;
    while let Some(&len) = query.get(at) {
        at += 1;
        if len == 0 {
            break;
        }
        let label = query.get(at..at + usize::from(len))?;
        name.push_str(std::str::from_utf8(label).ok()?);
        name.push('.');
        at += usize::from(len);
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let address = a(&name);
    let data = match (kind, address) {
        (1, Some(ip)) => ip.octets().to_vec(),
        (16, Some(_)) => b"\x05hello".to_vec(),
        _ => Vec::new(),
    };
    let code = if address.is_some() { 0 } else { 3 };
    let mut out = query.get(..2)?.to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]);
    out.extend(question);
    if !data.is_empty() {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    Some(out)
}
