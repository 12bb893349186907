//! The engine `native`: hot code is compiled for this host while the machine runs.
//!
//! The interpreter counts what it executes. When it has executed enough since the last round, what is hot by
//! these counts becomes regions, as during a conversion, which cranelift-jit compiles and the CPU takes into
//! use; then counting begins anew. So each round is about what the rounds before it left to the interpreter,
//! and costs no more than that was worth. Code of earlier rounds stays in place.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
};

use forelift_abi::lift::{FUNCTION_BITS, Index, Layout, Mode, Page, VERSION};
use forelift_runtime::{
    cpu::{self, Lifting},
    machine::Tier,
    memory::GuestMemory,
};
use forelift_translator::{
    guests, index,
    jit::{self, Code},
    lift::Target,
    program::Program,
    region::{self, Function, Limits},
};

/// Interpreted instructions before the first round; before each one after it twice as many, up to
/// [`LONGEST`].
const FIRST: u64 = 2_000_000;
/// See [`FIRST`].
const LONGEST: u64 = 16_000_000;
/// Executions in a round that make an instruction worth compiling: that takes as long as interpreting it so
/// often.
const THRESHOLD: u32 = 400;
/// Guest instructions that are compiled in a round at most.
const ROUND: usize = 40_000;
/// Guest instructions that are compiled in all.
const TOTAL: usize = 500_000;

/// Where hot code is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compile {
    /// By the thread that runs the machine: what happens when depends on the guest alone.
    Here,
    /// By another thread, while the machine goes on.
    Aside,
}

/// What code is made for.
struct Guest {
    target: &'static dyn Target,
    layout: Layout,
    helpers: Vec<usize>,
}

/// Functions of one round.
struct Batch {
    /// `None`: the compiler refused.
    code: Option<Code>,
    pages: Vec<Page>,
    insns: usize,
}

/// The engine. See the module's documentation.
pub struct Jit {
    compile: Compile,
    /// Kept as long as this value, which the machine owns.
    code: Vec<Code>,
    pages: BTreeMap<(u128, Mode), Page>,
    /// Addresses of the functions; number 0 is not used.
    functions: Vec<usize>,
    pending: Option<Receiver<Batch>>,
    /// Interpreted instructions at the beginning of the round.
    since: u64,
    wait: u64,
    insns: usize,
    rounds: u64,
    refused: u64,
    ended: bool,
}

impl Jit {
    /// An engine that knows no code yet.
    pub fn new(compile: Compile) -> Self {
        Jit {
            compile,
            code: Vec::new(),
            pages: BTreeMap::new(),
            functions: vec![0],
            pending: None,
            since: 0,
            wait: FIRST,
            insns: 0,
            rounds: 0,
            refused: 0,
            ended: false,
        }
    }

    /// Begins to compile what is hot.
    fn begin(&mut self, cpu: &mut dyn Lifting, mem: &mut GuestMemory) {
        let layout = cpu.layout();
        let machine = u16::try_from(layout.machine).unwrap_or_default();
        let Some(target) = guests::of_machine(machine) else { return };
        let guest = Guest { target, layout, helpers: cpu.helpers() };
        let program = Program::new(target, cpu.profile(mem));
        let first = self.functions.len() as u32;
        match self.compile {
            Compile::Here => {
                let batch = compile(&guest, &program, first);
                self.install(batch, cpu, mem);
            }
            Compile::Aside => {
                let (sender, receiver) = channel();
                // The receiver is gone when the run has ended meanwhile.
                thread::spawn(move || drop(sender.send(compile(&guest, &program, first))));
                self.pending = Some(receiver);
            }
        }
    }

    /// Takes a batch into use and begins the next round.
    fn install(&mut self, batch: Batch, cpu: &mut dyn Lifting, mem: &mut GuestMemory) {
        self.rounds += 1;
        self.since = cpu.interpreted();
        self.wait = (self.wait * 2).min(LONGEST);
        let Some(code) = batch.code else {
            self.refused += 1;
            cpu.start_profile(mem);
            return;
        };
        self.functions.extend(&code.addresses);
        self.code.push(code);
        self.insns += batch.insns;
        for page in batch.pages {
            let known = self
                .pages
                .entry((page.hash, page.mode))
                .or_insert_with(|| Page { entries: Vec::new(), ..page.clone() });
            let new = |(offset, _): &&(u16, u32)| known.entries.iter().all(|(old, _)| old != offset);
            let entries: Vec<_> = page.entries.iter().filter(new).copied().collect();
            known.entries.extend(entries);
        }
        let index = Index {
            version: VERSION,
            pages: self.pages.values().cloned().collect(),
            functions: (1, self.functions.len() as u32 - 1),
        };
        // SAFETY: the functions were compiled for this CPU, and their code stays as long as this value, which
        // the machine keeps.
        let taken = unsafe { cpu.install(index, self.functions.clone(), mem) };
        debug_assert!(taken, "an index of our own");
        self.ended = self.insns >= TOTAL || self.functions.len() >= 1 << (FUNCTION_BITS - 1);
        if self.ended {
            cpu.stop_profile();
        }
    }
}

/// Compiles what is hot in `program`, hottest first; the first function gets the number `first`.
fn compile(guest: &Guest, program: &Program, first: u32) -> Batch {
    let regions = region::regions(program, Limits { threshold: THRESHOLD, ..Limits::default() });
    let functions: Vec<Function> =
        region::hottest(regions, ROUND).into_iter().flat_map(|region| region.functions).collect();
    let functions: Vec<&Function> = functions.iter().collect();
    let code = jit::compile(guest.target, program, &functions, guest.layout, &guest.helpers).ok();
    Batch {
        code,
        pages: index::index(program, &functions, first).pages,
        insns: functions.iter().map(|f| f.insns()).sum(),
    }
}

impl Tier for Jit {
    fn between(&mut self, cpu: &mut cpu::Cpu, mem: &mut GuestMemory) {
        let Some(cpu) = cpu.lifting() else { return };
        match self.pending.as_ref().map(Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => return,
            Some(Ok(batch)) => {
                self.pending = None;
                self.install(batch, cpu, mem);
            }
            // The compiler panicked: what was compiled before stays in use.
            Some(Err(TryRecvError::Disconnected)) => {
                self.pending = None;
                self.refused += 1;
                self.ended = true;
                cpu.stop_profile();
            }
            None => {}
        }
        if !self.ended && cpu.interpreted().wrapping_sub(self.since) >= self.wait {
            self.begin(cpu, mem);
        }
    }

    fn statistics(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("native_rounds", self.rounds),
            ("native_refused", self.refused),
            ("native_functions", self.functions.len() as u64 - 1),
            ("native_compiled_instructions", self.insns as u64),
        ]
    }
}
