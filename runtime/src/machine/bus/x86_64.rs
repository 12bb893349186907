//! What an x86-64 processor sees: the PC's windows, ports and model-specific registers, and the virtio
//! devices.

use super::MachineBus;
use crate::clock::Clock;
use crate::cpu::x86::{Bus, Exit};
use crate::dev::Devices;
use crate::host::Host;
use crate::memory::GuestMemory;
use crate::platform::x86_64::{Effect, Pc, Time};

struct Clocks<'a> {
    clock: &'a Clock,
    host: &'a mut dyn Host,
    instret: u64,
}

impl Time for Clocks<'_> {
    fn now(&mut self) -> u64 {
        self.clock.ns(self.host, self.instret)
    }
    fn date(&mut self) -> u64 {
        self.host.realtime_ns() / 1_000_000_000
    }
}

impl MachineBus<'_> {
    fn split(&mut self) -> (&mut Devices, Clocks<'_>) {
        let clocks = Clocks { clock: self.clock, host: &mut *self.host, instret: self.instret };
        (&mut *self.devices, clocks)
    }

    fn with_pc<R>(&mut self, none: R, work: impl FnOnce(&mut Pc, &mut Clocks<'_>) -> R) -> R {
        let (devices, mut clocks) = self.split();
        devices.platform_mut().pc().map_or(none, |pc| work(pc, &mut clocks))
    }
}

impl Bus for MachineBus<'_> {
    fn advance(&mut self, instret: u64) {
        self.instret = instret;
    }

    fn read(&mut self, mem: &mut GuestMemory, pa: u64, size: u8) -> u64 {
        let (devices, mut clocks) = self.split();
        match devices.platform_mut().pc().and_then(|pc| pc.read(pa, size, &mut clocks)) {
            Some(value) => value,
            // Nothing there reads as ones.
            None => devices.read(mem, pa, size).unwrap_or(u64::MAX),
        }
    }

    fn write(&mut self, mem: &mut GuestMemory, pa: u64, size: u8, value: u64) {
        let (devices, mut clocks) = self.split();
        if !devices.platform_mut().pc().is_some_and(|pc| pc.write(pa, size, value, &mut clocks)) {
            // Nothing there takes it.
            let _ = devices.write(mem, pa, size, value);
        }
    }

    fn port_in(&mut self, port: u16, size: u8) -> u32 {
        self.with_pc(u32::MAX, |pc, clocks| pc.port_in(port, size, clocks))
    }

    fn port_out(&mut self, port: u16, size: u8, value: u32) -> Option<Exit> {
        match self.with_pc(Effect::None, |pc, clocks| pc.port_out(port, size, value, clocks)) {
            Effect::None => None,
            Effect::Log(byte) => {
                self.debug.push(byte);
                None
            }
            Effect::Reset => Some(Exit::Shutdown { reset: true, failed: false }),
        }
    }

    fn interrupt(&mut self) -> bool {
        self.devices.external_interrupt()
    }

    fn acknowledge(&mut self) -> Option<u8> {
        self.devices.platform_mut().pc()?.acknowledge()
    }

    fn tsc(&mut self, instret: u64) -> u64 {
        self.clock.ns(self.host, instret)
    }

    fn msr_read(&mut self, number: u32) -> Option<u64> {
        self.devices.platform_mut().pc()?.msr_read(number)
    }

    fn msr_write(&mut self, number: u32, value: u64) -> bool {
        self.with_pc(false, |pc, clocks| pc.msr_write(number, value, clocks))
    }

    fn task_priority(&mut self) -> u8 {
        self.devices.platform_mut().pc().map_or(0, |pc| pc.task_priority())
    }

    fn set_task_priority(&mut self, priority: u8) {
        if let Some(pc) = self.devices.platform_mut().pc() {
            pc.set_task_priority(priority);
        }
    }
}
