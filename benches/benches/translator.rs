//! The translator's stages, one after the other, on one program. Elements are guest instructions, copies in
//! resume functions included.

use cranelift_codegen::ir;
use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use forelift_abi::lift::rv64::GUEST;
use forelift_abi::lift::{Layout, Value};
use forelift_benches::{
    lifted::{Lifted, functions},
    program,
};
use forelift_emit::{Body, RelocKind};
use forelift_runtime::cpu::{Lifting, rv64::lifted::layout_at};
use forelift_translator::{
    isa::rv64::Rv64,
    jit,
    lift::{self, CALLEES, HELPERS, Options},
    opt,
    region::{self, Function, Limits},
};
use wasm_encoder::{
    CodeSection, EntityType, FunctionSection, ImportSection, MemoryType, Module, TypeSection, ValType,
};

/// Addresses as in WebAssembly.
fn layout() -> Layout {
    Layout {
        pass_cpu: 0,
        pointer: 4,
        dtlb_user: 0x40_0000,
        dtlb_entries: 1 << 15,
        ram: 0x10_0000,
        ram_len: 64 << 20,
        ..layout_at(0x1000)
    }
}

/// Checks that the bodies are valid functions of a module with the helpers as its imports.
fn validate(bodies: &[Body]) {
    use ValType::{F64, I32, I64};
    let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
    let memory =
        MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
    imports.import("", "memory", memory);
    let wasm = |value: &Value| match value {
        Value::I32 => I32,
        Value::I64 => I64,
        Value::F64 => F64,
    };
    for (n, helper) in GUEST.helpers.iter().enumerate() {
        types.ty().function(helper.params.iter().map(wasm), [wasm(&helper.result)]);
        imports.import("", helper.export, EntityType::Function(n as u32));
    }
    let first = GUEST.helpers.len() as u32;
    types.ty().function([I64, I32, I32], [I64]);
    let (mut declared, mut code) = (FunctionSection::new(), CodeSection::new());
    for body in bodies {
        declared.function(first);
        let mut bytes = body.code.clone();
        for reloc in &body.relocs {
            // Any lifted function stands for the one that is called: they have one type.
            let index = match reloc.kind {
                RelocKind::Function { namespace: HELPERS, index } => index,
                RelocKind::Function { namespace: CALLEES, .. } => first,
                other => panic!("{other:?}"),
            };
            let at = reloc.offset as usize;
            bytes[at..at + 5].copy_from_slice(&[index as u8 | 0x80, 0x80, 0x80, 0x80, 0]);
        }
        code.raw(&bytes);
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&declared).section(&code);
    wasmparser::validate(&module.finish()).expect("valid functions");
}

fn translator(c: &mut Criterion) {
    let mut trained = program::machine();
    trained.cpu.start_profile(&mut trained.mem);
    let result = program::finish(&mut trained);
    let (program, made) = functions(&trained, Limits::default());
    let instructions: usize = made.iter().map(Function::insns).sum();
    let isa = opt::host_isa(false).expect("a host that cranelift supports");
    let options = Options { layout: layout(), call_conv: opt::call_conv(&isa) };

    let lift_all = || -> Vec<ir::Function> {
        let one = |function| {
            let mut clif = ir::Function::new();
            lift::lift(&Rv64, &program, function, &options, &mut clif);
            clif
        };
        made.iter().map(one).collect()
    };
    let optimize_all = |mut all: Vec<ir::Function>| {
        all.iter_mut().for_each(|clif| opt::optimize(clif, &isa).expect("good CLIF"));
        all
    };
    let emit_all = |all: &[ir::Function]| -> Vec<Body> {
        all.iter().map(|clif| forelift_emit::emit(clif).expect("a function that can be emitted")).collect()
    };
    let lifted = lift_all();
    let optimized = optimize_all(lifted.clone());
    validate(&emit_all(&optimized));
    // The same code, compiled for this host, computes what the interpreter does.
    let mut machine = Lifted::new(program::machine(), &program, made.clone());
    assert_eq!(program::finish(&mut machine.machine), result);
    assert!(machine.share() > 0.99, "{} of the instructions are lifted", machine.share());

    let mut group = c.benchmark_group("translator");
    group.throughput(Throughput::Elements(instructions as u64));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("regions", |b| b.iter(|| region::regions(&program, Limits::default())));
    group.bench_function("lift", |b| b.iter(lift_all));
    group.bench_function("opt", |b| b.iter_batched(|| lifted.clone(), optimize_all, BatchSize::PerIteration));
    group.bench_function("emit", |b| b.iter(|| emit_all(&optimized)));
    let layout = machine.machine.cpu.layout();
    let helpers = machine.machine.cpu.helpers();
    let all: Vec<&Function> = made.iter().collect();
    // From regions to machine code: it lifts and optimises, too.
    group.bench_function("lift, opt and machine code", |b| {
        b.iter(|| jit::compile(&Rv64, &program, &all, layout, &helpers).expect("code for this host"));
    });
    group.finish();
}

criterion_group!(benches, translator);
criterion_main!(benches);
