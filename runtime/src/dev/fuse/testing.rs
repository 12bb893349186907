//! Messages as bytes, for the tests of the server and of its transport.

#[cfg(not(target_family = "wasm"))]
pub(crate) use super::fs_mem::MemFs;
use super::wire;
#[cfg(not(target_family = "wasm"))]
pub(crate) use super::wire::op;

/// The body of a request, piece by piece.
#[derive(Clone, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    pub(crate) fn new() -> Self {
        Body::default()
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A name with its NUL.
    pub(crate) fn name(self, name: &[u8]) -> Self {
        self.bytes(name).bytes(b"\0")
    }
}

/// `fuse_init_in` of a client as new as the server.
pub(crate) fn init() -> Body {
    Body::new().u32(wire::MAJOR).u32(wire::MINOR).u32(128 << 10).u32(u32::MAX).bytes(&[0; 48])
}

/// `fuse_read_in`.
pub(crate) fn read(fh: u64, offset: u64, size: u32) -> Body {
    Body::new().u64(fh).u64(offset).u32(size).bytes(&[0; 20])
}

/// `fuse_write_in` and the data.
pub(crate) fn write(fh: u64, offset: u64, write_flags: u32, open_flags: u32, data: &[u8]) -> Body {
    let head = Body::new().u64(fh).u64(offset).u32(data.len() as u32).u32(write_flags);
    head.u64(0).u32(open_flags).u32(0).bytes(data)
}

/// A whole request of root's.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn request(opcode: u32, nodeid: u64, body: Body) -> Vec<u8> {
    wire::request(opcode, 1, nodeid, &body.0)
}

/// Xorshift: the same numbers each run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}
