//! The server on real directories, natively and on WASI (there below preopen 3), driven by a client that speaks bytes.

mod attr;
mod files;
mod hostile;
mod names;

use std::path::{Path, PathBuf};

use super::errno::Errno;
use super::wire::{Data, HEADER, NO_FID, Qid, Reply, Request};
use super::{HostFs, Server};

pub(super) type Result<T> = core::result::Result<T, Errno>;

/// The fid that [`Client::new`] attaches.
pub(super) const ROOT: u32 = 0;
/// Linux open flags.
pub(super) const O_RDONLY: u32 = 0;
pub(super) const O_WRONLY: u32 = 1;
pub(super) const O_RDWR: u32 = 2;
pub(super) const O_CREAT: u32 = 0o100;
pub(super) const O_EXCL: u32 = 0o200;
pub(super) const O_TRUNC: u32 = 0o1000;
pub(super) const O_APPEND: u32 = 0o2000;

/// A directory of the test's own on the host, removed at the end.
pub(super) struct HostDir {
    pub(super) path: PathBuf,
    #[cfg(not(target_os = "wasi"))]
    _temp: tempfile::TempDir,
}

#[cfg(not(target_os = "wasi"))]
impl HostDir {
    pub(super) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        HostDir { path: temp.path().to_path_buf(), _temp: temp }
    }

    pub(super) fn export(&self) -> HostFs {
        HostFs::open(&self.path).unwrap()
    }
}

#[cfg(target_os = "wasi")]
impl HostDir {
    pub(super) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let preopen =
            super::preopens().into_iter().next().expect("run the tests with one preopened directory");
        assert!(!preopen.read_only, "run the tests with a writable preopened directory");
        let path = Path::new(&preopen.path).join(format!("p9-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        HostDir { path }
    }

    /// A directory below the preopen, opened, is as good as a preopen.
    pub(super) fn export(&self) -> HostFs {
        let name = self.path.file_name().unwrap().to_str().unwrap();
        // SAFETY: the path outlives the call.
        unsafe {
            let stat = wasip1::fd_fdstat_get(3).unwrap();
            let (own, below) = (stat.fs_rights_base, stat.fs_rights_inheriting);
            let fd = wasip1::path_open(3, 0, name, wasip1::OFLAGS_DIRECTORY, own & below, below, 0);
            HostFs::with_rights(fd.unwrap(), below)
        }
    }
}

#[cfg(target_os = "wasi")]
impl Drop for HostDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// What `Tgetattr` gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attr {
    pub(super) qid: Qid,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) nlink: u64,
    pub(super) size: u64,
    pub(super) atime: (u64, u64),
    pub(super) mtime: (u64, u64),
}

/// A client with its server.
pub(super) struct Client {
    pub(super) server: Server<HostFs>,
    pub(super) host: HostDir,
    buffer: Vec<u8>,
    next_fid: u32,
}

impl Client {
    pub(super) fn new() -> Self {
        Client::with(HostDir::new(), false)
    }

    pub(super) fn with(host: HostDir, read_only: bool) -> Self {
        let server = Server::new(host.export(), read_only);
        let mut c = Client { server, host, buffer: vec![0; 64 << 10], next_fid: 1 };
        let got = c.rpc(&Request::Version { msize: 64 << 10, version: b"9P2000.L" });
        assert_eq!(got, Ok(Reply::Version { msize: 64 << 10, version: b"9P2000.L" }));
        c.attach(ROOT, b"").unwrap();
        c
    }

    pub(super) fn attach(&mut self, fid: u32, uname: &[u8]) -> Result<Qid> {
        match self.rpc(&Request::Attach { fid, afid: NO_FID, uname, aname: b"", n_uname: NO_FID })? {
            Reply::Attach { qid } => Ok(qid),
            other => panic!("{other:?}"),
        }
    }

    /// Path on the host.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.host.path.join(path)
    }

    /// One request and its reply.
    pub(super) fn rpc(&mut self, request: &Request<'_>) -> Result<Reply<'_>> {
        let mut message = vec![0; 64 << 10];
        let len = request.encode(0xbeef, &mut message).unwrap();
        let n = self.server.handle(&message[..len], &mut self.buffer);
        let reply = &self.buffer[..n];
        assert_eq!(reply[..4], (n as u32).to_le_bytes());
        assert_eq!(reply[5..HEADER], [0xef, 0xbe]);
        let decoded = Reply::decode(reply[4], &reply[HEADER..]).unwrap();
        match decoded {
            Reply::Lerror { errno } => Err(Errno(errno)),
            reply => {
                assert_eq!(reply.id(), request.id() + 1);
                Ok(reply)
            }
        }
    }

    /// A request of which only success or failure matters.
    pub(super) fn done(&mut self, request: &Request<'_>) -> Result<()> {
        self.rpc(request).map(|_| ())
    }

    pub(super) fn fid(&mut self) -> u32 {
        self.next_fid += 1;
        self.next_fid
    }

    /// Walks from a fid to a new one; the error is ENOENT when only some names could be walked.
    pub(super) fn walk_from(&mut self, fid: u32, path: &str) -> Result<u32> {
        let newfid = self.fid();
        let names: Vec<&[u8]> = path.split('/').filter(|n| !n.is_empty()).map(str::as_bytes).collect();
        let wanted = names.len();
        match self.rpc(&Request::Walk { fid, newfid, names })? {
            Reply::Walk { qids } if qids.len() == wanted => Ok(newfid),
            Reply::Walk { .. } => Err(Errno::NOENT),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn walk(&mut self, path: &str) -> Result<u32> {
        self.walk_from(ROOT, path)
    }

    pub(super) fn open(&mut self, path: &str, flags: u32) -> Result<u32> {
        let fid = self.walk(path)?;
        self.done(&Request::Lopen { fid, flags }).map(|()| fid)
    }

    /// Creates a file in the root directory.
    pub(super) fn create(&mut self, name: &str, flags: u32, mode: u32) -> Result<u32> {
        let fid = self.walk("")?;
        let flags = flags | O_CREAT;
        self.done(&Request::Lcreate { fid, name: name.as_bytes(), flags, mode, gid: 0 })?;
        Ok(fid)
    }

    pub(super) fn read(&mut self, fid: u32, offset: u64, count: u32) -> Result<Vec<u8>> {
        match self.rpc(&Request::Read { fid, offset, count })? {
            Reply::Read { data } => Ok(data.0.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn write(&mut self, fid: u32, offset: u64, data: &[u8]) -> Result<u32> {
        match self.rpc(&Request::Write { fid, offset, data: Data(data) })? {
            Reply::Write { count } => Ok(count),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn clunk(&mut self, fid: u32) -> Result<()> {
        self.done(&Request::Clunk { fid })
    }

    pub(super) fn attr(&mut self, fid: u32) -> Result<Attr> {
        match self.rpc(&Request::Getattr { fid, mask: 0x7ff })? {
            Reply::Getattr {
                valid,
                qid,
                mode,
                uid,
                gid,
                nlink,
                size,
                atime_sec,
                atime_nsec,
                mtime_sec,
                mtime_nsec,
                ..
            } => {
                assert_eq!(valid, 0x7ff);
                let owner = (uid, gid);
                let (atime, mtime) = ((atime_sec, atime_nsec), (mtime_sec, mtime_nsec));
                Ok(Attr { qid, mode, owner, nlink, size, atime, mtime })
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn stat(&mut self, path: &str) -> Result<Attr> {
        let fid = self.walk(path)?;
        let attr = self.attr(fid);
        self.clunk(fid).unwrap();
        attr
    }

    pub(super) fn mkdir(&mut self, dir: u32, name: &str) -> Result<Qid> {
        match self.rpc(&Request::Mkdir { fid: dir, name: name.as_bytes(), mode: 0o755, gid: 0 })? {
            Reply::Mkdir { qid } => Ok(qid),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn symlink(&mut self, name: &str, target: &str) -> Result<()> {
        let (name, target) = (name.as_bytes(), target.as_bytes());
        self.done(&Request::Symlink { fid: ROOT, name, target, gid: 0 })
    }

    pub(super) fn rename(&mut self, old: (u32, &str), new: (u32, &str)) -> Result<()> {
        self.done(&Request::Renameat {
            old_dir: old.0,
            old_name: old.1.as_bytes(),
            new_dir: new.0,
            new_name: new.1.as_bytes(),
        })
    }

    pub(super) fn unlink(&mut self, dir: u32, name: &str, flags: u32) -> Result<()> {
        self.done(&Request::Unlinkat { fid: dir, name: name.as_bytes(), flags })
    }

    /// Entries from `offset` on in one reply of `count` bytes: (qid, offset of the next, type, name).
    pub(super) fn readdir(
        &mut self,
        fid: u32,
        offset: u64,
        count: u32,
    ) -> Result<Vec<(Qid, u64, u8, String)>> {
        let data = match self.rpc(&Request::Readdir { fid, offset, count })? {
            Reply::Readdir { data } => data.0.to_vec(),
            other => panic!("{other:?}"),
        };
        assert!(data.len() <= count as usize);
        let mut rest = &data[..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let word = |at: usize| u64::from_le_bytes(rest[at..at + 8].try_into().unwrap());
            let version = u32::from_le_bytes(rest[1..5].try_into().unwrap());
            let qid = Qid { kind: rest[0], version, path: word(5) };
            let len = usize::from(u16::from_le_bytes([rest[22], rest[23]]));
            let name = String::from_utf8(rest[24..24 + len].to_vec()).unwrap();
            found.push((qid, word(13), rest[21], name));
            rest = &rest[24 + len..];
        }
        Ok(found)
    }

    /// All names of a directory, sorted, without `.` and `..`, read `count` bytes at a time.
    pub(super) fn names(&mut self, fid: u32, count: u32) -> Vec<String> {
        let mut names = Vec::new();
        let mut offset = 0;
        loop {
            let some = self.readdir(fid, offset, count).unwrap();
            let Some(last) = some.last() else { break };
            offset = last.1;
            names.extend(some.into_iter().map(|e| e.3));
        }
        assert_eq!(names[..2], [".", ".."]);
        names.drain(..2);
        names.sort();
        names
    }
}

pub(super) fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
