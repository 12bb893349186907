//! An output stream that a thread reads while a test waits for what comes.

use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    ended: bool,
}

/// An output stream being read by a thread.
#[derive(Debug)]
pub(crate) struct Stream {
    shared: Arc<(Mutex<Buffer>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    pub(crate) fn collect(source: Option<impl Read + Send + 'static>) -> Self {
        let shared = Arc::new((Mutex::new(Buffer::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let reader = source.map(|mut source| {
            thread::spawn(move || {
                let mut piece = vec![0; 64 << 10];
                loop {
                    // A terminal's end is EIO.
                    let n = source.read(&mut piece).unwrap_or(0);
                    let mut buffer = theirs.0.lock().unwrap_or_else(PoisonError::into_inner);
                    buffer.bytes.extend_from_slice(&piece[..n]);
                    buffer.ended = n == 0;
                    theirs.1.notify_all();
                    if n == 0 {
                        return;
                    }
                }
            })
        });
        Stream { shared, reader }
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came so far.
    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Waits until `found` says where the wanted part of the stream ends; false at the stream's end or at the
    /// deadline.
    pub(crate) fn wait(&self, deadline: Instant, mut found: impl FnMut(&[u8]) -> bool) -> bool {
        let mut buffer = self.lock();
        loop {
            if found(&buffer.bytes) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if buffer.ended || left.is_zero() {
                return false;
            }
            buffer = self.shared.1.wait_timeout(buffer, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All of it, once it has ended.
    pub(crate) fn all(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        std::mem::take(&mut self.lock().bytes)
    }
}
