//! The second back end: the same CLIF to this host's machine code, by cranelift-jit, for the engine `native`.

use crate::lift::{self, CALLEES, HELPERS, Options, Target};
use crate::opt::{self, OptError};
use crate::program::{CodeAddr, Program};
use crate::region::Function;
use cranelift_codegen::ir::{UserExternalName, UserFuncName};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module};
use forelift_abi::lift::Layout;
use std::collections::BTreeMap;

/// Machine code of lifted functions. It is freed with this value.
pub struct Code {
    module: Option<JITModule>,
    /// Address of each function, in the order in which they were given.
    pub addresses: Vec<usize>,
}

impl Drop for Code {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: whoever runs the code holds this value (see `compile`).
            unsafe { module.free_memory() };
        }
    }
}

/// Compiles `functions` for the runtime that has its helpers at the addresses `helpers`, by number. The
/// caller keeps the result as long as anybody may run the code.
///
/// # Errors
/// See [`OptError`].
pub fn compile(
    target: &'static dyn Target,
    program: &Program,
    functions: &[&Function],
    layout: Layout,
    helpers: &[usize],
) -> Result<Code, OptError> {
    let error = |e: &dyn std::fmt::Display| OptError::Codegen(e.to_string());
    let isa = opt::host_isa(cfg!(debug_assertions))?;
    let call_conv = opt::call_conv(&isa);
    let mut builder = JITBuilder::with_isa(isa, cranelift_module::default_libcall_names());
    let specs = target.guest().helpers;
    for (helper, &address) in specs.iter().zip(helpers) {
        builder.symbol(helper.export, address as *const u8);
    }
    let mut module = JITModule::new(builder);
    let pass_cpu = layout.pass_cpu != 0;
    let mut imports: Vec<FuncId> = Vec::new();
    for helper in specs {
        let signature = lift::helper_signature(helper, call_conv, pass_cpu);
        let id = module.declare_function(helper.export, Linkage::Import, &signature);
        imports.push(id.map_err(|e| error(&e))?);
    }
    let options = Options { layout, call_conv };
    let mut context = module.make_context();
    let signature = lift::signature(call_conv);
    let mut declare =
        |name: String| module.declare_function(&name, Linkage::Local, &signature).map_err(|e| error(&e));
    let absent = declare("absent".into())?;
    let ids: Vec<FuncId> =
        (0..functions.len()).map(|n| declare(format!("lifted{n}"))).collect::<Result<_, _>>()?;
    let callable: BTreeMap<CodeAddr, FuncId> =
        functions.iter().zip(&ids).filter_map(|(function, &id)| Some((function.first()?, id))).collect();
    let all = ids.iter().zip(functions).map(|(id, function)| (*id, Some(*function)));
    for (id, function) in all.chain([(absent, None)]) {
        let callees = match function {
            Some(function) => lift::lift(target, program, function, &options, &mut context.func),
            None => {
                lift::absent(target, &options, &mut context.func);
                Vec::new()
            }
        };
        let names: Vec<_> =
            context.func.params.user_named_funcs().iter().map(|(r, n)| (r, n.clone())).collect();
        for (reference, UserExternalName { namespace, index }) in names {
            let id = match namespace {
                HELPERS => imports[index as usize],
                CALLEES => *callable.get(&callees[index as usize]).unwrap_or(&absent),
                _ => continue,
            };
            context.func.params.reset_user_func_name(reference, UserExternalName::new(0, id.as_u32()));
        }
        context.func.name = UserFuncName::user(0, id.as_u32());
        module.define_function(id, &mut context).map_err(|e| error(&format!("{e:?}")))?;
        module.clear_context(&mut context);
    }
    module.finalize_definitions().map_err(|e| error(&e))?;
    let addresses = ids.iter().map(|&id| module.get_finalized_function(id) as usize).collect();
    Ok(Code { module: Some(module), addresses })
}
