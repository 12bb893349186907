//! `poll_oneoff` of WASI preview 1.

/// Wakes after `ns`.
pub(super) fn clock_subscription(ns: u64) -> wasip1::Subscription {
    let clock =
        wasip1::SubscriptionClock { id: wasip1::CLOCKID_MONOTONIC, timeout: ns, precision: 1, flags: 0 };
    let u = wasip1::SubscriptionUU { clock };
    wasip1::Subscription {
        userdata: u64::MAX,
        u: wasip1::SubscriptionU { tag: wasip1::EVENTTYPE_CLOCK.raw(), u },
    }
}

/// Wakes when `fd` is ready.
pub(super) fn fd_subscription(kind: wasip1::Eventtype, fd: u32) -> wasip1::Subscription {
    // Both kinds of descriptor subscription have the same layout.
    let fd_read = wasip1::SubscriptionFdReadwrite { file_descriptor: fd };
    let u = wasip1::SubscriptionUU { fd_read };
    wasip1::Subscription { userdata: fd.into(), u: wasip1::SubscriptionU { tag: kind.raw(), u } }
}

/// `poll_oneoff` over at most eight subscriptions; calls `each` with every event.
pub(super) fn poll(
    subscriptions: &[wasip1::Subscription],
    mut each: impl FnMut(&wasip1::Event),
) -> Result<(), wasip1::Errno> {
    let none = wasip1::Event {
        userdata: 0,
        error: wasip1::ERRNO_SUCCESS,
        type_: wasip1::EVENTTYPE_CLOCK,
        fd_readwrite: wasip1::EventFdReadwrite { nbytes: 0, flags: 0 },
    };
    let mut events = [none; 8];
    let subscriptions = &subscriptions[..subscriptions.len().min(events.len())];
    // SAFETY: there is room for one event per subscription, which is the most the call writes.
    let n = unsafe { wasip1::poll_oneoff(subscriptions.as_ptr(), events.as_mut_ptr(), subscriptions.len()) }?;
    events[..n.min(subscriptions.len())].iter().for_each(&mut each);
    Ok(())
}

/// Whether `fd` is ready within `ns`; an error when the runtime cannot tell.
pub(super) fn poll_one(kind: wasip1::Eventtype, fd: u32, ns: u64) -> Result<bool, ()> {
    let mut answer = Ok(false);
    poll(&[fd_subscription(kind, fd), clock_subscription(ns)], |event| {
        if event.userdata == u64::from(fd) {
            // A closed pipe may be told as an error of the event: reading or writing will tell.
            answer = match event.error {
                wasip1::ERRNO_SUCCESS | wasip1::ERRNO_PIPE => Ok(true),
                _ => Err(()),
            };
        }
    })
    .map_err(|_| ())?;
    answer
}
