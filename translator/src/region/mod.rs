//! Regions: which hot code becomes one function.
//!
//! # Method
//! 1. *Leaders*: the first instructions of basic blocks are the targets of hot branches, jumps and calls,
//!    what follows them, and what indirect jumps came to.
//! 2. *Growth*: from each seed (called functions first, then other targets of indirect jumps, then what is
//!    left, hottest first), blocks are taken along direct edges, hottest first, to a limit. A block belongs
//!    to one region.
//! 3. *Entry points*: places where control can come in from elsewhere: the seed, loop heads (an interrupt or
//!    a TLB miss has to find back), return sites, targets of indirect jumps and of other regions.
//! 4. *Functions*: an entry point in the middle of a loop would make the loop irreducible. So the region's
//!    first function has the entry points that lie in no loop, and of each outermost loop its head. The
//!    others go to *resume functions*: copies of what is reachable from them, cut where an entry point that
//!    is there already is reached. Each of these rounds opens one level of loops. So hot loops pay nothing
//!    for being resumable.
//!
//! Linear in the code but for sorting; a resume function copies at most its region.

mod block;
mod entries;
mod function;
mod grow;
mod if_convert;
mod leaders;
mod limits;
mod resume;
mod scc;
mod select;

pub use function::{Block, Function, Region};
pub use limits::Limits;
pub use select::{Allowance, hottest, hottest_by_instruction};

use crate::program::{CodeAddr, Program};
use entries::{calls, elsewhere, wanted};
use grow::{Claims, Grown, grow, place, seeds};
use leaders::Leaders;
use resume::functions;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The regions of a program, in a fixed order.
pub fn regions(program: &Program, limits: Limits) -> Vec<Region> {
    let leaders = Leaders::find(program, limits);
    let mut claims = Claims { owner: BTreeMap::new() };
    let mut grown: Vec<Grown> = Vec::new();
    let mut seeds: VecDeque<CodeAddr> = seeds(&leaders).into();
    while let Some(seed) = seeds.pop_front() {
        if claims.owner.contains_key(&seed) {
            continue;
        }
        // What did not fit begins a region of its own.
        if let Some(region) = grow(&leaders, &mut claims, seed, grown.len(), &mut seeds) {
            grown.push(region);
        }
    }
    let wanted = wanted(&leaders, &claims, &grown);
    // Which of the wanted places become entry points has to be known before where jumps can go.
    let mut made: Vec<Vec<Function>> =
        grown.iter().zip(&wanted).map(|(region, wanted)| functions(region, wanted, limits)).collect();
    let entries: BTreeSet<CodeAddr> = grown
        .iter()
        .zip(&made)
        .flat_map(|(region, functions)| {
            functions.iter().flat_map(|f| f.entries.iter().map(|&e| place(region, e)))
        })
        .collect();
    let first: BTreeSet<CodeAddr> = grown
        .iter()
        .zip(&made)
        .flat_map(|(region, functions)| {
            functions.iter().filter_map(|f| f.entries.first().map(|&e| place(region, e)))
        })
        .collect();
    for (region, functions) in grown.iter().zip(&mut made) {
        for function in functions.iter_mut() {
            function.elsewhere = elsewhere(program, region, function, &entries);
            function.calls = calls(program, region, function, &first);
            function.is_jumped_to = function.entries.iter().any(|&e| {
                let at = place(region, e);
                program.indirect(at) > 0 && !leaders.returns.contains(&at)
            });
        }
    }
    made.into_iter().map(|functions| Region { functions }).collect()
}
