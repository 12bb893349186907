//! `forelift net-relay`.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    sync::Arc,
};

use anyhow::Context;
use clap::{Parser, builder::RangedU64ValueParser};

use super::network::GatewayArgs;
use crate::embed::{control::Control, net::say_ports};
use forelift_net::{
    Options,
    native::relay::{Listen, Note, Origin, Relay, RelayOptions},
};

const EXAMPLES: &str = "\
Examples:
  forelift net-relay --listen tcp:127.0.0.1:4000
  forelift net-relay --listen unix:/tmp/net --net-allow example.org:443
  forelift net-relay --listen ws://[::1]:4000 --allow-origin https://example.org
  forelift run --net-stream tcp:127.0.0.1:4000 --dns 10.0.2.3 debian.wasm sh";

/// Give guests of other runtimes a network
///
/// Each connection is a guest with a link of its own, at which `forelift run --net` would find the same: a
/// next hop, a resolver at 10.0.2.3, and this host's sockets behind them. The guest is 10.0.2.15 and
/// fd00:f0::15. It speaks QEMU's stream framing, each frame behind its length (4 bytes, big-endian); over
/// WebSocket, that stream in binary messages, whose boundaries mean nothing.
///
/// Whoever can connect has this host's network, as far as --net-allow lets it: listen on the loopback, or on
/// a Unix socket. Web pages are let in from the loopback only, unless --allow-origin names them.
///
/// It serves until SIGINT or SIGTERM.
#[derive(Debug, Parser)]
#[command(args_override_self = false, after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// Where guests connect: tcp:HOST:PORT, unix:PATH or ws://HOST:PORT/PATH; with port 0, this host chooses
    /// one. May be given several times
    #[arg(long, value_name = "ADDR", required = true)]
    listen: Vec<Listen>,
    /// How many guests there may be at a time; with -p it is one
    #[arg(long, value_name = "N", default_value = "16", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    max_guests: usize,
    /// Let web pages of this origin connect (https://HOST:PORT), besides those of the loopback; * for all
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    allow_origins: Vec<Origin>,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    // From here on a signal ends the relay in order: its Unix sockets are removed.
    let control = Control::new(false, false).context("catching signals")?;
    let asked = Options { outbound: true, ..args.gateway.options() }.gateway()?;
    let ports = asked.published.clone();
    let relay = Relay::new(RelayOptions {
        listen: args.listen.clone(),
        config: asked,
        max_guests: args.max_guests,
        allow_origins: args.allow_origins.clone(),
    })?;
    say_ports(&ports, relay.published());
    for address in relay.addresses() {
        let others = if address.is_reached_by_others() { ": other hosts can connect, too" } else { "" };
        say(&format!("listening on {address}{others}"));
    }
    let note: Note = Arc::new(say);
    Ok(relay.serve(control.as_fd(), &note)?)
}

/// A line on standard error. Who does not read it does not end the relay.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "forelift: {line}");
}
