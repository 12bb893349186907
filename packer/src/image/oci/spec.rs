//! The JSON documents of an image: the fields that are used here (image-spec: *descriptor.md*,
//! *image-index.md*, *manifest.md*, *config.md*).

use crate::image::ImageError;
use forelift_abi::config::ContainerConfig;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Points to a blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    pub(crate) platform: Option<Platform>,
}

impl Descriptor {
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    pub(crate) variant: Option<String>,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let os = if self.os.is_empty() { "linux" } else { &self.os };
        write!(f, "{os}/{}", self.architecture)?;
        match self.variant.as_deref() {
            None | Some("") => Ok(()),
            Some(variant) => write!(f, "/{variant}"),
        }
    }
}

/// An index or a manifest: told by its fields, because `mediaType` is optional in both.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    pub(crate) manifests: Option<Vec<Descriptor>>,
    pub(crate) config: Option<Descriptor>,
    pub(crate) layers: Option<Vec<Descriptor>>,
    pub(crate) artifact_type: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    /// Of an artifact, what it is.
    pub(crate) artifact_type: Option<String>,
}

/// An image of a `docker save` archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerArchive {
    pub(crate) config: String,
    pub(crate) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) layers: Vec<String>,
}

/// An image configuration.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ImageFile {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    variant: Option<String>,
    config: Option<Settings>,
    rootfs: Option<RootFs>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

type Keys = Option<BTreeMap<String, serde::de::IgnoredAny>>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
    volumes: Keys,
    exposed_ports: Keys,
    labels: Option<BTreeMap<String, String>>,
}

fn keys(map: Keys) -> Vec<String> {
    map.unwrap_or_default().into_keys().collect()
}

impl ImageFile {
    /// The configuration of a plain root file system.
    pub(crate) fn plain() -> Self {
        let settings = Settings { cmd: Some(vec!["/bin/sh".into()]), ..Settings::default() };
        ImageFile { config: Some(settings), ..ImageFile::default() }
    }

    /// Whether it lists layers, which the configuration of an artifact does not.
    pub(crate) fn has_files(&self) -> bool {
        self.rootfs.as_ref().is_some_and(|r| r.diff_ids.is_some())
    }

    /// The platform that it claims.
    pub(crate) fn platform(&self) -> Platform {
        let (architecture, os) = (self.architecture.clone(), self.os.clone());
        Platform { architecture, os, variant: self.variant.clone() }
    }

    /// Digests of the unpacked layers, one each.
    pub(crate) fn diff_ids(&self, layers: usize, place: &str) -> Result<Vec<&str>, ImageError> {
        let ids = self.rootfs.as_ref().and_then(|r| r.diff_ids.as_deref()).unwrap_or_default();
        if ids.len() == layers {
            return Ok(ids.iter().map(String::as_str).collect());
        }
        Err(ImageError::Missing {
            place: place.into(),
            problem: format!(
                "the configuration has digests for {} layers, the image has {layers}: build or export it again",
                ids.len()
            ),
        })
    }

    /// The container's defaults. Maps are sorted, so that equal configurations are equal.
    pub(crate) fn container(self) -> ContainerConfig {
        let settings = self.config.unwrap_or_default();
        ContainerConfig {
            entrypoint: settings.entrypoint.unwrap_or_default(),
            cmd: settings.cmd.unwrap_or_default(),
            env: settings.env.unwrap_or_default(),
            working_dir: settings.working_dir.unwrap_or_default(),
            user: settings.user.unwrap_or_default(),
            stop_signal: settings.stop_signal.unwrap_or_default(),
            volumes: keys(settings.volumes),
            exposed_ports: keys(settings.exposed_ports),
            labels: settings.labels.unwrap_or_default().into_iter().collect(),
        }
    }
}
