//! Which web pages may use a relay. A page of any site can open a WebSocket to this host's loopback; the
//! browser says in `Origin` which one it is (RFC 6455, section 10.2).

use std::str::FromStr;
use tungstenite::http::{HeaderMap, header::ORIGIN};

/// Longest piece of a request in a message.
const SHOWN: usize = 100;

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write it as a browser does: https://HOST or https://HOST:PORT; null for pages without one; * for all"
)]
pub struct OriginError;

/// An origin of web pages (RFC 6454, section 6.2), or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`.
    All,
    /// As browsers send it.
    One(String),
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text == "*" {
            return Ok(Origin::All);
        }
        let fits = text.split_once("://").is_some_and(|(scheme, host)| {
            let (name, port) = match host.rsplit_once(':') {
                // The colon may be one of an IPv6 address's.
                Some((name, port)) if !port.ends_with(']') => (name, port.parse::<u16>().is_ok()),
                _ => (host, true),
            };
            let scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
            let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@*".contains(c);
            scheme && port && !name.is_empty() && !name.contains(odd)
        });
        if fits || text == "null" { Ok(Origin::One(text.to_owned())) } else { Err(OriginError) }
    }
}

/// The origins that are let in besides those on the loopback.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(pub(super) Vec<Origin>);

impl Origins {
    /// The first origin of a request that is not let in, to be shown.
    pub(super) fn refused(&self, headers: &HeaderMap) -> Option<String> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let mut origins = headers.get_all(ORIGIN).iter().map(|value| text(value.as_bytes()));
        origins.find(|origin| !self.allows(origin)).map(|origin| shown(&origin))
    }

    fn allows(&self, origin: &str) -> bool {
        let is = |own: &Origin| match own {
            Origin::All => true,
            Origin::One(own) => own.eq_ignore_ascii_case(origin),
        };
        is_loopback(origin) || self.0.iter().any(is)
    }
}

/// A piece of a request, fit for a line of text.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect::<String>().escape_debug().to_string()
}

/// Whether it is a page of this host's loopback.
fn is_loopback(origin: &str) -> bool {
    let Some(("http" | "https", host)) = origin.split_once("://") else { return false };
    ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .filter_map(|own| host.strip_prefix(own))
        .any(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(allowed: &[&str], origins: &[&str]) -> Option<String> {
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        Origins(allowed).refused(&headers)
    }

    #[test]
    fn the_loopback_and_what_is_named_are_let_in() {
        assert_eq!(refused(&[], &[]), None);
        for origin in ["http://localhost", "http://localhost:8000", "https://127.0.0.1:1", "http://[::1]:80"]
        {
            assert_eq!(refused(&[], &[origin]), None, "{origin}");
        }
        for origin in [
            "https://example.org",
            "http://localhost.example.org",
            "http://localhost:80@example.org",
            "http://127.0.0.1.example.org",
            "http://127.0.0.2",
            "ftp://localhost",
            "null",
            "",
        ] {
            assert_eq!(refused(&["https://a.example"], &[origin]).as_deref(), Some(origin));
            assert_eq!(refused(&["*"], &[origin]), None, "{origin}");
        }
        assert_eq!(refused(&["https://a.example:8"], &["https://A.example:8"]), None);
        assert_eq!(refused(&["null"], &["null"]), None);
        let second = refused(&[], &["http://localhost", "https://b.example"]);
        assert_eq!(second.as_deref(), Some("https://b.example"));
        assert_eq!(refused(&[], &["http://a\tb"]).as_deref(), Some("http://a\\tb"));
    }

    #[test]
    fn what_no_browser_sends_is_a_mistake() {
        for bad in [
            "",
            "example.org",
            "://x",
            "https://",
            "https://:80",
            "https://example.org/",
            "http://localhost/x",
            "https://a@example.org",
            "https://example.org:x",
            "https://example.org:65536",
            "file://",
            "https://*.example.org",
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(OriginError), "{bad}");
        }
        for good in ["https://[2001:db8::1]", "https://[::1]:80", "chrome-extension://abcdef", "null", "*"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
    }
}
