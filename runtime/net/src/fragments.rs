//! Packets put together from fragments (RFC 791, section 3.2; RFC 8200, section 4.5). At most [`MOST`] are in
//! the making at once, each of at most 64 KiB and [`PIECES`] fragments; overlapping fragments drop the packet
//! (RFC 5722).

use crate::wire::{Fragment, Header, IPV4, Ip};
use std::{net::IpAddr, time::Duration};

/// Most packets in the making.
const MOST: usize = 16;
/// Most fragments of a packet.
const PIECES: usize = 256;
/// How long fragments are waited for (RFC 1122, section 3.3.2).
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of a packet's payload.
const LONGEST: usize = 65535 - IPV4;

type Key = (IpAddr, IpAddr, u8, u32);

struct Making {
    key: Key,
    until: Duration,
    ttl: u8,
    /// Known once the last fragment has come.
    length: Option<usize>,
    /// Where each fragment is, sorted.
    pieces: Vec<(usize, usize)>,
    data: Vec<u8>,
}

/// The packets in the making.
#[derive(Default)]
pub(crate) struct Fragments {
    making: Vec<Making>,
}

impl Fragments {
    /// Takes a fragment in; the whole packet if it was the last that was missing.
    pub(crate) fn add(&mut self, ip: &Ip<'_>, place: Fragment, now: Duration) -> Option<Vec<u8>> {
        self.making.retain(|making| making.until > now);
        let key = (ip.source, ip.destination, ip.protocol, place.id);
        let nth = match self.making.iter().position(|making| making.key == key) {
            Some(nth) => nth,
            None => {
                if self.making.len() == MOST {
                    self.making.remove(0);
                }
                let until = now + PATIENCE;
                self.making.push(Making {
                    key,
                    until,
                    ttl: ip.ttl,
                    length: None,
                    pieces: Vec::new(),
                    data: Vec::new(),
                });
                self.making.len() - 1
            }
        };
        match self.making[nth].add(ip.payload(), place) {
            Progress::Missing => None,
            Progress::Broken => {
                self.making.remove(nth);
                None
            }
            Progress::Whole => self.making.remove(nth).finish(),
        }
    }
}

enum Progress {
    Missing,
    Broken,
    Whole,
}

impl Making {
    fn add(&mut self, payload: &[u8], place: Fragment) -> Progress {
        let (start, end) = (place.offset, place.offset + payload.len());
        let odd = place.more && (payload.is_empty() || !payload.len().is_multiple_of(8));
        if odd || end > LONGEST || self.pieces.len() == PIECES || self.length.is_some_and(|all| end > all) {
            return Progress::Broken;
        }
        if self.pieces.contains(&(start, end)) {
            return Progress::Missing;
        }
        let at = self.pieces.partition_point(|piece| piece.0 < start);
        let overlaps = |piece: &(usize, usize)| piece.0 < end && start < piece.1;
        if self.pieces.iter().any(overlaps) {
            return Progress::Broken;
        }
        if !place.more {
            if self.length.is_some() || self.data.len() > end {
                return Progress::Broken;
            }
            self.length = Some(end);
        }
        self.pieces.insert(at, (start, end));
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[start..end].copy_from_slice(payload);
        let held: usize = self.pieces.iter().map(|piece| piece.1 - piece.0).sum();
        if self.length == Some(held) { Progress::Whole } else { Progress::Missing }
    }

    fn finish(self) -> Option<Vec<u8>> {
        let (source, destination, protocol, _) = self.key;
        let header = Header { source, destination, protocol, ttl: self.ttl };
        let mut packet = Vec::with_capacity(header.len() + self.data.len());
        header.write(&mut packet, self.data.len(), None)?;
        packet.extend_from_slice(&self.data);
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::UDP;

    fn fragment(id: u32, offset: usize, more: bool, data: &[u8], v6: bool) -> Vec<u8> {
        let ip = |text: &str| text.parse().unwrap();
        let (source, destination) =
            if v6 { (ip("fd00::15"), ip("fd00::2")) } else { (ip("10.0.2.15"), ip("10.0.2.2")) };
        let mut bytes = Vec::new();
        let header = Header { source, destination, protocol: UDP, ttl: 9 };
        header.write(&mut bytes, data.len(), Some(Fragment { id, offset, more })).unwrap();
        bytes.extend_from_slice(data);
        bytes
    }

    fn add(to: &mut Fragments, bytes: &[u8], now: u64) -> Option<Vec<u8>> {
        let ip = Ip::parse(bytes).unwrap();
        to.add(&ip, ip.fragment.unwrap(), Duration::from_secs(now))
    }

    #[test]
    fn fragments_make_a_packet_in_any_order() {
        for v6 in [false, true] {
            let data: Vec<u8> = (0..100).collect();
            let parts = [(0, 40), (40, 80), (80, 100)];
            for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
                let mut fragments = Fragments::default();
                let mut whole = None;
                for nth in order {
                    assert!(whole.is_none());
                    let (start, end) = parts[nth];
                    let bytes = fragment(5, start, end < 100, &data[start..end], v6);
                    assert!(add(&mut fragments, &fragment(6, 8, true, &[0; 8], v6), 0).is_none());
                    whole = add(&mut fragments, &bytes, 0);
                }
                let whole = whole.unwrap();
                let ip = Ip::parse(&whole).unwrap();
                assert_eq!((ip.payload(), ip.fragment, ip.ttl), (&data[..], None, 9));
                assert_eq!(fragments.making.len(), 1);
            }
        }
    }

    #[test]
    fn overlaps_time_and_numbers_are_bounded() {
        let mut fragments = Fragments::default();
        assert!(add(&mut fragments, &fragment(1, 0, true, &[1; 16], false), 0).is_none());
        assert!(add(&mut fragments, &fragment(1, 8, false, &[2; 16], false), 0).is_none());
        assert!(fragments.making.is_empty());
        for id in 0..100 {
            assert!(add(&mut fragments, &fragment(id, 0, true, &[1; 16], false), 0).is_none());
        }
        assert_eq!(fragments.making.len(), MOST);
        assert!(add(&mut fragments, &fragment(99, 16, false, &[1; 16], false), 31).is_none());
        assert_eq!(fragments.making.len(), 1);
        // The "ping of death": an end beyond the longest packet.
        assert!(add(&mut fragments, &fragment(7, 65528, false, &[1; 16], false), 31).is_none());
        assert_eq!(fragments.making.len(), 1);
    }
}
