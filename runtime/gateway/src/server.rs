//! The guest's connections: whatever is at their other end, it speaks HTTP/1 here, and has the page make the
//! requests.

use crate::{
    authority::Authority,
    exchange::{Event, Exchanges, Fetch, Head, Pieces, fields, goes_on, lines, put_fields},
    pipe::End,
};
use bytes::Bytes;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use futures_rustls::{LazyConfigAcceptor, rustls::server::Acceptor};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// First byte of a TLS record that begins a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// Most bytes of a request's body: the page has them in memory until they are complete.
const LARGEST: usize = 256 << 20;
/// Fields that the page's browser sets by itself, or that would have it ask a server's permission first
/// (CORS preflight) although nobody needs them.
const OF_BROWSER: [HeaderName; 4] =
    [header::HOST, header::EXPECT, header::ACCEPT_ENCODING, header::USER_AGENT];

/// Where a connection goes.
#[derive(Clone)]
pub(crate) struct Target {
    /// A name, or an address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Serves one connection of the guest's until its end.
pub(crate) async fn serve(
    end: End,
    target: Target,
    exchanges: Exchanges,
    authority: Rc<RefCell<Authority>>,
) -> io::Result<()> {
    let mut end = Begun { first: None, rest: end };
    let mut first = [0];
    if end.rest.read(&mut first).await? == 0 {
        return Ok(());
    }
    end.first = Some(first[0]);
    if first[0] != HANDSHAKE {
        return speak(end, target, "http", exchanges).await;
    }
    let hello = LazyConfigAcceptor::new(Acceptor::default(), end).await?;
    let named = hello.client_hello().server_name().map(str::to_owned);
    let host = named.unwrap_or_else(|| target.host.clone());
    let config = authority.borrow_mut().server(&host).map_err(io::Error::other)?;
    let stream = hello.into_stream(config).await?;
    speak(stream, Target { host, ..target }, "https", exchanges).await
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    target: Target,
    scheme: &'static str,
    exchanges: Exchanges,
) -> io::Result<()> {
    let service = service_fn(move |request| {
        let (exchanges, target) = (exchanges.clone(), target.clone());
        async move { Ok::<_, Infallible>(fetch(request, &target, scheme, &exchanges).await) }
    });
    http1::Builder::new().serve_connection(Io(stream), service).await.map_err(io::Error::other)
}

type Answer = Response<Either<Full<Bytes>, Pieces>>;

/// An answer of the gateway's own.
fn own(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(format!("forelift: {text}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// The address of what is asked for; none when it is no address of HTTP's, of which pages can fetch some.
fn address(request: &Request<Incoming>, target: &Target, scheme: &str) -> Option<String> {
    let uri = request.uri();
    // As a proxy is asked (RFC 9112, section 3.2.2).
    if let Some(asked) = uri.scheme_str() {
        return ["http", "https"].contains(&asked).then(|| uri.to_string());
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    Some(match named {
        Some(host) if !host.is_empty() => format!("{scheme}://{host}{path}"),
        // HTTP/1.0 need not say so.
        _ if target.port == if scheme == "https" { 443 } else { 80 } => {
            format!("{scheme}://{}{path}", target.host)
        }
        _ => format!("{scheme}://{}:{}{path}", target.host, target.port),
    })
}

/// Has the page make a request.
async fn fetch(request: Request<Incoming>, target: &Target, scheme: &str, exchanges: &Exchanges) -> Answer {
    let method = request.method();
    if *method == Method::CONNECT
        || *method == Method::TRACE
        || request.headers().contains_key(header::UPGRADE)
    {
        let text = "a page's fetch makes plain requests alone: no tunnels, no WebSockets";
        return own(StatusCode::NOT_IMPLEMENTED, text);
    }
    let is_head = *method == Method::HEAD;
    let Some(address) = address(&request, target, scheme) else {
        return own(StatusCode::NOT_IMPLEMENTED, "a container's requests are of http: and https: alone");
    };
    let mut head: Head = format!("{method}\n{address}\n").into();
    let sent = request.headers().iter();
    put_fields(&mut head, sent.filter(|(name, _)| goes_on(name) && !OF_BROWSER.contains(name)));

    let Fetch { response, body } = exchanges.fetch(head);
    let mut sent = request.into_body();
    let mut length = 0;
    while let Some(frame) = sent.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(bytes)) => {
                length += bytes.len();
                if length > LARGEST {
                    let text = "a page cannot send more than 256 MiB at once";
                    return own(StatusCode::PAYLOAD_TOO_LARGE, text);
                }
                exchanges.say(body.id(), Event::FetchBody(bytes));
            }
            // Trailers.
            Ok(Err(_)) => {}
            Err(_) => return own(StatusCode::BAD_REQUEST, "the request was cut off"),
        }
    }
    exchanges.say(body.id(), Event::FetchEnd);
    match response.await {
        Ok(Ok(head)) => answer(&head, body, is_head),
        Ok(Err(why)) => own(StatusCode::BAD_GATEWAY, &format!("{address}: {why}")),
        Err(_) => own(StatusCode::BAD_GATEWAY, &format!("{address}: the page is gone")),
    }
}

/// The page's response, for the guest.
fn answer(head: &[u8], body: Pieces, is_head: bool) -> Answer {
    let mut lines = lines(head);
    let Some(status) = lines.next().and_then(|line| StatusCode::from_bytes(line).ok()) else {
        return own(StatusCode::BAD_GATEWAY, "the page gave no response");
    };
    let mut answer = Response::new(Either::Right(body));
    *answer.status_mut() = status;
    for (name, value) in &fields(lines) {
        // The browser has uncompressed the body.
        let is_length = *name == header::CONTENT_LENGTH && is_head;
        if (goes_on(name) || is_length) && *name != header::CONTENT_ENCODING {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}

/// A stream of which a byte was read already.
struct Begun {
    first: Option<u8>,
    rest: End,
}

impl AsyncRead for Begun {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if let (Some(byte), Some(place)) = (self.first, into.first_mut()) {
            *place = byte;
            self.first = None;
            return Poll::Ready(Ok(1));
        }
        Pin::new(&mut self.rest).poll_read(cx, into)
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_close(cx)
    }
}

/// A stream as hyper wants it.
pub(crate) struct Io<S>(pub(crate) S);

impl<S: AsyncRead + Unpin> hyper::rt::Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 16 << 10];
        let most = into.remaining().min(bytes.len());
        let length = ready!(Pin::new(&mut self.0).poll_read(cx, &mut bytes[..most]))?;
        into.put_slice(&bytes[..length]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> hyper::rt::Write for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
