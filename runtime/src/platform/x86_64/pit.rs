//! 8254 interval timer (Intel 82C54 data sheet) and the gate of its channel 2 in port 0x61. Linux probes for
//! it, and calibrates its clocks with it when nothing tells their frequencies.
//!
//! Modes 0, 2 and 3; the hardware-triggered ones (1, 5) count as 0, and 4 does. Counts are binary.

use serde::{Deserialize, Serialize};

/// Frequency of the counters in Hz.
const HZ: u64 = 1_193_182;
const NS: u64 = 1_000_000_000;

/// A channel's state in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelState {
    /// Mode: 0, 2 or 3.
    pub mode: u8,
    /// Low byte (1), high byte (2), or both (3).
    pub access: u8,
    /// Count that was loaded; 0 stands for 65536.
    pub reload: u16,
    /// A count was loaded since the mode was set.
    pub loaded: bool,
    /// When it was loaded, ns.
    pub start: u64,
    /// What had been counted when the gate closed; `None`: it is open.
    pub stopped: Option<u64>,
    /// First byte of a count that is being written.
    pub low: Option<u8>,
    /// The next byte to be read is the second one.
    pub second: bool,
    /// Count that was latched.
    pub latch: Option<u16>,
    /// Status that was latched.
    pub status: Option<u8>,
    /// When the output rises next, ns; `u64::MAX` for never. Only channel 0's counts for anything.
    pub rises: u64,
}

/// The timer's state in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PitState {
    /// The channels.
    pub channels: [ChannelState; 3],
    /// Bits 0 and 1 of port 0x61: gate of channel 2, loudspeaker.
    pub control: u8,
}

impl ChannelState {
    fn period(&self) -> u64 {
        match self.reload {
            0 => 0x1_0000,
            n => n.into(),
        }
    }

    /// Counts since it was loaded.
    fn elapsed(&self, now: u64) -> u64 {
        self.stopped.unwrap_or_else(|| {
            (u128::from(now.saturating_sub(self.start)) * u128::from(HZ) / u128::from(NS)) as u64
        })
    }

    /// When `counts` are reached, ns.
    fn time_of(&self, counts: u64) -> u64 {
        let ns = (u128::from(counts) * u128::from(NS)).div_ceil(u128::from(HZ));
        self.start.saturating_add(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    fn count(&self, now: u64) -> u16 {
        if !self.loaded {
            return 0;
        }
        let (elapsed, period) = (self.elapsed(now), self.period());
        let count = match self.mode {
            2 => period - elapsed % period,
            // Two at a time, twice in a period.
            3 => (period - elapsed.wrapping_mul(2) % period) & !1,
            _ => period.wrapping_sub(elapsed),
        };
        count as u16
    }

    fn output(&self, now: u64) -> bool {
        if !self.loaded {
            return self.mode != 0;
        }
        let (elapsed, period) = (self.elapsed(now), self.period());
        match self.mode {
            2 => elapsed % period != period - 1,
            3 => elapsed % period < period.div_ceil(2),
            _ => elapsed >= period,
        }
    }

    fn set_mode(&mut self, control: u8) {
        let mode = match control >> 1 & 7 {
            2 | 6 => 2,
            3 | 7 => 3,
            _ => 0,
        };
        let stopped = self.stopped.map(|_| 0);
        *self = ChannelState {
            mode,
            access: control >> 4 & 3,
            stopped,
            rises: u64::MAX,
            ..ChannelState::default()
        };
    }

    fn write(&mut self, byte: u8, now: u64) {
        let count = match (self.access, self.low) {
            (1, _) => u16::from(byte),
            (2, _) => u16::from(byte) << 8,
            (_, None) => {
                self.low = Some(byte);
                return;
            }
            (_, Some(low)) => {
                self.low = None;
                u16::from_le_bytes([low, byte])
            }
        };
        self.reload = count;
        self.loaded = true;
        self.start = now;
        self.stopped = self.stopped.map(|_| 0);
        self.rises = if self.stopped.is_some() { u64::MAX } else { self.time_of(self.period()) };
    }

    fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let count = self.latch.unwrap_or_else(|| self.count(now));
        let [low, high] = count.to_le_bytes();
        let both = !matches!(self.access, 1 | 2);
        let is_second = both && self.second;
        if both {
            self.second = !self.second;
        }
        if !both || is_second {
            self.latch = None;
        }
        if self.access == 2 || is_second { high } else { low }
    }

    fn latch_status(&mut self, now: u64) {
        let bits = u8::from(self.output(now)) << 7 | u8::from(!self.loaded) << 6;
        self.status.get_or_insert(bits | self.access << 4 | self.mode << 1);
    }

    fn latch_count(&mut self, now: u64) {
        let count = self.count(now);
        self.latch.get_or_insert(count);
    }

    fn set_gate(&mut self, open: bool, now: u64) {
        match (self.stopped, open) {
            (None, false) => self.stopped = Some(self.elapsed(now)),
            (Some(counted), true) => {
                self.stopped = None;
                // Modes 2 and 3 begin anew, mode 0 goes on.
                let counted = if self.mode == 0 { counted } else { 0 };
                let ns = u128::from(counted) * u128::from(NS) / u128::from(HZ);
                self.start = now.saturating_sub(ns as u64);
            }
            _ => {}
        }
    }
}

/// The timer.
#[derive(Clone, Debug)]
pub struct Pit {
    s: PitState,
}

impl Default for Pit {
    fn default() -> Self {
        Self::new()
    }
}

impl Pit {
    /// A timer that nobody has programmed.
    pub fn new() -> Self {
        let channel = ChannelState { access: 3, rises: u64::MAX, ..ChannelState::default() };
        let gated = ChannelState { stopped: Some(0), ..channel };
        Pit { s: PitState { channels: [channel, channel, gated], control: 0 } }
    }

    /// When channel 0's output rises, ns; `u64::MAX` for never.
    #[inline]
    pub fn next_event(&self) -> u64 {
        self.s.channels[0].rises
    }

    /// Whether channel 0's output has risen since the last call.
    #[inline]
    pub fn tick(&mut self, now: u64) -> bool {
        let channel = &mut self.s.channels[0];
        if now < channel.rises {
            return false;
        }
        channel.rises = match channel.mode {
            0 => u64::MAX,
            _ => channel.time_of((channel.elapsed(now) / channel.period() + 1) * channel.period()),
        };
        // Rounding may leave it where it was.
        channel.rises = channel.rises.max(now.saturating_add(1));
        true
    }

    /// `in` from one of the timer's ports; `None`: not its.
    pub fn read(&mut self, port: u16, now: &mut dyn FnMut() -> u64) -> Option<u8> {
        match port {
            0x40..=0x42 => Some(self.s.channels[usize::from(port - 0x40)].read(now())),
            0x43 => Some(0xff),
            0x61 => {
                let now = now();
                // Bit 4 changes with each refresh of memory, every 15 us.
                let refresh = ((now / 15_085) & 1) as u8;
                Some(self.s.control | refresh << 4 | u8::from(self.s.channels[2].output(now)) << 5)
            }
            _ => None,
        }
    }

    /// `out` to one of the timer's ports; false: not its. Whether it concerns channel 0 is
    /// [`Pit::next_event`]'s to tell.
    pub fn write(&mut self, port: u16, byte: u8, now: &mut dyn FnMut() -> u64) -> bool {
        match port {
            0x40..=0x42 => self.s.channels[usize::from(port - 0x40)].write(byte, now()),
            0x43 => self.control(byte, now()),
            0x61 => {
                self.s.control = byte & 3;
                self.s.channels[2].set_gate(byte & 1 != 0, now());
            }
            _ => return false,
        }
        true
    }

    fn control(&mut self, byte: u8, now: u64) {
        if byte >> 6 == 3 {
            // Read-back: bits 4 and 5 are low for what is wanted.
            for (n, channel) in self.s.channels.iter_mut().enumerate() {
                if byte >> (n + 1) & 1 != 0 {
                    if byte & 0x20 == 0 {
                        channel.latch_count(now);
                    }
                    if byte & 0x10 == 0 {
                        channel.latch_status(now);
                    }
                }
            }
            return;
        }
        let channel = &mut self.s.channels[usize::from(byte >> 6)];
        match byte >> 4 & 3 {
            0 => channel.latch_count(now),
            _ => channel.set_mode(byte),
        }
    }

    /// State for a snapshot.
    pub fn save(&self) -> PitState {
        self.s
    }

    /// Checked state of a snapshot.
    ///
    /// # Errors
    /// What is out of range.
    pub fn restore(state: PitState) -> Result<Self, &'static str> {
        let bad = |c: &ChannelState| !matches!(c.mode, 0 | 2 | 3) || !(1..=3).contains(&c.access);
        if state.channels.iter().any(bad) || state.control & !3 != 0 {
            return Err("8254: a mode that does not exist");
        }
        Ok(Pit { s: state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(p: &mut Pit, now: u64, bytes: &[(u16, u8)]) {
        for &(port, byte) in bytes {
            assert!(p.write(port, byte, &mut || now));
        }
    }

    fn read(p: &mut Pit, now: u64, port: u16) -> u8 {
        p.read(port, &mut || now).unwrap()
    }

    /// Time in ns after `counts`.
    fn after(counts: u64) -> u64 {
        (counts * NS).div_ceil(HZ)
    }

    #[test]
    fn channel_0_interrupts_periodically_or_once() {
        let mut p = Pit::new();
        assert_eq!(p.next_event(), u64::MAX);
        // 100 Hz, as Linux sets it.
        write(&mut p, 1000, &[(0x43, 0x34), (0x40, 0x9c), (0x40, 0x2e)]);
        assert_eq!(p.next_event(), 1000 + after(11932));
        assert!(!p.tick(p.next_event() - 1));
        assert!(p.tick(p.next_event()));
        assert_eq!(p.next_event(), 1000 + after(2 * 11932));
        assert!(p.tick(1000 + after(10 * 11932)), "what was missed counts once");
        assert_eq!(p.next_event(), 1000 + after(11 * 11932));
        write(&mut p, 0, &[(0x43, 0x38), (0x40, 10), (0x40, 0)]);
        assert!(p.tick(after(10)) && !p.tick(u64::MAX - 1));
        write(&mut p, 0, &[(0x43, 0x30)]);
        assert_eq!(p.next_event(), u64::MAX, "no count was loaded");
    }

    #[test]
    fn counts_are_read_byte_by_byte_and_latched() {
        let mut p = Pit::new();
        write(&mut p, 0, &[(0x43, 0x34), (0x40, 0), (0x40, 0x10)]);
        let now = after(0x123);
        assert_eq!((read(&mut p, now, 0x40), read(&mut p, now, 0x40)), (0xdd, 0x0e));
        write(&mut p, now, &[(0x43, 0)]);
        let later = after(0x600);
        assert_eq!((read(&mut p, later, 0x40), read(&mut p, later, 0x40)), (0xdd, 0x0e));
        assert_eq!((read(&mut p, later, 0x40), read(&mut p, later, 0x40)), (0, 0x0a));
        // Read-back of status and count: high output, loaded, both bytes, mode 2.
        write(&mut p, later, &[(0x43, 0xc2)]);
        assert_eq!((read(&mut p, 0, 0x40), read(&mut p, 0, 0x40), read(&mut p, 0, 0x40)), (0xb4, 0, 0x0a));
    }

    #[test]
    fn channel_2_runs_behind_its_gate() {
        let mut p = Pit::new();
        // As Linux calibrates: mode 0, and the output in bit 5 of port 0x61.
        write(&mut p, 0, &[(0x61, 1), (0x43, 0xb0), (0x42, 0xff), (0x42, 0x0f)]);
        assert_eq!(read(&mut p, after(0xffe), 0x61) & 0x21, 1);
        assert_eq!(read(&mut p, after(0xfff), 0x61) & 0x21, 0x21);
        write(&mut p, 0, &[(0x61, 0), (0x43, 0xb0), (0x42, 100), (0x42, 0), (0x61, 1)]);
        write(&mut p, after(40), &[(0x61, 0)]);
        assert_eq!(read(&mut p, after(90), 0x42), 60);
        assert_eq!(read(&mut p, after(90), 0x42), 0);
        write(&mut p, after(1000), &[(0x61, 1)]);
        assert_eq!(read(&mut p, after(1000) + after(59), 0x61) & 0x20, 0);
        assert_eq!(read(&mut p, after(1000) + after(61), 0x61) & 0x20, 0x20);
    }

    #[test]
    fn a_square_wave_and_single_bytes() {
        let mut p = Pit::new();
        write(&mut p, 0, &[(0x61, 1), (0x43, 0x96), (0x42, 100)]);
        assert_eq!((read(&mut p, after(10), 0x42), read(&mut p, after(60), 0x42)), (80, 80));
        assert_eq!(read(&mut p, after(49), 0x61) & 0x20, 0x20);
        assert_eq!(read(&mut p, after(50), 0x61) & 0x20, 0);
        assert_eq!(p.read(0x44, &mut || 0), None);
    }

    #[test]
    fn saved_state_is_checked() {
        let mut p = Pit::new();
        write(&mut p, 5, &[(0x43, 0x34), (0x40, 0x9c), (0x40, 0x2e), (0x61, 3)]);
        assert_eq!(Pit::restore(p.save()).unwrap().save(), p.save());
        let mut bad = p.save();
        bad.channels[1].mode = 1;
        assert!(Pit::restore(bad).is_err());
        bad = p.save();
        bad.channels[2].access = 0;
        assert!(Pit::restore(bad).is_err());
        assert!(Pit::restore(PitState { control: 4, ..p.save() }).is_err());
    }
}
