//! `forelift convert`: parses its arguments, and prints the result.

mod args;
mod report;

use crate::{
    cache,
    convert::{self, Options},
    progress::Stages,
    web,
};
use anyhow::bail;
pub(super) use args::Args;
use args::Snapshot;

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let relay = args.web_net.as_deref().filter(|net| *net != web::FETCH);
    if let (Some(relay), false) = (relay, args.web_ports.is_empty()) {
        bail!(
            "--web-ports: a page reaches no ports by a relay (--web-net {relay}): leave one of the two out"
        );
    }
    let mut stages = Stages::new(args.quiet);
    let options = options(args);
    let converted = convert::convert(&options, &mut stages)?;
    report::report(args, &options.output, &converted, &stages)
}

fn options(args: &Args) -> Options {
    Options {
        image: args.image.clone(),
        output: match (&args.web, &args.output) {
            (Some(path), _) | (None, Some(path)) => path.clone(),
            (None, None) => args::default_output(&args.image),
        },
        web: args.web.as_ref().map(|_| web::Options {
            title: args.web_title.clone().unwrap_or_else(|| args::default_name(&args.image)),
            args: args.web_args.clone().map(|words| words.0).unwrap_or_default(),
            net: args.web_net.clone(),
            ports: args.web_ports.clone(),
            fixed: args.web_fixed,
        }),
        platform: args.platform,
        memory: args.memory,
        kernel: args.kernel.clone(),
        append: args.append.clone(),
        snapshot: args.snapshot == Snapshot::Ready,
        train: args.train.clone(),
        train_limit: args.train_limit,
        lift: args.lift,
        cache: if args.no_cache { None } else { cache::default_dir() },
        symbol_map: args.symbol_map.clone(),
        component: args.component,
        keep_names: args.keep_names,
    }
}
