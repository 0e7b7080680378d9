//! The directories of a layer while it is being unpacked.
//!
//! Every directory of a tree was made by its writer, so its place is known by inode whatever
//! links an entry's name went through. Modes and times are set last: a mode may forbid writing,
//! and each child moves its parent's time.

use std::collections::HashMap;

use super::entry::Time;
use super::name::Name;

/// A directory that was made.
#[derive(Debug)]
pub(super) struct Directory {
    /// Inode of the directory it is in.
    pub(super) parent: u64,
    /// Its last name.
    pub(super) name: Box<[u8]>,
    /// Steps from the root.
    pub(super) depth: u32,
    /// Whether it hides what the layers below have there.
    pub(super) opaque: bool,
    /// Mode and time by its entry; an implied directory has none.
    pub(super) entry: Option<(u32, Time)>,
}

/// All directories of a tree, by inode.
#[derive(Debug)]
pub(super) struct Directories {
    root: u64,
    known: HashMap<u64, Directory>,
}

impl Directories {
    pub(super) fn new(root: u64) -> Self {
        let directory =
            Directory { parent: root, name: Box::default(), depth: 0, opaque: false, entry: None };
        Self { root, known: HashMap::from([(root, directory)]) }
    }

    pub(super) fn len(&self) -> u64 {
        self.known.len() as u64
    }

    pub(super) fn depth(&self, inode: u64) -> u32 {
        self.known.get(&inode).map_or(0, |directory| directory.depth)
    }

    /// Notes a new directory. An inode may be that of one removed before: it is forgotten.
    pub(super) fn insert(&mut self, inode: u64, parent: u64, name: &[u8], opaque: bool) {
        let depth = self.depth(parent) + 1;
        let directory = Directory { parent, name: name.into(), depth, opaque, entry: None };
        self.known.insert(inode, directory);
    }

    pub(super) fn get_mut(&mut self, inode: u64) -> Option<&mut Directory> {
        self.known.get_mut(&inode)
    }

    /// The name of a directory without any links in it.
    pub(super) fn name(&self, mut inode: u64) -> Name {
        let mut parts: Vec<&[u8]> = Vec::new();
        while inode != self.root {
            let Some(directory) = self.known.get(&inode) else { break };
            parts.push(&directory.name);
            inode = directory.parent;
        }
        parts.iter().rev().fold(Name::default(), |name, part| name.join(part))
    }

    /// The directories in each directory, for the way down.
    pub(super) fn children(&self) -> HashMap<u64, Vec<u64>> {
        let mut children: HashMap<u64, Vec<u64>> = HashMap::new();
        for (&inode, directory) in &self.known {
            if inode != self.root {
                children.entry(directory.parent).or_default().push(inode);
            }
        }
        children
    }

    pub(super) fn root(&self) -> u64 {
        self.root
    }

    pub(super) fn get(&self, inode: u64) -> Option<&Directory> {
        self.known.get(&inode)
    }
}
