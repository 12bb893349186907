//! Interrupts and `wfi` (Privileged 4.1.3): priority, when they are taken, and that nothing is lost.

use forelift_isa::rv64::{Fields, Op, encode};
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};
use forelift_tests::hart::asm::{Asm, reg::*};
use forelift_tests::hart::trapping::{CODE, HANDLER, machine};
use forelift_tests::hart::{DEVICE, Machine};

const PRIVILEGES: [Privilege; 2] = [Privilege::User, Privilege::Supervisor];
const SSIP: u64 = 1 << 1;
const STIP: u64 = 1 << 5;
const SEIP: u64 = 1 << 9;
const BITS: [u64; 3] = [SSIP, STIP, SEIP];

/// The subset of the three interrupts with number `n`.
fn subset(n: u64) -> u64 {
    (0..3).filter(|bit| n >> bit & 1 != 0).map(|bit| BITS[bit as usize]).sum()
}

/// Raises exactly these interrupts.
fn pend(m: &mut Machine, which: u64) {
    m.bus.external = which & SEIP != 0;
    let h = &mut m.cpu.hart;
    h.sip = which & SSIP;
    h.stimecmp = if which & STIP != 0 { 0 } else { u64::MAX };
    h.update_timer(1);
    h.external_pending = which & SEIP != 0;
}

/// The interrupt to take first: external, software, timer (Privileged 4.1.3).
fn first(which: u64) -> Option<u64> {
    [(SEIP, 9), (SSIP, 1), (STIP, 5)].into_iter().find(|(bit, _)| which & bit != 0).map(|(_, code)| code)
}

#[test]
fn interrupts_by_priority() {
    let (mut cases, mut taken) = (0, 0);
    for privilege in PRIVILEGES {
        for vectored in [false, true] {
            for sie_enabled in [false, true] {
                for (pending, enabled) in (0..64).map(|n| (subset(n & 7), subset(n >> 3))) {
                    let mut m = machine(vectored);
                    let mut code = Asm::new();
                    code.i(Op::Addi, A0, ZERO, 1).bare(Op::Ebreak);
                    m.put(CODE, &code.bytes);
                    pend(&mut m, pending);
                    let h = &mut m.cpu.hart;
                    h.sie = enabled;
                    h.privilege = privilege;
                    h.sie_enabled = sie_enabled;
                    // In the handler `wfi` ends at once when the interrupt is still pending: go by steps.
                    let mut left = 50;
                    while m.cpu.hart.privilege == privilege && m.cpu.hart.scause == 0 && left > 0 {
                        let _ = m.run(1);
                        left -= 1;
                    }
                    let open = privilege == Privilege::User || sie_enabled;
                    let expected = if open { first(pending & enabled) } else { None };
                    let what = format!(
                        "{pending:#x} pending, {enabled:#x} enabled, {privilege:?}, SIE {sie_enabled}"
                    );
                    let h = &m.cpu.hart;
                    match expected {
                        Some(code) => {
                            assert_eq!((h.scause, h.sepc, h.stval), (1 << 63 | code, CODE, 0), "{what}");
                            assert_eq!(
                                (h.spp, h.spie, h.sie_enabled),
                                (privilege, sie_enabled, false),
                                "{what}"
                            );
                            let vector = if vectored { 4 * code } else { 0 };
                            assert!(
                                (HANDLER + vector..=HANDLER + vector + 4).contains(&h.pc),
                                "{what}: {:#x}",
                                h.pc
                            );
                            assert_eq!(h.x[usize::from(A0)], 0, "{what}");
                            taken += 1;
                        }
                        None => {
                            assert_eq!((h.scause, h.sepc, h.x[usize::from(A0)]), (3, CODE + 4, 1), "{what}")
                        }
                    }
                    cases += 1;
                }
            }
        }
    }
    println!("{cases} states of the interrupts, {taken} taken");
    assert!(cases == 512 && taken == 6 * 37);
}

/// The instruction that opens the gate is the last one before the interrupt.
#[test]
fn interrupts_come_right_after_what_allows_them() {
    type Case = (&'static str, u64, fn(&mut Machine), fn(&mut Asm));
    let cases: &[Case] = &[
        (
            "sstatus.SIE set",
            1 << 63 | 1,
            |m| (m.cpu.hart.sip, m.cpu.hart.sie) = (SSIP, SSIP),
            |c| {
                c.csr(Op::Csrrsi, ZERO, 0x100, 2);
            },
        ),
        (
            "sie written",
            1 << 63 | 1,
            |m| (m.cpu.hart.sip, m.cpu.hart.sie_enabled) = (SSIP, true),
            |c| {
                c.csr(Op::Csrrsi, ZERO, 0x104, 2);
            },
        ),
        (
            "sip written",
            1 << 63 | 1,
            |m| (m.cpu.hart.sie, m.cpu.hart.sie_enabled) = (SSIP, true),
            |c| {
                c.csr(Op::Csrrsi, ZERO, 0x144, 2);
            },
        ),
        (
            "stimecmp written",
            1 << 63 | 5,
            |m| (m.cpu.hart.sie, m.cpu.hart.sie_enabled) = (STIP, true),
            |c| {
                c.csr(Op::Csrrwi, ZERO, 0x14d, 0);
            },
        ),
        (
            "timer set by SBI",
            1 << 63 | 5,
            |m| (m.cpu.hart.sie, m.cpu.hart.sie_enabled) = (STIP, true),
            |c| {
                c.li(A7, 0x5449_4d45).li(A6, 0).li(A0, 0).bare(Op::Ecall);
            },
        ),
        (
            "IPI by SBI",
            1 << 63 | 1,
            |m| (m.cpu.hart.sie, m.cpu.hart.sie_enabled) = (SSIP, true),
            |c| {
                c.li(A7, 0x73_5049).li(A6, 0).li(A0, 1).li(A1, 0).bare(Op::Ecall);
            },
        ),
        (
            "sret to U mode",
            1 << 63 | 1,
            |m| (m.cpu.hart.sip, m.cpu.hart.sie) = (SSIP, SSIP),
            |c| {
                c.op(Op::Auipc, Fields { rd: A2, ..Fields::default() }).i(Op::Addi, A2, A2, 16);
                c.csr(Op::Csrrw, ZERO, 0x141, A2).bare(Op::Sret);
            },
        ),
    ];
    for (what, cause, set, open) in cases {
        let mut m = machine(false);
        m.bus.time = 1000;
        let mut code = Asm::new();
        open(&mut code);
        let at = CODE + code.bytes.len() as u64;
        code.i(Op::Addi, A3, A3, 1).i(Op::Addi, A3, A3, 1).bare(Op::Ebreak);
        m.put(CODE, &code.bytes);
        // The handler is no wfi here, as the interrupt stays pending.
        m.put(HANDLER, &encode(Op::Jal, &Fields::default()).to_le_bytes());
        set(&mut m);
        for _ in 0..50 {
            let _ = m.run(1);
            if m.cpu.hart.scause != 0 {
                break;
            }
        }
        let h = &m.cpu.hart;
        assert_eq!((h.scause, h.sepc, h.x[usize::from(A3)]), (*cause, at, 0), "{what}");
    }
    println!("{} ways to let an interrupt in", cases.len());
}

/// `sip` shows the inputs as they are now; only SSIP is written.
#[test]
fn sip_shows_the_inputs() {
    let mut cases = 0;
    for pending in (0..8).map(subset) {
        let mut m = machine(false);
        m.bus.time = 100;
        let mut code = Asm::new();
        code.csr(Op::Csrrs, A0, 0x144, ZERO).csr(Op::Csrrw, ZERO, 0x144, A1).csr(Op::Csrrs, A2, 0x144, ZERO);
        code.csr(Op::Csrrci, ZERO, 0x144, 31).csr(Op::Csrrs, A3, 0x144, ZERO).bare(Op::Wfi);
        m.put(CODE, &code.bytes);
        m.bus.external = pending & SEIP != 0;
        let h = &mut m.cpu.hart;
        h.sip = pending & SSIP;
        h.stimecmp = if pending & STIP != 0 { 100 } else { 101 };
        h.x[usize::from(A1)] = u64::MAX;
        assert_eq!(m.run(100), Exit::Wfi);
        let x = &m.cpu.hart.x;
        let inputs = pending & !SSIP;
        assert_eq!([x[10], x[12], x[13]], [pending, inputs | SSIP, inputs], "{pending:#x}");
        cases += 1;
    }
    assert_eq!(cases, 8);
}

#[test]
fn wfi_ends_by_what_sie_names() {
    let mut cases = 0;
    for enabled in [false, true] {
        for (pending, sie) in (0..64).map(|n| (subset(n & 7), subset(n >> 3))) {
            let mut m = machine(false);
            let mut code = Asm::new();
            code.bare(Op::Wfi).i(Op::Addi, A0, ZERO, 1).bare(Op::Ebreak);
            m.put(CODE, &code.bytes);
            // The handler loops: a `wfi` there would not wait while the interrupt is pending.
            m.put(HANDLER, &encode(Op::Jal, &Fields::default()).to_le_bytes());
            m.cpu.hart.sie = sie;
            let what = format!("{pending:#x} pending, {sie:#x} enabled, SIE {enabled}");
            // Nothing pends yet: it waits, whatever SIE says.
            m.cpu.hart.sie_enabled = enabled;
            assert_eq!((m.run(10), m.cpu.hart.pc), (Exit::Wfi, CODE + 4), "{what}");
            assert!(!m.cpu.hart.wakes());
            // Then it does: from the start, with SIE off so that wfi itself is reached.
            pend(&mut m, pending);
            assert_eq!(m.cpu.hart.wakes(), pending & sie != 0, "{what}");
            m.cpu.hart.pc = CODE;
            m.cpu.hart.sie_enabled = false;
            let exit = m.run(1);
            assert_eq!(exit == Exit::Wfi, pending & sie == 0, "{what}");
            assert_eq!(m.cpu.hart.pc, CODE + 4, "{what}");
            // After it the interrupt is taken, or not.
            m.cpu.hart.sie_enabled = enabled;
            for _ in 0..9 {
                let _ = m.run(1);
                if m.cpu.hart.scause != 0 {
                    break;
                }
            }
            let h = &m.cpu.hart;
            match first(pending & sie) {
                Some(code) if enabled => assert_eq!((h.scause, h.sepc), (1 << 63 | code, CODE + 4), "{what}"),
                _ => assert_eq!((h.scause, h.sepc, h.x[usize::from(A0)]), (3, CODE + 8, 1), "{what}"),
            }
            cases += 1;
        }
    }
    println!("{cases} states at wfi");
    assert_eq!(cases, 128);
}

/// A handler that counts and returns, and a loop that is interrupted at random places, again and again.
#[test]
fn interrupts_lose_nothing() {
    use forelift_isa::rv64::random::Rng;
    let mut rng = Rng::new(31);
    let mut m = Machine::new(1 << 20);
    let mut handler = Asm::new();
    // Saves what it uses in sscratch, counts in s1, acknowledges.
    handler.csr(Op::Csrrw, ZERO, 0x140, T0).i(Op::Addi, S1, S1, 1);
    handler.csr(Op::Csrrci, T0, 0x144, 2).csr(Op::Csrrs, T0, 0x140, ZERO).bare(Op::Sret);
    m.put(HANDLER, &handler.bytes);
    let mut code = Asm::new();
    code.li(T0, 20_000).i(Op::Addi, A0, ZERO, 0);
    let head = code.here();
    code.r(Op::Add, A0, A0, T0).i(Op::Addi, T0, T0, -1).b(Op::Bne, T0, ZERO, head).bare(Op::Ecall);
    m.put(CODE, &code.bytes);
    let set_up = (code.bytes.len() / 4 - 4) as u64;
    let h = &mut m.cpu.hart;
    (h.stvec, h.sie, h.pc, h.privilege) = (HANDLER, SSIP, CODE, Privilege::User);
    let mut sent = 0;
    loop {
        let _ = m.run(1 + rng.below(200) as u64);
        if m.cpu.hart.scause == 8 {
            break;
        }
        if m.cpu.hart.privilege == Privilege::User && m.cpu.hart.sip == 0 {
            m.cpu.hart.sip = SSIP;
            sent += 1;
        }
    }
    let h = &m.cpu.hart;
    // The last one may come when the ecall was reached.
    let counted = h.x[usize::from(S1)];
    assert_eq!(h.x[usize::from(A0)], 20_000 * 20_001 / 2);
    assert!(sent > 200 && sent - counted <= 1, "{sent} sent, {counted} counted");
    let before_ecall = set_up + 3 * 20_000 + 5 * counted;
    assert!(h.instret >= before_ecall && h.instret <= before_ecall + 200 + 5, "{} {before_ecall}", h.instret);
    println!("{counted} interrupts of a loop");
}

/// The machine raises the external interrupt at the end of a slice only. What the handler has claimed in the
/// middle of one does not come again.
#[test]
fn a_claimed_interrupt_is_taken_once() {
    let mut m = Machine::new(1 << 20);
    m.bus.claims = true;
    let mut handler = Asm::new();
    handler.i(Op::Lw, T1, S0, 0).i(Op::Addi, S1, S1, 1).bare(Op::Sret);
    m.put(HANDLER, &handler.bytes);
    let mut code = Asm::new();
    code.i(Op::Addi, A0, A0, 1).b(Op::Beq, ZERO, ZERO, 0);
    m.put(CODE, &code.bytes);
    let h = &mut m.cpu.hart;
    (h.stvec, h.sie, h.pc, h.privilege) = (HANDLER, SEIP, CODE, Privilege::User);
    h.x[usize::from(S0)] = DEVICE;
    for times in 1..=3 {
        pend(&mut m, SEIP);
        let _ = m.run(1000);
        let h = &m.cpu.hart;
        assert_eq!((h.x[usize::from(S1)], h.external_pending), (times, false));
        assert!(h.x[usize::from(A0)] > times * 400, "{}", h.x[usize::from(A0)]);
    }
}
