//! Error numbers as they go over the wire: Linux's generic ones (*include/uapi/asm-generic/errno-base.h*,
//! *errno.h*), which riscv64 and x86_64 share. WASI and other hosts number theirs differently, so nothing
//! passes unmapped.

use core::fmt;

/// A Linux error number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub u32);

macro_rules! errnos {
    ($($name:ident = $value:literal),* $(,)?) => {
        impl Errno {
            $(#[doc = concat!("Linux `E", stringify!($name), "`.")] pub const $name: Errno = Errno($value);)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($value => f.write_str(concat!("E", stringify!($name))),)*
                    other => write!(f, "E#{other}"),
                }
            }
        }
    };
}

errnos! {
    PERM = 1, NOENT = 2, SRCH = 3, INTR = 4, IO = 5, NXIO = 6, TOOBIG = 7, NOEXEC = 8, BADF = 9, CHILD = 10, AGAIN = 11,
    NOMEM = 12, ACCES = 13, FAULT = 14, NOTBLK = 15, BUSY = 16, EXIST = 17, XDEV = 18, NODEV = 19, NOTDIR = 20, ISDIR = 21,
    INVAL = 22, NFILE = 23, MFILE = 24, NOTTY = 25, TXTBSY = 26, FBIG = 27, NOSPC = 28, SPIPE = 29, ROFS = 30, MLINK = 31,
    PIPE = 32, DOM = 33, RANGE = 34, DEADLK = 35, NAMETOOLONG = 36, NOLCK = 37, NOSYS = 38, NOTEMPTY = 39, LOOP = 40,
    NOMSG = 42, IDRM = 43, NODATA = 61, NOLINK = 67, PROTO = 71, MULTIHOP = 72, BADMSG = 74, OVERFLOW = 75, ILSEQ = 84, NOTSOCK = 88,
    DESTADDRREQ = 89, MSGSIZE = 90, PROTOTYPE = 91, NOPROTOOPT = 92, PROTONOSUPPORT = 93, OPNOTSUPP = 95, AFNOSUPPORT = 97,
    ADDRINUSE = 98, ADDRNOTAVAIL = 99, NETDOWN = 100, NETUNREACH = 101, NETRESET = 102, CONNABORTED = 103, CONNRESET = 104,
    NOBUFS = 105, ISCONN = 106, NOTCONN = 107, TIMEDOUT = 110, CONNREFUSED = 111, HOSTUNREACH = 113, ALREADY = 114,
    INPROGRESS = 115, STALE = 116, DQUOT = 122, CANCELED = 125, OWNERDEAD = 130, NOTRECOVERABLE = 131,
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

/// The Linux number of each WASI preview 1 `errno` (witx/typenames.witx, in the order given there).
/// `notcapable` says that the sandbox forbids it, which Linux calls EPERM.
#[rustfmt::skip]
const FROM_WASI: [Errno; 77] = [
    Errno(0), Errno::TOOBIG, Errno::ACCES, Errno::ADDRINUSE, Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT, Errno::AGAIN,
    Errno::ALREADY, Errno::BADF, Errno::BADMSG, Errno::BUSY, Errno::CANCELED, Errno::CHILD, Errno::CONNABORTED,
    Errno::CONNREFUSED, Errno::CONNRESET, Errno::DEADLK, Errno::DESTADDRREQ, Errno::DOM, Errno::DQUOT, Errno::EXIST,
    Errno::FAULT, Errno::FBIG, Errno::HOSTUNREACH, Errno::IDRM, Errno::ILSEQ, Errno::INPROGRESS, Errno::INTR, Errno::INVAL,
    Errno::IO, Errno::ISCONN, Errno::ISDIR, Errno::LOOP, Errno::MFILE, Errno::MLINK, Errno::MSGSIZE, Errno::MULTIHOP,
    Errno::NAMETOOLONG, Errno::NETDOWN, Errno::NETRESET, Errno::NETUNREACH, Errno::NFILE, Errno::NOBUFS, Errno::NODEV,
    Errno::NOENT, Errno::NOEXEC, Errno::NOLCK, Errno::NOLINK, Errno::NOMEM, Errno::NOMSG, Errno::NOPROTOOPT, Errno::NOSPC,
    Errno::NOSYS, Errno::NOTCONN, Errno::NOTDIR, Errno::NOTEMPTY, Errno::NOTRECOVERABLE, Errno::NOTSOCK, Errno::OPNOTSUPP,
    Errno::NOTTY, Errno::NXIO, Errno::OVERFLOW, Errno::OWNERDEAD, Errno::PERM, Errno::PIPE, Errno::PROTO,
    Errno::PROTONOSUPPORT, Errno::PROTOTYPE, Errno::RANGE, Errno::ROFS, Errno::SPIPE, Errno::SRCH, Errno::STALE,
    Errno::TIMEDOUT, Errno::TXTBSY, Errno::XDEV, Errno::PERM,
];

impl Errno {
    /// From a WASI preview 1 error number; a number that WASI does not define, or "success" as an error,
    /// becomes EIO.
    pub fn from_wasi(raw: u16) -> Errno {
        match FROM_WASI.get(usize::from(raw)) {
            Some(&e) if e.0 != 0 => e,
            _ => Errno::IO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wasi_numbers_become_linux_numbers() {
        for (wasi, linux) in [
            (1, 7),
            (2, 13),
            (8, 9),
            (10, 16),
            (20, 17),
            (25, 84),
            (28, 22),
            (31, 21),
            (32, 40),
            (37, 36),
            (44, 2),
            (51, 28),
            (54, 20),
            (55, 39),
            (58, 95),
            (63, 1),
            (69, 30),
            (75, 18),
            (76, 1),
            (0, 5),
            (77, 5),
            (65535, 5),
        ] {
            assert_eq!(Errno::from_wasi(wasi).0, linux, "WASI errno {wasi}");
        }
    }

    #[cfg(target_os = "wasi")]
    #[test]
    fn names_agree_with_the_wasi_crate() {
        // The witx names are Linux's without the E, but for three.
        for (raw, e) in FROM_WASI.iter().enumerate().skip(1) {
            // SAFETY: Errno is a transparent u16, and every value up to 76 is defined.
            let name = unsafe { core::mem::transmute::<u16, wasip1::Errno>(raw as u16) }.name();
            let ours = match name {
                "2BIG" => "ETOOBIG".to_string(),
                "NOTSUP" => "EOPNOTSUPP".to_string(),
                "NOTCAPABLE" => "EPERM".to_string(),
                other => format!("E{other}"),
            };
            assert_eq!(format!("{e:?}"), ours);
        }
    }
}
