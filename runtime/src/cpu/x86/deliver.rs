//! Delivery of exceptions and interrupts through the IDT (SDM vol. 3 chapter 6; in long mode 6.14).

use super::debug::{DR7, DR7_GD};
use super::fault::{BP, DB, DE, DF, Fault, GP, NP, OF, PF, Res, SS as STACK_FAULT, TS};
use super::flags::{IF, NT, RF, TF};
use super::handler::Flow;
use super::mmu::is_canonical;
use super::segment::Descriptor;
use super::state::{CS, PENDING, SS, Segment};
use super::{Context, Exit};

/// The source of an event: it decides about checks and error codes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// `int n`, `int3`, `into`: the gate's privilege level is checked.
    Software,
    /// The processor or a device.
    Hardware,
}

/// Whether a second such fault during the delivery of a first is a double fault (SDM vol. 3 table 6-5).
fn is_contributory(vector: u8) -> bool {
    matches!(vector, DE | TS | NP | STACK_FAULT | GP)
}

impl Context<'_> {
    /// Delivers a pending interrupt, if interrupts are enabled.
    pub(crate) fn take_interrupt(&mut self) -> Option<Exit> {
        if self.vcpu.rflags & IF == 0 || !self.bus.interrupt() || self.vcpu.user_only {
            return None;
        }
        let vector = self.bus.acknowledge()?;
        match self.deliver(vector, None, Source::Hardware) {
            Ok(()) => None,
            Err(fault) => self.raise(fault),
        }
    }

    /// Delivers an exception of the instruction at `vcpu.rip`; of a trap, `vcpu.rip` is the next
    /// instruction's already.
    pub(crate) fn raise(&mut self, fault: Fault) -> Option<Exit> {
        // Breakpoints that a faulting instruction met are met again when it is restarted.
        self.vcpu.debug &= !PENDING;
        if self.vcpu.user_only {
            return Some(Exit::Trap(fault));
        }
        let mut fault = fault;
        if fault.vector == PF {
            self.vcpu.cr2 = fault.address;
        }
        loop {
            let source = if matches!(fault.vector, BP | OF) { Source::Software } else { Source::Hardware };
            if !matches!(fault.vector, DB | BP | OF | DF) {
                // Goes to the stack only: the breakpoint on an instruction that faulted was reported before
                // (SDM vol. 3 17.3.1.1).
                self.vcpu.rflags |= RF;
            }
            let Err(second) = self.deliver(fault.vector, fault.code, source) else { return None };
            if second.vector == PF {
                // Also when it becomes a double fault (SDM vol. 3 6.15, #PF).
                self.vcpu.cr2 = second.address;
            }
            let double = match (fault.vector, second.vector) {
                (DF, _) => return Some(Exit::Shutdown { reset: true, failed: true }),
                (PF, PF) => true,
                (PF, second) => is_contributory(second),
                (first, second) => is_contributory(first) && is_contributory(second),
            };
            fault = if double { Fault::with_code(DF, 0) } else { second };
        }
    }

    /// `int n` and the like: delivers the event with `next` as its return address.
    pub(crate) fn software_interrupt(&mut self, vector: u8, next: u64) -> Res<Flow> {
        self.interrupt_after(vector, next, Source::Software)
    }

    /// `int1`: as `int n`, but the gate's privilege level does not matter (SDM vol. 2, INT1).
    pub(crate) fn debug_interrupt(&mut self, next: u64) -> Res<Flow> {
        self.interrupt_after(DB, next, Source::Hardware)
    }

    fn interrupt_after(&mut self, vector: u8, next: u64, source: Source) -> Res<Flow> {
        let at = core::mem::replace(&mut self.vcpu.rip, next);
        if self.vcpu.user_only {
            return Ok(Flow::Exit(Exit::Trap(Fault::plain(vector))));
        }
        match self.deliver(vector, None, source) {
            Ok(()) => Ok(Flow::Goto),
            Err(fault) => {
                self.vcpu.rip = at;
                Err(fault)
            }
        }
    }

    /// Runs `work` with the rights of the system, whatever the privilege level.
    pub(crate) fn as_system<T>(&mut self, work: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        let cpl = core::mem::replace(&mut self.vcpu.cpl, 0);
        let result = work(self);
        self.vcpu.cpl = cpl;
        result
    }

    /// Enters the handler of `vector` with `vcpu.rip` as return address. On a fault nothing has changed.
    fn deliver(&mut self, vector: u8, code: Option<u32>, source: Source) -> Res<()> {
        let external = u32::from(source == Source::Hardware);
        let gate_code = u32::from(vector) * 8 + 2 + external;
        let at = u64::from(vector) * 16;
        if at + 15 > u64::from(self.vcpu.idtr.limit) {
            return Err(Fault::with_code(GP, gate_code));
        }
        let base = self.vcpu.idtr.base.wrapping_add(at);
        let (low, high) = self.as_system(|cx| Ok((cx.load(base, 8)?, cx.load(base.wrapping_add(8), 8)?)))?;
        let kind = low >> 40 & 0x1f;
        let gate_dpl = (low >> 45 & 3) as u8;
        if !matches!(kind, 0xe | 0xf) || source == Source::Software && gate_dpl < self.vcpu.cpl {
            return Err(Fault::with_code(GP, gate_code));
        }
        if low >> 47 & 1 == 0 {
            return Err(Fault::with_code(NP, gate_code));
        }
        let entry = low & 0xffff | low >> 32 & 0xffff_0000 | high << 32;
        let selector = (low >> 16) as u16;
        let code_segment = self.descriptor(selector).map_err(|f| with_external(f, external))?;
        let target_code = u32::from(selector & !3) + external;
        let Some(code_segment) = code_segment.filter(Descriptor::is_code) else {
            return Err(Fault::with_code(GP, target_code));
        };
        let segment = code_segment.segment(selector);
        let new_cpl = if code_segment.is_conforming() { self.vcpu.cpl } else { segment.dpl() };
        if new_cpl > self.vcpu.cpl || segment.attributes & (Segment::LONG | Segment::BIG) != Segment::LONG {
            return Err(Fault::with_code(GP, target_code));
        }
        if segment.attributes & Segment::PRESENT == 0 {
            return Err(Fault::with_code(NP, target_code));
        }
        let inner = new_cpl < self.vcpu.cpl;
        let stack = match low >> 32 & 7 {
            0 if inner => self.task_stack(4 + 8 * u64::from(new_cpl))?,
            0 => self.vcpu.r[4],
            number => self.task_stack(28 + 8 * number)?,
        };
        if !is_canonical(stack) {
            return Err(Fault::with_code(STACK_FAULT, external));
        }
        let mut rsp = stack & !15;
        let flags = self.vcpu.all_flags();
        let frame = [
            u64::from(self.vcpu.segments[SS].selector),
            self.vcpu.r[4],
            flags,
            u64::from(self.vcpu.segments[CS].selector & !3) | u64::from(self.vcpu.cpl),
            self.vcpu.rip,
            u64::from(code.unwrap_or(0)),
        ];
        let words = frame.len() - usize::from(code.is_none());
        let old_cpl = core::mem::replace(&mut self.vcpu.cpl, new_cpl);
        for word in &frame[..words] {
            rsp = rsp.wrapping_sub(8);
            if let Err(fault) = self.store(rsp, 8, *word) {
                self.vcpu.cpl = old_cpl;
                return Err(fault);
            }
        }
        self.vcpu.r[4] = rsp;
        if inner {
            self.vcpu.segments[SS] = Segment { selector: u16::from(new_cpl), ..Segment::default() };
        }
        self.vcpu.segments[CS] = Segment { selector: selector & !3 | u16::from(new_cpl), ..segment };
        self.vcpu.rip = entry;
        if vector == DB {
            // The handler may use the debug registers (SDM vol. 3 17.2.4).
            self.vcpu.dr[DR7] &= !DR7_GD;
        }
        let cleared = TF | NT | RF | if kind == 0xe { IF } else { 0 };
        self.vcpu.rflags &= !cleared;
        self.vcpu.update_mode();
        Ok(())
    }

    /// A stack pointer from the task-state segment.
    pub(super) fn task_stack(&mut self, offset: u64) -> Res<u64> {
        if offset + 7 > u64::from(self.vcpu.tr.limit) {
            return Err(Fault::with_code(TS, u32::from(self.vcpu.tr.selector & !3)));
        }
        let at = self.vcpu.tr.base.wrapping_add(offset);
        self.as_system(|cx| cx.load(at, 8))
    }
}

fn with_external(fault: Fault, external: u32) -> Fault {
    if fault.vector == PF { fault } else { Fault { code: fault.code.map(|code| code | external), ..fault } }
}
