//! Kinds of predecoded entries, and the facts about each that the decoder needs: expanded from the
//! [table](super::table).

use super::flags::{AF, ARITHMETIC, CF, OF, PF, SF, ZF, cc};
use super::table::fast_path;

/// Classes of operands, by which the table selects kinds. Registers and memory have their size in bits.
///
/// Where the operand is in the [`Entry`](super::entry::Entry): a register in `d` if it is the instruction's
/// first operand, in `s` if it is the second (the only operand is in both); memory in `base`, `index`,
/// `scale` and `disp`; an immediate or the page offset of a jump's target in `imm`. The number of a condition
/// is in `imm`, or in `s` where that is a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operand {
    /// There is none.
    None,
    /// Anything that the fast path does not know.
    Other,
    R8,
    R16,
    R32,
    R64,
    /// An XMM register.
    X,
    /// An address that is not accessed (`lea`).
    M,
    M8,
    M16,
    M32,
    M64,
    M128,
    I8,
    I16,
    I32,
    /// An immediate of 64 bits that sign extension makes of 32.
    I64,
    /// Another one of 64 bits: its upper half is in `disp`.
    Wide,
    /// A shift's count or the number of a bit, an immediate: at least 1, less than the first operand's size.
    Count,
    /// The same, but 0.
    Zero,
    /// A jump's target, outside of 64-bit mode.
    Rel32,
    /// A jump's target, in 64-bit mode.
    Rel64,
}

impl Operand {
    /// Whether an access may need the instruction's family: a fault, a device, SSE switched off.
    const fn faults(self) -> bool {
        matches!(self, Operand::M8 | Operand::M16 | Operand::M32 | Operand::M64 | Operand::M128 | Operand::X)
    }
}

/// The form of the lazy flags after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// As before.
    Kept,
    /// Those of a subtraction.
    Sub,
    /// Those of a logical operation.
    Logic,
    /// Any.
    Other,
}

/// Where control goes after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// To the next instruction.
    Next,
    /// There, or to a target.
    Branch,
    /// Somewhere else: the block ends.
    End,
}

/// What the decoder knows of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Arithmetic flags that it reads, and those that it may leave as they are although it writes them.
    pub(super) reads: u64,
    /// Arithmetic flags that it writes.
    pub(super) writes: u64,
    pub(super) leaves: Leaves,
    pub(super) then: Then,
    /// It may leave its work to the instruction's family, which can look at everything.
    pub(super) faults: bool,
}

// Sets of flags, in the table's words.
const NONE: u64 = 0;
const CARRY: u64 = CF;
const CARRY_OVERFLOW: u64 = CF | OF;
const NOT_CARRY: u64 = PF | AF | ZF | SF | OF;
const ALL: u64 = ARITHMETIC;

// Whether entries of a group may need their family, in the table's words: if an operand is in memory or in an
// XMM register, or in any case.
const BY_OPERAND: bool = false;
const ALWAYS: bool = true;

/// Whether a row's operands are ones that may need the family.
macro_rules! form_faults {
    (any) => {
        false
    };
    ([$($($operand:ident)|+),*]) => {
        false $($(|| Operand::$operand.faults())+)*
    };
}

macro_rules! kinds {
    ($e:ident $h:ident;
        internal { $($(#[$internal_doc:meta])* $internal:ident: $internal_then:ident => $_internal:expr;)* }
        selected { $(
            reads $reads:ident, writes $writes:ident, leaves $leaves:ident, then $then:ident,
            faults $faults:ident { $(
                $(#[$doc:meta])*
                $name:ident: $($mnemonic:ident)|+, $($form:tt)|+ $(where $($code:ident)|+)? => $_body:expr;
            )* }
        )* }
        jumps { $(after $known:ident { $($jump:ident: $($jump_cc:ident)|+ => $_jump:expr;)* })* }
        fused { $($first:ident { $($fused:ident: $($fused_cc:ident)|+ => $_fused:expr;)* })* }
        quiet { $($quiet:ident: $loud:ident => $_quiet:expr;)* }
    ) => {
        /// Kinds of entry: the operations of the interpreter.
        #[allow(missing_docs, reason = "the names are the manual's mnemonics; the exceptions are documented")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Kind {
            $($(#[$internal_doc])* $internal,)*
            $($($(#[$doc])* $name,)*)*
            $($($jump,)*)*
            $($($fused,)*)*
            $($quiet,)*
        }

        impl Kind {
            /// All of them, in their order.
            pub(super) const ALL: &[Kind] = &[
                $(Kind::$internal,)*
                $($(Kind::$name,)*)*
                $($(Kind::$jump,)*)*
                $($(Kind::$fused,)*)*
                $(Kind::$quiet,)*
            ];

            const fn find_facts(self) -> Facts {
                match self {
                    // The decoder treats these by themselves.
                    $(Kind::$internal => Facts {
                        reads: ALL,
                        writes: NONE,
                        leaves: Leaves::Other,
                        then: Then::$internal_then,
                        faults: true,
                    },)*
                    $($(Kind::$name => Facts {
                        reads: $reads,
                        writes: $writes,
                        leaves: Leaves::$leaves,
                        then: Then::$then,
                        faults: $faults $(|| form_faults!($form))+,
                    },)*)*
                    $($(Kind::$jump => Kind::Jcc.find_facts(),)*)*
                    $($(Kind::$fused => Facts { then: Then::Branch, ..Kind::$first.find_facts() },)*)*
                    $(Kind::$quiet => Facts {
                        writes: NONE,
                        leaves: Leaves::Kept,
                        ..Kind::$loud.find_facts()
                    },)*
                }
            }

            /// The one entry for this comparison and a conditional jump after it.
            pub(super) fn fused(self, condition: u8) -> Option<Kind> {
                match (self, condition) {
                    $($((Kind::$first, $(cc::$fused_cc)|+) => Some(Kind::$fused),)*)*
                    _ => None,
                }
            }

            /// What does the same, but leaves the flags alone.
            pub(super) fn quiet(self) -> Option<Kind> {
                match self {
                    $(Kind::$loud => Some(Kind::$quiet),)*
                    _ => None,
                }
            }
        }

        impl Leaves {
            /// The conditional jump for flags of this form; `None`: the general one.
            pub(super) fn jump(self, condition: u8) -> Option<Kind> {
                match (self, condition) {
                    $($((Leaves::$known, $(cc::$jump_cc)|+) => Some(Kind::$jump),)*)*
                    _ => None,
                }
            }
        }
    };
}
fast_path!(kinds);

static FACTS: [Facts; Kind::ALL.len()] = {
    let mut facts = [Kind::Family.find_facts(); Kind::ALL.len()];
    let mut n = 0;
    while n < facts.len() {
        facts[n] = Kind::ALL[n].find_facts();
        n += 1;
    }
    facts
};

impl Kind {
    /// What the decoder knows of the kind.
    #[inline]
    pub(super) fn facts(self) -> &'static Facts {
        &FACTS[self as usize]
    }

    /// Whether the entry charges the budget for the block up to and with itself.
    #[inline]
    pub(super) fn is_branch(self) -> bool {
        self.facts().then != Then::Next
    }
}
