//! The two 8259A interrupt controllers (Intel 8259A data sheet), as far as a kernel that has an I/O APIC
//! touches them: initialisation, masks, ends of interrupts, trigger modes (ELCR). Priorities do not rotate,
//! and there is no polling.

use serde::{Deserialize, Serialize};

/// The line of the master that the slave is at.
const CASCADE: u8 = 2;

/// One controller's state in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChipState {
    /// Requests.
    pub irr: u8,
    /// Requests in service.
    pub isr: u8,
    /// Masked requests.
    pub imr: u8,
    /// Lines that are high.
    pub level: u8,
    /// Lines that are level-triggered.
    pub elcr: u8,
    /// Vector of line 0.
    pub base: u8,
    /// The next initialisation word (2-4), 0 when there is none to come.
    pub expects: u8,
    /// Initialisation word 4 comes.
    pub wants_icw4: bool,
    /// Interrupts end by themselves.
    pub auto_end: bool,
    /// A read gives the requests in service.
    pub reads_isr: bool,
    /// Special mask mode.
    pub special_mask: bool,
}

/// The controllers' state in a snapshot: master and slave.
pub type PicState = [ChipState; 2];

impl ChipState {
    /// The request to be served, if there is one.
    fn request(&self) -> Option<u8> {
        let wants = self.irr & !self.imr;
        let line = wants.trailing_zeros() as u8;
        let busy = if self.special_mask { self.isr & !self.imr } else { self.isr };
        (wants != 0 && u32::from(line) < busy.trailing_zeros()).then_some(line)
    }

    fn set_line(&mut self, line: u8, high: bool) {
        let bit = 1 << line;
        if high {
            if self.elcr & bit != 0 || self.level & bit == 0 {
                self.irr |= bit;
            }
            self.level |= bit;
        } else {
            self.level &= !bit;
            // A request that goes away before it is acknowledged is no request.
            self.irr &= !bit;
        }
    }

    fn take(&mut self, line: u8) {
        let bit = 1 << line;
        if self.elcr & bit == 0 {
            self.irr &= !bit;
        }
        if !self.auto_end {
            self.isr |= bit;
        }
    }

    fn write_command(&mut self, byte: u8) {
        if byte & 0x10 != 0 {
            // Initialisation word 1.
            *self = ChipState {
                level: self.level,
                elcr: self.elcr,
                irr: self.level & self.elcr,
                expects: 2,
                wants_icw4: byte & 1 != 0,
                ..ChipState::default()
            };
        } else if byte & 8 != 0 {
            // Operation control word 3.
            if byte & 2 != 0 {
                self.reads_isr = byte & 1 != 0;
            }
            if byte & 0x40 != 0 {
                self.special_mask = byte & 0x20 != 0;
            }
        } else {
            // Operation control word 2: the ends of interrupts; what it says on rotation is left out.
            match byte >> 5 {
                1 | 5 => self.isr &= self.isr.wrapping_sub(1),
                3 | 7 => self.isr &= !(1 << (byte & 7)),
                _ => {}
            }
        }
    }

    fn write_data(&mut self, byte: u8) {
        match self.expects {
            2 => {
                self.base = byte & 0xf8;
                self.expects = 3;
            }
            // Word 3 tells of the cascade, which is wired here.
            3 => self.expects = if self.wants_icw4 { 4 } else { 0 },
            4 => {
                self.auto_end = byte & 2 != 0;
                self.expects = 0;
            }
            _ => self.imr = byte,
        }
    }
}

/// The controllers.
#[derive(Clone, Debug, Default)]
pub struct Pic {
    chips: PicState,
}

impl Pic {
    /// After reset: everything is masked, as firmware leaves it.
    pub fn new() -> Self {
        let chip = ChipState { imr: 0xff, ..ChipState::default() };
        Pic { chips: [chip; 2] }
    }

    /// Whether line `irq` (0-15) is masked.
    pub fn is_masked(&self, irq: u8) -> bool {
        let cascade = self.chips[0].imr >> CASCADE & 1 != 0;
        match irq {
            0..8 => self.chips[0].imr >> irq & 1 != 0,
            _ => cascade || self.chips[1].imr >> (irq & 7) & 1 != 0,
        }
    }

    /// Sets line `irq` (0-15).
    pub fn set_level(&mut self, irq: u8, high: bool) {
        let chip = usize::from(irq >> 3 & 1);
        self.chips[chip].set_line(irq & 7, high);
        self.cascade();
    }

    fn cascade(&mut self) {
        let asks = self.chips[1].request().is_some();
        // The slave's request is a level for this model: it is there as long as the slave has one.
        let bit = 1 << CASCADE;
        self.chips[0].irr = if asks { self.chips[0].irr | bit } else { self.chips[0].irr & !bit };
    }

    /// Whether they ask for an interrupt.
    #[inline]
    pub fn interrupts(&self) -> bool {
        self.chips[0].request().is_some()
    }

    /// The processor acknowledges: the vector; the spurious one when the request is gone.
    pub fn acknowledge(&mut self) -> u8 {
        let Some(line) = self.chips[0].request() else { return self.chips[0].base | 7 };
        self.chips[0].take(line);
        if line != CASCADE {
            return self.chips[0].base | line;
        }
        let slave = &mut self.chips[1];
        let vector = match slave.request() {
            Some(line) => {
                slave.take(line);
                slave.base | line
            }
            None => slave.base | 7,
        };
        self.cascade();
        vector
    }

    /// `in` from one of the controllers' ports; `None`: not theirs.
    pub fn read(&self, port: u16) -> Option<u8> {
        let [master, slave] = &self.chips;
        let command = |chip: &ChipState| if chip.reads_isr { chip.isr } else { chip.irr };
        Some(match port {
            0x20 => command(master),
            0x21 => master.imr,
            0xa0 => command(slave),
            0xa1 => slave.imr,
            0x4d0 => master.elcr,
            0x4d1 => slave.elcr,
            _ => return None,
        })
    }

    /// `out` to one of the controllers' ports; false: not theirs.
    pub fn write(&mut self, port: u16, byte: u8) -> bool {
        let [master, slave] = &mut self.chips;
        match port {
            0x20 => master.write_command(byte),
            0x21 => master.write_data(byte),
            0xa0 => slave.write_command(byte),
            0xa1 => slave.write_data(byte),
            // Timer, keyboard, cascade, clock and FPU are always edges.
            0x4d0 => master.elcr = byte & 0xf8,
            0x4d1 => slave.elcr = byte & 0xde,
            _ => return false,
        }
        self.cascade();
        true
    }

    /// State for a snapshot.
    pub fn save(&self) -> PicState {
        self.chips
    }

    /// Checked state of a snapshot.
    ///
    /// # Errors
    /// What is out of range.
    pub fn restore(state: PicState) -> Result<Self, &'static str> {
        let bad = |c: &ChipState| !matches!(c.expects, 0 | 2..=4) || c.base & 7 != 0;
        if state.iter().any(bad) || state[0].elcr & !0xf8 != 0 || state[1].elcr & !0xde != 0 {
            return Err("8259: a bit that does not exist");
        }
        Ok(Pic { chips: state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux initialises them.
    fn pic(auto_end: bool) -> Pic {
        let mut p = Pic::new();
        for (port, byte) in [
            (0x21, 0xff),
            (0x20, 0x11),
            (0x21, 0x30),
            (0x21, 4),
            (0x21, if auto_end { 3 } else { 1 }),
            (0xa0, 0x11),
            (0xa1, 0x38),
            (0xa1, 2),
            (0xa1, 1),
        ] {
            assert!(p.write(port, byte));
        }
        assert!(p.write(0x21, 0xfb) && p.write(0xa1, 0xff));
        p
    }

    #[test]
    fn masks_are_read_back_and_hold_requests() {
        let mut p = pic(false);
        assert_eq!((p.read(0x21), p.read(0xa1), p.read(0x22)), (Some(0xfb), Some(0xff), None));
        p.set_level(0, true);
        assert!(!p.interrupts() && p.is_masked(0));
        p.write(0x21, 0xfa);
        assert_eq!((p.interrupts(), p.read(0x20)), (true, Some(1)));
        assert_eq!(p.acknowledge(), 0x30);
        p.write(0x20, 0x0b);
        assert_eq!(p.read(0x20), Some(1), "in service");
        p.set_level(0, false);
        p.set_level(0, true);
        assert!(!p.interrupts());
        p.write(0x20, 0x60);
        assert_eq!(p.acknowledge(), 0x30);
    }

    #[test]
    fn the_slave_and_its_priority() {
        let mut p = pic(false);
        p.write(0x21, 0);
        p.write(0xa1, 0);
        p.set_level(4, true);
        p.set_level(12, true);
        assert!(!p.is_masked(12));
        assert_eq!(p.acknowledge(), 0x3c);
        assert!(!p.interrupts(), "line 4 is below the cascade");
        p.write(0xa0, 0x20);
        p.write(0x20, 0x20);
        assert_eq!(p.acknowledge(), 0x34);
    }

    #[test]
    fn levels_spurious_requests_and_automatic_ends() {
        let mut p = pic(true);
        p.write(0x21, 0);
        p.write(0x4d0, 0xff);
        assert_eq!(p.read(0x4d0), Some(0xf8));
        p.set_level(5, true);
        assert_eq!((p.acknowledge(), p.interrupts()), (0x35, true), "a level, and over at once");
        p.set_level(5, false);
        assert!(!p.interrupts());
        assert_eq!(p.acknowledge(), 0x37);
        p.set_level(1, true);
        assert_eq!((p.acknowledge(), p.interrupts()), (0x31, false), "an edge");
    }

    #[test]
    fn saved_state_is_checked() {
        let mut p = pic(false);
        p.set_level(3, true);
        let back = Pic::restore(p.save()).unwrap();
        assert_eq!(back.save(), p.save());
        for change in [
            |c: &mut ChipState| c.expects = 1,
            |c: &mut ChipState| c.expects = 5,
            |c: &mut ChipState| c.base = 3,
            |c: &mut ChipState| c.elcr = 0xff,
        ] {
            let mut bad = p.save();
            change(&mut bad[0]);
            assert!(Pic::restore(bad).is_err());
        }
    }
}
