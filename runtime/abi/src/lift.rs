//! The contract between lifted code and the runtime: where the hart's state is, how lifted functions are
//! called, and how the runtime finds them by the contents of a page.
//!
//! # A lifted function
//! `f(va, value, depth) -> next`: runs from the guest virtual address `va`, which is the function's entry
//! point number `value >> FUNCTION_BITS`; the lower bits are the function's own number, or [`UNTOLD`]. All
//! architectural state is in the [`Hart`](Layout)'s memory when it is called and when it returns; the
//! instruction budget is the hart's `left`. `next` is where the guest goes on:
//!
//! * even: the function ran a return instruction to this address, and whoever called it compares that with
//!   the address it called from;
//! * odd: everybody returns to the dispatcher, which goes on at `next & !1`.
//!
//! `depth` bounds the nesting of calls. A WebAssembly frame is nothing but a cached return address.
//!
//! # Found by content
//! Lifted code belongs to a page's contents, not to its address: [`page_hash`] names them. The runtime hashes
//! a page when it is first executed and looks it up in the [`Index`].

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

extern crate alloc;

/// Version of everything in this module, of lifted code and of what it expects from the runtime.
pub const VERSION: u32 = 3;

/// Number of words of [`Layout`].
const WORDS: usize = 31;

macro_rules! layout {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Addresses that are folded into lifted code, in bytes. Natively they are host addresses, in
        /// WebAssembly addresses in linear memory. The runtime tells them ([`Layout::EXPORT`]), so that
        /// nobody has to know how it was compiled.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct Layout {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Layout {
            /// The layout as words.
            pub const fn to_words(self) -> [u64; WORDS] {
                [$(self.$field),*]
            }

            /// The layout from words.
            pub fn from_words(words: [u64; WORDS]) -> Self {
                let [$($field),*] = words;
                Layout { $($field),* }
            }
        }
    };
}

layout! {
    /// [`VERSION`].
    version,
    /// Integer registers, 8 bytes each.
    x,
    /// Floating-point registers, 8 bytes each.
    f,
    /// Program counter: where to go on after a helper asked to leave.
    pc,
    /// Instructions that may still be executed, signed.
    left,
    /// Accrued exception flags, one byte; the rounding mode is the next byte.
    fflags,
    /// `sstatus.FS`, one byte.
    fs,
    /// Reservation of `lr`: a physical address.
    reservation,
    /// Instruction TLB for U mode.
    itlb_user,
    /// Instruction TLB for S mode.
    itlb_supervisor,
    /// Number of entries of an instruction TLB, a power of two.
    itlb_entries,
    /// Size of an entry, a power of two.
    itlb_entry_size,
    /// Offset of the tag (8 bytes: the page's virtual address) in an entry.
    itlb_tag,
    /// Offset of the content's number (4 bytes; [`Page::content`]) in an entry.
    itlb_content,
    /// Read table of the data TLB for U mode; the write table follows it.
    dtlb_user,
    /// Where the hart keeps the address of the read table for S mode that is in force.
    dtlb_supervisor,
    /// Number of entries of each table of the data TLB, a power of two.
    dtlb_entries,
    /// Address of guest RAM.
    ram,
    /// Size of guest RAM.
    ram_len,
    /// Physical address of guest RAM.
    ram_base,
    /// The hart, which helpers get as their first argument where [`Layout::pass_hart`] is 1.
    hart,
    /// Whether helpers take the hart as their first argument.
    pass_hart,
    /// Size of a pointer: 4 or 8.
    pointer,
    /// Offset of the pointer to the table of lifted code in an entry of the instruction TLB.
    itlb_lifted,
    /// Start of the table of functions (pointers), natively; 0 in WebAssembly, whose table is the module's.
    functions,
    /// Privilege in force, one byte.
    privilege,
    /// `sscratch`, `sepc`, `scause` and `stval`, 8 bytes each.
    sscratch,
    /// See [`Layout::sscratch`].
    sepc,
    /// See [`Layout::sscratch`].
    scause,
    /// See [`Layout::sscratch`].
    stval,
    /// `sstatus.SIE`, one byte.
    sie_enabled,
}

/// What a runtime in WebAssembly exports under [`Layout::EXPORT`]: its layout, little-endian.
#[repr(C)]
pub struct Exported<P> {
    /// The layout for a hart at address 0. What the packer decides (addresses of RAM and of the data TLB) is 0.
    pub words: [u64; WORDS],
    /// The hart's address.
    pub hart: P,
}

impl Layout {
    /// Name of the runtime's exported global that holds the address of its [`Exported`].
    pub const EXPORT: &'static str = "forelift_layout";
    /// Size of [`Exported`] in WebAssembly without padding, in bytes.
    pub const SIZE: usize = WORDS * 8 + 4;

    /// Reads an [`Exported`]. `None`: too short, or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |w, &b| w << 8 | u64::from(b));
        let (words, hart) = bytes.get(..Self::SIZE)?.split_at(WORDS * 8);
        let mut layout = [0; WORDS];
        for (word, chunk) in layout.iter_mut().zip(words.chunks_exact(8)) {
            *word = number(chunk);
        }
        let mut layout = Self::from_words(layout);
        let hart = number(hart);
        let addresses = [
            &mut layout.x,
            &mut layout.f,
            &mut layout.pc,
            &mut layout.left,
            &mut layout.fflags,
            &mut layout.fs,
            &mut layout.reservation,
            &mut layout.itlb_user,
            &mut layout.itlb_supervisor,
            &mut layout.dtlb_supervisor,
            &mut layout.hart,
            &mut layout.functions,
            &mut layout.privilege,
            &mut layout.sscratch,
            &mut layout.sepc,
            &mut layout.scause,
            &mut layout.stval,
            &mut layout.sie_enabled,
        ];
        for address in addresses {
            *address = address.wrapping_add(hart);
        }
        (layout.version == u64::from(VERSION)).then_some(layout)
    }
}

/// Entries that each table of the data TLB has for RAM of `ram_len` bytes: they must reach over twice the RAM
/// (see `runtime/src/cpu/tlb.rs`).
pub const fn dtlb_entries(ram_len: u64) -> u64 {
    ram_len.next_power_of_two() * 2 / super::layout::PAGE_SIZE
}

/// Bytes that the data TLB takes for RAM of `ram_len` bytes: read and write tables for U mode, S mode, and S
/// mode with SUM.
pub const fn dtlb_bytes(ram_len: u64) -> u64 {
    dtlb_entries(ram_len) * 8 * 6
}

/// Functions of the runtime that lifted code calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u32)]
pub enum Helper {
    /// `(va: i64, depth: i32) -> i64`: calls the lifted function at `va`, or returns `va | 1` when there is
    /// none.
    Dispatch = 0,
    /// `(pc: i64, insn: i32, left: i64) -> i32`: executes a Zicsr instruction. `left` is the budget before
    /// it. Not 0: leave; `pc` and `left` are set.
    Csr = 1,
    /// `(op: i32, a: i64, b: i64, c: i64) -> i64`: a floating-point operation on register values; `op` is the
    /// position of the operation in the table, and 256 times the rounding mode, which must be valid (7: the
    /// dynamic one).
    Float = 2,
    /// `(a: f64, b: f64, c: f64) -> f64`: `a * b + c`, rounded once, by the dynamic rounding mode, which must
    /// be valid.
    Fma = 3,
    /// `(pc: i64, depth: i32) -> i64`: executes `ecall` of U mode, and the lifted code of its handler. 0: the
    /// guest is behind the instruction, in U mode; else what the function returns. The budget is the hart's
    /// `left`.
    Ecall = 4,
    /// `() -> i64`: executes `sret` in S mode; what the function returns. It has been counted.
    Sret = 5,
    /// `(clear: i64) -> i64`: reads `sstatus` in S mode and clears these bits of it.
    Status = 6,
}

impl Helper {
    /// All, in the order of their numbers.
    pub const ALL: [Helper; 7] = [
        Helper::Dispatch,
        Helper::Csr,
        Helper::Float,
        Helper::Fma,
        Helper::Ecall,
        Helper::Sret,
        Helper::Status,
    ];

    /// Name under which the runtime exports it.
    pub fn export(self) -> &'static str {
        match self {
            Helper::Dispatch => "forelift_dispatch",
            Helper::Csr => "forelift_csr",
            Helper::Float => "forelift_float",
            Helper::Fma => "forelift_fma",
            Helper::Ecall => "forelift_ecall",
            Helper::Sret => "forelift_sret",
            Helper::Status => "forelift_status",
        }
    }
}

/// Deepest nesting of lifted functions.
pub const MAX_DEPTH: u32 = 128;
/// Bits of an entry's value that hold the function's number; the number of the entry point is above them.
pub const FUNCTION_BITS: u32 = 20;

/// The value of a call that goes directly to a function's first entry point, without knowing the function's
/// number.
pub const UNTOLD: u32 = (1 << FUNCTION_BITS) - 1;

/// The name of a page's contents: XXH3, 128 bits. A guest that finds a collision deceives only itself.
pub fn page_hash(page: &[u8]) -> u128 {
    twox_hash::XxHash3_128::oneshot(page)
}

/// Lifted code of one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// [`page_hash`] of its contents.
    pub hash: u128,
    /// 0: U mode, 1: S mode.
    pub privilege: u8,
    /// Number that lifted code knows these contents by; never 0.
    pub content: u32,
    /// Entry points: byte offset in the page; number of the function and of its entry point (see
    /// [`FUNCTION_BITS`]). In WebAssembly a function's number is its index in the module's table.
    pub entries: Vec<(u16, u32)>,
}

/// All lifted code of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// [`VERSION`].
    pub version: u32,
    /// Pages, sorted by hash and privilege.
    pub pages: Vec<Page>,
    /// Functions there are: first number, count.
    pub functions: (u32, u32),
}

impl Index {
    /// Whether the index is consistent: sorted, with entry points inside their page and functions in range.
    pub fn is_valid(&self) -> bool {
        let key = |p: &Page| (p.hash, p.privilege);
        let (first, count) = self.functions;
        self.version == VERSION
            && self.pages.windows(2).all(|w| key(&w[0]) < key(&w[1]))
            && self.pages.iter().all(|p| {
                p.privilege < 2
                    && p.content != 0
                    && p.entries.iter().all(|&(offset, value)| {
                        let number = value & ((1 << FUNCTION_BITS) - 1);
                        offset < 4096 && offset % 2 == 0 && number.wrapping_sub(first) < count && value != 0
                    })
            })
    }

    /// The page with these contents.
    pub fn find(&self, hash: u128, privilege: u8) -> Option<&Page> {
        let at = self.pages.binary_search_by_key(&(hash, privilege), |p| (p.hash, p.privilege)).ok()?;
        self.pages.get(at)
    }
}
