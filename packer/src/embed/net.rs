//! The network descriptor ([`forelift_abi::embed::NET_FD`]): the container's interface, then packets from and
//! to a gateway's thread.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use forelift_abi::net::{LENGTH, MAX_PACKET, Network as Interface};
use forelift_net::{
    Publish,
    frames::StreamEnd,
    native::{self, Gateway, Handle, Stream, StreamError},
};
use thiserror::Error;

use super::{
    options::{Link, Network},
    stdio::{Cursor, errno},
};

/// Why a run has no network.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// The gateway cannot start.
    #[error(transparent)]
    Gateway(#[from] native::Error),
    /// The other program is not there.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// Begins the network of a run: binds the published ports, and starts the gateway's thread. Says which ports
/// the host has chosen.
///
/// # Errors
/// When a port cannot be bound, or the other program is not there.
pub fn start(network: &Network) -> Result<Handle, NetworkError> {
    let capture = network.capture.clone().map(|file| Box::new(file) as _);
    let handle = match &network.link {
        Link::Gateway => Gateway::start(network.config.clone(), capture)?,
        Link::Connect(to) => Stream::connect(to, capture, say_end)?,
        Link::Listen(at) => Stream::listen(at, capture, say_end)?,
    };
    say_ports(&network.config.published, handle.bound());
    Ok(handle)
}

fn say_end(why: &StreamEnd) {
    eprintln!("forelift: {}", why.line());
}

/// Says which ports the host has chosen for those that were asked for.
pub fn say_ports(asked: &[Publish], bound: &[Publish]) {
    for line in Publish::chosen(asked, bound) {
        eprintln!("forelift: {line}");
    }
}

/// [`start`]s the network, for the module's descriptor.
///
/// # Errors
/// As [`start`].
pub fn open(network: &Network) -> Result<Net, NetworkError> {
    Ok(Net::new(start(network)?, &network.interface))
}

/// The gateway's other end.
pub struct Net {
    handle: Handle,
    /// What the first read gives.
    interface: Option<Vec<u8>>,
}

impl Net {
    /// The descriptor of a run.
    pub fn new(handle: Handle, interface: &Interface) -> Self {
        // Plain data into a Vec: it cannot fail.
        let interface = postcard::to_allocvec(interface).unwrap_or_default();
        Net { handle, interface: Some(interface) }
    }

    /// Makes the descriptor silent until there is something new: to be called before anyone looks whether
    /// there is something, and polls.
    pub fn clear(&self) {
        self.handle.clear();
    }

    /// The descriptor to poll when neither [`has_packets`](Self::has_packets) nor
    /// [`has_room`](Self::has_room) is true.
    pub fn fd(&self) -> RawFd {
        self.handle.as_fd().as_raw_fd()
    }

    /// Whether a read gives something now.
    pub fn has_packets(&self) -> bool {
        self.interface.is_some() || self.handle.has_news()
    }

    /// Whether a write takes something now.
    pub fn has_room(&self) -> bool {
        self.handle.has_room()
    }

    /// `fd_read`: the interface, or as many whole packets as there are and fit. `EPIPE` when there will be no
    /// more.
    pub fn read(&mut self, memory: &mut [u8], buffers: &[(usize, usize)]) -> Result<u32, i32> {
        let room: usize = buffers.iter().map(|b| b.1).sum();
        let mut cursor = Cursor::new(buffers);
        if let Some(interface) = self.interface.take_if(|interface| interface.len() <= room) {
            cursor.put(memory, &interface);
            return Ok(interface.len() as u32);
        }
        if self.interface.is_some() {
            return Err(errno::INVAL);
        }
        let mut left = room;
        self.handle.receive(&mut |packet| {
            let whole = LENGTH + packet.len();
            let fits = whole <= left;
            if fits {
                left -= whole;
                cursor.put(memory, &(packet.len() as u32).to_be_bytes());
                cursor.put(memory, packet);
            }
            fits
        });
        match room - left {
            0 if self.handle.has_ended() => Err(errno::PIPE),
            0 => Err(errno::AGAIN),
            read => Ok(read as u32),
        }
    }

    /// `fd_write`: takes as many whole packets as there is room for.
    pub fn write(&mut self, memory: &[u8], buffers: &[(usize, usize)]) -> Result<u32, i32> {
        let mut cursor = Cursor::new(buffers);
        let mut done = 0;
        loop {
            let mut word = Vec::with_capacity(LENGTH);
            let whole = cursor.take(LENGTH, |start, len| word.extend_from_slice(&memory[start..start + len]));
            let Some(word) = word.first_chunk().filter(|_| whole) else { break };
            let len = u32::from_be_bytes(*word) as usize;
            let mut pieces = Vec::new();
            if len > MAX_PACKET || !cursor.take(len, |start, len| pieces.push(&memory[start..start + len])) {
                return if done == 0 { Err(errno::INVAL) } else { Ok(done) };
            }
            if !self.handle.send(&pieces) {
                break;
            }
            done += (LENGTH + len) as u32;
        }
        if done == 0 && !buffers.is_empty() { Err(errno::AGAIN) } else { Ok(done) }
    }
}
