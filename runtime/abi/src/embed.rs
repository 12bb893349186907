//! What `forelift run` offers the runtime beyond WASI preview 1.
//!
//! Preview 1 has no signals, no window size and no way to ask whether a terminal is raw. The embedding
//! therefore opens one more file descriptor, [`CONTROL_FD`]. `fd_read` on it gives whole [`Record`]s, as many
//! as there are and fit, or `EAGAIN`; `poll_oneoff` reports it readable when there are some. The first record
//! is always [`Record::Terminal`]. On any other engine `fd_read` gives `EBADF`, and there is nothing to be
//! had.
//!
//! Host directories are descriptors, too, from [`SHARE_FD`] on, one each: WASI's own calls for files can say
//! neither what a Linux directory holds nor how its operations fail. `fd_prestat_get` and
//! `fd_prestat_dir_name` tell the guest path, and the inheriting rights of `fd_fdstat_get` lack `fd_write`
//! when nothing may be changed; `fd_write` takes one FUSE request whole (*include/uapi/linux/fuse.h*), and
//! the `fd_read` that follows gives its reply, or 0 bytes for a request that is not answered. An empty
//! `fd_write` closes and forgets everything, as a device's reset does.
//!
//! The network, when there is one, is the descriptor [`NET_FD`]. The first `fd_read` gives the container's
//! interface, a [`Network`](crate::net::Network) by postcard. From then on `fd_read` gives whole packets
//! ([`crate::net`]), each behind its length, as many as there are and fit, and `fd_write` takes whole packets
//! in the same form, as many as there is room for; both give `EAGAIN` when that is none, and `poll_oneoff`
//! tells when to try again. When the other end of the link is gone for good, `fd_read` gives `EPIPE`.
//!
//! A root file system that is not in the module's memory (a page fetches it piece by piece) is the descriptor
//! [`ROOT_FD`]. `fd_pread` on it fills the whole buffer, or gives `EAGAIN`, begins to fetch what is missing,
//! and has the machine go on when it is there; any other error is one of the guest's read, too.
//! `poll_oneoff` tells that something came.
//!
//! With the control descriptor come two promises: the descriptors 0, 1 and 2 never block (`fd_read` and
//! `fd_write` give `EAGAIN`, and `poll_oneoff` tells when to try again), and a write to a closed pipe gives
//! `EPIPE`.

/// The descriptor; far from those that a module gets by opening files.
pub const CONTROL_FD: u32 = 1000;
/// Descriptor of the first host directory; the others follow, without a gap.
pub const SHARE_FD: u32 = 1001;
/// Descriptor of the network.
pub const NET_FD: u32 = 1100;
/// Descriptor of a root file system outside of the module.
pub const ROOT_FD: u32 = 1300;
/// Size of a record in bytes: kind and three operands, `u32` little-endian each.
pub const RECORD_SIZE: usize = 16;
/// Kind of [`Record::Signal`].
pub const KIND_SIGNAL: u32 = 1;
/// Kind of [`Record::Stop`].
pub const KIND_STOP: u32 = 2;
/// Kind of [`Record::WindowSize`].
pub const KIND_WINDOW_SIZE: u32 = 3;
/// Kind of [`Record::Terminal`].
pub const KIND_TERMINAL: u32 = 4;
/// In the first operand of [`KIND_TERMINAL`]: give the container a pseudo-terminal.
pub const TERMINAL_IS_TTY: u32 = 1;
/// In the first operand of [`KIND_TERMINAL`]: the host's terminal is raw.
pub const TERMINAL_RAW: u32 = 2;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A signal (Linux number) for the container's command.
    Signal(u8),
    /// The container shall stop, by its own stop signal.
    Stop,
    /// The terminal has a new size.
    WindowSize {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        cols: u16,
    },
    /// How the standard streams are connected; the first record.
    Terminal {
        /// Whether the container shall have a pseudo-terminal.
        is_tty: bool,
        /// Whether the host's terminal is raw, so that the guest's has to echo.
        raw: bool,
        /// Lines; 0 when unknown.
        rows: u16,
        /// Characters in a line; 0 when unknown.
        cols: u16,
    },
}

impl Record {
    /// The record's bytes.
    pub fn encode(self) -> [u8; RECORD_SIZE] {
        let words = match self {
            Record::Signal(number) => [KIND_SIGNAL, number.into(), 0, 0],
            Record::Stop => [KIND_STOP, 0, 0, 0],
            Record::WindowSize { rows, cols } => [KIND_WINDOW_SIZE, rows.into(), cols.into(), 0],
            Record::Terminal { is_tty, raw, rows, cols } => {
                let tty = if is_tty { TERMINAL_IS_TTY } else { 0 };
                let raw = if raw { TERMINAL_RAW } else { 0 };
                [KIND_TERMINAL, tty | raw, rows.into(), cols.into()]
            }
        };
        let mut out = [0; RECORD_SIZE];
        for (to, word) in out.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Reads a record; `None` for a kind that this version does not know.
    pub fn decode(bytes: &[u8; RECORD_SIZE]) -> Option<Self> {
        let word = |i: usize| {
            u32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]])
        };
        let cells = |i| u16::try_from(word(i)).unwrap_or(u16::MAX);
        Some(match word(0) {
            KIND_SIGNAL => Record::Signal(u8::try_from(word(1)).ok()?),
            KIND_STOP => Record::Stop,
            KIND_WINDOW_SIZE => Record::WindowSize { rows: cells(1), cols: cells(2) },
            KIND_TERMINAL => Record::Terminal {
                is_tty: word(1) & TERMINAL_IS_TTY != 0,
                raw: word(1) & TERMINAL_RAW != 0,
                rows: cells(2),
                cols: cells(3),
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        for record in [
            Record::Signal(15),
            Record::Stop,
            Record::WindowSize { rows: 24, cols: 80 },
            Record::Terminal { is_tty: true, raw: false, rows: 0, cols: 65535 },
            Record::Terminal { is_tty: false, raw: true, rows: 1, cols: 2 },
        ] {
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        assert_eq!(Record::decode(&[9; RECORD_SIZE]), None);
    }
}
