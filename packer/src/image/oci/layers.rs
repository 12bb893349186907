//! Applies an image's layers in order, each verified by its digests.

use super::document::{check_digest_form, verify};
use crate::image::{
    ImageError, LoadOptions, Progress,
    layer::Builder,
    stream::{self, Codec, Hasher, Stored, Unpacked},
    tar::{Archive, Fault},
};
use std::io::Read;

/// Applies a layer to the tree and verifies its size and digests; returns its stored size.
pub(super) fn apply(
    builder: &mut Builder,
    reader: Box<dyn Read + '_>,
    place: &str,
    told: Option<(&str, u64)>,
    diff_id: &str,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<u64, ImageError> {
    let io = |source| ImageError::Io { action: "cannot be read", path: place.into(), source };
    // One byte more than the descriptor says shows that there are more.
    let reader: Box<dyn Read + '_> = match told {
        Some((_, size)) => Box::new(reader.take(size.saturating_add(1))),
        None => reader,
    };
    let hasher = told.and_then(|(digest, _)| Hasher::of(digest));
    let stored = Stored::new(reader, hasher, progress);
    let outcome = unpack(builder, stored.clone(), place, told, diff_id, options);
    // Whatever went wrong in the archive: if its digest is wrong, that is the error to report.
    let worth = !matches!(
        &outcome,
        Err(ImageError::Bomb { .. } | ImageError::TooLarge { .. } | ImageError::Spool { .. })
    );
    if worth {
        let (bytes, digest) = stored.finish().map_err(io)?;
        verify(place, told, bytes, || digest)?;
        outcome?;
        return Ok(bytes);
    }
    outcome.map(|()| 0)
}

fn unpack(
    builder: &mut Builder,
    stored: Stored<'_>,
    place: &str,
    told: Option<(&str, u64)>,
    diff_id: &str,
    options: &LoadOptions,
) -> Result<(), ImageError> {
    let expected = check_digest_form(diff_id, place)?;
    let fault = |offset| move |source: std::io::Error| Fault::Io(offset, source).at(place);
    let (codec, reader) = stream::decompress(stored).map_err(fault(0))?;
    // Both digests of an uncompressed layer are the same: it is computed once.
    let same = codec == Codec::None && told.is_some_and(|(digest, _)| digest == diff_id);
    let hasher = (!same).then_some(expected);
    let mut archive = Archive::new(Unpacked::new(reader, hasher, options.limits.archive_bytes()));
    builder.apply(&mut archive, place, true)?;
    let offset = archive.offset();
    match archive.into_inner().finish().map_err(fault(offset))? {
        Some(hasher) if !stream::is_archive(hasher.clone(), diff_id) => Err(ImageError::Digest {
            place: format!("{place}, unpacked"),
            expected: diff_id.into(),
            found: hasher.finish(),
        }),
        _ => Ok(()),
    }
}
