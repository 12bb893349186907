//! What a RISC-V hart sees: the PLIC and the virtio devices.

use super::MachineBus;
use crate::cpu::rv64::Bus;
use crate::memory::GuestMemory;
use crate::platform::board::within;
use forelift_abi::layout::{PLIC_BASE, PLIC_SIZE};

impl Bus for MachineBus<'_> {
    fn read(&mut self, mem: &mut GuestMemory, pa: u64, size: u8) -> Option<u64> {
        if let Some(offset) = within(pa, PLIC_BASE, PLIC_SIZE)
            && let Some(plic) = self.devices.platform_mut().plic()
        {
            return plic.read(offset, size);
        }
        self.devices.read(mem, pa, size)
    }

    fn write(&mut self, mem: &mut GuestMemory, pa: u64, size: u8, value: u64) -> Option<()> {
        if let Some(offset) = within(pa, PLIC_BASE, PLIC_SIZE)
            && let Some(plic) = self.devices.platform_mut().plic()
        {
            return plic.write(offset, size, value);
        }
        self.devices.write(mem, pa, size, value)
    }

    fn external_interrupt(&mut self) -> bool {
        self.devices.external_interrupt()
    }

    fn time(&mut self, instret: u64) -> u64 {
        self.clock.ticks(self.host, instret)
    }

    fn debug_byte(&mut self, byte: u8) {
        self.debug.push(byte);
    }
}
