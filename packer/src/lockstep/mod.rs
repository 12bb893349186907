//! Runs an image on two engines side by side and finds where they part.
//!
//! Both machines start from the image's snapshot, on virtual time and with the same, empty outside world (see
//! [`forelift_runtime::machine::lockstep`]). After each slice all registers and the memory that was written
//! are compared. At the first difference the two are run again, to the beginning of that slice, and through
//! it from one return to the dispatcher to the next: so the lifted function that went wrong is found, and
//! what it should have done.
//!
//! * [`side`]: a machine of either kind;
//! * [`plan`]: what the engine `native` lifts for this: everything that the run executes often;
//! * [`report`]: the first difference, for people;
//! * [`bisect`](mod@bisect): which function makes the difference, by leaving functions out.

pub mod bisect;
pub mod plan;
pub mod report;
pub mod side;

use forelift_abi::{config::Arch, control::Start, lift::Mode};
use forelift_runtime::{
    args::{self, Request},
    machine::lockstep::{Stepper, Turn},
};
use forelift_translator::{
    guests,
    isa::{Decoded, Isa, MAX_LEN},
    lift::Target,
};
use thiserror::Error;

use crate::{
    embed::RunError,
    pack::{PackedImage, reader::OpenError},
};
use forelift_abi::layout::PAGE_SIZE;
use plan::Plan;
use report::Difference;
use side::Side;

/// How one of the machines runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Interpreted.
    Interp,
    /// The image's own lifted code, in WebAssembly.
    Aot,
    /// Lifted code of this run's own, compiled for this host.
    Native,
}

impl Engine {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Interp => "interp",
            Engine::Aot => "aot",
            Engine::Native => "native",
        }
    }
}

/// What is compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engines, two different ones.
    pub engines: [Engine; 2],
    /// The image's arguments.
    pub args: Vec<String>,
    /// Instructions at most.
    pub limit: u64,
    /// Where compiled WebAssembly is kept.
    pub cache: Option<std::path::PathBuf>,
    /// Changes one instruction of the function with this number before it is compiled for the engine
    /// `native`: a test of the test.
    pub wrong: Option<usize>,
}

/// Why there was no comparison.
#[derive(Debug, Error)]
pub enum LockstepError {
    /// The image is unusable.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The module does not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The image, its arguments or the machine are not fit for this.
    #[error("{0}")]
    Unfit(String),
}

/// What a comparison gave.
#[derive(Debug)]
pub enum Verdict {
    /// No difference.
    Same {
        /// Instructions that were compared.
        instructions: u64,
        /// Those among them that lifted code executed, on either side; `None` when the image's emulator is
        /// too old to tell.
        lifted: [Option<u64>; 2],
        /// How the run stood at the end.
        end: Turn,
    },
    /// The machines part.
    Different(Box<Difference>),
}

/// An image and what to compare of it.
pub struct Lockstep<'a> {
    image: &'a PackedImage,
    target: &'static dyn Target,
    options: Options,
    plan: Option<Plan>,
}

/// The instruction set of the image's guest, whose code can be lifted.
pub(crate) fn target(image: &PackedImage) -> Result<&'static dyn Target, LockstepError> {
    guests::of(image.config.arch).ok_or_else(|| {
        let lifted: Vec<&str> =
            Arch::ALL.into_iter().filter(|&arch| guests::of(arch).is_some()).map(Arch::oci_name).collect();
        LockstepError::Unfit(format!(
            "{}: the image is for {}, and only code of {} is lifted: there is nothing to compare",
            image.path().display(),
            image.config.arch.oci_name(),
            lifted.join(" and ")
        ))
    })
}

/// Machine state of `image`, and its orders.
pub(crate) fn origin(
    image: &PackedImage,
    args: &[String],
) -> Result<(forelift_runtime::machine::Machine, Start), LockstepError> {
    let unfit = |why: &str| LockstepError::Unfit(format!("{}: {why}", image.path().display()));
    let parts = image.native_memory()?;
    let Some(state) = parts.state else {
        return Err(unfit("it has no snapshot: there is nothing that two machines could start from"));
    };
    let words: Vec<Vec<u8>> = args.iter().map(|word| word.clone().into_bytes()).collect();
    let start = match args::parse(&words, &[], &image.config, Vec::new()) {
        Ok(Request::Run(start, None)) => *start,
        Ok(_) => return Err(unfit("its arguments are no command, or ask for a network")),
        Err(error) => return Err(unfit(&error.to_string())),
    };
    let machine = Stepper::restore(parts.memory, &state).map_err(|e| unfit(&e.to_string()))?;
    Ok((machine, start))
}

/// One of the functions that a comparison leaves in use: by number, from 0 on.
pub type Enabled<'a> = &'a dyn Fn(u32) -> bool;

impl<'a> Lockstep<'a> {
    /// Prepares a comparison. For the engine `native` the command is run once, to learn what to lift.
    ///
    /// # Errors
    /// See [`LockstepError`].
    pub fn new(image: &'a PackedImage, options: Options) -> Result<Self, LockstepError> {
        let target = target(image)?;
        let plan = match options.engines.contains(&Engine::Native) {
            true => Some(Plan::new(image, &options)?),
            false => None,
        };
        Ok(Lockstep { image, target, options, plan })
    }

    /// Number of lifted functions that can be left out: of the engine `native` if it takes part, else the
    /// image's own.
    ///
    /// # Errors
    /// See [`LockstepError`].
    pub fn functions(&self) -> Result<u32, LockstepError> {
        match &self.plan {
            Some(plan) => Ok(plan.functions.len() as u32),
            None => Ok(bisect::index(self.image)?.functions.1),
        }
    }

    fn sides(&self, enabled: Enabled<'_>) -> Result<[Side; 2], LockstepError> {
        let [a, b] = self.options.engines;
        let native = [a, b].contains(&Engine::Native);
        let side = |engine| match engine {
            Engine::Interp => Side::interpreted(self.image, &self.options),
            Engine::Native => Side::native(self.image, &self.options, self.plan.as_ref(), enabled),
            // With the engine `native` on the other side, functions are left out there.
            Engine::Aot => Side::aot(self.image, &self.options, (!native).then_some(enabled)),
        };
        Ok([side(a)?, side(b)?])
    }

    /// Compares, with the lifted functions that `enabled` names. `progress` is told the number of
    /// instructions.
    ///
    /// # Errors
    /// See [`LockstepError`].
    pub fn compare(
        &self,
        enabled: Enabled<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Verdict, LockstepError> {
        let mut sides = self.sides(enabled)?;
        let begin = sides[0].instret()?;
        let mut slices = 0;
        loop {
            let difference = slice(&mut sides)?;
            let end = match difference {
                Slice::Same(end) => end,
                Slice::Different(coarse) => {
                    return Ok(Verdict::Different(Box::new(self.locate(enabled, slices, *coarse)?)));
                }
            };
            slices += 1;
            let instructions = sides[0].instret()? - begin;
            progress(instructions);
            if end == Turn::GoesOn && instructions < self.options.limit {
                continue;
            }
            // What the tracking of writes may have missed.
            let pages = sides[0].ram().len() / PAGE_SIZE as usize;
            if let Some(difference) = Difference::find(&mut sides, &mut (0..pages))? {
                return Ok(Verdict::Different(Box::new(difference)));
            }
            let lifted = [sides[0].lifted()?, sides[1].lifted()?];
            return Ok(Verdict::Same { instructions, lifted, end });
        }
    }

    /// Runs again to the slice with the difference, and through it step by step: as short steps as show it.
    /// (What lifted code does when a function that it called comes back is not seen with the shortest ones.)
    fn locate(
        &self,
        enabled: Enabled<'_>,
        slices: u64,
        coarse: Difference,
    ) -> Result<Difference, LockstepError> {
        for budget in [1, 64, 4096] {
            let mut sides = self.sides(enabled)?;
            for _ in 0..slices {
                if let Slice::Different(earlier) = slice(&mut sides)? {
                    return Ok(*earlier);
                }
            }
            if sides[0].turn()? != sides[1].turn()? {
                return Ok(coarse);
            }
            if let Some(found) = steps(self.target, &mut sides, budget)? {
                return Ok(found);
            }
        }
        Ok(coarse)
    }
}

/// Runs through a slice in steps of `budget` instructions at least, up to the first one with a difference.
fn steps(isa: &dyn Isa, sides: &mut [Side; 2], budget: u64) -> Result<Option<Difference>, LockstepError> {
    sides.iter_mut().try_for_each(Side::track_writes)?;
    // The one that has lifted code goes first.
    let lead = usize::from(sides[0].engine == Engine::Interp);
    let end = sides[lead].instret()? + Stepper::SLICE;
    while sides[lead].instret()? < end {
        let before = sides[lead].state()?;
        let at = sides[lead].instret()?;
        let place = Place::find(sides, before.pc(), before.mode());
        let to = sides[lead].run(budget)?;
        let (mut trace, passed) = follow(isa, sides, lead, to, budget)?;
        let written = sides_written(sides)?;
        if let Some(mut difference) = Difference::find(sides, &mut pages(&written))? {
            difference.passed = passed.into_iter().filter(|one| !place.functions.contains(one)).collect();
            difference.place = Some(place);
            difference.from = at;
            difference.code = match trace.is_empty() {
                true => linear(isa, sides, before.pc(), before.mode(), to - at),
                false => trace.split_off(trace.len().saturating_sub(report::MOST_LINES)),
            };
            return Ok(Some(difference));
        }
        if sides[lead].state()? == before {
            break;
        }
    }
    Ok(None)
}

/// Where a stretch of code began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Address.
    pub pc: u64,
    /// The lifted functions that begin there: engine, number, name.
    pub functions: Vec<(Engine, u32, String)>,
}

impl Place {
    fn find(sides: &mut [Side; 2], pc: u64, mode: Mode) -> Self {
        let page = sides.iter_mut().find_map(|side| side.code_at(pc));
        let offset = (pc % PAGE_SIZE) as u16;
        let functions = page.iter().flat_map(|page| {
            sides.iter().filter_map(|side| {
                let (number, name) = side.function(page, offset, mode)?;
                Some((side.engine, number, name))
            })
        });
        Place { pc, functions: functions.collect() }
    }
}

/// Lifted functions: engine, number, name.
type Functions = Vec<(Engine, u32, String)>;

/// Takes the other side to where the leading one is; gives the instructions that it interpreted one by one,
/// and the lifted functions that have entry points among them.
fn follow(
    isa: &dyn Isa,
    sides: &mut [Side; 2],
    lead: usize,
    to: u64,
    budget: u64,
) -> Result<(Vec<report::Line>, Functions), LockstepError> {
    let other = 1 - lead;
    let (mut trace, mut passed) = (Vec::new(), Functions::new());
    if sides[other].engine != Engine::Interp {
        sides[other].run(budget)?;
        align(sides)?;
        return Ok((trace, passed));
    }
    loop {
        let at = sides[other].instret()?;
        if at >= to {
            break;
        }
        let state = sides[other].state()?;
        let pc = state.pc();
        trace.push(instruction(isa, &mut sides[other], pc, state.mode()).0);
        if budget > 1 {
            for function in Place::find(sides, pc, state.mode()).functions {
                if !passed.iter().any(|(engine, number, _)| (*engine, *number) == (function.0, function.1)) {
                    passed.push(function);
                }
            }
        }
        if sides[other].run_to(at + 1)? == at {
            break;
        }
    }
    Ok((trace, passed))
}

/// The code at `pc`, as far as an instruction may reach.
fn code(side: &mut Side, pc: u64) -> Vec<u8> {
    let page = side.code_at(pc).unwrap_or_default();
    let mut code = page.get((pc % PAGE_SIZE) as usize..).unwrap_or_default().to_vec();
    if !code.is_empty() && code.len() < MAX_LEN {
        code.extend(side.code_at(pc.wrapping_add(code.len() as u64)).unwrap_or_default());
    }
    code.truncate(MAX_LEN);
    code
}

/// The instruction at `pc`, for people, and its length, if there is one.
fn instruction(isa: &dyn Isa, side: &mut Side, pc: u64, mode: Mode) -> (report::Line, Option<u8>) {
    let code = code(side, pc);
    let len = match isa.decode(&code, mode) {
        Decoded::Insn(insn) => Some(insn.len),
        Decoded::Illegal(len) => Some(len),
        Decoded::Truncated => None,
    };
    (report::Line::new(isa, pc, &code, len), len)
}

/// `count` instructions from `pc` on as they lie in memory.
fn linear(isa: &dyn Isa, sides: &mut [Side; 2], mut pc: u64, mode: Mode, count: u64) -> Vec<report::Line> {
    let Some(side) = sides.iter_mut().find(|side| side.engine != Engine::Aot) else { return Vec::new() };
    let mut lines = Vec::new();
    for _ in 0..count.min(report::MOST_LINES as u64) {
        let (line, len) = instruction(isa, side, pc, mode);
        lines.push(line);
        let Some(len) = len else { break };
        pc = pc.wrapping_add(u64::from(len.max(1)));
    }
    lines
}

enum Slice {
    Same(Turn),
    Different(Box<Difference>),
}

/// Runs both sides for a slice, and compares them.
fn slice(sides: &mut [Side; 2]) -> Result<Slice, LockstepError> {
    let turns = [sides[0].turn()?, sides[1].turn()?];
    if turns[0] != turns[1] {
        let difference = Difference::of_turns(sides, turns)?;
        return Ok(Slice::Different(Box::new(difference)));
    }
    if turns[0] != Turn::GoesOn {
        return Ok(Slice::Same(turns[0]));
    }
    for side in sides.iter_mut() {
        side.track_writes()?;
        side.run(Stepper::SLICE)?;
    }
    align(sides)?;
    let written = sides_written(sides)?;
    Ok(match Difference::find(sides, &mut pages(&written))? {
        Some(difference) => Slice::Different(Box::new(difference)),
        None => Slice::Same(Turn::GoesOn),
    })
}

/// Whoever is behind interprets up to the other's count.
fn align(sides: &mut [Side; 2]) -> Result<(), LockstepError> {
    loop {
        let [a, b] = [sides[0].instret()?, sides[1].instret()?];
        let (behind, from, to) = match a.cmp(&b) {
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Less => (0, a, b),
            std::cmp::Ordering::Greater => (1, b, a),
        };
        if sides[behind].run_to(to)? == from {
            // It waits, or faults for ever: the comparison will tell.
            return Ok(());
        }
    }
}

/// Pages that either side may have written, as bits.
fn sides_written(sides: &mut [Side; 2]) -> Result<Vec<u64>, LockstepError> {
    let [a, b] = [sides[0].written()?, sides[1].written()?];
    Ok(a.iter().zip(&b).map(|(a, b)| a | b).collect())
}

fn pages(bits: &[u64]) -> impl Iterator<Item = usize> {
    bits.iter()
        .enumerate()
        .filter(|(_, word)| **word != 0)
        .flat_map(|(n, word)| (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| n * 64 + bit))
}
