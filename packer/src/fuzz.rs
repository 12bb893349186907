//! Entry points for fuzzing that cross several modules.

use crate::{
    erofs,
    image::{
        Limits, Tree,
        layer::Builder,
        stream::{self, Unpacked},
        tar::Archive,
    },
};

/// Lays `data`, an archive in any compression, over an empty tree.
pub fn layer(data: &[u8]) {
    let limits = Limits { total_bytes: 16 << 20, entries: 10_000, metadata_bytes: 4 << 20 };
    let Ok(tree) = Tree::new(None) else { return };
    let mut builder = Builder::new(tree, limits);
    let Ok((_, reader)) = stream::decompress(data) else { return };
    let unpacked = Unpacked::new(reader, None, limits.archive_bytes());
    let mut archive = Archive::new(unpacked);
    if builder.apply(&mut archive, "fuzz", true).is_ok() {
        // A layer that was accepted must leave a sound tree: the writer relies on it.
        let _ = builder.tree.digest();
        let _ = erofs::Volume::new(&builder.tree, &erofs::Options::default())
            .map(|volume| volume.write_to(&mut std::io::sink(), &mut ()));
    }
}
