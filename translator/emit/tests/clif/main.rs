//! CLIF to WebAssembly: files with their expected text, functions that are refused, random functions.

mod filetests;
mod hostile;
mod random;
mod testing;
