//! Names without a registry: what they stand for (containers-registries.conf(5), "Short-name
//! aliasing"). Where nothing is configured it is docker's hub.

use super::registries::{Registries, ShortNames};
use super::{Error, answer};
use crate::reference::{self, Reference};

impl Registries {
    /// All that a name may stand for, the likeliest first; one with a registry for itself alone.
    pub fn candidates(&self, text: &str) -> Result<Vec<Reference>, reference::Error> {
        let own: Reference = text.parse()?;
        if !reference::is_short(text) {
            return Ok(vec![own]);
        }
        let name_end = text.find('@').unwrap_or(text.len());
        let name_end = text[..name_end].find(':').unwrap_or(name_end);
        let (name, rest) = text.split_at(name_end);
        if let Some(full) = self.alias(name) {
            return Ok(vec![format!("{full}{rest}").parse()?]);
        }
        match self.search() {
            None | Some([]) => Ok(vec![own]),
            Some(registries) => {
                let full = |registry: &String| format!("{registry}/{text}").parse();
                registries.iter().map(full).collect()
            }
        }
    }

    /// What of it is to be asked for, in order: with several to choose from a name may have to be
    /// given in full.
    pub fn to_ask(&self, text: &str) -> Result<Vec<Reference>, Error> {
        let candidates = self.candidates(text).map_err(|error| Error::Document {
            what: format!("the short name {}", answer::escape(text)),
            why: error.to_string(),
        })?;
        if candidates.len() > 1 && self.short_name_mode() == ShortNames::Enforcing {
            let candidates = candidates.iter().map(ToString::to_string).collect();
            return Err(Error::ShortName { name: answer::escape(text), candidates });
        }
        Ok(candidates)
    }
}
