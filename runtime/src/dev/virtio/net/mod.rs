//! Network device (virtio 1.2, section 5.1): one interface, whose packets go to [`Host::send_packets`] and
//! come from [`Host::receive_packets`].
//!
//! The device is in its slot from boot on, with its link up: the guest's driver and its interface are ready
//! in the snapshot. A run that has a network replaces it by one that is connected ([`Net::connected`]);
//! otherwise nothing comes, and what the guest sends is dropped.
//!
//! Segmentation and checksums are left to whoever takes the packets, and the guest takes segments of up to
//! 64 KiB with partial checksums from them: the header before each frame is passed on as it is. There is no
//! control queue: with everything offloaded there is nothing to switch, and the interface is promiscuous.
//!
//! Packets of the guest stay in its queue until the host has room; the host's wait in its own until the guest
//! has buffers. Neither side's packets are dropped for want of room, so that TCP never sees a loss here.

#[cfg(all(test, not(target_family = "wasm")))]
mod tests;

use forelift_abi::net::{GSO_NONE, GUEST_MAC, HEADER, LENGTH, MAX_PACKET, first_packet};

use super::device::{Context, VirtioDevice, read_config_bytes};
use super::queue::{Chain, QueueError, parts};
use crate::host::{Host, Interest};

/// `VIRTIO_NET_F_CSUM`: the device takes packets with partial checksums.
pub const F_CSUM: u64 = 1 << 0;
/// `VIRTIO_NET_F_GUEST_CSUM`: the driver does.
pub const F_GUEST_CSUM: u64 = 1 << 1;
/// `VIRTIO_NET_F_MAC`.
pub const F_MAC: u64 = 1 << 5;
/// `VIRTIO_NET_F_GUEST_TSO4`, `GUEST_TSO6`, `GUEST_ECN`: the driver takes large segments.
pub const F_GUEST_TSO: u64 = 1 << 7 | 1 << 8 | 1 << 9;
/// `VIRTIO_NET_F_HOST_TSO4`, `HOST_TSO6`, `HOST_ECN`: the device does.
pub const F_HOST_TSO: u64 = 1 << 11 | 1 << 12 | 1 << 13;
/// `VIRTIO_NET_F_MRG_RXBUF`: a packet may fill several buffers.
pub const F_MRG_RXBUF: u64 = 1 << 15;
/// `VIRTIO_NET_F_STATUS`: the link is up or down.
pub const F_STATUS: u64 = 1 << 16;

/// In the configuration's `status`: the link is up.
const S_LINK_UP: u16 = 1;

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const SIZE: u16 = 256;
/// Offset of `num_buffers` in the header.
const NUM_BUFFERS: u32 = 10;

/// Room for packets from the host, in bytes.
const BUFFER: usize = 256 << 10;
/// Packets given to the host in one call, and pieces of memory that they consist of, about.
const BATCH: usize = 32;
const PIECES: usize = 512;
/// Most pieces of a packet: Linux uses 17 and the header.
const MOST_PIECES: usize = 256;
/// Bytes moved in each direction in one call of [`VirtioDevice::service`].
const BUDGET: usize = 2 << 20;

/// The device. See the module's documentation.
#[derive(Debug, Default)]
pub struct Net {
    connected: bool,
    /// The host has no link any more.
    down: bool,
    features: u64,
    /// The host has no room for what is in the transmit queue.
    blocked: bool,
    /// The driver has no buffer for what is in `buffer`.
    full: bool,
    /// Packets from the host, each behind its length.
    buffer: Vec<u8>,
    pending: core::ops::Range<usize>,
}

impl Net {
    /// Device type.
    pub const ID: u32 = 1;

    /// An interface that leads nowhere.
    pub fn new() -> Self {
        Self::default()
    }

    /// An interface with a network.
    pub fn connected() -> Self {
        Net { connected: true, ..Self::default() }
    }

    /// What a sleeping machine should be woken for.
    pub fn interest(&self) -> Interest {
        Interest {
            packets: self.connected && !self.down && !self.full,
            packet_room: self.connected && self.blocked,
            ..Interest::default()
        }
    }

    /// Whether the driver takes large segments.
    fn takes(&self, packet: &[u8]) -> bool {
        packet.get(1).is_some_and(|&gso| gso == GSO_NONE) || self.features & F_GUEST_TSO == F_GUEST_TSO
    }

    /// Moves what the guest has sent.
    fn transmit(&mut self, cx: &mut Context<'_>, host: &mut dyn Host) -> Result<(), QueueError> {
        self.blocked = false;
        let mut budget = BUDGET;
        while budget > 0 {
            let mut batch: Vec<Chain> = Vec::with_capacity(BATCH);
            let mut pieces = 0;
            while batch.len() < BATCH
                && pieces < PIECES
                && budget > 0
                && let Some(chain) = cx.pop(TRANSMIT)?
            {
                budget = budget.saturating_sub(chain.readable_len() as usize);
                pieces += chain.readable().len();
                batch.push(chain);
            }
            if batch.is_empty() {
                return Ok(());
            }
            let sent = send(cx, host, &batch);
            self.blocked = sent < batch.len();
            let rest = batch.split_off(sent);
            for chain in batch {
                cx.complete(TRANSMIT, chain, 0)?;
            }
            for chain in rest.into_iter().rev() {
                cx.queues[TRANSMIT].undo_pop(chain);
            }
            if self.blocked {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Moves what the host has for the guest.
    fn receive(&mut self, cx: &mut Context<'_>, host: &mut dyn Host) -> Result<(), QueueError> {
        self.full = false;
        let mut moved = 0;
        while moved < BUDGET {
            if self.pending.is_empty() {
                self.buffer.resize(BUFFER, 0);
                let n = host.receive_packets(&mut self.buffer).min(BUFFER);
                if n == 0 {
                    if !self.down && !host.link_is_up() {
                        self.down = true;
                        cx.config_changed = true;
                    }
                    return Ok(());
                }
                self.pending = 0..n;
            }
            let buffer = core::mem::take(&mut self.buffer);
            let rest = buffer.get(self.pending.clone()).unwrap_or_default();
            // Packets come whole: what is cut off is nonsense.
            let packet = first_packet(rest).map(|(packet, _)| packet).filter(|p| p.len() >= HEADER);
            let done = match packet {
                Some(packet) if self.takes(packet) => {
                    self.deliver(cx, packet)?.then_some(LENGTH + packet.len())
                }
                Some(packet) => Some(LENGTH + packet.len()),
                None => Some(rest.len()),
            };
            self.buffer = buffer;
            let Some(n) = done else {
                self.full = true;
                return Ok(());
            };
            self.pending.start += n;
            moved += n;
        }
        Ok(())
    }

    /// Gives one packet to the guest; false when it has too few buffers now.
    fn deliver(&mut self, cx: &mut Context<'_>, packet: &[u8]) -> Result<bool, QueueError> {
        let mut chains: Vec<Chain> = Vec::new();
        let mut room = 0;
        let most = if self.features & F_MRG_RXBUF != 0 { usize::from(SIZE) } else { 1 };
        while room < packet.len() && chains.len() < most {
            let Some(chain) = cx.pop(RECEIVE)? else { break };
            room += chain.writable_len() as usize;
            chains.push(chain);
        }
        if room < packet.len() && chains.len() < most {
            for chain in chains.into_iter().rev() {
                cx.queues[RECEIVE].undo_pop(chain);
            }
            return Ok(false);
        }
        // A packet that does not fit into all that the driver may give is lost, and its buffers come back
        // empty.
        let fits = room >= packet.len();
        let count = chains.len() as u16;
        let mut rest = if fits { packet } else { &[] };
        for (n, chain) in chains.into_iter().enumerate() {
            let written = chain.write_at(cx.mem, 0, rest);
            rest = &rest[written..];
            if n == 0 && fits {
                chain.write_at(cx.mem, NUM_BUFFERS, &count.to_le_bytes());
            }
            cx.complete(RECEIVE, chain, written as u32)?;
        }
        Ok(true)
    }
}

/// Gives packets to the host in one call; how many it took. What is no packet is dropped.
fn send(cx: &Context<'_>, host: &mut dyn Host, batch: &[Chain]) -> usize {
    let good = |chain: &Chain| {
        (HEADER..=MAX_PACKET).contains(&(chain.readable_len() as usize))
            && chain.readable().len() <= MOST_PIECES
    };
    let lengths: Vec<[u8; LENGTH]> = batch.iter().map(|c| c.readable_len().to_be_bytes()).collect();
    let mut pieces: Vec<&[u8]> = Vec::with_capacity(4 * batch.len());
    for (chain, length) in batch.iter().zip(&lengths).filter(|(chain, _)| good(chain)) {
        pieces.push(length);
        pieces.extend(parts(chain.readable(), 0).filter_map(|(addr, len)| cx.mem.slice(addr, len)));
    }
    let mut taken = if pieces.is_empty() { 0 } else { host.send_packets(&pieces) };
    let took = |chain: &&Chain| {
        let whole = if good(chain) { LENGTH + chain.readable_len() as usize } else { 0 };
        let took = taken >= whole;
        taken = taken.saturating_sub(whole);
        took
    };
    batch.iter().take_while(took).count()
}

impl VirtioDevice for Net {
    fn device_id(&self) -> u32 {
        Self::ID
    }

    fn features(&self) -> u64 {
        F_CSUM | F_GUEST_CSUM | F_MAC | F_GUEST_TSO | F_HOST_TSO | F_MRG_RXBUF | F_STATUS
    }

    fn queue_sizes(&self) -> &[u16] {
        &[SIZE, SIZE]
    }

    fn config_read(&self, offset: usize, out: &mut [u8]) {
        let mut space = [0; 8];
        space[..6].copy_from_slice(&GUEST_MAC);
        let status = if self.down { 0 } else { S_LINK_UP };
        space[6..].copy_from_slice(&status.to_le_bytes());
        read_config_bytes(&space, offset, out);
    }

    fn activate(&mut self, features: u64) {
        self.features = features;
    }

    fn reset(&mut self) {
        *self = Net { connected: self.connected, down: self.down, ..Net::default() };
    }

    fn notify(&mut self, queue: usize, cx: &mut Context<'_>) -> Result<(), QueueError> {
        if !self.connected && queue == TRANSMIT {
            while let Some(chain) = cx.pop(TRANSMIT)? {
                cx.complete(TRANSMIT, chain, 0)?;
            }
        }
        Ok(())
    }

    fn wants_service(&self) -> bool {
        self.connected
    }

    fn service(&mut self, cx: &mut Context<'_>, host: &mut dyn Host) -> Result<(), QueueError> {
        self.transmit(cx, host)?;
        self.receive(cx, host)
    }
}
