//! A component (WASI 0.2) around the module: what `wit-component` makes of the bare emulator, whose place the
//! image's module takes when it is written. So the module itself is never held in memory, and code is as it
//! would be without a component.

use std::ops::Range;

use thiserror::Error;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wasmparser::BinaryReader;
use wit_component::ComponentEncoder;

use super::module::{Module, leb5};

/// First bytes of a component (component-model, *Binary.md*).
const VERSION: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// Id of a section that holds a core module.
const CORE_MODULE: u8 = 1;
/// Bytes before the module: id and five bytes of length.
const HEAD: u64 = 6;

/// Why there is no component.
#[derive(Debug, Error)]
pub enum ComponentError {
    /// The emulator has imports that the adapter does not know, or lacks an export.
    #[error("the emulator does not make a component: {0}: build it with scripts/build")]
    Encode(String),
    /// The module is longer than a section.
    #[error("the module has {bytes} bytes, a component holds less than 4 GiB: take a smaller image")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
}

/// What is around the module.
#[derive(Clone, Debug)]
pub struct Shell {
    before: Vec<u8>,
    after: Vec<u8>,
}

/// Makes a component of the bare emulator `runtime`: gives the emulator, without what described its imports,
/// and what is around it.
///
/// # Errors
/// See [`ComponentError`].
pub fn open_up(runtime: &[u8]) -> Result<(Vec<u8>, Shell), ComponentError> {
    let failed = |error: anyhow::Error| ComponentError::Encode(format!("{error:#}"));
    let mut bytes = ComponentEncoder::default()
        .module(runtime)
        .and_then(|encoder| {
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
        })
        .and_then(|mut encoder| encoder.encode())
        .map_err(failed)?;
    let place = find_module(&bytes)
        .ok_or_else(|| ComponentError::Encode("its module is not found in the component".into()))?;
    let after = bytes.split_off(place.module.end);
    let module = bytes.split_off(place.module.start);
    bytes.truncate(place.section);
    Ok((module, Shell { before: bytes, after }))
}

impl Shell {
    /// What comes before a module of `size` bytes.
    ///
    /// # Errors
    /// When the module is too large.
    pub fn head(&self, size: u64) -> Result<Vec<u8>, ComponentError> {
        let length = u32::try_from(size).map_err(|_| ComponentError::TooLarge { bytes: size })?;
        let mut out = self.before.clone();
        out.push(CORE_MODULE);
        leb5(length, &mut out);
        Ok(out)
    }

    /// Bytes of [`Shell::head`].
    pub fn head_len(&self) -> u64 {
        self.before.len() as u64 + HEAD
    }

    /// What comes after the module.
    pub fn tail(&self) -> &[u8] {
        &self.after
    }
}

/// Where the image's module is in a component.
struct Place {
    /// The beginning of its section.
    section: usize,
    module: Range<usize>,
}

/// The module with an image's header in a component, among its own sections.
fn find_module(component: &[u8]) -> Option<Place> {
    let mut section = VERSION.len();
    loop {
        let (&id, rest) = component.get(section..)?.split_first()?;
        let mut reader = BinaryReader::new(rest, 0);
        let length = reader.read_var_u32().ok()? as usize;
        let start = section + 1 + reader.current_position();
        let module = start..start.checked_add(length)?;
        let body = component.get(module.clone())?;
        if id == CORE_MODULE && Module::parse(body).is_ok_and(|module| module.header_addr.is_some()) {
            return Some(Place { section, module });
        }
        section = module.end;
    }
}

/// Where the image's module is in the file `bytes`, if that is a component with one.
pub fn module_range(bytes: &[u8]) -> Option<Range<usize>> {
    bytes.starts_with(&VERSION).then(|| find_module(bytes)).flatten().map(|place| place.module)
}
