//! Lifted code on the hart, compiled for this host.

use forelift_abi::lift::Index;
use forelift_runtime::cpu::Lifting;
use forelift_tests::hart::Machine;
use forelift_translator::{
    index,
    isa::rv64::Rv64,
    jit,
    program::Program,
    region::{self, Function, Limits},
};

use crate::kernels::{Kernel, run};

/// Instructions that a kernel is trained on.
const TRAINING: u64 = 100_000;

/// The functions to lift of what `machine` has executed since its profile was started, and the program that
/// they are part of.
pub fn functions(machine: &Machine, limits: Limits) -> (Program, Vec<Function>) {
    let program = Program::new(&Rv64, machine.cpu.profile(&machine.mem));
    let functions =
        region::regions(&program, limits).into_iter().flat_map(|region| region.functions).collect();
    (program, functions)
}

/// A machine with lifted code. It does not count what is executed.
pub struct Lifted {
    /// The machine.
    pub machine: Machine,
    /// What was lifted.
    pub functions: Vec<Function>,
    /// What the machine runs.
    _code: jit::Code,
}

impl Lifted {
    /// Compiles `functions` for `machine`, and installs them.
    ///
    /// # Panics
    /// When the translator fails.
    pub fn new(mut machine: Machine, program: &Program, functions: Vec<Function>) -> Self {
        let all: Vec<&Function> = functions.iter().collect();
        let layout = machine.cpu.layout();
        let code = jit::compile(&Rv64, program, &all, layout, &machine.cpu.helpers())
            .unwrap_or_else(|e| panic!("{e}"));
        // Number 0 is not used.
        let index: Index = index::index(program, &all, 1);
        let addresses = [&[0], &code.addresses[..]].concat();
        // SAFETY: made for this CPU, whose hart stays where it is; the code is kept beside it.
        let taken = unsafe { machine.cpu.install(index, addresses, &mut machine.mem) };
        assert!(taken, "the index was refused");
        Lifted { machine, functions, _code: code }
    }

    /// A machine that is about to run `kernel` lifted.
    pub fn kernel(kernel: Kernel) -> Self {
        let mut trained = kernel.machine();
        trained.cpu.start_profile(&mut trained.mem);
        run(&mut trained, TRAINING);
        let (program, functions) = functions(&trained, Limits::default());
        Self::new(kernel.machine(), &program, functions)
    }

    /// The share of the instructions so far that lifted code executed.
    pub fn share(&self) -> f64 {
        let hart = &self.machine.cpu.hart;
        hart.lifted_retired as f64 / hart.instret as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_run_lifted_as_they_do_interpreted() {
        for (name, kernel) in Kernel::ALL {
            let mut lifted = Lifted::kernel(kernel);
            for budget in [1, 2, 3, 100, 100_000] {
                run(&mut lifted.machine, budget);
                kernel.check(&lifted.machine);
            }
            let share = lifted.share();
            // After a miss the interpreter runs up to the loop's head; `ecall` and `sret` are always its own.
            let least = match kernel {
                Kernel::Misses(_) => 0.2,
                Kernel::SystemCalls => 0.8,
                _ => 0.99,
            };
            assert!(share > least, "{name}: {share}");
        }
    }

    #[test]
    fn kernels_do_what_their_names_say() {
        let functions = |kernel| Lifted::kernel(kernel).functions;
        assert!(functions(Kernel::Switch).iter().any(Function::jumps_inside));
        assert!(functions(Kernel::DirectCalls).iter().any(|f| !f.calls.is_empty()));
        assert!(functions(Kernel::Calls).iter().all(|f| f.calls.is_empty()));
        let mut misses = Lifted::kernel(Kernel::Misses(64));
        run(&mut misses.machine, TRAINING);
        let mut hits = Lifted::kernel(Kernel::Hits(64));
        run(&mut hits.machine, TRAINING);
        // Each miss leaves lifted code.
        let calls = |lifted: &Lifted| lifted.machine.cpu.hart.lifted_calls;
        assert!(calls(&misses) > TRAINING / 5 && calls(&hits) < 200, "{} {}", calls(&misses), calls(&hits));
    }
}
