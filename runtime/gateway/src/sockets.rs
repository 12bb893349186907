//! What the gateway has in place of the system's sockets.

use crate::{
    authority::Authority,
    exchange::Exchanges,
    names::Names,
    pipe::{News, Stream, pipe},
    server::{Target, serve},
};
use forelift_net::{Readiness, Sockets, Token};
use futures::{executor::LocalSpawner, task::LocalSpawnExt};
use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
};

/// The resolver that stands for [`Names`].
pub(crate) const RESOLVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 53);

/// The page's side of the gateway.
pub(crate) struct Page {
    pub(crate) names: Names,
    pub(crate) news: News,
    pub(crate) exchanges: Exchanges,
    pub(crate) authority: Rc<RefCell<Authority>>,
    pub(crate) spawner: LocalSpawner,
}

/// Questions, with their answers.
pub(crate) struct Resolver {
    token: Token,
    answers: VecDeque<Vec<u8>>,
}

impl Page {
    /// Runs a task of a connection's. Its errors are those of a guest that has gone.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) -> io::Result<()> {
        self.spawner.spawn_local(task).map_err(io::Error::other)
    }
}

impl Sockets for Page {
    type Stream = Stream;
    type Datagram = Resolver;
    // Nothing is published: requests of the page's come by `Gateway::dial`.
    type Listener = ();
    type Port = ();

    fn connect(&mut self, to: SocketAddr, token: Token) -> io::Result<Stream> {
        // Questions come by datagrams alone.
        if to == RESOLVER {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let (stream, end) = pipe(token, &self.news);
        let target = Target { host: self.names.host(to.ip()), port: to.port() };
        let serving = serve(end, target, self.exchanges.clone(), self.authority.clone());
        self.spawn(async move { drop(serving.await) })?;
        self.news.tell(token, Readiness { readable: false, writable: true });
        Ok(stream)
    }

    fn connected(&mut self, _: &mut Stream) -> io::Result<()> {
        Ok(())
    }

    fn accept(&mut self, (): &mut (), _: Token) -> io::Result<(Stream, SocketAddr)> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn read(&mut self, stream: &mut Stream, into: &mut [u8]) -> io::Result<usize> {
        stream.read(into)
    }

    fn write(&mut self, stream: &mut Stream, from: &[u8]) -> io::Result<usize> {
        stream.write(from)
    }

    fn finish(&mut self, stream: &mut Stream) -> io::Result<()> {
        stream.finish();
        Ok(())
    }

    fn close(&mut self, stream: Stream, reset: bool) {
        stream.close(reset);
    }

    fn datagram(&mut self, to: SocketAddr, token: Token) -> io::Result<Resolver> {
        match to == RESOLVER {
            true => Ok(Resolver { token, answers: VecDeque::new() }),
            false => Err(ErrorKind::PermissionDenied.into()),
        }
    }

    fn echo(&mut self, _: IpAddr, _: Token) -> io::Result<Resolver> {
        Err(ErrorKind::Unsupported.into())
    }

    fn send(&mut self, resolver: &mut Resolver, query: &[u8]) -> io::Result<()> {
        resolver.answers.extend(self.names.answer(query));
        self.news.tell(resolver.token, Readiness { readable: true, writable: false });
        Ok(())
    }

    fn receive(&mut self, resolver: &mut Resolver, into: &mut [u8]) -> io::Result<usize> {
        let answer = resolver.answers.pop_front().ok_or(ErrorKind::WouldBlock)?;
        let length = answer.len().min(into.len());
        into[..length].copy_from_slice(&answer[..length]);
        Ok(length)
    }

    fn send_to(&mut self, (): &mut (), _: &[u8], _: SocketAddr) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn receive_from(&mut self, (): &mut (), _: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        Err(ErrorKind::WouldBlock.into())
    }
}
