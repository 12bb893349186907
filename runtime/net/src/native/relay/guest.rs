//! One guest of a relay: frames between its stream and its gateway.

use super::super::handle::Handle;
use crate::frames::{Frames, StreamEnd};
use forelift_abi::net;
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use std::{
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const PEER: Token = Token(0);
const GATEWAY: Token = Token(1);

/// Why a guest has gone.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error(transparent)]
    Stream(#[from] StreamEnd),
    #[error("it has taken nothing for {} seconds", .0.as_secs())]
    Stalled(Duration),
    #[error("the relay ends")]
    Relay,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Moves frames until one side ends. `fd` is the stream's; who takes nothing for the time `patience`, with
/// frames waiting, is given up.
pub(super) fn serve(
    stream: &mut (impl Read + Write),
    fd: RawFd,
    gateway: &Handle,
    patience: Duration,
    stop: &AtomicBool,
) -> End {
    match work(stream, fd, gateway, patience, stop) {
        Ok(end) | Err(end) => end,
    }
}

fn work(
    stream: &mut (impl Read + Write),
    fd: RawFd,
    gateway: &Handle,
    patience: Duration,
    stop: &AtomicBool,
) -> Result<End, End> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(4));
    poll.registry().register(&mut SourceFd(&fd), PEER, Interest::READABLE | Interest::WRITABLE)?;
    let bell = gateway.as_fd().as_raw_fd();
    poll.registry().register(&mut SourceFd(&bell), GATEWAY, Interest::READABLE)?;
    // What comes from a stream has nothing left to be done to it.
    let header = net::Header::default().encode();
    let mut frames = Frames::default();
    let (mut readable, mut writable) = (true, true);
    let (mut sent, mut moved) = (0, Instant::now());
    while !stop.load(Ordering::SeqCst) {
        gateway.clear();
        while let Some(frame) = frames.first()?
            && gateway.send(&[&header, frame])
        {
            frames.drop_first();
        }
        let held = frames.first()?.is_some();
        if readable && !held {
            readable = frames.fill(stream)?;
        }
        gateway.receive(&mut |packet| {
            let room = !frames.is_full();
            if room {
                frames.put(packet);
            }
            room
        });
        if writable {
            writable = frames.flush(stream)?;
        }
        if writable || frames.sent() != sent {
            (sent, moved) = (frames.sent(), Instant::now());
        }
        let left = patience.saturating_sub(moved.elapsed());
        if left.is_zero() {
            return Err(End::Stalled(patience));
        }
        let busy = if held { gateway.has_room() } else { readable || frames.first()?.is_some() }
            || !frames.is_full() && gateway.has_packets();
        let timeout = if busy { Some(Duration::ZERO) } else { (!writable).then_some(left) };
        if let Err(error) = poll.poll(&mut events, timeout)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        for event in events.iter().filter(|event| event.token() == PEER) {
            let failed = event.is_error();
            readable |= failed || event.is_readable() || event.is_read_closed();
            writable |= failed || event.is_writable() || event.is_write_closed();
        }
    }
    Ok(End::Relay)
}
