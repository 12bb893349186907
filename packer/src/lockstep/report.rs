//! The first difference, for people.

use std::fmt;

use forelift_abi::layout::PAGE_SIZE;
use forelift_runtime::machine::lockstep::Turn;
use forelift_translator::isa::Isa;

use super::{Engine, LockstepError, Place, side::Side};

/// Instructions that are shown at most.
pub const MOST_LINES: usize = 100;
/// Words of memory that are shown at most.
const MOST_WORDS: usize = 16;

/// An instruction that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Address.
    pub pc: u64,
    /// Its bytes as a number, and what they mean; `None` where nothing is mapped.
    pub text: Option<String>,
}

impl Line {
    /// What is at the beginning of `code`, of `len` bytes when it is an instruction.
    pub(super) fn new(isa: &dyn Isa, pc: u64, code: &[u8], len: Option<u8>) -> Self {
        if code.is_empty() {
            return Line { pc, text: None };
        }
        let len = usize::from(len.unwrap_or(4)).min(code.len());
        let bits = code[..len].iter().rev().fold(0u128, |bits, &byte| bits << 8 | u128::from(byte));
        let (meaning, width) = (isa.disassemble(code, pc), 2 * len);
        let meaning = meaning.unwrap_or_else(|| "(no instruction)".into());
        Line { pc, text: Some(format!("{bits:0width$x}\t{meaning}")) }
    }
}

/// Two states that should be one.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The engines.
    pub engines: [Engine; 2],
    /// Instructions retired in all before the stretch of code with the difference; with no
    /// [`Difference::place`], unknown.
    pub from: u64,
    /// Instructions retired, on each side.
    pub instret: [u64; 2],
    /// Where the stretch began.
    pub place: Option<Place>,
    /// Lifted functions that begin further on in the stretch: engine, number, name. One of them may be the
    /// one.
    pub passed: Vec<(Engine, u32, String)>,
    /// What was executed in it; the end, when it is long.
    pub code: Vec<Line>,
    /// Registers that differ.
    pub registers: Vec<(String, [u64; 2])>,
    /// Words of memory that differ, by physical address.
    pub memory: Vec<(u64, [u64; 2])>,
    /// How the runs stand, when that is the difference.
    pub turns: Option<[Turn; 2]>,
}

impl Difference {
    /// What differs in the registers and in these pages of RAM.
    pub(super) fn find(
        sides: &mut [Side; 2],
        pages: &mut dyn Iterator<Item = usize>,
    ) -> Result<Option<Self>, LockstepError> {
        let states = [sides[0].state()?, sides[1].state()?];
        let registers = if states[0] == states[1] {
            Vec::new()
        } else {
            let pairs = states[0].registers().into_iter().zip(states[1].registers());
            pairs.filter(|(a, b)| a != b).map(|((name, a), (_, b))| (name, [a, b])).collect()
        };
        let mut memory = Vec::new();
        let ram_base = sides[0].ram_base;
        let rams = [sides[0].ram(), sides[1].ram()];
        for page in pages {
            let at = page * PAGE_SIZE as usize;
            let [Some(a), Some(b)] = rams.map(|ram| ram.get(at..at + PAGE_SIZE as usize)) else { break };
            if a == b {
                continue;
            }
            let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
            let pairs = a.chunks(8).zip(b.chunks(8)).enumerate().filter(|(_, (a, b))| a != b);
            memory.extend(pairs.map(|(n, (a, b))| (ram_base + (at + n * 8) as u64, [word(a), word(b)])));
            if memory.len() > MOST_WORDS {
                break;
            }
        }
        if registers.is_empty() && memory.is_empty() {
            return Ok(None);
        }
        Ok(Some(Difference {
            engines: [sides[0].engine, sides[1].engine],
            from: 0,
            instret: [states[0].instret(), states[1].instret()],
            place: None,
            passed: Vec::new(),
            code: Vec::new(),
            registers,
            memory,
            turns: None,
        }))
    }

    /// One run goes on where the other does not.
    pub(super) fn of_turns(sides: &mut [Side; 2], turns: [Turn; 2]) -> Result<Self, LockstepError> {
        let instret = [sides[0].instret()?, sides[1].instret()?];
        Ok(Difference {
            engines: [sides[0].engine, sides[1].engine],
            from: 0,
            instret,
            place: None,
            passed: Vec::new(),
            code: Vec::new(),
            registers: Vec::new(),
            memory: Vec::new(),
            turns: Some(turns),
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.engines.map(Engine::name);
        match &self.place {
            Some(place) => {
                writeln!(f, "difference between {a} and {b} in the code from pc {:#x} on", place.pc)?;
                for (engine, number, name) in &place.functions {
                    writeln!(f, "  which {} runs as function {number} ({name})", engine.name())?;
                }
                for (engine, number, name) in &self.passed {
                    writeln!(f, "  on the way {} may run function {number} ({name})", engine.name())?;
                }
                writeln!(
                    f,
                    "after {} instructions; retired then: {} and {}",
                    self.from, self.instret[0], self.instret[1]
                )?;
            }
            None => writeln!(
                f,
                "difference between {a} and {b}, by the time of {} and {} instructions",
                self.instret[0], self.instret[1]
            )?,
        }
        if let Some([one, other]) = self.turns {
            writeln!(f, "how the runs stand: {one:?} and {other:?}")?;
        }
        if !self.registers.is_empty() || !self.memory.is_empty() {
            writeln!(f, "{:20} {a:>18} {b:>18}", "")?;
        }
        for (name, [one, other]) in &self.registers {
            writeln!(f, "{name:20} {one:#18x} {other:#18x}")?;
        }
        for (address, [one, other]) in self.memory.iter().take(MOST_WORDS) {
            writeln!(f, "{:20} {one:#18x} {other:#18x}", format!("memory {address:#x}"))?;
        }
        if !self.code.is_empty() {
            writeln!(f, "guest code of this stretch:")?;
        }
        for Line { pc, text } in &self.code {
            writeln!(f, "  {pc:16x}: {}", text.as_deref().unwrap_or("(not mapped)"))?;
        }
        Ok(())
    }
}
