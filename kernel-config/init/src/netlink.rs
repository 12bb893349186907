//! Messages of rtnetlink(7), built and taken apart: links, addresses and routes without an external program.
//!
//! A request is a header, a fixed structure and attributes. Several fit into one write: the kernel takes them
//! one after the other, and answers each that failed, and the last, which asks for it. Numbers are in the
//! machine's byte order, addresses in the network's.

use crate::sys;
use std::{
    fs::File,
    io::{self, Read},
    net::IpAddr,
};

/// Bytes of `struct nlmsghdr` and of `struct nlattr`.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;

// linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
/// In a request's flags: everything of this kind.
pub(crate) const NLM_F_DUMP: u16 = 0x300;
/// In a request's flags: make what is not there.
pub(crate) const NLM_F_CREATE: u16 = 0x400;
/// In a request's flags: it must not be there.
pub(crate) const NLM_F_EXCL: u16 = 0x200;

/// Longest answer: the kernel's own limit for a dump's messages is half of it.
const ANSWER: usize = 64 << 10;

/// A request that is being built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// A request of `kind` (`RTM_...`), with its structure.
    pub(crate) fn new(kind: u16, flags: u16, structure: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend_from_slice(structure);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        Request(bytes)
    }

    /// Adds an attribute.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&((ATTRIBUTE + value.len()) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an attribute with an IP address.
    pub(crate) fn with_ip(self, kind: u16, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => self.with(kind, &ip.octets()),
            IpAddr::V6(ip) => self.with(kind, &ip.octets()),
        }
    }

    /// The bytes, with length and number; with `acknowledge` the kernel answers success too.
    pub(crate) fn finish(mut self, number: u32, acknowledge: bool) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        if acknowledge {
            let flags = u16::from_ne_bytes([self.0[6], self.0[7]]) | NLM_F_ACK;
            self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        }
        self.0[8..12].copy_from_slice(&number.to_ne_bytes());
        self.0
    }
}

/// A message from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// `RTM_...` or `NLMSG_...`.
    pub(crate) kind: u16,
    /// The request's number; 0 for an event that nobody asked for.
    pub(crate) number: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
}

/// The messages of one read.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.first_chunk::<HEADER>()?;
        let len = word(header, 0)? as usize;
        let message = Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            number: word(header, 8)?,
            body: bytes.get(HEADER..len)?,
        };
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes behind a message's structure of `len` bytes: kind and value.
pub(crate) fn attributes(body: &[u8], len: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut bytes = body.get(len.next_multiple_of(4)..).unwrap_or_default();
    std::iter::from_fn(move || {
        let header = bytes.first_chunk::<ATTRIBUTE>()?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = bytes.get(ATTRIBUTE..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([header[2], header[3]]), value))
    })
}

/// The 32-bit number at `at`.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

/// What `NLMSG_ERROR` tells: nothing for an acknowledgement.
fn verdict(body: &[u8]) -> io::Result<()> {
    match word(body, 0) {
        Some(0) => Ok(()),
        Some(negative) => Err(io::Error::from_raw_os_error((negative as i32).wrapping_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A socket to the kernel's routing tables.
pub(crate) struct Socket {
    file: File,
    answer: Vec<u8>,
}

impl Socket {
    /// Opens one.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Socket { file: sys::route_socket()?, answer: vec![0; ANSWER] })
    }

    /// Sends requests at once. The error comes with the index of the first request that failed; those behind
    /// it were carried out all the same.
    pub(crate) fn change(&mut self, requests: Vec<Request>) -> Result<(), (usize, io::Error)> {
        let Some(last) = requests.len().checked_sub(1) else { return Ok(()) };
        let numbered = (1..).zip(requests).enumerate();
        let bytes: Vec<u8> =
            numbered.flat_map(|(index, (number, request))| request.finish(number, index == last)).collect();
        sys::write_all(&mut self.file, &bytes).map_err(|e| (0, e))?;
        let mut failed = None;
        loop {
            let len = self.file.read(&mut self.answer).map_err(|e| (last, e))?;
            for message in messages(&self.answer[..len]) {
                if message.kind != NLMSG_ERROR {
                    continue;
                }
                let index = (message.number as usize).wrapping_sub(1);
                if let Err(error) = verdict(message.body) {
                    failed.get_or_insert((index, error));
                }
                if index == last {
                    return failed.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Sends one request that has several messages as its answer.
    pub(crate) fn dump(&mut self, request: Request, mut each: impl FnMut(&Message<'_>)) -> io::Result<()> {
        sys::write_all(&mut self.file, &request.finish(1, false))?;
        loop {
            let len = self.file.read(&mut self.answer)?;
            for message in messages(&self.answer[..len]) {
                match message.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return verdict(message.body),
                    _ => each(&message),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let request = Request::new(20, NLM_F_CREATE | NLM_F_EXCL, &[2, 24, 0, 0, 7, 0, 0, 0])
            .with_ip(2, IpAddr::from([10, 0, 2, 15]))
            .with(3, b"eth");
        let bytes = request.finish(5, true);
        let mut expected = Vec::new();
        expected.extend_from_slice(&40u32.to_ne_bytes());
        for half in [20u16, 0x605] {
            expected.extend_from_slice(&half.to_ne_bytes());
        }
        expected.extend_from_slice(&5u32.to_ne_bytes());
        expected.extend_from_slice(&[0; 4]);
        expected.extend_from_slice(&[2, 24, 0, 0, 7, 0, 0, 0]);
        for (len, kind, value) in [(8u16, 2u16, [10, 0, 2, 15]), (7, 3, *b"eth\0")] {
            expected.extend_from_slice(&len.to_ne_bytes());
            expected.extend_from_slice(&kind.to_ne_bytes());
            expected.extend_from_slice(&value);
        }
        assert_eq!(bytes, expected);

        let read: Vec<Message<'_>> = messages(&bytes).collect();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].kind, read[0].number), (20, 5));
        let found: Vec<(u16, &[u8])> = attributes(read[0].body, 8).collect();
        assert_eq!(found, [(2, &[10, 0, 2, 15][..]), (3, b"eth")]);
    }

    #[test]
    fn what_is_cut_short_ends_the_list() {
        let whole = Request::new(16, 0, &[0; 16]).with(3, b"lo\0").finish(1, false);
        for cut in 0..whole.len() {
            for message in messages(&whole[..cut]) {
                attributes(message.body, 16).for_each(drop);
            }
        }
        // A length that would not advance.
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[0; 64], 0).count(), 0);
    }

    #[test]
    fn errors_are_the_systems() {
        assert!(verdict(&0i32.to_ne_bytes()).is_ok());
        assert_eq!(verdict(&(-17i32).to_ne_bytes()).unwrap_err().raw_os_error(), Some(17));
        assert!(verdict(&[]).is_err());
        assert!(verdict(&i32::MIN.to_ne_bytes()).is_err());
    }
}
