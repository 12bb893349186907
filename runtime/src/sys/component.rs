//! The host as a WASI 0.2 runtime, which a component has. Streams, clocks and directories are those of
//! preview 1, through the adapter that the component contains; what preview 1 lacks is asked for here:
//! sockets, and exit codes over 125.
//!
//! The gateway of the container's network runs on the machine's own thread: when the guest sends, when the
//! machine looks for packets, and when it sleeps.

use core::time::Duration;

use forelift_abi::net::{LENGTH, Network, first_packet, put_packet};
use forelift_net::{Publish, wasi::Gateway};
use wasip2::{
    cli::{exit::exit_with_code, stderr::get_stderr, stdin::get_stdin, stdout::get_stdout},
    io::{
        poll::Pollable,
        streams::{InputStream, OutputStream},
    },
};

use super::wasi::WasiHost;
use crate::{
    args::{self, Link},
    host::{Host, HostEvent, Interest, Read, Stream, Terminal, Written},
};

/// While the guest is busy, sockets are looked at once in this many ns.
const LOOK_AGAIN: u64 = 200_000;

/// A WASI 0.2 runtime. See the module's documentation.
pub struct ComponentHost {
    preview1: WasiHost,
    net: Option<Net>,
}

/// The container's network.
struct Net {
    gateway: Gateway,
    interface: Network,
    /// When the sockets were looked at, by the monotonic clock.
    looked: u64,
    /// Of the standard streams; dropped before these.
    pollables: [Pollable; 3],
    _input: InputStream,
    _outputs: [OutputStream; 2],
}

impl Net {
    fn new(gateway: Gateway, interface: Network) -> Self {
        let (input, outputs) = (get_stdin(), [get_stdout(), get_stderr()]);
        let pollables = [input.subscribe(), outputs[0].subscribe(), outputs[1].subscribe()];
        Net { gateway, interface, looked: 0, pollables, _input: input, _outputs: outputs }
    }
}

impl ComponentHost {
    /// A host on the component's standard streams.
    pub fn new() -> Self {
        ComponentHost { preview1: WasiHost::new(), net: None }
    }

    /// Ends the component with this exit code, a moment after the guest if that has sent something which is
    /// still to be taken. Nothing is dropped: to drop a socket may take as long as its peer likes.
    pub fn exit(&mut self, code: u8) {
        if let Some(net) = &mut self.net {
            net.gateway.finish();
        }
        exit_with_code(code);
    }
}

impl Default for ComponentHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Host for ComponentHost {
    fn monotonic_ns(&mut self) -> u64 {
        self.preview1.monotonic_ns()
    }

    fn realtime_ns(&mut self) -> u64 {
        self.preview1.realtime_ns()
    }

    fn random(&mut self, buf: &mut [u8]) {
        self.preview1.random(buf);
    }

    fn read_stdin(&mut self, buf: &mut [u8]) -> Read {
        self.preview1.read_stdin(buf)
    }

    fn write(&mut self, stream: Stream, buf: &[u8]) -> Written {
        self.preview1.write(stream, buf)
    }

    fn event(&mut self) -> Option<HostEvent> {
        self.preview1.event()
    }

    fn terminal(&mut self) -> Terminal {
        self.preview1.terminal()
    }

    fn connect(&mut self, network: args::Network) -> Result<(), String> {
        if network.link != Link::Gateway {
            return self.preview1.connect(network);
        }
        let asked = network.plan.config.published.clone();
        let gateway = Gateway::start(network.plan.config).map_err(|error| error.to_string())?;
        for line in Publish::chosen(&asked, gateway.bound()) {
            eprintln!("forelift: {line}");
        }
        if !gateway.resolves() {
            eprintln!(
                "forelift: names will not be found: add -S allow-ip-name-lookup before the image, or --dns IP"
            );
        }
        self.net = Some(Net::new(gateway, network.plan.interface));
        Ok(())
    }

    fn network(&mut self) -> Option<Network> {
        match &self.net {
            Some(net) => Some(net.interface.clone()),
            None => self.preview1.network(),
        }
    }

    fn send_packets(&mut self, pieces: &[&[u8]]) -> usize {
        let Some(net) = &mut self.net else { return self.preview1.send_packets(pieces) };
        let bytes = pieces.concat();
        let mut rest = &bytes[..];
        while let Some((packet, after)) = first_packet(rest) {
            net.gateway.send(packet);
            rest = after;
        }
        net.gateway.run();
        bytes.len()
    }

    fn receive_packets(&mut self, buffer: &mut [u8]) -> usize {
        let now = self.preview1.monotonic_ns();
        let Some(net) = &mut self.net else { return self.preview1.receive_packets(buffer) };
        if now.wrapping_sub(net.looked) >= LOOK_AGAIN {
            net.looked = now;
            net.gateway.look();
        }
        let mut end = 0;
        net.gateway.receive(&mut |packet| match put_packet(buffer, end, packet) {
            Some(next) => {
                end = next;
                true
            }
            // What could never be taken would be in the way for ever.
            None => LENGTH + packet.len() > buffer.len(),
        });
        end
    }

    fn link_is_up(&mut self) -> bool {
        self.net.is_some() || self.preview1.link_is_up()
    }

    fn wait(&mut self, timeout_ns: Option<u64>, interest: Interest) {
        let Some(net) = &mut self.net else { return self.preview1.wait(timeout_ns, interest) };
        if interest.packets && net.gateway.has_packets() || self.preview1.is_at_once(interest) {
            return;
        }
        let wanted = [interest.stdin, interest.stdout, interest.stderr];
        let streams: Vec<usize> = (0..wanted.len()).filter(|&index| wanted[index]).collect();
        let pollables: Vec<&Pollable> = streams.iter().map(|&index| &net.pollables[index]).collect();
        let ready = net.gateway.wait(timeout_ns.map(Duration::from_nanos), &pollables);
        for (index, _) in streams.into_iter().zip(ready).filter(|(_, ready)| *ready) {
            self.preview1.set_ready(index);
        }
        net.looked = self.preview1.monotonic_ns();
    }
}
