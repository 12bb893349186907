//! The program `forelift-translator`, stage by stage, on a small ELF file.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BASE: u64 = 0x1_0000;
/// Where the code lies in the file.
const OFFSET: u64 = 0x1000;

/// `sum`: adds the words of an array (a0, a1 of them); `leaf` calls it and has a CSR and a system
/// instruction; data after them.
///
/// ```text
/// sum:   0: 00000293  addi t0, zero, 0
///        4: c991      beqz a1, 18
///        6: 6118      ld a4, 0(a0)
///        8: 0521      addi a0, a0, 8
///        a: 92ba      add t0, t0, a4
///        c: 15fd      addi a1, a1, -1
///        e: fde5      bnez a1, 6
///       10: 02a28533  mul a0, t0, a0
///       14: 8082      ret
///       16: 0001      nop
///       18: 8516      mv a0, t0
///       1a: 8082      ret
/// leaf: 1c: fe5ff0ef  jal ra, 0
///       20: 001022f3  csrrs t0, fflags, zero
///       24: 0000000f  fence
///       28: 10500073  wfi
///       2c: 8082      ret
/// ```
const CODE: [u16; 23] = [
    0x0293, 0x0000, 0xc991, 0x6118, 0x0521, 0x92ba, 0x15fd, 0xfde5, 0x8533, 0x02a2, 0x8082, 0x0001, 0x8516,
    0x8082, 0xf0ef, 0xfe5f, 0x22f3, 0x0010, 0x000f, 0x0000, 0x0073, 0x1050, 0x8082,
];

fn code() -> Vec<u8> {
    CODE.iter().flat_map(|half| half.to_le_bytes()).collect()
}

/// An ELF file with the code, and symbols for both functions.
fn elf() -> Vec<u8> {
    let code = code();
    let names = b"\0sum\0leaf\0";
    let (symbols_at, names_at) = (OFFSET + 0x100, OFFSET + 0x200);
    let sections_at = OFFSET + 0x300;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |file: &mut Vec<u8>, list: &[u16]| file.extend(list.iter().flat_map(|v| v.to_le_bytes()));
    let words = |file: &mut Vec<u8>, list: &[u32]| file.extend(list.iter().flat_map(|v| v.to_le_bytes()));
    let longs = |file: &mut Vec<u8>, list: &[u64]| file.extend(list.iter().flat_map(|v| v.to_le_bytes()));
    halves(&mut file, &[2, 243]);
    words(&mut file, &[1]);
    longs(&mut file, &[BASE, 64, sections_at]);
    words(&mut file, &[5]);
    halves(&mut file, &[64, 56, 1, 64, 3, 0]);
    words(&mut file, &[1, 5]);
    longs(&mut file, &[OFFSET, BASE, BASE, code.len() as u64, code.len() as u64, 4096]);
    file.resize(OFFSET as usize, 0);
    file.extend(&code);
    file.resize(symbols_at as usize, 0);
    for (name, value, size) in [(0u32, 0u64, 0u64), (1, BASE, 0x1c), (5, BASE + 0x1c, 0x12)] {
        words(&mut file, &[name]);
        // STT_FUNC, STB_GLOBAL; SHN_ABS.
        file.extend([if size > 0 { 0x12 } else { 0 }, 0]);
        halves(&mut file, &[if size > 0 { 0xfff1 } else { 0 }]);
        longs(&mut file, &[value, size]);
    }
    file.resize(names_at as usize, 0);
    file.extend(names);
    file.resize(sections_at as usize, 0);
    file.extend([0; 64]);
    for (kind, at, len, link, entry) in
        [(2u32, symbols_at, 72u64, 2u32, 24u64), (3, names_at, names.len() as u64, 0, 0)]
    {
        words(&mut file, &[0, kind]);
        longs(&mut file, &[0, 0, at, len]);
        words(&mut file, &[link, 1]);
        longs(&mut file, &[8, entry]);
    }
    file
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("code.elf"), elf()).unwrap();
        std::fs::write(dir.path().join("code.bin"), code()).unwrap();
        Dir(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_forelift-translator"))
            .args(args)
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && error.is_empty(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success() && output.stdout.is_empty(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn functions(clif: &str) -> Vec<&str> {
    clif.lines().filter(|line| line.starts_with("; f_")).collect()
}

#[test]
fn the_file_is_what_its_listing_says() {
    let dir = Dir::new();
    let text = dir.ok(&["decode", "code.elf", "--range", "0x10000..0x1002e"]);
    let lines: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('\t')?.1)).collect();
    assert_eq!(lines.len(), 17, "{text}");
    assert_eq!((lines[1], lines[6]), ("c.beqz\tx11,0x10018", "c.bnez\tx11,0x10006"), "{text}");
    let leaf = dir.ok(&["decode", "code.elf", "--function", "leaf"]);
    assert!(leaf.contains("jal\tx1,0x10000") && !leaf.contains("mul"), "{leaf}");
}

#[test]
fn lift_prints_clif_of_what_was_chosen() {
    let dir = Dir::new();
    let sum = dir.ok(&["lift", "code.elf", "--function", "sum"]);
    assert!(sum.contains("imul") && sum.contains("load.i64") && sum.contains("function u0:0"), "{sum}");
    // The loop's head is an entry point of its own.
    assert!(functions(&sum)[0].contains("entry points 0x10000 0x10006"), "{sum}");
    let leaf = dir.ok(&["lift", "code.elf", "--symbol", "leaf"]);
    assert!(leaf.contains("call fn") && !leaf.contains("imul"), "{leaf}");
    let whole = dir.ok(&["lift", "code.elf"]);
    assert!(whole.contains("imul") && functions(&whole).len() > functions(&leaf).len(), "{whole}");
    // What an address leads to: not the code before it.
    let rest = dir.ok(&["lift", "code.elf", "--address", "10018"]);
    assert!(functions(&rest).len() == 1 && rest.contains(": 2 instructions"), "{rest}");
    let same = dir.ok(&["lift", "code.elf", "--range", "10018..1001c"]);
    assert_eq!(rest, same);
}

#[test]
fn raw_instructions_are_taken_from_files_and_words() {
    let dir = Dir::new();
    let raw = dir.ok(&["lift", "--raw", "code.bin"]);
    assert!(raw.contains("imul"), "{raw}");
    let hex = dir.ok(&["lift", "--hex", "02a28533 8082"]);
    assert!(hex.contains("imul") && functions(&hex)[0].contains("f_10000: 2 instructions"), "{hex}");
    let (user, supervisor) =
        (dir.ok(&["lift", "--hex", "6118 8082"]), dir.ok(&["lift", "--supervisor", "--hex", "6118 8082"]));
    assert_ne!(user, supervisor);
}

#[test]
fn opt_prints_less() {
    let dir = Dir::new();
    let (lift, opt) = (dir.ok(&["lift", "code.elf"]), dir.ok(&["opt", "code.elf"]));
    assert_eq!(functions(&lift), functions(&opt));
    assert!(opt.lines().count() < lift.lines().count(), "{} {}", opt.len(), lift.len());
    assert!(opt.contains("imul"), "{opt}");
}

fn check(path: &Path) -> Vec<u8> {
    let module = std::fs::read(path).unwrap();
    wasmparser::validate(&module).unwrap_or_else(|e| panic!("{e}"));
    module
}

#[test]
fn emit_prints_text_and_writes_modules() {
    let dir = Dir::new();
    let wat = dir.ok(&["emit", "code.elf", "--function", "sum"]);
    assert!(wat.contains("i64.mul") && wat.contains("(import \"forelift\" \"memory\""), "{wat}");
    assert!(wat.contains("(export \"f_10000\""), "{wat}");
    let sizes = dir.ok(&["emit", "code.elf", "-o", "out.wasm"]);
    let module = check(&dir.path("out.wasm"));
    assert!(sizes.contains(&format!("module: {} bytes", module.len())), "{sizes}");
    assert!(sizes.lines().count() >= 3 && sizes.contains("f_1001c: "), "{sizes}");
    assert_eq!(dir.ok(&["emit", "code.elf", "-o", "again.wasm"]), sizes);
    assert_eq!(check(&dir.path("again.wasm")), module);
}

#[test]
fn summaries_are_json() {
    let dir = Dir::new();
    let mut sizes = Vec::new();
    for stage in ["lift", "opt", "emit"] {
        let text = dir.ok(&[stage, "--json", "code.elf"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let functions = value["functions"].as_array().unwrap();
        assert!(functions.len() >= 2, "{text}");
        let sum: u64 = functions.iter().map(|f| f["instructions"].as_u64().unwrap()).sum();
        assert_eq!(value["instructions"].as_u64().unwrap(), sum, "{text}");
        assert_eq!(value["not_lifted"]["wfi"], 1, "{text}");
        assert_eq!(value["refused"], 0, "{text}");
        assert_eq!(value["bytes"].as_u64().unwrap() > 0, stage == "emit", "{text}");
        sizes.push(value["clif"].as_u64().unwrap());
    }
    assert!(sizes[1] < sizes[0] && sizes[1] == sizes[2], "{sizes:?}");
}

#[test]
fn mistakes_are_told() {
    let dir = Dir::new();
    for (args, words) in [
        (&["lift", "no.elf"][..], "no.elf"),
        (&["lift", "code.bin"], "code.bin: not a usable ELF file"),
        (&["opt", "code.elf", "--function", "none"], "no function symbol `none`"),
        (&["lift", "code.elf", "--range", "1..2..3"], "expected START..END"),
        (&["lift", "code.elf", "--range", "0..8"], "does not lie in an executable segment"),
        (&["lift", "code.elf", "--address", "4"], "no executable memory is there"),
        (&["lift", "code.elf", "--address", "10001"], "expected an even number"),
        (&["emit", "--hex", "8082x"], "`8082x` is no instruction"),
        (&["emit", "--hex", " "], "no instruction"),
        (&["lift", "--hex", "0000"], "no instruction there can be lifted"),
        (&["emit", "--hex", "8082", "-o", "no/dir"], "no/dir"),
    ] {
        let text = dir.fails(args);
        assert!(text.contains(words) && text.lines().count() == 1, "{args:?}: {text}");
    }
    for damage in 0..elf().len().min(0x140) {
        // A damaged file is refused or not, but never ends in a panic.
        let mut file = elf();
        file[damage] ^= 0xff;
        std::fs::write(dir.path("bad.elf"), file).unwrap();
        let output = dir.run(&["lift", "bad.elf", "--json"]);
        assert!(output.status.code().is_some_and(|code| code <= 1), "byte {damage}: {output:?}");
        if damage > 80 {
            break;
        }
    }
}
