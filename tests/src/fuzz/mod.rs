//! What the fuzz targets run. The targets themselves (`tests/fuzz`, cargo-fuzz, nightly) only hand their
//! bytes over; the ordinary test `fuzz_regression` runs the same functions over a corpus and over bytes made
//! by [`generate`].
//!
//! Every function panics when something is wrong, and returns otherwise.

pub mod frames;
pub mod generate;
pub mod virtqueues;

use forelift_abi::{
    config::ImageConfig,
    control::{self, ToGuest, ToHost},
    header::{self, ImageHeader, checksum},
};
use forelift_runtime::{
    dev::{Devices, fuse},
    memory::GuestMemory,
    snapshot::{self, MachineState},
};

/// A fuzz target's name and body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets, by the names that their files in `tests/fuzz/fuzz_targets` have.
pub const TARGETS: [Target; 8] = [
    ("layer", layer),
    ("fuse", fuse),
    ("virtqueues", virtqueues::run),
    ("snapshot", snapshot_state),
    ("image_header", image_header),
    ("control", control_messages),
    ("gateway", gateway),
    ("frames", frames::run),
];

/// An archive, in any compression, as a layer over an empty tree; what is taken is written as a file system.
pub fn layer(data: &[u8]) {
    forelift::fuzz::layer(data);
}

/// A session with the server of host directories.
pub fn fuse(data: &[u8]) {
    fuse::fuzz::fuzz_one(data);
}

/// The network gateway between a hostile guest and sockets in memory.
pub fn gateway(data: &[u8]) {
    forelift_net::testing::fuzz(data);
}

/// A snapshot's body in an envelope that only a right checksum opens: a fuzzer would never guess it.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut out = snapshot::MAGIC.to_vec();
    out.extend(snapshot::VERSION.to_le_bytes());
    out.extend((body.len() as u32).to_le_bytes());
    out.extend(checksum(body).to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// The bytes as a snapshot, and as the body of one.
pub fn snapshot_state(data: &[u8]) {
    let _ = MachineState::decode(data);
    let Ok(state) = MachineState::decode(&sealed(data)) else { return };
    // postcard takes some numbers in more than one spelling; the second encoding is the last.
    let again = state.encode();
    assert_eq!(
        MachineState::decode(&again).ok().as_ref(),
        Some(&state),
        "a state that was decoded does not survive"
    );
    let Ok(memory) = GuestMemory::new(1 << 20, None) else { return };
    if let Ok(devices) = Devices::restore(state.devices, &memory) {
        let saved = devices.save();
        let restored = Devices::restore(saved.clone(), &memory).map(|d| d.save());
        assert_eq!(restored.ok(), Some(saved), "save, restore, save differ");
    }
}

/// The bytes as an image header, as they are and with a right checksum; and as a configuration.
pub fn image_header(data: &[u8]) {
    let _ = ImageHeader::parse(data, 1 << 32);
    let mut block = [0; header::SIZE];
    let len = data.len().min(header::SIZE - 12);
    block[..8].copy_from_slice(&header::MAGIC);
    block[8..12].copy_from_slice(&header::VERSION.to_le_bytes());
    block[12..12 + len].copy_from_slice(&data[..len]);
    // The checksum follows six parts of 16 bytes.
    const BODY: usize = 16 + 6 * 16;
    let sum = checksum(&block[..BODY]);
    block[BODY..BODY + 8].copy_from_slice(&sum.to_le_bytes());
    if let Ok(parsed) = ImageHeader::parse(&block, 1 << 32) {
        for span in [parsed.ram, parsed.root, parsed.state, parsed.config, parsed.kernel, parsed.initrd] {
            assert!(span.end() <= 1 << 32, "a part outside of memory was let through");
        }
        assert_eq!(ImageHeader::parse(&parsed.encode(), 1 << 32), Ok(parsed));
    }
    let _ = postcard::from_bytes::<ImageConfig>(data);
}

/// The bytes as a stream of control messages, for each side.
pub fn control_messages(data: &[u8]) {
    let mut stream = data.to_vec();
    while let Ok(Some(message)) = control::take::<ToHost>(&mut stream) {
        let mut again = control::encode(&message);
        assert_eq!(control::take::<ToHost>(&mut again), Ok(Some(message)));
    }
    let mut stream = data.to_vec();
    while let Ok(Some(message)) = control::take::<ToGuest>(&mut stream) {
        let mut again = control::encode(&message);
        assert_eq!(control::take::<ToGuest>(&mut again), Ok(Some(message)));
    }
}
