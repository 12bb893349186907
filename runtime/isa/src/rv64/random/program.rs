//! A whole random program: loads every register, runs chunks of random code, and writes what became of them.
//!
//! The program is position-dependent (pointers are values too) and needs nothing but an environment that
//!
//! - has the image at [`Program::base`], readable, writable and executable, zeros after it up to
//!   [`Program::size`];
//! - starts at [`Program::entry`] in user mode with the FPU on, all else undefined;
//! - serves `ecall` for a7 = 64, write(a0 = 1, a1, a2), the result in a0, and for a7 = 93, exit(a0).
//!
//! It loads its operands from the window and from a page of constants after it. It writes
//! [`Program::output`] to file descriptor 1: one state of [`STATE_BYTES`] bytes after each chunk, then the
//! data window. It exits with 0, or with 1 when a write failed.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::ops::Range;

use super::values::{double, integer, single, value};
use super::{Generator, REACH, Registers, Rng, SP, put};
use crate::rv64::csr::FCSR;
use crate::rv64::decode::{decode, length};
use crate::rv64::encode::Fields;
use crate::rv64::op::Op;

/// Size of a state: 64 little-endian doublewords: fcsr, x1 to x31, f0 to f31.
pub const STATE_BYTES: usize = 512;
const PAGE: u64 = 4096;
/// Data window: the pointer sits in its middle, sp in the middle of its first half.
const WINDOW: u64 = 2 * PAGE;
const _: () = assert!(REACH <= WINDOW / 2 && WINDOW / 4 + REACH <= WINDOW && PAGE / 2 + REACH <= WINDOW);

/// What program to make.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides everything that the other options leave open.
    pub seed: u64,
    /// Number of chunks of random code.
    pub chunks: usize,
    /// Items in a chunk (see [`super`]); one is about four instructions in the code, more when it loops.
    pub items: usize,
    /// Whether loads and stores may cross a page boundary.
    pub cross_pages: bool,
    /// Whether the code may patch itself.
    pub self_modifying: bool,
    /// Address of the image: a multiple of 4096.
    pub base: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            seed: 0,
            chunks: 128,
            items: 40,
            cross_pages: true,
            self_modifying: true,
            base: 0x8010_0000,
        }
    }
}

/// A program as it lies in memory.
#[derive(Clone, Debug)]
pub struct Program {
    /// Address of the image.
    pub base: u64,
    /// Address of the first instruction.
    pub entry: u64,
    /// The image: code and data.
    pub image: Vec<u8>,
    /// Bytes of memory that the program needs from `base`.
    pub size: u64,
    /// Addresses of what it writes to file descriptor 1.
    pub output: Range<u64>,
    /// Addresses of each chunk's code, without the code that stores the state after it.
    pub chunks: Vec<Range<u64>>,
}

/// Loads the address `target` (an offset from the image's start, as is `code.len()`).
fn load_address(code: &mut Vec<u8>, rd: u8, target: usize) {
    let delta = (target as i64 - code.len() as i64) as i32;
    let low = delta << 20 >> 20;
    put(code, Op::Auipc, Fields { rd, imm: delta.wrapping_sub(low), ..Fields::default() });
    put(code, Op::Addi, Fields { rd, rs1: rd, imm: low, ..Fields::default() });
}

/// Loads all registers from the table at offset `table`, which is laid out like a state.
fn prologue(code: &mut Vec<u8>, table: usize) {
    let none = Fields::default();
    load_address(code, 1, table);
    put(code, Op::Ld, Fields { rd: 2, rs1: 1, ..none });
    put(code, Op::Csrrw, Fields { rs1: 2, imm: FCSR as i32, ..none });
    for n in 0..32u8 {
        put(code, Op::Fld, Fields { rd: n, rs1: 1, imm: 256 + 8 * n as i32, ..none });
    }
    for n in (1..32u8).rev() {
        put(code, Op::Ld, Fields { rd: n, rs1: 1, imm: 8 * n as i32, ..none });
    }
}

/// Stores the state where register `out` points to, and moves that on.
fn dump(code: &mut Vec<u8>, out: u8) {
    let none = Fields { rs1: out, ..Fields::default() };
    for n in 1..32u8 {
        put(code, Op::Sd, Fields { rs2: n, imm: 8 * n as i32, ..none });
    }
    for n in 0..32u8 {
        put(code, Op::Fsd, Fields { rs2: n, imm: 256 + 8 * n as i32, ..none });
    }
    let t = if out == 1 { 3 } else { 1 };
    put(code, Op::Csrrs, Fields { rd: t, rs1: 0, imm: FCSR as i32, ..none });
    put(code, Op::Sd, Fields { rs2: t, ..none });
    put(code, Op::Ld, Fields { rd: t, imm: 8 * t as i32, ..none });
    put(code, Op::Addi, Fields { rd: out, imm: STATE_BYTES as i32, ..none });
}

/// Writes the output and exits. Linux system calls 64 (write) and 93 (exit).
fn epilogue(code: &mut Vec<u8>, output: Range<usize>) {
    let (a0, a1, a2, a7) = (10u8, 11u8, 12u8, 17u8);
    let none = Fields::default();
    let li = |code: &mut Vec<u8>, rd, imm| put(code, Op::Addi, Fields { rd, imm, ..none });
    load_address(code, a1, output.start);
    load_address(code, a2, output.end);
    put(code, Op::Sub, Fields { rd: a2, rs1: a2, rs2: a1, ..none });
    let head = code.len();
    li(code, a7, 64);
    li(code, a0, 1);
    put(code, Op::Ecall, none);
    // Error or nothing written: to the exit with 1, seven instructions on.
    put(code, Op::Bge, Fields { rs1: 0, rs2: a0, imm: 28, ..none });
    put(code, Op::Add, Fields { rd: a1, rs1: a1, rs2: a0, ..none });
    put(code, Op::Sub, Fields { rd: a2, rs1: a2, rs2: a0, ..none });
    let back = head as i32 - code.len() as i32;
    put(code, Op::Bne, Fields { rs1: a2, imm: back, ..none });
    li(code, a7, 93);
    li(code, a0, 0);
    put(code, Op::Ecall, none);
    li(code, a7, 93);
    li(code, a0, 1);
    put(code, Op::Ecall, none);
    put(code, Op::Ebreak, none);
}

impl Program {
    /// Makes the program of these options.
    pub fn random(options: &Options) -> Program {
        let mut rng = Rng::new(options.seed ^ 0x666f_7265_6c69_6674);
        let pointer = 8 + rng.below(8) as u8;
        // Two more, any others of x3 to x31.
        let mut free: Vec<u8> = (3..32).filter(|n| *n != pointer).collect();
        let out = free.swap_remove(rng.below(free.len()));
        let constants = rng.pick(&free);
        // Sizes of the fixed parts do not depend on the addresses in them.
        let (mut code, mut end) = (Vec::new(), Vec::new());
        prologue(&mut code, 0);
        epilogue(&mut end, 0..0);
        // Where sp and the pointer lie in a page is known before where the page is.
        let within_page = (!options.cross_pages).then_some((PAGE / 2, 0));
        let self_modifying = options.self_modifying;
        let registers = Registers { pointer, constants, reserved: 1 << out, within_page, self_modifying };
        let mut generator = Generator::new(rng.next_u64(), registers);
        let mut chunks = Vec::new();
        for _ in 0..options.chunks {
            let start = options.base + code.len() as u64;
            code.extend(generator.block(options.items));
            chunks.push(start..options.base + code.len() as u64);
            dump(&mut code, out);
        }
        let up = |n: u64| n.next_multiple_of(PAGE) as usize;
        let states = options.chunks * STATE_BYTES;
        // Data never shares a page with code: a store there would look like self-modification.
        let table = up((code.len() + end.len()) as u64);
        let window = up((table + STATE_BYTES + states) as u64);
        let output = window - states..window + WINDOW as usize;
        end.clear();
        prologue(&mut end, table);
        code[..end.len()].copy_from_slice(&end);
        epilogue(&mut code, output.clone());

        let address = |offset: usize| options.base + offset as u64;
        code.resize(table, 0);
        for n in 0..64u8 {
            let word = match n {
                0 => u64::from(rng.pick(&[0u8, 0, 1, 2, 3, 4])) << 5 | rng.next_u64() & 31,
                SP => address(window) + PAGE / 2,
                n if n == pointer => address(window) + PAGE,
                n if n == out => address(output.start),
                n if n == constants => address(output.end) + PAGE / 2,
                32..48 => double(&mut rng),
                48.. => single(&mut rng),
                _ => integer(&mut rng),
            };
            code.extend(word.to_le_bytes());
        }
        code.resize(window, 0);
        while code.len() < output.end {
            code.extend(value(&mut rng).to_le_bytes());
        }
        for offset in (-2048..2048).step_by(8) {
            let word = match offset {
                n if super::INTEGERS.contains(&n) => integer(&mut rng),
                n if super::DOUBLES.contains(&n) => double(&mut rng),
                _ => single(&mut rng),
            };
            code.extend(word.to_le_bytes());
        }
        Program {
            base: options.base,
            entry: options.base,
            size: code.len() as u64,
            output: address(output.start)..address(output.end),
            image: code,
            chunks,
        }
    }

    /// The program as a static Linux executable.
    pub fn elf(&self) -> Vec<u8> {
        crate::rv64::elf::executable(self.base, self.entry, &self.image, self.size)
    }

    /// Compares two outputs of this program: `None` when they are equal, else where they differ first, and
    /// the code of the chunk that made the difference.
    pub fn difference(&self, ours: &[u8], reference: &[u8]) -> Option<String> {
        if ours == reference {
            return None;
        }
        let mut text = String::new();
        let lengths = (ours.len(), reference.len());
        if lengths.0 != lengths.1 {
            text += &format!("{} bytes of output, the reference has {}\n", lengths.0, lengths.1);
        }
        let words = |bytes: &[u8], n: usize| {
            let bytes = bytes.get(8 * n..8 * n + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let total = lengths.0.min(lengths.1) / 8;
        let Some(first) = (0..total).find(|n| words(ours, *n) != words(reference, *n)) else {
            return Some(text);
        };
        let chunk = 8 * first / STATE_BYTES;
        let Some(range) = self.chunks.get(chunk) else {
            let at = self.output.start + 8 * first as u64;
            text += &format!("memory at {at:#x} differs, no register does\n");
            return Some(text);
        };
        text += &format!("after chunk {chunk}:\n");
        for n in 0..64 {
            let at = chunk * 64 + n;
            let (a, b) = (words(ours, at), words(reference, at));
            if let (Some(a), Some(b)) = (a, b)
                && a != b
            {
                let name = match n {
                    0 => String::from("fcsr"),
                    1..32 => format!("x{n}"),
                    _ => format!("f{}", n - 32),
                };
                text += &format!("  {name:<4} {a:#018x}, the reference has {b:#018x}\n");
            }
        }
        self.list(range.clone(), &mut text);
        Some(text)
    }

    /// Appends the disassembly of `range`.
    fn list(&self, range: Range<u64>, text: &mut String) {
        let mut pc = range.start;
        while pc < range.end {
            let at = (pc - self.base) as usize;
            let Some(bytes) = self.image.get(at..at + 4) else { return };
            let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            // Writing to a String cannot fail.
            let _ = match decode(word) {
                Some(insn) => writeln!(text, "  {pc:x}:\t{}", insn.disassemble(pc)),
                None => writeln!(text, "  {pc:x}:\tillegal {word:#x}"),
            };
            pc += length(word as u16) as u64;
        }
    }
}
