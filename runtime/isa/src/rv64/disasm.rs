//! Disassembler. The text is that of `objdump -M no-aliases,numeric` (binutils 2.40) without its comments, so
//! that the two can be compared; a compressed instruction is shown as such, not as what it expands to.

use core::fmt;

use super::csr;
use super::decode::{Insn, compressed_row};
use super::format::{CFormat, Format, Reg};
use super::op::Op;

/// Displays an instruction; made by [`Insn::disassemble`].
#[derive(Clone, Copy, Debug)]
pub struct Disassembly {
    insn: Insn,
    pc: u64,
}

impl Insn {
    /// The instruction's text: mnemonic, a tab, operands. `pc` is its address, for the targets of branches
    /// and jumps.
    pub fn disassemble(&self, pc: u64) -> Disassembly {
        Disassembly { insn: *self, pc }
    }
}

/// A register with the letter of its file.
struct R(Reg, u8);

impl fmt::Display for R {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.0 == Reg::F { 'f' } else { 'x' }, self.1)
    }
}

/// The four bits of fence's predecessor or successor set.
struct FenceSet(i32);

impl fmt::Display for FenceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & 15 == 0 {
            return f.write_str("unknown");
        }
        for (bit, letter) in [(8, 'i'), (4, 'o'), (2, 'r'), (1, 'w')] {
            if self.0 & bit != 0 {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// A CSR by name, else by number.
struct Csr(i32);

impl fmt::Display for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (csr::name(self.0 as u16), self.0) {
            (Some(name), _) => f.write_str(name),
            (None, n @ 0xc03..=0xc1f) => write!(f, "hpmcounter{}", n - 0xc00),
            (None, n) => write!(f, "{n:#x}"),
        }
    }
}

/// `,rne` and so on; the dynamic mode is not written.
struct Rm(u8);

impl fmt::Display for Rm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str([",rne", ",rtz", ",rdn", ",rup", ",rmm", ",?", ",?", ""][self.0 as usize & 7])
    }
}

impl fmt::Display for Disassembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.insn.len == 2 { self.compressed(f) } else { self.wide(f) }
    }
}

impl Disassembly {
    fn target(&self) -> u64 {
        self.pc.wrapping_add_signed(self.insn.imm as i64)
    }

    fn wide(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let i = &self.insn;
        let imm = i.imm;
        let layout = i.op.format().layout();
        let (rd, rs1) = (R(layout.rd, i.rd), R(layout.rs1, i.rs1));
        let (rs2, rs3) = (R(layout.rs2, i.rs2), R(layout.rs3, i.rs3));
        let rm = Rm(i.rm);
        // fence.tso is fence with fm = 8 and no choice of sets (unprivileged manual, "Memory Ordering
        // Instructions").
        if i.op == Op::Fence && i.raw == 0x8330_000f {
            return f.write_str("fence.tso");
        }
        f.write_str(i.op.mnemonic())?;
        match i.op.format() {
            Format::Bare => Ok(()),
            Format::U => write!(f, "\t{rd},{:#x}", imm as u32 >> 12),
            Format::J => write!(f, "\t{rd},{:#x}", self.target()),
            Format::B => write!(f, "\t{rs1},{rs2},{:#x}", self.target()),
            Format::I => write!(f, "\t{rd},{rs1},{imm}"),
            Format::Load | Format::FLoad => write!(f, "\t{rd},{imm}({rs1})"),
            Format::Store | Format::FStore => write!(f, "\t{rs2},{imm}({rs1})"),
            Format::Shift6 | Format::Shift5 => write!(f, "\t{rd},{rs1},{imm:#x}"),
            Format::R | Format::F2 | Format::FCmp => write!(f, "\t{rd},{rs1},{rs2}"),
            Format::Fence => write!(f, "\t{},{}", FenceSet(imm >> 4), FenceSet(imm)),
            Format::Amo | Format::Lr => {
                f.write_str(match i.aq_rl() {
                    (false, false) => "",
                    (true, false) => ".aq",
                    (false, true) => ".rl",
                    (true, true) => ".aqrl",
                })?;
                if i.op.format() == Format::Lr {
                    write!(f, "\t{rd},({rs1})")
                } else {
                    write!(f, "\t{rd},{rs2},({rs1})")
                }
            }
            Format::F4 => write!(f, "\t{rd},{rs1},{rs2},{rs3}{rm}"),
            Format::F2Rm => write!(f, "\t{rd},{rs1},{rs2}{rm}"),
            // Conversions to double that cannot round: objdump takes rm = 0 only and does not show it.
            Format::F1Rm | Format::FXRm if matches!(i.op, Op::FcvtDS | Op::FcvtDW | Op::FcvtDWu) => {
                write!(f, "\t{rd},{rs1}")
            }
            Format::F1Rm | Format::XFRm | Format::FXRm => write!(f, "\t{rd},{rs1}{rm}"),
            Format::XF | Format::FX => write!(f, "\t{rd},{rs1}"),
            Format::Csr => write!(f, "\t{rd},{},{rs1}", Csr(imm)),
            Format::CsrI => write!(f, "\t{rd},{},{}", Csr(imm), i.rs1),
            Format::Sfence => write!(f, "\t{rs1},{rs2}"),
        }
    }

    fn compressed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let i = &self.insn;
        let Some(row) = compressed_row(i.raw as u16) else {
            return f.write_str("reserved");
        };
        f.write_str(row.mnemonic)?;
        let Some((op, format)) = row.expands else {
            return Ok(());
        };
        let imm = i.imm;
        let layout = op.format().layout();
        let (rd, rs1, rs2) = (R(layout.rd, i.rd), R(layout.rs1, i.rs1), R(layout.rs2, i.rs2));
        match format {
            CFormat::Bare => Ok(()),
            CFormat::Addi4spn => write!(f, "\t{rd},{rs1},{imm}"),
            CFormat::LoadW | CFormat::LoadD | CFormat::LoadSpW | CFormat::LoadSpD => {
                write!(f, "\t{rd},{imm}({rs1})")
            }
            CFormat::StoreW | CFormat::StoreD | CFormat::StoreSpW | CFormat::StoreSpD => {
                write!(f, "\t{rs2},{imm}({rs1})")
            }
            CFormat::Imm | CFormat::Li | CFormat::Addi16sp | CFormat::ImmP => write!(f, "\t{rd},{imm}"),
            CFormat::Lui => write!(f, "\t{rd},{:#x}", imm as u32 >> 12),
            CFormat::Shift | CFormat::ShiftP => write!(f, "\t{rd},{imm:#x}"),
            CFormat::RegP | CFormat::Move | CFormat::Reg => write!(f, "\t{rd},{rs2}"),
            CFormat::Jump => write!(f, "\t{:#x}", self.target()),
            CFormat::Branch => write!(f, "\t{rs1},{:#x}", self.target()),
            CFormat::JumpReg | CFormat::CallReg => write!(f, "\t{rs1}"),
        }
    }
}
