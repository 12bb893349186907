//! `poll_oneoff` over ppoll(2): clocks, the standard streams, the control descriptor and the network's.
//!
//! Layouts are those of WASI preview 1 (*witx*, `$subscription` and `$event`). Files and directories are
//! always ready.

use std::os::fd::RawFd;

use forelift_abi::embed::{CONTROL_FD, NET_FD};
use libc::{c_int, timespec};

use super::{
    control::Control,
    net::Net,
    stdio::{errno, put, word},
};

/// Size of a subscription in bytes.
const SUBSCRIPTION: u32 = 48;
/// Size of an event in bytes.
const EVENT: u32 = 32;
/// Most subscriptions in one call.
const MAX_SUBSCRIPTIONS: u32 = 4096;

const TAG_CLOCK: u8 = 0;
const TAG_FD_READ: u8 = 1;
const TAG_FD_WRITE: u8 = 2;
const CLOCK_ABSTIME: u16 = 1;
/// The peer of the stream has closed it.
const EVENT_HANGUP: u16 = 1;

/// Nanoseconds of the host's clock with that WASI number (0 wall clock, 1 monotonic).
pub fn clock_ns(id: u32) -> Option<u64> {
    let clock = match id {
        0 => libc::CLOCK_REALTIME,
        1 => libc::CLOCK_MONOTONIC,
        _ => return None,
    };
    let mut t = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime fills the structure.
    if unsafe { libc::clock_gettime(clock, &mut t) } != 0 {
        return None;
    }
    Some(u64::try_from(t.tv_sec).ok()?.saturating_mul(1_000_000_000).saturating_add(t.tv_nsec as u64))
}

#[derive(Clone, Copy)]
enum Kind {
    /// Monotonic deadline in ns.
    Clock(u64),
    /// Index into the polled descriptors.
    Poll { slot: usize, stdin: bool },
    /// Ready, or in error, whatever happens.
    Now(i32),
}

struct Subscription {
    user: [u8; 8],
    tag: u8,
    kind: Kind,
}

/// What the module's descriptors are on the host.
pub struct Streams<'a> {
    /// Whether descriptor 0 is the host's; otherwise it is at its end.
    pub stdin: bool,
    /// The control descriptor.
    pub control: Option<&'a Control>,
    /// The network descriptor.
    pub net: Option<&'a Net>,
}

impl Streams<'_> {
    fn classify(&self, fd: u32, tag: u8, fds: &mut Vec<libc::pollfd>) -> Kind {
        let mut poll = |fd: RawFd, events, stdin| {
            fds.push(libc::pollfd { fd, events, revents: 0 });
            Kind::Poll { slot: fds.len() - 1, stdin }
        };
        if fd == NET_FD {
            return match self.net {
                None => Kind::Now(errno::BADF),
                Some(net) if tag == TAG_FD_READ && net.has_packets() => Kind::Now(errno::SUCCESS),
                Some(net) if tag == TAG_FD_WRITE && net.has_room() => Kind::Now(errno::SUCCESS),
                Some(net) => poll(net.fd(), libc::POLLIN, false),
            };
        }
        match (fd, tag, self.control) {
            (0, TAG_FD_READ, _) if self.stdin => poll(0, libc::POLLIN, true),
            (1 | 2, TAG_FD_WRITE, _) => poll(fd as RawFd, libc::POLLOUT, false),
            (CONTROL_FD, TAG_FD_READ, Some(control)) if !control.has_records() => {
                poll(control.fd(), libc::POLLIN, false)
            }
            (CONTROL_FD, _, None) => Kind::Now(errno::BADF),
            _ => Kind::Now(errno::SUCCESS),
        }
    }
}

fn parse(
    memory: &[u8],
    at: u32,
    streams: &Streams<'_>,
    fds: &mut Vec<libc::pollfd>,
    now: u64,
) -> Result<Subscription, i32> {
    let bytes = memory
        .get(at as usize..)
        .and_then(|m| m.first_chunk::<{ SUBSCRIPTION as usize }>())
        .ok_or(errno::FAULT)?;
    let long = |i: usize| {
        let mut b = [0u8; 8];
        b.copy_from_slice(&bytes[i..i + 8]);
        u64::from_le_bytes(b)
    };
    let id = word(bytes, 16)?;
    let tag = bytes[8];
    let kind = match tag {
        TAG_CLOCK => {
            let absolute = u16::from_le_bytes([bytes[40], bytes[41]]) & CLOCK_ABSTIME != 0;
            match (clock_ns(id), absolute) {
                (None, _) => Kind::Now(errno::INVAL),
                (Some(_), false) => Kind::Clock(now.saturating_add(long(24))),
                // Time left on that clock, as of now.
                (Some(t), true) => Kind::Clock(now.saturating_add(long(24).saturating_sub(t))),
            }
        }
        TAG_FD_READ | TAG_FD_WRITE => streams.classify(id, tag, fds),
        _ => return Err(errno::INVAL),
    };
    let mut user = [0u8; 8];
    user.copy_from_slice(&bytes[..8]);
    Ok(Subscription { user, tag, kind })
}

fn available(fd: RawFd) -> u64 {
    let mut n: c_int = 0;
    // SAFETY: FIONREAD fills an int.
    if unsafe { libc::ioctl(fd, libc::FIONREAD, &mut n) } == 0 { n.max(0) as u64 } else { 0 }
}

fn event(s: &Subscription, error: i32, nbytes: u64, hangup: bool) -> [u8; EVENT as usize] {
    let mut out = [0u8; EVENT as usize];
    out[..8].copy_from_slice(&s.user);
    out[8..10].copy_from_slice(&(error as u16).to_le_bytes());
    out[10] = s.tag;
    out[16..24].copy_from_slice(&nbytes.to_le_bytes());
    if hangup {
        out[24..26].copy_from_slice(&EVENT_HANGUP.to_le_bytes());
    }
    out
}

/// The event of `s`, if it has happened.
fn outcome(s: &Subscription, fds: &[libc::pollfd], now: u64) -> Option<[u8; EVENT as usize]> {
    match s.kind {
        Kind::Clock(deadline) => (deadline <= now).then(|| event(s, errno::SUCCESS, 0, false)),
        Kind::Now(error) => Some(event(s, error, 0, false)),
        Kind::Poll { slot, stdin } => {
            let poll = fds[slot];
            if poll.revents == 0 {
                return None;
            }
            let error = if poll.revents & libc::POLLNVAL != 0 { errno::BADF } else { errno::SUCCESS };
            let nbytes = if stdin { available(poll.fd) } else { 1 };
            Some(event(s, error, nbytes, poll.revents & (libc::POLLHUP | libc::POLLERR) != 0))
        }
    }
}

/// The call itself: waits until one of the subscriptions at `list` has happened, writes the events of all
/// that have to `events`, and gives their number.
pub fn poll_oneoff(
    memory: &mut [u8],
    streams: &Streams<'_>,
    list: u32,
    events: u32,
    count: u32,
) -> Result<u32, i32> {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(errno::INVAL);
    }
    let monotonic = || clock_ns(1).ok_or(errno::IO);
    let start = monotonic()?;
    if let Some(net) = streams.net {
        net.clear();
    }
    let mut fds = Vec::new();
    let mut subscriptions = Vec::with_capacity(count as usize);
    for i in 0..count {
        let at = list.checked_add(i * SUBSCRIPTION).ok_or(errno::FAULT)?;
        subscriptions.push(parse(memory, at, streams, &mut fds, start)?);
    }
    let immediate = subscriptions.iter().any(|s| matches!(s.kind, Kind::Now(_)));
    let deadline =
        subscriptions.iter().filter_map(|s| if let Kind::Clock(at) = s.kind { Some(at) } else { None }).min();
    loop {
        let now = monotonic()?;
        let timeout = if immediate { Some(0) } else { deadline.map(|d| d.saturating_sub(now)) };
        wait(&mut fds, timeout);
        let now = monotonic()?;
        let mut n = 0;
        for s in &subscriptions {
            if let Some(bytes) = outcome(s, &fds, now) {
                let at = events.checked_add(n * EVENT).ok_or(errno::FAULT)?;
                put(memory, at, &bytes)?;
                n += 1;
            }
        }
        if n > 0 {
            return Ok(n);
        }
    }
}

fn wait(fds: &mut [libc::pollfd], timeout: Option<u64>) {
    let spec = timeout.map(|ns| timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as _,
    });
    for fd in fds.iter_mut() {
        fd.revents = 0;
    }
    // SAFETY: the array and the optional timeout live through the call. An error is EINTR (revents stay 0,
    // and the caller looks again).
    unsafe {
        libc::ppoll(
            fds.as_mut_ptr(),
            fds.len() as libc::nfds_t,
            spec.as_ref().map_or(std::ptr::null(), |s| s as *const timespec),
            std::ptr::null(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(tag: u8, id: u32, timeout: u64, flags: u16) -> [u8; 48] {
        let mut s = [0u8; 48];
        s[0] = 0xaa;
        s[8] = tag;
        s[16..20].copy_from_slice(&id.to_le_bytes());
        s[24..32].copy_from_slice(&timeout.to_le_bytes());
        s[40..42].copy_from_slice(&flags.to_le_bytes());
        s
    }

    fn run(list: &[[u8; 48]]) -> (Result<u32, i32>, Vec<u8>, u64) {
        let mut memory = list.concat();
        let events = memory.len() as u32;
        memory.resize(memory.len() + 32 * list.len(), 0);
        let before = clock_ns(1).unwrap();
        let streams = Streams { stdin: false, control: None, net: None };
        let n = poll_oneoff(&mut memory, &streams, 0, events, list.len() as u32);
        (n, memory[events as usize..].to_vec(), clock_ns(1).unwrap() - before)
    }

    #[test]
    fn the_earliest_clock_ends_the_wait() {
        let far = subscription(TAG_CLOCK, 1, u64::MAX, 0);
        let (n, events, took) = run(&[far, subscription(TAG_CLOCK, 1, 20_000_000, 0)]);
        assert_eq!((n, events[0], events[10]), (Ok(1), 0xaa, TAG_CLOCK));
        assert!((20_000_000..2_000_000_000).contains(&took), "{took}");
    }

    #[test]
    fn absolute_times_of_both_clocks() {
        for id in [0, 1] {
            let at = clock_ns(id).unwrap() + 10_000_000;
            let (n, _, took) = run(&[subscription(TAG_CLOCK, id, at, CLOCK_ABSTIME)]);
            assert_eq!(n, Ok(1));
            assert!((5_000_000..2_000_000_000).contains(&took), "{took}");
        }
    }

    #[test]
    fn a_closed_stdin_is_ready_and_errors_are_told() {
        let (n, events, _) =
            run(&[subscription(TAG_FD_READ, 0, 0, 0), subscription(TAG_CLOCK, 1, u64::MAX, 0)]);
        assert_eq!((n, events[8]), (Ok(1), 0));
        let (n, events, _) = run(&[subscription(TAG_FD_READ, CONTROL_FD, 0, 0)]);
        assert_eq!((n, i32::from(events[8])), (Ok(1), errno::BADF));
        assert_eq!(run(&[subscription(7, 0, 0, 0)]).0, Err(errno::INVAL));
        assert_eq!(run(&[]).0, Err(errno::INVAL));
        let streams = Streams { stdin: false, control: None, net: None };
        assert_eq!(poll_oneoff(&mut [0; 40], &streams, 0, 0, 1), Err(errno::FAULT));
        assert_eq!(poll_oneoff(&mut [0; 40], &streams, u32::MAX - 8, 0, 2), Err(errno::FAULT));
    }
}
