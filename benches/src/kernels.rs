//! Endless loops under Sv39, each of which does one thing, for the hart to run without a kernel or devices.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{Fields, Op};
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};
use forelift_tests::hart::{
    Machine,
    asm::{Asm, reg},
    pages::{A, D, Mode, PageTables, R, U, V, W, X},
};

const PAGE: u64 = 4096;
/// Where the loops are; the page tables lie before them.
const CODE: u64 = RAM_BASE + (1 << 20);
/// Where their data is.
const DATA: u64 = RAM_BASE + (4 << 20);
const RAM: usize = 16 << 20;
/// Addresses that lie so far apart share an entry of the data TLB, which reaches over twice the RAM.
const SAME_ENTRY: u64 = 2 * RAM as u64;
/// Where [`Kernel::Switch`] jumps to.
const CASES: u64 = 4;
/// Number of the CSR `sepc`.
const SEPC: u16 = 0x141;

/// A loop that never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Integer arithmetic in registers: eight instructions and a branch.
    Arithmetic,
    /// A multiplication and an addition in double precision, four times.
    Float,
    /// One load and one store per turn, in one page.
    Memory,
    /// One load per turn of four instructions, of as many different pages in turn, which the data TLB holds.
    Hits(u32),
    /// The same of pages that share one entry of the data TLB: every load misses it.
    Misses(u32),
    /// A jump to another page per instruction, through this many pages.
    Jumps(u32),
    /// A function call through a register and return, to another page, per turn of four instructions. Lifted
    /// code goes through the dispatcher.
    Calls,
    /// The same by a direct call.
    DirectCalls,
    /// A jump to an address from a table, within the function, per turn of eight instructions.
    Switch,
    /// A system call per turn: U mode, a handler in S mode that counts, and back.
    SystemCalls,
}

impl Kernel {
    /// All, with usual numbers of pages, and their names.
    pub const ALL: [(&str, Kernel); 10] = [
        ("arithmetic", Kernel::Arithmetic),
        ("float", Kernel::Float),
        ("memory", Kernel::Memory),
        ("TLB hits", Kernel::Hits(64)),
        ("TLB misses", Kernel::Misses(64)),
        ("jumps between pages", Kernel::Jumps(64)),
        ("calls through a register", Kernel::Calls),
        ("direct calls", Kernel::DirectCalls),
        ("switch", Kernel::Switch),
        ("system calls", Kernel::SystemCalls),
    ];

    /// The loop's code, page by page.
    fn code(self) -> Vec<u8> {
        let mut code = Asm::new();
        let top = code.here();
        match self {
            Kernel::Arithmetic => {
                for _ in 0..2 {
                    code.r(Op::Add, reg::A0, reg::A0, reg::A1).i(Op::Xori, reg::A1, reg::A0, 0x155);
                    code.i(Op::Slli, reg::A2, reg::A1, 3).r(Op::Sub, reg::A0, reg::A0, reg::A2);
                }
                code.b(Op::Beq, reg::ZERO, reg::ZERO, top);
            }
            Kernel::Float => {
                for n in 0..4 {
                    code.op(
                        Op::FmaddD,
                        Fields { rd: n, rs1: n, rs2: 10, rs3: 11, rm: 7, ..Fields::default() },
                    );
                }
                code.b(Op::Beq, reg::ZERO, reg::ZERO, top);
            }
            Kernel::Memory => {
                code.i(Op::Ld, reg::A0, reg::S0, 8).i(Op::Addi, reg::A0, reg::A0, 1).s(
                    Op::Sd,
                    reg::A0,
                    reg::S0,
                    8,
                );
                code.b(Op::Beq, reg::ZERO, reg::ZERO, top);
            }
            Kernel::Hits(_) | Kernel::Misses(_) => {
                // Not the load first: lifted code would not even begin.
                code.r(Op::Add, reg::A1, reg::A1, reg::A0).i(Op::Ld, reg::A0, reg::T0, 0);
                code.r(Op::Add, reg::T0, reg::T0, reg::T2).b(Op::Bltu, reg::T0, reg::T1, top);
                code.i(Op::Addi, reg::T0, reg::S0, 0).b(Op::Beq, reg::ZERO, reg::ZERO, top);
            }
            Kernel::Jumps(pages) => {
                for n in 0..pages {
                    code.bytes.resize(n as usize * PAGE as usize, 0);
                    let next = (n + 1) % pages;
                    code.jal(reg::ZERO, next as i32 * PAGE as i32);
                }
            }
            Kernel::Calls | Kernel::DirectCalls => {
                if self == Kernel::Calls {
                    code.i(Op::Jalr, reg::RA, reg::S1, 0);
                } else {
                    code.jal(reg::RA, PAGE as i32);
                }
                code.b(Op::Beq, reg::ZERO, reg::ZERO, top);
                code.bytes.resize(PAGE as usize, 0);
                code.i(Op::Addi, reg::A0, reg::A0, 1).i(Op::Jalr, reg::ZERO, reg::RA, 0);
            }
            Kernel::Switch => {
                code.i(Op::Andi, reg::A2, reg::A0, 8 * (CASES as i32 - 1)).r(
                    Op::Add,
                    reg::A2,
                    reg::A2,
                    reg::S0,
                );
                code.i(Op::Ld, reg::A2, reg::A2, 0).i(Op::Jalr, reg::ZERO, reg::A2, 0);
                let join = code.here() + 8 * CASES as i32;
                for n in 1..=CASES as i32 {
                    code.i(Op::Addi, reg::A1, reg::A1, n).jal(reg::ZERO, join);
                }
                code.i(Op::Addi, reg::A0, reg::A0, 8).b(Op::Beq, reg::ZERO, reg::ZERO, top);
            }
            Kernel::SystemCalls => {
                code.bare(Op::Ecall).i(Op::Addi, reg::A1, reg::A1, 1).b(Op::Beq, reg::ZERO, reg::ZERO, top);
                code.bytes.resize(PAGE as usize, 0);
                code.csr(Op::Csrrs, reg::A2, SEPC, 0).i(Op::Addi, reg::A2, reg::A2, 4);
                code.csr(Op::Csrrw, reg::ZERO, SEPC, reg::A2).i(Op::Addi, reg::A0, reg::A0, 1);
                code.bare(Op::Sret);
            }
        }
        code.bytes
    }

    /// Number of data pages, and the distance of their addresses.
    fn data(self) -> (u64, u64) {
        match self {
            Kernel::Hits(count) => (u64::from(count), PAGE),
            Kernel::Misses(count) => (u64::from(count), SAME_ENTRY),
            _ => (1, PAGE),
        }
    }

    /// A machine that is about to run it.
    pub fn machine(self) -> Machine {
        let mut m = Machine::new(RAM);
        let code = self.code();
        m.put(CODE, &code);
        let mut tables = PageTables::new(Mode::Sv39, RAM_BASE);
        for pa in (CODE..CODE + code.len() as u64).step_by(PAGE as usize) {
            let user = if self == Kernel::SystemCalls && pa == CODE { U } else { 0 };
            tables.map(&mut m.mem, pa, pa, V | R | X | A | user, 0);
        }
        let (pages, stride) = self.data();
        for n in 0..pages {
            tables.map(&mut m.mem, DATA + n * stride, DATA + n * PAGE, V | R | W | A | D, 0);
            m.put(DATA + n * PAGE, &n.to_le_bytes());
        }
        if self == Kernel::Switch {
            for n in 0..CASES {
                m.put(DATA + 8 * n, &(CODE + 16 + 8 * n).to_le_bytes());
            }
        }
        assert!(tables.end() <= CODE && DATA + pages * PAGE <= RAM_BASE + RAM as u64);
        m.catch_exceptions(Privilege::Supervisor);
        let hart = &mut m.cpu.hart;
        if self == Kernel::SystemCalls {
            (hart.user_only, hart.privilege, hart.stvec) = (false, Privilege::User, CODE + PAGE);
        }
        hart.satp = tables.satp(0);
        hart.pc = CODE;
        hart.fs = 3;
        hart.x[usize::from(reg::T0)] = DATA;
        hart.x[usize::from(reg::T1)] = DATA + pages * stride;
        hart.x[usize::from(reg::T2)] = stride;
        hart.x[usize::from(reg::S0)] = DATA;
        hart.x[usize::from(reg::S1)] = CODE + PAGE;
        hart.f[10] = 0.999_f64.to_bits();
        hart.f[11] = 0.1_f64.to_bits();
        m
    }

    /// Checks what the loop has computed so far.
    ///
    /// # Panics
    /// When that is wrong.
    pub fn check(self, m: &Machine) {
        let hart = &m.cpu.hart;
        let x = |register: u8| hart.x[usize::from(register)];
        // It may have stopped in the middle of a turn.
        let turns = |instructions: u64| [hart.instret / instructions, hart.instret / instructions + 1];
        let state = || format!("{self:?} after {} instructions: {:x?}", hart.instret, hart.x);
        let fits = match self {
            Kernel::Arithmetic => {
                let half = |(a0, a1): (u64, u64)| {
                    let (a0, a1) = (a0.wrapping_add(a1), a0.wrapping_add(a1) ^ 0x155);
                    (a0.wrapping_sub(a1 << 3), a1)
                };
                let after = |turns: u64| (0..2 * turns).fold((0, 0), |at, _| half(at));
                turns(9).into_iter().any(|turns| after(turns) == (x(reg::A0), x(reg::A1)))
            }
            Kernel::Float => {
                // All four registers by the same way.
                let after = |turns: u64| (0..turns).fold(0.0, |x: f64, _| x.mul_add(0.999, 0.1));
                turns(5).into_iter().any(|turns| hart.f[..4] == [after(turns).to_bits(); 4])
            }
            Kernel::Memory => turns(4).contains(&m.word(DATA + 8)),
            Kernel::Hits(count) | Kernel::Misses(count) => {
                let round = 4 * u64::from(count) + 2;
                let sum = |loads: u64| {
                    let (rounds, rest) = (loads / u64::from(count), loads % u64::from(count));
                    rounds * (u64::from(count) * (u64::from(count) - 1) / 2)
                        + rest * rest.saturating_sub(1) / 2
                };
                let loads = hart.instret / round * u64::from(count) + hart.instret % round / 4;
                // What was loaded last is not in the sum yet.
                (loads.saturating_sub(1)..=loads + 1).any(|loads| sum(loads) == x(reg::A1))
            }
            Kernel::Jumps(pages) => hart.pc == CODE + hart.instret % u64::from(pages) * PAGE,
            Kernel::Calls | Kernel::DirectCalls => turns(4).contains(&x(reg::A0)),
            Kernel::Switch => {
                let sum =
                    |turns: u64| turns / CASES * (CASES * (CASES + 1) / 2) + (0..=turns % CASES).sum::<u64>();
                turns(8).contains(&(x(reg::A0) / 8))
                    && turns(8).into_iter().any(|turns| sum(turns) == x(reg::A1))
            }
            // `ecall` does not retire.
            Kernel::SystemCalls => turns(7).contains(&x(reg::A0)) && turns(7).contains(&x(reg::A1)),
        };
        assert!(fits, "{}", state());
    }
}

/// Runs about this many instructions of a machine's loop.
///
/// # Panics
/// When the loop ends: it must not.
pub fn run(machine: &mut Machine, instructions: u64) {
    assert_eq!(machine.run(instructions), Exit::Budget, "pc {:#x}", machine.cpu.hart.pc);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kernel_computes_what_it_should() {
        for (name, kernel) in Kernel::ALL {
            let mut m = kernel.machine();
            for _ in 0..50 {
                run(&mut m, 1);
                kernel.check(&m);
            }
            run(&mut m, 100_000);
            kernel.check(&m);
            assert!((100_000..101_000).contains(&m.cpu.hart.instret), "{name}: {}", m.cpu.hart.instret);
        }
    }

    #[test]
    #[should_panic(expected = "Calls after")]
    fn a_wrong_result_is_noticed() {
        let mut m = Kernel::Calls.machine();
        run(&mut m, 1000);
        m.cpu.hart.x[usize::from(reg::A0)] += 2;
        Kernel::Calls.check(&m);
    }

    /// Steps a kernel and gives the different values of a register (32: `pc`).
    fn seen(kernel: Kernel, register: u8) -> usize {
        let mut m = kernel.machine();
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            run(&mut m, 1);
            seen.insert(if register == 32 { m.cpu.hart.pc } else { m.cpu.hart.x[usize::from(register)] });
        }
        seen.len()
    }

    #[test]
    fn every_page_is_visited() {
        assert_eq!(seen(Kernel::Hits(64), reg::A0), 64);
        assert_eq!(seen(Kernel::Misses(64), reg::A0), 64);
        assert_eq!(seen(Kernel::Jumps(64), 32), 64);
        assert_eq!(seen(Kernel::Switch, reg::A2) as u64, CASES);
    }
}
