//! Runs an image without WebAssembly: the machine that this build contains, on the same memory. For tests and
//! comparison.
//!
//! * [`run`]: interpreted, or with the engine `native`;
//! * [`jit`]: that engine: hot code compiled for this host while the machine runs.

pub mod jit;

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    thread,
};

use forelift_abi::{
    control::WindowSize,
    embed::Record,
    net::{Network, first_packet, put_packet},
};
use forelift_net::native::Handle;
use forelift_runtime::{
    host::{Host, HostEvent, Interest, Read, Stream, Terminal, Written},
    image::{self, Asked, Image, Origin},
    machine::Tier,
    sys::{EventSender, SystemHost},
};
use thiserror::Error;

use crate::{
    embed::{
        RunOptions,
        control::Control,
        net::{NetworkError, start},
        shares::{ShareError, servers},
        terminal,
    },
    pack::{PackedImage, reader::OpenError},
};
use jit::{Compile, Jit};

/// Why an image did not run natively.
#[derive(Debug, Error)]
pub enum NativeError {
    /// The image is unusable.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A directory cannot be shared.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The network cannot be begun.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The host lacks something.
    #[error("{what}: {source}")]
    Host {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// The process's own streams, with the terminal and the input that the options ask for.
struct OptionsHost {
    system: SystemHost,
    terminal: Terminal,
    stdin: bool,
    network: Option<(Handle, Network)>,
}

impl Host for OptionsHost {
    fn monotonic_ns(&mut self) -> u64 {
        self.system.monotonic_ns()
    }

    fn realtime_ns(&mut self) -> u64 {
        self.system.realtime_ns()
    }

    fn random(&mut self, buf: &mut [u8]) {
        self.system.random(buf);
    }

    fn read_stdin(&mut self, buf: &mut [u8]) -> Read {
        if self.stdin { self.system.read_stdin(buf) } else { Read::Eof }
    }

    fn write(&mut self, stream: Stream, buf: &[u8]) -> Written {
        self.system.write(stream, buf)
    }

    fn event(&mut self) -> Option<HostEvent> {
        self.system.event()
    }

    fn terminal(&mut self) -> Terminal {
        self.terminal
    }

    fn network(&mut self) -> Option<Network> {
        self.network.as_ref().map(|(_, interface)| interface.clone())
    }

    fn send_packets(&mut self, pieces: &[&[u8]]) -> usize {
        let Some((network, _)) = &self.network else { return 0 };
        let all = pieces.concat();
        let mut rest = &all[..];
        while let Some((packet, more)) = first_packet(rest)
            && network.send(&[packet])
        {
            rest = more;
        }
        all.len() - rest.len()
    }

    fn receive_packets(&mut self, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        if let Some((network, _)) = &self.network {
            network.receive(&mut |packet| {
                let end = put_packet(buffer, done, packet);
                done = end.unwrap_or(done);
                end.is_some()
            });
        }
        done
    }

    fn link_is_up(&mut self) -> bool {
        !self.network.as_ref().is_some_and(|(network, _)| network.has_ended())
    }

    fn wait(&mut self, timeout_ns: Option<u64>, interest: Interest) {
        if let Some((network, _)) = &self.network {
            network.clear();
            if interest.packets && network.has_news() || interest.packet_room && network.has_room() {
                return;
            }
        }
        self.system.wait(timeout_ns, Interest { stdin: interest.stdin && self.stdin, ..interest });
    }
}

/// Passes the process's signals on, until the process ends.
fn forward(mut control: Control, to: EventSender) {
    loop {
        while let Some(record) = control.take() {
            to.push_event(match record {
                Record::Signal(number) => HostEvent::Signal(number),
                Record::Stop => HostEvent::Stop,
                Record::WindowSize { rows, cols } => HostEvent::WindowSize(WindowSize { rows, cols }),
                Record::Terminal { .. } => continue,
            });
        }
        let mut poll = libc::pollfd { fd: control.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid structure; the descriptor is open as long as `control` lives.
        unsafe { libc::poll(&mut poll, 1, -1) };
    }
}

/// How guest code runs without WebAssembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Interpreted throughout.
    Interp,
    /// Hot code is compiled for this host.
    Native,
}

/// Runs `image` to its end and gives its exit status.
///
/// # Errors
/// See [`NativeError`].
pub fn run(packed: &PackedImage, options: &RunOptions, engine: Engine) -> Result<u8, NativeError> {
    let host = |what| move |source| NativeError::Host { what, source };
    let parts = packed.native_memory()?;
    let system = SystemHost::new().map_err(host("making a socket"))?;
    let served = options.shares.iter().zip(servers(&options.shares)?);
    let shares = served.map(|(share, server)| image::Share {
        path: share.guest.clone(),
        server: Box::new(server),
        read_only: share.read_only,
    });
    let shares = shares.collect();
    let raw = if options.tty && options.stdin {
        terminal::RawMode::enter().map_err(host("setting the terminal to raw mode"))?
    } else {
        None
    };
    let size = if options.tty { terminal::size() } else { None };
    let mut outside = OptionsHost {
        terminal: Terminal {
            is_tty: options.tty,
            size: size.map(|(rows, cols)| WindowSize { rows, cols }),
            raw: raw.is_some(),
        },
        stdin: options.stdin,
        network: None,
        system,
    };
    if let Some(network) = &options.network {
        let handle = start(network)?;
        outside.system.wake_for_network(handle.as_fd().as_raw_fd());
        outside.network = Some((handle, network.interface.clone()));
    }
    let control = Control::new(options.tty, raw.is_some()).map_err(host("catching signals"))?;
    let events = outside.system.events();
    thread::spawn(move || forward(control, events));

    let origin = match &parts.state {
        Some(state) => Origin::Snapshot(state),
        None => Origin::Boot { kernel: &parts.kernel, initrd: &parts.initrd },
    };
    let tier: Option<Box<dyn Tier>> = match engine {
        Engine::Interp => None,
        Engine::Native => Some(Box::new(Jit::new(Compile::Aside))),
    };
    let image = Image { memory: parts.memory, config: packed.config.clone(), origin, lifted: None, tier };
    let args = options.args.iter().skip(1).map(|a| a.clone().into_bytes()).collect();
    let env = options.env.iter().map(|(k, v)| format!("{k}={v}").into_bytes()).collect();
    let asked = Asked { image, args, env, shares };
    let outcome = image::run(asked, &mut outside, |text| print!("{text}"));
    drop(raw);
    if let Some(message) = outcome.message {
        eprintln!("forelift: {message}");
    }
    Ok(outcome.code)
}
