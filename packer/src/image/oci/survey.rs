//! The images that an index names, nested indexes included; and which of them are there.
//!
//! An index may name more images than a layout holds: `docker save` from containerd's store writes the whole
//! index of a multi-platform image, and the blobs of the platforms that were pulled.

use super::{
    document::{MAX_INDEXES, fetch, json},
    spec::{Descriptor, Document, ImageFile, Platform},
};
use crate::image::{ImageError, Progress, error::show, store::Store};

/// Most images that indexes may name.
const MAX_IMAGES: usize = 10_000;
/// Most indexes that are read.
const MAX_DOCUMENTS: usize = 1_000;
/// Media types of image manifests.
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// Media types of indexes.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Annotation with the tag of an image in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation with the full name, as containerd and docker write it.
const FULL_NAME: &str = "io.containerd.image.name";

/// An image that an index names.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) descriptor: Descriptor,
    /// Its platform, or that of the index that names it.
    pub(super) platform: Option<Platform>,
    /// Whether the platform is from an index.
    pub(super) described: bool,
    /// Its names and tags, then those of the indexes that it is in.
    pub(super) names: Vec<String>,
}

impl Candidate {
    fn new(descriptor: &Descriptor, outer: Option<&Candidate>) -> Self {
        let own = [FULL_NAME, REF_NAME].into_iter().filter_map(|key| descriptor.annotation(key));
        let inherited = outer.iter().flat_map(|outer| &outer.names);
        let names = own.map(str::to_owned).chain(inherited.cloned()).collect();
        let platform = descriptor.platform.clone().or_else(|| outer?.platform.clone());
        Candidate { descriptor: descriptor.clone(), described: platform.is_some(), platform, names }
    }
}

/// What is known of an image before it is loaded.
pub(super) enum Probe {
    /// The store cannot say, or has it damaged: loading it will show.
    Unknown,
    /// A blob of it, by this digest, is not there.
    Absent(String),
    /// All of it is there, and it is for this platform.
    Whole(Platform),
    /// It is an artifact of another kind.
    NoImage,
}

/// Reads indexes of one store.
pub(super) struct Survey<'a> {
    pub(super) store: &'a mut dyn Store,
    pub(super) place: &'a str,
    pub(super) progress: &'a mut dyn Progress,
    documents: usize,
    found: Vec<Candidate>,
}

/// False for attestations and signatures, which indexes list next to images.
fn is_image(descriptor: &Descriptor) -> bool {
    let attestation = descriptor.annotation("vnd.docker.reference.type").is_some();
    let unknown = descriptor.platform.as_ref().is_some_and(|p| p.os == "unknown");
    !attestation && !unknown
}

impl<'a> Survey<'a> {
    pub(super) fn new(store: &'a mut dyn Store, place: &'a str, progress: &'a mut dyn Progress) -> Self {
        Survey { store, place, progress, documents: 0, found: Vec::new() }
    }

    /// All images of an index, in order.
    pub(super) fn images(&mut self, index: &[Descriptor]) -> Result<Vec<Candidate>, ImageError> {
        self.add(index, None, 1)?;
        Ok(std::mem::take(&mut self.found))
    }

    fn add(
        &mut self,
        index: &[Descriptor],
        outer: Option<&Candidate>,
        depth: usize,
    ) -> Result<(), ImageError> {
        let refuse = |problem| Err(ImageError::Unsupported { place: self.place.to_owned(), problem });
        if depth > MAX_INDEXES {
            return refuse(format!("more than {MAX_INDEXES} image indexes within each other"));
        }
        if self.documents > MAX_DOCUMENTS {
            return refuse(format!("more than {MAX_DOCUMENTS} image indexes"));
        }
        if self.found.len() + index.len() > MAX_IMAGES {
            return refuse(format!("its indexes name more than {MAX_IMAGES} images"));
        }
        for descriptor in index.iter().filter(|d| is_image(d)) {
            let candidate = Candidate::new(descriptor, outer);
            match self.nested(descriptor)? {
                Some(inner) => self.add(&inner, Some(&candidate), depth + 1)?,
                None => self.found.push(candidate),
            }
        }
        Ok(())
    }

    /// The entries of a nested index; `None` for an image, and for an index that is not there.
    fn nested(&mut self, descriptor: &Descriptor) -> Result<Option<Vec<Descriptor>>, ImageError> {
        let kind = descriptor.media_type.as_str();
        let told = INDEXES.contains(&kind);
        match self.store.has(descriptor, true) {
            Some(false) => return Ok(None),
            _ if told => {}
            // `mediaType` is optional and often wrong. A registry is not asked for each image, though.
            Some(true) if !MANIFESTS.contains(&kind) => {}
            _ => return Ok(None),
        }
        self.documents += 1;
        match self.document(descriptor) {
            Ok(document) => Ok(document.manifests),
            Err(error) if told => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn document(&mut self, descriptor: &Descriptor) -> Result<Document, ImageError> {
        let data = fetch(self.store, descriptor, true, self.place, self.progress)?;
        json(&data, &format!("{}: {}", self.place, show(descriptor.digest.as_bytes())))
    }

    /// Finds out what can be known of an image without reading its layers.
    pub(super) fn probe(&mut self, descriptor: &Descriptor) -> Probe {
        match self.store.has(descriptor, true) {
            None => return Probe::Unknown,
            Some(false) => return Probe::Absent(descriptor.digest.clone()),
            Some(true) => {}
        }
        let Ok(document) = self.document(descriptor) else { return Probe::Unknown };
        let (Some(config), Some(layers)) = (document.config, document.layers) else { return Probe::Unknown };
        for part in std::iter::once(&config).chain(&layers) {
            if self.store.has(part, false) == Some(false) {
                return Probe::Absent(part.digest.clone());
            }
        }
        let Ok(data) = fetch(self.store, &config, false, self.place, self.progress) else {
            return Probe::Unknown;
        };
        match serde_json::from_slice::<ImageFile>(&data) {
            Ok(image) if image.has_files() => Probe::Whole(image.platform()),
            _ => Probe::NoImage,
        }
    }
}
