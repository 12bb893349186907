//! What the engine `native` lifts for a comparison: what the command executes often, learned in a run of its
//! own.

use forelift_abi::lift::{Index, Layout};
use forelift_isa::rv64::Op;
use forelift_runtime::{cpu::rv64::lifted::helper_address, machine::lockstep::Stepper};
use forelift_translator::{
    index,
    jit::{self, Code},
    program::Program,
    region::{self, Function, Limits},
};

use super::{Enabled, LockstepError, Options, origin};
use crate::pack::PackedImage;

/// Guest instructions that are lifted at most.
const MOST: usize = 60_000;
/// Executions that make an instruction worth it.
const THRESHOLD: u32 = 64;

/// Functions to lift.
pub struct Plan {
    program: Program,
    /// The functions, hottest regions first.
    pub functions: Vec<Function>,
}

impl Plan {
    pub(super) fn new(image: &PackedImage, options: &Options) -> Result<Self, LockstepError> {
        let (mut machine, start) = origin(image, &options.args)?;
        let program = Program::new(Stepper::train(&mut machine, start, options.limit));
        let mut regions = region::regions(&program, Limits { threshold: THRESHOLD, ..Limits::default() });
        let weight = |region: &region::Region| region.functions.iter().map(|f| f.weight).sum::<u64>();
        regions.sort_by_key(|region| std::cmp::Reverse(weight(region)));
        let mut insns = 0;
        let mut functions: Vec<Function> = regions
            .into_iter()
            .take_while(|region| {
                insns += region.functions.iter().map(Function::insns).sum::<usize>();
                insns <= MOST
            })
            .flat_map(|region| region.functions)
            .collect();
        if let Some(number) = options.wrong {
            spoil(&mut functions, number)?;
        }
        Ok(Plan { program, functions })
    }

    /// Compiles the enabled functions; gives their index, whose first function has the number 1, and their
    /// numbers in the plan.
    pub(super) fn compile(
        &self,
        layout: Layout,
        enabled: Enabled<'_>,
    ) -> Result<(Code, Index, Vec<u32>), LockstepError> {
        let numbers: Vec<u32> = (0..self.functions.len() as u32).filter(|&n| enabled(n)).collect();
        let functions: Vec<&Function> = numbers.iter().map(|&n| &self.functions[n as usize]).collect();
        let code = jit::compile(&self.program, &functions, layout, &helper_address)
            .map_err(|e| LockstepError::Unfit(e.to_string()))?;
        Ok((code, index::index(&self.program, &functions, 1), numbers))
    }
}

/// Changes the immediate of an addition in function `number`: in its hottest block that has one.
fn spoil(functions: &mut [Function], number: usize) -> Result<(), LockstepError> {
    let none = || LockstepError::Unfit(format!("function {number}: there is no addition to spoil"));
    let function = functions.get_mut(number).ok_or_else(none)?;
    let addition = function
        .blocks
        .values_mut()
        .flat_map(|block| {
            let count = block.count;
            block.insns.iter_mut().map(move |(_, insn)| (count, insn))
        })
        .filter(|(_, insn)| matches!(insn.op, Op::Addi | Op::Addiw) && insn.rd != 0 && insn.rd != 2)
        .max_by_key(|(count, _)| *count);
    let (_, insn) = addition.ok_or_else(none)?;
    insn.imm ^= 1;
    Ok(())
}
