//! Readers that count, hash and decompress a stream, within a limit.

use super::Progress;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256, Sha512};
use std::{
    cell::RefCell,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};
use thiserror::Error;

/// Bytes read ahead of a decompressor.
const BUFFER: usize = 1 << 17;

/// A digest being computed.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// The hasher for a digest such as `sha256:...`; `None` when that is no well-formed digest of a known
    /// algorithm.
    pub(crate) fn of(digest: &str) -> Option<Self> {
        let (algorithm, hex) = digest.split_once(':')?;
        let (hasher, len) = match algorithm {
            "sha256" => (Hasher::Sha256(Sha256::new()), 64),
            "sha512" => (Hasher::Sha512(Sha512::new()), 128),
            _ => return None,
        };
        let good = hex.len() == len && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        good.then_some(hasher)
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        match self {
            Hasher::Sha256(h) => h.update(data),
            Hasher::Sha512(h) => h.update(data),
        }
    }

    pub(crate) fn finish(self) -> String {
        match self {
            Hasher::Sha256(h) => hex_digest("sha256", &h.finalize()),
            Hasher::Sha512(h) => hex_digest("sha512", &h.finalize()),
        }
    }
}

/// `algorithm:` and the bytes in hexadecimal.
pub(crate) fn hex_digest(algorithm: &str, bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(format!("{algorithm}:"), |mut text, b| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{b:02x}");
        text
    })
}

/// The digest of `data`, by the algorithm of the digest `like`.
pub(crate) fn digest_of(like: &str, data: &[u8]) -> Option<String> {
    let mut hasher = Hasher::of(like)?;
    hasher.update(data);
    Some(hasher.finish())
}

struct Raw<'a> {
    reader: Box<dyn Read + 'a>,
    hasher: Option<Hasher>,
    bytes: u64,
    progress: &'a mut dyn Progress,
}

/// Reads the stored (compressed) form of a blob; counts, hashes and reports its bytes. Clones share one
/// position, so that the rest can be read, and the digest taken, while a decompressor owns a clone.
#[derive(Clone)]
pub(crate) struct Stored<'a>(Rc<RefCell<Raw<'a>>>);

impl<'a> Stored<'a> {
    pub(crate) fn new(
        reader: Box<dyn Read + 'a>,
        hasher: Option<Hasher>,
        progress: &'a mut dyn Progress,
    ) -> Self {
        Stored(Rc::new(RefCell::new(Raw { reader, hasher, bytes: 0, progress })))
    }

    /// Reads to the end; returns the number of all bytes and their digest.
    pub(crate) fn finish(mut self) -> io::Result<(u64, Option<String>)> {
        let mut buffer = vec![0; BUFFER];
        while self.read(&mut buffer)? > 0 {}
        let mut raw = self.0.borrow_mut();
        Ok((raw.bytes, raw.hasher.take().map(Hasher::finish)))
    }
}

impl Read for Stored<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let raw = &mut *self.0.borrow_mut();
        let n = raw.reader.read(out)?;
        if let Some(hasher) = &mut raw.hasher {
            hasher.update(&out[..n]);
        }
        raw.bytes += n as u64;
        raw.progress.advance(n as u64);
        Ok(n)
    }
}

/// How an archive is compressed. Recognised by its first bytes, as docker does, because media types are often
/// wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Gzip,
    Zstd,
}

impl Codec {
    /// Recognises a compression by its magic number (RFC 1952 2.3.1; RFC 8878 3.1.1 and 3.1.2).
    pub(crate) fn sniff(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Codec::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Codec::Zstd,
            _ => Codec::None,
        }
    }
}

/// The name of a compression that is recognised but not supported.
fn foreign(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xfd, b'7', b'z', b'X'] => Some("xz"),
        [b'B', b'Z', b'h', b'1'..=b'9'] => Some("bzip2"),
        [0x04, 0x22, 0x4d, 0x18] => Some("lz4"),
        _ => None,
    }
}

/// Opens an archive for reading, whatever it is compressed with.
pub(crate) fn decompress<'a>(reader: impl Read + 'a) -> io::Result<(Codec, Box<dyn Read + 'a>)> {
    let mut buffered = BufReader::with_capacity(BUFFER, reader);
    // A fill_buf may return fewer than the four bytes of a magic number, so these are read first.
    let mut start = Vec::with_capacity(4);
    while start.len() < 4 {
        let mut byte = [0];
        if buffered.read(&mut byte)? == 0 {
            break;
        }
        start.push(byte[0]);
    }
    if let Some(name) = foreign(&start) {
        let problem = format!(
            "it is compressed by {name}, and only gzip and zstd are read: compress it anew (`{name} -dc FILE | zstd`)"
        );
        return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
    }
    let codec = Codec::sniff(&start);
    let whole = io::Cursor::new(start).chain(buffered);
    Ok((
        codec,
        match codec {
            Codec::None => Box::new(whole),
            Codec::Gzip => Box::new(Gzip(MultiGzDecoder::new(whole))),
            Codec::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(whole)?),
        },
    ))
}

/// Multi-member gzip. Its errors say that it was gzip that failed, which flate2's own do not.
struct Gzip<R>(MultiGzDecoder<R>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out).map_err(|e| io::Error::new(e.kind(), format!("gzip: {e}")))
    }
}

/// Most blocks of zeros that may be missing at an archive's end; tar pads archives to 20.
const PADDING: usize = 128;

/// Whether an archive has the digest `expected`. The padding after its end mark may be missing: the writer of
/// `zstd:chunked` in skopeo, podman and buildah of 2022 drops it.
pub(crate) fn is_archive(mut hasher: Hasher, expected: &str) -> bool {
    for _ in 0..=PADDING {
        if hasher.clone().finish() == expected {
            return true;
        }
        hasher.update(&[0; 512]);
    }
    false
}

/// The error of a stream that exceeds its limit.
#[derive(Clone, Copy, Debug, Error)]
#[error("longer than {0} bytes")]
pub(crate) struct TooLong(pub(crate) u64);

/// Reads the unpacked form of an archive; counts and hashes its bytes, and fails beyond a limit.
pub(crate) struct Unpacked<R> {
    inner: R,
    hasher: Option<Hasher>,
    left: u64,
    limit: u64,
}

impl<R: Read> Unpacked<R> {
    pub(crate) fn new(inner: R, hasher: Option<Hasher>, limit: u64) -> Self {
        Unpacked { inner, hasher, left: limit, limit }
    }

    /// Reads what follows the archive's end mark; returns the hasher of all bytes.
    pub(crate) fn finish(mut self) -> io::Result<Option<Hasher>> {
        if self.hasher.is_some() {
            let mut buffer = vec![0; BUFFER];
            while self.read(&mut buffer)? > 0 {}
        }
        Ok(self.hasher)
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| io::Error::other(TooLong(self.limit)))?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..n]);
        }
        Ok(n)
    }
}
