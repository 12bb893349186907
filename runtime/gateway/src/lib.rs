//! A page's network. A page of the web has no sockets, but it can make requests by `fetch`, and a service
//! worker can have it answer some. So this gateway, which is `forelift_net`'s as far as packets go, ends the
//! guest's connections itself: whatever port they go to, it expects HTTP on them, in TLS or not, and has the
//! page make the requests; and requests of the page's become connections to the guest.
//!
//! ```text
//! guest -- frames -- Gateway -- pipe -- [TLS --] hyper's server -- Event::Fetch ----> page: fetch
//!                            -- pipe -- hyper's client <---------- Message::Request - page: service worker
//! ```
//!
//! * [`gateway`] is all of it: a machine without a clock, that is told what has come and says what it wants;
//! * [`names`] answers the guest's questions for names: each gets an address that stands for it;
//! * `sockets` and [`pipe`] are the ends of the guest's connections;
//! * [`authority`] makes certificates for the names that the guest connects to by TLS, under a root that is
//!   made for each gateway and that nobody else has;
//! * `server` and `client` are the two ways of requests, [`exchange`] what is common to them;
//! * `exports` is what JavaScript calls (`runtime/web/src/gateway.ts`).

pub mod authority;
mod client;
pub mod exchange;
#[cfg(target_family = "wasm")]
pub mod exports;
pub mod gateway;
pub mod names;
pub mod pipe;
mod server;
mod sockets;
