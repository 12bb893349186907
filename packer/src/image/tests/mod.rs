//! Tests of loading: layers, image formats, hostile input, special archives.

mod choice;
mod differential;
mod formats;
mod hostile;
mod layering;
mod makers;
mod marks;
mod special;
