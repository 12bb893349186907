//! Local APIC in xAPIC mode (SDM vol. 3 chapter 11, older editions: 10), of a machine with one processor.
//!
//! Its timer counts the core crystal's clock, which `cpuid` leaf 0x15 tells of (SDM vol. 3 11.5.4); a
//! deadline is compared with the time-stamp counter, nanoseconds. Only aligned 32-bit accesses count. After
//! reset it is in virtual-wire mode, as firmware would leave it (MP specification 3.6.2.2): what the 8259s
//! ask for goes through LINT0 to the processor.

use serde::{Deserialize, Serialize};

/// Number of local vectors.
const LVTS: usize = 6;
/// Index of the timer in the local vector table.
const TIMER: usize = 0;
/// Index of LINT0.
const LINT0: usize = 3;
/// Index of LINT1.
const LINT1: usize = 4;
/// Index of the error interrupt.
const ERROR: usize = 5;
/// Bits of each local vector that can be written.
const LVT_BITS: [u32; LVTS] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];
const MASKED: u32 = 1 << 16;
/// Delivery modes.
const FIXED: u32 = 0;
const LOWEST: u32 = 1;
const EXTINT: u32 = 7;
/// Spurious-interrupt vector register: the APIC is enabled.
const ENABLED: u32 = 1 << 8;
/// Version: integrated, with [`LVTS`] local vectors.
const VERSION: u32 = 0x14 | (LVTS as u32 - 1) << 16;
/// Error status: an illegal vector was to be sent, or to be received.
const SEND_ILLEGAL: u32 = 1 << 5;
const RECEIVE_ILLEGAL: u32 = 1 << 6;
const ILLEGAL_REGISTER: u32 = 1 << 7;

/// IA32_APIC_BASE: this is the bootstrap processor.
const BASE_BSP: u64 = 1 << 8;
/// IA32_APIC_BASE: the APIC exists.
const BASE_ENABLE: u64 = 1 << 11;

/// Nanoseconds in a tick of the core crystal.
const CRYSTAL_NS: u64 = 40;
/// No time.
const NEVER: u64 = u64::MAX;

/// A set of vectors.
type Vectors = [u32; 8];

/// The APIC's state in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LapicState {
    /// IA32_APIC_BASE says that the APIC exists.
    pub exists: bool,
    /// Identification register.
    pub id: u32,
    /// Task priority.
    pub tpr: u8,
    /// Logical destination.
    pub ldr: u32,
    /// Destination format.
    pub dfr: u32,
    /// Spurious-interrupt vector.
    pub svr: u32,
    /// Vectors in service.
    pub isr: Vectors,
    /// Vectors requested.
    pub irr: Vectors,
    /// Vectors that came from a level.
    pub tmr: Vectors,
    /// Errors since the last write to the error status register, and what it shows.
    pub errors: [u32; 2],
    /// Interrupt command, low and high.
    pub icr: [u32; 2],
    /// Local vector table: timer, thermal, performance, LINT0, LINT1, error.
    pub lvt: [u32; LVTS],
    /// Timer: initial count.
    pub initial: u32,
    /// Timer: divide configuration.
    pub divide: u32,
    /// When the timer expires, ns; `u64::MAX`: it does not run.
    pub expires: u64,
}

/// The APIC.
#[derive(Clone, Debug)]
pub struct Lapic {
    s: LapicState,
    /// A request that the processor priority lets through, kept up to date.
    ready: bool,
}

fn highest(vectors: &Vectors) -> Option<u8> {
    let word = vectors.iter().rposition(|w| *w != 0)?;
    Some((word * 32 + 31 - vectors[word].leading_zeros() as usize) as u8)
}

fn set(vectors: &mut Vectors, vector: u8, value: bool) {
    let (word, bit) = (&mut vectors[usize::from(vector / 32)], 1 << (vector % 32));
    *word = if value { *word | bit } else { *word & !bit };
}

fn contains(vectors: &Vectors, vector: u8) -> bool {
    vectors[usize::from(vector / 32)] >> (vector % 32) & 1 != 0
}

impl Default for Lapic {
    fn default() -> Self {
        Self::new()
    }
}

impl Lapic {
    /// An APIC as firmware leaves it.
    pub fn new() -> Self {
        let mut lvt = [MASKED; LVTS];
        lvt[LINT0] = EXTINT << 8;
        lvt[LINT1] = 4 << 8;
        let s = LapicState {
            exists: true,
            id: 0,
            tpr: 0,
            ldr: 0,
            dfr: u32::MAX,
            svr: ENABLED | 0xff,
            isr: [0; 8],
            irr: [0; 8],
            tmr: [0; 8],
            errors: [0; 2],
            icr: [0; 2],
            lvt,
            initial: 0,
            divide: 0,
            expires: NEVER,
        };
        Lapic { s, ready: false }
    }

    /// Whether it has an interrupt for the processor.
    #[inline]
    pub fn interrupts(&self) -> bool {
        self.ready
    }

    /// Whether what the 8259s ask for reaches the processor: through LINT0, or past an APIC that is not
    /// there.
    #[inline]
    pub fn passes_external(&self) -> bool {
        !self.s.exists || self.s.svr & ENABLED != 0 && self.s.lvt[LINT0] & (MASKED | 7 << 8) == EXTINT << 8
    }

    /// Whether an interrupt message reaches this processor.
    pub fn is_destination(&self, logical: bool, destination: u8) -> bool {
        if !logical {
            return destination == 0xff || u32::from(destination) == self.s.id >> 24;
        }
        let ours = (self.s.ldr >> 24) as u8;
        match self.s.dfr >> 28 {
            0xf => ours & destination != 0,
            // Cluster model: the same cluster, or all.
            _ => (destination >> 4 == ours >> 4 || destination >> 4 == 0xf) && ours & destination & 0xf != 0,
        }
    }

    /// An interrupt message arrives.
    pub fn accept(&mut self, vector: u8, level: bool) {
        if !self.s.exists || self.s.svr & ENABLED == 0 {
            return;
        }
        if vector < 16 {
            self.error(RECEIVE_ILLEGAL);
            return;
        }
        set(&mut self.s.irr, vector, true);
        set(&mut self.s.tmr, vector, level);
        self.update();
    }

    fn error(&mut self, error: u32) {
        let before = self.s.errors[0];
        self.s.errors[0] |= error;
        let vector = self.s.lvt[ERROR];
        // An error interrupt with an illegal vector would be its own cause.
        if before & error == 0 && vector & MASKED == 0 && vector & 0xff >= 16 {
            self.accept(vector as u8, false);
        }
    }

    /// LINT0 rises: what the 8259s ask for, in another mode than ExtINT.
    pub fn rise_lint0(&mut self) {
        let lvt = self.s.lvt[LINT0];
        if lvt & (MASKED | 7 << 8) == FIXED << 8 {
            self.accept(lvt as u8, false);
        }
    }

    /// Processor priority (SDM vol. 3 11.8.3.1).
    fn processor_priority(&self) -> u8 {
        let serviced = highest(&self.s.isr).unwrap_or(0);
        if self.s.tpr >> 4 >= serviced >> 4 { self.s.tpr } else { serviced & 0xf0 }
    }

    fn update(&mut self) {
        self.ready = self.s.exists
            && self.s.svr & ENABLED != 0
            && highest(&self.s.irr).is_some_and(|vector| vector >> 4 > self.processor_priority() >> 4);
    }

    /// The processor takes the interrupt; `None` when there is none any more.
    pub fn acknowledge(&mut self) -> Option<u8> {
        if !self.ready {
            return None;
        }
        let vector = highest(&self.s.irr)?;
        set(&mut self.s.irr, vector, false);
        set(&mut self.s.isr, vector, true);
        self.update();
        Some(vector)
    }

    /// End of interrupt: the vector when the I/O APIC has to know of it.
    fn end_of_interrupt(&mut self) -> Option<u8> {
        let vector = highest(&self.s.isr)?;
        set(&mut self.s.isr, vector, false);
        self.update();
        contains(&self.s.tmr, vector).then_some(vector)
    }

    /// Task priority class, as CR8 shows it.
    pub fn task_priority(&self) -> u8 {
        self.s.tpr >> 4
    }

    /// Writes CR8.
    pub fn set_task_priority(&mut self, class: u8) {
        self.s.tpr = class << 4;
        self.update();
    }

    /// Sends what the command register says; the only processor there is may be a target.
    fn send(&mut self) {
        let [low, high] = self.s.icr;
        let reached = match low >> 18 & 3 {
            0 => self.is_destination(low >> 11 & 1 != 0, (high >> 24) as u8),
            1 | 2 => true,
            _ => false,
        };
        // INIT, start-up, NMI and SMI have nobody to go to.
        if !matches!(low >> 8 & 7, FIXED | LOWEST) {
            return;
        }
        if low & 0xff < 16 {
            self.error(SEND_ILLEGAL);
        } else if reached {
            self.accept(low as u8, false);
        }
    }

    /// Nanoseconds for one count of the timer.
    fn count_ns(&self) -> u64 {
        let divisor = match self.s.divide & 3 | self.s.divide >> 1 & 4 {
            7 => 1,
            n => 2 << n,
        };
        CRYSTAL_NS * divisor
    }

    fn mode(&self) -> u32 {
        self.s.lvt[TIMER] >> 17 & 3
    }

    fn is_deadline(&self) -> bool {
        self.mode() == 2
    }

    fn current_count(&self, now: u64) -> u32 {
        if self.is_deadline() || self.s.expires == NEVER {
            return 0;
        }
        self.s.expires.saturating_sub(now).div_ceil(self.count_ns()).min(u64::from(self.s.initial)) as u32
    }

    fn start_timer(&mut self, count: u32, now: u64) {
        self.s.expires = match count {
            0 => NEVER,
            _ => now.saturating_add(u64::from(count) * self.count_ns()),
        };
    }

    /// When the timer has to be looked at, ns; `u64::MAX` for never.
    #[inline]
    pub fn next_event(&self) -> u64 {
        if self.s.lvt[TIMER] & MASKED != 0 || self.s.svr & ENABLED == 0 { NEVER } else { self.s.expires }
    }

    /// Lets the timer expire if it is time.
    #[inline]
    pub fn tick(&mut self, now: u64) {
        if now >= self.s.expires {
            self.expire(now);
        }
    }

    #[cold]
    fn expire(&mut self, now: u64) {
        let period = u64::from(self.s.initial) * self.count_ns();
        self.s.expires = match self.mode() {
            // What was missed counts once.
            1 if period > 0 => {
                let periods = (now - self.s.expires) / period + 1;
                self.s.expires.saturating_add(periods.saturating_mul(period))
            }
            _ => NEVER,
        };
        let lvt = self.s.lvt[TIMER];
        if lvt & MASKED == 0 {
            self.accept(lvt as u8, false);
        }
    }

    /// Reads IA32_TSC_DEADLINE.
    pub fn deadline(&self) -> u64 {
        if self.is_deadline() && self.s.expires != NEVER { self.s.expires } else { 0 }
    }

    /// Writes IA32_TSC_DEADLINE (SDM vol. 3 11.5.4.1): no effect in the other modes.
    pub fn set_deadline(&mut self, value: u64, now: u64) {
        if self.is_deadline() {
            self.s.expires = if value == 0 { NEVER } else { value };
            self.tick(now);
        }
    }

    /// Reads IA32_APIC_BASE.
    pub fn base(&self) -> u64 {
        forelift_abi::layout::pc::LAPIC_BASE | BASE_BSP | if self.s.exists { BASE_ENABLE } else { 0 }
    }

    /// Writes IA32_APIC_BASE; false when it asks for what this APIC cannot do: another address, x2APIC.
    pub fn set_base(&mut self, value: u64) -> bool {
        if value & !(BASE_ENABLE | BASE_BSP) != forelift_abi::layout::pc::LAPIC_BASE {
            return false;
        }
        let exists = value & BASE_ENABLE != 0;
        if exists != self.s.exists {
            // Coming and going, it is reset (SDM vol. 3 11.4.3).
            let mut s = Lapic::new().s;
            (s.svr, s.lvt, s.exists) = (0xff, [MASKED; LVTS], exists);
            self.s = s;
            self.update();
        }
        true
    }

    /// A load at `offset` of the registers.
    pub fn read(&mut self, offset: u64, size: u8, now: &mut dyn FnMut() -> u64) -> u64 {
        if !self.s.exists {
            return u64::MAX;
        }
        if offset & 0xf >= 4 {
            return 0;
        }
        let s = &self.s;
        let vectors = |set: &Vectors| set[(offset >> 4 & 7) as usize];
        let word = match offset & !0xf {
            0x20 => s.id,
            0x30 => VERSION,
            0x80 => s.tpr.into(),
            0x90 | 0xa0 => self.processor_priority().into(),
            0xd0 => s.ldr,
            0xe0 => s.dfr,
            0xf0 => s.svr,
            0x100..0x180 => vectors(&s.isr),
            0x180..0x200 => vectors(&s.tmr),
            0x200..0x280 => vectors(&s.irr),
            0x280 => s.errors[1],
            0x300 => s.icr[0],
            0x310 => s.icr[1],
            0x320..0x380 => s.lvt[(offset >> 4) as usize - 0x32],
            0x380 if !self.is_deadline() => s.initial,
            0x390 => self.current_count(now()),
            0x3e0 => s.divide,
            0xb0 | 0x380 => 0,
            _ => {
                self.error(ILLEGAL_REGISTER);
                0
            }
        };
        // Narrow loads are not defined; they get their part.
        let shifted = u64::from(word) >> (8 * (offset & 3));
        if size < 4 { shifted & ((1 << (8 * u32::from(size))) - 1) } else { shifted }
    }

    /// A store at `offset` of the registers. Gives the vector when the I/O APIC has to be told of its end.
    pub fn write(&mut self, offset: u64, value: u64, now: &mut dyn FnMut() -> u64) -> Option<u8> {
        if !self.s.exists || offset & 0xf != 0 {
            return None;
        }
        let word = value as u32;
        match offset {
            0xb0 => return self.end_of_interrupt(),
            0x20 => self.s.id = word & 0xff00_0000,
            0x80 => self.s.tpr = word as u8,
            0xd0 => self.s.ldr = word & 0xff00_0000,
            0xe0 => self.s.dfr = word | 0x0fff_ffff,
            0xf0 => {
                self.s.svr = word & 0x1ff;
                if self.s.svr & ENABLED == 0 {
                    self.s.lvt.iter_mut().for_each(|lvt| *lvt |= MASKED);
                }
            }
            0x280 => self.s.errors = [0, self.s.errors[0]],
            0x300 => {
                // Bit 12, delivery status: always idle.
                self.s.icr[0] = word & 0x000c_cfff;
                self.send();
            }
            0x310 => self.s.icr[1] = word & 0xff00_0000,
            0x320..0x380 => self.write_lvt((offset >> 4) as usize - 0x32, word, now),
            0x380 if !self.is_deadline() => {
                self.s.initial = word;
                self.start_timer(word, now());
            }
            0x3e0 => {
                let now = now();
                let count = self.current_count(now);
                self.s.divide = word & 0xb;
                if self.s.expires != NEVER && !self.is_deadline() {
                    self.start_timer(count.max(1), now);
                }
            }
            0x30 | 0x90 | 0xa0 | 0x100..0x280 | 0x380 | 0x390 => {}
            _ => self.error(ILLEGAL_REGISTER),
        }
        self.update();
        None
    }

    fn write_lvt(&mut self, index: usize, word: u32, now: &mut dyn FnMut() -> u64) {
        let mut new = word & LVT_BITS[index];
        if self.s.svr & ENABLED == 0 {
            new |= MASKED;
        }
        if index == TIMER {
            // What is due belongs to the old vector.
            if self.s.expires != NEVER {
                self.tick(now());
            }
            let was_deadline = self.is_deadline();
            self.s.lvt[TIMER] = new;
            if was_deadline != self.is_deadline() {
                self.s.expires = NEVER;
            }
        } else {
            self.s.lvt[index] = new;
        }
    }

    /// State for a snapshot.
    pub fn save(&self) -> LapicState {
        self.s
    }

    /// Checked state of a snapshot.
    ///
    /// # Errors
    /// What is out of range.
    pub fn restore(state: LapicState) -> Result<Self, &'static str> {
        let beyond = state.lvt.iter().zip(LVT_BITS).any(|(lvt, bits)| lvt & !bits != 0);
        let illegal = (state.irr[0] | state.isr[0]) & 0xffff != 0;
        let bits =
            state.svr & !0x1ff | state.divide & !0xb | (state.id | state.ldr | state.icr[1]) & 0xff_ffff;
        if beyond || illegal || bits != 0 || state.icr[0] & !0x000c_cfff != 0 {
            return Err("local APIC: a bit that does not exist");
        }
        let mut lapic = Lapic { s: state, ready: false };
        lapic.update();
        Ok(lapic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(l: &mut Lapic, offset: u64, now: u64) -> u32 {
        l.read(offset, 4, &mut || now) as u32
    }

    fn write(l: &mut Lapic, offset: u64, word: u32, now: u64) -> Option<u8> {
        l.write(offset, word.into(), &mut || now)
    }

    #[test]
    fn priorities_nest() {
        let mut l = Lapic::new();
        l.accept(0x41, false);
        l.accept(0x45, false);
        assert_eq!(l.acknowledge(), Some(0x45));
        assert!(!l.interrupts(), "the same class waits");
        assert_eq!(read(&mut l, 0xa0, 0), 0x40);
        l.accept(0x61, true);
        assert_eq!(l.acknowledge(), Some(0x61));
        assert_eq!(write(&mut l, 0xb0, 0, 0), Some(0x61), "a level goes to the I/O APIC");
        assert_eq!(write(&mut l, 0xb0, 0, 0), None);
        assert_eq!(l.acknowledge(), Some(0x41));
        assert_eq!(read(&mut l, 0x120, 0), 2);
        assert_eq!(write(&mut l, 0xb0, 0, 0), None);
        assert_eq!((l.acknowledge(), read(&mut l, 0x120, 0)), (None, 0));
    }

    #[test]
    fn task_priority_holds_interrupts_back() {
        let mut l = Lapic::new();
        l.set_task_priority(5);
        l.accept(0x5f, false);
        assert!(!l.interrupts() && l.acknowledge().is_none());
        assert_eq!(read(&mut l, 0x80, 0), 0x50);
        write(&mut l, 0x80, 0x4f, 0);
        assert_eq!((l.interrupts(), l.task_priority()), (true, 4));
        assert_eq!(l.acknowledge(), Some(0x5f));
    }

    #[test]
    fn one_shot_periodic_and_divisor() {
        let [denominator, numerator, hz, _] = crate::cpu::x86::cpuid::leaf(0x15, 0);
        assert_eq!((u64::from(hz) * CRYSTAL_NS, denominator), (1_000_000_000, 1));
        assert_eq!(u64::from(numerator), CRYSTAL_NS, "the time-stamp counter's ticks are nanoseconds");
        let mut l = Lapic::new();
        write(&mut l, 0x3e0, 3, 0);
        write(&mut l, 0x320, 0x30, 0);
        write(&mut l, 0x380, 100, 1000);
        assert_eq!(l.next_event(), 1000 + 64_000);
        assert_eq!((read(&mut l, 0x390, 1000), read(&mut l, 0x390, 33_000)), (100, 50));
        l.tick(64_999);
        assert!(!l.interrupts());
        l.tick(65_000);
        assert_eq!((l.acknowledge(), l.next_event()), (Some(0x30), u64::MAX));
        assert_eq!(read(&mut l, 0x390, 99_999), 0);
        write(&mut l, 0xb0, 0, 0);
        write(&mut l, 0x320, 0x2_0030, 5000);
        write(&mut l, 0x3e0, 0xb, 5000);
        write(&mut l, 0x380, 100, 5000);
        l.tick(5000 + 14_000);
        assert_eq!((l.acknowledge(), l.next_event()), (Some(0x30), 5000 + 16_000));
        // Half way, counts get twice as long.
        write(&mut l, 0x3e0, 0, 5000 + 14_000);
        assert_eq!((read(&mut l, 0x390, 19_000), l.next_event()), (50, 5000 + 18_000));
        write(&mut l, 0x380, 0, 19_000);
        assert_eq!(l.next_event(), u64::MAX);
        for (divide, by) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
            write(&mut l, 0x3e0, divide, 0);
            assert_eq!(l.count_ns(), CRYSTAL_NS * by);
        }
    }

    #[test]
    fn deadline_mode() {
        let mut l = Lapic::new();
        l.set_deadline(500, 0);
        assert_eq!((l.deadline(), l.next_event()), (0, u64::MAX), "not in that mode");
        write(&mut l, 0x320, 0x4_0031, 0);
        write(&mut l, 0x380, 100, 0);
        assert_eq!(l.next_event(), u64::MAX);
        l.set_deadline(500, 100);
        assert_eq!((l.deadline(), l.next_event()), (500, 500));
        l.tick(500);
        assert_eq!((l.acknowledge(), l.deadline()), (Some(0x31), 0));
        write(&mut l, 0xb0, 0, 0);
        l.set_deadline(600, 700);
        assert_eq!(l.acknowledge(), Some(0x31), "in the past: at once");
        l.set_deadline(900, 800);
        write(&mut l, 0x320, 0x31, 800);
        assert_eq!((l.deadline(), l.next_event()), (0, u64::MAX), "the mode's change disarms it");
    }

    #[test]
    fn disabling_masks_the_local_vectors() {
        let mut l = Lapic::new();
        assert!(l.passes_external());
        write(&mut l, 0x320, 0x4_0031, 0);
        l.set_deadline(5, 0);
        write(&mut l, 0xf0, 0xff, 0);
        assert_eq!(read(&mut l, 0x320, 0), 0x5_0031);
        l.accept(0x50, false);
        l.tick(10);
        assert!(!l.interrupts() && !l.passes_external());
        write(&mut l, 0xf0, 0x1ff, 0);
        assert!(!l.interrupts());
        write(&mut l, 0x350, 0x700, 0);
        assert!(l.passes_external());
        write(&mut l, 0x350, 0x55, 0);
        assert!(!l.passes_external());
        l.rise_lint0();
        assert_eq!(l.acknowledge(), Some(0x55));
    }

    #[test]
    fn commands_reach_the_one_processor() {
        let mut l = Lapic::new();
        for (low, high, sent) in [
            (0x4_0051, 0, true),
            (0x8_0051, 0, true),
            (0xc_0051, 0, false),
            (0x51, 0, true),
            (0x51, 0x100_0000, false),
            (0x51, 0xff00_0000, true),
            (0x500, 0, false),
            (0x4_0400, 0, false),
        ] {
            write(&mut l, 0x310, high, 0);
            write(&mut l, 0x300, low, 0);
            assert_eq!(l.acknowledge().is_some(), sent, "{low:#x}");
            write(&mut l, 0xb0, 0, 0);
        }
        write(&mut l, 0xd0, 0x0200_0000, 0);
        assert!(l.is_destination(true, 3) && !l.is_destination(true, 1));
        write(&mut l, 0xe0, 0, 0);
        write(&mut l, 0xd0, 0x3200_0000, 0);
        assert!(
            l.is_destination(true, 0x33) && l.is_destination(true, 0xf2) && !l.is_destination(true, 0x42)
        );
    }

    #[test]
    fn errors_are_latched() {
        let mut l = Lapic::new();
        write(&mut l, 0x370, 0x70, 0);
        l.accept(3, false);
        assert_eq!(l.acknowledge(), Some(0x70));
        assert_eq!(read(&mut l, 0x280, 0), 0);
        write(&mut l, 0x280, 0, 0);
        assert_eq!(read(&mut l, 0x280, 0), RECEIVE_ILLEGAL);
        write(&mut l, 0x300, 0x4_0001, 0);
        read(&mut l, 0x40, 0);
        write(&mut l, 0x280, 0, 0);
        assert_eq!(read(&mut l, 0x280, 0), SEND_ILLEGAL | ILLEGAL_REGISTER);
        // Even where the error interrupt itself is illegal.
        write(&mut l, 0x370, 1, 0);
        write(&mut l, 0x280, 0, 0);
        l.accept(3, false);
    }

    #[test]
    fn base_and_saved_state() {
        let mut l = Lapic::new();
        assert_eq!(l.base(), 0xfee0_0900);
        assert!(!l.set_base(0xfee0_0d00) && !l.set_base(0x1000_0900) && l.set_base(0xfee0_0100));
        assert_eq!((read(&mut l, 0x30, 0), l.passes_external()), (u32::MAX, true));
        assert!(l.set_base(0xfee0_0900));
        assert_eq!((read(&mut l, 0x30, 0), l.passes_external()), (0x5_0014, false));
        write(&mut l, 0xf0, 0x1ff, 0);
        l.accept(0x99, true);
        let back = Lapic::restore(l.save()).unwrap();
        assert_eq!(back.save(), l.save());
        assert!(back.interrupts());
        for bad in [
            LapicState { irr: [1, 0, 0, 0, 0, 0, 0, 0], ..l.save() },
            LapicState { svr: 0x400, ..l.save() },
            LapicState { lvt: [u32::MAX; LVTS], ..l.save() },
            LapicState { icr: [1 << 12, 0], ..l.save() },
            LapicState { divide: 4, ..l.save() },
        ] {
            assert!(Lapic::restore(bad).is_err());
        }
    }
}
