//! A stream of frames from a hostile peer, in pieces of any size, and packets with any header on their way to
//! it.

use forelift_abi::net::{LENGTH, MAX_FRAME};
use forelift_net::frames::{Frames, StreamEnd};
use std::io::{self, ErrorKind, Read, Write};

/// Gives bytes in pieces, the sizes of which are bytes of the input, and nothing now and then.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: &'a [u8],
    nth: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.get(self.nth % self.sizes.len().max(1)).map_or(1, |&size| usize::from(size));
        self.nth += 1;
        if size == 0 && self.nth.is_multiple_of(2) && !self.bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let (piece, rest) = self.bytes.split_at((size + 1).min(self.bytes.len()).min(into.len()));
        into[..piece.len()].copy_from_slice(piece);
        self.bytes = rest;
        Ok(piece.len())
    }
}

/// Takes everything.
#[derive(Default)]
struct Sink(Vec<u8>);

impl Write for Sink {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let length = from.len().min(1000);
        self.0.extend_from_slice(&from[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The frames of a stream that is there as a whole.
fn whole(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((word, rest)) = bytes.split_first_chunk::<LENGTH>()
        && let length = u32::from_be_bytes(*word) as usize
        && length <= MAX_FRAME
        && let Some(frame) = rest.get(..length)
    {
        frames.push(frame);
        bytes = &rest[length..];
    }
    frames
}

/// The target: what is read is what a reader of the whole stream finds, and what is written are frames.
pub fn run(data: &[u8]) {
    let (sizes, bytes) = data.split_at(data.len().min(8));
    let mut from = Pieces { bytes, sizes, nth: 0 };
    let (mut frames, mut found, mut sink) = (Frames::default(), Vec::new(), Sink::default());
    let end = loop {
        match frames.first() {
            Ok(Some(frame)) => {
                found.push(frame.to_vec());
                frames.drop_first();
            }
            Ok(None) => match frames.fill(&mut from) {
                Ok(_) => {}
                Err(end) => break end,
            },
            Err(end) => break end,
        }
    };
    assert!(!matches!(end, StreamEnd::Io(_)), "{end}");
    assert_eq!(found, whole(bytes));
    for packet in found {
        frames.put(&packet);
        assert!(frames.flush(&mut sink).is_ok_and(|all| all));
    }
    let written: usize = whole(&sink.0).iter().map(|frame| LENGTH + frame.len()).sum();
    assert_eq!(written, sink.0.len());
}
