//! The table of cases: what is checked, on which hosts.
//!
//! A case on several hosts is several tests, `host::group::case`, and `host-amd64::group::case` in the x86_64
//! guest. The list itself is checked: how many tests there are on each host is written down, so that none
//! gets lost. What was run is written to the file `$FORELIFT_TEST_LEDGER`, a line each, for `scripts/test` to
//! compare with the list.

use crate::hosts::{Guest, Host, Place};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::{collections::BTreeMap, env, fs::OpenOptions, io::Write, process::ExitCode};

/// One thing to check.
#[derive(Clone, Copy)]
pub enum Check {
    /// On each of these hosts in the riscv64 guest, and on our own among them in the x86_64 guest: others
    /// execute the same module as ours, so that a part of the cases ([`Check::Everywhere`]) shows whether
    /// they do.
    On(&'static [Host], fn(Place)),
    /// On each of these hosts, in either guest.
    Everywhere(&'static [Host], fn(Place)),
    /// In one guest, on each of these hosts.
    In(Guest, &'static [Host], fn(Place)),
    /// Once: of the command itself.
    Once(fn()),
}

impl Check {
    /// Whether it is made in that guest, on a host that it is for.
    fn is_for(self, place: Place) -> bool {
        match (self, place.guest) {
            (Check::Once(_), _) => false,
            (Check::In(guest, ..), in_guest) => guest == in_guest,
            (_, Guest::Riscv64) => true,
            (Check::On(..), Guest::Amd64) => Host::OURS.contains(&place.host),
            // Nothing is lifted there, so the engine for lifted code has nothing to do.
            (Check::Everywhere(..), Guest::Amd64) => place.host != Host::Jit,
        }
    }
}

/// Cases by name.
pub type Group = &'static [(&'static str, Check)];

/// A case on one host.
struct Test {
    place: &'static str,
    name: String,
    body: Box<dyn FnOnce() + Send>,
}

fn expand(groups: &[(&'static str, Group)]) -> Vec<Test> {
    let mut tests = Vec::new();
    for (group, cases) in groups {
        for (case, check) in *cases {
            let mut add = |place: &'static str, body: Box<dyn FnOnce() + Send>| {
                tests.push(Test { place, name: format!("{place}::{group}::{case}"), body });
            };
            let (hosts, body) = match *check {
                Check::Once(body) => {
                    add("command", Box::new(body));
                    continue;
                }
                Check::On(hosts, body) | Check::Everywhere(hosts, body) | Check::In(_, hosts, body) => {
                    (hosts, body)
                }
            };
            for place in hosts.iter().flat_map(|host| [host.riscv64(), host.amd64()]) {
                if check.is_for(place) {
                    add(place.name(), Box::new(move || body(place)));
                }
            }
        }
    }
    tests
}

/// Writes down that a test was run to its end.
fn record(name: &str) -> Result<(), Failed> {
    let Some(path) = env::var_os("FORELIFT_TEST_LEDGER") else { return Ok(()) };
    // One write of a short line with O_APPEND: lines of several processes do not mix.
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(format!("{name}\n").as_bytes())?;
    Ok(())
}

/// Gives signals that a shell has made this process ignore (a background job, nohup) their default action
/// again: the programs under test inherit it, and leave ignored signals ignored.
fn default_signals() {
    for name in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        // SAFETY: no handler is installed, and no other thread runs yet.
        unsafe { signal(name, SigHandler::SigDfl) }.expect("a signal's default action");
    }
}

/// Runs the tests as the test harness's command line wants them; `expected` is the number of tests on each
/// host.
pub fn main(groups: &[(&'static str, Group)], expected: &[(&'static str, usize)]) -> ExitCode {
    default_signals();
    let tests = expand(groups);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for test in &tests {
        *counts.entry(test.place).or_default() += 1;
    }
    let expected: BTreeMap<&str, usize> = expected.iter().copied().collect();
    let mut trials: Vec<Trial> = tests
        .into_iter()
        .map(|Test { name, body, .. }| {
            Trial::test(name.clone(), move || {
                body();
                record(&name)
            })
        })
        .collect();
    trials.push(Trial::test("table::number_of_cases", move || {
        if counts != expected {
            let why = format!("the table holds {counts:?}, written down are {expected:?}: a case got lost, or a new one was not written down");
            return Err(why.into());
        }
        record("table::number_of_cases")
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
