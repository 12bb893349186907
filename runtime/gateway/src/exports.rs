//! What JavaScript calls. Bytes are passed in one buffer of the module's memory, whose place and size
//! [`gateway_buffer`] and the results tell. Times are microseconds of any clock that does not go back.

use crate::{
    exchange::{Event, Message},
    gateway::Gateway,
};
use bytes::Bytes;
use std::{cell::RefCell, time::Duration};

#[derive(Default)]
struct State {
    gateway: Option<Gateway>,
    buffer: Vec<u8>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(work)
}

impl State {
    /// Puts bytes into the buffer; how many.
    fn put(&mut self, bytes: &[u8]) -> usize {
        self.buffer.clear();
        self.buffer.extend_from_slice(bytes);
        bytes.len()
    }
}

/// Makes room for so many bytes; where they are.
#[unsafe(no_mangle)]
pub extern "C" fn gateway_buffer(length: usize) -> usize {
    with(|state| {
        state.buffer.resize(length, 0);
        state.buffer.as_ptr() as usize
    })
}

/// Makes the gateway. Its root's certificate is in the buffer then: how many bytes, or 0 when it failed.
#[unsafe(no_mangle)]
pub extern "C" fn gateway_start(outbound: u32) -> usize {
    with(|state| match Gateway::new(outbound != 0) {
        Ok(gateway) => {
            let root = gateway.root();
            state.gateway = Some(gateway);
            state.put(root.as_bytes())
        }
        Err(_) => 0,
    })
}

/// Takes the buffer as bytes of the guest's: how many were taken.
#[unsafe(no_mangle)]
pub extern "C" fn gateway_send() -> usize {
    with(|State { gateway, buffer }| gateway.as_mut().map_or(0, |gateway| gateway.send(buffer)))
}

/// Puts at most so many bytes for the guest into the buffer: how many.
#[unsafe(no_mangle)]
pub extern "C" fn gateway_receive(most: usize) -> usize {
    with(|State { gateway, buffer }| {
        buffer.resize(most, 0);
        gateway.as_mut().map_or(0, |gateway| gateway.receive(buffer))
    })
}

/// Bytes that wait for the guest.
#[unsafe(no_mangle)]
pub extern "C" fn gateway_pending() -> usize {
    with(|state| state.gateway.as_ref().map_or(0, Gateway::pending))
}

/// Does what there is to do: when to call it again, or -1 for not before something happens; -2 when the link
/// is of no use any more.
#[unsafe(no_mangle)]
pub extern "C" fn gateway_run(now: u64) -> i64 {
    with(|State { gateway, .. }| {
        let Some(gateway) = gateway else { return -1 };
        let next = gateway.run(Duration::from_micros(now));
        if gateway.is_broken() {
            return -2;
        }
        next.map_or(-1, |at| i64::try_from(at.as_micros()).unwrap_or(i64::MAX))
    })
}

/// Takes the buffer as a message of this kind about this exchange. For a request, `port` is the guest's.
#[unsafe(no_mangle)]
pub extern "C" fn gateway_tell(kind: u32, id: u32, port: u32, now: u64) {
    with(|State { gateway, buffer }| {
        let Some(gateway) = gateway else { return };
        let text = || String::from_utf8_lossy(buffer).into_owned();
        let message = match kind {
            0 => Message::Fetched(buffer.clone()),
            1 => Message::FetchedBody(Bytes::copy_from_slice(buffer)),
            2 => Message::FetchedEnd,
            3 => Message::FetchFailed(text()),
            4 => Message::Request(port as u16, buffer.clone()),
            5 => Message::RequestBody(Bytes::copy_from_slice(buffer)),
            6 => Message::RequestEnd,
            7 => Message::Pull,
            _ => Message::Cancel,
        };
        gateway.tell(id, message, Duration::from_micros(now));
    });
}

/// Puts the next event's bytes into the buffer. From its highest bits on: the kind in 8 bits, the length in
/// 24, the exchange in 32; -1 when there is none. hyper's pieces are of at most 400 KiB.
#[unsafe(no_mangle)]
pub extern "C" fn gateway_event() -> i64 {
    with(|state| {
        let Some((id, event)) = state.gateway.as_mut().and_then(Gateway::next_event) else { return -1 };
        let (kind, length) = match event {
            Event::Fetch(head) => (0, state.put(&head)),
            Event::FetchBody(bytes) => (1, state.put(&bytes)),
            Event::FetchEnd => (2, 0),
            Event::Pull => (3, 0),
            Event::Cancel => (4, 0),
            Event::Answer(head) => (5, state.put(&head)),
            Event::AnswerBody(bytes) => (6, state.put(&bytes)),
            Event::AnswerEnd => (7, 0),
            Event::AnswerFailed(why) => (8, state.put(why.as_bytes())),
        };
        i64::from(kind) << 56 | (length as i64) << 32 | i64::from(id)
    })
}
