//! Operands of particular instructions, without which they would mostly fault or do nothing.

use super::{address, values};
use crate::case::{Case, Mode, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, number};
use crate::layout::{CODE, CODE_SIZE, DATA, DATA_SIZE, HIGH, PAGE, STACK, STACK_SIZE};
use crate::random::Random;
use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind, Register};

/// Flags that a case must not set: single steps, nested tasks, alignment checks.
const NOT_THESE: u64 = 1 << 8 | 1 << 14 | 1 << 18;

/// Whether an instruction's address depends on a register.
fn in_address(i: &Instruction, n: usize) -> bool {
    [i.memory_base(), i.memory_index()].iter().any(|r| *r != Register::None && r.is_gpr() && number(*r) == n)
}

/// Where the operand in memory is, if there is one with a ModRM byte or an address of its own.
pub fn location(case: &Case, i: &Instruction) -> Option<u64> {
    let operand = (0..i.op_count()).find(|&n| i.op_kind(n) == OpKind::Memory)?;
    i.virtual_address(operand, 0, |register, _, _| Some(read(case, register)))
}

/// A register's value; of a segment register, its base.
fn read(case: &Case, register: Register) -> u64 {
    use Register::*;
    let state = &case.state;
    match register {
        FS => state.fs_base,
        GS => state.gs_base,
        ES | CS | SS | DS => 0,
        AH | CH | DH | BH => state.r[register as usize - AH as usize] >> 8 & 0xff,
        _ if register.is_gpr() => {
            let value = state.r[number(register)];
            match register.size() {
                1 => value & 0xff,
                2 => value & 0xffff,
                4 => value & 0xffff_ffff,
                _ => value,
            }
        }
        _ => 0,
    }
}

/// Where bytes of an operand are in [`Case::memory`].
fn bytes<'a>(case: &'a mut Case, i: &Instruction, size: usize) -> Option<&'a mut [u8]> {
    let at = address::offset_in_data(location(case, i)?, size as u64)?;
    Some(&mut case.memory[at..at + size])
}

fn stack_bytes(case: &mut Case, size: usize) -> Option<&mut [u8]> {
    let at = case.state.r[RSP].wrapping_sub(STACK);
    (at <= (STACK_SIZE - size) as u64).then(|| &mut case.memory[DATA_SIZE + at as usize..][..size])
}

/// Somewhere to jump to.
fn destination(r: &mut Random, mode: Mode) -> u64 {
    match r.below(20) {
        0 if mode == Mode::Long => 1 << 63 | CODE,
        1 => CODE + CODE_SIZE as u64 + r.below(PAGE),
        2 => values::integer(r),
        _ => CODE + r.below(CODE_SIZE as u64),
    }
}

/// Changes registers and memory so that an instruction does something.
pub(super) fn tune(r: &mut Random, case: &mut Case, i: &Instruction) {
    use Mnemonic::*;
    let mode = case.mode;
    match i.mnemonic() {
        Div | Idiv => {
            let size = i.op_register(0).size().max(i.memory_size().size());
            if !in_address(i, RDX) && r.chance(70) {
                case.state.r[RDX] = match r.below(4) {
                    0 => ((case.state.r[RAX] as i64) >> 63) as u64,
                    1 => (case.state.r[RAX] >> 31 & 1).wrapping_neg(),
                    2 => r.below(16),
                    _ => 0,
                };
            }
            if size == 1 && !in_address(i, RAX) && r.chance(70) {
                case.state.r[RAX] = r.bits() >> (r.below(64));
            }
        }
        Cmpxchg if r.chance(50) && !in_address(i, RAX) => {
            let size = i.op_register(1).size();
            if i.op0_kind() == OpKind::Register {
                case.state.r[RAX] = case.state.r[number(i.op0_register())];
            } else if let Some(memory) = bytes(case, i, size) {
                let mut value = [0; 8];
                value[..size].copy_from_slice(memory);
                case.state.r[RAX] =
                    u64::from_le_bytes(value) | (if size < 8 { r.bits() << (8 * size) } else { 0 });
            }
        }
        Cmpxchg8b | Cmpxchg16b if r.chance(60) => {
            let half = i.memory_size().size() / 2;
            let expected: Vec<u8> =
                [RAX, RDX].iter().flat_map(|&n| case.state.r[n].to_le_bytes()[..half].to_vec()).collect();
            if let Some(memory) = bytes(case, i, 2 * half) {
                memory.copy_from_slice(&expected);
            }
        }
        Bt | Bts | Btr | Btc if i.op0_kind() == OpKind::Memory && i.op1_kind() == OpKind::Register => {
            let n = number(i.op1_register());
            if !in_address(i, n) && r.chance(80) {
                case.state.r[n] = (r.below(0x2_0000) as i64 - 0x1_0000) as u64;
            }
        }
        Xlatb => {
            let target = address::target(r, mode, 1);
            case.state.r[RBX] = target.wrapping_sub(case.state.r[RAX] & 0xff);
        }
        // Whether bytes that are not written fault is up to the processor.
        Maskmovq | Maskmovdqu => {
            let base = if mode == Mode::Long && r.chance(20) && i.op0_kind() == OpKind::MemorySegRDI {
                HIGH
            } else {
                DATA
            };
            case.state.r[RDI] = base + r.below(DATA_SIZE as u64 - 16);
        }
        Ret => {
            let to = destination(r, mode);
            if let Some(memory) = stack_bytes(case, 8) {
                memory.copy_from_slice(&to.to_le_bytes());
            }
        }
        Jmp | Call if matches!(i.op0_kind(), OpKind::Register | OpKind::Memory) => {
            let to = destination(r, mode);
            // What comes first, a fault of the stack or of the destination, differs.
            if i.mnemonic() == Call {
                case.state.r[RSP] = STACK + STACK_SIZE as u64 / 2 + r.below(64);
            }
            if i.op0_kind() == OpKind::Register && i.op0_register().full_register() == Register::RSP {
                // Jumps into the stack.
            } else if i.op0_kind() == OpKind::Register {
                case.state.r[number(i.op0_register())] = to;
            } else if let Some(memory) = bytes(case, i, i.memory_size().size()) {
                memory.copy_from_slice(&to.to_le_bytes()[..memory.len()]);
            }
        }
        Loop | Loope | Loopne | Jcxz | Jecxz | Jrcxz if r.chance(50) => {
            case.state.r[RCX] = r.below(3) | r.pick(&[0, 0, 1 << 16, 1 << 32]);
        }
        Popf | Popfd | Popfq => {
            let value = r.bits() & !NOT_THESE;
            if let Some(memory) = stack_bytes(case, 8) {
                memory.copy_from_slice(&value.to_le_bytes());
            }
        }
        // Registers that were popped before a fault stay so on AMD's processors.
        Popa | Popad => {
            case.state.r[RSP] = STACK + STACK_SIZE as u64 / 2 + r.below(64);
        }
        Pop if i.op0_register().is_segment_register() && r.chance(80) => {
            let selector = r.pick(&[0u16, 3, 0x23, 0x2b, 0x2a, 0x33, 0x7b]);
            if let Some(memory) = stack_bytes(case, 2) {
                memory.copy_from_slice(&selector.to_le_bytes());
            }
        }
        Leave | Enter => {
            case.state.r[RBP] = STACK + r.below(STACK_SIZE as u64 + 32) - 16;
        }
        Fxrstor | Fxrstor64 | Ldmxcsr => {
            // Bits of MXCSR that do not exist are a fault; bit 17 exists on AMD's processors alone.
            let (size, at) = if i.mnemonic() == Ldmxcsr { (4, 2) } else { (512, 26) };
            let none = r.chance(90);
            if let Some(memory) = bytes(case, i, size) {
                memory[at] &= if none { 0 } else { !2 };
                memory[at + 1] &= if none { 0 } else { u8::MAX };
            }
        }
        _ => {}
    }
    if i.is_string_instruction() {
        string(r, case, i);
    }
}

fn string(r: &mut Random, case: &mut Case, i: &Instruction) {
    let size = element(i);
    let short = matches!(i.op0_kind(), OpKind::MemorySegESI | OpKind::MemoryESEDI)
        || matches!(i.op1_kind(), OpKind::MemorySegESI | OpKind::MemoryESEDI);
    let reach = if short { Mode::Compat } else { case.mode };
    let source = address::target(r, reach, size);
    let mut destination = if r.chance(20) {
        // Overlapping.
        source.wrapping_add(size + r.below(3 * size))
    } else {
        address::target(r, reach, size)
    };
    // Which of two operands faults first is said nowhere.
    let (a, b) = (address::offset_in_data(source, size), address::offset_in_data(destination, size));
    if a == b {
        destination = DATA + r.below(DATA_SIZE as u64 - size);
    }
    for (n, target) in [(RSI, source), (RDI, destination)] {
        let garbage = if short && case.mode == Mode::Long { r.bits() << 32 } else { 0 };
        case.state.r[n] = if short { target & 0xffff_ffff | garbage } else { target };
    }
    if r.chance(80) {
        case.state.r[RCX] = r.pick(&[0, 1, 2, 3, 7, 40, 300, 5000]);
    }
    // Equal runs, for instructions that stop at a difference.
    if r.chance(40) {
        let byte = r.bits() as u8;
        case.memory[..DATA_SIZE].fill(byte);
        let at = r.below(DATA_SIZE as u64) as usize;
        case.memory[at] ^= 1;
        if r.chance(50) {
            case.state.r[RAX] = u64::from_le_bytes([byte; 8]);
        }
    }
}

/// Bytes in an element of a string instruction.
fn element(i: &Instruction) -> u64 {
    match i.memory_size() {
        MemorySize::Unknown => 1,
        size => size.size() as u64,
    }
}
