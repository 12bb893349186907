//! wasmtime's settings, the same for compiling and running.

use std::sync::Arc;

use wasmtime::{Config, CustomCodeMemory, Engine, OptLevel, ProfilingStrategy};

use super::{
    error::{RunError, one_line},
    options::Profile,
};
use crate::pack::mapping::page_size;

/// An engine for images.
///
/// # Errors
/// When wasmtime does not support this host.
pub fn new(profile: Option<Profile>) -> Result<Engine, RunError> {
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::Speed);
    // 4 GiB reserved and as much guard: no address that the module can form needs a bounds check.
    config.memory_reservation(4 << 30);
    config.memory_guard_size(4 << 30);
    config.memory_may_move(false);
    // A trap ends the run. Its address in the module would not help without names, and the map costs start-up
    // time.
    config.generate_address_map(false);
    config.native_unwind_info(false);
    config.profiler(match profile {
        Some(Profile::PerfMap) => ProfilingStrategy::PerfMap,
        None => ProfilingStrategy::None,
    });
    config.with_custom_code_memory(Some(Arc::new(CodePages)));
    // SAFETY: this flag only leaves out the masking of table indices against speculation. There are no
    // secrets of another tenant in this process: it runs one image for its own user. The interpreter's
    // dispatch is faster without.
    unsafe { config.cranelift_flag_set("enable_table_access_spectre_mitigation", "false") };
    // SAFETY: as above, for loads and stores (which have no bounds check to bypass anyway).
    unsafe { config.cranelift_flag_set("enable_heap_access_spectre_mitigation", "false") };
    Engine::new(&config).map_err(|e| RunError::Engine(one_line(&e)))
}

/// Makes code executable in place, so that it can be a mapping of a file.
struct CodePages;

impl CodePages {
    fn protect(ptr: *const u8, len: usize, protection: libc::c_int) -> wasmtime::Result<()> {
        // SAFETY: wasmtime calls this for whole pages of a module's code, which nobody else uses.
        if unsafe { libc::mprotect(ptr.cast_mut().cast(), len, protection) } == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error().into())
        }
    }
}

impl CustomCodeMemory for CodePages {
    fn required_alignment(&self) -> usize {
        page_size()
    }

    fn publish_executable(&self, ptr: *const u8, len: usize) -> wasmtime::Result<()> {
        Self::protect(ptr, len, libc::PROT_READ | libc::PROT_EXEC)
    }

    fn unpublish_executable(&self, ptr: *const u8, len: usize) -> wasmtime::Result<()> {
        Self::protect(ptr, len, libc::PROT_READ)
    }
}
