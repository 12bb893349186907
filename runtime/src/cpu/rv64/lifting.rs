//! The hart as a CPU whose code can be lifted.

use super::{Cpu, profile};
use crate::cpu::bus::Bus;
use crate::cpu::exit::Exit;
use crate::cpu::lifting::Lifting;
use crate::cpu::profile::Profile;
use crate::memory::GuestMemory;
use forelift_abi::lift::{Index, Layout};
use forelift_abi::profile::Page;

impl Lifting for Cpu {
    fn layout(&mut self) -> Layout {
        self.lift_layout()
    }

    #[cfg(not(target_family = "wasm"))]
    fn helpers(&self) -> Vec<usize> {
        super::lifted::helper_addresses()
    }

    unsafe fn install(&mut self, index: Index, functions: Vec<usize>, mem: &mut GuestMemory) -> bool {
        let taken = self.set_lifted(index, functions);
        match self.profile {
            // Counters belong to decoded code, which is dropped.
            Some(_) => self.start_profile(mem),
            None => self.flush(mem),
        }
        taken
    }

    fn start_profile(&mut self, mem: &mut GuestMemory) {
        self.flush(mem);
        self.profile = Some(Box::new(Profile::new(super::cache::ARENA_ENTRIES)));
    }

    fn stop_profile(&mut self) {
        self.profile = None;
    }

    fn profile(&self, mem: &GuestMemory) -> Vec<Page> {
        self.profile.as_ref().map_or_else(Vec::new, |counted| profile::pages(counted, &self.cache, mem))
    }

    fn hot(&self, times: u32) -> usize {
        let used = self.cache.entries(0).len();
        self.profile.as_ref().map_or(0, |profile| profile.hot(used, times))
    }

    fn lifted_retired(&self) -> u64 {
        self.hart.lifted_retired
    }

    fn interpreted(&self) -> u64 {
        self.hart.instret.wrapping_sub(self.hart.lifted_retired)
    }

    fn track_writes(&mut self, mem: &mut GuestMemory) {
        self.hart.dtlb.track_writes(mem);
    }

    fn run_retiring(&mut self, mem: &mut GuestMemory, bus: &mut dyn Bus, budget: u64) -> Exit {
        Cpu::run_retiring(self, mem, bus, budget).into()
    }

    fn interpret_to(&mut self, mem: &mut GuestMemory, bus: &mut dyn Bus, instret: u64) -> Exit {
        Cpu::interpret_to(self, mem, bus, instret).into()
    }

    fn code_at<'m>(&mut self, mem: &'m mut GuestMemory, bus: &mut dyn Bus, pc: u64) -> Option<&'m [u8]> {
        self.page_at(mem, bus, pc)
    }
}
