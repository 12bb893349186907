//! Directory blocks (erofs.rst, *Directories*).
//!
//! A directory is a sequence of blocks, each complete in itself: 12-byte entries in name order, then the
//! names. Names are sorted as bytes over the whole directory, `.` and `..` included, because the kernel uses
//! binary search.

use super::BLOCK;

/// Bytes of a `struct erofs_dirent`.
const ENTRY: usize = 12;

/// Length in bytes of a directory of names of these lengths, in their order.
pub(super) fn size(lengths: impl Iterator<Item = usize>) -> u64 {
    let (mut blocks, mut used) = (0u64, 0);
    for len in lengths {
        if used + ENTRY + len > BLOCK as usize {
            blocks += 1;
            used = 0;
        }
        used += ENTRY + len;
    }
    blocks * BLOCK + used as u64
}

/// A directory being encoded.
#[derive(Default)]
pub(super) struct Encoder {
    /// Finished blocks.
    out: Vec<u8>,
    entries: Vec<(u64, u8, usize)>,
    names: Vec<u8>,
}

impl Encoder {
    /// Adds the next name in order, for inode `nid` of type `kind`.
    pub(super) fn push(&mut self, name: &[u8], nid: u64, kind: u8) {
        let used = self.entries.len() * ENTRY + self.names.len();
        if used + ENTRY + name.len() > BLOCK as usize {
            self.close();
            self.out.resize(self.out.len().next_multiple_of(BLOCK as usize), 0);
        }
        self.entries.push((nid, kind, self.names.len()));
        self.names.extend_from_slice(name);
    }

    fn close(&mut self) {
        let start = self.entries.len() * ENTRY;
        for (nid, kind, at) in self.entries.drain(..) {
            self.out.extend_from_slice(&nid.to_le_bytes());
            self.out.extend_from_slice(&((start + at) as u16).to_le_bytes());
            self.out.extend_from_slice(&[kind, 0]);
        }
        self.out.append(&mut self.names);
    }

    /// The directory's bytes; the last block is not padded.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.close();
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_size_is_encoded_size() {
        for (count, len) in [(2, 1), (100, 20), (1000, 13), (40, 255), (341, 0), (17, 229)] {
            let mut encoder = Encoder::default();
            for i in 0..count {
                encoder.push(&vec![b'a'; len], i as u64, 1);
            }
            let planned = size((0..count).map(|_| len));
            assert_eq!(encoder.finish().len() as u64, planned, "{count} names of {len}");
        }
    }
}
