//! Addresses that are folded into lifted code.

use super::VERSION;

/// Words that a guest has for its own state.
pub const GUEST_WORDS: usize = 24;

/// Addresses of a guest's own state: each is relative to the CPU until [`Layout::decode`].
pub type State = [u64; GUEST_WORDS];

/// The fields of [`Layout`] from one list: `address` is relative to the CPU until [`Layout::decode`],
/// `constant` is not.
macro_rules! layout {
    ($($(#[$doc:meta])* $kind:ident $field:ident,)*) => {
        /// Addresses that are folded into lifted code, in bytes. Natively they are host addresses, in
        /// WebAssembly addresses in linear memory. The runtime tells them ([`Layout::EXPORT`]), so that
        /// nobody has to know how it was compiled.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct Layout {
            $($(#[$doc])* pub $field: u64,)*
            /// What belongs to the guest architecture: see its `State`.
            pub state: State,
        }

        impl Layout {
            /// Number of words of a layout.
            pub const WORDS: usize = [$(stringify!($field)),*].len() + GUEST_WORDS;

            /// The layout as words.
            pub const fn to_words(self) -> [u64; Self::WORDS] {
                let own = [$(self.$field),*];
                let mut words = [0; Self::WORDS];
                let mut n = 0;
                while n < Self::WORDS {
                    words[n] = if n < own.len() { own[n] } else { self.state[n - own.len()] };
                    n += 1;
                }
                words
            }

            /// The layout from words.
            pub fn from_words(words: [u64; Self::WORDS]) -> Self {
                let [$($field,)* state @ ..] = words;
                Layout { $($field,)* state }
            }

            /// The layout of the CPU at `cpu`, from that of a CPU at 0.
            pub fn at(mut self, cpu: u64) -> Self {
                $(layout!(@$kind self.$field, cpu);)*
                self.state = self.state.map(|address| address.wrapping_add(cpu));
                self
            }
        }
    };
    (@address $place:expr, $cpu:expr) => {
        $place = $place.wrapping_add($cpu)
    };
    (@constant $place:expr, $cpu:expr) => {};
}

layout! {
    /// [`VERSION`].
    constant version,
    /// The guest's ELF machine number ([`Guest::machine`](super::Guest::machine)).
    constant machine,
    /// The CPU, which helpers get as their first argument where [`Layout::pass_cpu`] is 1.
    address cpu,
    /// Program counter: where to go on after a helper asked to leave.
    address pc,
    /// Instructions that may still be executed, signed.
    address left,
    /// Instruction TLB of the first mode; those of the others follow it in the order of their numbers.
    address itlb,
    /// Number of entries of an instruction TLB, a power of two.
    constant itlb_entries,
    /// Size of an entry, a power of two.
    constant itlb_entry_size,
    /// Offset of the tag (8 bytes: the page's virtual address) in an entry.
    constant itlb_tag,
    /// Offset of the content's number (4 bytes; [`Page::content`](super::Page::content)) in an entry.
    constant itlb_content,
    /// Offset of the pointer to the page's table of entry points in an entry.
    constant itlb_lifted,
    /// Read table of the data TLB for user mode; the write table follows it.
    constant dtlb_user,
    /// Where the CPU keeps the address of the read table for kernel mode that is in force.
    address dtlb_kernel,
    /// Number of entries of each table of the data TLB, a power of two.
    constant dtlb_entries,
    /// Address of guest RAM.
    constant ram,
    /// Size of guest RAM.
    constant ram_len,
    /// Physical address of guest RAM.
    constant ram_base,
    /// Whether helpers take the CPU as their first argument.
    constant pass_cpu,
    /// Size of a pointer: 4 or 8.
    constant pointer,
}

/// A guest's own state from one list: a struct of addresses that goes to and from [`State`].
macro_rules! state {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Addresses of the guest's own state, as [`Layout::state`](super::Layout::state) holds them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct State {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl State {
            /// As words; the rest is 0.
            pub const fn to_words(self) -> super::State {
                let own = [$(self.$field),*];
                let mut words = [0; super::GUEST_WORDS];
                let mut n = 0;
                while n < own.len() {
                    words[n] = own[n];
                    n += 1;
                }
                words
            }

            /// From [`State::to_words`].
            pub const fn from_words(words: super::State) -> Self {
                let [$($field,)* ..] = words;
                State { $($field),* }
            }
        }
    };
}
pub(super) use state;

/// What a runtime in WebAssembly exports under [`Layout::EXPORT`]: its layout, little-endian.
#[repr(C)]
pub struct Exported<P> {
    /// The layout for a CPU at address 0. What the packer decides is 0: where RAM and the data TLB are.
    pub words: [u64; Layout::WORDS],
    /// The CPU's address.
    pub cpu: P,
}

impl Layout {
    /// Name of the runtime's exported global that holds the address of its [`Exported`].
    pub const EXPORT: &'static str = "forelift_layout";
    /// Size of [`Exported`] in WebAssembly without padding, in bytes.
    pub const SIZE: usize = Self::WORDS * 8 + 4;

    /// Reads an [`Exported`]. `None`: too short, or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |w, &b| w << 8 | u64::from(b));
        let (words, cpu) = bytes.get(..Self::SIZE)?.split_at(Self::WORDS * 8);
        let mut layout = [0; Self::WORDS];
        for (word, chunk) in layout.iter_mut().zip(words.chunks_exact(8)) {
            *word = number(chunk);
        }
        let layout = Self::from_words(layout).at(number(cpu));
        (layout.version == u64::from(VERSION)).then_some(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{rv64, x86};
    use super::*;
    use alloc::vec::Vec;

    extern crate alloc;

    fn counting() -> [u64; Layout::WORDS] {
        let mut words = [0; Layout::WORDS];
        words.iter_mut().enumerate().for_each(|(n, word)| *word = 1000 + n as u64);
        words[0] = VERSION.into();
        words
    }

    #[test]
    fn words_and_fields_are_the_same() {
        assert_eq!(Layout::from_words(counting()).to_words(), counting());
        let state: State = core::array::from_fn(|n| if n < 10 { n as u64 + 1 } else { 0 });
        assert_eq!(rv64::State::from_words(state).to_words(), state);
        let state: State = core::array::from_fn(|n| if n < 7 { n as u64 + 1 } else { 0 });
        assert_eq!(x86::State::from_words(state).to_words(), state);
    }

    #[test]
    fn what_is_relative_is_moved_to_the_cpu() {
        let mut bytes: Vec<u8> = counting().iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(0x1_0000u32.to_le_bytes());
        let layout = Layout::decode(&bytes).unwrap();
        let still = Layout::from_words(counting());
        for (moved, still) in
            [(layout.cpu, still.cpu), (layout.left, still.left), (layout.dtlb_kernel, still.dtlb_kernel)]
        {
            assert_eq!(moved, still + 0x1_0000);
        }
        assert!(layout.state.iter().zip(still.state).all(|(moved, still)| *moved == still + 0x1_0000));
        for (now, before) in [(layout.ram, still.ram), (layout.itlb_tag, still.itlb_tag)] {
            assert_eq!(now, before);
        }
        assert_eq!(Layout::decode(&bytes[1..]), None, "too short");
        bytes[0] ^= 1;
        assert_eq!(Layout::decode(&bytes), None, "another version");
    }
}
