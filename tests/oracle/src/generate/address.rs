//! Addresses: where an operand lies, and an addressing form with registers that lead there.

use crate::case::{Mode, State};
use crate::layout::{DATA, DATA_SIZE, HIGH, PAGE, READ_ONLY};
use crate::random::Random;
use iced_x86::{Instruction, OpKind, Register};

/// Whether all of an operand can be written, where it is in the data.
pub(super) fn offset_in_data(address: u64, size: u64) -> Option<usize> {
    [DATA, HIGH].into_iter().find_map(|base| {
        let offset = address.wrapping_sub(base);
        (offset <= DATA_SIZE as u64 && offset + size <= DATA_SIZE as u64).then_some(offset as usize)
    })
}

/// An address for an operand of `size` bytes.
pub(super) fn target(r: &mut Random, mode: Mode, size: u64) -> u64 {
    let size = size.max(1);
    let span = DATA_SIZE as u64;
    let high = mode == Mode::Long && r.chance(20);
    let base = if high { HIGH } else { DATA };
    let within = r.below(span - size.min(span / 2));
    match r.below(40) {
        // Across the end of a page, of the data, from before the data.
        0..=2 => base + PAGE - r.below(size.min(64)),
        3 | 4 => base + span - r.below(size.min(64)),
        5 => base - r.below(size.min(64) + 1),
        6 => READ_ONLY + r.below(PAGE - size.min(PAGE / 2)),
        7 if mode == Mode::Long => {
            r.pick(&[1 << 63 | DATA, 0x0000_8000_0000_0000, r.clone().bits() | 1 << 62])
        }
        8 if mode == Mode::Long => r.pick(&[0xffff_8000_0000_1000, 0x0000_7fff_ffff_eff8, u64::MAX - 7]),
        // Not beyond the end of the segment: the interpreter knows flat segments only, whose limit is not
        // checked.
        8 => r.pick(&[0xffff_fff0 - size, 8, 0xc000_0000]),
        9..=20 => base + within,
        21..=24 => base + (within & !7),
        _ => base + (within & !15),
    }
}

/// Registers that can be in an address of this size.
fn registers(mode: Mode, size: u32) -> (&'static [Register], usize) {
    use Register::*;
    const R64: [Register; 16] =
        [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15];
    const R32: [Register; 16] =
        [EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI, R8D, R9D, R10D, R11D, R12D, R13D, R14D, R15D];
    match (mode, size) {
        (Mode::Long, 8) => (&R64, 16),
        (Mode::Long, _) => (&R32, 16),
        _ => (&R32, 8),
    }
}

/// Gives operand `operand` an addressing form, and registers so that it leads to `target`. False when that
/// target is out of the form's reach.
pub(super) fn memory(
    r: &mut Random,
    mode: Mode,
    i: &mut Instruction,
    operand: u32,
    target: u64,
    state: &mut State,
    next: u64,
) -> bool {
    i.set_op_kind(operand, OpKind::Memory);
    let size = if mode == Mode::Long && !r.chance(10) { 8 } else { 4 };
    let mask = if size == 8 { u64::MAX } else { u64::from(u32::MAX) };
    // A segment other than the default one.
    let mut base_of_segment = 0;
    if r.chance(10) {
        let segment = r.pick(&[Register::FS, Register::GS, Register::ES, Register::SS, Register::DS]);
        i.set_segment_prefix(segment);
        if mode == Mode::Long && matches!(segment, Register::FS | Register::GS) {
            let any = if size == 8 {
                r.bits() as i64 >> 17
            } else {
                (target.wrapping_sub(r.bits() & 0x7fff_ffff)) as i64
            };
            base_of_segment = (any << 16 >> 16) as u64;
            let field = if segment == Register::FS { &mut state.fs_base } else { &mut state.gs_base };
            *field = base_of_segment;
        }
    }
    let effective = target.wrapping_sub(base_of_segment);
    // What an offset that is not canonical by itself does, is said nowhere: AMD's processors fault.
    let canonical = |x: u64| (x as i64) << 16 >> 16 == x as i64;
    if size == 4 && effective > mask || canonical(target) && !canonical(effective) {
        return false;
    }
    let (names, count) = registers(mode, size);
    let displacement = |r: &mut Random| -> (i64, u32) {
        match r.below(3) {
            0 => (0, 0),
            1 => (r.bits() as i8 as i64, 1),
            _ => (r.bits() as i32 as i64, if size == 8 { 8 } else { 4 }),
        }
    };
    let form = r.below(10);
    // Relative to the next instruction.
    if form == 0 && mode == Mode::Long {
        let distance = effective.wrapping_sub(next) as i64;
        if distance != i64::from(distance as i32) || size == 4 && next > mask {
            return false;
        }
        i.set_memory_base(if size == 8 { Register::RIP } else { Register::EIP });
        i.set_memory_displacement64(effective);
        i.set_memory_displ_size(if size == 8 { 8 } else { 4 });
        return true;
    }
    // No register at all.
    if form == 1 {
        if size == 8 && effective as i64 != i64::from(effective as i32) {
            return false;
        }
        i.set_memory_displacement64(effective & mask);
        i.set_memory_displ_size(if size == 8 { 8 } else { 4 });
        return true;
    }
    let base = r.below(count as u64) as usize;
    let index = loop {
        let index = r.below(count as u64) as usize;
        if index != 4 {
            break index;
        }
    };
    let scale = 1u32 << r.below(4);
    let (disp, disp_size) = displacement(r);
    let garbage = if size == 4 && mode == Mode::Long { r.bits() << 32 } else { 0 };
    match form {
        // [index * scale + disp32]
        2 => {
            let value = r.bits() & 0x0fff_ffff;
            let rest = effective.wrapping_sub(value * u64::from(scale));
            if size == 8 && rest as i64 != i64::from(rest as i32) {
                return false;
            }
            i.set_memory_index(names[index]);
            i.set_memory_index_scale(scale);
            i.set_memory_displacement64(rest & mask);
            i.set_memory_displ_size(if size == 8 { 8 } else { 4 });
            state.r[index] = value | garbage;
        }
        // [base + index * scale + disp]
        3..=6 => {
            i.set_memory_base(names[base]);
            i.set_memory_index(names[index]);
            i.set_memory_index_scale(scale);
            if base == index {
                let value = r.bits() & 0x07ff_ffff;
                let rest = effective.wrapping_sub(value * (u64::from(scale) + 1));
                if size == 8 && rest as i64 != i64::from(rest as i32) {
                    return false;
                }
                i.set_memory_displacement64(rest & mask);
                i.set_memory_displ_size(if size == 8 { 8 } else { 4 });
                state.r[base] = value | garbage;
            } else {
                i.set_memory_displacement64(disp as u64 & mask);
                i.set_memory_displ_size(disp_size);
                let scaled = state.r[index].wrapping_mul(scale.into());
                state.r[base] = effective.wrapping_sub(scaled).wrapping_sub(disp as u64) & mask | garbage;
            }
        }
        // [base + disp]
        _ => {
            i.set_memory_base(names[base]);
            i.set_memory_displacement64(disp as u64 & mask);
            i.set_memory_displ_size(disp_size);
            state.r[base] = effective.wrapping_sub(disp as u64) & mask | garbage;
        }
    }
    true
}
