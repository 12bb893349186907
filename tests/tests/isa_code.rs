//! Code that changes: stores to code with `fence.i`, pages mapped elsewhere with `sfence.vma`, one page at two addresses,
//! instructions across two pages, devices that write code, and more code than the cache of decoded blocks holds.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{Fields, Op};
use forelift_runtime::cpu::{Exit, state::Privilege};
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::pages::{A, D, G, Mode, PageTables, R, V, W, X, page_size};
use forelift_tests::hart::{DEVICE, Machine};

const PAGE: u64 = 4096;
const ALL: u64 = V | R | W | X | A | D;
/// Where the tests map code: two pages, neighbours.
const VA: u64 = 0x40_0000;
/// Where they map data.
const DATA: u64 = 0x80_0000;

/// S mode under Sv39; exceptions come to the test.
struct Paged {
    m: Machine,
    tables: PageTables,
}

/// Physical page of this number, behind the page tables and on a 2 MiB boundary for number 0.
fn frame(n: u64) -> u64 {
    RAM_BASE + (2 << 20) + n * PAGE
}

impl Paged {
    fn new() -> Self {
        let mut m = Machine::new(16 << 20);
        let tables = PageTables::new(Mode::Sv39, RAM_BASE);
        m.catch_exceptions(Privilege::Supervisor);
        m.cpu.hart.satp = tables.satp(0);
        m.cpu.hart.fs = 3;
        Paged { m, tables }
    }

    fn map(&mut self, va: u64, pa: u64, flags: u64) -> u64 {
        self.tables.map(&mut self.m.mem, va, pa, flags, 0)
    }

    /// Puts code into memory at this physical address, as a device.
    fn put(&mut self, pa: u64, code: &Asm) {
        self.m.put(pa, &code.bytes);
    }

    /// Runs from `pc` to an exception.
    fn run(&mut self, pc: u64) -> (u64, u64) {
        self.m.cpu.hart.pc = pc;
        match self.m.run(1_000_000) {
            Exit::Trap { cause, value } => (cause, value),
            other => panic!("{other:?} at {:#x}", self.m.cpu.hart.pc),
        }
    }

    /// Runs from `pc` to `ebreak` and gives a0.
    #[track_caller]
    fn a0(&mut self, pc: u64) -> u64 {
        let (cause, value) = self.run(pc);
        assert_eq!(cause, 3, "cause {cause}, stval {value:#x} at {:#x}", self.m.cpu.hart.pc);
        self.m.cpu.hart.x[usize::from(A0)]
    }
}

/// `a0 += n; ret`
fn adder(n: i32) -> Asm {
    let mut code = Asm::new();
    code.i(Op::Addi, A0, A0, n).i(Op::Jalr, ZERO, RA, 0);
    code
}

/// `a0 = n; ebreak`
fn answer(n: i32) -> Asm {
    let mut code = Asm::new();
    code.i(Op::Addi, A0, ZERO, n).bare(Op::Ebreak);
    code
}

fn first_word(code: &Asm) -> u32 {
    u32::from_le_bytes([code.bytes[0], code.bytes[1], code.bytes[2], code.bytes[3]])
}

/// Calls the function at s1, patches its first instruction by `store`, `fence.i`, calls it again, all of it twice.
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
    let stores: &[(&str, fn(&mut Asm))] = &[
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
        // The function's page at its own address, and through another one; written before it is executed, and not.
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
fn code_patches_the_instructions_behind_it() {
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
fn a_page_mapped_elsewhere_is_found_after_sfence() {
    let mut cases = 0;
    for (by_page, indirect, through_global) in
        [(true, false, 0), (false, false, 0), (true, true, 0), (false, true, 0), (true, false, G), (false, true, G)]
    {
        let mut p = Paged::new();
        p.map(VA, frame(0), ALL | through_global);
        let entry = p.map(VA + PAGE, frame(1), ALL | through_global);
        p.map(DATA, entry & !(PAGE - 1), ALL);
        p.put(frame(1), &adder(1));
        p.put(frame(2), &adder(100));
        // Calls the function in the next page three times, by a jump that is linked or one through a register; then
        // changes the page table, fences, calls it again.
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
            code.r(Op::SfenceVma, 0, if by_page { S1 } else { ZERO }, ZERO);
        }
        code.bare(Op::Ebreak);
        p.put(frame(0), &code);
        let x = &mut p.m.cpu.hart.x;
        x[usize::from(S0)] = DATA + entry % PAGE;
        x[usize::from(S1)] = VA + PAGE;
        x[usize::from(T0)] = frame(2) >> 12 << 10 | ALL | through_global;
        assert_eq!(p.a0(VA), 303, "by page {by_page}, indirect {indirect}, global {through_global}");
        cases += 1;
    }
    println!("{cases} ways to map code elsewhere");
    assert_eq!(cases, 6);
}

#[test]
fn data_mapped_elsewhere_is_found_after_sfence() {
    let mut cases = 0;
    for by_page in [true, false] {
        for store in [true, false] {
            let mut p = Paged::new();
            p.map(VA, frame(0), ALL);
            let entry = p.map(DATA, frame(1), ALL);
            p.map(DATA + PAGE, entry & !(PAGE - 1), ALL);
            let mut code = Asm::new();
            code.i(Op::Ld, T1, S1, 0).s(Op::Sd, T1, S1, 8);
            code.s(Op::Sd, T0, S0, 0).r(Op::SfenceVma, 0, if by_page { S1 } else { ZERO }, ZERO);
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
    assert_eq!(cases, 4);
}

/// The fence for one page of a large one concerns the whole large page (Privileged 4.2.1: the leaf entry).
#[test]
fn sfence_of_one_page_forgets_the_large_page() {
    let mut cases = 0;
    for level in [1, 2] {
        for access in [Op::Ld, Op::Sd, Op::Jalr] {
            // Large pages of RAM itself would need gigabytes: va of another large page, shared tables below pa.
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
        assert_eq!((x[usize::from(A1)], x[usize::from(A2)], x[usize::from(T0)]), (at + 0x1000, at + 8, at + 20));
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
    // A block that ends at the page's end goes on in the next page, with 2-byte and 4-byte instructions before it.
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
    use forelift_runtime::cpu::cache::{ARENA_ENTRIES, MAX_PAGES};
    // Pages: one instruction and a jump to the next page in each, forth and once more.
    let pages = MAX_PAGES + 1000;
    let mut m = Machine::new((pages + 1) * PAGE as usize);
    m.catch_exceptions(Privilege::Supervisor);
    for n in 0..pages {
        let mut code = Asm::new();
        code.i(Op::Addi, A0, A0, 1).jal(ZERO, PAGE as i32);
        m.put(RAM_BASE + n as u64 * PAGE, &code.bytes);
    }
    m.put(RAM_BASE + pages as u64 * PAGE, &{ let mut c = Asm::new(); c.bare(Op::Ebreak); c }.bytes);
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

/// Address spaces: the same addresses hold other code and data once satp says so, without any fence for pages that no
/// other address space had (the machine keeps only global translations).
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
