//! A client that speaks bytes, and counts what it owes.

use std::collections::HashMap;

use super::*;
use crate::dev::fuse::fs::Backend;
use crate::dev::fuse::{testing, wire};

/// Room for replies in bytes.
const ROOM: usize = 64 << 10;

/// A client with its server.
///
/// At its end it closes and forgets everything, and looks whether the server has forgotten it, too.
pub(crate) struct Client<B: Backend = HostFs> {
    pub(crate) server: Server<B>,
    host: Option<HostDir>,
    /// On whose behalf requests are made.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    unique: u64,
    buffer: Vec<u8>,
    /// Look-ups to take back, by node.
    lookups: HashMap<u64, u64>,
    files: Vec<u64>,
    dirs: Vec<u64>,
}

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) node: u64,
    pub(crate) fh: u64,
}

/// An open directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dir(pub(crate) File);

/// `fuse_setattr_in`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Set {
    pub(crate) valid: u32,
    pub(crate) fh: u64,
    pub(crate) size: u64,
    pub(crate) atime: (i64, u32),
    pub(crate) mtime: (i64, u32),
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What a listing tells: number, offset of the next, type, name.
pub(crate) type Entry = (u64, u64, u32, Vec<u8>);

impl Client {
    pub(crate) fn new() -> Self {
        Client::with(HostDir::new(), false)
    }

    pub(crate) fn with(host: HostDir, read_only: bool) -> Self {
        let mut c = Client::of(host.export(), read_only);
        c.host = Some(host);
        c
    }

    /// Path on the host.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.host.as_ref().expect("a client of a directory on the host").path.join(path)
    }
}

impl<B: Backend> Client<B> {
    pub(crate) fn of(backend: B, read_only: bool) -> Self {
        let mut c = Client {
            server: Server::new(backend, read_only),
            host: None,
            uid: 0,
            gid: 0,
            unique: 0xbeef,
            buffer: vec![0; ROOM],
            lookups: HashMap::new(),
            files: Vec::new(),
            dirs: Vec::new(),
        };
        c.init();
        c
    }

    /// Begins a session.
    pub(crate) fn init(&mut self) {
        let reply = self.ask(op::INIT, 0, testing::init()).unwrap();
        assert_eq!(reply.len(), 64);
        (self.lookups, self.files, self.dirs) = Default::default();
    }

    fn message(&mut self, opcode: u32, nodeid: u64, body: Body) -> Vec<u8> {
        self.unique += 2;
        let mut message = wire::request(opcode, self.unique, nodeid, &body.0);
        message[24..28].copy_from_slice(&self.uid.to_le_bytes());
        message[28..32].copy_from_slice(&self.gid.to_le_bytes());
        message
    }

    /// One request and the body of its reply.
    pub(crate) fn ask(&mut self, opcode: u32, nodeid: u64, body: Body) -> Result<Vec<u8>> {
        let message = self.message(opcode, nodeid, body);
        let n = self.server.handle(&message, &mut self.buffer);
        let reply = &self.buffer[..n];
        assert_eq!(reply[..4], (n as u32).to_le_bytes(), "the reply's length");
        assert_eq!(reply[8..16], self.unique.to_le_bytes(), "the reply's number");
        match i32::from_le_bytes(reply[4..8].try_into().unwrap()) {
            0 => Ok(reply[16..].to_vec()),
            error => {
                assert!((-4095..0).contains(&error) && n == 16, "error {error} of {n} bytes");
                Err(Errno(error.unsigned_abs()))
            }
        }
    }

    /// A request of which only success or failure matters: it has no answer but that.
    pub(crate) fn done(&mut self, opcode: u32, nodeid: u64, body: Body) -> Result<()> {
        self.ask(opcode, nodeid, body).map(|body| assert_eq!(body, []))
    }

    /// A request that is not answered.
    pub(crate) fn tell(&mut self, opcode: u32, nodeid: u64, body: Body) {
        let message = self.message(opcode, nodeid, body);
        assert_eq!(self.server.handle(&message, &mut self.buffer), 0);
    }

    pub(crate) fn forget(&mut self, node: u64, count: u64) {
        *self.lookups.get_mut(&node).unwrap() -= count;
        self.tell(op::FORGET, node, Body::new().u64(count));
    }

    /// What `fuse_entry_out` says; the look-up is owed from now on.
    fn entry(&mut self, reply: &[u8]) -> (u64, Attr) {
        let node = u64::from_le_bytes(reply[..8].try_into().unwrap());
        assert_eq!(reply[8..40], [0; 32], "names and attributes are valid for no time");
        *self.lookups.entry(node).or_default() += 1;
        (node, Attr::take(&mut wire::Reader(&reply[40..])).unwrap())
    }

    pub(crate) fn look_up(&mut self, dir: u64, name: &[u8]) -> Result<(u64, Attr)> {
        let reply = self.ask(op::LOOKUP, dir, Body::new().name(name))?;
        assert_eq!(reply.len(), wire::ENTRY_OUT);
        Ok(self.entry(&reply))
    }

    /// The node of a path, component by component, as Linux does.
    pub(crate) fn walk(&mut self, path: &str) -> Result<u64> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .try_fold(ROOT, |dir, name| Ok(self.look_up(dir, name.as_bytes())?.0))
    }

    pub(crate) fn open_node(&mut self, node: u64, flags: u32) -> Result<(File, u32)> {
        let reply = self.ask(op::OPEN, node, Body::new().u32(flags).u32(0))?;
        assert_eq!(reply.len(), 16);
        let file = self.opened(node, &reply);
        Ok((file, u32::from_le_bytes(reply[8..12].try_into().unwrap())))
    }

    fn opened(&mut self, node: u64, reply: &[u8]) -> File {
        let fh = u64::from_le_bytes(reply[..8].try_into().unwrap());
        self.files.push(fh);
        File { node, fh }
    }

    pub(crate) fn open(&mut self, path: &str, flags: u32) -> Result<File> {
        let node = self.walk(path)?;
        Ok(self.open_node(node, flags)?.0)
    }

    pub(crate) fn create_in(&mut self, dir: u64, name: &[u8], flags: u32, mode: u32) -> Result<(File, Attr)> {
        let body = Body::new().u32(flags | O_CREAT).u32(mode).u32(0o022).u32(0).name(name);
        self.made_and_opened(op::CREATE, dir, body)
    }

    fn made_and_opened(&mut self, opcode: u32, dir: u64, body: Body) -> Result<(File, Attr)> {
        let reply = self.ask(opcode, dir, body)?;
        assert_eq!(reply.len(), wire::ENTRY_OUT + 16);
        let (node, attr) = self.entry(&reply[..wire::ENTRY_OUT]);
        Ok((self.opened(node, &reply[wire::ENTRY_OUT..]), attr))
    }

    /// Creates a file in the root directory.
    pub(crate) fn create(&mut self, name: &str, flags: u32, mode: u32) -> Result<File> {
        Ok(self.create_in(ROOT, name.as_bytes(), flags, mode)?.0)
    }

    pub(crate) fn create_unnamed(&mut self, dir: u64, flags: u32, mode: u32) -> Result<(File, Attr)> {
        let body = Body::new().u32(flags).u32(mode).u32(0o022).u32(0).name(b"");
        self.made_and_opened(op::TMPFILE, dir, body)
    }

    pub(crate) fn read(&mut self, f: File, offset: u64, count: u32) -> Result<Vec<u8>> {
        self.ask(op::READ, f.node, testing::read(f.fh, offset, count))
    }

    pub(crate) fn write(&mut self, f: File, offset: u64, data: &[u8]) -> Result<u32> {
        self.write_with(f, offset, data, 0, 0)
    }

    pub(crate) fn write_with(
        &mut self,
        f: File,
        offset: u64,
        data: &[u8],
        write_flags: u32,
        open_flags: u32,
    ) -> Result<u32> {
        let body = testing::write(f.fh, offset, write_flags, open_flags, data);
        let reply = self.ask(op::WRITE, f.node, body)?;
        assert_eq!((reply.len(), &reply[4..]), (8, &[0; 4][..]));
        Ok(u32::from_le_bytes(reply[..4].try_into().unwrap()))
    }

    pub(crate) fn release(&mut self, f: File) -> Result<()> {
        self.files.retain(|fh| *fh != f.fh);
        self.done(op::RELEASE, f.node, Body::new().u64(f.fh).bytes(&[0; 16]))
    }

    pub(crate) fn flush(&mut self, f: File) -> Result<()> {
        self.done(op::FLUSH, f.node, Body::new().u64(f.fh).bytes(&[0; 16]))
    }

    pub(crate) fn fsync(&mut self, f: File, data_only: bool) -> Result<()> {
        self.done(op::FSYNC, f.node, Body::new().u64(f.fh).u32(data_only.into()).u32(0))
    }

    pub(crate) fn allocate(&mut self, f: File, mode: u32, offset: u64, len: u64) -> Result<()> {
        let body = Body::new().u64(f.fh).u64(offset).u64(len).u32(mode).u32(0);
        self.done(op::FALLOCATE, f.node, body)
    }

    /// *lseek(2)* with SEEK_DATA (3) or SEEK_HOLE (4).
    pub(crate) fn seek(&mut self, f: File, offset: u64, whence: u32) -> Result<u64> {
        let reply = self.ask(op::LSEEK, f.node, Body::new().u64(f.fh).u64(offset).u32(whence).u32(0))?;
        Ok(u64::from_le_bytes(reply[..].try_into().unwrap()))
    }

    pub(crate) fn copy(&mut self, from: (File, u64), to: (File, u64), len: u64) -> Result<u32> {
        let body = Body::new().u64(from.0.fh).u64(from.1).u64(to.0.node).u64(to.0.fh).u64(to.1);
        let reply = self.ask(op::COPY_FILE_RANGE, from.0.node, body.u64(len).u64(0))?;
        assert_eq!(reply.len(), 8);
        Ok(u32::from_le_bytes(reply[..4].try_into().unwrap()))
    }

    fn attr_reply(&mut self, opcode: u32, node: u64, body: Body) -> Result<Attr> {
        let reply = self.ask(opcode, node, body)?;
        assert_eq!((reply.len(), &reply[..16]), (16 + wire::ATTR, &[0; 16][..]));
        Attr::take(&mut wire::Reader(&reply[16..]))
    }

    pub(crate) fn attr(&mut self, node: u64) -> Result<Attr> {
        self.attr_reply(op::GETATTR, node, Body::new().u64(0).u64(0))
    }

    /// By the open file.
    pub(crate) fn file_attr(&mut self, f: File) -> Result<Attr> {
        self.attr_reply(op::GETATTR, f.node, Body::new().u64(u64::from(wire::GETATTR_FH)).u64(f.fh))
    }

    /// By path; the look-up and the node agree.
    pub(crate) fn stat(&mut self, path: &str) -> Result<Attr> {
        let node = self.walk(path)?;
        let attr = self.attr(node)?;
        if let Some((dir, name)) = path.rsplit_once('/').or((!path.is_empty()).then_some(("", path))) {
            let dir = self.walk(dir)?;
            let (again, seen) = self.look_up(dir, name.as_bytes())?;
            let facts = |a: &Attr| (a.ino, a.size, a.mode, a.nlink, a.uid, a.gid, a.mtime);
            assert_eq!((again, facts(&seen)), (node, facts(&attr)), "{path}");
        }
        Ok(attr)
    }

    pub(crate) fn set(&mut self, node: u64, s: Set) -> Result<Attr> {
        let body = Body::new().u32(s.valid).u32(0).u64(s.fh).u64(s.size).u64(0);
        let body = body.u64(s.atime.0 as u64).u64(s.mtime.0 as u64).u64(0);
        let body = body.u32(s.atime.1).u32(s.mtime.1).u32(0).u32(s.mode).u32(0).u32(s.uid).u32(s.gid).u32(0);
        self.attr_reply(op::SETATTR, node, body)
    }

    /// An operation that answers with what it made.
    fn make(&mut self, opcode: u32, dir: u64, body: Body) -> Result<(u64, Attr)> {
        let reply = self.ask(opcode, dir, body)?;
        assert_eq!(reply.len(), wire::ENTRY_OUT);
        Ok(self.entry(&reply))
    }

    pub(crate) fn mkdir(&mut self, dir: u64, name: &[u8], mode: u32) -> Result<(u64, Attr)> {
        self.make(op::MKDIR, dir, Body::new().u32(mode).u32(0o022).name(name))
    }

    pub(crate) fn mknod(&mut self, dir: u64, name: &[u8], mode: u32) -> Result<(u64, Attr)> {
        self.make(op::MKNOD, dir, Body::new().u32(mode).u32(0x103).u32(0o022).u32(0).name(name))
    }

    pub(crate) fn symlink(&mut self, dir: u64, name: &[u8], target: &[u8]) -> Result<(u64, Attr)> {
        self.make(op::SYMLINK, dir, Body::new().name(name).name(target))
    }

    pub(crate) fn link(&mut self, node: u64, dir: u64, name: &[u8]) -> Result<(u64, Attr)> {
        self.make(op::LINK, dir, Body::new().u64(node).name(name))
    }

    pub(crate) fn readlink(&mut self, node: u64) -> Result<Vec<u8>> {
        self.ask(op::READLINK, node, Body::new())
    }

    pub(crate) fn rename(&mut self, old: (u64, &[u8]), new: (u64, &[u8])) -> Result<()> {
        self.done(op::RENAME, old.0, Body::new().u64(new.0).name(old.1).name(new.1))
    }

    /// With RENAME_NOREPLACE (1) or RENAME_EXCHANGE (2).
    pub(crate) fn rename_with(&mut self, old: (u64, &[u8]), new: (u64, &[u8]), flags: u32) -> Result<()> {
        self.done(op::RENAME2, old.0, Body::new().u64(new.0).u32(flags).u32(0).name(old.1).name(new.1))
    }

    pub(crate) fn unlink(&mut self, dir: u64, name: &[u8]) -> Result<()> {
        self.done(op::UNLINK, dir, Body::new().name(name))
    }

    pub(crate) fn rmdir(&mut self, dir: u64, name: &[u8]) -> Result<()> {
        self.done(op::RMDIR, dir, Body::new().name(name))
    }

    pub(crate) fn open_dir(&mut self, path: &str) -> Result<Dir> {
        let node = self.walk(path)?;
        self.open_dir_node(node)
    }

    pub(crate) fn open_dir_node(&mut self, node: u64) -> Result<Dir> {
        let reply = self.ask(op::OPENDIR, node, Body::new().u64(0))?;
        let fh = u64::from_le_bytes(reply[..8].try_into().unwrap());
        self.dirs.push(fh);
        Ok(Dir(File { node, fh }))
    }

    pub(crate) fn release_dir(&mut self, d: Dir) -> Result<()> {
        self.dirs.retain(|fh| *fh != d.0.fh);
        self.done(op::RELEASEDIR, d.0.node, Body::new().u64(d.0.fh).bytes(&[0; 16]))
    }

    /// Entries from `offset` on in one reply of `count` bytes.
    pub(crate) fn readdir(&mut self, d: Dir, offset: u64, count: u32) -> Result<Vec<Entry>> {
        let data = self.ask(op::READDIR, d.0.node, testing::read(d.0.fh, offset, count))?;
        assert!(data.len() <= count as usize);
        let mut rest = &data[..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let mut r = wire::Reader(rest);
            let (ino, next) = (r.u64()?, r.u64()?);
            let (len, kind) = (r.u32()? as usize, r.u32()?);
            found.push((ino, next, kind, r.bytes(len)?.to_vec()));
            let (entry, later) = rest.split_at((24 + len).next_multiple_of(8));
            assert!(entry[24 + len..].iter().all(|&b| b == 0), "padding");
            rest = later;
        }
        Ok(found)
    }

    /// All names of a directory, sorted, without `.` and `..`, read `count` bytes at a time.
    pub(crate) fn names(&mut self, d: Dir, count: u32) -> Vec<String> {
        let mut names = Vec::new();
        let mut offset = 0;
        loop {
            let some = self.readdir(d, offset, count).unwrap();
            let Some(last) = some.last() else { break };
            offset = last.1;
            names.extend(some.into_iter().map(|e| String::from_utf8(e.3).unwrap()));
        }
        assert_eq!(names[..2], [".", ".."]);
        names.drain(..2);
        names.sort();
        names
    }

    pub(crate) fn get_xattr(&mut self, node: u64, name: &str, size: u32) -> Result<Vec<u8>> {
        self.ask(op::GETXATTR, node, Body::new().u32(size).u32(0).name(name.as_bytes()))
    }

    pub(crate) fn list_xattrs(&mut self, node: u64, size: u32) -> Result<Vec<u8>> {
        self.ask(op::LISTXATTR, node, Body::new().u32(size).u32(0))
    }

    pub(crate) fn set_xattr(&mut self, node: u64, name: &str, value: &[u8], flags: u32) -> Result<()> {
        let body = Body::new().u32(value.len() as u32).u32(flags).name(name.as_bytes()).bytes(value);
        self.done(op::SETXATTR, node, body)
    }

    pub(crate) fn remove_xattr(&mut self, node: u64, name: &str) -> Result<()> {
        self.done(op::REMOVEXATTR, node, Body::new().name(name.as_bytes()))
    }
}

impl<B: Backend> Drop for Client<B> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for fh in std::mem::take(&mut self.files) {
            self.done(op::RELEASE, ROOT, Body::new().u64(fh).bytes(&[0; 16])).unwrap();
        }
        for fh in std::mem::take(&mut self.dirs) {
            self.done(op::RELEASEDIR, ROOT, Body::new().u64(fh).bytes(&[0; 16])).unwrap();
        }
        let owed = std::mem::take(&mut self.lookups);
        let body = Body::new().u32(owed.len() as u32).u32(0);
        let body = owed.iter().fold(body, |body, (&node, &count)| body.u64(node).u64(count));
        self.tell(op::BATCH_FORGET, 0, body);
        assert_eq!((self.server.handles.len(), self.server.handles.listed), (0, 0), "left open");
        assert_eq!(self.server.nodes.len(), 1, "nodes that nobody refers to");
    }
}
