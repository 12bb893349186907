//! One run of a container, seen from outside: the control protocol and the three streams, between the
//! console's ports and a [`Host`].
//!
//! ```text
//!   boot() --> Booting --Ready--> Ready --start()--> Running --Exited, all output written--> Ended
//!   resume() ----------------------^                    |
//!                     any phase: Failed, nonsense on the control port, broken console --> Ended(125)
//! ```
//!
//! Output is offered to the host straight from guest memory when a piece is large; small pieces are gathered,
//! so that a thousand one-byte writes of the guest are one call of the host. A host that takes no more leaves
//! the guest's buffers in the virtqueue. Input is read only when the guest has room for it. Every call of
//! [`Session::pump`] does a bounded amount of work, whatever the guest does.

mod streams;

use forelift_abi::control::{self, Start, ToGuest, ToHost, WindowSize};
use forelift_abi::exit;

use crate::dev::virtio::console::Port;
use crate::dev::{Devices, SLOT_CONSOLE};
use crate::host::{Host, HostEvent, Interest, Stream};
use crate::memory::GuestMemory;
use streams::{BUDGET, BUFFER, Input, Output};

/// Longest message from the guest in bytes; its longest is an error message of one line.
const MOST_FROM_GUEST: usize = 64 << 10;
/// Bytes of the kernel's console kept for an error message.
const LOG: usize = 64 << 10;
/// Bytes of fresh entropy for the guest.
const ENTROPY: usize = 64;
/// A terminal whose size nobody knows.
const DEFAULT_SIZE: WindowSize = WindowSize { rows: 24, cols: 80 };

/// What becomes of the kernel's console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsoleLog {
    /// Its end is kept, for [`Session::log`].
    #[default]
    Keep,
    /// Kept, and written to standard error as it comes.
    Stream,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code, docker's rules ([`forelift_abi::exit`]).
    pub code: u8,
    /// One line for the user, when the run failed.
    pub message: Option<String>,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The guest boots.
    Booting,
    /// The guest waits for its orders: the moment of the snapshot.
    Ready,
    /// The orders were given.
    Running {
        /// The guest has reported that the command runs.
        started: bool,
    },
    /// The run is over and its output is written.
    Ended(Outcome),
}

/// What [`Session::pump`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Something moved: the guest should run before anyone sleeps.
    pub moved: bool,
    /// The run is over: see [`Session::state`].
    pub ended: bool,
}

/// One run. See the module's documentation.
pub struct Session {
    state: State,
    start: Option<Start>,
    /// An exercise is to be sent instead, with the tag of this directory.
    exercise: Option<String>,
    ending: Option<Outcome>,
    from_guest: Vec<u8>,
    to_guest: Vec<u8>,
    stdin: Option<Input>,
    stdout: Output,
    stderr: Output,
    log_mode: ConsoleLog,
    log: Vec<u8>,
}

impl Session {
    fn new(state: State, log_mode: ConsoleLog) -> Self {
        Session {
            state,
            start: None,
            exercise: None,
            ending: None,
            from_guest: Vec::new(),
            to_guest: Vec::new(),
            stdin: None,
            stdout: Output::new(Port::Stdout, Stream::Stdout),
            stderr: Output::new(Port::Stderr, Stream::Stderr),
            log_mode,
            log: Vec::new(),
        }
    }

    /// A run whose guest has yet to boot.
    pub fn boot(log_mode: ConsoleLog) -> Self {
        Self::new(State::Booting, log_mode)
    }

    /// A run whose guest was restored from a snapshot at *ready*.
    pub fn resume(log_mode: ConsoleLog) -> Self {
        Self::new(State::Ready, log_mode)
    }

    /// Gives the guest its orders, as soon as it is ready. Entropy, time, terminal and network are filled in
    /// when they are sent.
    pub fn start(&mut self, start: Start) {
        self.start = Some(start);
    }

    /// Orders an exercise instead of a command, as soon as the guest is ready; `directory` is the tag of one
    /// to use.
    pub fn exercise(&mut self, directory: String) {
        self.exercise = Some(directory);
    }

    /// Where the run stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The end of what the kernel has printed.
    pub fn log(&self) -> &[u8] {
        &self.log
    }

    /// What a sleeping machine should be woken for.
    pub fn interest(&self) -> Interest {
        Interest {
            stdin: self.stdin.as_ref().is_some_and(|i| i.waits),
            stdout: self.stdout.blocked,
            stderr: self.stderr.blocked,
            ..Interest::default()
        }
    }

    fn last_words(&self, why: &str) -> Outcome {
        let text = String::from_utf8_lossy(&self.log);
        let last = text.lines().rev().map(str::trim).find(|l| !l.is_empty());
        failure(match last {
            Some(line) => format!("{why} (the kernel's last line: {line})"),
            None => why.to_owned(),
        })
    }

    /// The guest will not run again: it switched itself off. To be called when [`pump`](Self::pump) has taken
    /// its last words on the control port; where they leave the outcome open, it is a failure with `why`. The
    /// run ends when the host has taken what is left in the guest's ports, by more calls of `pump`.
    pub fn guest_is_off(&mut self, why: &str) {
        if self.ending.is_none() {
            self.ending = Some(self.last_words(why));
        }
    }

    /// Moves everything that can move between the guest's ports and the host. Called often, and before every
    /// sleep.
    pub fn pump(&mut self, devices: &mut Devices, mem: &mut GuestMemory, host: &mut dyn Host) -> Progress {
        if let State::Ended(_) = self.state {
            return Progress { moved: false, ended: true };
        }
        devices.service(mem, host);
        self.take_log(devices);
        let mut moved = self.receive(devices, mem);
        if self.state == State::Ready && self.ending.is_none() && self.start.is_some() {
            self.send_start(host);
        } else if self.state == State::Ready
            && self.ending.is_none()
            && let Some(directory) = self.exercise.take()
        {
            self.tell(&ToGuest::Exercise { directory, network: host.network().is_some() });
            self.state = State::Running { started: true };
        }
        self.take_events(host);
        if let State::Running { .. } = self.state {
            moved |= self.pump_streams(devices, mem, host);
        } else {
            self.stderr.blocked = false;
            self.stderr.flush(host);
        }
        moved |= self.send(devices, mem);
        if let Some((SLOT_CONSOLE, why)) = devices.failure() {
            self.fail(format!("the guest's console driver broke the rules: {why}"));
        }
        self.try_to_end(devices, mem);
        Progress { moved, ended: matches!(self.state, State::Ended(_)) }
    }

    fn fail(&mut self, message: String) {
        self.ending.get_or_insert_with(|| failure(message));
    }

    fn take_log(&mut self, devices: &mut Devices) {
        let new = devices.take_kernel_log();
        if new.is_empty() {
            return;
        }
        // A log that nobody reads is dropped rather than kept without end.
        if self.log_mode == ConsoleLog::Stream && self.stderr.gathered.len() < BUDGET {
            self.stderr.gathered.extend_from_slice(&new);
        }
        self.log.extend_from_slice(&new);
        let excess = self.log.len().saturating_sub(LOG);
        self.log.drain(..excess);
    }

    /// Reads the control port.
    fn receive(&mut self, devices: &mut Devices, mem: &mut GuestMemory) -> bool {
        let mut moved = false;
        // A sane guest sends a handful of messages; one that floods the port is heard again at the next call.
        for _ in 0..16 {
            if self.ending.is_some() {
                return moved;
            }
            let buffer = &mut self.from_guest;
            let taken = devices.take_output(mem, Port::Control, &mut |bytes| {
                let n = bytes.len().min(MOST_FROM_GUEST - buffer.len());
                buffer.extend_from_slice(&bytes[..n]);
                n
            });
            if taken == 0 {
                return moved;
            }
            moved = true;
            loop {
                match control::take::<ToHost>(&mut self.from_guest) {
                    Ok(Some(message)) => self.message(message),
                    Ok(None) if self.from_guest.len() < MOST_FROM_GUEST => break,
                    Ok(None) => {
                        return self
                            .nonsense(format!("a control message of more than {MOST_FROM_GUEST} bytes"));
                    }
                    Err(why) => return self.nonsense(why.to_string()),
                }
            }
        }
        moved
    }

    fn nonsense(&mut self, why: String) -> bool {
        self.from_guest.clear();
        self.fail(format!("the guest's init sent nonsense: {why}"));
        true
    }

    fn message(&mut self, message: ToHost) {
        match (message, &self.state) {
            (ToHost::Ready, State::Booting) => self.state = State::Ready,
            (ToHost::Started, State::Running { .. }) => self.state = State::Running { started: true },
            (ToHost::Exited { code }, State::Running { .. }) => {
                self.ending.get_or_insert(Outcome { code, message: None });
            }
            (ToHost::Failed { code, message }, _) => {
                self.ending.get_or_insert(Outcome { code, message: Some(one_line(&message)) });
            }
            (message, _) => self.fail(format!("the guest's init sent `{message:?}` at the wrong moment")),
        }
    }

    fn send_start(&mut self, host: &mut dyn Host) {
        let Some(mut start) = self.start.take() else { return };
        let terminal = host.terminal();
        start.entropy = vec![0; ENTROPY];
        host.random(&mut start.entropy);
        start.realtime_ns = host.realtime_ns();
        start.tty = terminal.is_tty.then(|| terminal.size.unwrap_or(DEFAULT_SIZE));
        start.tty_echo = terminal.raw;
        start.network = host.network();
        self.stdin = start.stdin.then(Input::default);
        self.tell(&ToGuest::Start(start));
        self.state = State::Running { started: false };
    }

    fn take_events(&mut self, host: &mut dyn Host) {
        let running = matches!(self.state, State::Running { .. });
        // The converter gives no orders and keeps its events; a guest that does not listen is not told more
        // and more.
        if !running && self.start.is_none() || self.to_guest.len() > BUFFER {
            return;
        }
        for _ in 0..64 {
            match (host.event(), running) {
                (None, _) => return,
                (Some(HostEvent::Signal(number)), true) => self.tell(&ToGuest::Signal(number)),
                (Some(HostEvent::Stop), true) => self.tell(&ToGuest::Stop),
                (Some(HostEvent::WindowSize(size)), true) => self.tell(&ToGuest::WindowSize(size)),
                (Some(HostEvent::WindowSize(_)), false) => {}
                // Nobody in the guest could take a signal yet.
                (Some(HostEvent::Signal(number)), false) => self.interrupted(number),
                (Some(HostEvent::Stop), false) => self.interrupted(15),
            }
        }
    }

    fn interrupted(&mut self, signal: u8) {
        self.ending.get_or_insert(Outcome { code: exit::from_signal(signal), message: None });
    }

    fn tell(&mut self, message: &ToGuest) {
        self.to_guest.extend_from_slice(&control::encode(message));
    }

    fn send(&mut self, devices: &mut Devices, mem: &mut GuestMemory) -> bool {
        if self.to_guest.is_empty() {
            return false;
        }
        let n = devices.push_input(mem, Port::Control, &self.to_guest);
        self.to_guest.drain(..n);
        n > 0
    }

    fn pump_streams(&mut self, devices: &mut Devices, mem: &mut GuestMemory, host: &mut dyn Host) -> bool {
        let mut moved = false;
        if let Some(input) = &mut self.stdin
            && self.ending.is_none()
        {
            let (some, end) = input.pump(devices, mem, host);
            moved |= some;
            if let Some(end) = end {
                self.tell(&end);
            }
        }
        for (number, output) in [(1, &mut self.stdout), (2, &mut self.stderr)] {
            let was_closed = output.closed;
            moved |= output.pump(devices, mem, host);
            if output.closed && !was_closed {
                self.to_guest.extend_from_slice(&control::encode(&ToGuest::OutputClosed(number)));
            }
        }
        moved
    }

    /// The run ends when its outcome is known and the host has all the output.
    fn try_to_end(&mut self, devices: &Devices, mem: &GuestMemory) {
        if self.ending.is_none() {
            return;
        }
        let empty = match self.state {
            State::Running { .. } => self.stdout.is_empty(devices, mem) && self.stderr.is_empty(devices, mem),
            _ => self.stderr.gathered.is_empty(),
        };
        if empty && let Some(outcome) = self.ending.take() {
            self.state = State::Ended(outcome);
        }
    }
}

fn failure(message: String) -> Outcome {
    Outcome { code: exit::FAILURE, message: Some(one_line(&message)) }
}

/// A guest's text as one printable line: it must not be able to move the user's cursor.
fn one_line(text: &str) -> String {
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests;
