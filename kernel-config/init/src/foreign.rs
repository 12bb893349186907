//! Programs of another architecture: an image whose programs the processor does not know brings an
//! interpreter, which the kernel starts in their stead (Documentation/admin-guide/binfmt-misc.rst).

use crate::{failure::*, sys};
use forelift_abi::config::ARM64_INTERPRETER;
use std::{fs, path::Path};

/// Where binfmt_misc stays mounted: its last mount takes all registrations with it.
pub(crate) const REGISTRY: &str = "/binfmt";

/// An arm64 program: the first 20 bytes of an ELF header (64 bits, little-endian, of Linux or of any system;
/// program or shared object; machine 183), and which of their bits count. Escaped, as the kernel reads it.
const MAGIC: &str = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
const MASK: &str = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";

/// `P`: the program's own `argv[0]` is passed on. `O`: the kernel opens the program and passes a descriptor.
/// `C`: the program's set-user-id bit counts, not the interpreter's. `F`: the interpreter is opened now, so
/// that it is found inside of the container, which does not see it.
const FLAGS: &str = "POCF";

/// Registers the interpreter below `lower`, the image's mount point, if there is one, and hides it from the
/// overlay whose upper directory is `upper`.
pub(crate) fn enable(lower: &str, upper: &str) -> Result<(), Failure> {
    let interpreter = format!("{lower}/{ARM64_INTERPRETER}");
    if !Path::new(&interpreter).exists() {
        return Ok(());
    }
    sys::mount("binfmt", REGISTRY, "binfmt_misc", sys::KERNEL_FS, "").context("cannot mount binfmt_misc")?;
    fs::write(format!("{REGISTRY}/register"), format!(":arm64:M:0:{MAGIC}:{MASK}:{interpreter}:{FLAGS}"))
        .context("cannot register the interpreter of arm64 programs")?;
    // A whiteout (Documentation/filesystems/overlayfs.rst).
    sys::mknod(format!("{upper}/{ARM64_INTERPRETER}"), libc::S_IFCHR, sys::device(0, 0))
        .context("cannot hide the interpreter of arm64 programs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_and_mask_are_of_one_length_and_fit() {
        let bytes = |text: &str| {
            let hex = text.matches(r"\x").count();
            hex + text.len() - hex * 4
        };
        assert_eq!((bytes(MAGIC), bytes(MASK)), (20, 20));
        // binfmt_misc: MAX_REGISTER_LENGTH.
        assert!(MAGIC.len() + MASK.len() + ARM64_INTERPRETER.len() < 1000);
    }
}
