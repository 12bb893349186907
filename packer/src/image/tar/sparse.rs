//! Sparse files in the four forms GNU tar has written (GNU tar manual, *Storing Sparse Files*).

use super::{
    fault::Fault,
    header::{self, BLOCK},
    reader::Archive,
};
use std::io::Read;

/// Most runs of data in a file.
const MAX_RUNS: usize = 1 << 20;

/// Offset and length of each run of data.
pub(super) type Runs = Vec<(u64, u64)>;

/// What PAX headers say of a file's holes.
#[derive(Default)]
pub(super) struct Described {
    pub(super) major: u64,
    pub(super) minor: u64,
    /// Size with holes.
    pub(super) size: Option<u64>,
    /// Versions 0.0 and 0.1: offset and length in turn.
    pub(super) numbers: Vec<u64>,
    /// Whether `numbers` was given, even if empty.
    pub(super) here: bool,
}

/// Runs must ascend, lie in the file, and use up just what is stored.
pub(super) fn check(map: &[(u64, u64)], size: u64, stored: u64) -> Result<(), String> {
    let mut end = 0u64;
    let mut sum = 0u64;
    for &(at, len) in map {
        let next = at.checked_add(len).filter(|&next| at >= end && next <= size);
        end =
            next.ok_or_else(|| format!("sparse file: run {at}+{len} overlaps another or leaves the file"))?;
        sum += len;
    }
    if sum != stored {
        return Err(format!("sparse file: {stored} bytes stored, its map needs {sum}"));
    }
    Ok(())
}

impl<R: Read> Archive<R> {
    /// GNU type `S`: four runs in the header, more in the blocks that follow it.
    pub(super) fn old_sparse_map(&mut self, at: u64, mut map: Runs, mut more: bool) -> Result<Runs, Fault> {
        while more {
            let mut block = [0; BLOCK];
            if self.fill(&mut block)? < BLOCK {
                return self.bad(self.offset, "the archive is truncated: in a sparse map");
            }
            map.extend(header::runs(&block[..504]).or_else(|problem| self.bad(at, problem))?);
            more = block[504] != 0;
            if map.len() > MAX_RUNS {
                return self.bad(at, format!("sparse file of more than {MAX_RUNS} runs"));
            }
        }
        Ok(map)
    }

    /// A decimal number on a line of its own in the entry's data.
    fn map_line(&mut self, at: u64) -> Result<u64, Fault> {
        let mut value = 0u64;
        for digits in 0.. {
            let mut byte = [0];
            if self.read_data(&mut byte)? == 0 {
                break;
            }
            let digit = u64::from(byte[0].wrapping_sub(b'0'));
            if byte[0] == b'\n' && digits > 0 {
                return Ok(value);
            }
            match value.checked_mul(10).and_then(|v| v.checked_add(digit)) {
                Some(next) if digit < 10 => value = next,
                _ => break,
            }
        }
        self.bad(at, "sparse file: its map is malformed")
    }

    /// PAX versions 0.0, 0.1 (map in the header) and 1.0 (map in front of the data): size with holes, and the
    /// map.
    pub(super) fn pax_sparse_map(&mut self, at: u64, told: Described) -> Result<Option<(u64, Runs)>, Fault> {
        let pairs = if told.major == 1 && told.minor == 0 {
            let start = self.remaining;
            let count = self.map_line(at)?;
            if count > MAX_RUNS as u64 {
                return self.bad(at, format!("sparse file of more than {MAX_RUNS} runs"));
            }
            let mut numbers = Vec::new();
            for _ in 0..count * 2 {
                numbers.push(self.map_line(at)?);
            }
            // The map fills whole blocks.
            let mut pad = vec![0; (start - self.remaining).wrapping_neg() as usize % BLOCK];
            let mut have = 0;
            while have < pad.len() {
                let n = self.read_data(&mut pad[have..])?;
                if n == 0 {
                    return self.bad(at, "sparse file: its map is malformed");
                }
                have += n;
            }
            numbers
        } else if told.major != 0 {
            let (major, minor) = (told.major, told.minor);
            return self.bad(at, format!("sparse file of unknown version {major}.{minor}"));
        } else if told.here {
            told.numbers
        } else {
            return Ok(None);
        };
        let Some(size) = told.size else { return self.bad(at, "sparse file without its size") };
        if pairs.len() % 2 != 0 {
            return self.bad(at, "sparse file: its map has an offset without a length");
        }
        Ok(Some((size, pairs.chunks_exact(2).map(|p| (p[0], p[1])).collect())))
    }
}
