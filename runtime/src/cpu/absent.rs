//! What stands for the state of a processor that this build leaves out: a type without values. So snapshots
//! keep their form, and a match over the states needs no conditional compilation.

use forelift_abi::lift::Mode;
use serde::{Deserialize, Serialize};

/// No processor's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Absent {}

impl Absent {
    pub(super) fn instret(&self) -> u64 {
        match *self {}
    }

    pub(super) fn pc(&self) -> u64 {
        match *self {}
    }

    pub(super) fn mode(&self) -> Mode {
        match *self {}
    }

    pub(super) fn registers(&self) -> Vec<(String, u64)> {
        match *self {}
    }
}
