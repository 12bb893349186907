use std::io;

use anyhow::{Context, anyhow};
use forelift_abi::header::HeaderError;

use super::*;
use crate::{
    assets::AssetError,
    boot::BootError,
    compile::CompileError,
    convert::ConvertError,
    embed::{RunError, shares::ShareError},
    erofs::ErofsError,
    image::ImageError,
    lift::train::TrainError,
    lockstep::LockstepError,
    native::NativeError,
    pack::{PackError, compiled::CompiledError, module::ModuleError, reader::OpenError},
    run::{
        StartError,
        environment::EnvironmentError,
        mounts::{MountError, MountsError},
    },
};

/// What the system says: the innermost cause of all below that have one.
const CAUSE: &str = "No space left on device (os error 28)";

fn io_error() -> io::Error {
    io::Error::from_raw_os_error(28)
}

/// Every error with a cause that the command can end with.
fn with_io_cause() -> Vec<anyhow::Error> {
    let open = || OpenError::Io { path: "i.wasm".into(), source: io_error() };
    vec![
        open().into(),
        OpenError::Missing { path: "i.wasm".into(), source: io_error() }.into(),
        RunError::Open(open()).into(),
        RunError::Host { what: "mapping", source: io_error() }.into(),
        NativeError::Open(open()).into(),
        RunError::from(ShareError { path: "d".into(), source: io_error() }).into(),
        NativeError::Host { what: "mapping", source: io_error() }.into(),
        LockstepError::Open(open()).into(),
        LockstepError::Run(RunError::Open(open())).into(),
        AssetError::Io { path: "a".into(), source: io_error() }.into(),
        BootError::Memory { mib: 1, source: io_error() }.into(),
        TrainError::Memory { mib: 1, source: io_error() }.into(),
        ErofsError::Spool(io_error()).into(),
        ErofsError::Output(io_error()).into(),
        PackError::Io(io_error()).into(),
        ConvertError::File { path: "o.wasm".into(), source: io_error() }.into(),
        ConvertError::WriteRoot { place: "o.erofs".into(), source: ErofsError::Output(io_error()) }.into(),
        ConvertError::WriteModule { path: "o.wasm".into(), source: PackError::Io(io_error()) }.into(),
        CompileError::File { path: "o.cwasm".into(), source: io_error() }.into(),
        StartError::from(RunError::Open(open())).into(),
        EnvironmentError::File { path: "e".into(), source: io_error() }.into(),
        MountsError::Mount { option: "-v", text: "a:b".into(), source: MountError::Host(io_error()) }.into(),
        ConvertError::MapRoot(io_error()).into(),
        ConvertError::from(PackError::Io(io_error())).into(),
        ConvertError::from(BootError::Memory { mib: 1, source: io_error() }).into(),
        ImageError::Io { action: "cannot be read", path: "x".into(), source: io_error() }.into(),
        ImageError::Spool { dir: "d".into(), source: io_error() }.into(),
        // As the command adds to them.
        Err::<(), _>(PackError::Io(io_error())).context("o.wasm").unwrap_err(),
        Err::<(), _>(io_error()).context("a").context("b").unwrap_err(),
        crate::cli::print::at("o.wasm".as_ref())(io_error()),
        anyhow!(io::Error::other(ImageError::Spool { dir: "d".into(), source: io_error() })),
    ]
}

#[test]
fn no_error_says_its_cause_twice() {
    for error in with_io_cause() {
        let text = line(&error);
        assert_eq!(text.matches(CAUSE).count(), 1, "{text}");
        // All that the outermost message says is there.
        assert!(text.starts_with(&error.to_string()), "{text}");
    }
    let module = || ModuleError::Malformed { offset: 7, message: "unexpected end".into() };
    let json = serde_json::from_str::<u32>("x").unwrap_err();
    let (what, says) = (json.to_string(), |error: anyhow::Error| line(&error));
    for (text, cause) in [
        (says(PackError::Runtime(module()).into()), "unexpected end"),
        (says(OpenError::Module { path: "i".into(), source: module(), len: 7 }.into()), "unexpected end"),
        (
            says(OpenError::Compiled { path: "i".into(), source: CompiledError::Version(9) }.into()),
            "version 9",
        ),
        (
            says(OpenError::Header { path: "i".into(), source: HeaderError::Checksum, made_by: None }.into()),
            "checksum",
        ),
        (says(ImageError::Json { place: "p".into(), source: json }.into()), what.as_str()),
    ] {
        assert_eq!(text.matches(cause).count(), 1, "{text}");
    }
}

#[test]
fn causes_that_are_not_named_are_kept() {
    let chain = anyhow!("status 1").context("status 125").context("running it");
    assert_eq!(line(&chain), "running it: status 125: status 1");
    assert_eq!(line(&anyhow!("all: well").context("all")), "all: all: well");
    assert_eq!(line(&anyhow!("").context("x")), "x");
}

#[test]
fn one_line_without_control_characters() {
    assert_eq!(line(&anyhow!("it\n  stopped \n\n")), "it: stopped");
    assert_eq!(line(&anyhow!("a\u{1b}[31mb\tc\0")), "a\\u{1b}[31mb\\tc\\u{0}");
}
