//! The commands: `decode`, and the later stages on code that nobody has run.

pub(crate) mod decode;
mod input;

use std::{fs, io::Write, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use cranelift_codegen::ir;
use forelift_emit::Body;
use forelift_translator::{
    fixed,
    lift::{self, Options, Target},
    opt,
    program::Program,
    region::{self, Function, Limits},
    standalone,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) use input::Input;

/// How far a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Lift,
    Opt,
    Emit,
}

/// What the later stages have in common.
#[derive(Debug, Args)]
pub(crate) struct Staged {
    #[command(flatten)]
    input: Input,
    /// Print a summary as JSON instead
    #[arg(long)]
    json: bool,
}

/// Options of `emit`.
#[derive(Debug, Args)]
pub(crate) struct Emit {
    #[command(flatten)]
    staged: Staged,
    /// Write the module here, and print the sizes
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A function on its way.
struct Item {
    name: String,
    function: Function,
    clif: ir::Function,
    /// What the stage that was asked for gave.
    result: Result<Option<Body>, String>,
}

fn name(program: &Program, function: &Function) -> String {
    let page = &program.pages[function.pages[&0]];
    let first = function.entries.first().copied().unwrap_or(0);
    let address = page.va.wrapping_add_signed(i64::from(first));
    format!("f_{address:x}{}", if function.resumes { "_resume" } else { "" })
}

/// Takes the input's functions through the stages.
fn stages(target: &'static dyn Target, program: &Program, stage: Stage) -> anyhow::Result<Vec<Item>> {
    let isa = opt::host_isa(true)?;
    let options = Options { layout: fixed::layout(target), call_conv: opt::call_conv(&isa) };
    let regions = region::regions(program, Limits { threshold: 1, ..Limits::default() });
    let mut functions: Vec<Function> = regions.into_iter().flat_map(|region| region.functions).collect();
    functions.sort_by_cached_key(|function| {
        let page = &program.pages[function.pages[&0]];
        (page.va, function.entries.first().copied(), function.resumes)
    });
    let work = |function: Function| {
        let mut clif = ir::Function::new();
        lift::lift(target, program, &function, &options, &mut clif);
        let mut result = Ok(None);
        if stage >= Stage::Opt {
            result = opt::optimize(&mut clif, &isa).map(|()| None).map_err(|e| e.to_string());
        }
        if stage >= Stage::Emit && result.is_ok() {
            result = forelift_emit::emit(&clif).map(Some).map_err(|e| e.to_string());
        }
        Item { name: name(program, &function), function, clif, result }
    };
    Ok(functions.into_iter().map(work).collect())
}

fn clif_insns(func: &ir::Function) -> usize {
    func.layout.blocks().map(|block| func.layout.block_insts(block).count()).sum()
}

/// Why functions leave lifted code, with the number of places.
fn not_lifted(items: &[Item]) -> BTreeMap<String, u64> {
    let mut reasons = BTreeMap::new();
    for why in items.iter().filter(|item| !item.function.resumes).flat_map(|item| item.function.unlifted()) {
        *reasons.entry(why.to_string()).or_default() += 1;
    }
    reasons
}

fn summary(items: &[Item]) -> Value {
    let each = |item: &Item| {
        json!({
            "name": item.name,
            "resumes": item.function.resumes,
            "entries": item.function.entries.len(),
            "instructions": item.function.insns(),
            "clif": clif_insns(&item.clif),
            "bytes": item.result.as_ref().ok().and_then(Option::as_ref).map(|body| body.code.len()),
            "refused": item.result.as_ref().err(),
        })
    };
    let total = |of: &dyn Fn(&Item) -> usize| items.iter().map(of).sum::<usize>();
    let bytes =
        |item: &Item| item.result.as_ref().ok().and_then(Option::as_ref).map_or(0, |body| body.code.len());
    json!({
        "functions": items.iter().map(each).collect::<Vec<_>>(),
        "instructions": total(&|item| item.function.insns()),
        "clif": total(&|item| clif_insns(&item.clif)),
        "bytes": total(&bytes),
        "refused": items.iter().filter(|item| item.result.is_err()).count(),
        "not_lifted": not_lifted(items),
    })
}

/// `lift` and `opt`.
pub(crate) fn clif(args: &Staged, stage: Stage) -> anyhow::Result<()> {
    let (target, program) = args.input.program()?;
    let items = stages(target, &program, stage)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        return Ok(writeln!(out, "{:#}", summary(&items))?);
    }
    if items.is_empty() {
        bail!("{}: no instruction there can be lifted", args.input.name());
    }
    for Item { name, function, clif, result } in &items {
        let base = program.pages[function.pages[&0]].va;
        let entries: Vec<String> =
            function.entries.iter().map(|&e| format!("{:#x}", base.wrapping_add_signed(e.into()))).collect();
        writeln!(out, "; {name}: {} instructions, entry points {}", function.insns(), entries.join(" "))?;
        match result {
            Ok(_) => writeln!(out, "{}", clif.display())?,
            Err(why) => writeln!(out, "; refused: {why}\n")?,
        }
    }
    Ok(())
}

/// `emit`.
pub(crate) fn emit(args: &Emit) -> anyhow::Result<()> {
    let input = &args.staged.input;
    let (target, program) = input.program()?;
    let items = stages(target, &program, Stage::Emit)?;
    let bodies: Vec<(&str, &Body)> = items
        .iter()
        .filter_map(|item| Some((item.name.as_str(), item.result.as_ref().ok()?.as_ref()?)))
        .collect();
    if bodies.is_empty() && !args.staged.json {
        bail!("{}: no instruction there can be lifted", input.name());
    }
    let module = standalone::module(target.guest(), &bodies)?;
    if let Some(path) = &args.output {
        fs::write(path, &module).with_context(|| path.display().to_string())?;
    }
    let mut out = std::io::stdout().lock();
    if args.staged.json {
        return Ok(writeln!(out, "{:#}", summary(&items))?);
    }
    if args.output.is_none() {
        let text = wasmprinter::print_bytes(&module).context("printing the module")?;
        return Ok(writeln!(out, "{text}")?);
    }
    for item in &items {
        match &item.result {
            Ok(Some(body)) => writeln!(
                out,
                "{}: {} instructions, {} of CLIF, {} bytes",
                item.name,
                item.function.insns(),
                clif_insns(&item.clif),
                body.code.len()
            )?,
            Ok(None) => {}
            Err(why) => writeln!(out, "{}: refused: {why}", item.name)?,
        }
    }
    Ok(writeln!(out, "module: {} bytes", module.len())?)
}
