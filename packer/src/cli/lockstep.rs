//! `forelift lockstep`.

use std::path::Path;

use anyhow::bail;
use clap::{Parser, ValueEnum, ValueHint};
use forelift_runtime::machine::lockstep::Turn;

use super::print::print;
use crate::{
    lockstep::{
        self, Lockstep, Options, Verdict,
        bisect::{self, Found},
    },
    pack::reader,
};

const EXAMPLES: &str = "\
Examples:
  forelift lockstep debian.wasm sh -c 'ls -lR /usr | md5sum'
  forelift lockstep --engines interp,aot debian.wasm python3 -c 'print(2**100)'
  forelift lockstep --bisect debian.wasm python3 -c 'print(2**100)'
  forelift lockstep --bisect --test './judge debian.wasm' debian.wasm";

/// Run an image on two engines side by side and find where they part (for the development of translators)
///
/// Both machines start from the image's snapshot, on virtual time, without input, directories or anybody who
/// reads their output. Registers and written memory are compared all along.
///
/// The exit status is 0 when there is no difference, 1 when there is one or the comparison failed.
#[derive(Debug, Parser)]
#[command(args_override_self = false, after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The two engines: interp; aot, the image's lifted code in WebAssembly; native, lifted code compiled for
    /// this host
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1, default_value = "interp,native")]
    engines: Vec<Engine>,
    /// Compare at most so many instructions
    #[arg(long, value_name = "INSTRUCTIONS", default_value_t = 2_000_000_000)]
    limit: u64,
    /// Find the one lifted function that makes the difference, by leaving functions out
    #[arg(long)]
    bisect: bool,
    /// With --bisect: what tells good (status 0) from bad, instead of a comparison: a shell command that runs
    /// the image with `forelift run`, whose lifted functions are limited by the variable FORELIFT_FUNCTIONS;
    /// status 125: it cannot tell
    #[arg(long, value_name = "COMMAND", requires = "bisect")]
    test: Option<String>,
    /// Make function N wrong, for the engine native: to see that it is found
    #[arg(long, value_name = "N", hide = true)]
    wrong: Option<usize>,
    /// The image, and behind it the image's own arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "ARGS"], value_hint = ValueHint::FilePath)]
    words: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    Interp,
    Aot,
    Native,
}

impl From<Engine> for lockstep::Engine {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Interp => lockstep::Engine::Interp,
            Engine::Aot => lockstep::Engine::Aot,
            Engine::Native => lockstep::Engine::Native,
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let [path, rest @ ..] = args.words.as_slice() else {
        bail!("no image is given: see `forelift lockstep --help`")
    };
    let engines = match args.engines[..] {
        [a, b] if a != b => [lockstep::Engine::from(a), b.into()],
        _ => bail!("--engines: expected two different engines, as interp,native"),
    };
    let image = reader::open(Path::new(path))?.runnable()?;
    if let Some(command) = &args.test {
        let count = bisect::index(&image)?.functions.1;
        let found = bisect::search(count, &mut |enabled| {
            bisect::test(command, &bisect::list((0..count).filter(|&n| enabled(n))))
        })?;
        return report(found);
    }
    let options = Options {
        engines,
        args: rest.to_vec(),
        limit: args.limit,
        cache: crate::cache::default_dir(),
        wrong: args.wrong,
    };
    let lockstep = Lockstep::new(&image, options)?;
    if args.bisect {
        let found = bisect::search(lockstep.functions()?, &mut |enabled| {
            Ok(matches!(lockstep.compare(enabled, &mut |_| {})?, Verdict::Different(_)))
        })?;
        return report(found);
    }
    verdict(engines, lockstep.compare(&|_| true, &mut |_| {})?)
}

fn verdict(engines: [lockstep::Engine; 2], verdict: Verdict) -> anyhow::Result<u8> {
    match verdict {
        Verdict::Same { instructions, lifted, end } => {
            let end = match end {
                Turn::Ended(code) => format!("the command ended with status {code}"),
                Turn::Stopped => "the guest stopped".into(),
                Turn::GoesOn => "the limit was reached".into(),
            };
            let [a, b] = [0, 1].map(|side| {
                let count = lifted[side].map_or("an unknown number".to_string(), |count| count.to_string());
                format!("{count} by {}", engines[side].name())
            });
            print(&format!("no difference in {instructions} instructions (lifted: {a}, {b}): {end}"))?;
            Ok(0)
        }
        Verdict::Different(difference) => {
            print(difference.to_string().trim_end())?;
            Ok(1)
        }
    }
}

fn report(found: Found) -> anyhow::Result<u8> {
    let (text, code) = match found {
        Found::Nothing => ("nothing is wrong with all functions in use".to_string(), 0),
        Found::Elsewhere => ("it is wrong without any lifted function, too".to_string(), 1),
        Found::Function { number, alone: true } => (format!("function {number} makes the difference"), 1),
        Found::Function { number, alone: false } => {
            (format!("function {number} makes the difference, together with functions before it"), 1)
        }
    };
    print(&text)?;
    Ok(code)
}
