//! The device behind a hand-made driver, on a file system in memory.

use forelift_abi::layout::RAM_BASE;

use super::*;
use crate::dev::p9::fs::{Backend, Open};
use crate::dev::p9::testing::{self, MemFs};
use crate::dev::virtio::Queue;
use crate::memory::GuestMemory;

const SIZE: u16 = 128;
const DESC: u64 = RAM_BASE;
const AVAIL: u64 = RAM_BASE + 0x1000;
const USED: u64 = RAM_BASE + 0x2000;
/// Where messages may be put.
const FREE: u64 = RAM_BASE + 0x1_0000;

struct Driver {
    mem: GuestMemory,
    queues: [Queue; 1],
    device: P9<MemFs>,
    index: u16,
}

impl Driver {
    fn new() -> Self {
        let mut fs = MemFs::new();
        let how = Open { write: true, create: true, mode: 0o644, ..Open::default() };
        let file = fs.open(b"f", how).unwrap();
        let data: Vec<u8> = (0..300_000u32).map(|i| (i / 3) as u8).collect();
        fs.write(&file, &data, 0).unwrap();
        let mem = GuestMemory::new(4 << 20, None).unwrap();
        let mut queue = Queue::new(SIZE);
        let state = queue.setup().unwrap();
        (state.desc, state.avail, state.used) = (DESC, AVAIL, USED);
        queue.enable(&mem).unwrap();
        Driver { mem, queues: [queue], device: P9::new(3, fs, false), index: 0 }
    }

    /// Makes a chain of (address, length, writable) available, and gives the length that the device says it wrote.
    fn send(&mut self, parts: &[(u64, usize, bool)]) -> usize {
        for (i, &(addr, len, write)) in parts.iter().enumerate() {
            let next = i + 1 < parts.len();
            let mut desc = addr.to_le_bytes().to_vec();
            desc.extend((len as u32).to_le_bytes());
            desc.extend((u16::from(next) | u16::from(write) << 1).to_le_bytes());
            desc.extend((i as u16 + 1).to_le_bytes());
            assert!(self.mem.write(DESC + 16 * i as u64, &desc));
        }
        assert!(self.mem.write(AVAIL + 4 + 2 * u64::from(self.index % SIZE), &[0, 0]));
        self.index += 1;
        assert!(self.mem.write(AVAIL + 2, &self.index.to_le_bytes()));
        let mut cx = Context { queues: &mut self.queues, mem: &mut self.mem, config_changed: false };
        self.device.notify(0, &mut cx).unwrap();
        let used = self.mem.read_array::<2>(USED + 2).unwrap();
        assert_eq!(u16::from_le_bytes(used), self.index, "the chain came back");
        let entry = USED + 4 + 8 * u64::from((self.index - 1) % SIZE) + 4;
        u32::from_le_bytes(self.mem.read_array(entry).unwrap()) as usize
    }

    /// A request in one buffer, its reply in another.
    fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        assert!(self.mem.write(FREE, request));
        let n = self.send(&[(FREE, request.len(), false), (FREE + 0x1000, 4096, true)]);
        self.mem.slice(FREE + 0x1000, n).unwrap().to_vec()
    }

    /// With fid 0 on the root and fid 1 the open file "f".
    fn mounted() -> Self {
        let mut d = Driver::new();
        for request in testing::mount_and_open(b"f", 1, 2) {
            let reply = d.ask(&request);
            assert_eq!(reply[4], request[4] + 1, "{reply:?}");
        }
        d
    }
}

fn content(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|i| (i / 3) as u8).collect()
}

#[test]
fn shape_is_what_the_guest_has_found() {
    let d = Driver::new();
    let mut space = [0xff; 16];
    d.device.config_read(0, &mut space);
    assert_eq!(&space, b"\x09\0forelift3\0\0\0\0\0");
    assert_eq!((d.device.device_id(), d.device.features(), d.device.queue_sizes()), (9, 1, &[128u16][..]));
}

#[test]
fn reads_into_scattered_pages() {
    let mut d = Driver::mounted();
    let read = testing::read(1, 1000, 100_000);
    assert!(d.mem.write(FREE, &read));
    // As Linux does: the reply's header by itself, then pages from anywhere.
    let pages: Vec<u64> = (0..25).map(|i| FREE + 0x1_0000 + (i * 7 % 25) * 4096).collect();
    let mut parts = vec![(FREE, read.len(), false), (FREE + 64, 11, true)];
    parts.extend(pages.iter().map(|&p| (p, 4096, true)));
    assert_eq!(d.send(&parts), 11 + 100_000);
    let mut got = Vec::new();
    pages.iter().for_each(|&p| got.extend_from_slice(d.mem.slice(p, 4096).unwrap()));
    assert_eq!(got[..100_000], content(1000, 100_000));
    // In adjacent parts: straight into memory.
    let parts = [(FREE, read.len(), false), (FREE + 0x8000, 4096, true), (FREE + 0x9000, 120_000, true)];
    assert_eq!(d.send(&parts), 11 + 100_000);
    assert_eq!(d.mem.slice(FREE + 0x8000 + 11, 100_000).unwrap(), content(1000, 100_000));
    // More than there is room for.
    assert_eq!(d.send(&[(FREE, read.len(), false), (FREE + 0x8000, 500, true)]), 500);
}

#[test]
fn writes_from_scattered_pages() {
    let mut d = Driver::mounted();
    let data: Vec<u8> = (0..50_000u32).map(|i| (i * 13) as u8).collect();
    let write = testing::write(1, 7, &data);
    let header = write.len() - data.len();
    assert!(d.mem.write(FREE, &write[..header]));
    let mut parts = vec![(FREE, header, false)];
    for (i, page) in data.chunks(4096).enumerate() {
        let at = FREE + 0x1_0000 + (i as u64 * 5 % 13) * 4096;
        assert!(d.mem.write(at, page));
        parts.push((at, page.len(), false));
    }
    parts.push((FREE + 64, 32, true));
    assert_eq!(d.send(&parts), 11);
    assert_eq!(d.mem.slice(FREE + 64, 11).unwrap()[7..], 50_000u32.to_le_bytes());
    let mut whole = FREE + 0x8_0000;
    assert!(d.mem.write(whole, &write));
    assert_eq!(d.send(&[(whole, write.len(), false), (FREE + 64, 32, true)]), 11, "in one piece");
    whole += 0x8_0000;
    let read = testing::read(1, 0, 60_000);
    assert!(d.mem.write(FREE, &read));
    assert_eq!(d.send(&[(FREE, read.len(), false), (whole, 60_011, true)]), 60_011);
    let got = d.mem.slice(whole + 11, 60_000).unwrap();
    assert_eq!(
        (&got[..7], &got[7..50_007], &got[50_007..]),
        (&content(0, 7)[..], &data[..], &content(50_007, 9993)[..])
    );
}

#[test]
fn hostile_chains() {
    let mut d = Driver::mounted();
    let read = testing::read(1, 0, 4000);
    assert!(d.mem.write(FREE, &read));
    let n = read.len();
    // No room, no request, nothing at all; room for less than an error.
    assert_eq!(d.send(&[(FREE, n, false)]), 0);
    assert_eq!(d.send(&[(FREE, 4096, true)]), 0);
    assert_eq!(d.send(&[(FREE, 0, false)]), 0);
    assert_eq!(d.send(&[(FREE, n, false), (FREE + 64, 10, true)]), 0);
    // The same memory as request and reply, and as two parts of the reply.
    assert_eq!(d.send(&[(FREE, n, false), (FREE, 4096, true)]), 4011);
    assert_eq!(d.mem.slice(FREE + 11, 4000).unwrap(), content(0, 4000));
    assert!(d.mem.write(FREE, &read));
    let twice = [(FREE, n, false), (FREE + 0x1000, 3000, true), (FREE + 0x1000, 3000, true)];
    assert_eq!(d.send(&twice), 4011);
    // A request longer than any message is cut, and refused by its own length word.
    let long = vec![0xffu8; MAX_MSIZE + 100];
    assert!(d.mem.write(FREE + 0x1_0000, &long));
    let parts = [(FREE + 0x1_0000, long.len(), false), (FREE, 64, true)];
    assert_eq!(d.send(&parts), 11);
    assert_eq!(d.mem.slice(FREE, 11).unwrap()[4], 7);
}

#[test]
fn reset_drops_all_fids() {
    let mut d = Driver::mounted();
    let read = testing::read(1, 0, 9);
    assert_eq!(d.ask(&read)[4], 117);
    d.device.reset();
    let reply = d.ask(&read);
    assert_eq!((reply[4], reply[7]), (7, 9), "EBADF");
    for request in testing::mount_and_open(b"f", 1, 0) {
        assert_eq!(d.ask(&request)[4], request[4] + 1);
    }
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
