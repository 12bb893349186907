//! The PC around an x86-64 processor: interrupt controllers, timers and clock, as far as Linux touches them.
//!
//! | address | device |
//! |---|---|
//! | `0xfee00000` | local APIC: [`lapic`] |
//! | `0xfec00000` | I/O APIC: [`ioapic`]; pin 2 is the interval timer's, pins 16-31 are the virtio devices' |
//! | ports `0x20`, `0xa0`, `0x4d0` | 8259 interrupt controllers: [`pic`]; line 0 is the interval timer's |
//! | ports `0x40`, `0x61` | 8254 interval timer: [`pit`] |
//! | ports `0x70`, `0x71` | real-time clock: `cmos` |
//! | port `0x3f8` | transmitter of COM1: [`serial`] |
//! | port `0xe9` | a byte for the machine's log |
//! | ports `0x64`, `0xcf9` | reset |
//!
//! Everything else reads as all ones. There is no keyboard controller but for its reset line, no PCI, no
//! ACPI. All timers run by one clock of nanoseconds, which is the time-stamp counter too.

pub(super) mod boot;
mod cmos;
pub mod elf;
pub mod ioapic;
pub mod lapic;
pub mod mptable;
pub mod pic;
pub mod pit;
pub mod serial;

use crate::platform::board::{Board, within};
use forelift_abi::layout::pc::{IOAPIC_BASE, LAPIC_BASE, VIRTIO_BASE, VIRTIO_IRQ_BASE};
use ioapic::{Ioapic, IoapicState};
use lapic::{Lapic, LapicState};
use pic::{Pic, PicState};
use pit::{Pit, PitState};
use serde::{Deserialize, Serialize};
use serial::Serial;

/// Size of each APIC's window in bytes.
const WINDOW: u64 = 0x1000;
/// IA32_APIC_BASE.
const MSR_APIC_BASE: u32 = 0x1b;
/// IA32_TSC_DEADLINE.
const MSR_TSC_DEADLINE: u32 = 0x6e0;
/// I/O APIC pin of the interval timer. (Its line at the 8259s is 0.)
const TIMER_PIN: u32 = 2;

/// The machine's clocks. Asked only when a device needs them: asking the host has a price.
pub trait Time {
    /// Nanoseconds since the machine was made.
    fn now(&mut self) -> u64;
    /// Seconds since 1970-01-01T00:00Z.
    fn date(&mut self) -> u64;
}

/// What the machine has to do because of an `out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Log a byte.
    Log(u8),
    /// Reset.
    Reset,
}

/// The devices' state in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PcState {
    /// Local APIC.
    pub lapic: LapicState,
    /// I/O APIC.
    pub ioapic: IoapicState,
    /// 8259s.
    pub pic: PicState,
    /// 8254.
    pub pit: PitState,
    /// COM1.
    pub serial: Serial,
    /// Index of the real-time clock's register.
    pub cmos_index: u8,
}

/// The devices. See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Pc {
    lapic: Lapic,
    ioapic: Ioapic,
    pic: Pic,
    pit: Pit,
    serial: Serial,
    cmos_index: u8,
}

impl Pc {
    /// As firmware leaves them.
    pub fn new() -> Self {
        Pc { pic: Pic::new(), ..Pc::default() }
    }

    /// A load in one of the APICs' windows; `None`: elsewhere.
    pub(crate) fn read(&mut self, pa: u64, size: u8, time: &mut dyn Time) -> Option<u64> {
        if let Some(offset) = within(pa, LAPIC_BASE, WINDOW) {
            return Some(self.lapic.read(offset, size, &mut || time.now()));
        }
        within(pa, IOAPIC_BASE, WINDOW).map(|offset| self.ioapic.read(offset))
    }

    /// A store in one of the APICs' windows; false: elsewhere.
    pub(crate) fn write(&mut self, pa: u64, size: u8, value: u64, time: &mut dyn Time) -> bool {
        if let Some(offset) = within(pa, LAPIC_BASE, WINDOW) {
            if size == 4
                && let Some(vector) = self.lapic.write(offset, value, &mut || time.now())
            {
                self.ioapic.end_of_interrupt(vector, &mut self.lapic);
            }
            return true;
        }
        let Some(offset) = within(pa, IOAPIC_BASE, WINDOW) else { return false };
        self.ioapic.write(offset, value, &mut self.lapic);
        true
    }

    fn port_byte(&mut self, port: u16, time: &mut dyn Time) -> u8 {
        match port {
            0x71 => cmos::read(self.cmos_index, time.date()),
            _ => self
                .pic
                .read(port)
                .or_else(|| self.pit.read(port, &mut || time.now()))
                .or_else(|| self.serial.read(port))
                .unwrap_or(0xff),
        }
    }

    /// `in` of `size` bytes.
    pub(crate) fn port_in(&mut self, port: u16, size: u8, time: &mut dyn Time) -> u32 {
        let mut bytes = [0; 4];
        for (n, byte) in bytes.iter_mut().enumerate().take(size.into()) {
            *byte = self.port_byte(port.wrapping_add(n as u16), time);
        }
        u32::from_le_bytes(bytes)
    }

    fn port_byte_out(&mut self, port: u16, byte: u8, time: &mut dyn Time) -> Effect {
        match port {
            0x70 => self.cmos_index = byte & 0x7f,
            0xe9 => return Effect::Log(byte),
            // Pulse output line 0 of the keyboard controller; reset control register.
            0x64 if byte == 0xfe => return Effect::Reset,
            0xcf9 if byte & 4 != 0 => return Effect::Reset,
            _ if self.pic.write(port, byte) => self.follow_pic(),
            _ if self.pit.write(port, byte, &mut || time.now()) => {}
            _ => return self.serial.write(port, byte).map_or(Effect::None, Effect::Log),
        }
        Effect::None
    }

    /// `out` of `size` bytes.
    pub(crate) fn port_out(&mut self, port: u16, size: u8, value: u32, time: &mut dyn Time) -> Effect {
        let mut effect = Effect::None;
        for (n, byte) in value.to_le_bytes().into_iter().enumerate().take(size.into()) {
            match self.port_byte_out(port.wrapping_add(n as u16), byte, time) {
                Effect::None => {}
                other => effect = other,
            }
        }
        effect
    }

    /// LINT0 follows the 8259s.
    fn follow_pic(&mut self) {
        if self.pic.interrupts() {
            self.lapic.rise_lint0();
        }
    }

    /// The processor takes the interrupt: its vector.
    pub(crate) fn acknowledge(&mut self) -> Option<u8> {
        if self.lapic.passes_external() && self.pic.interrupts() {
            return Some(self.pic.acknowledge());
        }
        self.lapic.acknowledge()
    }

    /// Lets timers expire.
    #[inline]
    pub(crate) fn tick(&mut self, now: u64) {
        self.lapic.tick(now);
        if self.pit.tick(now) {
            for high in [false, true] {
                self.ioapic.set_level(TIMER_PIN, high, &mut self.lapic);
                self.pic.set_level(0, high);
            }
            self.follow_pic();
        }
    }

    /// When a timer may interrupt, ns; `u64::MAX` for never.
    pub(crate) fn next_event(&self) -> u64 {
        let heard = !self.pic.is_masked(0) || !self.ioapic.is_masked(TIMER_PIN as usize);
        let pit = if heard { self.pit.next_event() } else { u64::MAX };
        self.lapic.next_event().min(pit)
    }

    /// Reads a model-specific register of the local APIC.
    pub(crate) fn msr_read(&self, number: u32) -> Option<u64> {
        match number {
            MSR_APIC_BASE => Some(self.lapic.base()),
            MSR_TSC_DEADLINE => Some(self.lapic.deadline()),
            _ => None,
        }
    }

    /// Writes a model-specific register of the local APIC; false: it does not take the value, or is none.
    pub(crate) fn msr_write(&mut self, number: u32, value: u64, time: &mut dyn Time) -> bool {
        match number {
            MSR_APIC_BASE => self.lapic.set_base(value),
            MSR_TSC_DEADLINE => {
                self.lapic.set_deadline(value, time.now());
                true
            }
            _ => false,
        }
    }

    /// CR8.
    pub(crate) fn task_priority(&self) -> u8 {
        self.lapic.task_priority()
    }

    /// Writes CR8.
    pub(crate) fn set_task_priority(&mut self, class: u8) {
        self.lapic.set_task_priority(class & 15);
    }
}

impl Board for Pc {
    type State = PcState;

    const VIRTIO_BASE: u64 = VIRTIO_BASE;
    const VIRTIO_IRQ: u32 = VIRTIO_IRQ_BASE;

    fn power_on() -> Option<Self> {
        Some(Self::new())
    }

    /// The lines are the I/O APIC's pins.
    fn set_level(&mut self, pin: u32, high: bool) {
        self.ioapic.set_level(pin, high, &mut self.lapic);
    }

    #[inline]
    fn interrupts(&self) -> bool {
        self.lapic.interrupts() || self.lapic.passes_external() && self.pic.interrupts()
    }

    fn save(&self) -> PcState {
        PcState {
            lapic: self.lapic.save(),
            ioapic: self.ioapic.save(),
            pic: self.pic.save(),
            pit: self.pit.save(),
            serial: self.serial,
            cmos_index: self.cmos_index,
        }
    }

    fn restore(state: PcState) -> Result<Self, &'static str> {
        if state.cmos_index > 0x7f {
            return Err("real-time clock: a register that does not exist");
        }
        Ok(Pc {
            lapic: Lapic::restore(state.lapic)?,
            ioapic: Ioapic::restore(state.ioapic)?,
            pic: Pic::restore(state.pic)?,
            pit: Pit::restore(state.pit)?,
            serial: state.serial,
            cmos_index: state.cmos_index,
        })
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(all(test, not(target_family = "wasm")))]
mod tests;
