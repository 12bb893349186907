//! Gateways on the sockets of a WASI 0.2 runtime (`wasi:sockets`), in a component: on the machine's own
//! thread, as there is no other.

mod address;
mod lookup;
mod sockets;
mod watch;

use crate::{
    config::Config,
    gateway::{self, LINGER, published_token},
    publish::{Protocol, Publish},
    published::{BindError, Bound, BoundSocket},
};
use address::{family, from_wasi, io_error, to_wasi};
use sockets::{Listener, Port, Wasi};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};
use wasip2::{
    io::poll::Pollable,
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{ErrorCode, Network},
        tcp_create_socket::create_tcp_socket,
        udp::UdpSocket,
        udp_create_socket::create_udp_socket,
    },
};

/// Clients that a published port lets wait.
const BACKLOG: u64 = 1024;
/// Bytes of packets that wait for the guest.
const ROOM: usize = 4 << 20;
/// The resolver that stands for the runtime's own, `wasi:sockets/ip-name-lookup`.
const LOOKUP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 53);

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime has no network for the component.
    #[error(
        "the runtime allows no connections: run it with `wasmtime run -S inherit-network -S allow-ip-name-lookup`"
    )]
    Denied,
    /// A published port is taken, or the host does not have the address.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// A gateway on the runtime's sockets.
pub struct Gateway {
    inner: gateway::Gateway<Wasi>,
    start: Instant,
    bound: Vec<Publish>,
    resolves: bool,
    /// The next packet for the guest, if it was not taken.
    packet: Option<Vec<u8>>,
}

impl Gateway {
    /// Binds the published ports and makes a gateway.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start(mut config: Config) -> Result<Self, Error> {
        let network = instance_network();
        probe(&network)?;
        let mut resolves = true;
        if config.resolvers.is_empty() {
            config.resolvers.push(LOOKUP);
            // An address needs no question to anybody.
            resolves = !config.outbound || resolve_addresses(&network, "127.0.0.1").is_ok();
        }
        let mut sockets = Wasi::new(network);
        let mut published = Vec::new();
        for (nth, publish) in config.published.iter().enumerate() {
            published.push(bind(publish, nth, &mut sockets)?);
        }
        let bound = published.iter().map(|bound| bound.publish.clone()).collect();
        let mut inner = gateway::Gateway::new(config, sockets, published, None);
        inner.set_room(ROOM);
        Ok(Gateway { inner, start: Instant::now(), bound, resolves, packet: None })
    }

    /// The published ports, with those that the host chose.
    pub fn bound(&self) -> &[Publish] {
        &self.bound
    }

    /// Whether names can be asked for.
    pub fn resolves(&self) -> bool {
        self.resolves
    }

    /// Takes a packet of the guest's. [`Gateway::run`] has to be called after one or more.
    pub fn send(&mut self, packet: &[u8]) {
        self.inner.packet(packet, self.start.elapsed());
    }

    /// Does what can be done without waiting.
    pub fn run(&mut self) {
        self.inner.set_room(ROOM);
        self.inner.run(self.start.elapsed());
    }

    /// Looks which sockets are ready, and does what there is to do.
    pub fn look(&mut self) {
        self.wait(Some(Duration::ZERO), &[]);
    }

    /// Waits until a socket is ready, one of `others` is, or the time is over, and does what there is to do.
    /// Says which of `others` are ready.
    pub fn wait(&mut self, timeout: Option<Duration>, others: &[&Pollable]) -> Vec<bool> {
        let now = self.start.elapsed();
        let own = match self.inner.unfinished() {
            true => Some(Duration::ZERO),
            false => self.inner.deadline().map(|at| at.saturating_sub(now)),
        };
        let timeout = [timeout, own].into_iter().flatten().min();
        let (events, ready) = self.inner.sockets().wait(timeout, others);
        let now = self.start.elapsed();
        self.inner.set_room(ROOM);
        for (token, readiness) in events {
            self.inner.ready(token, readiness, now);
        }
        self.inner.run(now);
        ready
    }

    /// The guest is gone: gives hosts a while to take what it has sent.
    pub fn finish(&mut self) {
        let end = self.start.elapsed() + LINGER;
        loop {
            let owes = self.inner.owes_host() || self.inner.sockets().is_writing();
            let left = end.saturating_sub(self.start.elapsed());
            if !owes || left.is_zero() {
                return;
            }
            // What comes for the guest is not wanted.
            while self.inner.pop().is_some() {}
            self.wait(Some(left), &[]);
        }
    }

    /// Gives packets for the guest to `take`, until there are no more or one is not taken, which stays.
    pub fn receive(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) {
        while let Some(packet) = self.packet.take().or_else(|| self.inner.pop()) {
            if !take(&packet) {
                self.packet = Some(packet);
                break;
            }
        }
    }

    /// There are packets for the guest.
    pub fn has_packets(&mut self) -> bool {
        self.packet = self.packet.take().or_else(|| self.inner.pop());
        self.packet.is_some()
    }
}

/// Whether the runtime lets the component use its network at all: a port of its own choice on the loopback.
fn probe(network: &Network) -> Result<(), Error> {
    match udp_socket(network, (Ipv4Addr::LOCALHOST, 0).into()) {
        Err(ErrorCode::AccessDenied) => Err(Error::Denied),
        // What else fails will be told when it matters.
        _ => Ok(()),
    }
}

/// A UDP socket at that address.
fn udp_socket(network: &Network, address: SocketAddr) -> Result<UdpSocket, ErrorCode> {
    let socket = create_udp_socket(family(address.ip()))?;
    socket.start_bind(network, to_wasi(address))?;
    finish(&socket.subscribe(), || socket.finish_bind())?;
    Ok(socket)
}

/// Waits for the end of an operation that takes its time at most once.
fn finish(pollable: &Pollable, step: impl Fn() -> Result<(), ErrorCode>) -> Result<(), ErrorCode> {
    loop {
        match step() {
            Err(ErrorCode::WouldBlock) => pollable.block(),
            other => return other,
        }
    }
}

/// Binds a published port.
fn bind(publish: &Publish, nth: usize, sockets: &mut Wasi) -> Result<Bound<Wasi>, BindError> {
    let (address, socket) =
        try_bind(publish, nth, sockets).map_err(|source| BindError::new(publish, io_error(source)))?;
    Ok(Bound { publish: Publish { host: address, ..publish.clone() }, socket })
}

fn try_bind(
    publish: &Publish,
    nth: usize,
    sockets: &mut Wasi,
) -> Result<(SocketAddr, BoundSocket<Wasi>), ErrorCode> {
    let token = published_token(nth);
    let network = instance_network();
    match publish.protocol {
        Protocol::Tcp => {
            let socket = create_tcp_socket(family(publish.host.ip()))?;
            let pollable = socket.subscribe();
            socket.start_bind(&network, to_wasi(publish.host))?;
            finish(&pollable, || socket.finish_bind())?;
            // A hint, which a runtime may not know.
            let _ = socket.set_listen_backlog_size(BACKLOG);
            socket.start_listen()?;
            finish(&pollable, || socket.finish_listen())?;
            let address = from_wasi(socket.local_address()?);
            drop(pollable);
            Ok((address, BoundSocket::Listener(Listener::new(socket, token, sockets.watches()))))
        }
        Protocol::Udp => {
            let socket = udp_socket(&network, publish.host)?;
            let address = from_wasi(socket.local_address()?);
            let port = Port::new(socket, None, token, sockets.watches())?;
            Ok((address, BoundSocket::Port(port)))
        }
    }
}
