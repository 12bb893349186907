//! Short pieces of code, written in Rust with [`forelift_isa`]'s encoder.

use forelift_isa::rv64::{Fields, Op, encode, random::shorten};

/// Register numbers by the names of the calling convention.
#[allow(missing_docs, reason = "the names are the manual's")]
pub mod reg {
    pub const ZERO: u8 = 0;
    pub const RA: u8 = 1;
    pub const SP: u8 = 2;
    pub const T0: u8 = 5;
    pub const T1: u8 = 6;
    pub const T2: u8 = 7;
    pub const S0: u8 = 8;
    pub const S1: u8 = 9;
    pub const A0: u8 = 10;
    pub const A1: u8 = 11;
    pub const A2: u8 = 12;
    pub const A3: u8 = 13;
    pub const A6: u8 = 16;
    pub const A7: u8 = 17;
}

/// Code under construction.
#[derive(Clone, Debug, Default)]
pub struct Asm {
    /// The code so far.
    pub bytes: Vec<u8>,
}

impl Asm {
    /// No code yet.
    pub fn new() -> Self {
        Asm::default()
    }

    /// Offset of the next instruction.
    pub fn here(&self) -> i32 {
        self.bytes.len() as i32
    }

    /// Appends an instruction.
    pub fn op(&mut self, op: Op, fields: Fields) -> &mut Self {
        self.word(encode(op, &fields))
    }

    /// Appends an instruction in its compressed form.
    ///
    /// # Panics
    /// When it has none.
    pub fn short(&mut self, op: Op, fields: Fields) -> &mut Self {
        let half = shorten(op, &fields).unwrap_or_else(|| panic!("{op:?} {fields:?} has no compressed form"));
        self.bytes.extend(half.to_le_bytes());
        self
    }

    /// Appends 32 bits.
    pub fn word(&mut self, word: u32) -> &mut Self {
        self.bytes.extend(word.to_le_bytes());
        self
    }

    /// `rd = rs1 op imm`, also loads, and jumps through a register.
    pub fn i(&mut self, op: Op, rd: u8, rs1: u8, imm: i32) -> &mut Self {
        self.op(op, Fields { rd, rs1, imm, ..Fields::default() })
    }

    /// `rd = rs1 op rs2`, also AMO and `sc`.
    pub fn r(&mut self, op: Op, rd: u8, rs1: u8, rs2: u8) -> &mut Self {
        self.op(op, Fields { rd, rs1, rs2, ..Fields::default() })
    }

    /// A store of `rs2`.
    pub fn s(&mut self, op: Op, rs2: u8, rs1: u8, imm: i32) -> &mut Self {
        self.op(op, Fields { rs1, rs2, imm, ..Fields::default() })
    }

    /// A branch to the offset `to` in this code.
    pub fn b(&mut self, op: Op, rs1: u8, rs2: u8, to: i32) -> &mut Self {
        let imm = to - self.here();
        self.op(op, Fields { rs1, rs2, imm, ..Fields::default() })
    }

    /// `jal` to the offset `to` in this code.
    pub fn jal(&mut self, rd: u8, to: i32) -> &mut Self {
        let imm = to - self.here();
        self.op(Op::Jal, Fields { rd, imm, ..Fields::default() })
    }

    /// A CSR instruction; `rs1` is the immediate of the immediate forms.
    pub fn csr(&mut self, op: Op, rd: u8, csr: u16, rs1: u8) -> &mut Self {
        self.op(op, Fields { rd, rs1, imm: i32::from(csr), ..Fields::default() })
    }

    /// An instruction without operands.
    pub fn bare(&mut self, op: Op) -> &mut Self {
        self.op(op, Fields::default())
    }

    /// `rd = value`, in as many instructions as it takes.
    pub fn li(&mut self, rd: u8, value: i64) -> &mut Self {
        if let Ok(small) = i32::try_from(value) {
            let low = small << 20 >> 20;
            let high = small.wrapping_sub(low);
            if high == 0 {
                return self.i(Op::Addi, rd, 0, low);
            }
            self.op(Op::Lui, Fields { rd, imm: high, ..Fields::default() });
            return self.i(Op::Addiw, rd, rd, low);
        }
        let low = value << 52 >> 52;
        self.li(rd, value.wrapping_sub(low) >> 12);
        self.i(Op::Slli, rd, rd, 12);
        self.i(Op::Addi, rd, rd, low as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Machine, Asm, reg};
    use forelift_abi::layout::RAM_BASE;
    use forelift_isa::rv64::{Op, random::Rng};
    use forelift_runtime::cpu::rv64::{Exit, state::Privilege};

    #[test]
    fn li_gives_every_value() {
        let mut m = Machine::new(1 << 20);
        m.catch_exceptions(Privilege::Supervisor);
        let mut rng = Rng::new(1);
        let odd = [
            0,
            -1,
            2047,
            2048,
            -2048,
            -2049,
            0x7fff_ffff,
            0x7fff_f800,
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ];
        let random = (0..200).map(|n| rng.next_u64() as i64 >> (n % 60));
        for value in odd.into_iter().chain(random.collect::<Vec<_>>()) {
            let mut code = Asm::new();
            code.li(reg::A0, value).bare(Op::Ebreak);
            m.put(RAM_BASE, &code.bytes);
            m.cpu.hart.pc = RAM_BASE;
            assert!(matches!(m.run(100), Exit::Trap { cause: 3, .. }));
            assert_eq!(m.cpu.hart.x[10] as i64, value);
        }
    }
}
