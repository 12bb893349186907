//! A finished image, read back: for `inspect`, for `run`, and for running it natively.
//!
//! The file is mapped, not read. It is untrusted: the module, the header and the configuration are checked when it is
//! opened, so that nothing behind this module needs to.

use std::{
    fs::File,
    io, mem,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use forelift_abi::{
    config::ImageConfig,
    header::{self, HeaderError, ImageHeader, Span},
};
use forelift_runtime::memory::GuestMemory;
use memmap2::Mmap;
use thiserror::Error;

use super::{
    Manifest,
    compiled::{self, CompiledError},
    manifest::SECTION,
    mapping::{self, Region, Source},
    module::{Module, ModuleError, Segment},
    plan::PAGE,
};

/// Longest configuration that is read, in bytes.
const MAX_CONFIG: u64 = 64 << 20;
/// Longest machine state that is read, in bytes.
const MAX_STATE: u64 = 1 << 30;

/// Why a file is no image.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no usable module.
    #[error("{path}: {source}")]
    Module {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ModuleError,
    },
    /// It is a damaged precompiled image.
    #[error("{path}: {source}")]
    Compiled {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CompiledError,
    },
    /// The header is damaged.
    #[error("{path}: {source}")]
    Header {
        /// The file.
        path: PathBuf,
        /// Why.
        source: HeaderError,
    },
    /// A WebAssembly module, but not one of ours, or one that was changed.
    #[error("{path}: {what}")]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// Why.
        what: &'static str,
    },
}

/// An open image. See the module's documentation.
pub struct PackedImage {
    path: PathBuf,
    file: File,
    map: Arc<Mmap>,
    module_range: Range<usize>,
    code_range: Option<Range<usize>>,
    /// The module's structure.
    pub module: Module,
    /// Where the parts are.
    pub header: ImageHeader,
    /// The image's configuration.
    pub config: ImageConfig,
    /// The manifest, when it is there and intact; never needed to run.
    pub manifest: Option<Manifest>,
}

/// Guest memory and machine state for a native run.
pub struct NativeImage {
    /// RAM and root file system, mapped from the file.
    pub memory: GuestMemory,
    /// Machine state of the snapshot; `None` without one.
    pub state: Option<Vec<u8>>,
    /// Kernel, without a snapshot.
    pub kernel: Vec<u8>,
    /// Initial RAM file system, without a snapshot.
    pub initrd: Vec<u8>,
}

/// Opens the image at `path`, a `.wasm` or a precompiled one.
///
/// # Errors
/// See [`OpenError`].
pub fn open(path: &Path) -> Result<PackedImage, OpenError> {
    let io = |source| OpenError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(OpenError::NotAnImage { path: path.to_path_buf(), what: "not a regular file" });
    }
    // SAFETY: the file may change under the mapping only when somebody overwrites it in place; `mapping` documents that.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    PackedImage::from_parts(path.to_path_buf(), file, map)
}

impl PackedImage {
    fn from_parts(path: PathBuf, file: File, map: Mmap) -> Result<Self, OpenError> {
        let (code_range, module_range) = if compiled::is_compiled(&map) {
            let (code, module) =
                compiled::parse(&map).map_err(|source| OpenError::Compiled { path: path.clone(), source })?;
            (Some(code), module)
        } else {
            (None, 0..map.len())
        };
        let bytes = &map[module_range.clone()];
        let module =
            Module::parse(bytes).map_err(|source| OpenError::Module { path: path.clone(), source })?;
        let refuse = |what| OpenError::NotAnImage { path: path.clone(), what };
        let Some(header_addr) = module.header_addr else {
            return Err(refuse("a WebAssembly module, but no Forelift image (`forelift convert` makes one)"));
        };
        let size = module.memory_size();
        if header_addr + header::SIZE as u64 > size {
            return Err(refuse("its header lies outside of its memory"));
        }
        if module.has_start {
            return Err(refuse("it has a start function: it was changed after `forelift convert` made it"));
        }
        let block = module.memory(bytes, header_addr, header::SIZE);
        let header = ImageHeader::parse(&block, size)
            .map_err(|source| OpenError::Header { path: path.clone(), source })?;
        for span in [header.ram, header.root] {
            if !span.len.is_multiple_of(PAGE as u64) {
                return Err(refuse("its RAM or root file system is not a number of pages"));
            }
        }
        if header.config.len > MAX_CONFIG || header.state.len > MAX_STATE {
            return Err(refuse("its configuration or state has an impossible length"));
        }
        let config = module.memory(bytes, header.config.addr, header.config.len as usize);
        let Ok(config) = postcard::from_bytes::<ImageConfig>(&config) else {
            return Err(refuse("its configuration cannot be decoded: the file is damaged"));
        };
        let manifest = module.custom(bytes, SECTION).and_then(Manifest::from_json);
        let map = Arc::new(map);
        Ok(PackedImage { path, file, map, module_range, code_range, module, header, config, manifest })
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file.
    pub fn file_len(&self) -> u64 {
        self.map.len() as u64
    }

    /// The WebAssembly module.
    pub fn wasm(&self) -> &[u8] {
        &self.map[self.module_range.clone()]
    }

    /// Whether the file holds native code.
    pub fn is_compiled(&self) -> bool {
        self.code_range.is_some()
    }

    /// The native code of a precompiled image, checked; `None` for a `.wasm`.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn code(&self) -> Result<Option<&[u8]>, OpenError> {
        let Some(range) = &self.code_range else { return Ok(None) };
        match compiled::check_code(&self.map, range) {
            Ok(code) => Ok(Some(code)),
            Err(source) => Err(OpenError::Compiled { path: self.path.clone(), source }),
        }
    }

    /// Keeps the file mapped for as long as the process lives: for code that is executed where it lies.
    pub(crate) fn keep_mapped(&self) {
        mem::forget(Arc::clone(&self.map));
    }

    /// Where the module's data is, for [`mapping::populate`].
    pub fn source(&self) -> Source<'_> {
        Source { bytes: self.wasm(), file: Some((&self.file, self.module_range.start as u64)) }
    }

    /// A part's bytes.
    pub fn part(&self, span: Span) -> Vec<u8> {
        // The header was checked: the span lies within memory, below 4 GiB.
        self.module.memory(self.wasm(), span.addr, span.len as usize)
    }

    /// Bytes of a part that the file stores.
    pub fn stored(&self, span: Span) -> u64 {
        self.module.stored(span.addr, span.len)
    }

    /// Pages of guest RAM that the file stores. (What follows a stretch of them as filler is less than a page.)
    pub fn ram_pages(&self) -> u64 {
        let ram = self.header.ram;
        let inside = |s: &&Segment| s.addr >= ram.addr && s.addr < ram.end();
        self.module.segments.iter().filter(inside).map(|s| (s.len / PAGE) as u64).sum()
    }

    /// The image as a native machine takes it. RAM is private to the value; the file is not changed.
    ///
    /// # Errors
    /// When memory cannot be mapped.
    pub fn native_memory(&self) -> Result<NativeImage, OpenError> {
        let io = |source| OpenError::Io { path: self.path.clone(), source };
        let region = Region::new(self.module.memory_size() as usize).map_err(io)?;
        let inside = |s: &&Segment| {
            let end = s.addr + s.len as u64;
            [self.header.ram, self.header.root].iter().any(|p| s.addr < p.end() && end > p.addr)
        };
        let segments: Vec<Segment> = self.module.segments.iter().filter(inside).copied().collect();
        // SAFETY: the region is ours and nothing refers to it yet.
        unsafe { mapping::populate(region.base(), region.len(), self.source(), &segments) }.map_err(io)?;
        let (ram, root) = (self.header.ram, self.header.root);
        // SAFETY: both spans lie within the region (checked by the header's parser), are page-aligned in address and
        // length, and the region moves into the owner.
        let memory = unsafe {
            let base = region.base();
            GuestMemory::from_raw(
                base.add(ram.addr as usize),
                ram.len as usize,
                base.add(root.addr as usize),
                root.len as usize,
                Some(Box::new(region)),
            )
        };
        let state = (self.header.state.len > 0).then(|| self.part(self.header.state));
        Ok(NativeImage {
            memory,
            state,
            kernel: self.part(self.header.kernel),
            initrd: self.part(self.header.initrd),
        })
    }
}
