//! OCI images (image-spec 1.1) and docker's (image-spec v1.2, `docker save`): from the index to the tree of
//! files.
//!
//! * `spec`, `document`: JSON documents, parsed and verified;
//! * `survey`, `select`: the images that an index names, and which one is taken;
//! * `layers`: its layers, verified and applied in order.

mod document;
mod layers;
mod select;
pub(super) mod spec;
mod survey;

use super::{
    ImageError, LoadOptions, LoadedImage, Progress, Tree,
    layer::Builder,
    loaded::{self, LoadedParts},
    store::Store,
    stream,
};
use document::{MAX_INDEXES, check_digest_form, fetch, json, read_document};
use layers::apply;
use spec::{DockerArchive, Document, ImageFile, Manifest};
use survey::Survey;

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
    loaded::finish(
        builder,
        LoadedParts { name, digest, image, claimed, layers: count, archive_bytes },
        options,
    )
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
    // The configuration's name in a docker archive is its digest, but nothing guarantees that: compute it.
    let digest = stream::digest_of(&format!("sha256:{}", "0".repeat(64)), &config).unwrap_or_default();
    loaded::finish(
        builder,
        LoadedParts { name, digest, image, claimed, layers: count, archive_bytes },
        options,
    )
}
