//! Open windows, as variables.

use cranelift_frontend::Variable;

/// Variables of an open window. Places are offsets in RAM.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    /// Place of the window's beginning.
    pub(super) low: Variable,
    /// In programs, if it has more than one granule.
    pub(super) two: Option<TwoPages>,
}

#[derive(Clone, Copy)]
pub(super) struct TwoPages {
    /// Where the window would begin if its first page lay before its last one.
    pub(super) low: Variable,
    /// Distance from the window's beginning to the last page.
    pub(super) split: Variable,
}
