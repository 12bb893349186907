//! Hot code ahead of time: from a training run to functions of the image's module.
//!
//! * [`train`](mod@train): what is hot;
//! * [`lift`](fn@lift): hot regions to WebAssembly, in parallel, hottest first, to a budget;
//! * [`cached`]: those that were lifted before;
//! * [`names`]: what guest code is called.

pub mod cached;
pub mod names;
mod peer;
#[cfg(test)]
mod testing;
pub mod train;

use cranelift_codegen::{ir, isa::OwnedTargetIsa};
use forelift_abi::lift::{FUNCTION_BITS, HelperSpec, Index, Layout, Mode};
use forelift_emit::{Body, RelocKind};
use forelift_translator::{
    index,
    lift::{self, CALLEES, HELPERS, Options, Target as GuestTarget},
    opt::{self, OptError},
    program::{CodeAddr, Program},
    region::{self, Allowance, Function, Limits, Region},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::cache::Store;
use cached::{Keys, Made};

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
/// Directory below the cache's.
pub const SUBDIR: &str = "lift";
/// Regions that are lifted together; after them the budget is checked.
const AT_ONCE: usize = 128;

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
    /// Why lifted code ends where it does not go on directly: instructions that are not lifted, by mnemonic,
    /// with the number of places.
    pub not_lifted: BTreeMap<String, u64>,
    /// Functions that a back end refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The hottest functions.
    #[serde(default)]
    pub hottest: Vec<Hot>,
    /// Where most is left to the interpreter.
    #[serde(default)]
    pub left: Vec<Left>,
}

/// What training and lifting took, for people. It is not in the image: the same input gives the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effort {
    /// Functions that were lifted.
    pub lifted: u64,
    /// Guest instructions in them.
    pub instructions: u64,
    /// Functions that the cache had.
    pub cached: u64,
    /// Milliseconds of processor time for both.
    pub cpu_ms: u64,
    /// Guest instructions lifted per second of processor time.
    pub instructions_per_second: u64,
    /// Whether there was no training, because the cache knew what it learns.
    pub training_cached: bool,
}

/// The name of a place in guest code: hash of its page, mode, offset.
pub type Place = (u128, Mode, u16);

fn name_of(program: &Program, at: CodeAddr) -> Place {
    (program.hash(at.page), program.pages[at.page].mode, at.offset)
}

/// A function as the back end made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Its body.
    pub body: Body,
    /// The functions that it calls directly, by their first entry points.
    pub callees: Vec<Place>,
}

/// A hot function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hot {
    /// Its name.
    pub name: String,
    /// Executed instructions of the training run that it stands for.
    pub executed: u64,
    /// Guest instructions in it.
    pub instructions: u64,
}

/// A guest function, or a part of it, that is left to the interpreter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The mnemonic of an instruction that is not lifted; `cold`: executed too rarely; `budget`: others were
    /// hotter.
    pub why: String,
    /// The guest function.
    pub place: String,
    /// Executed instructions of the training run.
    pub executed: u64,
}

/// Lifted functions, ready to be put into a module.
pub struct Lifted {
    /// Their bodies; calls of helpers are relocations.
    pub bodies: Vec<Body>,
    /// What stands for a function that is called directly and was not lifted.
    pub absent: Body,
    /// Their names, for profilers; see [`Lifted::name`].
    pub names: Vec<String>,
    /// Which functions each of them calls directly, by their first entry points.
    callees: Vec<Vec<Place>>,
    functions: Vec<Function>,
    program: Program,
    /// What was done.
    pub report: Report,
    /// What it took.
    pub effort: Effort,
}

impl Lifted {
    /// The index of the functions, the first of which has the number `first`.
    pub fn index(&self, first: u32) -> Index {
        index::index(&self.program, &self.functions.iter().collect::<Vec<_>>(), first)
    }

    /// What their relocations refer to.
    pub fn targets(&self) -> Targets<'_> {
        let place = |function: &Function| Some(name_of(&self.program, function.first()?));
        let first = self.functions.iter().enumerate().filter_map(|(n, f)| Some((place(f)?, n))).collect();
        Targets { helpers: self.program.isa.guest().helpers, callees: &self.callees, first }
    }
}

/// What a relocation in a lifted function refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A helper of the runtime's.
    Helper(&'static HelperSpec),
    /// A lifted function, by its position.
    Lifted(usize),
    /// The one that stands for those that were not lifted.
    Absent,
}

/// The targets of the relocations of lifted functions.
pub struct Targets<'a> {
    helpers: &'static [HelperSpec],
    callees: &'a [Vec<Place>],
    first: BTreeMap<Place, usize>,
}

impl Targets<'_> {
    /// The target of a relocation in the function at position `function`; past the last one is
    /// [`Lifted::absent`].
    pub fn of(&self, function: usize, kind: RelocKind) -> Option<Target> {
        match kind {
            RelocKind::Function { namespace: HELPERS, index } => {
                self.helpers.get(index as usize).map(Target::Helper)
            }
            RelocKind::Function { namespace: CALLEES, index } => {
                let place = self.callees.get(function)?.get(index as usize)?;
                Some(self.first.get(place).map_or(Target::Absent, |&n| Target::Lifted(n)))
            }
            _ => None,
        }
    }
}

/// Lifts regions, or takes them from a cache.
struct Lifter<'a> {
    target: &'static dyn GuestTarget,
    program: &'a Program,
    isa: OwnedTargetIsa,
    options: Options,
    keys: Keys,
    store: Option<&'a dyn Store>,
}

impl<'a> Lifter<'a> {
    fn new(
        target: &'static dyn GuestTarget,
        program: &'a Program,
        layout: Layout,
        store: Option<&'a dyn Store>,
    ) -> Result<Self, OptError> {
        let isa = opt::host_isa(cfg!(debug_assertions))?;
        let options = Options { layout, call_conv: opt::call_conv(&isa) };
        let keys = Keys::new(&options, &isa.flags().to_string());
        Ok(Lifter { target, program, isa, options, keys, store })
    }

    /// The functions of `region`, and whether the cache had them.
    fn make(&self, region: &Region) -> (Made, bool) {
        let Some(store) = self.store else { return (self.lift(region), false) };
        let key = self.keys.key(self.program, region);
        if let Some(made) = store.get(&key).and_then(|bytes| {
            cached::decode(&bytes, region.functions.len(), self.target.guest().helpers.len())
        }) {
            return (made, true);
        }
        let made = self.lift(region);
        if let Some(bytes) = cached::encode(&made) {
            store.put(&key, &bytes);
        }
        (made, false)
    }

    fn lift(&self, region: &Region) -> Made {
        let mut clif = ir::Function::new();
        let one = |function| {
            let callees = lift::lift(self.target, self.program, function, &self.options, &mut clif);
            opt::optimize(&mut clif, &self.isa).map_err(|e| e.to_string())?;
            let body = forelift_emit::emit(&clif).map_err(|e| e.to_string())?;
            Ok(Code { body, callees: callees.into_iter().map(|at| name_of(self.program, at)).collect() })
        };
        region.functions.iter().map(one).collect()
    }

    /// See [`Lifted::absent`].
    fn absent(&self) -> Result<Body, OptError> {
        let mut clif = ir::Function::new();
        lift::absent(self.target, &self.options, &mut clif);
        opt::optimize(&mut clif, &self.isa)?;
        forelift_emit::emit(&clif).map_err(|e| OptError::Codegen(e.to_string()))
    }
}

/// Lifts the hot regions of `program` for a runtime of this `layout`, but for those that `store` has.
/// `progress` is told the share that is done, in percent.
///
/// # Errors
/// [`OptError::Host`] when this host is not supported. What a back end refuses is left to the interpreter,
/// and reported.
pub fn lift(
    target: &'static dyn GuestTarget,
    program: Program,
    trained: u64,
    layout: Layout,
    budget: Budget,
    store: Option<&dyn Store>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Lifted, OptError> {
    let begin = cpu_ms();
    let mut regions = region::regions(&program, Limits::default());
    region::hottest_by_instruction(&mut regions);
    let limit = match budget {
        Budget::None => 0,
        Budget::Bytes(bytes) => bytes,
        Budget::Max => u64::MAX,
    };
    let lifter = Lifter::new(target, &program, layout, store)?;
    let total = regions.len().max(1) as u64;
    let (done, size) = (AtomicU64::new(0), AtomicU64::new(0));
    let make = |region: &Region| {
        let (made, cached) = lifter.make(region);
        let bytes = bytes(&made);
        let sum = size.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let share =
            |part: u64, whole: u64| (u128::from(part) * 100 / u128::from(whole.max(1))).min(100) as u64;
        progress(share(done.fetch_add(1, Relaxed) + 1, total).max(share(sum, limit)));
        (made, cached)
    };
    let mut effort = Effort::default();
    let mut chosen: Vec<(Function, Result<Code, String>)> = Vec::new();
    let mut report = Report { trained, ..Report::default() };
    let mut allowance = Allowance::new(limit);
    let mut rest = if limit == 0 { Vec::new() } else { regions }.into_iter();
    'all: loop {
        let some: Vec<Region> = rest.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        let made: Vec<(Made, bool)> = some.par_iter().map(make).collect();
        for (region, (_, cached)) in some.iter().zip(&made) {
            effort.add(region, *cached);
        }
        for (region, (made, _)) in some.into_iter().zip(made) {
            if !allowance.take(bytes(&made)) || chosen.len() + made.len() >= 1 << (FUNCTION_BITS - 1) {
                break 'all;
            }
            report.regions += 1;
            chosen.extend(region.functions.into_iter().zip(made));
        }
    }
    let mut lifted = Lifted {
        bodies: Vec::new(),
        absent: lifter.absent()?,
        callees: Vec::new(),
        names: Vec::new(),
        functions: Vec::new(),
        program,
        report,
        effort,
    };
    chosen.into_iter().for_each(|(function, body)| lifted.add(function, body));
    lifted.count();
    lifted.effort.finish(cpu_ms().saturating_sub(begin));
    Ok(lifted)
}

impl Effort {
    fn add(&mut self, region: &Region, cached: bool) {
        let functions = region.functions.len() as u64;
        if cached {
            self.cached += functions;
        } else {
            self.lifted += functions;
            self.instructions += region.insns() as u64;
        }
    }

    fn finish(&mut self, cpu_ms: u64) {
        self.cpu_ms = cpu_ms;
        self.instructions_per_second = self.instructions * 1000 / cpu_ms.max(1);
    }
}

fn bytes(made: &Made) -> u64 {
    made.iter().flatten().map(|code| code.body.code.len() as u64).sum()
}

impl Lifted {
    /// Fills in what the report says of all functions together.
    fn count(&mut self) {
        let pages: BTreeSet<usize> = self.functions.iter().flat_map(|f| f.pages.values().copied()).collect();
        self.report.pages = pages.len() as u64;
        self.report.entries = self.functions.iter().map(|f| f.entries.len() as u64).sum();
        self.report.executed = executed(&self.program);
    }
}

impl Lifted {
    fn add(&mut self, function: Function, code: Result<Code, String>) {
        let Code { body, callees } = match code {
            Ok(code) => code,
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
            for why in function.unlifted() {
                *report.not_lifted.entry(why.into()).or_default() += 1;
            }
        }
        self.bodies.push(body);
        self.callees.push(callees);
        self.functions.push(function);
    }
}

fn executed(program: &Program) -> u64 {
    program.pages.iter().flat_map(|page| &page.counts).map(|&count| u64::from(count)).sum()
}

/// Processor time of this process in milliseconds.
fn cpu_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{DEFAULT_LIMIT, Directory};
    use forelift_abi::lift::rv64::GUEST;
    use forelift_translator::isa::rv64::Rv64;
    use std::{fs, path::Path};

    fn program(seed: i32) -> Program {
        testing::program(testing::pages(3, seed))
    }

    fn run(program: Program, budget: Budget, store: Option<&dyn Store>) -> Lifted {
        lift(&Rv64, program, 1, testing::LAYOUT, budget, store, &|_| {}).unwrap()
    }

    fn directory(path: &Path) -> Directory {
        Directory::new(path.join("lift"), DEFAULT_LIMIT)
    }

    fn same(a: &Lifted, b: &Lifted) {
        assert!(a.bodies == b.bodies && a.names == b.names && a.index(1) == b.index(1));
        assert_eq!(a.report, b.report);
    }

    fn files(path: &Path) -> Vec<std::path::PathBuf> {
        let dirs = fs::read_dir(path.join("lift")).unwrap().map(|e| e.unwrap().path());
        dirs.flat_map(|dir| fs::read_dir(dir).unwrap().map(|e| e.unwrap().path())).collect()
    }

    #[test]
    fn a_cache_changes_nothing_but_the_effort() {
        let dir = tempfile::tempdir().unwrap();
        let plain = run(program(1), Budget::Max, None);
        let functions = plain.report.functions;
        assert!(functions > 20 && plain.report.refused.is_empty(), "{:?}", plain.report);
        let index = plain.index(1);
        assert!(index.is_valid(&GUEST));
        assert_eq!(plain.report.pages, index.pages.len() as u64);
        assert_eq!(
            plain.report.entries,
            index.pages.iter().map(|page| page.entries.len() as u64).sum::<u64>()
        );

        let cold = run(program(1), Budget::Max, Some(&directory(dir.path())));
        same(&plain, &cold);
        assert_eq!((cold.effort.lifted, cold.effort.cached), (functions, 0));
        assert_eq!(cold.effort.instructions, cold.report.instructions);
        assert_eq!(files(dir.path()).len() as u64, cold.report.regions);

        let warm = run(program(1), Budget::Max, Some(&directory(dir.path())));
        same(&plain, &warm);
        assert_eq!((warm.effort.lifted, warm.effort.instructions, warm.effort.cached), (0, 0, functions));
        assert_eq!(warm.effort.instructions_per_second, 0);

        // Every third file damaged: it is lifted again, and repaired.
        let mut damaged = 0;
        for (n, path) in files(dir.path()).iter().enumerate().filter(|(n, _)| n % 3 == 0) {
            let bytes = fs::read(path).unwrap();
            fs::write(path, if n % 2 == 0 { &bytes[..bytes.len() / 2] } else { b"nonsense" }).unwrap();
            damaged += 1;
        }
        let partly = run(program(1), Budget::Max, Some(&directory(dir.path())));
        same(&plain, &partly);
        assert!(partly.effort.lifted >= damaged && partly.effort.cached > 0);
        assert_eq!(partly.effort.lifted + partly.effort.cached, functions);
        let repaired = run(program(1), Budget::Max, Some(&directory(dir.path())));
        assert_eq!((repaired.effort.lifted, repaired.effort.cached), (0, functions));

        // A cache that cannot be.
        fs::write(dir.path().join("file"), "").unwrap();
        let broken = Directory::new(dir.path().join("file/lift"), DEFAULT_LIMIT);
        same(&plain, &run(program(1), Budget::Max, Some(&broken)));
        assert!(broken.problem().is_some());
    }

    #[test]
    fn a_program_that_shares_pages_shares_their_regions() {
        let dir = tempfile::tempdir().unwrap();
        let cold = run(program(1), Budget::Max, Some(&directory(dir.path())));
        // The same pages elsewhere, and others after them.
        let mut pages = testing::pages(3, 1);
        pages.iter_mut().for_each(|page| page.va += 0x7000_0000);
        pages.extend(
            testing::pages(3, 2)
                .into_iter()
                .map(|page| forelift_abi::profile::Page { next: page.next.map(|next| next + 3), ..page }),
        );
        let more = run(testing::program(pages), Budget::Max, Some(&directory(dir.path())));
        assert_eq!(more.effort.cached, cold.report.functions);
        assert!(more.effort.lifted > 0 && more.report.functions > cold.report.functions);
    }

    #[test]
    fn the_number_of_threads_does_not_show() {
        let dir = tempfile::tempdir().unwrap();
        let with = |threads: usize, store: Option<&dyn Store>| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(program(3), Budget::Bytes(20_000), store))
        };
        let one = with(1, None);
        assert!(one.report.bytes <= 20_000 && one.report.bytes > 10_000, "{:?}", one.report);
        same(&one, &with(5, None));
        same(&one, &with(3, Some(&directory(dir.path()))));
        same(&one, &with(1, Some(&directory(dir.path()))));
    }

    #[test]
    fn progress_grows_to_a_hundred() {
        for budget in [Budget::Max, Budget::Bytes(20_000)] {
            let shares = std::sync::Mutex::new(Vec::new());
            lift(&Rv64, program(1), 1, testing::LAYOUT, budget, None, &|share| {
                shares.lock().unwrap().push(share)
            })
            .unwrap();
            let mut shares = shares.into_inner().unwrap();
            shares.sort_unstable();
            assert!(shares.len() > 20 && shares[0] < 20 && shares.last() == Some(&100), "{shares:?}");
        }
        assert!(run(program(1), Budget::None, None).bodies.is_empty());
    }
}
