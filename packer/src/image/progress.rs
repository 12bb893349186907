//! Progress of loading an image and of writing its root file system.

/// Is told how far a long operation is.
pub trait Progress {
    /// A new stage begins; `total` is its length in bytes, if known.
    fn stage(&mut self, name: &str, total: Option<u64>);
    /// This many more bytes are done.
    fn advance(&mut self, bytes: u64);
}

/// Ignores it.
impl Progress for () {
    fn stage(&mut self, _: &str, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
}
