//! Control and status words, the environment and the whole state (SDM vol. 1, 8.1.10, 8.1.11).

use super::stack::EXCEPTIONS;
use super::{check_available, check_waiting};
use crate::cpu::x86::Context;
use crate::cpu::x86::fault::Res;
use crate::cpu::x86::handler::{Flow, Handler};
use crate::cpu::x86::state::Fpu;
use forelift_abi::layout::PAGE_SIZE;
use forelift_softfloat::x87::F80;
use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind};

/// The function for an instruction, if it is one of these.
pub(super) fn handler(i: &Instruction) -> Option<Handler> {
    Some(match i.mnemonic() {
        Mnemonic::Fninit => fninit,
        Mnemonic::Fnclex => fnclex,
        // Of the 8087 and the 80287.
        Mnemonic::Fneni | Mnemonic::Fndisi | Mnemonic::Fnsetpm => {
            |cx, _| check_available(cx).map(|()| Flow::Next)
        }
        Mnemonic::Fldcw => fldcw,
        Mnemonic::Fnstcw => |cx, i| store_word(cx, i, |fpu| fpu.control),
        Mnemonic::Fnstsw => |cx, i| store_word(cx, i, Fpu::status_word),
        Mnemonic::Fnstenv => fnstenv,
        Mnemonic::Fldenv => fldenv,
        Mnemonic::Fnsave => fnsave,
        Mnemonic::Frstor => frstor,
        _ => return None,
    })
}

fn fninit(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    check_available(cx)?;
    cx.vcpu.fpu.reset();
    Ok(Flow::Next)
}

fn fnclex(cx: &mut Context<'_>, _: &Instruction) -> Res<Flow> {
    check_available(cx)?;
    cx.vcpu.fpu.status &= !0xff;
    Ok(Flow::Next)
}

fn fldcw(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_waiting(cx)?;
    let address = cx.linear_address(i)?;
    let word = cx.load(address, 2)? as u16;
    cx.vcpu.fpu.set_control_word(word);
    Ok(Flow::Next)
}

fn store_word(cx: &mut Context<'_>, i: &Instruction, word: fn(&Fpu) -> u16) -> Res<Flow> {
    check_available(cx)?;
    let word = word(&cx.vcpu.fpu);
    if i.op_kind(0) == OpKind::Register {
        cx.vcpu.set_gpr(i.op0_register(), word.into());
    } else {
        let address = cx.linear_address(i)?;
        cx.store(address, 2, word.into())?;
    }
    Ok(Flow::Next)
}

/// Bytes of an environment: of seven words, or of seven double words.
const SHORT: usize = 14;
const LONG: usize = 28;
/// Bytes of the largest state.
const STATE: usize = LONG + 80;

/// Whether the operand has words.
fn is_short(i: &Instruction) -> bool {
    matches!(i.memory_size(), MemorySize::FpuEnv14 | MemorySize::FpuState94)
}

impl Fpu {
    /// As `fninit` does: the registers keep what they hold.
    fn reset(&mut self) {
        *self = Fpu { registers: self.registers, ..Fpu::INITIAL };
    }

    /// Writes the environment in its protected-mode form; what is reserved is all ones. Selectors are not
    /// kept.
    fn put_environment(&self, short: bool, bytes: &mut [u8]) {
        let [control, status, tags] = [self.control, self.status_word(), self.tag_word()].map(u32::from);
        let (instruction, data) = (self.instruction as u32, self.data as u32);
        if short {
            let fields = [control, status, tags, instruction, 0, data, 0];
            for (field, to) in fields.into_iter().zip(bytes.chunks_exact_mut(2)) {
                to.copy_from_slice(&(field as u16).to_le_bytes());
            }
        } else {
            const RESERVED: u32 = 0xffff_0000;
            let opcode = u32::from(self.opcode & 0x7ff) << 16;
            let fields =
                [control | RESERVED, status | RESERVED, tags | RESERVED, instruction, opcode, data, RESERVED];
            for (field, to) in fields.into_iter().zip(bytes.chunks_exact_mut(4)) {
                to.copy_from_slice(&field.to_le_bytes());
            }
        }
    }

    fn take_environment(&mut self, short: bool, bytes: &[u8]) {
        let size = if short { 2 } else { 4 };
        let field = |n: usize| {
            let mut word = [0; 4];
            word[..size].copy_from_slice(&bytes[n * size..][..size]);
            u32::from_le_bytes(word)
        };
        self.set_control_word(field(0) as u16);
        self.set_status_word(field(1) as u16);
        self.set_tag_word(field(2) as u16);
        self.instruction = field(3).into();
        self.data = field(5).into();
        self.opcode = if short { 0 } else { (field(4) >> 16) as u16 & 0x7ff };
    }
}

fn fnstenv(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_available(cx)?;
    let address = cx.linear_address(i)?;
    let mut bytes = [0; LONG];
    let size = if is_short(i) { SHORT } else { LONG };
    cx.vcpu.fpu.put_environment(is_short(i), &mut bytes[..size]);
    cx.store_bytes(address, &bytes[..size])?;
    cx.vcpu.fpu.control |= EXCEPTIONS;
    Ok(Flow::Next)
}

fn fldenv(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_waiting(cx)?;
    let address = cx.linear_address(i)?;
    let mut bytes = [0; LONG];
    let size = if is_short(i) { SHORT } else { LONG };
    cx.load_bytes(address, &mut bytes[..size])?;
    cx.vcpu.fpu.take_environment(is_short(i), &bytes);
    Ok(Flow::Next)
}

fn fnsave(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_available(cx)?;
    let address = cx.linear_address(i)?;
    let mut bytes = [0; STATE];
    let size = if is_short(i) { SHORT } else { LONG };
    cx.vcpu.fpu.put_environment(is_short(i), &mut bytes[..size]);
    for n in 0..8 {
        bytes[size + 10 * n..][..10].copy_from_slice(&cx.vcpu.fpu.raw(n).to_bytes());
    }
    cx.store_long(address, &bytes[..size + 80])?;
    cx.vcpu.fpu.reset();
    Ok(Flow::Next)
}

fn frstor(cx: &mut Context<'_>, i: &Instruction) -> Res<Flow> {
    check_waiting(cx)?;
    let address = cx.linear_address(i)?;
    let mut bytes = [0; STATE];
    let size = if is_short(i) { SHORT } else { LONG };
    cx.load_long(address, &mut bytes[..size + 80])?;
    let fpu = &mut cx.vcpu.fpu;
    fpu.take_environment(is_short(i), &bytes);
    let valid = fpu.valid;
    for (n, register) in bytes[size..].chunks_exact(10).take(8).enumerate() {
        let mut ten = [0; 10];
        ten.copy_from_slice(register);
        fpu.set(n, F80::from_bytes(ten));
    }
    fpu.valid = valid;
    Ok(Flow::Next)
}

impl Context<'_> {
    /// Fills `bytes`, of which there may be a page's worth.
    pub(super) fn load_long(&mut self, address: u64, bytes: &mut [u8]) -> Res<()> {
        for (n, chunk) in bytes.chunks_mut(64).enumerate() {
            self.load_bytes(address.wrapping_add(64 * n as u64), chunk)?;
        }
        Ok(())
    }

    /// Writes `bytes`, a page's worth at most, all or nothing.
    pub(super) fn store_long(&mut self, address: u64, bytes: &[u8]) -> Res<()> {
        // Two pages at most: the second is met at its beginning.
        self.load_for_store(address, 1)?;
        let last = address.wrapping_add(bytes.len() as u64 - 1);
        self.load_for_store(address.max(last & !(PAGE_SIZE - 1)), 1)?;
        for (n, chunk) in bytes.chunks(64).enumerate() {
            self.store_bytes(address.wrapping_add(64 * n as u64), chunk)?;
        }
        Ok(())
    }
}
