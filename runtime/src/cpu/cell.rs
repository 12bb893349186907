//! Where a processor's state is kept.

/// For a module with a plain type `$cpu` that has a constant `$cpu::RESET`: its owner `$cell`, and its
/// address `$ptr`. In WebAssembly the one processor of a module lives in a static, so that the compiler folds
/// its address into every access (a pointer argument would cost an addition each time, 15-20 % of the
/// interpreter); natively it is boxed, so that tests and the converter can have several.
macro_rules! cpu_cell {
    ($cpu:ident, $cell:ident, $ptr:ident) => {
        #[cfg(target_family = "wasm")]
        mod cell {
            use super::$cpu;
            use core::sync::atomic::{AtomicBool, Ordering};

            pub(crate) static mut CPU: $cpu = $cpu::RESET;
            static TAKEN: AtomicBool = AtomicBool::new(false);

            /// Owner of the module's one processor.
            pub struct $cell(());

            impl $cell {
                pub(crate) fn new() -> Self {
                    assert!(!TAKEN.swap(true, Ordering::Relaxed), "a module holds one processor");
                    $cell(())
                }
            }

            impl core::ops::Deref for $cell {
                type Target = $cpu;
                fn deref(&self) -> &$cpu {
                    let cpu = &raw const CPU;
                    // SAFETY: there is one owner, so borrows of it are borrows of the static.
                    unsafe { &*cpu }
                }
            }

            impl core::ops::DerefMut for $cell {
                fn deref_mut(&mut self) -> &mut $cpu {
                    let cpu = &raw mut CPU;
                    // SAFETY: as above.
                    unsafe { &mut *cpu }
                }
            }
        }

        #[cfg(not(target_family = "wasm"))]
        mod cell {
            use super::$cpu;

            /// Owner of a processor.
            pub struct $cell(Box<$cpu>);

            // SAFETY: the pointers in a processor lead to what it owns, or to what moves with it: the block
            // cache, and the tables that are set for the duration of a run.
            unsafe impl Send for $cell {}

            impl $cell {
                pub(crate) fn new() -> Self {
                    $cell(Box::new($cpu::RESET))
                }
            }

            impl core::ops::Deref for $cell {
                type Target = $cpu;
                fn deref(&self) -> &$cpu {
                    &self.0
                }
            }

            impl core::ops::DerefMut for $cell {
                fn deref_mut(&mut self) -> &mut $cpu {
                    &mut self.0
                }
            }
        }

        pub use cell::$cell;

        /// The processor's address: a constant in WebAssembly, whatever `cpu` is.
        #[inline(always)]
        pub(crate) fn $ptr(cpu: &mut $cpu) -> *mut $cpu {
            #[cfg(target_family = "wasm")]
            {
                let _ = cpu;
                &raw mut cell::CPU
            }
            #[cfg(not(target_family = "wasm"))]
            {
                cpu
            }
        }
    };
}
pub(crate) use cpu_cell;
