//! Captures in pcapng (draft-ietf-opsawg-pcapng-03, sections 4.1 to 4.3): one section, one interface, and an
//! enhanced packet block for each frame, with its direction.

use std::{io::Write, time::Duration};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
/// `LINKTYPE_ETHERNET`.
const ETHERNET: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;

/// Where frames are written.
pub(crate) struct Capture {
    to: Box<dyn Write + Send>,
    /// The time of day at the gateway's start, from 1970 on.
    epoch: Duration,
    block: Vec<u8>,
    failed: bool,
}

impl Capture {
    /// Begins a capture. `epoch` is the time of day at the gateway's time 0.
    pub(crate) fn new(to: Box<dyn Write + Send>, epoch: Duration) -> Self {
        let mut capture = Capture { to, epoch, block: Vec::new(), failed: false };
        let mut section = Vec::new();
        section.extend(0x1a2b_3c4d_u32.to_le_bytes());
        section.extend([1, 0, 0, 0]);
        section.extend(u64::MAX.to_le_bytes());
        capture.write(SECTION, &[&section]);
        let mut interface = Vec::new();
        interface.extend(ETHERNET.to_le_bytes());
        interface.extend([0; 6]);
        option(&mut interface, IF_NAME, b"eth0");
        option(&mut interface, IF_TSRESOL, &[9]);
        option(&mut interface, 0, &[]);
        capture.write(INTERFACE, &[&interface]);
        capture
    }

    /// Writes a frame; `to_guest` says its direction.
    pub(crate) fn packet(&mut self, frame: &[u8], now: Duration, to_guest: bool) {
        let time = (self.epoch + now).as_nanos() as u64;
        let mut head = Vec::with_capacity(20);
        head.extend(0_u32.to_le_bytes());
        head.extend(((time >> 32) as u32).to_le_bytes());
        head.extend((time as u32).to_le_bytes());
        head.extend((frame.len() as u32).to_le_bytes());
        head.extend((frame.len() as u32).to_le_bytes());
        let mut options = vec![0; frame.len().next_multiple_of(4) - frame.len()];
        // Seen from the guest's interface: 1 is inbound, 2 outbound.
        option(&mut options, EPB_FLAGS, &[if to_guest { 1 } else { 2 }, 0, 0, 0]);
        option(&mut options, 0, &[]);
        self.write(ENHANCED_PACKET, &[&head, frame, &options]);
    }

    /// Writes a block whole, so that a capture that is cut off ends between blocks. After an error nothing
    /// more is written: the network goes on without its capture.
    fn write(&mut self, kind: u32, parts: &[&[u8]]) {
        if self.failed {
            return;
        }
        let length = 12 + parts.iter().map(|part| part.len()).sum::<usize>();
        self.block.clear();
        self.block.extend(kind.to_le_bytes());
        self.block.extend((length as u32).to_le_bytes());
        for part in parts {
            self.block.extend_from_slice(part);
        }
        self.block.extend((length as u32).to_le_bytes());
        self.failed = self.to.write_all(&self.block).is_err();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.failed {
            // There is nobody left to tell of an error.
            drop(self.to.flush());
        }
    }
}

fn option(to: &mut Vec<u8>, code: u16, value: &[u8]) {
    to.extend(code.to_le_bytes());
    to.extend((value.len() as u16).to_le_bytes());
    to.extend_from_slice(value);
    to.resize(to.len() + value.len().next_multiple_of(4) - value.len(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn blocks_have_their_lengths_at_both_ends() {
        let file = Shared::default();
        let mut capture = Capture::new(Box::new(file.clone()), Duration::from_secs(5));
        capture.packet(&[7; 61], Duration::from_nanos(9), true);
        capture.packet(&[8; 60], Duration::from_nanos(10), false);
        drop(capture);
        let bytes = file.0.lock().unwrap().clone();
        let long = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
        let (mut at, mut kinds) = (0, Vec::new());
        while at < bytes.len() {
            let length = long(at + 4) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(long(at + length - 4) as usize, length);
            kinds.push(long(at));
            if long(at) == ENHANCED_PACKET {
                let time = u64::from(long(at + 12)) << 32 | u64::from(long(at + 16));
                assert!((5_000_000_009..=5_000_000_010).contains(&time));
                assert_eq!(long(at + 20), long(at + 24));
            }
            at += length;
        }
        assert_eq!(kinds, [SECTION, INTERFACE, ENHANCED_PACKET, ENHANCED_PACKET]);
    }
}
