//! I/O APIC (Intel 82093AA data sheet; with the EOI register of version 0x20), with a pin for each virtio
//! device after those of the ISA bus. Messages go to the one local APIC.

use super::lapic::Lapic;
use forelift_abi::layout::VIRTIO_SLOTS;
use forelift_abi::layout::pc::VIRTIO_IRQ_BASE;
use serde::{Deserialize, Serialize};

/// Number of pins. They fit into one register of bits.
pub const PINS: usize = VIRTIO_IRQ_BASE as usize + VIRTIO_SLOTS;
const _: () = assert!(PINS <= 32);
/// Identification, as the MP table gives it.
pub const ID: u8 = 1;

/// Bits of a redirection entry that can be written: all but delivery status and remote IRR.
const WRITABLE: u64 = 0xff00_0000_0001_afff;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
const VERSION: u32 = 0x20 | (PINS as u32 - 1) << 16;

const SELECT: u64 = 0;
const WINDOW: u64 = 0x10;
const END_OF_INTERRUPT: u64 = 0x40;

/// The I/O APIC's state in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoapicState {
    /// Register that the window shows.
    pub select: u8,
    /// Identification register.
    pub id: u32,
    /// Redirection table.
    pub entries: [u64; PINS],
    /// Lines that are high.
    pub level: u32,
}

/// The I/O APIC.
#[derive(Clone, Debug)]
pub struct Ioapic {
    s: IoapicState,
}

impl Default for Ioapic {
    fn default() -> Self {
        Self::new()
    }
}

impl Ioapic {
    /// After reset: everything is masked.
    pub fn new() -> Self {
        let s = IoapicState { select: 0, id: u32::from(ID) << 24, entries: [MASKED; PINS], level: 0 };
        Ioapic { s }
    }

    /// Whether a pin is masked.
    pub fn is_masked(&self, pin: usize) -> bool {
        self.s.entries.get(pin).is_none_or(|e| e & MASKED != 0)
    }

    /// Sets the line of a pin; numbers without a pin are ignored.
    pub fn set_level(&mut self, pin: u32, high: bool, lapic: &mut Lapic) {
        let bit = 1u32.checked_shl(pin).unwrap_or(0);
        let rises = high && self.s.level & bit == 0;
        self.s.level = if high { self.s.level | bit } else { self.s.level & !bit };
        let Some(entry) = self.s.entries.get(pin as usize) else { return };
        if entry & LEVEL != 0 {
            self.offer(pin as usize, lapic);
        } else if rises && entry & MASKED == 0 {
            Self::send(*entry, lapic);
        }
    }

    /// Sends the request of a level that is high and not in service.
    fn offer(&mut self, pin: usize, lapic: &mut Lapic) {
        let entry = &mut self.s.entries[pin];
        if self.s.level >> pin & 1 != 0 && *entry & (LEVEL | MASKED | REMOTE_IRR) == LEVEL {
            let sent = *entry;
            if Self::send(sent, lapic) {
                *entry |= REMOTE_IRR;
            }
        }
    }

    fn send(entry: u64, lapic: &mut Lapic) -> bool {
        // Fixed and lowest priority; there are no other messages in this machine.
        let reaches = entry >> 8 & 7 <= 1 && lapic.is_destination(entry >> 11 & 1 != 0, (entry >> 56) as u8);
        if reaches {
            lapic.accept(entry as u8, entry & LEVEL != 0);
        }
        reaches
    }

    /// The processor has served `vector`.
    pub fn end_of_interrupt(&mut self, vector: u8, lapic: &mut Lapic) {
        for pin in 0..PINS {
            let entry = &mut self.s.entries[pin];
            if *entry as u8 == vector && *entry & LEVEL != 0 && *entry & REMOTE_IRR != 0 {
                *entry &= !REMOTE_IRR;
                self.offer(pin, lapic);
            }
        }
    }

    /// A load at `offset` of the registers.
    pub fn read(&self, offset: u64) -> u64 {
        let word = match offset {
            SELECT => self.s.select.into(),
            WINDOW => match self.s.select {
                0 | 2 => self.s.id,
                1 => VERSION,
                n => match self.s.entries.get(usize::from(n).wrapping_sub(0x10) / 2) {
                    Some(entry) => (entry >> (32 * u32::from(n & 1))) as u32,
                    None => 0,
                },
            },
            _ => 0,
        };
        word.into()
    }

    /// A store at `offset` of the registers.
    pub fn write(&mut self, offset: u64, value: u64, lapic: &mut Lapic) {
        let word = value as u32;
        match offset {
            SELECT => self.s.select = word as u8,
            WINDOW if self.s.select == 0 => self.s.id = word & 0x0f00_0000,
            WINDOW => {
                let pin = usize::from(self.s.select).wrapping_sub(0x10) / 2;
                let Some(entry) = self.s.entries.get_mut(pin) else { return };
                let shift = 32 * u32::from(self.s.select & 1);
                let half = WRITABLE & 0xffff_ffff << shift;
                *entry = *entry & !half | u64::from(word) << shift & half;
                // Without a level there is nothing in service.
                if *entry & LEVEL == 0 {
                    *entry &= !REMOTE_IRR;
                }
                self.offer(pin, lapic);
            }
            END_OF_INTERRUPT => self.end_of_interrupt(word as u8, lapic),
            _ => {}
        }
    }

    /// State for a snapshot.
    pub fn save(&self) -> IoapicState {
        self.s
    }

    /// Checked state of a snapshot.
    ///
    /// # Errors
    /// What is out of range.
    pub fn restore(state: IoapicState) -> Result<Self, &'static str> {
        let beyond = state.entries.iter().any(|e| e & !(WRITABLE | REMOTE_IRR) != 0);
        let edges = state.entries.iter().any(|e| e & (LEVEL | REMOTE_IRR) == REMOTE_IRR);
        if beyond || edges || state.id & !0x0f00_0000 != 0 {
            return Err("I/O APIC: a bit that does not exist");
        }
        Ok(Ioapic { s: state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Both(Ioapic, Lapic);

    impl Both {
        fn new() -> Self {
            Both(Ioapic::new(), Lapic::new())
        }
        fn set(&mut self, register: u64, word: u32) {
            self.0.write(SELECT, register, &mut self.1);
            self.0.write(WINDOW, word.into(), &mut self.1);
        }
        fn get(&mut self, register: u64) -> u32 {
            self.0.write(SELECT, register, &mut self.1);
            self.0.read(WINDOW) as u32
        }
        fn line(&mut self, pin: u32, high: bool) {
            self.0.set_level(pin, high, &mut self.1);
        }
        fn end(&mut self) {
            if let Some(vector) = self.1.write(0xb0, 0, &mut || 0) {
                self.0.end_of_interrupt(vector, &mut self.1);
            }
        }
    }

    #[test]
    fn a_level_comes_again_until_it_falls() {
        let mut b = Both::new();
        b.set(0x10 + 2 * 16, 0x8045);
        b.line(16, true);
        assert_eq!(b.1.acknowledge(), Some(0x45));
        assert_eq!(b.get(0x10 + 2 * 16), 0xc045, "remote IRR");
        b.line(16, false);
        b.line(16, true);
        assert!(!b.1.interrupts(), "in service");
        b.end();
        assert_eq!(b.1.acknowledge(), Some(0x45));
        b.line(16, false);
        b.end();
        assert!(!b.1.interrupts());
        assert_eq!(b.get(0x30), 0x8045);
    }

    #[test]
    fn an_edge_comes_once_and_masked_levels_wait() {
        let mut b = Both::new();
        b.set(0x14, 0x30);
        b.line(2, true);
        b.line(2, true);
        assert_eq!(b.1.acknowledge(), Some(0x30));
        b.end();
        assert!(!b.1.interrupts());
        b.set(0x14, 0x1_0030);
        b.line(2, false);
        b.line(2, true);
        b.set(0x14, 0x30);
        assert!(!b.1.interrupts(), "an edge that came while masked is lost");
        b.line(17, true);
        b.set(0x10 + 34, 0x1_8046);
        assert!(!b.1.interrupts());
        b.set(0x10 + 34, 0x8046);
        assert_eq!(b.1.acknowledge(), Some(0x46));
        // Changing to an edge and back, as the kernel does to end an interrupt that is stuck.
        b.set(0x10 + 34, 0x1_0046);
        b.set(0x10 + 34, 0x8046);
        b.end();
        assert_eq!(b.1.acknowledge(), Some(0x46));
    }

    #[test]
    fn the_end_register_and_destinations() {
        let mut b = Both::new();
        b.set(0x10, 0x8050);
        b.set(0x11, 0x0500_0000);
        b.line(0, true);
        assert!(!b.1.interrupts(), "for another processor");
        b.set(0x11, 0);
        assert_eq!(b.1.acknowledge(), Some(0x50));
        b.0.write(END_OF_INTERRUPT, 0x50, &mut b.1);
        assert_eq!(b.get(0x10) & 1 << 14, 1 << 14, "the line is still high");
        b.set(0x12, 0x700);
        b.line(1, true);
        b.line(40, true);
        assert_eq!((b.get(0), b.get(1)), (0x100_0000, 0x001f_0020));
        b.set(0, u32::MAX);
        assert_eq!((b.get(0), b.get(0x50), b.get(0xff)), (0x0f00_0000, 0, 0));
        b.set(0x50, 1);
        b.set(1, 1);
    }

    #[test]
    fn saved_state_is_checked() {
        let mut b = Both::new();
        b.set(0x30, 0x8045);
        b.line(16, true);
        let s = b.0.save();
        assert_eq!(Ioapic::restore(s).unwrap().save(), s);
        for entry in [1 << 12, REMOTE_IRR, 1 << 20] {
            let mut bad = s;
            bad.entries[3] = entry;
            assert!(Ioapic::restore(bad).is_err());
        }
        assert!(Ioapic::restore(IoapicState { id: 1, ..s }).is_err());
    }
}
