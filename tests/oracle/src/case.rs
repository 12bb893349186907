//! A case (code, registers, memory) and its outcome.

use crate::layout::{CODE, CS_COMPAT, CS_LONG, DS, MEMORY_SIZE};
use iced_x86::Register;
use std::fmt;

/// Number of rax, rcx, ... in [`State::r`].
pub const RAX: usize = 0;
/// rcx.
pub const RCX: usize = 1;
/// rdx.
pub const RDX: usize = 2;
/// rbx.
pub const RBX: usize = 3;
/// rsp.
pub const RSP: usize = 4;
/// rbp.
pub const RBP: usize = 5;
/// rsi.
pub const RSI: usize = 6;
/// rdi.
pub const RDI: usize = 7;

/// Number of the register that `register` is a part of, in [`State::r`] if it is a general one.
pub fn number(register: Register) -> usize {
    register.full_register().number()
}

/// RFLAGS bits.
pub mod flag {
    /// Carry.
    pub const CF: u64 = 1;
    /// Bit 1 is always set.
    pub const ONE: u64 = 1 << 1;
    /// Parity.
    pub const PF: u64 = 1 << 2;
    /// Auxiliary carry.
    pub const AF: u64 = 1 << 4;
    /// Zero.
    pub const ZF: u64 = 1 << 6;
    /// Sign.
    pub const SF: u64 = 1 << 7;
    /// Single step.
    pub const TF: u64 = 1 << 8;
    /// Interrupts enabled.
    pub const IF: u64 = 1 << 9;
    /// Direction.
    pub const DF: u64 = 1 << 10;
    /// Overflow.
    pub const OF: u64 = 1 << 11;
    /// Resume.
    pub const RF: u64 = 1 << 16;
    /// The six that arithmetic sets.
    pub const ARITHMETIC: u64 = CF | PF | AF | ZF | SF | OF;
}

/// x87, MMX and SSE state in the layout of FXSAVE (Intel SDM vol. 1, 10.5.1), as far as it is architectural.
#[repr(C, align(16))]
#[derive(Clone, PartialEq, Eq)]
pub struct Fx {
    /// Control word.
    pub cw: u16,
    /// Status word.
    pub sw: u16,
    /// One bit for each physical register that is not empty.
    pub tag: u8,
    /// Zero.
    pub reserved: u8,
    /// Opcode of the last x87 instruction.
    pub op: u16,
    /// Its address.
    pub ip: u64,
    /// Address of its operand.
    pub dp: u64,
    /// SSE control and status.
    pub mxcsr: u32,
    /// Which bits of it exist.
    pub mxcsr_mask: u32,
    /// ST(0) to ST(7), 80 bits each.
    pub st: [u128; 8],
    /// xmm0 to xmm15.
    pub xmm: [u128; 16],
}

impl Default for Fx {
    fn default() -> Self {
        Fx {
            cw: 0x37f,
            sw: 0,
            tag: 0,
            reserved: 0,
            op: 0,
            ip: 0,
            dp: 0,
            mxcsr: 0x1f80,
            mxcsr_mask: 0xffff,
            st: [0; 8],
            xmm: [0; 16],
        }
    }
}

/// Registers.
#[repr(C)]
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    /// rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
    pub r: [u64; 16],
    /// Address of the next instruction.
    pub rip: u64,
    /// RFLAGS.
    pub flags: u64,
    /// Base of FS.
    pub fs_base: u64,
    /// Base of GS.
    pub gs_base: u64,
    /// es, cs, ss, ds, fs, gs.
    pub segments: [u16; 6],
    reserved: u32,
    /// The rest.
    pub fx: Fx,
}

/// How code is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// 64-bit mode.
    Long,
    /// Compatibility mode with 32-bit code.
    Compat,
}

impl Mode {
    /// 64 or 32.
    pub fn bits(self) -> u32 {
        match self {
            Mode::Long => 64,
            Mode::Compat => 32,
        }
    }

    /// What the segment registers hold: es, cs, ss, ds, fs, gs.
    pub fn segments(self) -> [u16; 6] {
        match self {
            Mode::Long => [0, CS_LONG, DS, 0, 0, 0],
            Mode::Compat => [DS, CS_COMPAT, DS, DS, DS, DS],
        }
    }
}

impl State {
    /// Zeros, at the start of the code.
    pub fn new(mode: Mode) -> Self {
        State {
            r: [0; 16],
            rip: CODE,
            flags: flag::ONE | flag::IF,
            fs_base: 0,
            gs_base: 0,
            segments: mode.segments(),
            reserved: 0,
            fx: Fx::default(),
        }
    }
}

/// A piece of code with everything that it starts from.
#[derive(Clone)]
pub struct Case {
    /// The processor's mode.
    pub mode: Mode,
    /// Registers. Execution starts at [`State::rip`].
    pub state: State,
    /// The code.
    pub code: Vec<u8>,
    /// Where it lies, from [`CODE`].
    pub code_at: usize,
    /// Data and stack.
    pub memory: Box<[u8; MEMORY_SIZE]>,
    /// Stop after so many instructions, 0 for never.
    pub steps: u32,
    /// Ticks of the host's timer ([`TICK`]) after which the case counts as endless there.
    pub patience: u32,
}

/// Microseconds of processor time in a tick.
pub const TICK: i64 = 20_000;

impl Case {
    /// Code at the start of the code pages, with zeros everywhere.
    pub fn new(mode: Mode, code: &[u8]) -> Self {
        Case {
            mode,
            state: State::new(mode),
            code: code.to_vec(),
            code_at: 0,
            memory: Box::new([0; MEMORY_SIZE]),
            steps: 0,
            patience: 1,
        }
    }
}

/// Why execution stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// An exception, int3 and single steps included.
    Trap {
        /// Its vector.
        vector: u8,
        /// Its error code, 0 without.
        code: u32,
        /// For a page fault, the address.
        address: u64,
    },
    /// It did not.
    Endless,
    /// The reference lost control: nothing can be said.
    Lost,
}

/// Vectors.
pub mod vector {
    /// Divide error.
    pub const DE: u8 = 0;
    /// Debug.
    pub const DB: u8 = 1;
    /// int3.
    pub const BP: u8 = 3;
    /// Overflow.
    pub const OF: u8 = 4;
    /// Bound range exceeded.
    pub const BR: u8 = 5;
    /// Invalid opcode.
    pub const UD: u8 = 6;
    /// Invalid TSS.
    pub const TS: u8 = 10;
    /// Segment not present.
    pub const NP: u8 = 11;
    /// Stack.
    pub const SS: u8 = 12;
    /// General protection.
    pub const GP: u8 = 13;
    /// Page fault.
    pub const PF: u8 = 14;
    /// x87 error.
    pub const MF: u8 = 16;
    /// Alignment check.
    pub const AC: u8 = 17;
    /// SSE error.
    pub const XM: u8 = 19;
}

/// What a case led to.
#[derive(Clone)]
pub struct Outcome {
    /// Why it stopped.
    pub stop: Stop,
    /// Registers then.
    pub state: State,
    /// Data and stack then.
    pub memory: Box<[u8; MEMORY_SIZE]>,
}

const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

impl State {
    /// All registers by name, as text.
    pub fn named(&self) -> Vec<(String, String)> {
        let mut out: Vec<(String, String)> =
            NAMES.iter().zip(self.r).map(|(name, value)| (name.to_string(), format!("{value:#x}"))).collect();
        let mut put = |name: &str, value: u128| out.push((name.to_string(), format!("{value:#x}")));
        put("rip", self.rip.into());
        put("rflags", self.flags.into());
        put("fs base", self.fs_base.into());
        put("gs base", self.gs_base.into());
        for (name, value) in ["es", "cs", "ss", "ds", "fs", "gs"].iter().zip(self.segments) {
            put(name, value.into());
        }
        put("mxcsr", self.fx.mxcsr.into());
        put("fcw", self.fx.cw.into());
        put("fsw", self.fx.sw.into());
        put("tags", self.fx.tag.into());
        for (i, value) in self.fx.st.iter().enumerate() {
            put(&format!("st{i}"), *value);
        }
        for (i, value) in self.fx.xmm.iter().enumerate() {
            put(&format!("xmm{i}"), *value);
        }
        out
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.named() {
            if value != "0x0" {
                write!(f, "{name}={value} ")?;
            }
        }
        Ok(())
    }
}
