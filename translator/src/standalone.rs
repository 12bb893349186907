//! Lifted functions as a module of their own, for tools that read modules: memory and helpers are imports,
//! and so is `lifted`, which stands for whatever is called directly.

use crate::lift::{self, CALLEES, HELPERS};
use cranelift_codegen::isa::CallConv;
use forelift_abi::lift::Guest;
use forelift_emit::{Body, EmitError, RelocKind, signature};
use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection, FunctionSection,
    ImportSection, MemoryType, Module, NameMap, NameSection, RefType, TableSection, TableType, TypeSection,
};

/// A module with `bodies`, code of `guest` by name, in a table.
///
/// # Errors
/// When a body calls what is no helper.
pub fn module(guest: &Guest, bodies: &[(&str, &Body)]) -> Result<Vec<u8>, EmitError> {
    let mut types = TypeSection::new();
    let mut imports = ImportSection::new();
    let conv = CallConv::SystemV;
    for (number, helper) in guest.helpers.iter().enumerate() {
        let (params, results) = signature(&lift::helper_signature(helper, conv, false))?;
        types.ty().function(params, results);
        imports.import("forelift", helper.export, EntityType::Function(number as u32));
    }
    let memory =
        MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
    imports.import("forelift", "memory", memory);
    let (params, results) = signature(&lift::signature(conv))?;
    types.ty().function(params, results);
    let lifted = guest.helpers.len() as u32;
    imports.import("forelift", "lifted", EntityType::Function(lifted));
    let first = lifted + 1;
    let count = bodies.len() as u64;
    let numbers: Vec<u32> = (first..first + bodies.len() as u32).collect();

    let mut functions = FunctionSection::new();
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: count,
        maximum: Some(count),
        shared: false,
    });
    let mut exports = ExportSection::new();
    let mut elements = ElementSection::new();
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(numbers.as_slice().into()));
    let mut code = CodeSection::new();
    let mut names = NameMap::new();
    for (number, (name, body)) in numbers.iter().zip(bodies) {
        functions.function(lifted);
        exports.export(name, ExportKind::Func, *number);
        names.append(*number, name);
        let mut body = (*body).clone();
        body.resolve(|kind| match kind {
            RelocKind::Function { namespace: HELPERS, index } if index < lifted => Some(index),
            RelocKind::Function { namespace: CALLEES, .. } => Some(lifted),
            _ => None,
        })?;
        code.raw(&body.code);
    }
    let mut section = NameSection::new();
    section.functions(&names);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&tables).section(&exports);
    module.section(&elements).section(&code).section(&section);
    Ok(module.finish())
}
