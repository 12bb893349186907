//! Hot code ahead of time: from a training run to functions of the image's module.
//!
//! * [`train`](mod@train): what is hot;
//! * [`lift`]: hot regions to WebAssembly, in parallel, hottest first, to a budget.

pub mod train;

use forelift_abi::{
    lift::Helper,
    lift::{FUNCTION_BITS, Index, Layout},
};
use forelift_emit::{Body, RelocKind};
use forelift_translator::{
    guest::{At, PAGE, Program},
    index,
    lift::{self, CALLEES, HELPERS, Options},
    opt::{self, OptError},
    region::{self, End, Function, Limits, Region},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much code is lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// None.
    None,
    /// At most so many bytes of WebAssembly.
    Bytes(u64),
    /// All that is hot.
    Max,
}

/// The default budget in bytes: more takes longer to compile where an image is started for the first time.
pub const DEFAULT_BUDGET: u64 = 3 << 20;
/// Estimate for choosing candidates: bytes of WebAssembly per instruction at least.
const LEAST_BYTES: u64 = 24;

/// What was lifted, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Instructions of the training run.
    pub trained: u64,
    /// Regions.
    pub regions: u64,
    /// Functions, resume functions included.
    pub functions: u64,
    /// Resume functions.
    pub resumes: u64,
    /// Guest instructions in them, copies included.
    pub instructions: u64,
    /// Bytes of WebAssembly.
    pub bytes: u64,
    /// Pages of guest code that they are found by.
    pub pages: u64,
    /// Entry points.
    pub entries: u64,
    /// Executed instructions of the training run, and those among them that are lifted now.
    pub executed: u64,
    /// See [`Report::executed`].
    pub covered: u64,
    /// Why lifted code ends where it does not go on directly: instructions that are not lifted, by mnemonic, with the number of places.
    pub not_lifted: BTreeMap<String, u64>,
    /// Functions that a back end refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Milliseconds of processor time for lifting.
    pub lift_ms: u64,
}

/// The name of a place in guest code: hash of its page, privilege, offset.
type Place = (u128, u8, u16);

fn name_of(program: &Program, at: At) -> Place {
    (program.hash(at.page), program.pages[at.page].privilege, at.offset)
}

/// A function as a back end made it, and what it calls directly.
type Emitted = (Body, Vec<Place>);

/// Lifted functions, ready to be put into a module.
pub struct Lifted {
    /// Their bodies; calls of helpers are relocations.
    pub bodies: Vec<Body>,
    /// What stands for a function that is called directly and was not lifted.
    pub absent: Body,
    /// Their names, for profilers.
    pub names: Vec<String>,
    /// Which functions each of them calls directly, by their first entry points.
    callees: Vec<Vec<Place>>,
    functions: Vec<Function>,
    program: Program,
    /// What was done.
    pub report: Report,
}

impl Lifted {
    /// The index of the functions, the first of which has the number `first`.
    pub fn index(&self, first: u32) -> Index {
        index::index(&self.program, &self.functions.iter().collect::<Vec<_>>(), first)
    }

    /// What their relocations refer to.
    pub fn targets(&self) -> Targets<'_> {
        let place = |function: &Function| {
            let entry = *function.entries.first()?;
            let page = *function.pages.get(&entry.div_euclid(PAGE))?;
            Some(name_of(&self.program, At { page, offset: entry.rem_euclid(PAGE) as u16 }))
        };
        let first = self.functions.iter().enumerate().filter_map(|(n, f)| Some((place(f)?, n))).collect();
        Targets { callees: &self.callees, first }
    }
}

/// What a relocation in a lifted function refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A helper of the runtime's.
    Helper(Helper),
    /// A lifted function, by its position.
    Lifted(usize),
    /// The one that stands for those that were not lifted.
    Absent,
}

/// The targets of the relocations of lifted functions.
pub struct Targets<'a> {
    callees: &'a [Vec<Place>],
    first: BTreeMap<Place, usize>,
}

impl Targets<'_> {
    /// The target of a relocation in the function at position `function`; behind the last one is [`Lifted::absent`].
    pub fn of(&self, function: usize, kind: RelocKind) -> Option<Target> {
        match kind {
            RelocKind::Function { namespace: HELPERS, index } => {
                Helper::ALL.get(index as usize).copied().map(Target::Helper)
            }
            RelocKind::Function { namespace: CALLEES, index } => {
                let place = self.callees.get(function)?.get(index as usize)?;
                Some(self.first.get(place).map_or(Target::Absent, |&n| Target::Lifted(n)))
            }
            _ => None,
        }
    }
}

/// Lifts the hot regions of `program` for a runtime of this `layout`. `progress` is told the share that is done, in percent.
///
/// # Errors
/// [`OptError::Host`] when this host is not supported. What a back end refuses is left to the interpreter, and reported.
pub fn lift(
    program: Program,
    trained: u64,
    layout: Layout,
    budget: Budget,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Lifted, OptError> {
    let begin = cpu_ms();
    let mut regions = region::regions(&program, Limits::default());
    regions.sort_by_key(|region| std::cmp::Reverse(weight(region)));
    let limit = match budget {
        Budget::None => 0,
        Budget::Bytes(bytes) => bytes,
        Budget::Max => u64::MAX,
    };
    let mut instructions = 0;
    let candidates: Vec<Region> = regions
        .into_iter()
        .take_while(|region| {
            instructions += size(region) * LEAST_BYTES;
            instructions <= limit
        })
        .collect();
    let isa = opt::host_isa(cfg!(debug_assertions))?;
    let options = Options { layout, call_conv: opt::call_conv(&isa) };
    let total = candidates.len().max(1);
    let done = std::sync::atomic::AtomicUsize::new(0);
    let mut clif = cranelift_codegen::ir::Function::new();
    lift::absent(&options, &mut clif);
    opt::optimize(&mut clif, &isa)?;
    let absent = forelift_emit::emit(&clif).map_err(|e| OptError::Codegen(e.to_string()))?;
    let emitted: Vec<Vec<Result<Emitted, String>>> = candidates
        .par_iter()
        .map(|region| {
            let mut clif = cranelift_codegen::ir::Function::new();
            let bodies = region
                .functions
                .iter()
                .map(|function| {
                    let callees = lift::lift(&program, function, &options, &mut clif);
                    opt::optimize(&mut clif, &isa).map_err(|e| e.to_string())?;
                    let body = forelift_emit::emit(&clif).map_err(|e| e.to_string())?;
                    Ok((body, callees.into_iter().map(|at| name_of(&program, at)).collect()))
                })
                .collect();
            let n = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            progress((n * 100 / total) as u64);
            bodies
        })
        .collect();
    let mut lifted = Lifted {
        bodies: Vec::new(),
        absent,
        callees: Vec::new(),
        names: Vec::new(),
        functions: Vec::new(),
        program,
        report: Report { trained, ..Report::default() },
    };
    let mut bytes = 0;
    for (region, bodies) in candidates.into_iter().zip(emitted) {
        bytes += bodies.iter().flatten().map(|(body, _)| body.code.len() as u64).sum::<u64>();
        if bytes > limit || lifted.bodies.len() + bodies.len() >= 1 << (FUNCTION_BITS - 1) {
            break;
        }
        lifted.report.regions += 1;
        for (function, body) in region.functions.into_iter().zip(bodies) {
            lifted.add(function, body);
        }
    }
    lifted.report.executed = executed(&lifted.program);
    let index = lifted.index(1);
    lifted.report.pages = index.pages.len() as u64;
    lifted.report.entries = index.pages.iter().map(|page| page.entries.len() as u64).sum();
    lifted.report.lift_ms = cpu_ms().saturating_sub(begin);
    Ok(lifted)
}

impl Lifted {
    fn add(&mut self, function: Function, body: Result<Emitted, String>) {
        let (body, callees) = match body {
            Ok(body) => body,
            Err(why) => {
                *self.report.refused.entry(why).or_default() += 1;
                return;
            }
        };
        let report = &mut self.report;
        report.functions += 1;
        report.resumes += u64::from(function.resumes);
        report.instructions += function.insns() as u64;
        report.bytes += body.code.len() as u64;
        if !function.resumes {
            report.covered += function.weight;
            for block in function.blocks.values().filter(|block| block.end == End::Leave) {
                let at = self.program.step(
                    forelift_translator::guest::At { page: function.pages[&0], offset: 0 },
                    block.end_address,
                );
                let why = at.and_then(|at| region::not_lifted(self.program.insn(at)?)).unwrap_or("unknown");
                *report.not_lifted.entry(why.into()).or_default() += 1;
            }
        }
        self.names.push(name(&self.program, &function));
        self.bodies.push(body);
        self.callees.push(callees);
        self.functions.push(function);
    }
}

/// A name for a function: its privilege, where it was seen in training, and what it is.
fn name(program: &Program, function: &Function) -> String {
    let page = &program.pages[function.pages[&0]];
    let first = function.entries.first().copied().unwrap_or(0);
    let address = page.va.wrapping_add_signed(i64::from(first));
    let (privilege, kind) =
        (if page.privilege == 0 { "u" } else { "s" }, if function.resumes { "_resume" } else { "" });
    format!("{privilege}_{address:x}{kind}")
}

fn weight(region: &Region) -> u64 {
    region.functions.iter().map(|f| f.weight).sum()
}

fn size(region: &Region) -> u64 {
    region.functions.iter().map(|f| f.insns() as u64).sum()
}

fn executed(program: &Program) -> u64 {
    program.pages.iter().flat_map(|page| &page.counts).map(|&count| u64::from(count)).sum()
}

/// Processor time of this process in milliseconds.
fn cpu_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}
