//! A hart in S mode under Sv39, for the tests of code that changes or moves.

use super::Machine;
use super::asm::{
    Asm,
    reg::{A0, RA, ZERO},
};
use super::pages::{A, D, Mode, PageTables, R, V, W, X};
use forelift_abi::layout::RAM_BASE;
use forelift_isa::rv64::Op;
use forelift_runtime::cpu::rv64::{Exit, state::Privilege};

const PAGE: u64 = 4096;
/// Flags of a page that S mode may use in every way, accessed and dirty.
pub const ALL: u64 = V | R | W | X | A | D;
/// Where the tests map code: two pages, neighbours.
pub const VA: u64 = 0x40_0000;
/// Where they map data.
pub const DATA: u64 = 0x80_0000;

/// S mode under Sv39; exceptions come to the test.
pub struct Paged {
    /// The machine.
    pub m: Machine,
    /// Its page tables.
    pub tables: PageTables,
}

/// Physical page of this number, past the page tables and on a 2 MiB boundary for number 0.
pub fn frame(n: u64) -> u64 {
    RAM_BASE + (2 << 20) + n * PAGE
}

impl Default for Paged {
    fn default() -> Self {
        Self::new()
    }
}

impl Paged {
    /// A machine with tables that map nothing.
    pub fn new() -> Self {
        let mut m = Machine::new(16 << 20);
        let tables = PageTables::new(Mode::Sv39, RAM_BASE);
        m.catch_exceptions(Privilege::Supervisor);
        m.cpu.hart.satp = tables.satp(0);
        m.cpu.hart.fs = 3;
        Paged { m, tables }
    }

    /// Maps a page; gives the address of its entry.
    pub fn map(&mut self, va: u64, pa: u64, flags: u64) -> u64 {
        self.tables.map(&mut self.m.mem, va, pa, flags, 0)
    }

    /// Puts code into memory at this physical address, as a device.
    pub fn put(&mut self, pa: u64, code: &Asm) {
        self.m.put(pa, &code.bytes);
    }

    /// Runs from `pc` to an exception; gives its cause and `stval`.
    ///
    /// # Panics
    /// When none comes.
    pub fn run(&mut self, pc: u64) -> (u64, u64) {
        self.m.cpu.hart.pc = pc;
        match self.m.run(1_000_000) {
            Exit::Trap { cause, value } => (cause, value),
            other => panic!("{other:?} at {:#x}", self.m.cpu.hart.pc),
        }
    }

    /// Runs from `pc` to `ebreak` and gives a0.
    ///
    /// # Panics
    /// On another exception.
    #[track_caller]
    pub fn a0(&mut self, pc: u64) -> u64 {
        let (cause, value) = self.run(pc);
        assert_eq!(cause, 3, "cause {cause}, stval {value:#x} at {:#x}", self.m.cpu.hart.pc);
        self.m.cpu.hart.x[usize::from(A0)]
    }
}

/// `a0 += n; ret`
pub fn adder(n: i32) -> Asm {
    let mut code = Asm::new();
    code.i(Op::Addi, A0, A0, n).i(Op::Jalr, ZERO, RA, 0);
    code
}

/// `a0 = n; ebreak`
pub fn answer(n: i32) -> Asm {
    let mut code = Asm::new();
    code.i(Op::Addi, A0, ZERO, n).bare(Op::Ebreak);
    code
}

/// The first instruction of some code.
///
/// # Panics
/// When there is none.
pub fn first_word(code: &Asm) -> u32 {
    u32::from_le_bytes([code.bytes[0], code.bytes[1], code.bytes[2], code.bytes[3]])
}
