//! The image of a list that a platform takes.

use crate::engine::Engine;
use crate::oci::Platform;
use crate::reference::Reference;
use crate::registry;
use crate::store::{Kind, full_name};

use super::Error;

impl Engine {
    /// Where the image of the list `name` is had that `platform` takes: its ID where it is here, else
    /// its digest in the repository that it came from. `None` where no list has this name, or an image
    /// has it too, which goes first.
    pub fn member_of_list(
        &self,
        name: &Reference,
        platform: &Platform,
    ) -> Result<Option<String>, crate::engine::Error> {
        let (store, full) = (self.store(), full_name(name));
        let Some(list) = store.pinned(Kind::List, &full)? else { return Ok(None) };
        if store.named(&full)?.is_some() {
            return Ok(None);
        }
        let bytes = store.document(&list.document)?;
        let digest = registry::offered(&name.familiar(), &bytes, platform).map_err(Error::from)?;
        let digest = digest.digest;
        if let Some(image) = store.images()?.into_iter().find(|image| image.manifest == digest) {
            return Ok(Some(image.id.to_string()));
        }
        let origin = list.origins.get(&digest).and_then(|it| it.parse::<Reference>().ok());
        match origin {
            Some(origin) => Ok(Some(format!("{}@{digest}", origin.name()))),
            None => Err(Error::Gone { list: name.familiar(), digest }.into()),
        }
    }
}
