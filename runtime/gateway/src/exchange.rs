//! Requests and their responses on the way between the gateway and the page: each has a number, and its body
//! comes in pieces, those of a response only when they are asked for.

use bytes::Bytes;
use futures::{
    channel::{mpsc, oneshot},
    stream::{AbortHandle, Stream},
};
use hyper::{
    HeaderMap,
    body::{Body, Frame},
    header::{self, HeaderName, HeaderValue},
};
use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// The beginning of a request or a response as text: a line with the method and one with the address, or one
/// with the status; then a line for each field, `name: value`.
pub type Head = Vec<u8>;

/// What the gateway tells the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The guest makes a request.
    Fetch(Head),
    /// A piece of its body.
    FetchBody(Bytes),
    /// Its body is complete.
    FetchEnd,
    /// The next piece of the response's body is wanted.
    Pull,
    /// Nobody wants the response any more.
    Cancel,
    /// The guest answers a request of the page's.
    Answer(Head),
    /// A piece of the answer's body.
    AnswerBody(Bytes),
    /// The answer is complete.
    AnswerEnd,
    /// There is no answer, or not all of it: why.
    AnswerFailed(String),
}

/// What the page tells the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The response to a request of the guest's.
    Fetched(Head),
    /// A piece of its body.
    FetchedBody(Bytes),
    /// Its body is complete.
    FetchedEnd,
    /// There is no response, or not all of it: why.
    FetchFailed(String),
    /// A request to this port of the guest's.
    Request(u16, Head),
    /// A piece of its body.
    RequestBody(Bytes),
    /// Its body is complete: it is sent.
    RequestEnd,
    /// The next piece of the answer's body is wanted.
    Pull,
    /// Nobody wants the answer any more.
    Cancel,
}

/// The response that somebody in the guest waits for.
struct Awaited {
    head: Option<oneshot::Sender<Result<Head, String>>>,
    body: mpsc::UnboundedSender<io::Result<Bytes>>,
}

/// An answer that the page waits for.
pub(crate) struct Asked {
    /// Told that the next piece is wanted.
    pub(crate) pull: mpsc::UnboundedSender<()>,
    pub(crate) task: AbortHandle,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<(u32, Event)>,
    awaited: HashMap<u32, Awaited>,
    asked: HashMap<u32, Asked>,
    next: u32,
}

/// What is under way, for all that have to do with it.
#[derive(Clone, Default)]
pub(crate) struct Exchanges(Rc<RefCell<Inner>>);

impl Exchanges {
    pub(crate) fn say(&self, id: u32, event: Event) {
        self.0.borrow_mut().events.push_back((id, event));
    }

    pub(crate) fn next_event(&self) -> Option<(u32, Event)> {
        self.0.borrow_mut().events.pop_front()
    }

    /// Has the page make a request; what its response will be.
    pub(crate) fn fetch(&self, head: Head) -> Fetch {
        let (head_sender, response) = oneshot::channel();
        let (body_sender, pieces) = mpsc::unbounded();
        let inner = &mut *self.0.borrow_mut();
        let id = inner.next;
        inner.next = inner.next.wrapping_add(1);
        inner.awaited.insert(id, Awaited { head: Some(head_sender), body: body_sender });
        inner.events.push_back((id, Event::Fetch(head)));
        Fetch { response, body: Pieces { exchanges: self.clone(), id, pieces, pulled: false, over: false } }
    }

    /// The page has told something of a response.
    pub(crate) fn fetched(&self, id: u32, message: Message) {
        let inner = &mut *self.0.borrow_mut();
        let Some(awaited) = inner.awaited.get_mut(&id) else { return };
        // Who waited may be gone: then it has said so.
        match message {
            Message::Fetched(head) => {
                if let Some(sender) = awaited.head.take() {
                    drop(sender.send(Ok(head)));
                }
            }
            Message::FetchedBody(bytes) => drop(awaited.body.unbounded_send(Ok(bytes))),
            Message::FetchFailed(why) => {
                match awaited.head.take() {
                    Some(sender) => drop(sender.send(Err(why))),
                    None => drop(awaited.body.unbounded_send(Err(io::Error::other(why)))),
                }
                inner.awaited.remove(&id);
            }
            _ => drop(inner.awaited.remove(&id)),
        }
    }

    pub(crate) fn ask(&self, id: u32, asked: Asked) {
        self.0.borrow_mut().asked.insert(id, asked);
    }

    /// The page wants more of an answer.
    pub(crate) fn pull(&self, id: u32) {
        if let Some(asked) = self.0.borrow().asked.get(&id) {
            drop(asked.pull.unbounded_send(()));
        }
    }

    /// An answer is over; what it was.
    pub(crate) fn answered(&self, id: u32) -> Option<Asked> {
        self.0.borrow_mut().asked.remove(&id)
    }
}

/// A request that the page makes.
pub(crate) struct Fetch {
    /// The response's beginning, or why there is none.
    pub(crate) response: oneshot::Receiver<Result<Head, String>>,
    /// Its body. The page is told when this is dropped before its end.
    pub(crate) body: Pieces,
}

/// The body of a response that comes from the page.
pub(crate) struct Pieces {
    exchanges: Exchanges,
    id: u32,
    pieces: mpsc::UnboundedReceiver<io::Result<Bytes>>,
    pulled: bool,
    over: bool,
}

impl Pieces {
    pub(crate) fn id(&self) -> u32 {
        self.id
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match Pin::new(&mut self.pieces).poll_next(cx) {
            Poll::Pending => {
                if !std::mem::replace(&mut self.pulled, true) {
                    self.exchanges.say(self.id, Event::Pull);
                }
                Poll::Pending
            }
            Poll::Ready(Some(Ok(bytes))) => {
                self.pulled = false;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(Some(Err(error))) => {
                self.over = true;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                self.over = true;
                Poll::Ready(None)
            }
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if self.exchanges.0.borrow_mut().awaited.remove(&self.id).is_some() && !self.over {
            self.exchanges.say(self.id, Event::Cancel);
        }
    }
}

/// Fields that are about the connection, not the message (RFC 9110, section 7.6.1), and its framing.
const OF_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Whether a field goes on.
pub(crate) fn goes_on(name: &HeaderName) -> bool {
    !OF_CONNECTION.contains(name) && !["keep-alive", "proxy-connection"].contains(&name.as_str())
}

/// Puts fields into a head.
pub(crate) fn put_fields<'a>(
    head: &mut Head,
    fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) {
    for (name, value) in fields {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.push(b'\n');
    }
}

/// The lines of a head.
pub(crate) fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n')
}

/// The fields in a head's lines. Those that are none are left out: browsers are strict.
pub(crate) fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    fields
}
