//! 9P transport device: a host directory for the guest (virtio 1.2 reserves device type 9; the layout is that of Linux's
//! *include/uapi/linux/virtio_9p.h* and *net/9p/trans_virtio.c*).
//!
//! One virtqueue. A chain's readable part holds one request, its writable part takes the reply. Linux sends the data of
//! large writes as pages behind the header, and asks for large reads to be put into pages behind one: the parts are
//! gathered and scattered here, at the price of one copy. Parts that lie next to each other in memory (every small
//! message, and the buffers of Linux's own reads) are used in place: a reply's then goes from the host's file into
//! guest memory directly.
//!
//! Requests are served inside the notification, one after the other: a guest waits for its file system as a process
//! waits for a disk. There is nothing to save: a snapshot has no mounts.

use super::queue::{Chain, QueueError, Span};
use super::{Context, VirtioDevice, read_config_bytes};
use crate::dev::nine_p;
use crate::dev::p9::fs::Backend;
use crate::dev::p9::{MAX_MSIZE, Server};

/// Requests up to this length in bytes are copied, so that the reply may be written in place meanwhile.
const SHORT: usize = 4096;

/// The device. See the module's documentation.
pub struct P9<B: Backend> {
    config: Vec<u8>,
    server: Server<B>,
    request: Box<[u8]>,
    reply: Box<[u8]>,
}

impl<B: Backend> P9<B> {
    /// The device of 9p slot `index`, which serves `backend`; with `read_only`, changes give EROFS.
    pub fn new(index: usize, backend: B, read_only: bool) -> Self {
        P9 {
            config: nine_p::config(index),
            server: Server::new(backend, read_only),
            request: vec![0; MAX_MSIZE].into(),
            reply: vec![0; MAX_MSIZE].into(),
        }
    }

    /// Serves the request of a chain; returns the length of the reply in it.
    fn serve(&mut self, cx: &mut Context<'_>, chain: &Chain) -> u32 {
        let len = (chain.readable_len() as usize).min(MAX_MSIZE);
        let room = (chain.writable_len() as usize).min(MAX_MSIZE);
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

impl<B> VirtioDevice for P9<B>
where
    B: Backend + Send,
    B::File: Send,
{
    fn device_id(&self) -> u32 {
        nine_p::ID
    }

    fn features(&self) -> u64 {
        nine_p::F_MOUNT_TAG
    }

    fn queue_sizes(&self) -> &[u16] {
        nine_p::QUEUE_SIZES
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
#[path = "p9_tests.rs"]
mod tests;
