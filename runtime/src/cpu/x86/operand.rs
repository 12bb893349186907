//! Operands of a decoded instruction: registers, addresses, immediates.
//!
//! Instructions are decoded as if their page lay at address 0: `rip`-relative addresses and targets of
//! branches are offsets from the page's address, which is in the [`PAGE`] slot of the register file.

use super::Context;
use super::fault::{Fault, Res, SS as STACK_FAULT};
use super::flags::sign_extend;
use super::mmu::is_canonical;
use super::state::{CS, DS, ES, FS, GS, PAGE, SS, Segment, Vcpu};
use iced_x86::{ConditionCode, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register};

/// Number (0-15) of a general-purpose register of any size; AH, CH, DH and BH give 0 to 3.
pub(crate) fn number(register: Register) -> usize {
    match register {
        Register::AH | Register::CH | Register::DH | Register::BH => {
            register as usize - Register::AH as usize
        }
        // After those four: SPL to R15L.
        _ if register >= Register::SPL && register <= Register::R15L => {
            register as usize - Register::SPL as usize + 4
        }
        _ => register.number() & 15,
    }
}

/// Whether the register is AH, CH, DH or BH.
pub(crate) fn is_high(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}

/// Index of a segment register.
pub(crate) fn segment(register: Register) -> usize {
    match register {
        Register::ES => ES,
        Register::CS => CS,
        Register::SS => SS,
        Register::FS => FS,
        Register::GS => GS,
        _ => DS,
    }
}

/// Whether the instruction writes its memory operand. (Slow: for what is rare.)
fn writes_memory(i: &Instruction) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let reads = [OpAccess::None, OpAccess::Read, OpAccess::CondRead, OpAccess::NoMemAccess];
    factory.info(i).used_memory().iter().any(|memory| !reads.contains(&memory.access()))
}

/// Number of the condition, as in `jcc`'s opcode.
pub(crate) fn condition(i: &Instruction) -> u8 {
    (i.condition_code() as u8).wrapping_sub(ConditionCode::o as u8) & 15
}

/// Mask of the low `size` bytes.
pub(crate) fn mask(size: usize) -> u64 {
    u64::MAX >> (64 - 8 * size.clamp(1, 8))
}

impl Vcpu {
    /// Value of a general-purpose register, zero-extended.
    pub(crate) fn gpr(&self, register: Register) -> u64 {
        let value = self.r[number(register)];
        match register.size() {
            8 => value,
            4 => value & 0xffff_ffff,
            2 => value & 0xffff,
            _ if is_high(register) => value >> 8 & 0xff,
            _ => value & 0xff,
        }
    }

    /// Writes a general-purpose register: 32 bits clear the upper half, 8 and 16 leave the rest.
    pub(crate) fn set_gpr(&mut self, register: Register, value: u64) {
        let slot = &mut self.r[number(register)];
        *slot = match register.size() {
            8 => value,
            4 => value & 0xffff_ffff,
            2 => *slot & !0xffff | value & 0xffff,
            _ if is_high(register) => *slot & !0xff00 | (value & 0xff) << 8,
            _ => *slot & !0xff | value & 0xff,
        };
    }

    /// Value of an XMM register.
    pub(crate) fn xmm(&self, register: Register) -> u128 {
        let [low, high] = self.xmm[register.number() & 15];
        u128::from(low) | u128::from(high) << 64
    }

    /// Writes an XMM register.
    pub(crate) fn set_xmm(&mut self, register: Register, value: u128) {
        self.xmm[register.number() & 15] = [value as u64, (value >> 64) as u64];
    }
}

impl Context<'_> {
    /// Address of the instruction after `i`.
    pub(crate) fn next_rip(&self, i: &Instruction) -> u64 {
        self.code_address(i.next_ip())
    }

    /// A place in the code, given relative to the page: `eip` wraps at 32 bits outside of 64-bit mode.
    pub(crate) fn code_address(&self, offset: u64) -> u64 {
        let address = self.vcpu.r[PAGE].wrapping_add(offset);
        if self.vcpu.long { address } else { address & 0xffff_ffff }
    }

    /// Size of the address in bytes: 8, 4 or 2.
    pub(crate) fn address_size(&self, i: &Instruction) -> usize {
        let register = if i.memory_base() == Register::None { i.memory_index() } else { i.memory_base() };
        match register {
            Register::None => match i.memory_displ_size() {
                8 => 8,
                2 => 2,
                _ => 4,
            },
            _ => register.size(),
        }
    }

    /// Effective address (offset in the segment) of the memory operand: what `lea` gives.
    pub(crate) fn effective_address(&self, i: &Instruction) -> u64 {
        let displacement = i.memory_displacement64();
        let base = match i.memory_base() {
            Register::None => 0,
            Register::RIP | Register::EIP => self.vcpu.r[PAGE],
            register => self.vcpu.gpr(register),
        };
        let index = match i.memory_index() {
            Register::None => 0,
            register => self.vcpu.gpr(register) << i.memory_index_scale().trailing_zeros(),
        };
        base.wrapping_add(index).wrapping_add(displacement) & mask(self.address_size(i))
    }

    /// Linear address of the memory operand. In 64-bit mode, a check that it is canonical (SDM vol. 3 5.3.1).
    pub(crate) fn linear_address(&self, i: &Instruction) -> Res<u64> {
        let (segment, offset) = (self.memory_segment(i), self.effective_address(i));
        let address = self.linear(segment, offset, i.memory_size().size())?;
        if !self.vcpu.long && segment == CS && writes_memory(i) {
            return Err(Fault::gp());
        }
        Ok(address)
    }

    /// In compatibility mode: whether `size` bytes at `offset` are inside of a segment that can be used (SDM
    /// vol. 3 5.3, 5.5).
    fn check_segment(&self, number: usize, offset: u64, size: usize) -> Res<()> {
        let segment = &self.vcpu.segments[number];
        let (limit, last) = (u64::from(segment.limit), offset + size.max(1) as u64 - 1);
        let expands_down = segment.attributes & 0x1c == 0x14;
        let inside = if expands_down {
            let top = if segment.attributes & Segment::BIG != 0 { 0xffff_ffff } else { 0xffff };
            offset > limit && last <= top
        } else {
            last <= limit
        };
        if segment.attributes & Segment::PRESENT != 0 && inside {
            return Ok(());
        }
        Err(if number == SS { Fault::with_code(STACK_FAULT, 0) } else { Fault::gp() })
    }

    /// Index of the memory operand's segment register. 64-bit mode knows no overrides but FS and GS (SDM vol.
    /// 1 3.3.7.1): the default decides between #SS and #GP.
    pub(crate) fn memory_segment(&self, i: &Instruction) -> usize {
        let named = segment(i.memory_segment());
        if !self.vcpu.long || named >= FS || !i.has_segment_prefix() {
            return named;
        }
        let base = i.memory_base();
        if base.is_gpr() && matches!(base.full_register(), Register::RSP | Register::RBP) { SS } else { DS }
    }

    /// Linear address of `size` bytes at `offset` in a segment.
    pub(crate) fn linear(&self, segment: usize, offset: u64, size: usize) -> Res<u64> {
        let address = self.vcpu.segment_base(segment).wrapping_add(offset);
        if !self.vcpu.long {
            self.check_segment(segment, offset, size)?;
            return Ok(address & 0xffff_ffff);
        }
        if is_canonical(address) && is_canonical(address.wrapping_add(size.max(1) as u64 - 1)) {
            return Ok(address);
        }
        Err(if segment == SS { Fault::with_code(STACK_FAULT, 0) } else { Fault::gp() })
    }

    /// Size of operand `n` in bytes.
    pub(crate) fn operand_size(i: &Instruction, n: u32) -> usize {
        match i.op_kind(n) {
            OpKind::Register => i.op_register(n).size(),
            OpKind::Memory
            | OpKind::MemorySegSI
            | OpKind::MemorySegESI
            | OpKind::MemorySegRSI
            | OpKind::MemoryESDI
            | OpKind::MemoryESEDI
            | OpKind::MemoryESRDI
            | OpKind::MemorySegDI
            | OpKind::MemorySegEDI
            | OpKind::MemorySegRDI => i.memory_size().size(),
            OpKind::Immediate8 | OpKind::Immediate8_2nd => 1,
            OpKind::Immediate16 | OpKind::Immediate8to16 => 2,
            OpKind::Immediate32 | OpKind::Immediate8to32 => 4,
            _ => 8,
        }
    }

    /// Reads operand `n`: a general-purpose register, memory of up to 8 bytes, or an immediate (sign-extended
    /// where the instruction extends it). Zero-extended from its size.
    pub(crate) fn read(&mut self, i: &Instruction, n: u32) -> Res<u64> {
        match i.op_kind(n) {
            OpKind::Register => Ok(self.vcpu.gpr(i.op_register(n))),
            OpKind::Memory => {
                let address = self.linear_address(i)?;
                self.load(address, i.memory_size().size())
            }
            _ => Ok(i.immediate(n)),
        }
    }

    /// Reads operand `n`, sign-extended.
    pub(crate) fn read_signed(&mut self, i: &Instruction, n: u32) -> Res<u64> {
        let log2 = Self::operand_size(i, n).trailing_zeros();
        self.read(i, n).map(|value| sign_extend(value, log2))
    }

    /// Reads operand `n`, which the instruction will write: faults are those of a store.
    pub(crate) fn read_for_write(&mut self, i: &Instruction, n: u32) -> Res<u64> {
        match i.op_kind(n) {
            OpKind::Memory => {
                let address = self.linear_address(i)?;
                self.load_for_store(address, i.memory_size().size())
            }
            _ => self.read(i, n),
        }
    }

    /// Writes operand `n`: a general-purpose register or memory of up to 8 bytes.
    pub(crate) fn write(&mut self, i: &Instruction, n: u32, value: u64) -> Res<()> {
        match i.op_kind(n) {
            OpKind::Register => {
                self.vcpu.set_gpr(i.op_register(n), value);
                Ok(())
            }
            _ => {
                let address = self.linear_address(i)?;
                self.store(address, i.memory_size().size(), value)
            }
        }
    }
}
