//! Cases on the processor that the tests run on.

mod child;
mod shared;

use crate::case::{Case, Outcome, Stop, vector};
use crate::layout::{CODE_SIZE, MEMORY_SIZE, PAGE, read_only_page};
use shared::{FILE_SIZE, READ_ONLY_IN_FILE, SLOTS, Shared, Slot};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// `AT_HWCAP2`: user programs can read and write the FS and GS bases.
const HWCAP2_FSGSBASE: u64 = 2;

/// A process that executes cases, and what it takes to talk to it.
pub struct Host {
    file: OwnedFd,
    shared: *mut Shared,
    child: libc::pid_t,
    /// Number of the last batch.
    batches: u32,
    /// How often the process had to be started again.
    pub restarts: u32,
}

/// Tenths of seconds without a case that ends, after which the process is beyond help. Endless cases end by
/// themselves.
const PATIENCE: u32 = 150;

fn check(ok: bool, what: &str) {
    assert!(ok, "{what}: {}", io::Error::last_os_error());
}

impl Host {
    /// Starts the process.
    ///
    /// # Panics
    /// When the host cannot do this: it names what is missing.
    pub fn new() -> Self {
        // SAFETY: calls without pointers to anything that matters, and a new mapping.
        unsafe {
            check(
                libc::getauxval(libc::AT_HWCAP2) & HWCAP2_FSGSBASE != 0,
                "FSGSBASE is not available: instruction tests need Linux 5.9 and a processor that has it",
            );
            let file = libc::memfd_create(c"forelift-oracle".as_ptr(), libc::MFD_CLOEXEC);
            check(file >= 0, "memfd_create");
            let file = OwnedFd::from_raw_fd(file);
            check(libc::ftruncate(file.as_raw_fd(), FILE_SIZE as i64) == 0, "ftruncate");
            let both = libc::PROT_READ | libc::PROT_WRITE;
            let at = libc::mmap(ptr::null_mut(), FILE_SIZE, both, libc::MAP_SHARED, file.as_raw_fd(), 0);
            check(at != libc::MAP_FAILED, "mmap");
            let page = read_only_page();
            ptr::copy_nonoverlapping(page.as_ptr(), at.cast::<u8>().add(READ_ONLY_IN_FILE), PAGE as usize);
            let mut host = Host { file, shared: at.cast(), child: 0, batches: 0, restarts: 0 };
            host.start();
            host
        }
    }

    fn start(&mut self) {
        // SAFETY: the other side does not exist now.
        let shared = unsafe { &mut *self.shared };
        (shared.started, shared.busy, shared.old_code) = (0, 0, (0, CODE_SIZE as u32));
        // Whatever was there: a case may have written to it.
        shared.posted.store(self.batches, Relaxed);
        shared.done.store(self.batches, Relaxed);
        // SAFETY: the new process does nothing but `serve`, which takes no lock and allocates nothing.
        unsafe {
            self.child = libc::fork();
            check(self.child >= 0, "fork");
            if self.child == 0 {
                child::serve(self.file.as_raw_fd());
            }
        }
    }

    /// Executes cases.
    ///
    /// # Panics
    /// When a case does not fit the layout, or the process cannot be started.
    pub fn run(&mut self, cases: &[Case]) -> Vec<Outcome> {
        cases.chunks(SLOTS).flat_map(|batch| self.batch(batch)).collect()
    }

    /// Executes one case.
    pub fn run_one(&mut self, case: &Case) -> Outcome {
        self.batch(std::slice::from_ref(case)).remove(0)
    }

    fn batch(&mut self, cases: &[Case]) -> Vec<Outcome> {
        // SAFETY: the other side waits and touches no slot until the batch is posted.
        let slots = unsafe { &mut (*self.shared).slots };
        for (slot, case) in slots.iter_mut().zip(cases) {
            put(slot, case);
        }
        let mut from = 0;
        while from < cases.len() {
            from = self.execute(from, cases.len());
        }
        slots.iter().zip(cases).map(|(slot, _)| take(slot)).collect()
    }

    /// Executes slots; gives how many are done: all, or up to one at which the process died.
    fn execute(&mut self, from: usize, count: usize) -> usize {
        // SAFETY: only atomics are used while the other side works.
        let (posted, done, at, counter) = unsafe {
            let shared = self.shared;
            (&(*shared).posted, &(*shared).done, &(*shared).at, &(*shared).count)
        };
        at.store(from as u32, Relaxed);
        counter.store(count as u32, Relaxed);
        self.batches = self.batches.wrapping_add(1);
        let (batch, mut last, mut idle) = (self.batches, from, 0);
        posted.store(batch, Release);
        let tenth = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        // SAFETY: both words live as long as the mapping.
        unsafe { libc::syscall(libc::SYS_futex, posted.as_ptr(), libc::FUTEX_WAKE, 1) };
        loop {
            let seen = done.load(Acquire);
            if seen == batch {
                return count;
            }
            // SAFETY: as above.
            unsafe { libc::syscall(libc::SYS_futex, done.as_ptr(), libc::FUTEX_WAIT, seen, &tenth) };
            let now = at.load(Relaxed) as usize;
            idle = if now == last { idle + 1 } else { 0 };
            last = now;
            if idle > PATIENCE {
                // SAFETY: this value's own child.
                unsafe { libc::kill(self.child, libc::SIGKILL) };
            }
            let mut status = 0;
            // SAFETY: waits for this value's own child.
            if unsafe { libc::waitpid(self.child, &mut status, libc::WNOHANG) } == self.child {
                if done.load(Acquire) == batch {
                    self.child = 0;
                    self.restart();
                    return count;
                }
                assert!(
                    !libc::WIFEXITED(status),
                    "the process for cases failed: step {}",
                    libc::WEXITSTATUS(status)
                );
                let lost = (at.load(Relaxed) as usize).min(count - 1);
                // SAFETY: the other side is gone.
                unsafe { (*self.shared).slots[lost].signal = libc::SIGKILL as u32 };
                self.restart();
                return lost + 1;
            }
        }
    }

    fn restart(&mut self) {
        self.restarts += 1;
        self.start();
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: this value's own child and mapping.
        unsafe {
            libc::kill(self.child, libc::SIGKILL);
            libc::waitpid(self.child, ptr::null_mut(), 0);
            libc::munmap(self.shared.cast(), FILE_SIZE);
        }
    }
}

fn put(slot: &mut Slot, case: &Case) {
    assert!(case.code_at + case.code.len() <= CODE_SIZE, "code does not fit");
    slot.state = case.state.clone();
    (slot.steps, slot.patience) = (case.steps, case.patience);
    (slot.code_at, slot.code_len) = (case.code_at as u32, case.code.len() as u32);
    slot.code[..case.code.len()].copy_from_slice(&case.code);
    slot.memory.copy_from_slice(&case.memory[..]);
}

fn take(slot: &Slot) -> Outcome {
    let mut memory: Box<[u8; MEMORY_SIZE]> = Box::new([0; MEMORY_SIZE]);
    memory.copy_from_slice(&slot.memory_out);
    Outcome { stop: stop(slot), state: slot.out.clone(), memory }
}

/// The exception that a signal stands for.
fn stop(slot: &Slot) -> Stop {
    let trap = |code| {
        let vector = slot.trap as u8;
        let address = if vector == vector::PF { slot.address } else { 0 };
        Stop::Trap { vector, code, address }
    };
    match slot.signal as i32 {
        libc::SIGVTALRM => Stop::Endless,
        libc::SIGKILL | libc::SIGSYS => Stop::Lost,
        _ => match slot.trap as u8 {
            vector::SS | vector::GP | vector::PF | vector::NP | vector::TS | vector::AC => {
                trap(slot.error as u32)
            }
            _ => trap(0),
        },
    }
}
