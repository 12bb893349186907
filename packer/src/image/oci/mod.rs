//! OCI images (image-spec 1.1) and docker's (image-spec v1.2, `docker save`): from the index to the laid-out
//! tree.

mod select;
mod spec;
mod survey;

pub(crate) use spec::Descriptor;

/// The configuration of a plain root file system.
pub(crate) fn plain_image() -> ImageFile {
    ImageFile::plain()
}

use super::{
    ImageError, LoadOptions, LoadedImage, Progress, Tree, elf,
    layer::Builder,
    store::Store,
    stream::{self, Codec, Hasher, Stored, Unpacked},
    tar::Archive,
};
use serde::de::DeserializeOwned;
use spec::{DockerArchive, Document, ImageFile, Manifest};
use std::io::Read;
use survey::Survey;

/// Longest index, manifest or configuration in bytes.
const MAX_DOCUMENT: u64 = 16 << 20;
/// Most indexes within indexes.
const MAX_INDEXES: usize = 8;

/// Reads a document whole, within bounds.
fn read_document(reader: impl Read, place: &str) -> Result<Vec<u8>, ImageError> {
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

fn json<T: DeserializeOwned>(data: &[u8], place: &str) -> Result<T, ImageError> {
    serde_json::from_slice(data).map_err(|source| ImageError::Json { place: place.into(), source })
}

fn check_digest_form(digest: &str, place: &str) -> Result<Hasher, ImageError> {
    Hasher::of(digest).ok_or_else(|| ImageError::Unsupported {
        place: place.into(),
        problem: format!(
            "`{}` is no digest that can be verified: sha256 and sha512 are known",
            super::error::show(digest.as_bytes())
        ),
    })
}

/// Reads a document by its descriptor and verifies it.
fn fetch(
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

fn verify(
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

/// Loads an image from a layout, whatever holds it.
pub(crate) fn load_layout(
    name: String,
    store: &mut dyn Store,
    tag: Option<&str>,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<LoadedImage, ImageError> {
    let index = match store.file("index.json")? {
        Some(reader) => read_document(reader, &format!("{name}: index.json"))?,
        None => {
            let problem = "index.json is missing: this is no OCI layout".into();
            return Err(ImageError::Missing { place: name, problem });
        }
    };
    load_document(name, store, &index, tag, options, progress)
}

/// Loads an image from what skopeo's `dir:` transport wrote.
pub(crate) fn load_transport(
    name: String,
    store: &mut dyn Store,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<LoadedImage, ImageError> {
    let Some(reader) = store.file("manifest.json")? else {
        let problem = "manifest.json is missing: the image is incomplete; export it again".into();
        return Err(ImageError::Missing { place: name, problem });
    };
    let manifest = read_document(reader, &format!("{name}: manifest.json"))?;
    let mut image = load_document(name, store, &manifest, None, options, progress)?;
    let notice = format!("{}: an image of skopeo's `dir:` format, not a root file system", image.source);
    image.warnings.insert(0, notice);
    Ok(image)
}

/// Loads the image that an index or manifest describes.
pub(crate) fn load_document(
    name: String,
    store: &mut dyn Store,
    document: &[u8],
    tag: Option<&str>,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<LoadedImage, ImageError> {
    let mut data = document.to_vec();
    let mut tag = tag;
    for _ in 0..MAX_INDEXES {
        match json(&data, &name)? {
            Document { manifests: Some(manifests), .. } => {
                let mut survey = Survey::new(store, &name, progress);
                let images = survey.images(&manifests)?;
                let arch = options.arch.as_deref();
                let chosen =
                    select::choose(images, tag.take(), arch, &name, &mut |image| survey.probe(image))?;
                data = fetch(store, &chosen, true, &name, progress)?;
            }
            Document { config: Some(config), layers: Some(layers), artifact_type, .. } => {
                let manifest = Manifest { config, layers, artifact_type };
                return load_manifest(name, store, &manifest, options, progress);
            }
            _ => {
                let problem =
                    "neither an image index nor an image manifest of schema 2: push or export it with a \
                               current tool"
                        .into();
                return Err(ImageError::Unsupported { place: name, problem });
            }
        }
    }
    let problem = format!("more than {MAX_INDEXES} image indexes within each other");
    Err(ImageError::Unsupported { place: name, problem })
}

fn load_manifest(
    name: String,
    store: &mut dyn Store,
    manifest: &Manifest,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<LoadedImage, ImageError> {
    select::check_config_type(manifest, &name)?;
    let config = fetch(store, &manifest.config, false, &name, progress)?;
    let image = select::image_file(manifest, &config, &name)?;
    for layer in &manifest.layers {
        select::check_layer_type(layer, &name)?;
    }
    let claimed = select::check_platform(&image, options.arch.as_deref(), &name)?;
    let diff_ids = image.diff_ids(manifest.layers.len(), &name)?;
    let mut builder = Builder::new(Tree::new(options.spool_dir.as_deref())?, options.limits);
    let count = manifest.layers.len();
    let mut archive_bytes = 0;
    for (i, (layer, diff_id)) in manifest.layers.iter().zip(diff_ids).enumerate() {
        let place = format!("{name}: layer {}/{count} {}", i + 1, layer.digest);
        check_digest_form(&layer.digest, &place)?;
        let reader = store.blob(layer, false, &place, progress)?;
        progress.stage(&format!("layer {}/{count}", i + 1), Some(layer.size));
        let told = Some((&layer.digest[..], layer.size));
        archive_bytes += apply(&mut builder, reader, &place, told, diff_id, options, progress)?;
    }
    let digest = manifest.config.digest.clone();
    elf::finish(builder, LoadedParts { name, digest, image, claimed, layers: count, archive_bytes }, options)
}

/// What is known of an image besides its tree.
pub(crate) struct LoadedParts {
    pub(crate) name: String,
    pub(crate) digest: String,
    pub(crate) image: ImageFile,
    /// Architecture that the image claims.
    pub(crate) claimed: Option<String>,
    pub(crate) layers: usize,
    pub(crate) archive_bytes: u64,
}

/// Lays a layer over what is there, and verifies all that is known about it; gives its stored size.
fn apply(
    builder: &mut Builder,
    reader: Box<dyn Read + '_>,
    place: &str,
    told: Option<(&str, u64)>,
    diff_id: &str,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<u64, ImageError> {
    let io = |source| ImageError::Io { action: "cannot be read", path: place.into(), source };
    // One byte more than told is enough to notice that there are more.
    let reader: Box<dyn Read + '_> = match told {
        Some((_, size)) => Box::new(reader.take(size.saturating_add(1))),
        None => reader,
    };
    let hasher = told.and_then(|(digest, _)| Hasher::of(digest));
    let stored = Stored::new(reader, hasher, progress);
    let outcome = unpack(builder, stored.clone(), place, told, diff_id, options);
    // Whatever went wrong in the archive: when its digest is wrong, that is the reason to tell.
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
    let fault = |offset| move |source: std::io::Error| super::tar::Fault::Io(offset, source).at(place);
    let (codec, reader) = stream::decompress(stored).map_err(fault(0))?;
    // An uncompressed layer has one digest by both names: it need not be computed twice.
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

/// Loads an image from what `docker save` wrote.
pub(crate) fn load_docker_archive(
    name: String,
    store: &mut dyn Store,
    reference: Option<&str>,
    options: &LoadOptions,
    progress: &mut dyn Progress,
) -> Result<LoadedImage, ImageError> {
    let lost = |what: &str| ImageError::Missing {
        place: name.clone(),
        problem: format!("`{what}` is missing in the archive: export the image again"),
    };
    let place = format!("{name}: manifest.json");
    let list = read_document(store.file("manifest.json")?.ok_or_else(|| lost("manifest.json"))?, &place)?;
    let images: Vec<DockerArchive> = json(&list, &place)?;
    let chosen = select::choose_saved(&images, reference, &name)?;
    let config = store.file(&chosen.config)?.ok_or_else(|| lost(&chosen.config))?;
    let config = read_document(config, &format!("{name}: {}", chosen.config))?;
    let image: ImageFile = json(&config, &format!("{name}: {}", chosen.config))?;
    let claimed = select::check_platform(&image, options.arch.as_deref(), &name)?;
    let count = chosen.layers.len();
    let diff_ids = image.diff_ids(count, &name)?;
    let mut builder = Builder::new(Tree::new(options.spool_dir.as_deref())?, options.limits);
    let mut archive_bytes = 0;
    for (i, (layer, diff_id)) in chosen.layers.iter().zip(diff_ids).enumerate() {
        let place = format!("{name}: layer {}/{count} {layer}", i + 1);
        let reader = store.file(layer)?.ok_or_else(|| lost(layer))?;
        progress.stage(&format!("layer {}/{count}", i + 1), None);
        archive_bytes += apply(&mut builder, reader, &place, None, diff_id, options, progress)?;
    }
    // A docker archive names its configuration by its digest, but nothing depends on the name being right.
    let digest = stream::digest_of(&format!("sha256:{}", "0".repeat(64)), &config).unwrap_or_default();
    elf::finish(builder, LoadedParts { name, digest, image, claimed, layers: count, archive_bytes }, options)
}
