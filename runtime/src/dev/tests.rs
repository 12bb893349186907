//! The devices through their registers and rings.

use forelift_abi::layout::{RAM_BASE, ROOT_BASE, VIRTIO_BASE, VIRTIO_STRIDE};

use super::testing::*;
use super::virtio::console::{LOG_LIMIT, Port};
use super::virtio::mmio::{reg, status};
use super::virtio::{Context, F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1, QueueError, VirtioDevice};
use super::*;

#[test]
fn slots_say_what_they_hold() {
    let mut g = Guest::new();
    let ids: Vec<u32> = [0, 1, 2, 3, 4, 11].iter().map(|&s| g.read(s, reg::DEVICE_ID)).collect();
    assert_eq!(ids, [3, 2, 4, 1, 26, 26]);
    assert_eq!(g.read(0, reg::MAGIC_VALUE), u32::from_le_bytes(*b"virt"));
    assert_eq!(g.read(0, reg::VERSION), 2);
    let pa = |slot: u64, offset| VIRTIO_BASE + slot * VIRTIO_STRIDE + offset;
    let mut config = |slot, offset, size| g.devices.read(&mut g.mem, pa(slot, offset), size);
    assert_eq!(config(1, 0x100, 8), Some(testing::ROOT as u64 / 512));
    assert_eq!(config(1, 0x10c, 4), Some(126), "segments");
    assert_eq!(config(1, 0x114, 4), Some(4096), "block size");
    assert_eq!(config(1, 0x118, 8), Some(0), "beyond its end reads as zero");
    let tag: Vec<u8> = (0..9).map(|i| config(6, 0x100 + i, 1).unwrap() as u8).collect();
    assert_eq!(tag, b"forelift2");
    assert_eq!((config(6, 0x109, 1), config(6, 0x124, 4)), (Some(0), Some(1)), "the tag's end, queues");
    assert_eq!(config(0, 0x104, 4), Some(5), "ports");
    for (slot, offset, size) in [(15, 0, 4), (12, 0, 4), (0, 2, 4), (0, 0, 8), (0, 0, 1)] {
        assert_eq!(config(slot, offset, size), None, "{slot} {offset} {size}");
    }
    assert_eq!(g.devices.read(&mut g.mem, 0x1000, 4), None);
    assert_eq!(g.devices.write(&mut g.mem, pa(0, 0x70), 2, 0), None);
}

#[test]
fn features_must_be_ours_and_modern() {
    let mut g = Guest::new();
    let offered = {
        g.write(0, reg::DEVICE_FEATURES_SEL, 0);
        let low = g.read(0, reg::DEVICE_FEATURES);
        g.write(0, reg::DEVICE_FEATURES_SEL, 1);
        u64::from(low) | u64::from(g.read(0, reg::DEVICE_FEATURES)) << 32
    };
    assert_eq!(offered, ALL | 2);
    assert!(g.negotiate(0, F_VERSION_1));
    assert!(!g.negotiate(0, F_INDIRECT_DESC), "without VERSION_1");
    assert!(!g.negotiate(0, ALL | 1), "F_SIZE is not offered");
    // Without agreed features there is no running driver.
    g.write(0, reg::STATUS, 7);
    assert_eq!(g.read(0, reg::STATUS), 3);
    assert!(g.negotiate(0, ALL));
    g.write(0, reg::DRIVER_FEATURES, 0xffff_ffff);
    g.write(0, reg::STATUS, 15);
    assert_eq!(g.read(0, reg::STATUS), 15);
    let agreed = g.devices.save().slots[0].as_ref().unwrap().driver_features;
    assert_eq!(agreed, ALL, "a late change of features counts for nothing");
    g.write(0, reg::STATUS, 1);
    assert_eq!(g.read(0, reg::STATUS), 15, "bits cannot be taken back one by one");
    g.write(0, reg::STATUS, 0);
    assert_eq!(g.read(0, reg::STATUS), 0);
}

#[test]
fn entropy_comes_from_the_host_at_service() {
    for features in [F_VERSION_1, ALL] {
        let mut g = Guest::new();
        let mut host = FakeHost::new();
        g.enable_interrupts();
        let mut q = g.probe(SLOT_RNG, features, 1, 8).remove(0);
        let (a, b) = (g.alloc(64), g.alloc(64));
        g.add(&mut q, &[(a, 20, true), (b, 12, true)]);
        g.kick(&q);
        assert!(g.used(&mut q).is_empty() && !g.devices.external_interrupt());
        assert!(g.devices.take_attention());
        g.devices.service(&mut g.mem, &mut host);
        assert_eq!(g.used(&mut q), [(0, 32)]);
        let mut expected = [0; 32];
        FakeHost::new().random(&mut expected);
        assert_eq!([g.get(a, 20), g.get(b, 12)].concat(), expected);
        // Interrupt: source 3, until the driver acknowledges at the device and then at the controller.
        assert!(g.devices.external_interrupt());
        assert_eq!(g.claim(), 3);
        assert_eq!(g.read(SLOT_RNG, reg::INTERRUPT_STATUS), 1);
        g.write(SLOT_RNG, reg::INTERRUPT_ACK, 1);
        g.complete(3);
        assert!(!g.devices.external_interrupt());
        g.devices.service(&mut g.mem, &mut host);
        assert_eq!(host.randoms, 1, "nothing more to do");
        assert!(!g.devices.rng.device().wants_service());
    }
}

/// Header of a block request.
fn blk_header(kind: u32, sector: u64) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat()
}

#[test]
fn reads_of_a_root_file_system_outside_wait_for_it() {
    let (mut g, mut host) = (Guest::new(), FakeHost::new());
    g.mem.set_root_outside(testing::ROOT as u64);
    let mut q = g.probe(SLOT_ROOT, ALL, 1, 128).remove(0);
    let ask = |g: &mut Guest, q: &mut Vq, kind, sector: u64| {
        let (ask, data, reply) = (g.put(&blk_header(kind, sector)), g.put(&[0xee; 1024]), g.put(&[0xff]));
        g.add(q, &[(ask, 16, false), (data, 100, true), (data + 100, 924, true), (reply, 1, true)]);
        g.kick(q);
        (data, reply)
    };
    let (late, late_reply) = ask(&mut g, &mut q, 0, 8);
    assert_eq!(g.used(&mut q).len(), 0, "nothing happens within the notification");
    assert!(g.devices.take_attention());
    let (early, early_reply) = ask(&mut g, &mut q, 0, 1);
    let (_, wrong) = ask(&mut g, &mut q, 0, (testing::ROOT / 512 - 1) as u64);
    let (_, unknown) = ask(&mut g, &mut q, 77, 0);
    host.root = (0..2048).map(|n| n as u8).collect();
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!(g.used(&mut q).len(), 3, "what is there is not held up by what is not");
    let status = [late_reply, early_reply, wrong, unknown].map(|reply| g.get(reply, 1)[0]);
    assert_eq!(status, [0xff, 0, 1, 2]);
    assert_eq!(g.get(early, 1024), host.root[512..1536]);
    assert!(g.devices.interest().root);
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!(g.used(&mut q).len(), 0);
    host.root.resize(9 * 512 + 512, 7);
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!((g.used(&mut q).len(), g.get(late_reply, 1)[0]), (1, 0));
    assert_eq!(g.get(late, 1024), [7; 1024]);
    assert!(!g.devices.interest().root);
    host.root_failed = true;
    let (_, failed) = ask(&mut g, &mut q, 0, 100);
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!((g.used(&mut q).len(), g.get(failed, 1)[0]), (1, 1));
    // A reset forgets what waits.
    host.root_failed = false;
    ask(&mut g, &mut q, 0, 100);
    g.devices.service(&mut g.mem, &mut host);
    assert!(g.devices.interest().root);
    g.write(SLOT_ROOT, reg::STATUS, 0);
    assert!(!g.devices.interest().root);
}

#[test]
fn the_block_device_reads_the_root_window() {
    let mut g = Guest::new();
    let mut q = g.probe(SLOT_ROOT, ALL, 1, 128).remove(0);
    // (type, sector, pieces of the data buffer, status); the sectors' contents are what memory() put there.
    let last = (testing::ROOT / 512 - 1) as u64;
    for (kind, sector, pieces, status) in [
        (0u32, 0u64, &[512u32][..], 0u8),
        (0, 3, &[512, 1024], 0),
        (0, 9, &[100, 412], 0),
        (0, last, &[512], 0),
        (0, last, &[1024], 1),
        (0, last + 1, &[512], 1),
        (0, u64::MAX, &[512], 1),
        (0, u64::MAX / 512, &[512], 1),
        (0, 0, &[500], 1),
        (1, 0, &[512], 2),
        (4, 0, &[], 2),
        (77, 0, &[], 2),
    ] {
        let ask = g.put(&blk_header(kind, sector));
        let total: u32 = pieces.iter().sum();
        let data = g.put(&vec![0xee; total as usize]);
        let reply = g.put(&[0xff]);
        let mut buffers = vec![(ask, 16, false)];
        let mut at = data;
        for &len in pieces {
            buffers.push((at, len, true));
            at += u64::from(len);
        }
        buffers.push((reply, 1, true));
        g.add(&mut q, &buffers);
        g.kick(&q);
        assert_eq!(g.used(&mut q).len(), 1, "{kind} {sector}");
        assert_eq!(g.get(reply, 1), [status], "type {kind} sector {sector} {pieces:?}");
        if status == 0 {
            let expected = g.get(ROOT_BASE + sector * 512, total as usize);
            assert!(expected.iter().any(|&b| b != 0), "the window is not blank");
            assert_eq!(g.get(data, total as usize), expected, "sector {sector}");
        }
    }
    let (ask, id, reply) = (g.put(&blk_header(8, 0)), g.put(&[0; 20]), g.put(&[0xff]));
    g.add(&mut q, &[(ask, 16, false), (id, 20, true), (reply, 1, true)]);
    g.kick(&q);
    assert_eq!((g.used(&mut q).len(), g.get(reply, 1)), (1, vec![0]));
    assert_eq!(g.get(id, 13), b"forelift-root");
    // A request without room for its status is given back untouched, and a short header is an error.
    let ask = g.put(&[0; 8]);
    g.add(&mut q, &[(ask, 8, false)]);
    g.add(&mut q, &[(ask, 8, false), (reply, 1, true)]);
    g.kick(&q);
    assert_eq!(g.used(&mut q).iter().map(|u| u.1).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(g.get(reply, 1), [1]);
    // The window itself can be read from and not written to.
    g.add(&mut q, &[(ROOT_BASE, 16, false), (ROOT_BASE, 512, true)]);
    g.kick(&q);
    assert_ne!(g.read(SLOT_ROOT, reg::STATUS) & status::NEEDS_RESET, 0);
}

#[test]
fn the_console_introduces_its_ports() {
    let mut c = ConsoleGuest::new();
    let messages = c.handshake();
    let find = |port: u32, event: u16| {
        let mut key = port.to_le_bytes().to_vec();
        key.extend_from_slice(&event.to_le_bytes());
        messages.iter().filter(|m| m.starts_with(&key)).cloned().collect::<Vec<_>>()
    };
    for port in 0..5 {
        assert_eq!(find(port, 1).len(), 1, "port {port} added");
        assert_eq!(find(port, 6), [[&(port as u8).to_le_bytes()[..], &[0, 0, 0, 6, 0, 1, 0]].concat()]);
    }
    assert_eq!(find(0, 4).len(), 1);
    assert_eq!(find(3, 7), [[&[3, 0, 0, 0, 7, 0, 1, 0][..], b"forelift.stdout"].concat()]);
    assert_eq!(messages.len(), 15);
    assert!(Port::ALL.iter().all(|&p| c.guest.devices.is_open(p)));
    c.control(4, 6, 0);
    assert!(!c.guest.devices.is_open(Port::Stderr));
}

#[test]
fn output_stays_in_the_guest_until_taken() {
    let mut c = ConsoleGuest::new();
    c.handshake();
    let tx = Port::Stdout.transmit_queue();
    let (a, b) = (c.guest.put(b"abc"), c.guest.put(b"defgh"));
    c.guest.add(&mut c.queues[tx], &[(a, 3, false), (b, 5, false)]);
    c.write_port(Port::Stdout, b"ij");
    let g = &mut c.guest;
    assert!(g.devices.has_output(&g.mem, Port::Stdout));
    assert!(g.used(&mut c.queues[tx]).is_empty());
    let mut got = Vec::new();
    let mut take = |g: &mut Guest, mut most: usize| {
        g.devices.take_output(&mut g.mem, Port::Stdout, &mut |bytes| {
            let n = bytes.len().min(most);
            most -= n;
            got.extend_from_slice(&bytes[..n]);
            n
        })
    };
    assert_eq!(take(g, 5), 5);
    assert!(g.used(&mut c.queues[tx]).is_empty(), "a chain half taken is not given back");
    assert_eq!(take(g, 0), 0);
    assert_eq!(take(g, 4), 4);
    assert_eq!(g.used(&mut c.queues[tx]), [(0, 0)]);
    assert_eq!(take(g, 100), 1);
    assert_eq!(g.used(&mut c.queues[tx]).len(), 1);
    assert!(!g.devices.has_output(&g.mem, Port::Stdout));
    assert_eq!(got, b"abcdefghij");
}

#[test]
fn input_waits_for_buffers_and_an_open_port() {
    let mut c = ConsoleGuest::new();
    let room = usize::from(RING) * RX_SIZE as usize;
    let data: Vec<u8> = (0..room as u32 + 10).map(|i| (i * 7) as u8).collect();
    let push =
        |c: &mut ConsoleGuest, data: &[u8]| c.guest.devices.push_input(&mut c.guest.mem, Port::Stdin, data);
    assert_eq!(push(&mut c, &data), 0, "closed");
    c.handshake();
    assert_eq!(c.guest.devices.input_room(&mut c.guest.mem, Port::Stdin), room);
    assert_eq!(push(&mut c, &data), room);
    assert_eq!(c.guest.devices.input_room(&mut c.guest.mem, Port::Stdin), 0);
    assert_eq!(push(&mut c, &data[room..]), 0);
    let mut got = c.read_port(Port::Stdin);
    assert_eq!(push(&mut c, &data[room..]), 10);
    got.extend(c.read_port(Port::Stdin));
    assert_eq!(got, data);
}

#[test]
fn the_kernels_console_never_waits() {
    let mut c = ConsoleGuest::new();
    let line = vec![b'x'; 2000];
    for _ in 0..100 {
        c.write_port(Port::Kernel, &line);
        assert_eq!(c.guest.used(&mut c.queues[1]).len(), 1);
    }
    assert_eq!(c.guest.devices.take_kernel_log().len(), 200_000);
    assert!(c.guest.devices.take_kernel_log().is_empty());
    let at = c.guest.put(&vec![b'y'; LOG_LIMIT]);
    c.guest.add(&mut c.queues[1], &[(at, 7, false), (at, LOG_LIMIT as u32, false)]);
    c.guest.kick(&c.queues[1].clone());
    let log = c.guest.devices.take_kernel_log();
    assert!(log.starts_with(b"[7 bytes dropped]\ny") && log.len() == 18 + LOG_LIMIT);
}

#[test]
fn a_driver_that_talks_and_never_listens_waits() {
    let mut g = Guest::new();
    let mut queues = g.probe(SLOT_CONSOLE, ALL | 2, 12, 8);
    let message = g.put(&[0, 0, 0, 0, 3, 0, 1, 0]);
    let mut answered = 0;
    for _ in 0..1000 {
        // A full ring of requests for introductions, over and over.
        if answered == 8 * 1000 {
            break;
        }
        g.add(&mut queues[3], &[(message, 8, false)]);
        g.kick(&queues[3].clone());
        let now = g.used(&mut queues[3]).len();
        answered += now;
        if now == 0 {
            break;
        }
    }
    assert!(answered < 100, "{answered} answers kept for nobody");
    assert!(g.devices.failure().is_none());
    let state = g.devices.save();
    assert!(Devices::restore(state, &g.mem).is_ok());
}

#[test]
fn interrupts_are_suppressed_as_asked() {
    // Flag in the available ring.
    let mut c = ConsoleGuest::with(Guest::new(), F_VERSION_1 | 2);
    c.handshake();
    let rx = Port::Stdin.receive_queue();
    let (avail, slot) = (c.queues[rx].avail, SLOT_CONSOLE);
    let interrupted = |c: &mut ConsoleGuest| {
        let set = c.guest.read(slot, reg::INTERRUPT_STATUS);
        c.guest.write(slot, reg::INTERRUPT_ACK, set);
        set
    };
    let push = |c: &mut ConsoleGuest| c.guest.devices.push_input(&mut c.guest.mem, Port::Stdin, b"x");
    interrupted(&mut c);
    c.guest.put_half(avail, 1);
    push(&mut c);
    assert_eq!(interrupted(&mut c), 0);
    c.guest.put_half(avail, 0);
    push(&mut c);
    assert_eq!(interrupted(&mut c), 1);

    // used_event with EVENT_IDX; the flag says nothing then.
    let mut c = ConsoleGuest::with(Guest::new(), F_VERSION_1 | F_EVENT_IDX | 2);
    c.handshake();
    let (avail, used) = (c.queues[rx].avail, c.queues[rx].used);
    interrupted(&mut c);
    let event = avail + 4 + 2 * u64::from(RING);
    c.guest.put_half(avail, 1);
    c.guest.put_half(event, 2);
    let seen: Vec<u32> = (0..5)
        .map(|_| {
            push(&mut c);
            interrupted(&mut c)
        })
        .collect();
    assert_eq!(seen, [0, 0, 1, 0, 0], "when the third was used");
    // The device asks for the notification it wants: of the ninth buffer, when it has run dry.
    assert_eq!(c.guest.devices.push_input(&mut c.guest.mem, Port::Stdin, &[0; 4096]), 3 * RX_SIZE as usize);
    assert_eq!(c.guest.half(used + 4 + 8 * u64::from(RING)), RING);
}

#[test]
fn a_broken_driver_is_told_and_can_start_again() {
    let mut g = Guest::new();
    g.enable_interrupts();
    let q = g.probe(SLOT_ROOT, ALL, 1, 8).remove(0);
    g.put_half(q.avail + 2, 9);
    g.kick(&q);
    assert_eq!(g.read(SLOT_ROOT, reg::STATUS), 15 | status::NEEDS_RESET);
    assert_eq!(g.devices.failure(), Some((SLOT_ROOT, QueueError::AvailIndex { index: 9, expected: 0 })));
    // A configuration interrupt, which only its own bit acknowledges.
    g.write(SLOT_ROOT, reg::INTERRUPT_ACK, 1);
    assert_eq!(g.read(SLOT_ROOT, reg::INTERRUPT_STATUS), 2);
    assert_eq!(g.claim(), 2);
    g.write(SLOT_ROOT, reg::INTERRUPT_ACK, 2);
    assert_eq!(g.read(SLOT_ROOT, reg::INTERRUPT_STATUS), 0);
    // Dead until the reset, which the driver cannot do by taking the bit away.
    g.write(SLOT_ROOT, reg::STATUS, 15);
    assert_ne!(g.read(SLOT_ROOT, reg::STATUS) & status::NEEDS_RESET, 0);
    let mut q = g.probe(SLOT_ROOT, ALL, 1, 8).remove(0);
    assert_eq!(g.devices.failure(), None);
    let (ask, reply) = (g.put(&blk_header(0, 0)), g.put(&[0xff; 513]));
    g.add(&mut q, &[(ask, 16, false), (reply, 513, true)]);
    g.kick(&q);
    assert_eq!(g.used(&mut q), [(0, 513)]);
}

#[test]
fn a_saved_machine_comes_back_equal() {
    let mut c = ConsoleGuest::new();
    c.handshake();
    c.write_port(Port::Stdout, b"hello");
    let mut first = Vec::new();
    let g = &mut c.guest;
    g.devices.take_output(&mut g.mem, Port::Stdout, &mut |b| {
        let n = usize::from(first.is_empty()) * 2;
        first.extend_from_slice(&b[..n]);
        n
    });
    let mut rng = g.probe(SLOT_RNG, ALL, 1, 8).remove(0);
    let buffer = g.alloc(16);
    g.add(&mut rng, &[(buffer, 16, true)]);
    g.kick(&rng);
    g.enable_interrupts();
    let state = g.devices.save();
    let bytes = postcard::to_allocvec(&state).unwrap();
    g.devices = Devices::restore(postcard::from_bytes(&bytes).unwrap(), &g.mem).unwrap();
    assert_eq!(postcard::to_allocvec(&g.devices.save()).unwrap(), bytes);
    // And it goes on where it was: the output, the outstanding request for entropy.
    g.devices.take_output(&mut g.mem, Port::Stdout, &mut |b| {
        first.extend_from_slice(b);
        b.len()
    });
    assert_eq!(first, b"hello");
    let mut host = FakeHost::new();
    g.devices.service(&mut g.mem, &mut host);
    assert_eq!((host.randoms, g.used(&mut rng)), (1, vec![(0, 16)]));
    assert_eq!(g.devices.push_input(&mut g.mem, Port::Control, b"x"), 1);
}

#[test]
fn hostile_state_is_refused_or_harmless() {
    let mut c = ConsoleGuest::new();
    c.handshake();
    let good = c.guest.devices.save();
    let mem = &c.guest.mem;
    let refused = |change: &dyn Fn(&mut DevicesState)| {
        let mut state = good.clone();
        change(&mut state);
        assert!(Devices::restore(state, mem).is_err());
    };
    fn console(s: &mut DevicesState) -> &mut super::virtio::mmio::MmioState {
        s.slots[0].as_mut().unwrap()
    }
    refused(&|s| drop(s.slots.pop()));
    refused(&|s| s.slots[0] = None);
    refused(&|s| s.slots[15] = s.slots[0].clone());
    refused(&|s| s.slots.swap(0, 2));
    refused(&|s| console(s).queues.clear());
    refused(&|s| console(s).queues[0].size = 3);
    refused(&|s| console(s).queues[0].size = 0);
    refused(&|s| console(s).queues[0].size = 512);
    refused(&|s| console(s).queues[5].desc = 16);
    refused(&|s| console(s).queues[5].avail = u64::MAX - 1);
    refused(&|s| console(s).queues[5].used = ROOT_BASE);
    refused(&|s| console(s).driver_features |= 1);
    refused(&|s| console(s).status = 0x1ff);
    refused(&|s| console(s).status = 0x4f);
    refused(&|s| console(s).status = 4);
    refused(&|s| s.console.ports.truncate(4));
    refused(&|s| s.console.pending = vec![vec![0; 65]]);
    fn plic(s: &mut DevicesState) -> &mut crate::platform::riscv64::plic::PlicState {
        match &mut s.platform {
            PlatformState::Plic(plic) => plic,
            PlatformState::Pc(_) => panic!("another machine"),
        }
    }
    refused(&|s| plic(s).claimed = 1);
    // Interrupt lines follow the devices, whatever is said of them.
    let mut state = good.clone();
    plic(&mut state).level ^= 0x1fffe;
    let mut again = Devices::restore(state, mem).unwrap().save();
    assert_eq!(plic(&mut again).level, plic(&mut good.clone()).level);
    // What cannot be checked is bounded when it is used.
    let mut state = good.clone();
    for q in &mut console(&mut state).queues {
        (q.next_avail, q.next_used, q.signalled) = (0x7777, 0x8888, 0x9999);
    }
    state.console.ports[3].taken = u32::MAX;
    console(&mut state).queue_sel = u32::MAX;
    c.guest.devices = Devices::restore(state, &c.guest.mem).unwrap();
    c.read_port(Port::Stdin);
    c.write_port(Port::Stdout, b"x");
    c.guest.devices.take_output(&mut c.guest.mem, Port::Stdout, &mut |b| b.len());
    c.guest.devices.push_input(&mut c.guest.mem, Port::Stdin, b"abc");
}

/// Echoes requests, in the shape of slot `index`.
struct Echo(usize, u64);

impl VirtioDevice for Echo {
    fn device_id(&self) -> u32 {
        share::ID
    }
    fn queue_sizes(&self) -> &[u16] {
        share::QUEUE_SIZES
    }
    fn config_read(&self, offset: usize, out: &mut [u8]) {
        virtio::read_config_bytes(&share::config(self.0), offset, out);
    }
    fn activate(&mut self, features: u64) {
        self.1 = features;
    }
    fn notify(&mut self, queue: usize, cx: &mut Context<'_>) -> Result<(), QueueError> {
        while let Some(chain) = cx.pop(queue)? {
            let request = chain.read_all(cx.mem, 100);
            let n = chain.write_at(cx.mem, 0, &request);
            cx.complete(queue, chain, n as u32 + (self.1 >> 32) as u32 % 2)?;
        }
        Ok(())
    }
}

#[test]
fn a_directory_is_attached_to_a_running_driver() {
    let mut g = Guest::new();
    let slot = SLOT_SHARE + 3;
    let mut q = g.probe(slot, ALL, 2, 8).remove(1);
    let (ask, reply) = (g.put(b"requests"), g.alloc(64));
    g.add(&mut q, &[(ask, 8, false), (reply, 64, true)]);
    g.kick(&q);
    assert!(g.used(&mut q).is_empty());
    g.devices = Devices::restore(g.devices.save(), &g.mem).unwrap();
    let wrong = g.devices.attach_share(3, Box::new(Echo(4, 0)), &mut g.mem);
    assert_eq!(wrong, Err(AttachError::Shape(3)));
    assert_eq!(g.devices.attach_share(8, Box::new(Echo(8, 0)), &mut g.mem), Err(AttachError::NoSlot(8)));
    let rng = g.devices.attach_share(3, Box::new(virtio::rng::Rng::new()), &mut g.mem);
    assert_eq!(rng, Err(AttachError::Shape(3)));
    g.devices.attach_share(3, Box::new(Echo(3, 0)), &mut g.mem).unwrap();
    // The request that waited is answered, by a device that knows the features.
    assert_eq!(g.used(&mut q), [(0, 9)]);
    assert_eq!(g.get(reply, 8), b"requests");
}

#[test]
fn registers_take_any_abuse() {
    let mut g = Guest::new();
    let mut x = 0x1234_5678_9abc_def1u64;
    for _ in 0..200_000 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let slot = x % 13;
        let offset = if x >> 8 & 7 == 0 { x >> 16 & 0xfff } else { x >> 16 & 0xfc };
        let pa = VIRTIO_BASE + slot * VIRTIO_STRIDE + offset;
        let value = match x >> 40 & 3 {
            0 => x >> 42 & 0xf,
            1 => RAM_BASE + (x >> 42 & 0x3f_fff0),
            _ => x >> 30,
        };
        let size = [4, 4, 4, 1, 2, 8][(x >> 50) as usize % 6];
        if x & 1 << 61 == 0 {
            g.devices.write(&mut g.mem, pa, size, value);
        } else {
            g.devices.read(&mut g.mem, pa, size);
        }
    }
}
