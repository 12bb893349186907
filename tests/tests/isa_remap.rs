//! Code and data that move: pages mapped elsewhere with `sfence.vma`, large pages, one page at two addresses,
//! address spaces, instructions across two pages.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{Fields, Op};
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::paged::{ALL, DATA, Paged, VA, adder, answer, first_word, frame};
use forelift_tests::hart::pages::{A, D, G, Mode, PageTables, R, V, W, X, page_size};

const PAGE: u64 = 4096;

#[test]
fn a_page_mapped_elsewhere_is_found_after_sfence() {
    let mut cases = 0;
    // One page, everything, an address space, which leaves global pages alone.
    for (fence, indirect, through_global) in [
        ((S1, ZERO), false, 0),
        ((ZERO, ZERO), false, 0),
        ((ZERO, T2), false, 0),
        ((S1, T2), false, 0),
        ((S1, ZERO), true, 0),
        ((ZERO, ZERO), true, 0),
        ((ZERO, T2), true, 0),
        ((S1, ZERO), false, G),
        ((ZERO, ZERO), true, G),
    ] {
        let mut p = Paged::new();
        p.map(VA, frame(0), ALL | through_global);
        let entry = p.map(VA + PAGE, frame(1), ALL | through_global);
        p.map(DATA, entry & !(PAGE - 1), ALL);
        p.put(frame(1), &adder(1));
        p.put(frame(2), &adder(100));
        // Calls the function in the next page three times, by a jump that is linked or one through a
        // register; then changes the page table, fences, calls it again.
        let mut code = Asm::new();
        code.i(Op::Addi, A0, ZERO, 0);
        for _ in 0..2 {
            code.i(Op::Addi, T2, ZERO, 3);
            let head = code.here();
            if indirect {
                code.i(Op::Jalr, RA, S1, 0);
            } else {
                code.jal(RA, PAGE as i32);
            }
            code.i(Op::Addi, T2, T2, -1).b(Op::Bne, T2, ZERO, head);
            code.s(Op::Sd, T0, S0, 0);
            code.r(Op::SfenceVma, 0, fence.0, fence.1);
        }
        code.bare(Op::Ebreak);
        p.put(frame(0), &code);
        let x = &mut p.m.cpu.hart.x;
        x[usize::from(S0)] = DATA + entry % PAGE;
        x[usize::from(S1)] = VA + PAGE;
        x[usize::from(T0)] = frame(2) >> 12 << 10 | ALL | through_global;
        assert_eq!(p.a0(VA), 303, "fence {fence:?}, indirect {indirect}, global {through_global}");
        cases += 1;
    }
    println!("{cases} ways to map code elsewhere");
    assert_eq!(cases, 9);
}

#[test]
fn data_mapped_elsewhere_is_found_after_sfence() {
    let mut cases = 0;
    for fence in [(S1, ZERO), (ZERO, ZERO), (ZERO, T1), (S1, T1)] {
        for store in [true, false] {
            let mut p = Paged::new();
            p.map(VA, frame(0), ALL);
            let entry = p.map(DATA, frame(1), ALL);
            p.map(DATA + PAGE, entry & !(PAGE - 1), ALL);
            let mut code = Asm::new();
            code.i(Op::Ld, T1, S1, 0).s(Op::Sd, T1, S1, 8);
            code.s(Op::Sd, T0, S0, 0).r(Op::SfenceVma, 0, fence.0, fence.1);
            if store {
                code.s(Op::Sd, S1, S1, 0);
            }
            code.i(Op::Ld, A0, S1, 0).bare(Op::Ebreak);
            p.put(frame(0), &code);
            p.m.put(frame(1), &1u64.to_le_bytes());
            p.m.put(frame(2), &2u64.to_le_bytes());
            let x = &mut p.m.cpu.hart.x;
            x[usize::from(S0)] = DATA + PAGE + entry % PAGE;
            x[usize::from(S1)] = DATA;
            x[usize::from(T0)] = frame(2) >> 12 << 10 | ALL;
            assert_eq!(p.a0(VA), if store { DATA } else { 2 });
            assert_eq!(p.m.word(frame(1)), 1);
            cases += 1;
        }
    }
    assert_eq!(cases, 8);
}

/// A fence for an address space need not forget global pages (Privileged 4.2.1), and a kernel that has them
/// flushes often.
#[test]
fn sfence_of_an_address_space_keeps_global_pages() {
    let misses = |rs2: u8, global: u64| {
        let mut p = Paged::new();
        p.map(VA, frame(0), ALL | G);
        p.map(DATA, frame(1), ALL | global);
        let mut code = Asm::new();
        code.i(Op::Addi, T2, ZERO, 10);
        let head = code.here();
        code.i(Op::Ld, A0, S1, 0).r(Op::SfenceVma, 0, ZERO, rs2);
        code.i(Op::Addi, T2, T2, -1).b(Op::Bne, T2, ZERO, head).bare(Op::Ebreak);
        p.put(frame(0), &code);
        p.m.cpu.hart.x[usize::from(S1)] = DATA;
        p.a0(VA);
        let statistics = p.m.cpu.statistics();
        statistics.iter().find(|(name, _)| *name == "data_tlb_misses").expect("there is such a figure").1
    };
    assert_eq!((misses(T1, G), misses(T1, 0), misses(ZERO, G)), (1, 10, 10));
}

/// The fence for one page of a large one concerns the whole large page (Privileged 4.2.1: the leaf entry).
#[test]
fn sfence_of_one_page_forgets_the_large_page() {
    let mut cases = 0;
    for level in [1, 2] {
        for access in [Op::Ld, Op::Sd, Op::Jalr] {
            // Large pages of RAM itself would need gigabytes: va of another large page, shared tables below
            // pa.
            let large = page_size(level);
            let mut p = Paged::new();
            p.map(VA, frame(0), ALL);
            let base = 8 * page_size(2);
            // Identity of RAM by one leaf; RAM starts on a 1 GiB boundary.
            let entry = p.tables.map(&mut p.m.mem, base, RAM_BASE, ALL, level);
            p.map(DATA, entry & !(PAGE - 1), ALL);
            // Two places in the large page, neither at the address that is fenced.
            let offset = |n: u64| match level {
                1 => n * PAGE + (1 << 20),
                _ => frame(n) - RAM_BASE,
            };
            assert!(offset(2) < large);
            let mut code = Asm::new();
            let touch = |code: &mut Asm, r: u8| match access {
                Op::Ld => drop(code.i(Op::Ld, A1, r, 0)),
                Op::Sd => drop(code.s(Op::Sd, ZERO, r, 0)),
                _ => drop(code.i(Op::Jalr, RA, r, 0)),
            };
            touch(&mut code, S1);
            touch(&mut code, A2);
            code.s(Op::Sd, ZERO, S0, 0).r(Op::SfenceVma, 0, S1, ZERO);
            touch(&mut code, A2);
            code.bare(Op::Ebreak);
            p.put(frame(0), &code);
            p.put(RAM_BASE + offset(1), &adder(0));
            p.put(RAM_BASE + offset(2), &adder(0));
            let x = &mut p.m.cpu.hart.x;
            x[usize::from(S0)] = DATA + entry % PAGE;
            x[usize::from(S1)] = base + offset(1);
            x[usize::from(A2)] = base + offset(2);
            let cause = match access {
                Op::Ld => 13,
                Op::Sd => 15,
                _ => 12,
            };
            assert_eq!(p.run(VA), (cause, base + offset(2)), "{access:?} in a page of level {level}");
            cases += 1;
        }
    }
    println!("{cases} large pages fenced");
    assert_eq!(cases, 6);
}

/// An entry that becomes valid needs no fence: invalid ones are not cached (Svvptc).
#[test]
fn a_page_made_valid_needs_no_fence() {
    let mut p = Paged::new();
    p.map(VA, frame(0), ALL);
    let mut code = Asm::new();
    code.i(Op::Ld, A0, S1, 0).bare(Op::Ebreak);
    p.put(frame(0), &code);
    p.m.put(frame(3), &77u64.to_le_bytes());
    p.m.cpu.hart.x[usize::from(S1)] = DATA;
    assert_eq!(p.run(VA), (13, DATA));
    p.map(DATA, frame(3), ALL);
    assert_eq!(p.a0(VA), 77);
    // Code too.
    assert_eq!(p.run(VA + PAGE), (12, VA + PAGE));
    p.put(frame(4), &answer(5));
    p.map(VA + PAGE, frame(4), ALL);
    assert_eq!(p.a0(VA + PAGE), 5);
}

#[test]
fn one_page_runs_at_two_addresses() {
    let mut p = Paged::new();
    let other = 0x1234_5000;
    p.map(VA, frame(0), ALL);
    p.map(other, frame(0), ALL);
    // Everything that depends on the address: auipc, links, targets in this page and in the next.
    let mut code = Asm::new();
    code.op(Op::Auipc, Fields { rd: A1, imm: 0x1000, ..Fields::default() });
    code.jal(RA, 12).bare(Op::Ebreak);
    code.i(Op::Addi, A2, RA, 0);
    code.jal(T0, 4092);
    p.put(frame(0), &code);
    let mut end = Asm::new();
    end.short(Op::Jal, Fields { rd: 0, imm: 8, ..Fields::default() });
    p.m.put(frame(0) + 4092, &end.bytes);
    for (n, at) in [(1, VA), (2, other), (3, VA), (4, other)] {
        p.map(at + PAGE, frame(5 + n % 2), ALL);
        p.put(frame(5 + n % 2) + 4, &answer(n as i32));
        p.m.cpu.flush(&mut p.m.mem);
        assert_eq!(p.a0(at), n);
        let x = &p.m.cpu.hart.x;
        assert_eq!(
            (x[usize::from(A1)], x[usize::from(A2)], x[usize::from(T0)]),
            (at + 0x1000, at + 8, at + 20)
        );
    }
    // A patch at one address shows at the other.
    p.put(frame(0), &answer(9));
    assert_eq!((p.a0(VA), p.a0(other)), (9, 9));
    let mut patch = Asm::new();
    patch.s(Op::Sw, T0, S0, 0).bare(Op::FenceI).i(Op::Jalr, ZERO, S1, 0);
    p.map(DATA, frame(8), ALL);
    p.put(frame(8), &patch);
    let x = &mut p.m.cpu.hart.x;
    x[usize::from(S0)] = VA;
    x[usize::from(S1)] = other;
    x[usize::from(T0)] = u64::from(first_word(&answer(10)));
    assert_eq!(p.a0(DATA), 10);
}

#[test]
fn instructions_across_two_pages() {
    // Each at two bytes before the page's end, the pages not neighbours in memory.
    let at = VA + PAGE - 2;
    let f = Fields::default();
    let build = |op: Op, fields: Fields| {
        let mut code = Asm::new();
        code.op(op, fields).i(Op::Addi, A3, A3, 1).bare(Op::Ebreak);
        code
    };
    // Instruction, cause and stval of what it raises, or 3 for running on to the ebreak.
    let cases: &[(Op, Fields, u64, u64)] = &[
        (Op::Addi, Fields { rd: A0, rs1: A0, imm: 7, ..f }, 3, 0),
        (Op::Auipc, Fields { rd: A0, imm: 0x3000, ..f }, 3, 0),
        (Op::Jal, Fields { rd: A0, imm: 4, ..f }, 3, 0),
        (Op::Beq, Fields { imm: 4, ..f }, 3, 0),
        (Op::Bne, Fields { imm: 4, ..f }, 3, 0),
        (Op::Jalr, Fields { rd: A0, rs1: S1, imm: 0, ..f }, 3, 0),
        (Op::Ld, Fields { rd: A0, rs1: S0, ..f }, 13, DATA),
        (Op::Sd, Fields { rs2: A0, rs1: S0, ..f }, 15, DATA),
        (Op::AmoaddW, Fields { rd: A0, rs1: S0, ..f }, 15, DATA),
        (Op::FaddD, Fields { rd: 1, rs1: 1, rs2: 1, ..f }, 3, 0),
        (Op::Csrrs, Fields { rd: A0, imm: 0xc02, ..f }, 3, 0),
        (Op::Csrrs, Fields { rd: A0, imm: 0x7c0, ..f }, 2, 0x7c00_2573),
        (Op::Csrrw, Fields { rs1: T0, imm: 0x180, ..f }, 3, 0),
        (Op::FenceI, f, 3, 0),
        (Op::SfenceVma, f, 3, 0),
        (Op::Ecall, f, 8, 0),
        (Op::Ebreak, f, 3, at),
    ];
    let mut faults = 0;
    for (op, fields, cause, value) in cases {
        let mut p = Paged::new();
        p.map(VA, frame(9), ALL);
        let code = build(*op, *fields);
        p.m.put(frame(9) + PAGE - 2, &code.bytes[..2]);
        p.m.put(frame(3), &code.bytes[2..]);
        let x = &mut p.m.cpu.hart.x;
        x[usize::from(S0)] = DATA;
        x[usize::from(S1)] = at + 4;
        x[usize::from(T0)] = p.tables.satp(0);
        // The second page is missing: the fault names it, the instruction's address stays.
        assert_eq!(p.run(at), (12, VA + PAGE), "{op:?}");
        assert_eq!(p.m.cpu.hart.pc, at, "{op:?}");
        // Not executable, and reserved.
        p.map(VA + PAGE, frame(3), V | R | W | A | D);
        assert_eq!(p.run(at), (12, VA + PAGE), "{op:?}");
        // No memory there: access fault.
        p.map(VA + PAGE, 0x7000_0000, ALL);
        assert_eq!(p.run(at), (1, VA + PAGE), "{op:?}");
        p.map(VA + PAGE, frame(3), ALL);
        p.m.cpu.flush(&mut p.m.mem);
        let before = p.m.cpu.hart.instret;
        let (got, stval) = p.run(at);
        let hart = &p.m.cpu.hart;
        if *cause == 3 && *op != Op::Ebreak {
            assert_eq!((got, hart.pc, hart.x[usize::from(A3)]), (3, at + 8, 1), "{op:?}");
            assert_eq!(hart.instret - before, 2, "{op:?}");
        } else {
            assert_eq!((got, stval, hart.pc), (*cause, *value, at), "{op:?}");
            assert_eq!(hart.instret, before, "{op:?}");
        }
        match op {
            Op::Jal | Op::Jalr => assert_eq!(hart.x[usize::from(A0)], at + 4),
            Op::Auipc => assert_eq!(hart.x[usize::from(A0)], at + 0x3000),
            _ => {}
        }
        faults += 3;
        // Another second half, and another instruction it is.
        if *op == Op::Addi {
            let other = build(Op::Addi, Fields { imm: 50, ..*fields });
            p.put(frame(4), &Asm { bytes: other.bytes[2..].to_vec() });
            p.map(VA + PAGE, frame(4), ALL);
            p.m.cpu.flush(&mut p.m.mem);
            assert_eq!(p.a0(at), 57);
        }
    }
    println!("{} instructions across pages, {faults} faults", cases.len());
    assert!(cases.len() >= 17 && faults >= 51);
}

#[test]
fn the_end_of_a_page_falls_into_the_next() {
    // A block that ends at the page's end continues in the next page, with 2-byte and 4-byte instructions
    // before it.
    let mut p = Paged::new();
    p.map(VA, frame(0), ALL);
    let mut code = Asm::new();
    code.i(Op::Addi, A0, ZERO, 1);
    code.short(Op::Addi, Fields { rd: A0, rs1: A0, imm: 2, ..Fields::default() });
    p.m.put(frame(0) + PAGE - 6, &code.bytes);
    assert_eq!(p.run(VA + PAGE - 6), (12, VA + PAGE));
    assert_eq!((p.m.cpu.hart.pc, p.m.cpu.hart.x[10], p.m.cpu.hart.instret), (VA + PAGE, 3, 2));
    let mut rest = Asm::new();
    rest.i(Op::Addi, A0, A0, 4).bare(Op::Ebreak);
    p.put(frame(7), &rest);
    p.map(VA + PAGE, frame(7), ALL);
    assert_eq!(p.a0(VA + PAGE - 6), 7);
}

/// Address spaces: the same addresses hold other code and data once satp says so, without any fence for pages
/// that no other address space had (the machine keeps only global translations).
#[test]
fn satp_changes_the_address_space() {
    let mut p = Paged::new();
    let mut other = PageTables::new(Mode::Sv39, RAM_BASE + (1 << 20));
    let kernel = 0xffff_ffff_8000_0000;
    for (n, tables) in [(0, &mut p.tables), (1, &mut other)] {
        tables.map(&mut p.m.mem, kernel, frame(10), V | R | X | G | A, 0);
        tables.map(&mut p.m.mem, VA, frame(n), ALL, 0);
        tables.map(&mut p.m.mem, DATA, frame(2 + n), ALL, 0);
    }
    // The kernel switches to and fro and adds up what it finds.
    let mut code = Asm::new();
    code.i(Op::Addi, A0, ZERO, 0).i(Op::Addi, T2, ZERO, 10);
    let head = code.here();
    for register in [S0, S1] {
        code.csr(Op::Csrrw, ZERO, 0x180, register);
        code.i(Op::Jalr, RA, A2, 0).i(Op::Ld, T1, A3, 0).r(Op::Add, A0, A0, T1);
    }
    code.i(Op::Addi, T2, T2, -1).b(Op::Bne, T2, ZERO, head).bare(Op::Ebreak);
    p.put(frame(10), &code);
    p.put(frame(0), &adder(1));
    p.put(frame(1), &adder(100));
    p.m.put(frame(2), &10_000u64.to_le_bytes());
    p.m.put(frame(3), &1_000_000u64.to_le_bytes());
    let x = &mut p.m.cpu.hart.x;
    x[usize::from(S0)] = p.tables.satp(1);
    x[usize::from(S1)] = other.satp(2);
    x[usize::from(A2)] = VA;
    x[usize::from(A3)] = DATA;
    assert_eq!(p.a0(kernel), 10 * (1 + 100 + 10_000 + 1_000_000));
}
