//! Messages as bytes, for tests of a transport.

pub(crate) use super::fs_mem::MemFs;
use super::wire::{Data, NO_FID, Request};

fn bytes(request: &Request<'_>) -> Vec<u8> {
    let mut message = vec![0; super::MAX_MSIZE];
    let len = request.encode(1, &mut message).expect("a message of legal length");
    message.truncate(len);
    message
}

/// Begins a session, attaches fid 0, walks `fid` to `name` and opens it.
pub(crate) fn mount_and_open(name: &[u8], fid: u32, flags: u32) -> Vec<Vec<u8>> {
    let msize = super::MAX_MSIZE as u32;
    [
        Request::Version { msize, version: b"9P2000.L" },
        Request::Attach { fid: 0, afid: NO_FID, uname: b"", aname: b"", n_uname: NO_FID },
        Request::Walk { fid: 0, newfid: fid, names: vec![name] },
        Request::Lopen { fid, flags },
    ]
    .iter()
    .map(bytes)
    .collect()
}

/// A `Tread`.
pub(crate) fn read(fid: u32, offset: u64, count: u32) -> Vec<u8> {
    bytes(&Request::Read { fid, offset, count })
}

/// A `Twrite`.
pub(crate) fn write(fid: u32, offset: u64, data: &[u8]) -> Vec<u8> {
    bytes(&Request::Write { fid, offset, data: Data(data) })
}
