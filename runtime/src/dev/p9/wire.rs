//! The messages of 9P2000.L, decoded from and encoded to bytes.
//!
//! Method: one table each for requests and replies; a macro makes the enum, the decoder and the encoder from it, so that
//! the two cannot disagree. All integers are little-endian; a string is a `u16` length and its bytes (Linux sends names as
//! it has them, so they are bytes here, not UTF-8). Decoding borrows from the message and allocates only the name list of
//! `Twalk`, at most [`MAX_WALK`] of them.
//!
//! References: Plan 9's *intro(5)*; *diod/protocol.md* for 9P2000.L; Linux 6.12 *net/9p/client.c*, *include/net/9p/9p.h*.

use thiserror::Error;

/// Bytes before a message's body: size\[4\] type\[1\] tag\[2\].
pub(crate) const HEADER: usize = 7;
/// Bytes of an `Rread` or `Rreaddir` before the data: header and count\[4\].
pub(crate) const DATA_HEADER: usize = HEADER + 4;
/// Names in one `Twalk`, at most (*intro(5)*: MAXWELEM).
pub(crate) const MAX_WALK: usize = 16;
/// The fid number that means "none".
pub(crate) const NO_FID: u32 = u32::MAX;
/// Message type of `Rread`.
pub(crate) const RREAD: u8 = 117;
/// Message type of `Rreaddir`.
pub(crate) const RREADDIR: u8 = 41;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum WireError {
    /// A field reaches beyond the end of the message.
    #[error("9p message ends inside a field at byte {at}")]
    Truncated { at: usize },
    /// More names than a walk may have.
    #[error("9p walk of {0} names, at most {MAX_WALK} are allowed")]
    Names(usize),
    /// No message type of 9P2000.L.
    #[error("9p message type {0} is not known")]
    Type(u8),
}

/// Reads fields off the front of a message body.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let field = rest.get(..len).ok_or(WireError::Truncated { at: self.at })?;
        self.at += len;
        Ok(field)
    }
}

/// Puts fields into a fixed buffer; what does not fit is remembered as an overflow, not written.
pub(crate) struct Writer<'b> {
    bytes: &'b mut [u8],
    at: usize,
    overflow: bool,
}

impl<'b> Writer<'b> {
    pub(crate) fn new(bytes: &'b mut [u8]) -> Self {
        Writer { bytes, at: 0, overflow: false }
    }

    pub(crate) fn put(&mut self, field: &[u8]) {
        match self.bytes.get_mut(self.at..).and_then(|rest| rest.get_mut(..field.len())) {
            Some(to) if !self.overflow => {
                to.copy_from_slice(field);
                self.at += field.len();
            }
            _ => self.overflow = true,
        }
    }

    /// Bytes written, or `None` when something did not fit.
    pub(crate) fn finish(self) -> Option<usize> {
        (!self.overflow).then_some(self.at)
    }
}

/// A field of a message.
pub(crate) trait Field<'a>: Sized {
    fn get(from: &mut Reader<'a>) -> Result<Self, WireError>;
    fn put(&self, to: &mut Writer<'_>);
}

macro_rules! integer_fields {
    ($($ty:ty),*) => {$(
        impl<'a> Field<'a> for $ty {
            fn get(from: &mut Reader<'a>) -> Result<Self, WireError> {
                let at = from.at;
                let bytes = from.take(size_of::<$ty>())?;
                Ok(<$ty>::from_le_bytes(bytes.try_into().map_err(|_| WireError::Truncated { at })?))
            }
            fn put(&self, to: &mut Writer<'_>) {
                to.put(&self.to_le_bytes());
            }
        }
    )*};
}
integer_fields!(u8, u16, u32, u64);

/// A string: s\[2\].
impl<'a> Field<'a> for &'a [u8] {
    fn get(from: &mut Reader<'a>) -> Result<Self, WireError> {
        let len = u16::get(from)?;
        from.take(usize::from(len))
    }
    fn put(&self, to: &mut Writer<'_>) {
        // A longer one cannot be said at all: the writer overflows instead of telling a wrong length.
        match u16::try_from(self.len()) {
            Ok(len) => {
                len.put(to);
                to.put(self);
            }
            Err(_) => to.overflow = true,
        }
    }
}

/// Counted data: count\[4\] data\[count\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Data<'a>(pub(crate) &'a [u8]);

impl<'a> Field<'a> for Data<'a> {
    fn get(from: &mut Reader<'a>) -> Result<Self, WireError> {
        let at = from.at;
        let len = usize::try_from(u32::get(from)?).map_err(|_| WireError::Truncated { at })?;
        Ok(Data(from.take(len)?))
    }
    fn put(&self, to: &mut Writer<'_>) {
        match u32::try_from(self.0.len()) {
            Ok(len) => {
                len.put(to);
                to.put(self.0);
            }
            Err(_) => to.overflow = true,
        }
    }
}

/// A list: n\[2\] n*(item).
impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    fn get(from: &mut Reader<'a>) -> Result<Self, WireError> {
        let n = usize::from(u16::get(from)?);
        if n > MAX_WALK {
            return Err(WireError::Names(n));
        }
        (0..n).map(|_| T::get(from)).collect()
    }
    fn put(&self, to: &mut Writer<'_>) {
        match u16::try_from(self.len()) {
            Ok(n) => {
                n.put(to);
                self.iter().for_each(|item| item.put(to));
            }
            Err(_) => to.overflow = true,
        }
    }
}

/// Identity of a file: type\[1\] version\[4\] path\[8\].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Qid {
    /// [`Qid::DIR`], [`Qid::SYMLINK`] or 0.
    pub(crate) kind: u8,
    /// Changes with the content; Linux caches nothing of a file whose version is 0.
    pub(crate) version: u32,
    /// One number per file: the guest's inode number.
    pub(crate) path: u64,
}

impl Qid {
    pub(crate) const DIR: u8 = 0x80;
    pub(crate) const SYMLINK: u8 = 0x02;
    /// Bytes of an encoded qid.
    #[cfg(test)]
    pub(crate) const SIZE: usize = 13;
}

impl<'a> Field<'a> for Qid {
    fn get(from: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(Qid { kind: u8::get(from)?, version: u32::get(from)?, path: u64::get(from)? })
    }
    fn put(&self, to: &mut Writer<'_>) {
        self.kind.put(to);
        self.version.put(to);
        self.path.put(to);
    }
}

macro_rules! messages {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $id:literal { $($field:ident: $ty:ty),* })* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(dead_code, reason = "the server decodes one table and encodes the other; a client does the reverse")]
        pub(crate) enum $name<'a> { $($variant { $($field: $ty),* }),* }

        #[allow(dead_code, reason = "as above")]
        impl<'a> $name<'a> {
            /// Decodes the body of a message of type `id`. Bytes after the last field are ignored.
            pub(crate) fn decode(id: u8, body: &'a [u8]) -> Result<Self, WireError> {
                let mut _from = Reader::new(body);
                Ok(match id {
                    $($id => $name::$variant { $($field: <$ty>::get(&mut _from)?),* },)*
                    other => return Err(WireError::Type(other)),
                })
            }

            /// The message type.
            pub(crate) fn id(&self) -> u8 {
                match self { $($name::$variant { .. } => $id),* }
            }

            fn put(&self, _to: &mut Writer<'_>) {
                match self { $($name::$variant { $($field),* } => { $($field.put(_to);)* })* }
            }

            /// Writes the whole message; `None` when `to` is too short.
            pub(crate) fn encode(&self, tag: u16, to: &mut [u8]) -> Option<usize> {
                let mut w = Writer::new(to);
                0u32.put(&mut w);
                self.id().put(&mut w);
                tag.put(&mut w);
                self.put(&mut w);
                let len = w.finish()?;
                to.get_mut(..4)?.copy_from_slice(&u32::try_from(len).ok()?.to_le_bytes());
                Some(len)
            }
        }
    };
}

messages! {
    /// What a client may ask.
    Request {
        Statfs = 8 { fid: u32 }
        Lopen = 12 { fid: u32, flags: u32 }
        Lcreate = 14 { fid: u32, name: &'a [u8], flags: u32, mode: u32, gid: u32 }
        Symlink = 16 { fid: u32, name: &'a [u8], target: &'a [u8], gid: u32 }
        Mknod = 18 { fid: u32, name: &'a [u8], mode: u32, major: u32, minor: u32, gid: u32 }
        Rename = 20 { fid: u32, dir: u32, name: &'a [u8] }
        Readlink = 22 { fid: u32 }
        Getattr = 24 { fid: u32, mask: u64 }
        Setattr = 26 {
            fid: u32, valid: u32, mode: u32, uid: u32, gid: u32, size: u64,
            atime_sec: u64, atime_nsec: u64, mtime_sec: u64, mtime_nsec: u64
        }
        Xattrwalk = 30 { fid: u32, newfid: u32, name: &'a [u8] }
        Xattrcreate = 32 { fid: u32, name: &'a [u8], size: u64, flags: u32 }
        Readdir = 40 { fid: u32, offset: u64, count: u32 }
        Fsync = 50 { fid: u32, datasync: u32 }
        Lock = 52 { fid: u32, kind: u8, flags: u32, start: u64, length: u64, proc_id: u32, client: &'a [u8] }
        Getlock = 54 { fid: u32, kind: u8, start: u64, length: u64, proc_id: u32, client: &'a [u8] }
        Link = 70 { dir: u32, fid: u32, name: &'a [u8] }
        Mkdir = 72 { fid: u32, name: &'a [u8], mode: u32, gid: u32 }
        Renameat = 74 { old_dir: u32, old_name: &'a [u8], new_dir: u32, new_name: &'a [u8] }
        Unlinkat = 76 { fid: u32, name: &'a [u8], flags: u32 }
        Version = 100 { msize: u32, version: &'a [u8] }
        Auth = 102 { afid: u32, uname: &'a [u8], aname: &'a [u8], n_uname: u32 }
        Attach = 104 { fid: u32, afid: u32, uname: &'a [u8], aname: &'a [u8], n_uname: u32 }
        Flush = 108 { oldtag: u16 }
        Walk = 110 { fid: u32, newfid: u32, names: Vec<&'a [u8]> }
        Read = 116 { fid: u32, offset: u64, count: u32 }
        Write = 118 { fid: u32, offset: u64, data: Data<'a> }
        Clunk = 120 { fid: u32 }
        Remove = 122 { fid: u32 }
    }
}

messages! {
    /// What the server may answer.
    Reply {
        Lerror = 7 { errno: u32 }
        Statfs = 9 {
            kind: u32, bsize: u32, blocks: u64, bfree: u64, bavail: u64, files: u64, ffree: u64, fsid: u64, namelen: u32
        }
        Lopen = 13 { qid: Qid, iounit: u32 }
        Lcreate = 15 { qid: Qid, iounit: u32 }
        Symlink = 17 { qid: Qid }
        Mknod = 19 { qid: Qid }
        Rename = 21 {}
        Readlink = 23 { target: &'a [u8] }
        Getattr = 25 {
            valid: u64, qid: Qid, mode: u32, uid: u32, gid: u32, nlink: u64, rdev: u64, size: u64, blksize: u64, blocks: u64,
            atime_sec: u64, atime_nsec: u64, mtime_sec: u64, mtime_nsec: u64, ctime_sec: u64, ctime_nsec: u64,
            btime_sec: u64, btime_nsec: u64, generation: u64, data_version: u64
        }
        Setattr = 27 {}
        Readdir = 41 { data: Data<'a> }
        Fsync = 51 {}
        Lock = 53 { status: u8 }
        Getlock = 55 { kind: u8, start: u64, length: u64, proc_id: u32, client: &'a [u8] }
        Link = 71 {}
        Mkdir = 73 { qid: Qid }
        Renameat = 75 {}
        Unlinkat = 77 {}
        Version = 101 { msize: u32, version: &'a [u8] }
        Attach = 105 { qid: Qid }
        Flush = 109 {}
        Walk = 111 { qids: Vec<Qid> }
        Read = 117 { data: Data<'a> }
        Write = 119 { count: u32 }
        Clunk = 121 {}
        Remove = 123 {}
    }
}

/// Writes the header and count of a reply whose `len` bytes of data already stand behind them; gives the whole length.
pub(crate) fn finish_data(id: u8, tag: u16, len: usize, to: &mut [u8]) -> Option<usize> {
    let total = DATA_HEADER + len;
    let mut w = Writer::new(to.get_mut(..total)?);
    u32::try_from(total).ok()?.put(&mut w);
    id.put(&mut w);
    tag.put(&mut w);
    u32::try_from(len).ok()?.put(&mut w);
    w.finish().map(|_| total)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
