//! One of the two machines.

use forelift_abi::{
    header::Span,
    lift::{FUNCTION_BITS, Index, Mode, page_hash},
};
use forelift_runtime::{
    cpu::CpuState,
    image::FUNCTIONS_VARIABLE,
    machine::lockstep::{Command, EXPORT, Stepper, Turn},
    platform::ram_base,
};
use forelift_translator::jit::Code;
use wasmtime::{Memory, Store, TypedFunc};

use super::{Enabled, Engine, LockstepError, Options, bisect, origin, plan::Plan};
use crate::{
    embed::{self, RunError, RunOptions, wasi::Host},
    pack::PackedImage,
};

/// A machine, and what is needed to run it.
pub struct Side {
    /// How it runs.
    pub engine: Engine,
    /// Physical address of guest RAM.
    pub ram_base: u64,
    machine: Machine,
    /// What is lifted, and the number of each function in the list of those that can be left out.
    index: Option<Index>,
    numbers: Option<Vec<u32>>,
}

enum Machine {
    /// In this process.
    Here {
        stepper: Box<Stepper>,
        /// Lives as long as the machine.
        _code: Option<Box<Code>>,
    },
    /// In an instance of the module.
    Module { store: Box<Store<Host>>, memory: Memory, call: TypedFunc<(u32, u64), u64>, ram: Span },
}

impl Side {
    pub(super) fn interpreted(image: &PackedImage, options: &Options) -> Result<Self, LockstepError> {
        let (machine, start) = origin(image, &options.args)?;
        let stepper = Box::new(
            Stepper::new(machine, start)
                .map_err(|e| LockstepError::Unfit(format!("{}: {e}", image.path().display())))?,
        );
        let machine = Machine::Here { stepper, _code: None };
        Ok(Side {
            engine: Engine::Interp,
            ram_base: ram_base(image.config.arch),
            machine,
            index: None,
            numbers: None,
        })
    }

    pub(super) fn native(
        image: &PackedImage,
        options: &Options,
        plan: Option<&Plan>,
        enabled: Enabled<'_>,
    ) -> Result<Self, LockstepError> {
        let mut side = Side::interpreted(image, options)?;
        side.engine = Engine::Native;
        let Machine::Here { stepper, _code } = &mut side.machine else { return Ok(side) };
        let Some(plan) = plan else { return Ok(side) };
        let unfit = |why: &str| LockstepError::Unfit(format!("{}: {why}", image.path().display()));
        let (cpu, mem) = stepper.lifting().ok_or_else(|| unfit("its code cannot be lifted"))?;
        let (code, index, numbers) = plan.compile(cpu, enabled)?;
        let functions = [&[0][..], &code.addresses].concat();
        // SAFETY: compiled for this machine; the code lives as long as it.
        if !unsafe { cpu.install(index.clone(), functions, mem) } {
            return Err(LockstepError::Unfit("the index of lifted code is inconsistent".into()));
        }
        *_code = Some(Box::new(code));
        (side.index, side.numbers) = (Some(index), Some(numbers));
        Ok(side)
    }

    pub(super) fn aot(
        image: &PackedImage,
        options: &Options,
        enabled: Option<Enabled<'_>>,
    ) -> Result<Self, LockstepError> {
        let index = bisect::index(image)?;
        let list = enabled.map(|enabled| bisect::list((0..index.functions.1).filter(|&n| enabled(n))));
        let run = RunOptions {
            args: [vec![image.path().display().to_string()], options.args.clone()].concat(),
            env: list.map(|list| (FUNCTIONS_VARIABLE.into(), list)).into_iter().collect(),
            cache: options.cache.clone(),
            ..RunOptions::default()
        };
        let (mut store, instance, memory) = embed::open(image, &run)?;
        let call = instance.get_typed_func::<(u32, u64), u64>(&mut store, EXPORT).map_err(|_| {
            LockstepError::Unfit(format!(
                "{}: its emulator does not know lockstep: convert it again",
                image.path().display()
            ))
        })?;
        let machine = Machine::Module { store: Box::new(store), memory, call, ram: image.header.ram };
        let mut side = Side {
            engine: Engine::Aot,
            ram_base: ram_base(image.config.arch),
            machine,
            index: Some(index),
            numbers: None,
        };
        let message = side.bytes(Command::Begin)?;
        match message.is_empty() {
            true => Ok(side),
            false => {
                let why = String::from_utf8_lossy(&message);
                Err(LockstepError::Unfit(format!("{}: {why}", image.path().display())))
            }
        }
    }

    /// Sends a command to the module.
    fn send(&mut self, command: Command, argument: u64) -> Result<u64, LockstepError> {
        let Machine::Module { store, call, .. } = &mut self.machine else { return Ok(u64::MAX) };
        call.call(&mut **store, (command as u32, argument))
            .map_err(|e| RunError::Trap(embed::one_line(&e)).into())
    }

    /// Sends a command that gives bytes.
    fn bytes(&mut self, command: Command) -> Result<Vec<u8>, LockstepError> {
        let word = self.send(command, 0)?;
        let (at, len) = ((word >> 32) as usize, word as u32 as usize);
        let Machine::Module { store, memory, .. } = &self.machine else { return Ok(Vec::new()) };
        let bytes = memory.data(&**store).get(at..).and_then(|rest| rest.get(..len));
        bytes
            .map(<[u8]>::to_vec)
            .ok_or_else(|| LockstepError::Unfit("the emulator names memory that it has not".into()))
    }

    pub(super) fn turn(&mut self) -> Result<Turn, LockstepError> {
        if let Machine::Here { stepper, .. } = &mut self.machine {
            return Ok(stepper.turn());
        }
        Ok(Turn::from_word(self.send(Command::Turn, 0)?).unwrap_or(Turn::Stopped))
    }

    pub(super) fn run(&mut self, budget: u64) -> Result<u64, LockstepError> {
        match &mut self.machine {
            Machine::Here { stepper, .. } => Ok(stepper.run(budget)),
            Machine::Module { .. } => self.send(Command::Run, budget),
        }
    }

    pub(super) fn run_to(&mut self, instret: u64) -> Result<u64, LockstepError> {
        match &mut self.machine {
            Machine::Here { stepper, .. } => Ok(stepper.run_to(instret)),
            Machine::Module { .. } => self.send(Command::RunTo, instret),
        }
    }

    pub(super) fn state(&mut self) -> Result<CpuState, LockstepError> {
        if let Machine::Here { stepper, .. } = &self.machine {
            return Ok(stepper.state());
        }
        let bytes = self.bytes(Command::State)?;
        postcard::from_bytes(&bytes).map_err(|e| LockstepError::Unfit(format!("the emulator's state: {e}")))
    }

    pub(super) fn instret(&mut self) -> Result<u64, LockstepError> {
        Ok(self.state()?.instret())
    }

    pub(super) fn track_writes(&mut self) -> Result<(), LockstepError> {
        match &mut self.machine {
            Machine::Here { stepper, .. } => stepper.track_writes(),
            Machine::Module { .. } => drop(self.send(Command::TrackWrites, 0)?),
        }
        Ok(())
    }

    /// Pages that may have been written since [`Side::track_writes`], as bits.
    pub(super) fn written(&mut self) -> Result<Vec<u64>, LockstepError> {
        if let Machine::Here { stepper, .. } = &self.machine {
            return Ok(stepper.memory().written().to_vec());
        }
        let bytes = self.bytes(Command::Written)?;
        let word = |chunk: &[u8]| chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        Ok(bytes.chunks_exact(8).map(word).collect())
    }

    /// Guest RAM.
    pub fn ram(&self) -> &[u8] {
        match &self.machine {
            Machine::Here { stepper, .. } => stepper.memory().ram(),
            Machine::Module { store, memory, ram, .. } => {
                let (at, len) = (ram.addr as usize, ram.len as usize);
                memory.data(&**store).get(at..).and_then(|rest| rest.get(..len)).unwrap_or(&[])
            }
        }
    }

    /// The page of code at `pc`; only the machines in this process tell.
    pub(super) fn code_at(&mut self, pc: u64) -> Option<Vec<u8>> {
        match &mut self.machine {
            Machine::Here { stepper, .. } => stepper.code_at(pc).map(<[u8]>::to_vec),
            Machine::Module { .. } => None,
        }
    }

    /// Instructions that lifted code executed; `None` when the image's emulator is too old to tell.
    pub(super) fn lifted(&mut self) -> Result<Option<u64>, LockstepError> {
        if let Machine::Here { stepper, .. } = &self.machine {
            return Ok(Some(stepper.lifted()));
        }
        // What a module gives for a command that it does not know.
        Ok(Some(self.send(Command::Lifted, 0)?).filter(|count| *count != u64::MAX))
    }

    /// The lifted function that begins at `offset` of a page with these contents: number and name.
    pub(super) fn function(&self, page: &[u8], offset: u16, mode: Mode) -> Option<(u32, String)> {
        let index = self.index.as_ref()?;
        let found = index.find(page_hash(page), mode)?;
        let (_, value) = found.entries.iter().find(|(at, _)| *at == offset)?;
        let (number, entry) = (value & ((1 << FUNCTION_BITS) - 1), value >> FUNCTION_BITS);
        let ordinal = number - index.functions.0;
        let number = match &self.numbers {
            Some(numbers) => *numbers.get(ordinal as usize)?,
            None => ordinal,
        };
        Some((number, format!("entry {entry}, page {:032x}", found.hash)))
    }
}
