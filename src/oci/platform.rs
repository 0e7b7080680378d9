//! What an image runs on: operating system, architecture, variant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform in Go's words (image-spec, image-index.md, `platform`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// GOOS: `linux`.
    pub os: String,
    /// GOARCH: `amd64`, `arm64`.
    pub architecture: String,
    /// The CPU variant: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A text that is no `OS/ARCH[/VARIANT]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {0:?}: want OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64")]
pub struct InvalidPlatform(pub String);

impl Platform {
    /// The platform this binary was built for.
    pub fn host() -> Self {
        let (architecture, variant) = normalize(std::env::consts::ARCH, None);
        Self { os: "linux".into(), architecture, variant }
    }

    /// Whether an image for `other` serves a request for `self`; an unnamed variant takes any.
    pub fn accepts(&self, other: &Self) -> bool {
        let (wanted, wanted_variant) = normalize(&self.architecture, self.variant.as_deref());
        let (offered, offered_variant) = normalize(&other.architecture, other.variant.as_deref());
        self.os == other.os
            && wanted == offered
            && (wanted_variant.is_none()
                || offered_variant.is_none()
                || wanted_variant == offered_variant)
    }
}

/// The registered spelling, as containerd's `platforms.Normalize` has it.
fn normalize(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let (architecture, implied) = match architecture {
        "x86_64" | "x86-64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        "powerpc64le" => ("ppc64le", None),
        other => (other, None),
    };
    let variant = variant.or(implied).map(|text| match text {
        digit if digit.bytes().all(|byte| byte.is_ascii_digit()) => format!("v{digit}"),
        named => named.to_owned(),
    });
    // v8 is what arm64 means; v1 is what amd64 means.
    let variant = variant
        .filter(|v| !matches!((architecture, v.as_str()), ("arm64", "v8") | ("amd64", "v1")));
    (architecture.to_owned(), variant)
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let word = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| word(part)) {
            return Err(InvalidPlatform(text.to_owned()));
        }
        let (os, architecture, variant) = match parts[..] {
            // docker takes a lone word as the architecture or the operating system
            ["linux"] => ("linux", std::env::consts::ARCH, None),
            [architecture] => ("linux", architecture, None),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(InvalidPlatform(text.to_owned())),
        };
        let (architecture, variant) = normalize(architecture, variant);
        Ok(Self { os: os.to_ascii_lowercase(), architecture, variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_normalized() {
        let parse = |text: &str| text.parse::<Platform>().map(|p| p.to_string());
        assert_eq!(parse("linux/x86_64").as_deref(), Ok("linux/amd64"));
        assert_eq!(parse("linux/arm64/v8").as_deref(), Ok("linux/arm64"));
        assert_eq!(parse("linux/arm/7").as_deref(), Ok("linux/arm/v7"));
        assert!(parse("linux//v8").is_err());
    }
}
