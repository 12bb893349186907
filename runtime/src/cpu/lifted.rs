//! Calling lifted code, whatever the guest: what is the same for all in [`forelift_abi::lift`]'s contract.
//!
//! A CPU implements `LiftedCpu`; its helpers are its own. Everything here works on a raw pointer to the CPU,
//! whose address lifted code holds too, while nobody else uses it.

use forelift_abi::lift::{FUNCTION_BITS, Guest, Index, MAX_DEPTH};

/// The lifted code that a CPU knows.
#[derive(Default)]
pub struct Lifted {
    pub(crate) index: Index,
    /// Addresses of the functions, by number; natively only.
    functions: Vec<usize>,
}

impl Lifted {
    /// `index`, whose functions are at these addresses natively; `None` when it is inconsistent.
    pub(crate) fn new(guest: &Guest, index: Index, functions: Vec<usize>) -> Option<Self> {
        let (first, count) = index.functions;
        let there = cfg!(target_family = "wasm") || first as usize + count as usize <= functions.len();
        (index.is_valid(guest) && there).then_some(Lifted { index, functions })
    }

    /// Whether there is any.
    pub(crate) fn is_active(&self) -> bool {
        !self.index.pages.is_empty()
    }

    pub(crate) fn functions(&self) -> *const usize {
        self.functions.as_ptr()
    }
}

/// What calling lifted code needs of a CPU.
///
/// # Safety
/// [`LiftedCpu::entry_value`] gives values of the index that was installed only, and natively `functions` the
/// list that was installed with it.
pub(crate) unsafe trait LiftedCpu {
    /// The guest's part of the contract.
    const GUEST: &'static Guest;

    /// The value of the entry point at `va`, 0 when there is none, as far as the instruction TLB knows.
    fn entry_value(&self, va: u64) -> u32;

    /// The mode in force, as a number.
    fn mode(&self) -> u8;

    /// Addresses of the lifted functions by number.
    #[cfg(not(target_family = "wasm"))]
    fn functions(&self) -> *const usize;

    /// Address of the next instruction.
    fn pc(&mut self) -> &mut u64;

    /// Instructions that may still be executed.
    fn left(&mut self) -> &mut i64;

    /// Whether the dispatcher has to look before more lifted code is called.
    fn attends(&self) -> bool;

    /// Counts a call that came back, by a return instruction or not.
    fn count(&mut self, returned: bool);

    /// Counts a call that could not even do its first instruction.
    fn count_refusal(&mut self);
}

/// Calls the lifted function of `value`, which begins at `va`.
///
/// # Safety
/// `value` is from the table of a page, which the installer vouches for; the CPU is ready to run.
#[inline(always)]
pub(crate) unsafe fn call<C: LiftedCpu>(cpu: *mut C, value: u32, va: u64, depth: u32) -> u64 {
    let number = (value & ((1 << FUNCTION_BITS) - 1)) as usize;
    #[cfg(target_family = "wasm")]
    let address = {
        let _ = cpu;
        number
    };
    // SAFETY: the number is below the length of the list (Index::is_valid, Lifted::new).
    #[cfg(not(target_family = "wasm"))]
    let address = unsafe { *(*cpu).functions().add(number) };
    // SAFETY: a lifted function has this signature. (In WebAssembly a function pointer is an index into the
    // table, and the engine checks the signature.)
    unsafe {
        let function: extern "C" fn(u64, u32, u32) -> u64 = core::mem::transmute(address);
        function(va, value, depth)
    }
}

/// The helper [`DISPATCH`](forelift_abi::lift::DISPATCH).
///
/// # Safety
/// Called by lifted code only.
#[inline(always)]
pub(crate) unsafe fn dispatch<C: LiftedCpu>(cpu: *mut C, va: u64, depth: u32) -> u64 {
    // SAFETY: the CPU that the code was made for.
    unsafe {
        if depth == 0 || *(*cpu).left() <= 0 {
            return C::GUEST.tag.set(va);
        }
        match (*cpu).entry_value(va) {
            0 => C::GUEST.tag.set(va),
            value => call(cpu, value, va, depth - 1),
        }
    }
}

/// Runs the lifted function of `value` at the CPU's `pc`, and what it leads to, as far as that is lifted.
/// False: at `pc` is lifted code that could not do its first instruction, which has to be interpreted.
///
/// # Safety
/// As [`call`].
#[inline(always)]
pub(crate) unsafe fn run<C: LiftedCpu>(cpu: *mut C, value: u32) -> bool {
    let mut value = value;
    // SAFETY: the caller's promise; each access is over before lifted code runs.
    unsafe {
        loop {
            let (va, before, mode) = (*(*cpu).pc(), *(*cpu).left(), (*cpu).mode());
            let next = call(cpu, value, va, MAX_DEPTH);
            *(*cpu).pc() = C::GUEST.tag.address(next);
            (*cpu).count(!C::GUEST.tag.is_set(next));
            if *(*cpu).left() == before {
                let refused = *(*cpu).pc() == va && (*cpu).mode() == mode;
                if refused {
                    (*cpu).count_refusal();
                }
                return !refused;
            }
            if (*cpu).attends() || *(*cpu).left() <= 0 {
                return true;
            }
            value = (*cpu).entry_value(*(*cpu).pc());
            if value == 0 {
                return true;
            }
        }
    }
}
