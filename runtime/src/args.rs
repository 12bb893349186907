//! Parses an image's own command line and makes the orders for the guest ([`Start`]) of it and the image's
//! configuration. The rules for entry point, command and environment are docker's (`docker run`).
//!
//! Arguments and environment are bytes: what is not UTF-8 reaches the command unchanged.

mod network;

use forelift_abi::config::ImageConfig;
use forelift_abi::control::{Mount, Start};
use thiserror::Error;

pub use network::{Link, Network, NetworkError};

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Run the container, on the network that there shall be.
    Run(Box<Start>, Option<Box<Network>>),
    /// Print [`help`] on standard output and exit with 0.
    Help,
    /// Print [`version`] on standard output and exit with 0.
    Version,
}

/// Why a command line was refused; the exit code is 125.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ArgsError {
    /// Not an option.
    #[error("unknown option `{0}`: see --help")]
    Unknown(String),
    /// The last word is an option that wants a value.
    #[error("option `{0}` needs a value: see --help")]
    NoValue(&'static str),
    /// An option with a value it cannot have.
    #[error("option `{0}` takes no value: see --help")]
    Value(&'static str),
    /// Only commands, arguments and environment may be other than UTF-8.
    #[error("the value of `{0}` is not UTF-8")]
    NotUtf8(&'static str),
    /// As docker.
    #[error("the working directory `{0}` is invalid, it needs to be an absolute path")]
    Workdir(String),
    /// As docker.
    #[error("no command specified")]
    NoCommand,
    /// A word with a zero byte cannot be passed to a process.
    #[error("argument {0} holds a zero byte")]
    Zero(usize),
    /// The container cannot have such a network.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Text for `--help`.
pub fn help(image: &ImageConfig) -> String {
    let words = |list: &[String]| match list {
        [] => "(none)".to_owned(),
        list => list.join(" "),
    };
    format!(
        "{name}: a Linux container ({arch}) on an emulated machine, made by Forelift {version}\n\
         \n\
         Usage: {name}.wasm [OPTIONS] [COMMAND [ARG...]]\n\
         \n\
         COMMAND replaces the image's command: {cmd}\n\
         Its entry point stays in front of it: {entrypoint}\n\
         \n\
         Options:\n\
         \x20     --entrypoint CMD   replace the entry point and drop the image's command; \"\" for none\n\
         \x20     --no-stdin         leave standard input unconnected (the command reads its end)\n\
         \x20 -u, --user USER[:GROUP]  user to run as, names or numbers [{user}]\n\
         \x20 -w, --workdir DIR      working directory [{cwd}]\n\
         {network}\
         \x20 -h, --help             print this text\n\
         \x20     --version          print the version\n\
         \x20     --                 end of the options\n\
         \n\
         The WASI environment is added to the image's; each preopened directory is mounted at its guest path.\n\
         The exit status is the command's; 125: Forelift failed, 126: not executable, 127: not found.\n",
        name = image.name,
        arch = image.arch.oci_name(),
        version = env!("CARGO_PKG_VERSION"),
        cmd = words(&image.container.cmd),
        entrypoint = words(&image.container.entrypoint),
        user = if image.container.user.is_empty() { "root" } else { &image.container.user },
        network = network::HELP,
        cwd = if image.container.working_dir.is_empty() { "/" } else { &image.container.working_dir },
    )
}

/// Text for `--version`.
pub fn version() -> String {
    format!("forelift {}\n", env!("CARGO_PKG_VERSION"))
}

#[derive(Default)]
struct Options {
    entrypoint: Option<Vec<u8>>,
    no_stdin: bool,
    user: Option<String>,
    workdir: Option<String>,
    network: forelift_net::Options,
}

/// Reads a command line. `args` is without the program's name; `env` holds `NAME=value` each; `mounts` are
/// passed on.
///
/// # Errors
/// See [`ArgsError`].
pub fn parse(
    args: &[Vec<u8>],
    env: &[Vec<u8>],
    image: &ImageConfig,
    mounts: Vec<Mount>,
) -> Result<Request, ArgsError> {
    if let Some(bad) = args.iter().position(|a| a.contains(&0)) {
        return Err(ArgsError::Zero(bad + 1));
    }
    let mut options = Options::default();
    let mut rest = args;
    while let [word, tail @ ..] = rest {
        // A lone dash is a command, like every word that is no option.
        if word == b"--" {
            rest = tail;
            break;
        }
        if word.first() != Some(&b'-') || word == b"-" {
            break;
        }
        rest = tail;
        let (name, inline) = match word.iter().position(|&b| b == b'=') {
            Some(at) if word.starts_with(b"--") => (&word[..at], Some(&word[at + 1..])),
            // As docker: `-p8080:80`, `-p=8080:80`.
            _ if matches!(word[..], [b'-', b'p' | b'u' | b'w', _, ..]) => {
                let value = &word[2..];
                (&word[..2], Some(value.strip_prefix(b"=").unwrap_or(value)))
            }
            _ => (&word[..], None),
        };
        let mut value = |name| match (inline, rest) {
            (Some(v), _) => Ok(v.to_vec()),
            (None, [v, tail @ ..]) => {
                rest = tail;
                Ok(v.clone())
            }
            (None, []) => Err(ArgsError::NoValue(name)),
        };
        let flag = |name| if inline.is_some() { Err(ArgsError::Value(name)) } else { Ok(()) };
        match name {
            b"--entrypoint" => options.entrypoint = Some(value("--entrypoint")?),
            b"--user" | b"-u" => options.user = Some(utf8("--user", value("--user")?)?),
            b"--workdir" | b"-w" => options.workdir = Some(utf8("--workdir", value("--workdir")?)?),
            b"--no-stdin" => {
                flag("--no-stdin")?;
                options.no_stdin = true;
            }
            b"--help" | b"-h" => return flag("--help").map(|()| Request::Help),
            b"--version" => return flag("--version").map(|()| Request::Version),
            _ => match network::name(name) {
                Some((name, true)) => network::set(&mut options.network, name, utf8(name, value(name)?)?)?,
                Some((name, false)) => {
                    flag(name)?;
                    network::set(&mut options.network, name, String::new())?;
                }
                None => return Err(ArgsError::Unknown(String::from_utf8_lossy(word).into_owned())),
            },
        }
    }
    let network = network::network(&options.network, &image.container.exposed_ports)?;
    orders(options, rest, env, image, mounts).map(|start| Request::Run(Box::new(start), network))
}

fn utf8(name: &'static str, value: Vec<u8>) -> Result<String, ArgsError> {
    String::from_utf8(value).map_err(|_| ArgsError::NotUtf8(name))
}

fn orders(
    options: Options,
    command: &[Vec<u8>],
    env: &[Vec<u8>],
    image: &ImageConfig,
    mounts: Vec<Mount>,
) -> Result<Start, ArgsError> {
    let container = &image.container;
    let argv = command_line(options.entrypoint, command, &container.entrypoint, &container.cmd)?;
    let cwd = match options.workdir {
        Some(dir) if !dir.starts_with('/') => return Err(ArgsError::Workdir(dir)),
        Some(dir) => dir,
        // An image may say `app`: docker takes it from the root.
        None if !container.working_dir.starts_with('/') => format!("/{}", container.working_dir),
        None => container.working_dir.clone(),
    };
    Ok(Start {
        argv,
        env: merge_env(&container.env, env),
        cwd,
        user: options.user.unwrap_or_else(|| container.user.clone()),
        tty: None,
        tty_echo: false,
        stdin: !options.no_stdin,
        hostname: image.hostname.clone(),
        network: None,
        mounts,
        volumes: container.volumes.clone(),
        stop_signal: container.stop_signal.clone(),
        realtime_ns: 0,
        entropy: Vec::new(),
    })
}

fn command_line(
    override_entry: Option<Vec<u8>>,
    command: &[Vec<u8>],
    entry: &[String],
    cmd: &[String],
) -> Result<Vec<Vec<u8>>, ArgsError> {
    let bytes = |list: &[String]| list.iter().map(|s| s.clone().into_bytes()).collect::<Vec<_>>();
    let mut argv = match &override_entry {
        Some(word) if word.is_empty() => Vec::new(),
        Some(word) => vec![word.clone()],
        None => bytes(entry),
    };
    if command.is_empty() && override_entry.is_none() {
        argv.extend(bytes(cmd));
    } else {
        argv.extend_from_slice(command);
    }
    if argv.is_empty() { Err(ArgsError::NoCommand) } else { Ok(argv) }
}

/// The image's environment, then the caller's: the later entry of a name wins and keeps the earlier one's
/// place. Words without a name are dropped: no process could look them up.
fn merge_env(image: &[String], ours: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut merged: Vec<Vec<u8>> = Vec::with_capacity(image.len() + ours.len());
    let mut places = std::collections::HashMap::new();
    for word in image.iter().map(String::as_bytes).chain(ours.iter().map(Vec::as_slice)) {
        let Some(at @ 1..) = word.iter().position(|&b| b == b'=') else { continue };
        if word.contains(&0) {
            continue;
        }
        match places.entry(&word[..at]) {
            std::collections::hash_map::Entry::Occupied(place) => merged[*place.get()] = word.to_vec(),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(word.to_vec());
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use forelift_abi::config::{Arch, ContainerConfig};

    fn image(entrypoint: &[&str], cmd: &[&str]) -> ImageConfig {
        let list = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect();
        ImageConfig {
            arch: Arch::Riscv64,
            name: "busybox".into(),
            container: ContainerConfig {
                entrypoint: list(entrypoint),
                cmd: list(cmd),
                env: list(&["PATH=/bin", "A=image", "B=image"]),
                user: "nobody".into(),
                volumes: list(&["/data"]),
                stop_signal: "SIGUSR1".into(),
                ..ContainerConfig::default()
            },
            hostname: "h0st".into(),
            cmdline: String::new(),
        }
    }

    fn words(list: &[&str]) -> Vec<Vec<u8>> {
        list.iter().map(|w| w.as_bytes().to_vec()).collect()
    }

    fn run(args: &[&str], image: &ImageConfig) -> Result<Start, ArgsError> {
        match parse(&words(args), &[], image, Vec::new())? {
            Request::Run(start, None) => Ok(*start),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn command_lines_as_dockers() {
        type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], Result<&'a [&'a str], ArgsError>);
        let cases: &[Case<'_>] = &[
            (&[], &["sh", "-l"], &[], Ok(&["sh", "-l"])),
            (&[], &["sh"], &["echo", "hi"], Ok(&["echo", "hi"])),
            (&["/e", "x"], &["d"], &[], Ok(&["/e", "x", "d"])),
            (&["/e", "x"], &["d"], &["a", "-b"], Ok(&["/e", "x", "a", "-b"])),
            (&["/e"], &["d"], &["--entrypoint", "/n"], Ok(&["/n"])),
            (&["/e"], &["d"], &["--entrypoint=/n", "a"], Ok(&["/n", "a"])),
            (&["/e"], &["d"], &["--entrypoint", "", "a"], Ok(&["a"])),
            (&["/e"], &["d"], &["--entrypoint="], Err(ArgsError::NoCommand)),
            (&[], &[], &[], Err(ArgsError::NoCommand)),
            (&[], &["d"], &["--", "--help"], Ok(&["--help"])),
            (&[], &["d"], &["ls", "--help", "--user", "x"], Ok(&["ls", "--help", "--user", "x"])),
            (&[], &["d"], &["-"], Ok(&["-"])),
            (&[], &["d"], &["--nope"], Err(ArgsError::Unknown("--nope".into()))),
            (&[], &["d"], &["-u0", "-w=/tmp", "id"], Ok(&["id"])),
            (&[], &["d"], &["-x"], Err(ArgsError::Unknown("-x".into()))),
            (&[], &["d"], &["-hx"], Err(ArgsError::Unknown("-hx".into()))),
            (&[], &["d"], &["-wrel"], Err(ArgsError::Workdir("rel".into()))),
            (&[], &["d"], &["--user"], Err(ArgsError::NoValue("--user"))),
            (&[], &["d"], &["--no-stdin=1"], Err(ArgsError::Value("--no-stdin"))),
            (&[], &["d"], &["--workdir", "rel"], Err(ArgsError::Workdir("rel".into()))),
        ];
        for (entrypoint, cmd, args, expected) in cases {
            let got = run(args, &image(entrypoint, cmd)).map(|s| s.argv);
            assert_eq!(got, expected.clone().map(words), "{entrypoint:?} {cmd:?} {args:?}");
        }
    }

    #[test]
    fn options_override_the_image() {
        let image = image(&[], &["sh"]);
        let plain = run(&[], &image).unwrap();
        assert_eq!((plain.cwd.as_str(), plain.user.as_str(), plain.stdin), ("/", "nobody", true));
        assert_eq!((plain.hostname.as_str(), plain.stop_signal.as_str()), ("h0st", "SIGUSR1"));
        assert_eq!(plain.volumes, ["/data"]);
        let start = run(&["--no-stdin", "-u", "1:2", "--workdir=/w", "id"], &image).unwrap();
        assert_eq!((start.cwd.as_str(), start.user.as_str(), start.stdin), ("/w", "1:2", false));
        assert_eq!(start.argv, words(&["id"]));
        let help = parse(&words(&["-h", "x"]), &[], &image, Vec::new());
        assert_eq!(help, Ok(Request::Help));
        assert_eq!(parse(&words(&["--version"]), &[], &image, Vec::new()), Ok(Request::Version));
        let help = super::help(&image);
        assert!(help.contains("--no-stdin") && help.contains("\n      --net-stream fd:N  "), "{help}");
    }

    #[test]
    fn a_network_is_asked_for_beside_the_command() {
        let image = image(&[], &["sh"]);
        let ask = |line: &[&str]| parse(&words(line), &[], &image, Vec::new());
        let Ok(Request::Run(start, Some(network))) = ask(&["--net-stream", "fd:5", "--ip=10.1.1.1", "id"])
        else {
            panic!()
        };
        assert_eq!((start.argv, network.link), (words(&["id"]), Link::Stream(5)));
        assert_eq!(network.plan.interface.addresses[0].ip.to_string(), "10.1.1.1");
        let error = ask(&["--net-stream=unix:/x", "id"]).unwrap_err();
        assert!(error.to_string().starts_with("--net-stream unix:/x: in an image's own"), "{error}");
        assert_eq!(ask(&["--net-stream"]), Err(ArgsError::NoValue("--net-stream")));
    }

    #[test]
    fn environment_later_wins_in_place() {
        let env = [
            b"B=ours=\xff".to_vec(),
            b"NEW=".to_vec(),
            b"=x".to_vec(),
            b"novalue".to_vec(),
            b"NEW=2".to_vec(),
        ];
        let image = image(&[], &["sh"]);
        let Ok(Request::Run(start, None)) = parse(&[], &env, &image, Vec::new()) else { panic!() };
        assert_eq!(start.env, [&b"PATH=/bin"[..], b"A=image", b"B=ours=\xff", b"NEW=2"]);
    }

    #[test]
    fn bytes_survive_and_zeros_do_not() {
        let image = image(&[], &["sh"]);
        let Ok(Request::Run(start, None)) = parse(&[b"\xff\xfe".to_vec()], &[], &image, Vec::new()) else {
            panic!()
        };
        assert_eq!(start.argv, [b"\xff\xfe"]);
        assert_eq!(parse(&[b"a\0b".to_vec()], &[], &image, Vec::new()), Err(ArgsError::Zero(1)));
        let user = parse(&[b"--user=\xff".to_vec()], &[], &image, Vec::new());
        assert_eq!(user, Err(ArgsError::NotUtf8("--user")));
    }
}
