//! Address translation against a second implementation of it ([`walk`]): every combination of an entry's
//! flags with access, privilege, SUM, MXR, mode and level; entries and tables that are wrong; random tables;
//! accesses across pages.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{Op, random::Rng};
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};
use forelift_tests::hart::Machine;
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::pages::{A, D, Mode, PageTables, R, U, V, W, X, page_size};
use forelift_tests::hart::walk::{Access, Conditions, walk};

const PAGE: u64 = 4096;
const RAM: u64 = 8 << 20;
/// Code of the accesses, mapped here for S mode; for U mode one page up.
const CODE: u64 = 0x40_0000;
/// What stores store.
const VALUE: u64 = 0x5555_0000_1111_2222;
/// The physical address that the tests reach through the entry under test; 64 bytes up there is code.
const TARGET: u64 = RAM_BASE + (4 << 20) + 0x1000;
const MODES: [Mode; 2] = [Mode::Sv39, Mode::Sv48];
const PRIVILEGES: [Privilege; 2] = [Privilege::User, Privilege::Supervisor];

/// The accesses: instruction, kind, and what it needs aligned.
const ACCESSES: [(Op, Access); 7] = [
    (Op::Jalr, Access::Fetch),
    (Op::Ld, Access::Load),
    (Op::Sd, Access::Store),
    (Op::LrD, Access::Load),
    (Op::ScD, Access::Store),
    (Op::AmoaddD, Access::Store),
    (Op::Lbu, Access::Load),
];

struct Bench {
    m: Machine,
    tables: PageTables,
    mode: Mode,
}

impl Bench {
    fn new(mode: Mode) -> Self {
        let mut m = Machine::new(RAM as usize);
        let mut tables = PageTables::new(mode, RAM_BASE);
        // 16 bytes for each access: the instruction on a0 or from a1, then ebreak.
        let mut code = Asm::new();
        for (op, _) in ACCESSES {
            match op {
                Op::Ld | Op::Lbu => code.i(op, A0, A1, 0),
                Op::Sd => code.s(op, A0, A1, 0),
                Op::Jalr => code.i(op, ZERO, A1, 0),
                _ => code.r(op, A2, A1, if op == Op::LrD { ZERO } else { A0 }),
            };
            code.bare(Op::Ebreak).word(0).word(0);
        }
        let frame = RAM_BASE + (3 << 20);
        m.put(frame, &code.bytes);
        tables.map(&mut m.mem, CODE, frame, V | X | A, 0);
        tables.map(&mut m.mem, CODE + PAGE, frame, V | X | U | A, 0);
        m.cpu.hart.satp = tables.satp(0);
        m.catch_exceptions(Privilege::User);
        Bench { m, tables, mode }
    }

    fn conditions(&self) -> Conditions {
        let h = &self.m.cpu.hart;
        let root = h.satp << 20 >> 8;
        Conditions { mode: self.mode, root, privilege: h.privilege, sum: h.sum, mxr: h.mxr }
    }

    fn set(&mut self, privilege: Privilege, sum: bool, mxr: bool) {
        let h = &mut self.m.cpu.hart;
        (h.privilege, h.sum, h.mxr) = (privilege, sum, mxr);
    }

    /// Makes access `n` to `va` and compares what happens with the model. True when it is allowed.
    fn check(&mut self, n: usize, va: u64, what: &dyn Fn() -> String) -> bool {
        let (op, access) = ACCESSES[n];
        let conditions = self.conditions();
        let va = if op == Op::Jalr { va.wrapping_add(64) } else { va };
        let model = walk(&self.m.mem, &conditions, va, access);
        let old = model.ok().and_then(|found| self.m.mem.read_array(found.pa).map(u64::from_le_bytes));
        let cause = match (model, old) {
            (Err(cause), _) => cause,
            (Ok(_), None) => access.causes().1,
            // The instruction after the access, or that at the target.
            (Ok(_), Some(_)) => 3,
        };
        let pc = CODE + if conditions.privilege == Privilege::User { PAGE } else { 0 } + 16 * n as u64;
        let h = &mut self.m.cpu.hart;
        (h.pc, h.x[usize::from(A0)], h.x[usize::from(A1)]) = (pc, VALUE, va);
        h.reservation = model.map_or(u64::MAX, |found| found.pa);
        let exit = self.m.run(10);
        let show = || format!("{} {op:?} {va:#x} under {conditions:x?}: {exit:x?}, model {model:x?}", what());
        let at = match (op, cause) {
            (Op::Jalr, _) => va,
            (_, 3) => pc + 4,
            _ => pc,
        };
        let (cause, value) = match (op, old) {
            // Zeros are no instruction.
            (Op::Jalr, Some(0)) if cause == 3 => (2, 0),
            _ => (cause, if cause == 3 { at } else { va }),
        };
        assert!(exit == Exit::Trap { cause, value } && self.m.cpu.hart.pc == at, "{}", show());
        if let Ok(found) = model {
            assert_eq!(self.m.word(found.entry), found.pte, "{}", show());
        }
        if let (Ok(found), Some(old)) = (model, old) {
            self.effect(op, found.pa, old, &show);
        }
        model.is_ok() && old.is_some()
    }

    /// Compares registers and memory after an access to `pa`, where `old` was, and puts that back.
    fn effect(&mut self, op: Op, pa: u64, old: u64, show: &dyn Fn() -> String) {
        let h = &self.m.cpu.hart;
        let (a0, a2, new) = (h.x[usize::from(A0)], h.x[usize::from(A2)], self.m.word(pa));
        let right = match op {
            Op::Jalr => true,
            Op::Ld => a0 == old && new == old,
            Op::Lbu => a0 == old & 0xff && new == old,
            Op::LrD => a2 == old && new == old,
            Op::Sd => new == VALUE,
            Op::ScD => new == VALUE && a2 == 0,
            _ => new == old.wrapping_add(VALUE) && a2 == old,
        };
        assert!(right, "{}: a0 {a0:#x}, a2 {a2:#x}, {new:#x} where {old:#x} was", show());
        if new != old {
            self.m.put(pa, &old.to_le_bytes());
        }
    }
}

/// Address by which a leaf on `level` reaches [`TARGET`].
fn address(mode: Mode, level: u32, high: bool) -> u64 {
    let base = match (mode, high) {
        (Mode::Sv39, false) => 8 << 30,
        (Mode::Sv39, true) => 0xffff_ffd0_0000_0000,
        (Mode::Sv48, false) => 3 << 39,
        (Mode::Sv48, true) => 0xffff_9000_0000_0000,
    };
    base | (TARGET % page_size(level))
}

/// The machine of `mode` with an entry of this level for [`TARGET`]; the entry's address and its page number.
fn bench(mode: Mode, level: u32, va: u64) -> (Bench, u64, u64) {
    let mut b = Bench::new(mode);
    b.m.put(TARGET, &0x0123_4567_89ab_cdefu64.to_le_bytes());
    let mut code = Asm::new();
    code.bare(Op::Ebreak);
    b.m.put(TARGET + 64, &code.bytes);
    let entry = b.tables.entry(&mut b.m.mem, va, level);
    (b, entry, (TARGET - TARGET % page_size(level)) >> 12 << 10)
}

#[test]
fn every_combination_of_permissions() {
    let (mut cases, mut allowed) = (0, 0);
    for mode in MODES {
        for level in 0..mode.levels() {
            let va = address(mode, level, level % 2 == 1);
            let (mut b, entry, ppn) = bench(mode, level, va);
            for flags in 0..256 {
                for bits in 0..8 {
                    let privilege = PRIVILEGES[bits & 1];
                    b.set(privilege, bits & 2 != 0, bits & 4 != 0);
                    for n in 0..ACCESSES.len() {
                        b.m.put(entry, &(ppn | flags).to_le_bytes());
                        b.m.cpu.hart.flush_tlb();
                        allowed += u64::from(
                            b.check(n, va, &|| format!("{mode:?} level {level} flags {flags:#04x}")),
                        );
                        cases += 1;
                    }
                }
            }
        }
    }
    println!("{cases} combinations of permissions, {allowed} of them allowed");
    assert!(cases == 7 * 256 * 8 * 7 && allowed > 5_000);
}

/// The same with translations kept from one access to the next, while privilege and SUM change in between.
#[test]
fn permissions_are_checked_when_cached() {
    let mut rng = Rng::new(11);
    let (mut cases, mut allowed) = (0, 0);
    for mode in MODES {
        for level in 0..mode.levels() {
            let va = address(mode, level, true);
            let (mut b, entry, ppn) = bench(mode, level, va);
            for flags in 0..256u64 {
                for mxr in [false, true] {
                    b.m.put(entry, &(ppn | flags).to_le_bytes());
                    b.m.cpu.hart.flush_tlb();
                    for _ in 0..24 {
                        b.set(rng.pick(&PRIVILEGES), rng.one_in(2), mxr);
                        let n = rng.below(ACCESSES.len());
                        allowed += u64::from(
                            b.check(n, va, &|| format!("{mode:?} level {level} flags {flags:#04x}")),
                        );
                        cases += 1;
                    }
                }
            }
        }
    }
    println!("{cases} accesses by cached translations, {allowed} allowed");
    assert!(cases == 7 * 256 * 2 * 24 && allowed > 5_000);
}

#[test]
fn wrong_entries_fault() {
    let mut cases = 0;
    for mode in MODES {
        for level in 0..mode.levels() {
            let va = address(mode, level, false);
            let (mut b, entry, ppn) = bench(mode, level, va);
            let good = ppn | V | R | W | X | A | D;
            // Every single bit: flags, the two for software (no effect), page number (misaligned if below the
            // level's), reserved.
            for bit in 0..64 {
                for n in 0..ACCESSES.len() {
                    b.m.put(entry, &(good ^ 1 << bit).to_le_bytes());
                    b.m.cpu.hart.flush_tlb();
                    b.set(Privilege::Supervisor, false, false);
                    let ok = b.check(n, va, &|| format!("{mode:?} level {level} bit {bit} flipped"));
                    assert!(bit < 54 || !ok, "reserved bit {bit}");
                    assert!(!(8..10).contains(&bit) || ok, "bit {bit} is for software");
                    cases += 1;
                }
            }
            // Entries above the leaf: each bit of a good pointer.
            for upper in level + 1..mode.levels() {
                let pointer = b.tables.entry(&mut b.m.mem, va, upper);
                let good_pointer = b.m.word(pointer);
                b.m.put(entry, &good.to_le_bytes());
                for bit in (0..10).chain(40..64) {
                    for n in [0, 1, 2] {
                        b.m.put(pointer, &(good_pointer ^ 1 << bit).to_le_bytes());
                        b.m.cpu.hart.flush_tlb();
                        b.check(n, va, &|| format!("{mode:?} level {upper} pointer bit {bit} flipped"));
                        b.m.put(pointer, &good_pointer.to_le_bytes());
                        cases += 1;
                    }
                }
            }
        }
    }
    println!("{cases} wrong entries");
    assert!(cases > 4_000);
}

#[test]
fn addresses_must_be_sign_extended() {
    let mut cases = 0;
    for mode in MODES {
        let va = address(mode, 0, false);
        let (mut b, entry, ppn) = bench(mode, 0, va);
        b.m.put(entry, &(ppn | V | R | W | X | A | D).to_le_bytes());
        b.set(Privilege::Supervisor, false, false);
        let bits = 12 + 9 * mode.levels();
        for n in 0..ACCESSES.len() {
            for bit in bits - 1..64 {
                // The same entries would be found, did the upper bits not count.
                b.check(n, va ^ 1 << bit, &|| format!("{mode:?}, bit {bit}"));
                b.check(n, va ^ u64::MAX << bit, &|| format!("{mode:?}, bits from {bit}"));
                cases += 2;
            }
            assert!(b.check(n, va, &|| "the good address".into()));
        }
    }
    println!("{cases} addresses out of range");
    assert!(cases > 500);
}

/// Tables full of random entries, also such that point to themselves, to nothing and to other tables as data.
#[test]
fn random_tables() {
    const TABLE_PAGES: u64 = 12;
    let mut rng = Rng::new(12);
    let (mut cases, mut allowed) = (0, 0);
    for mode in MODES {
        for round in 0..20 {
            let mut b = Bench::new(mode);
            let first = b.tables.end();
            let fill = |b: &mut Bench, rng: &mut Rng, table: u64, slots: std::ops::Range<u64>| {
                for slot in slots {
                    let nowhere = [0, 0x1_0000_0000, RAM_BASE + RAM, 0xff_ffff_ffff_f000];
                    let next = first + rng.below(TABLE_PAGES as usize) as u64 * PAGE;
                    let (to, flags) = match rng.below(16) {
                        0..8 => (next, V),
                        8 => (next, rng.next_u64() & 0x3ff),
                        9 => (TARGET & !(PAGE - 1), rng.next_u64() & 0x3ff),
                        10 => (RAM_BASE, V | R | X | rng.next_u64() & 0x3f0),
                        11 => (rng.pick(&nowhere), V | rng.next_u64() & 0x3ff),
                        12 => (next, V | R | X | rng.next_u64() & 0x3f0),
                        _ => (TARGET & !(PAGE - 1), V | R | W | X | rng.next_u64() & 0x3f0),
                    };
                    b.m.put(table + slot * 8, &(to >> 12 << 10 | flags).to_le_bytes());
                }
            };
            let root = b.conditions().root;
            // Slot 0 of the root leads to the code of the accesses.
            fill(&mut b, &mut rng, root, 1..512);
            for page in 0..TABLE_PAGES {
                fill(&mut b, &mut rng, first + page * PAGE, 0..512);
            }
            let bits = 12 + 9 * mode.levels();
            for case in 0..1500 {
                b.set(rng.pick(&PRIVILEGES), rng.one_in(2), rng.one_in(2));
                let va = ((rng.next_u64() << (64 - bits)) as i64 >> (64 - bits)) as u64 & !7;
                // Tables are data here: only accesses that do not change them, and no jumps into them.
                let n = rng.pick(&[1, 3, 6]);
                b.m.cpu.hart.flush_tlb();
                allowed += u64::from(b.check(n, va, &|| format!("{mode:?} round {round} case {case}")));
                cases += 1;
            }
        }
    }
    println!("{cases} accesses by random tables, {allowed} allowed");
    assert!(cases >= 60_000 && allowed > 1_000);
}

/// Loads and stores across two pages: translated both before anything happens, the fault is the first page's
/// or, at the page boundary, the second's.
#[test]
fn accesses_across_pages() {
    let loads = [Op::Lh, Op::Lhu, Op::Lw, Op::Lwu, Op::Ld, Op::Flw, Op::Fld];
    let stores = [Op::Sh, Op::Sw, Op::Sd, Op::Fsw, Op::Fsd];
    // Pages by what they allow; the last one is mapped to where nothing is.
    let kinds = [
        ("absent", 0),
        ("readable", V | R | A),
        ("writable", V | R | W | A | D),
        ("nowhere", V | R | W | A | D),
    ];
    let (mut cases, mut faults) = (0, 0);
    for op in loads.into_iter().chain(stores) {
        let (size, store) = (op.access().bytes() as u64, op.access().writes());
        for (first, second) in (0..16).map(|n| (kinds[n / 4], kinds[n % 4])) {
            for low in 1..size {
                let mut b = Bench::new(Mode::Sv39);
                let va = 0x80_0000 + PAGE - low;
                // The second page lies below the first one in memory.
                let frames = [RAM_BASE + (5 << 20), RAM_BASE + (4 << 20)];
                for (n, (name, flags)) in [first, second].into_iter().enumerate() {
                    let pa = if name == "nowhere" { 0x7000_0000 } else { frames[n] };
                    b.tables.map(&mut b.m.mem, 0x80_0000 + n as u64 * PAGE, pa, flags, 0);
                }
                let (at_low, at_high) = (frames[0] + PAGE - low, frames[1]);
                let before: Vec<u8> = (1..=size as u8).map(|n| n | 0x80).collect();
                b.m.put(at_low, &before[..low as usize]);
                b.m.put(at_high, &before[low as usize..]);
                let mut code = Asm::new();
                if store {
                    code.s(op, A0, A1, 0)
                } else {
                    code.i(op, A0, A1, 0)
                };
                code.bare(Op::Ebreak);
                b.m.put(RAM_BASE + (3 << 20), &code.bytes);
                b.set(Privilege::Supervisor, false, false);
                let h = &mut b.m.cpu.hart;
                h.fs = 3;
                (h.pc, h.x[usize::from(A0)], h.f[usize::from(A0)], h.x[usize::from(A1)]) =
                    (CODE, VALUE, VALUE, va);
                let exit = b.m.run(10);
                let page_fault = |(_, flags): (&str, u64)| flags & if store { W } else { R } == 0;
                let nowhere = |(name, _): (&str, u64)| name == "nowhere";
                let (cause_page, cause_access) = if store { (15, 7) } else { (13, 5) };
                let boundary = va + low;
                let expected = match (first, second) {
                    (a, _) if page_fault(a) => (cause_page, va),
                    (_, b) if page_fault(b) => (cause_page, boundary),
                    (a, _) if nowhere(a) => (cause_access, va),
                    (_, b) if nowhere(b) => (cause_access, boundary),
                    _ => (3, CODE + 4),
                };
                let what =
                    format!("{op:?}, {low} bytes in the {} page, the rest in the {} one", first.0, second.0);
                assert_eq!(exit, Exit::Trap { cause: expected.0, value: expected.1 }, "{what}");
                let mut after = b.m.mem.slice(at_low, low as usize).expect("RAM").to_vec();
                after.extend(b.m.mem.slice(at_high, (size - low) as usize).expect("RAM"));
                let written = store && expected.0 == 3;
                let wanted =
                    if written { VALUE.to_le_bytes()[..size as usize].to_vec() } else { before.clone() };
                assert_eq!(after, wanted, "{what}");
                if !store {
                    let h = &b.m.cpu.hart;
                    let is_float = matches!(op, Op::Flw | Op::Fld);
                    let got = if is_float { h.f[usize::from(A0)] } else { h.x[usize::from(A0)] };
                    let mut raw = [0; 8];
                    raw[..size as usize].copy_from_slice(&before);
                    let raw = u64::from_le_bytes(raw);
                    let loaded = match op {
                        Op::Lh => raw as i16 as i64 as u64,
                        Op::Lw => raw as i32 as i64 as u64,
                        Op::Flw => raw | 0xffff_ffff_0000_0000,
                        _ => raw,
                    };
                    assert_eq!(got, if expected.0 == 3 { loaded } else { VALUE }, "{what}");
                }
                cases += 1;
                faults += u64::from(expected.0 != 3);
            }
        }
    }
    println!("{cases} accesses across pages, {faults} of them fault");
    assert!(cases >= 700 && faults > 400);
}
