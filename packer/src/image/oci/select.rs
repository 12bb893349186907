//! Which image of several: by tag, by platform; and whether it is one at all.

use super::{
    ImageError,
    spec::{Descriptor, DockerArchive, ImageFile},
};
use crate::platform::Platform;

/// Annotation with the tag of an image in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation with the full name, as containerd and docker write it.
const FULL_NAME: &str = "io.containerd.image.name";

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(20);
    names.truncate(20);
    let list = names.join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}

/// Attestations and signatures stand in indexes beside images.
fn is_image(descriptor: &Descriptor) -> bool {
    let attestation = descriptor.annotation("vnd.docker.reference.type").is_some();
    let unknown = descriptor.platform.as_ref().is_some_and(|p| p.os == "unknown");
    !attestation && !unknown
}

fn has_tag(descriptor: &Descriptor, tag: &str) -> bool {
    let full = descriptor.annotation(FULL_NAME);
    descriptor.annotation(REF_NAME) == Some(tag)
        || full == Some(tag)
        || full.and_then(|f| f.rsplit_once(':')).is_some_and(|(_, t)| t == tag)
}

/// Whether every processor of the architecture will do.
fn is_for_all(platform: &super::spec::Platform) -> bool {
    platform.variant.as_deref().is_none_or(|variant| matches!(variant, "" | "v1" | "v8"))
}

/// Chooses from an index.
pub(super) fn choose<'a>(
    manifests: &'a [Descriptor],
    tag: Option<&str>,
    arch: Option<&str>,
    place: &str,
) -> Result<&'a Descriptor, ImageError> {
    let missing = |problem| Err(ImageError::Missing { place: place.into(), problem });
    let mut images: Vec<&Descriptor> = manifests.iter().filter(|d| is_image(d)).collect();
    if let Some(tag) = tag {
        let tags = listed(images.iter().filter_map(|d| d.annotation(REF_NAME)).map(str::to_owned));
        images.retain(|d| has_tag(d, tag));
        if images.is_empty() {
            return missing(format!("no image has the tag `{tag}`; there are: {tags}"));
        }
    }
    match images[..] {
        [] => return missing("the index names no image".into()),
        [one] => return Ok(one),
        _ => {}
    }
    let platforms = listed(images.iter().filter_map(|d| d.platform.as_ref()).map(|p| {
        let variant = p.variant.as_ref().map_or(String::new(), |v| format!("/{v}"));
        format!("{}/{}{variant}", p.os, p.architecture)
    }));
    let is_for = |d: &Descriptor, wanted: &str| {
        d.platform.as_ref().is_none_or(|p| p.architecture == wanted && (p.os == "linux" || p.os.is_empty()))
    };
    let wanted = match arch {
        Some(arch) => Some(arch),
        None => {
            Platform::ALL.map(Platform::oci_arch).into_iter().find(|a| images.iter().any(|d| is_for(d, a)))
        }
    };
    images.retain(|d| wanted.is_some_and(|wanted| is_for(d, wanted)));
    // An image for better processors of the architecture stands beside the one for all.
    images.sort_by_key(|d| !d.platform.as_ref().is_some_and(is_for_all));
    let Some(&first) = images.first() else {
        let problem = match arch {
            Some(arch) => {
                format!("there is no linux/{arch} image; there are: {platforms}; choose with --platform")
            }
            None => format!("there is no image that can be converted; there are: {platforms}"),
        };
        return Err(ImageError::WrongArch { place: place.into(), problem });
    };
    let names = |d: &Descriptor| d.annotation(FULL_NAME).or(d.annotation(REF_NAME)).map(str::to_owned);
    if images.iter().any(|d| d.platform.is_none() || names(d) != names(first)) {
        let tags = listed(images.iter().filter_map(|d| names(d)));
        return missing(format!("there are several images: append a tag (`:TAG`), of: {tags}"));
    }
    Ok(first)
}

fn with_tag(reference: &str) -> String {
    // `debian` is docker.io/library/debian:latest; what cannot be parsed can still be equal as it stands.
    reference.parse::<oci_client::Reference>().map_or_else(|_| reference.to_owned(), |r| r.whole())
}

/// Chooses from a `docker save` archive.
pub(super) fn choose_saved<'a>(
    images: &'a [DockerArchive],
    reference: Option<&str>,
    place: &str,
) -> Result<&'a DockerArchive, ImageError> {
    let tags = || images.iter().flat_map(|i| i.repo_tags.as_deref().unwrap_or_default());
    let list = || listed(tags().cloned());
    let missing = |problem| ImageError::Missing { place: place.into(), problem };
    match (reference, images) {
        (None, [one]) => Ok(one),
        (None, []) => Err(missing("manifest.json names no image".into())),
        (None, _) => {
            Err(missing(format!("there are several images: append a name (`:NAME:TAG`), of: {}", list())))
        }
        (Some(wanted), _) => {
            let is = |tag: &String| tag == wanted || with_tag(tag) == with_tag(wanted);
            let found = images.iter().find(|i| i.repo_tags.as_deref().unwrap_or_default().iter().any(is));
            found.ok_or_else(|| missing(format!("no image is named `{wanted}`; there are: {}", list())))
        }
    }
}

/// Refuses what is not an image of files: an artifact, an encrypted layer.
pub(super) fn check_media_type(part: &Descriptor, place: &str) -> Result<(), ImageError> {
    let kind = part.media_type.as_str();
    let base = kind.split('+').next().unwrap_or_default();
    let known = kind.is_empty()
        || base.starts_with("application/vnd.oci.image.")
        || base.starts_with("application/vnd.docker.")
        || base == "application/x-tar";
    if known && !kind.ends_with("+encrypted") {
        return Ok(());
    }
    Err(ImageError::Unsupported {
        place: place.into(),
        problem: format!(
            "`{}` is the type of {}, which is no part of a container image that could be read here",
            super::super::error::show(kind.as_bytes()),
            part.digest
        ),
    })
}

/// Checks the platform that the configuration claims; gives its architecture.
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
