//! What the engine `native` lifts for a comparison: what the command executes often, learned in a run of its
//! own.

use forelift_abi::lift::Index;
use forelift_runtime::{cpu::Lifting, machine::lockstep::Stepper};
use forelift_translator::{
    index,
    jit::{self, Code},
    lift::Target,
    program::Program,
    region::{self, Function, Limits},
};

use super::{Enabled, LockstepError, Options, origin, target};
use crate::pack::PackedImage;

/// Guest instructions that are lifted at most.
const MOST: usize = 60_000;
/// Executions that make an instruction worth it.
const THRESHOLD: u32 = 64;

/// Functions to lift.
pub struct Plan {
    target: &'static dyn Target,
    program: Program,
    /// The functions, hottest regions first.
    pub functions: Vec<Function>,
}

impl Plan {
    pub(super) fn new(image: &PackedImage, options: &Options) -> Result<Self, LockstepError> {
        let (mut machine, start) = origin(image, &options.args)?;
        let target = target(image)?;
        let program = Program::new(target, Stepper::train(&mut machine, start, options.limit));
        let regions = region::regions(&program, Limits { threshold: THRESHOLD, ..Limits::default() });
        let mut functions: Vec<Function> =
            region::hottest(regions, MOST).into_iter().flat_map(|region| region.functions).collect();
        if let Some(number) = options.wrong {
            spoil(target, &mut functions, number)?;
        }
        Ok(Plan { target, program, functions })
    }

    /// Compiles the enabled functions; gives their index, whose first function has the number 1, and their
    /// numbers in the plan.
    pub(super) fn compile(
        &self,
        cpu: &mut dyn Lifting,
        enabled: Enabled<'_>,
    ) -> Result<(Code, Index, Vec<u32>), LockstepError> {
        let numbers: Vec<u32> = (0..self.functions.len() as u32).filter(|&n| enabled(n)).collect();
        let functions: Vec<&Function> = numbers.iter().map(|&n| &self.functions[n as usize]).collect();
        let code = jit::compile(self.target, &self.program, &functions, cpu.layout(), &cpu.helpers())
            .map_err(|e| LockstepError::Unfit(e.to_string()))?;
        Ok((code, index::index(&self.program, &functions, 1), numbers))
    }
}

/// Changes the immediate of an addition in function `number`: in its hottest block that has one.
fn spoil(target: &dyn Target, functions: &mut [Function], number: usize) -> Result<(), LockstepError> {
    let none = || LockstepError::Unfit(format!("function {number}: there is no addition to spoil"));
    let function = functions.get_mut(number).ok_or_else(none)?;
    let addition = function
        .blocks
        .values_mut()
        .flat_map(|block| {
            let count = block.count;
            block.insns.iter_mut().map(move |(_, insn)| (count, insn))
        })
        .filter_map(|(count, insn)| Some((count, target.spoil(insn)?, insn)))
        .max_by_key(|(count, ..)| *count);
    let (_, spoilt, insn) = addition.ok_or_else(none)?;
    *insn = spoilt;
    Ok(())
}
