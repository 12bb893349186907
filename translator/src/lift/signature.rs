//! Signatures of lifted functions and of the helpers that they call.

use cranelift_codegen::ir::{AbiParam, Signature, Type, types};
use cranelift_codegen::isa::CallConv;
use forelift_abi::lift::{HelperSpec, Layout, Value};

/// Namespace of the helpers among the names of external functions.
pub const HELPERS: u32 = 0;
/// Namespace of the lifted functions that are called directly: an index into what [`lift`](super::lift)
/// gives.
pub const CALLEES: u32 = 1;

/// What the lifted functions of one image have in common.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where the runtime keeps what.
    pub layout: Layout,
    /// How functions are called.
    pub call_conv: CallConv,
}

/// The signature of a lifted function.
pub fn signature(call_conv: CallConv) -> Signature {
    let mut signature = Signature::new(call_conv);
    signature.params = [types::I64, types::I32, types::I32].map(AbiParam::new).to_vec();
    signature.returns = vec![AbiParam::new(types::I64)];
    signature
}

fn clif_type(value: Value) -> Type {
    match value {
        Value::I32 => types::I32,
        Value::I64 => types::I64,
        Value::F64 => types::F64,
    }
}

/// The signature of a helper; `pass_cpu` as in [`Layout`].
pub fn helper_signature(helper: &HelperSpec, call_conv: CallConv, pass_cpu: bool) -> Signature {
    let mut signature = Signature::new(call_conv);
    if pass_cpu {
        signature.params.push(AbiParam::new(types::I64));
    }
    signature.params.extend(helper.params.iter().map(|&value| AbiParam::new(clif_type(value))));
    signature.returns = vec![AbiParam::new(clif_type(helper.result))];
    signature
}
