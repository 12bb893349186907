//! Arbitrary bytes through the server: the body of a cargo-fuzz target, and of a test that needs no fuzzer.
//!
//! The input is a row of messages, each a length byte and that many bytes: type, then body; size and tag are put in front,
//! because a fuzzer would spend its life on getting them right. A length byte of 255 takes the rest of the input as one raw
//! message, header included. The server starts attached (fid 0) to a file system in memory that holds a few files.
//!
//! What is checked: every reply fits, tells its own length, carries the request's tag, and is the request's answer or an
//! error; and when all fids are gone, so are all names.

use super::fs::{Backend, Open};
use super::fs_mem::MemFs;
use super::server::Server;
use super::wire::HEADER;

/// Room for replies in bytes.
const ROOM: usize = 8192;

fn server() -> Server<MemFs> {
    let mut fs = MemFs::new();
    let how = Open { write: true, create: true, mode: 0o644, ..Open::default() };
    // The names are what a fuzzer finds quickly. That they can be made is asserted by the unit test below.
    let _ = fs.mkdir(b"a", 0o755);
    let _ = fs.mkdir(b"a/b", 0o755);
    let _ = fs.open(b"a/f", how);
    let _ = fs.symlink(b"/etc", b"l");
    Server::new(fs, false)
}

fn send(server: &mut Server<MemFs>, message: &[u8]) {
    let mut reply = [0u8; ROOM];
    let len = server.handle(message, &mut reply);
    if message.len() < HEADER {
        assert_eq!(len, 0, "an answer to nothing");
        return;
    }
    assert!((HEADER..=ROOM).contains(&len), "reply of {len} bytes");
    assert_eq!(reply[..4], (len as u32).to_le_bytes(), "the reply's own length");
    assert_eq!(reply[5..HEADER], message[5..HEADER], "the reply's tag");
    assert!(reply[4] == 7 || reply[4] == message[4].wrapping_add(1), "type {} for {}", reply[4], message[4]);
}

/// Puts a header before a body.
fn message(id: u8, body: &[u8]) -> Vec<u8> {
    let mut out = ((HEADER + body.len()) as u32).to_le_bytes().to_vec();
    out.extend([id, 1, 0]);
    out.extend_from_slice(body);
    out
}

/// Runs one input; panics when the server does or when a check fails.
pub fn fuzz_one(data: &[u8]) {
    let mut server = server();
    // Tversion with 8 KiB, Tattach of fid 0.
    send(&mut server, &message(100, b"\x00\x20\0\0\x08\x009P2000.L"));
    send(&mut server, &message(104, b"\0\0\0\0\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff"));
    let mut rest = data;
    while let Some((&len, tail)) = rest.split_first() {
        if len == 255 {
            send(&mut server, tail);
            break;
        }
        let (now, later) = tail.split_at(usize::from(len).min(tail.len()));
        if let Some((&id, body)) = now.split_first() {
            send(&mut server, &message(id, body));
        }
        rest = later;
    }
    server.check_all_released();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::p9::fs::Target;

    /// Xorshift: the same inputs each run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % n
        }
    }

    /// A body of roughly the right form: a few small fids, names that mean something, small numbers.
    fn body(r: &mut Random) -> Vec<u8> {
        const NAMES: [&[u8]; 12] =
            [b"a", b"b", b"f", b"l", b"..", b".", b"", b"a/b", b"x\0", b"new", b"other", &[b'n'; 90]];
        let mut out = Vec::new();
        for _ in 0..r.below(7) {
            match r.below(6) {
                0 | 1 => out.extend((r.below(5) as u32).to_le_bytes()),
                2 | 3 => {
                    let name = NAMES[r.below(NAMES.len())];
                    out.extend((name.len() as u16).to_le_bytes());
                    out.extend_from_slice(name);
                }
                4 => out.extend((r.below(3) as u16).to_le_bytes()),
                _ => out.extend([0, 0, r.below(256) as u8, 0, 0, 0, 0, 0]),
            }
        }
        out.extend(std::iter::repeat_n(0, r.below(20)));
        out
    }

    #[test]
    fn the_files_to_begin_with_are_there() {
        let mut s = server();
        for path in [&b"a/b"[..], b"a/f", b"l"] {
            assert!(s.backend.stat(Target::Path(path)).is_ok());
        }
    }

    #[test]
    fn random_sessions() {
        const TYPES: [u8; 28] = [
            8, 12, 14, 16, 18, 20, 22, 24, 26, 30, 32, 40, 50, 52, 54, 70, 72, 74, 76, 100, 102, 104, 108,
            110, 116, 118, 120, 122,
        ];
        let mut r = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..2000 {
            let mut input = Vec::new();
            for _ in 0..100 {
                let mut id = TYPES[r.below(TYPES.len())];
                if id == 100 && r.below(8) != 0 {
                    id = 110;
                }
                let body = body(&mut r);
                let body = &body[..body.len().min(253)];
                input.push(1 + body.len() as u8);
                input.push(id);
                input.extend_from_slice(body);
            }
            fuzz_one(&input);
        }
    }

    #[test]
    fn raw_bytes() {
        let mut r = Random(42);
        for _ in 0..20_000 {
            let input: Vec<u8> = (0..r.below(120)).map(|_| r.below(256) as u8).collect();
            fuzz_one(&input);
        }
    }
}
