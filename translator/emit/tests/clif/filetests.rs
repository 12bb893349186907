//! The CLIF files in `filetests`: expected WAT beside each (written anew with `BLESS=1`), and calls of the
//! first function, which is `u0:0`:
//!
//! `; run: u0:0(mem, 1) == 2, 3` or `== trap`. `mem` is the address of 256 bytes with a fixed pattern.
//! `BLESS=1` completes a line without `==` by what Cranelift's interpreter gives. `; wasm:` is for calls
//! which the interpreter gets wrong (it has no negative offsets, for example).

use crate::testing::{Arg, Outcome, Wasm, host, interpret, module, optimised, parse};
use cranelift_codegen::ir::{Function, Signature, Type, types};
use std::path::Path;

fn bits(text: &str, ty: Type) -> u64 {
    let text = text.trim();
    match ty {
        types::F32 => u64::from(text.parse::<f32>().unwrap().to_bits()),
        types::F64 => text.parse::<f64>().unwrap().to_bits(),
        _ => {
            let (negative, digits) = match text.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, text),
            };
            let value = match digits.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
                None => digits.parse().unwrap_or_else(|_| panic!("{text}")),
            };
            let value = if negative { value.wrapping_neg() } else { value };
            if ty.bits() == 64 { value } else { value & ((1 << ty.bits()) - 1) }
        }
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty())
}

fn check(path: &Path, line: &str, variants: &[(&str, &[Function])], interpreter: bool) {
    let (call, expected) = line.split_once("==").unwrap_or((line, ""));
    let sig = &variants[0].1[0].signature;
    let args = arguments(call, sig);
    let expected: Option<Vec<u64>> = (expected.trim() != "trap")
        .then(|| list(expected).zip(&sig.returns).map(|(text, p)| bits(text, p.value_type)).collect());
    let mut first = None;
    for (name, funcs) in variants {
        let wasm = Wasm::new(funcs).call(&args);
        let at = || format!("{}: {line} ({name})", path.display());
        match (&wasm, &expected) {
            (Outcome::Return(values, _), Some(expected)) => assert_eq!(values, expected, "{}", at()),
            (Outcome::Trap, None) => {}
            (outcome, expected) => panic!("{}: {outcome:?}, not {expected:?}", at()),
        }
        if interpreter && let Some(outcome) = interpret(funcs, &args) {
            assert_eq!(wasm, outcome, "{}: interpreter", at());
        }
        assert_eq!(*first.get_or_insert(wasm.clone()), wasm, "{}", at());
    }
}

fn bless() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// Writes the expected results that are missing.
fn complete(path: &Path, text: &str, funcs: &[Function]) -> String {
    let sig = &funcs[0].signature;
    let mut out = String::new();
    for line in text.lines() {
        out.push_str(line);
        if line.starts_with("; run:") && !line.contains("==") {
            let args = arguments(line.trim_start_matches("; run:"), sig);
            let expected = match interpret(funcs, &args) {
                Some(Outcome::Trap) => "trap".to_owned(),
                Some(Outcome::Return(values, _)) => {
                    let each = values.iter().zip(&sig.returns).map(|(v, p)| show(*v, p.value_type));
                    each.collect::<Vec<_>>().join(", ")
                }
                None => panic!("{}: {line}: the interpreter fails", path.display()),
            };
            out.push_str(" == ");
            out.push_str(&expected);
        }
        out.push('\n');
    }
    std::fs::write(path, &out).unwrap();
    out
}

fn show(bits: u64, ty: Type) -> String {
    match ty {
        types::F32 => format!("{:?}", f32::from_bits(bits as u32)),
        types::F64 => format!("{:?}", f64::from_bits(bits)),
        _ if bits < 1000 => bits.to_string(),
        _ => format!("{bits:#x}"),
    }
}

fn arguments(call: &str, sig: &Signature) -> Vec<Arg> {
    let inner = call.trim().strip_prefix("u0:0(").and_then(|s| s.strip_suffix(')'));
    let args: Vec<Arg> = list(inner.unwrap_or_else(|| panic!("{call}")))
        .zip(&sig.params)
        .map(|(text, p)| if text == "mem" { Arg::Mem } else { Arg::Bits(bits(text, p.value_type)) })
        .collect();
    assert_eq!(args.len(), sig.params.len(), "{call}");
    args
}

#[test]
fn files() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clif/filetests");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "clif"));
    paths.sort();
    let isa = host();
    let (mut calls, mut stale) = (0, Vec::new());
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        let plain = parse(&text);
        let text = if bless() { complete(path, &text, &plain) } else { text };
        let better: Vec<Function> = plain.iter().map(|f| optimised(f, &isa)).collect();
        for line in text.lines() {
            let (line, interpreter) = match (line.strip_prefix("; run:"), line.strip_prefix("; wasm:")) {
                (Some(line), _) => (line, true),
                (_, Some(line)) => (line, false),
                _ => continue,
            };
            check(path, line, &[("as written", &plain), ("optimised", &better)], interpreter);
            calls += 1;
        }
        let wat = wasmprinter::print_bytes(module(&better)).unwrap();
        let beside = path.with_extension("wat");
        if bless() {
            std::fs::write(&beside, &wat).unwrap();
        } else if std::fs::read_to_string(&beside).unwrap_or_default() != wat {
            stale.push(beside);
        }
    }
    assert!(stale.is_empty(), "not as expected (BLESS=1 writes them anew): {stale:?}");
    assert!(paths.len() >= 20 && calls >= 100, "{} files, {calls} calls", paths.len());
}
