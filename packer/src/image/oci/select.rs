//! Which image of several is taken, by tag and platform; and whether it is a container image at all.

use super::{
    document::json,
    spec::{Descriptor, DockerArchive, ImageFile, Manifest, Platform as Claimed},
    survey::{Candidate, Probe},
};
use crate::{
    image::{ImageError, error::show},
    platform::Platform,
};
use std::collections::BTreeSet;

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(20);
    names.truncate(20);
    let list = names.join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}

/// Whether an image is meant by a name, a tag, or its manifest's digest.
fn has_name(candidate: &Candidate, wanted: &str) -> bool {
    let tag = |name: &str| name.rsplit_once(':').is_some_and(|(_, tag)| tag == wanted);
    candidate.descriptor.digest == wanted
        || candidate
            .names
            .iter()
            .any(|name| name == wanted || with_tag(name) == with_tag(wanted) || tag(name))
}

/// Whether every processor of the architecture will do.
fn is_for_all(platform: &Claimed) -> bool {
    platform.variant.as_deref().is_none_or(|variant| matches!(variant, "" | "v1" | "v8"))
}

fn is_for(candidate: &Candidate, wanted: &str) -> bool {
    let fits = |p: &Claimed| p.architecture == wanted && matches!(&p.os[..], "linux" | "");
    candidate.platform.as_ref().is_none_or(fits)
}

fn platforms<'a>(images: impl Iterator<Item = &'a Candidate>) -> String {
    listed(images.map(|c| c.platform.as_ref().map_or("an unknown platform".to_owned(), Claimed::to_string)))
}

/// Chooses from what an index names. `probe` is asked only when there is a choice.
pub(super) fn choose(
    mut images: Vec<Candidate>,
    tag: Option<&str>,
    arch: Option<&str>,
    place: &str,
    probe: &mut dyn FnMut(&Descriptor) -> Probe,
) -> Result<Descriptor, ImageError> {
    let missing = |problem: String| ImageError::Missing { place: place.into(), problem };
    if let Some(tag) = tag {
        let names = listed(images.iter().filter_map(|c| c.names.first().cloned()));
        images.retain(|c| has_name(c, tag));
        if images.is_empty() {
            return Err(missing(match &names[..] {
                "" => format!("no image has the tag `{tag}`, nor any other: leave the tag away"),
                _ => format!("no image has the tag `{tag}`; there are: {names}"),
            }));
        }
    }
    if images.len() > 1 {
        // Several names of one image, and artifacts, are no choice.
        let mut seen = BTreeSet::new();
        images.retain_mut(|c| {
            let platform = c.platform.as_ref().map(Claimed::to_string);
            seen.insert((c.descriptor.digest.clone(), platform)) && settle(c, probe)
        });
    }
    match images.len() {
        0 => return Err(missing("the index names no image".into())),
        1 => return Ok(images.swap_remove(0).descriptor),
        _ => {}
    }
    let mut absent = None;
    let wanted = arch.map_or(Platform::ALL.map(Platform::oci_arch).to_vec(), |arch| vec![arch]);
    for arch in wanted {
        if let Some(image) = choose_for(arch, &images, &mut absent, place, probe)? {
            return Ok(image.descriptor.clone());
        }
    }
    let problem = refusal(&images, arch, absent, probe);
    Err(ImageError::WrongArch { place: place.into(), problem })
}

/// The image for an architecture, if there is one and all of it is there; `absent` keeps the first blob that
/// is not.
fn choose_for<'a>(
    arch: &str,
    images: &'a [Candidate],
    absent: &mut Option<String>,
    place: &str,
    probe: &mut dyn FnMut(&Descriptor) -> Probe,
) -> Result<Option<&'a Candidate>, ImageError> {
    let mut fitting: Vec<&Candidate> = images.iter().filter(|c| is_for(c, arch)).collect();
    // The image for all processors of the architecture comes before one for newer processors.
    fitting.sort_by_key(|c| !c.platform.as_ref().is_some_and(is_for_all));
    fitting.retain(|c| match probe(&c.descriptor) {
        Probe::Absent(digest) => {
            absent.get_or_insert(digest);
            false
        }
        _ => true,
    });
    let Some(&first) = fitting.first() else { return Ok(None) };
    if fitting.len() > 1 && fitting.iter().any(|c| !c.described || c.names != first.names) {
        let names = listed(fitting.iter().map(|c| c.names.first().unwrap_or(&c.descriptor.digest).clone()));
        let problem = format!("there are several images: append a tag (`:TAG`), of: {names}");
        return Err(ImageError::Missing { place: place.into(), problem });
    }
    Ok(Some(first))
}

/// Finds the platform of an image whose descriptor does not have it; false for an artifact.
fn settle(candidate: &mut Candidate, probe: &mut dyn FnMut(&Descriptor) -> Probe) -> bool {
    if candidate.platform.is_some() {
        return true;
    }
    match probe(&candidate.descriptor) {
        Probe::NoImage => return false,
        Probe::Whole(platform) if !platform.architecture.is_empty() => candidate.platform = Some(platform),
        _ => {}
    }
    true
}

/// Why none of these images can be taken, and which ones there are.
fn refusal(
    images: &[Candidate],
    arch: Option<&str>,
    absent: Option<String>,
    probe: &mut dyn FnMut(&Descriptor) -> Probe,
) -> String {
    let (gone, here): (Vec<&Candidate>, Vec<&Candidate>) =
        images.iter().partition(|c| matches!(probe(&c.descriptor), Probe::Absent(_)));
    let there = match (&here[..], &gone[..]) {
        ([], _) => format!("none is there of: {}", platforms(gone.into_iter())),
        (_, []) => format!("there are: {}", platforms(here.into_iter())),
        _ => format!(
            "there are: {} (named by the index, but not there: {})",
            platforms(here.into_iter()),
            platforms(gone.into_iter())
        ),
    };
    match (arch, absent) {
        (Some(arch), None) => format!("there is no linux/{arch} image; {there}; choose with --platform"),
        (None, None) => format!("there is no image that can be converted; {there}"),
        (Some(arch), Some(digest)) => format!(
            "the linux/{arch} image is incomplete: blob {} is missing; {there}; choose with --platform, or pull and \
             export it for linux/{arch}",
            show(digest.as_bytes())
        ),
        (None, Some(digest)) => format!(
            "no image that can be converted is complete: blob {} is missing; {there}; pull and export it for one of \
             these platforms",
            show(digest.as_bytes())
        ),
    }
}

fn with_tag(reference: &str) -> String {
    // `debian` is docker.io/library/debian:latest. A name that cannot be parsed is compared as it is.
    reference.parse::<oci_client::Reference>().map_or_else(|_| reference.to_owned(), |r| r.whole())
}

/// Chooses from a `docker save` archive: by name, or by `@` and number as skopeo does.
pub(super) fn choose_saved<'a>(
    images: &'a [DockerArchive],
    reference: Option<&str>,
    place: &str,
) -> Result<&'a DockerArchive, ImageError> {
    let tags = || images.iter().flat_map(|i| i.repo_tags.as_deref().unwrap_or_default());
    let list = || listed(tags().cloned());
    let missing = |problem| ImageError::Missing { place: place.into(), problem };
    let Some(wanted) = reference else {
        return match images {
            [one] => Ok(one),
            [] => Err(missing("manifest.json names no image".into())),
            _ if list().is_empty() => Err(missing(format!(
                "there are {} images without a name: append a number (`:@0`)",
                images.len()
            ))),
            _ => {
                let problem =
                    format!("there are several images: append a name (`:NAME:TAG`), of: {}", list());
                Err(missing(problem))
            }
        };
    };
    if let Some(number) = wanted.strip_prefix('@').and_then(|n| n.parse::<usize>().ok()) {
        let none =
            || missing(format!("there is no image number {number}: there are {}, from 0", images.len()));
        return images.get(number).ok_or_else(none);
    }
    let is = |tag: &String| tag == wanted || with_tag(tag) == with_tag(wanted);
    let found = images.iter().find(|i| i.repo_tags.as_deref().unwrap_or_default().iter().any(is));
    found.ok_or_else(|| {
        missing(match &list()[..] {
            "" => format!("no image is named `{wanted}`, nor has any other a name: leave the name away"),
            names => format!("no image is named `{wanted}`; there are: {names}"),
        })
    })
}

/// The media type without parameters; upper and lower case mean the same (RFC 6838 4.2).
fn media_type(descriptor: &Descriptor) -> String {
    descriptor.media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Refuses what is no layer of files, by its type: what has the type of any archive is read, and its bytes
/// decide.
pub(super) fn check_layer_type(layer: &Descriptor, place: &str) -> Result<(), ImageError> {
    const ARCHIVES: [&str; 6] = [
        "application/octet-stream",
        "application/x-tar",
        "application/tar",
        "application/gzip",
        "application/x-gzip",
        "application/zstd",
    ];
    let kind = media_type(layer);
    let refuse = |problem| Err(ImageError::Unsupported { place: place.into(), problem });
    if kind.ends_with("+encrypted") {
        return refuse(format!(
            "layer {} is encrypted: decrypt the image first (`skopeo copy --decryption-key`)",
            layer.digest
        ));
    }
    let base = kind.split('+').next().unwrap_or_default();
    if base.is_empty()
        || ARCHIVES.contains(&base)
        || base.starts_with("application/vnd.oci.image.layer.")
        || base.starts_with("application/vnd.docker.")
    {
        return Ok(());
    }
    refuse(format!(
        "`{}` is the type of {}, which is no part of a container image that could be read here",
        show(kind.as_bytes()),
        layer.digest
    ))
}

/// The type of an empty configuration, which artifacts have.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

fn artifact(manifest: &Manifest, place: &str) -> ImageError {
    let kind = manifest.artifact_type.as_deref().unwrap_or(&manifest.config.media_type);
    ImageError::Unsupported {
        place: place.into(),
        problem: format!(
            "it is no container image but an artifact of type `{}`: only images can be converted",
            show(kind.as_bytes())
        ),
    }
}

/// Refuses a manifest whose configuration is empty.
pub(super) fn check_config_type(manifest: &Manifest, place: &str) -> Result<(), ImageError> {
    if media_type(&manifest.config) == EMPTY { Err(artifact(manifest, place)) } else { Ok(()) }
}

/// Parses a configuration. Its media type does not matter (registries and old tools have used
/// `application/octet-stream`): a configuration without layers is an artifact's.
pub(super) fn image_file(manifest: &Manifest, data: &[u8], place: &str) -> Result<ImageFile, ImageError> {
    const IMAGES: [&str; 2] =
        ["application/vnd.oci.image.config.", "application/vnd.docker.container.image."];
    let kind = media_type(&manifest.config);
    match json::<ImageFile>(data, &format!("{place}: image configuration")) {
        Ok(image) if image.has_files() => Ok(image),
        image if kind.is_empty() || IMAGES.iter().any(|known| kind.starts_with(known)) => image,
        _ => Err(artifact(manifest, place)),
    }
}

/// Checks the platform that the configuration claims; returns its architecture.
pub(super) fn check_platform(
    image: &ImageFile,
    arch: Option<&str>,
    place: &str,
) -> Result<Option<String>, ImageError> {
    if !matches!(&image.os[..], "linux" | "") {
        return Err(ImageError::WrongArch {
            place: place.into(),
            problem: format!("it is an image for `{}`, only Linux can be converted", image.os),
        });
    }
    let claimed = Some(image.architecture.clone()).filter(|a| !a.is_empty());
    match (&claimed, arch) {
        (Some(claimed), Some(arch)) if claimed != arch => Err(ImageError::WrongArch {
            place: place.into(),
            problem: format!("it is an image for {claimed}, not for {arch} as asked with --platform"),
        }),
        _ => Ok(claimed),
    }
}
