//! Host directories for the guest. Their FUSE servers run here, natively; the module passes requests over one
//! descriptor for each directory ([`forelift_abi::embed`]).

use std::{io, path::PathBuf};

use forelift_abi::embed::SHARE_FD;
use forelift_net::native::raise_limit;
use forelift_runtime::dev::fuse::{HostFs, MAX_MESSAGE, Server};
use thiserror::Error;

use super::{
    options::Share,
    stdio::{Cursor, errno, put},
};

/// A directory cannot be shared.
#[derive(Debug, Error)]
#[error("directory {path}: {source}")]
pub struct ShareError {
    /// The host directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// One directory.
struct Served {
    /// Where the guest mounts it.
    path: String,
    read_only: bool,
    server: Server<HostFs>,
    /// The request that waits for its reply.
    request: Vec<u8>,
    /// Room for replies that are not in one piece in the module's memory.
    reply: Vec<u8>,
}

/// All directories of a run.
#[derive(Default)]
pub struct Shares(Vec<Served>);

impl Shares {
    /// Opens the directories.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open(shares: &[Share]) -> Result<Self, ShareError> {
        let serve = |(share, server): (&Share, _)| Served {
            path: share.guest.clone(),
            read_only: share.read_only,
            server,
            request: Vec::new(),
            reply: Vec::new(),
        };
        Ok(Shares(shares.iter().zip(servers(shares)?).map(serve).collect()))
    }

    fn get(&mut self, fd: u32) -> Option<&mut Served> {
        self.0.get_mut(fd.checked_sub(SHARE_FD)? as usize)
    }

    /// Whether the descriptor is a directory's.
    pub fn has(&mut self, fd: u32) -> bool {
        self.get(fd).is_some()
    }

    /// Whether nothing in the directory may be changed; `None` for another descriptor.
    pub fn read_only(&mut self, fd: u32) -> Option<bool> {
        self.get(fd).map(|served| served.read_only)
    }

    /// `fd_prestat_get`: a directory, and the length of its name.
    pub fn prestat(&mut self, memory: &mut [u8], fd: u32, out: u32) -> Result<(), i32> {
        let len = self.get(fd).ok_or(errno::BADF)?.path.len() as u32;
        let mut stat = [0; 8];
        stat[4..].copy_from_slice(&len.to_le_bytes());
        put(memory, out, &stat)
    }

    /// `fd_prestat_dir_name`.
    pub fn name(&mut self, memory: &mut [u8], fd: u32, to: u32, len: u32) -> Result<(), i32> {
        let served = self.get(fd).ok_or(errno::BADF)?;
        if (len as usize) < served.path.len() {
            return Err(errno::NAMETOOLONG);
        }
        put(memory, to, served.path.as_bytes())
    }

    /// `fd_write`: takes a request; an empty one closes everything.
    pub fn write(&mut self, memory: &[u8], buffers: &[(usize, usize)], fd: u32) -> Result<u32, i32> {
        let served = self.get(fd).ok_or(errno::BADF)?;
        served.request.clear();
        if buffers.is_empty() {
            served.server.reset();
        }
        for &(start, len) in buffers {
            if served.request.len() + len > MAX_MESSAGE {
                return Err(errno::INVAL);
            }
            served.request.extend_from_slice(&memory[start..start + len]);
        }
        Ok(served.request.len() as u32)
    }

    /// `fd_read`: serves the request, and gives its reply.
    pub fn read(&mut self, memory: &mut [u8], buffers: &[(usize, usize)], fd: u32) -> Result<u32, i32> {
        let Served { server, request, reply, .. } = self.get(fd).ok_or(errno::BADF)?;
        let len = match *buffers {
            [] => server.handle(request, &mut []),
            [(start, len)] => server.handle(request, &mut memory[start..start + len]),
            _ => {
                let room: usize = buffers.iter().map(|b| b.1).sum();
                reply.resize(room.min(MAX_MESSAGE), 0);
                let len = server.handle(request, reply);
                Cursor::new(buffers).put(memory, &reply[..len]);
                len
            }
        };
        request.clear();
        Ok(len as u32)
    }
}

/// The directories' servers.
///
/// # Errors
/// When one cannot be opened.
pub fn servers(shares: &[Share]) -> Result<Vec<Server<HostFs>>, ShareError> {
    if !shares.is_empty() {
        // The guest's open files count towards this process's limit.
        raise_limit();
    }
    let server = |share: &Share| {
        let directory =
            HostFs::open(&share.host).map_err(|source| ShareError { path: share.host.clone(), source })?;
        Ok(Server::new(directory, share.read_only))
    };
    shares.iter().map(server).collect()
}
