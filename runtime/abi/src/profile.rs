//! What a training run learns, and the translator is given: pages of guest code with counts.

use crate::lift::Mode;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

extern crate alloc;

/// A page of guest code as a training run saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Its contents, [`PAGE_SIZE`](crate::layout::PAGE_SIZE) bytes.
    pub bytes: Vec<u8>,
    /// The mode that it was executed in.
    pub mode: Mode,
    /// Where it was mapped last, for people.
    pub va: u64,
    /// Position in the same list of the page that was mapped after it.
    pub next: Option<usize>,
    /// Executions of the instruction at each byte.
    pub counts: Vec<u32>,
    /// Arrivals at each byte from other pages or by jumps to a register's value.
    pub indirect: Vec<u32>,
    /// Pages further away that control went to from this one: distance in pages, and position in the same
    /// list.
    pub links: Vec<(i32, usize)>,
}
