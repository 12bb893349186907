//! Block device (virtio 1.2, section 5.2): the root file system image, read-only.
//!
//! Mostly the image lies in the machine's memory, so a read is one copy into the guest's buffer, done inside
//! the notification at the host's speed. An image outside of it is read by [`Host::read_root`]: requests then
//! wait until the host has what they ask for, and are completed in the order in which that comes. There is no
//! state besides the queue and those. A write is refused as section 5.2.6.2 asks for a read-only device.

use super::device::{Context, VirtioDevice, read_config_bytes};
use super::queue::{Chain, QueueError};
use crate::host::{Host, RootRead};
use forelift_abi::layout::ROOT_BASE;

/// The device is read-only (section 5.2.3).
const F_RO: u64 = 1 << 5;
/// `blk_size` is valid.
const F_BLK_SIZE: u64 = 1 << 6;
/// `seg_max` is valid.
const F_SEG_MAX: u64 = 1 << 2;
/// Unit of `capacity` and of a request's sector, in bytes.
const SECTOR: u64 = 512;
/// The image's block size in bytes.
const BLOCK: u32 = 4096;
/// Segments of a request at most: with header and status they fit the queue.
const SEGMENTS: u32 = 126;
const QUEUE: [u16; 1] = [128];

const TYPE_IN: u32 = 0;
const TYPE_GET_ID: u32 = 8;
const STATUS_OK: u8 = 0;
const STATUS_IOERR: u8 = 1;
const STATUS_UNSUPPORTED: u8 = 2;
/// What `GET_ID` answers: 20 bytes.
const ID: &[u8; 20] = b"forelift-root\0\0\0\0\0\0\0";
const HEADER: usize = 16;

/// Status of a request, and bytes written before it.
type Served = (u8, u32);

/// The device. See the module's documentation.
pub struct Blk {
    config: [u8; 24],
    len: u64,
    /// There may be requests in the queue that only the host can serve.
    asked: bool,
    /// Requests that wait for the host.
    waiting: Vec<Chain>,
    /// Blocks of the image that were read, as bits; empty when nobody wants to know.
    seen: Vec<u64>,
}

impl Blk {
    /// Device type.
    pub const ID: u32 = 2;

    /// A disk that shows the `len` bytes of the root window.
    pub fn new(len: u64) -> Self {
        let mut config = [0; 24];
        config[..8].copy_from_slice(&(len / SECTOR).to_le_bytes());
        config[12..16].copy_from_slice(&SEGMENTS.to_le_bytes());
        config[20..24].copy_from_slice(&BLOCK.to_le_bytes());
        Blk { config, len, asked: false, waiting: Vec::new(), seen: Vec::new() }
    }

    /// Whether a request waits for the host.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Notes from now on which blocks are read.
    pub fn note_reads(&mut self) {
        self.seen = vec![0; self.len.div_ceil(64 * u64::from(BLOCK)) as usize];
    }

    /// The blocks of 4096 bytes that were read since then, as bits.
    pub fn reads(&self) -> &[u64] {
        &self.seen
    }

    /// Serves the request of a chain. `room` is the chain's writable length but for the status byte. `None`:
    /// the host has not got it yet.
    fn serve(
        &mut self,
        cx: &mut Context<'_>,
        chain: &Chain,
        room: u32,
        host: Option<&mut dyn Host>,
    ) -> Option<Served> {
        let mut header = [0; HEADER];
        if chain.read_at(cx.mem, 0, &mut header) != HEADER {
            return Some((STATUS_IOERR, 0));
        }
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        match u32::from_le_bytes([t0, t1, t2, t3]) {
            TYPE_IN => {
                let Some(offset) = self.place(u64::from_le_bytes(sector), room) else {
                    return Some((STATUS_IOERR, 0));
                };
                match host {
                    Some(host) => fetch(cx, chain, offset, room, host),
                    None => Some(copy(cx, chain, offset, room)),
                }
            }
            TYPE_GET_ID => {
                let n = (room as usize).min(ID.len());
                Some((STATUS_OK, chain.write_at(cx.mem, 0, &ID[..n]) as u32))
            }
            _ => Some((STATUS_UNSUPPORTED, 0)),
        }
    }

    /// Where in the image a read of `room` bytes is, if it is.
    fn place(&mut self, sector: u64, room: u32) -> Option<u64> {
        let offset = sector.checked_mul(SECTOR)?;
        let end = offset.checked_add(room.into()).filter(|&end| end <= self.len)?;
        if u64::from(room) % SECTOR != 0 {
            return None;
        }
        if !self.seen.is_empty() {
            for block in offset / u64::from(BLOCK)..end.div_ceil(BLOCK.into()) {
                self.seen[(block / 64) as usize] |= 1 << (block % 64);
            }
        }
        Some(offset)
    }

    /// Serves a chain, or has it wait.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        queue: usize,
        chain: Chain,
        host: Option<&mut dyn Host>,
    ) -> Result<(), QueueError> {
        // The last writable byte is the status.
        let Some(room) = chain.writable_len().checked_sub(1) else {
            return cx.complete(queue, chain, 0);
        };
        let Some((status, written)) = self.serve(cx, &chain, room, host) else {
            self.waiting.push(chain);
            return Ok(());
        };
        chain.write_at(cx.mem, room, &[status]);
        // What was not written is not promised, but the status byte follows it (section 2.7.8.2).
        cx.complete(queue, chain, if written == room { room + 1 } else { 1.max(written) })
    }
}

/// Copies from the window in memory.
fn copy(cx: &mut Context<'_>, chain: &Chain, offset: u64, room: u32) -> Served {
    let (mut done, mut left) = (0, room);
    for span in chain.writable() {
        let n = span.len.min(left);
        if n == 0 {
            break;
        }
        if !cx.mem.copy_within(ROOT_BASE + offset + u64::from(done), span.addr, n as usize) {
            return (STATUS_IOERR, done);
        }
        (done, left) = (done + n, left - n);
    }
    (STATUS_OK, done)
}

/// Reads from the host.
fn fetch(cx: &mut Context<'_>, chain: &Chain, offset: u64, room: u32, host: &mut dyn Host) -> Option<Served> {
    let (mut done, mut left) = (0, room);
    for span in chain.writable() {
        let n = span.len.min(left);
        if n == 0 {
            break;
        }
        let Some(buffer) = cx.mem.slice_mut(span.addr, n as usize) else {
            return Some((STATUS_IOERR, done));
        };
        match host.read_root(offset + u64::from(done), buffer) {
            RootRead::Done => {}
            RootRead::WouldBlock => return None,
            RootRead::Failed => return Some((STATUS_IOERR, done)),
        }
        (done, left) = (done + n, left - n);
    }
    Some((STATUS_OK, done))
}

impl VirtioDevice for Blk {
    fn device_id(&self) -> u32 {
        Self::ID
    }

    fn features(&self) -> u64 {
        F_RO | F_BLK_SIZE | F_SEG_MAX
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE
    }

    fn config_read(&self, offset: usize, out: &mut [u8]) {
        read_config_bytes(&self.config, offset, out);
    }

    fn notify(&mut self, queue: usize, cx: &mut Context<'_>) -> Result<(), QueueError> {
        if cx.mem.is_root_outside() {
            self.asked = true;
            return Ok(());
        }
        while let Some(chain) = cx.pop(queue)? {
            self.take(cx, queue, chain, None)?;
        }
        Ok(())
    }

    fn reset(&mut self) {
        (self.asked, self.waiting) = (false, Vec::new());
    }

    fn wants_service(&self) -> bool {
        self.asked || self.is_waiting()
    }

    fn service(&mut self, cx: &mut Context<'_>, host: &mut dyn Host) -> Result<(), QueueError> {
        for chain in core::mem::take(&mut self.waiting) {
            self.take(cx, 0, chain, Some(&mut *host))?;
        }
        self.asked = false;
        while let Some(chain) = cx.pop(0)? {
            self.take(cx, 0, chain, Some(&mut *host))?;
            // So many only wait when the driver makes its descriptors available again while they are in use.
            if self.waiting.len() > usize::from(QUEUE[0]) {
                self.asked = true;
                break;
            }
        }
        Ok(())
    }
}
