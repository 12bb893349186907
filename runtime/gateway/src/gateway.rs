//! All of it: frames on one side, requests on the other.

use crate::{
    authority::{Authority, Failure},
    client,
    exchange::{Asked, Event, Exchanges, Head, Message},
    names::Names,
    pipe::{News, pipe},
    sockets::{Page, RESOLVER},
};
use bytes::{Bytes, BytesMut};
use forelift_net::{
    Config,
    frames::{self, Frames},
};
use futures::{channel::mpsc, executor::LocalPool, future::abortable};
use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    io::{self, ErrorKind, Read, Write},
    rc::Rc,
    time::Duration,
};

/// Most bytes that wait on the way from the guest, and packets' on the way to it.
const ROOM: usize = 1 << 20;
/// Most bytes of the body of a request to the guest.
const LARGEST: usize = 256 << 20;
/// Rounds of work before others have their turn.
const ROUNDS: usize = 64;

/// Bytes that have come from the guest.
#[derive(Default)]
struct Input(VecDeque<u8>);

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.is_empty() {
            true => Err(ErrorKind::WouldBlock.into()),
            false => self.0.read(into),
        }
    }
}

/// Room for bytes that go to the guest.
struct Output<'a> {
    into: &'a mut [u8],
    done: usize,
}

impl Write for Output<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let room = &mut self.into[self.done..];
        if room.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = from.len().min(room.len());
        room[..length].copy_from_slice(&from[..length]);
        self.done += length;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A gateway for one guest.
pub struct Gateway {
    inner: forelift_net::Gateway<Page>,
    tasks: LocalPool,
    news: News,
    exchanges: Exchanges,
    authority: Rc<RefCell<Authority>>,
    frames: Frames,
    input: Input,
    /// Requests whose bodies are not complete, with their ports.
    requests: HashMap<u32, (u16, Head, BytesMut)>,
    /// What the guest sent was no frame: it hears nothing any more.
    broken: bool,
}

impl Gateway {
    /// A gateway; without `outbound` the guest reaches nothing, but the page reaches the guest.
    ///
    /// # Errors
    /// When there is no entropy.
    pub fn new(outbound: bool) -> Result<Self, Failure> {
        let config = Config {
            learn_mac: true,
            // The link's frames have no headers that could say so.
            guest_csum: false,
            guest_tso: false,
            resolvers: vec![RESOLVER],
            outbound,
            ..Config::default()
        };
        let (tasks, news, exchanges) = (LocalPool::new(), News::default(), Exchanges::default());
        let authority = Rc::new(RefCell::new(Authority::new()?));
        let page = Page {
            names: Names::default(),
            news: news.clone(),
            exchanges: exchanges.clone(),
            authority: authority.clone(),
            spawner: tasks.spawner(),
        };
        Ok(Gateway {
            inner: forelift_net::Gateway::new(config, page, Vec::new(), None),
            tasks,
            news,
            exchanges,
            authority,
            frames: Frames::default(),
            input: Input::default(),
            requests: HashMap::new(),
            broken: false,
        })
    }

    /// The certificate that the guest has to trust, in PEM.
    pub fn root(&self) -> String {
        self.authority.borrow().root().to_owned()
    }

    /// Takes bytes of the guest's: frames, each with its length before it. How many were taken.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(ROOM.saturating_sub(self.input.0.len()));
        self.input.0.extend(&bytes[..length]);
        length
    }

    /// Gives bytes for the guest; how many. [`Gateway::run`] has to be called after it.
    pub fn receive(&mut self, into: &mut [u8]) -> usize {
        let mut output = Output { into, done: 0 };
        // Writing cannot fail but for want of room.
        drop(self.frames.flush(&mut output));
        output.done
    }

    /// Bytes that wait for the guest.
    pub fn pending(&self) -> usize {
        self.frames.pending()
    }

    /// Takes what the page says of the exchange of that number: of the guest's requests by the gateway's
    /// numbers, of its own by its own.
    pub fn tell(&mut self, id: u32, message: Message, now: Duration) {
        match message {
            Message::Request(port, head) => {
                self.requests.insert(id, (port, head, BytesMut::new()));
            }
            Message::RequestBody(bytes) => {
                if let Some((_, _, body)) = self.requests.get_mut(&id) {
                    body.extend_from_slice(&bytes);
                    if body.len() > LARGEST {
                        self.requests.remove(&id);
                        let why = "the container takes at most 256 MiB at once this way".to_owned();
                        self.exchanges.say(id, Event::AnswerFailed(why));
                    }
                }
            }
            Message::RequestEnd => {
                if let Some((port, head, body)) = self.requests.remove(&id) {
                    self.request(id, port, (head, body.freeze()), now);
                }
            }
            Message::Pull => self.exchanges.pull(id),
            Message::Cancel => {
                self.requests.remove(&id);
                if let Some(asked) = self.exchanges.answered(id) {
                    asked.task.abort();
                }
            }
            other => self.exchanges.fetched(id, other),
        }
    }

    fn request(&mut self, id: u32, port: u16, request: (Head, Bytes), now: Duration) {
        let (pull, pulls) = mpsc::unbounded();
        let exchanges = self.exchanges.clone();
        self.inner.dial(
            port,
            |page, token| {
                let (stream, end) = pipe(token, &page.news);
                let task = client::request(end, port, request, (exchanges.clone(), id), pulls);
                let (task, handle) = abortable(task);
                exchanges.ask(id, Asked { pull, task: handle });
                if page
                    .spawn(async move {
                        let _ = task.await;
                    })
                    .is_err()
                {
                    exchanges.answered(id);
                }
                stream
            },
            now,
        );
    }

    /// The next thing that the page has to do.
    pub fn next_event(&mut self) -> Option<(u32, Event)> {
        self.exchanges.next_event()
    }

    /// Does what there is to do. When it wants to be called again, if nothing happens before.
    pub fn run(&mut self, now: Duration) -> Option<Duration> {
        for _ in 0..ROUNDS {
            self.take_frames(now);
            self.tasks.run_until_stalled();
            let happened = self.news.take();
            let is_quiet = happened.is_empty();
            for (token, readiness) in happened {
                self.inner.ready(token, readiness, now);
            }
            self.inner.set_room(ROOM.saturating_sub(self.frames.pending()));
            self.inner.run(now);
            while let Some(packet) = self.inner.pop() {
                self.frames.put(&packet);
            }
            if is_quiet && !self.news.woken() && !self.inner.unfinished() {
                return self.inner.deadline();
            }
        }
        Some(now)
    }

    /// Gives the gateway the frames that are complete.
    fn take_frames(&mut self, now: Duration) {
        while !self.broken {
            match self.frames.first() {
                Ok(Some(frame)) => {
                    self.inner.packet(&frames::packet(frame), now);
                    self.frames.drop_first();
                }
                Ok(None) => match self.frames.fill(&mut self.input) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(_) => self.broken = true,
                },
                Err(_) => self.broken = true,
            }
        }
        self.input.0.clear();
    }

    /// What the guest sends is no frame: the link is of no use any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}
