//! RV64GC: RV64IMAFDC, Zicsr, Zifencei, and the supervisor's sret, wfi and sfence.vma.
//!
//! The machine has S and U mode only: `mret` and everything of later extensions are illegal instructions.

pub mod csr;
mod decode;
mod disasm;
pub mod elf;
mod encode;
mod format;
mod op;
pub mod random;
mod table;

pub use decode::{CROWS, CRow, Insn, Regs, compressed_row, decode, length};
pub use disasm::Disassembly;
pub use encode::{Fields, encode, encode_compressed};
pub use format::{CFormat, CLayout, CReg, Format, Layout, Piece, Reg};
pub use op::{Access, Flow, Op, ROWS, Row};
