//! What is waited for. A socket that has nothing to give says so once, and is in the list of what the next
//! wait polls until it is ready again: the gateway is told of edges, and WASI's pollables are levels.

use crate::sockets::{Readiness, Token};
use slab::Slab;
use std::{cell::RefCell, rc::Rc, time::Duration};
use wasip2::{
    clocks::monotonic_clock::subscribe_duration,
    io::poll::{Pollable, poll},
};

/// What a watch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Read,
    Write,
}

struct Entry {
    pollable: Pollable,
    token: Token,
    side: Side,
    wanted: bool,
}

/// All pollables of a gateway's.
#[derive(Clone, Default)]
pub(super) struct Watches(Rc<RefCell<Slab<Entry>>>);

/// The pollable of one side of a socket. It has to be dropped before the socket's own resources.
pub(super) struct Watch {
    all: Watches,
    key: usize,
}

impl Watches {
    /// Keeps a pollable; nobody waits for it yet.
    pub(super) fn add(&self, pollable: Pollable, token: Token, side: Side) -> Watch {
        let key = self.0.borrow_mut().insert(Entry { pollable, token, side, wanted: false });
        Watch { all: self.clone(), key }
    }

    /// Waits until something wanted is ready, one of `others` is, or the time is over. Gives what is ready,
    /// and for each of `others` whether it is.
    pub(super) fn wait(
        &self,
        timeout: Option<Duration>,
        others: &[&Pollable],
    ) -> (Vec<(Token, Readiness)>, Vec<bool>) {
        let mut ready = vec![false; others.len()];
        let mut entries = self.0.borrow_mut();
        let wanted: Vec<usize> = entries.iter().filter(|(_, e)| e.wanted).map(|(key, _)| key).collect();
        if wanted.is_empty() && others.is_empty() && timeout == Some(Duration::ZERO) {
            return (Vec::new(), ready);
        }
        // "For ever" needs an end where there is nothing to wait for.
        let none = wanted.is_empty() && others.is_empty();
        let timeout = timeout.or(none.then_some(Duration::from_secs(3600)));
        let clock = timeout.map(|t| subscribe_duration(t.as_nanos().try_into().unwrap_or(u64::MAX)));
        let list: Vec<&Pollable> = others
            .iter()
            .copied()
            .chain(wanted.iter().map(|key| &entries[*key].pollable))
            .chain(&clock)
            .collect();
        let found = poll(&list);
        let mut events = Vec::new();
        for at in found {
            let at = at as usize;
            if let Some(ready) = ready.get_mut(at) {
                *ready = true;
            } else if let Some(&key) = wanted.get(at - others.len()) {
                let entry = &mut entries[key];
                entry.wanted = false;
                let read = entry.side == Side::Read;
                events.push((entry.token, Readiness { readable: read, writable: !read }));
            }
        }
        (events, ready)
    }
}

impl Watch {
    /// The next wait is for this, too.
    pub(super) fn want(&self) {
        if let Some(entry) = self.all.0.borrow_mut().get_mut(self.key) {
            entry.wanted = true;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.all.0.borrow_mut().try_remove(self.key);
    }
}
