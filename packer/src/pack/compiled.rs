//! A precompiled image: native code for this build of Forelift and this host's CPU, followed by the whole
//! `.wasm`.
//!
//! ```text
//! 0     magic, 8 bytes             32  offset of the code     64  FNV-1a of the bytes 0..64
//! 8     version, u32               40  length of the code
//! 12    0                          48  offset of the module, a multiple of 4096
//! 16    fold of the code           56  length of the module
//! ```
//! The native code is **trusted**: whoever can write such a file can run anything as its user. The checksums
//! find accidents, not malice. That is why a plain `.wasm` never carries native code.

use std::{io::Write, ops::Range};

use forelift_abi::header::checksum;
use thiserror::Error;

use super::memory::PAGE;

/// First bytes of the file.
pub const MAGIC: [u8; 8] = *b"\x7fFLCWASM";
/// Version of the layout above.
pub const VERSION: u32 = 1;
const HEAD: usize = 72;

/// Why a precompiled image was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CompiledError {
    /// Too short, or its parts lie outside of the file.
    #[error("damaged precompiled image: {0}: make it again from the .wasm, with `forelift compile`")]
    Damaged(&'static str),
    /// Another version.
    #[error(
        "precompiled image of version {0}, this build reads {VERSION}: make it again from the .wasm, with \
         `forelift compile`"
    )]
    Version(u32),
}

/// A checksum that is fast enough for megabytes in a start of milliseconds: four independent lanes of words,
/// each word multiplied in; at the end, the lanes and the length are combined by FNV-1a.
pub fn fold(bytes: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut lanes = [K, K ^ 1, K ^ 2, K ^ 3];
    let mut chunks = bytes.chunks_exact(32);
    for chunk in &mut chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk.chunks_exact(8)) {
            let mut b = [0u8; 8];
            b.copy_from_slice(word);
            *lane = (*lane ^ u64::from_le_bytes(b)).wrapping_mul(K).rotate_left(29);
        }
    }
    let mut last = chunks.remainder().to_vec();
    for word in lanes.into_iter().chain([bytes.len() as u64]) {
        last.extend_from_slice(&word.to_le_bytes());
    }
    checksum(&last)
}

/// Whether `bytes` begin with the magic number of a precompiled image.
pub fn is_compiled(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Writes a precompiled image.
///
/// # Errors
/// Those of `out`.
pub fn write(code: &[u8], module: &[u8], out: &mut impl Write) -> std::io::Result<()> {
    let code_at = PAGE;
    let module_at = (code_at + code.len()).next_multiple_of(PAGE);
    let mut head = Vec::with_capacity(PAGE);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    for word in [fold(code), 0, code_at as u64, code.len() as u64, module_at as u64, module.len() as u64] {
        head.extend_from_slice(&word.to_le_bytes());
    }
    let sum = checksum(&head);
    head.extend_from_slice(&sum.to_le_bytes());
    head.resize(code_at, 0);
    out.write_all(&head)?;
    out.write_all(code)?;
    out.write_all(&[0; PAGE][..module_at - code_at - code.len()])?;
    out.write_all(module)
}

/// Where the native code and the module are in `bytes`.
///
/// # Errors
/// See [`CompiledError`].
pub fn parse(bytes: &[u8]) -> Result<(Range<usize>, Range<usize>), CompiledError> {
    let Some(head) = bytes.get(..HEAD) else { return Err(CompiledError::Damaged("it ends early")) };
    let word = |at: usize| {
        let mut b = [0u8; 8];
        b.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(b)
    };
    let version = word(8) as u32;
    if version != VERSION {
        return Err(CompiledError::Version(version));
    }
    if word(64) != checksum(&head[..64]) {
        return Err(CompiledError::Damaged("wrong checksum of its head"));
    }
    let range = |at: usize| {
        let start = usize::try_from(word(at)).ok()?;
        let end = start.checked_add(usize::try_from(word(at + 8)).ok()?)?;
        (end <= bytes.len()).then_some(start..end)
    };
    match (range(32), range(48)) {
        (Some(code), Some(module)) if module.start.is_multiple_of(PAGE) => Ok((code, module)),
        _ => Err(CompiledError::Damaged("it ends early")),
    }
}

/// Checks the code against its checksum: a damaged file must not be executed.
///
/// # Errors
/// [`CompiledError::Damaged`].
pub fn check_code<'a>(bytes: &'a [u8], code: &Range<usize>) -> Result<&'a [u8], CompiledError> {
    let mut sum = [0u8; 8];
    sum.copy_from_slice(&bytes[16..24]);
    let code = &bytes[code.clone()];
    if fold(code) != u64::from_le_bytes(sum) {
        return Err(CompiledError::Damaged("wrong checksum of its code"));
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_truncation() {
        let mut file = Vec::new();
        write(b"native code", b"\0asm module", &mut file).unwrap();
        assert!(is_compiled(&file));
        let (code, module) = parse(&file).unwrap();
        assert_eq!(check_code(&file, &code).unwrap(), b"native code");
        assert_eq!(&file[module], b"\0asm module");
        for n in 0..file.len() {
            assert!(parse(&file[..n]).is_err(), "{n}");
        }
        for at in 8..HEAD {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert!(parse(&bad).and_then(|(code, _)| check_code(&bad, &code)).is_err(), "byte {at}");
        }
    }
}
