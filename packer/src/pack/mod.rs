//! Writes an image, one `.wasm` made of the runtime module and the parts of a machine, and reads it back.
//!
//! * [`module`]: the structure of a WebAssembly module;
//! * [`memory`]: where the parts are in linear memory, and which bytes are stored;
//! * [`data`]: the data section, laid out so that it can be mapped from the file;
//! * [`extend`](mod@extend): adds lifted functions to the runtime module;
//! * [`writer`]: the whole module;
//! * [`component`]: a component around it;
//! * [`manifest`]: the custom section for people and tools;
//! * [`output`]: an output file that appears complete or not at all;
//! * [`foreign`]: recognises files that are no images, for error messages;
//! * [`reader`] and [`mapping`]: a finished image read back, and its memory mapped;
//! * [`compiled`]: an image together with native code;
//! * [`initrd`]: the archive that a kernel without snapshot boots from.

pub mod compiled;
pub mod component;
pub mod data;
pub mod extend;
pub mod foreign;
pub mod initrd;
pub mod manifest;
pub mod mapping;
pub mod memory;
pub mod module;
pub mod output;
pub mod reader;
pub mod writer;

use thiserror::Error;

pub use manifest::Manifest;
pub use memory::Parts;
pub use reader::PackedImage;
pub use writer::{Summary, pack};

use component::ComponentError;
use module::ModuleError;

/// Why an image could not be packed.
#[derive(Debug, Error)]
pub enum PackError {
    /// The runtime module is unusable.
    #[error("runtime module: {0}")]
    Runtime(#[from] ModuleError),
    /// The runtime module has no header block.
    #[error(
        "runtime module: it does not export `{}`: it was not built from forelift-runtime",
        forelift_abi::header::EXPORT
    )]
    NoHeader,
    /// The parts do not fit into a 32-bit memory.
    #[error(
        "guest RAM {} MiB + root file system {} MiB + other {} MiB = {} MiB, but a WebAssembly memory holds 4096 MiB, \
         of which {} MiB may be used: lower --memory or take a smaller image",
        mib(*ram), mib(*root), mib(*other), mib(*sum), *limit >> 20
    )]
    TooLarge {
        /// Guest RAM in bytes.
        ram: u64,
        /// Root file system image in bytes.
        root: u64,
        /// Runtime, state, kernel, alignment.
        other: u64,
        /// All of it.
        sum: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A part has an impossible size.
    #[error("{0}")]
    Part(String),
    /// The data section would exceed the format's 32 bits.
    #[error(
        "the data section would have {bytes} bytes, a WebAssembly section holds less than 4 GiB: take a smaller image"
    )]
    SectionTooLarge {
        /// Its size.
        bytes: u64,
    },
    /// There is no component.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The output could not be written.
    #[error("writing the module: {0}")]
    Io(#[from] std::io::Error),
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
