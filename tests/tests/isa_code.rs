//! Code that changes: stores to code with `fence.i`, devices that write code, and more code than the cache of
//! decoded blocks holds.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{Fields, Op};
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::paged::{ALL, DATA, Paged, VA, adder, answer, first_word, frame};
use forelift_tests::hart::pages::{A, D, R, V, W};
use forelift_tests::hart::{DEVICE, Machine};

const PAGE: u64 = 4096;

/// Calls the function at s1, patches its first instruction by `store`, `fence.i`, calls it again, all of it
/// twice.
fn patcher(store: impl Fn(&mut Asm)) -> Asm {
    let mut code = Asm::new();
    code.i(Op::Addi, A0, ZERO, 0);
    let loop_start = code.here();
    code.i(Op::Jalr, RA, S1, 0);
    store(&mut code);
    code.bare(Op::FenceI);
    code.i(Op::Jalr, RA, S1, 0);
    code.i(Op::Addi, T2, T2, -1).b(Op::Bne, T2, ZERO, loop_start);
    code.bare(Op::Ebreak);
    code
}

#[test]
fn every_kind_of_store_changes_code() {
    type Store = (&'static str, fn(&mut Asm));
    let stores: &[Store] = &[
        ("sb", |c| {
            for n in 0..4 {
                c.i(Op::Srli, T1, T0, 8 * n).s(Op::Sb, T1, S0, n);
            }
        }),
        ("sh", |c| {
            c.s(Op::Sh, T0, S0, 0).i(Op::Srli, T1, T0, 16).s(Op::Sh, T1, S0, 2);
        }),
        ("sw", |c| {
            c.s(Op::Sw, T0, S0, 0);
        }),
        ("sd", |c| {
            c.i(Op::Lwu, T1, S0, 4).i(Op::Slli, T1, T1, 32).r(Op::Or, T1, T1, T0).s(Op::Sd, T1, S0, 0);
        }),
        ("misaligned sd", |c| {
            // Bytes 0 to 3 of the function by the upper half of a doubleword 4 bytes below it.
            c.i(Op::Lwu, T1, S0, -4).i(Op::Slli, A1, T0, 32).r(Op::Or, T1, T1, A1).s(Op::Sd, T1, S0, -4);
        }),
        ("fsw", |c| {
            c.op(Op::FmvWX, Fields { rd: 1, rs1: T0, ..Fields::default() }).s(Op::Fsw, 1, S0, 0);
        }),
        ("fsd", |c| {
            c.i(Op::Lwu, T1, S0, 4).i(Op::Slli, T1, T1, 32).r(Op::Or, T1, T1, T0);
            c.op(Op::FmvDX, Fields { rd: 1, rs1: T1, ..Fields::default() }).s(Op::Fsd, 1, S0, 0);
        }),
        ("amoswap.w", |c| {
            c.r(Op::AmoswapW, ZERO, S0, T0);
        }),
        ("sc.w", |c| {
            c.r(Op::LrW, T1, S0, ZERO).r(Op::ScW, T1, S0, T0);
        }),
    ];
    let mut cases = 0;
    for (name, store) in stores {
        // The function's page at its own address, and through another one; written before it is executed, and
        // not.
        for (alias, written_before) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut p = Paged::new();
            p.map(VA, frame(0), ALL);
            p.map(VA + PAGE, frame(1), ALL);
            p.map(DATA, frame(1), ALL);
            p.put(frame(1) + 8, &adder(1));
            let mut code = Asm::new();
            if written_before {
                code.s(Op::Sd, ZERO, S0, 64);
            }
            code.bytes.extend(patcher(store).bytes);
            p.put(frame(0), &code);
            let x = &mut p.m.cpu.hart.x;
            x[usize::from(S1)] = VA + PAGE + 8;
            x[usize::from(S0)] = if alias { DATA + 8 } else { VA + PAGE + 8 };
            x[usize::from(T0)] = u64::from(first_word(&adder(100)));
            x[usize::from(T2)] = 2;
            // Before the patch 1, then 100 three times.
            assert_eq!(p.a0(VA), 301, "{name}, alias {alias}, written before {written_before}");
            cases += 1;
        }
    }
    println!("{cases} ways to patch code");
    assert!(cases >= 36);
}

#[test]
fn code_patches_the_instructions_after_it() {
    // In one block and one page: the store, fence.i, and the instruction that was decoded before.
    let mut p = Paged::new();
    p.map(VA, frame(0), ALL);
    let mut code = Asm::new();
    code.i(Op::Addi, A0, ZERO, 0);
    let head = code.here();
    code.s(Op::Sw, T0, S0, 16).bare(Op::FenceI);
    code.i(Op::Addi, T2, T2, -1);
    assert_eq!(code.here(), 16);
    code.i(Op::Addi, A0, A0, 1);
    // The immediate of the patched instruction grows by one each time round.
    code.op(Op::Lui, Fields { rd: T1, imm: 0x10_0000, ..Fields::default() }).r(Op::Add, T0, T0, T1);
    code.b(Op::Bne, T2, ZERO, head).bare(Op::Ebreak);
    p.put(frame(0), &code);
    let mut start = Asm::new();
    start.i(Op::Addi, A0, A0, 10);
    let x = &mut p.m.cpu.hart.x;
    x[usize::from(S0)] = VA;
    x[usize::from(T0)] = u64::from(first_word(&start));
    x[usize::from(T2)] = 5;
    assert_eq!(p.a0(VA), 10 + 11 + 12 + 13 + 14);
}

#[test]
fn what_devices_write_is_executed() {
    let mut p = Paged::new();
    p.map(VA, frame(0), ALL);
    p.map(VA + PAGE, frame(1), ALL);
    p.map(DATA, DEVICE, V | R | W | A | D);
    // Between two runs.
    for n in 0..5 {
        p.put(frame(0), &answer(n));
        assert_eq!(p.a0(VA), n as u64);
    }
    // Through a slice, as a virtqueue does.
    p.m.mem.slice_mut(frame(0), 8).expect("RAM").copy_from_slice(&answer(6).bytes);
    assert_eq!(p.a0(VA), 6);
    // While the guest runs: a store to the device makes it write code that was decoded before.
    let mut code = Asm::new();
    code.i(Op::Addi, A0, ZERO, 0).i(Op::Jalr, RA, S1, 0);
    code.s(Op::Sw, ZERO, S0, 0).bare(Op::FenceI).i(Op::Jalr, RA, S1, 0).bare(Op::Ebreak);
    p.put(frame(0), &code);
    p.put(frame(1), &adder(1));
    p.m.bus.dma = Some((frame(1), adder(1000).bytes));
    let x = &mut p.m.cpu.hart.x;
    x[usize::from(S0)] = DATA;
    x[usize::from(S1)] = VA + PAGE;
    assert_eq!(p.a0(VA), 1001);
    assert_eq!(p.m.bus.log, [(DEVICE, 4, Some(0))]);
}

#[test]
fn more_code_than_the_cache_holds() {
    use forelift_runtime::cpu::rv64::cache::{ARENA_ENTRIES, MAX_PAGES};
    // Pages: one instruction and a jump to the next page in each, forth and once more.
    let pages = MAX_PAGES + 1000;
    let mut m = Machine::new((pages + 1) * PAGE as usize);
    m.catch_exceptions(Privilege::Supervisor);
    for n in 0..pages {
        let mut code = Asm::new();
        code.i(Op::Addi, A0, A0, 1).jal(ZERO, PAGE as i32);
        m.put(RAM_BASE + n as u64 * PAGE, &code.bytes);
    }
    m.put(
        RAM_BASE + pages as u64 * PAGE,
        &{
            let mut c = Asm::new();
            c.bare(Op::Ebreak);
            c
        }
        .bytes,
    );
    for round in 1..=2 {
        m.cpu.hart.pc = RAM_BASE;
        assert!(matches!(m.run(u64::MAX), Exit::Trap { cause: 3, .. }));
        assert_eq!(m.cpu.hart.x[10], round * pages as u64);
    }
    // Entries: a run of additions is entered at each of its halfwords in turn, so that each becomes a block.
    let halfwords = 2048 - 2;
    let count = ARENA_ENTRIES / (64 * halfwords) + 3;
    let mut filler = Asm::new();
    for _ in 0..halfwords {
        filler.short(Op::Addi, Fields { rd: A0, rs1: A0, imm: 1, ..Fields::default() });
    }
    filler.bare(Op::Ebreak);
    let mut m = Machine::new((count + 1) * PAGE as usize);
    m.catch_exceptions(Privilege::Supervisor);
    let mut blocks = 0;
    for page in 0..count {
        m.put(RAM_BASE + page as u64 * PAGE, &filler.bytes);
        for start in (0..halfwords).rev() {
            m.cpu.hart.x[10] = 0;
            m.cpu.hart.pc = RAM_BASE + page as u64 * PAGE + 2 * start as u64;
            assert!(matches!(m.run(u64::MAX), Exit::Trap { cause: 3, .. }));
            assert_eq!(m.cpu.hart.x[10], (halfwords - start) as u64);
            blocks += 1;
        }
    }
    println!("{pages} code pages, {blocks} blocks");
    assert!(blocks * 64 > ARENA_ENTRIES);
}
