//! Runs CLIF as WebAssembly in wasmi and as CLIF in Cranelift's interpreter.

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::data_value::DataValue;
use cranelift_codegen::ir::{Function, Signature, Type, UserFuncName, types};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context, isa};
use cranelift_interpreter::environment::FunctionStore;
use cranelift_interpreter::interpreter::{Interpreter, InterpreterState};
use cranelift_interpreter::step::ControlFlow;
use forelift_emit::{RelocKind, emit, signature};
use std::fmt::Write;
use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, ExportKind, ExportSection, FunctionSection,
    MemorySection, MemoryType, Module, RefType, TableSection, TableType, TypeSection, ValType,
};

/// Size of the memory which a function gets with the argument `mem`.
pub(crate) const MEMORY: usize = 256;
/// Its address in WebAssembly.
const BASE: usize = 1024;

/// An argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arg {
    /// Address of the memory.
    Mem,
    /// Bits of a number.
    Bits(u64),
}

/// What a call does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Results, zero-extended from their types, and the memory.
    Return(Vec<u64>, Vec<u8>),
    /// A trap.
    Trap,
}

/// Reads CLIF.
pub(crate) fn parse(text: &str) -> Vec<Function> {
    cranelift_reader::parse_functions(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The host as a target.
pub(crate) fn host() -> OwnedTargetIsa {
    let mut flags = settings::builder();
    flags.set("opt_level", "speed").unwrap();
    let isa = isa::lookup_by_name("x86_64").unwrap();
    isa.finish(settings::Flags::new(flags)).unwrap()
}

/// Runs the mid-end.
pub(crate) fn optimised(func: &Function, isa: &OwnedTargetIsa) -> Function {
    let mut context = Context::for_function(func.clone());
    context
        .optimize(&**isa, &mut ControlPlane::default())
        .unwrap_or_else(|e| panic!("{e:?}\n{}", func.display()));
    context.func
}

fn name(func: &Function) -> (u32, u32) {
    match &func.name {
        UserFuncName::User(name) => (name.namespace, name.index),
        UserFuncName::Testcase(name) => panic!("write u0:N, not {name}"),
    }
}

/// A module with the functions, a memory `memory`, and a table with the functions in order. The first
/// function is exported as `f`.
pub(crate) fn module(funcs: &[Function]) -> Vec<u8> {
    let mut known: Vec<(Vec<ValType>, Vec<ValType>)> = Vec::new();
    let mut type_index = |sig: &Signature| {
        let sig = signature(sig).unwrap();
        known.iter().position(|k| *k == sig).unwrap_or_else(|| {
            known.push(sig);
            known.len() - 1
        }) as u32
    };
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    for func in funcs {
        functions.function(type_index(&func.signature));
        let mut body = emit(func).unwrap_or_else(|e| panic!("{e}\n{}", func.display()));
        assert!(body.relocs.windows(2).all(|w| w[0].offset < w[1].offset));
        body.resolve(|kind| match kind {
            RelocKind::Function { namespace, index } => {
                funcs.iter().position(|f| name(f) == (namespace, index)).map(|i| i as u32)
            }
            RelocKind::Type { signature } => {
                let sig = func.dfg.signatures.values().nth(signature as usize).unwrap();
                Some(type_index(sig))
            }
        })
        .unwrap();
        code.raw(&body.code);
    }
    let mut types = TypeSection::new();
    for (params, results) in known {
        types.ty().function(params, results);
    }
    let mut tables = TableSection::new();
    let n = funcs.len() as u64;
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        minimum: n,
        maximum: Some(n),
        table64: false,
        shared: false,
    });
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: Some(1),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("f", ExportKind::Func, 0);
    exports.export("memory", ExportKind::Memory, 0);
    let mut elements = ElementSection::new();
    let all: Vec<u32> = (0..funcs.len() as u32).collect();
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(all.into()));
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&memories);
    module.section(&exports).section(&elements).section(&code);
    let wasm = module.finish();
    if let Err(e) = wasmparser::validate(&wasm) {
        let text = wasmprinter::print_bytes(&wasm).unwrap_or_default();
        let clif: String = funcs.iter().map(|f| f.display().to_string()).collect();
        panic!("{e}\n{clif}\n{text}");
    }
    wasm
}

fn pattern(i: usize) -> u8 {
    (i * 37 + 11) as u8
}

fn masked(ty: Type, bits: u64) -> u64 {
    let bits = match ty.bits() {
        64 => bits,
        n => bits & ((1 << n) - 1),
    };
    match ty {
        types::F32 if f32::from_bits(bits as u32).is_nan() => u64::from(f32::NAN.to_bits()),
        types::F64 if f64::from_bits(bits).is_nan() => f64::NAN.to_bits(),
        _ => bits,
    }
}

/// A module in wasmi that can be called several times.
pub(crate) struct Wasm {
    module: wasmi::Module,
    signature: Signature,
}

impl Wasm {
    pub(crate) fn new(funcs: &[Function]) -> Self {
        let mut config = wasmi::Config::default();
        config.consume_fuel(true);
        let engine = wasmi::Engine::new(&config);
        let module = wasmi::Module::new(&engine, module(funcs)).unwrap();
        Self { module, signature: funcs[0].signature.clone() }
    }

    pub(crate) fn call(&self, args: &[Arg]) -> Outcome {
        let mut store = wasmi::Store::new(self.module.engine(), ());
        store.set_fuel(50_000_000).unwrap();
        let linker = wasmi::Linker::new(self.module.engine());
        let instance = linker.instantiate_and_start(&mut store, &self.module).unwrap();
        let memory = instance.get_memory(&store, "memory").unwrap();
        let fill: Vec<u8> = (0..MEMORY).map(pattern).collect();
        memory.write(&mut store, BASE, &fill).unwrap();
        let f = instance.get_func(&store, "f").unwrap();
        let params = self.signature.params.iter().zip(args).map(|(param, &arg)| {
            let bits = match arg {
                Arg::Mem => BASE as u64,
                Arg::Bits(bits) => bits,
            };
            match param.value_type {
                types::I64 => wasmi::Val::I64(bits as i64),
                types::F32 => wasmi::Val::F32(wasmi::F32::from_bits(bits as u32)),
                types::F64 => wasmi::Val::F64(wasmi::F64::from_bits(bits)),
                // The upper bits are undefined: make them different from an extension.
                types::I8 => wasmi::Val::I32((bits as u32 & 0xff | 0x5a5a_5500) as i32),
                types::I16 => wasmi::Val::I32((bits as u32 & 0xffff | 0x5a5a_0000) as i32),
                _ => wasmi::Val::I32(bits as i32),
            }
        });
        let params: Vec<_> = params.collect();
        let mut results = vec![wasmi::Val::I32(0); self.signature.returns.len()];
        match f.call(&mut store, &params, &mut results) {
            Ok(()) => {}
            Err(e) if matches!(e.as_trap_code(), Some(wasmi::TrapCode::OutOfFuel)) => panic!("endless: {e}"),
            Err(_) => return Outcome::Trap,
        }
        let results = results.iter().zip(&self.signature.returns).map(|(value, param)| {
            let bits = match value {
                wasmi::Val::I32(v) => *v as u32 as u64,
                wasmi::Val::I64(v) => *v as u64,
                wasmi::Val::F32(v) => u64::from(v.to_bits()),
                wasmi::Val::F64(v) => v.to_bits(),
                other => panic!("{other:?}"),
            };
            masked(param.value_type, bits)
        });
        Outcome::Return(results.collect(), memory.data(&store)[BASE..BASE + MEMORY].to_vec())
    }
}

/// A function that makes the memory, calls `u0:0` and gives the memory back with its results.
fn wrapper(sig: &Signature, args: &[Arg]) -> Function {
    let list = |params: &[cranelift_codegen::ir::AbiParam]| {
        params.iter().map(|p| p.value_type.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (params, results) = (list(&sig.params), list(&sig.returns));
    let all = vec!["i64"; MEMORY / 8].join(", ");
    let sep = if results.is_empty() { "" } else { ", " };
    let arrow = if results.is_empty() { "" } else { " -> " };
    let mut text = format!(
        "function u0:9999({params}) -> {results}{sep}{all} {{\n ss0 = explicit_slot {MEMORY}\n \
         sig0 = ({params}){arrow}{results}\n fn0 = u0:0 sig0\nblock0("
    );
    let names: Vec<_> = (0..sig.params.len()).map(|i| format!("v{i}")).collect();
    let typed: Vec<_> =
        names.iter().zip(&sig.params).map(|(n, p)| format!("{n}: {}", p.value_type)).collect();
    write!(text, "{}):\n v500 = stack_addr.i64 ss0\n", typed.join(", ")).unwrap();
    for i in 0..MEMORY / 8 {
        let word = u64::from_le_bytes(std::array::from_fn(|k| pattern(i * 8 + k)));
        writeln!(text, " v{} = iconst.i64 {}\n store v{}, v500+{}", 600 + i, word as i64, 600 + i, i * 8)
            .unwrap();
    }
    let passed: Vec<_> = names
        .iter()
        .zip(args)
        .map(|(n, a)| if *a == Arg::Mem { "v500".to_owned() } else { n.clone() })
        .collect();
    let got: Vec<_> = (0..sig.returns.len()).map(|i| format!("v{}", 700 + i)).collect();
    let equals = if got.is_empty() { "" } else { " = " };
    writeln!(text, " {}{equals}call fn0({})", got.join(", "), passed.join(", ")).unwrap();
    let mut back = got;
    for i in 0..MEMORY / 8 {
        writeln!(text, " v{} = load.i64 v500+{}", 800 + i, i * 8).unwrap();
        back.push(format!("v{}", 800 + i));
    }
    writeln!(text, " return {}\n}}", back.join(", ")).unwrap();
    parse(&text).remove(0)
}

/// Runs the first function in Cranelift's interpreter. None if that is not able to, or does not come to an
/// end.
pub(crate) fn interpret(funcs: &[Function], args: &[Arg]) -> Option<Outcome> {
    let sig = &funcs[0].signature;
    let wrapper = wrapper(sig, args);
    let mut store = FunctionStore::default();
    store.add("u0:9999".to_owned(), &wrapper);
    for func in funcs {
        let (namespace, index) = name(func);
        store.add(format!("u{namespace}:{index}"), func);
    }
    let state = InterpreterState::default().with_function_store(store);
    let mut interpreter = Interpreter::new(state).with_fuel(Some(1_000_000));
    let params = sig.params.iter().zip(args).map(|(param, &arg)| {
        let bits = match arg {
            Arg::Mem => 0,
            Arg::Bits(bits) => bits,
        };
        DataValue::read_from_slice_le(&bits.to_le_bytes(), param.value_type)
    });
    let params: Vec<_> = params.collect();
    let mut values = match interpreter.call_by_name("u0:9999", &params) {
        Ok(ControlFlow::Return(values)) => values.to_vec(),
        Ok(ControlFlow::Trap(_)) => return Some(Outcome::Trap),
        Ok(other) => panic!("{other:?}"),
        Err(_) => return None,
    };
    let bits = |value: &DataValue| {
        let mut bytes = [0; 16];
        value.write_to_slice_le(&mut bytes);
        masked(value.ty(), u64::from_le_bytes(bytes[..8].try_into().unwrap()))
    };
    let memory = values.split_off(sig.returns.len());
    Some(Outcome::Return(
        values.iter().map(bits).collect(),
        memory.iter().flat_map(|v| bits(v).to_le_bytes()).collect(),
    ))
}
