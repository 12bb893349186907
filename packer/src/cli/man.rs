//! `forelift man`.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Command, Parser, ValueHint};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::print::at;
use crate::pack::output::Output;

const EXAMPLES: &str = "\
Examples:
  forelift man /usr/local/share/man/man1
  forelift man man1";

/// Write the manual pages: forelift.1, and one of each command, such as forelift-convert.1
#[derive(Debug, Parser)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct Args {
    /// The directory for them, made if it is missing
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: PathBuf,
}

/// Writes the pages of `command`, the whole command line.
pub(super) fn run(args: &Args, command: Command) -> anyhow::Result<()> {
    fs::create_dir_all(&args.dir).map_err(at(&args.dir))?;
    let mut root = command.disable_help_subcommand(true);
    root.build();
    let visible = root.get_subcommands().filter(|command| !command.is_hide_set());
    for command in [&root].into_iter().chain(visible) {
        write(command, &args.dir)?;
    }
    Ok(())
}

fn write(command: &Command, dir: &Path) -> anyhow::Result<()> {
    let man =
        Man::new(command.clone()).source(concat!("forelift ", env!("CARGO_PKG_VERSION"))).manual("Forelift");
    let path = dir.join(man.get_filename());
    let mut output = Output::create(&path).map_err(at(&path))?;
    {
        let mut out = output.writer();
        page(&man, command, &mut out).and_then(|()| out.flush()).map_err(at(&path))?;
    }
    output.finish().map_err(at(&path))
}

/// A page: as [`Man::render`] makes it, but what follows the options in the long help gets sections of its
/// own.
fn page(man: &Man, command: &Command, out: &mut dyn Write) -> io::Result<()> {
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(out)?;
    }
    let more = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    sections(&more).to_writer(out)
}

/// Text with headings, `Like this:`, as sections; its indented lines stay as they are.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::default();
    let mut as_it_is = false;
    for line in text.lines() {
        if line.starts_with(' ') != as_it_is {
            as_it_is = !as_it_is;
            set_apart(&mut roff, as_it_is);
        }
        match line.strip_suffix(':').filter(|_| !as_it_is) {
            Some(heading) => roff.control("SH", [heading.to_uppercase().as_str()]),
            None if line.is_empty() => roff.control("PP", []),
            None => roff.text([roman(line.trim_start())]),
        };
    }
    if as_it_is {
        set_apart(&mut roff, false);
    }
    roff
}

/// Begins or ends an indented part whose lines are not filled.
fn set_apart(roff: &mut Roff, begin: bool) {
    if begin {
        roff.control("RS", ["4"]).control("nf", []);
    } else {
        roff.control("fi", []).control("RE", []);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_sections() {
        let text = "Examples:\n  forelift run 'a' -x\n  .dot\n\nFiles:\nIn words\n\nand more.";
        assert_eq!(
            sections(text).to_roff(),
            ".SH EXAMPLES\n.RS 4\n.nf\nforelift run 'a' \\-x\n\\&.dot\n.fi\n.RE\n.PP\n.SH FILES\nIn words\n.PP\nand more.\n"
        );
    }
}
