//! What guest code becomes, stage by stage: one case a file, with its code and its expected results, in a
//! directory for each ISA. The module `case` says what stands in a file.
//!
//! `BLESS=1` writes the results anew. Whether the code is right is for other tests to say: `isa_lifted` of
//! the crate `forelift-tests` runs each instruction interpreted and lifted.
//!
//! A new case is a file with a head and code; `BLESS=1` adds the rest. A new ISA is a row of [`ISAS`] and
//! a directory.

mod case;
mod isa;
mod rv64;

use case::{Case, Stage};
use forelift_abi::lift::Mode;
use forelift_translator::fixed::{self, Piece};
use forelift_translator::isa::Decoded;
use forelift_translator::lift::{self, Options};
use forelift_translator::region::{self, Limits};
use forelift_translator::{opt, standalone};
use isa::{BASE, Isa};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The ISAs that have cases.
const ISAS: &[Isa] = &[rv64::ISA];

/// The text of the function `name` in a module's.
fn function_text(wat: &str, name: &str) -> String {
    let lines = wat.lines().skip_while(|line| !line.trim_start().starts_with(&format!("(func ${name}")));
    let mut out = String::new();
    for line in lines {
        out.push_str(line.strip_prefix("  ").unwrap_or(line));
        out.push('\n');
        if line == "  )" {
            break;
        }
    }
    out
}

/// The disassembly of a case, line by line.
fn disassembly(isa: &Isa, case: &Case) -> Result<Vec<String>, String> {
    let mut address = BASE;
    let mut out = Vec::new();
    for insn in &case.insns {
        let text = match isa.target.decode(&insn.bytes, Mode::User) {
            Decoded::Insn(whole) if whole.bytes() == insn.bytes => {
                isa.target.disassemble(&insn.bytes, address).map(|text| text.replace('\t', " "))
            }
            _ => None,
        };
        out.push(text.ok_or_else(|| format!("{:02x?} is not one instruction", insn.bytes))?);
        address += insn.bytes.len() as u64;
    }
    Ok(out)
}

/// The output of each command of a case, for the first function that its code becomes.
fn outputs(isa: &Isa, case: &Case) -> Result<Vec<(Stage, String)>, String> {
    let mode = isa.modes.iter().find(|(name, _)| *name == case.mode);
    let (_, mode) = mode.ok_or_else(|| format!("{} has no mode `{}`", isa.target.name(), case.mode))?;
    let code = case.code();
    let pieces = [Piece { address: BASE, bytes: &code }];
    let hot = fixed::all(isa.target, &pieces, *mode);
    let program = fixed::program(isa.target, &pieces, &hot, &BTreeSet::from([BASE]), *mode);
    let regions = region::regions(&program, Limits { threshold: 1, ..Limits::default() });
    let function = regions.first().and_then(|region| region.functions.first()).ok_or("nothing is lifted")?;
    if function.insns() != case.lifts {
        return Err(format!("{} instructions are lifted, not {}", function.insns(), case.lifts));
    }
    // The same calling convention and mid-end on every host, so that the results are the same everywhere.
    let options =
        Options { layout: fixed::layout(isa.target), call_conv: cranelift_codegen::isa::CallConv::SystemV };
    let host = opt::host_isa(true).map_err(|e| e.to_string())?;
    let mut clif = cranelift_codegen::ir::Function::new();
    lift::lift(isa.target, &program, function, &options, &mut clif);
    let lifted = clif.display().to_string();
    opt::optimize(&mut clif, &host).map_err(|e| e.to_string())?;
    let optimised = clif.display().to_string();
    let body = forelift_emit::emit(&clif).map_err(|e| e.to_string())?;
    let module = standalone::module(isa.target.guest(), &[("lifted", &body)]).map_err(|e| e.to_string())?;
    wasmparser::validate(&module).map_err(|e| e.to_string())?;
    let wat = wasmprinter::print_bytes(module).map_err(|e| e.to_string())?;
    let emitted = function_text(&wat, "lifted");
    assert!(emitted.lines().count() > 3, "{wat}");
    let output = |stage| match stage {
        Stage::Lift => lifted.clone(),
        Stage::Opt => optimised.clone(),
        Stage::Emit => emitted.clone(),
    };
    Ok(case.stages.iter().map(|&stage| (stage, output(stage))).collect())
}

/// The first line that differs.
fn difference(old: &str, new: &str) -> String {
    let (mut old, mut new) = (old.lines(), new.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (was, is) if was == is => {}
            (was, is) => {
                let text = |line: Option<&str>| line.unwrap_or("(end)").to_owned();
                return format!("line {number} is\n    {}\nnot\n    {}", text(is), text(was));
            }
        }
    }
    "line ends differ".to_owned()
}

/// Adds the cases below `dir`, which may not be empty.
fn find(dir: &Path, cases: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let before = cases.len();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => find(&path, cases),
            Some("fl") => cases.push(path),
            Some("rs") => {}
            _ => panic!("{}: not a case, which is called NAME.fl", path.display()),
        }
    }
    assert!(cases.len() > before, "{}: no case", dir.display());
}

/// Runs the cases of an ISA; gives the mnemonics that cases begin with, and what is wrong.
fn run(root: &Path, isa: &Isa) -> (BTreeSet<String>, Vec<String>) {
    let mut paths = Vec::new();
    find(&root.join(isa.target.name()), &mut paths);
    let (mut covered, mut wrong) = (BTreeSet::new(), Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = Case::parse(&text).map_err(|e| e.to_string()).and_then(|case| {
            let disassembly = disassembly(isa, &case)?;
            covered.extend(disassembly[0].split(' ').next().map(str::to_owned));
            Ok(case.file(&disassembly, &outputs(isa, &case)?))
        });
        match file {
            Ok(file) if file == text => {}
            Ok(file) if std::env::var_os("BLESS").is_some() => std::fs::write(&path, file).unwrap(),
            Ok(file) => wrong.push(format!("{}: {}", path.display(), difference(&text, &file))),
            Err(why) => wrong.push(format!("{}: {why}", path.display())),
        }
    }
    (covered, wrong)
}

#[test]
fn cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    for entry in std::fs::read_dir(&root).unwrap() {
        let entry = entry.unwrap();
        let known = ISAS.iter().any(|isa| *entry.file_name() == *isa.target.name());
        assert!(known || !entry.path().is_dir(), "{}: no ISA of `ISAS`", entry.path().display());
    }
    for isa in ISAS {
        let (covered, wrong) = run(&root, isa);
        assert!(wrong.is_empty(), "not as expected (BLESS=1 writes the results anew):\n{}", wrong.join("\n"));
        let missing: Vec<_> = (isa.lifted)().into_iter().filter(|name| !covered.contains(*name)).collect();
        assert!(missing.is_empty(), "{}: no case begins with {missing:?}", isa.target.name());
    }
}
