//! Arguments, variables and paths in JSON: text where they are text, base64 where they are not.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Encoded { base64: String },
}

/// By hand: derived, each text would be copied once more before it is known which it is, and a
/// thousand records are read for a list.
impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or an object with its base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text::Plain(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Text, E> {
                Ok(Text::Plain(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                let first: Option<(String, String)> = map.next_entry()?;
                match (first, map.next_key::<String>()?) {
                    (Some((key, base64)), None) if key == "base64" => Ok(Text::Encoded { base64 }),
                    _ => Err(A::Error::custom("want base64 alone")),
                }
            }
        }

        from.deserialize_any(Either)
    }
}

impl Text {
    fn of(text: &OsStr) -> Self {
        match text.to_str() {
            Some(plain) => Self::Plain(plain.to_owned()),
            None => Self::Encoded { base64: BASE64_STANDARD.encode(text.as_bytes()) },
        }
    }

    fn read<E: serde::de::Error>(self) -> Result<OsString, E> {
        match self {
            Self::Plain(plain) => Ok(plain.into()),
            Self::Encoded { base64 } => {
                BASE64_STANDARD.decode(base64).map(OsString::from_vec).map_err(E::custom)
            }
        }
    }
}

pub(super) fn serialize<S: Serializer>(texts: &[OsString], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(texts.iter().map(|text| Text::of(text)))
}

/// Whether a value says nothing: for what is left out where it does.
pub fn is_nothing<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads arguments as [`Process`](super::Process) has them.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<OsString>, D::Error> {
    Vec::<Text>::deserialize(from)?.into_iter().map(Text::read).collect()
}

/// A path.
pub(super) mod path {
    use super::{Deserialize, Deserializer, OsStr, PathBuf, Serialize, Serializer, Text};

    pub(in super::super) fn serialize<S: Serializer>(
        path: &impl AsRef<OsStr>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        Text::of(path.as_ref()).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<PathBuf, D::Error> {
        Text::deserialize(from)?.read().map(PathBuf::from)
    }
}

/// Arguments that may be missing altogether.
pub(super) mod maybe {
    use super::{Deserialize, Deserializer, OsString, Serialize, Serializer, Text};

    #[allow(clippy::ref_option)] // serde's form
    pub(in super::super) fn serialize<S: Serializer>(
        texts: &Option<Vec<OsString>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let texts = texts.as_ref();
        let texts: Option<Vec<Text>> =
            texts.map(|texts| texts.iter().map(|text| Text::of(text)).collect());
        texts.serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<OsString>>, D::Error> {
        let texts = Option::<Vec<Text>>::deserialize(from)?;
        texts.map(|texts| texts.into_iter().map(Text::read).collect()).transpose()
    }
}

/// Names and values.
pub(super) mod pairs {
    use super::{Deserialize, Deserializer, OsString, Serializer, Text};

    pub(in super::super) fn serialize<S: Serializer>(
        pairs: &[(OsString, OsString)],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(pairs.iter().map(|(name, value)| (Text::of(name), Text::of(value))))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(OsString, OsString)>, D::Error> {
        let pairs = Vec::<(Text, Text)>::deserialize(from)?;
        pairs.into_iter().map(|(name, value)| Ok((name.read()?, value.read()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(PartialEq, Debug, Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] Vec<OsString>);

    #[test]
    fn bytes_that_are_no_text_survive() {
        let holder = Holder(vec!["plain".into(), OsString::from_vec(vec![0xff, b'a'])]);
        let json = serde_json::to_string(&holder).expect("JSON");
        assert_eq!(json, r#"["plain",{"base64":"/2E="}]"#);
        assert_eq!(serde_json::from_str::<Holder>(&json).expect("a value"), holder);
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(serde_json::from_value::<Holder>(value).expect("a value"), holder);
        for wrong in ["[1]", "[{}]", r#"[{"base64":"?"}]"#, r#"[{"base64":"","x":""}]"#] {
            assert!(serde_json::from_str::<Holder>(wrong).is_err(), "{wrong}");
        }
    }
}
