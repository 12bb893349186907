//! The gateway with Linux's own network stack as its guest, and the host's sockets behind it. The tests need
//! root, `/dev/net/tun`, and `ip`, `curl` and `python3`.

mod datagrams;
mod guest;
mod link;
mod relay;
mod tcp;
