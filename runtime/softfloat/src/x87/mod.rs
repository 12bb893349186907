//! The double extended format of x87.

mod value;

pub use value::F80;
