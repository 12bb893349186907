//! Gateways on the host's sockets: a thread of its own for each, which sleeps while there is nothing to do.

mod bell;
mod ends;
mod handle;
mod queue;
pub mod relay;
mod sockets;
mod stream;

use crate::{
    config::Config,
    gateway::{self, FOREIGN, LINGER, published_token},
    publish::{Protocol, Publish},
    published::{BindError, Bound, BoundSocket},
    sockets::{Readiness, Token},
};
use handle::Shared;
use mio::{Events, Interest, Poll, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

pub use handle::Handle;
pub use sockets::{Datagram, Echo, Native};
pub use stream::{Stream, StreamError};

/// Clients that a published port lets wait.
const BACKLOG: i32 = 1024;
/// Events that are taken at once.
const EVENTS: usize = 256;
/// Where the host's resolvers stand (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A published port is taken, or the host does not have the address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The host gives no thread, or no descriptors.
    #[error("the network gateway cannot start: {0}; raise the limits of the process (ulimit -n, ulimit -u)")]
    Host(#[from] io::Error),
}

/// Gateways on the host's sockets.
pub struct Gateway(());

impl Gateway {
    /// Binds the published ports and starts a gateway. `capture` gets all frames in pcapng.
    ///
    /// The process's limit of descriptors is raised as far as it goes: every connection is one.
    pub fn start(mut config: Config, capture: Option<Box<dyn Write + Send>>) -> Result<Handle, Error> {
        raise_limit();
        if config.resolvers.is_empty() {
            config.resolvers = resolvers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default());
        }
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), mio::Token(FOREIGN.0))?;
        let shared = Arc::new(Shared::new(waker)?);
        let mut published = Vec::new();
        for (nth, publish) in config.published.iter().enumerate() {
            published.push(bind(publish, nth, poll.registry())?);
        }
        let bound = published.iter().map(|bound| bound.publish.clone()).collect();
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let sockets = Native::new(poll.registry().try_clone()?);
        let capture = capture.map(|to| (to, epoch));
        let thread = thread::Builder::new().name("network gateway".into()).spawn({
            let shared = shared.clone();
            move || run(gateway::Gateway::new(config, sockets, published, capture), poll, &shared)
        })?;
        Ok(Handle::new(shared, thread, bound))
    }
}

/// The gateway's thread.
fn run(mut gateway: gateway::Gateway<Native>, mut poll: Poll, shared: &Shared) {
    let start = Instant::now();
    let mut events = Events::with_capacity(EVENTS);
    let (mut from_guest, mut to_guest) = (VecDeque::new(), VecDeque::new());
    // When it ends at the latest; the guest is gone then.
    let mut end = None;
    loop {
        if shared.closed() {
            end.get_or_insert_with(|| start.elapsed() + LINGER);
        }
        shared.take(&mut from_guest);
        let now = start.elapsed();
        gateway.set_room(shared.room());
        for event in &events {
            gateway.ready(Token(event.token().0), readiness(event), now);
        }
        for packet in from_guest.drain(..) {
            gateway.packet(&packet, now);
        }
        gateway.run(now);
        if end.is_some_and(|end| now >= end || !gateway.owes_host()) {
            return;
        }
        // What the queue has no room for stays where it is bounded.
        let mut room = shared.room();
        while room > 0
            && let Some(packet) = gateway.pop()
        {
            room = room.saturating_sub(packet.len());
            to_guest.push_back(packet);
        }
        shared.give(&mut to_guest);
        gateway.set_room(shared.room());
        let timeout = if gateway.unfinished() || !shared.may_sleep() {
            Some(Duration::ZERO)
        } else {
            let wake = [gateway.deadline(), end].into_iter().flatten().min();
            wake.map(|at| round_up(at.saturating_sub(start.elapsed())))
        };
        events.clear();
        if let Err(error) = poll.poll(&mut events, timeout)
            && error.kind() != ErrorKind::Interrupted
        {
            // There is no way to learn of anything any more. The link is as dead as with its cable cut.
            return;
        }
        shared.awake();
    }
}

/// Full milliseconds: the poll's unit, which would be rounded down to no wait at all.
fn round_up(wait: Duration) -> Duration {
    Duration::from_millis(wait.as_nanos().div_ceil(1_000_000).min(u64::MAX.into()) as u64)
}

fn readiness(event: &mio::event::Event) -> Readiness {
    let failed = event.is_error();
    Readiness {
        readable: failed || event.is_readable() || event.is_read_closed(),
        writable: failed || event.is_writable() || event.is_write_closed(),
    }
}

/// Binds a published port.
fn bind(publish: &Publish, nth: usize, registry: &mio::Registry) -> Result<Bound<Native>, BindError> {
    try_bind(publish, mio::Token(published_token(nth).0), registry)
        .map_err(|source| BindError::new(publish, source))
}

fn try_bind(publish: &Publish, token: mio::Token, registry: &mio::Registry) -> io::Result<Bound<Native>> {
    let tcp = publish.protocol == Protocol::Tcp;
    let kind = if tcp { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(publish.host), kind, None)?;
    socket.set_nonblocking(true)?;
    if publish.host.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if tcp {
        // Connections of an earlier run that linger do not take the port.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&publish.host.into())?;
    let address = socket.local_addr()?.as_socket().ok_or(ErrorKind::AddrNotAvailable)?;
    let socket = if tcp {
        socket.listen(BACKLOG)?;
        let mut listener = mio::net::TcpListener::from_std(socket.into());
        registry.register(&mut listener, token, Interest::READABLE)?;
        BoundSocket::Listener(listener)
    } else {
        let mut port = mio::net::UdpSocket::from_std(socket.into());
        registry.register(&mut port, token, Interest::READABLE)?;
        BoundSocket::Port(port)
    };
    Ok(Bound { publish: Publish { host: address, ..publish.clone() }, socket })
}

/// Raises the limit of descriptors as far as the process may. What then is still missing shows as resets.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// The resolvers in `resolv.conf`; without any, the host itself (resolv.conf(5)).
fn resolvers(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let ip = (words.next() == Some("nameserver")).then(|| words.next()).flatten()?;
        ip.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53))
    };
    let mut found: Vec<_> = text.lines().filter_map(server).take(3).collect();
    if found.is_empty() {
        found.push((Ipv4Addr::LOCALHOST, 53).into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_resolvers() {
        let text =
            "# c\nsearch x\nnameserver 10.0.0.1\nnameserver\tfd00::1 \nnameserver bad\n;nameserver 1.1.1.1\n";
        assert_eq!(resolvers(text), ["10.0.0.1:53".parse().unwrap(), "[fd00::1]:53".parse().unwrap()]);
        assert_eq!(resolvers("options x"), ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn answers_that_nobody_takes_are_bounded() {
        let config = Config::default();
        let mac = config.mac;
        let handle = Gateway::start(config, None).unwrap();
        // Who has 10.0.2.2 (RFC 826)?
        let mut request =
            [&[0xff; 6][..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac, &[10, 0, 2, 15]].concat();
        request.extend([0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
        let header = forelift_abi::net::Header::default().encode();
        for _ in 0..400_000 {
            while !handle.send(&[&header, &request]) {
                thread::yield_now();
            }
        }
        thread::sleep(Duration::from_millis(200));
        let mut bytes = 0;
        handle.receive(&mut |packet| {
            bytes += packet.len();
            true
        });
        // What the queue holds, and what may wait before it.
        assert!((queue::MOST..queue::MOST + (1 << 20)).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!("{}:80", taken.local_addr().unwrap().port());
        let config = Config { published: Publish::parse(&text).unwrap(), ..Config::default() };
        let error = Gateway::start(config, None).err().unwrap().to_string();
        assert!(error.starts_with(&format!("-p {text}: cannot listen on tcp 127.0.0.1:")), "{error}");
        assert!(error.contains("in use"), "{error}");
    }
}
