//! Makes a precompiled image: a module together with its native code for this host.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    embed::{RunError, code, engine},
    pack::{
        compiled,
        output::Output,
        reader::{self, OpenError},
    },
    progress::Stages,
};

/// Why there is no precompiled image.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The module is unusable.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its name would be that of a module.
    #[error("{path}: a precompiled image is no .wasm: name it .cwasm")]
    Name {
        /// The file to write.
        path: PathBuf,
    },
    /// The module does not compile.
    #[error(transparent)]
    Engine(#[from] RunError),
    /// The file cannot be written.
    #[error("{path}: {source}")]
    File {
        /// The file to write.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Compiles the module at `image`, or the one of a precompiled image, and writes both to `output`; gives the
/// bytes of native code.
///
/// # Errors
/// See [`CompileError`]; nothing is left of the output then.
pub fn compile(image: &Path, output: &Path, stages: &mut Stages) -> Result<u64, CompileError> {
    let failed = |source| CompileError::File { path: output.into(), source };
    let image = reader::open(image)?.runnable()?;
    if output.extension().is_some_and(|e| e == "wasm") {
        return Err(CompileError::Name { path: output.into() });
    }
    let mut file = Output::create(output).map_err(failed)?;
    let engine = engine::new(None)?;
    stages.begin("compiling", None);
    let native = code::compile(&engine, &image)?;
    stages.begin("writing", None);
    {
        let mut out = file.writer();
        compiled::write(&native, image.wasm(), &mut out).and_then(|()| out.flush()).map_err(failed)?;
    }
    file.finish().map_err(failed)?;
    stages.end();
    Ok(native.len() as u64)
}
