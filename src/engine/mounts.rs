//! What a request's volumes, images and overlays come to: decided first, made later.
//!
//! ```text
//! settle_mounts    names for all volumes, the image's too; --volumes-from; paths: nothing is made
//! make      volumes made, held until a record says who uses them, filled from the image
//! each launch: containers/ID/overlays/N   throw-away overlays, files of images; `U`
//! ```

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::containers::as_owner;
use super::run::Prepared;
use super::{Engine, Error, chown, host_mounts};
use crate::bundle::{self, BindRequest, ImageRequest, ImageVolumes, Request, VolumeRequest};
use crate::container::{Creation, MountPoint};
use crate::mount::{Attributes, Kind, Mount, Propagation};
use crate::oci::{ChainId, ImageConfig};
use crate::owners::Owners;
use crate::snapshot::{self, Driver, Shift};
use crate::userns::{self, IdMaps, Mode};
use crate::volume::{self, Held, Volume};

/// docker's label of a volume that nobody named.
pub(super) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What the mounts of a request come to.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The request again, with a name for each volume and an ID for each image.
    pub(super) request: Request,
    /// Volumes, images and overlays.
    pub(super) mounts: Vec<Mount>,
    /// All that was asked for, for the record.
    pub(super) points: Vec<MountPoint>,
    /// The layers of mounted images.
    pub(super) layers: Vec<ChainId>,
    /// What is made anew for each launch.
    overlays: Vec<Overlay>,
    /// The volumes, once they are made.
    held: Vec<Held>,
}

/// A directory below the container's own that is made for each launch.
#[derive(Debug)]
struct Overlay {
    place: PathBuf,
    over: Over,
}

#[derive(Debug)]
enum Over {
    /// An overlay over a directory of the host.
    Host(PathBuf),
    /// An overlay over layers, the lowest first.
    Layers(Vec<PathBuf>),
    /// A copy of a directory of them.
    Copy { image: String, layers: Vec<PathBuf>, path: PathBuf, share: bool },
}

/// Whether a container is made, or only started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// It is new: empty volumes are filled.
    Making,
    /// It was there before.
    Starting,
}

/// What `settle` goes by, beside the request.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    /// The image's configuration.
    pub(super) config: &'a ImageConfig,
    /// The container's directory.
    pub(super) directory: &'a Path,
    /// What makes its root.
    pub(super) driver: Driver,
    /// Its ids.
    pub(super) ids: &'a IdMaps,
}

impl Engine {
    /// Decides what is mounted where.
    pub(super) fn settle_mounts(
        &self,
        request: &Request,
        cx: &Setting<'_>,
    ) -> Result<Settled, Error> {
        let mut settled = Settled { request: request.clone(), ..Settled::default() };
        self.take_over_volumes(&mut settled.request)?;
        if settled.request.image_volumes == ImageVolumes::Bind {
            add_image_volumes(&mut settled.request, cx.config)?;
        }
        for volume in &mut settled.request.volumes {
            if volume.name.is_none() {
                volume.name = Some(self.volumes.generate_name()?.to_string());
                volume.anonymous = true;
            }
        }
        check_ids(&settled.request, cx.ids)?;
        host_mounts::check_propagation(&settled.request.binds, &self.options.warn)?;
        let request = settled.request.clone();
        for bind in &request.binds {
            if bind.overlay {
                settled.add_overlay(bind, cx)?;
            }
            settled.points.push(point_of_bind(bind));
        }
        for volume in &request.volumes {
            self.add_volume(&mut settled, volume)?;
        }
        for (index, image) in request.images.iter().enumerate() {
            let id = self.add_image(&mut settled, image, cx)?;
            settled.request.images[index].image = id;
        }
        settled.points.extend(request.tmpfs.iter().map(|tmpfs| MountPoint {
            kind: "tmpfs".to_owned(),
            target: tmpfs.target.display().to_string(),
            mode: tmpfs.typed.clone(),
            writable: !tmpfs.read_only,
            ..MountPoint::default()
        }));
        settled.points.extend(request.file_systems.iter().map(|other| MountPoint {
            kind: other.name.clone(),
            target: other.target.display().to_string(),
            mode: other.options.join(","),
            writable: !other.read_only,
            ..MountPoint::default()
        }));
        Ok(settled)
    }

    /// `--volumes-from`: volumes and host paths of other containers, but where the container has
    /// something of its own.
    fn take_over_volumes(&self, request: &mut Request) -> Result<(), Error> {
        let mut binds: Vec<BindRequest> = Vec::new();
        let mut volumes: Vec<VolumeRequest> = Vec::new();
        for from in std::mem::take(&mut request.volumes_from) {
            let record = self.container_named(&from.container)?;
            // What has nothing mounted is not written down.
            let Ok(Creation { container: theirs, .. }) = self.containers.creation(&record) else {
                continue;
            };
            let read_only = from.writable == Some(false);
            for mut bind in theirs.binds {
                bind.read_only |= read_only;
                binds.retain(|other| other.target != bind.target);
                volumes.retain(|other| other.target != bind.target);
                binds.push(bind);
            }
            for mut volume in theirs.volumes {
                (volume.read_only, volume.no_copy) = (volume.read_only || read_only, true);
                binds.retain(|other| other.target != volume.target);
                volumes.retain(|other| other.target != volume.target);
                volumes.push(volume);
            }
        }
        let own = targets(request)?;
        let is_free = |target: &PathBuf| -> Result<bool, Error> {
            Ok(!own.contains(&bundle::absolute("mount target", target)?))
        };
        for bind in binds {
            if is_free(&bind.target)? {
                request.binds.push(bind);
            }
        }
        for volume in volumes {
            if is_free(&volume.target)? {
                request.volumes.push(volume);
            }
        }
        Ok(())
    }

    fn add_volume(&self, settled: &mut Settled, volume: &VolumeRequest) -> Result<(), Error> {
        let name = volume.name.as_deref().unwrap_or_default();
        let (source, read_only) = match self.volumes.find(name) {
            Ok(known) => (known.data(), known.options.read_only),
            Err(volume::Error::NoSuchVolume { .. }) => {
                let options = volume::Options::parse(volume.options.clone());
                let options = options.map_err(volume::Error::from)?;
                let data = options.device.unwrap_or_else(|| self.volumes.data_of(name));
                (data, options.read_only)
            }
            Err(error) => return Err(error.into()),
        };
        let read_only = volume.read_only || read_only;
        settled.points.push(MountPoint {
            kind: "volume".to_owned(),
            name: name.to_owned(),
            source: source.display().to_string(),
            target: volume.target.display().to_string(),
            mode: volume.mode.clone(),
            writable: !read_only,
            ..MountPoint::default()
        });
        let kind = match &volume.subpath {
            Some(path) => Kind::Beneath { directory: source, path: path.clone() },
            None => bind_of(source, true),
        };
        settled.mounts.push(Mount {
            target: volume.target.clone(),
            kind,
            attributes: volume.strict.attributes(read_only),
            recursive_attributes: None,
        });
        Ok(())
    }

    /// Gives the image's ID.
    fn add_image(
        &self,
        settled: &mut Settled,
        asked: &ImageRequest,
        cx: &Setting<'_>,
    ) -> Result<String, Error> {
        let image = self.store.resolve(&asked.image)?;
        let layers = self.store.layers(&image, self.owners_of(cx.ids))?;
        settled.layers.extend(image.layers.iter().map(|layer| layer.chain.clone()));
        settled.points.push(MountPoint {
            kind: "image".to_owned(),
            source: image.id.to_string(),
            target: asked.target.display().to_string(),
            writable: asked.writable,
            ..MountPoint::default()
        });
        let place = settled.place(cx);
        let read_only = !asked.writable;
        let (over, kind) = match (&asked.subpath, cx.driver) {
            (None, Driver::Overlay) => {
                let (upper, work) = (place.join("upper"), place.join("work"));
                let mut lowers = snapshot::lowers(&layers)?;
                if lowers.is_empty() {
                    lowers.push(place.join("empty"));
                }
                (Over::Layers(layers), Kind::Overlay { lowers, upper, work })
            }
            (subpath, _) => {
                let path = Path::new("/").join(subpath.as_deref().unwrap_or(Path::new("")));
                // Who may mount could make it writable again, and the layers' own files with it.
                let share = read_only && !settled.request.privileged;
                let image = asked.image.clone();
                (Over::Copy { image, layers, path, share }, bind_of(place.join("rootfs"), false))
            }
        };
        settled.overlays.push(Overlay { place, over });
        settled.mounts.push(Mount {
            target: asked.target.clone(),
            kind,
            attributes: Attributes { read_only, no_dev: true, ..Attributes::default() },
            recursive_attributes: None,
        });
        Ok(image.id.to_string())
    }

    /// Makes the volumes, holds them until the record says who uses them, and fills empty ones from
    /// the image's `layers`.
    pub(super) fn make_volumes(
        &self,
        prepared: &mut Prepared,
        container: &str,
        occasion: Occasion,
    ) -> Result<(), Error> {
        let Prepared { settled, ids, layers, .. } = prepared;
        for wanted in &settled.request.volumes {
            let name = wanted.name.as_deref().unwrap_or_default();
            let parsed = name.parse().map_err(|_| volume::Error::NoSuchVolume {
                name: name.to_owned(), // no coracle has written that
            })?;
            let mut volume = Volume::new(parsed, super::run::now());
            volume.labels.clone_from(&wanted.labels);
            volume.options =
                volume::Options::parse(wanted.options.clone()).map_err(volume::Error::from)?;
            if wanted.anonymous {
                volume.anonymous = Some(container.to_owned());
                volume.labels.insert(ANONYMOUS.to_owned(), String::new());
            }
            let (held, made) = self.volumes.create(&volume)?;
            if made {
                self.emit(&[super::volumes::told("create", name)]);
            }
            let data = held.volume.data();
            // Decided when another of this name was there, or none.
            let planned = data.display().to_string();
            let is_planned = |point: &MountPoint| point.source == planned;
            if !settled.points.iter().filter(|it| it.name == name).all(is_planned) {
                return Err(Error::VolumeReplaced { name: name.to_owned() });
            }
            if held.volume.options.device.is_some() && !data.is_dir() {
                let path = data;
                return Err(volume::Error::from(volume::InvalidOptions::Device { path }).into());
            }
            let is_to_copy = !wanted.no_copy && wanted.subpath.is_none();
            if is_to_copy && (made || occasion == Occasion::Making) {
                self.fill(&held, &wanted.target, ids, layers)?;
            }
            settled.held.push(held);
        }
        Ok(())
    }

    fn fill(
        &self,
        held: &Held,
        target: &Path,
        ids: &IdMaps,
        layers: &[PathBuf],
    ) -> Result<(), Error> {
        if !held.is_to_fill() {
            return Ok(());
        }
        let target = bundle::absolute("mount target", target)?;
        // Who owns the layers' files knows; who may not look inside asks there.
        let has_files = || snapshot::has_directory(layers, &target).unwrap_or(true);
        if !held.is_half_full() && !has_files() {
            return Ok(());
        }
        let what = format!("fill the volume {}", held.volume.name);
        let store = self.store_ids()?;
        self.as_files_owner(ids, &what, || {
            let Some(filling) = held.fill().map_err(|error| error.to_string())? else {
                return Ok(());
            };
            // What the image has is copied as it is, from one descriptor to another: no link in it
            // is followed (CVE-2018-15664, CVE-2022-23648).
            let copied = snapshot::copy_directory(layers, &target, &filling.draft, false);
            if copied.is_ok() {
                give_shifted(ids, &store, &filling.draft)?;
            }
            match copied.map_err(|error| error.to_string())? {
                true => filling.finish().map_err(|error| error.to_string()),
                false => Ok(()),
            }
        })
    }

    /// Does `work` as root over the files of a container with these ids.
    pub(super) fn as_files_owner(
        &self,
        ids: &IdMaps,
        what: &str,
        work: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), Error> {
        match ids.mode {
            Mode::Direct => work().map_err(|why| Error::Child { what: what.to_owned(), why }),
            Mode::Range { .. } => as_owner(&self.store_ids()?, what, work),
            Mode::Single => {
                // Root over the one id: modes do not keep it from what is its own.
                let facts = userns::gather(Path::new("/"), &self.options.path);
                let own = userns::choose(&userns::Request::Single, (0, 0), &facts)?;
                as_owner(&own, what, work)
            }
        }
    }

    /// Makes what each launch has anew, and gives files to the container's user.
    pub(super) fn make_overlays(
        &self,
        settled: &Settled,
        directory: &Path,
        ids: &IdMaps,
        user: (u32, u32),
    ) -> Result<(), Error> {
        let all = directory.join("overlays");
        if !settled.overlays.is_empty() || all.exists() {
            self.remove_tree(&all)?;
        }
        if !settled.overlays.is_empty() {
            let store = self.store_ids()?;
            self.as_files_owner(ids, "make the container's overlays", || {
                std::fs::create_dir(&all).map_err(|error| error.to_string())?;
                settled.overlays.iter().try_for_each(|overlay| {
                    let copied = overlay.make(ids)?;
                    copied.map_or(Ok(()), |copied| give_shifted(ids, &store, &copied))
                })
            })?;
        }
        let (uid, gid) = user;
        host_mounts::tell_of_open_proc(&settled.request, ids, &self.options.warn);
        host_mounts::tell_of_strangers(&settled.request, uid, ids, &self.options.warn);
        let theirs = match ids.is_shifted() {
            true => {
                let store = self.store_ids()?;
                let user = ids.user_in(&store, uid).unwrap_or(uid);
                (user, ids.group_in(&store, gid).unwrap_or(gid))
            }
            false => user,
        };
        for source in settled.given_away() {
            let what = format!("give {} to the container's user", source.display());
            self.as_files_owner(ids, &what, || {
                let recorded = self.owners_of(ids) == Owners::Recorded;
                // With the user's one id and no other, all is the user's already.
                if recorded && !ids.emulated {
                    return Ok(());
                }
                chown::give(source, theirs, recorded).map_err(|error| error.to_string())
            })?;
        }
        Ok(())
    }
}

/// Gives files that were copied out of layers to the ids that they are to have in a container whose own
/// are others than the layers'. For who is root over the store's ids.
fn give_shifted(ids: &IdMaps, store: &IdMaps, files: &Path) -> Result<(), String> {
    if !ids.is_shifted() {
        return Ok(());
    }
    let shift = Shift { user: &|id| ids.user_in(store, id), group: &|id| ids.group_in(store, id) };
    snapshot::shift(files, &shift).map_err(|error| error.to_string())
}

impl Overlay {
    /// Makes it; the directory with what was copied out of layers, if something was.
    fn make(&self, ids: &IdMaps) -> Result<Option<PathBuf>, String> {
        let Self { place, over } = self;
        let make = |path: &Path| std::fs::create_dir(path).map_err(|error| error.to_string());
        let made = match over {
            Over::Host(source) => {
                return snapshot::throw_away(source, place)
                    .map(|_| None)
                    .map_err(|error| error.to_string());
            }
            Over::Layers(layers) => {
                make(place)?;
                snapshot::prepare(Driver::Overlay, layers, place, false).map(|_| None)
            }
            Over::Copy { image, layers, path, share } => {
                make(place)?;
                let rootfs = place.join("rootfs");
                make(&rootfs)?;
                // A second name of a layer's file has the layer's owner.
                let share = *share && !ids.is_shifted();
                match snapshot::copy_directory(layers, path, &rootfs, share) {
                    Ok(false) => {
                        return Err(format!("{} is no directory in {image}", path.display()));
                    }
                    other => other.map(|_| Some(rootfs)),
                }
            }
        };
        made.map_err(|error| error.to_string())
    }
}

impl Settled {
    /// A directory for another overlay.
    fn place(&self, cx: &Setting<'_>) -> PathBuf {
        cx.directory.join("overlays").join(self.overlays.len().to_string())
    }

    fn add_overlay(&mut self, bind: &BindRequest, cx: &Setting<'_>) -> Result<(), Error> {
        if cx.driver != Driver::Overlay {
            return Err(Error::NoOverlay { path: bind.source.clone(), driver: cx.driver });
        }
        if !bind.source.is_dir() {
            return Err(Error::OverlayOfFile { path: bind.source.clone() });
        }
        let place = self.place(cx);
        self.mounts.push(Mount {
            target: bind.target.clone(),
            kind: Kind::Overlay {
                lowers: vec![bind.source.clone()],
                upper: place.join("upper"),
                work: place.join("work"),
            },
            attributes: bind.strict.attributes(bind.read_only),
            recursive_attributes: None,
        });
        self.overlays.push(Overlay { place, over: Over::Host(bind.source.clone()) });
        Ok(())
    }

    /// The sources whose files are given to the container's user.
    fn given_away(&self) -> impl Iterator<Item = &Path> {
        let binds = self.request.binds.iter().filter(|bind| bind.chown && !bind.overlay);
        let volumes = self.request.volumes.iter().filter(|volume| volume.chown);
        let names = volumes.filter_map(|volume| volume.name.as_deref());
        let points = names.filter_map(|name| self.points.iter().find(|point| point.name == name));
        binds.map(|bind| bind.source.as_path()).chain(points.map(|point| Path::new(&point.source)))
    }
}

/// A directory as it is, with what is mounted in it or without.
fn bind_of(source: PathBuf, recursive: bool) -> Kind {
    Kind::Bind { source, recursive, propagation: Propagation::Private }
}

fn point_of_bind(bind: &BindRequest) -> MountPoint {
    let propagation = match bind.propagation {
        Propagation::Private => "rprivate",
        Propagation::Slave => "rslave",
        Propagation::Shared => "rshared",
        Propagation::Unbindable => "runbindable",
    };
    // The word as it was typed: `slave` and `rslave` are told apart here only.
    let typed = bind.mode.split(',').find(|word| propagation.ends_with(word) && !word.is_empty());
    MountPoint {
        kind: "bind".to_owned(),
        source: bind.source.display().to_string(),
        target: bind.target.display().to_string(),
        mode: bind.mode.clone(),
        writable: !bind.read_only,
        propagation: typed.unwrap_or(propagation).to_owned(),
        ..MountPoint::default()
    }
}

/// Where the request has something mounted.
fn targets(request: &Request) -> Result<HashSet<PathBuf>, Error> {
    let binds = request.binds.iter().map(|it| &it.target);
    let volumes = request.volumes.iter().map(|it| &it.target);
    let images = request.images.iter().map(|it| &it.target);
    let tmpfs = request.tmpfs.iter().map(|it| &it.target);
    let others = request.file_systems.iter().map(|it| &it.target);
    let all = binds.chain(volumes).chain(images).chain(tmpfs).chain(others);
    Ok(all.map(|it| bundle::absolute("mount target", it)).collect::<Result<_, _>>()?)
}

/// The image's volumes where nothing else is mounted.
fn add_image_volumes(request: &mut Request, config: &ImageConfig) -> Result<(), Error> {
    let mut covered = targets(request)?;
    for path in &config.volumes {
        let target = bundle::absolute("image volume", Path::new(path))?;
        if target != Path::new("/") && covered.insert(target.clone()) {
            request.volumes.push(VolumeRequest { target, ..VolumeRequest::default() });
        }
    }
    Ok(())
}

/// Only who may hand on all of its ids has the host's ids in the container as they are: the kernel
/// refuses every other an idmapped mount (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
fn check_ids(request: &Request, ids: &IdMaps) -> Result<(), Error> {
    match request.binds.iter().find(|bind| bind.id_mapped) {
        Some(bind) if ids.mode != Mode::Direct => {
            Err(Error::IdMapped { path: bind.source.clone() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_volumes_lie_where_nothing_else_does() {
        let volumes = ["/data", "/data/", "/a/../b", "/", "/own"].map(str::to_owned).to_vec();
        let config = ImageConfig { volumes, ..ImageConfig::default() };
        let own = VolumeRequest { target: "/own/.".into(), ..VolumeRequest::default() };
        let mut request = Request { volumes: vec![own], ..Request::default() };
        add_image_volumes(&mut request, &config).expect("volumes");
        let targets: Vec<_> = request.volumes.iter().map(|it| it.target.as_path()).collect();
        assert_eq!(targets, ["/own/.", "/data", "/b"].map(Path::new));
    }
}
