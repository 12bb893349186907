//! The platforms of container images, and the machine that runs each.

use forelift_abi::config::Arch;
use std::{fmt, str::FromStr};
use thiserror::Error;

/// A platform whose images can be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// `linux/riscv64`.
    Riscv64,
    /// `linux/amd64`.
    Amd64,
    /// `linux/arm64`: its programs are interpreted in an amd64 guest.
    Arm64,
    /// `linux/386`: an amd64 guest runs its programs as they are.
    I386,
}

/// Text that is not the name of a known platform.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no platform that can be converted: use {}", listed())]
pub struct UnknownPlatform {
    text: String,
}

fn listed() -> String {
    let names: Vec<String> = Platform::ALL.iter().map(ToString::to_string).collect();
    names.join(", ")
}

impl Platform {
    /// All of them, those that run fastest first: the order of choice when an image comes for several.
    pub const ALL: [Platform; 4] = [Platform::Riscv64, Platform::Amd64, Platform::I386, Platform::Arm64];

    /// The architecture's name in OCI image configurations (GOARCH).
    pub fn oci_arch(self) -> &'static str {
        match self {
            Platform::Riscv64 => "riscv64",
            Platform::Amd64 => "amd64",
            Platform::Arm64 => "arm64",
            Platform::I386 => "386",
        }
    }

    /// The platform of images whose configuration has this architecture.
    pub fn of(oci_arch: &str) -> Option<Self> {
        Platform::ALL.into_iter().find(|p| p.oci_arch() == oci_arch)
    }

    /// The machine that runs it.
    pub fn machine(self) -> Arch {
        match self {
            Platform::Riscv64 => Arch::Riscv64,
            Platform::Amd64 | Platform::Arm64 | Platform::I386 => Arch::X86_64,
        }
    }

    /// Whether the guest's processor cannot execute its instructions, so that its programs need an
    /// interpreter in the guest.
    pub fn is_foreign(self) -> bool {
        self == Platform::Arm64
    }

    /// Whether a container of this platform can start with a program of that architecture, without an
    /// interpreter.
    pub fn runs(self, oci_arch: &str) -> bool {
        // One processor runs both of these, and images for either contain programs of the other.
        self.oci_arch() == oci_arch
            || matches!((self, oci_arch), (Platform::Amd64, "386") | (Platform::I386, "amd64"))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.oci_arch())
    }
}

/// As docker's `--platform`: `linux/arm64`, `linux/arm64/v8`, `arm64`. Other names of an architecture are
/// accepted, too (containerd, *platforms*: `normalizeArch`).
impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, UnknownPlatform> {
        let unknown = || UnknownPlatform { text: text.into() };
        let lower = text.to_ascii_lowercase();
        let words: Vec<&str> = lower.split('/').collect();
        let (arch, variant) = match words[..] {
            [arch] | ["linux", arch] => (arch, None),
            ["linux", arch, variant] => (arch, Some(variant)),
            _ => return Err(unknown()),
        };
        let arch = match arch {
            "x86_64" | "x86-64" => "amd64",
            "i386" | "i486" | "i586" | "i686" => "386",
            "aarch64" => "arm64",
            other => other,
        };
        // A variant above the baseline may ask for instructions that the machine lacks.
        let least = match (arch, variant) {
            (_, None) => true,
            ("arm64", Some(v)) => matches!(v, "v8" | "8"),
            ("amd64", Some(v)) => v == "v1",
            _ => false,
        };
        Platform::of(arch).filter(|_| least).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_docker_takes_them() {
        for (text, platform) in [
            ("linux/riscv64", Platform::Riscv64),
            ("riscv64", Platform::Riscv64),
            ("linux/amd64", Platform::Amd64),
            ("Linux/X86_64", Platform::Amd64),
            ("linux/amd64/v1", Platform::Amd64),
            ("linux/386", Platform::I386),
            ("i386", Platform::I386),
            ("linux/arm64", Platform::Arm64),
            ("linux/arm64/v8", Platform::Arm64),
            ("aarch64", Platform::Arm64),
        ] {
            assert_eq!(text.parse(), Ok(platform), "{text}");
        }
        for text in [
            "",
            "/",
            "linux",
            "linux/",
            "windows/amd64",
            "linux/amd64/v3",
            "linux/arm64/v9",
            "linux/arm64/v8/x",
            "linux/arm/v7",
            "s390x",
            "linux/386/v1",
        ] {
            let error = text.parse::<Platform>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("linux/386"), "{error}");
        }
    }

    #[test]
    fn every_platform_has_a_machine_and_a_name() {
        for platform in Platform::ALL {
            assert_eq!(Platform::of(platform.oci_arch()), Some(platform));
            assert_eq!(platform.to_string().parse(), Ok(platform));
            assert!(platform.runs(platform.oci_arch()) && !platform.runs("s390x"));
            let foreign = !platform.runs(platform.machine().oci_name());
            assert_eq!(foreign, platform.is_foreign());
        }
        assert_eq!(Platform::of("x86_64"), None);
        assert!(
            Platform::Amd64.runs("386") && !Platform::Amd64.runs("arm64") && !Platform::Riscv64.runs("amd64")
        );
    }
}
