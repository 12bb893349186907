//! Which instructions have entries of their own, and what these look like.

use super::entry::{Entry, Kind};
use super::family::condition;
use super::flags::sign_extend;
use super::operand::{is_high, number, touches_memory};
use super::state::{FS_BASE, GS_BASE, PAGE, ZERO};
use iced_x86::{Code, Instruction, Mnemonic, OpKind, Register};

/// Shapes of the operands of two-operand instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Register, register.
    Rr,
    /// Register, immediate.
    Ri,
    /// Register, memory.
    Rm,
    /// Memory, register.
    Mr,
    /// Memory, immediate.
    Mi,
}

/// Arithmetic of 8, 16, 32 and 64 bits, by [`arithmetic_row`] and [`Form`].
const ARITHMETIC: [[[Kind; 4]; 5]; 7] = [
    [
        [Kind::AddRr8, Kind::AddRr16, Kind::AddRr32, Kind::AddRr64],
        [Kind::AddRi8, Kind::AddRi16, Kind::AddRi32, Kind::AddRi64],
        [Kind::AddRm8, Kind::AddRm16, Kind::AddRm32, Kind::AddRm64],
        [Kind::AddMr8, Kind::AddMr16, Kind::AddMr32, Kind::AddMr64],
        [Kind::AddMi8, Kind::AddMi16, Kind::AddMi32, Kind::AddMi64],
    ],
    [
        [Kind::OrRr8, Kind::OrRr16, Kind::OrRr32, Kind::OrRr64],
        [Kind::OrRi8, Kind::OrRi16, Kind::OrRi32, Kind::OrRi64],
        [Kind::OrRm8, Kind::OrRm16, Kind::OrRm32, Kind::OrRm64],
        [Kind::OrMr8, Kind::OrMr16, Kind::OrMr32, Kind::OrMr64],
        [Kind::OrMi8, Kind::OrMi16, Kind::OrMi32, Kind::OrMi64],
    ],
    [
        [Kind::AndRr8, Kind::AndRr16, Kind::AndRr32, Kind::AndRr64],
        [Kind::AndRi8, Kind::AndRi16, Kind::AndRi32, Kind::AndRi64],
        [Kind::AndRm8, Kind::AndRm16, Kind::AndRm32, Kind::AndRm64],
        [Kind::AndMr8, Kind::AndMr16, Kind::AndMr32, Kind::AndMr64],
        [Kind::AndMi8, Kind::AndMi16, Kind::AndMi32, Kind::AndMi64],
    ],
    [
        [Kind::SubRr8, Kind::SubRr16, Kind::SubRr32, Kind::SubRr64],
        [Kind::SubRi8, Kind::SubRi16, Kind::SubRi32, Kind::SubRi64],
        [Kind::SubRm8, Kind::SubRm16, Kind::SubRm32, Kind::SubRm64],
        [Kind::SubMr8, Kind::SubMr16, Kind::SubMr32, Kind::SubMr64],
        [Kind::SubMi8, Kind::SubMi16, Kind::SubMi32, Kind::SubMi64],
    ],
    [
        [Kind::XorRr8, Kind::XorRr16, Kind::XorRr32, Kind::XorRr64],
        [Kind::XorRi8, Kind::XorRi16, Kind::XorRi32, Kind::XorRi64],
        [Kind::XorRm8, Kind::XorRm16, Kind::XorRm32, Kind::XorRm64],
        [Kind::XorMr8, Kind::XorMr16, Kind::XorMr32, Kind::XorMr64],
        [Kind::XorMi8, Kind::XorMi16, Kind::XorMi32, Kind::XorMi64],
    ],
    [
        [Kind::CmpRr8, Kind::CmpRr16, Kind::CmpRr32, Kind::CmpRr64],
        [Kind::CmpRi8, Kind::CmpRi16, Kind::CmpRi32, Kind::CmpRi64],
        [Kind::CmpRm8, Kind::CmpRm16, Kind::CmpRm32, Kind::CmpRm64],
        [Kind::CmpMr8, Kind::CmpMr16, Kind::CmpMr32, Kind::CmpMr64],
        [Kind::CmpMi8, Kind::CmpMi16, Kind::CmpMi32, Kind::CmpMi64],
    ],
    [
        [Kind::TestRr8, Kind::TestRr16, Kind::TestRr32, Kind::TestRr64],
        [Kind::TestRi8, Kind::TestRi16, Kind::TestRi32, Kind::TestRi64],
        [Kind::TestMr8, Kind::TestMr16, Kind::TestMr32, Kind::TestMr64],
        [Kind::TestMr8, Kind::TestMr16, Kind::TestMr32, Kind::TestMr64],
        [Kind::TestMi8, Kind::TestMi16, Kind::TestMi32, Kind::TestMi64],
    ],
];

/// Row of [`ARITHMETIC`] that an instruction has.
fn arithmetic_row(mnemonic: Mnemonic) -> Option<usize> {
    Some(match mnemonic {
        Mnemonic::Add => 0,
        Mnemonic::Or => 1,
        Mnemonic::And => 2,
        Mnemonic::Sub => 3,
        Mnemonic::Xor => 4,
        Mnemonic::Cmp => 5,
        Mnemonic::Test => 6,
        _ => return None,
    })
}

/// Conditional jumps by number of the condition, from 2 on; `None` where any kind of flags has to be looked
/// at.
type Jumps = [Option<Kind>; 14];

/// Jumps behind a subtraction: below, not below, equal, not equal, not above, above, less, not less, not
/// greater, greater.
const fn behind_sub([b, ae, e, ne, be, a, l, ge, le, g]: [Kind; 10]) -> Jumps {
    let (b, ae, be, a) = (Some(b), Some(ae), Some(be), Some(a));
    [b, ae, Some(e), Some(ne), be, a, None, None, None, None, Some(l), Some(ge), Some(le), Some(g)]
}

/// Jumps behind a logical operation, which leaves no carry and no overflow: zero, not zero, negative, not
/// negative, not positive, positive.
const fn behind_logic([e, ne, s, ns, le, g]: [Kind; 6]) -> Jumps {
    let (e, ne, s, ns) = (Some(e), Some(ne), Some(s), Some(ns));
    [None, None, e, ne, e, ne, s, ns, None, None, s, ns, Some(le), Some(g)]
}

/// The same, but for zero and not zero only.
const fn behind_test([e, ne]: [Kind; 2]) -> Jumps {
    let (e, ne) = (Some(e), Some(ne));
    [None, None, e, ne, e, ne, None, None, None, None, None, None, None, None]
}

/// Conditional jumps behind a subtraction.
pub(super) const AFTER_SUB: Jumps = behind_sub([
    Kind::SubB,
    Kind::SubAe,
    Kind::SubE,
    Kind::SubNe,
    Kind::SubBe,
    Kind::SubA,
    Kind::SubL,
    Kind::SubGe,
    Kind::SubLe,
    Kind::SubG,
]);
/// Conditional jumps behind a logical operation.
pub(super) const AFTER_LOGIC: Jumps =
    behind_logic([Kind::LogicE, Kind::LogicNe, Kind::LogicS, Kind::LogicNs, Kind::LogicLe, Kind::LogicG]);
/// Comparisons, and what they are together with the conditional jump behind them.
pub(super) const FUSED: [(Kind, Jumps); 11] = [
    (
        Kind::CmpRr8,
        behind_sub([
            Kind::CmpRr8B,
            Kind::CmpRr8Ae,
            Kind::CmpRr8E,
            Kind::CmpRr8Ne,
            Kind::CmpRr8Be,
            Kind::CmpRr8A,
            Kind::CmpRr8L,
            Kind::CmpRr8Ge,
            Kind::CmpRr8Le,
            Kind::CmpRr8G,
        ]),
    ),
    (
        Kind::CmpRi8,
        behind_sub([
            Kind::CmpRi8B,
            Kind::CmpRi8Ae,
            Kind::CmpRi8E,
            Kind::CmpRi8Ne,
            Kind::CmpRi8Be,
            Kind::CmpRi8A,
            Kind::CmpRi8L,
            Kind::CmpRi8Ge,
            Kind::CmpRi8Le,
            Kind::CmpRi8G,
        ]),
    ),
    (
        Kind::TestRr8,
        behind_logic([
            Kind::TestRr8E,
            Kind::TestRr8Ne,
            Kind::TestRr8S,
            Kind::TestRr8Ns,
            Kind::TestRr8Le,
            Kind::TestRr8G,
        ]),
    ),
    (
        Kind::CmpRr32,
        behind_sub([
            Kind::CmpRr32B,
            Kind::CmpRr32Ae,
            Kind::CmpRr32E,
            Kind::CmpRr32Ne,
            Kind::CmpRr32Be,
            Kind::CmpRr32A,
            Kind::CmpRr32L,
            Kind::CmpRr32Ge,
            Kind::CmpRr32Le,
            Kind::CmpRr32G,
        ]),
    ),
    (
        Kind::CmpRi32,
        behind_sub([
            Kind::CmpRi32B,
            Kind::CmpRi32Ae,
            Kind::CmpRi32E,
            Kind::CmpRi32Ne,
            Kind::CmpRi32Be,
            Kind::CmpRi32A,
            Kind::CmpRi32L,
            Kind::CmpRi32Ge,
            Kind::CmpRi32Le,
            Kind::CmpRi32G,
        ]),
    ),
    (
        Kind::TestRr32,
        behind_logic([
            Kind::TestRr32E,
            Kind::TestRr32Ne,
            Kind::TestRr32S,
            Kind::TestRr32Ns,
            Kind::TestRr32Le,
            Kind::TestRr32G,
        ]),
    ),
    (
        Kind::CmpRr64,
        behind_sub([
            Kind::CmpRr64B,
            Kind::CmpRr64Ae,
            Kind::CmpRr64E,
            Kind::CmpRr64Ne,
            Kind::CmpRr64Be,
            Kind::CmpRr64A,
            Kind::CmpRr64L,
            Kind::CmpRr64Ge,
            Kind::CmpRr64Le,
            Kind::CmpRr64G,
        ]),
    ),
    (
        Kind::CmpRi64,
        behind_sub([
            Kind::CmpRi64B,
            Kind::CmpRi64Ae,
            Kind::CmpRi64E,
            Kind::CmpRi64Ne,
            Kind::CmpRi64Be,
            Kind::CmpRi64A,
            Kind::CmpRi64L,
            Kind::CmpRi64Ge,
            Kind::CmpRi64Le,
            Kind::CmpRi64G,
        ]),
    ),
    (
        Kind::TestRr64,
        behind_logic([
            Kind::TestRr64E,
            Kind::TestRr64Ne,
            Kind::TestRr64S,
            Kind::TestRr64Ns,
            Kind::TestRr64Le,
            Kind::TestRr64G,
        ]),
    ),
    (Kind::TestRi8, behind_test([Kind::TestRi8E, Kind::TestRi8Ne])),
    (Kind::TestRi32, behind_test([Kind::TestRi32E, Kind::TestRi32Ne])),
];

/// Byte offset of a general-purpose register.
fn register(register: Register) -> u8 {
    (number(register) * 8) as u8 + u8::from(is_high(register))
}

fn xmm(register: Register) -> u8 {
    (register.number() * 16) as u8
}

/// Byte offset of a special slot.
const fn slot(slot: usize) -> u8 {
    (slot * 8) as u8
}

/// An entry with the memory operand of `i`; `None` for the forms that are left to the families.
fn memory(i: &Instruction) -> Option<Entry> {
    let plain = |r: Register| match r {
        Register::None => Some(slot(ZERO)),
        Register::RIP => Some(slot(PAGE)),
        r if r.is_gpr64() => Some(register(r)),
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
    Some(Entry { base, index, scale, disp, ..Entry::UNLINKED })
}

/// Page offset of a near branch's target.
fn target(i: &Instruction, long: bool) -> Option<i32> {
    match i.op_kind(0) {
        OpKind::NearBranch64 if long => i32::try_from(i.near_branch64() as i64).ok(),
        OpKind::NearBranch32 if !long => Some(i.near_branch32() as i32),
        _ => None,
    }
}

/// Log2 of a size in bytes.
fn log2(size: usize) -> usize {
    size.trailing_zeros() as usize
}

/// Operand `n`, an immediate of an operation of `size` bytes, sign-extended; `None` when 32 bits do not hold
/// it.
fn immediate(i: &Instruction, n: u32, size: usize) -> Option<i32> {
    i32::try_from(sign_extend(i.immediate(n), log2(size) as u32) as i64).ok()
}

/// The form of a two-operand instruction and an entry with its operands.
fn operands(i: &Instruction, long: bool) -> Option<(Form, usize, Entry)> {
    let kinds = (i.op_kind(0), i.op_kind(1));
    let gpr = |n: u32| i.op_register(n).is_gpr().then(|| register(i.op_register(n)));
    Some(match kinds {
        (OpKind::Register, OpKind::Register) => {
            let size = i.op0_register().size();
            (Form::Rr, size, Entry { d: gpr(0)?, s: gpr(1)?, ..Entry::UNLINKED })
        }
        (OpKind::Register, OpKind::Memory) if long => {
            (Form::Rm, i.op0_register().size(), Entry { d: gpr(0)?, ..memory(i)? })
        }
        (OpKind::Memory, OpKind::Register) if long => {
            (Form::Mr, i.op1_register().size(), Entry { s: gpr(1)?, ..memory(i)? })
        }
        (OpKind::Memory, _) if long => {
            let size = i.memory_size().size();
            (Form::Mi, size, Entry { imm: immediate(i, 1, size)?, ..memory(i)? })
        }
        (OpKind::Register, kind) if is_immediate(kind) => {
            let size = i.op0_register().size();
            let imm = immediate(i, 1, size)?;
            (Form::Ri, size, Entry { d: gpr(0)?, imm, ..Entry::UNLINKED })
        }
        _ => return None,
    })
}

fn is_immediate(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}

/// The entry of an instruction that has one of its own: operands and operation. `long`: in 64-bit mode;
/// elsewhere what touches memory is left to the families, since its addresses have other rules.
pub(super) fn quick(i: &Instruction, long: bool) -> Option<Entry> {
    if i.is_jcc_short_or_near() {
        return Some(Entry { op: Kind::Jcc, s: condition(i), imm: target(i, long)?, ..Entry::UNLINKED });
    }
    if i.is_jmp_short_or_near() {
        return Some(Entry { op: Kind::Jmp, imm: target(i, long)?, ..Entry::UNLINKED });
    }
    if !long && touches_memory(i) && i.mnemonic() != Mnemonic::Nop {
        return None;
    }
    match i.mnemonic() {
        Mnemonic::Add
        | Mnemonic::Or
        | Mnemonic::And
        | Mnemonic::Sub
        | Mnemonic::Xor
        | Mnemonic::Cmp
        | Mnemonic::Test
        | Mnemonic::Adc
        | Mnemonic::Sbb
        | Mnemonic::Imul
        | Mnemonic::Bt => arithmetic(i, long),
        Mnemonic::Mov
        | Mnemonic::Movzx
        | Mnemonic::Movsx
        | Mnemonic::Movsxd
        | Mnemonic::Lea
        | Mnemonic::Nop
        | Mnemonic::Endbr64
        | Mnemonic::Pause
        | Mnemonic::Cdqe
        | Mnemonic::Cdq
        | Mnemonic::Cqo
        | Mnemonic::Xchg => moves(i, long),
        Mnemonic::Inc | Mnemonic::Dec | Mnemonic::Neg | Mnemonic::Not | Mnemonic::Bswap | Mnemonic::Mul => {
            unary(i, long)
        }
        Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Shr | Mnemonic::Sar | Mnemonic::Rol | Mnemonic::Ror => {
            shifts(i)
        }
        Mnemonic::Call | Mnemonic::Jmp | Mnemonic::Ret | Mnemonic::Push | Mnemonic::Pop | Mnemonic::Leave => {
            control(i).filter(|_| long)
        }
        _ => conditional(i).or_else(|| sse(i)),
    }
}

/// The one of 8, 16, 32 and 64 bits that has this many bytes.
fn sized(kinds: [Kind; 4], size: usize) -> Option<Kind> {
    kinds.get(log2(size)).copied()
}

/// The one of 32 and 64 bits that has this many bytes.
fn wide([small, large]: [Kind; 2], size: usize) -> Option<Kind> {
    match size {
        4 => Some(small),
        8 => Some(large),
        _ => None,
    }
}

/// Arithmetic with two operands.
fn arithmetic(i: &Instruction, long: bool) -> Option<Entry> {
    let mnemonic = i.mnemonic();
    if let Some(row) = arithmetic_row(mnemonic) {
        let (form, size, entry) = operands(i, long)?;
        return Some(Entry { op: sized(ARITHMETIC[row][form as usize], size)?, ..entry });
    }
    match mnemonic {
        Mnemonic::Adc | Mnemonic::Sbb => {
            let (form, size, entry) = operands(i, long)?;
            let op = match (mnemonic, form) {
                (Mnemonic::Adc, Form::Rr) => wide([Kind::AdcRr32, Kind::AdcRr64], size)?,
                (Mnemonic::Adc, Form::Ri) => wide([Kind::AdcRi32, Kind::AdcRi64], size)?,
                (Mnemonic::Adc, Form::Rm) if size == 8 => Kind::AdcRm64,
                (Mnemonic::Sbb, Form::Rr) => wide([Kind::SbbRr32, Kind::SbbRr64], size)?,
                (Mnemonic::Sbb, Form::Ri) => wide([Kind::SbbRi32, Kind::SbbRi64], size)?,
                (Mnemonic::Sbb, Form::Rm) if size == 8 => Kind::SbbRm64,
                _ => return None,
            };
            Some(Entry { op, ..entry })
        }
        Mnemonic::Imul if i.op_count() == 2 => {
            let (form, size, entry) = operands(i, long)?;
            let op = match form {
                Form::Rr => wide([Kind::ImulRr32, Kind::ImulRr64], size)?,
                Form::Rm => wide([Kind::ImulRm32, Kind::ImulRm64], size)?,
                _ => return None,
            };
            Some(Entry { op, ..entry })
        }
        Mnemonic::Imul if i.op_count() == 3 && i.op_kind(1) == OpKind::Register => {
            let size = i.op0_register().size();
            let op = wide([Kind::ImulRri32, Kind::ImulRri64], size)?;
            let (d, s) = (register(i.op0_register()), register(i.op1_register()));
            Some(Entry { op, d, s, imm: immediate(i, 2, size)?, ..Entry::UNLINKED })
        }
        Mnemonic::Bt => {
            let (form, size, entry) = operands(i, long)?;
            let op = match form {
                Form::Ri => wide([Kind::BtRi32, Kind::BtRi64], size)?,
                Form::Rr => wide([Kind::BtRr32, Kind::BtRr64], size)?,
                _ => return None,
            };
            Some(Entry { op, ..entry })
        }
        _ => None,
    }
}

fn moves(i: &Instruction, long: bool) -> Option<Entry> {
    match i.mnemonic() {
        Mnemonic::Mov => {
            if let OpKind::Immediate64 = i.op_kind(1) {
                let imm = i.immediate64();
                let d = register(i.op0_register());
                return Some(match i32::try_from(imm as i64) {
                    Ok(imm) => Entry { op: Kind::MovRi64, d, imm, ..Entry::UNLINKED },
                    _ => Entry {
                        op: Kind::MovRi64Wide,
                        d,
                        imm: imm as i32,
                        disp: (imm >> 32) as i32,
                        ..Entry::UNLINKED
                    },
                });
            }
            let (form, size, entry) = operands(i, long)?;
            let op = match form {
                Form::Rr => sized([Kind::MovRr8, Kind::MovRr16, Kind::MovRr32, Kind::MovRr64], size)?,
                Form::Ri => sized([Kind::MovRi8, Kind::MovRi16, Kind::MovRi32, Kind::MovRi64], size)?,
                Form::Rm => sized([Kind::MovRm8, Kind::MovRm16, Kind::MovRm32, Kind::MovRm64], size)?,
                Form::Mr => sized([Kind::MovMr8, Kind::MovMr16, Kind::MovMr32, Kind::MovMr64], size)?,
                Form::Mi => sized([Kind::MovMi8, Kind::MovMi16, Kind::MovMi32, Kind::MovMi64], size)?,
            };
            Some(Entry { op, ..entry })
        }
        Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd => {
            let to = i.op0_register().size();
            let (form, _, entry) = operands(i, long)?;
            let from = if form == Form::Rr { i.op1_register().size() } else { i.memory_size().size() };
            let signed = i.mnemonic() != Mnemonic::Movzx;
            let op = match (form, signed, from, to) {
                (Form::Rr, false, 1, 4 | 8) => Kind::Zx8R,
                (Form::Rr, false, 2, 4 | 8) => Kind::Zx16R,
                (Form::Rm, false, 1, 4 | 8) => Kind::Zx8M,
                (Form::Rm, false, 2, 4 | 8) => Kind::Zx16M,
                (Form::Rr, true, 1, 4) => Kind::Sx8R32,
                (Form::Rr, true, 1, 8) => Kind::Sx8R64,
                (Form::Rr, true, 2, 4) => Kind::Sx16R32,
                (Form::Rr, true, 2, 8) => Kind::Sx16R64,
                (Form::Rr, true, 4, 8) => Kind::Sx32R64,
                (Form::Rm, true, 1, 4) => Kind::Sx8M32,
                (Form::Rm, true, 1, 8) => Kind::Sx8M64,
                (Form::Rm, true, 2, 4) => Kind::Sx16M32,
                (Form::Rm, true, 2, 8) => Kind::Sx16M64,
                (Form::Rm, true, 4, 8) => Kind::Sx32M64,
                _ => return None,
            };
            Some(Entry { op, ..entry })
        }
        Mnemonic::Lea => {
            // The segment does not matter.
            if matches!(i.memory_segment(), Register::FS | Register::GS) {
                return None;
            }
            let entry = memory(i)?;
            let op = wide([Kind::Lea32, Kind::Lea64], i.op0_register().size())?;
            Some(Entry { op, d: register(i.op0_register()), ..entry })
        }
        Mnemonic::Nop | Mnemonic::Endbr64 | Mnemonic::Pause => {
            Some(Entry { op: Kind::Nop, ..Entry::UNLINKED })
        }
        Mnemonic::Cdqe => Some(Entry { op: Kind::Cdqe, ..Entry::UNLINKED }),
        Mnemonic::Cdq => Some(Entry { op: Kind::Cdq, ..Entry::UNLINKED }),
        Mnemonic::Cqo => Some(Entry { op: Kind::Cqo, ..Entry::UNLINKED }),
        Mnemonic::Xchg => {
            let (form, size, entry) = operands(i, long)?;
            ((form, size) == (Form::Rr, 8)).then_some(Entry { op: Kind::XchgRr64, ..entry })
        }
        _ => None,
    }
}

/// Instructions with one operand.
fn unary(i: &Instruction, long: bool) -> Option<Entry> {
    let (entry, size, in_memory) = match i.op_kind(0) {
        OpKind::Register if i.op0_register().is_gpr() => {
            let r = register(i.op0_register());
            (Entry { d: r, s: r, ..Entry::UNLINKED }, i.op0_register().size(), false)
        }
        OpKind::Memory if long => (memory(i)?, i.memory_size().size(), true),
        _ => return None,
    };
    let op = match (i.mnemonic(), in_memory) {
        (Mnemonic::Inc, false) => wide([Kind::Inc32, Kind::Inc64], size)?,
        (Mnemonic::Dec, false) => wide([Kind::Dec32, Kind::Dec64], size)?,
        (Mnemonic::Inc, true) => wide([Kind::IncM32, Kind::IncM64], size)?,
        (Mnemonic::Dec, true) => wide([Kind::DecM32, Kind::DecM64], size)?,
        (Mnemonic::Neg, false) => wide([Kind::Neg32, Kind::Neg64], size)?,
        (Mnemonic::Not, false) => wide([Kind::Not32, Kind::Not64], size)?,
        (Mnemonic::Bswap, false) => wide([Kind::Bswap32, Kind::Bswap64], size)?,
        (Mnemonic::Mul, false) => wide([Kind::Mul32, Kind::Mul64], size)?,
        _ => return None,
    };
    Some(Entry { op, ..entry })
}

fn shifts(i: &Instruction) -> Option<Entry> {
    if i.op_kind(0) != OpKind::Register || !i.op0_register().is_gpr() {
        return None;
    }
    let size = i.op0_register().size();
    let entry = Entry { d: register(i.op0_register()), ..Entry::UNLINKED };
    if i.op_kind(1) == OpKind::Register && i.op1_register() == Register::CL {
        let op = match i.mnemonic() {
            Mnemonic::Shl | Mnemonic::Sal => wide([Kind::ShlCl32, Kind::ShlCl64], size)?,
            Mnemonic::Shr => wide([Kind::ShrCl32, Kind::ShrCl64], size)?,
            Mnemonic::Sar => wide([Kind::SarCl32, Kind::SarCl64], size)?,
            _ => return None,
        };
        return Some(Entry { op, ..entry });
    }
    if i.op_count() != 2 || !is_immediate(i.op_kind(1)) {
        return None;
    }
    let count = i.immediate(1) as i32 & if size == 8 { 63 } else { 31 };
    if count == 0 || count >= size as i32 * 8 {
        return None;
    }
    let op = match i.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal if size == 2 => Kind::ShlRi16,
        Mnemonic::Shr if size == 2 => Kind::ShrRi16,
        Mnemonic::Sar if size == 2 => Kind::SarRi16,
        Mnemonic::Shl | Mnemonic::Sal => wide([Kind::ShlRi32, Kind::ShlRi64], size)?,
        Mnemonic::Shr => wide([Kind::ShrRi32, Kind::ShrRi64], size)?,
        Mnemonic::Sar => wide([Kind::SarRi32, Kind::SarRi64], size)?,
        Mnemonic::Rol => wide([Kind::RolRi32, Kind::RolRi64], size)?,
        Mnemonic::Ror => wide([Kind::RorRi32, Kind::RorRi64], size)?,
        _ => return None,
    };
    Some(Entry { op, imm: count, ..entry })
}

/// `setcc` of a register and `cmovcc`.
fn conditional(i: &Instruction) -> Option<Entry> {
    if i.condition_code() == iced_x86::ConditionCode::None || i.op_kind(0) != OpKind::Register {
        return None;
    }
    let d = register(i.op0_register());
    let number = condition(i);
    if i.op_count() == 1 && i.op0_register().size() == 1 {
        return Some(Entry { op: Kind::Setcc, d, s: number, ..Entry::UNLINKED });
    }
    if i.op_count() != 2 || !i.op0_register().is_gpr() {
        return None;
    }
    let size = i.op0_register().size();
    match i.op_kind(1) {
        OpKind::Register => {
            let op = wide([Kind::Cmov32, Kind::Cmov64], size)?;
            Some(Entry { op, d, s: register(i.op1_register()), imm: number.into(), ..Entry::UNLINKED })
        }
        OpKind::Memory => {
            let op = wide([Kind::CmovM32, Kind::CmovM64], size)?;
            Some(Entry { op, d, imm: number.into(), ..memory(i)? })
        }
        _ => None,
    }
}

/// Calls, returns and the stack in 64-bit mode.
fn control(i: &Instruction) -> Option<Entry> {
    let is_wide = |n: u32| i.op_register(n).is_gpr64();
    Some(match i.mnemonic() {
        Mnemonic::Call if i.is_call_near() => {
            Entry { op: Kind::Call, imm: target(i, true)?, ..Entry::UNLINKED }
        }
        Mnemonic::Call if i.code() == Code::Call_rm64 && i.op_kind(0) == OpKind::Memory => {
            Entry { op: Kind::CallM, ..memory(i)? }
        }
        Mnemonic::Call if i.code() == Code::Call_rm64 => {
            Entry { op: Kind::CallR, s: register(i.op0_register()), ..Entry::UNLINKED }
        }
        Mnemonic::Jmp if i.code() == Code::Jmp_rm64 && i.op_kind(0) == OpKind::Memory => {
            Entry { op: Kind::JmpM, ..memory(i)? }
        }
        Mnemonic::Jmp if i.code() == Code::Jmp_rm64 => {
            Entry { op: Kind::JmpR, s: register(i.op0_register()), ..Entry::UNLINKED }
        }
        Mnemonic::Ret if matches!(i.code(), Code::Retnq | Code::Retnq_imm16) => {
            let release = if i.op_count() > 0 { i32::from(i.immediate16()) } else { 0 };
            Entry { op: Kind::Ret, imm: release, ..Entry::UNLINKED }
        }
        Mnemonic::Push if i.op_kind(0) == OpKind::Register && is_wide(0) => {
            Entry { op: Kind::PushR, s: register(i.op0_register()), ..Entry::UNLINKED }
        }
        Mnemonic::Push if matches!(i.code(), Code::Pushq_imm8 | Code::Pushq_imm32) => {
            Entry { op: Kind::PushI, imm: i32::try_from(i.immediate(0) as i64).ok()?, ..Entry::UNLINKED }
        }
        Mnemonic::Pop if i.op_kind(0) == OpKind::Register && is_wide(0) => {
            Entry { op: Kind::PopR, d: register(i.op0_register()), ..Entry::UNLINKED }
        }
        Mnemonic::Leave if i.code() == Code::Leaveq => Entry { op: Kind::Leave, ..Entry::UNLINKED },
        _ => return None,
    })
}

/// The commonest of SSE.
fn sse(i: &Instruction) -> Option<Entry> {
    use Code as C;
    let both = |op: Kind| {
        let registers = i.op_kind(1) == OpKind::Register;
        registers.then(|| Entry { op, d: xmm(i.op0_register()), s: xmm(i.op1_register()), ..Entry::UNLINKED })
    };
    // One operand in memory, or both in registers.
    let either = |from_memory: Kind, to_memory: Kind, between: Kind| match (i.op_kind(0), i.op_kind(1)) {
        (OpKind::Register, OpKind::Register) => both(between),
        (OpKind::Register, OpKind::Memory) => {
            Some(Entry { op: from_memory, d: xmm(i.op0_register()), ..memory(i)? })
        }
        (OpKind::Memory, OpKind::Register) => {
            Some(Entry { op: to_memory, s: xmm(i.op1_register()), ..memory(i)? })
        }
        _ => None,
    };
    match i.code() {
        C::Movups_xmm_xmmm128
        | C::Movups_xmmm128_xmm
        | C::Movupd_xmm_xmmm128
        | C::Movupd_xmmm128_xmm
        | C::Movdqu_xmm_xmmm128
        | C::Movdqu_xmmm128_xmm => either(Kind::MovXm, Kind::MovMx, Kind::MovX),
        C::Movaps_xmm_xmmm128
        | C::Movaps_xmmm128_xmm
        | C::Movapd_xmm_xmmm128
        | C::Movapd_xmmm128_xmm
        | C::Movdqa_xmm_xmmm128
        | C::Movdqa_xmmm128_xmm => either(Kind::MovXmAligned, Kind::MovMxAligned, Kind::MovX),
        C::Movq_xmm_xmmm64 | C::Movq_xmmm64_xmm => either(Kind::MovqXm, Kind::MovqMx, Kind::MovqXx),
        C::Movsd_xmm_xmmm64 | C::Movsd_xmmm64_xmm => either(Kind::MovqXm, Kind::MovqMx, Kind::MovsdXx),
        C::Movss_xmm_xmmm32 | C::Movss_xmmm32_xmm
            if i.op_kind(0) == OpKind::Memory || i.op_kind(1) == OpKind::Memory =>
        {
            either(Kind::MovdXm, Kind::MovdMx, Kind::Nop)
        }
        C::Movq_xmm_rm64 | C::Movd_xmm_rm32 => {
            let wide = i.code() == C::Movq_xmm_rm64;
            let d = xmm(i.op0_register());
            if i.op_kind(1) == OpKind::Memory {
                let op = if wide { Kind::MovqXm } else { Kind::MovdXm };
                return Some(Entry { op, d, ..memory(i)? });
            }
            let op = if wide { Kind::MovqXr } else { Kind::MovdXr };
            Some(Entry { op, d, s: register(i.op1_register()), ..Entry::UNLINKED })
        }
        C::Movq_rm64_xmm | C::Movd_rm32_xmm => {
            let wide = i.code() == C::Movq_rm64_xmm;
            let s = xmm(i.op1_register());
            if i.op_kind(0) == OpKind::Memory {
                let op = if wide { Kind::MovqMx } else { Kind::MovdMx };
                return Some(Entry { op, s, ..memory(i)? });
            }
            let op = if wide { Kind::MovqRx } else { Kind::MovdRx };
            Some(Entry { op, s, d: register(i.op0_register()), ..Entry::UNLINKED })
        }
        C::Pxor_xmm_xmmm128 | C::Xorps_xmm_xmmm128 | C::Xorpd_xmm_xmmm128 => both(Kind::Pxor),
        C::Por_xmm_xmmm128 | C::Orps_xmm_xmmm128 | C::Orpd_xmm_xmmm128 => both(Kind::Por),
        C::Pand_xmm_xmmm128 | C::Andps_xmm_xmmm128 | C::Andpd_xmm_xmmm128 => both(Kind::Pand),
        C::Pcmpeqb_xmm_xmmm128 => either(Kind::PcmpeqbXm, Kind::Nop, Kind::PcmpeqbXx),
        C::Pminub_xmm_xmmm128 => both(Kind::PminubXx),
        C::Pmovmskb_r32_xmm | C::Pmovmskb_r64_xmm => Some(Entry {
            op: Kind::PmovmskbRx,
            d: register(i.op0_register()),
            s: xmm(i.op1_register()),
            ..Entry::UNLINKED
        }),
        _ => None,
    }
}
