//! The SBI as the guest sees it (RISC-V SBI 2.0): base, timer, IPI, remote fence, system reset, debug
//! console, and what is not there.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::Op;
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};
use forelift_tests::hart::Machine;
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::pages::{A, D, Mode, PageTables, R, V, W, X};

const BASE: u64 = 0x10;
const TIME: u64 = 0x5449_4d45;
const IPI: u64 = 0x73_5049;
const RFENCE: u64 = 0x5246_4e43;
const SRST: u64 = 0x5352_5354;
const DBCN: u64 = 0x4442_434e;
const SUCCESS: i64 = 0;
const NOT_SUPPORTED: i64 = -2;
const INVALID_PARAM: i64 = -3;

const DATA: u64 = RAM_BASE + 0x1_0000;
const RAM: u64 = 1 << 20;

struct Guest {
    m: Machine,
    calls: u64,
}

impl Guest {
    fn new() -> Self {
        let mut m = Machine::new(RAM as usize);
        let mut code = Asm::new();
        // With an interrupt pending `wfi` does not wait.
        code.bare(Op::Ecall).bare(Op::Wfi).jal(ZERO, 8);
        m.put(RAM_BASE, &code.bytes);
        Guest { m, calls: 0 }
    }

    /// Makes a call; gives how the run ended.
    fn exit(&mut self, extension: u64, function: u64, arguments: &[u64]) -> Exit {
        let h = &mut self.m.cpu.hart;
        for (n, x) in h.x.iter_mut().enumerate().skip(1) {
            *x = 0xabcd_0000 + n as u64;
        }
        h.x[10..10 + arguments.len()].copy_from_slice(arguments);
        (h.x[usize::from(A7)], h.x[usize::from(A6)], h.pc) = (extension, function, RAM_BASE);
        h.scause = 0;
        self.calls += 1;
        self.m.run(10)
    }

    /// Makes a call that comes back, with error and value; every other register must be as before.
    #[track_caller]
    fn call(&mut self, extension: u64, function: u64, arguments: &[u64]) -> (i64, u64) {
        let exit = self.exit(extension, function, arguments);
        let h = &self.m.cpu.hart;
        assert!(
            matches!(exit, Exit::Wfi | Exit::Budget) && h.scause == 0,
            "{extension:#x}.{function}: {exit:?}"
        );
        assert_eq!(h.pc, RAM_BASE + 8);
        for n in (1..32).filter(|n| ![10, 11].contains(n)) {
            let kept = match n {
                17 => extension,
                16 => function,
                n if (12..10 + arguments.len()).contains(&n) => arguments[n - 10],
                n => 0xabcd_0000 + n as u64,
            };
            assert_eq!(h.x[n], kept, "x{n} after {extension:#x}.{function}");
        }
        (h.x[10] as i64, h.x[11])
    }
}

#[test]
fn base_tells_what_there_is() {
    let mut g = Guest::new();
    assert_eq!(g.call(BASE, 0, &[]), (SUCCESS, 2 << 24));
    for function in [1, 2, 4, 5, 6] {
        assert_eq!(g.call(BASE, function, &[]).0, SUCCESS);
    }
    for there in [BASE, TIME, IPI, RFENCE, SRST, DBCN] {
        assert_eq!(g.call(BASE, 3, &[there]), (SUCCESS, 1), "{there:#x}");
    }
    // The legacy calls, HSM, PMU, SUSP, CPPC, NACL, STA, a vendor's, and nonsense.
    let legacy = 0..9;
    let others = [
        0x48_534d,
        0x50_4d55,
        0x5355_5350,
        0x4350_5043,
        0x4e41_434c,
        0x53_5441,
        0x900_0000,
        u64::MAX,
        BASE << 32,
    ];
    for missing in legacy.chain(others) {
        assert_eq!(g.call(BASE, 3, &[missing]), (SUCCESS, 0), "{missing:#x}");
        for function in [0, 1, u64::MAX] {
            assert_eq!(g.call(missing, function, &[]), (NOT_SUPPORTED, 0), "{missing:#x}.{function}");
        }
    }
    for (extension, functions) in [(BASE, 7), (TIME, 1), (IPI, 1), (RFENCE, 3), (SRST, 1), (DBCN, 3)] {
        for function in [functions, functions + 5, 1 << 32, u64::MAX] {
            assert_eq!(g.call(extension, function, &[]).0, NOT_SUPPORTED, "{extension:#x}.{function}");
        }
    }
    println!("{} SBI calls", g.calls);
    assert!(g.calls > 100);
}

#[test]
fn the_timer_is_stimecmp() {
    let mut g = Guest::new();
    g.m.bus.time = 5000;
    let (sie, stip) = (1 << 5, 1 << 5);
    g.m.cpu.hart.sie = sie;
    for (until, pending) in [(0, true), (5000, true), (6000, false), (u64::MAX, false), (4999, true)] {
        assert_eq!(g.call(TIME, 0, &[until]), (SUCCESS, 0));
        assert_eq!((g.m.cpu.hart.stimecmp, g.m.cpu.hart.timer_pending), (until, pending), "{until}");
        assert_eq!(g.m.cpu.hart.wakes(), pending, "{until}, {stip:#x}");
    }
}

#[test]
fn ipi_and_fences_name_hart_0() {
    let mut g = Guest::new();
    // Mask, base, error, whether hart 0 is meant (SBI 2.0, section 3.1).
    let masks = [
        (1, 0, SUCCESS, true),
        (0, 0, SUCCESS, false),
        (0, u64::MAX, SUCCESS, true),
        (u64::MAX, u64::MAX, SUCCESS, true),
        (2, 0, INVALID_PARAM, false),
        (3, 0, INVALID_PARAM, false),
        (1, 1, INVALID_PARAM, false),
        (1, 64, INVALID_PARAM, false),
    ];
    for (mask, base, error, hit) in masks {
        g.m.cpu.hart.sip = 0;
        assert_eq!(g.call(IPI, 0, &[mask, base]), (error, 0), "{mask:#x} {base:#x}");
        assert_eq!(g.m.cpu.hart.sip != 0, hit, "{mask:#x} {base:#x}");
        g.m.cpu.hart.sip = 0;
        for function in 0..3 {
            assert_eq!(
                g.call(RFENCE, function, &[mask, base, 0, u64::MAX, 0]).0,
                error,
                "{mask:#x} {base:#x}"
            );
        }
    }
}

/// A remote fence forgets translations as sfence.vma does.
#[test]
fn remote_fences_forget_translations() {
    for function in [1, 2] {
        let mut m = Machine::new(RAM as usize);
        let mut tables = PageTables::new(Mode::Sv39, RAM_BASE + 0x4_0000);
        let (code_va, data_va, table_va) = (0x1_0000, 0x2_0000, 0x3_0000);
        let all = V | R | W | X | A | D;
        tables.map(&mut m.mem, code_va, RAM_BASE, all, 0);
        let entry = tables.map(&mut m.mem, data_va, DATA, all, 0);
        tables.map(&mut m.mem, table_va, entry & !0xfff, all, 0);
        let mut code = Asm::new();
        code.i(Op::Ld, S0, S1, 0).s(Op::Sd, T0, T1, 0).bare(Op::Ecall).i(Op::Ld, T2, S1, 0).bare(Op::Wfi);
        m.put(RAM_BASE, &code.bytes);
        m.put(DATA, &1u64.to_le_bytes());
        m.put(DATA + 0x1000, &2u64.to_le_bytes());
        let h = &mut m.cpu.hart;
        h.satp = tables.satp(0);
        h.pc = code_va;
        let x = &mut h.x;
        (x[usize::from(S1)], x[usize::from(T1)]) = (data_va, table_va + entry % 0x1000);
        x[usize::from(T0)] = (DATA + 0x1000) >> 12 << 10 | all;
        (x[usize::from(A7)], x[usize::from(A6)]) = (RFENCE, function);
        x[10..15].copy_from_slice(&[1, 0, data_va, 0x1000, 0]);
        assert_eq!(m.run(100), Exit::Wfi);
        assert_eq!((m.cpu.hart.x[usize::from(S0)], m.cpu.hart.x[usize::from(T2)]), (1, 2));
    }
}

#[test]
fn reset_ends_the_run() {
    for (kind, reason, exit) in [
        (0, 0, Some(Exit::Shutdown { reset: false, failed: false })),
        (0, 1, Some(Exit::Shutdown { reset: false, failed: true })),
        (1, 0, Some(Exit::Shutdown { reset: true, failed: false })),
        (2, 0, Some(Exit::Shutdown { reset: true, failed: false })),
        (3, 0, None),
        (0, 2, None),
        (u64::MAX, u64::MAX, None),
    ] {
        let mut g = Guest::new();
        match exit {
            Some(exit) => assert_eq!(g.exit(SRST, 0, &[kind, reason]), exit),
            None => assert_eq!(g.call(SRST, 0, &[kind, reason]), (INVALID_PARAM, 0)),
        }
    }
}

#[test]
fn the_debug_console_writes() {
    let mut g = Guest::new();
    g.m.put(DATA, b"hello");
    assert_eq!(g.call(DBCN, 0, &[5, DATA, 0]), (SUCCESS, 5));
    assert_eq!(g.call(DBCN, 2, &[0x121]), (SUCCESS, 0));
    assert_eq!(g.m.bus.console, b"hello!");
    g.m.bus.console.clear();
    // No memory, or not all of it; an address beyond 64 bits.
    let end = RAM_BASE + RAM;
    for (len, low, high) in [(5, 0, 0), (5, end, 0), (5, end - 4, 0), (5, DATA, 1), (u64::MAX, u64::MAX, 0)] {
        let (error, value) = g.call(DBCN, 0, &[len, low, high]);
        assert!(error < 0 && value == 0, "{len} bytes at {high:x}:{low:x}: {error}");
    }
    assert!(g.m.bus.console.is_empty());
    assert_eq!(g.call(DBCN, 0, &[0, 0, 0]), (SUCCESS, 0));
    // Long ones are taken in part, and the guest is told how far.
    let (error, taken) = g.call(DBCN, 0, &[100_000, DATA, 0]);
    assert!(error == SUCCESS && taken > 0 && taken as usize == g.m.bus.console.len());
    // Nothing to read.
    assert_eq!(g.call(DBCN, 1, &[5, DATA, 0]), (SUCCESS, 0));
}

#[test]
fn user_mode_has_no_sbi() {
    let mut g = Guest::new();
    g.m.cpu.hart.user_only = true;
    g.m.cpu.hart.privilege = Privilege::User;
    assert_eq!(g.exit(SRST, 0, &[0, 0]), Exit::Trap { cause: 8, value: 0 });
}
