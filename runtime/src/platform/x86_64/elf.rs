//! Reads the segments of a 64-bit ELF executable (System V gABI, chapters 4 and 5), from untrusted bytes.

/// What has to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable<'a> {
    /// Entry point.
    pub entry: u64,
    /// Segments, in the order of the file.
    pub segments: Vec<Segment<'a>>,
}

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Physical address.
    pub address: u64,
    /// Its first bytes; the rest is zero.
    pub data: &'a [u8],
    /// Its size in memory, not less than its data's.
    pub size: u64,
}

impl Executable<'_> {
    /// Where the last segment ends; 0 without any.
    pub fn end(&self) -> u64 {
        self.segments.iter().map(|s| s.address.saturating_add(s.size)).max().unwrap_or(0)
    }
}

pub(super) const EM_X86_64: u16 = 62;
pub(super) const ET_EXEC: u16 = 2;
pub(super) const PT_LOAD: u32 = 1;
pub(super) const PROGRAM_HEADER: usize = 56;
/// Largest address and size that is taken: there is never so much RAM.
const MAX: u64 = 1 << 32;
/// Most program headers.
const MAX_HEADERS: usize = 64;

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// Reads an executable for x86-64.
///
/// # Errors
/// What is wrong with it.
pub fn parse(file: &[u8]) -> Result<Executable<'_>, &'static str> {
    // 64 bits, little-endian, version 1.
    if array(file, 0) != Some(*b"\x7fELF\x02\x01\x01") {
        return Err("no 64-bit ELF file");
    }
    if half(file, 16) != Some(ET_EXEC) || half(file, 18) != Some(EM_X86_64) {
        return Err("no executable for x86-64");
    }
    let header = || Some((long(file, 24)?, long(file, 32)?, half(file, 54)?, half(file, 56)?));
    let (entry, table, size, count) = header().ok_or("shorter than its header")?;
    let (table, count) = (usize::try_from(table).unwrap_or(usize::MAX), usize::from(count));
    if usize::from(size) != PROGRAM_HEADER || count > MAX_HEADERS {
        return Err("its program headers are none");
    }
    let mut segments = Vec::new();
    for n in 0..count {
        let header = table
            .checked_add(n * PROGRAM_HEADER)
            .and_then(|at| array::<PROGRAM_HEADER>(file, at))
            .ok_or("its program headers are outside of the file")?;
        let field = |at| long(&header, at).unwrap_or(0);
        if word(&header, 0) != Some(PT_LOAD) {
            continue;
        }
        let (offset, address, len, size) = (field(8), field(24), field(32), field(40));
        let data = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(len).ok())
            .and_then(|(offset, len)| file.get(offset..offset.checked_add(len)?))
            .ok_or("a segment is outside of the file")?;
        if len > size || address > MAX || size > MAX {
            return Err("a segment is outside of memory");
        }
        segments.push(Segment { address, data, size });
    }
    // The entry is a physical address, as the 64-bit boot protocol wants it.
    if !segments.iter().any(|s| entry.wrapping_sub(s.address) < s.size) {
        return Err("its entry point is in none of its segments");
    }
    Ok(Executable { entry, segments })
}

#[cfg(test)]
mod tests {
    use super::super::testing::executable;
    use super::*;

    #[test]
    fn segments_and_entry() {
        let file = executable(0x10_0004, 0x10_0000, b"code and data", 0x5000);
        let parsed = parse(&file).unwrap();
        assert_eq!((parsed.entry, parsed.end()), (0x10_0004, 0x10_5000));
        assert_eq!(parsed.segments, [Segment { address: 0x10_0000, data: b"code and data", size: 0x5000 }]);
    }

    #[test]
    fn hostile_files_are_refused() {
        let good = executable(0x10_0000, 0x10_0000, &[0x90; 100], 0x1000);
        assert!(parse(&good).is_ok());
        for cut in 0..good.len() {
            assert!(parse(&good[..cut]).is_err(), "{cut}");
        }
        for (at, bytes, why) in [
            (4, &[1][..], "no 64-bit"),
            (16, &[3], "no executable"),
            (18, &[0xf3], "no executable"),
            (24, &[0; 8], "entry point"),
            (32, &[0xff; 8], "headers are outside"),
            (32, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "headers are outside"),
            (54, &[0x20], "headers are none"),
            (56, &[3], "headers are outside"),
            (56, &[0], "entry point"),
            (56, &[0xff, 0xff], "headers are none"),
            (64, &[6], "entry point"),
            (72, &[0xff; 8], "outside of the file"),
            (88, &[0xff; 8], "outside of memory"),
            (96, &[0xff; 8], "outside of the file"),
            (96, &[101], "outside of the file"),
            (104, &[99, 0], "outside of memory"),
            (104, &[0xff; 8], "outside of memory"),
        ] {
            let mut bad = good.clone();
            bad[at..at + bytes.len()].copy_from_slice(bytes);
            let error = parse(&bad).unwrap_err();
            assert!(error.contains(why), "{at} {bytes:?}: {error}");
        }
    }
}
