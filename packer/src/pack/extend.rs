//! Adds lifted functions to a runtime module: a type, the functions, table entries with an element segment
//! that sets them, their code, and their names. The rest stays as it is; the runtime's code is not
//! re-encoded.

use std::collections::BTreeMap;
use wasm_encoder::{
    CodeSection, ElementSection, Elements, Encode, FunctionSection, NameMap, NameSection, RefType,
    TableSection, TableType,
};
use wasmparser::{
    BinaryReader, ExternalKind, KnownCustom, Name, NameSectionReader, Parser, Payload, TypeRef,
};

use super::module::ModuleError;
use crate::lift::{Lifted, Target};

/// A module with lifted functions.
pub struct Extended {
    /// The module.
    pub bytes: Vec<u8>,
    /// Index in the table of the first function.
    pub first: u32,
    /// Index of the first function.
    pub function: u32,
}

/// What has to be known of the runtime.
#[derive(Default)]
struct Facts {
    types: u32,
    imports: u32,
    functions: u32,
    table: u64,
    /// Functions that it exports, by name.
    exports: BTreeMap<String, u32>,
}

impl Facts {
    fn read(runtime: &[u8]) -> Result<Self, ModuleError> {
        let mut facts = Facts::default();
        for payload in Parser::new(0).parse_all(runtime) {
            match payload? {
                Payload::TypeSection(types) => {
                    for group in types {
                        facts.types += group?.types().len() as u32;
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        facts.imports += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::FunctionSection(functions) => facts.functions = functions.count(),
                Payload::TableSection(tables) => {
                    for table in tables {
                        facts.table = table?.ty.initial;
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            facts.exports.insert(export.name.into(), export.index);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(facts)
    }
}

/// Puts `lifted` into `runtime`, with its functions' names; those of the runtime stay if `keep_names`.
///
/// # Errors
/// When the runtime does not have what is needed, or is damaged.
pub fn extend(runtime: &[u8], lifted: &Lifted, keep_names: bool) -> Result<Extended, ModuleError> {
    let facts = Facts::read(runtime)?;
    let count = lifted.bodies.len() as u32;
    if facts.table == 0 || facts.table + u64::from(count) >= 1 << forelift_abi::lift::FUNCTION_BITS {
        return Err(ModuleError::Unsupported("its table has no room for lifted functions"));
    }
    let first = facts.table as u32;
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    let mut own = None;
    for payload in Parser::new(0).parse_all(runtime) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else { continue };
        if let Payload::CustomSection(custom) = &payload
            && let KnownCustom::Name(names) = custom.as_known()
        {
            own = keep_names.then_some(names);
            continue;
        }
        let body = &runtime[range.start as usize..range.end as usize];
        let added = match id {
            1 => append(body, 1, &[0x60, 3, 0x7e, 0x7f, 0x7f, 1, 0x7e])?,
            3 => append(body, count + 1, &functions(facts.types, count + 1))?,
            4 => {
                let mut table = TableSection::new();
                let size = facts.table + u64::from(count);
                table.table(TableType {
                    element_type: RefType::FUNCREF,
                    table64: false,
                    minimum: size,
                    maximum: Some(size),
                    shared: false,
                });
                section_body(&table)
            }
            9 => append(body, 1, &elements(first, facts.imports + facts.functions, count))?,
            10 => append(body, count + 1, &code(lifted, &facts)?)?,
            _ => body.to_vec(),
        };
        out.push(id);
        (added.len() as u32).encode(&mut out);
        out.extend_from_slice(&added);
    }
    let function = facts.imports + facts.functions;
    out.push(0);
    names(own, &lifted.names, function)?.encode(&mut out);
    Ok(Extended { bytes: out, first, function })
}

/// The section with the names of the runtime, if any, and of the lifted functions, which begin at index
/// `first`.
fn names(
    own: Option<NameSectionReader<'_>>,
    lifted: &[String],
    first: u32,
) -> Result<NameSection, ModuleError> {
    let mut functions = NameMap::new();
    let mut section = NameSection::new();
    let mut rest = Vec::new();
    for part in own.into_iter().flatten() {
        match part? {
            Name::Module { name, .. } => section.module(name),
            Name::Function(map) => {
                for name in map {
                    let name = name?;
                    functions.append(name.index, name.name);
                }
            }
            Name::Global(map) => rest.push((true, map)),
            Name::Data(map) => rest.push((false, map)),
            // Profilers do not show these.
            _ => {}
        }
    }
    let absent = "absent".to_string();
    for (index, name) in (first..).zip(lifted.iter().chain([&absent])) {
        functions.append(index, name);
    }
    section.functions(&functions);
    for (globals, map) in rest {
        let mut names = NameMap::new();
        for name in map {
            let name = name?;
            names.append(name.index, name.name);
        }
        if globals { section.globals(&names) } else { section.data(&names) }
    }
    Ok(section)
}

/// A section's contents with `count` more items, whose bytes are `items`.
fn append(body: &[u8], count: u32, items: &[u8]) -> Result<Vec<u8>, ModuleError> {
    let mut reader = BinaryReader::new(body, 0);
    let before = reader.read_var_u32()?;
    let rest = &body[reader.original_position() as usize..];
    let mut out = Vec::with_capacity(body.len() + items.len() + 8);
    (before + count).encode(&mut out);
    out.extend_from_slice(rest);
    out.extend_from_slice(items);
    Ok(out)
}

/// A section's contents: what follows its length.
fn section_body(section: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    section.encode(&mut bytes);
    let mut reader = BinaryReader::new(&bytes, 0);
    // Just encoded: a length is there.
    let _ = reader.read_var_u32();
    bytes.split_off(reader.original_position() as usize)
}

/// A section's items: what follows its length and its count.
fn items(section: &impl Encode) -> Vec<u8> {
    let body = section_body(section);
    let mut reader = BinaryReader::new(&body, 0);
    let _ = reader.read_var_u32();
    body[reader.original_position() as usize..].to_vec()
}

fn functions(ty: u32, count: u32) -> Vec<u8> {
    let mut section = FunctionSection::new();
    for _ in 0..count {
        section.function(ty);
    }
    items(&section)
}

fn elements(first: u32, function: u32, count: u32) -> Vec<u8> {
    let mut section = ElementSection::new();
    let all: Vec<u32> = (function..function + count).collect();
    section.active(
        None,
        &wasm_encoder::ConstExpr::i32_const(first as i32),
        Elements::Functions(all.as_slice().into()),
    );
    items(&section)
}

fn code(lifted: &Lifted, facts: &Facts) -> Result<Vec<u8>, ModuleError> {
    let mut section = CodeSection::new();
    let targets = lifted.targets();
    let first = facts.imports + facts.functions;
    for (number, body) in lifted.bodies.iter().chain([&lifted.absent]).enumerate() {
        let mut body = body.clone();
        let index = |kind| {
            Some(match targets.of(number, kind)? {
                Target::Helper(helper) => *facts.exports.get(helper.export)?,
                Target::Lifted(number) => first + number as u32,
                Target::Absent => first + lifted.bodies.len() as u32,
            })
        };
        body.resolve(index)
            .map_err(|_| ModuleError::Unsupported("it does not export what lifted code calls"))?;
        section.raw(&body.code);
    }
    Ok(items(&section))
}
