//! The link as a stream of frames, each with its length before it as a big-endian word of 32 bits: what
//! QEMU's `-netdev stream`, passt and gvproxy speak. There are no virtio headers: checksums and segments are
//! made here. The stream is anything that reads and writes without blocking.

use crate::offload;
use forelift_abi::net::{self, LENGTH, MAX_FRAME};
use std::io::{self, ErrorKind, Read, Write};

/// Bytes for the other end beyond which no more packets should be put in.
const MOST: usize = 1 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// Why a stream has ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    /// Between two frames.
    #[error("the other end has closed the stream")]
    Closed,
    /// Within a frame.
    #[error("the other end has closed the stream within a frame")]
    Cut,
    /// What should be a length is none: nothing after it can be right.
    #[error(
        "a frame of {0} bytes is announced, more than {MAX_FRAME}: the other end does not speak QEMU's stream \
         framing (4 bytes of length, big-endian, before each frame)"
    )]
    TooLong(usize),
    /// The system says so.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StreamEnd {
    /// What a user is told of it, in one line.
    pub fn line(&self) -> String {
        format!("the container's link is down: --net-stream: {self}")
    }
}

/// Both ways of a stream, with what is on its way. Bounded: it holds at most a frame and a chunk of what is
/// read, and a packet more than is [full](Frames::is_full) of what is to be written.
#[derive(Debug, Default)]
pub struct Frames {
    /// What was read; `from..to` is to be looked at.
    input: Vec<u8>,
    from: usize,
    to: usize,
    /// Frames for the other end, of which `written` bytes are gone.
    output: Vec<u8>,
    written: usize,
    sent: u64,
}

impl Frames {
    /// The first frame that is there.
    ///
    /// # Errors
    /// When what comes next can be no frame.
    pub fn first(&self) -> Result<Option<&[u8]>, StreamEnd> {
        let Some((length, rest)) = self.input[self.from..self.to].split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        match u32::from_be_bytes(*length) as usize {
            length if length > MAX_FRAME => Err(StreamEnd::TooLong(length)),
            length => Ok(rest.get(..length)),
        }
    }

    /// Drops the frame that [`first`](Self::first) gives.
    pub fn drop_first(&mut self) {
        if let Ok(Some(frame)) = self.first() {
            self.from += LENGTH + frame.len();
        }
    }

    /// Reads once, to be called when there is no frame. Whether anything came; if not, there is nothing now.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn fill(&mut self, from: &mut impl Read) -> Result<bool, StreamEnd> {
        self.input.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        let held = self.to;
        if self.input.len() < held + CHUNK {
            self.input.resize(held + CHUNK, 0);
        }
        loop {
            match from.read(&mut self.input[held..held + CHUNK]) {
                Ok(0) if held == 0 => return Err(StreamEnd::Closed),
                Ok(0) => return Err(StreamEnd::Cut),
                Ok(length) => self.to += length.min(CHUNK),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            return Ok(true);
        }
    }

    /// Puts in the frames that a packet (header and frame) stands for: none, when its header does not fit to
    /// it.
    pub fn put(&mut self, packet: &[u8]) {
        let output = &mut self.output;
        offload::segment(packet, &mut |frame| {
            output.extend((frame.len() as u32).to_be_bytes());
            output.extend_from_slice(frame);
        });
    }

    /// Bytes that wait for the other end.
    pub fn pending(&self) -> usize {
        self.output.len() - self.written
    }

    /// No more packets should be put in now.
    pub fn is_full(&self) -> bool {
        self.pending() >= MOST
    }

    /// Bytes that the stream has taken so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Writes what the stream takes. Whether that is all.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn flush(&mut self, to: &mut impl Write) -> Result<bool, StreamEnd> {
        let done = loop {
            let rest = &self.output[self.written..];
            let result = if rest.is_empty() { to.flush().map(|()| 0) } else { to.write(rest) };
            match result {
                Ok(0) if rest.is_empty() => break true,
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(length) => {
                    self.written += length;
                    self.sent += length as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        if self.written == self.output.len() || self.written >= MOST / 2 {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(done)
    }
}

/// The packet that a frame is, without anything left to be done to it.
pub fn packet(frame: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(net::HEADER + frame.len());
    packet.extend(net::Header::default().encode());
    packet.extend_from_slice(frame);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives and takes a few bytes at a time, and nothing every other time.
    struct Slow {
        bytes: Vec<u8>,
        taken: Vec<u8>,
        step: usize,
        turn: bool,
    }

    impl Slow {
        fn new(bytes: Vec<u8>, step: usize) -> Self {
            Slow { bytes, taken: Vec::new(), step, turn: false }
        }

        fn blocks(&mut self) -> io::Result<()> {
            self.turn = !self.turn;
            if self.turn { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        }
    }

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.blocks()?;
            let length = self.step.min(into.len()).min(self.bytes.len());
            into[..length].copy_from_slice(&self.bytes[..length]);
            self.bytes.drain(..length);
            Ok(length)
        }
    }

    impl Write for Slow {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            self.blocks()?;
            let length = self.step.min(from.len());
            self.taken.extend_from_slice(&from[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stream(frames: &[&[u8]]) -> Vec<u8> {
        frames.iter().flat_map(|f| [&(f.len() as u32).to_be_bytes(), *f].concat()).collect()
    }

    fn read_all(bytes: Vec<u8>, step: usize) -> (Vec<Vec<u8>>, StreamEnd) {
        let (mut frames, mut from, mut found) = (Frames::default(), Slow::new(bytes, step), Vec::new());
        loop {
            match frames.first() {
                Ok(Some(frame)) => found.push(frame.to_vec()),
                Ok(None) => match frames.fill(&mut from) {
                    Ok(_) => continue,
                    Err(end) => return (found, end),
                },
                Err(end) => return (found, end),
            }
            frames.drop_first();
        }
    }

    #[test]
    fn frames_come_whole_whatever_the_pieces() {
        let long = vec![7; MAX_FRAME];
        let sent = [&b"one"[..], b"", &long, b"last"];
        for step in [1, 3, 4, 5, 1000, 1 << 20] {
            let (found, end) = read_all(stream(&sent), step);
            assert!(found == sent && matches!(end, StreamEnd::Closed), "{step}: {end}");
        }
        let mut cut = stream(&sent);
        cut.pop();
        let (found, end) = read_all(cut, 999);
        assert!(found == sent[..3] && matches!(end, StreamEnd::Cut), "{end}");
    }

    #[test]
    fn nonsense_ends_the_stream() {
        let (found, end) = read_all([stream(&[b"one"]), b"GET / HTTP/1.1".to_vec()].concat(), 6);
        assert_eq!(found, [b"one"]);
        assert!(end.to_string().contains("1195725856 bytes"), "{end}");
        let (_, end) = read_all((MAX_FRAME as u32 + 1).to_be_bytes().to_vec(), 4);
        assert!(matches!(end, StreamEnd::TooLong(length) if length == MAX_FRAME + 1));
    }

    #[test]
    fn what_is_not_taken_waits() {
        let (mut frames, mut to) = (Frames::default(), Slow::new(Vec::new(), 5));
        frames.put(&packet(b"a frame of some bytes"));
        // A header that does not fit stands for no frame.
        frames.put(&[0xff; 30]);
        frames.put(&packet(b"another"));
        assert_eq!((frames.pending(), frames.sent()), (36, 0));
        let mut rounds = 0;
        while !frames.flush(&mut to).unwrap() {
            rounds += 1;
        }
        assert!(rounds > 5 && frames.pending() == 0 && frames.sent() == 36);
        assert_eq!(to.taken, stream(&[b"a frame of some bytes", b"another"]));
        while !frames.is_full() {
            frames.put(&packet(&[0; 60000]));
        }
        assert!(frames.pending() < MOST + 60004);
    }
}
