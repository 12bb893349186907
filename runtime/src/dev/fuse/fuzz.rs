//! Arbitrary bytes through the server: the body of a cargo-fuzz target, and of a test that needs no fuzzer.
//!
//! The input is a row of messages, each a length byte and that many bytes: operation, node, then body. The
//! header is put in front, because a fuzzer would spend its life on getting it right. A length byte of 255
//! takes the rest of the input as one raw message, header included. The server serves a file system in memory
//! that holds a few files.
//!
//! What is checked: every reply fits, tells its own length, carries the request's number, and is an answer or
//! an error that Linux takes (-1 to -4095); and when the client has closed and forgotten everything, nothing
//! is left.

use super::fs::{Backend, Open};
use super::fs_mem::MemFs;
use super::server::Server;
use super::wire::{self, IN_HEADER, OUT_HEADER, op};

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
    let mut reply = [0xa5; ROOM];
    let len = server.handle(message, &mut reply);
    let word = |bytes: &[u8], at: usize| bytes[at..at + 4].try_into().map(u32::from_le_bytes).unwrap_or(0);
    let silent = message.len() < IN_HEADER
        || matches!(word(message, 4), op::FORGET | op::BATCH_FORGET | op::INTERRUPT);
    if silent {
        assert_eq!(len, 0, "an answer to what has none");
        return;
    }
    assert!((OUT_HEADER..=ROOM).contains(&len), "reply of {len} bytes");
    assert_eq!(word(&reply, 0) as usize, len, "the reply's own length");
    assert_eq!(reply[8..16], message[8..16], "the reply's number");
    let error = word(&reply, 4) as i32;
    assert!((-4095..=0).contains(&error), "error {error}");
    assert!(error == 0 || len == OUT_HEADER, "an error with a body");
}

/// Runs one input; panics when the server does or when a check fails.
pub fn fuzz_one(data: &[u8]) {
    let mut server = server();
    let init = [7, 0, 0, 0, 41, 0, 0, 0, 0, 0, 2, 0, 0xff, 0xff, 0xff, 0xff];
    let mut count = 1;
    send(&mut server, &wire::request(op::INIT, count, 0, &init));
    let mut rest = data;
    while let Some((&len, tail)) = rest.split_first() {
        count += 1;
        if len == 255 {
            send(&mut server, tail);
            break;
        }
        let (now, later) = tail.split_at(usize::from(len).min(tail.len()));
        if let [opcode, node, body @ ..] = now {
            send(&mut server, &wire::request(u32::from(*opcode), count, u64::from(*node), body));
        }
        rest = later;
    }
    // A request opens no more than one file, and finds no more than one node; both are numbered from 2 on.
    for number in 1..count + 2 {
        send(&mut server, &wire::request(op::RELEASE, number, 1, &number.to_le_bytes()));
        send(&mut server, &wire::request(op::RELEASEDIR, number, 1, &number.to_le_bytes()));
        send(&mut server, &wire::request(op::FORGET, number, number, &u64::MAX.to_le_bytes()));
    }
    assert_eq!((server.handles.len(), server.handles.listed), (0, 0), "open files, bytes of listings");
    assert_eq!(server.nodes.len(), 1, "nodes");
    send(&mut server, &wire::request(op::DESTROY, 1, 0, &[]));
    assert_eq!((server.handles.len(), server.nodes.len()), (0, 1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::fuse::fs::Target;
    use crate::dev::fuse::testing::Random;

    const NAMES: [&[u8]; 12] =
        [b"a", b"b", b"f", b"l", b"..", b".", b"", b"a/b", b"x\0", b"new", b"other", &[b'n'; 90]];

    /// A body of roughly the right form: a few small numbers, names that mean something.
    fn body(r: &mut Random) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..r.below(9) {
            match r.below(8) {
                0..=2 => out.extend((r.below(6) as u64).to_le_bytes()),
                3 => out.extend((r.below(3) as u32).to_le_bytes()),
                4 | 5 => {
                    out.extend_from_slice(NAMES[r.below(NAMES.len())]);
                    out.push(0);
                }
                6 => out.extend([0xa4, 0x81, 0, 0]),
                _ => out.extend([0, 0, r.below(256) as u8, 0, 0, 0, 0, 0]),
            }
        }
        out.extend(std::iter::repeat_n(0, r.below(70)));
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
        let mut r = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..2000 {
            let mut input = Vec::new();
            for _ in 0..100 {
                let mut opcode = 1 + r.below(53) as u8;
                // Not too often what ends everything.
                if matches!(u32::from(opcode), op::INIT | op::DESTROY) && r.below(8) != 0 {
                    opcode = op::LOOKUP as u8;
                }
                let body = match u32::from(opcode) {
                    op::LOOKUP => [NAMES[r.below(4)], b"\0"].concat(),
                    _ => body(&mut r),
                };
                let body = &body[..body.len().min(250)];
                input.extend([2 + body.len() as u8, opcode, 1 + r.below(6) as u8]);
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

    #[test]
    fn a_whole_message_is_taken_raw() {
        let mut input = vec![255];
        input.extend(wire::request(op::LOOKUP, 77, 1, b"a\0"));
        fuzz_one(&input);
        fuzz_one(&input[..20]);
    }
}
