//! Every instruction that is lifted, and every compressed one, alone: interpreted and lifted, on the same
//! values.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::random::Rng;
use forelift_isa::rv64::{Access, CROWS, Fields, Flow, Insn, Op, compressed_row, decode, encode};
use forelift_runtime::cpu::Lifting;
use forelift_runtime::cpu::rv64::Exit;
use forelift_runtime::cpu::rv64::state::Privilege;
use forelift_tests::hart::Machine;
use forelift_tests::hart::lifted::{self, Installed};
use forelift_translator::region::Limits;

const RAM: usize = 1 << 20;
/// What loads and stores work on.
const DATA: u64 = RAM_BASE + 0x8000;
/// Where a jump to a register's value goes: a system call, which ends a case.
const AWAY: u64 = RAM_BASE + 0x40;
/// Values that each instruction is executed with.
const INPUTS: usize = 24;

/// The state before an instruction.
#[derive(Clone, Debug)]
struct Input {
    x: [u64; 32],
    f: [u64; 32],
    fflags: u8,
    frm: u8,
}

fn value(rng: &mut Rng) -> u64 {
    let odd = [0, 1, u64::MAX, 1 << 63, i64::MAX as u64, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff_8000_0000];
    match rng.below(3) {
        0 => odd[rng.below(odd.len())],
        1 => rng.next_u64() >> rng.below(64),
        _ => rng.next_u64(),
    }
}

fn float(rng: &mut Rng) -> u64 {
    let boxed = |bits: u32| u64::from(bits) | 0xffff_ffff << 32;
    match rng.below(6) {
        0 => (rng.below(2000) as f64 - 1000.0).to_bits(),
        1 => boxed((rng.below(2000) as f32 / 8.0 - 100.0).to_bits()),
        2 => boxed(rng.next_u64() as u32),
        3 => f64::NAN.to_bits(),
        4 => f64::INFINITY.to_bits() | (rng.next_u64() & 1) << 63,
        _ => rng.next_u64(),
    }
}

fn input(insn: &Insn, n: usize, rng: &mut Rng) -> Input {
    let mut input = Input { x: [0; 32], f: [0; 32], fflags: 0, frm: 0 };
    for register in 1..32 {
        input.x[register] = value(rng);
    }
    for register in &mut input.f {
        *register = float(rng);
    }
    // The host's arithmetic needs the inexact flag; both ways are tried.
    input.fflags = if n.is_multiple_of(3) { rng.below(32) as u8 } else { 1 };
    input.frm = if n.is_multiple_of(4) { rng.below(5) as u8 } else { 0 };
    let base = usize::from(insn.rs1);
    if insn.access() != Access::None && base != 0 {
        let offset = if insn.access().must_align() { 0 } else { insn.imm };
        let at = DATA + 256 + rng.below(32) as u64 * 8;
        input.x[base] = at.wrapping_sub(offset as u64);
    }
    if insn.op == Op::Jalr && base != 0 {
        input.x[base] = AWAY.wrapping_sub(insn.imm as u64);
    }
    if insn.flow() == Flow::Branch && n.is_multiple_of(2) {
        input.x[usize::from(insn.rs2)] = input.x[base];
        input.x[0] = 0;
    }
    input
}

fn prepare(m: &mut Machine, input: &Input, rng: &mut Rng) {
    let data: Vec<u8> = (0..1024).map(|_| rng.next_u64() as u8).collect();
    m.put(DATA, &data);
    let hart = &mut m.cpu.hart;
    hart.x = input.x;
    hart.f = input.f;
    (hart.fflags, hart.frm, hart.fs) = (input.fflags, input.frm, 3);
    hart.reservation = input.x[11];
    hart.pc = RAM_BASE;
}

fn machine(code: &[u8]) -> Machine {
    let mut m = Machine::new(RAM);
    m.catch_exceptions(Privilege::Supervisor);
    m.put(RAM_BASE, code);
    m
}

/// Executes an instruction with all inputs; gives the state after each, and how many instructions lifted code
/// retired.
fn execute(m: &mut Machine, insn: &Insn, seed: u64) -> (Vec<String>, u64) {
    let mut rng = Rng::new(seed);
    let mut out = Vec::new();
    let before = m.cpu.hart.lifted_retired;
    for n in 0..INPUTS {
        let input = input(insn, n, &mut rng);
        prepare(m, &input, &mut rng);
        let begin = m.cpu.hart.instret;
        let exit = m.run(100);
        assert!(matches!(exit, Exit::Trap { cause: 3, .. }), "{exit:?} with {input:x?}");
        let hart = &m.cpu.hart;
        let data = m.mem.slice(DATA, 1024).map(<[u8]>::to_vec);
        out.push(format!(
            "{input:x?}: pc {:x}, {} instructions, x {:x?}, f {:x?}, fflags {:x}, frm {:x}, fs {:x}, reservation {:x}, data {:x?}",
            hart.pc,
            hart.instret - begin,
            hart.x,
            hart.f,
            hart.fflags,
            hart.frm,
            hart.fs,
            hart.reservation,
            data
        ));
    }
    (out, m.cpu.hart.lifted_retired - before)
}

/// The instruction, an addition that a branch or jump leaves out or not, and what ends the case at two
/// places.
fn code(bytes: &[u8]) -> Vec<u8> {
    let mut code = bytes.to_vec();
    let addition = encode(Op::Addi, &Fields { rd: 20, rs1: 20, imm: 1, ..Fields::default() });
    code.extend(addition.to_le_bytes());
    while code.len() < 0x80 {
        code.extend([0x02, 0x90]);
    }
    code
}

fn check(name: &str, bytes: &[u8], insn: &Insn, seed: u64) {
    let mut plain = machine(&code(bytes));
    let (expected, _) = execute(&mut plain, insn, seed);
    let mut m = machine(&code(bytes));
    m.cpu.start_profile(&mut m.mem);
    execute(&mut m, insn, seed);
    let installed: Installed = lifted::install(&mut m, Limits { threshold: 1, ..Limits::default() });
    // Once for the TLB.
    execute(&mut m, insn, seed);
    let (got, retired) = execute(&mut m, insn, seed);
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got, expected, "{name}: lifted (first) and interpreted");
    }
    assert!(retired >= INPUTS as u64, "{name}: only {retired} instructions were executed lifted");
    drop(m);
    drop(installed);
}

#[test]
fn every_instruction() {
    let mut count = 0;
    for &op in Op::ALL.iter().filter(|op| op.flow() != Flow::System) {
        for rm in if op.uses_rm() { vec![0, 7] } else { vec![0] } {
            let imm = match op.flow() {
                Flow::Branch | Flow::Jump if op != Op::Jalr => 8,
                // fflags, frm, fcsr.
                Flow::Csr => 3,
                _ if matches!(op, Op::Lui | Op::Auipc) => 0x1234 << 12,
                _ if op.access() != Access::None => 16,
                _ => 13,
            };
            let fields = Fields { rd: 10, rs1: 11, rs2: 12, rs3: 13, rm, imm, aq: false, rl: false };
            let word = encode(op, &fields);
            let insn = decode(word).unwrap_or_else(|| panic!("{op:?}: {word:08x}"));
            check(op.mnemonic(), &word.to_le_bytes(), &insn, u64::from(word));
            count += 1;
        }
    }
    assert!(count >= 150, "{count}");
}

#[test]
fn every_compressed_instruction() {
    let mut count = 0;
    let mut rng = Rng::new(7);
    for row in CROWS.iter().filter(|row| row.expands.is_some_and(|(op, _)| op.flow() != Flow::System)) {
        // An instance whose registers do not get in each other's way, and whose jump stays here.
        let found = (0..200_000).find_map(|_| {
            let half = row.matches | rng.next_u64() as u16 & !row.mask;
            let insn = decode(u32::from(half)).filter(|_| compressed_row(half) == Some(row))?;
            let near = insn.target(0).is_none_or(|to| (2..0x40).contains(&to));
            let apart = insn.rs1 != insn.rs2 || insn.access() == Access::None;
            let base = insn.access() == Access::None && insn.op != Op::Jalr || insn.rs1 != 0;
            (near && apart && base).then_some((half, insn))
        });
        let (half, insn) = found.unwrap_or_else(|| panic!("{}: no instance", row.mnemonic));
        check(row.mnemonic, &half.to_le_bytes(), &insn, u64::from(half));
        count += 1;
    }
    assert!(count >= 30, "{count}");
}
