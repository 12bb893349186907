//! A scripted guest on one side, a scripted host on the other.

use super::*;
use crate::dev::testing::{ConsoleGuest, FakeHost};
use crate::host::Terminal;
use forelift_abi::control::take;

struct Run {
    c: ConsoleGuest,
    host: FakeHost,
    session: Session,
    orders: Vec<u8>,
}

impl Run {
    fn new(session: Session) -> Self {
        let mut c = ConsoleGuest::new();
        c.handshake();
        Run { c, host: FakeHost::new(), session, orders: Vec::new() }
    }

    /// A run whose command has started.
    fn started() -> Self {
        let mut run = Self::new(Session::resume(ConsoleLog::Keep));
        run.session.start(start());
        run.pump();
        assert!(matches!(run.orders()[..], [ToGuest::Start(_)]));
        run.c.tell(&ToHost::Started);
        run.pump();
        assert_eq!(*run.session.state(), State::Running { started: true });
        run
    }

    fn pump(&mut self) -> Progress {
        let g = &mut self.c.guest;
        self.session.pump(&mut g.devices, &mut g.mem, &mut self.host)
    }

    /// What the guest's init has been told.
    fn orders(&mut self) -> Vec<ToGuest> {
        self.orders.extend(self.c.read_port(Port::Control));
        let mut all = Vec::new();
        while let Some(order) = take(&mut self.orders).unwrap() {
            all.push(order);
        }
        all
    }

    fn outcome(&self) -> &Outcome {
        match self.session.state() {
            State::Ended(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn out(&self) -> &[u8] {
        &self.host.output[0]
    }
}

fn start() -> Start {
    Start {
        argv: vec![b"sh".to_vec()],
        env: Vec::new(),
        cwd: "/".into(),
        user: String::new(),
        tty: None,
        tty_echo: false,
        stdin: true,
        hostname: "h".into(),
        network: None,
        mounts: Vec::new(),
        volumes: Vec::new(),
        stop_signal: String::new(),
        realtime_ns: 0,
        entropy: Vec::new(),
    }
}

#[test]
fn a_boot_ends_at_ready_and_orders_carry_the_present() {
    let mut run = Run::new(Session::boot(ConsoleLog::Keep));
    run.c.write_port(Port::Kernel, b"Linux version\n");
    run.pump();
    assert_eq!((run.session.state(), run.session.log()), (&State::Booting, &b"Linux version\n"[..]));
    run.c.tell(&ToHost::Ready);
    run.pump();
    run.pump();
    assert_eq!(*run.session.state(), State::Ready);
    assert!(run.orders().is_empty() && run.host.randoms == 0);

    let size = WindowSize { rows: 50, cols: 132 };
    run.host.terminal = Terminal { is_tty: true, size: Some(size), raw: true };
    run.session.start(start());
    run.pump();
    let [ToGuest::Start(sent)] = &run.orders()[..] else { panic!() };
    let mut entropy = vec![0; 64];
    FakeHost::new().random(&mut entropy);
    assert_eq!(*sent, Start { tty: Some(size), tty_echo: true, realtime_ns: 1_234_567, entropy, ..start() });
}

#[test]
fn output_is_gathered_kept_apart_and_complete_before_the_end() {
    let mut run = Run::started();
    for i in 0..5u8 {
        run.c.write_port(Port::Stdout, &[b'0' + i]);
    }
    run.c.write_port(Port::Stderr, b"err\xff\0");
    run.pump();
    assert_eq!((run.out(), &run.host.output[1][..]), (&b"01234"[..], &b"err\xff\0"[..]));
    assert_eq!(run.host.writes, 2, "one write per stream");

    // A host that takes nothing keeps the run open after the command's end.
    run.host.room[0] = Some(3);
    let big: Vec<u8> = (0..20_000u32).map(|i| (i % 251) as u8).collect();
    run.c.write_port(Port::Stdout, b"small");
    run.c.write_port(Port::Stdout, &big);
    run.c.tell(&ToHost::Exited { code: 7 });
    assert!(!run.pump().ended);
    assert!(run.session.interest().stdout && !run.session.interest().stderr);
    assert!(run.c.guest.devices.has_output(&run.c.guest.mem, Port::Stdout), "it waits in the guest");
    assert!(!run.pump().ended);
    run.host.room[0] = Some(10_000);
    assert!(!run.pump().ended);
    run.host.room[0] = Some(usize::MAX);
    assert!(run.pump().ended);
    assert_eq!(*run.outcome(), Outcome { code: 7, message: None });
    assert_eq!(run.out()[5..], [&b"small"[..], &big].concat());
    assert!(run.pump().ended && !run.pump().moved);
}

#[test]
fn a_closed_stream_is_told_once_and_swallows_the_rest() {
    let mut run = Run::started();
    run.host.room[0] = None;
    run.c.write_port(Port::Stdout, b"x");
    run.pump();
    run.c.write_port(Port::Stdout, &[1; 9000]);
    run.c.write_port(Port::Stderr, b"y");
    run.pump();
    assert_eq!(run.orders(), [ToGuest::OutputClosed(1)]);
    assert_eq!(run.host.output[1], b"y");
    run.c.tell(&ToHost::Exited { code: 141 });
    assert!(run.pump().ended);
    assert_eq!(run.outcome().code, 141);
}

#[test]
fn input_flows_as_the_guest_has_room_and_its_end_is_counted() {
    let mut run = Run::started();
    run.pump();
    assert!(run.session.interest().stdin);
    let data: Vec<u8> = (0..50_000u32).map(|i| (i % 253) as u8).collect();
    run.host.input.extend(&data);
    run.host.eof = true;
    assert!(run.pump().moved);
    let left = run.host.input.len();
    assert!(left > 40_000, "no more is read than the guest has buffers for");
    assert!(!run.session.interest().stdin);
    assert!(!run.pump().moved);
    assert_eq!(run.host.input.len(), left);
    let mut got = Vec::new();
    for _ in 0..100 {
        got.extend(run.c.read_port(Port::Stdin));
        run.pump();
    }
    assert!(got == data);
    assert_eq!(run.orders(), [ToGuest::StdinEof { bytes: 50_000 }]);
    assert!(!run.session.interest().stdin, "the end ends the interest");
}

#[test]
fn without_stdin_nothing_is_read() {
    let mut run = Run::new(Session::resume(ConsoleLog::Keep));
    run.host.input.extend(b"abc");
    run.session.start(Start { stdin: false, ..start() });
    run.pump();
    run.pump();
    assert_eq!(run.host.input.len(), 3);
    assert!(!run.session.interest().stdin);
}

#[test]
fn events_become_orders() {
    let mut run = Run::started();
    let size = WindowSize { rows: 1, cols: 2 };
    run.host.events.extend([HostEvent::Signal(2), HostEvent::Stop, HostEvent::WindowSize(size)]);
    run.pump();
    assert_eq!(run.orders(), [ToGuest::Signal(2), ToGuest::Stop, ToGuest::WindowSize(size)]);

    // While the guest boots there is nobody to take a signal.
    let mut run = Run::new(Session::boot(ConsoleLog::Keep));
    run.host.events.push_back(HostEvent::Signal(2));
    run.pump();
    assert_eq!(run.host.events.len(), 1, "the converter keeps its events");
    run.session.start(start());
    assert!(run.pump().ended);
    assert_eq!(run.outcome().code, 130);
}

#[test]
fn failures_have_one_clear_line() {
    let mut run = Run::started();
    run.c.tell(&ToHost::Failed { code: 127, message: "exec: \"nope\":\n\x1b[2Jnot found ".into() });
    assert!(run.pump().ended);
    assert_eq!(run.outcome().code, 127);
    assert_eq!(run.outcome().message.as_deref(), Some("exec: \"nope\":  [2Jnot found"));

    let mut run = Run::started();
    run.c.write_port(Port::Control, &[0xff; 8]);
    assert!(run.pump().ended);
    assert_eq!(run.outcome().code, 125);
    assert!(run.outcome().message.as_deref().unwrap().contains("nonsense"));

    let mut run = Run::started();
    run.c.tell(&ToHost::Ready);
    assert!(run.pump().ended);
    assert_eq!(run.outcome().code, 125);

    // A message that never ends.
    let mut run = Run::started();
    run.c.write_port(Port::Control, &(1u32 << 20).to_le_bytes());
    run.c.write_port(Port::Control, &vec![0; 70_000]);
    assert!(run.pump().ended);
    assert_eq!(run.outcome().code, 125);

    // A console driver that breaks its queue.
    let mut run = Run::started();
    let q = run.c.queues[Port::Stdout.transmit_queue()].clone();
    run.c.guest.put_half(q.avail + 2, 0x4000);
    run.pump();
    assert!(run.pump().ended);
    assert!(run.outcome().message.as_deref().unwrap().contains("available index"));
}

#[test]
fn a_guest_that_is_off_leaves_the_kernels_last_words() {
    let mut run = Run::started();
    run.c.write_port(Port::Kernel, b"fine\nKernel panic - not syncing\n\n");
    run.pump();
    run.session.guest_is_off("the guest stopped");
    assert!(run.pump().ended);
    let outcome = run.outcome();
    assert_eq!(outcome.code, 125);
    let message = outcome.message.clone().unwrap();
    assert!(message.contains("the guest stopped") && message.contains("Kernel panic"), "{message}");
    // A known exit code is kept.
    let mut run = Run::started();
    run.host.room[0] = Some(0);
    run.c.write_port(Port::Stdout, b"x");
    run.c.tell(&ToHost::Exited { code: 3 });
    assert!(!run.pump().ended);
    run.session.guest_is_off("off");
    assert!(!run.pump().ended, "there is output yet");
    run.host.room[0] = Some(1);
    assert!(run.pump().ended);
    assert_eq!(run.outcome().code, 3);
}

#[test]
fn the_kernels_console_can_be_streamed() {
    let mut run = Run::new(Session::boot(ConsoleLog::Stream));
    run.c.write_port(Port::Kernel, b"boot\n");
    run.pump();
    assert_eq!(run.host.output[1], b"boot\n");
}

#[test]
fn a_guest_that_is_off_still_gets_its_output_written() {
    for (exited, code) in [(true, 3), (false, 125)] {
        let mut run = Run::started();
        run.host.room = [Some(4), Some(usize::MAX)];
        run.c.write_port(Port::Stdout, b"0123456789");
        run.c.write_port(Port::Stderr, b"e");
        if exited {
            run.c.tell(&ToHost::Exited { code: 3 });
        }
        run.pump();
        run.session.guest_is_off("it is off");
        let mut waits = 0;
        while !run.pump().ended {
            run.host.room[0] = Some(4);
            waits += 1;
        }
        assert_eq!(waits, 2);
        let outcome = run.outcome();
        assert_eq!((outcome.code, outcome.message.is_some()), (code, !exited));
        assert_eq!((run.out(), &run.host.output[1][..]), (&b"0123456789"[..], &b"e"[..]));
    }
}
