//! The network gateway: it has the guest's Ethernet frames on one side and the host's sockets on the other,
//! as slirp and passt have. The guest sees a link of its own with a router and a resolver; the host sees an
//! ordinary program that opens connections.
//!
//! | | IPv4 | IPv6 |
//! |---|---|---|
//! | guest | 10.0.2.15/24 | fd00:f0::15/64 |
//! | gateway; the host's loopback if allowed | 10.0.2.2 | fd00:f0::2 |
//! | resolver | 10.0.2.3 | fd00:f0::3 |
//!
//! [`Gateway`] is the machine: it knows neither an operating system nor a clock, and works on any
//! [`Sockets`]. `native` runs one on a thread with the host's sockets; the guest's network device holds its
//! handle. `native::relay` serves gateways to guests of other processes. In a component, `wasi` runs one on
//! the runtime's sockets. A packet is what `forelift_abi::net` says: a virtio header and a frame.
//!
//! # Bounds
//!
//! 4096 TCP connections with at most 400 MiB of buffers between them (what a connection does not use costs
//! nothing); beyond, a SYN is answered with a reset. 1024 flows of datagrams and 1024 clients of published
//! UDP ports: beyond, the one idle for longest goes. 16 packets in the making from fragments, 64 KiB each.
//! 256 addresses for each rule with a name. Each way of the link holds 4 MiB of packets.
#![forbid(unsafe_code)]

mod around;
mod config;
mod dns;
mod flows;
mod fragments;
pub mod frames;
mod gateway;
mod icmp;
mod link;
#[cfg(unix)]
pub mod native;
mod neighbor;
pub mod offload;
mod options;
mod pcapng;
mod policy;
mod ports;
mod publish;
mod published;
mod rule;
mod sockets;
mod tcp;
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(all(target_os = "wasi", feature = "wasi"))]
pub mod wasi;
mod wire;

pub use config::{AddressError, Addresses, Config, HOST_GATEWAY, HOST_NAME, HostAddress, Mac};
pub use dns::answer_by;
pub use gateway::{Counts, FOREIGN, Gateway, published_token};
pub use options::{OptionError, Options, Plan};
pub use publish::{Protocol, Publish, PublishError};
pub use published::{BindError, Bound, BoundSocket};
pub use rule::{Destination, Rule, RuleError};
pub use sockets::{Readiness, Sockets, Token};
