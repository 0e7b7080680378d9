//! Which lower files have several names: when one is copied up, all go on being one file.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, statat};

use super::Result;
use super::held::lock;
use super::list;
use super::look::{Found, Opened, look};
use super::node::{Key, Node, UPPER, key_of};
use super::table::ROOT;
use super::tree::Union;

/// The names of each lower file that has several, as they were when this was made.
#[derive(Debug, Default)]
pub(super) struct Siblings(HashMap<Key, Vec<Vec<CString>>>);

impl Union {
    /// Finds out which lower files have several names, once. Everything must stay in its place.
    pub(super) fn siblings(&self) -> Result<Arc<Siblings>> {
        let mut known = lock(&self.siblings);
        if let Some(known) = known.as_ref() {
            return Ok(Arc::clone(known));
        }
        let mut found = HashMap::new();
        let root = self.node(ROOT)?;
        walk(&self.opened(&root)?, &mut Vec::new(), &mut found)?;
        found.retain(|_, names: &mut Vec<_>| names.len() > 1);
        let found = Arc::new(Siblings(found));
        *known = Some(Arc::clone(&found));
        Ok(found)
    }

    /// The names that a lower file has now.
    pub(super) fn names_of(&self, file: Key) -> Result<Vec<(Arc<Node>, CString)>> {
        let siblings = self.siblings()?;
        let mut names = Vec::new();
        for path in siblings.0.get(&file).into_iter().flatten() {
            let Some((name, directories)) = path.split_last() else { continue };
            let Some(parent) = self.walk_to(directories)? else { continue };
            match self.find(&parent, name)? {
                Some(Found::File { layer, stat }) if layer != UPPER && key_of(&stat) == file => {
                    names.push((parent, name.clone()));
                }
                _ => {}
            }
        }
        Ok(names)
    }

    fn walk_to(&self, path: &[CString]) -> Result<Option<Arc<Node>>> {
        let mut at = self.node(ROOT)?;
        for name in path {
            match self.find(&at, name)? {
                Some(found @ Found::Directory { .. }) => at = self.meet(&at, name, found),
                _ => return Ok(None),
            }
        }
        Ok(Some(at))
    }
}

fn walk(
    places: &[Opened],
    path: &mut Vec<CString>,
    found: &mut HashMap<Key, Vec<Vec<CString>>>,
) -> Result<()> {
    for entry in list::read(places)? {
        path.push(entry.name);
        let Some(name) = path.last() else { continue };
        if entry.kind == FileType::Directory {
            if let Some(Found::Directory { places, .. }) = look(places, name)? {
                walk(&places, path, found)?;
            }
        } else if entry.layer != UPPER
            && let Some(place) = places.iter().find(|place| place.layer == entry.layer)
        {
            let stat = statat(&place.directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if stat.st_nlink > 1 {
                found.entry(key_of(&stat)).or_default().push(path.clone());
            }
        }
        path.pop();
    }
    Ok(())
}
