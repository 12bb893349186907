//! `instret` counts what retires, whatever the budget, and `time` never goes back.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::random::{Options, Program, Rng};
use forelift_isa::rv64::{Fields, Op};
use forelift_runtime::cpu::rv64::{Exit, entry::MAX_BLOCK, state::Privilege};
use forelift_tests::hart::Machine;
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::programs::{PLAIN, QEMU, count_on_qemu, run};

#[test]
fn loops_of_all_shapes() {
    let mut rng = Rng::new(41);
    let mut instructions = 0;
    for case in 0..300 {
        // A loop of `body` additions, some compressed, some after a branch never taken, `rounds` times.
        let (body, rounds) = (rng.below(150), 1 + rng.below(300) as u64);
        let mut code = Asm::new();
        code.li(T0, rounds as i64);
        let setup = code.bytes.len() as u64 / 4;
        let head = code.here();
        for _ in 0..body {
            match rng.below(4) {
                0 => code.short(Op::Addi, Fields { rd: A0, rs1: A0, imm: 1, ..Fields::default() }),
                1 => {
                    let here = code.here();
                    code.b(Op::Bne, ZERO, ZERO, here - here % 4)
                }
                // A jump to the next instruction ends a block.
                2 => {
                    let next = code.here() + 4;
                    code.jal(ZERO, next)
                }
                _ => code.i(Op::Addi, A1, A1, 1),
            };
        }
        code.i(Op::Addi, T0, T0, -1).b(Op::Bne, T0, ZERO, head).bare(Op::Ebreak);
        let expected = setup + rounds * (body as u64 + 2);
        // Anywhere in a page: blocks end at its end, and instructions straddle it.
        let start = RAM_BASE + 2 * rng.below(2048) as u64;
        for budget in [u64::MAX, 1, 7, 1000] {
            let mut m = Machine::new(1 << 20);
            m.catch_exceptions(Privilege::Supervisor);
            m.put(start, &code.bytes);
            m.cpu.hart.pc = start;
            loop {
                let before = m.cpu.hart.instret;
                match m.run(budget) {
                    Exit::Budget => {
                        let ran = m.cpu.hart.instret - before;
                        assert!((budget..budget + MAX_BLOCK as u64).contains(&ran), "{ran} of {budget} ran");
                    }
                    Exit::Trap { cause: 3, .. } => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(m.cpu.hart.instret, expected, "case {case}, budget {budget}");
            instructions += expected;
        }
    }
    println!("{instructions} instructions in loops counted");
    assert!(instructions > 5_000_000);
}

#[test]
fn random_programs_retire_as_many_as_on_qemu() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut instructions = 0;
    for seed in 0..8 {
        // QEMU runs an instruction again when it has changed the code around it, and counts it twice.
        let options = Options { seed, chunks: 30, self_modifying: false, ..Options::default() };
        let program = Program::random(&options);
        let ours = run(&program, &PLAIN, seed).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        // The two system calls trap: they do not retire.
        assert_eq!(ours.instret + 2, count_on_qemu(&program, &dir.path().join("program")), "seed {seed}");
        instructions += ours.instret;
    }
    println!("{instructions} instructions counted as {QEMU} counts");
    assert!(instructions > 30_000);
}

#[test]
fn time_never_goes_back() {
    let mut rng = Rng::new(42);
    let mut m = Machine::new(1 << 20);
    m.catch_exceptions(Privilege::User);
    // Reads time in a loop and stops at ebreak when it is less than before.
    let mut code = Asm::new();
    code.li(T0, 50_000);
    let head = code.here();
    code.csr(Op::Csrrs, A1, 0xc01, ZERO);
    let bad = code.here() + 20;
    code.b(Op::Bltu, A1, A0, bad).i(Op::Addi, A0, A1, 0);
    code.i(Op::Addi, T0, T0, -1).b(Op::Bne, T0, ZERO, head).bare(Op::Ecall).bare(Op::Ebreak);
    m.put(RAM_BASE, &code.bytes);
    m.cpu.hart.pc = RAM_BASE;
    let exit = loop {
        match m.run(1 + rng.below(500) as u64) {
            // The clock may run on while the hart does not.
            Exit::Budget => m.bus.time += rng.below(3) as u64,
            other => break other,
        }
    };
    assert_eq!(exit, Exit::Trap { cause: 8, value: 0 }, "at {:#x}", m.cpu.hart.pc);
    assert!(m.cpu.hart.x[usize::from(A0)] > 20_000);
}
