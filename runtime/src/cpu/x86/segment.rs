//! Segments: descriptors, loads of segment registers, far transfers of control (SDM vol. 3 chapter 5).

use super::Context;
use super::fault::{Fault, GP, NP, Res, SS as STACK_FAULT};
use super::flags;
use super::handler::Flow;
use super::mmu::is_canonical;
use super::state::{CS, DS, ES, FS, FS_BASE, GS, GS_BASE, SS, STEP, Segment, Vcpu};

/// A segment descriptor of 8 bytes, with the upper half of those of 16.
#[derive(Clone, Copy)]
pub(crate) struct Descriptor {
    low: u64,
    high: u64,
    /// It lies in its table as a whole.
    whole: bool,
}

impl Descriptor {
    fn access(&self) -> u64 {
        self.low >> 40 & 0xff
    }

    /// Type of a system descriptor, `None` for code and data.
    pub(crate) fn system_type(&self) -> Option<u8> {
        (self.access() & 0x10 == 0).then_some((self.access() & 0xf) as u8)
    }

    /// Whether it can be used, which takes both halves of one of 16 bytes.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(crate) fn is_code(&self) -> bool {
        self.access() & 0x18 == 0x18
    }

    pub(crate) fn is_conforming(&self) -> bool {
        self.access() & 0x1c == 0x1c
    }

    pub(crate) fn is_writable_data(&self) -> bool {
        self.access() & 0x1a == 0x12
    }

    /// Data, or code that may be read.
    pub(crate) fn is_readable(&self) -> bool {
        self.access() & 0x18 == 0x10 || self.access() & 0x1a == 0x1a
    }

    pub(crate) fn is_present(&self) -> bool {
        self.access() & 0x80 != 0
    }

    pub(crate) fn dpl(&self) -> u8 {
        (self.access() >> 5 & 3) as u8
    }

    /// Access rights as `lar` gives them.
    pub(crate) fn rights(&self) -> u64 {
        self.low >> 32 & 0x00f0_ff00
    }

    pub(crate) fn limit(&self) -> u32 {
        let limit = (self.low & 0xffff | self.low >> 32 & 0xf_0000) as u32;
        if self.low >> 55 & 1 != 0 { limit << 12 | 0xfff } else { limit }
    }

    /// The register that holds this descriptor.
    pub(crate) fn segment(&self, selector: u16) -> Segment {
        let base = self.low >> 16 & 0xff_ffff | self.low >> 32 & 0xff00_0000;
        let wide = if self.system_type().is_some() { self.high << 32 } else { 0 };
        let attributes = (self.low >> 40 & 0xff | self.low >> 40 & 0xf000) as u16;
        Segment { selector, attributes, limit: self.limit(), base: base | wide }
    }
}

/// Bits of `rflags` that `iret` takes at privilege level 0, but for the arithmetic ones.
const IRET_FLAGS: u64 = flags::TF | flags::DF | flags::NT | flags::RF | flags::AC | flags::ID;

/// A flat segment as `syscall` and its like load it (SDM vol. 2, SYSCALL).
fn flat(selector: u16, attributes: u16) -> Segment {
    Segment { selector, attributes, limit: u32::MAX, base: 0 }
}

/// 64-bit code, accessed, present, privilege level 0.
const CODE64: u16 = 0xa09b;
/// 32-bit code.
const CODE32: u16 = 0xc09b;
/// Writable data.
const DATA: u16 = 0xc093;
/// Privilege level 3 in the attributes.
const DPL3: u16 = 0x60;

impl Vcpu {
    /// Takes over a segment register as a whole.
    fn set_segment(&mut self, number: usize, segment: Segment) {
        self.segments[number] = segment;
        match number {
            FS => self.r[FS_BASE] = segment.base,
            GS => self.r[GS_BASE] = segment.base,
            _ => {}
        }
    }
}

impl Context<'_> {
    /// The descriptor of a selector: `None` for the null selector and for those beyond their table.
    pub(crate) fn descriptor(&mut self, selector: u16) -> Res<Option<Descriptor>> {
        let (base, limit) = if selector & 4 == 0 {
            (self.vcpu.gdtr.base, u32::from(self.vcpu.gdtr.limit))
        } else {
            (self.vcpu.ldtr.base, if self.vcpu.ldtr.attributes == 0 { 0 } else { self.vcpu.ldtr.limit })
        };
        let at = u32::from(selector & !7);
        if selector & !3 == 0 || at + 7 > limit {
            return Ok(None);
        }
        let address = base.wrapping_add(at.into());
        let low = self.as_system(|cx| cx.load(address, 8))?;
        let is_system = low >> 44 & 1 == 0;
        let whole = !is_system || at + 15 <= limit;
        let high =
            if is_system && whole { self.as_system(|cx| cx.load(address.wrapping_add(8), 8))? } else { 0 };
        Ok(Some(Descriptor { low, high, whole }))
    }

    /// Sets the accessed bit of the descriptor of a selector that is being loaded.
    fn mark_accessed(&mut self, selector: u16, descriptor: &Descriptor) -> Res<()> {
        if descriptor.low >> 40 & 1 != 0 {
            return Ok(());
        }
        let table = if selector & 4 == 0 { self.vcpu.gdtr.base } else { self.vcpu.ldtr.base };
        let at = table.wrapping_add(u64::from(selector & !7) + 5);
        let access = (descriptor.low >> 40 & 0xff) | 1;
        self.as_system(|cx| cx.store(at, 1, access))
    }

    /// Loads a segment register other than CS.
    pub(crate) fn load_segment(&mut self, number: usize, selector: u16) -> Res<()> {
        let cpl = self.vcpu.cpl;
        let fault = Fault::with_code(GP, u32::from(selector & !3));
        if selector & !3 == 0 {
            if number == SS && (!self.vcpu.long || cpl == 3 || (selector & 3) as u8 != cpl) {
                return Err(Fault::gp());
            }
            self.vcpu.set_segment(number, Segment { selector, ..Segment::default() });
            return Ok(());
        }
        let descriptor = self.descriptor(selector)?.ok_or(fault)?;
        let rpl = (selector & 3) as u8;
        if number == SS {
            if rpl != cpl || descriptor.dpl() != cpl || !descriptor.is_writable_data() {
                return Err(fault);
            }
        } else if !descriptor.is_readable() || !descriptor.is_conforming() && descriptor.dpl() < cpl.max(rpl)
        {
            return Err(fault);
        }
        if !descriptor.is_present() {
            let vector = if number == SS { STACK_FAULT } else { NP };
            return Err(Fault::with_code(vector, u32::from(selector & !3)));
        }
        self.mark_accessed(selector, &descriptor)?;
        let mut segment = descriptor.segment(selector);
        segment.attributes |= 1;
        self.vcpu.set_segment(number, segment);
        Ok(())
    }

    /// The code segment of a far transfer, checked; `level` is the privilege level that it must have.
    fn code_segment(&mut self, selector: u16, level: u8) -> Res<Segment> {
        let code = u32::from(selector & !3);
        let fault = Fault::with_code(GP, code);
        let descriptor = self.descriptor(selector)?.filter(Descriptor::is_code).ok_or(fault)?;
        let fits =
            if descriptor.is_conforming() { descriptor.dpl() <= level } else { descriptor.dpl() == level };
        let segment = descriptor.segment(selector & !3 | u16::from(level));
        let mode = segment.attributes & (Segment::LONG | Segment::BIG);
        if !fits || mode == Segment::LONG | Segment::BIG {
            return Err(fault);
        }
        if !descriptor.is_present() {
            return Err(Fault::with_code(NP, code));
        }
        self.mark_accessed(selector, &descriptor)?;
        Ok(segment)
    }

    /// Where a far transfer may go in the segment.
    fn check_target(segment: &Segment, target: u64) -> Res<()> {
        let long = segment.attributes & Segment::LONG != 0;
        let fits = if long { is_canonical(target) } else { target <= u64::from(segment.limit) };
        if fits { Ok(()) } else { Err(Fault::gp()) }
    }

    /// The code segment of a `jmp` or `call`, which stay at their level: a selector that asks for an outer
    /// one is for conforming segments.
    fn near_level_segment(&mut self, selector: u16) -> Res<Segment> {
        let segment = self.code_segment(selector, self.vcpu.cpl)?;
        let conforming = segment.attributes & 0x1c == 0x1c;
        if !conforming && (selector & 3) as u8 > self.vcpu.cpl {
            return Err(Fault::with_code(GP, u32::from(selector & !3)));
        }
        Ok(segment)
    }

    /// The selector and the address in the call gate that a far transfer names, if it is one (SDM vol. 3
    /// 5.8.3.1).
    fn call_gate(&mut self, selector: u16) -> Res<Option<(u16, u64)>> {
        const CALL_GATE: u8 = 12;
        let Some(gate) = self.descriptor(selector)?.filter(|d| d.system_type() == Some(CALL_GATE)) else {
            return Ok(None);
        };
        let code = u32::from(selector & !3);
        let upper_type = gate.high >> 40 & 0x1f;
        if !gate.is_whole() || upper_type != 0 || gate.dpl() < self.vcpu.cpl.max((selector & 3) as u8) {
            return Err(Fault::with_code(GP, code));
        }
        if !gate.is_present() {
            return Err(Fault::with_code(NP, code));
        }
        let target = gate.low & 0xffff | gate.low >> 32 & 0xffff_0000 | gate.high << 32;
        Ok(Some(((gate.low >> 16) as u16, target)))
    }

    /// The code segment that a call gate names, at the level that it gives: 64-bit code. A jump stays at its
    /// level.
    fn gate_segment(&mut self, selector: u16, target: u64, jumps: bool) -> Res<Segment> {
        if selector & !3 == 0 {
            return Err(Fault::gp());
        }
        let code = u32::from(selector & !3);
        let fault = Fault::with_code(GP, code);
        let descriptor = self.descriptor(selector)?.filter(Descriptor::is_code).ok_or(fault)?;
        let (conforming, cpl) = (descriptor.is_conforming(), self.vcpu.cpl);
        let level = if conforming { cpl } else { descriptor.dpl() };
        let segment = descriptor.segment(selector & !3 | u16::from(level));
        let is_long = segment.attributes & (Segment::LONG | Segment::BIG) == Segment::LONG;
        if descriptor.dpl() > cpl || jumps && level != cpl || !is_long {
            return Err(fault);
        }
        if !descriptor.is_present() {
            return Err(Fault::with_code(NP, code));
        }
        Self::check_target(&segment, target)?;
        self.mark_accessed(selector, &descriptor)?;
        Ok(segment)
    }

    /// `call` by a gate: to the same level, or to an inner one on its stack.
    fn gate_call(&mut self, selector: u16, target: u64, next: u64) -> Res<Flow> {
        let segment = self.gate_segment(selector, target, false)?;
        let (level, old) = ((segment.selector & 3) as u8, self.vcpu.cpl);
        let inner = level < old;
        let vcpu = &self.vcpu;
        let frame = [vcpu.segments[SS].selector.into(), vcpu.r[4], vcpu.segments[CS].selector.into(), next];
        let words = if inner { &frame[..] } else { &frame[2..] };
        let mut rsp = if inner { self.task_stack(4 + 8 * u64::from(level))? } else { vcpu.r[4] };
        self.vcpu.cpl = level;
        for word in words {
            rsp = rsp.wrapping_sub(8);
            let canonical = if is_canonical(rsp) { Ok(()) } else { Err(Fault::with_code(STACK_FAULT, 0)) };
            if let Err(fault) = canonical.and_then(|()| self.store(rsp, 8, *word)) {
                self.vcpu.cpl = old;
                return Err(fault);
            }
        }
        self.vcpu.r[4] = rsp;
        if inner {
            self.vcpu.segments[SS] = Segment { selector: level.into(), ..Segment::default() };
        }
        self.vcpu.segments[CS] = segment;
        self.vcpu.rip = target;
        self.vcpu.update_mode();
        Ok(Flow::Goto)
    }

    /// `jmp` to another segment, or by a gate, at the same privilege level. There are no task switches in
    /// long mode.
    pub(crate) fn far_jump(&mut self, selector: u16, target: u64) -> Res<Flow> {
        let (segment, target) = match self.call_gate(selector)? {
            Some((selector, target)) => (self.gate_segment(selector, target, true)?, target),
            None => {
                let segment = self.near_level_segment(selector)?;
                Self::check_target(&segment, target)?;
                (segment, target)
            }
        };
        self.vcpu.segments[CS] = segment;
        self.vcpu.rip = target;
        self.vcpu.update_mode();
        Ok(Flow::Goto)
    }

    /// `call` to another segment at the same privilege level, which pushes words of `size` bytes, or by a
    /// gate.
    pub(crate) fn far_call(&mut self, selector: u16, target: u64, size: usize, next: u64) -> Res<Flow> {
        if let Some((selector, target)) = self.call_gate(selector)? {
            return self.gate_call(selector, target, next);
        }
        let segment = self.near_level_segment(selector)?;
        Self::check_target(&segment, target)?;
        let rsp = self.vcpu.r[4];
        let first = self.stack_address(rsp.wrapping_sub(size as u64), size)?;
        self.store(first, size, self.vcpu.segments[CS].selector.into())?;
        let second = self.stack_address(rsp.wrapping_sub(2 * size as u64), size)?;
        self.store(second, size, next)?;
        self.set_stack_pointer(rsp.wrapping_sub(2 * size as u64));
        self.vcpu.segments[CS] = segment;
        self.vcpu.rip = target;
        self.vcpu.update_mode();
        Ok(Flow::Goto)
    }

    /// Whether the stack's addresses have 64 bits, 32 or 16: as a mask.
    pub(crate) fn stack_mask(&self) -> u64 {
        match (self.vcpu.long, self.vcpu.segments[SS].attributes & Segment::BIG != 0) {
            (true, _) => u64::MAX,
            (false, true) => 0xffff_ffff,
            (false, false) => 0xffff,
        }
    }

    /// Linear address of `size` bytes at `offset` in the stack.
    pub(crate) fn stack_address(&self, offset: u64, size: usize) -> Res<u64> {
        self.linear(SS, offset & self.stack_mask(), size)
    }

    /// Writes the stack pointer in the stack's width.
    pub(crate) fn set_stack_pointer(&mut self, value: u64) {
        let mask = self.stack_mask();
        let rsp = &mut self.vcpu.r[4];
        *rsp = match mask {
            0xffff => *rsp & !mask | value & mask,
            _ => value & mask,
        };
    }

    /// Pops the word of `size` bytes that is `index` words above the stack pointer, without moving that.
    pub(crate) fn peek(&mut self, index: u64, size: usize) -> Res<u64> {
        let at = self.stack_address(self.vcpu.r[4].wrapping_add(index * size as u64), size)?;
        self.load(at, size)
    }

    /// `retf`: words of `size` bytes; releases `release` bytes of parameters.
    pub(crate) fn far_return(&mut self, size: usize, release: u64) -> Res<Flow> {
        let target = self.peek(0, size)?;
        let selector = self.peek(1, size)? as u16;
        let level = (selector & 3) as u8;
        if level < self.vcpu.cpl {
            return Err(Fault::with_code(GP, u32::from(selector & !3)));
        }
        let segment = self.code_segment(selector, level)?;
        Self::check_target(&segment, target)?;
        let above = self.vcpu.r[4].wrapping_add(2 * size as u64 + release);
        if level == self.vcpu.cpl {
            self.set_stack_pointer(above);
            self.vcpu.segments[CS] = segment;
            self.vcpu.rip = target;
            self.vcpu.update_mode();
            return Ok(Flow::Goto);
        }
        let rsp_at = self.stack_address(above, size)?;
        let rsp = self.load(rsp_at, size)?;
        let ss_at = self.stack_address(above.wrapping_add(size as u64), size)?;
        let stack = self.load(ss_at, size)? as u16;
        self.outer_return(segment, target, stack, rsp.wrapping_add(release))?;
        Ok(Flow::Goto)
    }

    /// Goes to an outer privilege level, the one of the code segment.
    fn outer_return(&mut self, code: Segment, target: u64, stack: u16, rsp: u64) -> Res<()> {
        let level = (code.selector & 3) as u8;
        let (old_cpl, old_code) = (self.vcpu.cpl, self.vcpu.segments[CS]);
        self.vcpu.cpl = level;
        self.vcpu.segments[CS] = code;
        self.vcpu.update_mode();
        if let Err(fault) = self.load_segment(SS, stack) {
            self.vcpu.cpl = old_cpl;
            self.vcpu.segments[CS] = old_code;
            self.vcpu.update_mode();
            return Err(fault);
        }
        self.vcpu.rip = target;
        self.set_stack_pointer(rsp);
        // Segments that the outer level may not use are dropped (SDM vol. 2, IRET).
        for number in [ES, DS, FS, GS] {
            let segment = self.vcpu.segments[number];
            let conforming = segment.attributes & 0x1c == 0x1c;
            if segment.selector & !3 != 0 && !conforming && segment.dpl() < level {
                self.vcpu.set_segment(number, Segment::default());
            }
        }
        Ok(())
    }

    /// `iret`: words of `size` bytes.
    pub(crate) fn interrupt_return(&mut self, size: usize) -> Res<Flow> {
        if self.vcpu.rflags & flags::NT != 0 {
            return Err(Fault::gp());
        }
        let target = self.peek(0, size)?;
        let selector = self.peek(1, size)? as u16;
        let popped = self.peek(2, size)?;
        let level = (selector & 3) as u8;
        let old = self.vcpu.cpl;
        if level < old {
            return Err(Fault::with_code(GP, u32::from(selector & !3)));
        }
        // 64-bit mode always pops a stack pointer.
        let switches = self.vcpu.long || level > old;
        let (rsp, stack) = if switches { (self.peek(3, size)?, self.peek(4, size)? as u16) } else { (0, 0) };
        let segment = self.code_segment(selector, level)?;
        Self::check_target(&segment, target)?;
        let changes_interrupts = self.vcpu.has_io_privilege();
        if switches {
            self.outer_return(segment, target, stack, rsp)?;
        } else {
            let above = self.vcpu.r[4].wrapping_add(3 * size as u64);
            self.set_stack_pointer(above);
            self.vcpu.segments[CS] = segment;
            self.vcpu.rip = target;
            self.vcpu.update_mode();
        }
        let mut mask = flags::ARITHMETIC | IRET_FLAGS;
        if size == 2 {
            mask &= 0xffff;
        }
        if old == 0 {
            mask |= flags::IOPL;
        }
        if changes_interrupts {
            mask |= flags::IF;
        }
        let before = self.vcpu.all_flags();
        let flags = before & !mask | popped & mask;
        self.vcpu.set_all_flags(flags);
        self.vcpu.trap_due = before & !flags & flags::TF != 0;
        Ok(Flow::Goto)
    }

    /// `syscall` in 64-bit mode (compatibility mode has none on Intel's processors).
    pub(crate) fn system_call(&mut self, next: u64) -> Res<Flow> {
        let vcpu = &mut *self.vcpu;
        if vcpu.msr.efer & super::state::EFER_SCE == 0 || !vcpu.long {
            return Err(Fault::ud());
        }
        vcpu.r[1] = next;
        let all = vcpu.all_flags() & !flags::RF;
        vcpu.r[11] = all;
        vcpu.rip = vcpu.msr.lstar;
        let left = all & !vcpu.msr.fmask;
        vcpu.set_all_flags(left);
        let selector = (vcpu.msr.star >> 32) as u16 & !3;
        vcpu.segments[CS] = flat(selector, CODE64);
        vcpu.segments[SS] = flat(selector.wrapping_add(8), DATA);
        vcpu.cpl = 0;
        vcpu.update_mode();
        Ok(Flow::Goto)
    }

    /// `sysret`; `wide`: to 64-bit mode.
    pub(crate) fn system_return(&mut self, wide: bool) -> Res<Flow> {
        let vcpu = &mut *self.vcpu;
        if vcpu.msr.efer & super::state::EFER_SCE == 0 || !vcpu.long {
            return Err(Fault::ud());
        }
        if vcpu.cpl != 0 || wide && !is_canonical(vcpu.r[1]) {
            return Err(Fault::gp());
        }
        let base = (vcpu.msr.star >> 48) as u16;
        let (code, attributes) = if wide { (base.wrapping_add(16), CODE64) } else { (base, CODE32) };
        vcpu.rip = if wide { vcpu.r[1] } else { vcpu.r[1] & 0xffff_ffff };
        let all = vcpu.r[11] & !(flags::RF | 1 << 17);
        let traps = all & !vcpu.rflags & flags::TF != 0;
        vcpu.set_all_flags(all);
        vcpu.segments[CS] = flat(code | 3, attributes | DPL3);
        vcpu.segments[SS] = flat(base.wrapping_add(8) | 3, DATA | DPL3);
        vcpu.cpl = 3;
        vcpu.update_mode();
        if traps {
            // Unlike other instructions that set TF, this one is trapped after it, as if the system call had
            // just returned.
            vcpu.debug |= STEP;
        }
        Ok(Flow::Goto)
    }

    /// `sysenter`.
    pub(crate) fn system_enter(&mut self) -> Res<Flow> {
        let vcpu = &mut *self.vcpu;
        let selector = vcpu.msr.sysenter_cs as u16 & !3;
        if selector == 0 {
            return Err(Fault::gp());
        }
        vcpu.rflags &= !flags::IF;
        vcpu.r[4] = vcpu.msr.sysenter_esp;
        vcpu.rip = vcpu.msr.sysenter_eip;
        vcpu.segments[CS] = flat(selector, CODE64);
        vcpu.segments[SS] = flat(selector.wrapping_add(8), DATA);
        vcpu.cpl = 0;
        vcpu.update_mode();
        Ok(Flow::Goto)
    }

    /// `sysexit`; `wide`: to 64-bit mode.
    pub(crate) fn system_exit(&mut self, wide: bool) -> Res<Flow> {
        let vcpu = &mut *self.vcpu;
        let base = vcpu.msr.sysenter_cs as u16 & !3;
        let (rip, rsp) = (vcpu.r[2], vcpu.r[1]);
        if base == 0 || vcpu.cpl != 0 || wide && !(is_canonical(rip) && is_canonical(rsp)) {
            return Err(Fault::gp());
        }
        let (offset, attributes, mask) =
            if wide { (32, CODE64, u64::MAX) } else { (16, CODE32, 0xffff_ffff) };
        vcpu.rip = rip & mask;
        vcpu.r[4] = rsp & mask;
        vcpu.segments[CS] = flat(base.wrapping_add(offset) | 3, attributes | DPL3);
        vcpu.segments[SS] = flat(base.wrapping_add(offset + 8) | 3, DATA | DPL3);
        vcpu.cpl = 3;
        vcpu.update_mode();
        Ok(Flow::Goto)
    }
}
