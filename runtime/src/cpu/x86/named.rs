//! Registers of a saved state by name, for people, and the mode that its code runs in.

use super::state::{CS, Segment, VcpuState};
use forelift_abi::lift::Mode;

/// General registers in the order of their encoding (AMD64 manual, volume 3, 1.2.7).
const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

impl VcpuState {
    /// Instructions retired.
    pub fn instret(&self) -> u64 {
        self.instret
    }

    /// Address of the next instruction.
    pub fn pc(&self) -> u64 {
        self.rip
    }

    /// The mode that code runs in.
    pub fn mode(&self) -> Mode {
        match self.cpl {
            0 => Mode::Kernel,
            _ if self.segments[CS].attributes & Segment::LONG != 0 => Mode::User,
            _ => Mode::Compat,
        }
    }

    /// All registers that programs see, and those that decide how addresses are translated.
    pub fn registers(&self) -> Vec<(String, u64)> {
        let general = GENERAL.iter().zip(self.r).map(|(&name, value)| (name.to_string(), value));
        let xmm = self
            .xmm
            .iter()
            .enumerate()
            .flat_map(|(n, [low, high])| [(format!("xmm{n}"), *low), (format!("xmm{n} (high)"), *high)]);
        let segments =
            ["es", "cs", "ss", "ds", "fs", "gs"].iter().zip(&self.segments).flat_map(|(name, s)| {
                [(name.to_string(), u64::from(s.selector)), (format!("{name} base"), s.base)]
            });
        let control = ["cr0", "cr2", "cr3", "cr4"].iter().zip(self.cr).map(|(&name, v)| (name.into(), v));
        let others = [
            ("rip", self.rip),
            ("rflags", self.rflags),
            ("instret", self.instret),
            ("mxcsr", self.mxcsr.into()),
            ("cpl", self.cpl.into()),
            ("efer", self.msr.efer),
        ];
        let others = others.map(|(name, value)| (name.to_string(), value));
        general.chain(others).chain(xmm).chain(segments).chain(control).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cpu;
    use super::*;
    use crate::memory::GuestMemory;

    #[test]
    fn names_and_modes() {
        let mut state = Cpu::new(&GuestMemory::new(1 << 20, None).unwrap()).vcpu.save();
        assert_eq!(state.mode(), Mode::Kernel);
        state.cpl = 3;
        state.segments[CS].attributes &= !Segment::LONG;
        assert_eq!(state.mode(), Mode::Compat);
        state.segments[CS].attributes |= Segment::LONG;
        assert_eq!(state.mode(), Mode::User);
        let before = state.registers();
        state.r[15] ^= 1;
        let differ: Vec<_> = before.iter().zip(state.registers()).filter(|(a, b)| *a != b).collect();
        assert!(matches!(&differ[..], [((name, _), _)] if name == "r15"), "{differ:?}");
    }
}
