//! `artifact`: files in registries that are no images.

pub(super) mod add;
pub(super) mod extract;
pub(super) mod inspect;
pub(super) mod list;
pub(super) mod pull;
pub(super) mod push;
pub(super) mod remove;
