//! Requests of the page's, which go to a port of the guest's as HTTP/1.

use crate::{
    exchange::{Event, Exchanges, Head, fields, goes_on, lines, put_fields},
    pipe::End,
    server::Io,
};
use bytes::Bytes;
use futures::{
    StreamExt,
    channel::mpsc,
    future::{Either, select},
};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Uri, body::Incoming, client::conn::http1, header};
use std::pin::pin;

/// Makes one request on a connection of its own, and tells the page what comes of it.
pub(crate) async fn request(
    end: End,
    port: u16,
    (head, body): (Head, Bytes),
    (exchanges, id): (Exchanges, u32),
    pulls: mpsc::UnboundedReceiver<()>,
) {
    let last = match attempt(end, port, &head, body, &exchanges, id, pulls).await {
        Ok(()) => Event::AnswerEnd,
        Err(why) => Event::AnswerFailed(format!("port {port} of the container: {why}")),
    };
    exchanges.answered(id);
    exchanges.say(id, last);
}

fn parse(head: &[u8], port: u16, body: Bytes) -> Option<Request<Full<Bytes>>> {
    let mut lines = lines(head);
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::from_bytes(lines.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(lines.next()?).ok()?;
    *request.headers_mut() = fields(lines);
    let names: Vec<_> = request.headers().keys().filter(|name| !goes_on(name)).cloned().collect();
    for name in names {
        request.headers_mut().remove(name);
    }
    request.headers_mut().insert(header::HOST, format!("localhost:{port}").parse().ok()?);
    Some(request)
}

async fn attempt(
    end: End,
    port: u16,
    head: &[u8],
    body: Bytes,
    exchanges: &Exchanges,
    id: u32,
    pulls: mpsc::UnboundedReceiver<()>,
) -> Result<(), String> {
    let request = parse(head, port, body).ok_or("this is no request that HTTP has")?;
    let (mut sender, connection) = http1::handshake(Io(end)).await.map_err(|error| describe(&error))?;
    let mut connection = pin!(connection);
    let answer = {
        let sending = pin!(sender.send_request(request));
        match select(sending, &mut connection).await {
            Either::Left((answer, _)) => answer,
            // The connection is over: what was asked for has come with it, or why it has not.
            Either::Right((_, sending)) => sending.await,
        }
    };
    let (head, body) = answer.map_err(|error| describe(&error))?.into_parts();
    let mut told: Head = format!("{}\n", head.status.as_u16()).into();
    put_fields(&mut told, head.headers.iter().filter(|(name, _)| goes_on(name)));
    exchanges.say(id, Event::Answer(told));
    let passing = pin!(pass(body, exchanges, id, pulls));
    match select(passing, connection).await {
        Either::Left((done, _)) => done,
        Either::Right((_, passing)) => passing.await,
    }
}

/// Passes on the body, a piece for each pull.
async fn pass(
    mut body: Incoming,
    exchanges: &Exchanges,
    id: u32,
    mut pulls: mpsc::UnboundedReceiver<()>,
) -> Result<(), String> {
    while pulls.next().await.is_some() {
        loop {
            match body.frame().await {
                None => return Ok(()),
                Some(Err(error)) => return Err(describe(&error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        exchanges.say(id, Event::AnswerBody(bytes));
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}

/// An error with what is behind it.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
