//! Native code: compiles a module without its data, and caches the result.
//!
//! The cache is a directory of files, each named by the SHA-256 of the module and of the settings, written
//! under another name and renamed. Their contents are executed, so files that another user owns or may write
//! are not used.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    path::{Path, PathBuf},
    ptr::NonNull,
    time::SystemTime,
};

use sha2::{Digest, Sha256};
use wasm_encoder::{ConstExpr, DataSection, Encode, MemorySection, MemoryType};
use wasmtime::{Engine, Module};

use super::error::{RunError, one_line};
use crate::{
    cache::{open_own, replace},
    pack::{PackedImage, compiled::fold, mapping::page_size, memory::PAGE, module},
};

/// Most files in the cache.
const KEEP: usize = 16;
/// Directory below the cache's.
const SUBDIR: &str = "code";

/// The module without custom sections (but for the `names`, if they are wanted) and data, and with an empty
/// memory.
pub fn strip(bytes: &[u8], parsed: &module::Module, names: bool) -> Vec<u8> {
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    for section in &parsed.sections {
        match section.id {
            0 if names && section.name.as_deref() == Some("name") => {
                out.extend_from_slice(&bytes[section.whole.clone()]);
            }
            0 => {}
            5 => {
                let mut memory = MemorySection::new();
                memory.memory(MemoryType {
                    minimum: 0,
                    maximum: parsed.max_pages,
                    memory64: false,
                    shared: false,
                    page_size_log2: None,
                });
                out.push(5);
                memory.encode(&mut out);
            }
            // With a data count section, code may refer to segments by number: they are replaced by as many
            // empty ones. (Like any active segment, they are dropped after instantiation.)
            11 if parsed.has_data_count => {
                let mut data = DataSection::new();
                for _ in &parsed.segments {
                    data.active(0, &ConstExpr::i32_const(0), []);
                }
                out.push(11);
                data.encode(&mut out);
            }
            11 => {}
            _ => out.extend_from_slice(&bytes[section.whole.clone()]),
        }
    }
    out
}

/// Compiles `image` for `engine`.
///
/// # Errors
/// When the module is invalid.
pub fn compile(engine: &Engine, image: &PackedImage) -> Result<Vec<u8>, RunError> {
    compile_stripped(engine, image, &strip(image.wasm(), &image.module, false))
}

fn compile_stripped(engine: &Engine, image: &PackedImage, stripped: &[u8]) -> Result<Vec<u8>, RunError> {
    engine
        .precompile_module(stripped)
        .map_err(|e| RunError::Compile { path: image.path().into(), message: one_line(&e) })
}

/// The module of `image`, ready to be instantiated: from the image itself when it is precompiled, else from
/// the cache, else compiled. Precompiled code has no names: when `names` are wanted, it is not used.
///
/// # Errors
/// When the module is invalid, or precompiled for something else.
pub fn load(
    engine: &Engine,
    image: &PackedImage,
    cache: Option<&Path>,
    names: bool,
) -> Result<Module, RunError> {
    if !names && let Some(code) = image.code()? {
        image.keep_mapped();
        // SAFETY: a precompiled image is trusted, as its documentation says; accidents were found by its
        // checksum, and wasmtime checks that version, settings and CPU features agree. It stays mapped.
        return unsafe { in_place(engine, code) }
            .map_err(|e| RunError::Incompatible { path: image.path().into(), message: one_line(&e) });
    }
    let stripped = strip(image.wasm(), &image.module, names);
    let entry = cache.map(|dir| Entry::new(dir, engine, &stripped));
    if let Some(module) = entry.as_ref().and_then(|e| e.load(engine, names)) {
        return Ok(module);
    }
    let code = compile_stripped(engine, image, &stripped)?;
    if let Some(entry) = entry {
        // A cache that cannot be written (read-only home, full disk) is no error.
        let _ = entry.store(&code);
    }
    // SAFETY: the bytes were made by this engine just now.
    unsafe { Module::deserialize(engine, &code) }
        .map_err(|e| RunError::Compile { path: image.path().into(), message: one_line(&e) })
}

/// The module whose code is `code`, executed in place, in a mapping of its file: a copy would cost each start
/// as much as all of the code that the start executes. It is copied where the file system forbids this
/// (mounted with `noexec`).
///
/// # Safety
/// As for [`Module::deserialize`]; `code` stays mapped, and its file is replaced, never written in place.
unsafe fn in_place(engine: &Engine, code: &[u8]) -> wasmtime::Result<Module> {
    if code.as_ptr().addr().is_multiple_of(page_size())
        // SAFETY: the caller's promise.
        && let Ok(module) = unsafe { Module::deserialize_raw(engine, NonNull::from(code)) }
    {
        return Ok(module);
    }
    // SAFETY: the caller's promise.
    unsafe { Module::deserialize(engine, code) }
}

struct Entry {
    dir: PathBuf,
    path: PathBuf,
}

impl Entry {
    fn new(cache: &Path, engine: &Engine, stripped: &[u8]) -> Self {
        let mut settings = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut settings);
        let mut hash = Sha256::new();
        hash.update(env!("CARGO_PKG_VERSION"));
        hash.update(settings.finish().to_le_bytes());
        hash.update(stripped);
        let dir = cache.join(SUBDIR);
        let path = dir.join(format!("{:x}", hash.finalize()));
        Entry { dir, path }
    }

    /// The cached module, when it is there, intact, and nobody else could have written it.
    fn load(&self, engine: &Engine, names: bool) -> Option<Module> {
        let file = open_own(&self.path)?;
        // SAFETY: files of the cache are replaced, never written in place.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.ok()?;
        let (head, code) = bytes.split_at_checked(PAGE)?;
        let (sum, _) = head.split_first_chunk()?;
        if fold(code) != u64::from_le_bytes(*sum) {
            return None;
        }
        // perf would look for the function names of a mapped file in that file, not in its map of the
        // process.
        let load = if names { Module::deserialize } else { in_place };
        // SAFETY: written by `store`, by this user, intact; a module that is made of it keeps it mapped.
        let module = unsafe { load(engine, code) }.ok()?;
        mem::forget(bytes);
        Some(module)
    }

    fn store(&self, code: &[u8]) -> std::io::Result<()> {
        // The checksum has a page of its own, so that the code begins at a page.
        let mut head = [0; PAGE];
        head[..8].copy_from_slice(&fold(code).to_le_bytes());
        let written = replace(&self.path, &[&head, code]);
        self.evict();
        written
    }

    /// Removes the oldest files beyond [`KEEP`].
    fn evict(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut files: Vec<(SystemTime, PathBuf)> =
            entries.flatten().filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path()))).collect();
        files.sort();
        let surplus = files.len().saturating_sub(KEEP);
        for (_, path) in files.into_iter().take(surplus) {
            let _ = fs::remove_file(path);
        }
    }
}
