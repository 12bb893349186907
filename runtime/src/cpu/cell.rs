//! Where a hart is kept.

/// For a module with a plain type `Hart` that has a constant `Hart::RESET`: its owner `HartCell`, and its
/// address. In WebAssembly the one hart of a module lives in a static, so that the compiler folds its address
/// into every access (a pointer argument would cost an addition each time, 15-20 % of the interpreter);
/// natively it is boxed, so that tests and the converter can have several.
macro_rules! hart_cell {
    () => {
        #[cfg(target_family = "wasm")]
        mod cell {
            use super::Hart;
            use core::sync::atomic::{AtomicBool, Ordering};

            pub(crate) static mut HART: Hart = Hart::RESET;
            static TAKEN: AtomicBool = AtomicBool::new(false);

            /// Owner of the module's one hart.
            pub struct HartCell(());

            impl HartCell {
                pub(crate) fn new() -> Self {
                    assert!(!TAKEN.swap(true, Ordering::Relaxed), "a module holds one hart");
                    HartCell(())
                }
            }

            impl core::ops::Deref for HartCell {
                type Target = Hart;
                fn deref(&self) -> &Hart {
                    let hart = &raw const HART;
                    // SAFETY: there is one HartCell, so borrows of it are borrows of the static.
                    unsafe { &*hart }
                }
            }

            impl core::ops::DerefMut for HartCell {
                fn deref_mut(&mut self) -> &mut Hart {
                    let hart = &raw mut HART;
                    // SAFETY: as above.
                    unsafe { &mut *hart }
                }
            }
        }

        #[cfg(not(target_family = "wasm"))]
        mod cell {
            use super::Hart;

            /// Owner of a hart.
            pub struct HartCell(Box<Hart>);

            // SAFETY: the pointers in a hart lead to what it owns, or to what moves with it: the block cache,
            // and the tables that are set for the duration of a run.
            unsafe impl Send for HartCell {}

            impl HartCell {
                pub(crate) fn new() -> Self {
                    HartCell(Box::new(Hart::RESET))
                }
            }

            impl core::ops::Deref for HartCell {
                type Target = Hart;
                fn deref(&self) -> &Hart {
                    &self.0
                }
            }

            impl core::ops::DerefMut for HartCell {
                fn deref_mut(&mut self) -> &mut Hart {
                    &mut self.0
                }
            }
        }

        pub use cell::HartCell;

        /// The hart's address: a constant in WebAssembly, whatever `hart` is.
        #[inline(always)]
        pub(crate) fn hart_ptr(hart: &mut Hart) -> *mut Hart {
            #[cfg(target_family = "wasm")]
            {
                let _ = hart;
                &raw mut cell::HART
            }
            #[cfg(not(target_family = "wasm"))]
            {
                hart
            }
        }
    };
}
pub(crate) use hart_cell;
