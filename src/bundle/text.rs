//! Arguments and variables in JSON: text where they are text, base64 where they are not.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Encoded { base64: String },
}

pub(super) fn serialize<S: Serializer>(texts: &[OsString], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(texts.iter().map(|text| match text.to_str() {
        Some(plain) => Text::Plain(plain.to_owned()),
        None => Text::Encoded { base64: BASE64_STANDARD.encode(text.as_bytes()) },
    }))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<OsString>, D::Error> {
    let texts = Vec::<Text>::deserialize(from)?;
    let text = |text| match text {
        Text::Plain(plain) => Ok(plain.into()),
        Text::Encoded { base64 } => BASE64_STANDARD.decode(base64).map(OsString::from_vec),
    };
    texts.into_iter().map(text).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
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
    }
}
