//! What a restored snapshot must be given before any user code runs: fresh randomness and the time.
//!
//! Every start of an image restores the same memory, hence the same generator state. In Linux 6.12
//! (drivers/char/random.c, `random_ioctl`) `RNDADDENTROPY` mixes the bytes into the input pool and credits
//! them. If the generator was not ready, the credit that completes 256 bits reseeds it (`_credit_init_bits`).
//! If it was ready, a credit changes nothing and the next reseed would come up to a minute later, so
//! `RNDRESEEDCRNG` follows: `crng_reseed` takes a new base key from the pool and raises the key's generation,
//! at which every per-CPU key and every batch of random words made from the old one (`get_random_u32` and
//! kin) is thrown away.

use crate::{failure::*, ioctl, log, sys};
use std::fs::OpenOptions;

/// Credits `bytes` and takes a new key from them.
///
/// # Errors
/// 125 when the kernel refuses the bytes: the command must not run on a predictable generator.
pub(crate) fn stir(bytes: &[u8]) -> Result<(), Failure> {
    let random = OpenOptions::new().write(true).open("/dev/urandom").context("cannot open /dev/urandom")?;
    if bytes.len() < 32 {
        log::warn(&format!("the host gave {} bytes of entropy, 32 are needed", bytes.len()));
    }
    ioctl::add_entropy(&random, bytes).context("cannot add entropy")?;
    if let Err(e) = ioctl::reseed(&random) {
        // ENODATA: too few bits so far for a first key. The kernel then waits for its own sources, which is
        // safe.
        log::warn(&format!("cannot reseed the random number generator: {}", sys::describe(&e)));
    }
    Ok(())
}

/// Sets the wall clock; 0 means that the host has none.
pub(crate) fn set_clock(realtime_ns: u64) {
    if realtime_ns == 0 {
        return;
    }
    if let Err(e) = sys::set_clock(realtime_ns) {
        log::warn(&format!("cannot set the clock: {}", sys::describe(&e)));
    }
}
