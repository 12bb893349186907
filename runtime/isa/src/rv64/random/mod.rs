//! Random user-mode code that always terminates and stays inside its data window, for lockstep tests.
//!
//! [`Generator::block`] emits a piece of code in which control enters at the top and leaves at the bottom. It
//! consists of *items*: single instructions drawn from the two tables, and short sequences where an
//! instruction makes sense only in company (a loop with its counter, lr with its sc, a jump through a
//! register with the code that makes the target). Items that contain a block nest up to [`MAX_DEPTH`] deep.
//!
//! Some registers belong to the generator ([`Generator::owned`]) and are read but not written by the code,
//! but for balanced moves of sp. Two of them point into the data window: sp, as the compressed stack
//! instructions need it, and one of x8 to x15, as the other compressed loads and stores need it. Every access
//! is relative to them, at most [`REACH`] bytes away. A third points to constants that are only read: without
//! fresh operands, most values of random code soon are 0 or NaN.
//!
//! Left out, since machines may differ: counters (cycle, time, instret), sc without a recent lr to the same
//! place, and anything that traps. The rounding mode in frm is always a valid one.

mod compressed;
mod flow;
mod memory;
mod program;
mod rng;
mod values;

use alloc::vec::Vec;
use core::ops::Range;

use super::csr::{FCSR, FFLAGS, FRM};
use super::decode::CROWS;
use super::encode::{Fields, encode, encode_compressed};
use super::format::Reg;
use super::op::{Access, Flow, Op};
pub use program::{Options, Program, STATE_BYTES};
pub use rng::Rng;

/// How deep blocks nest.
pub const MAX_DEPTH: usize = 3;
/// Every access lies within this many bytes of the pointer that it uses, to both sides.
pub const REACH: u64 = 2048 + 8;
/// Offsets of integers from the pointer to constants.
pub const INTEGERS: Range<i32> = -2048..-1024;
/// Offsets of doubles from the pointer to constants.
pub const DOUBLES: Range<i32> = -1024..512;
/// Offsets of singles from the pointer to constants.
pub const SINGLES: Range<i32> = 512..2048;
/// Longest block that a conditional branch jumps over or back (its range is 4 KiB).
const MAX_SKIP: usize = 3600;
/// Stack pointer.
const SP: u8 = 2;

/// Kinds of items. A row of the table is drawn within its family, so that rare instructions are tested as
/// often as others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Integer,
    Float,
    Compressed,
    Memory,
    CompressedMemory,
    Amo,
    Reservation,
    FloatCsr,
    MoveSp,
    Skip,
    Jump,
    JumpRegister,
    Call,
    Loop,
    Patch,
}

/// Items and how often they come.
const WEIGHTS: &[(Item, usize)] = &[
    (Item::Integer, 26),
    (Item::Float, 26),
    (Item::Compressed, 18),
    (Item::Memory, 16),
    (Item::CompressedMemory, 8),
    (Item::Amo, 5),
    (Item::Reservation, 2),
    (Item::FloatCsr, 3),
    (Item::MoveSp, 1),
    (Item::Skip, 6),
    (Item::Jump, 2),
    (Item::JumpRegister, 2),
    (Item::Call, 1),
    (Item::Loop, 3),
    (Item::Patch, 1),
];

/// The rows of the table by the item that draws from them.
#[derive(Clone, Debug)]
struct Families {
    integer: Vec<Op>,
    float: Vec<Op>,
    memory: Vec<Op>,
    amo: Vec<Op>,
}

impl Families {
    fn new() -> Families {
        let of = |accept: fn(Op) -> bool| Op::ALL.iter().copied().filter(|op| accept(*op)).collect();
        Families {
            integer: of(|op| op.flow() == Flow::Next && op.access() == Access::None && !op.needs_fp()),
            float: of(|op| op.access() == Access::None && op.needs_fp()),
            memory: of(|op| matches!(op.access(), Access::Load { .. } | Access::Store { .. })),
            amo: of(|op| matches!(op.access(), Access::Amo { .. })),
        }
    }
}

/// Emits random code. See the module's documentation.
#[derive(Clone, Debug)]
pub struct Generator {
    rng: Rng,
    families: Families,
    pointer: u8,
    constants: u8,
    /// Integer registers that the code must not write now: the owned ones, and counters and links of
    /// enclosing items.
    kept: u32,
    /// Whether loads and stores may cross from one 4 KiB page to the next; needs the pointers' addresses.
    cross: Option<(u64, u64)>,
    self_modifying: bool,
}

/// What [`Generator::new`] needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// Pointer into the data window: one of x8 to x15.
    pub pointer: u8,
    /// Pointer to constants, 2048 bytes to each side: at offsets in [`INTEGERS`] integers, in [`DOUBLES`]
    /// doubles, in [`SINGLES`] boxed singles, 8 bytes each.
    pub constants: u8,
    /// Registers besides sp, `pointer` and `constants` that the code must not write: bit n is xn.
    pub reserved: u32,
    /// Addresses that sp and `pointer` will hold, when no access may cross a page; `None` when it may.
    pub within_page: Option<(u64, u64)>,
    /// Whether the code may patch itself (it then has to lie in writable memory).
    pub self_modifying: bool,
}

impl Generator {
    /// A generator with this seed. A `pointer` outside x8 to x15 is taken into that range. At least eight of
    /// x1 to x31 must stay free, or there is no register left for what the items need.
    pub fn new(seed: u64, registers: Registers) -> Generator {
        let pointer = 8 + registers.pointer % 8;
        Generator {
            rng: Rng::new(seed),
            families: Families::new(),
            pointer,
            constants: registers.constants % 32,
            kept: registers.reserved | 1 << SP | 1 << pointer | 1 << (registers.constants % 32),
            cross: registers.within_page,
            self_modifying: registers.self_modifying,
        }
    }

    /// The registers that the code does not write: bit n is xn.
    pub fn owned(&self) -> u32 {
        self.kept
    }

    /// A block of `items` items.
    pub fn block(&mut self, items: usize) -> Vec<u8> {
        let mut code = Vec::new();
        for _ in 0..items {
            self.item(&mut code, 0);
        }
        code
    }

    fn nested(&mut self, depth: usize, keep: u32) -> Vec<u8> {
        let outer = self.kept;
        self.kept |= keep;
        let mut code = Vec::new();
        for _ in 0..self.rng.between(1, 7) {
            self.item(&mut code, depth + 1);
        }
        self.kept = outer;
        code
    }

    fn item(&mut self, code: &mut Vec<u8>, depth: usize) {
        let total = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.rng.below(total);
        let mut item = Item::Integer;
        for &(kind, weight) in WEIGHTS {
            if at < weight {
                item = kind;
                break;
            }
            at -= weight;
        }
        let leaf = depth >= MAX_DEPTH;
        match item {
            Item::Integer => self.integer(code),
            Item::Float => self.float(code),
            Item::Compressed => self.compressed(code),
            Item::Memory => self.memory(code),
            Item::CompressedMemory => self.compressed_memory(code),
            Item::Amo => self.amo(code),
            Item::Reservation => self.reservation(code),
            Item::FloatCsr => self.float_csr(code),
            Item::MoveSp => self.move_sp(code),
            Item::Patch if self.self_modifying => self.patch(code),
            Item::Skip if !leaf => self.skip(code, depth),
            Item::Jump if !leaf => self.jump(code, depth),
            Item::JumpRegister if !leaf => self.jump_register(code, depth),
            Item::Call if !leaf => self.call(code, depth),
            Item::Loop if !leaf => self.counted_loop(code, depth),
            _ => self.integer(code),
        }
    }

    /// A register to write: any that is not kept, x0 among them.
    fn rd(&mut self) -> u8 {
        loop {
            let n = self.rng.below(32) as u8;
            if self.kept >> n & 1 == 0 {
                return n;
            }
        }
    }

    /// A register to write and rely on, not one of `but`.
    fn scratch(&mut self, but: &[u8]) -> u8 {
        loop {
            let n = self.rd();
            if n != 0 && !but.contains(&n) {
                return n;
            }
        }
    }

    fn any(&mut self) -> u8 {
        self.rng.below(32) as u8
    }

    /// Random operands. Immediates are small half of the time.
    fn fields(&mut self) -> Fields {
        let imm = self.rng.next_u64() as i32;
        Fields {
            rd: self.rd(),
            rs1: self.any(),
            rs2: self.any(),
            rs3: self.any(),
            rm: self.rng.pick(&[0, 1, 2, 3, 4, 7, 7, 7]),
            imm: if self.rng.one_in(2) { imm % 16 } else { imm },
            aq: self.rng.one_in(3),
            rl: self.rng.one_in(3),
        }
    }

    fn integer(&mut self, code: &mut Vec<u8>) {
        let op = self.rng.pick(&self.families.integer);
        let mut fields = self.fields();
        if op == Op::Fence {
            // fm and the reserved fields stay 0: other values are hints that later extensions define.
            fields.imm &= 0xff;
        }
        if self.rng.one_in(5) && op.format().layout().rs1 == Reg::X {
            fields.rs1 = self.scratch(&[]);
            self.fresh(code, Op::Ld, fields.rs1, INTEGERS);
        }
        put(code, op, fields);
    }

    fn float(&mut self, code: &mut Vec<u8>) {
        let op = self.rng.pick(&self.families.float);
        let mut fields = self.fields();
        let layout = op.format().layout();
        if layout.rd == Reg::F {
            fields.rd = self.any();
        }
        // The last letter of the mnemonic is the type of the sources. Now and then they get the wrong one.
        let double = op.mnemonic().ends_with('d') != self.rng.one_in(8);
        let values = if double { DOUBLES } else { SINGLES };
        for (kind, register) in [(layout.rs1, &mut fields.rs1), (layout.rs2, &mut fields.rs2)] {
            if self.rng.one_in(3) {
                continue;
            }
            match kind {
                Reg::F => self.fresh(code, Op::Fld, *register, values.clone()),
                Reg::X => {
                    *register = self.scratch(&[]);
                    self.fresh(code, Op::Ld, *register, INTEGERS);
                }
                _ => {}
            }
        }
        // The flags are sticky: to see those of one instruction, clear them before it and read them after it.
        let flags = |op, rd| (op, Fields { rd, imm: FFLAGS as i32, ..Fields::default() });
        let watch = self.rng.one_in(4);
        if watch {
            let (op, fields) = flags(Op::Csrrwi, 0);
            put(code, op, fields);
        }
        put(code, op, fields);
        if watch {
            let (op, fields) = flags(Op::Csrrs, self.scratch(&[]));
            put(code, op, fields);
        }
    }

    /// Loads a constant.
    fn fresh(&mut self, code: &mut Vec<u8>, op: Op, rd: u8, from: Range<i32>) {
        let imm = from.start + 8 * self.rng.below(from.len() / 8) as i32;
        put(code, op, Fields { rd, rs1: self.constants, imm, ..Fields::default() });
    }

    /// Accesses to fflags, frm and fcsr that never leave a reserved rounding mode in frm.
    fn float_csr(&mut self, code: &mut Vec<u8>) {
        let (rd, any) = (self.rd(), self.any());
        let csr = |op, csr: u16, rs1| (op, Fields { rd, rs1, imm: csr as i32, ..Fields::default() });
        let uimm = self.rng.below(32) as u8;
        let mode = self.rng.below(5) as u8;
        let (op, fields) = match self.rng.below(10) {
            0 => csr(self.rng.pick(&[Op::Csrrw, Op::Csrrs, Op::Csrrc]), FFLAGS, any),
            1 => csr(self.rng.pick(&[Op::Csrrwi, Op::Csrrsi, Op::Csrrci]), FFLAGS, uimm),
            2 => csr(self.rng.pick(&[Op::Csrrs, Op::Csrrc, Op::Csrrsi, Op::Csrrci]), FCSR, 0),
            3 => csr(self.rng.pick(&[Op::Csrrs, Op::Csrrc]), FRM, 0),
            // Clearing bits of 0 to 4 leaves one of 0 to 4.
            4 => csr(Op::Csrrci, FRM, uimm),
            // The immediate forms reach the flags only, or set the mode to 0.
            5 => csr(self.rng.pick(&[Op::Csrrwi, Op::Csrrsi, Op::Csrrci]), FCSR, uimm),
            6 => {
                // Modes 0 to 3 in bits 6:5, or 0 and 4 in bit 7; what lies above is ignored.
                let rs1 = self.scratch(&[]);
                let imm = self.rng.pick(&[0x7f, 0x9f, -0x100 | 0x7f]);
                put(code, Op::Andi, Fields { rd: rs1, rs1, imm, ..Fields::default() });
                csr(Op::Csrrw, FCSR, rs1)
            }
            _ => csr(Op::Csrrwi, FRM, mode),
        };
        put(code, op, fields);
    }

    /// Patches the instruction in front of it back and forth between two, with fence.i between store and
    /// execution. In a loop, the code has been executed in the other form before.
    fn patch(&mut self, code: &mut Vec<u8>) {
        let t = self.scratch(&[]);
        let v = self.scratch(&[t]);
        let w = self.scratch(&[t, v]);
        let none = Fields::default();
        let plain = |g: &mut Self| {
            let op = g.rng.pick(&[Op::Add, Op::Sub, Op::Xori, Op::Slli, Op::Mul, Op::Sltu, Op::Addiw]);
            let fields = g.fields();
            encode(op, &fields)
        };
        let (a, b) = (plain(self), plain(self));
        let delta = (a ^ b) as i32;
        let low = delta << 20 >> 20;
        put(code, Op::Auipc, Fields { rd: t, ..none });
        put(code, Op::Lw, Fields { rd: v, rs1: t, imm: 28, ..none });
        put(code, Op::Lui, Fields { rd: w, imm: delta.wrapping_sub(low), ..none });
        put(code, Op::Addiw, Fields { rd: w, rs1: w, imm: low, ..none });
        put(code, Op::Xor, Fields { rd: v, rs1: v, rs2: w, ..none });
        put(code, Op::Sw, Fields { rs1: t, rs2: v, imm: 28, ..none });
        put(code, Op::FenceI, none);
        code.extend(a.to_le_bytes());
    }
}

/// Appends an instruction.
fn put(code: &mut Vec<u8>, op: Op, fields: Fields) {
    code.extend(encode(op, &fields).to_le_bytes());
}

/// The compressed form of an instruction, if it has one.
pub fn shorten(op: Op, fields: &Fields) -> Option<u16> {
    CROWS
        .iter()
        .filter(|row| row.expands.is_some_and(|(to, _)| to == op))
        .find_map(|row| encode_compressed(row, fields))
}

/// Appends an instruction, compressed if possible.
fn put_short(code: &mut Vec<u8>, op: Op, fields: Fields) {
    match shorten(op, &fields) {
        Some(half) => code.extend(half.to_le_bytes()),
        None => put(code, op, fields),
    }
}
