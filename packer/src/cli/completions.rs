//! `forelift completions`.

use clap::Parser;
use clap_complete::Shell;

use super::print::print_bytes;

const EXAMPLES: &str = "\
Examples:
  forelift completions bash >~/.local/share/bash-completion/completions/forelift
  forelift completions zsh >/usr/local/share/zsh/site-functions/_forelift
  forelift completions fish >~/.config/fish/completions/forelift.fish";

/// Print what a shell needs to complete this command's words
///
/// The script goes to standard output: save it where your shell looks for such files.
#[derive(Debug, Parser)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args, command: &mut clap::Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "forelift", &mut script);
    print_bytes(&script)
}
