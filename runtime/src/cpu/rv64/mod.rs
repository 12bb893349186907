//! One RV64GC hart with S and U mode: predecoded interpreter, MMU, privileged state, SBI.
//!
//! | file | what it holds |
//! |---|---|
//! | [`state`] | registers, CSRs, instruction TLB: [`Hart`], at a fixed address in WebAssembly |
//! | [`mmu`] | page walk, TLB fill, the slow paths of memory accesses |
//! | [`entry`] | the predecoded form of an instruction |
//! | [`predecode`] | instruction to entry |
//! | [`cache`] | decoded blocks by physical page |
//! | [`exec`] | the run loop around the interpreter's switch: instruction budget, interrupts, single steps |
//! | `switch` | the interpreter's one switch over entries |
//! | `slow` | what entries cannot do by themselves |
//! | `atomic` | LR, SC and AMO |
//! | [`float`] | floating-point entries |
//! | [`lifted`] | ahead-of-time translated code: where it finds the hart, its helpers |
//! | `lifting` | the hart as a CPU whose code can be lifted |
//! | `profile` | counts for the translator |
//! | [`csr`], [`fields`] | control and status registers, and their fields |
//! | [`exception`] | exceptions as values |
//! | [`trap`] | exceptions, interrupts, `sret` |
//! | [`sbi`] | what firmware would do |
//!
//! [`Cpu::run`] executes until its budget is used up or the machine has to act.

mod atomic;
pub mod cache;
pub mod csr;
pub mod entry;
pub mod exception;
pub mod exec;
pub mod fields;
pub mod float;
pub mod lifted;
mod lifting;
pub mod mmu;
pub mod predecode;
mod profile;
pub mod sbi;
mod slow;
pub mod state;
mod switch;
pub mod trap;

#[cfg(all(test, not(target_family = "wasm")))]
mod tests;

use crate::cpu::exit;
use crate::cpu::lifted::Lifted;
use crate::cpu::profile::Profile;
use crate::memory::GuestMemory;
use cache::Cache;
use forelift_abi::layout::PAGE_SIZE;
use state::{Hart, HartCell};

/// What the CPU needs from the rest of the machine.
pub trait Bus {
    /// Reads `size` (1, 2, 4 or 8) bytes of a device register; `None` is an access fault.
    fn read(&mut self, mem: &mut GuestMemory, pa: u64, size: u8) -> Option<u64>;
    /// Writes a device register; `None` is an access fault.
    fn write(&mut self, mem: &mut GuestMemory, pa: u64, size: u8, value: u64) -> Option<()>;
    /// Level of the supervisor external interrupt.
    fn external_interrupt(&mut self) -> bool;
    /// The `time` CSR in ticks when `instret` instructions have retired since the machine was made.
    fn time(&mut self, instret: u64) -> u64;
    /// A byte for the SBI debug console.
    fn debug_byte(&mut self, byte: u8);
}

/// Why [`Cpu::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The budget is used up.
    Budget,
    /// The hart waits for an interrupt.
    Wfi,
    /// The guest asked to be switched off (false) or reset (true).
    Shutdown {
        /// Reset instead of power off.
        reset: bool,
        /// The guest gave a failure as its reason.
        failed: bool,
    },
    /// [`Hart::user_only`] is set and an exception came up; `pc` is the instruction's.
    Trap {
        /// Exception code (Privileged 4.1.8, table of `scause`).
        cause: u64,
        /// `stval`.
        value: u64,
    },
}

impl From<Exit> for exit::Exit {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Budget => exit::Exit::Budget,
            Exit::Wfi => exit::Exit::Idle,
            Exit::Shutdown { reset, failed } => exit::Exit::Shutdown { reset, failed },
            Exit::Trap { .. } => exit::Exit::Trap,
        }
    }
}

/// The hart and its decoded code.
pub struct Cpu {
    /// Architectural state and TLBs.
    pub hart: HartCell,
    cache: Cache,
    lifted: Lifted,
    profile: Option<Box<Profile>>,
}

impl Cpu {
    /// A hart in S mode with all registers zero, for `mem`.
    pub fn new(mem: &GuestMemory) -> Self {
        let mut hart = HartCell::new();
        // SAFETY: whoever set the area vouches for it (GuestMemory::set_tlb_area).
        unsafe { hart.dtlb.attach(mem.ram_ptr(), mem.ram_len(), mem.tlb_area(), crate::cpu::tlb::SETS) };
        Cpu { hart, cache: Cache::new(mem), lifted: Lifted::default(), profile: None }
    }

    /// Runs about `budget` instructions (at most one block more).
    pub fn run(&mut self, mem: &mut GuestMemory, bus: &mut dyn Bus, budget: u64) -> Exit {
        let mut cx = self.context(mem, bus);
        exec::run(&mut cx, budget)
    }

    fn context<'a>(&'a mut self, mem: &'a mut GuestMemory, bus: &'a mut dyn Bus) -> Context<'a> {
        let mut cx = Context {
            hart: &mut self.hart,
            cache: &mut self.cache,
            mem,
            bus,
            lifted: &self.lifted,
            profile: self.profile.as_deref_mut(),
        };
        cx.drop_dirty_code();
        cx
    }

    /// Figures of the run, by name.
    pub fn statistics(&self) -> Vec<(&'static str, u64)> {
        let hart = &self.hart;
        vec![
            ("instructions", hart.instret.wrapping_sub(hart.restored_at)),
            ("lifted_instructions", hart.lifted_retired),
            ("lifted_calls", hart.lifted_calls),
            ("lifted_returns", hart.lifted_returns),
            ("lifted_refusals", hart.lifted_refusals),
            ("interpreted_stretches", hart.interpreted_stretches),
            ("data_tlb_misses", hart.dtlb.misses),
        ]
    }

    /// As [`Cpu::run`], but exceptions cost no budget: it stops after an instruction that retired, at the
    /// first place where the engine can.
    pub fn run_retiring(&mut self, mem: &mut GuestMemory, bus: &mut dyn Bus, budget: u64) -> Exit {
        let mut cx = self.context(mem, bus);
        exec::run_retiring(&mut cx, budget)
    }

    /// Interprets until exactly `instret` instructions have retired, or the machine has to act.
    pub fn interpret_to(&mut self, mem: &mut GuestMemory, bus: &mut dyn Bus, instret: u64) -> Exit {
        let mut cx = self.context(mem, bus);
        exec::interpret_to(&mut cx, instret)
    }

    /// The page of code at `pc` as it is mapped now.
    fn page_at<'m>(&mut self, mem: &'m mut GuestMemory, bus: &mut dyn Bus, pc: u64) -> Option<&'m [u8]> {
        let pa = self.context(mem, bus).translate(pc, mmu::Access::Fetch).ok()?.pa;
        mem.slice(pa & !(PAGE_SIZE - 1), PAGE_SIZE as usize)
    }

    /// Drops everything that is derived from memory or CSRs: after a restore.
    pub fn flush(&mut self, mem: &mut GuestMemory) {
        self.hart.flush_tlb();
        self.cache.clear();
        mem.clear_code_marks();
    }
}

/// All that an instruction can touch.
pub(crate) struct Context<'a> {
    pub(crate) hart: &'a mut Hart,
    pub(crate) cache: &'a mut Cache,
    pub(crate) mem: &'a mut GuestMemory,
    pub(crate) bus: &'a mut dyn Bus,
    pub(crate) lifted: &'a Lifted,
    pub(crate) profile: Option<&'a mut Profile>,
}

impl Context<'_> {
    /// Counts from zero: the entries that were counted are gone.
    pub(crate) fn forget_profile(&mut self) {
        if let Some(profile) = self.profile.as_deref_mut() {
            profile.forget();
        }
    }

    /// Drops the decoded code of pages that were written to.
    pub(crate) fn drop_dirty_code(&mut self) {
        if self.mem.has_dirty_code() {
            for page in self.mem.take_dirty_code() {
                if let Some(page) = self.cache.drop_ram_page(page) {
                    self.hart.flush_itlb_of(page);
                }
            }
        }
    }
}
