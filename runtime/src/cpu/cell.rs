//! Where a hart is kept.

/// For a module with a plain type `Hart` (or another name, see the arguments) that has a constant
/// `Hart::RESET`: its owner `HartCell`, and its address. In WebAssembly the one hart of a module lives in a
/// static, so that the compiler folds its address into every access (a pointer argument would cost an
/// addition each time, 15-20 % of the interpreter); natively it is boxed, so that tests and the converter can
/// have several.
macro_rules! hart_cell {
    () => {
        $crate::cpu::cell::hart_cell!(Hart, HartCell, hart_ptr);
    };
    ($hart:ident, $cell:ident, $ptr:ident) => {
        #[cfg(target_family = "wasm")]
        mod cell {
            use super::$hart;
            use core::sync::atomic::{AtomicBool, Ordering};

            pub(crate) static mut HART: $hart = $hart::RESET;
            static TAKEN: AtomicBool = AtomicBool::new(false);

            /// Owner of the module's one hart.
            pub struct $cell(());

            impl $cell {
                pub(crate) fn new() -> Self {
                    assert!(!TAKEN.swap(true, Ordering::Relaxed), "a module holds one hart");
                    $cell(())
                }
            }

            impl core::ops::Deref for $cell {
                type Target = $hart;
                fn deref(&self) -> &$hart {
                    let hart = &raw const HART;
                    // SAFETY: there is one owner, so borrows of it are borrows of the static.
                    unsafe { &*hart }
                }
            }

            impl core::ops::DerefMut for $cell {
                fn deref_mut(&mut self) -> &mut $hart {
                    let hart = &raw mut HART;
                    // SAFETY: as above.
                    unsafe { &mut *hart }
                }
            }
        }

        #[cfg(not(target_family = "wasm"))]
        mod cell {
            use super::$hart;

            /// Owner of a hart.
            pub struct $cell(Box<$hart>);

            // SAFETY: the pointers in a hart lead to what it owns, or to what moves with it: the block cache,
            // and the tables that are set for the duration of a run.
            unsafe impl Send for $cell {}

            impl $cell {
                pub(crate) fn new() -> Self {
                    $cell(Box::new($hart::RESET))
                }
            }

            impl core::ops::Deref for $cell {
                type Target = $hart;
                fn deref(&self) -> &$hart {
                    &self.0
                }
            }

            impl core::ops::DerefMut for $cell {
                fn deref_mut(&mut self) -> &mut $hart {
                    &mut self.0
                }
            }
        }

        pub use cell::$cell;

        /// The processor's address: a constant in WebAssembly, whatever `hart` is.
        #[inline(always)]
        pub(crate) fn $ptr(hart: &mut $hart) -> *mut $hart {
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
