//! Where a relay listens.

use super::super::ends::Listener;
use std::{io, net::SocketAddr, str::FromStr};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `tcp:HOST:PORT`.
    Tcp(String),
    /// `unix:PATH`.
    Unix(String),
    /// `ws://HOST:PORT[/PATH]`.
    Web {
        /// HOST:PORT.
        address: String,
        /// With its slash; `None`: all paths.
        path: Option<String>,
    },
}

/// A text that is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as tcp:HOST:PORT, unix:PATH or ws://HOST:PORT[/PATH], for example tcp:127.0.0.1:0")]
pub struct ListenError;

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let has_port = |address: &str| {
            address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if let Some(rest) = text.strip_prefix("ws://") {
            let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let path = (!matches!(path, "" | "/")).then(|| path.to_owned());
            // What a client asks for has neither query nor fragment in its path.
            let can_match = !rest.contains(['?', '#', ' ']);
            return match has_port(address) && can_match {
                true => Ok(Listen::Web { address: address.to_owned(), path }),
                false => Err(ListenError),
            };
        }
        match text.split_once(':') {
            Some(("tcp", address)) if has_port(address) => Ok(Listen::Tcp(address.to_owned())),
            Some(("unix", path)) if !path.is_empty() => Ok(Listen::Unix(path.to_owned())),
            _ => Err(ListenError),
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "tcp:{address}"),
            Listen::Unix(path) => write!(f, "unix:{path}"),
            Listen::Web { address, path } => write!(f, "ws://{address}{}", path.as_deref().unwrap_or("/")),
        }
    }
}

impl Listen {
    /// Whether others than programs of this host can connect: to be asked of what a relay
    /// [listens on](super::Relay::addresses).
    pub fn is_reached_by_others(&self) -> bool {
        match self {
            Listen::Unix(_) => false,
            Listen::Tcp(address) | Listen::Web { address, .. } => {
                address.parse::<SocketAddr>().is_ok_and(|address| !address.ip().is_loopback())
            }
        }
    }

    /// Listens there; with the port that the host chose.
    pub(super) fn bind(&self) -> io::Result<(Listener, Listen)> {
        let tcp = |address: &str| {
            let listener = Listener::tcp(address)?;
            let bound = listener.address()?.unwrap_or_else(|| address.to_owned());
            Ok::<_, io::Error>((listener, bound))
        };
        Ok(match self {
            Listen::Unix(path) => (Listener::unix(path)?, self.clone()),
            Listen::Tcp(address) => {
                let (listener, bound) = tcp(address)?;
                (listener, Listen::Tcp(bound))
            }
            Listen::Web { address, path } => {
                let (listener, address) = tcp(address)?;
                (listener, Listen::Web { address, path: path.clone() })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_written() {
        for text in ["tcp:127.0.0.1:0", "tcp:[::1]:80", "unix:/tmp/a:b", "ws://localhost:80/net"] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()), Ok(text.to_owned()));
        }
        let all = Listen::Web { address: "127.0.0.1:80".into(), path: None };
        assert_eq!("ws://127.0.0.1:80".parse(), Ok(all.clone()));
        assert_eq!("ws://127.0.0.1:80/".parse(), Ok(all));
        for bad in
            ["", "tcp:", "tcp:80", "tcp::80", "tcp:a:b", "unix:", "ws://a", "ws://:1", "wss://a:1", "a:1"]
                .into_iter()
                .chain(["ws://a:1/b?c", "ws://a:1/b#c"])
        {
            assert_eq!(bad.parse::<Listen>(), Err(ListenError), "{bad}");
        }
    }
}
