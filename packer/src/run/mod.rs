//! Runs a module with one of the engines.
//!
//! * [`environment`](mod@environment), [`mounts`](mod@mounts) and [`network`](mod@network): what a run has of
//!   the host;
//! * [`run`]: the run itself, on wasmtime ([`embed`]) or without WebAssembly ([`native`]).

pub mod environment;
pub mod mounts;
pub mod network;

use std::{
    env,
    path::{Path, PathBuf},
};

use forelift_net::PublishError;
use forelift_runtime::image::FUNCTIONS_VARIABLE;
use thiserror::Error;

use crate::{
    embed::{self, RunError, RunOptions},
    native::{self, NativeError},
    pack::reader::{self, OpenError},
};

/// Environment variable of the runtime's that names its engine. It does not reach the container.
const ENGINE_VARIABLE: &str = "FORELIFT_ENGINE";

/// How guest code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// In WebAssembly: lifted code where there is any.
    Aot,
    /// In WebAssembly, interpreted throughout.
    Interp,
    /// Outside of WebAssembly, with hot code compiled for this host while it runs.
    Native,
    /// Outside of WebAssembly, interpreted throughout.
    NativeInterp,
}

/// Why a module did not run, or not to its end.
#[derive(Debug, Error)]
pub enum StartError {
    /// It is unusable.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It holds native code, which its name does not say.
    #[error("{path}: native code under the name of a .wasm: name it .cwasm if you trust it")]
    Disguised {
        /// The file.
        path: PathBuf,
    },
    /// Its exposed ports cannot be published.
    #[error("-P: {path}: its configuration exposes `{text}`: {source}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// What it exposes.
        text: String,
        /// Why that is no port.
        source: PublishError,
    },
    /// It did not run on wasmtime.
    #[error(transparent)]
    Embed(#[from] RunError),
    /// It did not run without WebAssembly.
    #[error(transparent)]
    Native(#[from] NativeError),
}

/// Runs the module at `path` to its end and gives its exit status.
///
/// # Errors
/// See [`StartError`].
pub fn run(path: &Path, mut options: RunOptions, engine: Engine) -> Result<u8, StartError> {
    let image = reader::open(path)?.runnable()?;
    if image.is_compiled() && path.extension().is_some_and(|e| e == "wasm") {
        return Err(StartError::Disguised { path: path.into() });
    }
    if let Some(network) = options.network.as_mut().filter(|network| network.publish_all) {
        let refused = |(text, source)| StartError::Exposed { path: path.into(), text, source };
        network.config.publish_exposed(&image.config.container.exposed_ports).map_err(refused)?;
    }
    add_variables(&mut options.env, engine);
    match engine {
        Engine::Aot | Engine::Interp => Ok(embed::run(&image, &options)?),
        Engine::Native => Ok(native::run(&image, &options, native::Engine::Native)?),
        Engine::NativeInterp => Ok(native::run(&image, &options, native::Engine::Interp)?),
    }
}

/// Adds the variables that are for the runtime.
fn add_variables(env: &mut Vec<(String, String)>, engine: Engine) {
    if engine == Engine::Interp {
        env.push((ENGINE_VARIABLE.into(), "interp".into()));
    }
    // Set by `forelift lockstep --bisect`.
    if let Ok(functions) = env::var(FUNCTIONS_VARIABLE)
        && env.iter().all(|(name, _)| name != FUNCTIONS_VARIABLE)
    {
        env.push((FUNCTIONS_VARIABLE.into(), functions));
    }
}
