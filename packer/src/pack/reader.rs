//! Opens an image: for `inspect`, for `run`, and for running it natively.
//!
//! The file is mapped, not read. It is untrusted: module, header and configuration are checked when it is
//! opened, and callers rely on that.

use std::{
    fs::File,
    io, mem,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use forelift_abi::{
    config::{Arch, ImageConfig},
    header::{self, HeaderError, ImageHeader, Span},
};
use forelift_runtime::memory::GuestMemory;
use memmap2::Mmap;
use thiserror::Error;

use super::{
    Manifest,
    compiled::{self, CompiledError},
    component,
    foreign::{Foreign, is_image_name},
    manifest::SECTION,
    mapping::{self, Region, Source},
    memory::PAGE,
    module::{Module, ModuleError, Segment},
};

/// Longest configuration that is read, in bytes.
const MAX_CONFIG: u64 = 64 << 20;
/// Longest machine state that is read, in bytes.
const MAX_STATE: u64 = 1 << 30;

/// Why a file is no image.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It is not there.
    #[error("{path}: {source}: {}", instead_of(path))]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path}: {what}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: Foreign,
    },
    /// It is a component, and would have to be none.
    #[error(
        "{path}: this is a component: run it with `wasmtime run -S inherit-network -S allow-ip-name-lookup`, or convert \
         the image without --component"
    )]
    Component {
        /// The file.
        path: PathBuf,
    },
    /// It is the code of a directory for the web.
    #[error(
        "{path}: this is the code of what `forelift convert --web` has made: serve its directory and open the index.html \
         in it, or convert the image without --web"
    )]
    Web {
        /// The file.
        path: PathBuf,
    },
    /// It is a damaged module.
    #[error(
        "{path}: {source}: the file, of {len} bytes, is damaged or was cut off: copy it again, or convert the image again"
    )]
    Module {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ModuleError,
        /// Bytes of the module.
        len: usize,
    },
    /// It is a damaged precompiled image.
    #[error("{path}: {source}")]
    Compiled {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CompiledError,
    },
    /// The header is damaged, or of another version.
    #[error("{path}: {}{source}", by(made_by))]
    Header {
        /// The file.
        path: PathBuf,
        /// Why.
        source: HeaderError,
        /// The version of Forelift that made it, if that is another.
        made_by: Option<String>,
    },
    /// This build does not run its guest's architecture.
    #[error(
        "{path}: {}the guest's architecture is {arch}, this build runs riscv64 and amd64: convert an image for one of \
         them, or use another version of Forelift",
        by(made_by)
    )]
    Arch {
        /// The file.
        path: PathBuf,
        /// The architecture.
        arch: String,
        /// The version of Forelift that made it, if that is another.
        made_by: Option<String>,
    },
    /// It is inconsistent in itself.
    #[error("{path}: {}{what}: convert the image again", by(made_by))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        what: &'static str,
        /// The version of Forelift that made it, if that is another.
        made_by: Option<String>,
    },
}

/// What to do about a missing file.
fn instead_of(path: &Path) -> String {
    match is_image_name(path) {
        true => format!(
            "this is the name of an image: convert it first, with `forelift convert {}`",
            path.display()
        ),
        false => "give a file that `forelift convert` made".into(),
    }
}

/// For messages: the version that made the image, if it is another.
fn by(made_by: &Option<String>) -> String {
    made_by.as_ref().map_or(String::new(), |version| {
        format!("made by forelift {version}, this is {}: ", env!("CARGO_PKG_VERSION"))
    })
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
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => OpenError::Missing { path: path.to_path_buf(), source },
        _ => OpenError::Io { path: path.to_path_buf(), source },
    };
    // Checked first: opening a pipe would wait for a writer.
    let kind = path.metadata().map_err(io)?.file_type();
    if !kind.is_file() {
        return Err(OpenError::Foreign { path: path.to_path_buf(), what: Foreign::of_type(path, kind) });
    }
    let file = File::open(path).map_err(io)?;
    // SAFETY: the file may change under the mapping only when somebody overwrites it in place; `mapping`
    // documents that.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    PackedImage::from_parts(path.to_path_buf(), file, map)
}

/// Where the native code, if any, and the module are in a file.
fn ranges(path: &Path, file: &[u8]) -> Result<(Option<Range<usize>>, Range<usize>), OpenError> {
    if !compiled::is_compiled(file) {
        return Ok((None, component::module_range(file).unwrap_or(0..file.len())));
    }
    let (code, module) =
        compiled::parse(file).map_err(|source| OpenError::Compiled { path: path.into(), source })?;
    Ok((Some(code), module))
}

fn parse_module(path: &Path, bytes: &[u8]) -> Result<Module, OpenError> {
    let foreign = |what| OpenError::Foreign { path: path.into(), what };
    Module::parse(bytes).map_err(|source| match source {
        ModuleError::NotWasm => foreign(Foreign::of_content(path, bytes)),
        ModuleError::Unsupported(why) => foreign(Foreign::Module(why)),
        _ => OpenError::Module { path: path.into(), source, len: bytes.len() },
    })
}

/// Checks a module that may be an image.
struct Check<'a> {
    path: &'a Path,
    module: &'a Module,
    bytes: &'a [u8],
    manifest: Option<&'a Manifest>,
}

impl Check<'_> {
    /// The version of Forelift that made it, if that is another.
    fn made_by(&self) -> Option<String> {
        let version = &self.manifest?.forelift;
        (!version.is_empty() && version != env!("CARGO_PKG_VERSION")).then(|| version.clone())
    }

    fn damaged(&self, what: &'static str) -> OpenError {
        OpenError::Damaged { path: self.path.into(), what, made_by: self.made_by() }
    }

    fn header(&self) -> Result<ImageHeader, OpenError> {
        let Some(addr) = self.module.header_addr else {
            let what = Foreign::Module("it has no image header");
            return Err(OpenError::Foreign { path: self.path.into(), what });
        };
        let size = self.module.memory_size();
        if addr + header::SIZE as u64 > size {
            return Err(self.damaged("its header lies outside of its memory"));
        }
        if self.module.has_start {
            return Err(
                self.damaged("it has a start function, so it was changed after `forelift convert` made it")
            );
        }
        let block = self.module.memory(self.bytes, addr, header::SIZE);
        let header = ImageHeader::parse(&block, size).map_err(|source| OpenError::Header {
            path: self.path.into(),
            source,
            made_by: self.made_by(),
        })?;
        if header.root_outside > 0 {
            return Err(OpenError::Web { path: self.path.into() });
        }
        if [header.ram, header.root].iter().any(|span| !span.len.is_multiple_of(PAGE as u64)) {
            return Err(self.damaged("its RAM or root file system is not a number of pages"));
        }
        if header.config.len > MAX_CONFIG || header.state.len > MAX_STATE {
            return Err(self.damaged("its configuration or state has an impossible length"));
        }
        Ok(header)
    }

    fn config(&self, header: &ImageHeader) -> Result<ImageConfig, OpenError> {
        let bytes = self.module.memory(self.bytes, header.config.addr, header.config.len as usize);
        postcard::from_bytes(&bytes).map_err(|_| {
            let arch = self.manifest.map(|manifest| &manifest.arch).filter(|arch| !arch.is_empty());
            // A configuration of another version can have an architecture that is unknown here.
            match arch.filter(|arch| Arch::ALL.iter().all(|known| known.oci_name() != *arch)) {
                Some(arch) => {
                    OpenError::Arch { path: self.path.into(), arch: arch.clone(), made_by: self.made_by() }
                }
                None => self.damaged("its configuration cannot be decoded"),
            }
        })
    }
}

impl PackedImage {
    fn from_parts(path: PathBuf, file: File, map: Mmap) -> Result<Self, OpenError> {
        let (code_range, module_range) = ranges(&path, &map)?;
        let bytes = &map[module_range.clone()];
        let module = parse_module(&path, bytes)?;
        let manifest = module.custom(bytes, SECTION).and_then(Manifest::from_json);
        let check = Check { path: &path, module: &module, bytes, manifest: manifest.as_ref() };
        let header = check.header()?;
        let config = check.config(&header)?;
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

    /// Whether the module is in a component, which has other imports.
    pub fn is_component(&self) -> bool {
        self.code_range.is_none() && self.module_range.start > 0
    }

    /// The module, of an image that `forelift run` can run.
    ///
    /// # Errors
    /// When it is in a component.
    pub fn runnable(self) -> Result<Self, OpenError> {
        if self.is_component() { Err(OpenError::Component { path: self.path }) } else { Ok(self) }
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

    /// Keeps the file mapped until the process ends: its code is executed in place.
    pub(crate) fn keep_mapped(&self) {
        mem::forget(Arc::clone(&self.map));
    }

    /// The module's bytes and their file, for [`mapping::populate`].
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

    /// Pages of guest RAM that the file stores. (Padding of a segment is less than a page.)
    pub fn ram_pages(&self) -> u64 {
        let ram = self.header.ram;
        let inside = |s: &&Segment| s.addr >= ram.addr && s.addr < ram.end();
        self.module.segments.iter().filter(inside).map(|s| (s.len / PAGE) as u64).sum()
    }

    /// Memory and state for a native machine. RAM is private to the value; the file is not changed.
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
        // SAFETY: both spans lie within the region (checked by the header's parser), are page-aligned in
        // address and length, and the region moves into the owner.
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
