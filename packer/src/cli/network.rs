//! The options that give a container a network: of `forelift run`, and those of its gateway, which
//! `forelift net-relay` has, too.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, ValueHint};

use forelift_net::Options;

// What a gateway is told. (clap would take a doc comment for the command's own text.)
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct GatewayArgs {
    /// Publish a port of the container on the host, as docker does: on 127.0.0.1 unless IP says otherwise;
    /// HOST and GUEST may be ranges; without HOST, or with 0, the host chooses a port, which is printed
    #[arg(short = 'p', long = "publish", value_name = "[[IP:]HOST:]GUEST[/udp]")]
    publish: Vec<String>,
    /// Ask this resolver for names, instead of the host's own
    #[arg(long, value_name = "IP")]
    dns: Vec<IpAddr>,
    /// Give a host a name in the container; host-gateway for IP is this host, which --net-host-loopback opens
    #[arg(long = "add-host", value_name = "NAME:IP")]
    add_hosts: Vec<String>,
    /// Let the container reach nothing but this, which may be given several times: a network, an address, or
    /// a name, with a port or all ports
    #[arg(long = "net-allow", value_name = "CIDR|NAME[:PORT]")]
    allow: Vec<String>,
    /// Let the container reach what listens on this host's loopback, as host.forelift.internal
    #[arg(long = "net-host-loopback")]
    host_loopback: bool,
}

impl GatewayArgs {
    /// As options that ask for nothing else.
    pub(super) fn options(&self) -> Options {
        Options {
            publish: self.publish.clone(),
            dns: self.dns.clone(),
            add_hosts: self.add_hosts.clone(),
            allow: self.allow.clone(),
            host_loopback: self.host_loopback,
            ..Options::default()
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(super) struct NetworkArgs {
    /// Let the container open connections. Without this, -p or --net-stream it has no network but its
    /// loopback
    #[arg(long)]
    net: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Publish all ports that the image exposes, at ports that the host chooses
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Try names in this domain, too
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// The container's address, 10.0.2.15 and fd00:f0::15 by default; once for each family
    #[arg(long = "ip", value_name = "IP")]
    ips: Vec<IpAddr>,
    /// The Ethernet address of the container's interface
    #[arg(long, value_name = "MAC", visible_alias = "mac-address")]
    mac: Option<String>,
    /// Connect the container's interface to another program, in QEMU's stream framing: `forelift net-relay`,
    /// passt, gvproxy, or a second container (unix-listen: and tcp-listen: wait for it)
    #[arg(long = "net-stream", value_name = "unix:PATH|tcp:HOST:PORT")]
    stream: Option<String>,
    /// Write all packets to this file, as pcapng
    #[arg(long = "net-capture", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) capture: Option<PathBuf>,
}

impl NetworkArgs {
    pub(super) fn options(&self) -> Options {
        Options {
            outbound: self.net,
            publish_all: self.publish_all,
            search: self.dns_search.clone(),
            ips: self.ips.clone(),
            mac: self.mac.clone(),
            stream: self.stream.clone(),
            capture: self.capture.is_some(),
            ..self.gateway.options()
        }
    }
}
