//! A stream of bytes in the binary messages of a WebSocket (RFC 6455), whose boundaries mean nothing.

use super::{
    super::ends::Socket,
    origin::{Origin, Origins, shown},
};
use mio::{Events, Poll};
use std::{
    io::{self, ErrorKind, Read, Write},
    time::{Duration, Instant},
};
use tungstenite::{
    Bytes, Error, HandshakeError, Message, WebSocket,
    handshake::server::{Callback, ErrorResponse, Request, Response},
    http::{StatusCode, header},
    protocol::WebSocketConfig,
};

/// Longest message that is taken.
const MOST: usize = 1 << 20;
/// Longest message that is sent, and what is read at once.
const MESSAGE: usize = 64 << 10;

/// Why a client is no guest.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    /// By its origin, or its path.
    #[error("{0}")]
    Refused(String),
    /// It did not ask for it in time.
    #[error("it has not asked for a WebSocket within {} seconds", .0.as_secs())]
    Late(Duration),
    /// It asked for something else.
    #[error("it did not ask for a WebSocket: {0}")]
    Handshake(Box<Error>),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The stream.
#[derive(Debug)]
pub(super) struct Web {
    socket: WebSocket<Socket>,
    /// What is left of a message.
    message: Bytes,
}

impl Web {
    /// Waits for a client to ask for a WebSocket, for `path` if there is one, and says whether it gets it.
    pub(super) fn accept(
        socket: Socket,
        path: Option<&str>,
        origins: &Origins,
        time: Duration,
    ) -> Result<Self, WebError> {
        let deadline = Instant::now() + time;
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1));
        socket.watch(poll.registry(), mio::Token(0))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MOST))
            .max_frame_size(Some(MOST))
            .read_buffer_size(MESSAGE);
        let judge = Judge { path, origins };
        let mut result = tungstenite::accept_hdr_with_config(socket, judge, Some(config));
        loop {
            match result {
                Ok(socket) => {
                    poll.registry().deregister(&mut mio::unix::SourceFd(&socket.get_ref().raw()))?;
                    return Ok(Web { socket, message: Bytes::new() });
                }
                Err(HandshakeError::Failure(Error::Http(response))) => {
                    let reason = response.into_body().unwrap_or_default();
                    return Err(WebError::Refused(String::from_utf8_lossy(&reason).trim_end().to_owned()));
                }
                Err(HandshakeError::Failure(error)) => return Err(WebError::Handshake(Box::new(error))),
                Err(HandshakeError::Interrupted(half)) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(WebError::Late(time));
                    }
                    match poll.poll(&mut events, Some(left)) {
                        Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                        _ => result = half.handshake(),
                    }
                }
            }
        }
    }
}

/// Looks at requests.
struct Judge<'a> {
    path: Option<&'a str>,
    origins: &'a Origins,
}

impl Judge<'_> {
    /// Why a request is refused; `None`: it is not.
    fn refuses(&self, request: &Request) -> Option<(StatusCode, String)> {
        if let Some(origin) = self.origins.refused(request.headers()) {
            let way = match origin.parse::<Origin>() {
                Ok(_) => format!("--allow-origin {origin} lets them in"),
                Err(_) => "no --allow-origin but * lets them in".to_owned(),
            };
            let reason = format!("web pages of {origin:?} are not let in: {way}");
            return Some((StatusCode::FORBIDDEN, reason));
        }
        let asked = request.uri().path();
        let own = self.path.filter(|path| *path != asked)?;
        Some((StatusCode::NOT_FOUND, format!("it asked for {}: the relay is at {own}", shown(asked))))
    }
}

impl Callback for Judge<'_> {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        match self.refuses(request) {
            Some((status, reason)) => Err(refusal(status, reason)),
            None => Ok(response),
        }
    }
}

fn refusal(status: StatusCode, reason: String) -> ErrorResponse {
    let body = reason + "\n";
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    *response.body_mut() = Some(body);
    response
}

fn wrong(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

fn of_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => ErrorKind::BrokenPipe.into(),
        Error::Capacity(_) => wrong(format!("a message of more than {MOST} bytes: send shorter ones")),
        other => wrong(format!("no WebSocket any more: {other}")),
    }
}

impl Read for Web {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.message.is_empty() {
            match self.socket.read() {
                Ok(Message::Binary(message)) => self.message = message,
                Ok(Message::Text(_)) => {
                    return Err(wrong("a text message: frames come in binary ones".to_owned()));
                }
                // Pings are answered by the library.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Close(_)) => {
                    // The answer goes out as far as there is room for it.
                    let _ = self.socket.flush();
                    return Ok(0);
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(0),
                Err(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => {
                    return Ok(0);
                }
                Err(error) => return Err(of_io(error)),
            }
        }
        let length = self.message.len().min(into.len());
        into[..length].copy_from_slice(&self.message.split_to(length));
        Ok(length)
    }
}

impl Write for Web {
    /// Takes bytes only when those before are gone, so that no more than one message waits here.
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let length = from.len().min(MESSAGE);
        self.socket.write(Message::binary(from[..length].to_vec())).map_err(of_io)?;
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(length),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush().map_err(of_io)
    }
}
