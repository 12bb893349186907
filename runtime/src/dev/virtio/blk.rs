//! Block device (virtio 1.2, section 5.2): the root file system image, read-only.
//!
//! The image lies in the machine's memory, so a read is one copy into the guest's buffer, done inside the
//! notification at the host's speed. There is no state besides the queue. A write is refused as section
//! 5.2.6.2 asks for a read-only device.

use super::device::{Context, VirtioDevice, read_config_bytes};
use super::queue::QueueError;
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

/// The device. See the module's documentation.
pub struct Blk {
    config: [u8; 24],
    len: u64,
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
        Blk { config, len }
    }

    /// Serves the request of a chain; returns status and bytes written before it. `room` is the chain's
    /// writable length but for the status byte.
    fn serve(&self, cx: &mut Context<'_>, chain: &super::queue::Chain, room: u32) -> (u8, u32) {
        let mut header = [0; HEADER];
        if chain.read_at(cx.mem, 0, &mut header) != HEADER {
            return (STATUS_IOERR, 0);
        }
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        match u32::from_le_bytes([t0, t1, t2, t3]) {
            TYPE_IN => self.read(cx, chain, u64::from_le_bytes(sector), room),
            TYPE_GET_ID => {
                let n = (room as usize).min(ID.len());
                (STATUS_OK, chain.write_at(cx.mem, 0, &ID[..n]) as u32)
            }
            _ => (STATUS_UNSUPPORTED, 0),
        }
    }

    fn read(&self, cx: &mut Context<'_>, chain: &super::queue::Chain, sector: u64, room: u32) -> (u8, u32) {
        let offset = sector.checked_mul(SECTOR);
        let inside = offset.is_some_and(|o| o.checked_add(room.into()).is_some_and(|end| end <= self.len));
        let Some(offset) = offset.filter(|_| inside && u64::from(room) % SECTOR == 0) else {
            return (STATUS_IOERR, 0);
        };
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
        while let Some(chain) = cx.pop(queue)? {
            // The last writable byte is the status.
            let Some(room) = chain.writable_len().checked_sub(1) else {
                cx.complete(queue, chain, 0)?;
                continue;
            };
            let (status, written) = self.serve(cx, &chain, room);
            chain.write_at(cx.mem, room, &[status]);
            // What was not written is not promised, but the status byte follows it (section 2.7.8.2).
            cx.complete(queue, chain, if written == room { room + 1 } else { 1.max(written) })?;
        }
        Ok(())
    }
}
