//! The kind of entry for a decoded instruction, and the entry's operands.
//!
//! The instruction's operands are put into classes ([`Operand`]), and into the entry at the same time;
//! mnemonic and classes decide the kind, by the [table](super::table). What has no kind is left to its
//! family.

use super::entry::Entry;
use super::flags::sign_extend;
use super::kind::{Kind, Operand};
use super::operand::{condition, is_high, number};
use super::state::{FS_BASE, GS_BASE, PAGE, ZERO};
use super::table::fast_path;
use iced_x86::{Code, ConditionCode, Instruction, Mnemonic, OpKind, Register};

/// The most operands that the table's instructions have.
const OPERANDS: usize = 3;

/// The entry of an instruction that has a kind. `long`: in 64-bit mode; elsewhere what touches memory is left
/// to the families, since its addresses have other rules. `count`, `offset` and `length` are left at 0.
pub(super) fn select(i: &Instruction, long: bool) -> Option<Entry> {
    let (operands, mut entry) = operands(i, long);
    let mnemonic = match i.condition_code() {
        ConditionCode::None => i.mnemonic(),
        _ => {
            let is_target = matches!(operands[0], Operand::Rel32 | Operand::Rel64);
            if is_target {
                entry.s = condition(i);
            } else {
                entry.imm = condition(i).into();
            }
            any_condition(i)
        }
    };
    entry.op = kind(i, mnemonic, operands)?;
    Some(entry)
}

/// The mnemonic that stands for the sixteen conditions of an instruction.
fn any_condition(i: &Instruction) -> Mnemonic {
    match (i.op_count(), i.op_kind(0)) {
        _ if i.is_jcc_short_or_near() => Mnemonic::Je,
        (1, OpKind::Register | OpKind::Memory) => Mnemonic::Sete,
        (2, OpKind::Register) => Mnemonic::Cmove,
        _ => i.mnemonic(),
    }
}

/// The pattern of a row's operands.
macro_rules! form {
    (any) => { _ };
    ([]) => {
        [Operand::None, Operand::None, Operand::None]
    };
    ([$($a:ident)|+]) => {
        [$(Operand::$a)|+, Operand::None, Operand::None]
    };
    ([$($a:ident)|+, $($b:ident)|+]) => {
        [$(Operand::$a)|+, $(Operand::$b)|+, Operand::None]
    };
    ([$($a:ident)|+, $($b:ident)|+, $($c:ident)|+]) => {
        [$(Operand::$a)|+, $(Operand::$b)|+, $(Operand::$c)|+]
    };
}

macro_rules! kind_of {
    ($e:ident $h:ident;
        internal $_internal:tt
        selected { $(
            reads $reads:ident, writes $writes:ident, leaves $leaves:ident, then $then:ident,
            faults $faults:ident { $(
                $(#[$doc:meta])*
                $name:ident: $($mnemonic:ident)|+, $($form:tt)|+ $(where $($code:ident)|+)? => $_body:expr;
            )* }
        )* }
        jumps $_jumps:tt
        fused $_fused:tt
        quiet $_quiet:tt
    ) => {
        /// The kind for an instruction of the table.
        #[deny(unreachable_patterns, reason = "no two rows may claim the same instruction")]
        fn kind(i: &Instruction, mnemonic: Mnemonic, operands: [Operand; OPERANDS]) -> Option<Kind> {
            Some(match (mnemonic, operands) {
                $($(
                    ($(Mnemonic::$mnemonic)|+, $(form!($form))|+)
                        $(if matches!(i.code(), $(Code::$code)|+))? => Kind::$name,
                )*)*
                _ => return None,
            })
        }
    };
}
fast_path!(kind_of);

/// The operands' classes, and an entry with the operands.
fn operands(i: &Instruction, long: bool) -> ([Operand; OPERANDS], Entry) {
    let (mut classes, mut entry) = ([Operand::None; OPERANDS], Entry::UNLINKED);
    let count = i.op_count();
    if count as usize > OPERANDS {
        return ([Operand::Other; OPERANDS], entry);
    }
    for n in 0..count {
        classes[n as usize] = match i.op_kind(n) {
            OpKind::Register => register_operand(i, n, &mut entry),
            OpKind::Memory if long => memory_operand(i, &mut entry),
            OpKind::NearBranch64 | OpKind::NearBranch32 => target(i, long, &mut entry),
            kind => immediate(i, n, kind, &mut entry),
        }
        .unwrap_or(Operand::Other);
    }
    (classes, entry)
}

fn register_operand(i: &Instruction, n: u32, entry: &mut Entry) -> Option<Operand> {
    let register = i.op_register(n);
    let (class, place) = if register.is_gpr() {
        let class = match register.size() {
            1 => Operand::R8,
            2 => Operand::R16,
            4 => Operand::R32,
            _ => Operand::R64,
        };
        (class, gpr(register))
    } else if register.is_xmm() {
        (Operand::X, (register.number() * 16) as u8)
    } else {
        return None;
    };
    match n {
        0 => (entry.d, entry.s) = (place, if i.op_count() == 1 { place } else { entry.s }),
        1 => entry.s = place,
        _ => {}
    }
    Some(class)
}

/// Byte offset of a general-purpose register.
fn gpr(register: Register) -> u8 {
    (number(register) * 8) as u8 + u8::from(is_high(register))
}

/// Byte offset of a special slot.
const fn slot(slot: usize) -> u8 {
    (slot * 8) as u8
}

fn memory_operand(i: &Instruction, entry: &mut Entry) -> Option<Operand> {
    let class = match i.memory_size().size() {
        // An address alone does not have the segment's base.
        0 if matches!(i.memory_segment(), Register::FS | Register::GS) => return None,
        0 => Operand::M,
        1 => Operand::M8,
        2 => Operand::M16,
        4 => Operand::M32,
        8 => Operand::M64,
        16 => Operand::M128,
        _ => return None,
    };
    let plain = |r: Register| match r {
        Register::None => Some(slot(ZERO)),
        Register::RIP => Some(slot(PAGE)),
        r if r.is_gpr64() => Some(gpr(r)),
        _ => None,
    };
    let (mut base, mut index) = (plain(i.memory_base())?, plain(i.memory_index())?);
    let mut scale = i.memory_index_scale().trailing_zeros() as u8;
    if i.memory_base() == Register::None && i.memory_index() == Register::None && i.memory_displ_size() != 8 {
        return None;
    }
    let segment = match i.memory_segment() {
        Register::FS => Some(slot(FS_BASE)),
        Register::GS => Some(slot(GS_BASE)),
        _ => None,
    };
    match segment {
        None => {}
        Some(segment) if base == slot(ZERO) => base = segment,
        Some(segment) if index == slot(ZERO) => (index, scale) = (segment, 0),
        Some(_) => return None,
    }
    let disp = i32::try_from(i.memory_displacement64() as i64).ok()?;
    (entry.base, entry.index, entry.scale, entry.disp) = (base, index, scale, disp);
    Some(class)
}

/// A near branch's target, as an offset in the page.
fn target(i: &Instruction, long: bool, entry: &mut Entry) -> Option<Operand> {
    match i.op_kind(0) {
        OpKind::NearBranch64 if long => {
            entry.imm = i32::try_from(i.near_branch64() as i64).ok()?;
            Some(Operand::Rel64)
        }
        OpKind::NearBranch32 if !long => {
            entry.imm = i.near_branch32() as i32;
            Some(Operand::Rel32)
        }
        _ => None,
    }
}

/// Operand `n`, an immediate: sign-extended from the size of the first operand, unless it is itself the
/// first.
fn immediate(i: &Instruction, n: u32, kind: OpKind, entry: &mut Entry) -> Option<Operand> {
    let size = match i.op_kind(0) {
        OpKind::Register => i.op0_register().size(),
        OpKind::Memory => i.memory_size().size(),
        _ => 8,
    };
    if !matches!(size, 1 | 2 | 4 | 8) {
        return None;
    }
    let class = match kind {
        OpKind::Immediate8 if size == 1 => Operand::I8,
        OpKind::Immediate8 => return count(i, n, size, entry),
        OpKind::Immediate16 | OpKind::Immediate8to16 => Operand::I16,
        OpKind::Immediate32 | OpKind::Immediate8to32 => Operand::I32,
        OpKind::Immediate64 | OpKind::Immediate8to64 | OpKind::Immediate32to64 => Operand::I64,
        _ => return None,
    };
    let value = sign_extend(i.immediate(n), size.trailing_zeros()) as i64;
    entry.imm = value as i32;
    if i64::from(entry.imm) == value {
        return Some(class);
    }
    entry.disp = (value >> 32) as i32;
    Some(Operand::Wide)
}

/// An immediate of 8 bits that is not extended to the size of a larger operand: how far to shift it, or the
/// number of a bit in it.
fn count(i: &Instruction, n: u32, size: usize, entry: &mut Entry) -> Option<Operand> {
    let count = i.immediate(n) as i32 & if size == 8 { 63 } else { 31 };
    entry.imm = count;
    match count {
        0 => Some(Operand::Zero),
        _ if count < size as i32 * 8 => Some(Operand::Count),
        _ => None,
    }
}
