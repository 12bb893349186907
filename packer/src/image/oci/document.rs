//! Reading an image's JSON documents: by name or by descriptor, within bounds, verified.

use super::spec::Descriptor;
use crate::image::{
    ImageError, Progress,
    error::show,
    store::Store,
    stream::{self, Hasher},
};
use serde::de::DeserializeOwned;
use std::io::Read;

/// Longest index, manifest or configuration in bytes.
const MAX_DOCUMENT: u64 = 16 << 20;
/// Most indexes within indexes.
pub(super) const MAX_INDEXES: usize = 8;

/// Reads a document whole, within bounds.
pub(super) fn read_document(reader: impl Read, place: &str) -> Result<Vec<u8>, ImageError> {
    let mut data = Vec::new();
    reader.take(MAX_DOCUMENT + 1).read_to_end(&mut data).map_err(|source| ImageError::Io {
        action: "cannot be read",
        path: place.into(),
        source,
    })?;
    if data.len() as u64 > MAX_DOCUMENT {
        let problem = format!("a document of more than {MAX_DOCUMENT} bytes: this is no image");
        return Err(ImageError::Unsupported { place: place.into(), problem });
    }
    Ok(data)
}

pub(super) fn json<T: DeserializeOwned>(data: &[u8], place: &str) -> Result<T, ImageError> {
    serde_json::from_slice(data).map_err(|source| ImageError::Json { place: place.into(), source })
}

pub(super) fn check_digest_form(digest: &str, place: &str) -> Result<Hasher, ImageError> {
    Hasher::of(digest).ok_or_else(|| ImageError::Unsupported {
        place: place.into(),
        problem: format!(
            "`{}` is no digest that can be verified: sha256 and sha512 are known",
            show(digest.as_bytes())
        ),
    })
}

/// Reads a document by its descriptor and verifies it.
pub(super) fn fetch(
    store: &mut dyn Store,
    descriptor: &Descriptor,
    manifest: bool,
    place: &str,
    progress: &mut dyn Progress,
) -> Result<Vec<u8>, ImageError> {
    let place = format!("{place}: {}", descriptor.digest);
    check_digest_form(&descriptor.digest, &place)?;
    let data = read_document(store.blob(descriptor, manifest, &place, progress)?, &place)?;
    verify(&place, Some((&descriptor.digest, descriptor.size)), data.len() as u64, || {
        stream::digest_of(&descriptor.digest, &data)
    })?;
    Ok(data)
}

pub(super) fn verify(
    place: &str,
    told: Option<(&str, u64)>,
    bytes: u64,
    digest: impl FnOnce() -> Option<String>,
) -> Result<(), ImageError> {
    let Some((expected, size)) = told else { return Ok(()) };
    if bytes != size {
        return Err(ImageError::Size { place: place.into(), expected: size, found: bytes });
    }
    match digest() {
        Some(found) if found != expected => {
            Err(ImageError::Digest { place: place.into(), expected: expected.into(), found })
        }
        _ => Ok(()),
    }
}
