//! Random operations on two files, against a model in memory (after Apple's *fsx*).
//!
//! `FORELIFT_FSX_OPS` says how many operations (20 000 when it is not set), `FORELIFT_FSX_SEED` which.

use std::collections::BTreeMap;

use super::*;
use crate::dev::fuse::testing::Random;

/// Longest file in bytes; reads, writes and the like are shorter.
const SIZE: usize = 96 << 10;
const CHUNK: usize = 20 << 10;

/// A file as it should be.
struct Model {
    name: String,
    data: Vec<u8>,
    file: File,
}

struct Run {
    c: Client,
    r: Random,
    files: [Model; 2],
    /// Operations done, by kind.
    done: BTreeMap<&'static str, u64>,
    /// Whether the host can allocate and copy: asked for once.
    extended: bool,
    /// Whether it can fill with zeros without making a hole: tmpfs cannot.
    zeroes: bool,
    names: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut c = Client::new();
        let mut model = |name: &str| {
            let file = c.create(name, O_RDWR, 0o644).unwrap();
            Model { name: name.into(), data: Vec::new(), file }
        };
        let files = [model("a"), model("b")];
        let extended = c.allocate(files[0].file, 0, 0, 0) != Err(Errno::OPNOTSUPP);
        assert!(extended || !cfg!(target_os = "linux"));
        let zeroes = c.allocate(files[0].file, 0x11, 0, 1) != Err(Errno::OPNOTSUPP);
        Run { c, r: Random(seed), files, done: BTreeMap::new(), extended, zeroes, names: 0 }
    }

    /// A piece of a file: offset and length, often at round numbers, sometimes past its end.
    fn piece(&mut self) -> (usize, usize) {
        let (mut at, mut len) = (self.r.below(SIZE), 1 + self.r.below(CHUNK));
        if self.r.below(3) == 0 {
            (at, len) = (at & !4095, (len & !4095).max(4096));
        }
        (at, len.min(SIZE - at))
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let (start, step) = (self.r.below(256) as u8, 1 + self.r.below(255) as u8);
        (0..len).map(|i| start.wrapping_add(step.wrapping_mul(i as u8)) ^ (i >> 8) as u8).collect()
    }

    fn write(&mut self, which: usize, append: bool, write_flags: u32) {
        let (mut at, mut len) = self.piece();
        let end = self.files[which].data.len();
        if append {
            // What the client takes for the end does not count.
            len = len.min(SIZE - end);
        }
        if len == 0 {
            return;
        }
        let data = self.bytes(len);
        let open_flags = if append || write_flags != 0 { O_RDWR | O_APPEND } else { O_RDWR };
        let f = self.files[which].file;
        assert_eq!(self.c.write_with(f, at as u64, &data, write_flags, open_flags), Ok(len as u32));
        let model = &mut self.files[which].data;
        if append {
            at = end;
        }
        model.resize(end.max(at + len), 0);
        model[at..at + len].copy_from_slice(&data);
    }

    fn read(&mut self, which: usize) {
        let (at, len) = self.piece();
        let m = &self.files[which];
        let got = self.c.read(m.file, at as u64, len as u32).unwrap();
        let end = m.data.len();
        assert!(got == m.data[at.min(end)..(at + len).min(end)], "read of {len} bytes at {at}");
    }

    fn truncate(&mut self, which: usize) {
        let size = self.r.below(SIZE);
        let m = &mut self.files[which];
        let by_handle = if self.r.below(2) == 0 { 1 << 6 } else { 0 };
        let set = Set { valid: 1 << 3 | by_handle, fh: m.file.fh, size: size as u64, ..Set::default() };
        assert_eq!(self.c.set(m.file.node, set).unwrap().size, size as u64);
        m.data.resize(size, 0);
    }

    fn allocate(&mut self, which: usize, mode: u32) {
        let (at, len) = self.piece();
        let m = &mut self.files[which];
        self.c.allocate(m.file, mode, at as u64, len as u64).unwrap();
        if mode & 1 == 0 {
            m.data.resize(m.data.len().max(at + len), 0);
        }
        if mode & 0x12 != 0 {
            let end = m.data.len();
            m.data[at.min(end)..(at + len).min(end)].fill(0);
        }
    }

    fn copy(&mut self) {
        let (from, to) = (self.r.below(2), self.r.below(2));
        let ((at, len), (into, _)) = (self.piece(), self.piece());
        let mut len = len.min(SIZE - into);
        if from == to && at < into + len && into < at + len {
            return;
        }
        let (source, target) = (self.files[from].file, self.files[to].file);
        let end = self.files[from].data.len();
        if from == to {
            // Writing past the end moves it, and with it what a second part would copy.
            len = len.min(end.saturating_sub(at));
        }
        let mut done = 0;
        // As copy_file_range(2)'s callers do: until all is copied, or the source ends.
        while done < len {
            let n = self.c.copy(
                (source, (at + done) as u64),
                (target, (into + done) as u64),
                (len - done) as u64,
            );
            match n.unwrap() as usize {
                0 => break,
                n => done += n,
            }
        }
        let data = self.files[from].data[at.min(end)..(at + len).min(end)].to_vec();
        assert_eq!(done, data.len(), "copy of {len} bytes at {at} of {end}");
        if !data.is_empty() {
            let m = &mut self.files[to].data;
            m.resize(m.len().max(into + data.len()), 0);
            m[into..into + data.len()].copy_from_slice(&data);
        }
    }

    /// What lies between is zeros, wherever the host sees holes.
    fn seek(&mut self, which: usize) {
        let at = self.r.below(SIZE);
        let m = &self.files[which];
        let (data, hole) = (self.c.seek(m.file, at as u64, 3), self.c.seek(m.file, at as u64, 4));
        if at >= m.data.len() {
            assert_eq!((data, hole), (Err(Errno::NXIO), Err(Errno::NXIO)));
            return;
        }
        let hole = hole.unwrap() as usize;
        assert!((at..=m.data.len()).contains(&hole));
        let data = match data {
            Ok(data) => data as usize,
            Err(e) => {
                assert_eq!(e, Errno::NXIO);
                m.data.len()
            }
        };
        assert!(data >= at && (data == at) == (hole > at), "data at {data}, hole at {hole}, from {at}");
        assert!(m.data[at..data].iter().all(|&b| b == 0), "a hole of what is no zeros");
    }

    fn reopen(&mut self, which: usize) {
        let m = &mut self.files[which];
        self.c.flush(m.file).unwrap();
        self.c.release(m.file).unwrap();
        let cut = if self.r.below(20) == 0 { O_TRUNC } else { 0 };
        // The old look-up is taken back after the new one, as Linux does when it drops a name.
        let new = self.c.open(&m.name, O_RDWR | cut).unwrap();
        self.c.forget(m.file.node, 1);
        m.file = new;
        if cut != 0 {
            m.data.clear();
        }
    }

    fn rename(&mut self, which: usize) {
        let m = &mut self.files[which];
        self.names += 1;
        let new = format!("{}{}", m.name.as_bytes()[0] as char, self.names);
        match self.r.below(3) {
            0 => self.c.rename((ROOT, m.name.as_bytes()), (ROOT, new.as_bytes())).unwrap(),
            1 => self.c.rename_with((ROOT, m.name.as_bytes()), (ROOT, new.as_bytes()), 1).unwrap(),
            // A second name, and the first goes.
            _ => {
                assert_eq!(self.c.link(m.file.node, ROOT, new.as_bytes()).unwrap().0, m.file.node);
                self.c.forget(m.file.node, 1);
                self.c.unlink(ROOT, m.name.as_bytes()).unwrap();
            }
        }
        m.name = new;
    }

    fn step(&mut self) {
        let which = self.r.below(2);
        let what = match self.r.below(if self.extended { 100 } else { 76 }) {
            0..20 => ("read", self.read(which)),
            20..42 => ("write", self.write(which, false, 0)),
            42..48 => ("append", self.write(which, true, 0)),
            48..54 => ("write back", self.write(which, false, 1)),
            54..62 => ("truncate", self.truncate(which)),
            62..66 => ("seek", self.seek(which)),
            66..70 => ("reopen", self.reopen(which)),
            70..73 => ("rename", self.rename(which)),
            73..76 => {
                let m = &self.files[which];
                ("size", assert_eq!(self.c.attr(m.file.node).unwrap().size, m.data.len() as u64))
            }
            76..80 => ("allocate", self.allocate(which, 0)),
            80..82 => ("allocate behind the end", self.allocate(which, 1)),
            82..88 => ("punch", self.allocate(which, 3)),
            88..90 => ("zero", self.allocate(which, if self.zeroes { 0x11 } else { 3 })),
            90..92 => ("zero and grow", self.allocate(which, if self.zeroes { 0x10 } else { 0 })),
            _ => ("copy", self.copy()),
        };
        *self.done.entry(what.0).or_default() += 1;
    }

    /// The host's view, past the server.
    fn check(&self) {
        for m in &self.files {
            let host = std::fs::read(self.c.at(&m.name)).unwrap();
            let differ = (0..host.len().max(m.data.len())).find(|&i| host.get(i) != m.data.get(i));
            assert_eq!(differ, None, "{}: {} bytes, {} expected", m.name, host.len(), m.data.len());
        }
    }
}

#[test]
fn random_operations_match_a_model() {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")),
        Err(_) => default,
    };
    let (count, seed) = (number("FORELIFT_FSX_OPS", 20_000), number("FORELIFT_FSX_SEED", 1));
    let mut run = Run::new(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
    for i in 0..count {
        run.step();
        if i % 500 == 0 {
            run.check();
        }
    }
    run.check();
    assert_eq!(run.done.values().sum::<u64>(), count);
    assert!(count < 1000 || run.done.len() == if run.extended { 15 } else { 9 }, "{:?}", run.done);
    println!("{count} operations, seed {seed}: {:?}", run.done);
}
