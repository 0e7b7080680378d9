//! All nodes, by number and by what they are on disk.
//!
//! A file's number is its inode number on disk, where no other has taken it. A number that differs
//! (a file that was copied up keeps the one it had) is remembered for as long as the file is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use super::held::lock;
use super::node::{Key, Node};

/// The root's number, by the protocol.
pub(super) const ROOT: u64 = 1;
/// Numbers from here on are no file system's.
const OWN: u64 = 1 << 62;

#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    nodes: HashMap<u64, Known>,
    /// Also of nodes that the kernel has forgotten and that others still lead through.
    by_key: HashMap<Key, Weak<Node>>,
    /// Numbers that are not the file's own.
    numbers: HashMap<Key, u64>,
    made: u64,
}

#[derive(Debug)]
struct Known {
    node: Arc<Node>,
    /// How often the kernel was told of it.
    lookups: u64,
}

impl Table {
    /// The node of a number that the kernel was given.
    pub(super) fn get(&self, id: u64) -> Option<Arc<Node>> {
        lock(&self.0).nodes.get(&id).map(|known| Arc::clone(&known.node))
    }

    /// The node of a file on disk, where somebody knows one.
    pub(super) fn by_key(&self, key: Key) -> Option<Arc<Node>> {
        lock(&self.0).by_key.get(&key).and_then(Weak::upgrade)
    }

    /// The number of a file on disk, whether there is a node or not.
    pub(super) fn number(&self, key: Key) -> u64 {
        lock(&self.0).number(key)
    }

    /// Tells the kernel of a node once more: the one that is known, or a new one.
    pub(super) fn enter(&self, key: Key, make: impl FnOnce(u64) -> Node) -> Arc<Node> {
        let mut inner = lock(&self.0);
        let node = inner.meet(key, make);
        inner.count(&node);
        node
    }

    /// The node of a file on disk: the one that is known, or a new one that the kernel does not
    /// hear of.
    pub(super) fn meet(&self, key: Key, make: impl FnOnce(u64) -> Node) -> Arc<Node> {
        lock(&self.0).meet(key, make)
    }

    /// Tells the kernel once more of a node that is known.
    pub(super) fn again(&self, node: &Arc<Node>) {
        lock(&self.0).count(node);
    }

    /// The root, which is never forgotten.
    pub(super) fn enter_root(&self, key: Key, node: Node) -> Arc<Node> {
        let mut inner = lock(&self.0);
        let node = Arc::new(node);
        inner.by_key.insert(key, Arc::downgrade(&node));
        inner.numbers.insert(key, ROOT);
        inner.count(&node);
        node
    }

    /// The kernel forgets what it was told `count` times.
    pub(super) fn forget(&self, id: u64, count: u64) {
        let mut inner = lock(&self.0);
        let Some(known) = inner.nodes.get_mut(&id) else { return };
        known.lookups = known.lookups.saturating_sub(count);
        if known.lookups > 0 || id == ROOT {
            return;
        }
        let gone = inner.nodes.remove(&id);
        if inner.by_key.len() > 2 * inner.nodes.len() + 4096 {
            inner.by_key.retain(|_, node| node.strong_count() > 0);
        }
        drop(inner);
        drop(gone); // closes what it held, and may be the last to lead through others
    }

    /// A file has become another one on disk, by being copied up.
    pub(super) fn moved(&self, node: &Arc<Node>, to: Key) {
        let mut inner = lock(&self.0);
        inner.by_key.insert(to, Arc::downgrade(node));
        inner.numbers.insert(to, node.id);
    }

    /// A file on disk is no more: its inode number may soon be another's.
    pub(super) fn removed(&self, key: Key) {
        let mut inner = lock(&self.0);
        inner.by_key.remove(&key);
        inner.numbers.remove(&key);
    }
}

impl Inner {
    fn meet(&mut self, key: Key, make: impl FnOnce(u64) -> Node) -> Arc<Node> {
        if let Some(node) = self.by_key.get(&key).and_then(Weak::upgrade) {
            return node;
        }
        let node = Arc::new(make(self.number(key)));
        self.by_key.insert(key, Arc::downgrade(&node));
        node
    }

    fn count(&mut self, node: &Arc<Node>) {
        self.nodes
            .entry(node.id)
            .or_insert_with(|| Known { node: Arc::clone(node), lookups: 0 })
            .lookups += 1;
    }

    fn number(&mut self, key: Key) -> u64 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        if let Some(node) = self.by_key.get(&key).and_then(Weak::upgrade) {
            return node.id;
        }
        let (_, own) = key;
        if own > ROOT && own < OWN && !self.nodes.contains_key(&own) {
            return own;
        }
        self.made += 1;
        let number = OWN + self.made;
        self.numbers.insert(key, number);
        number
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::FileType;

    use super::super::node::State;
    use super::*;

    fn enter(table: &Table, key: Key) -> Arc<Node> {
        table.enter(key, |id| Node::new(id, FileType::RegularFile, State::default()))
    }

    #[test]
    fn a_file_keeps_its_number_when_it_is_copied_up_and_forgotten() {
        let table = Table::default();
        let node = enter(&table, (1, 20));
        assert_eq!(node.id, 20);
        table.moved(&node, (1, 900));
        table.forget(20, 1);
        drop(node);
        assert_eq!(enter(&table, (1, 900)).id, 20);
    }

    #[test]
    fn a_number_that_is_taken_is_not_given_again() {
        let table = Table::default();
        let first = enter(&table, (1, 20));
        table.removed((1, 20));
        let second = enter(&table, (1, 20));
        assert_ne!(first.id, second.id);
        table.forget(first.id, 1);
        assert_eq!(table.number((1, 20)), second.id, "and the second keeps its own");
    }

    #[test]
    fn it_is_forgotten_when_the_kernel_has_forgotten_it_as_often_as_it_was_told() {
        let table = Table::default();
        let id = enter(&table, (1, 20)).id;
        enter(&table, (1, 20));
        table.forget(id, 1);
        assert!(table.get(id).is_some());
        table.forget(id, 1);
        assert!(table.get(id).is_none() && table.by_key((1, 20)).is_none());
    }
}
