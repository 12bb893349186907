//! Well-made and hostile rings, against a bare queue.

use forelift_abi::layout::{RAM_BASE, ROOT_BASE};

use super::*;
use crate::dev::testing::{Guest, INDIRECT, NEXT, WRITE};
use crate::dev::virtio::{F_EVENT_IDX, F_INDIRECT_DESC};

const SIZE: u16 = 8;
const BUF: u64 = RAM_BASE + 0x10_0000;

/// A guest with one queue set up by hand.
struct Bench {
    g: Guest,
    q: Queue,
    avail_idx: u16,
}

impl Bench {
    fn new(features: u64) -> Self {
        let mut g = Guest::new();
        let mut q = Queue::new(SIZE);
        let n = u64::from(SIZE);
        let s = q.setup().unwrap();
        (s.desc, s.avail, s.used) = (g.alloc(16 * n), g.alloc(6 + 2 * n), g.alloc(6 + 8 * n));
        q.set_features(features);
        q.enable(&g.mem).unwrap();
        Bench { g, q, avail_idx: 0 }
    }

    fn desc(&mut self, index: u16, addr: u64, len: u32, flags: u16, next: u16) -> &mut Self {
        let table = self.q.state().desc;
        self.g.set_desc(table, index, addr, len, flags, next);
        self
    }

    fn offer(&mut self, head: u16) -> &mut Self {
        let avail = self.q.state().avail;
        self.g.put_half(avail + 4 + 2 * u64::from(self.avail_idx % SIZE), head);
        self.avail_idx = self.avail_idx.wrapping_add(1);
        self.g.put_half(avail + 2, self.avail_idx);
        self
    }

    fn pop(&mut self) -> Result<Option<Chain>, QueueError> {
        self.q.pop(&mut self.g.mem)
    }

    fn error(&mut self) -> QueueError {
        let why = self.pop().unwrap_err();
        assert_eq!(self.pop().unwrap_err(), why, "an error stays one");
        why
    }
}

#[test]
fn a_chain_is_read_and_written_across_its_parts() {
    let mut b = Bench::new(0);
    b.desc(5, BUF, 3, NEXT, 2).desc(2, BUF + 100, 4, NEXT, 7).desc(7, BUF + 200, 0, NEXT, 1);
    b.desc(1, BUF + 300, 2, NEXT | WRITE, 0).desc(0, BUF + 400, 5, WRITE, 0).offer(5);
    assert!(b.g.mem.write(BUF, b"abc") && b.g.mem.write(BUF + 100, b"defg"));
    let chain = b.pop().unwrap().unwrap();
    assert_eq!((chain.readable_len(), chain.writable_len()), (7, 7));
    assert_eq!(chain.read_all(&b.g.mem, 100), b"abcdefg");
    assert_eq!(chain.read_all(&b.g.mem, 2), b"ab");
    let mut part = [0; 3];
    assert_eq!(chain.read_at(&b.g.mem, 2, &mut part), 3);
    assert_eq!(&part, b"cde");
    assert_eq!(chain.read_at(&b.g.mem, 6, &mut part), 1);
    assert_eq!(chain.read_at(&b.g.mem, 7, &mut part), 0);
    assert_eq!(chain.read_at(&b.g.mem, u32::MAX, &mut part), 0);
    assert_eq!(chain.write_at(&mut b.g.mem, 1, b"123456789"), 6);
    assert_eq!(b.g.get(BUF + 300, 2), b"\x001");
    assert_eq!(b.g.get(BUF + 400, 6), b"23456\0");
    b.q.complete(&mut b.g.mem, chain, u32::MAX).unwrap();
    let used = b.q.state().used;
    assert_eq!(b.g.half(used + 2), 1);
    assert_eq!(b.g.get(used + 4, 8), [5, 0, 0, 0, 7, 0, 0, 0], "no more than there was room for");
    assert!(b.q.take_signal() && !b.q.take_signal());
    assert!(b.pop().unwrap().is_none());
}

#[test]
fn indices_wrap_and_a_pop_can_be_undone() {
    let mut b = Bench::new(F_EVENT_IDX);
    b.desc(3, BUF, 1, 0, 0);
    for round in 0..70_000u32 {
        b.offer(3);
        let chain = b.pop().unwrap().unwrap();
        b.q.undo_pop(chain);
        assert_eq!(b.q.available(&b.g.mem), Ok(1), "round {round}");
        let chain = b.pop().unwrap().unwrap();
        b.q.complete(&mut b.g.mem, chain, 0).unwrap();
        assert!(b.pop().unwrap().is_none());
    }
    let used = b.q.state().used;
    assert_eq!(b.g.half(used + 2), (70_000u32 % 65_536) as u16);
    assert_eq!(b.g.half(used + 4 + 8 * u64::from(SIZE)), (70_000u32 % 65_536) as u16);
}

#[test]
fn a_loop_is_noticed() {
    let mut b = Bench::new(0);
    b.desc(0, BUF, 1, NEXT, 1).desc(1, BUF, 1, NEXT, 0).offer(0);
    assert_eq!(b.error(), QueueError::Loop { head: 0 });
    let mut b = Bench::new(0);
    b.desc(4, BUF, 1, NEXT, 4).offer(4);
    assert_eq!(b.error(), QueueError::Loop { head: 4 });
    // As long as the table is right.
    let mut b = Bench::new(0);
    for i in 0..SIZE {
        b.desc(i, BUF, 1, if i + 1 < SIZE { NEXT } else { 0 }, i + 1);
    }
    b.offer(0);
    assert_eq!(b.pop().unwrap().unwrap().readable_len(), u32::from(SIZE));
}

#[test]
fn bad_indices_are_refused() {
    let mut b = Bench::new(0);
    b.offer(SIZE);
    assert_eq!(b.error(), QueueError::DescIndex { index: SIZE, size: 8 });
    let mut b = Bench::new(0);
    b.desc(0, BUF, 1, NEXT, 0xffff).offer(0);
    assert_eq!(b.error(), QueueError::DescIndex { index: 0xffff, size: 8 });
    let mut b = Bench::new(0);
    let avail = b.q.state().avail;
    b.g.put_half(avail + 2, SIZE + 1);
    assert_eq!(b.error(), QueueError::AvailIndex { index: SIZE + 1, expected: 0 });
}

#[test]
fn wild_addresses_are_refused() {
    let end = RAM_BASE + (4 << 20);
    for (addr, len, flags) in [
        (0, 1, 0),
        (u64::MAX, 1, 0),
        (u64::MAX - 3, 8, WRITE),
        (end - 1, 2, 0),
        (end - 1, 2, WRITE),
        (RAM_BASE - 1, 2, 0),
        (ROOT_BASE, 1, WRITE),
        (RAM_BASE, u32::MAX, 0),
    ] {
        let mut b = Bench::new(0);
        b.desc(0, addr, len, flags, 0).offer(0);
        assert_eq!(b.error(), QueueError::Address { what: "buffer", addr }, "{addr:#x}+{len:#x}");
    }
    let mut b = Bench::new(0);
    b.desc(0, ROOT_BASE, 16, 0, 0).offer(0).desc(1, end - 2, 2, WRITE, 0).offer(1);
    assert_eq!(b.pop().unwrap().unwrap().readable_len(), 16);
    assert_eq!(b.pop().unwrap().unwrap().writable_len(), 2);
}

#[test]
fn readable_comes_before_writable() {
    let mut b = Bench::new(0);
    b.desc(0, BUF, 1, NEXT | WRITE, 1).desc(1, BUF, 1, 0, 0).offer(0);
    assert_eq!(b.error(), QueueError::Order { head: 0 });
}

#[test]
fn four_gigabytes_are_too_many() {
    let mut b = Bench::new(F_INDIRECT_DESC);
    let table = b.g.alloc(16 * 1024);
    for i in 0..1024 {
        b.g.set_desc(table, i, RAM_BASE, 4 << 20, if i < 1023 { NEXT } else { 0 }, i + 1);
    }
    b.desc(0, table, 16 * 1024, INDIRECT, 0).offer(0);
    assert_eq!(b.error(), QueueError::TooLong { head: 0 });
}

#[test]
fn indirect_tables_follow_their_rules() {
    let bad = |features, flags, len, inner: Option<(u16, u16)>| {
        let mut b = Bench::new(features);
        let table = b.g.alloc(64);
        if let Some((flags, next)) = inner {
            b.g.set_desc(table, 0, table, 16, flags, next);
        }
        b.desc(0, table, len, flags, 1).desc(1, BUF, 1, 0, 0).offer(0);
        b.error()
    };
    let ind = F_INDIRECT_DESC;
    let because = |why| QueueError::Indirect { head: 0, why };
    assert_eq!(bad(0, INDIRECT, 16, None), because("the feature was not negotiated"));
    assert_eq!(bad(ind, INDIRECT | NEXT, 16, None), because("a table and a next descriptor"));
    for len in [0, 1, 17, 16 * 1025, 0xffff_fff0] {
        assert_eq!(bad(ind, INDIRECT, len, None), because("the table's length"), "{len}");
    }
    assert_eq!(bad(ind, INDIRECT, 16, Some((INDIRECT, 0))), because("a table inside a table"));
    assert_eq!(bad(ind, INDIRECT, 16, Some((NEXT, 0))), QueueError::Loop { head: 0 });
    assert_eq!(bad(ind, INDIRECT, 16, Some((NEXT, 1))), QueueError::Loop { head: 0 });
    assert_eq!(bad(ind, INDIRECT, 32, Some((NEXT, 9))), QueueError::DescIndex { index: 9, size: 2 });
    let mut b = Bench::new(ind);
    b.desc(0, RAM_BASE + (4 << 20) - 16, 32, INDIRECT, 0).offer(0);
    let first = RAM_BASE + (4 << 20) - 16;
    b.g.set_desc(first, 0, BUF, 1, NEXT, 1);
    assert_eq!(b.error(), QueueError::Address { what: "descriptor table", addr: first + 16 });

    // A direct part in front of the table, and a table longer than the queue, are fine.
    let mut b = Bench::new(ind);
    let table = b.g.alloc(16 * 20);
    for i in 0..20 {
        b.g.set_desc(table, i, BUF, 2, WRITE | if i < 19 { NEXT } else { 0 }, i + 1);
    }
    b.desc(6, BUF, 3, NEXT, 1).desc(1, table, 16 * 20, INDIRECT, 0).offer(6);
    let chain = b.pop().unwrap().unwrap();
    assert_eq!((chain.readable_len(), chain.writable_len()), (3, 40));
}

#[test]
fn rings_are_checked_when_enabled() {
    let mem = crate::dev::testing::memory();
    let good = QueueState {
        size: 8,
        ready: true,
        desc: RAM_BASE,
        avail: RAM_BASE + 0x1000,
        used: RAM_BASE + 0x2000,
        ..QueueState::default()
    };
    let mut q = Queue::new(8);
    assert_eq!(q.restore(good, 0, &mem), Ok(()));
    let end = RAM_BASE + (4 << 20);
    for bad in [
        QueueState { size: 0, ..good },
        QueueState { size: 6, ..good },
        QueueState { size: 16, ..good },
        QueueState { desc: RAM_BASE + 8, ..good },
        QueueState { avail: RAM_BASE + 1, ..good },
        QueueState { used: RAM_BASE + 2, ..good },
        QueueState { desc: end - 16, ..good },
        QueueState { avail: end - 20, ..good },
        QueueState { used: end - 64, ..good },
        QueueState { used: ROOT_BASE, ..good },
        QueueState { desc: u64::MAX - 15, ..good },
    ] {
        assert!(q.restore(bad, 0, &mem).is_err(), "{bad:x?}");
        assert!(!q.is_ready());
    }
}
