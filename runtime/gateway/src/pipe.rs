//! A connection in memory: the gateway's end, which never waits, and a task's, which does.

use forelift_net::{Readiness, Token};
use futures::io::{AsyncRead, AsyncWrite};
use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, ErrorKind, Read},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Most bytes on one way.
const CAPACITY: usize = 256 << 10;

/// What has happened to the gateway's ends of connections, and whether a task has something to do.
#[derive(Clone, Debug, Default)]
pub struct News(Rc<RefCell<Happened>>);

#[derive(Debug, Default)]
struct Happened {
    ready: Vec<(Token, Readiness)>,
    woken: bool,
}

impl News {
    /// Notes that a socket is ready.
    pub fn tell(&self, token: Token, readiness: Readiness) {
        self.0.borrow_mut().ready.push((token, readiness));
    }

    /// The sockets that are ready, once.
    pub fn take(&self) -> Vec<(Token, Readiness)> {
        std::mem::take(&mut self.0.borrow_mut().ready)
    }

    /// Whether a task was woken since the last time.
    pub fn woken(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().woken)
    }

    fn wake(&self, waker: &mut Option<Waker>) {
        if let Some(waker) = waker.take() {
            self.0.borrow_mut().woken = true;
            waker.wake();
        }
    }
}

const READABLE: Readiness = Readiness { readable: true, writable: false };
const WRITABLE: Readiness = Readiness { readable: false, writable: true };

/// One way.
#[derive(Debug, Default)]
struct Way {
    bytes: VecDeque<u8>,
    ended: bool,
    /// The task that waits for this way.
    waker: Option<Waker>,
}

impl Way {
    fn is_full(&self) -> bool {
        self.bytes.len() >= CAPACITY
    }

    /// Puts in what there is room for.
    fn put(&mut self, from: &[u8]) -> usize {
        let length = from.len().min(CAPACITY - self.bytes.len());
        self.bytes.extend(&from[..length]);
        length
    }
}

#[derive(Debug)]
struct Pipe {
    token: Token,
    news: News,
    to_task: Way,
    to_gateway: Way,
    /// The gateway's end is gone, and whether by a reset.
    closed: Option<bool>,
    /// The task's end is gone.
    left: bool,
}

/// The gateway's end.
#[derive(Debug)]
pub struct Stream(Rc<RefCell<Pipe>>);

/// A task's end.
#[derive(Debug)]
pub struct End(Rc<RefCell<Pipe>>);

/// A connection; `token` is the gateway's name for it.
pub fn pipe(token: Token, news: &News) -> (Stream, End) {
    let pipe = Pipe {
        token,
        news: news.clone(),
        to_task: Way::default(),
        to_gateway: Way::default(),
        closed: None,
        left: false,
    };
    let pipe = Rc::new(RefCell::new(pipe));
    (Stream(pipe.clone()), End(pipe))
}

impl Stream {
    /// Reads what the task has written, 0 at the end.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let pipe = &mut *self.0.borrow_mut();
        if pipe.to_gateway.bytes.is_empty() {
            let is_over = pipe.to_gateway.ended || pipe.left;
            return if is_over { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let length = pipe.to_gateway.bytes.read(into)?;
        pipe.news.wake(&mut pipe.to_gateway.waker);
        Ok(length)
    }

    /// Writes some bytes for the task.
    pub fn write(&self, from: &[u8]) -> io::Result<usize> {
        let pipe = &mut *self.0.borrow_mut();
        if pipe.left {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if pipe.to_task.is_full() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = pipe.to_task.put(from);
        pipe.news.wake(&mut pipe.to_task.waker);
        Ok(length)
    }

    /// Nothing more will be written.
    pub fn finish(&self) {
        let pipe = &mut *self.0.borrow_mut();
        pipe.to_task.ended = true;
        pipe.news.wake(&mut pipe.to_task.waker);
    }

    /// Ends both ways.
    pub fn close(self, reset: bool) {
        let pipe = &mut *self.0.borrow_mut();
        pipe.closed = Some(reset);
        pipe.news.wake(&mut pipe.to_task.waker);
        pipe.news.wake(&mut pipe.to_gateway.waker);
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let pipe = &mut *self.0.borrow_mut();
        if !pipe.to_task.bytes.is_empty() {
            let was_full = pipe.to_task.is_full();
            let length = pipe.to_task.bytes.read(into)?;
            if was_full {
                pipe.news.tell(pipe.token, WRITABLE);
            }
            return Poll::Ready(Ok(length));
        }
        match pipe.closed {
            Some(true) => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            None if !pipe.to_task.ended => {
                pipe.to_task.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(Ok(0)),
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let pipe = &mut *self.0.borrow_mut();
        if pipe.closed.is_some() {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if pipe.to_gateway.is_full() {
            pipe.to_gateway.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.news.tell(pipe.token, READABLE);
        Poll::Ready(Ok(pipe.to_gateway.put(from)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let pipe = &mut *self.0.borrow_mut();
        pipe.to_gateway.ended = true;
        pipe.news.tell(pipe.token, READABLE);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let pipe = &mut *self.0.borrow_mut();
        pipe.left = true;
        pipe.news.tell(pipe.token, Readiness { readable: true, writable: true });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{
        FutureExt,
        executor::block_on,
        io::{AsyncReadExt, AsyncWriteExt},
    };

    #[test]
    fn a_full_way_waits_for_its_reader() {
        let news = News::default();
        let (stream, mut end) = pipe(Token(4), &news);
        let data = vec![7; CAPACITY + 10];
        assert_eq!(stream.write(&data).unwrap(), CAPACITY);
        assert_eq!(stream.write(&data).unwrap_err().kind(), ErrorKind::WouldBlock);
        block_on(async {
            let mut some = [0; 10];
            end.read_exact(&mut some).await.unwrap();
            assert_eq!(news.take(), [(Token(4), WRITABLE)]);
            assert_eq!(end.write(&data).await.unwrap(), CAPACITY);
            assert_eq!(news.take(), [(Token(4), READABLE)]);
            let mut more = end.write(&data);
            assert!((&mut more).now_or_never().is_none());
            let mut into = [0; 100];
            assert!(!news.woken());
            assert_eq!(stream.read(&mut into).unwrap(), 100);
            assert!(news.woken());
            assert_eq!(more.await.unwrap(), 100);
        });
        assert_eq!(stream.write(&data).unwrap(), 10);
    }

    #[test]
    fn ends_and_resets_are_told() {
        let news = News::default();
        let (stream, mut end) = pipe(Token(0), &news);
        block_on(async {
            stream.write(b"last").unwrap();
            stream.finish();
            let mut all = Vec::new();
            end.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"last");
            end.write_all(b"answer").await.unwrap();
            end.close().await.unwrap();
            let mut into = [0; 100];
            assert_eq!((stream.read(&mut into).unwrap(), stream.read(&mut into).unwrap()), (6, 0));
            stream.close(true);
            assert_eq!(end.read(&mut into).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(end.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
        let (stream, end) = pipe(Token(1), &news);
        drop(end);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
