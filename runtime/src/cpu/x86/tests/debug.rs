//! Breakpoints of the debug registers (SDM vol. 3 17.2, 17.3).

use super::*;
use crate::cpu::x86::debug::{DR6, DR6_BD, DR7, DR7_GD};
use crate::cpu::x86::state::CR4_DE;

/// Kinds of breakpoints, as DR7 has them.
const EXECUTE: u64 = 0;
const WRITE: u64 = 1;
const PORT: u64 = 2;
const ACCESS: u64 = 3;

const TRAP: Exit = Exit::Trap(Fault::plain(DB));
const END: Exit = Exit::Trap(Fault::plain(BP));

/// The bits of DR7 that enable breakpoint `n` of a kind and length, locally.
fn control(n: usize, kind: u64, length: u64) -> u64 {
    let length = [0, 1, 3, 2][length.trailing_zeros() as usize];
    1 << (2 * n) | (kind | length << 2) << (16 + 4 * n)
}

impl Machine {
    /// Sets breakpoint `n` beside those there are.
    fn arm(&mut self, n: usize, kind: u64, length: u64, at: u64) {
        self.cpu.vcpu.dr[n] = at;
        self.cpu.vcpu.dr[DR7] |= control(n, kind, length);
        self.cpu.vcpu.update_breakpoints();
    }

    fn rip(&self) -> u64 {
        self.cpu.vcpu.rip
    }

    /// The breakpoints that DR6 names.
    fn met(&self) -> u64 {
        self.cpu.vcpu.dr[DR6] & 0xf
    }
}

#[test]
fn an_instruction_breakpoint_comes_before_its_instruction() {
    // inc eax; inc ebx; inc ecx; int3
    let mut m = machine(&[0xff, 0xc0, 0xff, 0xc3, 0xff, 0xc1, 0xcc]);
    assert_eq!(m.run(), END);
    m.cpu.vcpu.rip = CODE;
    m.arm(2, EXECUTE, 1, CODE + 2);
    assert_eq!((m.run(), m.rip(), m.met()), (TRAP, CODE + 2, 4));
    assert_eq!((m.cpu.vcpu.r[0], m.cpu.vcpu.r[3], m.cpu.vcpu.instret), (2, 1, 5));
    // Still there: it is a fault.
    assert_eq!((m.run(), m.rip()), (TRAP, CODE + 2));
    m.cpu.vcpu.rflags |= flags::RF;
    assert_eq!((m.run(), m.cpu.vcpu.r[3], m.cpu.vcpu.r[1]), (END, 2, 2));
    assert_eq!(m.cpu.vcpu.rflags & flags::RF, 0);
    // The middle of an instruction is none; neither is a breakpoint that is not enabled.
    m.cpu.vcpu.rip = CODE;
    m.arm(2, EXECUTE, 1, CODE + 3);
    assert_eq!(m.run(), END);
    m.cpu.vcpu.dr[DR7] = 0x400;
    m.arm(0, EXECUTE, 1, CODE);
    m.cpu.vcpu.dr[DR7] &= !1;
    m.cpu.vcpu.update_breakpoints();
    m.cpu.vcpu.rip = CODE;
    assert_eq!((m.run(), m.cpu.vcpu.debug), (END, 0));
}

#[test]
fn breakpoints_are_met_on_ways_that_were_linked_before() {
    // mov ecx,3; l: call f (in the next page); dec ecx; jnz l; int3 ... f: inc eax; ret
    let mut m = machine(&[0xb9, 3, 0, 0, 0, 0xe8, 0xf6, 0x0f, 0, 0, 0xff, 0xc9, 0x75, 0xf7, 0xcc]);
    let f = CODE + 0x1000;
    assert!(m.mem.write(f, &[0xff, 0xc0, 0xc3]));
    assert_eq!((m.run(), m.cpu.vcpu.r[0]), (END, 3));
    let dec = CODE + 10;
    for (at, other) in [(f, false), (dec, false), (f, true)] {
        m.cpu.vcpu.dr[DR7] = 0x400;
        m.arm(0, EXECUTE, 1, at);
        if other {
            m.arm(3, EXECUTE, 1, dec);
        }
        (m.cpu.vcpu.rip, m.cpu.vcpu.r[0]) = (CODE, 0);
        for n in 0..3 {
            assert_eq!((m.run(), m.rip(), m.met()), (TRAP, at, 1), "{n}");
            assert_eq!(m.cpu.vcpu.r[1], 3 - n);
            m.cpu.vcpu.rflags |= flags::RF;
            if other {
                assert_eq!((m.run(), m.rip(), m.met()), (TRAP, dec, 8), "{n}");
                m.cpu.vcpu.rflags |= flags::RF;
            }
        }
        assert_eq!((m.run(), m.cpu.vcpu.r[0]), (END, 3));
    }
}

#[test]
fn data_breakpoints_trap_after_the_access() {
    // mov al,[rdi] / mov [rdi],al and wider; add [rdi],rax; push [rdi]; movups; each with its size and what
    // it does.
    let (load, store, both) = (1, 2, 3);
    let instructions: [(&[u8], u64, u32); 12] = [
        (&[0x8a, 0x07], 1, load),
        (&[0x88, 0x07], 1, store),
        (&[0x66, 0x8b, 0x07], 2, load),
        (&[0x66, 0x89, 0x07], 2, store),
        (&[0x8b, 0x07], 4, load),
        (&[0x89, 0x07], 4, store),
        (&[0x48, 0x8b, 0x07], 8, load),
        (&[0x48, 0x89, 0x07], 8, store),
        (&[0x48, 0x01, 0x07], 8, both),
        (&[0xff, 0x37], 8, load),
        (&[0x0f, 0x10, 0x07], 16, load),
        (&[0x0f, 0x11, 0x07], 16, store),
    ];
    for (instruction, size, does) in instructions {
        for (kind, length) in [(WRITE, 1), (WRITE, 4), (ACCESS, 2), (ACCESS, 8)] {
            for distance in -17i64..=17 {
                // The instruction; inc ebx; int3. Once without the breakpoint, so that the page is in the
                // TLB.
                let mut m = machine(&[instruction, &[0xff, 0xc3, 0xcc]].concat());
                let (watched, at) = (DATA + 0x40, (DATA + 0x40).wrapping_add_signed(distance));
                m.cpu.vcpu.r[7] = at;
                assert_eq!(m.run(), END);
                // The low bits of the address do not count.
                m.arm(1, kind, length, watched + length - 1);
                m.cpu.vcpu.rip = CODE;
                let overlaps = at < watched + length && watched < at + size;
                let expected = overlaps && (kind == ACCESS || does & store != 0);
                let what = format!("{instruction:02x?} {kind} {length} {distance}");
                if expected {
                    let next = CODE + instruction.len() as u64;
                    assert_eq!((m.run(), m.rip(), m.met()), (TRAP, next, 2), "{what}");
                    assert_eq!(m.cpu.vcpu.r[3], 1, "{what}");
                }
                assert_eq!((m.run(), m.cpu.vcpu.r[3]), (END, 2), "{what}");
            }
        }
    }
}

#[test]
fn an_access_across_pages_is_watched_in_both() {
    for at in [DATA + 0xff8, DATA + 0x1000] {
        let mut m = machine(&[0x48, 0x89, 0x07, 0xcc]); // mov [rdi],rax; int3
        m.cpu.vcpu.r[7] = DATA + 0xffc;
        m.arm(0, WRITE, 8, at);
        m.arm(3, ACCESS, 1, DATA + 0xffe);
        assert_eq!((m.run(), m.rip(), m.met()), (TRAP, CODE + 3, 9));
    }
}

#[test]
fn a_repetition_stops_after_the_element() {
    // rep stosb; int3
    let mut m = machine(&[0xf3, 0xaa, 0xcc]);
    (m.cpu.vcpu.r[7], m.cpu.vcpu.r[1], m.cpu.vcpu.r[0]) = (DATA, 0x3000, 0x55);
    m.arm(0, WRITE, 2, DATA + 0x1234);
    for done in [0x1235, 0x1236] {
        assert_eq!((m.run(), m.rip(), m.met()), (TRAP, CODE, 1));
        assert_eq!((m.cpu.vcpu.r[7], m.cpu.vcpu.r[1]), (DATA + done, 0x3000 - done));
        assert_eq!(m.cpu.vcpu.rflags & flags::RF, flags::RF);
        assert_eq!(m.cpu.vcpu.instret, 0);
    }
    assert_eq!((m.run(), m.cpu.vcpu.r[7]), (END, DATA + 0x3000));
    // The last element's trap follows the instruction.
    (m.cpu.vcpu.rip, m.cpu.vcpu.r[7], m.cpu.vcpu.r[1]) = (CODE, DATA + 0x1230, 5);
    assert_eq!((m.run(), m.rip(), m.cpu.vcpu.r[1]), (TRAP, CODE + 2, 0));
    assert_eq!(m.cpu.vcpu.rflags & flags::RF, 0);
    // A breakpoint on the instruction is met once, however long that takes.
    m.cpu.vcpu.dr[DR7] = 0x400;
    m.arm(0, EXECUTE, 1, CODE);
    (m.cpu.vcpu.rip, m.cpu.vcpu.r[7], m.cpu.vcpu.r[1]) = (CODE, DATA, 0x4_0000);
    assert_eq!((m.run(), m.rip(), m.cpu.vcpu.r[1]), (TRAP, CODE, 0x4_0000));
    m.cpu.vcpu.rflags |= flags::RF;
    assert_eq!((m.run(), m.cpu.vcpu.r[1]), (END, 0));
}

#[test]
fn an_instruction_that_faults_reports_no_access() {
    // push [rdi], with a stack that is not there; then with one.
    let mut m = machine(&[0xff, 0x37, 0xcc]);
    paged(&mut m);
    (m.cpu.vcpu.r[7], m.cpu.vcpu.r[4]) = (DATA + 8, DATA + 0x4000);
    m.arm(0, ACCESS, 8, DATA + 8);
    let Exit::Trap(fault) = m.run() else { panic!("no fault") };
    assert_eq!((fault.vector, m.rip()), (PF, CODE));
    m.cpu.vcpu.r[4] = DATA + 0x1000;
    assert_eq!((m.run(), m.rip(), m.cpu.vcpu.r[4]), (TRAP, CODE + 2, DATA + 0xff8));
}

#[test]
fn a_load_of_ss_holds_the_trap_back() {
    // mov ss,[rdi]; inc eax; inc eax; int3
    let mut m = machine(&[0x8e, 0x17, 0xff, 0xc0, 0xff, 0xc0, 0xcc]);
    m.cpu.vcpu.r[7] = DATA;
    m.arm(0, ACCESS, 2, DATA);
    assert_eq!((m.run(), m.rip(), m.cpu.vcpu.r[0], m.met()), (TRAP, CODE + 4, 1, 1));
    // A snapshot between the two keeps it.
    m.cpu.vcpu.rip = CODE;
    assert_eq!(m.cpu.step(&mut m.mem, &mut m.bus), None);
    let state = m.cpu.vcpu.save();
    let mut other = machine(&[0x8e, 0x17, 0xff, 0xc0, 0xff, 0xc0, 0xcc]);
    other.cpu.vcpu.restore(&state);
    other.cpu.vcpu.user_only = true;
    assert_eq!((other.run(), other.rip(), other.met()), (TRAP, CODE + 4, 1));
    // What was armed is armed.
    other.cpu.vcpu.rip = CODE;
    assert_eq!((other.run(), other.rip()), (TRAP, CODE + 4));
}

#[test]
fn the_resume_flag_is_in_the_frames_of_faults() {
    // Handler of #UD: pop rax; pop rcx; pop rbx (the flags); out 0xf4,al
    let see = [0x58, 0x59, 0x5b, 0xe6, 0xf4];
    for (vector, code, set) in [(6, &[0x0f, 0x0b][..], true), (3, &[0xcc], false), (1, &[0xf1], false)] {
        let mut m = machine(code);
        assert!(m.mem.write(CODE + 0x100, &see));
        with_handler(&mut m, vector, CODE + 0x100);
        assert_eq!(m.run(), Exit::Shutdown { reset: false, failed: false });
        assert_eq!(m.cpu.vcpu.r[3] & flags::RF != 0, set, "{vector}");
    }
    // inc eax, with a breakpoint; out 0xf4,al. Handler: mov rbx,[rsp+16]; or dword [rsp+16],0x10000; inc ecx;
    // iretq
    let mut m = machine(&[0xff, 0xc0, 0xe6, 0xf4]);
    let handler = [0x48, 0x8b, 0x5c, 0x24, 16, 0x81, 0x4c, 0x24, 16, 0, 0, 1, 0, 0xff, 0xc1, 0x48, 0xcf];
    assert!(m.mem.write(CODE + 0x100, &handler));
    with_handler(&mut m, 1, CODE + 0x100);
    m.arm(0, EXECUTE, 1, CODE);
    assert_eq!(m.run(), Exit::Shutdown { reset: false, failed: false });
    assert_eq!((m.cpu.vcpu.r[0], m.cpu.vcpu.r[1], m.cpu.vcpu.r[3] & flags::RF), (1, 1, 0));
}

#[test]
fn a_trap_comes_before_an_interrupt_and_that_before_a_breakpoint() {
    // mov [rdi],al; inc eax; out 0xf4,al. The handlers note their vectors at RSI and after.
    let mut m = machine(&[0x88, 0x07, 0xff, 0xc0, 0xe6, 0xf4]);
    // mov byte [rsi],V; inc rsi; or dword [rsp+16],0x10000 / and dword [rsp+16],~0x10000; iretq
    let handler = |v, op, mask: [u8; 4]| {
        [&[0xc6, 0x06, v, 0x48, 0xff, 0xc6, 0x81, op, 0x24, 16][..], &mask, &[0x48, 0xcf]].concat()
    };
    for (vector, op, mask) in [(1, 0x4c, [0, 0, 1, 0]), (0x20, 0x64, [0xff, 0xff, 0xfe, 0xff])] {
        let at = CODE + 0x100 * u64::from(vector);
        assert!(m.mem.write(at, &handler(vector, op, mask)));
        with_handler(&mut m, vector.into(), at);
    }
    m.cpu.vcpu.r[7] = STACK + 0x100;
    m.cpu.vcpu.r[6] = STACK + 0x200;
    m.cpu.vcpu.rflags |= flags::IF;
    m.arm(0, WRITE, 1, STACK + 0x100);
    m.arm(1, EXECUTE, 1, CODE + 2);
    assert_eq!(m.cpu.run(&mut m.mem, &mut m.bus, 1), Exit::Budget);
    m.bus.interrupt = Some(0x20);
    assert_eq!(m.run(), Exit::Shutdown { reset: false, failed: false });
    assert_eq!((m.mem.read_array(STACK + 0x200), m.met()), (Some([1, 0x20, 1]), 2));
}

#[test]
fn debug_registers_can_be_guarded_and_have_other_names() {
    // mov rax,dr7; int3 / mov dr7,rax / mov rax,dr4 / mov rax,dr6
    let mut m = machine(&[0x0f, 0x21, 0xf8, 0xcc]);
    m.cpu.vcpu.dr[DR7] |= DR7_GD;
    assert_eq!((m.run(), m.rip(), m.cpu.vcpu.dr[DR6] & DR6_BD), (TRAP, CODE, DR6_BD));
    let mut m = machine(&[0x0f, 0x21, 0xf8]);
    // The handler may use them: mov rbx,dr7; out 0xf4,al
    assert!(m.mem.write(CODE + 0x100, &[0x0f, 0x21, 0xfb, 0xe6, 0xf4]));
    with_handler(&mut m, 1, CODE + 0x100);
    m.cpu.vcpu.dr[DR7] |= DR7_GD;
    assert_eq!(m.run(), Exit::Shutdown { reset: false, failed: false });
    assert_eq!(m.cpu.vcpu.r[3], 0x400);
    let mut m = machine(&[0x0f, 0x21, 0xe0, 0xcc]);
    m.cpu.vcpu.cr4 &= !CR4_DE;
    assert_eq!((m.run(), m.cpu.vcpu.r[0]), (END, 0xffff_0ff0));
    m.cpu.vcpu.cr4 |= CR4_DE;
    m.cpu.vcpu.rip = CODE;
    assert_eq!(m.run(), Exit::Trap(Fault::plain(UD)));
    // A breakpoint that the code sets itself: mov dr0,rbx; mov dr7,rax; inc ecx; int3
    let mut m = machine(&[0x0f, 0x23, 0xc3, 0x0f, 0x23, 0xf8, 0xff, 0xc1, 0xcc]);
    (m.cpu.vcpu.r[3], m.cpu.vcpu.r[0]) = (CODE + 6, 1);
    assert_eq!((m.run(), m.rip(), m.cpu.vcpu.r[1]), (TRAP, CODE + 6, 0));
}

#[test]
fn ports_have_breakpoints_with_debugging_extensions() {
    // out 0x42,al; in ax,0x40; in al,0x43; int3
    let code = [0xe6, 0x42, 0x66, 0xe5, 0x40, 0xe4, 0x43, 0xcc];
    for extensions in [false, true] {
        let mut m = machine(&code);
        m.cpu.vcpu.cr4 = m.cpu.vcpu.cr4 & !CR4_DE | if extensions { CR4_DE } else { 0 };
        m.arm(0, PORT, 2, 0x41);
        m.arm(1, PORT, 1, 0x42);
        if extensions {
            assert_eq!((m.run(), m.rip(), m.met()), (TRAP, CODE + 2, 2));
            assert_eq!((m.run(), m.rip(), m.met()), (TRAP, CODE + 5, 1));
        }
        assert_eq!(m.run(), END);
    }
}

#[test]
fn only_watched_pages_are_slow() {
    let mut m = machine(&[0x48, 0x8b, 0x07, 0x48, 0x8b, 0x06, 0xcc]); // mov rax,[rdi]; mov rax,[rsi]; int3
    (m.cpu.vcpu.r[7], m.cpu.vcpu.r[6]) = (DATA, DATA + 0x1000);
    let known = |m: &Machine| [DATA, DATA + 0x1000].map(|va| m.cpu.vcpu.dtlb.lookup(1, false, va).is_some());
    assert_eq!((m.run(), known(&m)), (END, [true, true]));
    m.arm(0, WRITE, 8, DATA + 0x10);
    assert_eq!(known(&m), [false, true]);
    m.cpu.vcpu.rip = CODE;
    assert_eq!((m.run(), known(&m)), (END, [false, true]));
    m.cpu.vcpu.dr[DR7] = 0x400;
    m.cpu.vcpu.update_breakpoints();
    m.cpu.vcpu.rip = CODE;
    assert_eq!((m.run(), known(&m)), (END, [true, true]));
}
