//! Why reading an archive stopped.

use crate::image::{ImageError, stream::TooLong};
use std::io;

/// Why the reader stopped.
pub(crate) enum Fault {
    /// The archive is wrong at this offset.
    Bad(u64, String),
    /// Reading failed.
    Io(u64, io::Error),
}

impl Fault {
    /// The error to show, `place` being the archive.
    pub(crate) fn at(self, place: &str) -> ImageError {
        let place = place.to_owned();
        match self {
            Fault::Bad(offset, problem) => ImageError::Archive { place, offset, problem },
            Fault::Io(_, e) if e.get_ref().is_some_and(|e| e.is::<TooLong>()) => {
                let limit = e.get_ref().and_then(|e| e.downcast_ref()).map_or(0, |TooLong(limit)| *limit);
                ImageError::Bomb { place, limit }
            }
            Fault::Io(offset, e) => {
                ImageError::Archive { place, offset, problem: format!("cannot be read: {e}") }
            }
        }
    }
}
