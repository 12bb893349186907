//! Published ports. A client of a TCP port becomes a connection of the gateway's to the guest (`tcp`); the
//! clients of UDP ports each get a port of the gateway's, from which the guest hears them.

use crate::{
    link::Link,
    ports::Ports,
    publish::{Protocol, Publish},
    sockets::Sockets,
};
use std::{
    collections::{BTreeSet, HashMap},
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Most clients of UDP ports at once. Beyond, the one idle for longest has to go.
const MOST: usize = 1024;
/// How long an idle client is remembered.
const IDLE: Duration = Duration::from_secs(180);
/// Datagrams that are read from one port before others have their turn.
const BATCH: usize = 64;
const LONGEST: usize = 65_535;

/// A port of the host's that is bound.
pub struct Bound<S: Sockets> {
    /// What was asked for, with the port that the host chose.
    pub publish: Publish,
    /// The socket: the token of the nth is given by [`Gateway::published_token`](crate::Gateway).
    pub socket: BoundSocket<S>,
}

/// Why a port cannot be published: it is taken, or the host does not have the address.
#[derive(Debug, thiserror::Error)]
#[error("-p {text}: cannot listen on {protocol} {address}: {source}; choose another port or address")]
pub struct BindError {
    text: String,
    protocol: Protocol,
    address: SocketAddr,
    source: io::Error,
}

#[cfg(any(unix, all(target_os = "wasi", feature = "wasi")))]
impl BindError {
    pub(crate) fn new(publish: &Publish, source: io::Error) -> Self {
        BindError { text: publish.text.clone(), protocol: publish.protocol, address: publish.host, source }
    }
}

/// The socket of a published port.
pub enum BoundSocket<S: Sockets> {
    /// TCP.
    Listener(S::Listener),
    /// UDP.
    Port(S::Port),
}

struct Client {
    nth: usize,
    address: SocketAddr,
    until: Duration,
}

/// The clients of UDP ports.
#[derive(Default)]
pub(crate) struct Clients {
    by_port: HashMap<u16, Client>,
    by_address: HashMap<(usize, SocketAddr), u16>,
    ends: BTreeSet<(Duration, u16)>,
    ports: Ports,
}

impl Clients {
    /// The gateway's port for a client.
    fn port(&mut self, nth: usize, address: SocketAddr, now: Duration) -> u16 {
        self.expire(now);
        let until = now + IDLE;
        if let Some(&port) = self.by_address.get(&(nth, address)) {
            self.touch(port, until);
            return port;
        }
        if self.by_port.len() >= MOST
            && let Some(&(_, port)) = self.ends.first()
        {
            self.remove(port);
        }
        let port = loop {
            let port = self.ports.next();
            if !self.by_port.contains_key(&port) {
                break port;
            }
        };
        self.by_port.insert(port, Client { nth, address, until });
        self.by_address.insert((nth, address), port);
        self.ends.insert((until, port));
        port
    }

    fn touch(&mut self, port: u16, until: Duration) {
        if let Some(client) = self.by_port.get_mut(&port) {
            self.ends.remove(&(client.until, port));
            client.until = until;
            self.ends.insert((until, port));
        }
    }

    fn remove(&mut self, port: u16) {
        if let Some(client) = self.by_port.remove(&port) {
            self.by_address.remove(&(client.nth, client.address));
            self.ends.remove(&(client.until, port));
        }
    }

    /// Forgets idle clients. It is done when there is a new datagram: a client costs no wakeup.
    fn expire(&mut self, now: Duration) {
        while let Some(&(until, port)) = self.ends.first() {
            if until > now {
                break;
            }
            self.remove(port);
        }
    }
}

/// All published ports.
pub(crate) struct Published<S: Sockets> {
    pub(crate) all: Vec<Bound<S>>,
    clients: Clients,
    buffer: Vec<u8>,
    /// UDP ports that had to wait for room on the link.
    stalled: BTreeSet<usize>,
}

impl<S: Sockets> Published<S> {
    pub(crate) fn new(all: Vec<Bound<S>>) -> Self {
        let udp = all.iter().any(|bound| bound.publish.protocol == Protocol::Udp);
        let buffer = vec![0; if udp { LONGEST } else { 0 }];
        Published { all, clients: Clients::default(), buffer, stalled: BTreeSet::new() }
    }

    /// A UDP port is ready: its datagrams go to `guest`, from ports of `gateway`.
    pub(crate) fn ready(
        &mut self,
        nth: usize,
        (gateway, guest): (IpAddr, IpAddr),
        sockets: &mut S,
        link: &mut Link,
        now: Duration,
    ) {
        let Some(Bound { publish, socket: BoundSocket::Port(socket) }) = self.all.get_mut(nth) else {
            return;
        };
        for _ in 0..BATCH {
            if !link.has_room() {
                break;
            }
            match sockets.receive_from(socket, &mut self.buffer) {
                Ok((length, from)) => {
                    let port = self.clients.port(nth, from, now);
                    let data = self.buffer.get(..length).unwrap_or_default();
                    let (from, to) = (SocketAddr::new(gateway, port), SocketAddr::new(guest, publish.guest));
                    link.send_udp(from, to, data, now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
        self.stalled.insert(nth);
    }

    /// Goes on with the ports that had to wait.
    pub(crate) fn run(&mut self, ends: (IpAddr, IpAddr), sockets: &mut S, link: &mut Link, now: Duration) {
        if link.has_room() {
            for nth in std::mem::take(&mut self.stalled) {
                self.ready(nth, ends, sockets, link, now);
            }
        }
    }

    /// Some port was left with datagrams.
    pub(crate) fn unfinished(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// Sends an answer of the guest's to the client that has the gateway's port `port`. Whether there is one.
    pub(crate) fn answer(
        &mut self,
        guest_port: u16,
        port: u16,
        data: &[u8],
        sockets: &mut S,
        now: Duration,
    ) -> bool {
        let Some(client) = self.clients.by_port.get(&port) else { return false };
        let (nth, address) = (client.nth, client.address);
        let Some(Bound { publish, socket: BoundSocket::Port(socket) }) = self.all.get_mut(nth) else {
            return false;
        };
        if publish.guest != guest_port {
            return false;
        }
        // Datagrams get lost.
        drop(sockets.send_to(socket, data, address));
        self.clients.touch(port, now + IDLE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_keep_their_ports_and_are_bounded() {
        let mut clients = Clients::default();
        let address = |nth: u16| SocketAddr::from(([127, 0, 0, 1], nth));
        let second = Duration::from_secs(1);
        let first = clients.port(0, address(1), Duration::ZERO);
        assert_ne!(clients.port(1, address(1), second), first);
        assert_eq!(clients.port(0, address(1), second), first);
        for nth in 2..5000 {
            clients.port(0, address(nth), 2 * second);
        }
        assert_eq!((clients.by_port.len(), clients.by_address.len(), clients.ends.len()), (MOST, MOST, MOST));
        clients.port(0, address(9), second * 1000);
        assert_eq!((clients.by_port.len(), clients.ends.len()), (1, 1));
    }
}
