//! What the contract leaves to each guest architecture.

use serde::{Deserialize, Serialize};

/// How code of a guest is executed: the same bytes mean different things in different modes, and reach other
/// memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Mode {
    /// Programs: U mode of riscv64, privilege level 3 of x86_64 in 64-bit code.
    User = 0,
    /// The kernel: S mode of riscv64, privilege level 0 of x86_64.
    Kernel = 1,
    /// Programs in x86_64's compatibility mode: 32-bit code.
    Compat = 2,
}

impl Mode {
    /// Whether code in this mode sees the kernel's memory.
    pub const fn is_kernel(self) -> bool {
        matches!(self, Mode::Kernel)
    }

    /// From its number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Mode::User),
            1 => Some(Mode::Kernel),
            2 => Some(Mode::Compat),
            _ => None,
        }
    }
}

/// How an address of the guest's code is told from the same address with "return to the dispatcher".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Code lies at even addresses: bit 0.
    LowBit,
    /// Code may lie anywhere, at canonical addresses: bit 62 is flipped, so that it differs from bit 63. A
    /// return to an address that is not canonical must not be given as `next`: it is left to the interpreter.
    NonCanonical,
}

impl Tag {
    const FLIPPED: u64 = 1 << 62;

    /// `va` with the tag.
    #[inline(always)]
    pub const fn set(self, va: u64) -> u64 {
        match self {
            Tag::LowBit => va | 1,
            Tag::NonCanonical => va ^ Self::FLIPPED,
        }
    }

    /// Whether `next` has the tag.
    #[inline(always)]
    pub const fn is_set(self, next: u64) -> bool {
        match self {
            Tag::LowBit => next & 1 != 0,
            Tag::NonCanonical => (next ^ next << 1) >> 63 != 0,
        }
    }

    /// The address in `next`, with or without the tag.
    #[inline(always)]
    pub const fn address(self, next: u64) -> u64 {
        match self {
            Tag::LowBit => next & !1,
            Tag::NonCanonical if self.is_set(next) => next ^ Self::FLIPPED,
            Tag::NonCanonical => next,
        }
    }
}

/// Types of what helpers take and give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A binary64 number.
    F64,
}

/// A function of the runtime that lifted code calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelperSpec {
    /// Name under which a runtime in WebAssembly exports it.
    pub export: &'static str,
    /// Parameters, after the CPU where [`Layout::pass_cpu`](super::Layout::pass_cpu) is 1.
    pub params: &'static [Value],
    /// Result.
    pub result: Value,
}

/// Number of the helper that every guest has, its first one, `(va: i64, depth: i32) -> i64`: calls the lifted
/// function at `va`, or returns `va` with the tag when there is none.
pub const DISPATCH: u32 = 0;

/// A guest's helpers from one list: an enum, its numbers, and what [`Guest::helpers`] says.
macro_rules! helpers {
    ($($(#[$doc:meta])* $name:ident = $export:literal ($($param:ident),*) -> $result:ident;)*) => {
        /// Functions of the runtime that lifted code calls, by their numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Helper {
            $($(#[$doc])* $name,)*
        }

        impl Helper {
            /// All, in the order of their numbers.
            pub const ALL: &'static [Helper] = &[$(Helper::$name),*];
            /// What each one takes and gives, in the same order.
            pub const SPECS: &'static [$crate::lift::HelperSpec] = &[$($crate::lift::HelperSpec {
                export: $export,
                params: &[$($crate::lift::Value::$param),*],
                result: $crate::lift::Value::$result,
            }),*];

            /// Its number.
            pub const fn number(self) -> u32 {
                self as u32
            }
        }
    };
}
pub(super) use helpers;

/// A guest architecture, as far as the contract is concerned.
#[derive(Debug)]
pub struct Guest {
    /// Its ELF machine number, which names it in a [`Layout`](super::Layout).
    pub machine: u16,
    /// How `next` is tagged.
    pub tag: Tag,
    /// Alignment of code in bytes: 1 or 2. A page's table of entry points has an entry for each place where
    /// an instruction can begin.
    pub code_align: u16,
    /// The modes whose code can be lifted.
    pub modes: &'static [Mode],
    /// The helpers by number; the first one is [`DISPATCH`].
    pub helpers: &'static [HelperSpec],
}

impl Guest {
    /// Number of entries of a page's table of entry points.
    pub const fn entries(&self) -> usize {
        crate::layout::PAGE_SIZE as usize / self.code_align as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Arch;

    #[test]
    fn tags_are_told_from_addresses() {
        let addresses = [0, 2, 0x1_0000, 0x7fff_ffff_fffe, 0xffff_8000_0000_0000, 0xffff_ffff_ffff_fffe];
        for tag in [Tag::LowBit, Tag::NonCanonical] {
            for va in addresses {
                let odd = va | u64::from(tag == Tag::NonCanonical);
                for va in [va, odd] {
                    assert!(!tag.is_set(va) && tag.is_set(tag.set(va)), "{tag:?} {va:#x}");
                    assert_eq!((tag.address(va), tag.address(tag.set(va))), (va, va), "{tag:?}");
                }
            }
        }
    }

    #[test]
    fn every_guest_begins_with_the_dispatcher() {
        for arch in Arch::ALL {
            let guest = Guest::of(arch);
            let dispatch = guest.helpers[DISPATCH as usize];
            assert_eq!((dispatch.params, dispatch.result), (&[Value::I64, Value::I32][..], Value::I64));
            assert_eq!(guest.entries() * usize::from(guest.code_align), 4096);
            assert!(guest.modes.iter().all(|&mode| Mode::from_number(mode as u8) == Some(mode)));
        }
    }
}
