//! Cases on the interpreter.

use crate::case::{Case, Fx, Mode, Outcome, Stop, flag, vector};
use crate::layout::{
    CODE, CODE_SIZE, CS_COMPAT, CS_LONG, DATA, DATA_SIZE, DS, HIGH, MEMORY_SIZE, PAGE, READ_ONLY, STACK,
    STACK_SIZE, read_only_page,
};
use forelift_abi::layout::RAM_BASE;
use forelift_runtime::cpu::x86::state::{CR0_AM, CR0_PG, FS_BASE, GS_BASE, Segment, Table};
use forelift_runtime::cpu::x86::{Cpu, Exit, NoDevices};
use forelift_runtime::memory::GuestMemory;

/// Physical addresses: page tables from [`TABLES`] on, and what they lead to.
const TABLES: u64 = RAM_BASE;
const GDT_AT: u64 = RAM_BASE + 0x4_0000;
const CODE_AT: u64 = RAM_BASE + 0x5_0000;
const MEMORY_AT: u64 = RAM_BASE + 0x6_0000;
const READ_ONLY_AT: u64 = RAM_BASE + 0x7_0000;
const RAM: usize = 0x8_0000;
/// Where the descriptor table is, for the system only.
const GDT: u64 = 0xffff_ffff_8000_0000;

/// The descriptors that Linux has for user code (arch/x86/include/asm/segment.h): 32-bit code, data, 64-bit
/// code.
const DESCRIPTORS: [(u16, u64); 4] = [
    (CS_COMPAT, 0x00cf_fb00_0000_ffff),
    (DS, 0x00cf_f300_0000_ffff),
    (CS_LONG, 0x00af_fb00_0000_ffff),
    // Its limit is the processor's number.
    (0x7b, 0x0040_f500_0000_0000),
];

/// Page-table bits: present, writable, for user code, accessed and dirty, not executable.
const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const AD: u64 = 0x60;
const NX: u64 = 1 << 63;

/// Instructions after which a case counts as endless. Nothing that ends on the host needs as many.
const BUDGET: u64 = 200_000_000;

/// The interpreter with page tables that put a case where it is on the host.
pub struct Emulated {
    cpu: Cpu,
    mem: GuestMemory,
    tables: u64,
    /// The mode that the processor is in.
    mode: Option<Mode>,
    /// What the code pages hold besides int3.
    old_code: (usize, usize),
}

impl Emulated {
    /// A processor in user mode.
    ///
    /// # Panics
    /// When the host has no memory for it.
    pub fn new() -> Self {
        let mem = GuestMemory::new(RAM, None).unwrap_or_else(|e| panic!("guest memory: {e}"));
        let mut new = Emulated {
            cpu: Cpu::new(&mem),
            mem,
            tables: TABLES + PAGE,
            mode: None,
            old_code: (0, CODE_SIZE),
        };
        new.map(CODE, CODE_AT, CODE_SIZE, P | U);
        new.map(DATA, MEMORY_AT, DATA_SIZE, P | W | U | NX);
        new.map(HIGH, MEMORY_AT, DATA_SIZE, P | W | U | NX);
        new.map(STACK, MEMORY_AT + DATA_SIZE as u64, STACK_SIZE, P | W | U | NX);
        new.map(READ_ONLY, READ_ONLY_AT, PAGE as usize, P | U | NX);
        new.map(GDT, GDT_AT, PAGE as usize, P | W | NX);
        assert!(new.mem.write(READ_ONLY_AT, &read_only_page()), "there is RAM");
        for (selector, descriptor) in DESCRIPTORS {
            assert!(
                new.mem.write(GDT_AT + u64::from(selector & !7), &descriptor.to_le_bytes()),
                "there is RAM"
            );
        }
        let hart = &mut new.cpu.vcpu;
        hart.cr3 = TABLES;
        hart.cr0 |= CR0_PG | CR0_AM;
        hart.gdtr = Table { base: GDT, limit: 127 };
        new
    }

    fn map(&mut self, va: u64, pa: u64, size: usize, flags: u64) {
        for offset in (0..size as u64).step_by(PAGE as usize) {
            let va = va + offset;
            let mut table = TABLES;
            for level in (1..4).rev() {
                let at = table + (va >> (12 + 9 * level) & 0x1ff) * 8;
                let mut entry = self.mem.read_array(at).map_or(0, u64::from_le_bytes);
                if entry & P == 0 {
                    entry = self.tables | P | W | U | AD;
                    self.tables += PAGE;
                    assert!(
                        self.tables <= GDT_AT && self.mem.write(at, &entry.to_le_bytes()),
                        "room for tables"
                    );
                }
                table = entry & 0xf_ffff_ffff_f000;
            }
            let leaf = (pa + offset) | flags | AD;
            assert!(self.mem.write(table + (va >> 12 & 0x1ff) * 8, &leaf.to_le_bytes()), "room for tables");
        }
    }

    fn load(&mut self, case: &Case) {
        let (from, len) = self.old_code;
        let mut code = vec![0xcc; len];
        assert!(self.mem.write(CODE_AT + from as u64, &code), "there is RAM");
        code.clone_from(&case.code);
        assert!(self.mem.write(CODE_AT + case.code_at as u64, &code), "there is RAM");
        self.old_code = (case.code_at, code.len());
        assert!(self.mem.write(MEMORY_AT, &case.memory[..]), "there is RAM");
        let hart = &mut self.cpu.vcpu;
        let state = &case.state;
        if self.mode != Some(case.mode) {
            // What a snapshot's state goes through puts all in order that depends on the mode.
            let mut saved = hart.save();
            saved.cpl = 3;
            for (segment, selector) in saved.segments.iter_mut().zip(state.segments) {
                *segment = descriptor(selector);
            }
            hart.restore(&saved);
            hart.user_only = true;
            self.mode = Some(case.mode);
        }
        hart.r[..16].copy_from_slice(&state.r);
        (hart.r[FS_BASE], hart.r[GS_BASE]) = (state.fs_base, state.gs_base);
        hart.rip = state.rip;
        hart.set_all_flags(state.flags | if case.steps > 0 { flag::TF } else { 0 });
        hart.inhibit = false;
        for (segment, selector) in hart.segments.iter_mut().zip(state.segments) {
            *segment = descriptor(selector);
        }
        let fx = &state.fx;
        hart.mxcsr = fx.mxcsr;
        for (to, from) in hart.xmm.iter_mut().zip(fx.xmm) {
            *to = [from as u64, (from >> 64) as u64];
        }
        let fpu = &mut hart.fpu;
        fpu.control = fx.cw;
        fpu.top = (fx.sw >> 11 & 7) as u8;
        fpu.status = fx.sw & !0x3800;
        fpu.valid = fx.tag;
        for (i, st) in fx.st.iter().enumerate() {
            let register = &mut fpu.registers[(usize::from(fpu.top) + i) & 7];
            register.mantissa = *st as u64;
            register.sign_exponent = (st >> 64) as u16;
        }
    }

    fn outcome(&self, case: &Case, stop: Stop) -> Outcome {
        let saved = self.cpu.vcpu.save();
        let mut state = case.state.clone();
        state.r.copy_from_slice(&saved.r[..16]);
        (state.fs_base, state.gs_base) = (saved.r[16], saved.r[17]);
        state.rip = saved.rip;
        state.flags = saved.rflags | flag::ONE;
        for (to, from) in state.segments.iter_mut().zip(saved.segments) {
            *to = from.selector;
        }
        let fpu = &saved.fpu;
        let mut fx = Fx { cw: fpu.control, tag: fpu.valid, mxcsr: saved.mxcsr, ..Fx::default() };
        // The summary bits follow from the others; the processor makes them up where the word is stored.
        let summary = if fpu.status & !fpu.control & 0x3f != 0 { 0x8080 } else { 0 };
        fx.sw = fpu.status & !0x8080 | summary | u16::from(fpu.top) << 11;
        for (i, st) in fx.st.iter_mut().enumerate() {
            let register = &fpu.registers[(usize::from(fpu.top) + i) & 7];
            *st = u128::from(register.mantissa) | u128::from(register.sign_exponent) << 64;
        }
        for (to, from) in fx.xmm.iter_mut().zip(saved.xmm) {
            *to = u128::from(from[0]) | u128::from(from[1]) << 64;
        }
        state.fx = fx;
        let mut memory: Box<[u8; MEMORY_SIZE]> = Box::new([0; MEMORY_SIZE]);
        memory.copy_from_slice(self.mem.slice(MEMORY_AT, MEMORY_SIZE).unwrap_or(&[]));
        Outcome { stop, state, memory }
    }

    /// Instructions that all cases have retired.
    pub fn retired(&self) -> u64 {
        self.cpu.vcpu.instret
    }

    /// Executes one case.
    pub fn run(&mut self, case: &Case) -> Outcome {
        self.load(case);
        if case.steps > 0 {
            let stop = self.steps(case.steps);
            return self.outcome(case, stop);
        }
        let end = self.cpu.vcpu.instret + BUDGET;
        // Each round may end early, where an instruction can be interrupted.
        for _ in 0..BUDGET {
            match self.cpu.run(&mut self.mem, &mut NoDevices, 100_000) {
                Exit::Budget if self.cpu.vcpu.instret < end => {}
                exit => {
                    let stop = stop(exit);
                    return self.outcome(case, stop);
                }
            }
        }
        self.outcome(case, Stop::Endless)
    }

    /// Single steps, as the host's trap flag makes them.
    fn steps(&mut self, steps: u32) -> Stop {
        for _ in 0..steps {
            match self.cpu.step(&mut self.mem, &mut NoDevices).map(stop) {
                None | Some(Stop::Trap { vector: vector::DB, .. }) => {}
                Some(other) => return other,
            }
        }
        Stop::Trap { vector: vector::DB, code: 0, address: 0 }
    }
}

impl Default for Emulated {
    fn default() -> Self {
        Self::new()
    }
}

fn stop(exit: Exit) -> Stop {
    match exit {
        Exit::Trap(fault) => {
            Stop::Trap { vector: fault.vector, code: fault.code.unwrap_or(0), address: fault.address }
        }
        Exit::Budget => Stop::Endless,
        Exit::Halt | Exit::Shutdown { .. } => Stop::Lost,
    }
}

/// A segment register that holds a selector of the table above.
fn descriptor(selector: u16) -> Segment {
    let Some((_, descriptor)) = DESCRIPTORS.iter().find(|d| d.0 == selector) else {
        return Segment { selector, ..Segment::default() };
    };
    let high = (descriptor >> 32) as u32;
    Segment { selector, attributes: (high >> 8 & 0xf0ff) as u16, limit: u32::MAX, base: 0 }
}
