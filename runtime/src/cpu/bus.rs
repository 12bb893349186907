//! What the processors of this build need from the rest of the machine, together.

#[cfg(feature = "riscv64")]
use super::rv64;
#[cfg(feature = "x86_64")]
use super::x86;

/// The buses of all guests that this build has.
#[cfg(all(feature = "riscv64", feature = "x86_64"))]
pub trait Bus: rv64::Bus + x86::Bus {}
#[cfg(all(feature = "riscv64", feature = "x86_64"))]
impl<B: rv64::Bus + x86::Bus> Bus for B {}

/// The buses of all guests that this build has.
#[cfg(all(feature = "riscv64", not(feature = "x86_64")))]
pub trait Bus: rv64::Bus {}
#[cfg(all(feature = "riscv64", not(feature = "x86_64")))]
impl<B: rv64::Bus> Bus for B {}

/// The buses of all guests that this build has.
#[cfg(not(feature = "riscv64"))]
pub trait Bus: x86::Bus {}
#[cfg(not(feature = "riscv64"))]
impl<B: x86::Bus> Bus for B {}
