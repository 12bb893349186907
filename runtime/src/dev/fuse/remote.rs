//! Host directories that `forelift run` serves itself: requests go to a descriptor of its own
//! ([`forelift_abi::embed`]).

use forelift_abi::embed::SHARE_FD;

use super::fs_wasi::preopen_name;
use super::server::Service;

/// A directory that a descriptor leads to.
pub struct Remote {
    /// Its guest path.
    pub path: String,
    /// Whether nothing in it may be changed. (The embedding sees to that; the guest is told.)
    pub read_only: bool,
    fd: u32,
}

/// All directories that the embedding serves; none on other hosts.
pub fn remotes() -> Vec<Remote> {
    let remote = |fd| {
        let path = preopen_name(fd).ok()??;
        // SAFETY: the call writes to its own result only.
        let stat = unsafe { wasip1::fd_fdstat_get(fd) }.ok()?;
        let read_only = stat.fs_rights_inheriting & wasip1::RIGHTS_FD_WRITE == 0;
        Some(Remote { path, read_only, fd })
    };
    (SHARE_FD..).map_while(remote).collect()
}

impl Service for Remote {
    fn handle(&mut self, request: &[u8], reply: &mut [u8]) -> usize {
        let question = [wasip1::Ciovec { buf: request.as_ptr(), buf_len: request.len() }];
        let answer = [wasip1::Iovec { buf: reply.as_mut_ptr(), buf_len: reply.len() }];
        // SAFETY: the vectors name exactly the two slices, which are borrowed for the calls. The embedding
        // takes every request, and its replies are its own affair: without one, the guest's request stays
        // unanswered.
        let done =
            unsafe { wasip1::fd_write(self.fd, &question).and_then(|_| wasip1::fd_read(self.fd, &answer)) };
        done.map_or(0, |len| len.min(reply.len()))
    }

    fn reset(&mut self) {
        // SAFETY: no memory is named.
        let _ = unsafe { wasip1::fd_write(self.fd, &[]) };
    }
}
