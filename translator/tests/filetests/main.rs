//! What every instruction that is lifted becomes, and accesses that go together: guest code, CLIF,
//! WebAssembly, a file for each case in a directory for each group of the table. `BLESS=1` writes the files anew; whether
//! the code is right is for `isa_lifted` of the crate `forelift-tests` to say, which runs each instruction
//! interpreted and lifted.

use forelift_isa::rv64::{Fields, Flow, Op, encode};
use forelift_translator::fixed::{self, Piece};
use forelift_translator::lift::{self, Options};
use forelift_translator::region::{self, Limits};
use forelift_translator::{opt, standalone};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// Address of the code.
const BASE: u64 = 0x1_0000;
/// `c.jr ra`.
const RET: [u8; 2] = [0x82, 0x80];

/// The directory for an instruction.
fn group(op: Op) -> &'static str {
    let name = op.mnemonic();
    match () {
        () if op.access().must_align() => "a",
        () if op.needs_fp() && name.ends_with(".d") || matches!(op, Op::Fld | Op::Fsd) => "d",
        () if op.needs_fp() => "f",
        () if op.flow() == Flow::Csr => "zicsr",
        () if op.flow() == Flow::Branch || op.flow() == Flow::Jump => "control",
        () if op.access().reads() || op.access().writes() => "memory",
        () if name.starts_with("mul") || name.starts_with("div") || name.starts_with("rem") => "m",
        () => "i",
    }
}

fn fields(op: Op) -> Fields {
    let imm = match op {
        Op::Lui | Op::Auipc => 0x12345 << 12,
        _ if op.flow() == Flow::Csr => 0x340 & 3,
        _ if op.flow() == Flow::Branch || op == Op::Jal => 8,
        _ => 12,
    };
    Fields { rd: 10, rs1: 11, rs2: 12, rs3: 13, rm: 7, imm, aq: false, rl: false }
}

/// The code of one case: the instruction, and behind it a place to branch to.
fn code(op: Op) -> Vec<u8> {
    let mut code = encode(op, &fields(op)).to_le_bytes().to_vec();
    // addi x20, x20, 1; then return.
    code.extend(encode(Op::Addi, &Fields { rd: 20, rs1: 20, imm: 1, ..Fields::default() }).to_le_bytes());
    code.extend(RET);
    code
}

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

fn case(op: Op) -> String {
    let word = encode(op, &fields(op));
    let insn = forelift_isa::rv64::decode(word).unwrap();
    stages(
        &format!("{word:08x}\t{}", insn.disassemble(BASE)),
        &code(op),
        0,
        if op.flow() == Flow::Next { 2 } else { 1 },
    )
}

/// What becomes of the function that `bytes` is, in each stage; `least` of its instructions are lifted.
fn stages(title: &str, bytes: &[u8], privilege: u8, least: usize) -> String {
    let pieces = [Piece { address: BASE, bytes }];
    let program = fixed::program(&pieces, &fixed::all(&pieces), &BTreeSet::from([BASE]), privilege);
    let regions = region::regions(&program, Limits { threshold: 1, ..Limits::default() });
    let function = &regions[0].functions[0];
    assert!(function.insns() >= least, "{title} is not lifted");
    let isa = opt::host_isa(true).unwrap();
    // Whatever the host, so that the files are the same everywhere.
    let options = Options { layout: fixed::layout(), call_conv: cranelift_codegen::isa::CallConv::SystemV };
    let mut clif = cranelift_codegen::ir::Function::new();
    lift::lift(&program, function, &options, &mut clif);
    let mut out = String::new();
    writeln!(out, "==== {title}\n{}", clif.display()).unwrap();
    opt::optimize(&mut clif, &isa).unwrap();
    let body = forelift_emit::emit(&clif).unwrap_or_else(|e| panic!("{title}: {e}"));
    let module = standalone::module(&[("lifted", &body)]).unwrap();
    wasmparser::validate(&module).unwrap_or_else(|e| panic!("{title}: {e}"));
    let wat = wasmprinter::print_bytes(module).unwrap();
    let text = function_text(&wat, "lifted");
    assert!(text.lines().count() > 3, "{wat}");
    out.push_str(&text);
    out.push('\n');
    out
}

/// Accesses that share a look into the TLB: three off one register, two of them written later; a frame that
/// is saved and restored around a branch.
fn windows() -> Vec<(&'static str, String)> {
    let i = |op, rd, rs1, imm| encode(op, &Fields { rd, rs1, imm, ..Fields::default() });
    let s = |op, rs2, rs1, imm| encode(op, &Fields { rs1, rs2, imm, ..Fields::default() });
    let bytes =
        |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).chain(RET).collect::<Vec<u8>>();
    let structure = bytes(&[
        i(Op::Ld, 11, 10, 0),
        i(Op::Lw, 12, 10, 8),
        i(Op::Addi, 13, 10, 16),
        i(Op::Ld, 14, 13, 8),
        s(Op::Sd, 11, 13, 8),
    ]);
    let frame = bytes(&[
        i(Op::Addi, 2, 2, -32),
        s(Op::Sd, 1, 2, 24),
        s(Op::Sd, 8, 2, 16),
        s(Op::Sd, 9, 2, 8),
        // Over the addition.
        encode(Op::Beq, &Fields { rs1: 10, rs2: 0, imm: 12, ..Fields::default() }),
        i(Op::Ld, 10, 10, 0),
        i(Op::Addi, 10, 10, 1),
        i(Op::Ld, 1, 2, 24),
        i(Op::Ld, 8, 2, 16),
        i(Op::Ld, 9, 2, 8),
        i(Op::Addi, 2, 2, 32),
    ]);
    vec![
        ("structure_user", stages("a structure, U mode", &structure, 0, 6)),
        ("structure_supervisor", stages("a structure, S mode", &structure, 1, 6)),
        ("frame_user", stages("a frame, U mode", &frame, 0, 12)),
        ("frame_supervisor", stages("a frame, S mode", &frame, 1, 12)),
    ]
}

#[test]
fn every_lifted_instruction() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests/rv64");
    let mut files: BTreeMap<(&str, &str), String> = BTreeMap::new();
    let lifted: Vec<Op> = Op::ALL.iter().copied().filter(|op| op.flow() != Flow::System).collect();
    assert!(lifted.len() >= 150, "{}", lifted.len());
    for &op in &lifted {
        files.insert((group(op), op.mnemonic()), case(op));
    }
    files.extend(windows().into_iter().map(|(name, text)| (("coalesced", name), text)));
    let mut stale = Vec::new();
    for ((group, name), text) in &files {
        let path = dir.join(group).join(format!("{name}.fl"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(dir.join(group)).unwrap();
            std::fs::write(&path, text).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != *text {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "not as expected (BLESS=1 writes them anew): {stale:?}");
}
