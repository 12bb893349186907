//! Which web pages may use a relay. A page of any site can open a WebSocket to this host's loopback; the
//! browser says in `Origin` which one it is (RFC 6455, section 10.2).

use tungstenite::http::{HeaderMap, header::ORIGIN};

/// Longest piece of a request in a message.
const SHOWN: usize = 100;

/// A value of `--allow-origin` that no browser sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--allow-origin {0}: write it as https://HOST or https://HOST:PORT, or * for all")]
pub struct OriginError(String);

/// The origins that are let in besides those on the loopback.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(Vec<String>);

impl Origins {
    pub(super) fn new(texts: &[String]) -> Result<Self, OriginError> {
        for text in texts {
            let host = text.split_once("://").map_or("", |(_, host)| host);
            let fits = !host.is_empty() && !host.contains(['/', '?', '#']);
            if !fits && text != "*" && text != "null" {
                return Err(OriginError(text.clone()));
            }
        }
        Ok(Origins(texts.to_vec()))
    }

    /// The first origin of a request that is not let in, to be shown.
    pub(super) fn refused(&self, headers: &HeaderMap) -> Option<String> {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let mut origins = headers.get_all(ORIGIN).iter().map(|value| text(value.as_bytes()));
        origins.find(|origin| !self.allows(origin)).map(|origin| shown(&origin))
    }

    fn allows(&self, origin: &str) -> bool {
        is_loopback(origin) || self.0.iter().any(|own| own == "*" || own.eq_ignore_ascii_case(origin))
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
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        Origins::new(&allowed).unwrap().refused(&headers)
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
        for bad in ["example.org", "https://", "https://example.org/", ""] {
            let error = Origins::new(&[bad.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--allow-origin {bad}: ")), "{error}");
        }
    }
}
