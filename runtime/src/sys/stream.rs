//! The machine's packets on a stream of frames: what `--net-stream fd:N` of an image's own arguments is, on
//! runtimes with nothing but WASI preview 1. The stream must not block; what it does not take at once, and
//! what it gives beyond whole frames, waits in bounded buffers ([`Frames`]).

use std::io::{Read, Write};

use forelift_abi::net::{HEADER, Header, LENGTH};
use forelift_net::frames::{Frames, StreamEnd};

/// Packets, each behind its length ([`forelift_abi::net`]), from and to a stream. When the stream ends, the
/// cable is out: nothing comes any more, and what is sent is lost.
#[derive(Debug)]
pub(super) struct PacketStream<S> {
    stream: S,
    frames: Frames,
    /// Why it has ended.
    end: Option<StreamEnd>,
    /// One packet, whose pieces were apart.
    packet: Vec<u8>,
}

impl<S: Read + Write> PacketStream<S> {
    pub(super) fn new(stream: S) -> Self {
        PacketStream { stream, frames: Frames::default(), end: None, packet: Vec::new() }
    }

    /// What a step gave; nothing, when the stream has ended by it.
    fn or_end<T: Default>(&mut self, result: Result<T, StreamEnd>) -> T {
        result.unwrap_or_else(|end| {
            self.end = Some(end);
            T::default()
        })
    }

    /// Writes what the stream takes of what waits.
    pub(super) fn flush(&mut self) {
        if self.has_pending() {
            let result = self.frames.flush(&mut self.stream);
            self.or_end(result);
        }
    }

    /// Frames wait for the stream.
    pub(super) fn has_pending(&self) -> bool {
        self.is_open() && self.frames.pending() > 0
    }

    /// A packet would be taken.
    pub(super) fn has_room(&self) -> bool {
        !self.is_open() || !self.frames.is_full()
    }

    /// More packets may come from the stream than those that [`has_packet`](Self::has_packet) knows of.
    pub(super) fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// Why the stream has ended, when it has.
    pub(super) fn end(&self) -> Option<&StreamEnd> {
        self.end.as_ref()
    }

    /// A packet is there already.
    pub(super) fn has_packet(&self) -> bool {
        self.is_open() && !matches!(self.frames.first(), Ok(None))
    }

    /// Takes as many whole packets of `pieces` as there is room for; gives the number of their bytes.
    pub(super) fn send(&mut self, pieces: &[&[u8]]) -> usize {
        let mut rest = Pieces { pieces, at: 0 };
        let mut taken = 0;
        loop {
            if !self.has_room() {
                self.flush();
            }
            if !self.is_open() {
                return pieces.iter().map(|piece| piece.len()).sum();
            }
            if !self.has_room() {
                break;
            }
            self.packet.clear();
            rest.take(LENGTH, &mut self.packet);
            let Some(length) = self.packet.first_chunk().map(|word| u32::from_be_bytes(*word) as usize)
            else {
                break;
            };
            self.packet.clear();
            rest.take(length, &mut self.packet);
            taken += LENGTH + self.packet.len();
            self.frames.put(&self.packet);
        }
        self.flush();
        taken
    }

    /// Fills the beginning of `buffer` with packets, as many as there are and fit; gives the number of bytes.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> usize {
        self.flush();
        let mut at = 0;
        while self.is_open() {
            match self.frames.first() {
                Ok(Some(frame)) => {
                    let Some(end) = put(buffer, at, frame) else { break };
                    at = end;
                    self.frames.drop_first();
                }
                // What the stream has besides is for the next call.
                Ok(None) if at > 0 => break,
                Ok(None) => {
                    let result = self.frames.fill(&mut self.stream);
                    if !self.or_end(result) {
                        break;
                    }
                }
                Err(end) => self.end = Some(end),
            }
        }
        at
    }
}

/// Puts the packet that a frame is into `buffer`, from `at` on. Where it ends; `None` when there is no room.
fn put(buffer: &mut [u8], at: usize, frame: &[u8]) -> Option<usize> {
    let length = HEADER + frame.len();
    let (word, packet) = buffer.get_mut(at..at + LENGTH + length)?.split_at_mut(LENGTH);
    word.copy_from_slice(&(length as u32).to_be_bytes());
    let (header, body) = packet.split_at_mut(HEADER);
    header.copy_from_slice(&Header::default().encode());
    body.copy_from_slice(frame);
    Some(at + LENGTH + length)
}

/// Bytes that lie in several places.
struct Pieces<'a> {
    pieces: &'a [&'a [u8]],
    /// Bytes of the first that are taken.
    at: usize,
}

impl Pieces<'_> {
    /// Appends the next `length` bytes, or all that there are.
    fn take(&mut self, mut length: usize, into: &mut Vec<u8>) {
        while let Some((first, others)) = self.pieces.split_first()
            && length > 0
        {
            let rest = &first[self.at..];
            let part = &rest[..length.min(rest.len())];
            into.extend_from_slice(part);
            length -= part.len();
            self.at += part.len();
            if self.at == first.len() {
                (self.pieces, self.at) = (others, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forelift_abi::net::{F_NEEDS_CSUM, MAX_PACKET, first_packet};
    use std::io::{self, ErrorKind};

    /// A stream in memory.
    #[derive(Debug, Default)]
    struct Fake {
        incoming: Vec<u8>,
        outgoing: Vec<u8>,
        /// Bytes that a call moves at most.
        step: usize,
        /// Bytes that can still be written.
        space: usize,
        closed: bool,
    }

    impl Read for Fake {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.incoming.len().min(into.len()).min(self.step);
            if length == 0 && !self.closed {
                return Err(ErrorKind::WouldBlock.into());
            }
            into[..length].copy_from_slice(&self.incoming[..length]);
            self.incoming.drain(..length);
            Ok(length)
        }
    }

    impl Write for Fake {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            let length = from.len().min(self.space).min(self.step);
            if self.closed {
                return Err(ErrorKind::BrokenPipe.into());
            }
            if length == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.space -= length;
            self.outgoing.extend_from_slice(&from[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stream(step: usize, space: usize) -> PacketStream<Fake> {
        PacketStream::new(Fake { step, space, ..Fake::default() })
    }

    fn framed(frame: &[u8]) -> Vec<u8> {
        [&(frame.len() as u32).to_be_bytes(), frame].concat()
    }

    /// A packet behind its length.
    fn packet(header: Header, frame: &[u8]) -> Vec<u8> {
        framed(&[&header.encode(), frame].concat())
    }

    #[test]
    fn packets_become_frames_with_their_checksums() {
        let mut link = stream(1, 1000);
        let plain = packet(Header::default(), b"a frame that is complete");
        let sum = Header { flags: F_NEEDS_CSUM, csum_start: 0, csum_offset: 4, ..Header::default() };
        let all = [plain, packet(sum, &[1, 2, 3, 4, 0, 0])].concat();
        // In pieces that have nothing to do with the packets.
        let pieces: Vec<&[u8]> = all.chunks(5).collect();
        assert_eq!(link.send(&pieces), all.len());
        let expected = [framed(b"a frame that is complete"), framed(&[1, 2, 3, 4, 0xfb, 0xf9])].concat();
        assert_eq!(link.stream.outgoing, expected);
        assert!(!link.has_pending());
    }

    #[test]
    fn what_the_stream_does_not_take_waits_and_then_the_sender() {
        let mut link = stream(1 << 20, 10);
        let one = packet(Header::default(), &[7; 60_000]);
        let mut sent = 0;
        while link.send(&[&one, &one]) == 2 * one.len() {
            sent += 2;
            assert!(sent < 100, "bounded");
        }
        assert!(!link.has_room() && link.has_pending());
        assert_eq!(link.send(&[&one]), 0);
        link.stream.space = 100_000;
        link.flush();
        assert!(link.has_room() && link.has_pending());
        link.stream.space = usize::MAX;
        assert_eq!(link.send(&[&one]), one.len());
        assert!(!link.has_pending());
        assert_eq!(link.stream.outgoing.len() % (4 + 60_000), 0);
    }

    #[test]
    fn frames_become_packets_as_many_as_fit() {
        for step in [1, 7, 1 << 20] {
            let mut link = stream(step, 0);
            link.stream.incoming = [framed(b"one"), framed(&[2; 50_000]), framed(b"three")].concat();
            let mut buffer = vec![0; LENGTH + MAX_PACKET];
            let (mut frames, mut calls) = (Vec::new(), 0);
            while frames.len() < 3 {
                calls += 1;
                assert!(calls < 10, "{frames:?}");
                let n = link.receive(&mut buffer);
                let mut rest = &buffer[..n];
                while let Some((packet, others)) = first_packet(rest) {
                    assert_eq!(packet[..HEADER], Header::default().encode());
                    frames.push(packet[HEADER..].to_vec());
                    rest = others;
                }
                assert!(rest.is_empty());
            }
            assert_eq!(frames, [b"one".to_vec(), vec![2; 50_000], b"three".to_vec()]);
            assert_eq!(link.receive(&mut buffer), 0);
            assert!(!link.has_packet() && link.is_open());
        }
        // What does not fit stays.
        let mut link = stream(1 << 20, 0);
        link.stream.incoming = [framed(b"one"), framed(b"two")].concat();
        let mut small = [0; LENGTH + HEADER + 5];
        assert_eq!(link.receive(&mut small), LENGTH + HEADER + 3);
        assert!(link.has_packet());
        assert_eq!(link.receive(&mut small), LENGTH + HEADER + 3);
        assert_eq!(small[LENGTH + HEADER..][..3], *b"two");
    }

    #[test]
    fn an_end_is_a_cable_that_is_out() {
        let one = packet(Header::default(), b"frame");
        for incoming in [Vec::new(), b"GET / HTTP/1.1\r\n".to_vec(), framed(b"cut")[..5].to_vec()] {
            let mut link = stream(1 << 20, 1 << 20);
            link.stream.closed = true;
            link.stream.incoming = incoming;
            assert_eq!(link.receive(&mut [0; 100]), 0);
            assert!(!link.is_open() && !link.has_pending() && !link.has_packet() && link.has_room());
            assert!(link.end().is_some_and(|why| !why.to_string().is_empty()));
            assert_eq!(link.send(&[&one, &one]), 2 * one.len());
            assert_eq!(link.receive(&mut [0; 100]), 0);
        }
        let mut link = stream(1 << 20, 1 << 20);
        link.stream.closed = true;
        assert_eq!(link.send(&[&one]), one.len());
        assert!(!link.is_open());
    }
}
