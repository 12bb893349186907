//! Cases for one form of an instruction.

mod address;
mod special;
pub mod values;

pub use special::location;

use crate::case::{Case, Mode, RSP, State};
use crate::forms;
use crate::layout::{CODE, CODE_SIZE, DATA_SIZE, MEMORY_SIZE, PAGE, STACK, STACK_SIZE};
use crate::random::Random;
use iced_x86::{
    Code, Decoder, DecoderOptions, Encoder, FlowControl, Instruction, MemorySize, Mnemonic,
    OpCodeOperandKind, OpKind, Register,
};
use std::sync::OnceLock;

/// A case of one instruction, and that instruction as it will be decoded.
#[derive(Clone)]
pub struct Single {
    /// What is executed.
    pub case: Case,
    /// The instruction.
    pub instruction: Instruction,
}

const PREFIXES: [u8; 11] = [0x66, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0xf0, 0x67];

/// Tries to make a case; `None` when what was drawn does not go together.
pub fn single(code: Code, mode: Mode, r: &mut Random) -> Option<Single> {
    let mut case = Case::new(mode, &[]);
    fill(&mut case.memory, r);
    case.state = values::state(mode, r);
    case.state.r[RSP] = stack_pointer(r);
    case.code_at = match r.below(20) {
        0 => PAGE as usize - r.below(8) as usize - 1,
        1 => CODE_SIZE - r.below(8) as usize - 1,
        _ => r.below(CODE_SIZE as u64 - 32) as usize,
    };
    case.state.rip = CODE + case.code_at as u64;
    let mut draft =
        Draft { r, mode, code, state: &mut case.state, targets: Vec::new(), index: None, tame: false };
    let instruction = draft.instruction()?;
    let targets = draft.targets;
    let mut encoder = Encoder::new(mode.bits());
    encoder.encode(&instruction, case.state.rip).ok()?;
    case.code = encoder.take_buffer();
    if r.chance(3) {
        let prefix = r.pick(&PREFIXES);
        case.code.insert(0, prefix);
    }
    let mut decoder = Decoder::with_ip(mode.bits(), &case.code, case.state.rip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() || instruction.len() != case.code.len() {
        return None;
    }
    let has =
        |prefixes: &[u8]| case.code.iter().take_while(|b| PREFIXES.contains(b)).any(|b| prefixes.contains(b));
    // AMD's processors take the operand size of near branches as 16 bits then, Intel's ignore the prefix.
    if mode == Mode::Long && instruction.flow_control() != FlowControl::Next && has(&[0x66]) {
        return None;
    }
    // SDM vol. 2 CVTPI2PS: begins MMX's use of the x87 registers. AMD's processors do not for an operand in
    // memory.
    if instruction.mnemonic() == Mnemonic::Cvtpi2ps && instruction.op1_kind() == OpKind::Memory {
        return None;
    }
    // The interpreter knows flat segments only: that the code segment cannot be written is not checked.
    if mode == Mode::Compat && instruction.segment_prefix() == Register::CS {
        return None;
    }
    // Operands that `special` places are out of the reach of 16 bits.
    let placed = instruction.is_string_instruction()
        || matches!(instruction.mnemonic(), Mnemonic::Maskmovq | Mnemonic::Maskmovdqu);
    if placed && has(&[0x67]) && mode == Mode::Compat {
        return None;
    }
    // The stack of a call is chosen by `special`: it is in no address.
    let bases = [instruction.memory_base(), instruction.memory_index()];
    if instruction.mnemonic() == Mnemonic::Call && bases.iter().any(|b| b.full_register() == Register::RSP) {
        return None;
    }
    // 90 with REX.B is xchg, and with F3 pause; with both, AMD's processors exchange, iced-x86 pauses.
    if instruction.mnemonic() == Mnemonic::Pause && instruction.len() > 2 {
        return None;
    }
    // Repeat prefixes have no meaning there (SDM vol. 2, 2.1.1); AMD's processors give them one, it seems.
    if (instruction.is_loop() || instruction.is_loopcc()) && has(&[0xf2, 0xf3]) {
        return None;
    }
    // A prefix may make it another one.
    if instruction.code() != code {
        let code = instruction.code();
        let info = code.op_code();
        if !forms::is_of_the_guest(code) || forms::excluded(code).is_some() || info.decoder_option() != 0 {
            return None;
        }
    }
    for target in targets {
        let element = instruction.memory_size();
        put_operand(r, &mut case, target, element);
    }
    special::tune(r, &mut case, &instruction);
    if mode == Mode::Compat {
        case.state.r[..8].iter_mut().for_each(|x| *x &= u64::from(u32::MAX));
    }
    let room = CODE_SIZE - case.code_at;
    case.code.truncate(room);
    if is_locked(&instruction) {
        // Linux lets a process wait that locks memory across cache lines (split_lock_detect).
        case.patience = 20;
    }
    Some(Single { case, instruction })
}

/// As [`single`], until there is one. `None` when a form cannot be made at all.
pub fn some_single(code: Code, mode: Mode, r: &mut Random) -> Option<Single> {
    (0..200).find_map(|_| single(code, mode, r))
}

/// Whether an instruction locks memory.
fn is_locked(i: &Instruction) -> bool {
    let in_memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
    in_memory && (i.has_lock_prefix() || i.mnemonic() == Mnemonic::Xchg)
}

/// Fills memory with any bytes.
pub fn fill(memory: &mut [u8; MEMORY_SIZE], r: &mut Random) {
    static POOL: OnceLock<Vec<u8>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let mut random = Random::new(0);
        (0..MEMORY_SIZE).flat_map(|_| random.bits().to_le_bytes()).collect()
    });
    let at = r.below((pool.len() - MEMORY_SIZE) as u64) as usize;
    memory.copy_from_slice(&pool[at..at + MEMORY_SIZE]);
}

fn stack_pointer(r: &mut Random) -> u64 {
    match r.below(20) {
        0 => STACK + r.below(17),
        1 => STACK + STACK_SIZE as u64 - r.below(17),
        2 => STACK + STACK_SIZE as u64 / 2 + r.below(64),
        _ => STACK + 1024 + (r.below(2048) & !7),
    }
}

/// Puts values at an operand's place that mean something to its instruction.
fn put_operand(r: &mut Random, case: &mut Case, address: u64, kind: MemorySize) {
    let size = kind.size();
    let Some(offset) = address::offset_in_data(address, size as u64) else { return };
    if r.chance(20) {
        return;
    }
    let element = kind.element_type();
    let width = kind.element_size();
    for at in (0..size).step_by(width.max(1)) {
        let bytes = match element {
            MemorySize::Float32 => values::single(r).to_le_bytes().to_vec(),
            MemorySize::Float64 => values::double(r).to_le_bytes().to_vec(),
            MemorySize::Float80 => values::extended(r).to_le_bytes()[..10].to_vec(),
            _ if size == 16 => values::vector(r).to_le_bytes()[..width.min(16)].to_vec(),
            _ if width <= 8 => values::integer(r).to_le_bytes()[..width].to_vec(),
            _ => return,
        };
        case.memory[offset + at..offset + at + bytes.len()].copy_from_slice(&bytes);
    }
}

struct Draft<'a> {
    r: &'a mut Random,
    mode: Mode,
    code: Code,
    state: &'a mut State,
    /// Addresses of operands in memory.
    targets: Vec<u64>,
    /// Part of a program: see [`tame`].
    tame: bool,
    /// The index register then.
    index: Option<Register>,
}

/// An instruction for the middle of a program: its operands are in the data, to which [`TAME_BASE`] and
/// [`TAME_HIGH`] point, and registers that a program needs for itself are not among them. With it comes the
/// register that must hold less than 256.
pub(crate) fn tame(code: Code, r: &mut Random) -> Option<(Instruction, Option<Register>)> {
    let mut state = State::new(Mode::Long);
    let mut draft =
        Draft { r, mode: Mode::Long, code, state: &mut state, targets: Vec::new(), index: None, tame: true };
    let mut instruction = draft.instruction()?;
    let mut index = draft.index;
    if is_locked(&instruction) {
        // Within a cache line: some hosts halt a process for each that is not, and a program has thousands.
        let size = instruction.memory_size().size() as u64;
        instruction.set_memory_index(Register::None);
        instruction.set_memory_displacement64(instruction.memory_displacement64() & !(size - 1));
        index = None;
    }
    Encoder::new(64).encode(&instruction, CODE).ok()?;
    Some((instruction, index))
}

/// Points to the data in programs.
pub(crate) const TAME_BASE: Register = Register::R15;
/// Points to the data's second view.
pub(crate) const TAME_HIGH: Register = Register::R14;
/// Counts in programs.
pub(crate) const TAME_COUNTER: Register = Register::R13;
/// Registers that instructions of programs use.
const TAME: [usize; 12] = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12];

impl Draft<'_> {
    fn instruction(&mut self) -> Option<Instruction> {
        let info = self.code.op_code();
        let mut i = Instruction::new();
        i.set_code(self.code);
        for (n, &kind) in info.op_kinds().iter().enumerate() {
            self.operand(&mut i, n as u32, kind)?;
        }
        let in_memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
        if info.can_use_lock_prefix() && in_memory && self.r.chance(15) {
            i.set_has_lock_prefix(true);
        }
        if info.can_use_rep_prefix() && i.is_string_instruction() {
            match self.r.below(4) {
                0 => {}
                1 if info.can_use_repne_prefix() => i.set_has_repne_prefix(true),
                _ => i.set_has_rep_prefix(true),
            }
        }
        Some(i)
    }

    fn general(&mut self, size: usize) -> Register {
        use Register::*;
        const R8: [Register; 16] =
            [AL, CL, DL, BL, SPL, BPL, SIL, DIL, R8L, R9L, R10L, R11L, R12L, R13L, R14L, R15L];
        const HIGH8: [Register; 4] = [AH, CH, DH, BH];
        const R16: [Register; 16] =
            [AX, CX, DX, BX, SP, BP, SI, DI, R8W, R9W, R10W, R11W, R12W, R13W, R14W, R15W];
        let long = self.mode == Mode::Long;
        if size == 1 && (self.r.chance(25) || !long) {
            return if self.r.chance(50) { self.r.pick(&HIGH8) } else { self.r.pick(&R8[..4]) };
        }
        let n = match self.tame {
            true => self.r.pick(&TAME),
            false => self.r.below(if long { 16 } else { 8 }) as usize,
        };
        match size {
            1 => R8[n],
            2 => R16[n],
            4 => EAX + n as u32,
            _ => RAX + n as u32,
        }
    }

    fn memory(&mut self, i: &mut Instruction, n: u32) -> Option<()> {
        let size = self.code.op_code().memory_size().size() as u64;
        if self.tame {
            self.tame_memory(i, n, size);
            return Some(());
        }
        let target = address::target(self.r, self.mode, size);
        // Where the next instruction is only matters for what is out of reach.
        let next = self.state.rip + 8;
        address::memory(self.r, self.mode, i, n, target, self.state, next).then(|| self.targets.push(target))
    }

    fn tame_memory(&mut self, i: &mut Instruction, n: u32, size: u64) {
        i.set_op_kind(n, OpKind::Memory);
        i.set_memory_base(self.r.pick(&[TAME_BASE, TAME_BASE, TAME_BASE, TAME_HIGH]));
        i.set_memory_displ_size(8);
        let mut room = DATA_SIZE as u64 - size.max(16);
        let align = if size >= 16 { 15 } else { 0 };
        if size < 16 && self.r.chance(40) {
            let index = Register::RAX + self.r.pick(&TAME) as u32;
            i.set_memory_index(index);
            i.set_memory_index_scale(1 << self.r.below(4));
            room -= 255 * 8;
            self.index = Some(index);
        }
        let near = self.r.chance(50);
        i.set_memory_displacement64(self.r.below(if near { 128 } else { room }) & !align);
    }

    fn operand(&mut self, i: &mut Instruction, n: u32, kind: OpCodeOperandKind) -> Option<()> {
        use OpCodeOperandKind::*;
        let long = self.mode == Mode::Long;
        let register = match kind {
            r8_or_mem | r16_or_mem | r32_or_mem | r64_or_mem | mm_or_mem | xmm_or_mem
                if self.r.chance(50) =>
            {
                return self.memory(i, n);
            }
            mem | mem_mib | sibmem => return self.memory(i, n),
            r8_or_mem | r8_reg | r8_opcode => self.general(1),
            r16_or_mem | r16_reg | r16_rm | r16_opcode | r16_reg_mem => self.general(2),
            r32_or_mem | r32_reg | r32_rm | r32_opcode | r32_vvvv | r32_reg_mem => self.general(4),
            r64_or_mem | r64_reg | r64_rm | r64_opcode | r64_vvvv | r64_reg_mem => self.general(8),
            mm_or_mem | mm_reg | mm_rm => Register::MM0 + self.r.below(8) as u32,
            xmm_or_mem | xmm_reg | xmm_rm => Register::XMM0 + self.r.below(if long { 16 } else { 8 }) as u32,
            seg_reg => Register::ES + self.r.below(6) as u32,
            cr_reg => Register::CR0 + self.r.pick(&[0, 2, 3, 4]),
            dr_reg => Register::DR0 + self.r.below(8) as u32,
            es => Register::ES,
            cs => Register::CS,
            ss => Register::SS,
            ds => Register::DS,
            fs => Register::FS,
            gs => Register::GS,
            al => Register::AL,
            cl => Register::CL,
            ax => Register::AX,
            dx => Register::DX,
            eax => Register::EAX,
            rax => Register::RAX,
            st0 => Register::ST0,
            sti_opcode => Register::ST0 + self.r.below(8) as u32,
            _ => return self.other(i, n, kind),
        };
        i.set_op_kind(n, OpKind::Register);
        i.set_op_register(n, register);
        Some(())
    }

    fn other(&mut self, i: &mut Instruction, n: u32, kind: OpCodeOperandKind) -> Option<()> {
        use OpCodeOperandKind::*;
        let value = if self.r.chance(30) { self.r.bits() } else { values::integer(self.r) };
        let (op_kind, value) = match kind {
            imm8 if n > 0 && i.op_kind(n - 1) == OpKind::Immediate16 => {
                (OpKind::Immediate8_2nd, value & 0xff)
            }
            imm8 => (OpKind::Immediate8, value & 0xff),
            imm8_const_1 => (OpKind::Immediate8, 1),
            imm8sex16 => (OpKind::Immediate8to16, value as i8 as u64),
            imm8sex32 => (OpKind::Immediate8to32, value as i8 as u64),
            imm8sex64 => (OpKind::Immediate8to64, value as i8 as u64),
            imm16 => (OpKind::Immediate16, value & 0xffff),
            imm32 => (OpKind::Immediate32, value & 0xffff_ffff),
            imm32sex64 => (OpKind::Immediate32to64, value as i32 as u64),
            imm64 => (OpKind::Immediate64, value),
            mem_offs => return self.direct(i, n),
            seg_rSI | es_rDI | seg_rDI | seg_rBX_al => {
                self.string(i, n, kind);
                return Some(());
            }
            br16_1 | br32_1 | br64_1 | br16_2 | br32_4 | br64_4 => {
                self.branch(i, n, kind);
                return Some(());
            }
            _ => return Option::None,
        };
        i.set_op_kind(n, op_kind);
        match op_kind {
            OpKind::Immediate8_2nd => i.set_immediate8_2nd(value as u8),
            OpKind::Immediate64 => i.set_immediate64(value),
            OpKind::Immediate8 => i.set_immediate8(value as u8),
            OpKind::Immediate16 => i.set_immediate16(value as u16),
            OpKind::Immediate32 => i.set_immediate32(value as u32),
            OpKind::Immediate8to16 => i.set_immediate8to16(value as i16),
            OpKind::Immediate8to32 => i.set_immediate8to32(value as i32),
            OpKind::Immediate8to64 => i.set_immediate8to64(value as i64),
            _ => i.set_immediate32to64(value as i64),
        }
        Some(())
    }

    /// An address in the instruction itself.
    fn direct(&mut self, i: &mut Instruction, n: u32) -> Option<()> {
        let size = self.code.op_code().memory_size().size() as u64;
        let target = address::target(self.r, self.mode, size);
        let short = self.mode == Mode::Compat || self.r.chance(20);
        if short && target > u64::from(u32::MAX) {
            return None;
        }
        i.set_op_kind(n, OpKind::Memory);
        i.set_memory_displacement64(target);
        i.set_memory_displ_size(if short { 4 } else { 8 });
        self.targets.push(target);
        Some(())
    }

    /// Operands whose registers are fixed.
    fn string(&mut self, i: &mut Instruction, n: u32, kind: OpCodeOperandKind) {
        use OpCodeOperandKind::*;
        // All operands of an instruction have one size of address.
        let short = match n {
            0 => self.mode == Mode::Compat || self.r.chance(10),
            _ => matches!(i.op_kind(0), OpKind::MemorySegESI | OpKind::MemoryESEDI),
        };
        let short = short || self.mode == Mode::Compat;
        if kind == seg_rBX_al {
            i.set_op_kind(n, OpKind::Memory);
            i.set_memory_base(if short { Register::EBX } else { Register::RBX });
            i.set_memory_index(Register::AL);
            return;
        }
        i.set_op_kind(
            n,
            match (kind, short) {
                (seg_rSI, false) => OpKind::MemorySegRSI,
                (seg_rSI, true) => OpKind::MemorySegESI,
                (es_rDI, false) => OpKind::MemoryESRDI,
                (es_rDI, true) => OpKind::MemoryESEDI,
                (_, false) => OpKind::MemorySegRDI,
                (_, true) => OpKind::MemorySegEDI,
            },
        );
    }

    fn branch(&mut self, i: &mut Instruction, n: u32, kind: OpCodeOperandKind) {
        use OpCodeOperandKind::*;
        let target = match kind {
            br16_1 | br32_1 | br64_1 => {
                self.state.rip.wrapping_add(self.r.bits() as i8 as u64).wrapping_add(2)
            }
            _ if self.r.chance(80) => CODE + self.r.below(CODE_SIZE as u64),
            _ => self.state.rip.wrapping_add(self.r.bits() as i32 as u64),
        };
        match kind {
            br64_1 | br64_4 => {
                i.set_op_kind(n, OpKind::NearBranch64);
                i.set_near_branch64(target);
            }
            br32_1 | br32_4 => {
                i.set_op_kind(n, OpKind::NearBranch32);
                i.set_near_branch32(target as u32);
            }
            _ => {
                i.set_op_kind(n, OpKind::NearBranch16);
                i.set_near_branch16(target as u16);
            }
        }
    }
}
