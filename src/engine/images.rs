//! Images in the store: list, name, describe, remove.

use std::fs::File;

use super::Engine;
use super::containers::in_child;
use super::events::{Event, Kind};
use super::pull::{self, Progress, Pulled, Request};
use super::save;
use crate::container::{Record, Status};
use crate::diagnose::{Diagnose, Hint};
use crate::oci::{Digest, ImageConfig};
use crate::owners::Owners;
use crate::reference::{Reference, familiar};
use crate::store::{self, Image, Names, PATIENCE, Store, full_name};

/// An image with its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The image.
    pub image: Image,
    /// Its names; without a tag it is dangling.
    pub names: Names,
}

/// All there is to say of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Details {
    /// The image.
    pub image: Image,
    /// Its names.
    pub names: Names,
    /// Its configuration.
    pub config: ImageConfig,
}

/// A container that needs an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The container's ID.
    pub container: String,
    /// The image it was made from.
    pub image: Digest,
    /// Whether it runs.
    pub running: bool,
}

impl User {
    /// What a container needs: the image that it was made from, and those that it mounts.
    pub(super) fn of(record: &Record, status: Status) -> Vec<Self> {
        let mounts = record.config.mounts.iter().filter(|mount| mount.kind == "image");
        let mounted = mounts.filter_map(|mount| mount.source.parse().ok());
        let images = mounted.chain([record.image_id.clone()]);
        let user = |image| Self { container: record.id.clone(), image, running: status.is_up() };
        images.map(user).collect()
    }
}

/// What was removed, as docker prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name, as the user knows it.
    Untagged(String),
    /// An image.
    Deleted(Digest),
}

/// Why an image cannot be removed or described.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The last name of an image that a container needs.
    #[error("conflict: unable to remove repository reference \"{query}\" (must force) - container {} is using its referenced image {}",
        short(container), image.short())]
    NameInUse {
        /// What was asked for.
        query: String,
        /// The image.
        image: Digest,
        /// The container.
        container: String,
    },
    /// A running container needs it.
    #[error("conflict: unable to delete {} (cannot be forced) - image is being used by running container {}",
        image.short(), short(container))]
    Running {
        /// The image.
        image: Digest,
        /// The container.
        container: String,
    },
    /// A stopped container needs it.
    #[error("conflict: unable to delete {} (must be forced) - image is being used by stopped container {}",
        image.short(), short(container))]
    Stopped {
        /// The image.
        image: Digest,
        /// The container.
        container: String,
    },
    /// It has names in several repositories, and was named by its ID.
    #[error("conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
        image.short())]
    ManyNames {
        /// The image.
        image: Digest,
    },
}

impl Diagnose for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Running { container, .. } => {
                Some(Hint::new(format!("coracle stop {0} && coracle rm {0}", short(container))))
            }
            Self::NameInUse { container, .. } | Self::Stopped { container, .. } => {
                Some(Hint::new(format!("coracle rm {}, or rmi --force", short(container))))
            }
            Self::ManyNames { .. } => Some(Hint::new("name one of its tags, or rmi --force")),
        }
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// All images, the newest first.
pub fn list(store: &Store) -> Result<Vec<Listed>, Error> {
    let mut images: Vec<Listed> = store
        .images()?
        .into_iter()
        .map(|image| Listed { image, names: Names::default() })
        .collect();
    for (name, id) in store.tags()? {
        if let Some(listed) = images.iter_mut().find(|listed| listed.image.id == id) {
            listed.names.add(name);
        }
    }
    let created = |listed: &Listed| -> Option<jiff::Timestamp> {
        listed.image.created.as_ref()?.parse().ok()
    };
    images.sort_by_cached_key(|listed| {
        (std::cmp::Reverse(created(listed)), listed.names.tags.clone(), listed.image.id.clone())
    });
    Ok(images)
}

/// An image in every detail.
pub fn inspect(store: &Store, query: &str) -> Result<Details, Error> {
    let image = store.resolve(query)?;
    let (names, config) = (store.names(&image.id)?, store.config(&image)?);
    Ok(Details { image, names, config })
}

/// Gives an image one more name; the image.
pub fn tag(store: &Store, query: &str, name: &Reference) -> Result<Digest, Error> {
    let _hold = store.hold()?;
    let _names = store.hold_names()?;
    let image = store.resolve(query)?;
    store.tag(&full_name(name), &image.id)?;
    Ok(image.id)
}

/// Takes names away and leaves the image: those that are given, or all. One that the image does not
/// have is an error, and then none is taken.
pub fn untag(store: &Store, query: &str, names: &[Reference]) -> Result<(), Error> {
    let _names = store.hold_names()?;
    let image = store.resolve(query)?;
    let has = store.names(&image.id)?;
    let mut gone: Vec<String> = names.iter().map(full_name).collect();
    if let Some(name) =
        gone.iter().find(|name| !has.tags.contains(name) && !has.digests.contains(name))
    {
        return Err(store::Error::NoSuchImage { query: familiar(name) }.into());
    }
    if gone.is_empty() {
        gone = has.tags.into_iter().chain(has.digests).collect();
    }
    for name in &gone {
        store.untag(name)?;
    }
    Ok(())
}

/// The manifest of an image, as it was shipped: the index, where it was chosen from one.
pub fn raw(store: &Store, query: &str) -> Result<Vec<u8>, Error> {
    let image = store.resolve(query)?;
    Ok(store.document(image.digest())?)
}

/// Takes away a name, and with the last one the image; by its ID, the image with all its names.
///
/// `users` are all containers. Layers stay until [`Store::collect`].
pub fn remove(
    store: &Store,
    query: &str,
    force: bool,
    users: &[User],
) -> Result<Vec<Removed>, Error> {
    let _names = store.hold_names()?;
    let image = store.resolve(query)?;
    let names = store.names(&image.id)?;
    let plan = plan(query, &image.id, &names, force, users)?;
    for name in &plan.names {
        store.untag(name)?;
    }
    let mut removed: Vec<Removed> =
        plan.names.iter().map(|name| Removed::Untagged(familiar(name))).collect();
    if plan.delete {
        store.forget(&image.id)?;
        removed.push(Removed::Deleted(image.id));
    }
    Ok(removed)
}

impl Engine {
    /// Brings an image into the store, as far as it is not there.
    pub fn pull(&self, request: &Request, progress: &dyn Progress) -> Result<Pulled, super::Error> {
        let pulled = pull::pull(self.store(), request, progress)?;
        if let Ok(Some(image)) = self.store.image(&pulled.id) {
            self.flatten_new(&image, request.owners);
        }
        let name = pulled.reference.as_deref().map_or_else(|| pulled.id.to_string(), familiar);
        let told = Event::new(Kind::Image, "pull", &name);
        self.emit(&[told.with("name", repository(&name))]);
        Ok(pulled)
    }

    /// Makes `hello:latest` of the binary `exe`, unless it is there.
    pub fn install_hello(
        &self,
        exe: &File,
        owners: Owners,
        progress: &dyn Progress,
    ) -> Result<Pulled, super::Error> {
        Ok(super::hello::install(self.store(), exe, owners, progress)?)
    }

    /// All images, the newest first.
    pub fn images(&self) -> Result<Vec<Listed>, super::Error> {
        Ok(list(self.store())?)
    }

    /// An image in every detail.
    pub fn image(&self, query: &str) -> Result<Details, super::Error> {
        Ok(inspect(self.store(), query)?)
    }

    /// Gives an image one more name.
    pub fn tag(&self, query: &str, name: &Reference) -> Result<(), super::Error> {
        let id = tag(self.store(), query, name)?;
        self.emit(&[Event::of_image("tag", &id, familiar(&full_name(name)))]);
        Ok(())
    }

    /// Takes names away and leaves the image.
    pub fn untag(&self, query: &str, names: &[Reference]) -> Result<(), super::Error> {
        Ok(untag(self.store(), query, names)?)
    }

    /// The manifest or index of an image, as it was shipped.
    pub fn raw(&self, query: &str) -> Result<Vec<u8>, super::Error> {
        Ok(raw(self.store(), query)?)
    }

    /// Writes images to an archive or directory.
    pub fn save(
        &self,
        queries: &[String],
        form: save::Form,
        sink: &mut dyn save::Sink,
    ) -> Result<(), super::Error> {
        Ok(save::save(self.store(), queries, form, sink)?)
    }

    /// Writes one image to files, as a push does it; the digest of its manifest there.
    pub fn copy_image(
        &self,
        copy: save::Copy,
        sink: &mut dyn save::Sink,
    ) -> Result<Option<Digest>, super::Error> {
        Ok(save::copy(self.store(), copy, sink)?)
    }

    /// Takes away a name, and with the last one the image and, with `prune`, what only it needed.
    /// `owners` as [`Engine::enter_owners`] gave them: the files may be those of subordinate ids.
    pub fn remove_image(
        &self,
        query: &str,
        force: bool,
        prune: bool,
        owners: Owners,
    ) -> Result<Vec<Removed>, super::Error> {
        // Who has a record that cannot be read keeps everything: nothing is removed then.
        self.layers_in_use()?;
        let containers = self.containers()?.into_iter();
        let users: Vec<User> =
            containers.flat_map(|(record, status)| User::of(&record, status)).collect();
        let image = self.store().resolve(query)?;
        let removed = remove(self.store(), query, force, &users)?;
        self.emit(&told(&image.id, &removed));
        if prune && removed.iter().any(|removed| matches!(removed, Removed::Deleted(_))) {
            self.store().collect(|| self.layers_in_use(), owners, PATIENCE)?;
        }
        Ok(removed)
    }
}

impl Engine {
    /// Removes the image that a container which is gone was made from, unless another container has
    /// it: by the name it was named by, or by its ID where that name is nobody's or another's. In a
    /// child, whose threads and namespace end with it.
    pub(super) fn remove_image_of(&self, record: &Record) -> Result<(), super::Error> {
        let what = format!("remove the image {}", record.image);
        in_child(&what, || {
            let owners = self.enter_owners().map_err(|error| error.to_string())?;
            let named = self.store().resolve(&record.image);
            let query = match named.is_ok_and(|image| image.id == record.image_id) {
                true => record.image.clone(),
                false => record.image_id.to_string(),
            };
            match self.remove_image(&query, false, true, owners) {
                Ok(_)
                // Needed, called something else as well, or gone already: there is nothing to do.
                | Err(
                    super::Error::Image(
                        Error::NameInUse { .. }
                        | Error::Running { .. }
                        | Error::Stopped { .. }
                        | Error::ManyNames { .. }
                        | Error::Store(store::Error::NoSuchImage { .. }),
                    )
                    | super::Error::Store(store::Error::NoSuchImage { .. }),
                ) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

/// The events of a removal.
pub(super) fn told(image: &Digest, removed: &[Removed]) -> Vec<Event> {
    let event = |part: &Removed| match part {
        Removed::Untagged(_) => Event::of_image("untag", image, image.to_string()),
        Removed::Deleted(id) => Event::of_image("delete", id, id.to_string()),
    };
    removed.iter().map(event).collect()
}

/// What a removal does.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    names: Vec<String>,
    delete: bool,
}

/// docker's rules (moby, `daemon/images/image_delete.go`).
fn plan(
    query: &str,
    id: &Digest,
    names: &Names,
    force: bool,
    users: &[User],
) -> Result<Plan, Error> {
    let asked = query.parse::<Reference>().ok().map(|reference| full_name(&reference));
    let asked = asked.filter(|name| names.tags.contains(name) || names.digests.contains(name));
    let users = || users.iter().filter(|user| user.image == *id);
    let image = || id.clone();
    if let Some(name) = asked {
        if names.tags.iter().any(|tag| *tag != name) {
            let mut gone = digests_left_alone(&name, names);
            gone.insert(0, name);
            return Ok(Plan { names: gone, delete: false });
        }
        if let Some(user) = users().next().filter(|_| !force) {
            let (query, container) = (query.to_owned(), user.container.clone());
            return Err(Error::NameInUse { query, image: image(), container });
        }
    } else {
        let mut repositories: Vec<&str> = names.tags.iter().map(|tag| repository(tag)).collect();
        repositories.dedup();
        if repositories.len() > 1 && !force {
            return Err(Error::ManyNames { image: image() });
        }
    }
    if let Some(user) = users().find(|user| user.running) {
        return Err(Error::Running { image: image(), container: user.container.clone() });
    }
    if let Some(user) = users().next().filter(|_| !force) {
        return Err(Error::Stopped { image: image(), container: user.container.clone() });
    }
    let all = names.tags.iter().chain(&names.digests).cloned().collect();
    Ok(Plan { names: all, delete: true })
}

/// The digest names of a repository go with its last tag.
fn digests_left_alone(name: &str, names: &Names) -> Vec<String> {
    let same = |other: &&String| repository(other) == repository(name);
    if names.tags.iter().filter(|tag| *tag != name).any(|tag| same(&tag)) || name.contains('@') {
        return Vec::new();
    }
    names.digests.iter().filter(same).cloned().collect()
}

/// A full name without tag or digest.
fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> Digest {
        Digest::of(b"image")
    }

    fn names(tags: &[&str]) -> Names {
        let mut names = Names::default();
        for tag in tags {
            names.add((*tag).to_owned());
            names.add(format!("{}@{}", repository(tag), Digest::of(b"manifest")));
        }
        names.digests.dedup();
        names
    }

    fn user(running: bool) -> [User; 1] {
        [User { container: "c".repeat(64), image: id(), running }]
    }

    #[test]
    fn a_name_goes_and_with_the_last_the_image() {
        let one = names(&["docker.io/library/a:1"]);
        let done = plan("a:1", &id(), &one, false, &[]).expect("a plan");
        assert!(done.delete && done.names.len() == 2);
        let two = names(&["docker.io/library/a:1", "docker.io/library/a:2"]);
        let done = plan("a:1", &id(), &two, false, &user(true)).expect("a plan");
        assert_eq!(done, Plan { names: vec!["docker.io/library/a:1".into()], delete: false });
        let apart = names(&["docker.io/library/a:1", "localhost:5000/b:1"]);
        let done = plan("localhost:5000/b:1", &id(), &apart, false, &[]).expect("a plan");
        assert_eq!(done.names.len(), 2, "its digest goes too");
        assert!(!done.delete);
    }

    #[test]
    fn an_id_with_names_in_several_repositories_is_refused() {
        let apart = names(&["docker.io/library/a:1", "localhost:5000/b:1"]);
        let hex = id().short().to_owned();
        let error = plan(&hex, &id(), &apart, false, &[]).expect_err("a conflict");
        assert!(error.to_string().contains("multiple repositories"), "{error}");
        assert!(plan(&hex, &id(), &apart, true, &[]).expect("forced").delete);
    }

    #[test]
    fn containers_keep_their_image() {
        let one = names(&["docker.io/library/a:1"]);
        let error = |query: &str, force, running| {
            plan(query, &id(), &one, force, &user(running)).expect_err("a conflict").to_string()
        };
        assert!(error("a:1", false, false).contains("(must force) - container cccccccccccc is"));
        assert!(error("a:1", true, true).contains("(cannot be forced) - image is being used"));
        let hex = id().short().to_owned();
        assert!(error(&hex, false, false).contains("used by stopped container"));
        assert!(plan(&hex, &id(), &one, true, &user(false)).expect("forced").delete);
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(repository("localhost:5000/b"), "localhost:5000/b");
        assert_eq!(repository("localhost:5000/b:1"), "localhost:5000/b");
        assert_eq!(repository("a/b@sha256:00"), "a/b");
    }
}
