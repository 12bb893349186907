//! The register stack, its tags and faults, and the status word (SDM vol. 1, 8.1).

use crate::cpu::x86::state::{Extended, Fpu};
use forelift_softfloat::x87::{Class, Env, F80};

/// Status word: invalid operation.
pub(super) const IE: u16 = 1;
/// Status word: stack fault.
pub(super) const SF: u16 = 1 << 6;
/// Status word: an unmasked exception is pending.
const ES: u16 = 1 << 7;
/// Status word: where TOP begins.
const TOP: u32 = 11;
/// Status word: busy, which is ES once more.
const BUSY: u16 = 1 << 15;
pub(super) const C0: u16 = 1 << 8;
pub(super) const C1: u16 = 1 << 9;
pub(super) const C2: u16 = 1 << 10;
pub(super) const C3: u16 = 1 << 14;
/// The exceptions of the status and the masks of the control word.
pub(super) const EXCEPTIONS: u16 = 0x3f;

impl From<Extended> for F80 {
    fn from(x: Extended) -> Self {
        F80 { sign_exp: x.sign_exponent, mantissa: x.mantissa }
    }
}

impl From<F80> for Extended {
    fn from(x: F80) -> Self {
        Extended { mantissa: x.mantissa, sign_exponent: x.sign_exp }
    }
}

impl Fpu {
    /// An exception is flagged that is not masked.
    pub(crate) fn pending(&self) -> bool {
        self.status & !self.control & EXCEPTIONS != 0
    }

    /// The status word, complete.
    pub(super) fn status_word(&self) -> u16 {
        let summary = if self.pending() { ES | BUSY } else { 0 };
        self.status | summary | u16::from(self.top & 7) << TOP
    }

    /// Takes a status word apart. What it says of pending exceptions follows from the masks.
    pub(super) fn set_status_word(&mut self, word: u16) {
        self.status = word & !(ES | BUSY | 7 << TOP);
        self.top = (word >> TOP & 7) as u8;
    }

    /// Writes the control word: the reserved bits read as `fninit` leaves them.
    pub(super) fn set_control_word(&mut self, word: u16) {
        self.control = word & 0x1f3f | 0x40;
    }

    /// Physical register of ST(n).
    fn index(&self, n: usize) -> usize {
        (usize::from(self.top) + n) & 7
    }

    /// ST(n), if it is not empty.
    pub(super) fn get(&self, n: usize) -> Option<F80> {
        let index = self.index(n);
        (self.valid >> index & 1 != 0).then(|| self.registers[index].into())
    }

    /// What ST(n) holds, whatever its tag says.
    pub(super) fn raw(&self, n: usize) -> F80 {
        self.registers[self.index(n)].into()
    }

    /// Writes ST(n), which is not empty then.
    pub(super) fn set(&mut self, n: usize, value: F80) {
        let index = self.index(n);
        self.registers[index] = value.into();
        self.valid |= 1 << index;
    }

    /// Empties ST(n).
    pub(super) fn free(&mut self, n: usize) {
        self.valid &= !(1 << self.index(n));
    }

    /// Moves TOP.
    pub(super) fn rotate(&mut self, by: u8) {
        self.top = self.top.wrapping_add(by) & 7;
    }

    pub(super) fn pop(&mut self) {
        self.free(0);
        self.rotate(1);
    }

    pub(super) fn push(&mut self, value: F80) {
        self.rotate(7);
        self.set(0, value);
    }

    /// Writes condition bits, of those in `mask`.
    pub(super) fn set_conditions(&mut self, mask: u16, bits: u16) {
        self.status = self.status & !mask | bits & mask;
    }

    /// Accrues what an operation raised.
    pub(super) fn finish(&mut self, env: &Env) {
        self.status |= u16::from(env.raised());
        self.set_conditions(C1, if env.rounded_up() { C1 } else { 0 });
    }

    /// An operand is empty: whether that is masked.
    pub(super) fn underflow(&mut self) -> bool {
        self.status |= IE | SF;
        self.set_conditions(C1, 0);
        self.control & IE != 0
    }

    /// A register that should be empty is not: whether that is masked.
    pub(super) fn overflow(&mut self) -> bool {
        self.status |= IE | SF;
        self.set_conditions(C1, C1);
        self.control & IE != 0
    }

    /// The tag word: two bits for each physical register.
    pub(super) fn tag_word(&self) -> u16 {
        (0..8).fold(0, |word, n| {
            let tag = match Class::of(self.registers[n].into()) {
                _ if self.valid >> n & 1 == 0 => 3,
                Class::Normal => 0,
                Class::Zero => 1,
                _ => 2,
            };
            word | tag << (2 * n)
        })
    }

    /// Takes a tag word apart: only what is empty matters.
    pub(super) fn set_tag_word(&mut self, word: u16) {
        self.valid = (0..8).fold(0, |valid, n| valid | u8::from(word >> (2 * n) & 3 != 3) << n);
    }

    /// The environment of an operation.
    pub(super) fn env(&self) -> Env {
        Env::new(self.control)
    }
}
