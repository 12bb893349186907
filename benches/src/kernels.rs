//! Endless loops in S mode under Sv39, each of which does one thing, for the hart to run without a kernel or devices.

use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::{Fields, Op};
use forelift_runtime::cpu::{Exit, state::Privilege};
use forelift_tests::hart::{
    Machine,
    asm::{Asm, reg},
    pages::{A, D, Mode, PageTables, R, V, W, X},
};

const PAGE: u64 = 4096;
/// Where the loops are; the page tables lie before them.
const CODE: u64 = RAM_BASE + (1 << 20);
/// Where their data is.
const DATA: u64 = RAM_BASE + (4 << 20);
const RAM: usize = 16 << 20;

/// A loop that never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Integer arithmetic in registers: eight instructions and a branch.
    Arithmetic,
    /// A multiplication and an addition in double precision, four times.
    Float,
    /// One load and one store per turn, in one page.
    Memory,
    /// One load per turn of three instructions, of as many different pages in turn. The data TLB has 512 entries: fewer
    /// pages hit, twice as many always miss.
    Pages(u32),
    /// A jump to another page per instruction, through this many pages.
    Jumps(u32),
    /// A function call and return through registers, to another page, per turn of four instructions.
    Calls,
}

impl Kernel {
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
            Kernel::Pages(_) => {
                code.i(Op::Ld, reg::A0, reg::T0, 0).r(Op::Add, reg::T0, reg::T0, reg::T2);
                code.b(Op::Bltu, reg::T0, reg::T1, top);
                code.i(Op::Addi, reg::T0, reg::S0, 0).b(Op::Beq, reg::ZERO, reg::ZERO, top);
            }
            Kernel::Jumps(pages) => {
                for n in 0..pages {
                    code.bytes.resize(n as usize * PAGE as usize, 0);
                    let next = (n + 1) % pages;
                    code.jal(reg::ZERO, next as i32 * PAGE as i32);
                }
            }
            Kernel::Calls => {
                code.i(Op::Jalr, reg::RA, reg::S1, 0).b(Op::Beq, reg::ZERO, reg::ZERO, top);
                code.bytes.resize(PAGE as usize, 0);
                code.i(Op::Addi, reg::A0, reg::A0, 1).i(Op::Jalr, reg::ZERO, reg::RA, 0);
            }
        }
        code.bytes
    }

    /// A machine that is about to run it.
    pub fn machine(self) -> Machine {
        let mut m = Machine::new(RAM);
        let code = self.code();
        m.put(CODE, &code);
        let mut tables = PageTables::new(Mode::Sv39, RAM_BASE);
        for pa in (CODE..CODE + code.len() as u64).step_by(PAGE as usize) {
            tables.map(&mut m.mem, pa, pa, V | R | X | A, 0);
        }
        let pages = if let Kernel::Pages(count) = self { u64::from(count) } else { 1 };
        for pa in (DATA..DATA + pages * PAGE).step_by(PAGE as usize) {
            tables.map(&mut m.mem, pa, pa, V | R | W | A | D, 0);
        }
        assert!(tables.end() <= CODE && DATA + pages * PAGE <= RAM_BASE + RAM as u64);
        m.catch_exceptions(Privilege::Supervisor);
        let hart = &mut m.cpu.hart;
        hart.satp = tables.satp(0);
        hart.pc = CODE;
        hart.fs = 3;
        hart.x[usize::from(reg::T0)] = DATA;
        hart.x[usize::from(reg::T1)] = DATA + pages * PAGE;
        hart.x[usize::from(reg::T2)] = PAGE;
        hart.x[usize::from(reg::S0)] = DATA;
        hart.x[usize::from(reg::S1)] = CODE + PAGE;
        hart.f[10] = 0.999_f64.to_bits();
        hart.f[11] = 0.1_f64.to_bits();
        m
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

    /// Runs a kernel for about 100 000 instructions and gives the machine and how many there were.
    fn ran(kernel: Kernel) -> (Machine, u64) {
        let mut m = kernel.machine();
        run(&mut m, 100_000);
        let retired = m.cpu.hart.instret;
        assert!((100_000..101_000).contains(&retired), "{kernel:?}: {retired}");
        (m, retired)
    }

    #[test]
    fn memory_is_written_once_a_turn() {
        let (m, retired) = ran(Kernel::Memory);
        assert!(m.word(DATA + 8).abs_diff(retired / 4) <= 1);
    }

    #[test]
    fn every_page_is_read() {
        let mut m = Kernel::Pages(1024).machine();
        for page in 0..1024 {
            m.put(DATA + page * PAGE, &page.to_le_bytes());
        }
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 * 1024 {
            run(&mut m, 1);
            seen.insert(m.cpu.hart.x[usize::from(reg::A0)]);
        }
        assert_eq!(seen.len(), 1024);
    }

    #[test]
    fn calls_come_back() {
        let (m, retired) = ran(Kernel::Calls);
        assert!(m.cpu.hart.x[usize::from(reg::A0)].abs_diff(retired / 4) <= 1);
    }

    #[test]
    fn jumps_visit_every_page() {
        let mut m = Kernel::Jumps(64).machine();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            run(&mut m, 1);
            seen.insert(m.cpu.hart.pc);
        }
        assert_eq!(seen.len(), 64);
    }

    #[test]
    fn arithmetic_and_float_compute() {
        let (mut m, _) = ran(Kernel::Arithmetic);
        m.cpu.hart.x[usize::from(reg::A0)] = 5;
        run(&mut m, 1000);
        assert_ne!(m.cpu.hart.x[usize::from(reg::A0)], 5);
        let (m, _) = ran(Kernel::Float);
        // x = 0.999 x + 0.1 tends to 100.
        assert!((f64::from_bits(m.cpu.hart.f[0]) - 100.0).abs() < 0.01);
    }
}
