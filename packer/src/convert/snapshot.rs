//! The machine's state when the guest is ready to exec: what every start of the module resumes.

use super::{ConvertError, guest::Guest, root::Root};
use crate::{
    boot::{self, Snapshot},
    progress::Stages,
};

/// Boots `guest` with the root file system `root`.
///
/// # Errors
/// When the guest does not get ready.
pub fn boot(guest: &Guest, root: &Root, stages: &mut Stages) -> Result<Snapshot, ConvertError> {
    stages.begin("booting the guest", None);
    // This second mapping goes to the machine.
    let root = root.map_again().map_err(ConvertError::MapRoot)?;
    let Guest { installed, config, .. } = guest;
    let ram_len = installed.ram_len as usize;
    let snapshot =
        boot::boot_to_ready(config, &installed.kernel.bytes, &installed.initrd, ram_len, Some(root), stages)?;
    stages.end();
    Ok(snapshot)
}
