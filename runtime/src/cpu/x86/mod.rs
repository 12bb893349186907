//! The x86-64 virtual CPU: an interpreter of predecoded instructions, with MMU, segmentation and exceptions.
//! It knows long mode only, with 64-bit code and 32-bit code in compatibility mode: kernels are entered
//! there.
//!
//! iced-x86 decodes. Every instruction is implemented by a function of its [`family`], which works on the
//! decoded instruction and is complete. Frequent instructions are predecoded further, into entries that the
//! interpreter's one `match` executes; an entry that cannot go on (a TLB miss, a fault, a device) falls back
//! to the family's function. Both share the arithmetic of [`flags`], and are tested against the host's CPU.
//!
//! | file | what it holds |
//! |---|---|
//! | [`state`] | registers and TLBs: [`Vcpu`], at a fixed address in WebAssembly |
//! | [`flags`] | arithmetic flags, computed lazily |
//! | [`fault`] | exceptions as values |
//! | [`mmu`] | page walk, TLB fill, memory accesses that miss the TLB |
//! | [`operand`] | operands of a decoded instruction: registers, addresses, immediates |
//! | `table` | the fast path: one row for each kind of entry, with all that is known of it |
//! | `kind` | kinds of entry and their facts, expanded from the table |
//! | `select` | the kind and the operands of a decoded instruction |
//! | [`entry`] | the predecoded form of an instruction |
//! | [`predecode`] | decoding of blocks: fusing, dead flags |
//! | [`cache`] | decoded blocks by physical page |
//! | [`exec`] | the run loop: budget, interrupts, single steps |
//! | `switch` | the interpreter: one `match` over entries |
//! | `slow` | what entries cannot do by themselves |
//! | `handler` | the type of the families' functions |
//! | [`family`] | all instructions, by family |
//! | [`segment`] | descriptors, segment registers, far transfers, `syscall`, `iret` |
//! | [`deliver`] | delivery of exceptions and interrupts |
//! | [`debug`] | debug registers: breakpoints, single steps |
//! | [`cpuid`] | what `cpuid` reports |

pub mod cache;
pub mod cpuid;
pub mod debug;
pub mod deliver;
pub mod entry;
pub mod exec;
pub mod family;
pub mod fault;
pub mod flags;
mod handler;
mod kind;
pub mod mmu;
mod named;
pub mod operand;
pub mod predecode;
pub mod segment;
mod select;
mod slow;
pub mod state;
mod switch;
mod table;

use crate::memory::GuestMemory;
use cache::Cache;
use fault::Fault;
use state::{Vcpu, VcpuCell};

/// What the processor needs from the rest of the machine. The provided methods are those of a machine without
/// devices.
pub trait Bus {
    /// The processor is about to use a device, or the registers of one: `instret` instructions have retired
    /// since the machine was made. Virtual time follows them.
    fn advance(&mut self, instret: u64) {
        let _ = instret;
    }
    /// Reads `size` (1, 2, 4 or 8) bytes of a device register. Nothing there: all ones.
    fn read(&mut self, mem: &mut GuestMemory, pa: u64, size: u8) -> u64 {
        let _ = (mem, pa, size);
        u64::MAX
    }
    /// Writes a device register. Nothing there: no effect.
    fn write(&mut self, mem: &mut GuestMemory, pa: u64, size: u8, value: u64) {
        let _ = (mem, pa, size, value);
    }
    /// `in`: `size` is 1, 2 or 4. Nothing there: all ones.
    fn port_in(&mut self, port: u16, size: u8) -> u32 {
        let _ = (port, size);
        u32::MAX
    }
    /// `out`: `size` is 1, 2 or 4. Returns what the machine has to do because of it.
    fn port_out(&mut self, port: u16, size: u8, value: u32) -> Option<Exit> {
        let _ = (port, size, value);
        None
    }
    /// Whether the interrupt controllers ask for an interrupt.
    fn interrupt(&mut self) -> bool {
        false
    }
    /// Acknowledges the interrupt: its vector, `None` for a spurious one that is gone again.
    fn acknowledge(&mut self) -> Option<u8> {
        None
    }
    /// The time-stamp counter when `instret` instructions have retired since the machine was made; it counts
    /// those where there is no clock.
    fn tsc(&mut self, instret: u64) -> u64 {
        instret
    }
    /// Reads a model-specific register that belongs to a device (local APIC base, TSC deadline); `None`:
    /// there is no such register.
    fn msr_read(&mut self, number: u32) -> Option<u64> {
        let _ = number;
        None
    }
    /// Writes one; false: there is no such register, or it does not take the value.
    fn msr_write(&mut self, number: u32, value: u64) -> bool {
        let _ = (number, value);
        false
    }
    /// `cr8`: the local APIC's task priority, 0-15.
    fn task_priority(&mut self) -> u8 {
        0
    }
    /// Writes `cr8`.
    fn set_task_priority(&mut self, priority: u8) {
        let _ = priority;
    }
}

/// A machine without devices.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDevices;

impl Bus for NoDevices {}

/// Why [`Cpu::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The budget is used up.
    Budget,
    /// The processor is halted until an interrupt comes.
    Halt,
    /// The guest asked to be switched off (false) or reset (true), or a third fault in a row did.
    Shutdown {
        /// Reset instead of power off.
        reset: bool,
        /// A triple fault.
        failed: bool,
    },
    /// [`Vcpu::user_only`] is set and an exception came up; `rip` is the instruction's (for traps, the next
    /// one's).
    Trap(Fault),
}

/// The processor and its decoded code.
pub struct Cpu {
    /// Architectural state and TLBs, by the name that it has in every guest's processor.
    pub vcpu: VcpuCell,
    cache: Cache,
}

impl Cpu {
    /// A processor in 64-bit mode at privilege level 0 with all registers zero and paging off, for `mem`.
    pub fn new(mem: &GuestMemory) -> Self {
        let mut vcpu = VcpuCell::new();
        // SAFETY: whoever set the area vouches for it (GuestMemory::set_tlb_area).
        unsafe { vcpu.dtlb.attach(mem.ram_ptr(), mem.ram_len(), mem.tlb_area(), state::TLB_SETS) };
        Cpu { vcpu, cache: Cache::new(mem) }
    }

    /// Runs about `budget` instructions (at most one block more).
    pub fn run(&mut self, mem: &mut GuestMemory, bus: &mut dyn Bus, budget: u64) -> Exit {
        let mut cx = self.context(mem, bus);
        exec::run(&mut cx, budget)
    }

    /// Executes exactly one instruction, or delivers its exception; interrupts are not looked at.
    pub fn step(&mut self, mem: &mut GuestMemory, bus: &mut dyn Bus) -> Option<Exit> {
        let mut cx = self.context(mem, bus);
        exec::single_step(&mut cx)
    }

    fn context<'a>(&'a mut self, mem: &'a mut GuestMemory, bus: &'a mut dyn Bus) -> Context<'a> {
        let mut cx = Context { vcpu: &mut self.vcpu, cache: &mut self.cache, mem, bus };
        cx.drop_dirty_code();
        cx
    }

    /// Whether a halted processor goes on: `interrupt` tells whether the controllers ask for one.
    pub fn wakes(&self, interrupt: bool) -> bool {
        interrupt && self.vcpu.rflags & flags::IF != 0
    }

    /// Figures of the run, by name.
    pub(crate) fn statistics(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("instructions", self.vcpu.instret.wrapping_sub(self.vcpu.restored_at)),
            ("decoded_instructions", self.cache.decoded),
            ("data_tlb_misses", self.vcpu.dtlb.misses),
        ]
    }

    /// Notes from now on which pages of RAM may be written ([`GuestMemory::written`]).
    pub fn track_writes(&mut self, mem: &mut GuestMemory) {
        self.vcpu.dtlb.track_writes(mem);
    }

    /// Drops everything that is derived from memory or control registers: after a restore.
    pub fn flush(&mut self, mem: &mut GuestMemory) {
        self.vcpu.flush_tlb();
        self.cache.clear();
        mem.clear_code_marks();
    }
}

/// All that an instruction can touch.
pub(crate) struct Context<'a> {
    pub(crate) vcpu: &'a mut Vcpu,
    pub(crate) cache: &'a mut Cache,
    pub(crate) mem: &'a mut GuestMemory,
    pub(crate) bus: &'a mut dyn Bus,
}

impl Context<'_> {
    /// Drops the decoded code of pages that were written to.
    pub(crate) fn drop_dirty_code(&mut self) {
        if self.mem.has_dirty_code() {
            for page in self.mem.take_dirty_code() {
                if let Some(page) = self.cache.drop_ram_page(page) {
                    self.vcpu.flush_itlb_of(page);
                    self.vcpu.code_dropped = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
