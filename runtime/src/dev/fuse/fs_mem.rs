//! A small file system in memory: what training exercises, and what the fuzzer serves, so that a hostile
//! client meets no host.
//!
//! Bounded in files and bytes; time stands still.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::errno::Errno;
use super::fs::{
    Backend, Entry, Kind, Open, Owner, Owners, Replace, Result, SetTime, Space, Stat, Target, Time,
};

/// Files at most.
const MAX_FILES: usize = 4096;
/// Longest file in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// A file of [`MemFs`].
pub(crate) struct Inode {
    ino: u64,
    mode: u32,
    owner: Owner,
    nlink: u64,
    mtime: Time,
    body: Body,
}

enum Body {
    File(Vec<u8>),
    Dir(BTreeMap<Vec<u8>, Shared>),
    Link(Vec<u8>),
}

/// A file that several names and handles share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Inode>>);

impl Shared {
    fn new(inode: Inode) -> Self {
        Shared(Arc::new(Mutex::new(inode)))
    }

    fn lock(&self) -> MutexGuard<'_, Inode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's documentation.
pub(crate) struct MemFs {
    root: Shared,
    made: u64,
}

impl MemFs {
    pub(crate) fn new() -> Self {
        MemFs { root: Shared::new(Inode::new(1, 0o755, Body::Dir(BTreeMap::new()))), made: 1 }
    }

    fn find(&self, path: &[u8]) -> Result<Shared> {
        let mut at = self.root.clone();
        for name in path.split(|&b| b == b'/').filter(|name| *name != b".") {
            let next = match &at.lock().body {
                Body::Dir(entries) => entries.get(name).cloned().ok_or(Errno::NOENT)?,
                _ => return Err(Errno::NOTDIR),
            };
            at = next;
        }
        Ok(at)
    }

    fn parent<'p>(&self, path: &'p [u8]) -> Result<(Shared, &'p [u8])> {
        match path.iter().rposition(|&b| b == b'/') {
            Some(slash) => Ok((self.find(&path[..slash])?, &path[slash + 1..])),
            None => Ok((self.root.clone(), path)),
        }
    }

    fn add(&mut self, path: &[u8], mode: u32, body: Body) -> Result<Shared> {
        let (dir, name) = self.parent(path)?;
        if self.find(path).is_ok() {
            return Err(Errno::EXIST);
        }
        if self.made >= MAX_FILES as u64 {
            return Err(Errno::NOSPC);
        }
        self.made += 1;
        let new = Shared::new(Inode::new(self.made, mode, body));
        insert(&dir, name, new.clone())?;
        Ok(new)
    }

    fn by_target(&self, target: &Target<'_, Shared>) -> Result<Shared> {
        match target {
            Target::Path(path) => self.find(path),
            Target::File(file) => Ok((*file).clone()),
        }
    }

    fn take(&mut self, path: &[u8]) -> Result<()> {
        let (dir, name) = self.parent(path)?;
        let mut dir = dir.lock();
        let Body::Dir(entries) = &mut dir.body else { return Err(Errno::NOTDIR) };
        let gone = entries.remove(name).ok_or(Errno::NOENT)?;
        gone.lock().nlink -= 1;
        Ok(())
    }
}

fn insert(dir: &Shared, name: &[u8], what: Shared) -> Result<()> {
    match &mut dir.lock().body {
        Body::Dir(entries) => {
            entries.insert(name.to_vec(), what);
            Ok(())
        }
        _ => Err(Errno::NOTDIR),
    }
}

impl Inode {
    fn new(ino: u64, mode: u32, body: Body) -> Self {
        Inode { ino, mode, owner: Owner::default(), nlink: 1, mtime: Time::default(), body }
    }

    fn kind(&self) -> Kind {
        match self.body {
            Body::File(_) => Kind::File,
            Body::Dir(_) => Kind::Dir,
            Body::Link(_) => Kind::Symlink,
        }
    }

    fn is_empty_dir(&self) -> Result<bool> {
        match &self.body {
            Body::Dir(entries) => Ok(entries.is_empty()),
            _ => Err(Errno::NOTDIR),
        }
    }
}

impl Backend for MemFs {
    type File = Shared;

    fn keeps_modes(&self) -> bool {
        true
    }

    fn owners(&self) -> Owners {
        Owners::Kept
    }

    fn set_owner(&mut self, target: Target<'_, Shared>, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let file = self.by_target(&target)?;
        let mut file = file.lock();
        let old = file.owner;
        file.owner = Owner { uid: uid.unwrap_or(old.uid), gid: gid.unwrap_or(old.gid) };
        Ok(())
    }

    fn stat(&mut self, target: Target<'_, Shared>) -> Result<Stat> {
        let file = self.by_target(&target)?;
        let i = file.lock();
        let size = match &i.body {
            Body::File(data) | Body::Link(data) => data.len() as u64,
            Body::Dir(_) => 0,
        };
        Ok(Stat {
            kind: i.kind(),
            mode: Some(i.mode),
            owner: Some(i.owner),
            device: (0, 0),
            dev: 1,
            ino: i.ino,
            nlink: i.nlink,
            size,
            blocks: size.div_ceil(512),
            atime: i.mtime,
            mtime: i.mtime,
            ctime: i.mtime,
        })
    }

    fn open(&mut self, path: &[u8], how: Open) -> Result<Shared> {
        let file = match self.find(path) {
            Ok(_) if how.create && how.exclusive => return Err(Errno::EXIST),
            Err(Errno::NOENT) if how.create => self.add(path, how.mode, Body::File(Vec::new()))?,
            found => found?,
        };
        match &mut file.lock().body {
            Body::File(data) if how.truncate => data.clear(),
            Body::File(_) => {}
            _ => return Err(Errno::NXIO),
        }
        Ok(file)
    }

    fn read(&mut self, file: &Shared, buf: &mut [u8], offset: u64) -> Result<usize> {
        let inode = file.lock();
        let Body::File(data) = &inode.body else { return Err(Errno::ISDIR) };
        let rest = usize::try_from(offset).ok().and_then(|at| data.get(at..)).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write(&mut self, file: &Shared, buf: &[u8], offset: u64) -> Result<usize> {
        let mut inode = file.lock();
        let Body::File(data) = &mut inode.body else { return Err(Errno::ISDIR) };
        let end = offset.checked_add(buf.len() as u64).filter(|&end| end <= MAX_SIZE).ok_or(Errno::FBIG)?;
        let (start, end) = (offset as usize, end as usize);
        if data.len() < end {
            data.resize(end, 0);
        }
        data[start..end].copy_from_slice(buf);
        Ok(buf.len())
    }

    fn sync(&mut self, _file: &Shared, _data_only: bool) -> Result<()> {
        Ok(())
    }

    fn sync_dir(&mut self, path: &[u8]) -> Result<()> {
        self.find(path).map(drop)
    }

    fn truncate(&mut self, target: Target<'_, Shared>, size: u64) -> Result<()> {
        let file = self.by_target(&target)?;
        match &mut file.lock().body {
            Body::File(_) if size > MAX_SIZE => Err(Errno::FBIG),
            Body::File(data) => {
                data.resize(size as usize, 0);
                Ok(())
            }
            Body::Dir(_) => Err(Errno::ISDIR),
            Body::Link(_) => Err(Errno::INVAL),
        }
    }

    fn set_times(&mut self, target: Target<'_, Shared>, _atime: SetTime, mtime: SetTime) -> Result<()> {
        let file = self.by_target(&target)?;
        if let SetTime::To(time) = mtime {
            file.lock().mtime = time;
        }
        Ok(())
    }

    fn set_mode(&mut self, target: Target<'_, Shared>, mode: u32) -> Result<()> {
        self.by_target(&target)?.lock().mode = mode;
        Ok(())
    }

    fn list(&mut self, path: &[u8], keep: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        let dir = self.find(path)?;
        let dir = dir.lock();
        let Body::Dir(entries) = &dir.body else { return Err(Errno::NOTDIR) };
        entries.iter().try_for_each(|(name, file)| {
            let file = file.lock();
            // Both ways that hosts have: with and without what the server then must ask for.
            let told = file.ino % 2 == 0;
            let ino = if told { file.ino } else { 0 };
            keep(Entry { name: name.as_slice().into(), kind: told.then(|| file.kind()), ino })
        })
    }

    fn mkdir(&mut self, path: &[u8], mode: u32) -> Result<()> {
        self.add(path, mode, Body::Dir(BTreeMap::new())).map(drop)
    }

    fn symlink(&mut self, target: &[u8], path: &[u8]) -> Result<()> {
        self.add(path, 0o777, Body::Link(target.to_vec())).map(drop)
    }

    fn readlink(&mut self, path: &[u8]) -> Result<Vec<u8>> {
        match &self.find(path)?.lock().body {
            Body::Link(target) => Ok(target.clone()),
            _ => Err(Errno::INVAL),
        }
    }

    fn link(&mut self, old: Target<'_, Shared>, new: &[u8]) -> Result<()> {
        let file = self.by_target(&old)?;
        if self.find(new).is_ok() {
            return Err(Errno::EXIST);
        }
        let (dir, name) = self.parent(new)?;
        insert(&dir, name, file.clone())?;
        file.lock().nlink += 1;
        Ok(())
    }

    fn rename(&mut self, old: &[u8], new: &[u8], replace: Replace) -> Result<()> {
        match (replace, self.find(new)) {
            (Replace::No, Ok(_)) => return Err(Errno::EXIST),
            (Replace::Exchange, _) => return Err(Errno::INVAL),
            _ => {}
        }
        let file = self.find(old)?;
        let (dir, name) = self.parent(new)?;
        let is_dir = file.lock().kind() == Kind::Dir;
        if is_dir && new.strip_prefix(old).is_some_and(|rest| rest.first() == Some(&b'/')) {
            return Err(Errno::INVAL);
        }
        if let Ok(target) = self.find(new) {
            match (is_dir, target.lock().is_empty_dir()) {
                (false, Ok(_)) => return Err(Errno::ISDIR),
                (true, Err(e)) => return Err(e),
                (true, Ok(false)) => return Err(Errno::NOTEMPTY),
                _ => {}
            }
            self.take(new)?;
        }
        self.take(old)?;
        file.lock().nlink += 1;
        insert(&dir, name, file)
    }

    fn unlink(&mut self, path: &[u8]) -> Result<()> {
        self.take(path)
    }

    fn rmdir(&mut self, path: &[u8]) -> Result<()> {
        if self.find(path)?.lock().is_empty_dir()? { self.take(path) } else { Err(Errno::NOTEMPTY) }
    }

    fn space(&mut self) -> Result<Space> {
        Ok(Space::UNKNOWN)
    }
}
