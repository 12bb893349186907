//! The mid-end: cranelift-codegen's, as it is.

use cranelift_codegen::{
    Context,
    control::ControlPlane,
    ir,
    isa::{CallConv, OwnedTargetIsa},
    settings::{self, Configurable},
};
use thiserror::Error;

/// Why a function could not be optimised or compiled.
#[derive(Debug, Error)]
pub enum OptError {
    /// Cranelift has no back end for this host.
    #[error("cranelift does not support this host: {0}")]
    Host(String),
    /// Cranelift refuses the function: a mistake of the lifter's.
    #[error("cranelift: {0}")]
    Codegen(String),
}

/// Settings for this host. The mid-end's work does not depend on it; the native engine's does.
///
/// # Errors
/// [`OptError::Host`].
pub fn host_isa(verify: bool) -> Result<OwnedTargetIsa, OptError> {
    let mut flags = settings::builder();
    let host = |e: &dyn std::fmt::Display| OptError::Host(e.to_string());
    let values = [
        ("opt_level", "speed"),
        ("enable_verifier", if verify { "true" } else { "false" }),
        ("use_colocated_libcalls", "false"),
        ("is_pic", "false"),
        ("enable_table_access_spectre_mitigation", "false"),
        ("enable_heap_access_spectre_mitigation", "false"),
    ];
    for (name, value) in values {
        flags.set(name, value).map_err(|e| host(&e))?;
    }
    let isa = cranelift_native::builder().map_err(|e| host(&e))?;
    isa.finish(settings::Flags::new(flags)).map_err(|e| host(&e))
}

/// The calling convention of lifted functions on this host.
pub fn call_conv(isa: &OwnedTargetIsa) -> CallConv {
    isa.default_call_conv()
}

/// Optimises `func` in place.
///
/// # Errors
/// [`OptError::Codegen`].
pub fn optimize(func: &mut ir::Function, isa: &OwnedTargetIsa) -> Result<(), OptError> {
    let mut context = Context::for_function(std::mem::replace(func, ir::Function::new()));
    let result = context.optimize(&**isa, &mut ControlPlane::default());
    *func = context.func;
    result.map_err(|e| OptError::Codegen(format!("{e:?}")))
}
