//! System calls, `sret`, `sstatus` and interrupts in lifted code, against the interpreter: the same state
//! after the same number of instructions, wherever a slice ends and an interrupt comes up.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{Fields, Op, csr, random::Rng};
use forelift_runtime::cpu::Lifting;
use forelift_runtime::cpu::rv64::state::Privilege;
use forelift_runtime::cpu::rv64::{Exit, state::HartState};
use forelift_tests::hart::Machine;
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::lifted::{self, Installed};
use forelift_translator::region::Limits;

const USER: u64 = RAM_BASE;
const FUNCTION: u64 = RAM_BASE + 0x800;
const HANDLER: u64 = RAM_BASE + 0x1_0000;
const SYSCALL: u64 = HANDLER + 0x100;
const OUT: u64 = HANDLER + 0x200;
const INTERRUPT: u64 = HANDLER + 0x300;
const FAULT: u64 = HANDLER + 0x400;
const KERNEL_FUNCTION: u64 = HANDLER + 0x500;
const CONTINUED: u64 = HANDLER + 0x600;
const DATA: u64 = RAM_BASE + 0x8000;
const SIP: u16 = 0x144;
const SSIP: u64 = 1 << 1;
/// What is counted: interrupts, faults, steps past the gate for interrupts, returns to S mode.
const S2: u8 = 18;
const S3: u8 = 19;
const S4: u8 = 20;
const S5: u8 = 21;
const S6: u8 = 22;
const S7: u8 = 23;
const S11: u8 = 27;
const T3: u8 = 28;
const T4: u8 = 29;
const T5: u8 = 30;
const T6: u8 = 31;
/// Kinds of system calls.
const CALLS: u64 = 7;

/// Where the code of a kind of system call is.
fn case(n: u64) -> u64 {
    HANDLER + 0x800 + 0x80 * n
}

/// A piece of code and where it goes.
struct Piece(u64, Asm);

impl Piece {
    fn new(at: u64) -> Self {
        Piece(at, Asm::new())
    }

    fn jump(&mut self, link: u8, to: u64) -> &mut Self {
        self.1.jal(link, to.wrapping_sub(self.0) as i32);
        self
    }

    /// `op rs1, rs2, to`
    fn branch(&mut self, op: Op, rs1: u8, rs2: u8, to: u64) -> &mut Self {
        self.1.b(op, rs1, rs2, to.wrapping_sub(self.0) as i32);
        self
    }
}

/// A kernel with a system call for each way to come back from one, and a program that calls them. The program
/// ends in `ebreak`, which stops the machine by `wfi`.
fn pieces() -> Vec<Piece> {
    let mut user = Piece::new(USER);
    let head = USER + 4;
    user.1.i(Op::Addi, A0, ZERO, 0);
    user.1.i(Op::Addi, A0, A0, 1);
    user.jump(RA, FUNCTION);
    user.1.i(Op::Addi, S0, S0, -1);
    user.branch(Op::Bne, S0, ZERO, head);
    user.1.bare(Op::Ebreak);

    let mut function = Piece::new(FUNCTION);
    function.1.r(Op::Remu, A7, S0, S11).i(Op::Addi, A1, A1, 2).bare(Op::Ecall);
    function.1.r(Op::Add, A2, A2, A1).i(Op::Jalr, ZERO, RA, 0);

    let mut handler = Piece::new(HANDLER);
    handler.1.csr(Op::Csrrw, S1, csr::SSCRATCH, S1).csr(Op::Csrrs, T0, csr::SCAUSE, ZERO);
    handler.branch(Op::Blt, T0, ZERO, INTERRUPT);
    handler.1.i(Op::Addi, T1, ZERO, 8);
    handler.branch(Op::Beq, T0, T1, SYSCALL);
    handler.1.i(Op::Addi, T1, ZERO, 5);
    handler.branch(Op::Beq, T0, T1, FAULT);
    handler.1.bare(Op::Wfi);

    let mut syscall = Piece::new(SYSCALL);
    syscall.1.csr(Op::Csrrs, T2, csr::SEPC, ZERO).i(Op::Addi, T2, T2, 4);
    for n in 0..CALLS {
        syscall.1.i(Op::Addi, T1, ZERO, n as i32);
        syscall.branch(Op::Beq, A7, T1, case(n));
    }
    syscall.1.bare(Op::Wfi);

    let mut out = Piece::new(OUT);
    out.1.csr(Op::Csrrci, ZERO, csr::SSTATUS, 2).i(Op::Addi, T5, ZERO, 1 << 8);
    out.1.csr(Op::Csrrc, T6, csr::SSTATUS, T5).csr(Op::Csrrw, ZERO, csr::SEPC, T2);
    out.1.csr(Op::Csrrw, S1, csr::SSCRATCH, S1).bare(Op::Sret);

    let mut interrupt = Piece::new(INTERRUPT);
    interrupt.1.i(Op::Addi, S2, S2, 1).csr(Op::Csrrci, ZERO, SIP, 2);
    // Where it was taken.
    interrupt.1.csr(Op::Csrrs, T3, csr::SEPC, ZERO).r(Op::Add, S6, S6, T3);
    interrupt.1.csr(Op::Csrrw, S1, csr::SSCRATCH, S1).bare(Op::Sret);

    let mut fault = Piece::new(FAULT);
    fault.1.i(Op::Addi, S3, S3, 1).csr(Op::Csrrs, S5, csr::SEPC, ZERO).i(Op::Addi, S5, S5, 4);
    fault.1.csr(Op::Csrrw, ZERO, csr::SEPC, S5).csr(Op::Csrrw, S1, csr::SSCRATCH, S1).bare(Op::Sret);

    let mut kernel_function = Piece::new(KERNEL_FUNCTION);
    kernel_function.1.i(Op::Addi, A3, A3, 1).i(Op::Jalr, ZERO, T0, 0);

    let mut continued = Piece::new(CONTINUED);
    continued.1.i(Op::Addi, S7, S7, 1);
    continued.jump(ZERO, OUT);

    let mut cases: Vec<Piece> = (0..CALLS).map(|n| Piece::new(case(n))).collect();
    // 1: an interrupt is pending at sret.
    cases[1].1.csr(Op::Csrrsi, ZERO, SIP, 2);
    // 2: one is pending when the gate opens, and is taken in front of the addition.
    cases[2].1.csr(Op::Csrrsi, ZERO, SIP, 2).csr(Op::Csrrsi, T6, csr::SSTATUS, 2);
    cases[2].1.i(Op::Addi, S4, S4, 1).csr(Op::Csrrci, T6, csr::SSTATUS, 2);
    // 3: sret to S mode.
    cases[3].1.li(T4, CONTINUED as i64).csr(Op::Csrrw, ZERO, csr::SEPC, T4);
    cases[3].1.i(Op::Addi, T5, ZERO, 1 << 8).csr(Op::Csrrs, ZERO, csr::SSTATUS, T5).bare(Op::Sret);
    // 4: an exception in the kernel.
    cases[4].1.i(Op::Ld, T4, ZERO, 8);
    // 5: SUM, and the kernel's memory on both sides.
    cases[5].1.op(Op::Lui, Fields { rd: T5, imm: 0x40 << 12, ..Fields::default() });
    cases[5].1.csr(Op::Csrrs, ZERO, csr::SSTATUS, T5).li(T4, DATA as i64).s(Op::Sd, A0, T4, 0);
    cases[5].1.csr(Op::Csrrc, T3, csr::SSTATUS, T5).i(Op::Ld, A4, T4, 0).r(Op::Add, A5, A5, T3);
    cases[5].jump(T0, KERNEL_FUNCTION);
    // 6: it comes back one instruction later.
    cases[6].1.i(Op::Addi, T2, T2, 4);
    // 0 is nothing but the way in and out; 3 is out already.
    for n in [0, 1, 2, 4, 5, 6] {
        cases[n].jump(ZERO, OUT);
    }
    cases.extend([user, function, handler, syscall, out, interrupt, fault, kernel_function, continued]);
    cases
}

const A4: u8 = 14;
const A5: u8 = 15;

/// A machine in front of the program, which calls `calls` times, of `kinds` kinds.
fn machine(calls: u64, kinds: u64) -> Machine {
    let mut m = Machine::new(1 << 20);
    for Piece(at, code) in pieces() {
        m.put(at, &code.bytes);
    }
    start(&mut m, calls, kinds);
    m
}

fn start(m: &mut Machine, calls: u64, kinds: u64) {
    let hart = &mut m.cpu.hart;
    hart.x = [0; 32];
    (hart.x[usize::from(S0)], hart.x[usize::from(S11)]) = (calls, kinds);
    (hart.pc, hart.privilege, hart.stvec, hart.sie, hart.sip) = (USER, Privilege::User, HANDLER, SSIP, 0);
    (hart.sie_enabled, hart.spie, hart.spp, hart.instret) = (false, false, Privilege::User, 0);
    (hart.sscratch, hart.sepc, hart.scause, hart.stval) = (0, 0, 0, 0);
    m.put(DATA, &[0; 64]);
}

/// The same with what it executes lifted.
fn lifted(calls: u64, kinds: u64) -> (Machine, Installed) {
    let mut m = machine(200, CALLS);
    m.cpu.start_profile(&mut m.mem);
    m.cpu.hart.sip = SSIP;
    assert_eq!(m.run(1_000_000), Exit::Wfi);
    let installed = lifted::install(&mut m, Limits { threshold: 1, ..Limits::default() });
    // Once for the TLB.
    start(&mut m, 50, CALLS);
    assert_eq!(m.run(1_000_000), Exit::Wfi);
    start(&mut m, calls, kinds);
    (m, installed)
}

fn state(m: &Machine) -> (HartState, Option<Vec<u8>>) {
    (m.cpu.hart.save(), m.mem.slice(DATA, 64).map(<[u8]>::to_vec))
}

#[test]
fn traps_in_lifted_code_are_as_interpreted() {
    let mut interrupts = 0;
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let calls = 600;
        let (mut fast, installed) = lifted(calls, CALLS);
        let mut slow = machine(calls, CALLS);
        let before = fast.cpu.hart.lifted_retired;
        let mut slices = 0;
        let end = loop {
            slices += 1;
            assert!(
                slices < 100_000,
                "seed {seed}: it does not end: {:x?}",
                fast.cpu.hart.save().registers()
            );
            // Short slices sometimes end right after an ecall or before an sret.
            let budget = 1 + rng.below(if seed % 2 == 0 { 9 } else { 300 }) as u64;
            let exit = fast.cpu.run_retiring(&mut fast.mem, &mut fast.bus, budget);
            let reached = fast.cpu.hart.instret;
            slow.cpu.interpret_to(&mut slow.mem, &mut slow.bus, reached);
            assert_eq!(state(&fast), state(&slow), "seed {seed}: lifted (first) and interpreted");
            if exit != Exit::Budget {
                break exit;
            }
            // Not at the end: the `wfi` there would not wait.
            if rng.below(4) == 0 && fast.cpu.hart.x[usize::from(S0)] > 2 {
                (fast.cpu.hart.sip, slow.cpu.hart.sip) = (SSIP, SSIP);
            }
        };
        assert_eq!(end, Exit::Wfi);
        let (hart, each) = (&fast.cpu.hart, calls / CALLS);
        let x = |n: u8| hart.x[usize::from(n)];
        assert_eq!((x(A0), hart.scause), (calls, 3));
        assert!(x(S3) >= each && x(S4) >= each && x(S7) >= each && x(S2) >= 2 * each, "{:?}", hart.x);
        interrupts += x(S2);
        let share = (hart.lifted_retired - before) as f64 / hart.instret as f64;
        assert!(share > 0.5, "seed {seed}: {share}");
        drop(fast);
        drop(installed);
    }
    println!("{interrupts} interrupts");
}

/// A system call that does nothing else is two calls, without a return to the dispatcher.
#[test]
fn a_plain_system_call_stays_in_lifted_code() {
    let (mut m, _installed) = lifted(10_000, 1);
    let (calls, retired) = (m.cpu.hart.lifted_calls, m.cpu.hart.lifted_retired);
    assert_eq!(m.run(10_000_000), Exit::Wfi);
    let hart = &m.cpu.hart;
    assert_eq!(hart.x[usize::from(A0)], 10_000);
    assert!(hart.lifted_calls - calls < 100, "{}", hart.lifted_calls - calls);
    assert!(hart.instret - (hart.lifted_retired - retired) < 100, "{}", hart.instret);
}

/// With exceptions handed to the test, `ecall` is one of them, in lifted code too.
#[test]
fn a_caught_system_call_is_handed_out() {
    let (mut m, _installed) = lifted(3, 1);
    m.catch_exceptions(Privilege::User);
    assert_eq!(m.run(1000), Exit::Trap { cause: 8, value: 0 });
    assert_eq!(m.cpu.hart.pc, FUNCTION + 8);
}
