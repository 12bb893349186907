//! Lifted code on a hart: what was executed so far is lifted, compiled for this host, and installed.

use super::Machine;
use forelift_abi::lift::{Index, Page, VERSION, rv64};
use forelift_runtime::cpu::Lifting;
use forelift_translator::isa::rv64::Rv64;
use forelift_translator::program::Program;
use forelift_translator::region::{self, Function, Limits};
use forelift_translator::{index, jit};

/// Machine code for a hart. It has to be kept as long as the hart runs.
pub struct Installed {
    /// The code.
    pub code: jit::Code,
    /// What was lifted.
    pub functions: Vec<Function>,
    /// The index that was installed.
    pub index: Index,
}

/// Lifts what `machine` has executed since its profile was started, and installs it.
///
/// # Panics
/// When the translator fails.
pub fn install(machine: &mut Machine, limits: Limits) -> Installed {
    let program = Program::new(&Rv64, machine.cpu.profile(&machine.mem));
    let functions: Vec<Function> =
        region::regions(&program, limits).into_iter().flat_map(|region| region.functions).collect();
    let all: Vec<&Function> = functions.iter().collect();
    let layout = machine.cpu.layout();
    let code =
        jit::compile(&Rv64, &program, &all, layout, &machine.cpu.helpers()).unwrap_or_else(|e| panic!("{e}"));
    let index = index::index(&program, &all, 1);
    let page = |p: &Page| p.entries.len();
    assert!(
        index.is_valid(&rv64::GUEST)
            && index.version == VERSION
            && index.pages.iter().map(page).sum::<usize>() > 0
    );
    // SAFETY: made for this CPU; the caller keeps the code.
    let taken = unsafe {
        machine.cpu.install(index.clone(), [vec![0], code.addresses.clone()].concat(), &mut machine.mem)
    };
    assert!(taken, "the index was refused");
    Installed { code, functions, index }
}
