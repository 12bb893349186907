//! What packer, lockstep and the native engine ask of a CPU whose code can be lifted.

use super::bus::Bus;
use super::exit::Exit;
use crate::memory::GuestMemory;
use forelift_abi::lift::{Index, Layout};
use forelift_abi::profile::Page;

/// A CPU whose code can be lifted.
pub trait Lifting {
    /// Where its state is, for lifted code.
    fn layout(&mut self) -> Layout;

    /// Addresses of the helpers by number, for code that is made for this process.
    #[cfg(not(target_family = "wasm"))]
    fn helpers(&self) -> Vec<usize>;

    /// Takes lifted code into use, in place of what there was. An index that is inconsistent is not taken:
    /// false.
    ///
    /// # Safety
    /// In WebAssembly the module's table holds lifted functions at the numbers of the index; natively
    /// `functions` holds the addresses of lifted functions that were made for [`Lifting::layout`] of this CPU
    /// and stay as long as it lives.
    unsafe fn install(&mut self, index: Index, functions: Vec<usize>, mem: &mut GuestMemory) -> bool;

    /// Counts what is executed from now on.
    fn start_profile(&mut self, mem: &mut GuestMemory);

    /// Counts no more.
    fn stop_profile(&mut self);

    /// What was executed since [`Lifting::start_profile`]; empty without it.
    fn profile(&self, mem: &GuestMemory) -> Vec<Page>;

    /// Places that control came to at least `times` times since [`Lifting::start_profile`].
    fn hot(&self, times: u32) -> usize;

    /// Instructions that lifted code retired.
    fn lifted_retired(&self) -> u64;

    /// Instructions that the interpreter retired.
    fn interpreted(&self) -> u64;

    /// Notes from now on which pages of RAM may be written ([`GuestMemory::written`]).
    fn track_writes(&mut self, mem: &mut GuestMemory);

    /// Runs about `budget` instructions. Exceptions cost no budget: it stops after an instruction that
    /// retired, at the first place where the engine can.
    fn run_retiring(&mut self, mem: &mut GuestMemory, bus: &mut dyn Bus, budget: u64) -> Exit;

    /// Interprets until exactly `instret` instructions have retired, or the machine has to act.
    fn interpret_to(&mut self, mem: &mut GuestMemory, bus: &mut dyn Bus, instret: u64) -> Exit;

    /// The page of code at `pc` as it is mapped now.
    fn code_at<'m>(&mut self, mem: &'m mut GuestMemory, bus: &mut dyn Bus, pc: u64) -> Option<&'m [u8]>;
}
