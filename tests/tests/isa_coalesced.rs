//! Coalesced TLB probes, where several accesses share one: random code around the ends of pages that are
//! mapped in all ways, lifted and interpreted.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::random::Rng;
use forelift_isa::rv64::{Fields, Op, csr};
use forelift_runtime::cpu::Lifting;
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::pages::{A, D, Mode, PageTables, R, U, V, W, X};
use forelift_tests::hart::{DEVICE, Machine, lifted};
use forelift_translator::region::Limits;
use std::hash::{DefaultHasher, Hash, Hasher};

const RAM: u64 = 4 << 20;
const PAGE: u64 = 4096;
/// Where the tables and the code are.
const TABLES: u64 = RAM_BASE + (1 << 20);
const CODE: u64 = RAM_BASE + (2 << 20);
const CODE_VA: u64 = 0x40_0000;
/// Where the function returns to, in a page of its own.
const STOP_PAGE: u64 = CODE + PAGE;
const STOP: u64 = STOP_PAGE + 0x800;
const STOP_VA: u64 = CODE_VA + PAGE + 0x800;
const DATA_VA: u64 = 0x80_0000;
/// Pages of data, and frames that they lie in: the first ones of RAM and the last ones.
const PAGES: u64 = 40;
const FRAMES: u64 = 8;
const PROGRAMS: u64 = 400;
const TRIALS: u64 = 120;

const BASES: [u8; 4] = [A0, A1, A2, A3];
const VALUES: [u8; 4] = [T1, T2, S0, A6];
const T3: u8 = 28;

fn frame(n: u64) -> u64 {
    if n < FRAMES / 2 { RAM_BASE + n * PAGE } else { RAM_BASE + RAM - (FRAMES - n) * PAGE }
}

/// Maps the data: pairs of pages that are neighbours in RAM, others that are not, one page twice, the last
/// page of RAM before the first one, and what cannot be read, or written, or is no memory.
fn map(m: &mut Machine, tables: &mut PageTables, privilege: Privilege, rng: &mut Rng) {
    for n in 0..PAGES {
        let user = match privilege {
            Privilege::User => U,
            // With and without SUM it makes a difference.
            Privilege::Supervisor => [0, 0, 0, U][rng.below(4)],
        };
        let (pa, flags) = match rng.below(30) {
            0 => continue,
            1 => (DEVICE, R | W),
            2 => (frame(n % FRAMES), R),
            3 => (frame(rng.below(FRAMES as usize) as u64), R | W),
            // A store to code misses the TLB.
            4 => (STOP_PAGE, R | W),
            _ => (frame(n % FRAMES), R | W),
        };
        tables.map(&mut m.mem, DATA_VA + n * PAGE, pa, V | A | D | user | flags, 0);
    }
}

fn one(rng: &mut Rng, of: &[u8]) -> u8 {
    of[rng.below(of.len())]
}

const LOADS: [(Op, u64); 9] = [
    (Op::Ld, 8),
    (Op::Ld, 8),
    (Op::Lw, 4),
    (Op::Lwu, 4),
    (Op::Lh, 2),
    (Op::Lhu, 2),
    (Op::Lb, 1),
    (Op::Fld, 8),
    (Op::Flw, 4),
];
const STORES: [(Op, u64); 6] =
    [(Op::Sd, 8), (Op::Sd, 8), (Op::Sw, 4), (Op::Sh, 2), (Op::Sb, 1), (Op::Fsd, 8)];

/// An access off one of the base registers, aligned as often as compilers align.
fn access(code: &mut Asm, rng: &mut Rng) {
    let (base, value) = (one(rng, &BASES), one(rng, &VALUES));
    let reach = [32, 128, 2000][rng.below(3)];
    let offset = |rng: &mut Rng, bytes: u64| {
        let offset = rng.below(2 * reach) as i32 - reach as i32;
        if rng.below(30) == 0 { offset } else { offset & -(bytes as i32) }
    };
    if rng.below(2) == 0 {
        let (op, bytes) = LOADS[rng.below(LOADS.len())];
        code.i(op, value, base, offset(rng, bytes));
    } else {
        let (op, bytes) = STORES[rng.below(STORES.len())];
        code.s(op, value, base, offset(rng, bytes));
    }
}

/// Sets or clears `sstatus.SUM`.
fn sum(code: &mut Asm, op: Op) {
    code.op(Op::Lui, Fields { rd: T3, imm: 0x40 << 12, ..Fields::default() }).csr(op, ZERO, csr::SSTATUS, T3);
}

fn item(code: &mut Asm, privilege: Privilege, rng: &mut Rng) {
    let (base, other, value) = (one(rng, &BASES), one(rng, &BASES), one(rng, &VALUES));
    match rng.below(24) {
        0 => drop(code.i(Op::Addi, base, other, (rng.below(64) as i32 - 32) * 8)),
        1 => drop(code.r(Op::Add, base, ZERO, other)),
        2 => drop(code.i(Op::Andi, T3, value, 0x78).r(Op::Add, base, other, T3)),
        3 => drop(code.r(Op::Add, value, value, one(rng, &VALUES))),
        4 => {
            // Skips some accesses, or some arithmetic.
            let mut skipped = Asm::new();
            for _ in 0..1 + rng.below(3) {
                match rng.below(2) {
                    0 => access(&mut skipped, rng),
                    _ => drop(skipped.i(Op::Addi, base, other, 8)),
                }
            }
            let after = code.here() + 8 + skipped.here();
            code.i(Op::Andi, T3, value, 1).b(Op::Beq, T3, ZERO, after);
            code.bytes.extend(skipped.bytes);
        }
        // A call of a function that moves a base; its code is skipped.
        5 => {
            let here = code.here();
            code.jal(T0, here + 8).jal(ZERO, here + 16).i(Op::Addi, base, base, 8).i(Op::Jalr, ZERO, T0, 0);
        }
        6 if privilege == Privilege::Supervisor => {
            sum(code, [Op::Csrrs, Op::Csrrc][rng.below(2)]);
        }
        _ => access(code, rng),
    }
}

/// A function with a loop in its middle.
fn function(privilege: Privilege, rng: &mut Rng) -> Asm {
    let mut code = Asm::new();
    if privilege == Privilege::Supervisor {
        sum(&mut code, Op::Csrrc);
    }
    let mut items = |code: &mut Asm, most: usize| {
        for _ in 0..1 + rng.below(most) {
            item(code, privilege, rng);
        }
    };
    items(&mut code, 30);
    code.i(Op::Addi, S1, ZERO, 3);
    let head = code.here();
    items(&mut code, 20);
    code.i(Op::Addi, S1, S1, -1);
    code.b(Op::Bne, S1, ZERO, head);
    items(&mut code, 20);
    code.i(Op::Jalr, ZERO, RA, 0);
    assert!(code.bytes.len() < 0xf00);
    code
}

fn machine(privilege: Privilege, code: &Asm, rng: &mut Rng) -> Machine {
    let mut m = Machine::new(RAM as usize);
    m.catch_exceptions(privilege);
    let mut tables = PageTables::new(Mode::Sv39, TABLES);
    let user = if privilege == Privilege::User { U } else { 0 };
    for n in [0, PAGE] {
        tables.map(&mut m.mem, CODE_VA + n, CODE + n, V | A | D | R | X | user, 0);
    }
    map(&mut m, &mut tables, privilege, rng);
    m.put(CODE, &code.bytes);
    m.cpu.hart.satp = tables.satp(0);
    m.cpu.hart.fs = 3;
    m
}

/// Runs the function once with values from `rng`; gives how it ended and all that it left.
fn trial(m: &mut Machine, rng: &mut Rng) -> String {
    let mut stop = Asm::new();
    stop.bare(Op::Ebreak);
    m.put(STOP_PAGE, &[0; PAGE as usize]);
    m.put(STOP, &stop.bytes);
    for n in 0..FRAMES {
        let bytes: Vec<u8> = (0..64).map(|_| rng.next_u64() as u8).collect();
        m.put(frame(n), &bytes.repeat(64));
    }
    m.bus.register = rng.next_u64();
    m.bus.log.clear();
    let hart = &mut m.cpu.hart;
    hart.x = [0; 32];
    for register in VALUES {
        hart.x[usize::from(register)] = rng.next_u64();
    }
    for register in &mut hart.f {
        *register = rng.next_u64();
    }
    let align = !0 << [3, 3, 4, 2, 0][rng.below(5)];
    for register in BASES {
        let page = DATA_VA + (1 + rng.below(PAGES as usize - 2) as u64) * PAGE;
        let near = rng.below(256) as u64;
        hart.x[usize::from(register)] =
            if rng.below(80) == 0 { rng.next_u64() } else { page - 128 + near } & align;
    }
    hart.x[usize::from(RA)] = STOP_VA;
    hart.pc = CODE_VA;
    let begin = hart.instret;
    let exit = m.run(10_000);
    if !matches!(exit, Exit::Trap { .. }) {
        // It has overwritten what ends it.
        return format!("{exit:?}");
    }
    let hart = &m.cpu.hart;
    let mut memory = DefaultHasher::new();
    for page in (0..FRAMES).map(frame).chain([STOP_PAGE]) {
        m.mem.slice(page, PAGE as usize).hash(&mut memory);
    }
    format!(
        "{exit:x?} at {:x} after {}, x {:x?}, f {:x?}, device {:x?}, memory {:x}",
        hart.pc,
        hart.instret - begin,
        hart.x,
        hart.f,
        m.bus.log,
        memory.finish(),
    )
}

/// All trials of a program. Each starts with what the last one left in the TLB.
fn run(m: &mut Machine, seed: u64) -> Vec<String> {
    let mut rng = Rng::new(seed);
    (0..TRIALS).map(|_| trial(m, &mut rng)).collect()
}

#[test]
fn coalesced_probes_are_as_good_as_single_ones() {
    let (mut retired, mut lifted, mut ended) = (0, 0, 0);
    for seed in 0..PROGRAMS {
        let privilege = if seed % 2 == 0 { Privilege::User } else { Privilege::Supervisor };
        let mut rng = Rng::new(seed);
        let code = function(privilege, &mut rng);
        let expected = run(&mut machine(privilege, &code, &mut rng.clone()), seed);
        ended += expected.iter().filter(|text| text.contains("cause: 3,")).count();

        let mut m = machine(privilege, &code, &mut rng.clone());
        m.cpu.start_profile(&mut m.mem);
        run(&mut m, seed);
        let installed = lifted::install(&mut m, Limits { threshold: 1, ..Limits::default() });
        let begin = (m.cpu.hart.instret, m.cpu.hart.lifted_retired);
        for (n, (got, expected)) in run(&mut m, seed).iter().zip(&expected).enumerate() {
            assert!(got == expected, "program {seed}, trial {n}: lifted\n{got}\ninterpreted\n{expected}");
        }
        retired += m.cpu.hart.instret - begin.0;
        lifted += m.cpu.hart.lifted_retired - begin.1;
        drop(m);
        drop(installed);
    }
    println!("{ended} trials to the end, {lifted} of {retired} instructions lifted");
    assert!(ended >= 500, "only {ended} trials came to the end of their function");
    assert!(lifted * 3 > retired, "{lifted} of {retired}");
}
