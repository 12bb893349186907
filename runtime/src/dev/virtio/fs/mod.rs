//! File system device: a host directory for the guest (virtio 1.2, section 5.11), by the FUSE protocol.
//!
//! A chain's readable part holds one request, its writable part takes the reply. Linux sends the data of
//! large writes as pages after the header, and asks for large reads in the same way: the
//! parts are gathered and scattered here, at the price of one copy. Parts that lie next to each other in
//! memory are used in place: a reply's then goes from the host's file into guest memory directly.
//!
//! Requests are served inside the notification, one after the other: a guest waits for its file system as a
//! process waits for a disk. There is nothing to save: a snapshot has no mounts.

pub mod share;

use crate::dev::fuse::{MAX_MESSAGE, Service};
use crate::dev::virtio::device::{Context, VirtioDevice, read_config_bytes};
use crate::dev::virtio::queue::{Chain, QueueError, Span};

/// Requests up to this length in bytes are copied, so that the reply may be written in place meanwhile.
const SHORT: usize = 4096;

/// The device. See the module's documentation.
pub struct Fs<S: Service> {
    config: Vec<u8>,
    server: S,
    request: Box<[u8]>,
    reply: Box<[u8]>,
}

impl<S: Service> Fs<S> {
    /// The device of slot `index`, whose requests `server` answers.
    pub fn new(index: usize, server: S) -> Self {
        Fs {
            config: share::config(index),
            server,
            request: vec![0; MAX_MESSAGE].into(),
            reply: vec![0; MAX_MESSAGE].into(),
        }
    }

    /// Serves the request of a chain; returns the length of the reply in it.
    fn serve(&mut self, cx: &mut Context<'_>, chain: &Chain) -> u32 {
        let len = (chain.readable_len() as usize).min(MAX_MESSAGE);
        let room = (chain.writable_len() as usize).min(MAX_MESSAGE);
        let written = if len <= SHORT {
            let n = chain.read_at(cx.mem, 0, &mut self.request[..len]);
            let request = &self.request[..n];
            match one_piece(chain.writable(), room).and_then(|at| cx.mem.slice_mut(at, room)) {
                Some(in_place) => self.server.handle(request, in_place),
                None => {
                    let n = self.server.handle(request, &mut self.reply[..room]);
                    chain.write_at(cx.mem, 0, &self.reply[..n])
                }
            }
        } else {
            let request = match one_piece(chain.readable(), len).and_then(|at| cx.mem.slice(at, len)) {
                Some(in_place) => in_place,
                None => {
                    let n = chain.read_at(cx.mem, 0, &mut self.request[..len]);
                    &self.request[..n]
                }
            };
            let n = self.server.handle(request, &mut self.reply[..room]);
            chain.write_at(cx.mem, 0, &self.reply[..n])
        };
        written as u32
    }
}

/// Address of the first `len` bytes of the spans, when each begins where the one before ends.
fn one_piece(spans: &[Span], len: usize) -> Option<u64> {
    let start = spans.first()?.addr;
    let mut have = 0;
    for span in spans {
        if have >= len as u64 {
            break;
        }
        if span.addr != start.checked_add(have)? {
            return None;
        }
        have += u64::from(span.len);
    }
    (have >= len as u64).then_some(start)
}

impl<S: Service> VirtioDevice for Fs<S> {
    fn device_id(&self) -> u32 {
        share::ID
    }

    fn queue_sizes(&self) -> &[u16] {
        share::QUEUE_SIZES
    }

    fn config_read(&self, offset: usize, out: &mut [u8]) {
        read_config_bytes(&self.config, offset, out);
    }

    fn reset(&mut self) {
        self.server.reset();
    }

    fn notify(&mut self, queue: usize, cx: &mut Context<'_>) -> Result<(), QueueError> {
        while let Some(chain) = cx.pop(queue)? {
            let written = self.serve(cx, &chain);
            cx.complete(queue, chain, written)?;
        }
        Ok(())
    }
}

// Guest memory of the tests is a native mapping.
#[cfg(all(test, not(target_family = "wasm")))]
mod tests;
