//! As much of DNS (RFC 1035) as a forwarder has to know: the question of a message, the addresses in an
//! answer, and answers of the gateway's own. Messages come from the guest and from anywhere: all is bounded.

use crate::wire::{long, word};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// The port of resolvers.
pub(crate) const PORT: u16 = 53;
const HEADER: usize = 12;
/// Most bytes of a name, and most pointers on the way through it.
const LONGEST_NAME: usize = 255;
const POINTERS: usize = 16;
/// Most records of an answer that are looked at.
const RECORDS: usize = 128;
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const ANY: u16 = 255;
const INTERNET: u16 = 1;
/// Bits of the header: a response; recursion available; the question's opcode and "recursion desired".
const RESPONSE: u16 = 0x8000;
const AVAILABLE: u16 = 0x0080;
const KEPT: u16 = 0x7900;
/// Seconds that an answer of the gateway's own is good for.
const LIFE: u32 = 60;
/// Response codes.
pub(crate) const SERVER_FAILURE: u16 = 2;
#[cfg(all(target_os = "wasi", feature = "wasi"))]
pub(crate) const NO_SUCH_NAME: u16 = 3;
#[cfg(all(target_os = "wasi", feature = "wasi"))]
pub(crate) const NOT_IMPLEMENTED: u16 = 4;
pub(crate) const REFUSED: u16 = 5;

/// What a message asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) id: u16,
    /// Lower case, without the last dot.
    pub(crate) name: String,
    kind: u16,
    /// Where it ends in the message.
    end: usize,
}

impl Question {
    /// The question of a query, which is no response.
    pub(crate) fn of_query(message: &[u8]) -> Option<Self> {
        (word(message, 2)? & RESPONSE == 0).then(|| Self::parse(message)).flatten()
    }

    /// Whether addresses of the name are wanted.
    #[cfg(all(target_os = "wasi", feature = "wasi"))]
    pub(crate) fn is_for_addresses(&self) -> bool {
        matches!(self.kind, A | AAAA | ANY)
    }

    /// The question of a message that has exactly one.
    fn parse(message: &[u8]) -> Option<Self> {
        if word(message, 4)? != 1 {
            return None;
        }
        let (name, at) = name(message, HEADER)?;
        let kind = word(message, at)?;
        let end = at + 4;
        (word(message, at + 2)? == INTERNET).then_some(Question { id: word(message, 0)?, name, kind, end })
    }
}

/// Whether a response answers a query: the same id, and the same question if it repeats one.
pub(crate) fn answers(response: &[u8], query: &[u8]) -> bool {
    let flags = word(response, 2).unwrap_or_default();
    if flags & RESPONSE == 0 || word(response, 0) != word(query, 0) {
        return false;
    }
    match (Question::parse(query), Question::parse(response)) {
        (Some(asked), Some(told)) => asked.name == told.name && asked.kind == told.kind,
        // A server that understood nothing may leave the question out.
        _ => true,
    }
}

/// The name at `at`, and where it ends.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut text, mut end, mut pointers) = (String::new(), None, 0);
    loop {
        let length = *message.get(at)?;
        match length {
            0 => return Some((text, end.unwrap_or(at + 1))),
            1..=63 => {
                let label = message.get(at + 1..at + 1 + usize::from(length))?;
                if text.len() + label.len() >= LONGEST_NAME {
                    return None;
                }
                if !text.is_empty() {
                    text.push('.');
                }
                // A dot inside of a label must not look like two labels.
                text.extend(label.iter().map(|&c| match c {
                    b'.' | 0x80.. => '?',
                    c => char::from(c.to_ascii_lowercase()),
                }));
                at += 1 + usize::from(length);
            }
            0xc0.. => {
                end = end.or(Some(at + 2));
                pointers += 1;
                let to = usize::from(word(message, at)? & 0x3fff);
                // Pointers lead back (RFC 1035, section 4.1.4).
                if pointers > POINTERS || to >= at {
                    return None;
                }
                at = to;
            }
            _ => return None,
        }
    }
}

/// The name that a response is about and its addresses, with their times to live. Records of other names are
/// left out, but for those that a chain of aliases leads to.
pub(crate) fn addresses(message: &[u8]) -> Option<(String, Vec<(IpAddr, Duration)>)> {
    if word(message, 2)? & RESPONSE == 0 {
        return None;
    }
    let question = Question::parse(message)?;
    let (mut wanted, mut found) = (vec![question.name.clone()], Vec::new());
    let mut at = question.end;
    for _ in 0..usize::from(word(message, 6)?).min(RECORDS) {
        let Some((owner, fixed)) = name(message, at) else { break };
        let (Some(kind), Some(class)) = (word(message, fixed), word(message, fixed + 2)) else { break };
        let (Some(life), Some(length)) = (long(message, fixed + 4), word(message, fixed + 8)) else { break };
        let data = fixed + 10;
        at = data + usize::from(length);
        let Some(bytes) = message.get(data..at) else { break };
        if class != INTERNET || !wanted.contains(&owner) {
            continue;
        }
        let ip = match (kind, bytes.len()) {
            (A, 4) => bytes.first_chunk().map(|ip| IpAddr::V4(Ipv4Addr::from(*ip))),
            (AAAA, 16) => bytes.first_chunk().map(|ip: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*ip))),
            (CNAME, _) => {
                wanted.extend(name(message, data).map(|(name, _)| name));
                None
            }
            _ => None,
        };
        found.extend(ip.map(|ip| (ip, Duration::from_secs(life.into()))));
    }
    Some((question.name, found))
}

/// The answer to a query by who knows the addresses of names, for a back end that has no resolver to ask:
/// no address is an answer, too. None when it is no query.
pub fn answer_by(query: &[u8], addresses: impl FnOnce(&str) -> Vec<IpAddr>) -> Option<Vec<u8>> {
    let question = Question::of_query(query)?;
    let found = addresses(&question.name);
    Some(answer(query, &question, &found))
}

/// An answer of the gateway's own, to `query` which asks `question`.
pub(crate) fn answer(query: &[u8], question: &Question, addresses: &[IpAddr]) -> Vec<u8> {
    let fits = |ip: &&IpAddr| match ip {
        IpAddr::V4(_) => matches!(question.kind, A | ANY),
        IpAddr::V6(_) => matches!(question.kind, AAAA | ANY),
    };
    // 16 of them fit into the 512 bytes that need no extension.
    let told: Vec<_> = addresses.iter().filter(fits).take(8).collect();
    let mut out = head(query, question, 0, told.len() as u16);
    for ip in told {
        // The owner: the name of the question.
        out.extend([0xc0, HEADER as u8]);
        let (kind, bytes) = match ip {
            IpAddr::V4(ip) => (A, ip.octets().to_vec()),
            IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
        };
        out.extend(kind.to_be_bytes());
        out.extend(INTERNET.to_be_bytes());
        out.extend(LIFE.to_be_bytes());
        out.extend((bytes.len() as u16).to_be_bytes());
        out.extend(bytes);
    }
    out
}

/// An answer that is an error.
pub(crate) fn failure(query: &[u8], question: &Question, code: u16) -> Vec<u8> {
    head(query, question, code, 0)
}

fn head(query: &[u8], question: &Question, code: u16, answers: u16) -> Vec<u8> {
    let flags = word(query, 2).unwrap_or_default() & KEPT | RESPONSE | AVAILABLE | code;
    let mut out = Vec::with_capacity(512);
    for word in [question.id, flags, 1, answers, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    out.extend_from_slice(query.get(HEADER..question.end).unwrap_or_default());
    out
}

/// Looks at the responses in a TCP connection to the resolver while they pass: each has its length before it
/// (RFC 7766, section 8).
#[derive(Debug, Default)]
pub(crate) struct Stream {
    held: Vec<u8>,
}

impl Stream {
    /// Takes bytes in; gives each message that is complete to `seen`. At most 64 KiB are held.
    pub(crate) fn pass(&mut self, bytes: &[u8], seen: &mut dyn FnMut(&[u8])) {
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(length) = word(&self.held, at) {
            let Some(message) = self.held.get(at + 2..at + 2 + usize::from(length)) else { break };
            seen(message);
            at += 2 + usize::from(length);
        }
        self.held.drain(..at);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A query for `name`.
    pub(crate) fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [id, 0x0100, 1, 0, 0, 0] {
            out.extend(word.to_be_bytes());
        }
        for label in name.split('.') {
            out.push(label.len() as u8);
            out.extend(label.bytes());
        }
        out.push(0);
        out.extend(kind.to_be_bytes());
        out.extend(INTERNET.to_be_bytes());
        out
    }

    #[test]
    fn own_answers_are_understood() {
        let asked = query(7, "Host.Example", A);
        let question = Question::of_query(&asked).unwrap();
        assert_eq!((question.id, question.name.as_str()), (7, "host.example"));
        let ips = ["10.0.2.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let told = answer(&asked, &question, &ips);
        assert!(answers(&told, &asked) && !answers(&asked, &asked) && Question::of_query(&told).is_none());
        let (name, found) = addresses(&told).unwrap();
        assert_eq!((name.as_str(), found), ("host.example", vec![(ips[0], Duration::from_secs(60))]));
        assert!(!answers(&told, &query(8, "host.example", A)));
        assert!(!answers(&told, &query(7, "host.example", AAAA)));
        let failed = failure(&asked, &question, SERVER_FAILURE);
        assert_eq!(word(&failed, 2), Some(0x8182));
    }

    #[test]
    fn aliases_are_followed_and_strangers_left_out() {
        let mut told = query(7, "www.example", A);
        told[2] |= 0x80;
        told[7] = 3;
        let mut record = |owner: &[u8], kind: u16, data: &[u8]| {
            told.extend_from_slice(owner);
            told.extend(kind.to_be_bytes());
            told.extend(INTERNET.to_be_bytes());
            told.extend(30_u32.to_be_bytes());
            told.extend((data.len() as u16).to_be_bytes());
            told.extend_from_slice(data);
        };
        record(&[0xc0, 12], CNAME, &[3, b'c', b'd', b'n', 0]);
        record(&[3, b'c', b'd', b'N', 0], A, &[9, 9, 9, 9]);
        record(&[4, b'e', b'v', b'i', b'l', 0], A, &[6, 6, 6, 6]);
        let (_, found) = addresses(&told).unwrap();
        assert_eq!(found, [("9.9.9.9".parse().unwrap(), Duration::from_secs(30))]);
        // Every cut, and every byte changed, is survived.
        for end in 0..told.len() {
            addresses(&told[..end]);
        }
        for at in 0..told.len() {
            for value in [0, 1, 63, 0xc0, 0xff] {
                let mut bad = told.clone();
                bad[at] = value;
                addresses(&bad);
                Question::of_query(&bad);
            }
        }
    }

    #[test]
    fn messages_in_a_stream_are_seen_however_they_are_cut() {
        let mut bytes = Vec::new();
        for length in [5_u16, 0, 300] {
            bytes.extend(length.to_be_bytes());
            bytes.extend(vec![7; length.into()]);
        }
        for size in [1, 2, 7, 400] {
            let (mut stream, mut lengths) = (Stream::default(), Vec::new());
            for part in bytes.chunks(size) {
                stream.pass(part, &mut |message| lengths.push(message.len()));
            }
            assert_eq!(lengths, [5, 0, 300]);
            assert!(stream.held.is_empty());
        }
    }
}
