//! Cuts guest RAM and the root file system into pieces, and compresses each by itself.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use rayon::prelude::*;

use super::{files::Spool, manifest::Piece};
use crate::{
    pack::memory::{PAGE, is_zero, merged, runs},
    progress::Stages,
};

/// Bytes of a chunk of the root file system: what is fetched when any of it is read.
pub const CHUNK: usize = 256 << 10;
/// Bytes of other pieces, before they are compressed.
const PIECE: usize = 4 << 20;
/// Bytes of the root file system at most that are fetched before the container runs.
const MOST_FIRST: usize = 32 << 20;
/// How many are compressed before they are written.
const BATCH: usize = 64;

/// Compresses as `DecompressionStream('gzip')` reads it; the same bytes give the same bytes.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzBuilder::new().write(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    out.write_all(bytes).and_then(|()| out.finish()).unwrap_or_default()
}

/// The chunks of the root file system; their names.
///
/// # Errors
/// Those of the spool.
pub fn chunks(root: &[u8], spool: &mut Spool, stages: &Stages) -> io::Result<Vec<String>> {
    let chunks: Vec<&[u8]> = root.chunks(CHUNK).collect();
    Ok(compress(&chunks, spool, stages)?.into_iter().map(|piece| piece.file).collect())
}

/// Compresses each of `plain`; one of zeros gets no file.
fn compress(plain: &[&[u8]], spool: &mut Spool, stages: &Stages) -> io::Result<Vec<Piece>> {
    let mut out = Vec::with_capacity(plain.len());
    for batch in plain.chunks(BATCH) {
        let zipped: Vec<Option<Vec<u8>>> =
            batch.par_iter().map(|bytes| (!bytes.chunks(PAGE).all(is_zero)).then(|| gzip(bytes))).collect();
        for (zipped, bytes) in zipped.iter().zip(batch) {
            out.push(match zipped {
                Some(zipped) => {
                    Piece { file: spool.add_named("data/", ".bin", zipped)?, size: zipped.len() as u64 }
                }
                None => Piece { file: String::new(), size: 0 },
            });
            stages.add(bytes.len() as u64);
        }
    }
    Ok(out)
}

/// Guest RAM, which lies at `addr` in linear memory: its pages that are not zeros.
///
/// # Errors
/// Those of the spool.
pub fn memory(ram: &[u8], addr: u64, spool: &mut Spool, stages: &Stages) -> io::Result<Vec<Piece>> {
    put(ram, addr / PAGE as u64, runs(ram), spool, stages)
}

/// Those blocks of the root file system whose bits are set in `wanted`.
///
/// # Errors
/// Those of the spool.
pub fn blocks(root: &[u8], wanted: &[u64], spool: &mut Spool, stages: &Stages) -> io::Result<Vec<Piece>> {
    let is_wanted = |block: &usize| wanted.get(block / 64).is_some_and(|word| word >> (block % 64) & 1 != 0);
    let wanted = (0..root.len().div_ceil(PAGE)).filter(is_wanted).take(MOST_FIRST / PAGE);
    put(root, 0, merged(wanted.map(|block| (block, block + 1)), 0), spool, stages)
}

/// Writes runs of pages of `bytes`, whose first page has the number `first`.
fn put(
    bytes: &[u8],
    first: u64,
    runs: Vec<(usize, usize)>,
    spool: &mut Spool,
    stages: &Stages,
) -> io::Result<Vec<Piece>> {
    let mut plain: Vec<Vec<u8>> = Vec::new();
    for (mut from, to) in runs {
        while from < to {
            if plain.last().is_none_or(|piece| piece.len() >= PIECE) {
                plain.push(Vec::with_capacity(PIECE + PAGE));
            }
            // Just made, if there was none.
            let Some(piece) = plain.last_mut() else { break };
            let pages = (to - from).min((PIECE - piece.len().min(PIECE)).div_ceil(PAGE)).max(1);
            piece.extend((first as u32 + from as u32).to_le_bytes());
            piece.extend((pages as u32).to_le_bytes());
            let run = &bytes[from * PAGE..((from + pages) * PAGE).min(bytes.len())];
            piece.extend_from_slice(run);
            piece.resize(piece.len() + pages * PAGE - run.len(), 0);
            from += pages;
        }
    }
    // None is all zeros: each begins with how many pages follow.
    let plain: Vec<&[u8]> = plain.iter().map(Vec::as_slice).collect();
    compress(&plain, spool, stages)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// The pages of a piece, by number.
    fn pages(spool: &mut Spool, piece: &Piece) -> Vec<(u32, Vec<u8>)> {
        let zipped = spool.get(&piece.file).unwrap();
        assert_eq!(zipped.len() as u64, piece.size);
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&zipped[..]).read_to_end(&mut plain).unwrap();
        let mut out = Vec::new();
        let mut rest = &plain[..];
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let (first, count) = (word(0), word(4));
            for n in 0..count as usize {
                out.push((first + n as u32, rest[8 + n * PAGE..][..PAGE].to_vec()));
            }
            rest = &rest[8 + count as usize * PAGE..];
        }
        out
    }

    #[test]
    fn pages_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path()).unwrap();
        let mut ram = vec![0; 3000 * PAGE];
        for page in (0..1500).chain([1700, 2999]) {
            ram[page * PAGE + 5] = 1 + page as u8 / 2;
        }
        let put = memory(&ram, 16 << 16, &mut spool, &Stages::new(true)).unwrap();
        assert_eq!(put.len(), 2, "1502 pages are more than one piece holds");
        let all: Vec<(u32, Vec<u8>)> = put.iter().flat_map(|piece| pages(&mut spool, piece)).collect();
        let numbers: Vec<u32> = all.iter().map(|(number, _)| number - 256).collect();
        assert_eq!(numbers, (0..1500).chain([1700, 2999]).collect::<Vec<_>>());
        for (number, page) in all {
            assert_eq!(page, ram[(number as usize - 256) * PAGE..][..PAGE]);
        }
    }

    #[test]
    fn wanted_blocks_and_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path()).unwrap();
        let mut root: Vec<u8> = (0..2 * CHUNK + 100).map(|n| (n / 100) as u8 | 1).collect();
        root[CHUNK..2 * CHUNK].fill(0);
        let wanted = [1 | 1 << 63, 1, 1];
        let put = blocks(&root, &wanted, &mut spool, &Stages::new(true)).unwrap();
        let numbers: Vec<u32> = put.iter().flat_map(|p| pages(&mut spool, p)).map(|(n, _)| n).collect();
        assert_eq!(numbers, [0, 63, 64, 128]);
        assert_eq!(pages(&mut spool, &put[0])[3].1[100..], [0; PAGE - 100], "the last is padded");
        let names = chunks(&root, &mut spool, &Stages::new(true)).unwrap();
        assert_eq!((names.len(), &names[1][..]), (3, ""));
        let mut plain = Vec::new();
        let zipped = spool.get(&names[2]).unwrap();
        flate2::read::GzDecoder::new(&zipped[..]).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, root[2 * CHUNK..]);
        assert_eq!(chunks(&root, &mut spool, &Stages::new(true)).unwrap(), names, "the same again");
    }
}
