//! What the processors of the two makers do differently although no manual calls it undefined. The guest's
//! processor does as AMD's there; a host of Intel's is right in its own way.

use crate::case::{Case, Mode, Outcome, RCX, RDI, RSI, RSP, Stop, vector};
use crate::generate::location;
use crate::layout::{DATA_SIZE, MEMORY_SIZE};
use crate::undefined::{Undefined, offset};
use iced_x86::{Instruction, Mnemonic, OpKind};
use std::arch::x86_64::__cpuid;
use std::ops::Range;

/// Who made a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// AMD, and all that is not Intel's.
    Amd,
    /// Intel.
    Intel,
}

/// The exception masks of the x87 control word.
const MASKS: u16 = 0x3f;

/// Whether an instruction pushes or pops a segment register.
fn moves_selector(i: &Instruction) -> bool {
    i.op0_kind() == OpKind::Register && i.op0_register().is_segment_register()
}

/// Whether an instruction stores an x87 register after a conversion that may raise exceptions.
fn converts_and_stores(i: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(i.mnemonic(), Fst | Fstp | Fist | Fistp | Fisttp | Fbstp) && i.op0_kind() == OpKind::Memory
}

/// Whether a stop is about an operand in memory.
fn in_memory(stop: Stop) -> bool {
    matches!(stop, Stop::Trap { vector: vector::PF | vector::GP | vector::SS, .. })
}

/// Where the stack's operand lies beyond the selector's two bytes.
fn beyond_selector(i: &Instruction, case: &Case) -> Range<u64> {
    let (moved, rsp) = (i64::from(i.stack_pointer_increment()), case.state.r[RSP]);
    let low = if moved < 0 { rsp.wrapping_add_signed(moved) } else { rsp };
    low.wrapping_add(2)..low.wrapping_add(moved.unsigned_abs())
}

/// Whether a repeated string instruction has 32-bit addresses in 64-bit mode.
fn repeats_in_low_half(i: &Instruction) -> bool {
    let short = |n| matches!(i.op_kind(n), OpKind::MemorySegESI | OpKind::MemoryESEDI);
    let repeated = i.has_rep_prefix() || i.has_repne_prefix();
    i.is_string_instruction() && repeated && (0..i.op_count()).any(short)
}

/// Whether an instruction stores an MMX register.
fn stores_mmx(i: &Instruction) -> bool {
    i.op0_kind() == OpKind::Memory && i.op1_kind() == OpKind::Register && i.op1_register().is_mm()
}

/// The bytes of memory that an instruction which faults may have written before. An x87 operand of ten bytes
/// is stored as eight and two; a call pushes where it comes from before it looks where it goes to.
fn written_before(i: &Instruction, case: &Case) -> Range<u64> {
    match i.mnemonic() {
        Mnemonic::Fstp | Mnemonic::Fbstp if i.memory_size().size() == 10 => {
            location(case, i).map_or(0..0, |at| at..at.wrapping_add(8))
        }
        Mnemonic::Call if matches!(i.op0_kind(), OpKind::Register | OpKind::Memory) => {
            let rsp = case.state.r[RSP];
            rsp.wrapping_add_signed(i.stack_pointer_increment().into())..rsp
        }
        _ => 0..0,
    }
}

/// Whether a repeated move reads and writes the same bytes at different addresses.
fn moves_through_both_views(i: &Instruction, case: &Case) -> bool {
    use Mnemonic::*;
    let [from, to] = [RSI, RDI].map(|n| case.state.r[n]);
    let moves = matches!(i.mnemonic(), Movsb | Movsw | Movsd | Movsq) && i.is_string_instruction();
    let inside = |address| offset(address).is_some_and(|at| at < DATA_SIZE);
    moves && i.has_rep_prefix() && inside(from) && inside(to) && from.abs_diff(to) >= DATA_SIZE as u64
}

impl Maker {
    /// The maker of the processor that this runs on.
    pub fn of_host() -> Self {
        let name = __cpuid(0);
        let name = [name.ebx, name.edx, name.ecx].map(u32::to_le_bytes).concat();
        if name == b"GenuineIntel" { Maker::Intel } else { Maker::Amd }
    }

    /// Whether a host of this maker may stop elsewhere than the guest's processor.
    pub(crate) fn stops_elsewhere(self, i: &Instruction, case: &Case, host: Stop, here: Stop) -> bool {
        if self == Maker::Amd {
            return false;
        }
        match i.mnemonic() {
            // The first bound may be compared before the second is read.
            Mnemonic::Bound => {
                let vectors = [host, here].map(|stop| match stop {
                    Stop::Trap { vector, .. } => vector,
                    _ => 0,
                });
                [[vector::BR, vector::PF], [vector::PF, vector::BR]].contains(&vectors)
            }
            // SDM vol. 2 PUSH: Intel's processors move 16 bits.
            Mnemonic::Push | Mnemonic::Pop if moves_selector(i) => matches!(
                here,
                Stop::Trap { vector: vector::PF, address, .. } if beyond_selector(i, case).contains(&address)
            ),
            // An exception that is not masked, or the fault of an address that nothing is stored to.
            _ if converts_and_stores(i) => {
                case.state.fx.cw & MASKS != MASKS && (in_memory(host) || in_memory(here))
            }
            _ => false,
        }
    }

    /// Adds what a host of this maker may leave otherwise than the guest's processor.
    pub(crate) fn leave(self, i: &Instruction, case: &Case, host: &Outcome, skip: &mut Undefined) {
        if self == Maker::Amd {
            return;
        }
        // Also when not one element is moved.
        if case.mode == Mode::Long && repeats_in_low_half(i) {
            skip.upper_halves |= 1 << RSI | 1 << RDI | 1 << RCX;
        }
        // Which NaN a sum of two is.
        skip.nans |= matches!(i.mnemonic(), Mnemonic::Dpps | Mnemonic::Dppd);
        if moves_through_both_views(i, case) {
            skip.bytes.push(0..MEMORY_SIZE);
        }
        let pushed = i.mnemonic() == Mnemonic::Push && moves_selector(i);
        if pushed && host.state.rip != case.state.rip {
            skip.bytes.extend(beyond_selector(i, case).filter_map(offset).map(|at| at..at + 1));
        }
        if in_memory(host.stop) && host.state.rip == case.state.rip {
            skip.bytes.extend(written_before(i, case).filter_map(offset).map(|at| at..at + 1));
            // MMX's use of the x87 registers begins before the fault.
            skip.x87 |= stores_mmx(i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::difference;
    use crate::emulated::Emulated;
    use crate::generate::Single;
    use crate::layout::{DATA, HIGH, STACK};
    use iced_x86::{Decoder, DecoderOptions};

    fn single(mode: Mode, code: &[u8]) -> Single {
        let case = Case::new(mode, code);
        let mut decoder = Decoder::with_ip(mode.bits(), code, case.state.rip, DecoderOptions::NONE);
        Single { instruction: decoder.decode(), case }
    }

    /// What each maker's host says of a case when its outcome is the guest's but for `change`: only a
    /// host of Intel's may.
    fn only_intel(single: &Single, change: impl Fn(&mut Outcome)) {
        let here = Emulated::new().run(&single.case);
        let mut host = here.clone();
        change(&mut host);
        let differs = |maker, host: &Outcome| difference(maker, single, host, &here).is_some();
        let name = single.instruction.code();
        assert_eq!((differs(Maker::Amd, &host), differs(Maker::Intel, &host)), (true, false), "{name:?}");
        // And not whatever it likes.
        host.state.r[8] ^= 1;
        let elsewhere = host.stop != here.stop;
        assert!(elsewhere || differs(Maker::Intel, &host), "{name:?}");
    }

    const PAGE_FAULT: Stop = Stop::Trap { vector: vector::PF, code: 4, address: 0 };

    #[test]
    fn a_pushed_selector_is_two_bytes() {
        // push fs
        let mut case = single(Mode::Long, &[0x0f, 0xa0]);
        case.case.state.r[RSP] = STACK + 64;
        only_intel(&case, |host| host.memory[DATA_SIZE + 58..][..6].fill(0xaa));
        // Its two bytes are.
        let here = Emulated::new().run(&case.case);
        let mut host = here.clone();
        host.memory[DATA_SIZE + 57] ^= 1;
        assert!(difference(Maker::Intel, &case, &host, &here).is_some());
    }

    #[test]
    fn a_popped_selector_is_two_bytes() {
        // pop fs, of which the last two bytes are on no page.
        let mut case = single(Mode::Long, &[0x0f, 0xa1]);
        case.case.state.r[RSP] = STACK + 4096 - 6;
        only_intel(&case, |host| {
            host.stop = Stop::Trap { vector: vector::BP, code: 0, address: 0 };
            host.state.rip += 2;
            host.state.r[RSP] += 8;
        });
    }

    #[test]
    fn registers_of_short_addresses_are_halves() {
        // rep movsd [edi], [esi] of nothing
        let mut case = single(Mode::Long, &[0x67, 0xf3, 0xa5]);
        case.case.state.r[RSI] = 0xf656_6775_0000_037d;
        only_intel(&case, |host| host.state.r[RSI] &= 0xffff_ffff);
    }

    #[test]
    fn memory_seen_twice_is_moved_in_any_pieces() {
        // rep movsb
        let mut case = single(Mode::Long, &[0xf3, 0xa4]);
        (case.case.state.r[RSI], case.case.state.r[RDI]) = (HIGH, DATA + 8);
        case.case.state.r[RCX] = 64;
        only_intel(&case, |host| host.memory[20] ^= 1);
    }

    #[test]
    fn either_nan_is_the_sum() {
        // dpps xmm1, xmm2, 0xff
        let mut case = single(Mode::Long, &[0x66, 0x0f, 0x3a, 0x40, 0xca, 0xff]);
        case.case.state.fx.xmm[1] = 0x3f80_0000_3f80_0000_7fc0_0001_7fc0_0002;
        case.case.state.fx.xmm[2] = 0x3f80_0000_3f80_0000_3f80_0000_3f80_0000;
        only_intel(&case, |host| {
            host.state.fx.xmm[1] = u128::from(0x7fc0_0001u32) * (1 << 96 | 1 << 64 | 1 << 32 | 1)
        });
        let here = Emulated::new().run(&case.case);
        let mut host = here.clone();
        host.state.fx.xmm[1] = 0x3f80_0000;
        assert!(difference(Maker::Intel, &case, &host, &here).is_some());
    }

    #[test]
    fn what_is_not_stored_need_not_fault() {
        // fst dword ptr [rbx] of a value that is too large, with overflows unmasked
        let mut case = single(Mode::Long, &[0xd9, 0x13]);
        case.case.state.fx.cw = 0x37f & !8;
        case.case.state.fx.tag = 1;
        case.case.state.fx.st[0] = 0x7ffe_8000_0000_0000_0000;
        only_intel(&case, |host| {
            host.stop = if host.stop == PAGE_FAULT {
                Stop::Trap { vector: vector::BP, code: 0, address: 0 }
            } else {
                PAGE_FAULT
            };
        });
    }

    #[test]
    fn what_faults_in_its_end_may_have_begun() {
        // fstp tbyte ptr [rbx], of which the last byte is on no page
        let mut case = single(Mode::Long, &[0xdb, 0x3b]);
        case.case.state.fx.tag = 1;
        case.case.state.r[3] = DATA + DATA_SIZE as u64 - 9;
        only_intel(&case, |host| host.memory[DATA_SIZE - 9..][..8].fill(0xaa));
        // call rax, to an address that is not canonical
        let mut case = single(Mode::Long, &[0xff, 0xd0]);
        (case.case.state.r[0], case.case.state.r[RSP]) = (1 << 62, STACK + 64);
        only_intel(&case, |host| host.memory[DATA_SIZE + 56..][..8].fill(0xaa));
    }

    #[test]
    fn a_store_that_faults_uses_mmx() {
        // movq [rbx], mm0
        let mut case = single(Mode::Long, &[0x0f, 0x7f, 0x03]);
        (case.case.state.r[3], case.case.state.fx.sw) = (0, 5 << 11);
        only_intel(&case, |host| host.state.fx.sw = 0);
    }

    #[test]
    fn a_bound_is_passed_before_the_other_is_read() {
        // bound eax, [ebx] at the end of the data
        let mut case = single(Mode::Compat, &[0x62, 0x03]);
        case.case.state.r[3] = DATA + DATA_SIZE as u64 - 4;
        only_intel(&case, |host| host.stop = Stop::Trap { vector: vector::BR, code: 0, address: 0 });
    }
}
