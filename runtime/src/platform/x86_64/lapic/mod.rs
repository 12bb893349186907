//! Local APIC in xAPIC mode (SDM vol. 3 chapter 11, older editions: 10), of a machine with one processor.
//!
//! Its timer counts the core crystal's clock, which `cpuid` leaf 0x15 tells of (SDM vol. 3 11.5.4); a
//! deadline is compared with the time-stamp counter, nanoseconds. Only aligned 32-bit accesses count. After
//! reset it is in virtual-wire mode, as firmware would leave it (MP specification 3.6.2.2): what the 8259s
//! ask for goes through LINT0 to the processor.

mod registers;
#[cfg(test)]
mod tests;

use registers as reg;
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
/// Local vector: masked.
const MASKED: u32 = 1 << 16;
/// Local vector and interrupt command: delivery mode, bits 8-10 (SDM vol. 3 11.5.1, 11.6.1).
const DELIVERY_SHIFT: u32 = 8;
const DELIVERY: u32 = 7 << DELIVERY_SHIFT;
const FIXED: u32 = 0;
const LOWEST: u32 = 1;
const NMI: u32 = 4;
const EXTINT: u32 = 7;
/// Local vector of the timer: mode, bits 17 and 18 (SDM vol. 3 11.5.4).
const TIMER_MODE_SHIFT: u32 = 17;
const PERIODIC: u32 = 1;
const TSC_DEADLINE: u32 = 2;
/// Lowest vector that may be sent or received (SDM vol. 3 11.5.2).
const LOWEST_VECTOR: u32 = 16;
/// Bits of the registers that can be written.
const ID_BITS: u32 = 0xff00_0000;
const SVR_BITS: u32 = 0x1ff;
/// All but bit 12, delivery status: always idle.
const ICR_LOW_BITS: u32 = 0x000c_cfff;
const DIVIDE_BITS: u32 = 0xb;
/// Destination format: all but the model, bits 28-31, are ones.
const DFR_ONES: u32 = 0x0fff_ffff;
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

/// Index in the local vector table of the register at `offset`.
fn lvt_index(offset: u64) -> usize {
    ((offset - reg::LVT) >> 4) as usize
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
        lvt[LINT0] = EXTINT << DELIVERY_SHIFT;
        lvt[LINT1] = NMI << DELIVERY_SHIFT;
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
        !self.s.exists
            || self.s.svr & ENABLED != 0
                && self.s.lvt[LINT0] & (MASKED | DELIVERY) == EXTINT << DELIVERY_SHIFT
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
        if u32::from(vector) < LOWEST_VECTOR {
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
        if before & error == 0 && vector & MASKED == 0 && vector & 0xff >= LOWEST_VECTOR {
            self.accept(vector as u8, false);
        }
    }

    /// LINT0 rises: what the 8259s ask for, in another mode than ExtINT.
    pub fn rise_lint0(&mut self) {
        let lvt = self.s.lvt[LINT0];
        if lvt & (MASKED | DELIVERY) == FIXED << DELIVERY_SHIFT {
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
        // Destination shorthand: none, this processor, all, all others (SDM vol. 3 figure 11-12).
        let reached = match low >> 18 & 3 {
            0 => self.is_destination(low >> 11 & 1 != 0, (high >> 24) as u8),
            1 | 2 => true,
            _ => false,
        };
        // INIT, start-up, NMI and SMI have nobody to go to.
        if !matches!((low & DELIVERY) >> DELIVERY_SHIFT, FIXED | LOWEST) {
            return;
        }
        if low & 0xff < LOWEST_VECTOR {
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
        self.s.lvt[TIMER] >> TIMER_MODE_SHIFT & 3
    }

    fn is_deadline(&self) -> bool {
        self.mode() == TSC_DEADLINE
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
            PERIODIC if period > 0 => {
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
            reg::ID => s.id,
            reg::VERSION => VERSION,
            reg::TPR => s.tpr.into(),
            reg::APR | reg::PPR => self.processor_priority().into(),
            reg::LDR => s.ldr,
            reg::DFR => s.dfr,
            reg::SVR => s.svr,
            reg::ISR..reg::ISR_END => vectors(&s.isr),
            reg::TMR..reg::TMR_END => vectors(&s.tmr),
            reg::IRR..reg::IRR_END => vectors(&s.irr),
            reg::ESR => s.errors[1],
            reg::ICR_LOW => s.icr[0],
            reg::ICR_HIGH => s.icr[1],
            reg::LVT..reg::LVT_END => s.lvt[lvt_index(offset)],
            reg::INITIAL_COUNT if !self.is_deadline() => s.initial,
            reg::CURRENT_COUNT => self.current_count(now()),
            reg::DIVIDE => s.divide,
            reg::EOI | reg::INITIAL_COUNT => 0,
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
            reg::EOI => return self.end_of_interrupt(),
            reg::ID => self.s.id = word & ID_BITS,
            reg::TPR => self.s.tpr = word as u8,
            reg::LDR => self.s.ldr = word & ID_BITS,
            reg::DFR => self.s.dfr = word | DFR_ONES,
            reg::SVR => {
                self.s.svr = word & SVR_BITS;
                if self.s.svr & ENABLED == 0 {
                    self.s.lvt.iter_mut().for_each(|lvt| *lvt |= MASKED);
                }
            }
            reg::ESR => self.s.errors = [0, self.s.errors[0]],
            reg::ICR_LOW => {
                self.s.icr[0] = word & ICR_LOW_BITS;
                self.send();
            }
            reg::ICR_HIGH => self.s.icr[1] = word & ID_BITS,
            reg::LVT..reg::LVT_END => self.write_lvt(lvt_index(offset), word, now),
            reg::INITIAL_COUNT if !self.is_deadline() => {
                self.s.initial = word;
                self.start_timer(word, now());
            }
            reg::DIVIDE => {
                let now = now();
                let count = self.current_count(now);
                self.s.divide = word & DIVIDE_BITS;
                if self.s.expires != NEVER && !self.is_deadline() {
                    self.start_timer(count.max(1), now);
                }
            }
            reg::VERSION | reg::APR | reg::PPR | reg::ISR..reg::IRR_END => {}
            reg::INITIAL_COUNT | reg::CURRENT_COUNT => {}
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
        let bits = state.svr & !SVR_BITS
            | state.divide & !DIVIDE_BITS
            | (state.id | state.ldr | state.icr[1]) & !ID_BITS;
        if beyond || illegal || bits != 0 || state.icr[0] & !ICR_LOW_BITS != 0 {
            return Err("local APIC: a bit that does not exist");
        }
        let mut lapic = Lapic { s: state, ready: false };
        lapic.update();
        Ok(lapic)
    }
}
