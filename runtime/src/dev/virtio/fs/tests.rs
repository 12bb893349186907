//! The device with a hand-made driver, on a file system in memory.

use forelift_abi::layout::RAM_BASE;

use super::*;
use crate::dev::fuse::Server;
use crate::dev::fuse::fs::{Backend, Open};
use crate::dev::fuse::testing::{self, Body, MemFs, op};
use crate::dev::virtio::Queue;
use crate::memory::GuestMemory;

/// The queue for what must not wait, and the one for requests: each has its tables in a place of its own.
const URGENT: usize = 0;
const REQUESTS: usize = 1;
/// Tables of a queue: descriptors, available, used.
const TABLES: [u64; 3] = [0, 0x1000, 0x2000];
const TABLES_SIZE: u64 = 0x4000;
/// Where messages may be put.
const FREE: u64 = RAM_BASE + 0x1_0000;
/// Length of a reply's header.
const HEADER: usize = 16;

struct Driver {
    mem: GuestMemory,
    queues: [Queue; 2],
    device: Fs<Server<MemFs>>,
    index: [u16; 2],
}

/// An open file: its node, and its handle.
type Opened = (u64, u64);

impl Driver {
    fn new() -> Self {
        let mut fs = MemFs::new();
        let how = Open { write: true, create: true, mode: 0o644, ..Open::default() };
        let file = fs.open(b"f", how).unwrap();
        let data: Vec<u8> = (0..300_000u32).map(|i| (i / 3) as u8).collect();
        fs.write(&file, &data, 0).unwrap();
        let mem = GuestMemory::new(8 << 20, None).unwrap();
        let queues = [URGENT, REQUESTS].map(|q| {
            let mut queue = Queue::new(share::QUEUE_SIZES[q]);
            let state = queue.setup().unwrap();
            let base = RAM_BASE + q as u64 * TABLES_SIZE;
            [state.desc, state.avail, state.used] = TABLES.map(|at| base + at);
            queue.enable(&mem).unwrap();
            queue
        });
        Driver { mem, queues, device: Fs::new(3, Server::new(fs, false)), index: [0; 2] }
    }

    /// Makes a chain of (address, length, writable) available, and gives the length that the device says it
    /// wrote.
    fn send_to(&mut self, queue: usize, parts: &[(u64, usize, bool)]) -> usize {
        let size = u64::from(share::QUEUE_SIZES[queue]);
        let [desc_table, avail, used] = TABLES.map(|at| RAM_BASE + queue as u64 * TABLES_SIZE + at);
        for (i, &(addr, len, write)) in parts.iter().enumerate() {
            let next = i + 1 < parts.len();
            let mut desc = addr.to_le_bytes().to_vec();
            desc.extend((len as u32).to_le_bytes());
            desc.extend((u16::from(next) | u16::from(write) << 1).to_le_bytes());
            desc.extend((i as u16 + 1).to_le_bytes());
            assert!(self.mem.write(desc_table + 16 * i as u64, &desc));
        }
        let index = &mut self.index[queue];
        assert!(self.mem.write(avail + 4 + 2 * (u64::from(*index) % size), &[0, 0]));
        *index += 1;
        assert!(self.mem.write(avail + 2, &index.to_le_bytes()));
        let mut cx = Context { queues: &mut self.queues, mem: &mut self.mem, config_changed: false };
        self.device.notify(queue, &mut cx).unwrap();
        let back = self.mem.read_array::<2>(used + 2).unwrap();
        assert_eq!(u16::from_le_bytes(back), *index, "the chain came back");
        let entry = used + 4 + 8 * (u64::from(*index - 1) % size) + 4;
        u32::from_le_bytes(self.mem.read_array(entry).unwrap()) as usize
    }

    fn send(&mut self, parts: &[(u64, usize, bool)]) -> usize {
        self.send_to(REQUESTS, parts)
    }

    /// A request in one buffer, its reply in another: the error, and the reply's body.
    fn ask(&mut self, opcode: u32, node: u64, body: Body) -> (i32, Vec<u8>) {
        let request = testing::request(opcode, node, body);
        assert!(self.mem.write(FREE, &request));
        let n = self.send(&[(FREE, request.len(), false), (FREE + 0x1000, 4096, true)]);
        let reply = self.mem.slice(FREE + 0x1000, n).unwrap();
        assert_eq!(reply[..4], (n as u32).to_le_bytes());
        (i32::from_le_bytes(reply[4..8].try_into().unwrap()), reply[HEADER..].to_vec())
    }

    /// Begins a session and opens "f".
    fn mount(&mut self) -> Opened {
        assert_eq!(self.ask(op::INIT, 0, testing::init()).0, 0);
        let long = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let (error, entry) = self.ask(op::LOOKUP, 1, Body::new().name(b"f"));
        assert_eq!(error, 0);
        let node = long(&entry);
        let (error, opened) = self.ask(op::OPEN, node, Body::new().u32(2).u32(0));
        assert_eq!(error, 0);
        (node, long(&opened))
    }

    fn mounted() -> (Self, Opened) {
        let mut d = Driver::new();
        let f = d.mount();
        (d, f)
    }
}

fn read(f: Opened, offset: u64, size: u32) -> Vec<u8> {
    testing::request(op::READ, f.0, testing::read(f.1, offset, size))
}

fn content(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|i| (i / 3) as u8).collect()
}

#[test]
fn shape_is_what_the_guest_has_found() {
    let d = Driver::new();
    let mut space = [0xff; 44];
    d.device.config_read(0, &mut space);
    let mut expected = b"forelift3".to_vec();
    expected.resize(36, 0);
    // One queue of requests; the rest is not there.
    expected.extend([1, 0, 0, 0]);
    assert_eq!(space[..40], expected);
    assert_eq!((d.device.device_id(), d.device.queue_sizes()), (26, &[64u16, 256][..]));
}

#[test]
fn reads_into_scattered_pages() {
    let (mut d, f) = Driver::mounted();
    let read = read(f, 1000, 100_000);
    assert!(d.mem.write(FREE, &read));
    // As Linux does: the request's two parts, the reply's header by itself, then pages from anywhere.
    let pages: Vec<u64> = (0..25).map(|i| FREE + 0x1_0000 + (i * 7 % 25) * 4096).collect();
    let mut parts = vec![(FREE, 40, false), (FREE + 40, read.len() - 40, false), (FREE + 128, HEADER, true)];
    parts.extend(pages.iter().map(|&p| (p, 4096, true)));
    assert_eq!(d.send(&parts), HEADER + 100_000);
    let mut got = Vec::new();
    pages.iter().for_each(|&p| got.extend_from_slice(d.mem.slice(p, 4096).unwrap()));
    assert_eq!(got[..100_000], content(1000, 100_000));
    // In adjacent parts: straight into memory.
    let parts = [(FREE, read.len(), false), (FREE + 0x8000, 4096, true), (FREE + 0x9000, 120_000, true)];
    assert_eq!(d.send(&parts), HEADER + 100_000);
    assert_eq!(d.mem.slice(FREE + 0x8000 + HEADER as u64, 100_000).unwrap(), content(1000, 100_000));
    // More than there is room for.
    assert_eq!(d.send(&[(FREE, read.len(), false), (FREE + 0x8000, 500, true)]), 500);
}

#[test]
fn writes_from_scattered_pages() {
    let (mut d, f) = Driver::mounted();
    let data: Vec<u8> = (0..50_000u32).map(|i| (i * 13) as u8).collect();
    let write = testing::request(op::WRITE, f.0, testing::write(f.1, 7, 0, 2, &data));
    let header = write.len() - data.len();
    assert!(d.mem.write(FREE, &write[..header]));
    let mut parts = vec![(FREE, header, false)];
    for (i, page) in data.chunks(4096).enumerate() {
        let at = FREE + 0x1_0000 + (i as u64 * 5 % 13) * 4096;
        assert!(d.mem.write(at, page));
        parts.push((at, page.len(), false));
    }
    parts.push((FREE + 128, 32, true));
    assert_eq!(d.send(&parts), HEADER + 8);
    assert_eq!(d.mem.slice(FREE + 128 + HEADER as u64, 4).unwrap(), 50_000u32.to_le_bytes());
    let mut whole = FREE + 0x8_0000;
    assert!(d.mem.write(whole, &write));
    assert_eq!(d.send(&[(whole, write.len(), false), (FREE + 128, 32, true)]), HEADER + 8, "in one piece");
    whole += 0x8_0000;
    let read = read(f, 0, 60_000);
    assert!(d.mem.write(FREE, &read));
    assert_eq!(d.send(&[(FREE, read.len(), false), (whole, 60_016, true)]), 60_016);
    let got = d.mem.slice(whole + HEADER as u64, 60_000).unwrap();
    assert_eq!(
        (&got[..7], &got[7..50_007], &got[50_007..]),
        (&content(0, 7)[..], &data[..], &content(50_007, 9993)[..])
    );
}

/// The longest message that Linux sends: as many pages as the queue has room for.
#[test]
fn the_longest_messages() {
    const LEN: usize = 252 * 4096;
    let (mut d, f) = Driver::mounted();
    let data: Vec<u8> = (0..LEN).map(|i| (i >> 5) as u8).collect();
    let write = testing::request(op::WRITE, f.0, testing::write(f.1, 0, 0, 2, &data));
    let header = write.len() - LEN;
    let pages = FREE + 0x10_0000;
    assert!(d.mem.write(FREE, &write[..header]) && d.mem.write(pages, &data));
    let page = |i: usize| pages + (i * 4096) as u64;
    let mut parts = vec![(FREE, 40, false), (FREE + 40, header - 40, false)];
    parts.extend((0..252).map(|i| (page(i), 4096, false)));
    parts.push((FREE + 0x1000, 24, true));
    assert_eq!((parts.len(), d.send(&parts)), (255, HEADER + 8));
    let read = read(f, 0, LEN as u32);
    let back = pages + 0x20_0000;
    assert!(d.mem.write(FREE, &read));
    let mut parts = vec![(FREE, read.len(), false), (FREE + 0x1000, HEADER, true)];
    parts.extend((0..252).map(|i| (back + ((251 - i) * 4096) as u64, 4096, true)));
    assert_eq!(d.send(&parts), HEADER + LEN);
    for i in [0, 1, 100, 251] {
        let got = d.mem.slice(back + ((251 - i) * 4096) as u64, 4096).unwrap();
        assert_eq!(got, &data[i * 4096..(i + 1) * 4096], "page {i}");
    }
}

#[test]
fn hostile_chains() {
    let (mut d, f) = Driver::mounted();
    let read = read(f, 0, 4000);
    assert!(d.mem.write(FREE, &read));
    let n = read.len();
    // No room, no request, nothing at all; room for less than an error.
    assert_eq!(d.send(&[(FREE, n, false)]), 0);
    assert_eq!(d.send(&[(FREE, 4096, true)]), 0);
    assert_eq!(d.send(&[(FREE, 0, false)]), 0);
    assert_eq!(d.send(&[(FREE, n, false), (FREE + 128, HEADER - 1, true)]), 0);
    // The same memory as request and reply, and as two parts of the reply.
    assert_eq!(d.send(&[(FREE, n, false), (FREE, 4096, true)]), HEADER + 4000);
    assert_eq!(d.mem.slice(FREE + HEADER as u64, 4000).unwrap(), content(0, 4000));
    assert!(d.mem.write(FREE, &read));
    let twice = [(FREE, n, false), (FREE + 0x1000, 3000, true), (FREE + 0x1000, 3000, true)];
    assert_eq!(d.send(&twice), HEADER + 4000);
    // A request longer than any message is cut, and refused by its own length word.
    let mut long = vec![0xffu8; MAX_MESSAGE + 100];
    long[4] = 3;
    long[5..8].fill(0);
    assert!(d.mem.write(FREE + 0x1_0000, &long));
    let parts = [(FREE + 0x1_0000, long.len(), false), (FREE, 64, true)];
    assert_eq!(d.send(&parts), HEADER);
    let reply = d.mem.slice(FREE, HEADER).unwrap();
    assert_eq!((&reply[4..8], &reply[8..]), (&(-22i32).to_le_bytes()[..], &[0xff; 8][..]));
}

/// Linux sends these, and only these, where nothing waits for an answer.
#[test]
fn forgetting_has_a_queue_of_its_own() {
    let (mut d, f) = Driver::mounted();
    let forget = testing::request(op::FORGET, f.0, Body::new().u64(1));
    assert!(d.mem.write(FREE, &forget));
    assert_eq!(d.send_to(URGENT, &[(FREE, forget.len(), false)]), 0);
    assert_eq!(d.ask(op::GETATTR, f.0, Body::new().u64(0).u64(0)).0, 0, "it is open");
    assert_eq!(d.ask(op::RELEASE, f.0, Body::new().u64(f.1).u64(0).u64(0)).0, 0);
    assert_eq!(d.ask(op::GETATTR, f.0, Body::new().u64(0).u64(0)).0, -116, "ESTALE");
}

#[test]
fn reset_closes_and_forgets() {
    let (mut d, f) = Driver::mounted();
    let read = || testing::read(f.1, 0, 9);
    assert_eq!(d.ask(op::READ, f.0, read()), (0, content(0, 9)));
    d.device.reset();
    assert_eq!(d.ask(op::READ, f.0, read()).0, -9, "EBADF");
    assert_eq!(d.ask(op::OPEN, f.0, Body::new().u32(2).u32(0)).0, -116, "ESTALE");
    let f = d.mount();
    assert_eq!(d.ask(op::READ, f.0, testing::read(f.1, 0, 9)), (0, content(0, 9)));
}

#[test]
fn pieces() {
    let span = |addr, len| Span { addr, len };
    let row = [span(100, 10), span(110, 5), span(200, 9)];
    assert_eq!(one_piece(&row, 15), Some(100));
    assert_eq!(one_piece(&row, 3), Some(100));
    assert_eq!(one_piece(&row, 16), None, "a gap");
    assert_eq!(one_piece(&row[..2], 16), None, "too short");
    assert_eq!(one_piece(&[], 0), None);
    assert_eq!(one_piece(&[span(u64::MAX, 1), span(0, 1)], 2), None);
}
