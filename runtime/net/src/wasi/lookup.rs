//! The runtime's own resolver as one that is asked by datagrams: it knows addresses of names, and nothing
//! else of DNS.

use super::{
    address::ip,
    watch::{Side, Watch, Watches},
};
use crate::{dns, sockets::Token};
use std::{
    io::{self, ErrorKind},
    net::IpAddr,
};
use wasip2::{
    clocks::monotonic_clock::subscribe_duration,
    sockets::{
        ip_name_lookup::{ResolveAddressStream, resolve_addresses},
        network::{ErrorCode, Network},
    },
};

/// Most addresses of a name that are taken.
const MOST: usize = 64;

/// One question.
pub(super) struct Lookup {
    /// Dropped before the stream that it is about.
    watch: Option<Watch>,
    stream: Option<ResolveAddressStream>,
    found: Vec<IpAddr>,
    query: Vec<u8>,
    /// The answer, once it is known.
    answer: Option<Vec<u8>>,
}

impl Lookup {
    pub(super) fn new() -> Self {
        Lookup { watch: None, stream: None, found: Vec::new(), query: Vec::new(), answer: None }
    }

    /// Begins to look for the addresses of the name that `query` is about.
    pub(super) fn ask(
        &mut self,
        query: &[u8],
        token: Token,
        network: &Network,
        watches: &Watches,
    ) -> io::Result<()> {
        let Some(question) = dns::Question::of_query(query) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        *self = Lookup { query: query.to_vec(), ..Lookup::new() };
        if question.is_for_addresses() {
            match resolve_addresses(network, &question.name) {
                Ok(stream) => {
                    self.watch = Some(watches.add(stream.subscribe(), token, Side::Read));
                    self.stream = Some(stream);
                }
                Err(code) => self.answer = Some(dns::failure(query, &question, response_code(code))),
            }
        } else {
            self.answer = Some(dns::failure(query, &question, dns::NOT_IMPLEMENTED));
        }
        let watch = self.watch.get_or_insert_with(|| watches.add(subscribe_duration(0), token, Side::Read));
        watch.want();
        Ok(())
    }

    /// The answer, as a datagram.
    pub(super) fn answer(&mut self) -> io::Result<Vec<u8>> {
        while let (None, Some(stream)) = (&self.answer, &self.stream) {
            let question = dns::Question::of_query(&self.query).ok_or(ErrorKind::InvalidInput)?;
            match stream.resolve_next_address() {
                Ok(Some(address)) if self.found.len() < MOST => self.found.push(ip(address)),
                Ok(_) => self.answer = Some(dns::answer(&self.query, &question, &self.found)),
                Err(ErrorCode::WouldBlock) => {
                    if let Some(watch) = &self.watch {
                        watch.want();
                    }
                    return Err(ErrorKind::WouldBlock.into());
                }
                Err(code) => self.answer = Some(dns::failure(&self.query, &question, response_code(code))),
            }
        }
        self.answer.take().ok_or(ErrorKind::WouldBlock.into())
    }
}

fn response_code(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::NameUnresolvable | ErrorCode::PermanentResolverFailure => dns::NO_SUCH_NAME,
        ErrorCode::AccessDenied => dns::REFUSED,
        _ => dns::SERVER_FAILURE,
    }
}
