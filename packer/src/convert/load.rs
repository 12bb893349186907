//! The container image, and the platform that its module is made for.

use std::path::Path;

use super::ConvertError;
use crate::{
    image::{self, LoadOptions, LoadedImage},
    pack::output::beside,
    platform::Platform,
    progress::Stages,
};

/// Loads an image and shows its warnings. Its spool file is beside `output`.
///
/// # Errors
/// [`ConvertError::Image`].
pub fn load(
    image: &str,
    platform: Option<Platform>,
    output: &Path,
    stages: &mut Stages,
) -> Result<LoadedImage, ConvertError> {
    let options = LoadOptions {
        arch: platform.map(|platform| platform.oci_arch().into()),
        spool_dir: Some(beside(output).to_path_buf()),
        ..LoadOptions::default()
    };
    let loaded = image::load(image, &options, stages)?;
    stages.end();
    for warning in &loaded.warnings {
        stages.warn(warning);
    }
    Ok(loaded)
}

/// The platform of an image for the architecture `found` (its OCI name). A root file system without programs
/// has none: it is as good for one platform as for another.
///
/// # Errors
/// When it is not the one that was asked for, or no machine here runs it.
pub fn platform(image: &str, found: Option<&str>, asked: Option<Platform>) -> Result<Platform, ConvertError> {
    let Some(found) = found else { return Ok(asked.unwrap_or(Platform::ALL[0])) };
    match (Platform::of(found), asked) {
        (Some(platform), asked) if asked.is_none_or(|asked| asked == platform) => Ok(platform),
        (_, Some(asked)) => {
            Err(ConvertError::OtherPlatform { image: image.into(), found: found.into(), asked })
        }
        (_, None) => Err(ConvertError::NoMachine { image: image.into(), found: found.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_is_the_images_own() {
        assert_eq!(platform("i", None, None).unwrap(), Platform::ALL[0]);
        assert_eq!(platform("i", None, Some(Platform::I386)).unwrap(), Platform::I386);
        assert_eq!(platform("i", Some("amd64"), None).unwrap(), Platform::Amd64);
        assert_eq!(platform("i", Some("amd64"), Some(Platform::Amd64)).unwrap(), Platform::Amd64);
        let error = platform("i", Some("amd64"), Some(Platform::Arm64)).unwrap_err();
        assert_eq!(error.to_string(), "i: the image is for amd64, not for linux/arm64: choose another image");
        let error = platform("i", Some("s390x"), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "i: the image is for s390x, which cannot be run: choose an image for riscv64, amd64, 386, arm64"
        );
    }
}
