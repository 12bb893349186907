//! What connections and flows need of the rest of the gateway while they work.

use crate::{icmp, link::Link, sockets::Sockets};
use std::{net::IpAddr, time::Duration};

pub(crate) struct Around<'a, S: Sockets> {
    pub(crate) sockets: &'a mut S,
    pub(crate) link: &'a mut Link,
    pub(crate) now: Duration,
    /// Where errors come from.
    pub(crate) gateways: &'a [IpAddr],
    /// Gets each response of a resolver's.
    pub(crate) seen: &'a mut dyn FnMut(&[u8]),
}

impl<S: Sockets> Around<'_, S> {
    /// The gateway's address of IPv4 or of IPv6.
    pub(crate) fn gateway(&self, v4: bool) -> Option<IpAddr> {
        self.gateways.iter().find(|ip| ip.is_ipv4() == v4).copied()
    }

    /// Tells the guest by ICMP, from the gateway, that its packet `about` met an error.
    pub(crate) fn error(&mut self, about: &[u8], error: icmp::Error) {
        let v4 = about.first().is_some_and(|first| first >> 4 == 4);
        if let Some(source) = self.gateway(v4) {
            icmp::error(self.link, source, about, error, self.now);
        }
    }
}
