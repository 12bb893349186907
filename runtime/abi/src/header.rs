//! The image header: a fixed-width table at an exported address of the runtime's memory, filled in by the
//! packer.
//!
//! The runtime exports the address of a [`SIZE`]-byte block as [`EXPORT`]. In a bare runtime the block is
//! zero. The packer overwrites it with an encoded [`ImageHeader`] and places the parts it names in linear
//! memory after the runtime's own. All numbers are little-endian. The header is untrusted input:
//! [`ImageHeader::parse`] checks all of it.

use thiserror::Error;

/// Name of the exported global that holds the block's address.
pub const EXPORT: &str = "forelift_image_header";
/// Size of the block in bytes.
pub const SIZE: usize = 256;
/// First bytes of the block.
pub const MAGIC: [u8; 8] = *b"FORELIFT";
/// Version of the layout below and of everything that it points to.
pub const VERSION: u32 = 3;

/// A range of the module's linear memory (or of a buffer, when a module is read natively), in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub addr: u64,
    /// Length in bytes; 0 means absent.
    pub len: u64,
}

impl Span {
    /// One past the last byte.
    pub fn end(self) -> u64 {
        self.addr + self.len
    }
}

/// Where the packer placed what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageHeader {
    /// Guest RAM; aligned to 64 KiB. Holds the snapshot's pages, or zeros.
    pub ram: Span,
    /// Root file system image (EROFS), shown to the guest as a virtio block device; aligned to 64 KiB, padded
    /// to 2 MiB.
    pub root: Span,
    /// Encoded machine state of the snapshot (see `forelift_runtime::snapshot`); absent without one.
    pub state: Span,
    /// [`ImageConfig`](crate::config::ImageConfig) in postcard.
    pub config: Span,
    /// Kernel `Image`; present only without a snapshot.
    pub kernel: Span,
    /// Initial RAM file system (cpio); present only without a snapshot.
    pub initrd: Span,
    /// Room for the data TLB, whose address lifted code knows (see
    /// [`lift::dtlb_bytes`](crate::lift::dtlb_bytes)); aligned to 64 KiB.
    pub tlb: Span,
    /// Index of the lifted code: a [`lift::Index`](crate::lift::Index) in postcard; absent when nothing is
    /// lifted.
    pub lifted: Span,
    /// Length in bytes of a root file system that is not in memory, but behind
    /// [`ROOT_FD`](crate::embed::ROOT_FD); 0 for one that is, as `root`.
    pub root_outside: u64,
}

/// Why an image header was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// The block holds zeros: a runtime without an image.
    #[error("this runtime holds no image: it is made into one by `forelift convert`")]
    Empty,
    /// The block does not start with [`MAGIC`].
    #[error("image header: bad magic: the file is damaged: convert the image again")]
    Magic,
    /// The layout's version is not this build's.
    #[error("image header: version {found}, this build reads {VERSION}: convert the image again")]
    Version {
        /// Version in the block.
        found: u32,
    },
    /// The block is shorter than [`SIZE`].
    #[error("image header: {found} bytes, {SIZE} expected")]
    Truncated {
        /// Bytes given.
        found: usize,
    },
    /// The checksum does not match.
    #[error("image header: checksum mismatch: the file is damaged: convert the image again")]
    Checksum,
    /// A part lies outside memory or is misaligned.
    #[error(
        "image header: part `{part}` at {addr:#x}+{len:#x} is outside of memory or misaligned: convert the image again"
    )]
    Part {
        /// Name of the field.
        part: &'static str,
        /// Its address.
        addr: u64,
        /// Its length.
        len: u64,
    },
}

/// FNV-1a, 64 bits: a checksum against accidents, not against malice.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

const PARTS: usize = 8;
const OUTSIDE: usize = 16 + PARTS * 16;
const BODY: usize = OUTSIDE + 8;

impl ImageHeader {
    fn parts(&self) -> [(&'static str, Span); PARTS] {
        [
            ("ram", self.ram),
            ("root", self.root),
            ("state", self.state),
            ("config", self.config),
            ("kernel", self.kernel),
            ("initrd", self.initrd),
            ("tlb", self.tlb),
            ("lifted", self.lifted),
        ]
    }

    /// Encodes the header into a block.
    pub fn encode(&self) -> [u8; SIZE] {
        let mut out = [0u8; SIZE];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        for (i, (_, span)) in self.parts().into_iter().enumerate() {
            out[16 + i * 16..][..8].copy_from_slice(&span.addr.to_le_bytes());
            out[24 + i * 16..][..8].copy_from_slice(&span.len.to_le_bytes());
        }
        out[OUTSIDE..BODY].copy_from_slice(&self.root_outside.to_le_bytes());
        let sum = checksum(&out[..BODY]);
        out[BODY..BODY + 8].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a block; `memory_size` is the size in bytes of the memory that the parts must lie in.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn parse(block: &[u8], memory_size: u64) -> Result<Self, HeaderError> {
        if block.len() < SIZE {
            return Err(HeaderError::Truncated { found: block.len() });
        }
        let block = &block[..SIZE];
        if block.iter().all(|&b| b == 0) {
            return Err(HeaderError::Empty);
        }
        if block[..8] != MAGIC {
            return Err(HeaderError::Magic);
        }
        let found = u32::from_le_bytes([block[8], block[9], block[10], block[11]]);
        if found != VERSION {
            return Err(HeaderError::Version { found });
        }
        let word = |at: usize| {
            let mut b = [0u8; 8];
            b.copy_from_slice(&block[at..at + 8]);
            u64::from_le_bytes(b)
        };
        if word(BODY) != checksum(&block[..BODY]) {
            return Err(HeaderError::Checksum);
        }
        let span = |i: usize| Span { addr: word(16 + i * 16), len: word(24 + i * 16) };
        let header = ImageHeader {
            ram: span(0),
            root: span(1),
            state: span(2),
            config: span(3),
            kernel: span(4),
            initrd: span(5),
            tlb: span(6),
            lifted: span(7),
            root_outside: word(OUTSIDE),
        };
        for (part, Span { addr, len }) in header.parts() {
            let inside = addr.checked_add(len).is_some_and(|end| end <= memory_size);
            let aligned = !matches!(part, "ram" | "root" | "tlb") || addr.is_multiple_of(0x1_0000);
            if !inside || !aligned {
                return Err(HeaderError::Part { part, addr, len });
            }
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ImageHeader {
        let span = |addr, len| Span { addr, len };
        ImageHeader {
            ram: span(0x20_0000, 0x800_0000),
            root: span(0xa0_0000, 0x20_0000),
            state: span(0x10_0000, 77),
            config: span(0x10_1000, 5),
            kernel: Span::default(),
            initrd: Span::default(),
            tlb: span(0xc0_0000, 0x1_0000),
            lifted: span(0xd0_0000, 9),
            root_outside: 0x4000_0000,
        }
    }

    #[test]
    fn round_trip() {
        let header = sample();
        assert_eq!(ImageHeader::parse(&header.encode(), 0x1000_0000), Ok(header));
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let good = sample().encode();
        for at in (0..12).chain(16..BODY + 8) {
            let mut bad = good;
            bad[at] ^= 0x40;
            assert!(ImageHeader::parse(&bad, 0x1000_0000).is_err(), "byte {at}");
        }
    }

    #[test]
    fn parts_must_lie_in_memory() {
        assert!(matches!(
            ImageHeader::parse(&sample().encode(), 0x100_0000),
            Err(HeaderError::Part { part: "ram", .. })
        ));
        assert_eq!(ImageHeader::parse(&[0; SIZE], 1), Err(HeaderError::Empty));
        assert_eq!(ImageHeader::parse(&[0; 3], 1), Err(HeaderError::Truncated { found: 3 }));
    }
}
