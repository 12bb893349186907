//! Exit codes of an image and of `forelift run`, as docker's (`docker run`, section *Exit status*).

/// Forelift itself failed: a broken image, too little memory, a dead guest.
pub const FAILURE: u8 = 125;
/// The command was found and could not be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended the command.
pub const SIGNAL_BASE: u8 = 128;

/// The exit code of a command that `signal` (1-64) ended.
pub const fn from_signal(signal: u8) -> u8 {
    SIGNAL_BASE.wrapping_add(signal)
}
