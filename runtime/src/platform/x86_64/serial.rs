//! The transmitter of COM1, for a kernel's early messages (`earlyprintk=serial`): its bytes go to the
//! machine's log. There is no interrupt enable register, so that a driver for 16550s finds no port and the
//! virtio console stays the only one.

use serde::{Deserialize, Serialize};

/// The first port.
const BASE: u16 = 0x3f8;
/// Line control: the divisor is at ports 0 and 1.
const DLAB: u8 = 0x80;
/// Line status: transmitter empty.
const EMPTY: u8 = 0x60;

/// The port's state in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serial {
    /// Line control register.
    pub line_control: u8,
}

impl Serial {
    /// `in`; `None`: not this device's.
    pub(crate) fn read(&self, port: u16) -> Option<u8> {
        match port.checked_sub(BASE)? {
            3 => Some(self.line_control),
            5 => Some(EMPTY),
            _ => None,
        }
    }

    /// `out`: a byte that is transmitted.
    pub(crate) fn write(&mut self, port: u16, byte: u8) -> Option<u8> {
        match port.checked_sub(BASE)? {
            0 if self.line_control & DLAB == 0 => return Some(byte),
            3 => self.line_control = byte,
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_transmitted_but_not_the_divisor() {
        let mut s = Serial::default();
        let sent: Vec<u8> = [(3, 0x83), (0, 1), (1, 0), (3, 3), (0, b'h'), (0, b'i'), (1, 7)]
            .iter()
            .filter_map(|&(port, byte)| s.write(BASE + port, byte))
            .collect();
        assert_eq!(sent, b"hi");
        assert_eq!([0, 1, 3, 5].map(|port| s.read(BASE + port)), [None, None, Some(3), Some(0x60)]);
        assert_eq!((s.read(0), s.write(0, 1)), (None, None));
    }
}
