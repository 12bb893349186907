//! A program for the translator, always the same, that looks like compiled code.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{
    Fields, Op,
    random::{Rng, shorten},
};
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};
use forelift_tests::hart::{
    Machine,
    asm::{Asm, reg},
    pages::{A, D, Mode, PageTables, R, V, W, X},
};

const PAGE: u64 = 4096;
const CODE: u64 = RAM_BASE + (1 << 20);
/// Data, and the stack's end.
const DATA: u64 = RAM_BASE + (4 << 20);
const DATA_PAGES: u64 = 4;
const RAM: usize = 8 << 20;
/// Functions beside the main one.
const FUNCTIONS: usize = 200;
/// How often each of them is called by the main one.
const ROUNDS: i64 = 20;
/// Registers that are computed with: a0 to a5, t1, t2, t3, t4.
const REGISTERS: [u8; 10] = [10, 11, 12, 13, 14, 15, 6, 7, 28, 29];
/// A saved register that only the main function has.
const S2: u8 = 18;

/// Appends an instruction, in its compressed form if it has one.
fn put(code: &mut Asm, op: Op, fields: Fields) {
    match shorten(op, &fields) {
        Some(half) => code.bytes.extend(half.to_le_bytes()),
        None => drop(code.op(op, fields)),
    }
}

/// Something to compute with, or a load or store.
fn work(code: &mut Asm, rng: &mut Rng) {
    let (rd, rs1, rs2) = (rng.pick(&REGISTERS), rng.pick(&REGISTERS), rng.pick(&REGISTERS));
    let imm = rng.between(-2048, 2047);
    // An aligned place in the data's first page.
    let place = 8 * rng.below(200) as i32;
    let float = Fields { rd: rd & 7, rs1: rs1 & 7, rs2: rs2 & 7, rm: 7, ..Fields::default() };
    let (op, fields) = match rng.below(16) {
        0..3 => {
            let op = rng.pick(&[Op::Add, Op::Sub, Op::Xor, Op::And, Op::Or, Op::Addw, Op::Sltu]);
            (op, Fields { rd, rs1, rs2, ..Fields::default() })
        }
        3..6 => (
            rng.pick(&[Op::Addi, Op::Addiw, Op::Andi, Op::Xori]),
            Fields { rd, rs1, imm, ..Fields::default() },
        ),
        6..8 => {
            let imm = rng.between(1, 31);
            (
                rng.pick(&[Op::Slli, Op::Srli, Op::Srai, Op::Slliw]),
                Fields { rd, rs1, imm, ..Fields::default() },
            )
        }
        8 => (Op::Mul, Fields { rd, rs1, rs2, ..Fields::default() }),
        9..12 => {
            let op = rng.pick(&[Op::Ld, Op::Ld, Op::Lw, Op::Lwu, Op::Lbu]);
            (op, Fields { rd, rs1: reg::S1, imm: place, ..Fields::default() })
        }
        12..15 => {
            let op = rng.pick(&[Op::Sd, Op::Sd, Op::Sw, Op::Sb]);
            (op, Fields { rs1: reg::S1, rs2, imm: place, ..Fields::default() })
        }
        _ => (rng.pick(&[Op::FaddD, Op::FmulD, Op::FsubD]), float),
    };
    put(code, op, fields);
}

/// A function with a frame, a loop with a branch in it, and a call of one of `callees`, by their places.
fn function(code: &mut Asm, rng: &mut Rng, callees: &[i32]) {
    let frame = |imm| Fields { rd: reg::SP, rs1: reg::SP, imm, ..Fields::default() };
    let saved =
        |register, imm| Fields { rd: register, rs1: reg::SP, rs2: register, imm, ..Fields::default() };
    put(code, Op::Addi, frame(-32));
    put(code, Op::Sd, saved(reg::RA, 24));
    put(code, Op::Sd, saved(reg::S0, 16));
    put(code, Op::Addi, Fields { rd: reg::S0, imm: rng.between(2, 5), ..Fields::default() });
    let head = code.here();
    for _ in 0..rng.between(3, 8) {
        work(code, rng);
    }
    // Over what comes next, whose length is known when it is there.
    let mut skipped = Asm::new();
    for _ in 0..rng.between(1, 4) {
        work(&mut skipped, rng);
    }
    let over = code.here() + 4 + skipped.here();
    let branch = rng.pick(&[Op::Beq, Op::Bne, Op::Blt, Op::Bgeu]);
    code.b(branch, rng.pick(&REGISTERS), rng.pick(&REGISTERS), over);
    code.bytes.extend(skipped.bytes);
    for _ in 0..rng.between(2, 6) {
        work(code, rng);
    }
    put(code, Op::Addi, Fields { rd: reg::S0, rs1: reg::S0, imm: -1, ..Fields::default() });
    code.b(Op::Bne, reg::S0, reg::ZERO, head);
    if !callees.is_empty() {
        code.jal(reg::RA, rng.pick(callees));
    }
    put(code, Op::Ld, saved(reg::RA, 24));
    put(code, Op::Ld, saved(reg::S0, 16));
    put(code, Op::Addi, frame(32));
    put(code, Op::Jalr, Fields { rs1: reg::RA, ..Fields::default() });
}

/// The code, and where it begins.
fn code() -> (Vec<u8>, u64) {
    let mut rng = Rng::new(1);
    let mut code = Asm::new();
    let mut functions = Vec::new();
    for _ in 0..FUNCTIONS {
        let begin = code.here();
        function(&mut code, &mut rng, &functions);
        functions.push(begin);
    }
    let main = code.here();
    code.li(S2, ROUNDS);
    let head = code.here();
    for (n, &function) in functions.iter().enumerate() {
        // Every fourth through a register.
        if n % 4 == 0 {
            code.li(reg::A6, (CODE as i64) + i64::from(function)).i(Op::Jalr, reg::RA, reg::A6, 0);
        } else {
            code.jal(reg::RA, function);
        }
    }
    code.i(Op::Addi, S2, S2, -1).b(Op::Bne, S2, reg::ZERO, head).bare(Op::Ebreak);
    (code.bytes, CODE + main as u64)
}

/// A machine that is about to run the program, in S mode under Sv39.
pub fn machine() -> Machine {
    let mut m = Machine::new(RAM);
    let (code, main) = code();
    m.put(CODE, &code);
    let mut tables = PageTables::new(Mode::Sv39, RAM_BASE);
    for pa in (CODE..CODE + code.len() as u64).step_by(PAGE as usize) {
        tables.map(&mut m.mem, pa, pa, V | R | X | A, 0);
    }
    for pa in (DATA..DATA + DATA_PAGES * PAGE).step_by(PAGE as usize) {
        tables.map(&mut m.mem, pa, pa, V | R | W | A | D, 0);
    }
    assert!(tables.end() <= CODE && CODE + code.len() as u64 <= DATA);
    m.catch_exceptions(Privilege::Supervisor);
    let hart = &mut m.cpu.hart;
    hart.satp = tables.satp(0);
    hart.pc = main;
    hart.fs = 3;
    hart.x[usize::from(reg::S1)] = DATA;
    hart.x[usize::from(reg::SP)] = DATA + DATA_PAGES * PAGE;
    for (n, register) in REGISTERS.into_iter().enumerate() {
        hart.x[usize::from(register)] = 0x9e37_79b9_7f4a_7c15_u64.rotate_left(7 * n as u32);
    }
    hart.f[..8].fill(1.25_f64.to_bits());
    m
}

/// Runs the program to its end and gives all that it computed: registers and data.
///
/// # Panics
/// When it does not come to its end.
pub fn finish(m: &mut Machine) -> Vec<u64> {
    let exit = m.run(100_000_000);
    assert!(matches!(exit, Exit::Trap { cause: 3, .. }), "{exit:?} at {:#x}", m.cpu.hart.pc);
    let data = (DATA..DATA + DATA_PAGES * PAGE).step_by(8).map(|pa| m.word(pa));
    let hart = &m.cpu.hart;
    data.chain(hart.x).chain(hart.f).chain([hart.pc, hart.instret]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifted::{Lifted, functions};
    use forelift_runtime::cpu::Lifting;
    use forelift_translator::region::Limits;

    #[test]
    fn it_is_always_the_same_and_mostly_lifted() {
        let (mut a, mut b) = (machine(), machine());
        a.cpu.start_profile(&mut a.mem);
        let result = finish(&mut a);
        assert_eq!(finish(&mut b), result);
        let (program, functions) = functions(&a, Limits::default());
        let mut lifted = Lifted::new(machine(), &program, functions);
        assert_eq!(finish(&mut lifted.machine), result);
        assert!(lifted.share() > 0.99, "{}", lifted.share());
        // Not all that it computes is the same number.
        let different: std::collections::BTreeSet<u64> = result.into_iter().collect();
        assert!(different.len() > 100, "{}", different.len());
    }
}
