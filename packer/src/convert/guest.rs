//! The guest as data, before it runs: the container image, what the installation adds to it, and the
//! configuration that the module carries.

use forelift_abi::config::{ARM64_INTERPRETER, ImageConfig};
use sha2::{Digest, Sha256};

use super::{
    ConvertError, Options,
    installed::Installed,
    load::{load, platform},
};
use crate::{boot, image::LoadedImage, progress::Stages};

/// See the module's documentation.
pub struct Guest {
    /// The container image.
    pub loaded: LoadedImage,
    /// Emulator, kernel and init.
    pub installed: Installed,
    /// The configuration.
    pub config: ImageConfig,
    /// The same, encoded.
    pub encoded: Vec<u8>,
}

impl Guest {
    /// Loads the container image. `installed` is what the installation adds, if the platform is known before.
    ///
    /// # Errors
    /// When the image cannot be loaded or run, or the installation lacks what it needs.
    pub fn gather(
        options: &Options,
        installed: Option<Installed>,
        stages: &mut Stages,
    ) -> Result<Self, ConvertError> {
        let mut loaded = load(&options.image, options.platform, &options.output, stages)?;
        let platform = platform(&loaded.source, loaded.arch.as_deref(), options.platform)?;
        let installed = match installed {
            Some(installed) => installed,
            None => Installed::find(platform, options.kernel.as_deref(), options.memory, options.component)?,
        };
        if let Some(interpreter) = &installed.interpreter {
            loaded.tree.add_program(ARM64_INTERPRETER, &interpreter.bytes)?;
            stages.warn(
                "programs of linux/arm64 are run by qemu-aarch64 inside of an amd64 guest: this is slow",
            );
        }
        let mut cmdline = boot::default_cmdline(installed.arch).to_string();
        if let Some(more) = &options.append {
            cmdline = format!("{cmdline} {more}").trim().to_string();
        }
        let config = ImageConfig {
            arch: installed.arch,
            name: options.image.clone(),
            container: loaded.config.clone(),
            hostname: hostname(&loaded.digest),
            cmdline,
        };
        let encoded = postcard::to_allocvec(&config)
            .map_err(|source| ConvertError::Encode { what: "the image's configuration", source })?;
        Ok(Guest { loaded, installed, config, encoded })
    }

    /// Digests of all that the root file system is made of.
    pub fn root_digest(&self) -> String {
        match &self.installed.interpreter {
            Some(interpreter) => format!("{} {:x}", self.loaded.digest, Sha256::digest(&interpreter.bytes)),
            None => self.loaded.digest.clone(),
        }
    }
}

/// A host name from the image's digest, as short as docker's.
fn hostname(digest: &str) -> String {
    let hex: String = digest.rsplit(':').next().unwrap_or("").chars().take(12).collect();
    if hex.is_empty() { "forelift".into() } else { hex }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        assert_eq!(hostname("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(hostname(""), "forelift");
    }
}
